//! What people get wrong: said where they look, with what to do, and at nobody else's cost.
#![allow(clippy::unwrap_used, clippy::panic)]

use kube::api::DynamicObject;
use serde_json::{Value, json};
use sluice_scenarios::loopback::Door;
use sluice_scenarios::{Stage, config_map};
use sluice_testkit::waiting::{condition, condition_text, text};

/// A stage with `app` (a ConfigMap `one`) and its neighbour `healthy` (a ConfigMap `well`), both Ready.
async fn running() -> Stage {
    let stage = Stage::start().await.unwrap();
    let (one, well) = (config_map("one", "1"), config_map("well", "1"));
    let files = [("app/one.yaml", Some(one.as_str())), ("healthy/well.yaml", Some(well.as_str()))];
    let commit = stage.repository.commit("first", &files).unwrap();
    stage.add_source().await.unwrap();
    stage.add_kustomization("app", "./app", json!({})).await.unwrap();
    stage.add_kustomization("healthy", "./healthy", json!({})).await.unwrap();
    stage.ready("app", &commit).await.unwrap();
    stage.ready("healthy", &commit).await.unwrap();
    stage
}

/// Commits a mistake in `app` together with news for the neighbour, which must arrive.
async fn pushed(stage: &Stage, changes: &[(&str, Option<&str>)]) -> String {
    let well = config_map("well", "2");
    let mut all = vec![("healthy/well.yaml", Some(well.as_str()))];
    all.extend(changes);
    let commit = stage.push(&all).await.unwrap();
    neighbour_has(stage, &commit).await;
    commit
}

async fn neighbour_has(stage: &Stage, commit: &str) {
    stage.ready("healthy", commit).await.unwrap();
    assert_eq!(text(&stage.config_maps().get("well").await.unwrap(), "/data/step"), "2");
}

/// Waits until a Kustomization has failed so; its condition and an event say all these words, and `one` is kept.
async fn fails(stage: &Stage, name: &str, reason: &str, words: &[&str]) -> DynamicObject {
    let object = stage
        .until(&stage.kustomizations(), name, |object| {
            condition_text(object, "Ready", "status") == "False"
                && condition_text(object, "Ready", "reason") == reason
                && words.iter().all(|word| condition_text(object, "Ready", "message").contains(word))
        })
        .await
        .unwrap();
    stage.event("Kustomization", name, reason, words).await.unwrap();
    assert_eq!(text(&stage.config_maps().get("one").await.unwrap(), "/data/step"), "1");
    object
}

/// Waits until a GitRepository has failed so; the condition, Ready and an event say all these words.
async fn source_fails(stage: &Stage, name: &str, kind: &str, reason: &str, words: &[&str]) -> DynamicObject {
    let says = |object: &DynamicObject, kind| {
        let message = condition_text(object, kind, "message");
        condition_text(object, kind, "reason") == reason && words.iter().all(|word| message.contains(word))
    };
    let object = stage
        .until(&stage.repositories(), name, |object| {
            says(object, kind)
                && says(object, "Ready")
                && condition_text(object, "Ready", "status") == "False"
        })
        .await
        .unwrap();
    stage.event("GitRepository", name, reason, words).await.unwrap();
    object
}

/// Puts `app` right again.
async fn mended(stage: &Stage, changes: &[(&str, Option<&str>)]) {
    let commit = stage.push(changes).await.unwrap();
    stage.ready("app", &commit).await.unwrap();
}

#[tokio::test]
async fn a_branch_that_does_not_exist_is_named() {
    let stage = running().await;
    let before = stage.repositories().get("apps").await.unwrap();
    stage.add_repository("other", json!({"ref": {"branch": "mian"}})).await.unwrap();
    source_fails(&stage, "other", "FetchFailed", "GitOperationFailed", &["refs/heads/mian", "/apps.git'"])
        .await;
    stage
        .add_kustomization("waits", "./app", json!({"sourceRef": {"kind": "GitRepository", "name": "other"}}))
        .await
        .unwrap();
    let waiting = stage
        .until(&stage.kustomizations(), "waits", |object| {
            condition_text(object, "Ready", "reason") == "ArtifactFailed"
        })
        .await
        .unwrap();
    assert_eq!(condition_text(&waiting, "Ready", "status"), "False");
    let again = stage.repositories().get("apps").await.unwrap();
    assert_eq!(again.data.pointer("/status/artifact"), before.data.pointer("/status/artifact"));
    pushed(&stage, &[]).await;
    stage.end().await.unwrap();
}

