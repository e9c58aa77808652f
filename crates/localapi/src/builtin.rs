//! What the server adds to, and demands of, the built-in kinds.

mod defaults;
mod quantity;
mod validate;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

pub(crate) use defaults::fill_defaults;
pub(crate) use validate::{validate, validate_metadata};

use crate::kinds::Kind;
use crate::object::{self, as_map, default_to, meta, metadata, section};
use crate::store::Store;

/// What storage adds to a new object, after ownership was recorded.
pub(crate) fn prepare_create(store: &mut Store, kind: &Kind, value: &mut Value) {
    match kind.kind.as_str() {
        "Namespace" => {
            let name = meta(value, "name").to_owned();
            section(metadata_value(value), "labels").insert("kubernetes.io/metadata.name".into(), json!(name));
            section(value, "spec").insert("finalizers".into(), json!(["kubernetes"]));
            section(value, "status").insert("phase".into(), json!("Active"));
        }
        "Service" => {
            allocate_address(store, value);
            section(value, "status").insert("loadBalancer".into(), json!({}));
        }
        "Ingress" => {
            section(value, "status").insert("loadBalancer".into(), json!({}));
        }
        "PersistentVolume" | "PersistentVolumeClaim" => {
            section(value, "status").insert("phase".into(), json!("Pending"));
            let guard = if kind.kind == "PersistentVolume" { "kubernetes.io/pv-protection" } else { "" };
            if !guard.is_empty() && object::finalizers(value).is_empty() {
                // Nothing here removes the guard again, so none is set.
                metadata(value).remove("finalizers");
            }
        }
        "Pod" => {
            let status = section(value, "status");
            status.insert("phase".into(), json!("Pending"));
            status.insert("qosClass".into(), json!("BestEffort"));
        }
        "Job" => label_job(value),
        "CustomResourceDefinition" => {
            let mut list = object::finalizers(value);
            let guard = "customresourcecleanup.apiextensions.k8s.io".to_owned();
            if !list.contains(&guard) {
                list.push(guard);
            }
            object::set_finalizers(value, list);
        }
        "Deployment" | "ReplicaSet" | "CronJob" | "PodDisruptionBudget" | "ResourceQuota" | "Node" => {
            section(value, "status");
        }
        "StatefulSet" => {
            section(value, "status").insert("replicas".into(), json!(0));
        }
        "DaemonSet" => {
            let status = section(value, "status");
            for field in ["currentNumberScheduled", "desiredNumberScheduled", "numberMisscheduled", "numberReady"] {
                status.insert(field.into(), json!(0));
            }
        }
        "HorizontalPodAutoscaler" => {
            let status = section(value, "status");
            status.insert("currentMetrics".into(), Value::Null);
            status.insert("desiredReplicas".into(), json!(0));
        }
        _ => {}
    }
}

fn metadata_value(value: &mut Value) -> &mut Value {
    as_map(value).entry("metadata").or_insert_with(|| json!({}))
}

fn allocate_address(store: &mut Store, value: &mut Value) {
    let spec = section(value, "spec");
    if spec.get("type").and_then(Value::as_str) == Some("ExternalName") {
        return;
    }
    let address = match spec.get("clusterIP").and_then(Value::as_str) {
        Some(given) if !given.is_empty() => given.to_owned(),
        _ => {
            store.next_address += 1;
            let n = store.next_address;
            format!("10.96.{}.{}", (n >> 8) & 0xff, n & 0xff)
        }
    };
    spec.insert("clusterIP".into(), json!(address));
    spec.insert("clusterIPs".into(), json!([address]));
    default_to(spec, "ipFamilies", json!(["IPv4"]));
    default_to(spec, "ipFamilyPolicy", "SingleStack");
}

fn label_job(value: &mut Value) {
    let (uid, name) = (meta(value, "uid").to_owned(), meta(value, "name").to_owned());
    let spec = section(value, "spec");
    if spec.get("manualSelector").and_then(Value::as_bool) != Some(true) {
        let labels = [
            ("batch.kubernetes.io/controller-uid", &uid),
            ("batch.kubernetes.io/job-name", &name),
            ("controller-uid", &uid),
            ("job-name", &name),
        ];
        let template = as_map(spec.entry("template").or_insert_with(|| json!({})));
        let metadata = as_map(template.entry("metadata").or_insert_with(|| json!({})));
        let own = as_map(metadata.entry("labels").or_insert_with(|| json!({})));
        for (key, text) in labels {
            own.insert(key.into(), json!(text));
        }
        let own = own.clone();
        spec.insert("selector".into(), json!({"matchLabels": {"batch.kubernetes.io/controller-uid": uid}}));
        section(metadata_value(value), "labels").extend(own);
    }
    section(value, "status");
}

/// What storage keeps of the old object when a client leaves it out.
pub(crate) fn prepare_update(kind: &Kind, old: &Value, value: &mut Value) {
    match kind.kind.as_str() {
        "Service" => {
            let spec = section(value, "spec");
            for field in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
                if let Some(kept) = old.pointer(&format!("/spec/{field}")) {
                    default_to(spec, field, kept.clone());
                }
            }
        }
        "Namespace" => {
            let name = meta(old, "name").to_owned();
            section(metadata_value(value), "labels").insert("kubernetes.io/metadata.name".into(), json!(name));
        }
        "PersistentVolumeClaim" => {
            let spec = section(value, "spec");
            if let Some(kept) = old.pointer("/spec/volumeName") {
                default_to(spec, "volumeName", kept.clone());
            }
        }
        "Job" => {
            let spec = section(value, "spec");
            if let Some(kept) = old.pointer("/spec/selector") {
                default_to(spec, "selector", kept.clone());
            }
            if let Some(kept) = old.pointer("/spec/template/metadata/labels") {
                let template = as_map(spec.entry("template").or_insert_with(|| json!({})));
                let metadata = as_map(template.entry("metadata").or_insert_with(|| json!({})));
                let own = as_map(metadata.entry("labels").or_insert_with(|| json!({})));
                for key in ["batch.kubernetes.io/controller-uid", "batch.kubernetes.io/job-name", "controller-uid", "job-name"] {
                    if let Some(text) = kept.get(key) {
                        default_to(own, key, text.clone());
                    }
                }
            }
        }
        _ => {}
    }
}

/// Whether the change counts as a new generation.
pub(crate) fn is_new_generation(kind: &Kind, old: &Value, value: &Value) -> bool {
    if matches!(kind.kind.as_str(), "MutatingWebhookConfiguration" | "ValidatingWebhookConfiguration") {
        return old.get("webhooks") != value.get("webhooks");
    }
    old.get("spec") != value.get("spec")
}

/// `stringData` is a way of writing `data`.
fn fold_string_data(value: &mut Value) {
    let Some(Value::Object(plain)) = as_map(value).remove("stringData") else { return };
    let data = section(value, "data");
    for (key, text) in plain {
        let encoded = STANDARD.encode(text.as_str().unwrap_or_default());
        data.insert(key, json!(encoded));
    }
}
