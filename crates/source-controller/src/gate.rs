//! Decides whether anything has to be built.

use sluice_api::Artifact;
use sluice_api::source::v1::GitRepositoryFacts;
use sluice_git::Mode;
use sluice_types::Revision;

use crate::KEYS_METADATA;
use crate::request::{Content, Verification};

/// What the remote, the includes and the keys are now.
#[derive(Clone, Debug)]
pub(crate) struct Observed<'a> {
    pub(crate) revision: &'a Revision,
    /// Of the includes, in the order of the spec.
    pub(crate) included: &'a [Artifact],
    /// Digest of the public keys; `None` when nothing is to be verified.
    pub(crate) keys: Option<&'a str>,
}

/// What has to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gate {
    /// Nothing.
    UpToDate,
    /// The archive stays; its commit must be verified (again).
    Verify,
    /// A new archive.
    Build,
}

pub(crate) fn gate(
    facts: &GitRepositoryFacts,
    content: &Content,
    verify: Option<&Verification>,
    observed: &Observed<'_>,
) -> Gate {
    let Some(artifact) = &facts.artifact else { return Gate::Build };
    if !artifact.has_revision(observed.revision.as_str())
        || includes_changed(&facts.included_artifacts, observed.included)
        || content_changed(facts, content)
    {
        return Gate::Build;
    }
    match verify {
        Some(verify) if !verified(facts, artifact, verify, observed.keys) => Gate::Verify,
        _ => Gate::UpToDate,
    }
}

/// What a build is for, in Flux's words. `generations` are the one that was dealt with last, and the one of now.
pub(crate) fn purpose(facts: &GitRepositoryFacts, observed: &Observed<'_>, generations: [i64; 2]) -> String {
    let revision = observed.revision.as_str();
    if facts.artifact.as_ref().is_none_or(|artifact| !artifact.has_revision(revision)) {
        return format!("building artifact: {}", news(observed.revision));
    }
    if includes_changed(&facts.included_artifacts, observed.included) {
        return "building artifact: included artifacts differ from last observed includes".to_owned();
    }
    match generations {
        [before, now] if before != now => format!("processing object: new generation {before} -> {now}"),
        _ => "reconciliation in progress".to_owned(),
    }
}

/// The word about a revision that was not stored yet.
pub(crate) fn news(revision: &Revision) -> String {
    format!("new upstream revision '{revision}'")
}

fn includes_changed(recorded: &[Artifact], current: &[Artifact]) -> bool {
    let same = |(a, b): (&Artifact, &Artifact)| a.has_revision(&b.revision) && a.digest == b.digest;
    recorded.len() != current.len() || !recorded.iter().zip(current).all(same)
}

fn content_changed(facts: &GitRepositoryFacts, content: &Content) -> bool {
    facts.observed_ignore != content.ignore
        || facts.observed_recurse_submodules != content.submodules
        || facts.observed_include != content.includes
        || facts.observed_sparse_checkout != content.sparse
}

