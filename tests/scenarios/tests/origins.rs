//! What a source holds, or does not hold yet, and what its Kustomizations make of it.
#![allow(clippy::unwrap_used, clippy::panic)]

use kube::api::{Api, DeleteParams, DynamicObject, Patch, PatchParams};
use serde_json::{Value, json};
use sluice_scenarios::{Stage, config_map};
use sluice_testkit::waiting::{condition_text, kind, objects, text};

/// A stage with a ConfigMap `one` in its repository; with the artifact that holds it.
async fn fetched() -> (Stage, String, Value) {
    let stage = Stage::start().await.unwrap();
    let one = config_map("one", "1");
    let commit = stage.repository.commit("first", &[("app/one.yaml", Some(&one))]).unwrap();
    stage.add_source().await.unwrap();
    let source = stage.fetched("apps", &commit).await.unwrap();
    let artifact = source.data.pointer("/status/artifact").unwrap().clone();
    (stage, commit, artifact)
}

/// Gives a source that nobody fetches its artifact.
async fn hold(sources: &Api<DynamicObject>, name: &str, artifact: &Value) {
    let source = json!({"apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "GitRepository", "metadata": {"name": name},
        "spec": {"interval": "1h", "url": "https://git.example/apps"}});
    sources.patch(name, &PatchParams::apply("person").force(), &Patch::Apply(&source)).await.unwrap();
    let status = Patch::Merge(json!({"status": {"artifact": artifact}}));
    sources.patch_status(name, &PatchParams::default(), &status).await.unwrap();
}

/// Adds a Kustomization of that source, which only news can start again.
async fn add(stage: &Stage, name: &str, source: &str) {
    let spec = json!({"sourceRef": {"kind": "GitRepository", "name": source}, "retryInterval": "30m"});
    stage.add_kustomization(name, "./app", spec).await.unwrap();
}

async fn fails(stage: &Stage, name: &str, words: &[&str]) -> DynamicObject {
    let failed = |object: &DynamicObject| {
        let message = condition_text(object, "Ready", "message");
        condition_text(object, "Ready", "reason") == "ArtifactFailed"
            && condition_text(object, "Ready", "status") == "False"
            && words.iter().all(|word| message.contains(word))
    };
    stage.until(&stage.kustomizations(), name, failed).await.unwrap()
}

