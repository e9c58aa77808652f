//! What source-controller finds again when it comes back.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::{Path, PathBuf};

use sluice_scenarios::loopback::get;
use sluice_scenarios::{Stage, config_map};
use sluice_testkit::waiting::text;

fn mirrors(data: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(data.join(".git-mirrors")).unwrap();
    let mut found: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    found.sort();
    found
}

#[tokio::test]
async fn a_restart_keeps_archive_and_mirror_under_another_address() {
    let mut stage = Stage::start().await.unwrap();
    let first = stage.repository.commit("first", &[("app/one.yaml", Some(&config_map("one", "1")))]).unwrap();
    stage.add_source().await.unwrap();
    let before = stage.fetched("apps", &first).await.unwrap();
    stage.event("GitRepository", "apps", "NewArtifact", &["commit 'first'"]).await.unwrap();
    let (mut data, mut left) = (PathBuf::new(), Vec::new());
    let look = |at: &Path| {
        data = at.to_owned();
        left = mirrors(at);
        Ok(())
    };
    // It is killed, and comes back on another port.
    stage.restart_source(&[], look).await.unwrap();
    let url = text(&before, "/status/artifact/url");
    let after = stage
        .until(&stage.repositories(), "apps", |object| text(object, "/status/artifact/url") != url)
        .await
        .unwrap();
    for field in ["revision", "path", "digest", "size", "lastUpdateTime"] {
        let field = format!("/status/artifact/{field}");
        assert_eq!(after.data.pointer(&field), before.data.pointer(&field), "{field}");
    }
    assert_eq!(get(text(&after, "/status/artifact/url")).await.unwrap().code, 200);

    let second = stage.repository.commit("second", &[("b", Some("2"))]).unwrap();
    stage.nudge("apps", "second").await.unwrap();
    stage.fetched("apps", &second).await.unwrap();
    assert_eq!(left.len(), 1);
    assert_eq!(mirrors(&data), left, "what is new went into the mirror that was there");
    stage.event("GitRepository", "apps", "NewArtifact", &["commit 'second'"]).await.unwrap();
    let told = stage.told("GitRepository", "apps").await.unwrap();
    let fresh = told.iter().filter(|line| line.starts_with("NewArtifact")).count();
    assert_eq!(fresh, 2, "{told:#?}");
    stage.end().await.unwrap();
}
