//! In which version of a kind fields were written, and what becomes of that.
#![allow(clippy::unwrap_used, clippy::panic)]

use kube::api::{DeleteParams, DynamicObject, Patch, PatchParams};
use serde_json::{Value, json};
use sluice_scenarios::Stage;
use sluice_testkit::waiting::{kind, objects, text};

/// Who applied what, in which version: `manager version`.
fn appliers(object: &DynamicObject) -> Vec<String> {
    let entries = object.metadata.managed_fields.iter().flatten();
    let applied = entries.filter(|entry| entry.operation.as_deref() == Some("Apply"));
    let text = |word: &Option<String>| word.clone().unwrap_or_default();
    let mut all: Vec<_> =
        applied.map(|entry| format!("{} {}", text(&entry.manager), text(&entry.api_version))).collect();
    all.sort();
    all
}

fn definition(word: &str, versions: &[(&str, &[&str])]) -> Value {
    let last = versions.len() - 1;
    let version = |(at, (name, fields)): (usize, &(&str, &[&str]))| {
        let fields: serde_json::Map<String, Value> =
            fields.iter().map(|field| ((*field).to_owned(), json!({"type": "string"}))).collect();
        let schema =
            json!({"type": "object", "properties": {"spec": {"type": "object", "properties": fields}}});
        json!({"name": name, "served": true, "storage": at == last, "schema": {"openAPIV3Schema": schema}})
    };
    let versions: Vec<_> = versions.iter().enumerate().map(version).collect();
    json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("{word}s.moving.example.com")},
        "spec": {"group": "moving.example.com", "scope": "Namespaced", "versions": versions,
            "names": {"plural": format!("{word}s"), "kind": format!("M{word}")}}})
}

#[tokio::test]
async fn a_version_whose_schema_lacks_a_new_field_is_left_behind_with_the_gate() {
    let mut stage = Stage::start().await.unwrap();
    stage.kill_kustomize().await.unwrap();
    stage.start_kustomize_with(&["--feature-gates=MigrateAPIVersion=true"]).await.unwrap();
    let word = format!("moving{}", std::process::id());
    let thing = |version: &str, field: &str| {
        format!(
            "apiVersion: moving.example.com/{version}\nkind: M{word}\nmetadata: {{name: thing}}\nspec: {{{field}: x}}\n"
        )
    };
    stage.apply(&definition(&word, &[("v1beta1", &["old"])])).await.unwrap();
    let old = thing("v1beta1", "old");
    let first = stage.repository.commit("first", &[("app/thing.yaml", Some(&old))]).unwrap();
    stage.add_source().await.unwrap();
    stage.add_kustomization("app", "./app", json!({})).await.unwrap();
    stage.ready("app", &first).await.unwrap();
    let things = |version: &str| {
        stage.api(&format!("moving.example.com/{version}"), &format!("M{word}"), &format!("{word}s"))
    };
    let label = json!({"apiVersion": "moving.example.com/v1beta1", "kind": format!("M{word}"),
        "metadata": {"name": "thing", "labels": {"seen": "yes"}}});
    things("v1beta1").patch("thing", &PatchParams::apply("other"), &Patch::Apply(&label)).await.unwrap();
    stage.apply(&definition(&word, &[("v1beta1", &["old"]), ("v1", &["old", "new"])])).await.unwrap();
    let second = stage.push(&[("app/thing.yaml", Some(&thing("v1", "new")))]).await.unwrap();
    stage.ready("app", &second).await.unwrap();
    let moved = things("v1").get("thing").await.unwrap();
    assert_eq!(text(&moved, "/spec/new"), "x");
    assert_eq!(moved.data.pointer("/spec/old"), None);
    let version = "moving.example.com/v1";
    assert_eq!(appliers(&moved), [format!("kustomize-controller {version}"), format!("other {version}")]);
    stage.kustomizations().delete("app", &DeleteParams::default()).await.unwrap();
    stage.until_gone(&stage.kustomizations(), "app").await.unwrap();
    let resource = kind("apiextensions.k8s.io/v1", "CustomResourceDefinition", "customresourcedefinitions");
    let name = format!("{word}s.moving.example.com");
    objects(&stage.client, &resource, "").delete(&name, &DeleteParams::default()).await.unwrap();
    stage.end().await.unwrap();
}
