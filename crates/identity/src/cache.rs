use std::future::Future;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use lru::LruCache;
use sha2::{Digest, Sha256};

use crate::{Credential, Error};

/// What a credential was obtained with: equal parts, equal credential. Only their hash is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key([u8; 32]);

impl Key {
    /// Hashes the parts; each is told apart from its neighbours.
    pub fn of(parts: &[&str]) -> Self {
        let mut hash = Sha256::new();
        for part in parts {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part.as_bytes());
        }
        Self(hash.finalize().into())
    }
}

/// What happened in the cache, for metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CacheEvent {
    /// A credential was found and is fresh.
    Hit,
    /// One had to be obtained.
    Miss,
    /// Obtaining it failed.
    Failed,
    /// The least recently used one had to make room.
    Evicted,
}

struct Entry {
    credential: Credential,
    stale_at: (Instant, SystemTime),
}

type Slot = Arc<tokio::sync::Mutex<Option<Entry>>>;

/// Credentials by key, each obtained by one caller at a time while others for the same key wait.
///
/// An entry is stale at 80 % of its lifetime or after the longest duration, whichever comes first, by the
/// monotonic and the wall clock alike (a suspended machine stops only one of them).
pub struct Cache {
    slots: Mutex<Option<LruCache<Key, Slot>>>,
    longest: Duration,
    observe: Box<dyn Fn(CacheEvent) + Send + Sync>,
}

impl Cache {
    /// A cache of at most `size` credentials (0 keeps none), told about its events by `observe`.
    pub fn new(size: usize, longest: Duration, observe: impl Fn(CacheEvent) + Send + Sync + 'static) -> Self {
        Self {
            slots: Mutex::new(NonZeroUsize::new(size).map(LruCache::new)),
            longest,
            observe: Box::new(observe),
        }
    }

    /// The cached credential, or one that `obtain` gives. Dropping the future gives the turn to the next waiting.
    ///
    /// # Errors
    /// Those of `obtain`; failures are not cached.
    pub async fn get<F>(&self, key: Key, obtain: impl FnOnce() -> F) -> Result<Credential, Error>
    where
        F: Future<Output = Result<Credential, Error>>,
    {
        let slot = self.slot(key);
        let mut entry = slot.lock().await;
        if let Some(found) = entry.as_ref().filter(|entry| entry.is_fresh(Instant::now(), SystemTime::now()))
        {
            (self.observe)(CacheEvent::Hit);
            return Ok(found.credential.clone());
        }
        (self.observe)(CacheEvent::Miss);
        let asked = (Instant::now(), SystemTime::now());
        let credential = obtain().await.inspect_err(|_| (self.observe)(CacheEvent::Failed))?;
        *entry = Some(Entry::new(credential.clone(), asked, self.longest));
        Ok(credential)
    }

    /// How many keys are held.
    pub fn len(&self) -> usize {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map_or(0, LruCache::len)
    }

    /// True if none is held.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn slot(&self, key: Key) -> Slot {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(slots) = slots.as_mut() else { return Slot::default() };
        if let Some(slot) = slots.get(&key) {
            return slot.clone();
        }
        let slot = Slot::default();
        if slots.push(key, Arc::clone(&slot)).is_some() {
            (self.observe)(CacheEvent::Evicted);
        }
        slot
    }
}

impl Entry {
    fn new(credential: Credential, asked: (Instant, SystemTime), longest: Duration) -> Self {
        let lifetime = credential.expires.duration_since(asked.1).unwrap_or_default();
        let fresh_for = (lifetime * 4 / 5).min(longest);
        Self { credential, stale_at: (asked.0 + fresh_for, asked.1 + fresh_for) }
    }

    fn is_fresh(&self, now: Instant, wall: SystemTime) -> bool {
        now < self.stale_at.0 && wall < self.stale_at.1
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::Presented;

    fn credential(lifetime: Duration) -> Credential {
        Credential { kind: Presented::Bearer("t".to_owned().into()), expires: SystemTime::now() + lifetime }
    }

    #[tokio::test]
    async fn callers_for_one_key_share_one_exchange() {
        let cache = Cache::new(2, Duration::from_secs(3600), |_| {});
        let exchanges = AtomicUsize::new(0);
        let one = || {
            cache.get(Key::of(&["a"]), || async {
                tokio::task::yield_now().await;
                exchanges.fetch_add(1, Ordering::Relaxed);
                Ok(credential(Duration::from_secs(600)))
            })
        };
        let (a, b, c) = tokio::join!(one(), one(), one());
        assert!(a.is_ok() && b.is_ok() && c.is_ok());
        assert_eq!(exchanges.load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn failures_are_not_remembered_and_the_oldest_makes_room() {
        let events: Arc<Mutex<Vec<CacheEvent>>> = Arc::default();
        let sink = events.clone();
        let cache = Cache::new(1, Duration::from_secs(3600), move |event| sink.lock().unwrap().push(event));
        let failing = || async { Err(Error::Configuration("no".to_owned())) };
        assert!(cache.get(Key::of(&["a"]), failing).await.is_err());
        assert!(
            cache.get(Key::of(&["a"]), || async { Ok(credential(Duration::from_secs(600))) }).await.is_ok()
        );
        assert!(cache.get(Key::of(&["a"]), failing).await.is_ok());
        assert!(
            cache.get(Key::of(&["b"]), || async { Ok(credential(Duration::from_secs(600))) }).await.is_ok()
        );
        assert_eq!(cache.len(), 1);
        use CacheEvent::{Evicted, Failed, Hit, Miss};
        assert_eq!(*events.lock().unwrap(), [Miss, Failed, Miss, Hit, Evicted, Miss]);
    }

    #[test]
    fn an_entry_is_stale_at_four_fifths_of_its_life_or_at_the_longest_duration() {
        let asked = (Instant::now(), SystemTime::now());
        for (lifetime, longest, fresh_for) in [(100, 3600, 80), (10_000, 3600, 3600)] {
            let credential = Credential {
                kind: Presented::Bearer("t".to_owned().into()),
                expires: asked.1 + Duration::from_secs(lifetime),
            };
            let entry = Entry::new(credential, asked, Duration::from_secs(longest));
            let at =
                |seconds| (asked.0 + Duration::from_secs(seconds), asked.1 + Duration::from_secs(seconds));
            let (before, after) = (at(fresh_for - 1), at(fresh_for));
            assert!(entry.is_fresh(before.0, before.1));
            assert!(!entry.is_fresh(after.0, before.1) && !entry.is_fresh(before.0, after.1));
        }
    }

    #[test]
    fn parts_of_a_key_do_not_run_together() {
        assert_ne!(Key::of(&["ab", "c"]), Key::of(&["a", "bc"]));
    }
}
