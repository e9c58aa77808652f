use std::fmt;
use std::time::Duration;

use kube::core::Status;
use sluice_types::{Classify, Retry};
use thiserror::Error as ThisError;

use crate::ObjectId;

/// What went wrong on the way to the API server or in it.
#[derive(Clone, Debug, ThisError)]
pub enum Failure {
    /// The server refused; its own words.
    #[error("{}", .0.message)]
    Refused(Box<Refusal>),
    /// No answer: connection refused, reset, TLS, a malformed answer.
    #[error("{0}")]
    Transport(String),
    /// No answer in time.
    #[error("the server did not answer within {0:?}")]
    Timeout(Duration),
    /// No answer before the deadline of the whole run, or not sent for it has passed.
    #[error("timed out before the server answered")]
    Late,
    /// The answer is larger than what is accepted.
    #[error("the answer of the server exceeds {0} bytes")]
    TooLarge(usize),
    /// The kind is not served.
    #[error("no matches for kind \"{kind}\" in {}", NoMatch { group, version: version.as_deref() })]
    NoMatch {
        /// API group; empty for the core group.
        group: String,
        /// The version asked for, if one was.
        version: Option<String>,
        /// The kind.
        kind: String,
    },
    /// It is not known whether the kind is served: its group could not be read.
    #[error("unable to retrieve the complete list of server APIs: {group}")]
    Discovery {
        /// API group.
        group: String,
    },
    /// The answer is not what was asked for, as when a proxy answers in the server's place.
    #[error("the server's answer is not {0}")]
    Malformed(&'static str),
    /// A name or namespace that cannot stand in a URL.
    #[error("invalid name {0:?}")]
    Name(String),
}

struct NoMatch<'a> {
    group: &'a str,
    version: Option<&'a str>,
}

impl fmt::Display for NoMatch<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.group, self.version) {
            ("", Some(version)) => write!(f, "version \"{version}\""),
            (group, Some(version)) => write!(f, "version \"{group}/{version}\""),
            (group, None) => write!(f, "group \"{group}\""),
        }
    }
}

/// An answer of the server that is an error.
#[derive(Clone, Debug, PartialEq)]
pub struct Refusal {
    /// HTTP status code.
    pub code: u16,
    /// Machine-readable reason, such as `Invalid`; may be empty.
    pub reason: String,
    /// The server's words, cut at 32 KiB.
    pub message: String,
    /// Kind of the object the reason is about, as the server names it.
    pub about: String,
    /// Per-field causes: reason, message, field.
    pub causes: Vec<Cause>,
    /// When the server asks to come back.
    pub retry_after: Option<Duration>,
}

/// One cause of a refusal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cause {
    /// Such as `FieldValueInvalid`.
    pub reason: String,
    /// The server's words.
    pub message: String,
    /// The field's path.
    pub field: String,
}

const LONGEST_MESSAGE: usize = 32 * 1024;

impl Refusal {
    pub(crate) fn from_status(code: u16, status: Status, retry_after: Option<Duration>) -> Self {
        let mut message = status.message;
        truncate(&mut message);
        let details = status.details.as_ref();
        let asked = details
            .map(|details| details.retry_after_seconds)
            .filter(|seconds| *seconds > 0)
            .map(|seconds| Duration::from_secs(u64::from(seconds)));
        let causes = details.map(|details| details.causes.as_slice()).unwrap_or_default();
        Self {
            code,
            reason: status.reason,
            message,
            about: details.map(|details| details.kind.clone()).unwrap_or_default(),
            causes: causes
                .iter()
                .map(|cause| Cause {
                    reason: cause.reason.clone(),
                    message: cause.message.clone(),
                    field: cause.field.clone(),
                })
                .collect(),
            retry_after: retry_after.or(asked),
        }
    }
}

fn truncate(message: &mut String) {
    if message.len() > LONGEST_MESSAGE {
        let mut end = LONGEST_MESSAGE;
        while !message.is_char_boundary(end) {
            end -= 1;
        }
        message.truncate(end);
    }
}

impl Failure {
    pub(crate) fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Refused(refusal) => Some(refusal),
            _ => None,
        }
    }

    /// The HTTP status code, if the server answered.
    #[must_use]
    pub fn code(&self) -> Option<u16> {
        self.refusal().map(|refusal| refusal.code)
    }

    /// Whether the server says that the object, or what it stands in, is not there. A 404 without the
    /// server's own words may come from anybody on the way.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        self.code() == Some(404) && self.reason() == "NotFound"
    }

    /// Whether the object is another than the one that the request was meant for.
    pub(crate) fn is_conflict(&self) -> bool {
        self.code() == Some(409) && !matches!(self.reason(), "AlreadyExists" | "FieldManagerConflict")
    }

    /// Whether the identity may not do this.
    #[must_use]
    pub fn is_forbidden(&self) -> bool {
        matches!(self.code(), Some(401 | 403))
    }

    /// The reason as Flux puts it in parentheses; empty when there is none.
    #[must_use]
    pub fn reason(&self) -> &str {
        let Some(refusal) = self.refusal() else {
            return "";
        };
        if refusal.causes.iter().any(|cause| cause.reason == "FieldManagerConflict") {
            return "FieldManagerConflict";
        }
        &refusal.reason
    }
}

