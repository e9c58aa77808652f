//! Stories that go on while the API refuses, forgets, lags and closes connections.
#![allow(clippy::unwrap_used, clippy::panic)]

use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::json;
use sluice_scenarios::{LIMIT, Stage, config_map, ending};
use sluice_testkit::proxy::Chaos;
use sluice_testkit::waiting::{condition_text, text};
use sluice_testkit::{Fault, Rule};

/// A stage on which one ConfigMap `one` has been applied.
async fn applied() -> Stage {
    let stage = Stage::start().await.unwrap();
    let one = config_map("one", "1");
    let commit = stage.repository.commit("first", &[("app/one.yaml", Some(&one))]).unwrap();
    stage.add_source().await.unwrap();
    stage.add_kustomization("app", "./app", json!({})).await.unwrap();
    stage.ready("app", &commit).await.unwrap();
    stage
}

/// Sees that the story was about something: every fault befell a request.
async fn struck(stage: &Stage) {
    tokio::time::timeout(LIMIT, stage.proxy.struck()).await.expect("every fault strikes");
}

/// Pushes a second step and sees it arrive.
async fn next_step_arrives(stage: &Stage) {
    let one = config_map("one", "2");
    let commit = stage.push(&[("app/one.yaml", Some(&one))]).await.unwrap();
    stage.ready("app", &commit).await.unwrap();
    assert_eq!(text(&stage.config_maps().get("one").await.unwrap(), "/data/step"), "2");
    struck(stage).await;
}

#[tokio::test]
async fn random_failures_delay_but_do_not_change_the_ending() {
    let mut stage = Stage::start().await.unwrap();
    let mut endings = Vec::new();
    for seed in [None, Some(1), Some(2), Some(3)] {
        stage.turn().await.unwrap();
        let (one, two) = (config_map("one", "1"), config_map("two", "1"));
        let first = stage
            .repository
            .commit("first", &[("app/one.yaml", Some(&one)), ("app/two.yaml", Some(&two))])
            .unwrap();
        stage.add_source().await.unwrap();
        stage.proxy.set_chaos(seed.map(|seed| Chaos { seed, per_mille: 250 }));
        stage.add_kustomization("app", "./app", json!({"retryInterval": "1s"})).await.unwrap();
        stage.ready("app", &first).await.unwrap();
        let one = config_map("one", "2");
        let second = stage.push(&[("app/one.yaml", Some(&one)), ("app/two.yaml", None)]).await.unwrap();
        stage.ready("app", &second).await.unwrap();
        stage.until_gone(&stage.config_maps(), "two").await.unwrap();
        stage.proxy.set_chaos(None);
        endings.push(ending(&stage, &[first, second]).await.unwrap());
        stage.kustomizations().delete("app", &DeleteParams::default()).await.unwrap();
        stage.until_gone(&stage.kustomizations(), "app").await.unwrap();
        stage.repositories().delete("apps", &DeleteParams::default()).await.unwrap();
    }
    for told in &endings {
        assert_eq!(told, &endings[0]);
    }
    stage.end().await.unwrap();
}

#[tokio::test]
async fn closed_watches_are_taken_up_again() {
    let stage = applied().await;
    for _ in 0..3 {
        stage.proxy.close_watches();
    }
    next_step_arrives(&stage).await;
    stage.end().await.unwrap();
}

#[tokio::test]
async fn an_expired_watch_is_answered_by_a_new_list() {
    let stage = applied().await;
    stage.proxy.set_rules(vec![Rule::first(5, Fault::Refuse(410), |seen| seen.watches)]);
    stage.proxy.close_watches();
    next_step_arrives(&stage).await;
    stage.end().await.unwrap();
}

#[tokio::test]
async fn lagging_watches_delay_but_do_not_mislead() {
    let stage = applied().await;
    stage.proxy.hold_watches(true);
    // While nothing is heard: the object is replaced by somebody else's of the same name, then the source moves on.
    stage.config_maps().delete("one", &DeleteParams::default()).await.unwrap();
    let foreign = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "one"}, "data": {"mine": "yes"}});
    stage.apply(&foreign).await.unwrap();
    let two = config_map("two", "1");
    let commit = stage.push(&[("app/one.yaml", None), ("app/two.yaml", Some(&two))]).await.unwrap();
    stage
        .until(&stage.repositories(), "apps", |object| {
            text(object, "/status/artifact/revision").ends_with(&commit)
        })
        .await
        .unwrap();
    stage.proxy.hold_watches(false);
    stage.ready("app", &commit).await.unwrap();
    // The name left Git, but the object that bears it now is nobody's to prune... unless it was adopted in between.
    let one = stage.config_maps().get_opt("one").await.unwrap();
    let adopted =
        stage.proxy.writes().iter().filter(|seen| seen.path.ends_with("configmaps/one")).count() > 1;
    assert!(one.is_some() || adopted, "a foreign object was deleted");
    stage.end().await.unwrap();
}

