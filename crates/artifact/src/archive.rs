use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;

use sluice_tree::{
    Bound, Cutter, Files, Hash, Ignore, Index, IndexBuilder, Item, Kind, PackLimits, Part, content, member,
    member_key, runs, select, trailer,
};
use sluice_types::{Algorithm, Digest, Hasher};
use tokio_util::sync::CancellationToken;

use crate::error::Error;
use crate::line::Line;
use crate::record::{Previous, Record, checksum};

/// Bytes of members that are packed before it is their turn to be written.
const AHEAD: usize = 4 << 20;
/// Buffers that are kept to be used again, and the largest of them.
const MOST_KEPT: usize = 16;
const LARGEST_KEPT: usize = 256 << 10;
/// Members that wait to be written, and as many to be hashed.
const QUEUED: usize = 2;

/// What is to be packed.
pub(crate) struct Job<'a> {
    pub(crate) files: &'a dyn Files,
    pub(crate) ignore: &'a Ignore,
    pub(crate) limits: PackLimits,
    pub(crate) algorithm: Algorithm,
    pub(crate) threads: NonZeroUsize,
    pub(crate) cancel: &'a CancellationToken,
    pub(crate) previous: Option<&'a Previous>,
}

/// Buffers that were written and are used again: fresh memory for every member would cost more than to copy it.
#[derive(Debug, Default)]
struct Buffers(Mutex<Vec<Vec<u8>>>);

impl Buffers {
    fn take(&self) -> Vec<u8> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default()
    }

    fn give(&self, buffer: Vec<u8>) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if buffer.capacity() <= LARGEST_KEPT && all.len() < MOST_KEPT {
            all.push(buffer);
        }
    }
}

/// What was written.
pub(crate) struct Written {
    pub(crate) digest: Digest,
    pub(crate) size: u64,
    pub(crate) index: Index,
    pub(crate) record: Record,
}

/// One gzip member, packed.
struct Packed {
    key: Hash,
    bytes: Vec<u8>,
    crc: u32,
    parts: Vec<(Part, Option<[u8; 20]>)>,
}

/// Packs a tree into a file: runs side by side on all threads, written in order by another one, and hashed
/// by yet another. Nothing is forced to the disk: what a power failure leaves is seen by its digest.
pub(crate) fn write(job: &Job<'_>, out: File, path: &str) -> Result<Written, Error> {
    let items = select(job.files, job.ignore, job.limits)?;
    let runs = runs(&items);
    let failed = crate::error::io("write", path);
    let buffers = &Buffers::default();
    thread::scope(|scope| {
        let (chunks, hashed) = mpsc::sync_channel::<Vec<u8>>(QUEUED);
        let algorithm = job.algorithm;
        let hashing = scope.spawn(move || {
            let mut hasher = Hasher::new(algorithm);
            for chunk in hashed {
                hasher.update(&chunk);
                buffers.give(chunk);
            }
            hasher.finish()
        });
        let (members, packed) = mpsc::sync_channel::<Packed>(QUEUED);
        let writing = scope.spawn(move || {
            let mut ledger = Ledger::new(out, chunks);
            packed.iter().try_for_each(|packed| ledger.take(packed))?;
            ledger.append(trailer())?;
            ledger.out.flush()?;
            Ok::<_, io::Error>((ledger.size, ledger.index, ledger.files, ledger.members))
        });
        let produced = produce(job, buffers, &runs, &members);
        drop(members);
        let written = writing.join().map_err(|_| Error::Cancelled)?;
        let digest = hashing.join().map_err(|_| Error::Cancelled)?;
        produced?;
        let (size, index, files, members) = written.map_err(failed)?;
        let files = files.into_iter().map(|(id, (size, hash))| (id, size, hash));
        Ok(Written { digest, size, index: index.finish(), record: Record::new(size, files, members) })
    })
}

fn produce(
    job: &Job<'_>,
    buffers: &Buffers,
    runs: &[&[Item]],
    members: &mpsc::SyncSender<Packed>,
) -> Result<(), Error> {
    let (total, next) = (AtomicU64::new(0), AtomicUsize::new(0));
    let line = Line::new(members, |packed: &Packed| packed.bytes.len(), AHEAD);
    let work = || {
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(run) = runs.get(at) else { return Ok(()) };
            let mut place = line.place(at);
            if !pack_run(job, buffers, run, &total, |packed| place.put(packed))? {
                return Ok(());
            }
            place.end();
        }
    };
    thread::scope(|scope| {
        let others: Vec<_> = (1..job.threads.get().min(runs.len())).map(|_| scope.spawn(work)).collect();
        let own = work();
        let others = others.into_iter().map(|other| other.join().unwrap_or(Err(Error::Cancelled)));
        others.fold(own, |so_far, other| so_far.and(other))
    })
}

