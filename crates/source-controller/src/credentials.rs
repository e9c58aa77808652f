//! Reads what Secrets hold: credentials, certificates, proxies. No message contains a secret value.

use std::collections::BTreeMap;

use sluice_api::source::v1::GitProvider;
use sluice_git::{Auth, IdentityError, KnownHosts, Proxy, Remote, SshIdentity, Tls};
use sluice_types::{Redacted, Retry};

use crate::error::Error;

/// Longest address of a proxy, in bytes.
const PROXY_ADDRESS: usize = 2048;

/// A Secret's data, and what to call it.
#[derive(Clone)]
pub(crate) struct SecretData {
    /// `<namespace>/<name>`
    pub(crate) name: String,
    pub(crate) data: BTreeMap<String, Redacted<Vec<u8>>>,
}

impl SecretData {
    fn bytes(&self, key: &str) -> Option<&Redacted<Vec<u8>>> {
        self.data.get(key).filter(|value| !value.expose().is_empty())
    }

    pub(crate) fn text(&self, key: &str) -> Result<Option<Redacted<String>>, Error> {
        let Some(bytes) = self.bytes(key) else { return Ok(None) };
        match String::from_utf8(bytes.expose().clone()) {
            Ok(text) => Ok(Some(Redacted::new(text))),
            Err(_) => Err(Error::Credentials(format!("secret '{}': key '{key}' is not text", self.name))),
        }
    }
}

/// Completes a remote with what its Secret holds.
pub(crate) fn apply(
    remote: &mut Remote,
    provider: GitProvider,
    secret: Option<&SecretData>,
) -> Result<(), Error> {
    if let Some(secret) = secret {
        let app = secret.bytes("githubAppID").is_some();
        if app && provider != GitProvider::Github {
            let message =
                format!("secretRef '{}' has github app data but provider is not set to github", secret.name);
            return Err(Error::Provider { message, retry: Retry::Backoff });
        }
        if !app && provider == GitProvider::Github {
            let message = "secretRef with github app data must be specified when provider is set to github";
            return Err(Error::Provider { message: message.to_owned(), retry: Retry::Backoff });
        }
    }
    if remote.scheme() == "ssh" {
        remote.auth = ssh(secret)?;
        return Ok(());
    }
    if let Some(secret) = secret {
        remote.tls = tls(secret)?;
        if let Some(auth) = http(secret, matches!(remote.auth, Auth::Basic { .. }))? {
            remote.auth = auth;
        }
    }
    Ok(())
}

fn http(secret: &SecretData, in_url: bool) -> Result<Option<Auth>, Error> {
    if let Some(token) = secret.text("bearerToken")? {
        if in_url {
            return Err(Error::Credentials(
                "basic auth and bearer token cannot be set at the same time".to_owned(),
            ));
        }
        return Ok(Some(Auth::Bearer(token)));
    }
    match (secret.text("username")?, secret.text("password")?) {
        (None, None) => Ok(None),
        (None, Some(_)) => Err(Error::Credentials(
            "invalid 'https' auth option: 'password' requires 'username' to be set".to_owned(),
        )),
        (Some(username), password) => {
            Ok(Some(Auth::Basic { username: username.into_inner(), password: password.unwrap_or_default() }))
        }
    }
}

fn ssh(secret: Option<&SecretData>) -> Result<Auth, Error> {
    let missing = |key: &str| Error::Credentials(format!("invalid 'ssh' auth option: '{key}' is required"));
    let secret = secret.ok_or_else(|| missing("identity"))?;
    let identity = secret.text("identity")?.ok_or_else(|| missing("identity"))?;
    let known_hosts = secret.text("known_hosts")?.ok_or_else(|| missing("known_hosts"))?;
    let passphrase = secret.text("password")?;
    let identity = SshIdentity::parse(identity.expose(), passphrase.as_ref()).map_err(|error| {
        Error::Credentials(match error {
            IdentityError::Encrypted => format!(
                "SSH identity key is encrypted but no 'password' field was provided in the secret '{}'",
                secret.name
            ),
            error => format!("secret '{}': {error}", secret.name),
        })
    })?;
    let known_hosts = KnownHosts::parse(known_hosts.expose())
        .map_err(|error| Error::Credentials(format!("secret '{}': {error}", secret.name)))?;
    Ok(Auth::Ssh { identity, known_hosts })
}

/// Certificates under their modern names or, if there is none of those, their legacy names.
fn tls(secret: &SecretData) -> Result<Tls, Error> {
    let modern = ["ca.crt", "tls.crt", "tls.key"];
    let names = match modern.iter().any(|key| secret.bytes(key).is_some()) {
        true => modern,
        false => ["caFile", "certFile", "keyFile"],
    };
    let [ca, certificate, key] = names;
    let lacks = |there: &str, absent: &str| {
        Error::Credentials(format!("secret '{}' contains '{there}' but missing '{absent}'", secret.name))
    };
    let client = match (secret.bytes(certificate), secret.bytes(key)) {
        (Some(chain), Some(private)) => Some((chain.expose().clone(), private.clone())),
        (None, None) => None,
        (Some(_), None) => return Err(lacks(certificate, key)),
        (None, Some(_)) => return Err(lacks(key, certificate)),
    };
    Ok(Tls { ca: secret.bytes(ca).map(|ca| ca.expose().clone()), client })
}

