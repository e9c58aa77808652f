//! A packed tree is a sequence of gzip members, each a piece of one tar stream. Where a member ends
//! depends on nothing but the tree itself, so the same tree always gives the same bytes, and a member
//! whose items are unchanged may be copied from an earlier archive instead of being compressed again.

use std::io::Write;
use std::sync::Arc;

use flate2::write::GzEncoder;
use flate2::{Compression, GzBuilder};
use sha2::{Digest as _, Sha256};

use crate::error::{Bound, Error};
use crate::files::{Files, Kind};
use crate::hash::Hash;
use crate::ignore::Ignore;
use crate::index::{Index, IndexBuilder};
use crate::ustar;
use crate::walk::{Item, PackLimits, select};

/// Names the way members are cut and compressed. Members made another way must not be mixed in.
pub const PACK_FORMAT: &str = concat!("2/", env!("CARGO_PKG_VERSION"));

/// One path in this many ends a run.
const RUN: u64 = 64;
/// A file this large has a member of its own.
const LARGE: u64 = 64 << 10;
/// A member that has reached this size takes no more.
const FULL: u64 = 1 << 20;
/// Content of this size is tried out, by three samples of it, before it is compressed.
const SAMPLED: usize = 32 << 10;
const SAMPLE: usize = 4 << 10;

/// Cuts a walk into runs. No member spans two runs, so they may be packed side by side. A path alone
/// decides whether a run begins with it: a change elsewhere leaves the other runs as they were.
pub fn runs(items: &[Item]) -> Vec<&[Item]> {
    let starts = items.iter().enumerate().filter(|(at, item)| *at > 0 && begins_run(item)).map(|(at, _)| at);
    let mut runs = Vec::new();
    let mut from = 0;
    for to in starts.chain([items.len()]) {
        if let Some(run) = items.get(from..to).filter(|run| !run.is_empty()) {
            runs.push(run);
        }
        from = to;
    }
    runs
}

fn begins_run(item: &Item) -> bool {
    // FNV-1a: cheap, and nobody gains by steering it.
    let hash = item.path.as_str().bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    (hash >> 32).is_multiple_of(RUN)
}

/// Decides where members end within one run.
#[derive(Debug, Default)]
pub struct Cutter {
    filled: u64,
    closed: bool,
}

impl Cutter {
    /// True if the next item, with so many bytes of content, begins a new member.
    pub fn begins_member(&mut self, size: u64) -> bool {
        let large = size >= LARGE;
        let cut = self.filled > 0 && (self.closed || large);
        let cost = size + ustar::BLOCK as u64;
        self.filled = if cut { cost } else { self.filled + cost };
        self.closed = large || self.filled >= FULL;
        cut
    }
}

/// An item whose content is known by its hash.
#[derive(Clone, Debug)]
pub struct Part {
    /// Path and kind.
    pub item: Item,
    /// In bytes; zero for directories.
    pub size: u64,
    /// Of the content; of nothing for directories.
    pub content: Hash,
}

/// What a member is known by: equal keys mean equal bytes.
pub fn member_key(parts: &[Part]) -> Hash {
    let mut state = Sha256::new();
    state.update(PACK_FORMAT.as_bytes());
    for part in parts {
        state.update([0, part.item.kind as u8]);
        state.update((part.item.path.as_str().len() as u64).to_le_bytes());
        state.update(part.item.path.as_str().as_bytes());
        state.update(part.size.to_le_bytes());
        state.update(part.content.as_bytes());
    }
    Hash::from_bytes(state.finalize().into())
}

/// Compresses one member, into a buffer whose content is dropped.
pub fn member<'a>(contents: impl IntoIterator<Item = (&'a Item, Arc<[u8]>)>, buffer: Vec<u8>) -> Vec<u8> {
    let contents: Vec<_> = contents.into_iter().collect();
    let largest = contents.iter().map(|(_, bytes)| bytes.as_ref()).max_by_key(|bytes| bytes.len());
    let level = largest.map_or_else(Compression::default, worth);
    let mut tar = tar::Builder::new(gzip(buffer, level));
    for (item, bytes) in contents {
        // Writing to memory cannot fail, and every path is relative.
        let _ = ustar::append(&mut tar, &item.path, item.kind, &bytes);
    }
    // The builder would end the archive on its own; that is for the trailer to do.
    let gzip = std::mem::replace(tar.get_mut(), gzip(Vec::new(), Compression::none()));
    gzip.finish().unwrap_or_default()
}

