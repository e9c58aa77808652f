//! A commit reaches the API through two separate processes, and everything that follows from it.
#![allow(clippy::unwrap_used, clippy::panic)]

use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::json;
use sluice_scenarios::Stage;
use sluice_testkit::waiting::{condition_text, objects, text};

const ONE: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: one}\ndata: {step: \"1\"}\n";
const ONE_CHANGED: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: one}\ndata: {step: \"2\"}\n";
const TWO: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: two}\ndata: {step: \"1\"}\n";
const APP: &str = "apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {testkit.sluice.dev/never-ready: HELD}}
spec:
  progressDeadlineSeconds: 600
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: 'registry.example/web:1'}]}
";

#[tokio::test]
async fn a_commit_is_applied_updated_and_pruned() {
    let stage = Stage::start().await.unwrap();
    let first = stage
        .repository
        .commit("first", &[("app/one.yaml", Some(ONE)), ("app/two.yaml", Some(TWO))])
        .unwrap();
    stage.add_source().await.unwrap();
    stage.add_kustomization("app", "./app", json!({})).await.unwrap();
    let ready = stage.ready("app", &first).await.unwrap();
    assert_eq!(condition_text(&ready, "Ready", "reason"), "ReconciliationSucceeded");
    let one = stage.config_maps().get("one").await.unwrap();
    assert_eq!(text(&one, "/data/step"), "1");
    let labels = one.metadata.labels.unwrap();
    assert_eq!(labels.get("kustomize.toolkit.fluxcd.io/name").map(String::as_str), Some("app"));

    let second = stage.push(&[("app/one.yaml", Some(ONE_CHANGED)), ("app/two.yaml", None)]).await.unwrap();
    let ready = stage.ready("app", &second).await.unwrap();
    assert_eq!(text(&stage.config_maps().get("one").await.unwrap(), "/data/step"), "2");
    stage.until_gone(&stage.config_maps(), "two").await.unwrap();
    let entries = ready.data.pointer("/status/inventory/entries").unwrap().as_array().unwrap();
    assert_eq!(entries.len(), 1, "{entries:?}");
    stage.end().await.unwrap();
}

#[tokio::test]
async fn drift_is_repaired_by_the_watch() {
    let stage = Stage::start().await.unwrap();
    let commit = stage.repository.commit("first", &[("app/one.yaml", Some(ONE))]).unwrap();
    stage.add_source().await.unwrap();
    stage.add_kustomization("app", "./app", json!({})).await.unwrap();
    stage.ready("app", &commit).await.unwrap();
    let edit = json!({"data": {"step": "9"}, "metadata": {"labels": {"drifted": "yes"}}});
    let by_hand = PatchParams { field_manager: Some("kubectl-edit".into()), ..Default::default() };
    stage.config_maps().patch("one", &by_hand, &Patch::Merge(edit)).await.unwrap();
    stage.until(&stage.config_maps(), "one", |object| text(object, "/data/step") == "1").await.unwrap();
    stage.config_maps().delete("one", &DeleteParams::default()).await.unwrap();
    stage.until(&stage.config_maps(), "one", |object| text(object, "/data/step") == "1").await.unwrap();
    stage.end().await.unwrap();
}

#[tokio::test]
async fn a_dependent_starts_when_its_dependency_is_ready() {
    let stage = Stage::start().await.unwrap();
    let files = [("a/one.yaml", Some(ONE)), ("b/two.yaml", Some(TWO))];
    let commit = stage.repository.commit("first", &files).unwrap();
    stage.add_source().await.unwrap();
    stage.add_kustomization("second", "./b", json!({"dependsOn": [{"name": "first"}]})).await.unwrap();
    stage
        .until(&stage.kustomizations(), "second", |object| {
            condition_text(object, "Ready", "reason") == "DependencyNotReady"
        })
        .await
        .unwrap();
    stage.add_kustomization("first", "./a", json!({})).await.unwrap();
    stage.ready("first", &commit).await.unwrap();
    stage.ready("second", &commit).await.unwrap();
    stage.end().await.unwrap();
}

#[tokio::test]
async fn ready_waits_for_the_health_of_what_was_applied() {
    if std::env::var_os("SLUICE_KUBECONFIG").is_some() {
        // The label that holds the rollout back is a matter of the development API's own stub.
        return;
    }
    let stage = Stage::start().await.unwrap();
    let held = APP.replace("HELD", "\"yes\"");
    stage.repository.commit("first", &[("app/web.yaml", Some(&held))]).unwrap();
    stage.add_source().await.unwrap();
    stage.add_kustomization("app", "./app", json!({"wait": true, "timeout": "50s"})).await.unwrap();
    stage.until(&stage.api("apps/v1", "Deployment", "deployments"), "web", |_| true).await.unwrap();
    stage
        .until(&stage.kustomizations(), "app", |object| {
            condition_text(object, "Ready", "status") == "Unknown"
        })
        .await
        .unwrap();
    let free = APP.replace(", labels: {testkit.sluice.dev/never-ready: HELD}", "");
    let second = stage.push(&[("app/web.yaml", Some(&free))]).await.unwrap();
    let ready = stage.ready("app", &second).await.unwrap();
    assert_eq!(condition_text(&ready, "Healthy", "status"), "True");
    stage.end().await.unwrap();
}

