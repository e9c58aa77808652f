//! The object database of one mirror: a directory that vanishes with its last reader.

use std::io::BufRead;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use gix::objs::Exists;
use gix::objs::Kind;
use gix::odb::{HeaderExt, Store, loose, pack};
use gix::prelude::{Find, Write};
use gix::{ObjectId, oid};

use crate::error::Error;
use crate::wire::{describe, write_pack};

/// Packs up to these sizes become loose objects, so that a thousand one-file commits do not
/// leave a thousand packs behind.
const SMALL_PACK: u64 = 1 << 20;
const SMALL_COUNT: u32 = 500;
/// Beyond so many, a depot is replaced by a fresh one.
const LOOSE: usize = 20_000;
const PACKS: usize = 40;
/// Bytes of a commit, tag or tree: what describes files is small.
pub(crate) const STRUCTURE: u64 = 64 << 20;
/// Tips told to the server as known.
const TIPS: usize = 16;

/// One mirror's objects.
pub(crate) struct Depot {
    dir: PathBuf,
    store: Arc<Store>,
    object_limit: u64,
    bytes: AtomicU64,
    first: AtomicU64,
    loose: AtomicUsize,
    packs: AtomicUsize,
    tips: Mutex<Vec<ObjectId>>,
}

impl std::fmt::Debug for Depot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Depot").field("dir", &self.dir).finish_non_exhaustive()
    }
}

impl Drop for Depot {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.dir) {
            tracing::warn!(dir = %self.dir.display(), %error, "git mirror cannot be removed");
        }
    }
}

fn storage(error: std::io::Error) -> Error {
    Error::Storage(error.to_string())
}

