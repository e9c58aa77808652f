use std::collections::HashMap;
use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use serde::{Deserialize, Serialize};
use sluice_tree::{Hash, PACK_FORMAT};

use crate::RECORD_SUFFIX;

/// A larger record is not worth its memory.
const RECORD_BYTES: u64 = 256 << 20;

/// What an archive was made of. Only a means to make the next one faster: without it, or when it does
/// not fit the archive, everything is read and compressed again.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Record {
    format: String,
    /// Bytes of the archive.
    size: u64,
    /// Identity, size and content hash of files.
    files: Vec<(String, u64, Hash)>,
    /// Key, length and CRC-32 of each gzip member, in order.
    members: Vec<(Hash, u64, u32)>,
}

impl Record {
    pub(crate) fn new(
        size: u64,
        files: impl IntoIterator<Item = ([u8; 20], u64, Hash)>,
        members: Vec<(Hash, u64, u32)>,
    ) -> Self {
        let files = files.into_iter().map(|(id, size, hash)| (hex::encode(id), size, hash)).collect();
        Self { format: PACK_FORMAT.to_owned(), size, files, members }
    }
}

/// An earlier archive to copy members from.
#[derive(Debug)]
pub(crate) struct Previous {
    archive: File,
    known: HashMap<[u8; 20], (u64, Hash)>,
    members: HashMap<Hash, Span>,
}

/// Where a member lies.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span {
    pub(crate) offset: u64,
    pub(crate) length: u64,
    pub(crate) crc: u32,
}

impl Previous {
    /// The newest archive in a directory that has a record which fits it.
    pub(crate) fn open(directory: &Path) -> Option<Self> {
        let records = fs::read_dir(directory).ok()?.filter_map(|entry| {
            let entry = entry.ok()?;
            let archive = entry.file_name().to_str()?.strip_suffix(RECORD_SUFFIX)?.to_owned();
            Some((entry.metadata().ok()?.modified().ok()?, entry.path(), directory.join(archive)))
        });
        let (_, record, archive) = records.max()?;
        let mut text = Vec::new();
        File::open(record).ok()?.take(RECORD_BYTES).read_to_end(&mut text).ok()?;
        let record: Record = serde_json::from_slice(&text).ok()?;
        let archive = File::open(archive).ok()?;
        if record.format != PACK_FORMAT || archive.metadata().ok()?.len() != record.size {
            return None;
        }
        let mut known = HashMap::with_capacity(record.files.len());
        for (id, size, hash) in record.files {
            let mut bytes = [0; 20];
            hex::decode_to_slice(id, &mut bytes).ok()?;
            known.insert(bytes, (size, hash));
        }
        let mut members = HashMap::with_capacity(record.members.len());
        let mut offset = 0_u64;
        for (key, length, crc) in record.members {
            members.insert(key, Span { offset, length, crc });
            offset = offset.checked_add(length)?;
        }
        (offset <= record.size).then_some(Self { archive, known, members })
    }

    pub(crate) fn file(&self, identity: &[u8; 20]) -> Option<(u64, Hash)> {
        self.known.get(identity).copied()
    }

    pub(crate) fn member(&self, key: &Hash) -> Option<Span> {
        self.members.get(key).copied()
    }

    /// A member's bytes, in this buffer, if they still are what was written.
    pub(crate) fn read(&self, span: Span, buffer: Vec<u8>) -> Option<Vec<u8>> {
        let mut bytes = buffer;
        bytes.resize(usize::try_from(span.length).ok()?, 0);
        self.archive.read_exact_at(&mut bytes, span.offset).ok()?;
        (checksum(&bytes) == span.crc).then_some(bytes)
    }
}

pub(crate) fn checksum(bytes: &[u8]) -> u32 {
    let mut crc = flate2::Crc::new();
    crc.update(bytes);
    crc.sum()
}
