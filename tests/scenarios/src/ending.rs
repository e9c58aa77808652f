//! How a story ended: the state of a namespace, without what differs from one telling to the next.

use anyhow::Result;
use kube::api::ListParams;
use serde_json::{Map, Value, json};
use sluice_testkit::waiting::{condition_text, kind, objects, text};

use crate::stage::Stage;

const KINDS: [(&str, &str, &str); 5] = [
    ("v1", "ConfigMap", "configmaps"),
    ("v1", "Secret", "secrets"),
    ("v1", "Service", "services"),
    ("apps/v1", "Deployment", "deployments"),
    ("batch/v1", "Job", "jobs"),
];

/// Every object of the namespace with its content and owners, and every Kustomization with its inventory and verdict.
///
/// # Errors
/// When the server cannot be read.
pub async fn ending(stage: &Stage, commits: &[String]) -> Result<Value> {
    let mut out = Map::new();
    for (api_version, name, plural) in KINDS {
        let api = objects(&stage.client, &kind(api_version, name, plural), &stage.namespace);
        for object in api.list(&ListParams::default()).await? {
            let who = object.metadata.name.clone().unwrap_or_default();
            if who == "kube-root-ca.crt" {
                continue;
            }
            let managed = object.metadata.managed_fields.clone().unwrap_or_default();
            let appliers = managed.iter().filter(|entry| entry.operation.as_deref() == Some("Apply"));
            let appliers: Map<String, Value> = appliers
                .map(|entry| {
                    let fields = entry.fields_v1.as_ref().map(|fields| fields.0.clone()).unwrap_or_default();
                    (entry.manager.clone().unwrap_or_default(), fields)
                })
                .collect();
            let value = json!({
                "labels": object.metadata.labels, "data": object.data.get("data"), "deleting": object.metadata.deletion_timestamp.is_some(),
                "ports": object.data.pointer("/spec/ports"),
                "images": object.data.pointer("/spec/template/spec/containers").and_then(Value::as_array).map(|list|
                    list.iter().map(|container| container.get("image").cloned()).collect::<Vec<_>>()),
                "appliers": appliers,
            });
            out.insert(format!("{name}/{who}"), value);
        }
    }
    for object in stage.kustomizations().list(&ListParams::default()).await? {
        let mut entries: Vec<String> = object
            .data
            .pointer("/status/inventory/entries")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .map(|entry| entry.get("id").and_then(Value::as_str).unwrap_or_default().to_owned())
            .collect();
        entries.sort();
        let value = json!({
            "inventory": entries,
            "ready": condition_text(&object, "Ready", "status"),
            "reason": condition_text(&object, "Ready", "reason"),
            "reconciling": condition_text(&object, "Reconciling", "status"),
            "finalizers": object.metadata.finalizers,
            "revision": text(&object, "/status/lastAppliedRevision"),
            "observed": object.data.pointer("/status/observedGeneration").and_then(Value::as_i64) == object.metadata.generation,
        });
        out.insert(format!("Kustomization/{}", object.metadata.name.unwrap_or_default()), value);
    }
    let mut told = Value::Object(out).to_string().replace(&stage.namespace, "NAMESPACE");
    for (index, commit) in commits.iter().enumerate() {
        told = told.replace(commit, &format!("COMMIT-{index}"));
    }
    Ok(serde_json::from_str(&told)?)
}
