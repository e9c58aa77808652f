//! What a pass answers: facts, a verdict, domain conditions and notes.

use std::collections::BTreeMap;
use std::time::Duration;

use sluice_api::condition::ConditionStatus;
use sluice_api::event::Severity;
use sluice_api::reason::{self, Reason};
use sluice_types::{Classify, Retry};

use crate::scope::Lost;
use crate::wake::WakeKey;

/// The outcome of one pass over one object.
#[derive(Clone, Debug, PartialEq)]
pub struct Pass<F> {
    /// The kind's part of the status, complete: what is missing here is removed there.
    pub facts: F,
    /// What the driver does next, and what the conditions say.
    pub verdict: Verdict,
    /// Domain conditions; those of the wiring's owned types that are missing here are removed.
    pub aspects: Vec<Aspect>,
    /// Events to tell the world about.
    pub notes: Vec<Note>,
}

impl<F> Pass<F> {
    /// A pass without domain conditions and notes.
    pub fn new(facts: F, verdict: Verdict) -> Self {
        Self { facts, verdict, aspects: Vec::new(), notes: Vec::new() }
    }

    /// Adds a domain condition.
    #[must_use]
    pub fn aspect(mut self, aspect: Aspect) -> Self {
        self.aspects.push(aspect);
        self
    }

    /// Adds a note.
    #[must_use]
    pub fn note(mut self, note: Note) -> Self {
        self.notes.push(note);
        self
    }
}

/// What a waiting object's Ready condition says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// On its way: nobody can tell yet.
    Unknown,
    /// Not ready, and that is worth knowing.
    False,
}

/// How a pass ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// The object is as its spec asks. Visited again after the interval.
    Ready {
        /// Reason of the Ready condition.
        reason: Reason,
        /// Its message.
        message: String,
    },
    /// Parked: holds no worker. Woken by any key in `on`, by a newer trigger, or after `again`.
    Waiting {
        /// Reason of the Ready condition.
        reason: Reason,
        /// Its message.
        message: String,
        /// Its status.
        readiness: Readiness,
        /// What wakes the object; may be empty.
        on: Vec<WakeKey>,
        /// Safety net, or the period of a poll.
        again: Duration,
    },
    /// The pass failed. `OnChange` makes the object Stalled.
    Failed {
        /// Reason of the Ready condition.
        reason: Reason,
        /// Its message.
        message: String,
        /// When trying again could help.
        retry: Retry,
    },
    /// The pass ended early because it was overtaken: nothing is written, the object runs again at once.
    Again,
    /// Everything the object owned is gone or let go: its finalizer may be removed.
    Released,
}

impl Verdict {
    /// Ready.
    pub fn ready(reason: Reason, message: impl Into<String>) -> Self {
        Self::Ready { reason, message: message.into() }
    }

    /// A failure that is tried again.
    pub fn failed(reason: Reason, message: impl Into<String>) -> Self {
        Self::Failed { reason, message: message.into(), retry: Retry::Backoff }
    }

    /// A failure that only a change can end.
    pub fn stalled(reason: Reason, message: impl Into<String>) -> Self {
        Self::Failed { reason, message: message.into(), retry: Retry::OnChange }
    }

    /// A failure with the retry class of its error.
    pub fn error(reason: Reason, error: &(impl Classify + ?Sized)) -> Self {
        Self::Failed { reason, message: error.to_string(), retry: error.retry() }
    }
}

impl From<Lost> for Verdict {
    fn from(_: Lost) -> Self {
        Self::Again
    }
}

/// A domain condition, such as `Healthy` or `FetchFailed`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Aspect {
    /// Type of the condition.
    pub kind: &'static str,
    /// Whether it holds.
    pub status: ConditionStatus,
    /// Its reason.
    pub reason: Reason,
    /// Its message.
    pub message: String,
}

impl Aspect {
    /// A condition.
    pub fn new(
        kind: &'static str,
        status: ConditionStatus,
        reason: Reason,
        message: impl Into<String>,
    ) -> Self {
        Self { kind, status, reason, message: message.into() }
    }
}

/// Something to tell the world: a Kubernetes Event, and a POST to the notification controller unless `Trace`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// How much attention it deserves.
    pub severity: Severity,
    /// One CamelCase word.
    pub reason: Reason,
    /// What happened.
    pub message: String,
    /// Annotations, with full keys.
    pub metadata: BTreeMap<String, String>,
    /// True for a note that is only told when the visit also wrote a status: what nobody asked for
    /// and what changed nothing is not worth an event.
    pub routine: bool,
}

impl Note {
    /// A note.
    pub fn new(severity: Severity, reason: Reason, message: impl Into<String>) -> Self {
        Self { severity, reason, message: message.into(), metadata: BTreeMap::new(), routine: false }
    }

    /// Something worth knowing.
    pub fn info(reason: Reason, message: impl Into<String>) -> Self {
        Self::new(Severity::Info, reason, message)
    }

    /// A failure.
    pub fn error(reason: Reason, message: impl Into<String>) -> Self {
        Self::new(Severity::Error, reason, message)
    }

    /// For the curious.
    pub fn trace(reason: Reason, message: impl Into<String>) -> Self {
        Self::new(Severity::Trace, reason, message)
    }

    /// Adds an annotation.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl Into<String>) -> Self {
        self.metadata.insert(key.to_owned(), value.into());
        self
    }

    /// Marks the note as told only when the visit wrote a status.
    #[must_use]
    pub fn routine(mut self) -> Self {
        self.routine = true;
        self
    }
}

/// The failure of a pass that did not come to an end by itself.
pub(crate) fn broken(message: String) -> Verdict {
    Verdict::Failed { reason: reason::FAILED, message, retry: Retry::Backoff }
}
