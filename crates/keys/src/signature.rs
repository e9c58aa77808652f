use std::collections::BTreeMap;
use std::fmt;

use crate::openpgp::KeyRing;
use crate::ssh::SshKeys;

/// How a signature is wrapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `-----BEGIN PGP SIGNATURE-----`; the armor of messages does not count.
    OpenPgp,
    /// `-----BEGIN SSH SIGNATURE-----`.
    Ssh,
    /// `-----BEGIN SIGNED MESSAGE-----`.
    X509,
    /// There is none.
    Empty,
    /// Anything else.
    Unknown,
}

impl Kind {
    /// Tells by the armor.
    pub fn of(signature: &[u8]) -> Self {
        let text = signature.trim_ascii_start();
        let begins = |armor: &str| text.starts_with(armor.as_bytes());
        if text.is_empty() {
            Self::Empty
        } else if begins("-----BEGIN PGP SIGNATURE-----") {
            Self::OpenPgp
        } else if begins("-----BEGIN SSH SIGNATURE-----") {
            Self::Ssh
        } else if begins("-----BEGIN SIGNED MESSAGE-----") {
            Self::X509
        } else {
            Self::Unknown
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OpenPgp => "openpgp",
            Self::Ssh => "ssh",
            Self::X509 => "x509",
            Self::Empty => "empty",
            Self::Unknown => "unknown",
        })
    }
}

/// Why a signature does not verify.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// There is no signature.
    #[error("unable to verify payload as the provided signature is empty")]
    Empty,
    /// It is wrapped in a way that cannot be verified.
    #[error("unsupported signature type: {0}")]
    Unsupported(Kind),
    /// No key of the needed kind was given; names the suffix of its Secret key.
    #[error("no {kind} public keys provided: no key in the secret ends with '{suffix}'")]
    NoKeys {
        /// `PGP` or `SSH`.
        kind: &'static str,
        /// `.asc` or `.sshpub`.
        suffix: &'static str,
    },
    /// None of the given keys vouches for it.
    #[error("unable to verify payload with any of the given {what}: {why}")]
    Refused {
        /// `key rings` or `authorized keys`.
        what: &'static str,
        /// The last key's objection.
        why: String,
    },
}

/// Checks a signature over `payload` against the public keys of a Secret and answers the id of the
/// key that made it: an OpenPGP long key id or an SSH fingerprint.
///
/// Entries whose names end in `.sshpub` are `authorized_keys` texts, all others armored key rings.
/// One that cannot be read does not keep another from vouching. `now` is in seconds since the
/// epoch.
///
/// # Errors
/// When no key vouches for the signature.
pub fn verify(
    keys: &BTreeMap<String, Vec<u8>>,
    payload: &[u8],
    signature: &[u8],
    now: i64,
) -> Result<String, SignatureError> {
    let (ssh, pgp): (Vec<_>, Vec<_>) = keys.iter().partition(|(name, _)| name.ends_with(".sshpub"));
    match Kind::of(signature) {
        Kind::Empty => Err(SignatureError::Empty),
        Kind::OpenPgp => attempt(pgp, ("PGP", ".asc", "key rings"), |text| {
            let ring = KeyRing::parse(text).map_err(|error| Objection::Unreadable(error.to_string()))?;
            ring.verify(payload, signature, now).map_err(|error| Objection::Refused(error.to_string()))
        }),
        Kind::Ssh => attempt(ssh, ("SSH", ".sshpub", "authorized keys"), |text| {
            let keys = SshKeys::parse(text).map_err(|error| Objection::Unreadable(error.to_string()))?;
            keys.verify(payload, signature).map_err(|error| Objection::Refused(error.to_string()))
        }),
        kind @ (Kind::X509 | Kind::Unknown) => Err(SignatureError::Unsupported(kind)),
    }
}

enum Objection {
    Unreadable(String),
    Refused(String),
}

/// Tries one entry after the other. What a readable one says goes before what is wrong with an
/// unreadable one.
fn attempt(
    entries: Vec<(&String, &Vec<u8>)>,
    (kind, suffix, what): (&'static str, &'static str, &'static str),
    check: impl Fn(&[u8]) -> Result<String, Objection>,
) -> Result<String, SignatureError> {
    let (mut unreadable, mut refused) = (None, None);
    for (_, text) in entries {
        match check(text) {
            Ok(id) => return Ok(id),
            Err(Objection::Unreadable(why)) => unreadable = Some(why),
            Err(Objection::Refused(why)) => refused = Some(why),
        }
    }
    let why = refused.or(unreadable).ok_or(SignatureError::NoKeys { kind, suffix })?;
    Err(SignatureError::Refused { what, why })
}