fn verified(
    facts: &GitRepositoryFacts,
    artifact: &Artifact,
    verify: &Verification,
    keys: Option<&str>,
) -> bool {
    let mode = facts.source_verification_mode.as_deref().and_then(|mode| mode.parse::<Mode>().ok());
    // An archive that Flux verified carries no digest of keys: it is verified once more.
    mode.is_some_and(|mode| mode.covers(verify.mode))
        && keys.is_some()
        && artifact.metadata.get(KEYS_METADATA).map(String::as_str) == keys
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::{SHA, artifact, include};

    fn settled() -> (GitRepositoryFacts, Content) {
        let content = Content {
            ignore: Some("*.md".into()),
            submodules: true,
            includes: vec![include("other")],
            sparse: vec!["./a".into()],
        };
        let mut stored = artifact(&format!("main@sha1:{SHA}"), 'a');
        stored.metadata.insert(KEYS_METADATA.into(), "sha256:keys".into());
        let facts = GitRepositoryFacts {
            artifact: Some(stored),
            included_artifacts: vec![artifact("main@sha1:other", 'b')],
            observed_ignore: content.ignore.clone(),
            observed_recurse_submodules: true,
            observed_include: content.includes.clone(),
            observed_sparse_checkout: content.sparse.clone(),
            source_verification_mode: Some("HEAD".into()),
        };
        (facts, content)
    }

    #[test]
    fn a_build_says_what_it_is_for() {
        let (facts, _) = settled();
        let (stored, other) = (format!("main@sha1:{SHA}"), "main@sha1:new");
        let included = [artifact("main@sha1:other", 'b')];
        let moved = [artifact("main@sha1:another", 'c')];
        let says = |facts: &GitRepositoryFacts, revision: &str, included: &[Artifact], generations| {
            let revision = Revision::new(revision);
            purpose(facts, &Observed { revision: &revision, included, keys: None }, generations)
        };
        let new = "building artifact: new upstream revision 'main@sha1:new'";
        assert_eq!(says(&facts, other, &moved, [1, 2]), new);
        assert_eq!(says(&GitRepositoryFacts::default(), other, &[], [-1, 1]), new);
        assert_eq!(
            says(&facts, &stored, &moved, [1, 2]),
            "building artifact: included artifacts differ from last observed includes"
        );
        assert_eq!(says(&facts, &stored, &included, [1, 2]), "processing object: new generation 1 -> 2");
        assert_eq!(says(&facts, &stored, &included, [2, 2]), "reconciliation in progress");
    }

    fn decide(change: impl FnOnce(&mut GitRepositoryFacts, &mut Content, &mut Case)) -> Gate {
        let (mut facts, mut content) = settled();
        let mut case = Case {
            revision: format!("main@sha1:{SHA}"),
            included: vec![artifact("main@sha1:other", 'b')],
            verify: None,
            keys: None,
        };
        change(&mut facts, &mut content, &mut case);
        let observed = Observed {
            revision: &Revision::new(&case.revision),
            included: &case.included,
            keys: case.keys.as_deref(),
        };
        gate(&facts, &content, case.verify.as_ref(), &observed)
    }

    struct Case {
        revision: String,
        included: Vec<Artifact>,
        verify: Option<Verification>,
        keys: Option<String>,
    }

    #[test]
    fn nothing_is_built_while_nothing_changes() {
        assert_eq!(decide(|_, _, _| {}), Gate::UpToDate);
        // The form that Flux wrote before 2.0 means the same commit.
        let legacy = decide(|facts, _, _| {
            facts.artifact.as_mut().unwrap().revision = format!("main/{SHA}");
        });
        assert_eq!(legacy, Gate::UpToDate);
    }

    #[test]
    fn whatever_decides_about_the_archive_makes_a_new_one() {
        type Change = fn(&mut GitRepositoryFacts, &mut Content, &mut Case);
        let changes: [(&str, Change); 10] = [
            ("artifact lost", |facts, _, _| facts.artifact = None),
            ("revision", |_, _, case| case.revision = "main@sha1:other".into()),
            ("ignore", |_, content, _| content.ignore = None),
            ("ignore emptied", |_, content, _| content.ignore = Some(String::new())),
            ("submodules", |_, content, _| content.submodules = false),
            ("sparse order", |_, content, _| content.sparse = vec!["a".into()]),
            ("include target", |_, content, _| content.includes[0].to_path = Some("x".into())),
            ("include revision", |_, _, case| case.included[0].revision = "main@sha1:new".into()),
            ("include digest", |_, _, case| case.included[0] = artifact("main@sha1:other", 'c')),
            ("include count", |_, _, case| case.included.clear()),
        ];
        for (name, change) in changes {
            assert_eq!(decide(change), Gate::Build, "{name}");
        }
    }

    #[test]
    fn a_verification_that_is_new_wider_or_by_other_keys_is_repeated() {
        let verify = |mode| Some(Verification { mode, secret: "keys".into() });
        for (recorded, mode, keys, expected) in [
            (Some("HEAD"), Mode::Head, "sha256:keys", Gate::UpToDate),
            (Some("TagAndHEAD"), Mode::Head, "sha256:keys", Gate::UpToDate),
            (Some("HEAD"), Mode::TagAndHead, "sha256:keys", Gate::Verify),
            (Some("HEAD"), Mode::Tag, "sha256:keys", Gate::Verify),
            (None, Mode::Head, "sha256:keys", Gate::Verify),
            (Some("HEAD"), Mode::Head, "sha256:rotated", Gate::Verify),
        ] {
            let gate = decide(|facts, _, case| {
                facts.source_verification_mode = recorded.map(str::to_owned);
                case.verify = verify(mode);
                case.keys = Some(keys.into());
            });
            assert_eq!(gate, expected, "{recorded:?} {mode} {keys}");
        }
    }
}