#[tokio::test]
async fn bad_credentials_are_refused_without_being_repeated() {
    let stage = running().await;
    // ada:right
    let door = Door::start(&stage.repository_url(), "Basic YWRhOnJpZ2h0").await.unwrap();
    let url = door.url(&stage.repository_url());
    let secret = |password: &str| {
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "login"},
            "stringData": {"username": "ada", "password": password}})
    };
    stage.apply(&secret("wrong-secret")).await.unwrap();
    stage.add_repository("none", json!({"url": url})).await.unwrap();
    stage.add_repository("locked", json!({"url": url, "secretRef": {"name": "login"}})).await.unwrap();
    let missing = json!({"url": url, "secretRef": {"name": "lgoin"}});
    stage.add_repository("misspelt", missing).await.unwrap();
    for name in ["none", "locked"] {
        let object = source_fails(
            &stage,
            name,
            "FetchFailed",
            "GitOperationFailed",
            &["authentication", "/apps.git'"],
        )
        .await;
        let told = stage.told("GitRepository", name).await.unwrap().join("\n");
        let all = format!("{} {told}", Value::Object(object.data.as_object().unwrap().clone()));
        assert!(!all.contains("wrong-secret") && !stage.logs().contains("wrong-secret"));
    }
    source_fails(&stage, "misspelt", "FetchFailed", "AuthenticationFailed", &["/lgoin'", "not found"]).await;
    stage.apply(&secret("right")).await.unwrap();
    let commit = pushed(&stage, &[]).await;
    stage.nudge("locked", "unlocked").await.unwrap();
    stage.fetched("locked", &commit).await.unwrap();
    stage.end().await.unwrap();
}

#[tokio::test]
async fn broken_yaml_is_told_with_its_file_and_line() {
    let stage = running().await;
    let broken = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: two\n\tlabels: {}\n";
    pushed(&stage, &[("app/two.yaml", Some(broken))]).await;
    fails(&stage, "app", "BuildFailed", &["app/two.yaml:5", "yaml: line 4: found a tab character"]).await;
    mended(&stage, &[("app/two.yaml", Some(&config_map("two", "1")))]).await;
    stage.end().await.unwrap();
}

#[tokio::test]
async fn an_object_without_a_version_is_named() {
    let stage = running().await;
    pushed(&stage, &[("app/two.yaml", Some("kind: ConfigMap\nmetadata: {name: two}\n"))]).await;
    fails(&stage, "app", "BuildFailed", &["ConfigMap", "/two", "apiVersion"]).await;
    mended(&stage, &[("app/two.yaml", None)]).await;
    stage.end().await.unwrap();
}

#[tokio::test]
async fn an_object_that_the_server_refuses_is_named_and_the_others_are_applied() {
    let stage = running().await;
    let wrong = "apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec: {ports: [{port: eighty}]}\n";
    let three = config_map("three", "1");
    let commit = pushed(&stage, &[("app/web.yaml", Some(wrong)), ("app/three.yaml", Some(&three))]).await;
    let failed = fails(&stage, "app", "ReconciliationFailed", &["Service/", "/web", "port"]).await;
    assert!(!text(&failed, "/status/lastAppliedRevision").ends_with(&commit));
    stage.until(&stage.config_maps(), "three", |_| true).await.unwrap();
    mended(&stage, &[("app/web.yaml", None)]).await;
    stage.end().await.unwrap();
}

#[tokio::test]
async fn an_unknown_field_of_a_kustomization_file_does_not_stop_it() {
    let stage = running().await;
    let file = "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresorces: [none.yaml]\nresources: [one.yaml, two.yaml]\n";
    let two = config_map("two", "1");
    let commit =
        pushed(&stage, &[("app/kustomization.yaml", Some(file)), ("app/two.yaml", Some(&two))]).await;
    stage.ready("app", &commit).await.unwrap();
    assert!(stage.config_maps().get("two").await.is_ok());
    let words = ["unknown field 'resorces'", "app/kustomization.yaml"];
    stage.event("Kustomization", "app", "Progressing", &words).await.unwrap();
    stage.end().await.unwrap();
}

#[tokio::test]
async fn a_resource_that_does_not_exist_is_named_by_the_file_that_asks_for_it() {
    let stage = running().await;
    let file = "resources: [one.yaml, tow.yaml]\n";
    pushed(&stage, &[("app/kustomization.yaml", Some(file))]).await;
    fails(&stage, "app", "BuildFailed", &["tow.yaml", "(app/kustomization.yaml:1)"]).await;
    mended(&stage, &[("app/kustomization.yaml", None)]).await;
    stage.end().await.unwrap();
}

#[tokio::test]
async fn a_path_that_does_not_exist_or_leads_out_is_named() {
    let stage = running().await;
    stage.add_kustomization("app", "./nowhere", json!({})).await.unwrap();
    fails(&stage, "app", "ArtifactFailed", &["kustomization path not found: stat ", "nowhere"]).await;
    stage.add_kustomization("app", "../../../etc", json!({})).await.unwrap();
    fails(&stage, "app", "ArtifactFailed", &["etc"]).await;
    // Whatever leads out leads back to the root.
    stage.add_kustomization("app", "../../app", json!({})).await.unwrap();
    let commit = pushed(&stage, &[]).await;
    stage.ready("app", &commit).await.unwrap();
    stage.end().await.unwrap();
}

