use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sluice_types::RelPath;

use crate::error::Error;

/// What lies at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Kind {
    /// A regular file.
    File,
    /// A regular file with an executable bit.
    Executable,
    /// A directory.
    Directory,
}

impl Kind {
    /// True for regular files, executable or not.
    pub const fn is_file(self) -> bool {
        matches!(self, Self::File | Self::Executable)
    }
}

/// One entry of a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// A single path segment.
    pub name: String,
    /// What it is.
    pub kind: Kind,
}

/// A read-only tree of files, confined to its root.
pub trait Files: Send + Sync {
    /// The whole content of a file.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::NotAFile`], [`Error::TooLarge`], or what the medium reports.
    fn read(&self, path: &RelPath) -> Result<Arc<[u8]>, Error>;

    /// The direct entries of a directory, sorted bytewise by name.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::NotADirectory`], or what the medium reports.
    fn list(&self, dir: &RelPath) -> Result<Vec<Entry>, Error>;

    /// What lies at a path.
    ///
    /// # Errors
    /// [`Error::NotFound`] when nothing does.
    fn kind(&self, path: &RelPath) -> Result<Kind, Error>;

    /// A cheap name of a file's content, such as a Git blob id: within one kind of tree, equal names mean
    /// equal content. `None` where reading is the only way to know.
    fn identity(&self, path: &RelPath) -> Option<[u8; 20]> {
        let _ = path;
        None
    }

    /// The path with every symbolic link in it resolved; trees without links answer the path itself.
    ///
    /// # Errors
    /// When a link leads out of the tree or nowhere.
    fn canonical(&self, path: &RelPath) -> Result<RelPath, Error> {
        Ok(path.clone())
    }
}

macro_rules! delegate {
    ($($pointer:ty),*) => {$(
        impl<F: Files + ?Sized> Files for $pointer {
            fn read(&self, path: &RelPath) -> Result<Arc<[u8]>, Error> {
                (**self).read(path)
            }
            fn list(&self, dir: &RelPath) -> Result<Vec<Entry>, Error> {
                (**self).list(dir)
            }
            fn kind(&self, path: &RelPath) -> Result<Kind, Error> {
                (**self).kind(path)
            }
            fn identity(&self, path: &RelPath) -> Option<[u8; 20]> {
                (**self).identity(path)
            }
            fn canonical(&self, path: &RelPath) -> Result<RelPath, Error> {
                (**self).canonical(path)
            }
        }
    )*};
}

delegate!(&F, Arc<F>, Box<F>);
