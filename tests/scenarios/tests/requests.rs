//! What the controller asks of the server, counted at the proxy: nothing changed is nothing written.
#![allow(clippy::unwrap_used, clippy::panic)]

use serde_json::json;
use sluice_scenarios::{Stage, config_map};
use sluice_testkit::waiting::text;

fn count(stage: &Stage, resource: &str) -> usize {
    stage.proxy.writes().iter().filter(|seen| seen.resource == resource).count()
}

#[tokio::test]
async fn a_first_sync_writes_a_finalizer_a_claim_each_object_and_one_status() {
    let stage = Stage::start().await.unwrap();
    let files: Vec<String> = ["one", "two", "three"].iter().map(|name| config_map(name, "1")).collect();
    let commit = stage
        .repository
        .commit(
            "first",
            &[
                ("app/1.yaml", Some(&files[0])),
                ("app/2.yaml", Some(&files[1])),
                ("app/3.yaml", Some(&files[2])),
            ],
        )
        .unwrap();
    stage.add_source().await.unwrap();
    let arrived =
        |object: &kube::api::DynamicObject| text(object, "/status/artifact/revision").ends_with(&commit);
    stage.until(&stage.repositories(), "apps", arrived).await.unwrap();
    stage.add_kustomization("app", "./app", json!({})).await.unwrap();
    stage.ready("app", &commit).await.unwrap();
    assert_eq!(count(&stage, "kustomizations"), 1, "{:?}", stage.proxy.writes());
    assert_eq!(count(&stage, "kustomizations/status"), 2, "{:?}", stage.proxy.writes());
    assert_eq!(count(&stage, "configmaps"), 3, "{:?}", stage.proxy.writes());
    stage.end().await.unwrap();
}

#[tokio::test]
async fn a_revision_that_touches_nothing_moves_the_status_only() {
    let stage = Stage::start().await.unwrap();
    let one = config_map("one", "1");
    let first = stage.repository.commit("first", &[("app/one.yaml", Some(&one))]).unwrap();
    stage.add_source().await.unwrap();
    stage.add_kustomization("app", "./app", json!({})).await.unwrap();
    stage.ready("app", &first).await.unwrap();
    let before = stage.config_maps().get("one").await.unwrap().metadata.resource_version;
    stage.proxy.clear();
    let second = stage.push(&[("elsewhere/readme.md", Some("words\n"))]).await.unwrap();
    stage.ready("app", &second).await.unwrap();
    let log = stage.proxy.log();
    assert_eq!(stage.proxy.writes().len(), 1, "{:?}", stage.proxy.writes());
    assert!(log.iter().all(|seen| seen.resource != "configmaps" || seen.watches), "{log:?}");
    assert_eq!(stage.config_maps().get("one").await.unwrap().metadata.resource_version, before);
    stage.end().await.unwrap();
}

#[tokio::test]
async fn after_a_restart_only_what_changed_meanwhile_is_repaired() {
    let mut stage = Stage::start().await.unwrap();
    let (one, two, three) = (config_map("one", "1"), config_map("two", "1"), config_map("three", "1"));
    let files = [
        ("app/1.yaml", Some(one.as_str())),
        ("app/2.yaml", Some(two.as_str())),
        ("app/3.yaml", Some(three.as_str())),
    ];
    let commit = stage.repository.commit("first", &files).unwrap();
    stage.add_source().await.unwrap();
    stage.add_kustomization("app", "./app", json!({})).await.unwrap();
    stage.ready("app", &commit).await.unwrap();
    let before = stage.config_maps().get("one").await.unwrap().metadata.resource_version;
    stage.kill_kustomize().await.unwrap();
    let edit = kube::api::Patch::Merge(json!({"data": {"step": "9"}}));
    stage.config_maps().patch("two", &Default::default(), &edit).await.unwrap();
    stage.config_maps().delete("three", &Default::default()).await.unwrap();
    stage.start_kustomize().await.unwrap();
    stage.until(&stage.config_maps(), "two", |object| text(object, "/data/step") == "1").await.unwrap();
    stage.until(&stage.config_maps(), "three", |object| text(object, "/data/step") == "1").await.unwrap();
    assert_eq!(stage.config_maps().get("one").await.unwrap().metadata.resource_version, before);
    stage.end().await.unwrap();
}
