use std::sync::Arc;
use std::time::Duration;

use russh::keys::{HashAlg, PrivateKey};
use sha2::{Digest, Sha256};
use sluice_types::Redacted;
use url::Url;

use crate::error::{AddressError, IdentityError};
use crate::known_hosts::KnownHosts;

/// A repository on a server, and how to reach it.
#[derive(Clone, Debug)]
pub struct Remote {
    pub(crate) url: Url,
    /// What proves our identity.
    pub auth: Auth,
    /// Certificates, for https.
    pub tls: Tls,
    /// A proxy; `None` means that of the process for http(s), and none for ssh.
    pub proxy: Option<Proxy>,
    /// Bounds each network operation (one listing, one fetch).
    pub timeout: Duration,
    /// Replacements of the default algorithms, for ssh.
    pub ssh: SshAlgorithms,
    /// Names a credential whose secret rotates (such as `github-app/12/34`), so that its mirror
    /// survives the rotation. Without it the secret itself tells mirrors apart.
    pub credential: Option<String>,
}

impl Remote {
    /// Reads `http://`, `https://` or `ssh://` addresses. Userinfo in an http(s) address becomes
    /// basic auth; [`Remote::auth`] may be set afterwards and wins.
    ///
    /// # Errors
    /// When the text is no URL, has no host, or another scheme.
    pub fn new(url: &str, timeout: Duration) -> Result<Self, AddressError> {
        let mut url = Url::parse(url).map_err(|_| AddressError::Malformed)?;
        if !matches!(url.scheme(), "http" | "https" | "ssh") {
            return Err(AddressError::Scheme(url.scheme().to_owned()));
        }
        let control = |text: &str| text.contains("%00") || text.contains("%0a") || text.contains("%0A");
        if url.host_str().is_none_or(str::is_empty) || control(url.path()) {
            return Err(AddressError::Malformed);
        }
        url.set_fragment(None);
        url.set_query(None);
        let mut auth = Auth::None;
        if url.scheme() != "ssh" {
            if !url.username().is_empty() || url.password().is_some() {
                let text = |text: &str| crate::ssh::decode(text);
                auth = Auth::Basic {
                    username: text(url.username()),
                    password: text(url.password().unwrap_or_default()).into(),
                };
            }
            let _ = url.set_username("");
        }
        let _ = url.set_password(None);
        let tls = Tls::default();
        let ssh = SshAlgorithms::default();
        Ok(Self { url, auth, tls, proxy: None, timeout, ssh, credential: None })
    }

    /// The address without userinfo, for messages.
    pub fn shown(&self) -> String {
        let mut url = self.url.clone();
        let _ = url.set_username("");
        url.to_string()
    }

    /// Whether another address is on the same server, so that it may see the same credentials.
    pub(crate) fn same_server(&self, other: &Url) -> bool {
        let port = |url: &Url| url.port_or_known_default().or((url.scheme() == "ssh").then_some(22));
        self.url.scheme() == other.scheme()
            && self.url.host_str().is_some_and(|host| Some(host) == other.host_str())
            && port(&self.url) == port(other)
    }

    /// Tells mirrors apart: what one credential may see, another need not.
    pub(crate) fn key(&self) -> [u8; 32] {
        let mut hasher = Sha256::new();
        let mut add = |text: &[u8]| {
            hasher.update((text.len() as u64).to_be_bytes());
            hasher.update(text);
        };
        add(self.url.as_str().as_bytes());
        match (&self.credential, &self.auth) {
            (Some(name), _) => add(name.as_bytes()),
            (None, Auth::None) => add(b"none"),
            (None, Auth::Basic { username, password }) => {
                add(username.as_bytes());
                add(password.expose().as_bytes());
            }
            (None, Auth::Bearer(token)) => add(token.expose().as_bytes()),
            (None, Auth::Ssh { identity, .. }) => add(identity.fingerprint().as_bytes()),
        }
        add(&self.tls.key());
        if let Some(proxy) = &self.proxy {
            add(&proxy.key());
        }
        hasher.finalize().into()
    }

