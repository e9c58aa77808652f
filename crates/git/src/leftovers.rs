//! Mirrors that an earlier process left behind, until somebody asks for the same repository again.
//!
//! A name on disk tells the address and the kind of credential, but no secret. So a mirror may come to
//! another credential than it was fetched with; see [`Depot`] for why that shows nothing to anybody.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::SystemTime;

use tokio::time::Instant;

use crate::depot::{self, Depot};
use crate::error::Error;
use crate::mirror::lock;

/// What lies there, by home.
pub(crate) struct Leftovers {
    found: Mutex<HashMap<String, Leftover>>,
    since: Instant,
}

struct Leftover {
    dir: PathBuf,
    bytes: u64,
    used: SystemTime,
}

impl Leftovers {
    /// Looks through a directory. What was not finished, and of several with one home all but the one
    /// that was used last, is removed.
    pub(crate) fn find(parent: &Path) -> Result<Self, Error> {
        let storage = |error: std::io::Error| Error::Storage(error.to_string());
        let mut found: HashMap<String, Leftover> = HashMap::new();
        for entry in std::fs::read_dir(parent).map_err(storage)? {
            let dir = entry.map_err(storage)?.path();
            let Some(name) = dir.file_name().and_then(|name| name.to_str()) else { continue };
            let Some(home) = depot::home(name).map(str::to_owned) else { continue };
            let used = depot::state(&dir).metadata().and_then(|meta| meta.modified());
            let (Ok(used), Some(bytes)) = (used, depot::recorded_bytes(&dir)) else {
                std::fs::remove_dir_all(&dir).map_err(storage)?;
                continue;
            };
            let other = match found.get(&home) {
                Some(known) if known.used >= used => Some(dir),
                _ => found.insert(home, Leftover { dir, bytes, used }).map(|known| known.dir),
            };
            if let Some(other) = other {
                std::fs::remove_dir_all(other).map_err(storage)?;
            }
        }
        Ok(Self { found: Mutex::new(found), since: Instant::now() })
    }

    /// Hands out what was left for a home.
    pub(crate) fn take(&self, home: &str, object_limit: u64) -> Option<Depot> {
        let leftover = lock(&self.found).remove(home)?;
        match Depot::adopt(&leftover.dir, object_limit) {
            Ok(depot) => Some(depot),
            Err(error) => {
                tracing::warn!(dir = %leftover.dir.display(), %error, "git mirror cannot be used again");
                remove(&leftover.dir);
                None
            }
        }
    }

    /// Removes everything that nobody asked for in so long, and the least recently used beyond so many bytes.
    pub(crate) fn sweep(&self, idle: std::time::Duration, mut room: u64) {
        let mut found = lock(&self.found);
        let late = self.since.elapsed() >= idle;
        let mut order: Vec<(SystemTime, String)> =
            found.iter().map(|(home, left)| (left.used, home.clone())).collect();
        order.sort_unstable();
        for (_, home) in order.into_iter().rev() {
            let Some(bytes) = found.get(&home).map(|left| left.bytes) else { continue };
            match room.checked_sub(bytes).filter(|_| !late) {
                Some(rest) => room = rest,
                None => {
                    if let Some(left) = found.remove(&home) {
                        remove(&left.dir);
                    }
                }
            }
        }
    }
}

fn remove(dir: &Path) {
    if let Err(error) = std::fs::remove_dir_all(dir) {
        tracing::warn!(dir = %dir.display(), %error, "git mirror cannot be removed");
    }
}
