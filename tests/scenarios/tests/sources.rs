//! What source-controller makes of a repository: artifacts, their archives over HTTP, and what it says about both.
#![allow(clippy::unwrap_used, clippy::panic)]

use kube::api::{DeleteParams, DynamicObject};
use serde_json::{Value, json};
use sluice_scenarios::loopback::{ask, get};
use sluice_scenarios::{Stage, config_map, observed};
use sluice_testkit::waiting::{condition, condition_text, text};
use sluice_types::{Algorithm, Digest};

/// A stage with a first commit, fetched as `apps`.
async fn fetched() -> (Stage, String, DynamicObject) {
    let stage = Stage::start().await.unwrap();
    let first = stage.repository.commit("first", &[("app/one.yaml", Some(&config_map("one", "1")))]).unwrap();
    stage.add_source().await.unwrap();
    let object = stage.fetched("apps", &first).await.unwrap();
    (stage, first, object)
}

fn artifact(object: &DynamicObject) -> &Value {
    object.data.pointer("/status/artifact").unwrap()
}

/// The types of the conditions, as they are ordered.
fn kinds(object: &DynamicObject) -> Vec<&str> {
    let conditions = object.data.pointer("/status/conditions").and_then(Value::as_array).unwrap();
    conditions.iter().map(|condition| condition["type"].as_str().unwrap()).collect()
}

/// `Status/Reason: message` of a condition.
fn says(object: &DynamicObject, kind: &str) -> String {
    let word = |field| condition_text(object, kind, field);
    format!("{}/{}: {}", word("status"), word("reason"), word("message"))
}

/// The archive of an artifact, held against its digest and size.
async fn archive(object: &DynamicObject) -> Vec<u8> {
    let answer = get(text(object, "/status/artifact/url")).await.unwrap();
    assert_eq!(answer.code, 200);
    let digest = Digest::of(Algorithm::Sha256, &answer.body).to_string();
    assert_eq!(text(object, "/status/artifact/digest"), digest);
    assert_eq!(artifact(object)["size"].as_u64(), u64::try_from(answer.body.len()).ok());
    answer.body
}

/// The names in an archive, folders left out, sorted.
async fn names(object: &DynamicObject) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("archive.tar.gz");
    std::fs::write(&path, archive(object).await).unwrap();
    let listed = std::process::Command::new("tar").arg("-tvzf").arg(&path).output().unwrap();
    assert!(listed.status.success(), "{}", String::from_utf8_lossy(&listed.stderr));
    let lines = String::from_utf8(listed.stdout).unwrap();
    let files = lines.lines().filter(|line| line.starts_with('-'));
    let mut names: Vec<String> =
        files.map(|line| line.split_whitespace().last().unwrap().to_owned()).collect();
    names.sort();
    names
}

#[tokio::test]
async fn a_push_and_a_nudge_give_a_new_artifact() {
    let (stage, first, object) = fetched().await;
    for (commit, object) in [(first, object), {
        let second = stage.repository.commit("second one", &[("README", Some("hello"))]).unwrap();
        stage.nudge("apps", "second").await.unwrap();
        let object = stage.fetched("apps", &second).await.unwrap();
        (second, object)
    }] {
        let namespace = &stage.namespace;
        let revision = format!("main@sha1:{commit}");
        let path = format!("gitrepository/{namespace}/apps/{commit}.tar.gz");
        assert_eq!(text(&object, "/status/artifact/revision"), revision);
        assert_eq!(text(&object, "/status/artifact/path"), path);
        let url = text(&object, "/status/artifact/url");
        assert!(url.starts_with("http://127.0.0.1:") && url.ends_with(&format!("/{path}")), "{url}");
        let written = text(&object, "/status/artifact/lastUpdateTime");
        assert!(written.len() == 20 && written.ends_with('Z'), "{written}");
        archive(&object).await;
        assert_eq!(kinds(&object), ["Ready", "ArtifactInStorage"]);
        let message = format!("True/Succeeded: stored artifact for revision '{revision}'");
        assert_eq!(says(&object, "Ready"), message);
        assert_eq!(says(&object, "ArtifactInStorage"), message);
        let finalizers = object.metadata.finalizers.clone().unwrap_or_default();
        assert_eq!(finalizers, ["finalizers.fluxcd.io"]);
    }
    let event = stage.event("GitRepository", "apps", "NewArtifact", &["commit 'second one'"]).await.unwrap();
    assert_eq!(text(&event, "/message"), "stored artifact for commit 'second one'");
    assert_eq!(text(&event, "/type"), "Normal");
    assert_eq!(text(&event, "/source/component"), "source-controller");
    stage.end().await.unwrap();
}

