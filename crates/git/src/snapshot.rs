use std::collections::BTreeMap;
use std::sync::Arc;

use gix::ObjectId;
use sluice_tree::{Entry, Error as TreeError, Files, Kind};
use sluice_types::RelPath;

use crate::depot::{self, Depot};
use crate::reader::Reader;

/// A commit's files as they lie in the object database; nothing is checked out. The objects stay
/// on disk for as long as the snapshot lives.
pub struct Snapshot {
    files: BTreeMap<RelPath, Blob>,
    dirs: BTreeMap<RelPath, Folder>,
    depots: Vec<Reader>,
    limit: u64,
}

#[derive(Clone, Copy, Debug)]
struct Blob {
    kind: Kind,
    id: [u8; 20],
    depot: usize,
}

#[derive(Debug, Default)]
struct Folder {
    entries: BTreeMap<String, Kind>,
    /// The tree's id, as long as everything in it is shown.
    id: Option<[u8; 20]>,
}

impl std::fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Snapshot").field("files", &self.files.len()).finish_non_exhaustive()
    }
}

impl Snapshot {
    pub(crate) fn new(limit: u64) -> Self {
        let dirs = BTreeMap::from([(RelPath::root(), Folder::default())]);
        Self { files: BTreeMap::new(), dirs, depots: Vec::new(), limit }
    }

    /// Every file in path order: path, kind, object id. Costs no IO.
    pub fn entries(&self) -> impl Iterator<Item = (&RelPath, Kind, [u8; 20])> {
        self.files.iter().map(|(path, blob)| (path, blob.kind, blob.id))
    }

    /// How many files there are.
    pub fn len(&self) -> usize {
        self.files.len()
    }

    /// True if there is no file.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// The blob or tree id at a path, without reading it. A tree has none where submodules, sparse
    /// directories or skipped entries make it differ from what is shown.
    pub fn object_id(&self, path: &RelPath) -> Option<[u8; 20]> {
        match self.files.get(path) {
            Some(blob) => Some(blob.id),
            None => self.dirs.get(path)?.id,
        }
    }

    pub(crate) fn add_depot(&mut self, depot: Arc<Depot>) -> usize {
        self.depots.push(Reader::new(depot));
        self.depots.len() - 1
    }

    pub(crate) fn add_file(&mut self, path: RelPath, kind: Kind, id: ObjectId, depot: usize) {
        let Ok(id) = <[u8; 20]>::try_from(id.as_bytes()) else { return };
        self.link(&path, kind);
        self.files.insert(path, Blob { kind, id, depot });
    }

    pub(crate) fn add_directory(&mut self, path: RelPath, id: ObjectId) {
        self.link(&path, Kind::Directory);
        let id = <[u8; 20]>::try_from(id.as_bytes()).ok();
        self.dirs.entry(path).or_default().id = id;
    }

    /// Notes that a directory, and all above it, shows other things than its tree.
    pub(crate) fn taint(&mut self, path: &RelPath) {
        let mut path = Some(path.clone());
        while let Some(dir) = path {
            if let Some(folder) = self.dirs.get_mut(&dir) {
                folder.id = None;
            }
            path = dir.parent();
        }
    }

    pub(crate) fn exists(&self, path: &RelPath) -> bool {
        self.files.contains_key(path) || self.dirs.contains_key(path)
    }

    /// Enters a path into its directory, and that into its own.
    fn link(&mut self, path: &RelPath, kind: Kind) {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return };
        if !self.dirs.contains_key(&parent) {
            self.link(&parent, Kind::Directory);
        }
        self.dirs.entry(parent).or_default().entries.insert(name.to_owned(), kind);
    }
}

impl Files for Snapshot {
    fn read(&self, path: &RelPath) -> Result<Arc<[u8]>, TreeError> {
        let Some(blob) = self.files.get(path) else {
            let directory = self.dirs.contains_key(path);
            let error = if directory { TreeError::NotAFile } else { TreeError::NotFound };
            return Err(error(path.clone()));
        };
        let reader = self.depots.get(blob.depot).ok_or_else(|| TreeError::NotFound(path.clone()))?;
        match reader.read(&ObjectId::from(blob.id), self.limit) {
            Ok((_, bytes)) => Ok(bytes.into()),
            Err(depot::ReadError::TooLarge) => {
                Err(TreeError::TooLarge { path: path.clone(), limit: self.limit })
            }
            Err(error) => Err(TreeError::Other(format!("'{path}': {error}"))),
        }
    }

    fn list(&self, dir: &RelPath) -> Result<Vec<Entry>, TreeError> {
        let Some(folder) = self.dirs.get(dir) else {
            let file = self.files.contains_key(dir);
            let error = if file { TreeError::NotADirectory } else { TreeError::NotFound };
            return Err(error(dir.clone()));
        };
        Ok(folder.entries.iter().map(|(name, kind)| Entry { name: name.clone(), kind: *kind }).collect())
    }

    fn kind(&self, path: &RelPath) -> Result<Kind, TreeError> {
        if let Some(blob) = self.files.get(path) {
            return Ok(blob.kind);
        }
        if self.dirs.contains_key(path) {
            Ok(Kind::Directory)
        } else {
            Err(TreeError::NotFound(path.clone()))
        }
    }
}
