//! The object database of one mirror.
//!
//! A directory becomes a mirror for later processes when its state is written, after the objects that
//! it speaks of, and is removed with its last reader if it was given up. Nothing waits for the disk: in
//! a depot that an earlier process left, every object is named again when it is read, and one that is
//! missing or damaged costs the depot.
//!
//! Such a depot may have been fetched with another credential. It tells the server what is here; but a
//! commit is read from it only after the server has offered it to the credential of today.

use std::collections::HashSet;
use std::io::BufRead;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use gix::objs::Exists;
use gix::objs::Kind;
use gix::odb::{HeaderExt, Store, loose};
use gix::prelude::{Find, Write};
use gix::{ObjectId, oid};

use crate::error::Error;
use crate::mirror::lock;
use crate::pack::{Outside, Pack, PackError};
use crate::wire::describe;

/// Packs up to these sizes become loose objects, so that a thousand one-file commits do not
/// leave a thousand packs behind.
const SMALL_PACK: u64 = 1 << 20;
const SMALL_COUNT: usize = 500;
/// Beyond so many, a depot is replaced by a fresh one.
const LOOSE: usize = 20_000;
const PACKS: usize = 40;
/// Bytes of a commit, tag or tree: what describes files is small.
pub(crate) const STRUCTURE: u64 = 64 << 20;
/// Tips told to the server as known.
const TIPS: usize = 16;

/// How directories of mirrors are called, before their home and a number.
const PREFIX: &str = "mirror-";
/// First line of a state.
const STATE: &str = "sluice-mirror 1";

/// One mirror's objects.
pub(crate) struct Depot {
    dir: PathBuf,
    store: Arc<Store>,
    object_limit: u64,
    bytes: AtomicU64,
    first: AtomicU64,
    loose: AtomicUsize,
    packs: AtomicUsize,
    received: AtomicUsize,
    tips: Mutex<Vec<ObjectId>>,
    /// Commits that the server offered us, of a depot that an earlier process left.
    offered: Option<Mutex<HashSet<ObjectId>>>,
    /// Something is missing or damaged.
    broken: AtomicBool,
    /// To be removed with the last reader.
    given_up: AtomicBool,
}

impl std::fmt::Debug for Depot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Depot").field("dir", &self.dir).finish_non_exhaustive()
    }
}

impl Drop for Depot {
    fn drop(&mut self) {
        let kept = !self.given_up.load(Ordering::Relaxed) && !lock(&self.tips).is_empty();
        if kept && !self.is_broken() {
            return;
        }
        if let Err(error) = std::fs::remove_dir_all(&self.dir) {
            tracing::warn!(dir = %self.dir.display(), %error, "git mirror cannot be removed");
        }
    }
}

fn storage(error: std::io::Error) -> Error {
    Error::Storage(error.to_string())
}

/// Where a depot's state is recorded.
pub(crate) fn state(dir: &Path) -> PathBuf {
    dir.join("state")
}

/// The home in a directory's name; `None` for directories that are no mirrors.
pub(crate) fn home(name: &str) -> Option<&str> {
    let name = name.strip_prefix(PREFIX)?;
    Some(name.split_once('-').map_or(name, |(home, _)| home))
}

/// The size that is recorded of a depot; `None` if it was never finished.
pub(crate) fn recorded_bytes(dir: &Path) -> Option<u64> {
    Recorded::read(dir).map(|recorded| recorded.bytes)
}

/// What later processes must know.
#[derive(Debug, PartialEq, Eq)]
struct Recorded {
    bytes: u64,
    first: u64,
    loose: usize,
    packs: usize,
    tips: Vec<ObjectId>,
}

impl Recorded {
    fn read(dir: &Path) -> Option<Self> {
        let text = std::fs::read_to_string(state(dir)).ok()?;
        let mut words = text.strip_prefix(STATE)?.split_ascii_whitespace();
        let recorded = Self {
            bytes: words.next()?.parse().ok()?,
            first: words.next()?.parse().ok()?,
            loose: words.next()?.parse().ok()?,
            packs: words.next()?.parse().ok()?,
            tips: words.map(|tip| ObjectId::from_hex(tip.as_bytes()).ok()).collect::<Option<_>>()?,
        };
        (text.ends_with('\n') && !recorded.tips.is_empty()).then_some(recorded)
    }

