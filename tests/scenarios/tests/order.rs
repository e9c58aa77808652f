//! What must come before what, and what nobody has to wait for.
#![allow(clippy::unwrap_used, clippy::panic)]

use kube::api::DeleteParams;
use serde_json::json;
use sluice_scenarios::{LIMIT, Stage, config_map};
use sluice_testkit::waiting::{condition_text, kind, objects, text};
use sluice_testkit::{Fault, Rule};

const CLAIM: &str = "apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: never}
spec: {accessModes: [ReadWriteOnce], storageClassName: none-such, resources: {requests: {storage: 1Gi}}}
";

#[tokio::test]
async fn definition_instance_namespace_and_workload_arrive_in_one_go() {
    let stage = Stage::start().await.unwrap();
    let word = format!("gadget{}", std::process::id());
    let namespace = format!("{}-inner", stage.namespace);
    let all = format!(
        "apiVersion: order.example.com/v1
kind: G{word}
metadata: {{name: thing, namespace: {namespace}}}
spec: {{x: 1}}
---
apiVersion: v1
kind: ConfigMap
metadata: {{name: one, namespace: {namespace}}}
---
apiVersion: v1
kind: Namespace
metadata: {{name: {namespace}}}
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {{name: {word}s.order.example.com}}
spec:
  group: order.example.com
  scope: Namespaced
  names: {{plural: {word}s, kind: G{word}}}
  versions:
    - name: v1
      served: true
      storage: true
      schema: {{openAPIV3Schema: {{type: object, x-kubernetes-preserve-unknown-fields: true}}}}
"
    );
    let commit = stage.repository.commit("first", &[("app/all.yaml", Some(&all))]).unwrap();
    stage.add_source().await.unwrap();
    stage
        .add_kustomization("app", "./app", json!({"targetNamespace": null, "retryInterval": "30m"}))
        .await
        .unwrap();
    let ready = stage.ready("app", &commit).await.unwrap();
    let entries = ready.data.pointer("/status/inventory/entries").unwrap().as_array().unwrap();
    assert_eq!(entries.len(), 4, "{entries:?}");
    stage.kustomizations().delete("app", &DeleteParams::default()).await.unwrap();
    stage.until_gone(&stage.kustomizations(), "app").await.unwrap();
    let namespaces = objects(&stage.client, &kind("v1", "Namespace", "namespaces"), "");
    stage.until_gone(&namespaces, &namespace).await.unwrap();
    stage.end().await.unwrap();
}

#[tokio::test]
async fn a_chain_of_dependencies_made_backwards_unrolls() {
    let stage = Stage::start().await.unwrap();
    let (one, two, three) = (config_map("one", "1"), config_map("two", "1"), config_map("three", "1"));
    let files = [
        ("a/1.yaml", Some(one.as_str())),
        ("b/2.yaml", Some(two.as_str())),
        ("c/3.yaml", Some(three.as_str())),
    ];
    let commit = stage.repository.commit("first", &files).unwrap();
    stage.add_source().await.unwrap();
    stage.add_kustomization("c", "./c", json!({"dependsOn": [{"name": "b"}]})).await.unwrap();
    stage.add_kustomization("b", "./b", json!({"dependsOn": [{"name": "a"}]})).await.unwrap();
    stage.add_kustomization("a", "./a", json!({})).await.unwrap();
    for name in ["a", "b", "c"] {
        stage.ready(name, &commit).await.unwrap();
    }
    stage.end().await.unwrap();
}

#[tokio::test]
async fn a_missing_namespace_holds_back_only_what_belongs_into_it() {
    let stage = Stage::start().await.unwrap();
    let late = format!("{}-late", stage.namespace);
    let here = format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: here, namespace: {}}}\n",
        stage.namespace
    );
    let there = format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: there, namespace: {late}}}\n");
    let files = [("app/here.yaml", Some(here.as_str())), ("app/there.yaml", Some(there.as_str()))];
    let commit = stage.repository.commit("first", &files).unwrap();
    stage.add_source().await.unwrap();
    stage
        .add_kustomization("app", "./app", json!({"targetNamespace": null, "retryInterval": "30m"}))
        .await
        .unwrap();
    stage.until(&stage.config_maps(), "here", |_| true).await.unwrap();
    let failed = stage
        .until(&stage.kustomizations(), "app", |object| condition_text(object, "Ready", "status") == "False")
        .await
        .unwrap();
    assert_eq!(condition_text(&failed, "Ready", "reason"), "ReconciliationFailed");
    assert!(condition_text(&failed, "Ready", "message").contains(&late), "{failed:?}");
    assert_eq!(text(&failed, "/status/lastAppliedRevision"), "");
    stage.apply(&json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": late}})).await.unwrap();
    stage.ready("app", &commit).await.unwrap();
    let namespaces = objects(&stage.client, &kind("v1", "Namespace", "namespaces"), "");
    namespaces.delete(&late, &DeleteParams::default()).await.unwrap();
    stage.end().await.unwrap();
}

