//! Git over SSH, without an `ssh` program. Host keys must be known; nothing is trusted on first use.

use std::borrow::Cow;
use std::io::{self, Read, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::{Buf, Bytes};
use gix::protocol::transport::Protocol;
use gix::protocol::transport::client::git::ConnectMode;
use gix::protocol::transport::client::git::blocking_io::Connection;
use russh::client::{self, AuthResult, Handle};
use russh::keys::{Algorithm, EcdsaCurve, HashAlg, PrivateKeyWithHashAlg, PublicKeyOrCertificate};
use russh::{ChannelMsg, ChannelReadHalf, ChannelWriteHalf, Preferred};
use url::Host;

use crate::error::Error;
use crate::known_hosts::{KnownHosts, Opinion, address};
use crate::remote::{Auth, Remote, SshAlgorithms, SshIdentity};
use crate::waiter::Waiter;

/// Bytes of the server's error stream that are kept for messages.
const WORDS: usize = 4096;

type Shared = Arc<Mutex<String>>;

/// One running `git-upload-pack`.
struct Service {
    connection: Handle<HostKeyCheck>,
    output: ChannelReadHalf,
    input: ChannelWriteHalf<client::Msg>,
}

/// Connects and starts the service, as a transport for gix.
pub(crate) fn open(remote: &Remote, waiter: Waiter) -> Result<Connection<Output, Input>, Error> {
    let service = waiter.wait(Service::start(remote))??;
    let output = Output {
        _connection: service.connection,
        channel: service.output,
        chunk: Bytes::new(),
        stderr: String::new(),
        waiter: waiter.clone(),
    };
    let input = Input { channel: service.input, waiter };
    let path = decode(remote.url.path());
    let nobody = None::<(String, Option<u16>)>;
    Ok(Connection::new(output, input, Protocol::V2, path, nobody, ConnectMode::Process, false))
}

/// What the service writes.
pub(crate) struct Output {
    /// Closes with the transport.
    _connection: Handle<HostKeyCheck>,
    channel: ChannelReadHalf,
    chunk: Bytes,
    stderr: String,
    waiter: Waiter,
}

impl Output {
    fn fill(&mut self) -> Result<(), Error> {
        while self.chunk.is_empty() {
            match self.waiter.wait(self.channel.wait())? {
                Some(ChannelMsg::Data { data }) => {
                    self.waiter.spend(data.len())?;
                    self.chunk = data;
                }
                Some(ChannelMsg::ExtendedData { data, .. }) => {
                    let room = WORDS.saturating_sub(self.stderr.len());
                    self.stderr.extend(String::from_utf8_lossy(&data).chars().take(room));
                }
                Some(ChannelMsg::Close) | None => {
                    // The service's complaint explains the end better than the end itself.
                    return complaint(&self.stderr, &self.waiter.url()).map_or(Ok(()), Err);
                }
                Some(_) => {}
            }
        }
        Ok(())
    }
}

impl Read for Output {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.fill().map_err(|error| self.waiter.fail(error))?;
        let count = self.chunk.as_ref().read(out)?;
        self.chunk.advance(count);
        Ok(count)
    }
}

/// What the service reads.
pub(crate) struct Input {
    channel: ChannelWriteHalf<client::Msg>,
    waiter: Waiter,
}

