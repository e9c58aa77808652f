//! What a pass sees: its object, why it runs, and the one durable write it may ask for midway.

use std::sync::{Arc, Mutex};

use sluice_api::{Managed, Status, Time};
use tokio_util::sync::CancellationToken;

use crate::handle::Key;
use crate::lock::lock;
use crate::record::{Records, Written};
use crate::settle::{Setting, progressing};

/// Why a pass runs; of several reasons the greatest is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trigger {
    /// The interval is over.
    Interval,
    /// The last pass failed, waited long enough, or asked to be repeated.
    Retry,
    /// The controller started.
    Start,
    /// Something it waited for happened.
    Wake,
    /// A watcher saw something newer.
    Source,
    /// The spec changed, or the object is new or to be deleted.
    Spec,
    /// Somebody asked for it by annotation.
    Requested,
}

impl Trigger {
    /// True when a pass in progress is overtaken by this.
    pub fn is_news(self) -> bool {
        self >= Self::Source
    }
}

/// Somebody else wrote the object in between, or it could not be written: the pass must end,
/// see [`crate::Verdict::Again`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the status could not be written over what is there now")]
pub struct Lost;

/// One visit of one object.
pub struct Scope<K: Managed> {
    /// The object as cached when the pass began; read from the API server when it is being deleted.
    pub object: Arc<K>,
    /// Why the pass runs.
    pub trigger: Trigger,
    /// Failures in a row before this pass.
    pub attempt: u32,
    /// Tripped by a newer trigger, by the deadline and by shutdown: end soon, best with [`crate::Verdict::Again`].
    pub cancel: CancellationToken,
    pub(crate) records: Arc<Records<K>>,
    pub(crate) latest: Latest<K>,
    pub(crate) progress: Option<&'static str>,
}

/// The object as last written during a pass.
pub(crate) struct Latest<K>(Arc<Mutex<Arc<K>>>);

impl<K> Clone for Latest<K> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<K> Latest<K> {
    pub(crate) fn new(object: Arc<K>) -> Self {
        Self(Arc::new(Mutex::new(object)))
    }

    pub(crate) fn get(&self) -> Arc<K> {
        lock(&self.0).clone()
    }

    pub(crate) fn set(&self, object: Arc<K>) {
        *lock(&self.0) = object;
    }
}

impl<K: Managed> Scope<K> {
    /// Namespace and name of the object.
    pub fn key(&self) -> Key {
        Key::of(&*self.object)
    }

    /// The status when the pass began.
    pub fn previous(&self) -> Option<&Status<K::Facts>> {
        self.object.status()
    }

    /// The facts when the pass began.
    pub fn facts(&self) -> K::Facts {
        self.previous().map(|status| status.facts.clone()).unwrap_or_default()
    }

    /// True when the object is being deleted: the pass must let go of what it owns.
    pub fn deleting(&self) -> bool {
        self.object.deleting()
    }

    /// Writes facts midway, with Reconciling=True and Ready=Unknown; nothing when they are there already.
    /// When this returns, the facts are durable. Safe to cancel: then they may or may not be.
    ///
    /// # Errors
    /// [`Lost`] when the object's spec or facts were changed by somebody else in between, when it is gone, or
    /// when the request failed (which is logged).
    pub async fn commit(&self, facts: &K::Facts, message: &str) -> Result<(), Lost> {
        let setting = Setting {
            generation: self.object.generation(),
            requested_at: None,
            owned: &[],
            progress: self.progress,
            now: Time::new(jiff::Timestamp::now()),
        };
        let make = |previous: Option<&Status<K::Facts>>| progressing(previous, facts, message, setting);
        let untouched = |seen: &K, live: &K| {
            seen.generation() == live.generation()
                && seen.deleting() == live.deleting()
                && seen.status().map(|status| &status.facts) == live.status().map(|status| &status.facts)
        };
        match self.records.write_status(self.latest.get(), make, untouched).await {
            Ok(Written::Changed(object) | Written::Unchanged(object)) => {
                self.latest.set(object);
                Ok(())
            }
            Ok(Written::Refused | Written::Gone) => Err(Lost),
            Err(error) => {
                tracing::error!(error = %error, "failed to write the progress of the reconciliation");
                Err(Lost)
            }
        }
    }

    /// Reads the object from the API server, past the cache; `None` when it is gone.
    ///
    /// # Errors
    /// Those of the request.
    pub async fn live(&self) -> Result<Option<Arc<K>>, kube::Error> {
        self.records.live(&self.object).await
    }
}