#[tokio::test]
async fn a_new_revision_ends_a_hopeless_wait() {
    let stage = Stage::start().await.unwrap();
    stage.repository.commit("first", &[("app/claim.yaml", Some(CLAIM))]).unwrap();
    stage.add_source().await.unwrap();
    stage.add_kustomization("app", "./app", json!({"wait": true, "timeout": "10m"})).await.unwrap();
    let claims = stage.api("v1", "PersistentVolumeClaim", "persistentvolumeclaims");
    stage.until(&claims, "never", |_| true).await.unwrap();
    let one = config_map("one", "1");
    let second = stage.push(&[("app/claim.yaml", None), ("app/one.yaml", Some(&one))]).await.unwrap();
    stage.ready("app", &second).await.unwrap();
    stage.until_gone(&claims, "never").await.unwrap();
    stage.end().await.unwrap();
}

#[tokio::test]
async fn with_its_gate_the_end_of_a_wait_is_told() {
    let mut stage = Stage::start().await.unwrap();
    stage.kill_kustomize().await.unwrap();
    stage.start_kustomize_with(&["--feature-gates=CancelHealthCheckOnNewRevision=true"]).await.unwrap();
    let first = stage.repository.commit("first", &[("app/claim.yaml", Some(CLAIM))]).unwrap();
    stage.add_source().await.unwrap();
    stage.add_kustomization("app", "./app", json!({"wait": true, "timeout": "10m"})).await.unwrap();
    let checking = format!("Running health checks for revision main@sha1:{first} with a timeout of 10m0s");
    stage
        .until(&stage.kustomizations(), "app", |object| {
            condition_text(object, "Healthy", "message") == checking
        })
        .await
        .unwrap();
    let one = config_map("one", "1");
    let second = stage.push(&[("app/claim.yaml", None), ("app/one.yaml", Some(&one))]).await.unwrap();
    stage.ready("app", &second).await.unwrap();
    let told = format!(
        "Health checks canceled due to new reconciliation triggered by GitRepository/{}/apps",
        stage.namespace
    );
    stage.event("Kustomization", "app", "HealthCheckCanceled", &[told.as_str()]).await.unwrap();
    stage.end().await.unwrap();
}

#[tokio::test]
async fn a_definition_that_goes_is_told_and_waited_for() {
    let stage = Stage::start().await.unwrap();
    let word = format!("gone{}", std::process::id());
    let definition = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("{word}s.order.example.com")},
        "spec": {"group": "order.example.com", "scope": "Namespaced", "names": {"plural": format!("{word}s"), "kind": format!("G{word}")},
            "versions": [{"name": "v1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}]}});
    let thing = format!(
        "apiVersion: order.example.com/v1\nkind: G{word}\nmetadata: {{name: thing}}\nspec: {{x: 1}}\n"
    );
    stage.apply(&definition).await.unwrap();
    let commit = stage.repository.commit("first", &[("app/thing.yaml", Some(&thing))]).unwrap();
    stage.add_source().await.unwrap();
    stage.add_kustomization("app", "./app", json!({"retryInterval": "30m"})).await.unwrap();
    stage.ready("app", &commit).await.unwrap();
    let resource = kind("apiextensions.k8s.io/v1", "CustomResourceDefinition", "customresourcedefinitions");
    let definitions = objects(&stage.client, &resource, "");
    let name = format!("{word}s.order.example.com");
    definitions.delete(&name, &DeleteParams::default()).await.unwrap();
    stage.until_gone(&definitions, &name).await.unwrap();
    let missing = format!("no matches for kind \"G{word}\" in version \"order.example.com/v1\"");
    stage
        .until(&stage.kustomizations(), "app", |object| {
            condition_text(object, "Ready", "status") == "False"
                && condition_text(object, "Ready", "message").contains(&missing)
        })
        .await
        .unwrap();
    stage.apply(&definition).await.unwrap();
    stage.ready("app", &commit).await.unwrap();
    assert!(
        stage
            .api("order.example.com/v1", &format!("G{word}"), &format!("{word}s"))
            .get("thing")
            .await
            .is_ok()
    );
    stage.kustomizations().delete("app", &DeleteParams::default()).await.unwrap();
    stage.until_gone(&stage.kustomizations(), "app").await.unwrap();
    definitions.delete(&name, &DeleteParams::default()).await.unwrap();
    stage.end().await.unwrap();
}

#[tokio::test]
async fn whoever_waits_holds_up_nobody() {
    let stage = Stage::start().await.unwrap();
    let one = config_map("one", "1");
    let files = [("slow/claim.yaml", Some(CLAIM)), ("app/one.yaml", Some(one.as_str()))];
    let commit = stage.repository.commit("first", &files).unwrap();
    stage.add_source().await.unwrap();
    for index in 0..12 {
        let spec = json!({"wait": true, "timeout": "10m", "namePrefix": format!("w{index}-")});
        stage.add_kustomization(&format!("slow{index}"), "./slow", spec).await.unwrap();
    }
    let claims = stage.api("v1", "PersistentVolumeClaim", "persistentvolumeclaims");
    for index in 0..12 {
        stage.until(&claims, &format!("w{index}-never"), |_| true).await.unwrap();
    }
    stage.add_kustomization("quick", "./app", json!({})).await.unwrap();
    stage.ready("quick", &commit).await.unwrap();
    stage.end().await.unwrap();
}

/// A definition in a group of its own, so that nobody else's news speak of it.
fn definition(word: &str) -> serde_json::Value {
    let schema = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    let names = json!({"plural": format!("{word}s"), "kind": format!("K{word}")});
    json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("{word}s.{word}.example.com")},
        "spec": {"group": format!("{word}.example.com"), "scope": "Namespaced", "names": names,
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema}}]}})
}