#[tokio::test]
async fn a_file_beyond_the_bound_is_named_and_the_old_artifact_stays() {
    let mut stage = running().await;
    stage.restart_source(&["--git-file-max-size=1000"], |_| Ok(())).await.unwrap();
    let before = stage.nudge("apps", "bounded").await.unwrap();
    let small = stage.another("small").unwrap();
    let well = config_map("well", "2");
    let healthy = small.commit("first", &[("healthy/well.yaml", Some(&well))]).unwrap();
    stage.add_repository("small", json!({"url": stage.url_of(&small)})).await.unwrap();
    stage.repository.commit("huge", &[("app/huge.bin", Some(&"x".repeat(5000)))]).unwrap();
    stage.nudge("apps", "huge").await.unwrap();
    let failed = source_fails(
        &stage,
        "apps",
        "StorageOperationFailed",
        "ArchiveOperationFailed",
        &["app/huge.bin", "1000", "spec.ignore"],
    )
    .await;
    let revision = |object: &DynamicObject| text(object, "/status/artifact/revision").to_owned();
    assert_eq!(revision(&failed), revision(&before));
    let source = json!({"sourceRef": {"kind": "GitRepository", "name": "small"}});
    stage.add_kustomization("healthy", "./healthy", source).await.unwrap();
    neighbour_has(&stage, &healthy).await;
    assert!(stage.config_maps().get("one").await.is_ok());
    let mended = stage.push(&[("app/huge.bin", None)]).await.unwrap();
    stage.ready("app", &mended).await.unwrap();
    stage.end().await.unwrap();
}

#[tokio::test]
async fn a_link_that_points_out_is_left_out_and_named() {
    let stage = running().await;
    let links = stage.repository.work().join("app");
    std::os::unix::fs::symlink("/etc/passwd", links.join("out.yaml")).unwrap();
    std::os::unix::fs::symlink("../../../secret", links.join("up")).unwrap();
    let commit = pushed(&stage, &[]).await;
    stage
        .event("GitRepository", "apps", "NewArtifact", &["symbolic links", "app/out.yaml", "app/up"])
        .await
        .unwrap();
    stage.ready("app", &commit).await.unwrap();
    pushed(&stage, &[("app/kustomization.yaml", Some("resources: [one.yaml, out.yaml]\n"))]).await;
    fails(&stage, "app", "BuildFailed", &["out.yaml", "(app/kustomization.yaml:1)"]).await;
    mended(&stage, &[("app/kustomization.yaml", None)]).await;
    stage.end().await.unwrap();
}

#[tokio::test]
async fn an_encrypted_secret_is_never_applied() {
    let stage = running().await;
    let secret = "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {a: 'ENC[AES256_GCM,data:x,type:str]'}\n\
                  sops: {mac: 'ENC[AES256_GCM,data:y,type:str]', version: 3.9.0}\n";
    let changed = config_map("one", "2");
    pushed(&stage, &[("app/s.yaml", Some(secret)), ("app/one.yaml", Some(&changed))]).await;
    fails(&stage, "app", "ReconciliationFailed", &["Secret/", "/s is SOPS encrypted", "decryption"]).await;
    assert!(stage.api("v1", "Secret", "secrets").get_opt("s").await.unwrap().is_none());
    mended(&stage, &[("app/s.yaml", None)]).await;
    stage.end().await.unwrap();
}

#[tokio::test]
async fn decryption_is_refused_before_anything_is_applied() {
    let stage = running().await;
    let spec = json!({"decryption": {"provider": "sops", "secretRef": {"name": "keys"}}});
    stage.add_kustomization("app", "./app", spec).await.unwrap();
    let failed = fails(&stage, "app", "BuildFailed", &["spec.decryption", "sops", "not available"]).await;
    assert_eq!(condition_text(&failed, "Stalled", "status"), "True");
    assert!(condition(&failed, "Reconciling").is_none());
    pushed(&stage, &[("app/one.yaml", Some(&config_map("one", "2")))]).await;
    assert_eq!(text(&stage.config_maps().get("one").await.unwrap(), "/data/step"), "1");
    stage.end().await.unwrap();
}

#[tokio::test]
async fn a_kubeconfig_that_wants_a_program_run_is_refused() {
    let stage = running().await;
    let marker = stage.artifacts().join("ran");
    let kubeconfig = json!({"apiVersion": "v1", "kind": "Config", "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {"server": "http://127.0.0.1:1"}}],
        "users": [{"name": "u", "user": {"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": "touch",
            "args": [marker], "interactiveMode": "Never"}}}]});
    stage
        .apply(&json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "remote"},
            "stringData": {"value": kubeconfig.to_string()}}))
        .await
        .unwrap();
    let spec = |name: &str| json!({"kubeConfig": {"secretRef": {"name": name}}});
    stage.add_kustomization("remote", "./app", spec("remote")).await.unwrap();
    fails(&stage, "remote", "ReconciliationFailed", &["/remote'", "never run", "token"]).await;
    assert!(!marker.exists());
    stage.add_kustomization("misspelt", "./app", spec("rmeote")).await.unwrap();
    fails(&stage, "misspelt", "ReconciliationFailed", &["rmeote", "not found"]).await;
    pushed(&stage, &[]).await;
    for name in ["remote", "misspelt"] {
        stage.add_kustomization(name, "./app", json!({"prune": false})).await.unwrap();
    }
    stage.end().await.unwrap();
}