impl Classify for Failure {
    fn retry(&self) -> Retry {
        match self {
            Self::Refused(refusal) => refusal.retry_after.map_or(Retry::Backoff, Retry::After),
            _ => Retry::Backoff,
        }
    }
}

/// Which step failed for an object; the words are those of Flux.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing of this object was changed: the server refused what is desired.
    DryRun,
    /// The object was valid, yet could not be applied.
    Apply,
    /// What other managers left behind could not be taken over.
    Cleanup,
    /// An object that must be recreated could not be deleted.
    Recreate,
    /// An object that must be recreated is still there.
    RecreateWait,
    /// The API version of its field ownership could not be migrated.
    Migrate,
    /// It could not be deleted.
    Delete,
    /// It could not be read before it is deleted.
    Query,
}

/// An object that could not be applied or deleted.
#[derive(Clone, Debug)]
pub struct Error {
    /// The object.
    pub id: ObjectId,
    /// Whether the object is namespaced but lacks a namespace.
    pub unplaced: bool,
    /// What was tried.
    pub step: Step,
    /// Why it failed. A Secret's values are masked.
    pub cause: Failure,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let subject = self.id.subject();
        let cause = &self.cause;
        match self.step {
            Step::DryRun if self.unplaced => {
                write!(f, "{subject} namespace not specified: {cause}")
            }
            Step::DryRun if cause.is_not_found() => write!(f, "{subject} not found: {cause}"),
            Step::DryRun => match cause.reason() {
                "" => write!(f, "{subject} dry-run failed: {cause}"),
                reason => write!(f, "{subject} dry-run failed ({reason}): {cause}"),
            },
            Step::Apply => write!(f, "{subject} apply failed: {cause}"),
            Step::Cleanup => {
                write!(f, "{subject} metadata.managedFields cleanup failed: {cause}")
            }
            Step::Recreate => {
                write!(f, "{subject} immutable field detected, failed to delete object: {cause}")
            }
            Step::RecreateWait => write!(
                f,
                "{subject} immutable field detected, failed to wait for object to be deleted: {cause}"
            ),
            Step::Migrate => write!(f, "{subject} failed to migrate API version: {cause}"),
            Step::Delete => write!(f, "{subject} delete failed: {cause}"),
            Step::Query => write!(f, "{subject} query failed: {cause}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.cause)
    }
}

impl Classify for Error {
    fn retry(&self) -> Retry {
        self.cause.retry()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(code: u16, reason: &str, causes: &[&str]) -> Failure {
        Failure::Refused(Box::new(Refusal {
            code,
            reason: reason.into(),
            message: "words".into(),
            about: String::new(),
            causes: causes
                .iter()
                .map(|&reason| Cause { reason: reason.into(), ..Cause::default() })
                .collect(),
            retry_after: None,
        }))
    }

    #[test]
    fn errors_have_the_words_of_flux() {
        let no_match = Failure::NoMatch {
            group: "example.org".into(),
            version: Some("v1".into()),
            kind: "Widget".into(),
        };
        let conflict = refused(409, "Conflict", &["FieldManagerConflict"]);
        for (step, cause, expected) in [
            (Step::DryRun, refused(422, "Invalid", &[]), "dry-run failed (Invalid): words"),
            (Step::DryRun, refused(403, "Forbidden", &[]), "dry-run failed (Forbidden): words"),
            (Step::DryRun, refused(500, "", &[]), "dry-run failed: words"),
            (Step::DryRun, conflict, "dry-run failed (FieldManagerConflict): words"),
            (Step::DryRun, refused(404, "NotFound", &[]), "not found: words"),
            (
                Step::DryRun,
                no_match,
                "dry-run failed: no matches for kind \"Widget\" in version \"example.org/v1\"",
            ),
            (Step::Apply, refused(422, "Invalid", &[]), "apply failed: words"),
            (Step::Cleanup, refused(409, "Conflict", &[]), "metadata.managedFields cleanup failed: words"),
            (
                Step::Recreate,
                refused(403, "", &[]),
                "immutable field detected, failed to delete object: words",
            ),
            (
                Step::RecreateWait,
                refused(422, "", &[]),
                "immutable field detected, failed to wait for object to be deleted: words",
            ),
            (Step::Migrate, refused(409, "", &[]), "failed to migrate API version: words"),
            (Step::Delete, refused(403, "", &[]), "delete failed: words"),
        ] {
            let id = ObjectId {
                group: "apps".into(),
                kind: "Deployment".into(),
                namespace: "team".into(),
                name: "web".into(),
            };
            let error = Error { id, unplaced: false, step, cause };
            assert_eq!(error.to_string(), format!("Deployment/team/web {expected}"));
        }
    }

    #[test]
    fn a_server_that_names_a_time_is_asked_again_then() {
        let mut busy = refused(429, "TooManyRequests", &[]);
        if let Failure::Refused(refusal) = &mut busy {
            refusal.retry_after = Some(Duration::from_secs(7));
        }
        assert_eq!(busy.retry(), Retry::After(Duration::from_secs(7)));
        assert_eq!(refused(500, "", &[]).retry(), Retry::Backoff);
    }

    #[test]
    fn long_words_are_cut_at_a_character() {
        let mut message = "é".repeat(LONGEST_MESSAGE);
        truncate(&mut message);
        assert_eq!(message.len(), LONGEST_MESSAGE);
    }
}