#[tokio::test]
async fn what_was_not_claimed_is_not_applied_though_its_kind_came_meanwhile() {
    let stage = Stage::start().await.unwrap();
    let words = ["early", "late"].map(|word| format!("{word}{}", std::process::id()));
    let thing = |word: &str, name: &str| {
        format!(
            "apiVersion: {word}.example.com/v1\nkind: K{word}\nmetadata: {{name: {name}}}\nspec: {{x: 1}}\n"
        )
    };
    let [early, late] = &words;
    let role = format!(
        "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {{name: {}}}\nrules: []\n",
        stage.namespace
    );
    let refused = "apiVersion: v1\nkind: Service\nmetadata: {name: refused}\nspec: {ports: [{port: 0}]}\n";
    let files = [
        ("scout-early/thing.yaml", thing(early, "scout")),
        ("scout-late/thing.yaml", thing(late, "scout")),
        ("app/first.yaml", role),
        ("app/early.yaml", thing(early, "thing")),
        ("app/late.yaml", thing(late, "thing")),
        ("app/refused.yaml", refused.to_owned()),
    ];
    let files: Vec<_> = files.iter().map(|(path, text)| (*path, Some(text.as_str()))).collect();
    let commit = stage.repository.commit("first", &files).unwrap();
    stage.add_source().await.unwrap();
    let patient = || json!({"retryInterval": "30m"});
    for scout in ["scout-early", "scout-late"] {
        stage.add_kustomization(scout, scout, patient()).await.unwrap();
        let failed = |object: &_| condition_text(object, "Ready", "reason") == "ReconciliationFailed";
        stage.until(&stage.kustomizations(), scout, failed).await.unwrap();
    }
    let claims = || {
        Rule::first(1, Fault::Hold, |seen| {
            seen.resource == "kustomizations/status" && seen.path.contains("/app/")
        })
    };
    // While the first claim is on its way one kind comes, while the second is, the other one. The scouts show that
    // the controller knows them.
    stage.proxy.set_rules(vec![claims()]);
    stage.add_kustomization("app", "./app", patient()).await.unwrap();
    for (word, scout) in [(early, "scout-early"), (late, "scout-late")] {
        tokio::time::timeout(LIMIT, stage.proxy.struck()).await.expect("a claim is written");
        stage.apply(&definition(word)).await.unwrap();
        stage.ready(scout, &commit).await.unwrap();
        if word == early {
            stage.proxy.set_rules(vec![claims()]);
        }
        stage.proxy.release();
    }
    let things = stage.api(&format!("{late}.example.com/v1"), &format!("K{late}"), &format!("{late}s"));
    stage.until(&things, "thing", |_| true).await.unwrap();
    let app = stage.kustomizations().get("app").await.unwrap();
    let entries = app.data.pointer("/status/inventory/entries").unwrap().to_string();
    let entry = format!("{}_thing_{late}.example.com_K{late}", stage.namespace);
    assert!(entries.contains(&entry), "{entries}");
    // It goes with its place in Git, though nothing ever was applied to the end.
    let second = stage.push(&[("app/late.yaml", None), ("app/refused.yaml", None)]).await.unwrap();
    stage.ready("app", &second).await.unwrap();
    stage.until_gone(&things, "thing").await.unwrap();
    for name in ["app", "scout-early", "scout-late"] {
        stage.kustomizations().delete(name, &DeleteParams::default()).await.unwrap();
        stage.until_gone(&stage.kustomizations(), name).await.unwrap();
    }
    let resource = kind("apiextensions.k8s.io/v1", "CustomResourceDefinition", "customresourcedefinitions");
    for word in &words {
        let name = format!("{word}s.{word}.example.com");
        objects(&stage.client, &resource, "").delete(&name, &DeleteParams::default()).await.unwrap();
    }
    stage.end().await.unwrap();
}
