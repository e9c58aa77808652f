use std::fmt;
use std::time::Duration;

/// What mirrors may use.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Bytes of one fetch.
    pub pack_bytes: u64,
    /// Bytes of all mirrors together; the least recently used go first.
    pub disk_bytes: u64,
    /// Bytes of one file.
    pub file_bytes: u64,
    /// Entries of one tree, all levels and submodules.
    pub entries: usize,
    /// Directories below each other.
    pub depth: usize,
    /// Fetches at one time; listings have four times as many.
    pub workers: usize,
    /// How long a mirror may lie unused.
    pub idle: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            pack_bytes: 4 << 30,
            disk_bytes: 20 << 30,
            file_bytes: 512 << 20,
            entries: 1_000_000,
            depth: 256,
            workers: 4,
            idle: Duration::from_secs(24 * 3600),
        }
    }
}

/// A bound that a repository reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// [`Limits::pack_bytes`]
    Transfer(u64),
    /// [`Limits::file_bytes`]
    File(u64),
    /// [`Limits::entries`]
    Entries(usize),
    /// [`Limits::depth`]
    Depth(usize),
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Transfer(bytes) => write!(f, "{bytes} bytes"),
            Self::File(bytes) => write!(f, "{bytes} bytes for one file"),
            Self::Entries(entries) => write!(f, "{entries} tree entries"),
            Self::Depth(directories) => write!(f, "{directories} directories below each other"),
        }
    }
}
