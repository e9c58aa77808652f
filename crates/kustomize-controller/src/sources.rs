//! The sources, as watched: what is cached of them, and which change of them matters.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _};
use kube::core::DeserializeGuard;
use kube::runtime::watcher::{self, Event};
use kube::{Api, Client};
use sluice_api::Artifact;
use sluice_api::source::{SourceKind, SourceObject};
use tokio::sync::{Notify, mpsc, watch};

use crate::request::SourceKey;

/// How often a kind that is not served is looked for, unless somebody tells that it is.
const ABSENT: Duration = Duration::from_secs(60);
/// How long the first look is waited for: a worker hangs on it.
const PATIENCE: Duration = Duration::from_secs(10);
/// The longest pause before a watch that broke off is tried again.
const BROKEN: Duration = Duration::from_secs(10);

/// The sources of every kind that may be used.
#[derive(Debug)]
pub(crate) struct Sources {
    shelves: BTreeMap<SourceKind, Shelf>,
}

/// The sources of one kind.
#[derive(Debug)]
struct Shelf {
    objects: RwLock<HashMap<(String, String), Arc<SourceObject>>>,
    /// True once it is known what there is, be it that the kind is not served.
    looked: watch::Sender<bool>,
    /// Somebody did not wait for the first look to be done, and wants to know when it is.
    given_up: AtomicBool,
    /// Told when the kind may be served now.
    appeared: Notify,
}

impl Sources {
    /// Empty shelves for these kinds.
    pub(crate) fn new(kinds: impl IntoIterator<Item = SourceKind>) -> Self {
        let shelf = Shelf::empty;
        Self { shelves: kinds.into_iter().map(|kind| (kind, shelf())).collect() }
    }

    /// The kinds there are shelves for.
    pub(crate) fn kinds(&self) -> impl Iterator<Item = SourceKind> {
        self.shelves.keys().copied()
    }

    /// The source, or what an API server says where there is none. Waits for the first look, but not for long.
    pub(crate) async fn get(&self, key: &SourceKey) -> Result<Arc<SourceObject>, String> {
        let missing =
            || format!("{}.{} \"{}\" not found", key.kind, sluice_api::keys::source::GROUP, key.name);
        let shelf = self.shelves.get(&key.kind).ok_or_else(missing)?;
        let mut looked = shelf.looked.subscribe();
        // The sender lives as long as the shelf.
        if tokio::time::timeout(PATIENCE, looked.wait_for(|looked| *looked)).await.is_err() {
            shelf.given_up.store(true, Ordering::Release);
            return Err(format!("{} objects cannot be listed, see the log of the controller", key.kind));
        }
        shelf.get(&key.namespace, &key.name).ok_or_else(missing)
    }

    /// A kind is served now.
    pub(crate) fn appeared(&self, group: &str, kind: &str) {
        for (known, shelf) in &self.shelves {
            if group == sluice_api::keys::source::GROUP && kind == known.as_str() {
                shelf.appeared.notify_one();
            }
        }
    }

    /// Watches one kind until it is dropped, and tells of every source whose artifact is new.
    /// A kind that is not served is looked for again.
    pub(crate) async fn follow(
        &self,
        kind: SourceKind,
        client: Client,
        namespace: Option<&str>,
        fresh: mpsc::Sender<SourceKey>,
        await_kind: impl Fn(SourceKind),
    ) {
        let Some(shelf) = self.shelves.get(&kind) else { return };
        let resource = kind.resource();
        let api: Api<DeserializeGuard<SourceObject>> = match namespace {
            Some(namespace) => Api::namespaced_with(client, namespace, &resource),
            None => Api::all_with(client, &resource),
        };
        let mut pause = Duration::from_millis(500);
        loop {
            let events = watcher::watcher(api.clone(), watcher::Config::default())
                .try_filter_map(|event| std::future::ready(Ok(readable(event))))
                .map_err(|error| (unserved(&error), error));
            let mut events = std::pin::pin!(events);
            let mut listed = HashMap::new();
            let mut absent = false;
            while let Some(event) = events.next().await {
                match event {
                    Ok(event) => {
                        pause = Duration::from_millis(500);
                        for key in shelf.take(kind, event, &mut listed) {
                            if fresh.send(key).await.is_err() {
                                return;
                            }
                        }
                    }
                    Err((gone, error)) => {
                        let looked = *shelf.looked.borrow();
                        match looked || gone {
                            true => tracing::debug!(kind = %kind, %error, "watch of sources ended"),
                            false => tracing::error!(kind = %kind, %error, "failed to list sources"),
                        }
                        absent = gone;
                        break;
                    }
                }
            }
            if absent {
                shelf.forget();
                await_kind(kind);
                // Whoever comes first.
                let _ = tokio::time::timeout(ABSENT, shelf.appeared.notified()).await;
                continue;
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(BROKEN);
        }
    }
}

impl Shelf {
    fn empty() -> Self {
        Self {
            objects: RwLock::default(),
            looked: watch::Sender::new(false),
            given_up: AtomicBool::new(false),
            appeared: Notify::new(),
        }
    }

    fn get(&self, namespace: &str, name: &str) -> Option<Arc<SourceObject>> {
        let objects = self.objects.read().unwrap_or_else(PoisonError::into_inner);
        objects.get(&(namespace.to_owned(), name.to_owned())).cloned()
    }

    fn forget(&self) {
        self.objects.write().unwrap_or_else(PoisonError::into_inner).clear();
        self.looked.send_replace(true);
    }

