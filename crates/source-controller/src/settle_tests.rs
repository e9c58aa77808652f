use std::collections::BTreeMap;
use std::time::Duration;

use sluice_api::event::Severity;
use sluice_api::{Condition, ConditionStatus, Time};
use sluice_git::VerifyError;
use sluice_types::Retry;

use super::*;
use crate::sample::{SHA, artifact};

fn revision() -> String {
    format!("main@sha1:{SHA}")
}

fn status(facts: GitRepositoryFacts, conditions: &[(&str, ConditionStatus, &str)]) -> GitRepositoryStatus {
    let at = Time::new("2026-01-02T03:04:05Z".parse().unwrap());
    let conditions = conditions.iter().map(|(kind, status, message)| Condition {
        kind: (*kind).to_owned(),
        status: *status,
        observed_generation: Some(1),
        last_transition_time: at,
        reason: "Any".to_owned(),
        message: (*message).to_owned(),
    });
    GitRepositoryStatus { conditions: conditions.collect(), facts, ..GitRepositoryStatus::default() }
}

fn stored() -> GitRepositoryFacts {
    GitRepositoryFacts { artifact: Some(artifact(&revision(), 'a')), ..GitRepositoryFacts::default() }
}

fn here() -> ObjectName {
    ObjectName { namespace: "apps".to_owned() }
}

const AGAIN: Duration = Duration::from_secs(30);

/// Conditions as text: `Type=Status/Reason`.
fn conditions(pass: &Pass<GitRepositoryFacts>) -> Vec<String> {
    pass.aspects.iter().map(|a| format!("{}={}/{}", a.kind, a.status, a.reason)).collect()
}

fn notes(pass: &Pass<GitRepositoryFacts>) -> Vec<(Severity, &'static str)> {
    pass.notes.iter().map(|note| (note.severity, note.reason.as_str())).collect()
}

fn git(error: sluice_git::Error) -> Error {
    Error::Git { error, advice: String::new() }
}

fn fetch_failure() -> Error {
    git(sluice_git::Error::RepositoryNotFound { url: "https://git.example.com/x".into() })
}

#[test]
fn a_new_artifact_is_healthy_and_told_once() {
    let mut ledger = Ledger::new(None, false);
    ledger.outdated = Some((reason::NEW_REVISION, "new".into()));
    ledger.facts = stored();
    let pass = ledger.ready("add the thing", up_to_date(&Revision::new(&revision())));
    assert_eq!(conditions(&pass), ["ArtifactInStorage=True/Succeeded"]);
    let message = format!("stored artifact for revision '{}'", revision());
    assert_eq!(pass.aspects[0].message, message);
    assert_eq!(pass.verdict, Verdict::ready(common::SUCCEEDED, message));
    assert_eq!(notes(&pass), [(Severity::Info, "NewArtifact")]);
    assert_eq!(pass.notes[0].message, "stored artifact for commit 'add the thing'");
    let expected: BTreeMap<String, String> = [
        ("source.toolkit.fluxcd.io/revision".to_owned(), revision()),
        ("source.toolkit.fluxcd.io/digest".to_owned(), format!("sha256:{}", "a".repeat(64))),
    ]
    .into();
    assert_eq!(pass.notes[0].metadata, expected);
}

#[test]
fn what_did_not_change_is_only_traced_and_only_when_a_status_was_written() {
    let before = status(stored(), &[]);
    let pass = Ledger::new(Some(&before), false).ready("x", unchanged(&Revision::new(&revision())));
    assert_eq!(notes(&pass), [(Severity::Trace, "GitOperationSucceeded")]);
    assert!(pass.notes[0].routine);
    let text = format!("no changes since last reconciliation: observed revision '{}'", revision());
    assert_eq!(pass.notes[0].message, text);
    let pass = Ledger::new(Some(&before), false).ready("x", up_to_date(&Revision::new(&revision())));
    assert_eq!(notes(&pass), [(Severity::Trace, "ArtifactUpToDate")]);
    let text = format!("artifact up-to-date with remote revision: '{}'", revision());
    assert_eq!(pass.notes[0].message, text);
}

