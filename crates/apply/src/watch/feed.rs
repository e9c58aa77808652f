//! Feeds one watch from the API server.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use kube::api::{Api, ApiResource};
use kube::runtime::watcher::{self, Event, watcher};
use serde_json::Value;
use sluice_patience::{Pause, patient};
use tokio_util::sync::CancellationToken;

use super::sighting::Sighting;
use super::store::{Known, News};
use super::{Depth, Phase, Reach, Shared, Signal, Watch};
use crate::{Failure, ObjectId, Seen};

/// When it is asked again whether a kind may be watched.
const DENIED_PAUSE: Duration = Duration::from_secs(60);
/// The same of a single namespace: there may be many.
const NARROW_PAUSE: Duration = Duration::from_secs(300);
/// When a kind that is not there is tried again.
const ABSENT_PAUSE: Duration = Duration::from_secs(15);
/// The shortest and the longest pause before a watch that ended begins anew.
const ENDED_PAUSE: [Duration; 2] = [Duration::from_secs(1), ABSENT_PAUSE];

pub(super) fn start(watch: Arc<Watch>, shared: Shared, depth: Depth, stop: CancellationToken) {
    tokio::spawn(async move {
        stop.run_until_cancelled(run(&watch, &shared, depth)).await;
    });
}

/// Why nothing is watched.
enum Idle {
    /// The kind is not there.
    Absent,
    /// Nobody may watch it, or we may not.
    Denied,
    /// The stream ended, or the server could not be asked.
    Ended,
}

async fn run(watch: &Watch, shared: &Shared, depth: Depth) {
    let mut ended = Pause::between(ENDED_PAUSE[0], ENDED_PAUSE[1]);
    loop {
        let idle = match source(watch, shared, depth).await {
            Ok(events) => feed(watch, shared, depth, events).await,
            Err(idle) => idle,
        };
        if watch.phase() == Phase::Synced {
            ended.reset();
        }
        match idle {
            Idle::Absent => {
                // With a kind go its objects: a server tells of each only while it still can.
                let news = watch.store.write().map(|mut store| store.vanish());
                watch.phase.send_replace(Phase::Absent);
                publish(watch, shared, news.unwrap_or_default());
                // Running out of time and being rung for mean the same: try again.
                let _ = tokio::time::timeout(ABSENT_PAUSE, watch.bell.notified()).await;
            }
            Idle::Denied => {
                watch.phase.send_replace(Phase::Denied);
                let narrow = matches!(watch.scope.reach, Reach::Namespace(_));
                tokio::time::sleep(if narrow { NARROW_PAUSE } else { DENIED_PAUSE }).await;
            }
            Idle::Ended => {
                watch.phase.send_replace(Phase::Refused);
                ended.pass().await;
            }
        }
    }
}

type Events = futures::stream::BoxStream<'static, watcher::Result<Event<Value>>>;

/// The event stream of the watch, whole objects or metadata, as JSON.
async fn source(watch: &Watch, shared: &Shared, depth: Depth) -> Result<Events, Idle> {
    let scope = &watch.scope;
    let found = shared.kinds.find(&shared.transport, &scope.group, None, &scope.kind).await;
    let resource = found.map_err(|failure| match failure {
        Failure::NoMatch { .. } => Idle::Absent,
        _ => Idle::Ended,
    })?;
    if !resource.watchable {
        return Err(Idle::Denied);
    }
    let only = match &scope.reach {
        Reach::Everywhere => None,
        Reach::Namespace(_) if !resource.namespaced => return Err(Idle::Denied),
        Reach::Namespace(space) => Some((space.clone(), String::new())),
        Reach::Object(space, name) => Some((space.clone(), name.clone())),
    };
    let allowed = shared.access.may_watch(&resource, only.as_ref()).await.map_err(|_| Idle::Ended)?;
    match &scope.reach {
        // Why, was said of all namespaces.
        Reach::Namespace(_) => {}
        _ if allowed => shared.access.content(&resource),
        _ => shared.access.complain(&resource),
    }
    if !allowed {
        return Err(Idle::Denied);
    }
    let place = ApiResource {
        group: resource.group.clone(),
        version: resource.version.clone(),
        api_version: resource.api_version(),
        kind: resource.kind.clone(),
        plural: resource.plural.clone(),
    };
    let mut config = watcher::Config::default();
    let mut namespace = None;
    match &scope.reach {
        Reach::Everywhere => config = config.labels(&shared.settings.dialect.key("name")),
        Reach::Namespace(space) => {
            config = config.labels(&shared.settings.dialect.key("name"));
            namespace = Some(space.as_str());
        }
        Reach::Object(space, name) => {
            config = config.fields(&format!("metadata.name={name}"));
            namespace = Some(space.as_str()).filter(|space| resource.namespaced && !space.is_empty());
        }
    }
    let client = shared.transport.client().clone();
    let types = (resource.api_version(), resource.kind.clone());
    Ok(match depth {
        Depth::Metadata => events::<true>(client, namespace, &place, config, types),
        Depth::Health | Depth::Objects => events::<false>(client, namespace, &place, config, types),
    })
}

