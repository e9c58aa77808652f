//! What a Kustomization's own fields do to what is in Git, and that it ends with them.
#![allow(clippy::unwrap_used, clippy::panic)]

use kube::api::DynamicObject;
use serde_json::{Value, json};
use sluice_scenarios::{Stage, config_map};
use sluice_testkit::waiting::text;

/// A stage with ConfigMaps of these names in `app`.
async fn fetched(names: &[&str]) -> (Stage, String) {
    let stage = Stage::start().await.unwrap();
    let files: Vec<(String, String)> =
        names.iter().map(|name| (format!("app/{name}.yaml"), config_map(name, "1"))).collect();
    let changes: Vec<(&str, Option<&str>)> =
        files.iter().map(|(path, content)| (path.as_str(), Some(content.as_str()))).collect();
    let commit = stage.repository.commit("first", &changes).unwrap();
    stage.add_source().await.unwrap();
    (stage, commit)
}

fn entries(object: &DynamicObject) -> usize {
    object.data.pointer("/status/inventory/entries").and_then(Value::as_array).map_or(0, Vec::len)
}

#[tokio::test]
async fn an_emptied_directory_is_ready_and_everything_is_pruned() {
    let (stage, first) = fetched(&["one", "two"]).await;
    stage.add_kustomization("app", "./app", json!({})).await.unwrap();
    stage.ready("app", &first).await.unwrap();
    let changes = [("app/one.yaml", None), ("app/two.yaml", None), ("app/README.md", Some("nothing\n"))];
    let second = stage.push(&changes).await.unwrap();
    let ready = stage.ready("app", &second).await.unwrap();
    stage.until_gone(&stage.config_maps(), "one").await.unwrap();
    stage.until_gone(&stage.config_maps(), "two").await.unwrap();
    assert_eq!(entries(&ready), 0, "{ready:?}");
    stage.event("Kustomization", "app", "Progressing", &["/one deleted", "/two deleted"]).await.unwrap();
    stage.end().await.unwrap();
}

#[tokio::test]
async fn metadata_that_the_spec_adds_goes_when_the_spec_drops_it() {
    let (stage, commit) = fetched(&["one"]).await;
    let spec = json!({"buildMetadata": ["originAnnotations"],
        "commonMetadata": {"labels": {"team": "a"}, "annotations": {"note": "b"}}});
    stage.add_kustomization("app", "./app", spec).await.unwrap();
    stage.ready("app", &commit).await.unwrap();
    let one = stage.config_maps().get("one").await.unwrap();
    let annotations = one.metadata.annotations.unwrap_or_default();
    assert!(annotations.contains_key("config.kubernetes.io/origin"), "{annotations:?}");
    assert_eq!(annotations.get("note").map(String::as_str), Some("b"));
    assert_eq!(one.metadata.labels.unwrap_or_default().get("team").map(String::as_str), Some("a"));
    stage.add_kustomization("app", "./app", json!({})).await.unwrap();
    stage.ready("app", &commit).await.unwrap();
    let one = stage.config_maps().get("one").await.unwrap();
    assert!(one.metadata.annotations.unwrap_or_default().is_empty());
    assert!(!one.metadata.labels.unwrap_or_default().contains_key("team"));
    stage.end().await.unwrap();
}

#[tokio::test]
async fn what_patches_delete_is_pruned() {
    let (stage, commit) = fetched(&["one", "two", "three", "four"]).await;
    stage.add_kustomization("app", "./app", json!({})).await.unwrap();
    assert_eq!(entries(&stage.ready("app", &commit).await.unwrap()), 4);
    let patch =
        |name: &str| format!("$patch: delete\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\n");
    let both = format!("{}---\n{}", patch("two"), patch("three"));
    let spec = json!({"patches": [{"patch": both}, {"patch": patch("four")}]});
    stage.add_kustomization("app", "./app", spec).await.unwrap();
    for name in ["two", "three", "four"] {
        stage.until_gone(&stage.config_maps(), name).await.unwrap();
    }
    assert_eq!(entries(&stage.ready("app", &commit).await.unwrap()), 1);
    assert!(stage.config_maps().get("one").await.is_ok());
    stage.end().await.unwrap();
}

#[tokio::test]
async fn an_optional_reference_may_come_later() {
    let stage = Stage::start().await.unwrap();
    let one = config_map("one", "${word:=none}-${own}");
    let commit = stage.repository.commit("first", &[("app/one.yaml", Some(&one))]).unwrap();
    stage.add_source().await.unwrap();
    let spec = json!({"postBuild": {"substitute": {"own": "x"},
        "substituteFrom": [{"kind": "ConfigMap", "name": "vars", "optional": true}]}});
    stage.add_kustomization("app", "./app", spec).await.unwrap();
    stage.ready("app", &commit).await.unwrap();
    assert_eq!(text(&stage.config_maps().get("one").await.unwrap(), "/data/step"), "none-x");
    let vars = json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"word": "some", "own": "loses"},
        "metadata": {"name": "vars", "labels": {"reconcile.fluxcd.io/watch": "Enabled"}}});
    stage.apply(&vars).await.unwrap();
    stage.until(&stage.config_maps(), "one", |object| text(object, "/data/step") == "some-x").await.unwrap();
    stage.end().await.unwrap();
}
