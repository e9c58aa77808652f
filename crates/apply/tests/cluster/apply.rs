//! What an apply leaves behind, and what it costs.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use sluice_apply::{Action, Fate, IgnoreRule, IgnoreRules, Memory, Missing, Policy};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::fake::{DIALECT, Fake, status};
use crate::objects::*;

#[tokio::test]
async fn a_few_new_objects_cost_a_look_and_an_apply_each() {
    let fake = Fake::new();
    let cluster = fake.cluster();
    let report =
        apply(&target(&cluster), &[config("a", json!({"k": "1"}))], &policy(), &mut Memory::default()).await;
    assert_eq!(actions(&report), [Some(Action::Created)]);
    assert_eq!(
        fake.take_log(),
        [format!("GET {PATH}a"), format!("PATCH {PATH}a?fieldManager=kustomize-controller&force=true"),]
    );
    assert_eq!(fake.get(&format!("{PATH}a")).unwrap()["data"]["k"], "1");
}

#[tokio::test]
async fn many_new_objects_share_one_list() {
    let fake = Fake::new();
    let cluster = fake.cluster();
    let stage: Vec<_> = (0..20).map(|n| config(&format!("c{n}"), json!({"k": "1"}))).collect();
    let wide = Policy { concurrency: 20, ..policy() };
    let report = apply(&target(&cluster), &stage, &wide, &mut Memory::default()).await;
    assert!(report.is_complete());
    let log = fake.take_log();
    assert_eq!(log.iter().filter(|line| line.starts_with("GET")).count(), 1, "{log:?}");
    assert_eq!(log.len(), 21);
}

#[tokio::test]
async fn what_is_as_it_was_left_and_watched_costs_nothing() {
    let fake = Fake::new();
    let cluster = fake.cluster();
    let lease = cluster.watch_owned([&id("a")]);
    assert!(cluster.synced(&lease, Duration::from_secs(5)).await);
    let (target, mut memory) = (target(&cluster), Memory::default());
    let stage = [config("a", json!({"k": "1"}))];
    apply(&target, &stage, &policy(), &mut memory).await;
    fake.take_log();
    let report = apply(&target, &stage, &policy(), &mut memory).await;
    assert_eq!(actions(&report), [Some(Action::Unchanged)]);
    assert!(fake.take_log().is_empty());
    let changed = [config("a", json!({"k": "2"}))];
    let report = apply(&target, &changed, &policy(), &mut memory).await;
    assert_eq!(actions(&report), [Some(Action::Configured)]);
    assert_eq!(fake.take_log().len(), 1, "a change of a watched object costs the apply alone");
}

#[tokio::test]
async fn what_may_not_be_watched_is_looked_at_and_not_written() {
    let fake = Fake::new();
    let cluster = fake.cluster();
    let (target, mut memory) = (target(&cluster), Memory::default());
    let stage = [config("a", json!({"k": "1"}))];
    apply(&target, &stage, &policy(), &mut memory).await;
    fake.take_log();
    let report = apply(&target, &stage, &policy(), &mut memory).await;
    assert_eq!(actions(&report), [Some(Action::Unchanged)]);
    assert_eq!(fake.take_log(), [format!("GET {PATH}a")]);
}

#[tokio::test]
async fn what_an_earlier_life_left_as_desired_is_read_and_not_written() {
    let fake = Fake::new();
    let cluster = fake.cluster();
    let target = target(&cluster);
    let stage = [config("a", json!({"k": "1"}))];
    apply(&target, &stage, &policy(), &mut Memory::default()).await;
    fake.take_log();
    let mut memory = Memory::default();
    let report = apply(&target, &stage, &policy(), &mut memory).await;
    assert_eq!(actions(&report), [Some(Action::Unchanged)]);
    assert_eq!(fake.take_log(), [format!("GET {PATH}a"), format!("GET {PATH}a")], "metadata, then the whole");
    apply(&target, &stage, &policy(), &mut memory).await;
    assert_eq!(fake.take_log(), [format!("GET {PATH}a")], "it is remembered now");

    let other = [config("a", json!({"k": "2"}))];
    let report = apply(&target, &other, &policy(), &mut Memory::default()).await;
    assert_eq!(actions(&report), [Some(Action::Configured)]);
    assert_eq!(fake.take_log().iter().filter(|line| line.starts_with("PATCH")).count(), 1);
}

