//! Events: written behind, never on the path of a pass. Core events and POSTs each have a bounded queue;
//! what does not fit is counted and dropped.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use kube::Client;
use sluice_api::event::{Event, InvolvedObject, Severity};
use sluice_api::keys::EVENT_PREFIX;
use sluice_types::Proxies;

use crate::metrics::{Family, Registry};
use crate::pass::Note;
use crate::poster::Poster;
use crate::recorder::Recorder;

/// Where events go; cheap to clone.
#[derive(Clone)]
pub struct Sink {
    inner: Arc<Inner>,
}

struct Inner {
    controller: Arc<str>,
    instance: String,
    recorder: Recorder,
    passes: Arc<Outstanding>,
    poster: Option<Poster>,
    dropped: Arc<Family>,
}

impl Sink {
    /// A sink that writes Kubernetes Events with this client and, given an address, POSTs there too.
    /// Must be called inside a Tokio runtime: it starts the tasks that write.
    ///
    /// # Errors
    /// When the address is no URL.
    pub fn start(
        client: Client,
        controller: &str,
        instance: &str,
        address: Option<&str>,
        proxies: &Proxies,
        registry: &Registry,
    ) -> Result<Self, InvalidAddress> {
        let dropped = registry.counter(
            "sluice_events_dropped_total",
            "Events that were dropped because their queue was full or their receiver refused them.",
            &["sink"],
        );
        let poster = match address.filter(|address| !address.is_empty()) {
            Some(address) => Some(Poster::start(address, proxies.clone(), dropped.clone())?),
            None => None,
        };
        let passes = Arc::<Outstanding>::default();
        let recorder = Recorder::start(client, controller, passes.clone(), dropped.clone());
        let (controller, instance) = (controller.into(), instance.to_owned());
        let inner = Inner { controller, instance, recorder, passes, poster, dropped };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Tells the world something about an object; returns at once.
    pub fn tell<K: kube::Resource<DynamicType = ()>>(&self, object: &K, note: Note) {
        let about = involved(object);
        let now = Timestamp::now();
        if let Some(poster) = self.inner.poster.as_ref().filter(|_| note.severity != Severity::Trace) {
            let mut metadata = note.metadata.clone();
            let annotations = object.meta().annotations.iter().flatten();
            metadata.extend(
                annotations
                    .filter(|(key, _)| key.starts_with(EVENT_PREFIX))
                    .map(|(key, value)| (key.clone(), value.clone())),
            );
            let event = Event {
                involved_object: about.clone(),
                severity: note.severity,
                timestamp: now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
                message: note.message.clone(),
                reason: note.reason.as_str().to_owned(),
                metadata,
                reporting_controller: self.inner.controller.to_string(),
                reporting_instance: self.inner.instance.clone(),
            };
            if !poster.post(event) {
                self.inner.dropped.inc(&["post"]);
            }
        }
        if !self.inner.recorder.record(about, note, now) {
            self.inner.dropped.inc(&["kubernetes"]);
        }
    }

    /// Says that a pass is under way, until the guard is dropped: events give way to its requests.
    pub(crate) fn make_way(&self) -> Counted {
        Outstanding::count(&self.inner.passes)
    }

    /// Waits until everything told so far is written, or the time is over.
    pub async fn flush(&self, within: Duration) {
        let written = async {
            self.inner.recorder.idle().await;
            if let Some(poster) = &self.inner.poster {
                poster.idle().await;
            }
        };
        // What is not written by then is lost, which events may be.
        let _ = tokio::time::timeout(within, written).await;
    }
}

/// The address events are POSTed to is unusable.
#[derive(Debug, thiserror::Error)]
#[error("invalid events address: {0}")]
pub struct InvalidAddress(pub(crate) String);

fn involved<K: kube::Resource<DynamicType = ()>>(object: &K) -> InvolvedObject {
    let meta = object.meta();
    InvolvedObject {
        kind: K::kind(&()).into_owned(),
        namespace: meta.namespace.clone().unwrap_or_default(),
        name: meta.name.clone().unwrap_or_default(),
        uid: meta.uid.clone().unwrap_or_default(),
        api_version: K::api_version(&()).into_owned(),
        resource_version: meta.resource_version.clone().unwrap_or_default(),
    }
}

/// Counts what is under way, and tells when nothing is.
pub(crate) struct Outstanding(tokio::sync::watch::Sender<usize>);

impl Default for Outstanding {
    fn default() -> Self {
        Self(tokio::sync::watch::Sender::new(0))
    }
}

impl Outstanding {
    pub(crate) fn begin(&self) {
        self.0.send_modify(|count| *count += 1);
    }

    pub(crate) fn end(&self) {
        self.0.send_modify(|count| *count = count.saturating_sub(1));
    }

    /// Counts one until it is dropped.
    pub(crate) fn count(this: &Arc<Self>) -> Counted {
        this.begin();
        Counted(this.clone())
    }

    pub(crate) async fn none(&self) {
        // The sender lives in self, so this cannot fail.
        let _ = self.0.subscribe().wait_for(|count| *count == 0).await;
    }
}

/// One that is under way.
pub(crate) struct Counted(Arc<Outstanding>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.end();
    }
}

#[cfg(test)]
#[path = "events_tests.rs"]
mod tests;
