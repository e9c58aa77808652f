//! Kept tokens, measured under the names Flux gives these figures.

use std::sync::Arc;
use std::time::Duration;

use sluice_identity::{Cache, CacheEvent, Credential, Error, Key};

use crate::Key as ObjectKey;
use crate::metrics::{Family, Registry};

const HIT: &str = "cache_hit";
const MISS: &str = "cache_miss";

/// A cache of tokens that counts what happens in it, altogether and for each object that asks.
pub struct Tokens {
    cache: Arc<Cache>,
    events: Arc<Family>,
    kind: &'static str,
    operation: &'static str,
}

impl Tokens {
    /// At most `size` tokens (0 keeps none), each for `lifetime` at most, asked for by objects of one `kind` in one
    /// `operation`.
    #[must_use]
    pub fn new(
        registry: &Registry,
        size: usize,
        lifetime: Duration,
        kind: &'static str,
        operation: &'static str,
    ) -> Self {
        let requests = registry.counter(
            "gotk_token_cache_requests_total",
            "Total number of requests for a token, by outcome.",
            &["status"],
        );
        let evictions =
            registry.counter("gotk_token_cache_evictions_total", "Total number of evicted tokens.", &[]);
        let events = registry.counter(
            "gotk_token_cache_events_total",
            "Total number of cache events, by object.",
            &["event_type", "kind", "name", "namespace", "operation"],
        );
        let cache = Arc::new(Cache::new(size, lifetime, move |event| match event {
            CacheEvent::Hit => requests.inc(&["success"]),
            CacheEvent::Miss => requests.inc(&["failure"]),
            CacheEvent::Failed => {}
            CacheEvent::Evicted => evictions.inc(&[]),
        }));
        let held = registry.gauge("gotk_token_cached_items", "Number of tokens that are kept.", &[]);
        let counted = Arc::clone(&cache);
        registry.on_scrape(move || held.set(&[], counted.len() as f64));
        Self { cache, events, kind, operation }
    }

    /// The kept credential, or the one that `obtain` gives; either is counted for the object. Dropping the future
    /// gives the turn to the next who waits for the same key.
    ///
    /// # Errors
    /// Those of `obtain`; failures are not kept.
    pub async fn get<F>(
        &self,
        key: Key,
        object: &ObjectKey,
        obtain: impl FnOnce() -> F,
    ) -> Result<Credential, Error>
    where
        F: Future<Output = Result<Credential, Error>>,
    {
        let mut missed = false;
        let obtain = || {
            missed = true;
            obtain()
        };
        let credential = self.cache.get(key, obtain).await;
        self.events.inc(&self.labels(if missed { MISS } else { HIT }, object));
        credential
    }

    /// As [`Tokens::get`], for something that several objects share: counted altogether only.
    ///
    /// # Errors
    /// Those of `obtain`; failures are not kept.
    pub async fn share<F>(&self, key: Key, obtain: impl FnOnce() -> F) -> Result<Credential, Error>
    where
        F: Future<Output = Result<Credential, Error>>,
    {
        self.cache.get(key, obtain).await
    }

    /// Stops counting for an object that is gone.
    pub fn forget(&self, object: &ObjectKey) {
        for event in [HIT, MISS] {
            self.events.remove(&self.labels(event, object));
        }
    }

    fn labels<'a>(&'a self, event: &'a str, object: &'a ObjectKey) -> [&'a str; 5] {
        [event, self.kind, &object.name, &object.namespace, self.operation]
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use sluice_identity::Presented;

    use super::*;

    #[tokio::test]
    async fn what_happens_is_counted_and_forgotten_with_its_object() {
        let registry = Registry::default();
        let tokens =
            Tokens::new(&registry, 1, Duration::from_secs(3600), "Kustomization", "fetch_kubeconfig");
        let object = ObjectKey::new("apps", "web");
        for part in ["a", "a", "b"] {
            let given = Credential {
                kind: Presented::Bearer(part.to_owned().into()),
                expires: SystemTime::now() + Duration::from_secs(3600),
            };
            tokens.get(Key::of(&[part]), &object, || async { Ok(given) }).await.unwrap();
        }
        let of = |event: &str| {
            format!(
                "gotk_token_cache_events_total{{event_type=\"{event}\",kind=\"Kustomization\",name=\"web\",\
                 namespace=\"apps\",operation=\"fetch_kubeconfig\"}}"
            )
        };
        let text = registry.render();
        for line in [
            format!("{} 1", of(HIT)),
            format!("{} 2", of(MISS)),
            "gotk_token_cache_evictions_total 1".to_owned(),
            "gotk_token_cache_requests_total{status=\"failure\"} 2".to_owned(),
            "gotk_token_cache_requests_total{status=\"success\"} 1".to_owned(),
            "gotk_token_cached_items 1".to_owned(),
        ] {
            assert!(text.lines().any(|shown| shown == line), "{line} is not in\n{text}");
        }
        tokens.forget(&object);
        assert!(!registry.render().contains("event_type"));
    }
}
