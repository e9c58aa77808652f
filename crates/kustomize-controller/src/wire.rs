//! Which other objects wake which of ours.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use sluice_api::keys;
use sluice_api::kustomize::v1::{Kustomization, SubstituteKind};
use sluice_api::source::SourceKind;
use sluice_apply::Signal;
use sluice_runtime::{Change, Host, Key, Urgency, WakeKey};
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::sync::mpsc;

use crate::context::Context;
use crate::gate::{own_key, reference_key, source_key};
use crate::request::{self, SourceKey};
use crate::session::News;
use crate::{configs, health, order};

/// Everything whose changes may concern a Kustomization: its source, and what it refers to.
pub(crate) fn sought(object: &Kustomization) -> Vec<WakeKey> {
    let namespace = object.metadata.namespace.as_deref().unwrap_or_default();
    let references = request::referenced(object);
    let references = references.iter().map(|(kind, name)| reference_key(*kind, namespace, name));
    std::iter::once(source_key(&SourceKey::of(object))).chain(references).collect()
}

/// Starts every watcher; each ends with the process.
pub(crate) fn start(context: &Arc<Context>, host: &Host) {
    let (fresh, news) = mpsc::channel(1024);
    for kind in context.sources.kinds() {
        let (context, fresh, client) = (context.clone(), fresh.clone(), host.client.clone());
        let namespace = host.scope.namespace.clone();
        spawn(host, async move {
            let await_kind =
                |kind: SourceKind| context.targets.await_kind(keys::source::GROUP, kind.as_str());
            context.sources.follow(kind, client, namespace.as_deref(), fresh, await_kind).await;
        });
    }
    spawn(host, sources(context.clone(), news));
    // From now on, not from when they get to run: what happens meanwhile is to be told too.
    spawn(host, dependents(context.clone(), context.handle.subscribe()));
    if let Some(mut meetings) = context.targets.meetings() {
        let (context, host) = (context.clone(), host.clone());
        spawn(&host.clone(), async move {
            while let Some(met) = meetings.recv().await {
                spawn(&host, signals(context.clone(), met));
            }
        });
    }
    if !context.options.gates.disable_config_watchers {
        spawn(host, configs::follow::<ConfigMap>(context.clone(), host.clone(), SubstituteKind::ConfigMap));
        spawn(host, configs::follow::<Secret>(context.clone(), host.clone(), SubstituteKind::Secret));
    }
}

fn spawn(host: &Host, work: impl Future<Output = ()> + Send + 'static) {
    let stop = host.stop.clone();
    tokio::spawn(async move {
        stop.run_until_cancelled(work).await;
    });
}

/// New artifacts: those who only have to move a revision go after those who have something to apply.
async fn sources(context: Arc<Context>, mut news: mpsc::Receiver<SourceKey>) {
    while let Some(key) = news.recv().await {
        let context = context.clone();
        tokio::spawn(async move {
            let Ok(source) = context.sources.get(&key).await else { return };
            let Some(artifact) = &source.status.artifact else { return };
            let index = context.artifacts.index(artifact).await;
            let mut all = context.handle.referring(&source_key(&key));
            order::by_dependencies(&mut all);
            let mut moved = Vec::new();
            for object in all {
                let own = Key::of(&*object);
                // Who failed with another revision since has not come back to this one.
                let ready = object.status.as_ref().filter(|status| status.is_ready());
                let applied = ready.and_then(|status| status.facts.last_applied_revision.as_deref());
                match context.sessions.news(&own, applied, artifact, index.as_deref()) {
                    News::Nothing => {}
                    News::Revision => moved.push(own),
                    News::Content => context.handle.enqueue(&own, Urgency::Fresh),
                }
            }
            // Only now: the workers would be taken before it is known who needs them most.
            for own in moved {
                context.handle.enqueue(&own, Urgency::Moved);
            }
            context.handle.wake(&source_key(&key));
        });
    }
}

/// Kustomizations wake those that depend on them.
async fn dependents(context: Arc<Context>, mut changes: broadcast::Receiver<Change<Kustomization>>) {
    loop {
        match changes.recv().await {
            Ok(Change::Applied(object)) => context.handle.wake(&own_key(&Key::of(&*object))),
            Ok(Change::Deleted(object)) => {
                let key = Key::of(&*object);
                context.sessions.forget(&key);
                context.handle.wake(&own_key(&key));
            }
            // Among what was missed may be some that are gone.
            Err(RecvError::Lagged(_)) => {
                context.sessions.retain(|key| context.handle.get(&key.namespace, &key.name).is_some());
                for object in context.handle.list() {
                    context.handle.wake(&own_key(&Key::of(&*object)));
                }
            }
            Err(RecvError::Closed) => return,
        }
    }
}

/// What happens to applied objects, and to what is waited for.
/// The watches end with the last user of a cluster, and so does this.
async fn signals(context: Arc<Context>, mut signals: broadcast::Receiver<Signal>) {
    loop {
        match signals.recv().await {
            Ok(Signal::Kind { group, kind }) => {
                context.sources.appeared(&group, &kind);
                context.handle.wake(&WakeKey::kind(&group, &kind));
            }
            Ok(Signal::Object { id, owner, change }) => {
                context.handle.wake(&health::wake_key(&id));
                let Some(owner) = owner else { continue };
                let key = Key::new(&owner.namespace, &owner.name);
                let minds = match change {
                    sluice_apply::Change::Drifted | sluice_apply::Change::Deleted => {
                        context.options.ways.drift_repair || context.sessions.minds_health(&key)
                    }
                    sluice_apply::Change::Health => context.sessions.minds_health(&key),
                    sluice_apply::Change::Terminating => false,
                };
                if minds {
                    context.handle.enqueue(&key, Urgency::Visit);
                }
            }
            Err(RecvError::Lagged(_)) => {
                for object in context.handle.list() {
                    context.handle.enqueue(&Key::of(&*object), Urgency::Visit);
                }
            }
            Err(RecvError::Closed) => return,
        }
    }
}