async fn nudge(stage: &Stage, token: &str) {
    let patch = json!({"metadata": {"annotations": {"reconcile.fluxcd.io/requestedAt": token}}});
    stage.kustomizations().patch("app", &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
}

#[tokio::test]
async fn a_source_of_another_namespace_may_be_used() {
    let (stage, commit, artifact) = fetched().await;
    let other = format!("{}-other", stage.namespace);
    let space = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": other}});
    stage.apply(&space).await.unwrap();
    let source = kind("source.toolkit.fluxcd.io/v1", "GitRepository", "gitrepositories");
    hold(&objects(&stage.client, &source, &other), "theirs", &artifact).await;
    let spec = json!({"sourceRef": {"kind": "GitRepository", "name": "theirs", "namespace": other}});
    stage.add_kustomization("app", "./app", spec).await.unwrap();
    stage.ready("app", &commit).await.unwrap();
    let namespaces = objects(&stage.client, &kind("v1", "Namespace", "namespaces"), "");
    namespaces.delete(&other, &DeleteParams::default()).await.unwrap();
    stage.end().await.unwrap();
}

#[tokio::test]
async fn a_source_that_comes_later_starts_its_kustomizations() {
    let stage = Stage::start().await.unwrap();
    let one = config_map("one", "1");
    let commit = stage.repository.commit("first", &[("app/one.yaml", Some(&one))]).unwrap();
    add(&stage, "app", "apps").await;
    let failed = fails(&stage, "app", &["\"apps\" not found"]).await;
    assert_eq!(
        condition_text(&failed, "Ready", "message"),
        "GitRepository.source.toolkit.fluxcd.io \"apps\" not found",
        "as a cache says it, which names the kind where the API names the resource"
    );
    stage.add_source().await.unwrap();
    stage.ready("app", &commit).await.unwrap();
    let told = stage.told("Kustomization", "app").await.unwrap();
    assert!(told.iter().all(|event| !event.contains("ArtifactFailed")), "{told:?}");
    stage.end().await.unwrap();
}

#[tokio::test]
async fn what_a_failing_source_still_holds_is_applied() {
    let (stage, commit, _) = fetched().await;
    stage.add_repository("apps", json!({"ref": {"branch": "gone"}})).await.unwrap();
    stage
        .until(&stage.repositories(), "apps", |object| condition_text(object, "Ready", "status") == "False")
        .await
        .unwrap();
    add(&stage, "app", "apps").await;
    stage.ready("app", &commit).await.unwrap();
    stage.end().await.unwrap();
}

#[tokio::test]
async fn bytes_that_are_not_what_the_digest_says_are_not_applied() {
    let (stage, _, artifact) = fetched().await;
    let mut wrong = artifact;
    wrong["digest"] = json!(format!("sha256:{}", "0".repeat(64)));
    wrong["metadata"] = Value::Null;
    hold(&stage.repositories(), "wrong", &wrong).await;
    add(&stage, "app", "wrong").await;
    fails(&stage, "app", &["digest"]).await;
    assert!(stage.config_maps().get_opt("one").await.unwrap().is_none());
    stage.end().await.unwrap();
}

#[tokio::test]
async fn an_artifact_that_is_not_there_yet_is_applied_when_it_is() {
    let (stage, commit, artifact) = fetched().await;
    let path = text_of(&artifact, "path");
    let (folder, name) = path.rsplit_once('/').unwrap();
    let late = format!("{folder}/{}.tar.gz", "a".repeat(40));
    let mut awaited = artifact.clone();
    awaited["url"] = json!(text_of(&artifact, "url").replace(name, late.rsplit_once('/').unwrap().1));
    awaited["metadata"] = Value::Null;
    hold(&stage.repositories(), "late", &awaited).await;
    add(&stage, "app", "late").await;
    // That there is no such source may be said first: the watches of two kinds tell in any order.
    let failed = fails(&stage, "app", &["artifact not found"]).await;
    assert_eq!(
        condition_text(&failed, "Ready", "message"),
        "Source is not ready, artifact not found, retrying in 30s"
    );
    assert_eq!(condition_text(&failed, "Reconciling", "reason"), "ProgressingWithRetry");
    std::fs::copy(stage.artifacts().join(&path), stage.artifacts().join(&late)).unwrap();
    nudge(&stage, "now").await;
    stage.ready("app", &commit).await.unwrap();
    stage.end().await.unwrap();
}

fn text_of(artifact: &Value, field: &str) -> String {
    artifact[field].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn the_origin_of_an_artifact_is_told_and_forgotten_with_it() {
    let (stage, commit, mut artifact) = fetched().await;
    artifact["metadata"]["org.opencontainers.image.revision"] = json!("main@sha1:0rigin");
    hold(&stage.repositories(), "made", &artifact).await;
    add(&stage, "app", "made").await;
    let ready = stage.ready("app", &commit).await.unwrap();
    assert_eq!(text(&ready, "/status/lastAppliedOriginRevision"), "main@sha1:0rigin");
    assert_eq!(text(&ready, "/status/history/0/metadata/originRevision"), "main@sha1:0rigin");
    let event = stage
        .event("Kustomization", "app", "ReconciliationSucceeded", &["Reconciliation finished in"])
        .await
        .unwrap();
    let annotations = event.metadata.annotations.unwrap_or_default();
    assert_eq!(
        annotations.get("kustomize.toolkit.fluxcd.io/originRevision").map(String::as_str),
        Some("main@sha1:0rigin")
    );
    artifact["metadata"]["org.opencontainers.image.revision"] = Value::Null;
    artifact["revision"] = json!("main@sha1:next");
    hold(&stage.repositories(), "made", &artifact).await;
    let ready = stage.ready("app", "main@sha1:next").await.unwrap();
    assert!(ready.data.pointer("/status/lastAppliedOriginRevision").is_none(), "{ready:?}");
    assert!(ready.data.pointer("/status/history/0/metadata/originRevision").is_none(), "{ready:?}");
    // The same content once more: counted, not listed again.
    let history = ready.data.pointer("/status/history").and_then(Value::as_array).unwrap();
    assert_eq!(history.len(), 1, "{history:?}");
    assert_eq!(history[0]["totalReconciliations"], 2);
    stage.end().await.unwrap();
}

#[tokio::test]
async fn going_back_to_the_applied_revision_ends_a_hopeless_wait_for_another() {
    let (stage, first, artifact) = fetched().await;
    hold(&stage.repositories(), "held", &artifact).await;
    let spec = json!({"sourceRef": {"kind": "GitRepository", "name": "held"}, "wait": true, "timeout": "20m",
        "retryInterval": "30m"});
    stage.add_kustomization("app", "./app", spec).await.unwrap();
    stage.ready("app", &first).await.unwrap();
    let claim = "apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: never}\nspec: {accessModes: \
                 [ReadWriteOnce], storageClassName: none-such, resources: {requests: {storage: 1Gi}}}\n";
    let second = stage.push(&[("app/claim.yaml", Some(claim))]).await.unwrap();
    let source = stage.fetched("apps", &second).await.unwrap();
    hold(&stage.repositories(), "held", source.data.pointer("/status/artifact").unwrap()).await;
    let waits = |object: &DynamicObject| condition_text(object, "Healthy", "status") == "Unknown";
    stage.until(&stage.kustomizations(), "app", waits).await.unwrap();
    hold(&stage.repositories(), "held", &artifact).await;
    let claims = stage.api("v1", "PersistentVolumeClaim", "persistentvolumeclaims");
    stage.until_gone(&claims, "never").await.unwrap();
    stage.ready("app", &first).await.unwrap();
    stage.end().await.unwrap();
}

#[tokio::test]
async fn an_external_artifact_is_applied_when_its_revision_changes() {
    let (mut stage, first, artifact) = fetched().await;
    stage.kill_kustomize().await.unwrap();
    stage.start_kustomize_with(&["--feature-gates=ExternalArtifact=true"]).await.unwrap();
    let external = stage.api("source.toolkit.fluxcd.io/v1", "ExternalArtifact", "externalartifacts");
    stage
        .apply(&json!({"apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "ExternalArtifact",
            "metadata": {"name": "made"}, "spec": {}}))
        .await
        .unwrap();
    let hold = async |artifact: &Value| {
        let status = Patch::Merge(json!({"status": {"artifact": artifact}}));
        external.patch_status("made", &PatchParams::default(), &status).await.unwrap();
    };
    hold(&artifact).await;
    let spec = json!({"sourceRef": {"kind": "ExternalArtifact", "name": "made"}, "retryInterval": "30m"});
    stage.add_kustomization("app", "./app", spec).await.unwrap();
    stage.ready("app", &first).await.unwrap();
    let two = config_map("two", "1");
    let second = stage.push(&[("app/two.yaml", Some(&two))]).await.unwrap();
    let source = stage.fetched("apps", &second).await.unwrap();
    hold(source.data.pointer("/status/artifact").unwrap()).await;
    stage.ready("app", &second).await.unwrap();
    assert!(stage.config_maps().get("two").await.is_ok());
    stage.end().await.unwrap();
}
