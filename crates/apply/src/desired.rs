use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use sluice_manifest::order::wave;
use sluice_manifest::{Controls, Object, ObjectId};

use crate::{Dialect, Fate, Fingerprint, Report, Seen};

/// An object that is to be in the cluster. Cheap to clone; `Debug` shows its name only, for it may
/// be a Secret.
#[derive(Clone)]
pub struct Desired {
    /// Its identity as written; [`crate::Cluster::place`] drops the namespace of cluster-scoped kinds.
    pub id: ObjectId,
    /// Objects of a lower wave are applied before those of a higher one.
    pub wave: usize,
    /// Changes when anything in the object changes.
    pub fingerprint: Fingerprint,
    object: Arc<Object>,
}

impl fmt::Debug for Desired {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Desired").field(&self.id.subject()).finish()
    }
}

impl From<Object> for Desired {
    fn from(object: Object) -> Self {
        let id = object.id();
        Self {
            wave: wave(&id.kind),
            fingerprint: Fingerprint::of(object.value()),
            id,
            object: Arc::new(object),
        }
    }
}

impl Desired {
    /// The object itself.
    #[must_use]
    pub fn object(&self) -> &Object {
        &self.object
    }

    pub(crate) fn controls(&self, dialect: &Dialect) -> Controls {
        Controls::of(&self.object, dialect.group)
    }

    /// Whether its values must never be shown.
    pub(crate) fn is_secret(&self) -> bool {
        self.id.group.is_empty() && self.id.kind == "Secret"
    }

    /// Whether a Job that is gone has done its work and was removed by its time to live.
    #[must_use]
    pub fn vanishes_when_done(&self) -> bool {
        let ttl = self.object.value().pointer("/spec/ttlSecondsAfterFinished");
        self.id.group == "batch" && self.id.kind == "Job" && ttl.is_some_and(|ttl| !ttl.is_null())
    }
}

/// What was applied, object by object; tells which objects need no request at all. One per
/// Kustomization and target. Losing it costs requests, never correctness.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    entries: HashMap<ObjectId, Entry>,
}

#[derive(Clone, Debug)]
struct Entry {
    desired: Fingerprint,
    uid: Arc<str>,
    drift_key: Fingerprint,
}

impl Memory {
    /// Remembers the outcome of an apply, and forgets what failed.
    pub fn learn(&mut self, stage: &[Desired], report: &Report) {
        for (desired, outcome) in stage.iter().zip(&report.outcomes) {
            match &outcome.fate {
                Fate::Applied { seen, .. } => self.trust(desired, &outcome.id, seen),
                Fate::Untried => {}
                Fate::Skipped { .. } | Fate::Parked { .. } | Fate::Failed(_) => self.forget(&outcome.id),
            }
        }
    }

    /// Remembers that this very object is known to be what is desired, as a caller knows that kept
    /// the UIDs and drift keys of an earlier life.
    pub fn trust(&mut self, desired: &Desired, id: &ObjectId, seen: &Seen) {
        self.entries.insert(
            id.clone(),
            Entry { desired: desired.fingerprint, uid: Arc::clone(&seen.uid), drift_key: seen.drift_key },
        );
    }

    /// Forgets one object.
    pub fn forget(&mut self, id: &ObjectId) {
        self.entries.remove(id);
    }

    /// Keeps only the objects for which `keep` answers true.
    pub fn retain(&mut self, mut keep: impl FnMut(&ObjectId) -> bool) {
        self.entries.retain(|id, _| keep(id));
    }

    /// The UID of the object that was applied, as it was recorded.
    #[must_use]
    pub fn uid(&self, id: &ObjectId) -> Option<&Arc<str>> {
        self.entries.get(id).map(|entry| &entry.uid)
    }

    /// UID and drift key of the object that was applied.
    #[must_use]
    pub fn applied(&self, id: &ObjectId) -> Option<(&Arc<str>, Fingerprint)> {
        self.entries.get(id).map(|entry| (&entry.uid, entry.drift_key))
    }

    /// Whether the cluster holds exactly what was applied and what is desired still.
    #[must_use]
    pub fn agrees(&self, desired: &Desired, id: &ObjectId, seen: &Seen) -> bool {
        self.entries.get(id).is_some_and(|entry| {
            entry.desired == desired.fingerprint
                && entry.uid == seen.uid
                && entry.drift_key == seen.drift_key
                && !seen.deleting
        })
    }
}