#[tokio::test]
async fn an_apply_that_changes_nothing_is_called_unchanged() {
    let fake = Fake::new();
    let cluster = fake.cluster();
    let stage = [config("a", json!({"k": "1"}))];
    apply(&target(&cluster), &stage, &policy(), &mut Memory::default()).await;
    let before = fake.get(&format!("{PATH}a"));
    let report = apply(&target(&cluster), &stage, &policy(), &mut Memory::default()).await;
    assert_eq!(actions(&report), [Some(Action::Unchanged)]);
    assert_eq!(fake.get(&format!("{PATH}a")), before);
}

#[tokio::test]
async fn what_kubectl_edited_is_taken_over_and_removed() {
    let fake = Fake::new();
    let cluster = fake.cluster();
    let path = format!("{PATH}a");
    fake.put(&path, json!({"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "a", "namespace": "team", "generation": 1,
            "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}"},
            "managedFields": [{"manager": "kubectl-client-side-apply", "operation": "Update", "apiVersion": "v1",
                "fieldsV1": {"f:data": {"f:stray": {}, "f:k": {}}}}]},
        "data": {"stray": "x", "k": "0"}}));
    let stage = [config("a", json!({"k": "1"}))];
    let report = apply(&target(&cluster), &stage, &policy(), &mut Memory::default()).await;
    assert_eq!(actions(&report), [Some(Action::Configured)]);
    let after = fake.get(&path).unwrap();
    assert_eq!(after["data"], json!({"k": "1"}));
    assert_eq!(after["metadata"]["annotations"], json!({}));
    assert_eq!(after["metadata"]["managedFields"].as_array().map(Vec::len), Some(1));
    assert_eq!(fake.take_log().len(), 3, "look, take over, apply");
}

#[tokio::test]
async fn controls_on_the_live_object_keep_hands_off() {
    let fake = Fake::new();
    let cluster = fake.cluster();
    for (name, key, value) in [("a", "reconcile", "disabled"), ("b", "ssa", "Ignore")] {
        fake.put(&format!("{PATH}{name}"), json!({"apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": name, "namespace": "team", "annotations": {DIALECT.group.to_owned() + "/" + key: value}},
            "data": {"k": "0"}}));
    }
    let mut create_only = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", "namespace": "team",
        "labels": {"kustomize.toolkit.fluxcd.io/ssa": "IfNotPresent"}}, "data": {"k": "1"}});
    fake.put(&format!("{PATH}c"), create_only.clone());
    create_only["data"]["k"] = json!("2");
    let stage = [config("a", json!({})), config("b", json!({})), desired(create_only)];
    let report = apply(&target(&cluster), &stage, &policy(), &mut Memory::default()).await;
    assert_eq!(actions(&report), [Some(Action::Skipped); 3]);
    assert_eq!(fake.get(&format!("{PATH}c")).unwrap()["data"]["k"], "1");
}

#[tokio::test]
async fn a_control_that_the_watch_has_not_told_of_yet_keeps_hands_off() {
    let fake = Fake::new();
    let cluster = fake.cluster();
    let lease = cluster.watch_owned([&id("a")]);
    assert!(cluster.synced(&lease, Duration::from_secs(5)).await);
    let (target, mut memory) = (target(&cluster), Memory::default());
    apply(&target, &[config("a", json!({"k": "1"}))], &policy(), &mut memory).await;
    let path = format!("{PATH}a");
    let mut paused = fake.get(&path).unwrap();
    paused["metadata"]["annotations"] = json!({"kustomize.toolkit.fluxcd.io/reconcile": "disabled"});
    // As if the event were still on its way: the object changes, and no watch is told.
    fake.put_quietly(&path, paused);
    fake.take_log();
    let report = apply(&target, &[config("a", json!({"k": "2"}))], &policy(), &mut memory).await;
    assert_eq!(actions(&report), [Some(Action::Skipped)]);
    assert_eq!(fake.get(&path).unwrap()["data"]["k"], "1");
    assert_eq!(fake.take_log().len(), 2, "the apply that was refused, and one look");
}