    fn write(&self, dir: &Path) -> std::io::Result<()> {
        let Self { bytes, first, loose, packs, tips } = self;
        let mut text = format!("{STATE}\n{bytes} {first} {loose} {packs}\n");
        for tip in tips {
            text.push_str(&format!("{tip}\n"));
        }
        let temporary = dir.join("incoming/state");
        std::fs::write(&temporary, text)?;
        std::fs::rename(temporary, state(dir))
    }
}

impl Depot {
    /// A new, empty one below `parent`.
    pub(crate) fn new(parent: &Path, home: &str, object_limit: u64) -> Result<Self, Error> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let dir = loop {
            let dir = parent.join(format!("{PREFIX}{home}-{}", NEXT.fetch_add(1, Ordering::Relaxed)));
            match std::fs::create_dir(&dir) {
                Ok(()) => break dir,
                // An earlier process counted as we do.
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(storage(error)),
            }
        };
        for name in ["objects/pack", "objects/info", "incoming"] {
            std::fs::create_dir_all(dir.join(name)).map_err(storage)?;
        }
        Self::at(dir, object_limit, None)
    }

    /// One that an earlier process left.
    pub(crate) fn adopt(dir: &Path, object_limit: u64) -> Result<Self, Error> {
        let missing = || Error::Storage("no state is recorded".to_owned());
        let recorded = Recorded::read(dir).ok_or_else(missing)?;
        // What was underway is lost.
        let incoming = dir.join("incoming");
        std::fs::remove_dir_all(&incoming).and_then(|()| std::fs::create_dir(&incoming)).map_err(storage)?;
        Self::at(dir.to_owned(), object_limit, Some(recorded))
    }

    fn at(dir: PathBuf, object_limit: u64, recorded: Option<Recorded>) -> Result<Self, Error> {
        // A file beyond the limit is told by its name when it is read, as long as it can be taken in at all.
        let object_limit = object_limit.max(STRUCTURE);
        let offered = recorded.is_some().then(Mutex::default);
        let recorded =
            recorded.unwrap_or(Recorded { bytes: 0, first: 0, loose: 0, packs: 0, tips: Vec::new() });
        Ok(Self {
            store: open(&dir, object_limit).map_err(storage)?,
            dir,
            object_limit,
            bytes: recorded.bytes.into(),
            first: recorded.first.into(),
            loose: recorded.loose.into(),
            packs: recorded.packs.into(),
            received: AtomicUsize::default(),
            tips: Mutex::new(recorded.tips),
            offered,
            broken: AtomicBool::default(),
            given_up: AtomicBool::default(),
        })
    }

    /// Has the directory removed when its last reader has finished.
    pub(crate) fn give_up(&self) {
        self.given_up.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_broken(&self) -> bool {
        self.broken.load(Ordering::Relaxed)
    }

    /// True if an earlier process left it.
    pub(crate) const fn is_adopted(&self) -> bool {
        self.offered.is_some()
    }

    /// Whether a commit that is here may be shown, though the server was not asked for it just now.
    pub(crate) fn may_show(&self, commit: &ObjectId) -> bool {
        self.offered.as_ref().is_none_or(|offered| lock(offered).contains(commit))
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
        self.is_broken()
            || self.loose.load(Ordering::Relaxed) > LOOSE
            || self.packs.load(Ordering::Relaxed) > PACKS
            || self.bytes() > self.first.load(Ordering::Relaxed).saturating_mul(2) + (64 << 20)
    }

    pub(crate) fn contains(&self, id: &oid) -> bool {
        self.handle().exists(id)
    }

    /// Commits that are here with their whole trees, newest last.
    pub(crate) fn tips(&self) -> Vec<ObjectId> {
        lock(&self.tips).clone()
    }

    /// Notes a commit that the server has offered and that is here with its whole tree, for later processes, too.
    pub(crate) fn add_tip(&self, tip: ObjectId) {
        if let Some(offered) = &self.offered {
            lock(offered).insert(tip);
        }
        let tips = {
            let mut tips = lock(&self.tips);
            tips.retain(|known| *known != tip);
            tips.push(tip);
            let excess = tips.len().saturating_sub(TIPS);
            tips.drain(..excess);
            tips.clone()
        };
        let recorded = Recorded {
            bytes: self.bytes(),
            first: self.first.load(Ordering::Relaxed),
            loose: self.loose.load(Ordering::Relaxed),
            packs: self.packs.load(Ordering::Relaxed),
            tips,
        };
        // Without it, the next process only has more to fetch.
        if let Err(error) = recorded.write(&self.dir) {
            tracing::debug!(dir = %self.dir.display(), %error, "the state of a git mirror cannot be recorded");
        }
    }

    /// One commit, tag or tree.
    pub(crate) fn read(&self, id: &oid) -> Result<(Kind, Vec<u8>), Error> {
        Ok(self.find(&self.handle(), id, STRUCTURE)?)
    }

    /// One object through a view of this depot, at most `limit` bytes long.
    pub(crate) fn find(
        &self,
        view: &gix::odb::HandleArc,
        id: &oid,
        limit: u64,
    ) -> Result<(Kind, Vec<u8>), ReadError> {
        let found = find(view, id, limit).and_then(|(kind, bytes)| {
            if self.offered.is_some() {
                let name = gix::objs::compute_hash(gix::hash::Kind::Sha1, kind, &bytes);
                if name.is_err() || name.is_ok_and(|name| *name != *id) {
                    return Err(ReadError::Broken(format!("object {id} is damaged")));
                }
            }
            Ok((kind, bytes))
        });
        if matches!(found, Err(ReadError::Missing(_) | ReadError::Broken(_))) {
            self.broken.store(true, Ordering::Relaxed);
        }
        found
    }

    /// Takes a pack in, which may build on objects that are here already. Answers the number of
    /// objects. Nothing is visible before all of it is checked. Blocks.
    pub(crate) fn take(&self, reader: &mut dyn BufRead, interrupt: &AtomicBool) -> Result<usize, PackError> {
        let number = self.received.fetch_add(1, Ordering::Relaxed);
        let path = self.dir.join(format!("incoming/{number}.pack"));
        let mut pack = Pack::receive(reader, &path, self.object_limit, interrupt)?;
        let handle = self.handle();
        let outside = |id: &ObjectId| self.find(&handle, id, self.object_limit).ok();
        let bases = pack.resolve(&outside, interrupt)?;
        let count = pack.len();
        if count == 0 {
            return Ok(0);
        }
        let added = if count <= SMALL_COUNT && pack.bytes() <= SMALL_PACK && self.bytes() > 0 {
            self.loose.fetch_add(count, Ordering::Relaxed);
            self.scatter(&pack, &outside)?
        } else {
            pack.complete(&bases, &outside)?;
            let size = pack.bytes();
            pack.put(&self.dir.join("objects/pack"))?;
            self.packs.fetch_add(1, Ordering::Relaxed);
            size
        };
        let before = self.bytes.fetch_add(added.max(1), Ordering::Relaxed);
        if before == 0 {
            self.first.store(added, Ordering::Relaxed);
        }
        Ok(count)
    }

    /// Writes a pack's objects one by one.
    fn scatter(&self, pack: &Pack, outside: Outside<'_>) -> Result<u64, PackError> {
        let target = loose::Store::at(self.dir.join("objects"), gix::hash::Kind::Sha1);
        let mut added = 0;
        pack.objects(outside, |kind, id, bytes| {
            added += bytes.len() as u64;
            let written = target.write_buf_with_known_id(kind, bytes, id);
            written.map_err(|error| PackError::Io(std::io::Error::other(describe(&error))))?;
            Ok(())
        })?;
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

fn find(handle: &gix::odb::HandleArc, id: &oid, limit: u64) -> Result<(Kind, Vec<u8>), ReadError> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_read_whole_or_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("incoming")).unwrap();
        let tips = vec![ObjectId::from([1; 20]), ObjectId::from([2; 20])];
        let recorded = Recorded { bytes: 10, first: 7, loose: 3, packs: 1, tips };
        recorded.write(dir.path()).unwrap();
        assert_eq!(Recorded::read(dir.path()), Some(recorded));
        let text = std::fs::read_to_string(state(dir.path())).unwrap();
        for end in 0..text.len() {
            std::fs::write(state(dir.path()), text.get(..end).unwrap()).unwrap();
            // Fewer tips are true as well.
            let short = Recorded::read(dir.path());
            assert!(short.is_none_or(|short| short.tips == [ObjectId::from([1; 20])]), "{end}");
        }
    }

    #[test]
    fn a_home_is_read_from_the_name() {
        assert_eq!(home("mirror-abc-12"), Some("abc"));
        assert_eq!(home("mirror-7"), Some("7"));
        assert_eq!(home("other"), None);
    }
}
