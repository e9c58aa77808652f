//! What is secret stays where it belongs, whatever goes wrong with it.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kube::api::{Api, DynamicObject, ListParams};
use serde_json::{Value, json};
use sluice_scenarios::Stage;
use sluice_scenarios::loopback::Door;
use sluice_testkit::waiting::condition_text;

const PASSWORD: &str = "git-Passw0rd-of-ada";
const WORD: &str = "substituted-Pa55word";
const TOKEN: &str = "kubeconfig-t0ken-of-eve";

fn secret(name: &str, data: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": data})
}

/// The secrets, as they are and encoded, that a text shows.
fn shown(bytes: &[u8]) -> Vec<String> {
    let all = [PASSWORD, WORD, TOKEN].into_iter();
    let forms = all.flat_map(|word| {
        // As part of a longer text the last characters of the encoding depend on what follows.
        let encoded = STANDARD.encode(word);
        [word.to_owned(), encoded[..encoded.len() / 4 * 4 - 4].to_owned()]
    });
    forms.filter(|form| bytes.windows(form.len()).any(|window| window == form.as_bytes())).collect()
}

/// Every file below a directory.
fn files(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        match entry.file_type().unwrap() {
            kind if kind.is_dir() => found.extend(files(&entry.path())),
            kind if kind.is_file() => found.push(entry.path()),
            _ => {}
        }
    }
    found
}

async fn nothing_shows(stage: &Stage, api: &Api<DynamicObject>) {
    for object in api.list(&ListParams::default()).await.unwrap() {
        let text = serde_json::to_string(&object).unwrap();
        assert_eq!(shown(text.as_bytes()), Vec::<String>::new(), "{text}\n{}", stage.namespace);
    }
}

#[tokio::test]
async fn secrets_reach_no_log_event_status_artifact_or_disk() {
    let stage = Stage::start().await.unwrap();
    let door = Door::start(
        &stage.repository_url(),
        &format!("Basic {}", STANDARD.encode(format!("ada:{PASSWORD}"))),
    )
    .await
    .unwrap();
    let kubeconfig = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: c\ncontexts: [{{name: c, context: {{cluster: k, user: u}}}}]\n\
         clusters: [{{name: k, cluster: {{server: 'https://127.0.0.1:1'}}}}]\nusers: [{{name: u, user: {{token: {TOKEN}}}}}]\n"
    );
    for object in [
        secret("login", json!({"username": "ada", "password": PASSWORD})),
        secret("words", json!({"word": WORD})),
        secret("elsewhere", json!({"value": kubeconfig})),
        secret("broken", json!({"value": format!("users: [{TOKEN}")})),
    ] {
        stage.apply(&object).await.unwrap();
    }
    let made = |step: &str| {
        format!(
            "apiVersion: v1\nkind: Secret\nmetadata: {{name: made}}\nimmutable: true\nstringData: {{word: \"${{word}}-{step}\"}}\n"
        )
    };
    // No base64; no certificate.
    let wrong = "apiVersion: v1\nkind: Secret\nmetadata: {name: wrong}\ndata: {word: \"${word}\"}\n";
    let name = "apiVersion: v1\nkind: Secret\nmetadata: {name: named}\ntype: kubernetes.io/tls\nstringData: {tls.crt: \"${word}\", tls.key: \"${word}\"}\n";
    let first = stage
        .repository
        .commit(
            "first",
            &[
                ("app/made.yaml", Some(&made("1"))),
                ("wrong/wrong.yaml", Some(wrong)),
                ("named/named.yaml", Some(name)),
            ],
        )
        .unwrap();
    let url = door.url(&stage.repository_url());
    stage.add_repository("apps", json!({"url": url, "secretRef": {"name": "login"}})).await.unwrap();
    stage.fetched("apps", &first).await.unwrap();
    let with_words = |more: Value| {
        let mut spec = json!({"postBuild": {"substituteFrom": [{"kind": "Secret", "name": "words"}]}});
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        spec
    };
    stage.add_kustomization("app", "./app", with_words(json!({}))).await.unwrap();
    stage.ready("app", &first).await.unwrap();
    let made_secret = stage.api("v1", "Secret", "secrets").get("made").await.unwrap();
    assert!(
        !shown(serde_json::to_string(&made_secret).unwrap().as_bytes()).is_empty(),
        "what is shown is seen"
    );
    for (name, path, spec) in [
        ("wrong", "./wrong", with_words(json!({}))),
        ("named", "./named", with_words(json!({}))),
        ("elsewhere", "./app", with_words(json!({"kubeConfig": {"secretRef": {"name": "elsewhere"}}}))),
        ("broken", "./app", with_words(json!({"kubeConfig": {"secretRef": {"name": "broken"}}}))),
    ] {
        stage.add_kustomization(name, path, spec).await.unwrap();
    }
    // An immutable Secret changes, which is refused.
    stage.push(&[("app/made.yaml", Some(&made("2")))]).await.unwrap();
    for name in ["app", "elsewhere", "broken"] {
        let failed = |object: &DynamicObject| condition_text(object, "Ready", "status") == "False";
        stage.until(&stage.kustomizations(), name, failed).await.unwrap();
    }
    // Not every server looks at the content of Secrets.
    for name in ["wrong", "named"] {
        let judged =
            |object: &DynamicObject| ["True", "False"].contains(&condition_text(object, "Ready", "status"));
        stage.until(&stage.kustomizations(), name, judged).await.unwrap();
    }
    // A wrong password, and the address of a person who put it there.
    stage
        .apply(&secret("login", json!({"username": "ada", "password": format!("{PASSWORD}x")})))
        .await
        .unwrap();
    let inside = url.replacen("://", &format!("://ada:{PASSWORD}x@"), 1);
    stage.add_repository("inside", json!({"url": inside})).await.unwrap();
    stage.nudge("apps", "locked").await.unwrap();
    for name in ["apps", "inside"] {
        let failed = |object: &DynamicObject| condition_text(object, "Ready", "status") == "False";
        stage.until(&stage.repositories(), name, failed).await.unwrap();
    }

    let logs = stage.logs();
    let lines: Vec<&str> = logs.lines().filter(|line| !shown(line.as_bytes()).is_empty()).collect();
    assert!(lines.is_empty(), "{lines:#?}");
    nothing_shows(&stage, &stage.kustomizations()).await;
    nothing_shows(&stage, &stage.api("v1", "Event", "events")).await;
    for object in stage.repositories().list(&ListParams::default()).await.unwrap() {
        // The spec is what a person wrote.
        let status = object.data["status"].to_string();
        assert_eq!(shown(status.as_bytes()), Vec::<String>::new(), "{status}");
    }
    for file in files(&stage.artifacts()) {
        let bytes = std::fs::read(&file).unwrap();
        assert_eq!(shown(&bytes), Vec::<String>::new(), "{}", file.display());
        assert_eq!(shown(file.display().to_string().as_bytes()), Vec::<String>::new());
    }
    stage.end().await.unwrap();
}
