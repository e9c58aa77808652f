//! Flux's ways, where they are asked for by flag.
#![allow(clippy::unwrap_used, clippy::panic)]

use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use sluice_scenarios::{Stage, config_map};
use sluice_testkit::waiting::{condition_text, text};

const WAYS: [&str; 4] =
    ["--partial-apply=false", "--claim-first=false", "--drift-repair=false", "--quiet=false"];
const REFUSED: &str =
    "apiVersion: v1\nkind: Service\nmetadata: {name: refused}\nspec: {ports: [{port: 0}]}\n";

#[tokio::test]
async fn with_its_flags_a_stage_is_applied_whole_recorded_afterwards_and_repaired_once_per_interval() {
    let mut stage = Stage::start().await.unwrap();
    stage.kill_kustomize().await.unwrap();
    stage.start_kustomize_with(&WAYS).await.unwrap();
    let role = format!(
        "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {{name: {}}}\nrules: []\n",
        stage.namespace
    );
    let (one, two) = (config_map("one", "1"), config_map("two", "1"));
    let files = [
        ("app/role.yaml", Some(role.as_str())),
        ("app/one.yaml", Some(one.as_str())),
        ("app/refused.yaml", Some(REFUSED)),
        ("other/two.yaml", Some(two.as_str())),
    ];
    stage.repository.commit("first", &files).unwrap();
    stage.add_source().await.unwrap();
    stage.add_kustomization("app", "./app", json!({"retryInterval": "30m"})).await.unwrap();

    // One that is refused keeps its whole stage from being applied, and nothing is recorded before all are.
    let failed = stage
        .until(&stage.kustomizations(), "app", |object| {
            condition_text(object, "Ready", "reason") == "ReconciliationFailed"
        })
        .await
        .unwrap();
    let message = condition_text(&failed, "Ready", "message");
    let beginning = format!("Service/{}/refused dry-run failed (Invalid): ", stage.namespace);
    assert!(message.starts_with(&beginning), "{message}");
    let changes = message.lines().skip(1).last().unwrap_or_default();
    assert_eq!(changes, format!("ClusterRole/{} created", stage.namespace), "what the stage before changed");
    assert!(stage.config_maps().get_opt("one").await.unwrap().is_none());
    assert_eq!(failed.data.pointer("/status/inventory"), None);

    let second = stage.push(&[("app/refused.yaml", None)]).await.unwrap();
    let ready = stage.ready("app", &second).await.unwrap();
    let entries = ready.data.pointer("/status/inventory/entries").and_then(Value::as_array).unwrap();
    assert_eq!(entries.len(), 2);

    // Drift waits for its turn; the other one shows that time went by.
    let edit = Patch::Merge(json!({"data": {"step": "9"}}));
    stage.config_maps().patch("one", &PatchParams::default(), &edit).await.unwrap();
    stage.add_kustomization("other", "./other", json!({})).await.unwrap();
    stage.ready("other", &second).await.unwrap();
    assert_eq!(text(&stage.config_maps().get("one").await.unwrap(), "/data/step"), "9");

    // Every interval repairs, and is told though it changed nothing.
    stage.add_kustomization("app", "./app", json!({"interval": "1s"})).await.unwrap();
    stage.until(&stage.config_maps(), "one", |object| text(object, "/data/step") == "1").await.unwrap();
    let visited = |object: &kube::api::DynamicObject| {
        let count = object.data.pointer("/status/history/0/totalReconciliations").and_then(Value::as_i64);
        count.is_some_and(|count| count >= 5)
    };
    stage.until(&stage.kustomizations(), "app", visited).await.unwrap();
    stage.end().await.unwrap();
}
