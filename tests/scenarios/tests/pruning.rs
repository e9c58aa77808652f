//! Never lose, never over-delete: what goes, what stays, and who decides.
#![allow(clippy::unwrap_used, clippy::panic)]

use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::{Value, json};
use sluice_scenarios::{Stage, config_map};
use sluice_testkit::waiting::{condition_text, text};

fn entries(object: &kube::api::DynamicObject) -> Vec<String> {
    let list = object
        .data
        .pointer("/status/inventory/entries")
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default();
    list.iter().map(|entry| entry["id"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn what_a_failed_revision_left_behind_is_pruned_by_the_next() {
    let stage = Stage::start().await.unwrap();
    let one = config_map("one", "1");
    let broken = "apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec: {ports: [{port: 99999}]}\n";
    stage
        .repository
        .commit("first", &[("app/one.yaml", Some(&one)), ("app/web.yaml", Some(broken))])
        .unwrap();
    stage.add_source().await.unwrap();
    stage.add_kustomization("app", "./app", json!({})).await.unwrap();
    stage
        .until(&stage.kustomizations(), "app", |object| condition_text(object, "Ready", "status") == "False")
        .await
        .unwrap();
    stage.until(&stage.config_maps(), "one", |_| true).await.unwrap();
    let two = config_map("two", "1");
    let second = stage
        .push(&[("app/one.yaml", None), ("app/web.yaml", None), ("app/two.yaml", Some(&two))])
        .await
        .unwrap();
    let ready = stage.ready("app", &second).await.unwrap();
    stage.until_gone(&stage.config_maps(), "one").await.unwrap();
    assert_eq!(entries(&ready), [format!("{}_two__ConfigMap", stage.namespace)]);
    stage.end().await.unwrap();
}

#[tokio::test]
async fn a_claimed_name_that_was_never_applied_stays_somebody_elses() {
    let mut stage = Stage::start().await.unwrap();
    let one = config_map("one", "1");
    let first = stage.repository.commit("first", &[("app/one.yaml", Some(&one))]).unwrap();
    let foreign = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "one"}, "data": {"mine": "yes"}});
    stage.apply(&foreign).await.unwrap();
    stage.add_source().await.unwrap();
    let arrived =
        |object: &kube::api::DynamicObject| text(object, "/status/artifact/revision").ends_with(&first);
    stage.until(&stage.repositories(), "apps", arrived).await.unwrap();
    // Finalizer, then claim: killed before the first apply.
    stage.proxy.crash_after(2);
    stage.add_kustomization("app", "./app", json!({})).await.unwrap();
    stage.proxy.crashed().await;
    stage.kill_kustomize().await.unwrap();
    let claimed = stage.kustomizations().get("app").await.unwrap();
    assert_eq!(entries(&claimed).len(), 1, "the claim is durable");
    let two = config_map("two", "1");
    let second = stage.push(&[("app/one.yaml", None), ("app/two.yaml", Some(&two))]).await.unwrap();
    let arrived =
        |object: &kube::api::DynamicObject| text(object, "/status/artifact/revision").ends_with(&second);
    stage.until(&stage.repositories(), "apps", arrived).await.unwrap();
    stage.proxy.resume();
    stage.start_kustomize().await.unwrap();
    let ready = stage.ready("app", &second).await.unwrap();
    assert_eq!(text(&stage.config_maps().get("one").await.unwrap(), "/data/mine"), "yes");
    assert_eq!(entries(&ready).len(), 1, "{ready:?}");
    stage.kustomizations().delete("app", &DeleteParams::default()).await.unwrap();
    stage.until_gone(&stage.kustomizations(), "app").await.unwrap();
    assert!(stage.config_maps().get("one").await.is_ok());
    stage.end().await.unwrap();
}

