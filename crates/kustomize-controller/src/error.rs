//! Why a pass ended early, and what that means for the Kustomization.

use std::time::Duration;

use sluice_api::Reason;
use sluice_api::kustomize::v1::reason as ks;
use sluice_api::reason as common;
use sluice_artifact::FetchError;
use sluice_runtime::{Lost, Note, Readiness, Verdict, WakeKey};
use sluice_types::{Classify as _, GoDuration, Retry};

use crate::bounds;
use crate::gate::{self, Stop};
use crate::message::Subject;
use crate::observe::Unread;
use crate::options::Options;
use crate::request::{Refusal, Request};
use crate::target::Unreachable;

/// How a pass failed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The spec asks for what cannot be.
    Refused(Refusal),
    /// The gate is closed; with what wakes the Kustomization.
    Stopped { stop: Stop, on: Vec<WakeKey>, again: Duration, quietly: bool, told: bool },
    /// The artifact could not be had.
    Fetch(FetchError),
    /// The artifact could not be had, which may be over soon; with when to try again.
    Fetching { message: String, again: Duration },
    /// Something is missing that may well be there in a moment.
    Soon { on: Vec<WakeKey>, again: Duration },
    /// The artifact has no such directory.
    Path(String),
    /// Objects could not be made from the artifact.
    Build(String),
    /// The target cluster cannot be spoken to.
    Client(String),
    /// Nor will it without another configuration.
    Cut { reason: Reason, text: String },
    /// It took longer than `spec.timeout`.
    Late(String),
    /// Objects could not be applied; with what is missing, where that is all.
    Apply { text: String, on: Vec<WakeKey>, told: bool },
    /// Objects could not be deleted.
    Prune(String),
    /// A newer trigger, or somebody else's write.
    Overtaken,
}

