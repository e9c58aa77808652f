//! Turns what happened into facts, conditions, a verdict and notes.

use sluice_api::condition::{self, ConditionStatus};
use sluice_api::reason as common;
use sluice_api::source::v1::{GitRepositoryFacts, GitRepositoryStatus, reason};
use sluice_api::{Artifact, keys};
use sluice_runtime::{Aspect, Note, Pass, Readiness, Verdict, WakeKey};
use sluice_types::Revision;
use std::time::Duration;

use crate::error::{Class, Error};

/// Domain conditions that only this controller writes.
pub(crate) const OWNED: &[&str] = &[
    condition::STORAGE_OPERATION_FAILED,
    condition::FETCH_FAILED,
    condition::INCLUDE_UNAVAILABLE,
    condition::ARTIFACT_OUTDATED,
    condition::ARTIFACT_IN_STORAGE,
    condition::SOURCE_VERIFIED,
];

/// Conditions whose end is worth an event.
const FAILURES: [&str; 3] =
    [condition::FETCH_FAILED, condition::STORAGE_OPERATION_FAILED, condition::INCLUDE_UNAVAILABLE];

/// What a pass has gathered when it ends, well or not.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ledger {
    /// What will be recorded.
    pub(crate) facts: GitRepositoryFacts,
    /// The artifact as recorded when the pass began.
    pub(crate) former: Option<Artifact>,
    /// True if a failure was recorded when the pass began.
    pub(crate) failing: bool,
    /// The message of a signature that holds, from now or from before.
    pub(crate) verified: Option<String>,
    /// Why the stored artifact is not the newest.
    pub(crate) outdated: Option<(common::Reason, String)>,
    /// What a new archive lacks.
    pub(crate) left_out: Option<Note>,
    /// What happened on the way.
    pub(crate) notes: Vec<Note>,
}

impl Ledger {
    pub(crate) fn new(status: Option<&GitRepositoryStatus>, verify: bool) -> Self {
        let facts = status.map(|status| status.facts.clone()).unwrap_or_default();
        let holds = |kind| status.and_then(|status| status.condition(kind)).filter(|found| found.is_true());
        Self {
            former: facts.artifact.clone(),
            failing: FAILURES.iter().any(|kind| holds(kind).is_some()),
            // A signature that did not hold is not remembered.
            verified: holds(condition::SOURCE_VERIFIED).filter(|_| verify).map(|found| found.message.clone()),
            facts,
            ..Self::default()
        }
    }

    fn aspects(&self) -> Vec<Aspect> {
        let mut aspects = Vec::new();
        if let Some(artifact) = &self.facts.artifact {
            aspects.push(holds(
                condition::ARTIFACT_IN_STORAGE,
                common::SUCCEEDED,
                in_storage(&artifact.revision),
            ));
        }
        if let Some((reason, message)) = &self.outdated {
            aspects.push(holds(condition::ARTIFACT_OUTDATED, *reason, message.clone()));
        }
        if let Some(message) = &self.verified {
            aspects.push(holds(condition::SOURCE_VERIFIED, common::SUCCEEDED, message.clone()));
        }
        aspects
    }

    /// The stored artifact is that of the remote. `subject` names the commit.
    pub(crate) fn ready(mut self, subject: &str, done: Note) -> Pass<GitRepositoryFacts> {
        self.outdated = None;
        let (mut notes, aspects) = (std::mem::take(&mut self.notes), self.aspects());
        let message = self.facts.artifact.as_ref().map(|artifact| in_storage(&artifact.revision));
        if let Some(artifact) = &self.facts.artifact {
            let text = format!("stored artifact for commit '{subject}'");
            let fresh = self.former.as_ref().is_none_or(|former| former.digest != artifact.digest);
            let reason =
                if fresh { Some(reason::NEW_ARTIFACT) } else { self.failing.then_some(common::SUCCEEDED) };
            let about = |note: Note| {
                note.with(keys::source::REVISION, artifact.revision.clone())
                    .with(keys::source::DIGEST, artifact.digest.clone())
            };
            notes.extend(self.left_out.take().filter(|_| fresh).map(about));
            notes.push(match reason {
                Some(reason) => about(Note::info(reason, text)),
                None => done,
            });
        }
        let verdict = Verdict::ready(common::SUCCEEDED, message.unwrap_or_default());
        Pass { facts: self.facts, verdict, aspects, notes }
    }

    /// The pass ended early.
    pub(crate) fn failed(
        mut self,
        error: &Error,
        object: &ObjectName,
        again: Duration,
    ) -> Pass<GitRepositoryFacts> {
        let (reason, message) = (error.reason(), error.to_string());
        let retry = match error.class() {
            Class::Again => return Pass::new(self.facts, Verdict::Again),
            Class::Waiting => None,
            Class::Failed(retry) => Some(retry),
        };
        if error.condition() == Some(condition::SOURCE_VERIFIED) {
            self.verified = None;
        }
        let mut aspects = self.aspects();
        if let Some(kind) = error.condition() {
            let status = match kind {
                condition::SOURCE_VERIFIED => ConditionStatus::False,
                _ => ConditionStatus::True,
            };
            aspects.push(Aspect::new(kind, status, reason, message.clone()));
        }
        let mut notes = self.notes;
        let verdict = match retry {
            Some(retry) => {
                notes.push(Note::error(reason, message.clone()));
                Verdict::Failed { reason, message, retry }
            }
            None => {
                notes.push(Note::trace(reason, message.clone()).routine());
                let on = error.awaited().map(|name| object.key(name)).into_iter().collect();
                Verdict::Waiting { reason, message, readiness: Readiness::False, on, again }
            }
        };
        Pass { facts: self.facts, verdict, aspects, notes }
    }
}

/// Where an object is, for naming its neighbours.
#[derive(Clone, Debug)]
pub(crate) struct ObjectName {
    pub(crate) namespace: String,
}

impl ObjectName {
    fn key(&self, name: &str) -> WakeKey {
        WakeKey::object(keys::source::GROUP, "GitRepository", &self.namespace, name)
    }
}

fn holds(kind: &'static str, reason: common::Reason, message: String) -> Aspect {
    Aspect::new(kind, ConditionStatus::True, reason, message)
}

fn in_storage(revision: &str) -> String {
    format!("stored artifact for revision '{revision}'")
}

/// Says that the remote had nothing new.
pub(crate) fn unchanged(revision: &Revision) -> Note {
    let text = format!("no changes since last reconciliation: observed revision '{revision}'");
    Note::trace(reason::GIT_OPERATION_SUCCEEDED, text).routine()
}

/// Says that a full look found the archive up to date.
pub(crate) fn up_to_date(revision: &Revision) -> Note {
    let text = format!("artifact up-to-date with remote revision: '{revision}'");
    Note::trace(reason::ARTIFACT_UP_TO_DATE, text).routine()
}

#[cfg(test)]
#[path = "settle_tests.rs"]
mod tests;
