//! The ways out: deletions that are refused, that take their time, or that nobody is left to make.
#![allow(clippy::unwrap_used, clippy::panic)]

use kube::api::{DeleteParams, DynamicObject, Patch, PatchParams};
use serde_json::{Value, json};
use sluice_scenarios::{Stage, config_map};
use sluice_testkit::waiting::condition_text;
use sluice_testkit::{Fault, Rule};

async fn applied(spec: Value) -> (Stage, String) {
    let stage = Stage::start().await.unwrap();
    let (one, two) = (config_map("one", "1"), config_map("two", "1"));
    let commit = stage
        .repository
        .commit("first", &[("app/one.yaml", Some(&one)), ("app/two.yaml", Some(&two))])
        .unwrap();
    stage.add_source().await.unwrap();
    stage.add_kustomization("app", "./app", spec).await.unwrap();
    stage.ready("app", &commit).await.unwrap();
    (stage, commit)
}

fn entries(object: &DynamicObject) -> usize {
    object.data.pointer("/status/inventory/entries").and_then(Value::as_array).map_or(0, Vec::len)
}

async fn delete(stage: &Stage) {
    stage.kustomizations().delete("app", &DeleteParams::default()).await.unwrap();
    stage.until_gone(&stage.kustomizations(), "app").await.unwrap();
}

#[tokio::test]
async fn a_deletion_that_is_refused_is_told_and_tried_again() {
    let (stage, _) = applied(json!({})).await;
    let strike =
        |seen: &sluice_testkit::proxy::Seen| seen.method == "DELETE" && seen.resource == "configmaps";
    stage.proxy.set_rules(vec![Rule::first(1, Fault::Refuse(403), strike)]);
    let second = stage.push(&[("app/two.yaml", None)]).await.unwrap();
    let failed = stage
        .until(&stage.kustomizations(), "app", |object| {
            condition_text(object, "Ready", "reason") == "PruneFailed"
        })
        .await
        .unwrap();
    let message = condition_text(&failed, "Ready", "message");
    let start = format!("delete failed, errors: ConfigMap/{}/two delete failed: ", stage.namespace);
    assert!(message.starts_with(&start) && message.ends_with(';'), "{message}");
    assert_eq!(entries(&failed), 2, "what is not gone stays in the inventory");
    let ready = stage.ready("app", &second).await.unwrap();
    stage.until_gone(&stage.config_maps(), "two").await.unwrap();
    assert_eq!(entries(&ready), 1);
    stage.end().await.unwrap();
}

#[tokio::test]
async fn pruning_does_not_wait_for_finalizers() {
    let (stage, _) = applied(json!({})).await;
    let hold = Patch::Merge(json!({"metadata": {"finalizers": ["scenarios.sluice.dev/hold"]}}));
    let by = PatchParams { field_manager: Some("other-controller".into()), ..PatchParams::default() };
    stage.config_maps().patch("two", &by, &hold).await.unwrap();
    let second = stage.push(&[("app/two.yaml", None)]).await.unwrap();
    let ready = stage.ready("app", &second).await.unwrap();
    assert_eq!(entries(&ready), 1);
    let two = stage.config_maps().get("two").await.unwrap();
    assert!(two.metadata.deletion_timestamp.is_some());
    let free = Patch::Merge(json!({"metadata": {"finalizers": null}}));
    stage.config_maps().patch("two", &by, &free).await.unwrap();
    stage.until_gone(&stage.config_maps(), "two").await.unwrap();
    stage.end().await.unwrap();
}

#[tokio::test]
async fn what_is_renamed_is_made_before_the_old_one_goes() {
    let (stage, _) = applied(json!({})).await;
    let hold = Patch::Merge(json!({"metadata": {"finalizers": ["scenarios.sluice.dev/hold"]}}));
    let by = PatchParams { field_manager: Some("other-controller".into()), ..PatchParams::default() };
    stage.config_maps().patch("two", &by, &hold).await.unwrap();
    let three = config_map("three", "1");
    let second = stage.push(&[("app/two.yaml", None), ("app/three.yaml", Some(&three))]).await.unwrap();
    stage.ready("app", &second).await.unwrap();
    let version = async |name: &str| -> u64 {
        let object = stage.config_maps().get(name).await.unwrap();
        object.metadata.resource_version.unwrap().parse().unwrap()
    };
    assert!(
        version("three").await < version("two").await,
        "the old one was last written when it was deleted"
    );
    let free = Patch::Merge(json!({"metadata": {"finalizers": null}}));
    stage.config_maps().patch("two", &by, &free).await.unwrap();
    stage.until_gone(&stage.config_maps(), "two").await.unwrap();
    stage.end().await.unwrap();
}

#[tokio::test]
async fn without_its_account_objects_are_left_and_named() {
    let stage = Stage::start().await.unwrap();
    let one = config_map("one", "1");
    let commit = stage.repository.commit("first", &[("app/one.yaml", Some(&one))]).unwrap();
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "team"}});
    let role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "team"},
        "rules": [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["*"]}]});
    let binding = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": "team"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "team"},
        "subjects": [{"kind": "ServiceAccount", "name": "team", "namespace": stage.namespace}]});
    for object in [&account, &role, &binding] {
        stage.apply(object).await.unwrap();
    }
    stage.add_source().await.unwrap();
    stage.add_kustomization("app", "./app", json!({"serviceAccountName": "team"})).await.unwrap();
    stage.ready("app", &commit).await.unwrap();
    let accounts = stage.api("v1", "ServiceAccount", "serviceaccounts");
    accounts.delete("team", &DeleteParams::default()).await.unwrap();
    delete(&stage).await;
    assert!(stage.config_maps().get("one").await.is_ok());
    let words = ["unable to prune objects: ", "ConfigMap/", "/one"];
    stage.event("Kustomization", "app", "PruneFailed", &words).await.unwrap();
    stage.end().await.unwrap();
}

#[tokio::test]
async fn who_waits_for_a_dependency_can_be_deleted() {
    let (stage, _) = applied(json!({})).await;
    stage.add_kustomization("app", "./app", json!({"dependsOn": [{"name": "none"}]})).await.unwrap();
    let waiting = stage
        .until(&stage.kustomizations(), "app", |object| {
            condition_text(object, "Ready", "reason") == "DependencyNotReady"
        })
        .await
        .unwrap();
    let message = condition_text(&waiting, "Ready", "message");
    let start = format!("dependency '{}/none' not found: ", stage.namespace);
    assert!(message.starts_with(&start), "{message}");
    delete(&stage).await;
    for name in ["one", "two"] {
        stage.until_gone(&stage.config_maps(), name).await.unwrap();
    }
    stage.end().await.unwrap();
}

#[tokio::test]
async fn what_is_made_only_if_absent_is_pruned_like_the_rest() {
    let (stage, _) = applied(json!({})).await;
    let once = "apiVersion: v1
kind: ConfigMap
metadata: {name: once, annotations: {kustomize.toolkit.fluxcd.io/ssa: IfNotPresent}}
data: {step: \"1\"}
";
    let second = stage.push(&[("app/once.yaml", Some(once))]).await.unwrap();
    assert_eq!(entries(&stage.ready("app", &second).await.unwrap()), 3);
    let third = stage.push(&[("app/once.yaml", None)]).await.unwrap();
    assert_eq!(entries(&stage.ready("app", &third).await.unwrap()), 2);
    stage.until_gone(&stage.config_maps(), "once").await.unwrap();
    stage.end().await.unwrap();
}
