//! What the `flux` command of 2.9 reads and writes: exactly those fields, annotations and Events.
#![allow(clippy::unwrap_used, clippy::panic)]

use futures::StreamExt as _;
use kube::api::{Api, DeleteParams, DynamicObject, Patch, PatchParams};
use kube::runtime::{WatchStreamExt as _, watcher};
use serde_json::{Value, json};
use sluice_scenarios::{LIMIT, Stage, config_map};
use sluice_testkit::waiting::{condition_text, text};

const REQUESTED: &str = "reconcile.fluxcd.io/requestedAt";
const BROKEN: &str = "resources: [missing.yaml]\n";

/// Writes as the command does: a merge patch under its own field manager.
async fn patch(api: &Api<DynamicObject>, name: &str, patch: Value) {
    let by = PatchParams { field_manager: Some("flux".into()), ..PatchParams::default() };
    api.patch(name, &by, &Patch::Merge(patch)).await.unwrap();
}

async fn request(api: &Api<DynamicObject>, name: &str, token: &str) {
    patch(api, name, json!({"metadata": {"annotations": {REQUESTED: token}}})).await;
}

/// What the command polls for: the request was handled, and what kstatus makes of the rest.
fn handled(object: &DynamicObject, token: &str) -> bool {
    text(object, "/status/lastHandledReconcileAt") == token && settled(object)
}

/// Neither in progress nor behind its generation.
fn settled(object: &DynamicObject) -> bool {
    let observed = object.data.pointer("/status/observedGeneration").and_then(Value::as_i64);
    observed == object.metadata.generation
        && condition_text(object, "Reconciling", "status") != "True"
        && condition_text(object, "Ready", "status") == "True"
}

/// A stage on which one ConfigMap has been applied.
async fn applied() -> (Stage, String) {
    let stage = Stage::start().await.unwrap();
    let one = config_map("one", "1");
    let commit = stage.repository.commit("Add the first", &[("app/one.yaml", Some(&one))]).unwrap();
    stage.add_source().await.unwrap();
    stage.add_kustomization("app", "./app", json!({})).await.unwrap();
    stage.ready("app", &commit).await.unwrap();
    (stage, commit)
}

#[tokio::test]
async fn reconcile_with_source_is_answered_by_both() {
    let (stage, _) = applied().await;
    let one = config_map("one", "2");
    let commit = stage.repository.commit("second", &[("app/one.yaml", Some(&one))]).unwrap();
    let (first, second) = ("2026-03-03T08:00:00.123456789Z", "2026-03-03T08:00:01.123456789Z");
    request(&stage.repositories(), "apps", first).await;
    let source = stage.until(&stage.repositories(), "apps", |object| handled(object, first)).await.unwrap();
    assert_eq!(text(&source, "/status/artifact/revision"), format!("main@sha1:{commit}"));
    request(&stage.kustomizations(), "app", second).await;
    let app = stage.until(&stage.kustomizations(), "app", |object| handled(object, second)).await.unwrap();
    assert_eq!(text(&app, "/status/lastAppliedRevision"), format!("main@sha1:{commit}"));
    assert_eq!(text(&stage.config_maps().get("one").await.unwrap(), "/data/step"), "2");
    // Another request for the same revision is answered as well.
    request(&stage.kustomizations(), "app", "again").await;
    stage.until(&stage.kustomizations(), "app", |object| handled(object, "again")).await.unwrap();
    stage.end().await.unwrap();
}

#[tokio::test]
async fn reconcile_is_answered_by_a_failure_too() {
    let (stage, _) = applied().await;
    let commit = stage.push(&[("app/kustomization.yaml", Some(BROKEN))]).await.unwrap();
    let arrived = |object: &DynamicObject| text(object, "/status/artifact/revision").ends_with(&commit);
    stage.until(&stage.repositories(), "apps", arrived).await.unwrap();
    request(&stage.kustomizations(), "app", "broken").await;
    let failed = stage
        .until(&stage.kustomizations(), "app", |object| {
            text(object, "/status/lastHandledReconcileAt") == "broken"
                && condition_text(object, "Ready", "status") == "False"
        })
        .await
        .unwrap();
    assert_eq!(condition_text(&failed, "Ready", "reason"), "BuildFailed");
    assert!(condition_text(&failed, "Ready", "message").contains("missing.yaml"));

    let gone =
        json!({"spec": {"ref": {"branch": "nowhere"}}, "metadata": {"annotations": {REQUESTED: "nowhere"}}});
    patch(&stage.repositories(), "apps", gone).await;
    let failed = stage
        .until(&stage.repositories(), "apps", |object| {
            text(object, "/status/lastHandledReconcileAt") == "nowhere"
                && condition_text(object, "Ready", "status") == "False"
        })
        .await
        .unwrap();
    assert_eq!(condition_text(&failed, "FetchFailed", "status"), "True");
    assert!(text(&failed, "/status/artifact/revision").ends_with(&commit), "what was stored stays");
    stage.end().await.unwrap();
}

