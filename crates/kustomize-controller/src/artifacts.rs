//! Artifacts in memory: fetched once for all Kustomizations of a source, kept while they are wanted.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use lru::LruCache;
use sluice_api::{Artifact, keys};
use sluice_artifact::{FetchError, FetchOptions, Fetcher, Locator};
use sluice_tree::{Files as _, Index, Memory};
use tokio::sync::OnceCell;

use crate::options::Options;

/// Paths of all indexes kept: some forty megabytes. Each revision of a source has an index of its own.
const INDEXED: usize = 200_000;
/// Slots kept, filled or not: one that was never filled holds nothing but its name.
const SLOTS: usize = 1024;

/// How long a path index is waited for: without it an artifact is fetched.
const PATIENCE: Duration = Duration::from_secs(2);
/// The longest silence of a server.
const SILENCE: Duration = Duration::from_secs(15);

type Slot<T> = Arc<OnceCell<Arc<T>>>;

/// An unpacked artifact.
#[derive(Debug)]
pub(crate) struct Tree {
    pub(crate) files: Memory,
    bytes: usize,
}

impl Tree {
    /// Weighs the files.
    pub(crate) fn new(files: Memory) -> Self {
        Self { bytes: weigh(&files), files }
    }
}

/// The artifacts at hand.
#[derive(Debug)]
pub(crate) struct Artifacts {
    fetcher: Fetcher,
    watcher: Fetcher,
    trees: Mutex<LruCache<String, Slot<Tree>>>,
    indexes: Mutex<LruCache<String, Slot<Index>>>,
    budget: usize,
}

impl Artifacts {
    /// Nothing is at hand yet.
    pub(crate) fn new(options: &Options) -> Result<Self, FetchError> {
        // Further attempts are made by further passes, so that no worker is held by a server that is down.
        let fetch = FetchOptions {
            retries: 1.min(options.http_retry),
            wait_min: Duration::from_millis(200),
            idle: SILENCE,
            limits: options.artifact_limits,
            host: options.source_host.clone(),
            proxies: options.environment.proxies(),
            ..FetchOptions::default()
        };
        let watcher = FetchOptions { host: options.watcher_host.clone(), ..fetch.clone() };
        Ok(Self {
            fetcher: Fetcher::new(fetch)?,
            watcher: Fetcher::new(watcher)?,
            trees: Mutex::new(LruCache::unbounded()),
            indexes: Mutex::new(LruCache::unbounded()),
            budget: options.artifact_cache,
        })
    }

    fn fetcher(&self, url: &str) -> &Fetcher {
        if url.contains("//source-watcher") { &self.watcher } else { &self.fetcher }
    }

    /// The files of an artifact. Who asks while somebody else fetches waits for that.
    pub(crate) async fn tree(&self, artifact: &Artifact) -> Result<Arc<Tree>, FetchError> {
        let slot = slot(&self.trees, &artifact.digest);
        let tree = slot
            .get_or_try_init(|| async {
                let files = self.fetcher(&artifact.url).tree(&locator(artifact)).await?;
                Ok::<_, FetchError>(Arc::new(Tree::new(files)))
            })
            .await?
            .clone();
        trim(&self.trees, self.budget, |tree| tree.bytes);
        Ok(tree)
    }

    /// The path index of an artifact; `None` where the source serves none or it cannot be had.
    pub(crate) async fn index(&self, artifact: &Artifact) -> Option<Arc<Index>> {
        let digest = artifact.metadata.get(keys::ARTIFACT_INDEX)?;
        let slot = slot(&self.indexes, digest);
        let index = slot.get_or_try_init(|| async {
            self.fetcher(&artifact.url).index(&locator(artifact), digest).await.map(Arc::new)
        });
        match tokio::time::timeout(PATIENCE, index).await.ok()? {
            Ok(index) => {
                let index = index.clone();
                trim(&self.indexes, INDEXED, Index::len);
                Some(index)
            }
            Err(error) => {
                tracing::debug!(url = %artifact.url, %error, "no path index");
                None
            }
        }
    }
}

/// Lets go of what was not wanted for the longest time, down to the budget; the newest always stays.
fn trim<T>(slots: &Mutex<LruCache<String, Slot<T>>>, budget: usize, weight: impl Fn(&T) -> usize) {
    let weight = |slot: &Slot<T>| slot.get().map_or(0, |held| weight(held));
    let mut slots = slots.lock().unwrap_or_else(PoisonError::into_inner);
    let mut held: usize = slots.iter().map(|(_, slot)| weight(slot)).sum();
    while held > budget && slots.len() > 1 {
        let Some((_, slot)) = slots.pop_lru() else { return };
        held = held.saturating_sub(weight(&slot));
    }
}

fn slot<T>(slots: &Mutex<LruCache<String, Slot<T>>>, key: &str) -> Slot<T> {
    let mut slots = slots.lock().unwrap_or_else(PoisonError::into_inner);
    let slot = slots.get_or_insert(key.to_owned(), Slot::default).clone();
    if slots.len() > SLOTS {
        slots.pop_lru();
    }
    slot
}

fn locator(artifact: &Artifact) -> Locator {
    Locator { url: artifact.url.clone(), digest: artifact.digest.clone() }
}

fn weigh(files: &Memory) -> usize {
    let size = |path| files.read(&path).map_or(0, |bytes| bytes.len());
    files.paths().into_iter().map(|path| path.as_str().len() + 64 + size(path)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_go_until_the_rest_fits_and_the_newest_always_stays() {
        let slots: Mutex<LruCache<String, Slot<usize>>> = Mutex::new(LruCache::unbounded());
        let kept = |weights: &[usize]| -> Vec<usize> {
            for weight in weights {
                let filled = Arc::new(OnceCell::new_with(Some(Arc::new(*weight))));
                slots.lock().unwrap().push(weight.to_string(), filled);
                trim(&slots, 10, |weight| *weight);
            }
            slots.lock().unwrap().iter().filter_map(|(_, slot)| slot.get()).map(|held| **held).collect()
        };
        assert_eq!(kept(&[4, 5]), [5, 4]);
        assert_eq!(kept(&[3]), [3, 5]);
        assert_eq!(kept(&[99]), [99]);
        for number in 0..2 * SLOTS {
            slot(&slots, &format!("failed {number}"));
        }
        assert_eq!(slots.lock().unwrap().len(), SLOTS);
    }
}