/// The file being written and everything that is learned on the way.
struct Ledger {
    out: BufWriter<File>,
    chunks: mpsc::SyncSender<Vec<u8>>,
    size: u64,
    index: IndexBuilder,
    files: HashMap<[u8; 20], (u64, Hash)>,
    members: Vec<(Hash, u64, u32)>,
}

impl Ledger {
    fn new(out: File, chunks: mpsc::SyncSender<Vec<u8>>) -> Self {
        Self {
            out: BufWriter::with_capacity(1 << 20, out),
            chunks,
            size: 0,
            index: IndexBuilder::default(),
            files: HashMap::new(),
            members: Vec::new(),
        }
    }

    fn append(&mut self, bytes: Vec<u8>) -> io::Result<()> {
        self.size += bytes.len() as u64;
        self.out.write_all(&bytes)?;
        self.chunks.send(bytes).map_err(io::Error::other)
    }

    fn take(&mut self, packed: Packed) -> io::Result<()> {
        self.members.push((packed.key, packed.bytes.len() as u64, packed.crc));
        for (part, identity) in packed.parts {
            match part.item.kind {
                Kind::Directory => self.index.directory(&part.item.path),
                kind => self.index.file(&part.item.path, part.content, kind == Kind::Executable),
            }
            if let Some(identity) = identity {
                self.files.insert(identity, (part.size, part.content));
            }
        }
        self.append(packed.bytes)
    }
}

/// An item, and its bytes if it had to be read to be known.
struct Loaded {
    part: Part,
    identity: Option<[u8; 20]>,
    bytes: Option<Arc<[u8]>>,
}

/// False when what was packed is not wanted any more; whoever broke off says why.
fn pack_run(
    job: &Job<'_>,
    buffers: &Buffers,
    run: &[Item],
    total: &AtomicU64,
    mut put: impl FnMut(Packed) -> bool,
) -> Result<bool, Error> {
    let (mut cutter, mut pending) = (Cutter::default(), Vec::new());
    for item in run {
        if job.cancel.is_cancelled() {
            return Err(Error::Cancelled);
        }
        let loaded = load(job, item)?;
        let size = loaded.part.size;
        if total.fetch_add(size, Ordering::Relaxed).saturating_add(size) > job.limits.bytes {
            return Err(sluice_tree::Error::Exceeds(Bound::Bytes(job.limits.bytes)).into());
        }
        if cutter.begins_member(size) && !put(pack_member(job, buffers, std::mem::take(&mut pending))?) {
            return Ok(false);
        }
        pending.push(loaded);
    }
    Ok(put(pack_member(job, buffers, pending)?))
}

fn load(job: &Job<'_>, item: &Item) -> Result<Loaded, Error> {
    let identity = if item.kind.is_file() { job.files.identity(&item.path) } else { None };
    let known = identity.and_then(|identity| job.previous?.file(&identity));
    let item = item.clone();
    if let Some((size, content)) = known {
        return Ok(Loaded { part: Part { item, size, content }, identity, bytes: None });
    }
    let bytes = content(job.files, &item)?;
    let part = Part { item, size: bytes.len() as u64, content: Hash::of(&bytes) };
    Ok(Loaded { part, identity, bytes: Some(bytes) })
}

fn pack_member(job: &Job<'_>, buffers: &Buffers, loaded: Vec<Loaded>) -> Result<Packed, Error> {
    let (mut parts, mut contents) = (Vec::new(), Vec::new());
    for item in loaded {
        parts.push(item.part);
        contents.push((item.identity, item.bytes));
    }
    let key = member_key(&parts);
    let copied = job.previous.and_then(|previous| {
        let span = previous.member(&key)?;
        Some((previous.read(span, buffers.take())?, span.crc))
    });
    let (bytes, crc) = match copied {
        Some(copied) => copied,
        None => {
            let mut inputs = Vec::with_capacity(parts.len());
            for (part, (_, bytes)) in parts.iter().zip(&contents) {
                let bytes = match bytes {
                    Some(bytes) => bytes.clone(),
                    None => content(job.files, &part.item)?,
                };
                inputs.push((&part.item, bytes));
            }
            let bytes = member(inputs, buffers.take());
            let crc = checksum(&bytes);
            (bytes, crc)
        }
    };
    let parts = parts.into_iter().zip(contents.into_iter().map(|(identity, _)| identity)).collect();
    Ok(Packed { key, bytes, crc, parts })
}