/// Events as JSON. Items of lists lack their own `apiVersion` and `kind`, so these are filled in.
fn events<const METADATA: bool>(
    client: kube::Client,
    namespace: Option<&str>,
    place: &ApiResource,
    config: watcher::Config,
    (api_version, kind): (String, String),
) -> Events {
    let api: Api<Sighting<METADATA>> = match namespace {
        Some(namespace) => Api::namespaced_with(client, namespace, place),
        None => Api::all_with(client, place),
    };
    let value = move |Sighting { mut object, .. }: Sighting<METADATA>| {
        if let Some(fields) = object.as_object_mut() {
            fields.insert("apiVersion".to_owned(), Value::from(api_version.as_str()));
            fields.insert("kind".to_owned(), Value::from(kind.as_str()));
        }
        object
    };
    let values = patient(watcher(api, config)).map(move |event| {
        Ok(match event? {
            Event::Init => Event::Init,
            Event::InitDone => Event::InitDone,
            Event::InitApply(object) => Event::InitApply(value(object)),
            Event::Apply(object) => Event::Apply(value(object)),
            Event::Delete(object) => Event::Delete(value(object)),
        })
    });
    values.boxed()
}

/// Takes events until watching is refused; answers why it came to an end.
async fn feed(watch: &Watch, shared: &Shared, depth: Depth, mut events: Events) -> Idle {
    while let Some(event) = events.next().await {
        match event {
            Ok(event) => take(watch, shared, depth, event),
            Err(error) => match refusal(&error) {
                Some(401 | 403) => {
                    shared.access.forget().await;
                    tracing::debug!(kind = watch.scope.kind, %error, "watching is refused");
                    return Idle::Ended;
                }
                Some(405) => return Idle::Denied,
                Some(404) => {
                    tracing::debug!(kind = watch.scope.kind, %error, "the kind is gone");
                    shared.kinds.forget();
                    return Idle::Absent;
                }
                _ => tracing::debug!(kind = watch.scope.kind, %error, "watch interrupted"),
            },
        }
    }
    Idle::Ended
}

fn refusal(error: &watcher::Error) -> Option<u16> {
    match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status))
        | watcher::Error::WatchFailed(kube::Error::Api(status)) => Some(status.code),
        watcher::Error::WatchError(status) => Some(status.code),
        _ => None,
    }
}

fn take(watch: &Watch, shared: &Shared, depth: Depth, event: Event<Value>) {
    let news = {
        let Ok(mut store) = watch.store.write() else {
            return;
        };
        match event {
            Event::Init => {
                store.begin();
                Vec::new()
            }
            Event::InitApply(object) => {
                if let Some((namespace, name, known)) = read(object, shared, depth) {
                    store.listed(&namespace, &name, known);
                }
                Vec::new()
            }
            Event::InitDone => store.complete(),
            Event::Apply(object) => read(object, shared, depth)
                .and_then(|(namespace, name, known)| store.applied(&namespace, &name, known))
                .into_iter()
                .collect(),
            Event::Delete(object) => read(object, shared, depth)
                .and_then(|(namespace, name, known)| store.deleted(&namespace, &name, &known.seen))
                .into_iter()
                .collect(),
        }
    };
    if watch.store.read().is_ok_and(|store| !store.is_listing()) {
        watch.phase.send_if_modified(|phase| std::mem::replace(phase, Phase::Synced) != Phase::Synced);
    }
    publish(watch, shared, news);
}

fn publish(watch: &Watch, shared: &Shared, news: Vec<News>) {
    for News { namespace, name, owner, change } in news {
        let id = ObjectId {
            namespace: namespace.as_ref().into(),
            name: name.into(),
            group: watch.scope.group.clone(),
            kind: watch.scope.kind.clone(),
        };
        // Without a receiver nobody is interested.
        let _ = shared.signals.send(Signal::Object { id, owner, change });
    }
}

fn read(mut object: Value, shared: &Shared, depth: Depth) -> Option<(String, String, Known)> {
    let metadata = object.get("metadata")?;
    let text = |field: &str| metadata.get(field).and_then(Value::as_str).map(str::to_owned);
    let (namespace, name) = (text("namespace").unwrap_or_default(), text("name")?);
    let seen = Seen::of(metadata, &shared.settings)?;
    let known = Known::of(seen, depth, || object.take());
    Some((namespace, name, known))
}
