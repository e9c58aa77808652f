use std::io::Read;

use flate2::read::MultiGzDecoder;
use sluice_types::{PathError, RelPath};
use tar::{Entry, EntryType};

use crate::error::Error;
use crate::memory::Memory;

mod entry;

use entry::{Extensions, damaged};

/// How much an archive may unfold to.
#[derive(Clone, Copy, Debug)]
pub struct UnpackLimits {
    /// Bytes of all entries together.
    pub bytes: u64,
    /// Bytes of one file.
    pub file_bytes: u64,
    /// Entries, of whatever type.
    pub entries: usize,
    /// Path segments.
    pub depth: usize,
    /// Leave symbolic links out instead of refusing the archive.
    pub skip_symlinks: bool,
}

impl Default for UnpackLimits {
    fn default() -> Self {
        Self { bytes: 512 << 20, file_bytes: 256 << 20, entries: 1_000_000, depth: 256, skip_symlinks: true }
    }
}

/// Why an archive is refused.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// It is not compressed.
    #[error("requires gzip-compressed body: {0}")]
    NotGzip(String),
    /// The stream broke off or is damaged.
    #[error("damaged archive: {0}")]
    Damaged(String),
    /// A name that could lead elsewhere.
    #[error("tar contained invalid name error {0:?}")]
    InvalidName(String),
    /// A link, a device, or something unknown.
    #[error("tar file entry {name:?} contained unsupported file type {what}")]
    UnsupportedType {
        /// The entry.
        name: String,
        /// Its type.
        what: String,
    },
    /// More bytes than allowed.
    #[error("archive is larger than the limit of {0} bytes")]
    Bytes(u64),
    /// A file with more bytes than allowed.
    #[error("'{path}' is larger than the limit of {limit} bytes")]
    FileBytes {
        /// The file.
        path: RelPath,
        /// In bytes.
        limit: u64,
    },
    /// More entries than allowed.
    #[error("archive has more than {0} entries")]
    Entries(usize),
    /// More directories below each other than allowed.
    #[error("'{path}' is deeper than {limit} directories")]
    Depth {
        /// The path.
        path: RelPath,
        /// In segments.
        limit: usize,
    },
    /// Two entries contradict each other, or the sink failed.
    #[error(transparent)]
    Sink(#[from] Error),
}

/// Where entries go.
pub trait Sink {
    /// A directory, maybe once more.
    ///
    /// # Errors
    /// When it cannot be made.
    fn directory(&mut self, path: &RelPath) -> Result<(), Error>;

    /// A file; a later one of the same name replaces it.
    ///
    /// # Errors
    /// When it cannot be kept.
    fn file(&mut self, path: &RelPath, bytes: Vec<u8>, executable: bool) -> Result<(), Error>;
}

impl Sink for Memory {
    fn directory(&mut self, path: &RelPath) -> Result<(), Error> {
        self.make_directory(path)
    }

    fn file(&mut self, path: &RelPath, bytes: Vec<u8>, executable: bool) -> Result<(), Error> {
        if executable { self.insert_executable(path, bytes) } else { self.insert(path, bytes) }
    }
}

/// Unfolds a `tar.gz`, of any number of gzip members, into a sink.
///
/// # Errors
/// See [`UnpackError`]; the sink may hold a part of the archive then.
pub fn unpack(mut archive: impl Read, limits: UnpackLimits, sink: &mut dyn Sink) -> Result<(), UnpackError> {
    let mut magic = [0; 2];
    match archive.read_exact(&mut magic) {
        Ok(()) if magic == [0x1f, 0x8b] => {}
        Ok(()) => return Err(UnpackError::NotGzip("invalid header".to_owned())),
        Err(error) => return Err(UnpackError::NotGzip(error.to_string())),
    }
    let mut archive = tar::Archive::new(MultiGzDecoder::new(magic.as_slice().chain(archive)));
    let (mut bytes, mut count) = (0_u64, 0_usize);
    let mut extensions = Extensions::default();
    // Raw: extension headers come as entries, so that their size can be bounded before they are read.
    let entries = archive.entries().map_err(|error| damaged(error.to_string()))?.raw(true);
    for entry in entries {
        let mut entry = entry.map_err(|error| damaged(error.to_string()))?;
        (bytes, count) = (bytes.saturating_add(entry.size()), count + 1);
        if count > limits.entries {
            return Err(UnpackError::Entries(limits.entries));
        }
        if !extensions.absorb(&mut entry)? {
            let name = std::mem::take(&mut extensions).name(&entry)?;
            place(&mut entry, name, limits, sink)?;
        }
        // Whatever was not read is skipped next: that must be bounded, too.
        if bytes > limits.bytes {
            return Err(UnpackError::Bytes(limits.bytes));
        }
    }
    Ok(())
}

fn place<R: Read>(
    entry: &mut Entry<'_, R>,
    name: String,
    limits: UnpackLimits,
    sink: &mut dyn Sink,
) -> Result<(), UnpackError> {
    let what = match entry.header().entry_type() {
        EntryType::Directory => return Ok(sink.directory(&confine(&name, limits)?)?),
        // Before directories had a type, a slash marked them.
        EntryType::Regular | EntryType::Continuous if name.ends_with('/') => {
            return Ok(sink.directory(&confine(&name, limits)?)?);
        }
        EntryType::Regular | EntryType::Continuous => {
            let path = confine(&name, limits)?;
            let bytes = body(entry, &path, limits)?;
            let mode = entry.header().mode().map_err(|error| damaged(error.to_string()))?;
            return Ok(sink.file(&path, bytes, mode & 0o111 != 0)?);
        }
        EntryType::Symlink if limits.skip_symlinks => return confine(&name, limits).map(|_| ()),
        EntryType::Symlink => "symbolic link".to_owned(),
        EntryType::Link => "hard link".to_owned(),
        other => format!("'{}'", char::from(other.as_byte()).escape_default()),
    };
    Err(UnpackError::UnsupportedType { name, what })
}

fn body<R: Read>(
    entry: &mut Entry<'_, R>,
    path: &RelPath,
    limits: UnpackLimits,
) -> Result<Vec<u8>, UnpackError> {
    let size = entry.size();
    if size > limits.file_bytes {
        return Err(UnpackError::FileBytes { path: path.clone(), limit: limits.file_bytes });
    }
    if size > limits.bytes {
        return Err(UnpackError::Bytes(limits.bytes));
    }
    // The claim is not trusted with memory.
    let mut bytes = Vec::with_capacity(usize::try_from(size.min(1 << 20)).unwrap_or_default());
    entry.read_to_end(&mut bytes).map_err(|error| damaged(error.to_string()))?;
    if bytes.len() as u64 != size {
        return Err(damaged(format!("entry has {} bytes instead of {size}", bytes.len())));
    }
    Ok(bytes)
}

/// Unfolds a `tar.gz` into memory.
///
/// # Errors
/// As [`unpack`].
pub fn unpack_to_memory(archive: impl Read, limits: UnpackLimits) -> Result<Memory, UnpackError> {
    let mut memory = Memory::default();
    unpack(archive, limits, &mut memory)?;
    Ok(memory)
}

fn confine(name: &str, limits: UnpackLimits) -> Result<RelPath, UnpackError> {
    let invalid = || UnpackError::InvalidName(name.chars().take(256).collect());
    if name.is_empty() || name.contains('\\') || name.contains("../") {
        return Err(invalid());
    }
    let path = RelPath::new(name).map_err(|_: PathError| invalid())?;
    if path.components().count() > limits.depth {
        return Err(UnpackError::Depth { path, limit: limits.depth });
    }
    Ok(path)
}
