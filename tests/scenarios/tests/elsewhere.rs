//! Clusters other than the one that the controllers run in.
#![allow(clippy::unwrap_used, clippy::panic)]

use serde_json::{Value, json};
use sluice_scenarios::{Stage, config_map};
use sluice_testkit::waiting::condition_text;

async fn fetched() -> (Stage, String) {
    let stage = Stage::start().await.unwrap();
    let one = config_map("one", "1");
    let commit = stage.repository.commit("first", &[("app/one.yaml", Some(&one))]).unwrap();
    stage.add_source().await.unwrap();
    (stage, commit)
}

/// A ConfigMap that wakes those who refer to it.
async fn describe(stage: &Stage, data: Value) {
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "data": data,
        "metadata": {"name": "remote", "labels": {"reconcile.fluxcd.io/watch": "Enabled"}}});
    stage.apply(&map).await.unwrap();
}

async fn fails(stage: &Stage, reason: &str, message: &str) -> kube::api::DynamicObject {
    stage
        .until(&stage.kustomizations(), "app", |object| {
            condition_text(object, "Ready", "reason") == reason
                && condition_text(object, "Ready", "message") == message
        })
        .await
        .unwrap()
}

#[tokio::test]
async fn a_cluster_whose_kubeconfig_comes_later_is_reached_then() {
    let (stage, commit) = fetched().await;
    let spec = json!({"kubeConfig": {"secretRef": {"name": "remote"}}, "retryInterval": "30m"});
    stage.add_kustomization("app", "./app", spec).await.unwrap();
    let missing = format!(
        "unable to read KubeConfig secret '{}/remote' error: secrets \"remote\" not found",
        stage.namespace
    );
    fails(&stage, "ReconciliationFailed", &missing).await;
    let words = ["failed to build kube client: unable to read KubeConfig secret"];
    stage.event("Kustomization", "app", "ReconciliationFailed", &words).await.unwrap();
    let labels = json!({"reconcile.fluxcd.io/watch": "Enabled"});
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "remote", "labels": labels},
        "stringData": {"value.yaml": stage.proxy.kubeconfig()}});
    stage.apply(&secret).await.unwrap();
    stage.ready("app", &commit).await.unwrap();
    assert!(stage.config_maps().get("one").await.is_ok());
    stage.end().await.unwrap();
}

#[tokio::test]
async fn a_config_map_that_leads_nowhere_is_told_by_its_key() {
    let (stage, _) = fetched().await;
    let spec = json!({"kubeConfig": {"configMapRef": {"name": "remote"}}, "retryInterval": "30m"});
    stage.add_kustomization("app", "./app", spec).await.unwrap();
    let map = format!("{}/remote", stage.namespace);
    fails(
        &stage,
        "ReconciliationFailed",
        &format!("failed to get configmap {map}: configmaps \"remote\" not found"),
    )
    .await;
    describe(&stage, json!({"provider": "nobody"})).await;
    fails(
        &stage,
        "ReconciliationFailed",
        &format!(
            "KubeConfig configmap '{map}' cannot be used: key 'provider' must be one of 'aws', 'azure', 'gcp' and \
             'generic', not 'nobody'"
        ),
    )
    .await;
    describe(
        &stage,
        json!({"provider": "generic", "address": "remote.example", "serviceAccountName": "team"}),
    )
    .await;
    let stalled = stage
        .until(&stage.kustomizations(), "app", |object| {
            condition_text(object, "Ready", "reason") == "FeatureGateDisabled"
        })
        .await
        .unwrap();
    assert_eq!(condition_text(&stalled, "Stalled", "status"), "True");
    assert!(condition_text(&stalled, "Ready", "message").contains("ObjectLevelWorkloadIdentity"));
    stage.add_kustomization("app", "./app", json!({"prune": false})).await.unwrap();
    stage.end().await.unwrap();
}