#[tokio::test]
async fn an_object_that_others_keep_changing_is_applied_all_the_same() {
    let fake = Fake::new();
    let cluster = fake.cluster();
    let mut memory = Memory::default();
    apply(&target(&cluster), &[config("a", json!({"k": "1"}))], &policy(), &mut memory).await;
    fake.take_log();
    fake.restless(&format!("{PATH}a"));
    let changed = [config("a", json!({"k": "2"}))];
    let report = apply(&target(&cluster), &changed, &policy(), &mut memory).await;
    assert_eq!(actions(&report), [Some(Action::Configured)]);
    assert_eq!(fake.get(&format!("{PATH}a")).unwrap()["data"]["k"], "2");
    assert_eq!(fake.take_log().len(), 8, "four looks and four applies, the last one whatever it meets");
}

#[tokio::test(start_paused = true)]
async fn after_its_deadline_nothing_is_waited_for_and_each_object_is_named() {
    let fake = Fake::new();
    let cluster = fake.cluster();
    fake.hang("PATCH");
    let began = tokio::time::Instant::now();
    let target = target(&cluster).until(began + Duration::from_secs(3));
    let stage: Vec<_> = ["a", "b", "c"].iter().map(|name| config(name, json!({}))).collect();
    let one_by_one = Policy { concurrency: 1, ..policy() };
    let report = apply(&target, &stage, &one_by_one, &mut Memory::default()).await;
    assert_eq!(began.elapsed(), Duration::from_secs(3));
    let texts: Vec<_> = report.failures().map(ToString::to_string).collect();
    assert_eq!(
        texts,
        ["a", "b", "c"].map(|name| format!(
            "ConfigMap/team/{name} dry-run failed: timed out before the server answered"
        ))
    );
    assert_eq!(fake.take_log().iter().filter(|line| line.starts_with("PATCH")).count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_large_stage_takes_the_turns_nobody_else_needs() {
    let fake = Fake::new();
    let cluster = fake.cluster();
    fake.hang("PATCH");
    let target = target(&cluster).until(tokio::time::Instant::now() + Duration::from_secs(3));
    let policy = Policy { concurrency: 2, spare: Arc::new(Semaphore::new(3)), ..policy() };
    let stage =
        |prefix: &str| (0..10).map(|n| config(&format!("{prefix}{n}"), json!({}))).collect::<Vec<_>>();
    let (one, other) = (stage("one"), stage("other"));
    let (mut first, mut second) = (Memory::default(), Memory::default());
    tokio::join!(apply(&target, &one, &policy, &mut first), apply(&target, &other, &policy, &mut second));
    let written = |log: &[String]| log.iter().filter(|line| line.starts_with("PATCH")).count();
    assert_eq!(written(&fake.take_log()), 2 + 2 + 3, "two turns each, and three that they share");
    assert_eq!(policy.spare.available_permits(), 3, "all are given back");
}

#[tokio::test]
async fn one_object_that_fails_does_not_stop_the_others_unless_told_to() {
    let fake = Fake::new();
    let cluster = fake.cluster();
    fake.refuse("configmaps/b?", 422, status(422, "Invalid", "data: Invalid value"));
    let stage = [config("a", json!({})), config("b", json!({})), config("c", json!({}))];
    let flux = Policy { all_or_nothing: true, ..policy() };
    let report = apply(&target(&cluster), &stage, &flux, &mut Memory::default()).await;
    assert_eq!(actions(&report), [None; 3]);
    assert!(fake.get(&format!("{PATH}a")).is_none());
    let report = apply(&target(&cluster), &stage, &policy(), &mut Memory::default()).await;
    assert_eq!(actions(&report), [Some(Action::Created), None, Some(Action::Created)]);
    let texts: Vec<_> = report.failures().map(ToString::to_string).collect();
    assert_eq!(texts, ["ConfigMap/team/b dry-run failed (Invalid): data: Invalid value"]);
}

#[tokio::test]
async fn what_is_missing_parks_the_object_and_names_it() {
    let fake = Fake::new();
    let cluster = fake.cluster();
    let widget = json!({"apiVersion": "example.org/v1", "kind": "Widget", "metadata": {"name": "w", "namespace": "team"}});
    let elsewhere =
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": "nowhere"}});
    let nowhere = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}});
    let stage = [desired(widget), desired(elsewhere), desired(nowhere)];
    let report = apply(&target(&cluster), &stage, &policy(), &mut Memory::default()).await;
    let parked: Vec<_> = report.parked().map(|(on, error)| (on.clone(), error.to_string())).collect();
    assert_eq!(
        parked,
        [
            (
                Missing::Kind { group: "example.org".into(), kind: "Widget".into() },
                "Widget/team/w dry-run failed: no matches for kind \"Widget\" in version \"example.org/v1\""
                    .to_owned()
            ),
            (
                Missing::Namespace("nowhere".into()),
                "ConfigMap/nowhere/a not found: namespaces \"nowhere\" not found".to_owned()
            ),
        ]
    );
    let failed: Vec<_> = report.failures().map(ToString::to_string).collect();
    assert_eq!(
        failed,
        ["ConfigMap/a namespace not specified: the server could not find the requested resource"]
    );
}

