//! Where submodules come from, and with which credentials.

use std::collections::BTreeMap;

use gix::bstr::ByteSlice;
use url::Url;

use crate::error::Error;
use crate::remote::{Auth, Remote};

/// Nested no deeper than this.
pub(crate) const DEPTH: usize = 10;

/// No more than so many in one checkout.
pub(crate) const COUNT: usize = 1000;
/// Bytes of a `.gitmodules` text.
pub(crate) const TEXT: u64 = 1 << 20;

/// Paths and addresses from a `.gitmodules` text.
pub(crate) fn addresses(text: &[u8]) -> Result<BTreeMap<String, String>, Error> {
    let empty = gix::config::File::default();
    let file = gix::submodule::File::from_bytes(text, None, &empty)
        .map_err(|_| Error::InvalidSubmodule(".gitmodules cannot be parsed".to_owned()))?;
    let mut found = BTreeMap::new();
    for name in file.names() {
        let text = |key: &str| {
            file.config()
                .string_by("submodule", Some(name), key)
                .map(|value| value.to_str_lossy().into_owned())
        };
        if let (Some(path), Some(url)) = (text("path"), text("url")) {
            found.insert(path.trim_matches('/').to_owned(), url);
        }
    }
    Ok(found)
}

/// The remote behind a submodule's address. The parent's credentials go along only if it is on
/// the parent's server.
pub(crate) fn remote(parent: &Remote, path: &str, address: &str) -> Result<Remote, Error> {
    let invalid = |why: &str| Error::InvalidSubmodule(format!("submodule '{path}': {why}"));
    let absolute = absolute(&parent.url, address).ok_or_else(|| invalid("address is not understood"))?;
    let mut remote = Remote::new(&absolute, parent.timeout).map_err(|error| invalid(&error.to_string()))?;
    remote.proxy.clone_from(&parent.proxy);
    remote.ssh = parent.ssh.clone();
    remote.tls.ca.clone_from(&parent.tls.ca);
    if parent.same_server(&remote.url) {
        remote.tls = parent.tls.clone();
        remote.credential.clone_from(&parent.credential);
        if matches!(remote.auth, Auth::None) {
            remote.auth = parent.auth.clone();
        }
    }
    Ok(remote)
}

/// Makes an address absolute: relative ones start at the parent, `host:path` means ssh.
fn absolute(parent: &Url, address: &str) -> Option<String> {
    if address.starts_with("./") || address.starts_with("../") {
        let mut segments: Vec<&str> = parent.path().trim_matches('/').split('/').collect();
        let mut rest = address;
        loop {
            if let Some(tail) = rest.strip_prefix("../") {
                segments.pop()?;
                rest = tail;
            } else if let Some(tail) = rest.strip_prefix("./") {
                rest = tail;
            } else {
                break;
            }
        }
        segments.extend(rest.trim_end_matches('/').split('/'));
        let mut url = parent.clone();
        url.set_path(&format!("/{}", segments.join("/")));
        return Some(url.to_string());
    }
    if address.contains("://") {
        return Some(address.to_owned());
    }
    let (host, path) = address.split_once(':')?;
    if host.is_empty() || host.contains('/') {
        return None;
    }
    Some(format!("ssh://{host}/{}", path.trim_start_matches('/')))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::remote::Tls;

    #[test]
    fn relative_addresses_start_at_the_parent() {
        for (parent, address, expected) in [
            ("https://h/org/app.git", "../lib.git", Some("https://h/org/lib.git")),
            ("https://h/org/app/", "../lib", Some("https://h/org/lib")),
            ("https://h/org/app", "./lib", Some("https://h/org/app/lib")),
            ("https://h/org/app", "../../x/lib", Some("https://h/x/lib")),
            ("ssh://git@h:22/org/app", "../lib", Some("ssh://git@h:22/org/lib")),
            ("https://h/app", "../../../lib", None),
            ("https://h/app", "git@other:org/lib.git", Some("ssh://git@other/org/lib.git")),
            ("https://h/app", "https://x/y", Some("https://x/y")),
            ("https://h/app", "/etc/passwd", None),
        ] {
            let found = absolute(&Url::parse(parent).unwrap(), address);
            assert_eq!(found.as_deref(), expected, "{address}");
        }
    }

    #[test]
    fn credentials_stay_on_the_parents_server() {
        let mut parent = Remote::new("https://h/org/app", Duration::ZERO).unwrap();
        parent.auth = Auth::Bearer("token".to_owned().into());
        parent.tls = Tls { ca: Some(b"ca".to_vec()), client: Some((Vec::new(), Vec::new().into())) };
        let near = remote(&parent, "lib", "../lib").unwrap();
        assert!(matches!(near.auth, Auth::Bearer(_)) && near.tls.client.is_some());
        for address in ["https://evil/org/lib", "http://h/org/lib", "https://h:8443/lib"] {
            let far = remote(&parent, "lib", address).unwrap();
            assert!(matches!(far.auth, Auth::None) && far.tls.client.is_none(), "{address}");
        }
        assert!(remote(&parent, "lib", "file:///etc").is_err());
    }

    #[test]
    fn gitmodules_names_paths_and_addresses() {
        let text =
            b"[submodule \"lib\"]\n\tpath = deps/lib\n\turl = ../lib.git\n[submodule \"x\"]\n\tpath = x\n";
        let found = addresses(text).unwrap();
        assert_eq!(found, BTreeMap::from([("deps/lib".to_owned(), "../lib.git".to_owned())]));
    }
}