impl From<Lost> for Failure {
    fn from(_: Lost) -> Self {
        Self::Overtaken
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<Unread> for Failure {
    fn from(unread: Unread) -> Self {
        match unread {
            Unread::Substitute { .. } => Self::Build(unread.to_string()),
            Unread::Kubeconfig { .. } | Unread::Login { .. } => Self::Client(unread.to_string()),
        }
    }
}

impl From<Unreachable> for Failure {
    fn from(error: Unreachable) -> Self {
        match error.stalls() {
            Some(reason) => Self::Cut { reason, text: error.to_string() },
            None => Self::Client(error.to_string()),
        }
    }
}

impl Failure {
    /// A closed gate.
    pub(crate) fn stopped(
        stop: Stop,
        request: &Request,
        options: &Options,
        quietly: bool,
        told: bool,
    ) -> Self {
        let on = gate::wakers(&stop, request);
        let again = gate::patience(&stop, request, options);
        Self::Stopped { stop, on, again, quietly, told }
    }

    /// The reason of an outcome that counts in the history: one that came after a build.
    pub(crate) const fn outcome(&self) -> Option<Reason> {
        match self {
            Self::Apply { .. } => Some(ks::RECONCILIATION_FAILED),
            Self::Prune(_) => Some(ks::PRUNE_FAILED),
            _ => None,
        }
    }

    /// What the driver is told.
    pub(crate) fn verdict(&self, options: &Options, retry: Duration) -> Verdict {
        match self {
            Self::Refused(refusal) => Verdict::stalled(refused(refusal), refusal.to_string()),
            Self::Stopped { stop, on, again, quietly, .. } => stopped(stop, on, *again, *quietly),
            Self::Fetch(FetchError::NotFound(_)) => Verdict::Failed {
                reason: ks::ARTIFACT_FAILED,
                message: format!(
                    "Source is not ready, artifact not found, retrying in {}",
                    GoDuration(options.requeue_dependency)
                ),
                retry: Retry::After(options.requeue_dependency),
            },
            Self::Fetch(error) => Verdict::Failed {
                reason: ks::ARTIFACT_FAILED,
                message: bounds::explain(error),
                retry: match error.retry() {
                    // Somebody may repair the source's storage without a new revision.
                    Retry::OnChange if bounds::flag(error).is_none() => Retry::Backoff,
                    other => other,
                },
            },
            Self::Fetching { message, again } => waiting(message, Vec::new(), *again),
            Self::Soon { on, again } => {
                waiting("Waiting for kinds and namespaces to appear", on.clone(), *again)
            }
            Self::Path(text) => Verdict::failed(ks::ARTIFACT_FAILED, text),
            Self::Build(text) => Verdict::failed(ks::BUILD_FAILED, text),
            Self::Client(text) | Self::Late(text) => Verdict::failed(ks::RECONCILIATION_FAILED, text),
            Self::Cut { reason, text } => Verdict::stalled(*reason, text),
            Self::Apply { text, on, .. } if !on.is_empty() => Verdict::Waiting {
                reason: ks::RECONCILIATION_FAILED,
                message: text.clone(),
                readiness: Readiness::False,
                on: on.clone(),
                again: retry,
            },
            Self::Apply { text, .. } => Verdict::failed(ks::RECONCILIATION_FAILED, text),
            Self::Prune(text) => Verdict::failed(ks::PRUNE_FAILED, text),
            Self::Overtaken => Verdict::Again,
        }
    }

    /// What the world is told.
    pub(crate) fn note(&self, subject: &Subject, options: &Options) -> Option<Note> {
        match self {
            Self::Refused(refusal) => Some(subject.error(refused(refusal), refusal.to_string())),
            Self::Stopped { stop: Stop::Denied(text), .. } => {
                Some(subject.error(common::ACCESS_DENIED, text))
            }
            Self::Stopped { stop: Stop::Configuration(text), .. } => {
                Some(subject.error(common::INVALID_CEL_EXPRESSION, text))
            }
            Self::Stopped { stop: Stop::Dependency(_), quietly: false, told: false, .. } => {
                let again = GoDuration(options.requeue_dependency);
                let text = format!("Dependencies do not meet ready condition, retrying in {again}");
                Some(subject.info(common::DEPENDENCY_NOT_READY, text))
            }
            Self::Stopped { .. } | Self::Fetching { .. } | Self::Soon { .. } | Self::Overtaken => None,
            Self::Fetch(FetchError::NotFound(_)) => None,
            Self::Apply { told: true, .. } => None,
            Self::Fetch(error) => Some(subject.error(ks::ARTIFACT_FAILED, bounds::explain(error))),
            Self::Path(text) => Some(subject.error(ks::ARTIFACT_FAILED, text)),
            Self::Build(text) => Some(subject.error(ks::BUILD_FAILED, text)),
            Self::Cut { reason, text } => {
                Some(subject.error(*reason, format!("failed to build kube client: {text}")))
            }
            Self::Client(text) => {
                Some(subject.error(ks::RECONCILIATION_FAILED, format!("failed to build kube client: {text}")))
            }
            Self::Apply { text, .. } | Self::Late(text) => {
                Some(subject.error(ks::RECONCILIATION_FAILED, text))
            }
            Self::Prune(text) => Some(subject.error(ks::PRUNE_FAILED, text)),
        }
    }
}

/// At work, as far as others are concerned.
fn waiting(message: &str, on: Vec<WakeKey>, again: Duration) -> Verdict {
    Verdict::Waiting {
        reason: common::PROGRESSING,
        message: message.to_owned(),
        readiness: Readiness::Unknown,
        on,
        again,
    }
}

fn refused(refusal: &Refusal) -> Reason {
    match refusal {
        Refusal::Expression(_) => common::INVALID_CEL_EXPRESSION,
        Refusal::DecryptionAccount => common::FEATURE_GATE_DISABLED,
        Refusal::Decryption(_) => ks::BUILD_FAILED,
    }
}

fn stopped(stop: &Stop, on: &[WakeKey], again: Duration, quietly: bool) -> Verdict {
    let wait = |reason: Reason, text: &String| Verdict::Waiting {
        reason,
        message: text.clone(),
        readiness: if quietly { Readiness::Unknown } else { Readiness::False },
        on: on.to_vec(),
        again,
    };
    match stop {
        Stop::Denied(text) => Verdict::stalled(common::ACCESS_DENIED, text),
        Stop::Configuration(text) => Verdict::stalled(common::INVALID_CEL_EXPRESSION, text),
        Stop::SourceMissing(text) | Stop::NoArtifact(text) => wait(ks::ARTIFACT_FAILED, text),
        Stop::Dependency(text) => wait(common::DEPENDENCY_NOT_READY, text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;
    use serde_json::json;
    use sluice_tree::UnpackError;

    fn told(failure: &Failure) -> (String, Option<String>) {
        let options = Options::default();
        let verdict = match failure.verdict(&options, Duration::from_secs(60)) {
            Verdict::Failed { reason, message, retry } => format!("{reason} {retry:?} {message}"),
            Verdict::Waiting { reason, message, readiness, again, on } => {
                format!("{reason} {readiness:?} {again:?} on {} {message}", on.len())
            }
            other => format!("{other:?}"),
        };
        let note = failure.note(&Subject::default(), &options);
        (verdict, note.map(|note| format!("{} {} {}", note.severity.as_str(), note.reason, note.message)))
    }

    #[test]
    fn every_failure_has_its_reason_retry_and_event() {
        let options = Options::default();
        let request =
            Request::read(&sample::kustomization(json!({"dependsOn": [{"name": "base"}]})), &options)
                .unwrap();
        let stop = |stop, quietly| Failure::stopped(stop, &request, &options, quietly, false);
        let table = [
            (
                stop(Stop::Denied("no".into()), false),
                "AccessDenied OnChange no",
                Some("error AccessDenied no"),
            ),
            (stop(Stop::SourceMissing("gone".into()), false), "ArtifactFailed False 60s on 1 gone", None),
            (stop(Stop::NoArtifact("none".into()), false), "ArtifactFailed False 30s on 1 none", None),
            (
                stop(Stop::Dependency("base".into()), false),
                "DependencyNotReady False 30s on 1 base",
                Some("info DependencyNotReady Dependencies do not meet ready condition, retrying in 30s"),
            ),
            (stop(Stop::Dependency("base".into()), true), "DependencyNotReady Unknown 30s on 1 base", None),
            (
                stop(Stop::Configuration("cel".into()), false),
                "InvalidCELExpression OnChange cel",
                Some("error InvalidCELExpression cel"),
            ),
            (
                Failure::Fetch(FetchError::NotFound("x".into())),
                "ArtifactFailed After(30s) Source is not ready, artifact not found, retrying in 30s",
                None,
            ),
            (
                Failure::Fetch(FetchError::Client("x".into())),
                "ArtifactFailed Backoff x",
                Some("error ArtifactFailed x"),
            ),
            (
                Failure::Fetch(UnpackError::Entries(7).into()),
                "ArtifactFailed OnChange failed to untar artifact: archive has more than 7 entries: exclude \
                 what is not needed in .sourceignore or spec.ignore of the source, or raise \
                 --artifact-max-entries of kustomize-controller",
                Some(
                    "error ArtifactFailed failed to untar artifact: archive has more than 7 entries: exclude \
                     what is not needed in .sourceignore or spec.ignore of the source, or raise \
                     --artifact-max-entries of kustomize-controller",
                ),
            ),
            (
                Failure::Fetching { message: "m".into(), again: Duration::from_secs(5) },
                "Progressing Unknown 5s on 0 m",
                None,
            ),
            (
                Failure::Soon { on: vec![WakeKey::kind("x", "Y")], again: Duration::from_secs(1) },
                "Progressing Unknown 1s on 1 Waiting for kinds and namespaces to appear",
                None,
            ),
            (Failure::Path("p".into()), "ArtifactFailed Backoff p", Some("error ArtifactFailed p")),
            (Failure::Build("b".into()), "BuildFailed Backoff b", Some("error BuildFailed b")),
            (
                Failure::Client("c".into()),
                "ReconciliationFailed Backoff c",
                Some("error ReconciliationFailed failed to build kube client: c"),
            ),
            (
                Failure::Cut { reason: common::FEATURE_GATE_DISABLED, text: "g".into() },
                "FeatureGateDisabled OnChange g",
                Some("error FeatureGateDisabled failed to build kube client: g"),
            ),
            (
                Failure::Apply { text: "a".into(), on: Vec::new(), told: false },
                "ReconciliationFailed Backoff a",
                Some("error ReconciliationFailed a"),
            ),
            (
                Failure::Apply { text: "a".into(), on: vec![WakeKey::kind("x", "Y")], told: true },
                "ReconciliationFailed False 60s on 1 a",
                None,
            ),
            (
                Failure::Late("l".into()),
                "ReconciliationFailed Backoff l",
                Some("error ReconciliationFailed l"),
            ),
            (Failure::Prune("p".into()), "PruneFailed Backoff p", Some("error PruneFailed p")),
            (Failure::Overtaken, "Again", None),
        ];
        for (failure, verdict, note) in table {
            assert_eq!(told(&failure), (verdict.to_owned(), note.map(str::to_owned)));
        }
    }
}