/// The proxy that a Secret describes.
pub(crate) fn proxy(secret: &SecretData) -> Result<Proxy, Error> {
    let invalid = |why: &str| Error::Credentials(format!("invalid proxy secret '{}': {why}", secret.name));
    let address = secret.text("address")?.ok_or_else(|| invalid("key 'address' is missing"))?.into_inner();
    if address.len() > PROXY_ADDRESS {
        return Err(invalid("key 'address' is too long"));
    }
    let url = url::Url::parse(&address).map_err(|_| invalid("key 'address' is no URL"))?;
    if !matches!(url.scheme(), "http" | "https" | "socks5") {
        return Err(invalid("key 'address' has an unsupported scheme"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(invalid(
            "key 'address' contains credentials, which belong into 'username' and 'password'",
        ));
    }
    let credentials = match (secret.text("username")?, secret.text("password")?) {
        (Some(username), password) => Some((username.into_inner(), password.unwrap_or_default())),
        (None, None) => None,
        (None, Some(_)) => return Err(invalid("key 'password' requires 'username'")),
    };
    Ok(Proxy { address, credentials })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn secret(data: &[(&str, &str)]) -> SecretData {
        let data =
            data.iter().map(|(key, value)| ((*key).to_owned(), Redacted::new(value.as_bytes().to_vec())));
        SecretData { name: "apps/creds".into(), data: data.collect() }
    }

    fn applied(url: &str, provider: GitProvider, data: &[(&str, &str)]) -> Result<Remote, String> {
        let mut remote = Remote::new(url, Duration::from_secs(1)).map_err(|error| error.to_string())?;
        apply(&mut remote, provider, Some(&secret(data))).map_err(|error| error.to_string())?;
        Ok(remote)
    }

    const HTTPS: &str = "https://git.example.com/x";

    #[test]
    fn basic_and_bearer_credentials_are_told_apart() {
        let remote = applied(HTTPS, GitProvider::Generic, &[("username", "u"), ("password", "p")]).unwrap();
        assert!(
            matches!(&remote.auth, Auth::Basic { username, password } if username == "u" && password.expose() == "p")
        );
        let both = [("bearerToken", "t"), ("username", "u"), ("password", "p")];
        let remote = applied(HTTPS, GitProvider::Generic, &both).unwrap();
        assert!(matches!(&remote.auth, Auth::Bearer(token) if token.expose() == "t"));
        assert!(matches!(applied(HTTPS, GitProvider::Generic, &[]).unwrap().auth, Auth::None));
    }

    #[test]
    fn unusable_credentials_are_named_without_their_values() {
        let generic = GitProvider::Generic;
        for (url, provider, data, message) in [
            (
                HTTPS,
                generic,
                &[("password", "hunter2")][..],
                "invalid 'https' auth option: 'password' requires 'username' to be set",
            ),
            (
                "https://u:hunter2@git.example.com/x",
                generic,
                &[("bearerToken", "hunter2")],
                "basic auth and bearer token cannot be set at the same time",
            ),
            (
                HTTPS,
                generic,
                &[("tls.crt", "x")],
                "secret 'apps/creds' contains 'tls.crt' but missing 'tls.key'",
            ),
            (
                HTTPS,
                generic,
                &[("keyFile", "x")],
                "secret 'apps/creds' contains 'keyFile' but missing 'certFile'",
            ),
            (
                HTTPS,
                generic,
                &[("githubAppID", "1")],
                "secretRef 'apps/creds' has github app data but provider is not set to github",
            ),
            (
                HTTPS,
                GitProvider::Github,
                &[("username", "u")],
                "secretRef with github app data must be specified when provider is set to github",
            ),
            (
                "ssh://git@git.example.com/x",
                generic,
                &[("known_hosts", "x")],
                "invalid 'ssh' auth option: 'identity' is required",
            ),
            (
                "ssh://git@git.example.com/x",
                generic,
                &[("identity", "hunter2")],
                "invalid 'ssh' auth option: 'known_hosts' is required",
            ),
        ] {
            let error = applied(url, provider, data).unwrap_err();
            assert_eq!(error, message);
            assert!(!error.contains("hunter2"));
        }
        let mut remote = Remote::new("ssh://git.example.com/x", Duration::from_secs(1)).unwrap();
        assert!(apply(&mut remote, generic, None).is_err());
    }

    #[test]
    fn modern_certificate_names_hide_the_legacy_ones() {
        let both = [("ca.crt", "new"), ("caFile", "old"), ("certFile", "old")];
        let remote = applied(HTTPS, GitProvider::Generic, &both).unwrap();
        assert_eq!(remote.tls.ca.as_deref(), Some(&b"new"[..]));
        assert!(remote.tls.client.is_none());
        let legacy = [("caFile", "old"), ("certFile", "c"), ("keyFile", "k")];
        let remote = applied(HTTPS, GitProvider::Generic, &legacy).unwrap();
        assert!(remote.tls.ca.is_some() && remote.tls.client.is_some());
    }

    #[test]
    fn proxies_need_an_address_they_can_be_reached_at() {
        let good =
            proxy(&secret(&[("address", "socks5://proxy:1080"), ("username", "u"), ("password", "p")]));
        assert!(good.is_ok_and(|proxy| proxy.credentials.is_some()));
        let long = format!("http://{}", "x".repeat(PROXY_ADDRESS));
        for address in ["", "proxy", "ftp://proxy", "http://u:p@proxy", &long] {
            let refused = proxy(&secret(&[("address", address)]));
            assert!(matches!(refused, Err(Error::Credentials(_))), "{address}");
        }
    }
}
