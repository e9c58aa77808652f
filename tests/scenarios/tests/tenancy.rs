//! Whose rights are used, and what else an application is made of.
#![allow(clippy::unwrap_used, clippy::panic)]

use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use sluice_scenarios::{Stage, config_map};
use sluice_testkit::waiting::{condition_text, text};

fn role(resources: &[&str]) -> Value {
    json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "team"},
        "rules": [{"apiGroups": [""], "resources": resources, "verbs": ["*"]}]})
}

#[tokio::test]
async fn a_service_account_may_do_only_what_its_roles_allow() {
    let stage = Stage::start().await.unwrap();
    let secret = "apiVersion: v1\nkind: Secret\nmetadata: {name: password}\nstringData: {word: x}\n";
    let one = config_map("one", "1");
    let commit = stage
        .repository
        .commit("first", &[("app/one.yaml", Some(&one)), ("app/secret.yaml", Some(secret))])
        .unwrap();
    stage
        .apply(&json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "team"}}))
        .await
        .unwrap();
    stage.apply(&role(&["configmaps"])).await.unwrap();
    stage
        .apply(&json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": "team"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "team"},
            "subjects": [{"kind": "ServiceAccount", "name": "team", "namespace": stage.namespace}]}))
        .await
        .unwrap();
    stage.add_source().await.unwrap();
    stage.add_kustomization("app", "./app", json!({"serviceAccountName": "team"})).await.unwrap();
    let failed = stage
        .until(&stage.kustomizations(), "app", |object| condition_text(object, "Ready", "status") == "False")
        .await
        .unwrap();
    let message = condition_text(&failed, "Ready", "message");
    assert!(message.contains("cannot") && message.contains("secrets"), "{message}");
    assert!(stage.api("v1", "Secret", "secrets").get("password").await.is_err());
    stage.apply(&role(&["configmaps", "secrets"])).await.unwrap();
    stage.ready("app", &commit).await.unwrap();
    assert!(stage.config_maps().get("one").await.is_ok());
    stage.end().await.unwrap();
}

#[tokio::test]
async fn a_watched_substitution_source_is_applied_when_it_changes() {
    let stage = Stage::start().await.unwrap();
    let one = config_map("one", "${word}");
    let commit = stage.repository.commit("first", &[("app/one.yaml", Some(&one))]).unwrap();
    let vars = json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"word": "first"},
        "metadata": {"name": "vars", "labels": {"reconcile.fluxcd.io/watch": "Enabled"}}});
    stage.apply(&vars).await.unwrap();
    stage.add_source().await.unwrap();
    let spec = json!({"postBuild": {"substituteFrom": [{"kind": "ConfigMap", "name": "vars"}]}});
    stage.add_kustomization("app", "./app", spec).await.unwrap();
    stage.ready("app", &commit).await.unwrap();
    assert_eq!(text(&stage.config_maps().get("one").await.unwrap(), "/data/step"), "first");
    let change = Patch::Merge(json!({"data": {"word": "second"}}));
    stage.config_maps().patch("vars", &PatchParams::default(), &change).await.unwrap();
    stage.until(&stage.config_maps(), "one", |object| text(object, "/data/step") == "second").await.unwrap();
    stage.end().await.unwrap();
}