impl Write for Input {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let sent = self.waiter.wait(self.channel.data_bytes(bytes.to_vec()));
        match sent {
            Ok(Ok(())) => Ok(bytes.len()),
            // The reader finds out why, and says it better.
            Ok(Err(_)) => Err(io::ErrorKind::BrokenPipe.into()),
            Err(error) => Err(self.waiter.fail(error)),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Service {
    async fn start(remote: &Remote) -> Result<Self, Error> {
        let url = remote.shown();
        let Auth::Ssh { identity, known_hosts } = &remote.auth else {
            return Err(Error::Auth { url, detail: ": an SSH identity is required".to_owned() });
        };
        let host = match remote.url.host() {
            Some(Host::Ipv6(ip)) => ip.to_string(),
            Some(other) => other.to_string(),
            None => String::new(),
        };
        let port = remote.url.port().unwrap_or(22);
        let (kinds, authorities) = (known_hosts.kinds(&host, port), known_hosts.authorities(&host, port));
        let config = client::Config {
            preferred: preferences(&remote.ssh, &kinds, !authorities.is_empty())?,
            ..client::Config::default()
        };
        let verdict = Shared::default();
        let check = HostKeyCheck {
            host: host.clone(),
            port,
            known_hosts: known_hosts.clone(),
            verdict: verdict.clone(),
        };
        if kinds.is_empty() && authorities.is_empty() {
            let detail = "the host is not in known_hosts".to_owned();
            return Err(Error::HostKey { host: address(&host, port), detail });
        }
        let network = |error: russh::Error| Error::Network { url: remote.shown(), detail: error.to_string() };
        let stream = crate::tunnel::connect(remote.proxy.as_ref(), &host, port).await;
        let stream = stream.map_err(|error| network(error.into()))?;
        let connection = client::connect_stream(Arc::new(config), stream, check).await;
        let mut connection = connection.map_err(|error| match locked(&verdict) {
            detail if !detail.is_empty() => Error::HostKey { host: address(&host, port), detail },
            _ => network(error),
        })?;
        let user = match remote.url.username() {
            "" => "git".to_owned(),
            name => decode(name),
        };
        if !authenticate(&mut connection, &user, identity).await.map_err(network)? {
            return Err(Error::Auth { url, detail: ": the server refuses the SSH identity".to_owned() });
        }
        let channel = connection.channel_open_session().await.map_err(network)?;
        // Servers that do not know the variable answer in the old protocol.
        channel.set_env(false, "GIT_PROTOCOL", "version=2").await.map_err(network)?;
        let command = format!("git-upload-pack {}", quote(&decode(remote.url.path())));
        channel.exec(false, command).await.map_err(network)?;
        let (output, input) = channel.split();
        Ok(Self { connection, output, input })
    }
}

/// The server's complaint, if it wrote one.
fn complaint(stderr: &str, url: &str) -> Option<Error> {
    let words = crate::wire::clip(stderr);
    if words.is_empty() {
        return None;
    }
    let (url, lower) = (url.to_owned(), words.to_ascii_lowercase());
    Some(if lower.contains("not found") || lower.contains("does not exist") || lower.contains("not appear") {
        Error::RepositoryNotFound { url }
    } else if lower.contains("denied") || lower.contains("authenti") || lower.contains("access") {
        Error::Auth { url, detail: format!(": {words}") }
    } else {
        Error::Network { url, detail: words }
    })
}

fn locked(shared: &Shared) -> String {
    shared.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

async fn authenticate(
    connection: &mut Handle<HostKeyCheck>,
    user: &str,
    identity: &SshIdentity,
) -> Result<bool, russh::Error> {
    let hashes: &[Option<HashAlg>] = if identity.0.algorithm().is_rsa() {
        match connection.best_supported_rsa_hash().await? {
            Some(Some(HashAlg::Sha512)) => &[Some(HashAlg::Sha512)],
            Some(Some(_)) => &[Some(HashAlg::Sha256)],
            Some(None) => &[None],
            // The server does not tell: modern first.
            None => &[Some(HashAlg::Sha512), Some(HashAlg::Sha256), None],
        }
    } else {
        &[None]
    };
    for hash in hashes {
        let key = PrivateKeyWithHashAlg::new(identity.0.clone(), *hash);
        if matches!(connection.authenticate_publickey(user, key).await?, AuthResult::Success) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Offers only host key algorithms for which a key is known: a server with several keys would
/// otherwise show one that cannot be checked.
fn preferences(algorithms: &SshAlgorithms, kinds: &[&str], certificates: bool) -> Result<Preferred, Error> {
    let mut preferred = Preferred::default();
    let unknown = |name: &str| Error::Configuration(format!("unknown SSH algorithm '{name}'"));
    if !algorithms.host_key.is_empty() {
        let mut list = Vec::new();
        for name in &algorithms.host_key {
            list.push(host_key_algorithm(name).ok_or_else(|| unknown(name))?);
        }
        preferred.key = Cow::Owned(list);
    }
    if certificates {
        preferred.host_key_certificates = preferred.key.clone();
    }
    let known: Vec<Algorithm> =
        preferred.key.iter().filter(|algorithm| kinds.contains(&plain_name(algorithm))).cloned().collect();
    if !known.is_empty() {
        preferred.key = Cow::Owned(known);
    }
    if !algorithms.kex.is_empty() {
        let mut list = Vec::new();
        for name in &algorithms.kex {
            // The library knows `none`, which would mean no key exchange at all.
            let known = russh::kex::Name::try_from(name.as_str()).ok().filter(|_| name != "none");
            list.push(known.ok_or_else(|| unknown(name))?);
        }
        // Markers of extensions, among them the countermeasure against Terrapin, stay.
        list.extend(preferred.kex.iter().filter(|name| {
            let name: &str = name.as_ref();
            name.starts_with("ext-info-") || name.starts_with("kex-strict-")
        }));
        preferred.kex = Cow::Owned(list);
    }
    Ok(preferred)
}

fn host_key_algorithm(name: &str) -> Option<Algorithm> {
    Some(match name {
        "ssh-ed25519" => Algorithm::Ed25519,
        "ecdsa-sha2-nistp256" => Algorithm::Ecdsa { curve: EcdsaCurve::NistP256 },
        "ecdsa-sha2-nistp384" => Algorithm::Ecdsa { curve: EcdsaCurve::NistP384 },
        "ecdsa-sha2-nistp521" => Algorithm::Ecdsa { curve: EcdsaCurve::NistP521 },
        "rsa-sha2-512" => Algorithm::Rsa { hash: Some(HashAlg::Sha512) },
        "rsa-sha2-256" => Algorithm::Rsa { hash: Some(HashAlg::Sha256) },
        "ssh-rsa" => Algorithm::Rsa { hash: None },
        _ => return None,
    })
}

/// The type under which `known_hosts` lists a key of this algorithm.
fn plain_name(algorithm: &Algorithm) -> &'static str {
    match algorithm {
        Algorithm::Ed25519 => "ssh-ed25519",
        Algorithm::Ecdsa { curve: EcdsaCurve::NistP256 } => "ecdsa-sha2-nistp256",
        Algorithm::Ecdsa { curve: EcdsaCurve::NistP384 } => "ecdsa-sha2-nistp384",
        Algorithm::Ecdsa { curve: EcdsaCurve::NistP521 } => "ecdsa-sha2-nistp521",
        Algorithm::Rsa { .. } => "ssh-rsa",
        _ => "",
    }
}

/// For the shell that the server hands the command to.
fn quote(path: &str) -> String {
    format!("'{}'", path.replace('\'', "'\\''").replace('!', "'\\!'"))
}

/// Undoes percent-encoding.
pub(crate) fn decode(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((byte, tail)) = rest.split_first() {
        let escaped = (*byte == b'%')
            .then(|| tail.get(..2).and_then(|digits| std::str::from_utf8(digits).ok()))
            .flatten()
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match escaped {
            Some(value) => {
                out.push(value);
                rest = tail.get(2..).unwrap_or_default();
            }
            None => {
                out.push(*byte);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Compares the server's key with what is known.
struct HostKeyCheck {
    host: String,
    port: u16,
    known_hosts: KnownHosts,
    verdict: Shared,
}

impl client::Handler for HostKeyCheck {
    type Error = russh::Error;

    async fn check_server_key(&mut self, key: &PublicKeyOrCertificate) -> Result<bool, russh::Error> {
        let key = match key {
            PublicKeyOrCertificate::PublicKey { key, .. } => key,
            PublicKeyOrCertificate::Certificate(certificate) => {
                let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs());
                let judged = self.known_hosts.judge_certificate(&self.host, self.port, certificate, now);
                let trusted = judged.is_ok();
                if let Err(why) = judged {
                    *self.verdict.lock().unwrap_or_else(PoisonError::into_inner) = why.to_owned();
                }
                return Ok(trusted);
            }
        };
        let bytes = key.to_bytes().unwrap_or_default();
        let fingerprint = key.fingerprint(HashAlg::Sha256);
        let detail = match self.known_hosts.judge(&self.host, self.port, &bytes) {
            Opinion::Trusted => return Ok(true),
            Opinion::Revoked => format!("key {fingerprint} is revoked"),
            Opinion::Different => format!("key {fingerprint} is not the one in known_hosts"),
            Opinion::Unknown => "the host is not in known_hosts".to_owned(),
        };
        *self.verdict.lock().unwrap_or_else(PoisonError::into_inner) = detail;
        Ok(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_reaches_the_server_as_one_argument() {
        for (path, quoted) in [
            ("/org/app.git", "'/org/app.git'"),
            ("/a'; rm -rf /'", "'/a'\\''; rm -rf /'\\'''"),
            ("/$(id)`id`!", "'/$(id)`id`'\\!''"),
            ("-oProxyCommand=x", "'-oProxyCommand=x'"),
        ] {
            assert_eq!(quote(path), quoted);
        }
    }

    #[test]
    fn escapes_in_an_address_are_undone() {
        assert_eq!(decode("/a%20b%2fc%zz%4"), "/a b/c%zz%4");
    }

    #[test]
    fn only_algorithms_with_a_known_key_are_offered() {
        let names = |kinds: &[&str], list: &[&str]| -> Vec<String> {
            let host_key = list.iter().map(|name| (*name).to_owned()).collect();
            let algorithms = SshAlgorithms { host_key, ..SshAlgorithms::default() };
            let preferred = preferences(&algorithms, kinds, false).unwrap();
            preferred.key.iter().map(ToString::to_string).collect()
        };
        assert_eq!(names(&["ssh-rsa"], &[]), ["rsa-sha2-512", "rsa-sha2-256", "ssh-rsa"]);
        assert_eq!(names(&["ssh-ed25519"], &[]), ["ssh-ed25519"]);
        assert_eq!(names(&["ssh-rsa", "ssh-ed25519"], &["rsa-sha2-256"]), ["rsa-sha2-256"]);
        let algorithms = SshAlgorithms { kex: vec!["none".to_owned()], ..SshAlgorithms::default() };
        assert!(preferences(&algorithms, &[], false).is_err());
    }
}
