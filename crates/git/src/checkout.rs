use std::fmt;
use std::sync::Arc;

use sluice_types::RelPath;

use crate::object;
use crate::reference::commit_id;
use crate::snapshot::Snapshot;

/// How much of the tree to take.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FetchOptions {
    /// Mount submodules, ten levels deep at most.
    pub recurse_submodules: bool,
    /// Only these directories; everything when empty.
    pub sparse: Vec<String>,
}

/// One fetched state.
#[derive(Clone, Debug)]
pub struct Checkout {
    /// The commit.
    pub commit: CommitInfo,
    /// The tag that led to it; lightweight tags have no hash and no signature.
    pub tag: Option<TagInfo>,
    /// The tree, read from the object database.
    pub files: Arc<Snapshot>,
    /// What is in the tree but not in `files`.
    pub skipped: Skipped,
}

/// Entries that are no files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Skipped {
    /// How many symbolic links there are.
    pub symlinks: usize,
    /// The first few of their paths.
    pub symlink_paths: Vec<RelPath>,
    /// Submodules that were not asked for, or that `.gitmodules` does not name.
    pub submodules: usize,
    /// Entries whose names are not UTF-8.
    pub unnamed: usize,
}

/// A signed object, split into what was signed and the signature.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Signed {
    /// The bytes that the signature covers.
    pub payload: Vec<u8>,
    /// The armored signature, if there is one.
    pub signature: Option<Vec<u8>>,
}

/// A commit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CommitInfo {
    /// Hexadecimal hash.
    pub hash: String,
    /// The whole message.
    pub message: String,
    /// `Name <email>`.
    pub author: String,
    /// `Name <email>`.
    pub committer: String,
    /// Commit time in seconds since the epoch.
    pub seconds: i64,
    /// For verification.
    pub signed: Signed,
}

impl CommitInfo {
    /// Reads a commit object; `None` when it is malformed.
    pub fn parse(hash: &str, raw: &[u8]) -> Option<Self> {
        object::commit_info(commit_id(hash)?, raw)
    }

    /// The first line of the message, at most 50 characters and then `...`.
    pub fn subject(&self) -> String {
        let first = self.message.trim_start().lines().next().unwrap_or_default().trim_end();
        match first.char_indices().nth(50) {
            Some((end, _)) => format!("{}...", first.get(..end).unwrap_or_default()),
            None => first.to_owned(),
        }
    }
}

/// A tag reference.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TagInfo {
    /// Short name.
    pub name: String,
    /// Hash of the tag object; `None` for lightweight tags.
    pub hash: Option<String>,
    /// For verification.
    pub signed: Signed,
}

impl TagInfo {
    /// Reads a tag object; `None` when its hash is none.
    pub fn parse(name: &str, hash: &str, raw: &[u8]) -> Option<Self> {
        Some(object::tag_info(name, commit_id(hash)?, raw))
    }
}

impl fmt::Display for TagInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.hash {
            Some(hash) => write!(f, "{}@{hash}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_subject_is_cut_after_fifty_characters() {
        let subject = |message: String| CommitInfo { message, ..CommitInfo::default() }.subject();
        assert_eq!(subject("\u{e4}".repeat(80)), format!("{}...", "\u{e4}".repeat(50)));
        assert_eq!(subject(format!("{}\n\nbody", "x".repeat(50))), "x".repeat(50));
        assert_eq!(subject(String::new()), "");
    }
}
