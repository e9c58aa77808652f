//! What is repaired, what is left to others, and how much of it.
#![allow(clippy::unwrap_used, clippy::panic)]

use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::json;
use sluice_scenarios::{Stage, config_map};
use sluice_testkit::waiting::text;

fn by(manager: &str) -> PatchParams {
    PatchParams { field_manager: Some(manager.into()), ..PatchParams::default() }
}

async fn applied(content: &str) -> Stage {
    let stage = Stage::start().await.unwrap();
    let commit = stage.repository.commit("first", &[("app/one.yaml", Some(content))]).unwrap();
    stage.add_source().await.unwrap();
    stage.add_kustomization("app", "./app", json!({})).await.unwrap();
    stage.ready("app", &commit).await.unwrap();
    stage
}

#[tokio::test]
async fn an_applied_field_is_restored_and_another_managers_field_stays() {
    let stage = applied(&config_map("one", "1")).await;
    stage.proxy.clear();
    let edit = Patch::Merge(json!({"data": {"step": "9", "extra": "theirs"}}));
    stage.config_maps().patch("one", &by("other-controller"), &edit).await.unwrap();
    let one =
        stage.until(&stage.config_maps(), "one", |object| text(object, "/data/step") == "1").await.unwrap();
    assert_eq!(text(&one, "/data/extra"), "theirs");
    stage.end().await.unwrap();
}

#[tokio::test]
async fn what_kubectl_added_is_taken_back() {
    let stage = applied(&config_map("one", "1")).await;
    let edit = Patch::Merge(json!({"data": {"step": "9", "extra": "typed by hand"}}));
    stage.config_maps().patch("one", &by("kubectl-edit"), &edit).await.unwrap();
    stage
        .until(&stage.config_maps(), "one", |object| {
            text(object, "/data/step") == "1" && text(object, "/data/extra").is_empty()
        })
        .await
        .unwrap();
    stage.end().await.unwrap();
}

#[tokio::test]
async fn a_member_that_lingers_in_deletion_is_made_anew_once_it_is_gone() {
    let stage = applied(&config_map("one", "1")).await;
    let hold = Patch::Merge(json!({"metadata": {"finalizers": ["scenarios.sluice.dev/hold"]}}));
    stage.config_maps().patch("one", &by("other-controller"), &hold).await.unwrap();
    let old = stage.config_maps().get("one").await.unwrap().metadata.uid;
    stage.config_maps().delete("one", &DeleteParams::default()).await.unwrap();
    let free = Patch::Merge(json!({"metadata": {"finalizers": null}}));
    stage.config_maps().patch("one", &by("other-controller"), &free).await.unwrap();
    stage.until(&stage.config_maps(), "one", |object| object.metadata.uid != old).await.unwrap();
    stage.end().await.unwrap();
}

#[tokio::test]
async fn an_object_to_be_made_only_if_absent_is_left_alone_afterwards() {
    let once = "apiVersion: v1
kind: ConfigMap
metadata: {name: one, annotations: {kustomize.toolkit.fluxcd.io/ssa: IfNotPresent}}
data: {step: \"1\"}
";
    let stage = applied(once).await;
    let edit = Patch::Merge(json!({"data": {"step": "theirs"}}));
    stage.config_maps().patch("one", &by("other-controller"), &edit).await.unwrap();
    let two = config_map("two", "1");
    let second = stage.push(&[("app/two.yaml", Some(&two))]).await.unwrap();
    stage.ready("app", &second).await.unwrap();
    assert_eq!(text(&stage.config_maps().get("one").await.unwrap(), "/data/step"), "theirs");
    stage.end().await.unwrap();
}

#[tokio::test]
async fn an_annotation_takes_an_object_out_of_the_controllers_hands() {
    let stage = applied(&config_map("one", "1")).await;
    let edit = Patch::Merge(json!({"data": {"step": "theirs"},
        "metadata": {"annotations": {"kustomize.toolkit.fluxcd.io/reconcile": "disabled"}}}));
    stage.config_maps().patch("one", &by("other-controller"), &edit).await.unwrap();
    // From the moment that it is written: whether a watch has told of it already does not matter.
    let changed = config_map("one", "2");
    let second = stage.push(&[("app/one.yaml", Some(&changed))]).await.unwrap();
    stage.ready("app", &second).await.unwrap();
    assert_eq!(text(&stage.config_maps().get("one").await.unwrap(), "/data/step"), "theirs");
    stage.end().await.unwrap();
}

#[tokio::test]
async fn a_merged_object_keeps_what_others_added() {
    let merged = "apiVersion: v1
kind: ConfigMap
metadata: {name: one, annotations: {kustomize.toolkit.fluxcd.io/ssa: Merge}}
data: {step: \"1\"}
";
    let stage = applied(merged).await;
    let edit = Patch::Merge(json!({"data": {"step": "9", "extra": "typed by hand"}}));
    stage.config_maps().patch("one", &by("kubectl-edit"), &edit).await.unwrap();
    let one =
        stage.until(&stage.config_maps(), "one", |object| text(object, "/data/step") == "1").await.unwrap();
    assert_eq!(text(&one, "/data/extra"), "typed by hand");
    stage.end().await.unwrap();
}

#[tokio::test]
async fn replicas_that_are_ignored_belong_to_the_autoscaler_that_applies_them() {
    let deployment = |image: &str| {
        format!(
            "apiVersion: apps/v1
kind: Deployment
metadata: {{name: web}}
spec:
  replicas: 1
  selector: {{matchLabels: {{app: web}}}}
  template:
    metadata: {{labels: {{app: web}}}}
    spec: {{containers: [{{name: web, image: \"{image}\"}}]}}
"
        )
    };
    let stage = Stage::start().await.unwrap();
    let first = stage.repository.commit("first", &[("app/web.yaml", Some(&deployment("web:1")))]).unwrap();
    stage.add_source().await.unwrap();
    let ignore = json!({"ignore": [{"paths": ["/spec/replicas"], "target": {"kind": "Deployment"}}]});
    stage.add_kustomization("app", "./app", ignore).await.unwrap();
    stage.ready("app", &first).await.unwrap();
    let deployments = stage.api("apps/v1", "Deployment", "deployments");
    let scaled = Patch::Apply(json!({"apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "web"}, "spec": {"replicas": 3}}));
    deployments.patch("web", &PatchParams::apply("autoscaler").force(), &scaled).await.unwrap();
    let second = stage.push(&[("app/web.yaml", Some(&deployment("web:2")))]).await.unwrap();
    stage.ready("app", &second).await.unwrap();
    let web = deployments.get("web").await.unwrap();
    assert_eq!(text(&web, "/spec/template/spec/containers/0/image"), "web:2");
    assert_eq!(web.data.pointer("/spec/replicas"), Some(&json!(3)));
    let owners: Vec<_> = web
        .metadata
        .managed_fields
        .unwrap()
        .into_iter()
        .filter(|entry| {
            let fields = entry.fields_v1.as_ref().unwrap();
            fields.0.pointer("/f:spec/f:replicas").is_some()
        })
        .map(|entry| entry.manager.unwrap())
        .collect();
    assert_eq!(owners, ["autoscaler"]);
    stage.end().await.unwrap();
}