#[tokio::test]
async fn an_idle_nudge_is_answered_and_nothing_else_is_written() {
    let (mut stage, _, _) = fetched().await;
    stage.restart_source(&[], |_| Ok(())).await.unwrap();
    let before = stage.nudge("apps", "settle").await.unwrap();
    stage.proxy.clear();
    let after = stage.nudge("apps", "idle").await.unwrap();
    let writes = stage.proxy.writes();
    assert_eq!(writes.len(), 1, "{writes:?}");
    assert_eq!(writes[0].resource, "gitrepositories/status");
    assert_eq!(artifact(&after), artifact(&before));
    assert_eq!(after.data.pointer("/status/conditions"), before.data.pointer("/status/conditions"));
    stage.end().await.unwrap();
}

#[tokio::test]
async fn a_missing_branch_keeps_the_old_artifact_until_it_appears() {
    let (stage, first, before) = fetched().await;
    stage.add_repository("apps", json!({"ref": {"branch": "next"}})).await.unwrap();
    let failed = stage
        .until(&stage.repositories(), "apps", |object| condition(object, "FetchFailed").is_some())
        .await
        .unwrap();
    let failed = match condition_text(&failed, "Reconciling", "reason") {
        "ProgressingWithRetry" => failed,
        _ => stage.nudge("apps", "failed").await.unwrap(),
    };
    let says_why = says(&failed, "FetchFailed");
    assert!(says_why.starts_with("True/GitOperationFailed: "), "{says_why}");
    for words in ["refs/heads/next", "git repository: 'http://127.0.0.1:", "/apps.git'"] {
        assert!(says_why.contains(words), "{says_why}");
    }
    assert_eq!(says(&failed, "Ready"), says_why.replacen("True", "False", 1));
    assert_eq!(condition_text(&failed, "Reconciling", "reason"), "ProgressingWithRetry");
    assert_eq!(condition_text(&failed, "ArtifactInStorage", "status"), "True");
    assert!(condition(&failed, "Stalled").is_none());
    assert_eq!(artifact(&failed), artifact(&before));
    archive(&failed).await;
    stage.event("GitRepository", "apps", "GitOperationFailed", &["refs/heads/next"]).await.unwrap();

    stage.repository.git(&["push", "--quiet", "origin", "HEAD:next"]).unwrap();
    stage.nudge("apps", "recovered").await.unwrap();
    let ready = stage.fetched("apps", &first).await.unwrap();
    assert_eq!(kinds(&ready), ["Ready", "ArtifactInStorage"]);
    assert_eq!(text(&ready, "/status/artifact/revision"), format!("next@sha1:{first}"));
    stage.end().await.unwrap();
}

#[tokio::test]
async fn an_empty_repository_is_told_apart_from_a_broken_one() {
    let stage = Stage::start().await.unwrap();
    let empty = stage.another("empty").unwrap();
    stage.add_repository("empty", json!({"url": stage.url_of(&empty)})).await.unwrap();
    let failed = stage
        .until(&stage.repositories(), "empty", |object| condition(object, "FetchFailed").is_some())
        .await
        .unwrap();
    let says_why = says(&failed, "FetchFailed");
    assert!(says_why.starts_with("True/EmptyGitRepository: "), "{says_why}");
    assert!(says_why.contains("git repository is empty"), "{says_why}");
    let first = empty.commit("first", &[("a", Some("1"))]).unwrap();
    stage.fetched("empty", &first).await.unwrap();
    stage.end().await.unwrap();
}

