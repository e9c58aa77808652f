//! What conditions and events say.

use std::collections::BTreeMap;
use std::time::Duration;

use sluice_api::keys::kustomize::{COMMIT_STATUS, ORIGIN_REVISION, REVISION};
use sluice_api::kustomize::v1::reason::RECONCILIATION_SUCCEEDED;
use sluice_api::{Artifact, Reason, keys};
use sluice_runtime::Note;
use sluice_types::GoDuration;

use crate::history::rounded;

/// The revision that a pass is about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Subject {
    /// As the artifact has it.
    pub(crate) revision: String,
    /// Of what the artifact was made from, where known.
    pub(crate) origin: Option<String>,
}

impl Subject {
    /// What an artifact was made from.
    pub(crate) fn of(artifact: &Artifact) -> Self {
        Self {
            revision: artifact.revision.clone(),
            origin: artifact.metadata.get(keys::ORIGIN_REVISION).filter(|text| !text.is_empty()).cloned(),
        }
    }

    /// The metadata of a history entry.
    pub(crate) fn history(&self) -> BTreeMap<String, String> {
        let mut metadata = BTreeMap::from([("revision".to_owned(), self.revision.clone())]);
        if let Some(origin) = &self.origin {
            metadata.insert("originRevision".to_owned(), origin.clone());
        }
        metadata
    }

    fn mark(&self, note: Note) -> Note {
        if self.revision.is_empty() {
            return note;
        }
        let note = note.with(REVISION, &self.revision);
        match &self.origin {
            Some(origin) => note.with(ORIGIN_REVISION, origin),
            None => note,
        }
    }

    /// An event that something was done.
    pub(crate) fn info(&self, reason: Reason, message: impl Into<String>) -> Note {
        self.mark(Note::info(reason, message))
    }

    /// An event that something failed.
    pub(crate) fn error(&self, reason: Reason, message: impl Into<String>) -> Note {
        self.mark(Note::error(reason, message))
    }

    /// The last event of a run.
    pub(crate) fn finished(&self, took: Duration, next: Duration) -> Note {
        let text = format!(
            "Reconciliation finished in {}, next run in {}",
            GoDuration(rounded(took)),
            GoDuration(next)
        );
        self.info(RECONCILIATION_SUCCEEDED, text).with(COMMIT_STATUS, "update").routine()
    }
}

/// What is being done, for the conditions of an object at work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Fetch,
    Apply,
    Health,
}

/// The text of a step.
pub(crate) fn progress(step: Step, revision: &str, timeout: Duration) -> String {
    let doing = match step {
        Step::Fetch => "Fetching manifests",
        Step::Apply => "Detecting drift",
        Step::Health => "Running health checks",
    };
    format!("{doing} for revision {revision} with a timeout of {}", GoDuration(timeout))
}

/// The text of success.
pub(crate) fn applied(revision: &str) -> String {
    format!("Applied revision: {revision}")
}

/// The text of health reached after this time.
pub(crate) fn healthy(took: Duration) -> String {
    format!("Health check passed in {}", GoDuration(rounded(took)))
}

/// The text about kinds whose drift is not seen when it happens.
pub(crate) fn unwatched(kinds: &[String], interval: Duration) -> String {
    format!(
        "Drift of {} is looked for once per interval ({}) only: the controller's own account may not list and \
         watch these objects, neither in all namespaces nor in theirs. A ClusterRole with the verbs list and watch \
         on them, bound to the controller's ServiceAccount, lets it be repaired at once; so does a Role in their \
         namespaces",
        kinds.join(", "),
        GoDuration(interval)
    )
}

#[cfg(test)]
#[path = "message_tests.rs"]
mod tests;
