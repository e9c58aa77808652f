use std::sync::Arc;

use sluice_types::RelPath;

use crate::error::Error;
use crate::files::{Entry, Files, Kind};
use crate::memory::Memory;

/// Files in memory over another tree; where both have a path, the upper one wins.
#[derive(Clone, Debug, Default)]
pub struct Overlay<F> {
    upper: Memory,
    lower: F,
}

impl<F: Files> Overlay<F> {
    /// Lays an empty tree over another.
    pub fn new(lower: F) -> Self {
        Self { upper: Memory::default(), lower }
    }

    /// Puts a file on top.
    ///
    /// # Errors
    /// [`Error::NotAFile`] where either tree has a directory, [`Error::NotADirectory`] where either has a
    /// file in place of a parent.
    pub fn insert(&mut self, path: &RelPath, bytes: impl Into<Arc<[u8]>>) -> Result<(), Error> {
        self.clear_for(path)?;
        self.upper.insert(path, bytes)
    }

    /// As [`Overlay::insert`], with the executable bit.
    ///
    /// # Errors
    /// As [`Overlay::insert`].
    pub fn insert_executable(&mut self, path: &RelPath, bytes: impl Into<Arc<[u8]>>) -> Result<(), Error> {
        self.clear_for(path)?;
        self.upper.insert_executable(path, bytes)
    }

    fn clear_for(&self, path: &RelPath) -> Result<(), Error> {
        if self.lower.kind(path) == Ok(Kind::Directory) {
            return Err(Error::NotAFile(path.clone()));
        }
        let mut parent = path.parent();
        while let Some(dir) = parent {
            if self.lower.kind(&dir).is_ok_and(Kind::is_file) {
                return Err(Error::NotADirectory(dir));
            }
            parent = dir.parent();
        }
        Ok(())
    }

    /// What lies on top.
    pub const fn upper(&self) -> &Memory {
        &self.upper
    }

    /// What lies below.
    pub const fn lower(&self) -> &F {
        &self.lower
    }
}

impl<F: Files> Files for Overlay<F> {
    fn read(&self, path: &RelPath) -> Result<Arc<[u8]>, Error> {
        match self.upper.read(path) {
            Ok(bytes) => Ok(bytes),
            Err(Error::NotAFile(_)) if !path.is_root() => Err(Error::NotAFile(path.clone())),
            Err(_) => self.lower.read(path),
        }
    }

    fn list(&self, dir: &RelPath) -> Result<Vec<Entry>, Error> {
        let upper = match self.upper.list(dir) {
            Ok(entries) => entries,
            Err(Error::NotFound(_)) => return self.lower.list(dir),
            Err(error) => return Err(error),
        };
        let lower = match self.lower.list(dir) {
            Ok(entries) => entries,
            Err(Error::NotFound(_)) => Vec::new(),
            Err(error) => return Err(error),
        };
        let mut merged = upper;
        for entry in lower {
            if let Err(at) = merged.binary_search_by(|other| other.name.cmp(&entry.name)) {
                merged.insert(at, entry);
            }
        }
        Ok(merged)
    }

    fn kind(&self, path: &RelPath) -> Result<Kind, Error> {
        if path.is_root() {
            return Ok(Kind::Directory);
        }
        self.upper.kind(path).or_else(|_| self.lower.kind(path))
    }

    fn identity(&self, path: &RelPath) -> Option<[u8; 20]> {
        if self.upper.kind(path).is_ok() { None } else { self.lower.identity(path) }
    }

    fn canonical(&self, path: &RelPath) -> Result<RelPath, Error> {
        if self.upper.kind(path).is_ok_and(Kind::is_file) {
            return Ok(path.clone());
        }
        match self.lower.canonical(path) {
            Err(Error::NotFound(_)) => Ok(path.clone()),
            answer => answer,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn upper_files_win_and_listings_merge() {
        let lower = Memory::of([("a/x", "old"), ("a/z", "z")]).unwrap();
        let mut tree = Overlay::new(&lower);
        tree.insert(&RelPath::new("a/x").unwrap(), *b"new").unwrap();
        tree.insert(&RelPath::new("a/y").unwrap(), *b"y").unwrap();
        assert_eq!(&*tree.read(&RelPath::new("a/x").unwrap()).unwrap(), b"new");
        assert_eq!(&*tree.read(&RelPath::new("a/z").unwrap()).unwrap(), b"z");
        let names: Vec<_> =
            tree.list(&RelPath::new("a").unwrap()).unwrap().into_iter().map(|e| e.name).collect();
        assert_eq!(names, ["x", "y", "z"]);
    }

    #[test]
    fn a_file_cannot_cover_a_directory_below() {
        let lower = Memory::of([("a/x", "old")]).unwrap();
        let mut tree = Overlay::new(&lower);
        assert!(tree.insert(&RelPath::new("a").unwrap(), *b"new").is_err());
        assert!(tree.insert(&RelPath::new("a/x/y").unwrap(), *b"new").is_err());
    }
}