#[tokio::test]
async fn a_suspended_repository_answers_nudges_and_does_nothing_else() {
    let (stage, _, before) = fetched().await;
    stage.add_repository("apps", json!({"suspend": true})).await.unwrap();
    let second = stage.repository.commit("second", &[("b", Some("2"))]).unwrap();
    let rested = stage.nudge("apps", "suspended").await.unwrap();
    assert_eq!(artifact(&rested), artifact(&before));
    assert_eq!(says(&rested, "Ready"), says(&before, "Ready"));
    assert!(observed(&rested), "suspending settles the generation");
    stage.add_repository("apps", json!({"suspend": false})).await.unwrap();
    stage.fetched("apps", &second).await.unwrap();
    stage.end().await.unwrap();
}

#[tokio::test]
async fn other_ignore_rules_make_another_archive_of_the_same_revision() {
    let (stage, first, _) = fetched().await;
    let files = [
        ("docs/a.md", Some("a")),
        ("docs/keep.md", Some("b")),
        (".sourceignore", Some("*.txt\n")),
        ("x.txt", Some("x")),
    ];
    let second = stage.repository.commit("second", &files).unwrap();
    assert_ne!(first, second);
    stage.nudge("apps", "second").await.unwrap();
    let before = stage.fetched("apps", &second).await.unwrap();
    assert_eq!(names(&before).await, [".sourceignore", "app/one.yaml", "docs/a.md", "docs/keep.md"]);
    stage.add_repository("apps", json!({"ignore": "/docs/*\n!/docs/keep.md\n"})).await.unwrap();
    let after = stage
        .until(&stage.repositories(), "apps", |object| {
            observed(object) && text(object, "/status/observedIgnore").starts_with("/docs")
        })
        .await
        .unwrap();
    assert_eq!(names(&after).await, [".sourceignore", "app/one.yaml", "docs/keep.md"]);
    for field in ["revision", "path"] {
        assert_eq!(artifact(&after)[field], artifact(&before)[field]);
    }
    assert_ne!(artifact(&after)["digest"], artifact(&before)["digest"]);
    stage.end().await.unwrap();
}

#[tokio::test]
async fn a_damaged_archive_is_found_after_a_restart_and_made_again() {
    let (mut stage, _, before) = fetched().await;
    let path = text(&before, "/status/artifact/path").to_owned();
    let damage = |data: &std::path::Path| Ok(std::fs::write(data.join(&path), b"no archive")?);
    stage.restart_source(&[], damage).await.unwrap();
    let words = ["failed to verify integrity of artifact"];
    stage.event("GitRepository", "apps", "ArtifactVerificationFailed", &words).await.unwrap();
    stage.nudge("apps", "looked").await.unwrap();
    let after = stage.fetched("apps", text(&before, "/status/artifact/revision")).await.unwrap();
    assert_eq!(artifact(&after)["digest"], artifact(&before)["digest"]);
    archive(&after).await;
    stage.end().await.unwrap();
}

#[tokio::test]
async fn a_restart_without_data_brings_the_same_digest_back_silently() {
    let (mut stage, _, before) = fetched().await;
    stage.event("GitRepository", "apps", "NewArtifact", &["commit 'first'"]).await.unwrap();
    let empty = |data: &std::path::Path| {
        std::fs::remove_dir_all(data)?;
        Ok(std::fs::create_dir(data)?)
    };
    stage.restart_source(&[], empty).await.unwrap();
    stage.nudge("apps", "looked").await.unwrap();
    let after = stage.fetched("apps", text(&before, "/status/artifact/revision")).await.unwrap();
    for field in ["revision", "path", "digest", "size"] {
        assert_eq!(artifact(&after)[field], artifact(&before)[field], "{field}");
    }
    archive(&after).await;
    // Events of one object come in order: once the next one is there, the first can be counted.
    let second = stage.repository.commit("second", &[("b", Some("2"))]).unwrap();
    stage.nudge("apps", "second").await.unwrap();
    stage.fetched("apps", &second).await.unwrap();
    stage.event("GitRepository", "apps", "NewArtifact", &["commit 'second'"]).await.unwrap();
    let told = stage.told("GitRepository", "apps").await.unwrap();
    let fresh: Vec<_> = told.iter().filter(|line| line.starts_with("NewArtifact")).collect();
    assert_eq!(fresh.len(), 2, "{told:#?}");
    assert!(fresh.iter().all(|line| line.contains(" x1: ")), "{told:#?}");
    stage.end().await.unwrap();
}

