//! What source-controller does when something is taken away: a directory, a check, half a credential.
#![allow(clippy::unwrap_used, clippy::panic)]

use kube::api::DeleteParams;
use serde_json::{Value, json};
use sluice_scenarios::{Stage, observed};
use sluice_testkit::waiting::{condition, condition_text};

async fn secret(stage: &Stage, name: &str, data: Value) {
    stage
        .apply(&json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": data}))
        .await
        .unwrap();
}

#[tokio::test]
async fn an_object_stays_until_its_archives_can_be_removed() {
    let stage = Stage::start().await.unwrap();
    let first = stage.repository.commit("first", &[("a", Some("1"))]).unwrap();
    stage.add_source().await.unwrap();
    stage.fetched("apps", &first).await.unwrap();
    let folder = stage.artifacts().join("gitrepository").join(&stage.namespace).join("apps");
    std::fs::remove_dir_all(&folder).unwrap();
    std::fs::write(&folder, "in the way").unwrap();
    stage.repositories().delete("apps", &DeleteParams::default()).await.unwrap();
    let words = ["garbage collection for deleted resource failed"];
    stage.event("GitRepository", "apps", "GarbageCollectionFailed", &words).await.unwrap();
    let object = stage.repositories().get("apps").await.unwrap();
    assert_eq!(object.metadata.finalizers.unwrap_or_default(), ["finalizers.fluxcd.io"]);
    std::fs::remove_file(&folder).unwrap();
    stage.until_gone(&stage.repositories(), "apps").await.unwrap();
    stage.end().await.unwrap();
}

#[tokio::test]
async fn a_check_that_is_no_longer_wanted_leaves_no_trace() {
    let stage = Stage::start().await.unwrap();
    let first = stage.repository.commit("first", &[("a", Some("1"))]).unwrap();
    let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJjVA2W4kbQw3lTqz2iM1o1J5s0bGd2nPAwS0yT6b3yL a";
    secret(&stage, "authors", json!({"author.sshpub": key})).await;
    let verify = json!({"verify": {"mode": "HEAD", "secretRef": {"name": "authors"}}});
    stage.add_repository("apps", verify).await.unwrap();
    let refused = stage
        .until(&stage.repositories(), "apps", |object| {
            condition_text(object, "SourceVerified", "status") == "False"
        })
        .await
        .unwrap();
    assert_eq!(condition_text(&refused, "Ready", "reason"), "InvalidCommitSignature");
    assert!(refused.data.pointer("/status/artifact").is_none(), "nothing unverified is stored");
    stage.add_repository("apps", json!({})).await.unwrap();
    let ready = stage.fetched("apps", &first).await.unwrap();
    assert!(observed(&ready) && condition(&ready, "SourceVerified").is_none());
    assert!(ready.data.pointer("/status/sourceVerificationMode").is_none());
    stage.end().await.unwrap();
}

#[tokio::test]
async fn an_installation_is_named_in_one_way_only() {
    let stage = Stage::start().await.unwrap();
    let app = json!({"githubAppID": "1", "githubAppPrivateKey": "x",
        "githubAppInstallationID": "2", "githubAppInstallationOwner": "org"});
    secret(&stage, "app", app).await;
    let spec = json!({"provider": "github", "secretRef": {"name": "app"}});
    stage.add_repository("apps", spec).await.unwrap();
    let refused = stage
        .until(&stage.repositories(), "apps", |object| condition(object, "FetchFailed").is_some())
        .await
        .unwrap();
    let words = condition_text(&refused, "FetchFailed", "message");
    assert!(words.contains("exactly one of 'githubAppInstallationID' and"), "{words}");
    assert!(condition(&refused, "Stalled").is_none());
    stage.end().await.unwrap();
}
