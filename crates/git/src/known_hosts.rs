use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use russh::keys::ssh_key::certificate::CertType;
use russh::keys::{Certificate, HashAlg, PublicKey};
use sha1::Sha1;

use crate::error::KnownHostsError;

/// The host keys of a `known_hosts` text; hashed entries and `[host]:port` are understood.
#[derive(Clone, Debug)]
pub struct KnownHosts(Vec<Line>);

#[derive(Clone, Debug)]
struct Line {
    hosts: Hosts,
    role: Role,
    /// `ssh-ed25519`, `ssh-rsa`, ….
    kind: String,
    key: Vec<u8>,
}

/// What a line's key is to its hosts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Own,
    /// It signs the hosts' certificates.
    Authority,
    Revoked,
}

#[derive(Clone, Debug)]
enum Hosts {
    Plain(Vec<String>),
    Hashed { salt: Vec<u8>, hash: Vec<u8> },
}

/// What a text says about a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Opinion {
    Trusted,
    Revoked,
    /// The host is known by other keys.
    Different,
    /// The host is not known.
    Unknown,
}

impl KnownHosts {
    /// Reads the text; comments and blank lines are skipped.
    ///
    /// # Errors
    /// On a line that is no entry.
    pub fn parse(text: &str) -> Result<Self, KnownHostsError> {
        let mut lines = Vec::new();
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            lines.push(parse_line(line).ok_or(KnownHostsError { line: number + 1 })?);
        }
        Ok(Self(lines))
    }

    /// The key types listed for a host.
    pub(crate) fn kinds(&self, host: &str, port: u16) -> Vec<&str> {
        let lines = self.lines(&address(host, port), Role::Own);
        lines.iter().map(|line| line.kind.as_str()).collect()
    }

    /// The keys, in their wire encoding, that may sign a host's certificate.
    pub(crate) fn authorities(&self, host: &str, port: u16) -> Vec<&[u8]> {
        let lines = self.lines(&address(host, port), Role::Authority);
        lines.iter().map(|line| line.key.as_slice()).collect()
    }

    fn lines(&self, name: &str, role: Role) -> Vec<&Line> {
        self.0.iter().filter(|line| line.role == role && line.hosts.matches(name)).collect()
    }

    /// Judges a host's certificate at a time in seconds since the epoch; says what is wrong with it.
    pub(crate) fn judge_certificate(
        &self,
        host: &str,
        port: u16,
        certificate: &Certificate,
        now: u64,
    ) -> Result<(), &'static str> {
        let name = address(host, port);
        let signer = PublicKey::from(certificate.signature_key().clone());
        let wire = signer.to_bytes().map_err(|_| "the certificate's authority is not understood")?;
        let own = PublicKey::from(certificate.public_key().clone()).to_bytes().unwrap_or_default();
        if self.lines(&name, Role::Revoked).iter().any(|line| line.key == wire || line.key == own) {
            return Err("the certificate's key is revoked");
        }
        if !self.lines(&name, Role::Authority).iter().any(|line| line.key == wire) {
            return Err("the certificate's authority is not in known_hosts");
        }
        if certificate.cert_type() != CertType::Host {
            return Err("the certificate is not a host's");
        }
        let principals = certificate.valid_principals();
        let host = host.to_ascii_lowercase();
        let named = |principal: &String| glob(principal.to_ascii_lowercase().as_bytes(), host.as_bytes());
        if !principals.is_empty() && !principals.iter().any(named) {
            return Err("the certificate is another host's");
        }
        if !certificate.critical_options().is_empty() {
            return Err("the certificate has conditions that are not understood");
        }
        // Signature and time; the authority was compared above.
        let fingerprint = signer.fingerprint(HashAlg::Sha256);
        certificate.validate_at(now, [&fingerprint]).map_err(|_| "the certificate is not valid (any more)")
    }

    /// Judges a host's key, given in its wire encoding.
    pub(crate) fn judge(&self, host: &str, port: u16, key: &[u8]) -> Opinion {
        let name = address(host, port);
        let mut opinion = Opinion::Unknown;
        for line in self.0.iter().filter(|line| line.hosts.matches(&name)) {
            match (line.key == key, line.role) {
                (true, Role::Revoked) => return Opinion::Revoked,
                (true, Role::Own) => opinion = Opinion::Trusted,
                (false, Role::Own) if opinion == Opinion::Unknown => opinion = Opinion::Different,
                _ => {}
            }
        }
        opinion
    }
}

/// How a host is written: with its port unless that is 22.
pub(crate) fn address(host: &str, port: u16) -> String {
    let host = host.to_ascii_lowercase();
    if port == 22 { host } else { format!("[{host}]:{port}") }
}