#[test]
fn a_rebuild_with_the_same_digest_is_no_news_but_a_recovery_is() {
    for (failing, expected) in [
        (None, (Severity::Trace, "ArtifactUpToDate")),
        (Some(condition::FETCH_FAILED), (Severity::Info, "Succeeded")),
        (Some(condition::STORAGE_OPERATION_FAILED), (Severity::Info, "Succeeded")),
        (Some(condition::INCLUDE_UNAVAILABLE), (Severity::Info, "Succeeded")),
        // A signature that holds again is not a recovery.
        (Some(condition::SOURCE_VERIFIED), (Severity::Trace, "ArtifactUpToDate")),
    ] {
        let kinds: Vec<_> = failing.iter().map(|kind| (*kind, ConditionStatus::True, "")).collect();
        let before = status(stored(), &kinds);
        let mut ledger = Ledger::new(Some(&before), false);
        // Lost from disk and made again.
        ledger.facts.artifact = None;
        ledger.facts.artifact = stored().artifact;
        let pass = ledger.ready("x", up_to_date(&Revision::new(&revision())));
        assert_eq!(notes(&pass), [expected], "{failing:?}");
    }
}

#[test]
fn a_failing_fetch_keeps_the_artifact() {
    let before = status(stored(), &[(condition::ARTIFACT_IN_STORAGE, ConditionStatus::True, "")]);
    let pass = Ledger::new(Some(&before), false).failed(&fetch_failure(), &here(), AGAIN);
    assert_eq!(
        conditions(&pass),
        ["ArtifactInStorage=True/Succeeded", "FetchFailed=True/GitOperationFailed"]
    );
    assert_eq!(pass.facts, stored());
    assert!(
        matches!(&pass.verdict, Verdict::Failed { reason, retry: Retry::Backoff, .. } if reason.as_str() == "GitOperationFailed")
    );
    assert_eq!(notes(&pass), [(Severity::Error, "GitOperationFailed")]);
    assert!(pass.notes[0].metadata.is_empty());
}

#[test]
fn a_failing_store_says_that_the_artifact_is_outdated() {
    let mut ledger = Ledger::new(Some(&status(stored(), &[])), false);
    ledger.outdated = Some((reason::NEW_REVISION, "new upstream revision 'x'".into()));
    let error = Error::Store(sluice_artifact::Error::Lock("x".into()));
    let pass = ledger.failed(&error, &here(), AGAIN);
    assert_eq!(
        conditions(&pass),
        [
            "ArtifactInStorage=True/Succeeded",
            "ArtifactOutdated=True/NewRevision",
            "StorageOperationFailed=True/AcquireLockFailed",
        ]
    );
}

#[test]
fn a_bad_signature_is_said_and_the_former_artifact_stays() {
    let before =
        status(stored(), &[(condition::SOURCE_VERIFIED, ConditionStatus::True, "verified signature of x")]);
    let error = Error::Signature(VerifyError::Commit { hash: "abc".into(), why: "unsigned".into() });
    let pass = Ledger::new(Some(&before), true).failed(&error, &here(), AGAIN);
    assert_eq!(
        conditions(&pass),
        ["ArtifactInStorage=True/Succeeded", "SourceVerified=False/InvalidCommitSignature"]
    );
    assert_eq!(pass.facts, stored());
}