#[tokio::test]
async fn suspend_keeps_what_is_shown_and_resume_is_answered() {
    let (stage, commit) = applied().await;
    for (api, name) in [(stage.repositories(), "apps"), (stage.kustomizations(), "app")] {
        let before = api.get(name).await.unwrap();
        patch(&api, name, json!({"spec": {"suspend": true}})).await;
        // A request is taken note of while nothing is done.
        request(&api, name, "while suspended").await;
        let resting = stage
            .until(&api, name, |object| text(object, "/status/lastHandledReconcileAt") == "while suspended")
            .await
            .unwrap();
        assert_eq!(resting.data["status"]["conditions"], before.data["status"]["conditions"]);
        assert_eq!(resting.data["spec"]["suspend"], json!(true));
    }
    let one = config_map("one", "2");
    let second = stage.repository.commit("second", &[("app/one.yaml", Some(&one))]).unwrap();
    assert_ne!(commit, second);
    patch(&stage.repositories(), "apps", json!({"spec": {"suspend": false}})).await;
    stage
        .until(&stage.repositories(), "apps", |object| {
            settled(object) && text(object, "/status/artifact/revision").ends_with(&second)
        })
        .await
        .unwrap();
    assert_eq!(text(&stage.config_maps().get("one").await.unwrap(), "/data/step"), "1");
    patch(&stage.kustomizations(), "app", json!({"spec": {"suspend": false}})).await;
    stage
        .until(&stage.kustomizations(), "app", |object| {
            settled(object) && text(object, "/status/lastAppliedRevision").ends_with(&second)
        })
        .await
        .unwrap();
    stage.end().await.unwrap();
}

/// An Event about one object with one reason, waited for.
async fn events(stage: &Stage, kind: &str, name: &str, reason: &str) -> DynamicObject {
    let selector = format!("involvedObject.kind={kind},involvedObject.name={name}");
    let api = stage.api("v1", "Event", "events");
    let selected = watcher::Config::default().fields(&selector);
    let mut changes = watcher::watcher(api, selected).applied_objects().boxed();
    let found = async {
        // A broken watch is taken up again by the watcher itself.
        while let Some(change) = changes.next().await {
            if let Some(event) = change.ok().filter(|event| text(event, "/reason") == reason) {
                return Some(event);
            }
        }
        None
    };
    match tokio::time::timeout(LIMIT, found).await {
        Ok(Some(event)) => event,
        _ => panic!("no {reason} of {kind}/{name}\n{}", stage.logs()),
    }
}

/// The fields that every Event has.
fn is_whole(event: &DynamicObject, about: &DynamicObject, component: &str, severity: &str) {
    let types = about.types.as_ref().unwrap();
    let involved = &event.data["involvedObject"];
    assert_eq!(involved["kind"], json!(types.kind));
    assert_eq!(involved["apiVersion"], json!(types.api_version));
    assert_eq!(involved["name"], json!(about.metadata.name));
    assert_eq!(involved["namespace"], json!(about.metadata.namespace));
    assert_eq!(involved["uid"], json!(about.metadata.uid));
    assert_eq!(text(event, "/source/component"), component);
    assert_eq!(text(event, "/reportingComponent"), component);
    assert_eq!(text(event, "/type"), severity);
    assert!(event.data["count"].as_i64().unwrap() >= 1);
    for time in ["/firstTimestamp", "/lastTimestamp"] {
        assert!(text(event, time).ends_with('Z'), "{event:?}");
    }
}

