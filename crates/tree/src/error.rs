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
