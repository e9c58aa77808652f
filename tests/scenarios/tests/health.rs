//! Health that fails, is told once, and comes back.
#![allow(clippy::unwrap_used, clippy::panic)]

use kube::api::{Patch, PatchParams};
use serde_json::json;
use sluice_scenarios::{Stage, config_map};
use sluice_testkit::waiting::condition_text;

fn phase(word: &str) -> String {
    format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: one}}\ndata: {{phase: {word}}}\n")
}

/// Never applied, so it could never be healthy.
const SKIPPED: &str = "apiVersion: v1
kind: ConfigMap
metadata: {name: skipped, annotations: {kustomize.toolkit.fluxcd.io/reconcile: disabled}}
data: {phase: broken}
";

#[tokio::test]
async fn health_that_fails_and_returns_is_told_and_skipped_objects_are_not_asked() {
    let stage = Stage::start().await.unwrap();
    let broken = phase("broken");
    stage
        .repository
        .commit("first", &[("app/one.yaml", Some(&broken)), ("app/skipped.yaml", Some(SKIPPED))])
        .unwrap();
    stage.add_source().await.unwrap();
    let rule = json!({"apiVersion": "v1", "kind": "ConfigMap",
        "current": "data.phase == 'fine'", "failed": "data.phase == 'broken'"});
    stage.add_kustomization("app", "./app", json!({"wait": true, "healthCheckExprs": [rule]})).await.unwrap();
    let failed = stage
        .until(&stage.kustomizations(), "app", |object| {
            condition_text(object, "Ready", "reason") == "HealthCheckFailed"
        })
        .await
        .unwrap();
    let plain = format!(
        "failed early due to stalled resources: [ConfigMap/{}/one status: 'Failed']",
        stage.namespace
    );
    let message = condition_text(&failed, "Ready", "message");
    assert!(message.starts_with("health check failed after ") && message.ends_with(&plain), "{message}");
    assert_eq!(condition_text(&failed, "Healthy", "status"), "False");
    assert_eq!(condition_text(&failed, "Healthy", "reason"), "HealthCheckFailed");
    assert_eq!(condition_text(&failed, "Healthy", "message"), plain);
    stage.event("Kustomization", "app", "HealthCheckFailed", &["health check failed after"]).await.unwrap();

    let second = stage.push(&[("app/one.yaml", Some(&phase("fine")))]).await.unwrap();
    let ready = stage.ready("app", &second).await.unwrap();
    assert_eq!(condition_text(&ready, "Healthy", "status"), "True");
    assert_eq!(condition_text(&ready, "Healthy", "reason"), "Succeeded");
    assert!(condition_text(&ready, "Healthy", "message").starts_with("Health check passed in "));
    stage.event("Kustomization", "app", "Progressing", &["Health check passed in "]).await.unwrap();

    let third = stage.push(&[("elsewhere/readme.md", Some("words\n"))]).await.unwrap();
    stage.ready("app", &third).await.unwrap();
    let told = stage.told("Kustomization", "app").await.unwrap();
    let passed = told.iter().filter(|event| event.contains("Health check passed in ")).count();
    assert_eq!(passed, 1, "{told:?}");
    stage.end().await.unwrap();
}

#[tokio::test]
async fn health_that_is_lost_after_ready_is_told_after_the_timeout_and_ends_when_it_returns() {
    let stage = Stage::start().await.unwrap();
    let one = config_map("one", "1");
    let commit = stage.repository.commit("first", &[("app/one.yaml", Some(&one))]).unwrap();
    stage.add_source().await.unwrap();
    let rule = json!({"apiVersion": "v1", "kind": "ConfigMap", "current": "!has(data.phase) || data.phase == 'fine'"});
    let spec = json!({"wait": true, "timeout": "30s", "healthCheckExprs": [rule]});
    stage.add_kustomization("app", "./app", spec).await.unwrap();
    stage.ready("app", &commit).await.unwrap();
    let becomes = async |phase: &str| {
        // Nobody's field but that of its own controller: no drift.
        let patch = Patch::Merge(json!({"data": {"phase": phase}}));
        stage.config_maps().patch("one", &PatchParams::default(), &patch).await.unwrap();
    };
    becomes("starting").await;
    let lost = stage
        .until(&stage.kustomizations(), "app", |object| condition_text(object, "Ready", "status") == "False")
        .await
        .unwrap();
    assert_eq!(condition_text(&lost, "Ready", "reason"), "HealthCheckFailed");
    let names = format!("[ConfigMap/{}/one status: 'InProgress']", stage.namespace);
    assert!(condition_text(&lost, "Ready", "message").ends_with(&names), "{lost:?}");
    becomes("fine").await;
    stage.ready("app", &commit).await.unwrap();
    stage.end().await.unwrap();
}
