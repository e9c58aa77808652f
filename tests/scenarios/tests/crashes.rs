//! The crash laboratory: every story is told once undisturbed, then once for each of its writes with the controller
//! killed right after the server took that write. However it is told, it must end the same.
#![allow(clippy::unwrap_used, clippy::panic)]

use kube::api::DeleteParams;
use serde_json::{Value, json};
use sluice_scenarios::{Stage, ending};

const ONE: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: one}\ndata: {step: \"1\"}\n";
const ONE_CHANGED: &str =
    "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: one}\ndata: {step: \"2\", more: \"x\"}\n";
const TWO: &str =
    "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: two}\ndata: {step: \"1\", gone: \"y\"}\n";
const TWO_CHANGED: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: two}\ndata: {step: \"2\"}\n";
const THREE: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: three}\ndata: {step: \"1\"}\n";
const SERVICE: &str = "apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec: {selector: {app: web}, ports: [{port: 80}]}\n";
const FIXED: &str = "apiVersion: v1
kind: ConfigMap
metadata: {name: fixed, annotations: {kustomize.toolkit.fluxcd.io/force: enabled}}
immutable: true
data: {step: \"STEP\"}
";

/// What happens while the controller is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Story {
    FirstSync,
    Update,
    Prune,
    ForcedRecreation,
    Deletion,
}

impl Story {
    fn start(self) -> Vec<(&'static str, Option<String>)> {
        vec![
            ("app/one.yaml", Some(ONE.to_owned())),
            ("app/two.yaml", Some(TWO.to_owned())),
            ("app/three.yaml", Some(THREE.to_owned())),
            ("app/web.yaml", Some(SERVICE.to_owned())),
            ("app/fixed.yaml", Some(FIXED.replace("STEP", "1"))),
        ]
    }

    fn change(self) -> Vec<(&'static str, Option<String>)> {
        match self {
            Self::Update => {
                vec![
                    ("app/one.yaml", Some(ONE_CHANGED.to_owned())),
                    ("app/two.yaml", Some(TWO_CHANGED.to_owned())),
                ]
            }
            Self::Prune => vec![("app/two.yaml", None), ("app/three.yaml", None), ("app/web.yaml", None)],
            Self::ForcedRecreation => vec![("app/fixed.yaml", Some(FIXED.replace("STEP", "2")))],
            Self::FirstSync | Self::Deletion => Vec::new(),
        }
    }
}

fn borrowed<'a>(files: &'a [(&'static str, Option<String>)]) -> Vec<(&'static str, Option<&'a str>)> {
    files.iter().map(|(path, content)| (*path, content.as_deref())).collect()
}

/// Tells the story; with `crash`, the controller dies after that many writes. Gives the ending and the writes there were.
async fn tell(stage: &mut Stage, story: Story, crash: Option<u64>) -> (Value, u64) {
    stage.turn().await.unwrap();
    // Every telling starts from the same files but a commit of its own.
    let base = stage.repository.commit("start", &borrowed(&story.start())).unwrap();
    let mut commits = vec![base.clone()];
    let foreign = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "foreign"}, "data": {"mine": "yes"}});
    stage.apply(&foreign).await.unwrap();
    stage.add_source().await.unwrap();
    stage
        .until(&stage.repositories(), "apps", |object| {
            sluice_testkit::waiting::text(object, "/status/artifact/revision").ends_with(&base)
        })
        .await
        .unwrap();
    if story != Story::FirstSync {
        stage.add_kustomization("app", "./app", json!({})).await.unwrap();
        stage.ready("app", &base).await.unwrap();
    }
    stage.proxy.clear();
    if let Some(writes) = crash {
        stage.proxy.crash_after(writes);
    }
    match story {
        Story::FirstSync => stage.add_kustomization("app", "./app", json!({})).await.unwrap(),
        Story::Deletion => {
            stage.kustomizations().delete("app", &DeleteParams::default()).await.unwrap();
        }
        _ => commits.push(stage.push(&borrowed(&story.change())).await.unwrap()),
    }
    if crash.is_some() {
        tokio::time::timeout(sluice_scenarios::LIMIT, stage.proxy.crashed()).await.expect("the write came");
        stage.kill_kustomize().await.unwrap();
        stage.proxy.resume();
        stage.start_kustomize().await.unwrap();
    }
    let last = commits.last().unwrap().clone();
    if story == Story::Deletion {
        stage.until_gone(&stage.kustomizations(), "app").await.unwrap();
    } else {
        stage.ready("app", &last).await.unwrap();
    }
    let writes = u64::try_from(stage.proxy.writes().iter().filter(|seen| seen.code < 300).count()).unwrap();
    let told = ending(stage, &commits).await.unwrap();
    if story != Story::Deletion {
        stage.kustomizations().delete("app", &DeleteParams::default()).await.unwrap();
        stage.until_gone(&stage.kustomizations(), "app").await.unwrap();
    }
    stage.repositories().delete("apps", &DeleteParams::default()).await.unwrap();
    (told, writes)
}

async fn survives_every_crash(story: Story) {
    let mut stage = Stage::start().await.unwrap();
    let (calm, writes) = tell(&mut stage, story, None).await;
    println!("{story:?}: {writes} writes");
    assert!(writes > 1, "{story:?} writes");
    let has = |name: &str| calm.get(format!("ConfigMap/{name}")).is_some();
    assert!(has("foreign"), "{calm:#}");
    match story {
        Story::Deletion => assert!(!has("one") && !has("two"), "{calm:#}"),
        Story::Prune => assert!(has("one") && !has("two"), "{calm:#}"),
        _ => assert!(has("one") && has("two") && has("fixed"), "{calm:#}"),
    }
    for crash in 1..=writes {
        let (told, _) = tell(&mut stage, story, Some(crash)).await;
        assert_eq!(told, calm, "{story:?}, killed after write {crash} of {writes}");
    }
    stage.end().await.unwrap();
}

#[tokio::test]
async fn a_first_sync_survives_a_crash_after_any_write() {
    survives_every_crash(Story::FirstSync).await;
}

#[tokio::test]
async fn an_update_survives_a_crash_after_any_write() {
    survives_every_crash(Story::Update).await;
}

#[tokio::test]
async fn pruning_survives_a_crash_after_any_write() {
    survives_every_crash(Story::Prune).await;
}

#[tokio::test]
async fn a_forced_recreation_survives_a_crash_after_any_write() {
    survives_every_crash(Story::ForcedRecreation).await;
}

#[tokio::test]
async fn a_deletion_survives_a_crash_after_any_write() {
    survives_every_crash(Story::Deletion).await;
}
