//! Packs as servers send them: checked and indexed while they arrive, and never in memory as a whole.
//!
//! gix can do this, too, but reads a pack once more through a mapping to find its objects' names, so that
//! all of it counts as our memory. Here what is whole is named while it passes by, and only deltas and
//! their bases are read again.

mod complete;
mod delta;
mod index;
mod naming;
mod receive;
mod resolve;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use gix::objs::Kind;
use gix::{ObjectId, hash};

pub(crate) use resolve::Outside;

/// An object of a pack, as it lies there.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    /// Where its header begins.
    offset: u64,
    /// Where its compressed bytes begin.
    data: u64,
    /// Inflated.
    size: u64,
    /// Of header and compressed bytes.
    crc: u32,
    form: Form,
    /// Known from the beginning only of what is whole.
    name: Option<(Kind, ObjectId)>,
}

/// How an object is written down.
#[derive(Clone, Copy, Debug)]
enum Form {
    Whole,
    /// As what differs from another entry of the same pack.
    Delta(u32),
    /// As what differs from an object, here or outside.
    Named(ObjectId),
}

/// A received pack; its file vanishes unless it is put somewhere.
#[derive(Debug)]
pub(crate) struct Pack {
    file: File,
    path: PathBuf,
    /// In the order of the file.
    entries: Vec<Entry>,
    /// Of the file, without the checksum at its end.
    end: u64,
    checksum: [u8; 20],
    /// Bytes of one object, inflated.
    limit: u64,
}

/// Why a pack is not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PackError {
    #[error("{0}")]
    Io(#[from] io::Error),
    /// Reading from the server failed.
    #[error("{0}")]
    Source(io::Error),
    #[error("the pack is damaged: {0}")]
    Damaged(&'static str),
    #[error("the pack builds on object {0}, which is not here")]
    Base(ObjectId),
    #[error("an object is larger than {0} bytes")]
    TooLarge(u64),
    #[error("interrupted")]
    Interrupted,
}

impl Drop for Pack {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

impl Pack {
    /// How many objects it holds.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Bytes of the file.
    pub(crate) fn bytes(&self) -> u64 {
        self.end + self.checksum.len() as u64
    }

    /// Puts pack and index into a directory. The index comes last: it is what makes a pack known.
    pub(crate) fn put(mut self, directory: &Path) -> Result<(), PackError> {
        let name: String = self.checksum.iter().map(|byte| format!("{byte:02x}")).collect();
        let temporary = self.path.with_extension("idx");
        let written = self.write_index(&temporary);
        let placed = written.and_then(|()| {
            std::fs::rename(&self.path, directory.join(format!("pack-{name}.pack")))?;
            Ok(std::fs::rename(&temporary, directory.join(format!("pack-{name}.idx")))?)
        });
        if placed.is_err() {
            let _ = std::fs::remove_file(&temporary);
        }
        placed
    }

    fn entry(&self, number: u32) -> Result<&Entry, PackError> {
        self.entries.get(number as usize).ok_or(PackError::Damaged("an entry is missing"))
    }

    /// Inflates what an entry holds: an object, or a delta.
    fn inflate(&self, entry: &Entry) -> Result<Vec<u8>, PackError> {
        use io::Read as _;
        let from = At { file: &self.file, at: entry.data };
        let expected = usize::try_from(entry.size).map_err(|_| PackError::TooLarge(self.limit))?;
        let mut bytes = Vec::with_capacity(expected);
        let reader = io::BufReader::with_capacity(expected.clamp(64, 32 << 10), from);
        flate2::bufread::ZlibDecoder::new(reader).take(entry.size + 1).read_to_end(&mut bytes)?;
        if bytes.len() != expected {
            return Err(PackError::Damaged("an entry has another size than it says"));
        }
        Ok(bytes)
    }
}

/// Reads a file from a place on.
struct At<'a> {
    file: &'a File,
    at: u64,
}

impl io::Read for At<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read_at(out, self.at)?;
        self.at += count as u64;
        Ok(count)
    }
}

/// The name of an object; an attack on SHA-1 is noticed.
fn name(kind: Kind, bytes: &[u8]) -> Result<ObjectId, PackError> {
    gix::objs::compute_hash(hash::Kind::Sha1, kind, bytes).map_err(|_| collision())
}

const fn collision() -> PackError {
    PackError::Damaged("an object collides with another one by design")
}
