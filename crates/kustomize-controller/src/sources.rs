//! The sources, as watched: what is cached of them, and which change of them matters.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _};
use kube::runtime::watcher::{self, Event};
use kube::{Api, Client};
use sluice_api::Artifact;
use sluice_api::source::{SourceKind, SourceObject};
use sluice_runtime::Guarded;
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::Instant;

use crate::request::SourceKey;

/// How often a kind that is not served is looked for, unless somebody tells that it is.
const ABSENT: Duration = Duration::from_secs(60);
/// How long the first look is waited for: a worker hangs on it.
const PATIENCE: Duration = Duration::from_secs(10);
/// The shortest and the longest pause before a watch that broke off is tried again.
const BROKEN: [Duration; 2] = [Duration::from_millis(500), Duration::from_secs(10)];

/// The sources of every kind that may be used.
#[derive(Debug)]
pub(crate) struct Sources {
    shelves: BTreeMap<SourceKind, Shelf>,
}

/// The sources of one kind.
#[derive(Debug)]
struct Shelf {
    objects: RwLock<HashMap<(String, String), Arc<SourceObject>>>,
    /// How the look at what there is stands.
    look: watch::Sender<Look>,
    /// Somebody did not wait for the first look to be done, and wants to know when it is.
    given_up: AtomicBool,
    /// Told when the kind may be served now.
    appeared: Notify,
}

/// Whether it is known what there is of a kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Look {
    Begun,
    /// The API server lets nobody see them who asks as we do.
    Refused,
    /// Known, be it that the kind is not served.
    Done,
}

/// Why a watch ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Broken,
    Unserved,
    Refused,
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
        let mut look = shelf.look.subscribe();
        let known = look.wait_for(|look| *look != Look::Begun);
        // The sender lives as long as the shelf.
        match tokio::time::timeout(PATIENCE, known).await.map(|look| look.map(|look| *look)) {
            Ok(Ok(Look::Done)) => {}
            _ => {
                shelf.given_up.store(true, Ordering::Release);
                return Err(format!("{} objects cannot be listed, see the log of the controller", key.kind));
            }
        }
        shelf.get(&key.namespace, &key.name).ok_or_else(missing)
    }

    /// Somebody looks at sources of this kind without these shelves: what the first look at them finds may be
    /// newer than what was seen so.
    pub(crate) fn bypassed(&self, kind: SourceKind) {
        if let Some(shelf) = self.shelves.get(&kind) {
            shelf.given_up.store(true, Ordering::Release);
        }
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
        let api: Api<Guarded<SourceObject>> = match namespace {
            Some(namespace) => Api::namespaced_with(client, namespace, &resource),
            None => Api::all_with(client, &resource),
        };
        let [shortest, longest] = BROKEN;
        let mut pause = shortest;
        loop {
            let events = watcher::watcher(api.clone(), watcher::Config::default())
                .try_filter_map(|event| std::future::ready(Ok(readable(event))));
            let mut events = std::pin::pin!(events);
            let mut listed = HashMap::new();
            let mut end = End::Broken;
            while let Some(event) = events.next().await {
                match event {
                    Ok(event) => {
                        // That a list begins says nothing about how it ends.
                        if !matches!(event, Event::Init) {
                            pause = shortest;
                        }
                        for key in shelf.take(kind, event, &mut listed) {
                            if fresh.send(key).await.is_err() {
                                return;
                            }
                        }
                    }
                    Err(error) => {
                        end = End::of(&error);
                        match *shelf.look.borrow() {
                            Look::Begun if end != End::Unserved => {
                                tracing::error!(kind = %kind, %error, "failed to list sources");
                            }
                            _ => tracing::debug!(kind = %kind, %error, "watch of sources ended"),
                        }
                        break;
                    }
                }
            }
            match end {
                End::Unserved => {
                    shelf.forget();
                    await_kind(kind);
                    let ended = Instant::now();
                    // Whoever comes first.
                    let _ = tokio::time::timeout(ABSENT, shelf.appeared.notified()).await;
                    let waited = ended.elapsed();
                    if waited >= pause {
                        continue;
                    }
                    // Said to be served, and not to be had a moment ago.
                    tokio::time::sleep(pause.saturating_sub(waited)).await;
                }
                End::Refused => {
                    shelf.refuse();
                    tokio::time::sleep(pause).await;
                }
                End::Broken => tokio::time::sleep(pause).await,
            }
            pause = (pause * 2).min(if end == End::Broken { longest } else { ABSENT });
        }
    }
}

impl End {
    fn of(error: &watcher::Error) -> Self {
        let status = match error {
            watcher::Error::InitialListFailed(kube::Error::Api(status))
            | watcher::Error::WatchStartFailed(kube::Error::Api(status))
            | watcher::Error::WatchFailed(kube::Error::Api(status)) => status,
            watcher::Error::WatchError(status) => status,
            _ => return Self::Broken,
        };
        match status.code {
            404 => Self::Unserved,
            401 | 403 => Self::Refused,
            _ => Self::Broken,
        }
    }
}

