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
            workers: 4,
            idle: Duration::from_secs(24 * 3600),
        }
    }
}