impl Depot {
    /// A new, empty one below `parent`.
    pub(crate) fn new(parent: &Path, object_limit: u64) -> Result<Self, Error> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let dir = parent.join(format!("mirror-{}", NEXT.fetch_add(1, Ordering::Relaxed)));
        for name in ["objects/pack", "objects/info", "incoming"] {
            std::fs::create_dir_all(dir.join(name)).map_err(storage)?;
        }
        // A file beyond the limit is told by its name when it is read, as long as it can be taken in at all.
        let object_limit = object_limit.max(STRUCTURE);
        let store = open(&dir, object_limit).map_err(storage)?;
        Ok(Self {
            dir,
            store,
            object_limit,
            bytes: AtomicU64::default(),
            first: AtomicU64::default(),
            loose: AtomicUsize::default(),
            packs: AtomicUsize::default(),
            tips: Mutex::default(),
        })
    }

    /// Another view of the same objects, with mappings of its own.
    pub(crate) fn open(&self) -> Result<Arc<Store>, ReadError> {
        open(&self.dir, self.object_limit).map_err(|error| ReadError::Broken(error.to_string()))
    }

    /// A view for one thread.
    pub(crate) fn handle(&self) -> gix::odb::HandleArc {
        self.store.to_cache_arc()
    }

    /// Bytes on disk, roughly.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// True when so much has piled up that starting over is cheaper than carrying it along.
    pub(crate) fn is_worn(&self) -> bool {
        self.loose.load(Ordering::Relaxed) > LOOSE
            || self.packs.load(Ordering::Relaxed) > PACKS
            || self.bytes() > self.first.load(Ordering::Relaxed).saturating_mul(2) + (64 << 20)
    }

    pub(crate) fn contains(&self, id: &oid) -> bool {
        self.handle().exists(id)
    }

    /// Commits that are here with their whole trees, newest last.
    pub(crate) fn tips(&self) -> Vec<ObjectId> {
        self.tips.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn add_tip(&self, tip: ObjectId) {
        let mut tips = self.tips.lock().unwrap_or_else(PoisonError::into_inner);
        tips.retain(|known| *known != tip);
        tips.push(tip);
        let excess = tips.len().saturating_sub(TIPS);
        tips.drain(..excess);
    }

    /// One commit, tag or tree.
    pub(crate) fn read(&self, id: &oid) -> Result<(Kind, Vec<u8>), Error> {
        Ok(read(&self.handle(), id, STRUCTURE)?)
    }

    /// Takes a pack in; `thin` ones lean on objects that are here already. Answers the number of
    /// objects. Nothing is visible before all of it is checked. Blocks.
    pub(crate) fn take(
        &self,
        reader: &mut dyn BufRead,
        thin: bool,
        interrupt: &AtomicBool,
    ) -> Result<usize, Error> {
        let alloc = usize::try_from(self.object_limit).unwrap_or(usize::MAX);
        let incoming = self.dir.join("incoming");
        let outcome = write_pack(reader, &incoming, thin.then(|| self.handle()), alloc, interrupt)?;
        if let Some(keep) = &outcome.keep_path {
            std::fs::remove_file(keep).map_err(storage)?;
        }
        let (Some(data), Some(index)) = (&outcome.data_path, &outcome.index_path) else { return Ok(0) };
        let size = std::fs::metadata(data).map_err(storage)?.len();
        let count = outcome.index.num_objects;
        let added = if count <= SMALL_COUNT && size <= SMALL_PACK && self.bytes() > 0 {
            let added = self.scatter(&outcome)?;
            std::fs::remove_file(index).map_err(storage)?;
            std::fs::remove_file(data).map_err(storage)?;
            self.loose.fetch_add(count as usize, Ordering::Relaxed);
            added
        } else {
            // The index last: it is what makes a pack known.
            for path in [data, index] {
                let name = path.file_name().unwrap_or_default();
                std::fs::rename(path, self.dir.join("objects/pack").join(name)).map_err(storage)?;
            }
            self.packs.fetch_add(1, Ordering::Relaxed);
            size
        };
        let before = self.bytes.fetch_add(added.max(1), Ordering::Relaxed);
        if before == 0 {
            self.first.store(added, Ordering::Relaxed);
        }
        Ok(count as usize)
    }

    /// Writes a pack's objects one by one.
    fn scatter(&self, outcome: &pack::bundle::write::Outcome) -> Result<u64, Error> {
        let failed = |error: gix::error::Error| Error::Storage(describe(&error));
        let Some(bundle) = outcome.to_bundle() else { return Ok(0) };
        let bundle = bundle.map_err(failed)?;
        let target = loose::Store::at(self.dir.join("objects"), gix::hash::Kind::Sha1);
        let (mut buffer, mut inflate, mut added) = (Vec::new(), gix::zlib::Inflate::default(), 0);
        for entry in bundle.index.iter() {
            let found = bundle.find(&entry.oid, &mut buffer, &mut inflate, &mut pack::cache::Never);
            let Some((object, _)) = found.map_err(failed)? else { continue };
            added += object.data.len() as u64;
            target.write_buf_with_known_id(object.kind, object.data, entry.oid).map_err(failed)?;
        }
        Ok(added)
    }
}

fn open(dir: &Path, object_limit: u64) -> std::io::Result<Arc<Store>> {
    let options = gix::odb::store::init::Options {
        slots: gix::odb::store::init::Slots::Given(256),
        use_multi_pack_index: false,
        alloc_limit_bytes: usize::try_from(object_limit).ok(),
        ..Default::default()
    };
    let kind = gix::hash::Kind::Sha1;
    Ok(Arc::new(Store::at_opts(dir.join("objects"), kind, &mut std::iter::empty(), options)?))
}

/// Why an object cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    #[error("object {0} is missing")]
    Missing(ObjectId),
    #[error("object is larger than the limit")]
    TooLarge,
    #[error("{0}")]
    Broken(String),
}

impl From<ReadError> for Error {
    fn from(error: ReadError) -> Self {
        Self::Storage(error.to_string())
    }
}

/// One object through a handle, at most `limit` bytes long.
pub(crate) fn read(handle: &gix::odb::HandleArc, id: &oid, limit: u64) -> Result<(Kind, Vec<u8>), ReadError> {
    let missing = || ReadError::Missing(id.to_owned());
    let header = handle.header(id).map_err(|_| missing())?;
    if header.size() > limit {
        return Err(ReadError::TooLarge);
    }
    let mut buffer = Vec::new();
    let found = handle.try_find(id, &mut buffer).map_err(|error| ReadError::Broken(describe(&error)))?;
    let kind = found.ok_or_else(missing)?.kind;
    Ok((kind, buffer))
}