#[tokio::test]
async fn only_labelled_substitution_sources_are_watched() {
    let stage = Stage::start().await.unwrap();
    let (one, two) = (config_map("one", "${word}"), config_map("two", "${word}"));
    let commit =
        stage.repository.commit("first", &[("a/1.yaml", Some(&one)), ("b/2.yaml", Some(&two))]).unwrap();
    stage.add_source().await.unwrap();
    for (name, vars, labels) in
        [("a", "plain", json!({})), ("b", "watched", json!({"reconcile.fluxcd.io/watch": "Enabled"}))]
    {
        let vars_of = json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"word": "first"},
            "metadata": {"name": vars, "labels": labels}});
        stage.apply(&vars_of).await.unwrap();
        let spec = json!({"postBuild": {"substituteFrom": [{"kind": "ConfigMap", "name": vars}]}});
        stage.add_kustomization(name, &format!("./{name}"), spec).await.unwrap();
        stage.ready(name, &commit).await.unwrap();
    }
    for word in ["second", "third"] {
        let change = Patch::Merge(json!({"data": {"word": word}}));
        for vars in ["plain", "watched"] {
            stage.config_maps().patch(vars, &PatchParams::default(), &change).await.unwrap();
        }
        stage.until(&stage.config_maps(), "two", |object| text(object, "/data/step") == word).await.unwrap();
    }
    assert_eq!(text(&stage.config_maps().get("one").await.unwrap(), "/data/step"), "first");
    stage.end().await.unwrap();
}

#[tokio::test]
async fn an_encrypted_secret_without_decryption_stops_the_whole_set() {
    let stage = Stage::start().await.unwrap();
    let secret = "apiVersion: v1
kind: Secret
metadata: {name: password}
data: {word: ENC[AES256_GCM,data:aaaa,iv:aaaa,tag:aaaa,type:str]}
sops: {version: 3.8.1, mac: x}
";
    let one = config_map("one", "1");
    stage
        .repository
        .commit("first", &[("app/one.yaml", Some(&one)), ("app/secret.yaml", Some(secret))])
        .unwrap();
    stage.add_source().await.unwrap();
    stage.add_kustomization("app", "./app", json!({})).await.unwrap();
    stage
        .until(&stage.kustomizations(), "app", |object| condition_text(object, "Ready", "status") == "False")
        .await
        .unwrap();
    assert!(stage.config_maps().get("one").await.is_err(), "nothing of the set is applied");
    stage.end().await.unwrap();
}

#[tokio::test]
async fn who_may_only_pass_on_what_he_has_gets_his_role_made_before_it_is_bound() {
    let stage = Stage::start().await.unwrap();
    let rbac = "rbac.authorization.k8s.io";
    stage
        .apply(&json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "team"}}))
        .await
        .unwrap();
    let rules = json!([
        {"apiGroups": [rbac], "resources": ["roles", "rolebindings"], "verbs": ["get", "create", "patch", "delete"]},
        {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"]},
    ]);
    let role = json!({"apiVersion": format!("{rbac}/v1"), "kind": "Role", "metadata": {"name": "team"}, "rules": rules});
    stage.apply(&role).await.unwrap();
    let subjects = json!([{"kind": "ServiceAccount", "name": "team", "namespace": stage.namespace}]);
    let reference = |name: &str| json!({"apiGroup": rbac, "kind": "Role", "name": name});
    let binding = |name: &str| {
        json!({"apiVersion": format!("{rbac}/v1"), "kind": "RoleBinding", "metadata": {"name": name},
            "roleRef": reference(name), "subjects": subjects})
    };
    stage.apply(&binding("team")).await.unwrap();
    let bound = binding("reader").to_string();
    let made = json!({"apiVersion": format!("{rbac}/v1"), "kind": "Role", "metadata": {"name": "reader"},
        "rules": [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"]}]})
    .to_string();
    // The names of the files put the binding first.
    let files = [("app/a.yaml", Some(bound.as_str())), ("app/b.yaml", Some(made.as_str()))];
    let commit = stage.repository.commit("first", &files).unwrap();
    stage.add_source().await.unwrap();
    let patient = json!({"serviceAccountName": "team", "retryInterval": "30m"});
    stage.add_kustomization("app", "./app", patient).await.unwrap();
    stage.ready("app", &commit).await.unwrap();
    let told = stage.told("Kustomization", "app").await.unwrap();
    assert!(told.iter().all(|event| !event.contains("ReconciliationFailed")), "{told:?}");
    stage.end().await.unwrap();
}