#[tokio::test]
async fn events_are_listed_by_the_object_they_are_about() {
    let (stage, commit) = applied().await;
    let source = stage.repositories().get("apps").await.unwrap();
    let app = stage.kustomizations().get("app").await.unwrap();
    let revision = format!("main@sha1:{commit}");
    let annotation = |event: &DynamicObject, key: &str| {
        event.metadata.annotations.clone().unwrap_or_default().get(key).cloned().unwrap_or_default()
    };

    let stored = events(&stage, "GitRepository", "apps", "NewArtifact").await;
    is_whole(&stored, &source, "source-controller", "Normal");
    assert_eq!(text(&stored, "/message"), "stored artifact for commit 'Add the first'");
    assert_eq!(annotation(&stored, "source.toolkit.fluxcd.io/revision"), revision);
    assert!(annotation(&stored, "source.toolkit.fluxcd.io/digest").starts_with("sha256:"));

    let changed = events(&stage, "Kustomization", "app", "Progressing").await;
    is_whole(&changed, &app, "kustomize-controller", "Normal");
    assert_eq!(text(&changed, "/message"), format!("ConfigMap/{}/one created", stage.namespace));
    assert_eq!(annotation(&changed, "kustomize.toolkit.fluxcd.io/revision"), revision);

    let finished = events(&stage, "Kustomization", "app", "ReconciliationSucceeded").await;
    is_whole(&finished, &app, "kustomize-controller", "Normal");
    let message = text(&finished, "/message");
    assert!(
        message.starts_with("Reconciliation finished in ") && message.ends_with(", next run in 1h0m0s"),
        "{message}"
    );
    assert_eq!(annotation(&finished, "kustomize.toolkit.fluxcd.io/revision"), revision);
    assert_eq!(annotation(&finished, "kustomize.toolkit.fluxcd.io/commit_status"), "update");

    let broken = stage.push(&[("app/kustomization.yaml", Some(BROKEN))]).await.unwrap();
    let failed = events(&stage, "Kustomization", "app", "BuildFailed").await;
    is_whole(&failed, &app, "kustomize-controller", "Warning");
    assert_eq!(annotation(&failed, "kustomize.toolkit.fluxcd.io/revision"), format!("main@sha1:{broken}"));
    stage.end().await.unwrap();
}

#[tokio::test]
async fn tree_and_trace_find_their_way_in_both_directions() {
    let stage = Stage::start().await.unwrap();
    let one = config_map("one", "1");
    stage.repository.commit("first", &[("child/one.yaml", Some(&one))]).unwrap();
    stage.add_source().await.unwrap();
    // The child is for this stage's controllers as well.
    let labels = json!(stage.repositories().get("apps").await.unwrap().metadata.labels);
    let child = format!(
        "apiVersion: kustomize.toolkit.fluxcd.io/v1
kind: Kustomization
metadata: {{name: child, labels: {labels}}}
spec:
  interval: 1h
  path: ./child
  prune: true
  targetNamespace: {}
  sourceRef: {{kind: GitRepository, name: apps}}
",
        stage.namespace
    );
    let commit = stage.push(&[("app/child.yaml", Some(&child))]).await.unwrap();
    stage.add_kustomization("app", "./app", json!({"wait": true})).await.unwrap();
    let app = stage.ready("app", &commit).await.unwrap();
    let child = stage.ready("child", &commit).await.unwrap();

    // Down: the inventory of each.
    let ids = |object: &DynamicObject| object.data["status"]["inventory"]["entries"].clone();
    let space = &stage.namespace;
    let group = "kustomize.toolkit.fluxcd.io";
    assert_eq!(ids(&app), json!([{"id": format!("{space}_child_{group}_Kustomization"), "v": "v1"}]));
    assert_eq!(ids(&child), json!([{"id": format!("{space}_one__ConfigMap"), "v": "v1"}]));

    // Up: owner labels, then the source at the very revision that was applied.
    let owner = |object: &DynamicObject| {
        let labels = object.metadata.labels.clone().unwrap_or_default();
        ["name", "namespace"].map(|key| labels.get(&format!("{group}/{key}")).cloned().unwrap_or_default())
    };
    let one = stage.config_maps().get("one").await.unwrap();
    assert_eq!(owner(&one), ["child", space.as_str()]);
    assert_eq!(owner(&child), ["app", space.as_str()]);
    let source = stage.repositories().get("apps").await.unwrap();
    let revision = text(&source, "/status/artifact/revision");
    for object in [&app, &child] {
        assert_eq!(text(object, "/spec/sourceRef/kind"), "GitRepository");
        assert_eq!(text(object, "/spec/sourceRef/name"), "apps");
        assert_eq!(text(object, "/status/lastAppliedRevision"), revision);
        assert_eq!(condition_text(object, "Ready", "message"), format!("Applied revision: {revision}"));
    }
    assert_eq!(
        condition_text(&source, "Ready", "message"),
        format!("stored artifact for revision '{revision}'")
    );
    assert!(source.data["status"]["artifact"]["size"].as_i64().unwrap() > 0, "for stats");
    // The child goes with its parent.
    stage.kustomizations().delete("app", &DeleteParams::default()).await.unwrap();
    for name in ["app", "child"] {
        stage.until_gone(&stage.kustomizations(), name).await.unwrap();
    }
    stage.until_gone(&stage.config_maps(), "one").await.unwrap();
    stage.end().await.unwrap();
}

