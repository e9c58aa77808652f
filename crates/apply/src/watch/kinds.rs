//! Waiting for kinds that are not served yet.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::StreamExt;
use kube::api::{Api, ApiResource, DynamicObject};
use kube::core::PartialObjectMeta;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use tokio::sync::Notify;

use super::{Shared, Signal};

/// Kinds waited for at most.
const MOST: usize = 4096;
/// After a CRD changed, discovery follows within moments; these are the pauses between looks.
const PAUSES_MS: [u64; 8] = [0, 50, 100, 200, 400, 800, 1600, 3200];
/// Without any CRD event (aggregated APIs have none) discovery is still read this often.
const SAFETY_NET: Duration = Duration::from_secs(60);

pub(super) struct KindWatch {
    shared: Shared,
    wanted: Mutex<HashSet<(String, String)>>,
    moved: Notify,
    started: AtomicBool,
}

impl KindWatch {
    pub(super) fn new(shared: Shared) -> Self {
        Self { shared, wanted: Mutex::default(), moved: Notify::new(), started: AtomicBool::new(false) }
    }

    pub(super) fn add(self: &Arc<Self>, group: &str, kind: &str) {
        let new = self.wanted.lock().is_ok_and(|mut wanted| {
            wanted.len() < MOST && wanted.insert((group.to_owned(), kind.to_owned()))
        });
        if !self.started.swap(true, Ordering::AcqRel) {
            let stop = self.shared.stop.clone();
            let (watcher, checker) = (Arc::clone(self), Arc::clone(self));
            tokio::spawn(stop.clone().run_until_cancelled_owned(async move {
                watcher.watch_definitions().await;
            }));
            tokio::spawn(stop.run_until_cancelled_owned(async move { checker.check().await }));
        }
        if new {
            // The kind may have come between the look that missed it and now.
            self.moved.notify_one();
        }
    }

    async fn watch_definitions(&self) {
        let place = ApiResource {
            group: "apiextensions.k8s.io".to_owned(),
            version: "v1".to_owned(),
            api_version: "apiextensions.k8s.io/v1".to_owned(),
            kind: "CustomResourceDefinition".to_owned(),
            plural: "customresourcedefinitions".to_owned(),
        };
        let client = self.shared.transport.client().clone();
        let api: Api<PartialObjectMeta<DynamicObject>> = Api::all_with(client, &place);
        let mut events = watcher(api, watcher::Config::default()).default_backoff().boxed();
        while let Some(event) = events.next().await {
            match event {
                Ok(Event::Delete(_)) => {
                    self.shared.kinds.forget();
                    self.moved.notify_one();
                }
                Ok(Event::InitDone | Event::Apply(_)) => self.moved.notify_one(),
                Ok(Event::Init | Event::InitApply(_)) => {}
                Err(error) => tracing::debug!(%error, "watch of CRDs interrupted"),
            }
        }
    }

    async fn check(&self) {
        loop {
            let moved = tokio::time::timeout(SAFETY_NET, self.moved.notified()).await;
            let pauses = if moved.is_ok() { &PAUSES_MS[..] } else { &PAUSES_MS[..1] };
            for &pause in pauses {
                if self.wanted().is_empty() {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(pause)).await;
                self.announce().await;
            }
        }
    }

    fn wanted(&self) -> Vec<(String, String)> {
        self.wanted.lock().map(|wanted| wanted.iter().cloned().collect()).unwrap_or_default()
    }

    async fn announce(&self) {
        let Shared { kinds, transport, .. } = &self.shared;
        let wanted = self.wanted();
        let Some((group, kind)) = wanted.first() else {
            return;
        };
        // One look at discovery answers for all of them.
        if let Err(failure) = kinds.serves(transport, group, kind).await {
            tracing::debug!(%failure, "discovery failed");
            return;
        }
        for (group, kind) in wanted {
            if kinds.cached(&group, None, &kind).is_some() {
                if let Ok(mut wanted) = self.wanted.lock() {
                    wanted.remove(&(group.clone(), kind.clone()));
                }
                let _ = self.shared.signals.send(Signal::Kind { group, kind });
            }
        }
    }
}