/// How much compression pays for content like this. Pictures and archives get no smaller by another round, which
/// would take longer than everything else that is done with them.
fn worth(bytes: &[u8]) -> Compression {
    if bytes.len() < SAMPLED {
        return Compression::default();
    }
    let mut trial = flate2::write::DeflateEncoder::new(Vec::with_capacity(3 * SAMPLE), Compression::fast());
    let samples = [0, bytes.len() / 2, bytes.len() - SAMPLE];
    for sample in samples.iter().filter_map(|from| bytes.get(*from..from + SAMPLE)) {
        // Writing to memory cannot fail.
        let _ = trial.write_all(sample);
    }
    let left = trial.finish().map_or(0, |packed| packed.len());
    if left * 100 >= samples.len() * SAMPLE * 98 { Compression::none() } else { Compression::default() }
}

/// The member that ends every archive.
pub fn trailer() -> Vec<u8> {
    let mut gzip = gzip(Vec::new(), Compression::default());
    // Writing to memory cannot fail.
    let _ = gzip.write_all(&[0; 2 * ustar::BLOCK]);
    gzip.finish().unwrap_or_default()
}

fn gzip(buffer: Vec<u8>, level: Compression) -> GzEncoder<Vec<u8>> {
    let mut buffer = buffer;
    buffer.clear();
    // 255: no operating system named, as Go writes it.
    GzBuilder::new().operating_system(255).write(buffer, level)
}

/// Packs a tree in one go, with nothing to copy from.
///
/// # Errors
/// What the tree reports, or [`Error::Exceeds`] beyond the limits.
pub fn pack(files: &dyn Files, ignore: &Ignore, limits: PackLimits) -> Result<(Vec<u8>, Index), Error> {
    let items = select(files, ignore, limits)?;
    let mut archive = Vec::new();
    let mut index = IndexBuilder::default();
    let mut total = 0;
    for run in runs(&items) {
        let (mut cutter, mut pending) = (Cutter::default(), Vec::new());
        for item in run {
            let bytes = content(files, item)?;
            total += bytes.len() as u64;
            if total > limits.bytes {
                return Err(Error::Exceeds(Bound::Bytes(limits.bytes)));
            }
            match item.kind {
                Kind::Directory => index.directory(&item.path),
                kind => index.file(&item.path, Hash::of(&bytes), kind == Kind::Executable),
            }
            if cutter.begins_member(bytes.len() as u64) {
                archive.extend(member(pending.drain(..), Vec::new()));
            }
            pending.push((item, bytes));
        }
        archive.extend(member(pending, Vec::new()));
    }
    archive.extend(trailer());
    Ok((archive, index.finish()))
}

/// An item's bytes; none for a directory.
///
/// # Errors
/// What the tree reports.
pub fn content(files: &dyn Files, item: &Item) -> Result<Arc<[u8]>, Error> {
    match item.kind {
        Kind::Directory => Ok(Arc::from([])),
        _ => files.read(&item.path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_gets_smaller_is_compressed() {
        let mut state = 1_u64;
        let mut noise = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) as u8
        };
        let random: Vec<u8> = (0..SAMPLED).map(|_| noise()).collect();
        let text = b"apiVersion: v1\nkind: ConfigMap\n".repeat(SAMPLED / 16);
        assert_eq!(worth(&random), Compression::none());
        assert_eq!(worth(&text), Compression::default());
        assert_eq!(worth(&random[1..]), Compression::default(), "not worth a trial");
        // A picture with text at its ends gets smaller, too.
        let mixed = [&text[..SAMPLE], &random[..], &text[..SAMPLE]].concat();
        assert_eq!(worth(&mixed), Compression::default());
    }
}