    /// Where a mirror of this lies on disk: like [`Remote::key`], but without anything secret.
    pub(crate) fn home(&self) -> String {
        let (kind, name) = match (&self.credential, &self.auth) {
            (Some(name), _) => ("named", name.as_str()),
            (None, Auth::None) => ("none", ""),
            (None, Auth::Basic { username, .. }) => ("basic", username.as_str()),
            (None, Auth::Bearer(_)) => ("bearer", ""),
            (None, Auth::Ssh { .. }) => ("ssh", ""),
        };
        let mut hasher = Sha256::new();
        for text in [self.url.as_str(), kind, name] {
            hasher.update((text.len() as u64).to_be_bytes());
            hasher.update(text);
        }
        let hash: [u8; 32] = hasher.finalize().into();
        hash.iter().take(16).map(|byte| format!("{byte:02x}")).collect()
    }

    /// `http`, `https` or `ssh`.
    pub fn scheme(&self) -> &str {
        self.url.scheme()
    }

    /// The host, without port.
    pub fn host(&self) -> &str {
        self.url.host_str().unwrap_or_default()
    }
}

/// What proves our identity to a server.
#[derive(Clone, Debug, Default)]
pub enum Auth {
    /// Nothing: anonymous.
    #[default]
    None,
    /// HTTP basic.
    Basic {
        /// User name.
        username: String,
        /// Password or token.
        password: Redacted<String>,
    },
    /// HTTP bearer token.
    Bearer(Redacted<String>),
    /// A private key, and the host keys to expect.
    Ssh {
        /// The decrypted private key.
        identity: SshIdentity,
        /// Which host keys are trusted.
        known_hosts: KnownHosts,
    },
}

/// A decrypted SSH private key.
#[derive(Clone)]
pub struct SshIdentity(pub(crate) Arc<PrivateKey>);

impl std::fmt::Debug for SshIdentity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SshIdentity({})", self.0.algorithm())
    }
}

impl SshIdentity {
    /// Reads an OpenSSH or PEM private key (RSA, ECDSA, Ed25519).
    ///
    /// # Errors
    /// [`IdentityError::Encrypted`] when a passphrase is needed and none was given.
    pub fn parse(pem: &str, passphrase: Option<&Redacted<String>>) -> Result<Self, IdentityError> {
        let password = passphrase.map(|text| text.expose().as_str());
        // A passphrase beside a key that needs none does no harm.
        let plain = russh::keys::decode_secret_key(pem, None);
        let decoded = match (plain, password) {
            (Ok(key), _) if !key.is_encrypted() => Ok(key),
            (_, password) => russh::keys::decode_secret_key(pem, password),
        };
        match decoded {
            Ok(key) if key.is_encrypted() => Err(IdentityError::Encrypted),
            Ok(key) => Ok(Self(Arc::new(key))),
            Err(russh::keys::Error::KeyIsEncrypted) => Err(IdentityError::Encrypted),
            Err(_) if is_encrypted(pem) => match password {
                None | Some("") => Err(IdentityError::Encrypted),
                Some(_) => Err(IdentityError::Passphrase),
            },
            Err(_) => Err(IdentityError::Malformed),
        }
    }

    /// The fingerprint of the public key, `SHA256:…`.
    pub fn fingerprint(&self) -> String {
        self.0.fingerprint(HashAlg::Sha256).to_string()
    }
}

/// True if the text is a key that only a passphrase opens.
fn is_encrypted(pem: &str) -> bool {
    pem.contains("ENCRYPTED") || PrivateKey::from_openssh(pem).is_ok_and(|key| key.is_encrypted())
}

/// Certificates for https.
#[derive(Clone, Debug, Default)]
pub struct Tls {
    /// PEM certificates added to the system roots.
    pub ca: Option<Vec<u8>>,
    /// PEM client certificate chain and private key.
    pub client: Option<(Vec<u8>, Redacted<Vec<u8>>)>,
}

