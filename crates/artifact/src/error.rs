use std::io;

use sluice_types::{Classify, Retry};

/// Why the store failed. Paths are relative to its root.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The root is missing or no directory.
    #[error("storage path '{0}' is not a directory")]
    Root(String),
    /// A kind, namespace, name or file name that is no single path segment.
    #[error("'{0}' cannot be part of an artifact path")]
    InvalidPath(String),
    /// The object's directory cannot be made.
    #[error("failed to create artifact directory '{path}': {source}")]
    CreateDirectory {
        /// The directory.
        path: String,
        /// The cause.
        source: io::Error,
    },
    /// Somebody else is writing the same file.
    #[error("failed to acquire lock for artifact '{0}'")]
    Lock(String),
    /// A file of the store cannot be read, written or removed.
    #[error("failed to {action} '{path}': {source}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: String,
        /// The cause.
        source: io::Error,
    },
    /// The tree cannot be read or is too large.
    #[error("unable to archive artifact to storage: {0}")]
    Tree(#[from] sluice_tree::Error),
    /// A stored archive cannot be unpacked.
    #[error("unable to unpack artifact: {0}")]
    Unpack(#[from] sluice_tree::UnpackError),
    /// A stored archive is not what its digest says.
    #[error("{0}")]
    Corrupt(String),
    /// The caller no longer wants it.
    #[error("the operation was cancelled")]
    Cancelled,
}

impl Classify for Error {
    fn retry(&self) -> Retry {
        // Disks fill and empty again, and trees change with the next revision.
        Retry::Backoff
    }
}

/// Names the file in an IO error.
pub(crate) fn io(action: &'static str, path: &str) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::Io { action, path, source }
}
