//! Which other objects wake which of ours.

use std::sync::Arc;

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::core::PartialObjectMeta;
use kube::runtime::watcher::{self, Event};
use kube::{Api, ResourceExt as _};
use sluice_api::keys;
use sluice_api::kustomize::v1::{Kustomization, SubstituteKind};
use sluice_api::source::SourceKind;
use sluice_apply::{Cluster, Signal};
use sluice_runtime::{Change, Host, Key, Urgency, WakeKey};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc;

use crate::context::Context;
use crate::gate::{own_key, source_key};
use crate::references::ReferenceKey;
use crate::request::{self, SourceKey};
use crate::session::News;
use crate::{health, order};

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
    spawn(host, dependents(context.clone()));
    if let Some(mut meetings) = context.targets.meetings() {
        let (context, host) = (context.clone(), host.clone());
        spawn(&host.clone(), async move {
            while let Some(cluster) = meetings.recv().await {
                spawn(&host, signals(context.clone(), cluster));
            }
        });
    }
    if !context.options.gates.disable_config_watchers {
        spawn(host, configs::<ConfigMap>(context.clone(), host.clone(), SubstituteKind::ConfigMap));
        spawn(host, configs::<Secret>(context.clone(), host.clone(), SubstituteKind::Secret));
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
            let mut all = context.handle.list();
            all.retain(|object| SourceKey::of(object) == key);
            order::by_dependencies(&mut all);
            let mut moved = Vec::new();
            for object in all {
                let own = Key::of(&*object);
                let applied =
                    object.status.as_ref().and_then(|status| status.facts.last_applied_revision.as_deref());
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
async fn dependents(context: Arc<Context>) {
    let mut changes = context.handle.subscribe();
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
async fn signals(context: Arc<Context>, cluster: Cluster) {
    let mut signals = cluster.signals();
    // The watches end with the last user of the cluster, and so does this.
    drop(cluster);
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

/// Labelled ConfigMaps and Secrets, by their metadata only.
async fn configs<K>(context: Arc<Context>, host: Host, kind: SubstituteKind)
where
    K: kube::Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>
        + Clone
        + std::fmt::Debug
        + Send
        + 'static,
{
    let api: Api<PartialObjectMeta<K>> = match &host.scope.namespace {
        Some(namespace) => Api::namespaced(host.client.clone(), namespace),
        None => Api::all(host.client.clone()),
    };
    let config = watcher::Config::default().labels(&context.options.config_selector);
    let mut events = std::pin::pin!(sluice_runtime::watch::events(api, config));
    let mut started = false;
    while let Some(event) = events.next().await {
        match event {
            Event::InitDone => started = true,
            // What the first list holds was read by the first passes anyway.
            Event::InitApply(_) if !started => {}
            Event::Apply(object) | Event::InitApply(object) | Event::Delete(object) => {
                let namespace = object.namespace().unwrap_or_default();
                wake_referrers(&context, kind, &namespace, &object.name_any());
            }
            Event::Init => {}
        }
    }
}

fn wake_referrers(context: &Context, kind: SubstituteKind, namespace: &str, name: &str) {
    let changed = ReferenceKey { kind, namespace: namespace.to_owned(), name: name.to_owned() };
    context.references.forget(&changed);
    let mut all: Vec<Arc<Kustomization>> = context.handle.list();
    all.retain(|object| {
        object.metadata.namespace.as_deref() == Some(namespace)
            && request::referenced(object).iter().any(|(other, named)| *other == kind && named == name)
    });
    order::by_dependencies(&mut all);
    for object in all {
        context.handle.enqueue(&Key::of(&*object), Urgency::Fresh);
    }
}