#[tokio::test]
async fn export_gives_back_what_was_written() {
    let (stage, _) = applied().await;
    for (api, name) in [(stage.repositories(), "apps"), (stage.kustomizations(), "app")] {
        let object = api.get(name).await.unwrap();
        let writers = object.metadata.managed_fields.clone().unwrap_or_default();
        let of_spec: Vec<_> = writers
            .iter()
            .filter(|entry| entry.fields_v1.as_ref().is_some_and(|fields| fields.0.get("f:spec").is_some()))
            .map(|entry| entry.manager.clone().unwrap_or_default())
            .collect();
        assert_eq!(of_spec, ["person"], "{name}");
        assert_eq!(object.metadata.annotations, None, "{name}");
    }
    stage.end().await.unwrap();
}

/// Lines that `flux logs` prints: it reads these fields as text, and stops where one is something else.
fn log_lines(output: &str, kind: &str, name: &str) -> Vec<String> {
    let mut told = Vec::new();
    for line in output.lines().filter(|line| line.starts_with('{')) {
        let line: Value = serde_json::from_str(line).unwrap();
        for field in ["ts", "level", "msg", "error", "logger", "controllerKind", "name", "namespace"] {
            assert!(line.get(field).is_none_or(Value::is_string), "{field} in {line}");
        }
        let level = line["level"].as_str().unwrap();
        assert!(["trace", "debug", "info", "error"].contains(&level), "{line}");
        assert!(line["ts"].is_string() && line["msg"].is_string(), "{line}");
        if line["controllerKind"] == kind && line["name"] == name && level == "info" {
            told.push(line["msg"].as_str().unwrap().to_owned());
        }
    }
    told
}

#[tokio::test]
async fn logs_tell_of_each_object_what_was_done() {
    let (stage, _) = applied().await;
    // Each is logged before its Event is sent.
    events(&stage, "GitRepository", "apps", "NewArtifact").await;
    events(&stage, "Kustomization", "app", "ReconciliationSucceeded").await;
    let logs = stage.logs();
    let has = |kind: &str, name: &str, start: &str| {
        let lines = log_lines(&logs, kind, name);
        assert!(lines.iter().any(|line| line.starts_with(start)), "{start} in {lines:?}");
    };
    has("GitRepository", "apps", "stored artifact for commit 'Add the first'");
    has("Kustomization", "app", "server-side apply completed");
    has("Kustomization", "app", "Reconciliation finished in ");
    stage.end().await.unwrap();
}

#[tokio::test]
async fn a_request_beside_suspension_and_resumption_is_answered_once_it_is_current() {
    let (stage, commit) = applied().await;
    let app = stage.kustomizations();
    // `flux resume --wait` of several: all are resumed first, then each is waited for.
    for suspend in [true, false] {
        patch(&app, "app", json!({"spec": {"suspend": suspend}})).await;
    }
    let resumed = stage.until(&app, "app", settled).await.unwrap();
    assert_eq!(text(&resumed, "/status/lastAppliedRevision"), format!("main@sha1:{commit}"));
    // `flux create kustomization` over what is there waits for the new generation.
    patch(&app, "app", json!({"spec": {"interval": "2h"}})).await;
    let generation = app.get("app").await.unwrap().metadata.generation;
    let updated = stage
        .until(&app, "app", |object| settled(object) && object.metadata.generation == generation)
        .await
        .unwrap();
    assert_eq!(condition_text(&updated, "Ready", "reason"), "ReconciliationSucceeded");
    // `flux delete` waits for nothing, but leaves nothing.
    app.delete("app", &DeleteParams::default()).await.unwrap();
    stage.until_gone(&app, "app").await.unwrap();
    stage.until_gone(&stage.config_maps(), "one").await.unwrap();
    stage.end().await.unwrap();
}

#[tokio::test]
async fn diff_finds_what_would_change_and_nothing_else() {
    let (stage, _) = applied().await;
    let live = stage.config_maps().get("one").await.unwrap();
    // A dry run under the controller's name with its labels, compared without the rest of the metadata.
    let built = |step: &str| {
        let labels = live.metadata.labels.clone().unwrap();
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "one", "labels": labels}, "data": {"step": step}})
    };
    let tried = async |step: &str| {
        let parameters = PatchParams::apply("kustomize-controller").force().dry_run();
        stage.config_maps().patch("one", &parameters, &Patch::Apply(built(step))).await.unwrap()
    };
    let same = tried("1").await;
    assert_eq!(same.data, live.data);
    let metadata = |object: &DynamicObject| {
        let metadata = object.metadata.clone();
        (metadata.labels, metadata.annotations, metadata.resource_version, metadata.managed_fields)
    };
    assert_eq!(metadata(&same), metadata(&live));
    assert_eq!(tried("2").await.data["data"], json!({"step": "2"}));
    assert_eq!(stage.config_maps().get("one").await.unwrap(), live);
    stage.end().await.unwrap();
}