#[tokio::test]
async fn what_is_disowned_or_protected_outlives_its_place_in_git() {
    let mut stage = Stage::start().await.unwrap();
    let names = ["relabelled", "kept", "disabled", "ignored", "plain"];
    let files: Vec<(String, String)> =
        names.iter().map(|name| (format!("app/{name}.yaml"), config_map(name, "1"))).collect();
    let changes: Vec<(&str, Option<&str>)> =
        files.iter().map(|(path, content)| (path.as_str(), Some(content.as_str()))).collect();
    let rest = config_map("rest", "1");
    stage.repository.commit("rest", &[("app/rest.yaml", Some(&rest))]).unwrap();
    let first = stage.repository.commit("first", &changes).unwrap();
    stage.add_source().await.unwrap();
    stage.add_kustomization("app", "./app", json!({})).await.unwrap();
    stage.ready("app", &first).await.unwrap();
    stage.kill_kustomize().await.unwrap();
    let prefix = "kustomize.toolkit.fluxcd.io";
    for (name, patch) in [
        ("relabelled", json!({"metadata": {"labels": {format!("{prefix}/name"): "other"}}})),
        ("kept", json!({"metadata": {"annotations": {format!("{prefix}/prune"): "disabled"}}})),
        ("disabled", json!({"metadata": {"annotations": {format!("{prefix}/reconcile"): "disabled"}}})),
        ("ignored", json!({"metadata": {"annotations": {format!("{prefix}/ssa"): "Ignore"}}})),
    ] {
        stage.config_maps().patch(name, &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
    }
    let gone: Vec<(&str, Option<&str>)> = changes.iter().map(|(path, _)| (*path, None)).collect();
    let second = stage.push(&gone).await.unwrap();
    let arrived =
        |object: &kube::api::DynamicObject| text(object, "/status/artifact/revision").ends_with(&second);
    stage.until(&stage.repositories(), "apps", arrived).await.unwrap();
    stage.start_kustomize().await.unwrap();
    let ready = stage.ready("app", &second).await.unwrap();
    stage.until_gone(&stage.config_maps(), "plain").await.unwrap();
    for name in ["relabelled", "kept", "disabled", "ignored"] {
        assert!(stage.config_maps().get(name).await.is_ok(), "{name} was deleted");
    }
    assert_eq!(entries(&ready), [format!("{}_rest__ConfigMap", stage.namespace)]);
    stage.end().await.unwrap();
}

#[tokio::test]
async fn deletion_policy_prune_and_suspension_decide_together() {
    let stage = Stage::start().await.unwrap();
    let one = config_map("one", "1");
    let commit = stage.repository.commit("first", &[("app/one.yaml", Some(&one))]).unwrap();
    stage.add_source().await.unwrap();
    let cases = [
        ("Delete", true, false, true),
        ("Delete", false, false, true),
        ("MirrorPrune", true, false, true),
        ("MirrorPrune", false, false, false),
        ("Orphan", true, false, false),
        ("WaitForTermination", true, false, true),
        ("Delete", true, true, false),
    ];
    for (index, (policy, prune, suspend, goes)) in cases.into_iter().enumerate() {
        let (name, member) = (format!("app{index}"), format!("p{index}-one"));
        let mut spec = json!({"deletionPolicy": policy, "prune": prune, "namePrefix": format!("p{index}-")});
        stage.add_kustomization(&name, "./app", spec.clone()).await.unwrap();
        stage.ready(&name, &commit).await.unwrap();
        if suspend {
            spec["suspend"] = json!(true);
            stage.add_kustomization(&name, "./app", spec).await.unwrap();
        }
        stage.kustomizations().delete(&name, &DeleteParams::default()).await.unwrap();
        stage.until_gone(&stage.kustomizations(), &name).await.unwrap();
        let case = format!("{policy}, prune {prune}, suspend {suspend}");
        if goes {
            stage.until_gone(&stage.config_maps(), &member).await.expect(&case);
        } else {
            assert!(stage.config_maps().get(&member).await.is_ok(), "{case}");
        }
    }
    stage.end().await.unwrap();
}

#[tokio::test]
async fn a_lost_status_is_rebuilt_and_nothing_is_deleted() {
    let mut stage = Stage::start().await.unwrap();
    let (one, two) = (config_map("one", "1"), config_map("two", "1"));
    let commit =
        stage.repository.commit("first", &[("app/1.yaml", Some(&one)), ("app/2.yaml", Some(&two))]).unwrap();
    stage.add_source().await.unwrap();
    stage.add_kustomization("app", "./app", json!({})).await.unwrap();
    let before = entries(&stage.ready("app", &commit).await.unwrap());
    stage.kill_kustomize().await.unwrap();
    let object = stage.kustomizations().get("app").await.unwrap();
    let nothing: serde_json::Map<String, Value> =
        object.data["status"].as_object().unwrap().keys().map(|key| (key.clone(), Value::Null)).collect();
    let patch = Patch::Merge(json!({"status": nothing}));
    stage.kustomizations().patch_status("app", &PatchParams::default(), &patch).await.unwrap();
    stage.start_kustomize().await.unwrap();
    let after = entries(&stage.ready("app", &commit).await.unwrap());
    assert_eq!(before, after);
    for name in ["one", "two"] {
        assert!(stage.config_maps().get(name).await.is_ok());
    }
    stage.end().await.unwrap();
}