#[tokio::test]
async fn an_immutable_field_recreates_only_what_would_be_accepted_anew() {
    let fake = Fake::new();
    let cluster = fake.cluster();
    let stage = [config("a", json!({"k": "1"}))];
    apply(&target(&cluster), &stage, &policy(), &mut Memory::default()).await;
    let before = fake.get(&format!("{PATH}a")).unwrap();
    let force = Policy { force: true, ..policy() };
    let changed = [config("a", json!({"k": "2"}))];

    fake.refuse("force=true", 422, status(422, "Invalid", "data.k: Invalid value: too short"));
    let report = apply(&target(&cluster), &changed, &force, &mut Memory::default()).await;
    assert_eq!(actions(&report), [None], "a plain mistake deletes nothing");

    fake.state.lock().unwrap().refusals.clear();
    fake.refuse(
        "force=true",
        422,
        status(422, "Invalid", "data: Forbidden: field is immutable when `immutable` is set"),
    );
    fake.refuse("dryRun=All", 422, status(422, "Invalid", "data.k: Invalid value"));
    let report = apply(&target(&cluster), &changed, &force, &mut Memory::default()).await;
    assert_eq!(actions(&report), [None], "what would not be accepted anew is not deleted");
    assert_eq!(fake.get(&format!("{PATH}a")), Some(before.clone()));
    assert!(fake.take_log().iter().all(|line| !line.starts_with("DELETE")));
}

#[tokio::test]
async fn an_object_held_by_finalizers_is_parked_until_it_is_gone() {
    let fake = Fake::new();
    let cluster = fake.cluster();
    let stage = [config("a", json!({"k": "1"}))];
    apply(&target(&cluster), &stage, &policy(), &mut Memory::default()).await;
    let path = format!("{PATH}a");
    let mut held = fake.get(&path).unwrap();
    held["metadata"]["finalizers"] = json!(["x/y"]);
    fake.put(&path, held);
    let force = Policy { force: true, ..policy() };
    fake.refuse("force=true", 422, status(422, "Invalid", "field is immutable"));
    let changed = [config("a", json!({"k": "2"}))];
    for _ in 0..2 {
        let report = apply(&target(&cluster), &changed, &force, &mut Memory::default()).await;
        let parked: Vec<_> = report.parked().map(|(on, _)| on.clone()).collect();
        assert_eq!(parked, [Missing::Termination(changed[0].id.clone())]);
    }
    let deletions = fake.take_log().iter().filter(|line| line.starts_with("DELETE")).count();
    assert_eq!(deletions, 1);
    fake.remove(&path);
    fake.state.lock().unwrap().refusals.clear();
    let report = apply(&target(&cluster), &changed, &force, &mut Memory::default()).await;
    assert_eq!(actions(&report), [Some(Action::Created)]);
}

