use super::*;

#[test]
fn texts_are_those_of_the_contract() {
    let timeout = Duration::from_secs(270);
    let revision = "main@sha1:1";
    assert_eq!(
        progress(Step::Fetch, revision, timeout),
        "Fetching manifests for revision main@sha1:1 with a timeout of 4m30s"
    );
    assert_eq!(
        progress(Step::Apply, revision, timeout),
        "Detecting drift for revision main@sha1:1 with a timeout of 4m30s"
    );
    assert_eq!(
        progress(Step::Health, revision, Duration::from_secs(30)),
        "Running health checks for revision main@sha1:1 with a timeout of 30s"
    );
    assert_eq!(applied(revision), "Applied revision: main@sha1:1");
    assert_eq!(healthy(Duration::from_millis(1500)), "Health check passed in 1.5s");
}

#[test]
fn events_carry_revisions_and_only_the_last_one_asks_for_a_commit_status() {
    let subject = Subject { revision: "r".to_owned(), origin: Some("o".to_owned()) };
    let note = subject.finished(Duration::from_millis(20), Duration::from_secs(600));
    assert_eq!(note.message, "Reconciliation finished in 20ms, next run in 10m0s");
    let keys: Vec<_> = note.metadata.iter().map(|(key, value)| format!("{key}={value}")).collect();
    assert_eq!(
        keys,
        [
            "kustomize.toolkit.fluxcd.io/commit_status=update",
            "kustomize.toolkit.fluxcd.io/originRevision=o",
            "kustomize.toolkit.fluxcd.io/revision=r",
        ]
    );
    assert!(note.routine);
    assert_eq!(Subject::default().error(RECONCILIATION_SUCCEEDED, "x").metadata.len(), 0);
}
