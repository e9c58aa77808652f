use std::collections::BTreeMap;
use std::sync::Arc;

use sluice_types::RelPath;

use crate::error::Error;
use crate::files::{Entry, Files, Kind};

/// A tree held in memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    root: Directory,
}

type Directory = BTreeMap<Box<str>, Node>;

#[derive(Clone, Debug, PartialEq, Eq)]
enum Node {
    File { bytes: Arc<[u8]>, executable: bool },
    Directory(Directory),
}

impl Node {
    const fn kind(&self) -> Kind {
        match self {
            Self::File { executable: false, .. } => Kind::File,
            Self::File { executable: true, .. } => Kind::Executable,
            Self::Directory(_) => Kind::Directory,
        }
    }
}

impl Memory {
    /// Builds a tree from paths and contents.
    ///
    /// # Errors
    /// When a path is not confined, or one is used both as a file and as a directory.
    pub fn of<P: AsRef<str>, B: AsRef<[u8]>>(files: impl IntoIterator<Item = (P, B)>) -> Result<Self, Error> {
        let mut tree = Self::default();
        for (path, bytes) in files {
            tree.insert(&RelPath::new(path.as_ref())?, bytes.as_ref())?;
        }
        Ok(tree)
    }

    /// Puts a file, replacing one that is already there. Missing parents are made.
    ///
    /// # Errors
    /// [`Error::NotADirectory`] when a parent is a file, [`Error::NotAFile`] when a directory is there.
    pub fn insert(&mut self, path: &RelPath, bytes: impl Into<Arc<[u8]>>) -> Result<(), Error> {
        self.put(path, bytes.into(), false)
    }

    /// As [`Memory::insert`], with the executable bit.
    ///
    /// # Errors
    /// As [`Memory::insert`].
    pub fn insert_executable(&mut self, path: &RelPath, bytes: impl Into<Arc<[u8]>>) -> Result<(), Error> {
        self.put(path, bytes.into(), true)
    }

    fn put(&mut self, path: &RelPath, bytes: Arc<[u8]>, executable: bool) -> Result<(), Error> {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(Error::NotAFile(path.clone()));
        };
        let directory = self.open(&parent)?;
        if let Some(Node::Directory(_)) = directory.get(name) {
            return Err(Error::NotAFile(path.clone()));
        }
        directory.insert(name.into(), Node::File { bytes, executable });
        Ok(())
    }

    /// Makes a directory and its parents.
    ///
    /// # Errors
    /// [`Error::NotADirectory`] when the path or a parent of it is a file.
    pub fn make_directory(&mut self, path: &RelPath) -> Result<(), Error> {
        self.open(path).map(|_| ())
    }

    fn open(&mut self, dir: &RelPath) -> Result<&mut Directory, Error> {
        let mut directory = &mut self.root;
        for segment in dir.components() {
            let node = directory.entry(segment.into()).or_insert_with(|| Node::Directory(Directory::new()));
            match node {
                Node::Directory(next) => directory = next,
                Node::File { .. } => return Err(Error::NotADirectory(dir.clone())),
            }
        }
        Ok(directory)
    }

    /// Takes a file or a whole directory out; `false` when nothing was there.
    pub fn remove(&mut self, path: &RelPath) -> bool {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return false;
        };
        let mut directory = &mut self.root;
        for segment in parent.components() {
            match directory.get_mut(segment) {
                Some(Node::Directory(next)) => directory = next,
                _ => return false,
            }
        }
        directory.remove(name).is_some()
    }

    /// True when there is neither a file nor a directory.
    pub fn is_empty(&self) -> bool {
        self.root.is_empty()
    }

    /// Every file in path order.
    pub fn paths(&self) -> Vec<RelPath> {
        let mut found = Vec::new();
        collect(&self.root, &RelPath::root(), &mut found);
        found
    }

    fn directory(&self, dir: &RelPath) -> Result<&Directory, Error> {
        let mut directory = &self.root;
        let mut segments = dir.components().peekable();
        while let Some(segment) = segments.next() {
            match directory.get(segment) {
                Some(Node::Directory(next)) => directory = next,
                Some(Node::File { .. }) if segments.peek().is_none() => {
                    return Err(Error::NotADirectory(dir.clone()));
                }
                // Below a file there is nothing.
                Some(Node::File { .. }) | None => return Err(Error::NotFound(dir.clone())),
            }
        }
        Ok(directory)
    }

    fn node(&self, path: &RelPath) -> Result<&Node, Error> {
        let missing = || Error::NotFound(path.clone());
        let (parent, name) = path.parent().zip(path.file_name()).ok_or_else(missing)?;
        self.directory(&parent).map_err(|_| missing())?.get(name).ok_or_else(missing)
    }
}

fn collect(directory: &Directory, at: &RelPath, found: &mut Vec<RelPath>) {
    for (name, node) in directory {
        let Ok(path) = at.join(name) else { continue };
        match node {
            Node::File { .. } => found.push(path),
            Node::Directory(next) => collect(next, &path, found),
        }
    }
}

impl Files for Memory {
    fn read(&self, path: &RelPath) -> Result<Arc<[u8]>, Error> {
        if path.is_root() {
            return Err(Error::NotAFile(path.clone()));
        }
        match self.node(path)? {
            Node::File { bytes, .. } => Ok(bytes.clone()),
            Node::Directory(_) => Err(Error::NotAFile(path.clone())),
        }
    }

    fn list(&self, dir: &RelPath) -> Result<Vec<Entry>, Error> {
        let entries = self.directory(dir)?.iter();
        Ok(entries.map(|(name, node)| Entry { name: name.to_string(), kind: node.kind() }).collect())
    }

    fn kind(&self, path: &RelPath) -> Result<Kind, Error> {
        if path.is_root() {
            return Ok(Kind::Directory);
        }
        self.node(path).map(Node::kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> RelPath {
        RelPath::new(text).unwrap()
    }

    #[test]
    fn listings_are_sorted_bytewise_by_name() {
        let tree = Memory::of([("b", "1"), ("a/x", "2"), ("a-b", "3"), ("B", "4")]).unwrap();
        let names: Vec<_> = tree.list(&RelPath::root()).unwrap().into_iter().map(|e| e.name).collect();
        assert_eq!(names, ["B", "a", "a-b", "b"]);
    }

    #[test]
    fn a_path_is_a_file_or_a_directory_but_never_both() {
        let mut tree = Memory::of([("a/x", "1"), ("f", "2")]).unwrap();
        assert_eq!(tree.insert(&path("a"), *b"3"), Err(Error::NotAFile(path("a"))));
        assert_eq!(tree.insert(&path("f/g"), *b"3"), Err(Error::NotADirectory(path("f"))));
        assert_eq!(tree.read(&path("a")), Err(Error::NotAFile(path("a"))));
        assert_eq!(tree.list(&path("f")), Err(Error::NotADirectory(path("f"))));
        assert_eq!(tree.list(&path("f/g")), Err(Error::NotFound(path("f/g"))));
        assert_eq!(tree.read(&path("f/g")), Err(Error::NotFound(path("f/g"))));
        assert_eq!(tree.kind(&RelPath::root()), Ok(Kind::Directory));
    }

    #[test]
    fn what_was_removed_is_gone() {
        let mut tree = Memory::of([("a/x", "1"), ("a/y", "2")]).unwrap();
        assert!(tree.remove(&path("a/x")));
        assert!(!tree.remove(&path("a/x")));
        assert_eq!(tree.paths(), [path("a/y")]);
    }
}