    /// Notes an event; answers the sources whose artifact is new.
    fn take(
        &self,
        kind: SourceKind,
        event: Event<SourceObject>,
        listed: &mut HashMap<(String, String), Arc<SourceObject>>,
    ) -> Vec<SourceKey> {
        let place = |object: &SourceObject| {
            let meta = &object.metadata;
            (meta.namespace.clone().unwrap_or_default(), meta.name.clone().unwrap_or_default())
        };
        let key =
            |place: &(String, String)| SourceKey { kind, namespace: place.0.clone(), name: place.1.clone() };
        let mut objects = self.objects.write().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::Init => {
                listed.clear();
                Vec::new()
            }
            Event::InitApply(object) => {
                listed.insert(place(&object), Arc::new(object));
                Vec::new()
            }
            Event::InitDone => {
                let before = std::mem::replace(&mut *objects, std::mem::take(listed));
                // Nobody has seen anything before the first look, so nobody must be told who waited for it.
                if !self.looked.send_replace(true) && !self.given_up.load(Ordering::Acquire) {
                    return Vec::new();
                }
                objects
                    .iter()
                    .filter(|(place, object)| is_news(before.get(*place).map(Arc::as_ref), object))
                    .map(|(place, _)| key(place))
                    .collect()
            }
            Event::Apply(object) => {
                let place = place(&object);
                let object = Arc::new(object);
                let before = objects.insert(place.clone(), object.clone());
                if is_news(before.as_deref(), &object) { vec![key(&place)] } else { Vec::new() }
            }
            Event::Delete(object) => {
                objects.remove(&place(&object));
                Vec::new()
            }
        }
    }
}

/// The event, unless its object cannot be read: one odd source must not hide all others.
fn readable(event: Event<DeserializeGuard<SourceObject>>) -> Option<Event<SourceObject>> {
    let read = |guard: DeserializeGuard<SourceObject>| {
        guard.0.inspect_err(|error| tracing::warn!(%error, "a source cannot be read")).ok()
    };
    Some(match event {
        Event::Init => Event::Init,
        Event::InitDone => Event::InitDone,
        Event::InitApply(guard) => Event::InitApply(read(guard)?),
        Event::Apply(guard) => Event::Apply(read(guard)?),
        Event::Delete(guard) => Event::Delete(read(guard)?),
    })
}

fn is_news(before: Option<&SourceObject>, now: &SourceObject) -> bool {
    let essence = |artifact: &Artifact| (artifact.revision.clone(), artifact.digest.clone());
    let before = before.and_then(|source| source.status.artifact.as_ref()).map(essence);
    let now = now.status.artifact.as_ref().map(essence);
    now.is_some() && now != before
}

fn unserved(error: &watcher::Error) -> bool {
    let status = match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status))
        | watcher::Error::WatchFailed(kube::Error::Api(status)) => status,
        watcher::Error::WatchError(status) => status,
        _ => return false,
    };
    status.code == 404 || status.code == 403
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;

    fn run(shelf: &Shelf, event: Event<SourceObject>) -> usize {
        shelf.take(SourceKind::GitRepository, event, &mut HashMap::new()).len()
    }

    #[test]
    fn only_a_new_artifact_is_news() {
        let shelf = Shelf::empty();
        assert_eq!(run(&shelf, Event::InitDone), 0);
        let mut waiting = sample::source("r1");
        waiting.status.artifact = None;
        assert_eq!(run(&shelf, Event::Apply(waiting)), 0);
        assert_eq!(run(&shelf, Event::Apply(sample::source("r1"))), 1);
        assert_eq!(run(&shelf, Event::Apply(sample::source("r1"))), 0);
        assert_eq!(run(&shelf, Event::Apply(sample::source("r2"))), 1);
        assert_eq!(shelf.get("apps", "repo").unwrap().status.artifact.as_ref().unwrap().revision, "r2");
        assert_eq!(run(&shelf, Event::Delete(sample::source("r2"))), 0);
        assert!(shelf.get("apps", "repo").is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_kind_that_cannot_be_listed_holds_nobody_for_long_and_is_news_once_it_can() {
        let sources = Sources::new([SourceKind::GitRepository]);
        let key = SourceKey {
            kind: SourceKind::GitRepository,
            namespace: "apps".to_owned(),
            name: "repo".to_owned(),
        };
        let refused = sources.get(&key).await.unwrap_err();
        assert_eq!(refused, "GitRepository objects cannot be listed, see the log of the controller");
        let shelf = &sources.shelves[&SourceKind::GitRepository];
        let mut listed = HashMap::from([(("apps".into(), "repo".into()), Arc::new(sample::source("r1")))]);
        let news = shelf.take(SourceKind::GitRepository, Event::InitDone, &mut listed);
        assert_eq!(news, std::slice::from_ref(&key));
        assert!(sources.get(&key).await.is_ok());
    }

    #[test]
    fn what_a_relist_brings_is_news_unless_it_is_the_first() {
        let shelf = Shelf::empty();
        let relist = || {
            let mut listed = HashMap::new();
            shelf.take(SourceKind::GitRepository, Event::Init, &mut listed);
            shelf.take(SourceKind::GitRepository, Event::InitApply(sample::source("r1")), &mut listed);
            shelf.take(SourceKind::GitRepository, Event::InitDone, &mut listed).len()
        };
        assert_eq!(relist(), 0);
        assert_eq!(relist(), 0);
        shelf.forget();
        assert_eq!(relist(), 1);
    }
}