#[tokio::test]
async fn an_include_is_waited_for_and_followed() {
    let (stage, first, _) = fetched().await;
    let base = stage.another("base").unwrap();
    let include = json!([{"repository": {"name": "base"}, "fromPath": "lib", "toPath": "vendor/base"}]);
    stage.add_repository("whole", json!({"include": include})).await.unwrap();
    let waiting = stage
        .until(&stage.repositories(), "whole", |object| condition(object, "IncludeUnavailable").is_some())
        .await
        .unwrap();
    let why = "NotFound: could not get resource for include 'base': \
               GitRepository.source.toolkit.fluxcd.io \"base\" not found";
    assert_eq!(says(&waiting, "IncludeUnavailable"), format!("True/{why}"));
    assert_eq!(says(&waiting, "Ready"), format!("False/{why}"));
    assert_eq!(condition_text(&waiting, "Reconciling", "reason"), "ProgressingWithRetry");

    base.commit("first", &[("lib/a.txt", Some("a")), ("other.txt", Some("o"))]).unwrap();
    stage.add_repository("base", json!({"url": stage.url_of(&base)})).await.unwrap();
    let ready = stage.fetched("whole", &first).await.unwrap();
    assert_eq!(kinds(&ready), ["Ready", "ArtifactInStorage"]);
    assert_eq!(names(&ready).await, ["app/one.yaml", "vendor/base/a.txt"]);
    let included =
        |object: &DynamicObject| object.data.pointer("/status/includedArtifacts/0/digest").cloned();
    let source = stage.repositories().get("base").await.unwrap();
    assert_eq!(included(&ready).as_ref(), Some(&artifact(&source)["digest"]));

    base.commit("second", &[("lib/b.txt", Some("b"))]).unwrap();
    stage.nudge("base", "second").await.unwrap();
    let followed = stage
        .until(&stage.repositories(), "whole", |object| {
            condition_text(object, "Ready", "status") == "True" && included(object) != included(&ready)
        })
        .await
        .unwrap();
    assert_eq!(names(&followed).await, ["app/one.yaml", "vendor/base/a.txt", "vendor/base/b.txt"]);
    stage.end().await.unwrap();
}

#[tokio::test]
async fn what_only_another_spec_can_help_is_stalled() {
    let (stage, _, _) = fetched().await;
    let data = json!({"author.sshpub": "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJjVA2W4kbQw3lTqz2iM1o1J5s0bGd2nPAwS0yT6b3yL a"});
    stage
        .apply(&json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "authors"}, "stringData": data}))
        .await
        .unwrap();
    for (name, spec, kind, reason, message) in [
        (
            "github",
            json!({"provider": "github"}),
            "FetchFailed",
            "InvalidProviderConfiguration",
            "secretRef with github app data must be specified when provider is set to github",
        ),
        (
            "verify",
            json!({"verify": {"mode": "Tag", "secretRef": {"name": "authors"}}}),
            "SourceVerified",
            "InvalidVerificationMode",
            "cannot verify tag object's signature if a tag reference is not specified",
        ),
        (
            "account",
            json!({"provider": "azure", "serviceAccountName": "robot"}),
            "FetchFailed",
            "FeatureGateDisabled",
            "to use spec.serviceAccountName for provider authentication please enable the \
             ObjectLevelWorkloadIdentity feature gate in the controller",
        ),
        (
            "itself",
            json!({"include": [{"repository": {"name": "itself"}}]}),
            "IncludeUnavailable",
            "SourceUnavailable",
            "itself",
        ),
    ] {
        stage.add_repository(name, spec).await.unwrap();
        let stalled = stage
            .until(&stage.repositories(), name, |object| condition(object, "Stalled").is_some())
            .await
            .unwrap();
        assert_eq!(condition_text(&stalled, "Stalled", "status"), "True");
        let why = says(&stalled, "Stalled");
        assert!(why.starts_with(&format!("True/{reason}: ")) && why.contains(message), "{why}");
        assert_eq!(says(&stalled, "Ready"), why.replacen("True", "False", 1));
        assert_eq!(condition_text(&stalled, kind, "reason"), reason);
        assert!(condition(&stalled, "Reconciling").is_none(), "{name}");
        assert!(observed(&stalled), "{name}");
        assert!(stalled.data.pointer("/status/artifact").is_none(), "{name}");
        stage.event("GitRepository", name, reason, &[message]).await.unwrap();
    }
    stage.end().await.unwrap();
}