#[tokio::test]
async fn an_ignored_difference_is_no_drift_and_survives_another_change() {
    let fake = Fake::new();
    let cluster = fake.cluster();
    let deployment = |replicas: u32, image: &str| {
        desired(json!({"apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "d", "namespace": "team", "labels": labels()}, "spec": {"replicas": replicas, "image": image}}))
    };
    let path = "/apis/apps/v1/namespaces/team/deployments/d";
    let rules = IgnoreRules::new(vec![IgnoreRule { paths: vec!["/spec/replicas".into()], target: None }]);
    let ignoring = Policy { ignore: Arc::new(rules), ..policy() };
    let report = apply(&target(&cluster), &[deployment(1, "a")], &ignoring, &mut Memory::default()).await;
    assert_eq!(actions(&report), [Some(Action::Created)]);
    let mut scaled = fake.get(path).unwrap();
    scaled["spec"]["replicas"] = json!(5);
    fake.put(path, scaled);
    let report = apply(&target(&cluster), &[deployment(1, "a")], &ignoring, &mut Memory::default()).await;
    assert_eq!(actions(&report), [Some(Action::Unchanged)]);
    assert_eq!(fake.get(path).unwrap()["spec"]["replicas"], 5);
    let report = apply(&target(&cluster), &[deployment(1, "b")], &ignoring, &mut Memory::default()).await;
    assert_eq!(actions(&report), [Some(Action::Configured)]);
    assert_eq!(fake.get(path).unwrap()["spec"], json!({"replicas": 5, "image": "b"}));
}

#[tokio::test]
async fn a_cluster_scoped_object_with_a_namespace_is_known_again() {
    let fake = Fake::new();
    fake.state.lock().unwrap().kinds.push(("example.org", "Zone", "zones", false));
    let cluster = fake.cluster();
    let zone = json!({"apiVersion": "example.org/v1", "kind": "Zone", "metadata": {"name": "z", "namespace": "team",
        "labels": {"kustomize.toolkit.fluxcd.io/ssa": "IfNotPresent"}}});
    let stage = [desired(zone)];
    for action in [Action::Created, Action::Skipped, Action::Skipped] {
        let report = apply(&target(&cluster), &stage, &policy(), &mut Memory::default()).await;
        assert_eq!(actions(&report), [Some(action)]);
        assert_eq!(report.outcomes[0].id.namespace, "", "it has no namespace, whatever stands in it");
    }
    assert!(fake.take_log().iter().all(|line| !line.starts_with("DELETE")));
}

#[tokio::test]
async fn a_cancelled_pass_tries_nothing_more() {
    let fake = Fake::new();
    let cluster = fake.cluster();
    let cancel = CancellationToken::new();
    cancel.cancel();
    let report =
        target(&cluster).apply(&[config("a", json!({}))], &policy(), &Memory::default(), &cancel).await;
    assert!(matches!(report.outcomes[0].fate, Fate::Untried));
    assert!(fake.take_log().is_empty());
}

#[tokio::test]
async fn who_may_not_list_reads_one_by_one() {
    let fake = Fake::new();
    let cluster = fake.cluster();
    fake.refuse("limit=", 403, status(403, "Forbidden", "cannot list"));
    let stage: Vec<_> = (0..5).map(|n| config(&format!("c{n}"), json!({"k": "1"}))).collect();
    let mut memory = Memory::default();
    for lists in [1, 0] {
        let report = apply(&target(&cluster), &stage, &policy(), &mut memory).await;
        assert!(report.is_complete());
        let log = fake.take_log();
        assert_eq!(log.iter().filter(|line| line.contains("limit=")).count(), lists, "{log:?}");
        assert_eq!(log.iter().filter(|line| line.starts_with("GET")).count(), 5 + lists, "{log:?}");
    }
}
