use std::fmt;

use crate::error::Error;

/// The directory of one object: `<kind>/<namespace>/<name>`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Home(String);

impl Home {
    /// The kind is lower-cased.
    ///
    /// # Errors
    /// When a part is no single path segment.
    pub fn new(kind: &str, namespace: &str, name: &str) -> Result<Self, Error> {
        let kind = kind.to_lowercase();
        for part in [&kind, namespace, name] {
            check(part)?;
        }
        Ok(Self(format!("{kind}/{namespace}/{name}")))
    }

    /// The path below the root, with forward slashes.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A file in this directory.
    ///
    /// # Errors
    /// When the name is no single path segment, or one that the store keeps for itself.
    pub fn file(&self, name: &str) -> Result<Address, Error> {
        check(name)?;
        if name.starts_with('.') || is_attendant(name) || name.ends_with(crate::TEMP_SUFFIX) {
            return Err(Error::InvalidPath(name.to_owned()));
        }
        Ok(Address { home: self.clone(), file: name.to_owned() })
    }
}

impl fmt::Display for Home {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One artifact: a file in the directory of its object.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Address {
    pub(crate) home: Home,
    pub(crate) file: String,
}

impl Address {
    /// Reads `<kind>/<namespace>/<name>/<file>`.
    ///
    /// # Errors
    /// When it has another shape.
    pub fn parse(path: &str) -> Result<Self, Error> {
        let invalid = || Error::InvalidPath(path.to_owned());
        let parts: Vec<&str> = path.split('/').collect();
        let [kind, namespace, name, file] = parts.as_slice() else { return Err(invalid()) };
        Home::new(kind, namespace, name)?.file(file)
    }

    /// The directory of the object.
    pub const fn home(&self) -> &Home {
        &self.home
    }

    /// The path below the root, with forward slashes.
    pub fn path(&self) -> String {
        format!("{}/{}", self.home, self.file)
    }
}

/// True for files that belong to an artifact and live and die with it.
pub(crate) fn is_attendant(name: &str) -> bool {
    [crate::INDEX_SUFFIX, crate::RECORD_SUFFIX, crate::LOCK_SUFFIX]
        .iter()
        .any(|suffix| name.ends_with(suffix))
}

fn check(segment: &str) -> Result<(), Error> {
    let refused = segment.is_empty()
        || segment.len() > 255
        || matches!(segment, "." | "..")
        || segment.contains(['/', '\\', '\0']);
    if refused { Err(Error::InvalidPath(segment.to_owned())) } else { Ok(()) }
}

/// What goes before `/<path>` in an artifact's URL: the advertised address with a scheme if it brings
/// none, an empty host replaced by `localhost`, and `0.0.0.0` by the host's name.
pub fn advertised(address: &str, hostname: &str) -> String {
    if address.starts_with("http://") || address.starts_with("https://") {
        return address.trim_end_matches('/').to_owned();
    }
    let (host, port) = match address.rsplit_once(':') {
        // Colons inside brackets belong to an IPv6 address.
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (address, None),
    };
    let host = match host {
        "" => "localhost",
        "0.0.0.0" => hostname,
        host => host,
    };
    match port {
        Some(port) => format!("http://{host}:{port}"),
        None => format!("http://{host}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advertised_addresses_become_url_prefixes() {
        for (address, prefix) in [
            (
                "source-controller.flux-system.svc.cluster.local.",
                "http://source-controller.flux-system.svc.cluster.local.",
            ),
            (":9090", "http://localhost:9090"),
            ("0.0.0.0:9090", "http://pod-1:9090"),
            ("10.0.0.1:80", "http://10.0.0.1:80"),
            ("[::1]:80", "http://[::1]:80"),
            ("https://host/x", "https://host/x"),
            ("http://host/", "http://host"),
        ] {
            assert_eq!(advertised(address, "pod-1"), prefix);
        }
    }

    #[test]
    fn an_address_cannot_leave_its_directory() {
        let home = Home::new("GitRepository", "apps", "podinfo").unwrap();
        assert_eq!(home.file("abc.tar.gz").unwrap().path(), "gitrepository/apps/podinfo/abc.tar.gz");
        for name in ["", ".", "..", "a/b", "..\\x", ".hidden", "x.lock", "x.index", "x.members", "x.tmp"] {
            assert!(home.file(name).is_err(), "{name}");
        }
        assert!(Home::new("x", "..", "y").is_err());
        assert!(Address::parse("gitrepository/apps/podinfo/abc.tar.gz").is_ok());
        for path in ["a/b/c", "/a/b/c/d", "a/b/../d", "a/b/c/d/e"] {
            assert!(Address::parse(path).is_err(), "{path}");
        }
    }
}