#[tokio::test]
async fn every_kind_of_reference_has_its_revision() {
    let (stage, first, _) = fetched().await;
    let git = |arguments: &[&str]| stage.repository.git(arguments).unwrap();
    git(&["tag", "v1.0.0"]);
    let second = stage.repository.commit("second", &[("b", Some("2"))]).unwrap();
    git(&["tag", "--annotate", "--message", "two", "v1.2.0"]);
    git(&["tag", "v1.3"]);
    let third = stage.repository.commit("third", &[("c", Some("3"))]).unwrap();
    git(&["tag", "v2.0.0-rc.1"]);
    git(&["push", "--quiet", "origin", "--tags", "HEAD", &format!("{first}:refs/pull/7/head")]);
    for (name, reference, commit, revision) in [
        ("branch", json!({"branch": "main"}), &third, "main@sha1:"),
        ("tag", json!({"tag": "v1.0.0"}), &first, "v1.0.0@sha1:"),
        ("annotated", json!({"tag": "v1.2.0"}), &second, "v1.2.0@sha1:"),
        ("semver", json!({"semver": ">=1.0.0"}), &second, "v1.2.0@sha1:"),
        ("prerelease", json!({"semver": ">=1.0.0-0"}), &third, "v2.0.0-rc.1@sha1:"),
        ("exact", json!({"semver": "1.0.0"}), &first, "v1.0.0@sha1:"),
        ("commit", json!({"commit": second}), &second, "sha1:"),
        ("on-branch", json!({"commit": first, "branch": "main"}), &first, "main@sha1:"),
        ("pull", json!({"name": "refs/pull/7/head"}), &first, "refs/pull/7/head@sha1:"),
        ("head", json!({"name": "refs/heads/main"}), &third, "refs/heads/main@sha1:"),
        ("name-tag", json!({"name": "refs/tags/v1.2.0"}), &second, "refs/tags/v1.2.0@sha1:"),
        (
            "several",
            json!({"branch": "none", "tag": "none", "semver": "9.9.9", "name": "refs/heads/main"}),
            &third,
            "refs/heads/main@sha1:",
        ),
    ] {
        stage.add_repository(name, json!({"ref": reference})).await.unwrap();
        let ready = stage.fetched(name, commit).await.unwrap();
        assert_eq!(text(&ready, "/status/artifact/revision"), format!("{revision}{commit}"), "{name}");
        let path = format!("gitrepository/{}/{name}/{commit}.tar.gz", stage.namespace);
        assert_eq!(text(&ready, "/status/artifact/path"), path);
    }
    for (name, reference, message) in [
        ("no-range", json!({"semver": ">=9.0.0"}), "no match found for semver: >=9.0.0"),
        (
            "no-name",
            json!({"name": "refs/heads/none"}),
            "unable to resolve ref 'refs/heads/none' to a specific commit",
        ),
        ("no-tag", json!({"tag": "none"}), "refs/tags/none"),
        (
            "no-commit",
            json!({"commit": "1234567890123456789012345678901234567890"}),
            "1234567890123456789012345678901234567890",
        ),
    ] {
        stage.add_repository(name, json!({"ref": reference})).await.unwrap();
        let failed = stage
            .until(&stage.repositories(), name, |object| condition(object, "FetchFailed").is_some())
            .await
            .unwrap();
        let why = says(&failed, "FetchFailed");
        assert!(why.starts_with("True/GitOperationFailed: ") && why.contains(message), "{name}: {why}");
    }
    stage.end().await.unwrap();
}

