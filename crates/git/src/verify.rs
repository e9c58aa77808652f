use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use sluice_types::{Classify, Retry};

use crate::checkout::{CommitInfo, TagInfo};

/// Which objects must be signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The commit.
    Head,
    /// The tag.
    Tag,
    /// Both.
    TagAndHead,
}

impl Mode {
    /// True if the tag must be signed.
    pub const fn wants_tag(self) -> bool {
        matches!(self, Self::Tag | Self::TagAndHead)
    }

    /// True if the commit must be signed.
    pub const fn wants_commit(self) -> bool {
        matches!(self, Self::Head | Self::TagAndHead)
    }

    /// True if a verification in this mode answers one in `other`, too.
    pub const fn covers(self, other: Self) -> bool {
        (self.wants_tag() || !other.wants_tag()) && (self.wants_commit() || !other.wants_commit())
    }
}

impl FromStr for Mode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Ok(match text {
            "head" | "HEAD" | "" => Self::Head,
            "Tag" => Self::Tag,
            "TagAndHEAD" => Self::TagAndHead,
            other => return Err(format!("unknown verification mode '{other}'")),
        })
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Head => "HEAD",
            Self::Tag => "Tag",
            Self::TagAndHead => "TagAndHEAD",
        })
    }
}

/// A verification that held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// `verified signature of` and one line for each object.
    pub message: String,
}

/// Why a verification failed; each variant is one reason of the condition.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// A tag should be verified, but none is referred to. Reason `InvalidVerificationMode`.
    #[error("cannot verify tag object's signature if a tag reference is not specified")]
    Mode,
    /// The tag carries no signature. Reason `InvalidGitObject`.
    #[error("cannot verify signature of tag '{0}' since it is not signed")]
    Unsigned(String),
    /// Reason `InvalidTagSignature`.
    #[error("signature verification of tag '{tag}' failed: {why}")]
    Tag {
        /// Name, with hash.
        tag: String,
        /// The cause.
        why: String,
    },
    /// Reason `InvalidCommitSignature`.
    #[error("signature verification of commit '{hash}' failed: {why}")]
    Commit {
        /// The commit.
        hash: String,
        /// The cause.
        why: String,
    },
}

impl VerifyError {
    /// The condition's reason.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Mode => "InvalidVerificationMode",
            Self::Unsigned(_) => "InvalidGitObject",
            Self::Tag { .. } => "InvalidTagSignature",
            Self::Commit { .. } => "InvalidCommitSignature",
        }
    }
}

impl Classify for VerifyError {
    fn retry(&self) -> Retry {
        match self {
            Self::Mode => Retry::OnChange,
            _ => Retry::Backoff,
        }
    }
}

/// Checks signatures against the public keys of a Secret: keys ending `.sshpub` are SSH
/// `authorized_keys` texts, all others armored OpenPGP key rings. `tag` is `None` unless the
/// reference is a tag. `now` is in seconds since the epoch, for key expiry.
///
/// # Errors
/// On the first object that does not verify.
pub fn verify(
    mode: Mode,
    commit: &CommitInfo,
    tag: Option<&TagInfo>,
    keys: &BTreeMap<String, Vec<u8>>,
    now: i64,
) -> Result<Verified, VerifyError> {
    let mut message = "verified signature of".to_owned();
    let empty: &[u8] = &[];
    if mode.wants_tag() {
        let tag = tag.ok_or(VerifyError::Mode)?;
        let Some(signature) = &tag.signed.signature else {
            return Err(VerifyError::Unsigned(tag.to_string()));
        };
        let id = sluice_keys::verify(keys, &tag.signed.payload, signature, now)
            .map_err(|error| VerifyError::Tag { tag: tag.to_string(), why: error.to_string() })?;
        message.push_str(&format!("\n\t- tag '{tag}' with key '{id}'"));
    }
    if mode.wants_commit() {
        let signature = commit.signed.signature.as_deref().unwrap_or(empty);
        let hash = &commit.hash;
        let id = sluice_keys::verify(keys, &commit.signed.payload, signature, now)
            .map_err(|error| VerifyError::Commit { hash: hash.clone(), why: error.to_string() })?;
        message.push_str(&format!("\n\t- commit '{hash}' with key '{id}'"));
    }
    Ok(Verified { message })
}
