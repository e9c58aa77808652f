use std::fmt;

use sluice_types::RelPath;

/// Why a path could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Nothing is there.
    #[error("'{0}': no such file or directory")]
    NotFound(RelPath),
    /// A directory where a file is wanted.
    #[error("'{0}': is a directory")]
    NotAFile(RelPath),
    /// A file where a directory is wanted.
    #[error("'{0}': not a directory")]
    NotADirectory(RelPath),
    /// The file is larger than the tree may hand out.
    #[error("'{path}': larger than the limit of {limit} bytes")]
    TooLarge {
        /// The file.
        path: RelPath,
        /// In bytes.
        limit: u64,
    },
    /// The whole tree is larger than it may be.
    #[error("{0}")]
    Exceeds(Bound),
    /// A path leads out of the tree.
    #[error("'{0}': leads out of the root")]
    Escape(String),
    /// The medium below the tree failed.
    #[error("{0}")]
    Other(String),
}

impl From<sluice_types::PathError> for Error {
    fn from(error: sluice_types::PathError) -> Self {
        use sluice_types::PathError;
        match error {
            PathError::Absolute(path) | PathError::Escapes(path) => Self::Escape(path),
            PathError::Nul(_) => Self::Other(error.to_string()),
        }
    }
}

/// A bound that a whole tree exceeds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// Bytes of all files.
    Bytes(u64),
    /// Files and directories.
    Entries(usize),
    /// Directories below each other.
    Depth(usize),
    /// Ignore rules.
    Rules(usize),
    /// Ignore rules times files and directories.
    Decisions,
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes(limit) => write!(f, "tree is larger than {limit} bytes"),
            Self::Entries(limit) => write!(f, "tree has more than {limit} entries"),
            Self::Depth(limit) => write!(f, "tree is deeper than {limit} directories"),
            Self::Rules(limit) => write!(f, "more than {limit} ignore rules"),
            Self::Decisions => write!(f, "tree has too many entries for so many ignore rules"),
        }
    }
}