impl Shelf {
    fn empty() -> Self {
        Self {
            objects: RwLock::default(),
            look: watch::Sender::new(Look::Begun),
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
        self.look.send_replace(Look::Done);
    }

    /// Whoever uses one of these sources is told so at once, rather than after waiting.
    fn refuse(&self) {
        self.objects.write().unwrap_or_else(PoisonError::into_inner).clear();
        self.given_up.store(true, Ordering::Release);
        self.look.send_replace(Look::Refused);
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
                if self.look.send_replace(Look::Done) == Look::Begun && !self.given_up.load(Ordering::Acquire)
                {
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
fn readable(event: Event<Guarded<SourceObject>>) -> Option<Event<SourceObject>> {
    let read = |guard: Guarded<SourceObject>| {
        guard.0.inspect_err(|error| tracing::warn!(%error, "a source cannot be read")).ok()
    };
    Some(match event {
        Event::Init => Event::Init,
        Event::InitDone => Event::InitDone,
        Event::InitApply(guard) => Event::InitApply(read(guard)?),
        Event::Apply(guard) => Event::Apply(read(guard)?),
        // Its name is all that counts.
        Event::Delete(guard) => Event::Delete(guard.0.unwrap_or_else(|unreadable| SourceObject {
            metadata: unreadable.metadata,
            ..SourceObject::default()
        })),
    })
}

fn is_news(before: Option<&SourceObject>, now: &SourceObject) -> bool {
    let essence = |artifact: &Artifact| (artifact.revision.clone(), artifact.digest.clone());
    let before = before.and_then(|source| source.status.artifact.as_ref()).map(essence);
    let now = now.status.artifact.as_ref().map(essence);
    now.is_some() && now != before
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

    /// An API server that forbids its sources to the first so many requests, and what it was asked.
    fn forbidding(first: usize) -> (Client, Arc<std::sync::Mutex<Vec<Instant>>>) {
        let asked: Arc<std::sync::Mutex<Vec<Instant>>> = Arc::default();
        let noted = asked.clone();
        let service = tower::service_fn(move |request: http::Request<kube::client::Body>| {
            let count = {
                let mut noted = noted.lock().unwrap();
                noted.push(Instant::now());
                noted.len()
            };
            async move {
                let (status, body) = if count <= first {
                    let refusal = serde_json::json!({"kind": "Status", "apiVersion": "v1", "status": "Failure",
                        "message": "forbidden", "reason": "Forbidden", "code": 403});
                    (403, refusal)
                } else if request.uri().query().unwrap_or_default().contains("watch=true") {
                    std::future::pending().await
                } else {
                    let source = serde_json::to_value(sample::source("r1")).unwrap();
                    let list = serde_json::json!({"apiVersion": "source.toolkit.fluxcd.io/v1",
                        "kind": "GitRepositoryList", "metadata": {"resourceVersion": "1"}, "items": [source]});
                    (200, list)
                };
                let body = kube::client::Body::from(body.to_string().into_bytes());
                Ok::<_, std::convert::Infallible>(
                    http::Response::builder().status(status).body(body).unwrap(),
                )
            }
        });
        (Client::new(service, "default"), asked)
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_is_told_at_once_tried_again_ever_less_often_and_forgotten_when_rights_come() {
        let (client, asked) = forbidding(5);
        let sources = Arc::new(Sources::new([SourceKind::GitRepository]));
        let (fresh, mut news) = mpsc::channel(8);
        let following = sources.clone();
        let follow = tokio::spawn(async move {
            following.follow(SourceKind::GitRepository, client, None, fresh, |_| ()).await;
        });
        let key = SourceKey {
            kind: SourceKind::GitRepository,
            namespace: "apps".to_owned(),
            name: "repo".to_owned(),
        };
        let began = Instant::now();
        let refused = sources.get(&key).await.unwrap_err();
        assert_eq!(refused, "GitRepository objects cannot be listed, see the log of the controller");
        assert!(began.elapsed() < Duration::from_millis(100), "nobody waits for a refusal to pass");
        assert_eq!(news.recv().await.as_ref(), Some(&key), "who was refused wants to know");
        assert!(sources.get(&key).await.is_ok());
        follow.abort();
        let times = asked.lock().unwrap().clone();
        let pauses: Vec<_> = times.windows(2).map(|pair| (pair[1] - pair[0]).as_millis()).collect();
        assert_eq!(pauses[..5], [500, 1000, 2000, 4000, 8000]);
    }

    #[test]
    fn a_source_that_cannot_be_read_is_forgotten_when_it_goes() {
        let shelf = Shelf::empty();
        run(&shelf, Event::Apply(sample::source("r1")));
        let odd = serde_json::json!({"apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "GitRepository",
            "metadata": {"name": "repo", "namespace": "apps"}, "status": {"artifact": "odd"}});
        let odd: Guarded<SourceObject> = serde_json::from_value(odd).unwrap();
        assert!(odd.0.is_err());
        run(&shelf, readable(Event::Delete(odd)).unwrap());
        assert!(shelf.get("apps", "repo").is_none());
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
