//! SSH signatures, as `ssh-keygen -Y sign` makes them.

use ssh_key::{Algorithm, HashAlg, PublicKey, SshSig};

/// The only namespace that Git signs in.
const NAMESPACE: &str = "git";

/// Why a text holds no SSH keys.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unable to parse authorized key in line {line}")]
pub struct SshKeysError {
    /// Counted from one; zero when there is no key at all.
    pub line: usize,
}

/// Why no key vouches for a signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("signature cannot be read")]
    Malformed,
    #[error("signature is for another purpose than git")]
    Namespace,
    #[error("insecure algorithm")]
    Weak,
    #[error("signature made by unknown key")]
    Unknown,
    #[error("invalid signature")]
    Invalid,
}

/// Public keys of one `authorized_keys` text.
#[derive(Clone, Debug)]
pub struct SshKeys(Vec<PublicKey>);

impl SshKeys {
    /// Reads the text strictly; blank lines and comments are skipped, options have no effect.
    ///
    /// # Errors
    /// On the first line that is no key, or when there is none.
    pub fn parse(text: &[u8]) -> Result<Self, SshKeysError> {
        let text = std::str::from_utf8(text).map_err(|_| SshKeysError { line: 0 })?;
        let mut keys = Vec::new();
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            keys.push(parse_line(line).ok_or(SshKeysError { line: number + 1 })?);
        }
        if keys.is_empty() { Err(SshKeysError { line: 0 }) } else { Ok(Self(keys)) }
    }

    /// Checks an armored signature and answers the key's fingerprint.
    pub(crate) fn verify(&self, payload: &[u8], signature: &[u8]) -> Result<String, Refusal> {
        let signature = SshSig::from_pem(signature).map_err(|_| Refusal::Malformed)?;
        if signature.namespace() != NAMESPACE {
            return Err(Refusal::Namespace);
        }
        // RSA with SHA-1 is what OpenSSH refuses, too.
        let weak = matches!(signature.algorithm(), Algorithm::Rsa { hash: None } | Algorithm::Dsa);
        if weak || !matches!(signature.hash_alg(), HashAlg::Sha256 | HashAlg::Sha512) {
            return Err(Refusal::Weak);
        }
        let key = self.0.iter().find(|key| key.key_data() == signature.public_key());
        let key = key.ok_or(Refusal::Unknown)?;
        key.verify(NAMESPACE, payload, &signature).map_err(|_| Refusal::Invalid)?;
        Ok(key.fingerprint(HashAlg::Sha256).to_string())
    }
}

/// One line: options, if any, then type, key and comment.
fn parse_line(line: &str) -> Option<PublicKey> {
    let key = |line: &str| {
        let mut words = line.split_ascii_whitespace();
        PublicKey::from_openssh(&format!("{} {}", words.next()?, words.next()?)).ok()
    };
    let mut quoted = false;
    let mut end_of_options = || {
        line.find(|c: char| {
            quoted ^= c == '"';
            c.is_ascii_whitespace() && !quoted
        })
    };
    key(line).or_else(|| key(line.get(end_of_options()?..)?))
}