impl Tls {
    pub(crate) fn key(&self) -> [u8; 32] {
        let mut hasher = Sha256::new();
        let (certificate, key) = match &self.client {
            Some((certificate, key)) => (certificate.as_slice(), key.expose().as_slice()),
            None => (&[][..], &[][..]),
        };
        for part in [self.ca.as_deref().unwrap_or_default(), certificate, key] {
            hasher.update((part.len() as u64).to_be_bytes());
            hasher.update(part);
        }
        hasher.finalize().into()
    }
}

impl Proxy {
    pub(crate) fn key(&self) -> [u8; 32] {
        let mut hasher = Sha256::new();
        let (user, password) = match &self.credentials {
            Some((user, password)) => (user.as_str(), password.expose().as_str()),
            None => ("", ""),
        };
        for part in [self.address.as_str(), user, password] {
            hasher.update((part.len() as u64).to_be_bytes());
            hasher.update(part.as_bytes());
        }
        hasher.finalize().into()
    }
}

/// A proxy. For ssh it must be a `socks5://` or `http://` one.
#[derive(Clone, Debug)]
pub struct Proxy {
    /// `http://`, `https://` or `socks5://` address without userinfo.
    pub address: String,
    /// User name and password.
    pub credentials: Option<(String, Redacted<String>)>,
}

/// Algorithm lists that replace the defaults when not empty, most preferred first.
#[derive(Clone, Debug, Default)]
pub struct SshAlgorithms {
    /// Key exchange.
    pub kex: Vec<String>,
    /// Host key.
    pub host_key: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn remote(url: &str) -> Remote {
        Remote::new(url, Duration::from_secs(1)).unwrap()
    }

    #[test]
    fn userinfo_becomes_credentials_and_is_never_shown() {
        let remote = remote("https://u%40x:p%3aw@host.example/org/app.git?x=secret");
        assert_eq!(remote.shown(), "https://host.example/org/app.git");
        assert!(!format!("{remote:?}").contains("p:w"));
        match remote.auth {
            Auth::Basic { username, password } => {
                assert_eq!((username.as_str(), password.expose().as_str()), ("u@x", "p:w"));
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn addresses_that_cannot_be_fetched_from_are_refused() {
        for (url, error) in [
            ("file:///etc", AddressError::Scheme("file".to_owned())),
            ("git@host:path", AddressError::Malformed),
            ("git://host/path", AddressError::Scheme("git".to_owned())),
            ("https://", AddressError::Malformed),
            ("ssh:///path", AddressError::Malformed),
            ("ssh://host/a%0ab", AddressError::Malformed),
        ] {
            assert_eq!(Remote::new(url, Duration::ZERO).unwrap_err(), error, "{url}");
        }
    }

    #[test]
    fn mirrors_are_told_apart_by_address_and_credential() {
        let plain = remote("https://host/a");
        assert_eq!(plain.key(), remote("https://host/a").key());
        assert_ne!(plain.key(), remote("https://host/b").key());
        assert_ne!(plain.key(), remote("https://u:p@host/a").key());
        let named = |token: &str| Remote {
            auth: Auth::Bearer(token.to_owned().into()),
            credential: Some("app/1".to_owned()),
            ..remote("https://host/a")
        };
        assert_eq!(named("x").key(), named("y").key());
    }

    #[test]
    fn the_place_of_a_mirror_tells_no_secret() {
        let home = |password: &str| remote(&format!("https://u:{password}@host/a")).home();
        assert_eq!(home("one"), home("two"));
        assert_ne!(home("one"), remote("https://host/a").home());
        assert_ne!(home("one"), remote("https://v:one@host/a").home());
    }

    #[test]
    fn only_the_same_server_sees_the_same_credentials() {
        let home = remote("ssh://git@host/a");
        for (url, same) in [
            ("ssh://git@host:22/b", true),
            ("ssh://git@host:23/b", false),
            ("https://host/b", false),
            ("ssh://evil/b", false),
        ] {
            assert_eq!(home.same_server(&Url::parse(url).unwrap()), same, "{url}");
        }
    }
}