/// `None` for malformed lines.
fn parse_line(line: &str) -> Option<Line> {
    let mut words = line.split_whitespace();
    let mut hosts = words.next()?;
    let marker = hosts.strip_prefix('@');
    if marker.is_some() {
        hosts = words.next()?;
    }
    let kind = words.next()?.to_owned();
    let key = STANDARD.decode(words.next()?).ok()?;
    let named = key.get(4..4 + kind.len())? == kind.as_bytes();
    if !named {
        return None;
    }
    let role = match marker {
        None => Role::Own,
        Some("revoked") => Role::Revoked,
        Some("cert-authority") => Role::Authority,
        Some(_) => return None,
    };
    let hosts = match hosts.strip_prefix("|1|") {
        Some(rest) => {
            let (salt, hash) = rest.split_once('|')?;
            Hosts::Hashed { salt: STANDARD.decode(salt).ok()?, hash: STANDARD.decode(hash).ok()? }
        }
        None => Hosts::Plain(hosts.split(',').map(str::to_ascii_lowercase).collect()),
    };
    Some(Line { hosts, role, kind, key })
}

impl Hosts {
    fn matches(&self, name: &str) -> bool {
        match self {
            Self::Plain(patterns) => {
                let mut found = false;
                for pattern in patterns {
                    match pattern.strip_prefix('!') {
                        Some(pattern) if glob(pattern.as_bytes(), name.as_bytes()) => return false,
                        Some(_) => {}
                        None => found |= glob(default_port(pattern).as_bytes(), name.as_bytes()),
                    }
                }
                found
            }
            Self::Hashed { salt, hash } => {
                let Ok(mut mac) = Hmac::<Sha1>::new_from_slice(salt) else { return false };
                mac.update(name.as_bytes());
                mac.verify_slice(hash).is_ok()
            }
        }
    }
}

/// `[host]:22` means the same as `host`.
fn default_port(pattern: &str) -> &str {
    pattern.strip_prefix('[').and_then(|rest| rest.strip_suffix("]:22")).unwrap_or(pattern)
}

/// `*` and `?`, nothing else.
fn glob(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(c) if *c == b'?' || name.get(n) == Some(c) => {
                p += 1;
                n += 1;
            }
            _ => match star {
                Some((at, seen)) => {
                    star = Some((at, seen + 1));
                    p = at + 1;
                    n = seen + 1;
                }
                None => return false,
            },
        }
    }
    pattern.get(p..).unwrap_or_default().iter().all(|c| *c == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl";

    fn key() -> Vec<u8> {
        STANDARD.decode(KEY).unwrap()
    }

    fn opinion(text: &str, host: &str, port: u16) -> Opinion {
        KnownHosts::parse(text).unwrap().judge(host, port, &key())
    }

    #[test]
    fn a_key_is_judged_by_the_lines_for_its_host() {
        for (hosts, host, port, expected) in [
            ("github.com", "github.com", 22, Opinion::Trusted),
            ("github.com,1.2.3.4", "1.2.3.4", 22, Opinion::Trusted),
            ("GitHub.com", "github.COM", 22, Opinion::Trusted),
            ("github.com", "github.com", 2222, Opinion::Unknown),
            ("[github.com]:2222", "github.com", 2222, Opinion::Trusted),
            ("[github.com]:22", "github.com", 22, Opinion::Trusted),
            ("*.example.com,!bad.example.com", "git.example.com", 22, Opinion::Trusted),
            ("*.example.com,!bad.example.com", "bad.example.com", 22, Opinion::Unknown),
            ("gi?.example.com", "git.example.com", 22, Opinion::Trusted),
            ("@revoked github.com", "github.com", 22, Opinion::Revoked),
            ("@cert-authority github.com", "github.com", 22, Opinion::Unknown),
        ] {
            let text = format!("# comment\n\n{hosts} ssh-ed25519 {KEY} me@x\n");
            assert_eq!(opinion(&text, host, port), expected, "{hosts} {host}:{port}");
        }
    }

    #[test]
    fn hashed_names_match_their_host_only() {
        // Written by `ssh-keygen -H` for github.com.
        let text = format!("{HASHED} ssh-ed25519 {KEY}\n");
        assert_eq!(opinion(&text, "github.com", 22), Opinion::Trusted);
        assert_eq!(opinion(&text, "gitlab.com", 22), Opinion::Unknown);
    }

    const HASHED: &str = "|1|j/09poo901ApYhVOAyurZrceco0=|zi1IRcdVMWf653aYJISRpraxPEw=";

    #[test]
    fn another_key_of_a_known_host_is_told_from_an_unknown_host() {
        let other = KEY.replace("OMqq", "OMqr");
        let text = format!("github.com ssh-ed25519 {other}\n");
        assert_eq!(opinion(&text, "github.com", 22), Opinion::Different);
        assert_eq!(KnownHosts::parse(&text).unwrap().kinds("github.com", 22), ["ssh-ed25519"]);
    }

    #[test]
    fn a_malformed_line_is_named() {
        for text in
            ["\ngithub.com", "\ngithub.com ssh-ed25519 !!!", "\ngithub.com ssh-rsa AAAAC3NzaC1lZDI1NTE5AAAA"]
        {
            assert_eq!(KnownHosts::parse(text).unwrap_err(), KnownHostsError { line: 2 });
        }
    }
}