#[tokio::test]
async fn the_previous_archive_outlives_the_next_one() {
    let (stage, _, first) = fetched().await;
    let mut seen = vec![text(&first, "/status/artifact/url").to_owned()];
    for step in ["2", "3"] {
        let commit = stage.repository.commit(step, &[("step", Some(step))]).unwrap();
        stage.nudge("apps", step).await.unwrap();
        let object = stage.fetched("apps", &commit).await.unwrap();
        assert_eq!(get(seen.last().unwrap()).await.unwrap().code, 200, "for who is downloading it just now");
        seen.push(text(&object, "/status/artifact/url").to_owned());
    }
    stage.nudge("apps", "collect").await.unwrap();
    let mut codes = Vec::new();
    for url in &seen {
        codes.push(get(url).await.unwrap().code);
    }
    assert_eq!(codes, [404, 200, 200]);
    stage.end().await.unwrap();
}

#[tokio::test]
async fn deletion_takes_the_archives_along() {
    let (stage, _, object) = fetched().await;
    let folder = stage.artifacts().join("gitrepository").join(&stage.namespace).join("apps");
    assert!(folder.is_dir());
    // A suspended one can be deleted, too.
    stage.add_repository("apps", json!({"suspend": true})).await.unwrap();
    stage.repositories().delete("apps", &DeleteParams::default()).await.unwrap();
    stage.until_gone(&stage.repositories(), "apps").await.unwrap();
    assert!(!folder.exists());
    assert_eq!(get(text(&object, "/status/artifact/url")).await.unwrap().code, 404);
    stage.end().await.unwrap();
}

#[tokio::test]
async fn archives_are_served_in_parts_and_only_when_they_changed() {
    let (stage, _, object) = fetched().await;
    let url = text(&object, "/status/artifact/url").to_owned();
    let whole = get(&url).await.unwrap();
    assert_eq!(whole.header("content-length"), whole.body.len().to_string());

    let part = ask("GET", &url, &[("Range", "bytes=2-9")]).await.unwrap();
    assert_eq!((part.code, part.body.as_slice()), (206, &whole.body[2..10]));
    assert_eq!(part.header("content-range"), format!("bytes 2-9/{}", whole.body.len()));
    let beyond = ask("GET", &url, &[("Range", "bytes=99999999-")]).await.unwrap();
    assert_eq!(beyond.code, 416);
    let head = ask("HEAD", &url, &[]).await.unwrap();
    assert_eq!((head.code, head.body.len()), (200, 0));
    assert_eq!(head.header("content-length"), whole.header("content-length"));

    let since = whole.header("last-modified");
    assert!(!since.is_empty());
    assert_eq!(ask("GET", &url, &[("If-Modified-Since", since)]).await.unwrap().code, 304);
    let long_ago = [("If-Modified-Since", "Sat, 01 Jan 2000 00:00:00 GMT")];
    assert_eq!(ask("GET", &url, &long_ago).await.unwrap().code, 200);
    let tag = whole.header("etag");
    assert!(!tag.is_empty(), "{:?}", whole.headers);
    assert_eq!(ask("GET", &url, &[("If-None-Match", tag)]).await.unwrap().code, 304);
    assert_eq!(ask("GET", &url, &[("If-None-Match", "\"other\"")]).await.unwrap().code, 200);

    let path = text(&object, "/status/artifact/path");
    let base = url.trim_end_matches(path).to_owned();
    let folder = stage.artifacts().join(path).parent().unwrap().to_owned();
    for private in ["a.tar.gz.lock", "a.tar.gz.tmp", ".hidden"] {
        std::fs::write(folder.join(private), "x").unwrap();
        let url = format!("{base}gitrepository/{}/apps/{private}", stage.namespace);
        assert_eq!(get(&url).await.unwrap().code, 404, "{private}");
    }
    std::fs::write(stage.artifacts().parent().unwrap().join("outside"), "x").unwrap();
    for (outside, code) in [
        ("", 200),
        ("gitrepository", 404),
        ("gitrepository/", 404),
        ("../outside", 404),
        ("%2e%2e/outside", 404),
        ("gitrepository/../../outside", 404),
        ("gitrepository/none/none/none.tar.gz", 404),
    ] {
        assert_eq!(get(&format!("{base}{outside}")).await.unwrap().code, code, "{outside}");
    }
    assert_eq!(ask("PUT", &url, &[("Content-Length", "0")]).await.unwrap().code, 405);
    stage.end().await.unwrap();
}