#[tokio::test]
async fn a_lost_answer_to_an_apply_is_made_good() {
    let stage = applied().await;
    let strike = |seen: &sluice_testkit::proxy::Seen| seen.writes && seen.resource == "configmaps";
    stage.proxy.set_rules(vec![Rule::first(1, Fault::Swallow(500), strike)]);
    next_step_arrives(&stage).await;
    stage.end().await.unwrap();
}

#[tokio::test]
async fn a_conflicting_status_write_does_not_lose_the_status() {
    let stage = applied().await;
    let strike = |seen: &sluice_testkit::proxy::Seen| seen.writes && seen.resource == "kustomizations/status";
    stage.proxy.set_rules(vec![Rule::first(2, Fault::Refuse(409), strike)]);
    next_step_arrives(&stage).await;
    stage.end().await.unwrap();
}

#[tokio::test]
async fn a_status_that_could_not_be_written_is_written_later_and_whole() {
    let stage = applied().await;
    let two = config_map("two", "1");
    let second = stage.push(&[("app/two.yaml", Some(&two))]).await.unwrap();
    stage.ready("app", &second).await.unwrap();
    let strike = |seen: &sluice_testkit::proxy::Seen| seen.writes && seen.resource == "kustomizations/status";
    stage.proxy.set_rules(vec![Rule::first(3, Fault::Refuse(500), strike)]);
    let third = stage.push(&[("app/two.yaml", None)]).await.unwrap();
    let ready = stage.ready("app", &third).await.unwrap();
    stage.until_gone(&stage.config_maps(), "two").await.unwrap();
    struck(&stage).await;
    let entries =
        ready.data.pointer("/status/inventory/entries").and_then(serde_json::Value::as_array).unwrap();
    assert_eq!(entries.len(), 1, "what was pruned has left the inventory: {entries:?}");
    stage.end().await.unwrap();
}

#[tokio::test]
async fn a_throttled_controller_comes_back() {
    let stage = applied().await;
    stage.proxy.set_rules(vec![Rule::first(3, Fault::Refuse(429), |seen| seen.counts())]);
    next_step_arrives(&stage).await;
    stage.end().await.unwrap();
}

#[tokio::test]
async fn a_connection_that_breaks_during_an_apply_is_made_good() {
    let stage = applied().await;
    let strike = |seen: &sluice_testkit::proxy::Seen| seen.writes && seen.resource == "configmaps";
    stage.proxy.set_rules(vec![Rule::first(1, Fault::Close, strike)]);
    next_step_arrives(&stage).await;
    stage.end().await.unwrap();
}

#[tokio::test]
async fn a_restarted_controller_finds_nothing_to_write() {
    let mut stage = applied().await;
    stage.kill_kustomize().await.unwrap();
    stage.proxy.clear();
    stage.start_kustomize().await.unwrap();
    // A nudge shows that the object has been visited after the restart.
    let patch = json!({"metadata": {"annotations": {"reconcile.fluxcd.io/requestedAt": "again"}}});
    stage.kustomizations().patch("app", &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
    stage
        .until(&stage.kustomizations(), "app", |object| {
            text(object, "/status/lastHandledReconcileAt") == "again"
        })
        .await
        .unwrap();
    let writes: Vec<_> =
        stage.proxy.writes().into_iter().filter(|seen| seen.resource == "configmaps").collect();
    assert!(writes.is_empty(), "{writes:?}");
    stage.end().await.unwrap();
}

#[tokio::test]
async fn a_server_that_never_answers_is_given_up_at_the_timeout() {
    let stage = applied().await;
    let strike = |seen: &sluice_testkit::proxy::Seen| seen.writes && seen.resource == "configmaps";
    stage.proxy.set_rules(vec![Rule::first(1, Fault::Hang, strike)]);
    let one = config_map("one", "2");
    let began = std::time::Instant::now();
    let commit = stage.push(&[("app/one.yaml", Some(&one))]).await.unwrap();
    let words = ["ConfigMap/", "/one", "timed out"];
    stage
        .until(&stage.kustomizations(), "app", |object| {
            let message = condition_text(object, "Ready", "message");
            condition_text(object, "Ready", "reason") == "ReconciliationFailed"
                && words.iter().all(|word| message.contains(word))
        })
        .await
        .unwrap();
    // The timeout is 30 s.
    assert!((28..36).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
    stage.ready("app", &commit).await.unwrap();
    stage.end().await.unwrap();
}
