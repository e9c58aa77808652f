use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use sluice_types::RelPath;

use crate::error::Error;
use crate::files::{Entry, Files, Kind};
use crate::hash::Hash;
use crate::index::{Index, Mark};

/// Everything somebody learned from a tree. An index that agrees with it stands for a tree from which
/// the same would be learned.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadSet {
    /// Files that were read.
    reads: BTreeMap<RelPath, Hash>,
    /// Directories that were listed.
    listings: BTreeMap<RelPath, Hash>,
    /// Paths of which only the kind was asked.
    kinds: BTreeMap<RelPath, Kind>,
    /// Paths at which nothing was found.
    absent: BTreeSet<RelPath>,
    /// Something failed in a way that an index cannot answer for.
    broken: bool,
}

impl ReadSet {
    /// True if reading again, from the tree that the index describes, gives the same answers.
    pub fn holds(&self, index: &Index) -> bool {
        let reads = self.reads.iter().all(
            |(path, hash)| matches!(index.get(path), Some(Mark::File { content, .. }) if content == hash),
        );
        let listings = self.listings.iter().all(
            |(path, hash)| matches!(index.get(path), Some(Mark::Directory { listing, .. }) if listing == hash),
        );
        !self.broken
            && reads
            && listings
            && self.kinds.iter().all(|(path, kind)| index.get(path).is_some_and(|mark| mark.kind() == *kind))
            && self.absent.iter().all(|path| index.get(path).is_none())
    }

    /// Adds what another read from the same tree.
    pub fn merge(&mut self, other: Self) {
        self.reads.extend(other.reads);
        self.listings.extend(other.listings);
        self.kinds.extend(other.kinds);
        self.absent.extend(other.absent);
        self.broken |= other.broken;
    }

    /// The number of paths noted.
    pub fn len(&self) -> usize {
        self.reads.len() + self.listings.len() + self.kinds.len() + self.absent.len()
    }

    /// True when nothing was read.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn note(&mut self, path: &RelPath, error: &Error) {
        match error {
            Error::NotFound(_) => {
                self.absent.insert(path.clone());
            }
            Error::NotAFile(_) => {
                self.kinds.insert(path.clone(), Kind::Directory);
            }
            // An index cannot tell what else would go wrong.
            _ => self.broken = true,
        }
    }
}

/// A tree that notes what is read from it.
#[derive(Debug, Default)]
pub struct Recording<F> {
    inner: F,
    set: Mutex<ReadSet>,
}

impl<F: Files> Recording<F> {
    /// Starts with nothing noted.
    pub fn new(inner: F) -> Self {
        Self { inner, set: Mutex::default() }
    }

    /// Ends the recording.
    pub fn finish(self) -> ReadSet {
        self.set.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    fn with(&self, note: impl FnOnce(&mut ReadSet)) {
        note(&mut self.set.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl<F: Files> Files for Recording<F> {
    fn read(&self, path: &RelPath) -> Result<Arc<[u8]>, Error> {
        let result = self.inner.read(path);
        match &result {
            Ok(bytes) => {
                if !self.set.lock().unwrap_or_else(PoisonError::into_inner).reads.contains_key(path) {
                    let hash = Hash::of(bytes);
                    self.with(|set| _ = set.reads.insert(path.clone(), hash));
                }
            }
            Err(error) => self.with(|set| set.note(path, error)),
        }
        result
    }

    fn list(&self, dir: &RelPath) -> Result<Vec<Entry>, Error> {
        let result = self.inner.list(dir);
        match &result {
            Ok(entries) => {
                let hash = Hash::of_listing(entries);
                self.with(|set| _ = set.listings.insert(dir.clone(), hash));
            }
            // The kind of the path itself says which file stands in the way.
            Err(Error::NotADirectory(_)) => match self.inner.kind(dir) {
                Ok(kind) => self.with(|set| _ = set.kinds.insert(dir.clone(), kind)),
                Err(_) => self.with(|set| set.broken = true),
            },
            Err(error) => self.with(|set| set.note(dir, error)),
        }
        result
    }

    fn kind(&self, path: &RelPath) -> Result<Kind, Error> {
        let result = self.inner.kind(path);
        match &result {
            Ok(kind) => self.with(|set| _ = set.kinds.insert(path.clone(), *kind)),
            Err(error) => self.with(|set| set.note(path, error)),
        }
        result
    }

    fn identity(&self, path: &RelPath) -> Option<[u8; 20]> {
        self.inner.identity(path)
    }

    fn canonical(&self, path: &RelPath) -> Result<RelPath, Error> {
        let result = self.inner.canonical(path);
        match &result {
            Ok(real) if real == path => {}
            // An index cannot tell where links lead.
            Ok(_) => self.with(|set| set.broken = true),
            Err(error) => self.with(|set| set.note(path, error)),
        }
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::Memory;

    fn path(text: &str) -> RelPath {
        RelPath::new(text).unwrap()
    }

    fn record() -> ReadSet {
        let tree =
            Memory::of([("app/kustomization.yaml", "a"), ("app/b.yaml", "b"), ("other/c", "c")]).unwrap();
        let recording = Recording::new(&tree);
        recording.read(&path("app/kustomization.yaml")).unwrap();
        recording.list(&path("app")).unwrap();
        recording.read(&path("app/kustomization.yml")).unwrap_err();
        recording.list(&path("app/b.yaml")).unwrap_err();
        recording.finish()
    }

    #[test]
    fn only_changes_to_what_was_read_matter() {
        let set = record();
        let holds = |files: &[(&str, &str)]| {
            set.holds(&Index::of(&Memory::of(files.iter().copied()).unwrap()).unwrap())
        };
        let kust = ("app/kustomization.yaml", "a");
        assert!(holds(&[kust, ("app/b.yaml", "b"), ("other/c", "changed"), ("new/d", "")]));
        assert!(holds(&[kust, ("app/b.yaml", "not read")]));
        assert!(!holds(&[("app/kustomization.yaml", "A"), ("app/b.yaml", "b")]));
        assert!(!holds(&[kust, ("app/b.yaml", "b"), ("app/e", "")]));
        assert!(!holds(&[kust, ("app/b.yaml/now-a-directory", "b")]));
        assert!(!holds(&[]));
    }

    /// A tree in which `link` stands for `a`.
    struct Linked(Memory);

    impl Files for Linked {
        fn read(&self, path: &RelPath) -> Result<Arc<[u8]>, Error> {
            self.0.read(path)
        }
        fn list(&self, dir: &RelPath) -> Result<Vec<Entry>, Error> {
            self.0.list(dir)
        }
        fn kind(&self, path: &RelPath) -> Result<Kind, Error> {
            self.0.kind(path)
        }
        fn canonical(&self, path: &RelPath) -> Result<RelPath, Error> {
            if path.as_str() == "link" { RelPath::new("a").map_err(Error::from) } else { Ok(path.clone()) }
        }
    }

    #[test]
    fn a_link_that_was_followed_is_never_taken_for_unchanged() {
        let tree = Linked(Memory::of([("a", "1")]).unwrap());
        let holds = |asked: &str| {
            let recording = Recording::new(&tree);
            recording.canonical(&path(asked)).unwrap();
            recording.finish().holds(&Index::of(&tree.0).unwrap())
        };
        assert!(holds("a"));
        assert!(!holds("link"));
    }

    #[test]
    fn a_set_survives_serialisation() {
        let set = record();
        assert_eq!(serde_json::from_str::<ReadSet>(&serde_json::to_string(&set).unwrap()).unwrap(), set);
    }
}