#[test]
fn a_signature_that_held_is_remembered_through_other_failures() {
    let verified = [(condition::SOURCE_VERIFIED, ConditionStatus::True, "verified signature of x")];
    let pass = Ledger::new(Some(&status(stored(), &verified)), true).failed(&fetch_failure(), &here(), AGAIN);
    assert!(conditions(&pass).contains(&"SourceVerified=True/Succeeded".to_owned()));
    assert_eq!(pass.aspects[1].message, "verified signature of x");
    // One that did not hold, or is no longer asked for, is not.
    let refused = [(condition::SOURCE_VERIFIED, ConditionStatus::False, "bad")];
    for (before, verify) in [(&refused, true), (&verified, false)] {
        let pass =
            Ledger::new(Some(&status(stored(), before)), verify).failed(&fetch_failure(), &here(), AGAIN);
        assert!(!conditions(&pass).iter().any(|text| text.starts_with("SourceVerified")));
    }
}

#[test]
fn what_only_a_change_can_mend_stalls() {
    for (error, reason, kind) in [
        (Error::Url(sluice_git::AddressError::Malformed), "URLInvalid", "FetchFailed"),
        (Error::Gate, "FeatureGateDisabled", "FetchFailed"),
        (
            Error::Provider { message: "x".into(), retry: Retry::OnChange },
            "InvalidProviderConfiguration",
            "FetchFailed",
        ),
        (Error::Signature(VerifyError::Mode), "InvalidVerificationMode", "SourceVerified"),
        (Error::IncludeCycle("x".into()), "SourceUnavailable", "IncludeUnavailable"),
    ] {
        let pass = Ledger::default().failed(&error, &here(), AGAIN);
        let stalled =
            Verdict::Failed { reason: error.reason(), message: error.to_string(), retry: Retry::OnChange };
        assert_eq!((error.reason().as_str(), &pass.verdict), (reason, &stalled));
        assert_eq!(pass.aspects[0].kind, kind);
        assert_eq!(notes(&pass), [(Severity::Error, reason)]);
    }
}

#[test]
fn a_missing_include_parks_the_object_until_it_moves() {
    for (error, reason) in [
        (Error::IncludeMissing("lib".into()), "NotFound"),
        (Error::IncludeWithoutArtifact("lib".into()), "NoArtifact"),
    ] {
        let pass = Ledger::new(Some(&status(stored(), &[])), false).failed(&error, &here(), AGAIN);
        let expected = Verdict::Waiting {
            reason: error.reason(),
            message: error.to_string(),
            readiness: Readiness::False,
            on: vec![WakeKey::object("source.toolkit.fluxcd.io", "GitRepository", "apps", "lib")],
            again: AGAIN,
        };
        assert_eq!(pass.verdict, expected);
        assert_eq!(pass.aspects.last().unwrap().kind, "IncludeUnavailable");
        assert_eq!(error.reason().as_str(), reason);
        assert_eq!(notes(&pass), [(Severity::Trace, reason)]);
    }
}

#[test]
fn a_pass_that_was_overtaken_says_nothing() {
    for error in
        [Error::Cancelled, git(sluice_git::Error::Cancelled), Error::Store(sluice_artifact::Error::Cancelled)]
    {
        let pass = Ledger::default().failed(&error, &here(), AGAIN);
        assert_eq!((pass.verdict, pass.notes.len()), (Verdict::Again, 0));
    }
}

#[test]
fn texts_are_those_that_people_search_for() {
    for (error, text) in [
        (Error::IncludeWithoutArtifact("lib".into()), "no artifact available for include 'lib'"),
        (
            git(sluice_git::Error::EmptyRemote),
            "failed to checkout and determine revision: git repository is empty",
        ),
        (Error::Keys("x".into()), "public keys secret error: x"),
        (
            Error::Gate,
            "to use spec.serviceAccountName for provider authentication please enable the \
             ObjectLevelWorkloadIdentity feature gate in the controller",
        ),
    ] {
        assert_eq!(error.to_string(), text);
    }
    assert_eq!(
        git(sluice_git::Error::SparseMissing("x/y".into())).to_string(),
        "failed to sparse checkout directories : sparse checkout dir 'x/y' does not exist in repository: \
         lstat /x/y: no such file or directory"
    );
}