#[tokio::test]
async fn an_object_of_a_missing_kind_is_applied_once_its_definition_appears() {
    let stage = Stage::start().await.unwrap();
    let word = format!("late{}", std::process::id());
    let kind = format!("Late{}", std::process::id());
    let object =
        format!("apiVersion: late.example.com/v1\nkind: {kind}\nmetadata: {{name: thing}}\nspec: {{x: 1}}\n");
    let files = [("app/one.yaml", Some(ONE)), ("app/thing.yaml", Some(object.as_str()))];
    let commit = stage.repository.commit("first", &files).unwrap();
    stage.add_source().await.unwrap();
    stage.add_kustomization("app", "./app", json!({"retryInterval": "30m"})).await.unwrap();
    // What can be applied is applied.
    stage.until(&stage.config_maps(), "one", |_| true).await.unwrap();
    stage
        .until(&stage.kustomizations(), "app", |object| condition_text(object, "Ready", "status") == "False")
        .await
        .unwrap();
    let schema = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    let definition = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("{word}s.late.example.com")},
        "spec": {"group": "late.example.com", "scope": "Namespaced", "names": {"plural": format!("{word}s"), "kind": kind},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema}}]}});
    stage.apply(&definition).await.unwrap();
    stage.ready("app", &commit).await.unwrap();
    let things = stage.api("late.example.com/v1", &kind, &format!("{word}s"));
    assert!(things.get("thing").await.is_ok());
    let resource = sluice_testkit::waiting::kind(
        "apiextensions.k8s.io/v1",
        "CustomResourceDefinition",
        "customresourcedefinitions",
    );
    let definitions = objects(&stage.client, &resource, "");
    stage.kustomizations().delete("app", &DeleteParams::default()).await.unwrap();
    stage.until_gone(&stage.kustomizations(), "app").await.unwrap();
    definitions.delete(&format!("{word}s.late.example.com"), &DeleteParams::default()).await.unwrap();
    stage.end().await.unwrap();
}

#[tokio::test]
async fn deleting_a_kustomization_follows_its_deletion_policy() {
    let stage = Stage::start().await.unwrap();
    let files = [("a/one.yaml", Some(ONE)), ("b/two.yaml", Some(TWO))];
    let commit = stage.repository.commit("first", &files).unwrap();
    stage.add_source().await.unwrap();
    stage.add_kustomization("gone", "./a", json!({})).await.unwrap();
    stage.add_kustomization("kept", "./b", json!({"deletionPolicy": "Orphan"})).await.unwrap();
    for name in ["gone", "kept"] {
        stage.ready(name, &commit).await.unwrap();
        stage.kustomizations().delete(name, &DeleteParams::default()).await.unwrap();
        stage.until_gone(&stage.kustomizations(), name).await.unwrap();
    }
    stage.until_gone(&stage.config_maps(), "one").await.unwrap();
    assert!(stage.config_maps().get("two").await.is_ok());
    stage.end().await.unwrap();
}

#[tokio::test]
async fn a_suspended_kustomization_rests_until_it_is_resumed() {
    let stage = Stage::start().await.unwrap();
    let first = stage.repository.commit("first", &[("app/one.yaml", Some(ONE))]).unwrap();
    stage.add_source().await.unwrap();
    stage.add_kustomization("app", "./app", json!({})).await.unwrap();
    stage.add_kustomization("other", "./app", json!({"prune": false, "namePrefix": "other-"})).await.unwrap();
    stage.ready("app", &first).await.unwrap();
    stage.add_kustomization("app", "./app", json!({"suspend": true})).await.unwrap();
    let second = stage.push(&[("app/one.yaml", Some(ONE_CHANGED))]).await.unwrap();
    // The other one shows that the news has arrived.
    stage.ready("other", &second).await.unwrap();
    assert_eq!(text(&stage.config_maps().get("one").await.unwrap(), "/data/step"), "1");
    stage.add_kustomization("app", "./app", json!({"suspend": false})).await.unwrap();
    stage.ready("app", &second).await.unwrap();
    assert_eq!(text(&stage.config_maps().get("one").await.unwrap(), "/data/step"), "2");
    stage.end().await.unwrap();
}

#[tokio::test]
async fn nothing_changed_means_nothing_is_written() {
    let stage = Stage::start().await.unwrap();
    let first = stage.repository.commit("first", &[("app/one.yaml", Some(ONE))]).unwrap();
    stage.add_source().await.unwrap();
    stage.add_kustomization("app", "./app", json!({})).await.unwrap();
    stage.ready("app", &first).await.unwrap();
    stage.proxy.clear();
    let patch = json!({"metadata": {"annotations": {"reconcile.fluxcd.io/requestedAt": "now"}}});
    stage.kustomizations().patch("app", &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
    stage
        .until(&stage.kustomizations(), "app", |object| {
            text(object, "/status/lastHandledReconcileAt") == "now"
        })
        .await
        .unwrap();
    let writes = stage.proxy.writes();
    assert_eq!(writes.len(), 1, "a nudge is answered by one status write: {writes:?}");
    stage.end().await.unwrap();
}
