//! What the server adds to, and demands of, the built-in kinds.

mod defaults;
mod validate;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

pub(crate) use defaults::fill_defaults;
pub(crate) use validate::{validate, validate_metadata};

use crate::kinds::Kind;
use crate::object::{as_map, default_to, meta, section};
use crate::store::Store;

/// What an object of this kind holds before anything is set: structs that are always there, and so never "added".
pub(crate) fn blank(kind: &Kind) -> Value {
    let template = || json!({"metadata": {}, "spec": {"containers": null}});
    match kind.kind.as_str() {
        "Deployment" | "StatefulSet" | "DaemonSet" => json!({"metadata": {}, "status": {},
            "spec": {"strategy": {}, "updateStrategy": {}, "template": template()}}),
        "ReplicaSet" => json!({"metadata": {}, "spec": {"template": template()}, "status": {}}),
        "Job" => json!({"metadata": {}, "spec": {"template": template()}, "status": {}}),
        "CronJob" => json!({"metadata": {}, "status": {},
            "spec": {"jobTemplate": {"metadata": {}, "spec": {"template": template()}}}}),
        "Pod" => json!({"metadata": {}, "spec": {"containers": null}, "status": {}}),
        "Service" | "Ingress" => json!({"metadata": {}, "spec": {}, "status": {"loadBalancer": {}}}),
        "HorizontalPodAutoscaler" => json!({"metadata": {}, "spec": {"scaleTargetRef": {}}, "status": {}}),
        "PersistentVolumeClaim" => json!({"metadata": {}, "spec": {"resources": {}}, "status": {}}),
        "NetworkPolicy" => json!({"metadata": {}, "spec": {"podSelector": {}}}),
        "RoleBinding" | "ClusterRoleBinding" => json!({"metadata": {}, "roleRef": {}}),
        "Role" | "ClusterRole" => json!({"metadata": {}, "rules": null}),
        "Event" => {
            json!({"metadata": {}, "involvedObject": {}, "source": {}, "eventTime": null, "firstTimestamp": null,
            "lastTimestamp": null, "reportingComponent": "", "reportingInstance": ""})
        }
        "CustomResourceDefinition" => {
            json!({"metadata": {}, "spec": {"names": {}, "versions": null}, "status": {}})
        }
        _ => json!({"metadata": {}, "spec": {}, "status": {}}),
    }
}

/// What storage adds to a new object, after ownership was recorded.
pub(crate) fn prepare_create(store: &mut Store, kind: &Kind, value: &mut Value) {
    match kind.kind.as_str() {
        "Namespace" => {
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
        }
        "Pod" => {
            let status = section(value, "status");
            status.insert("phase".into(), json!("Pending"));
            status.insert("qosClass".into(), json!("BestEffort"));
        }
        "Job" => label_job(value),
        "Deployment" | "ReplicaSet" | "CronJob" | "PodDisruptionBudget" | "ResourceQuota" | "Node" => {
            section(value, "status");
        }
        "StatefulSet" => {
            section(value, "status").insert("replicas".into(), json!(0));
        }
        "DaemonSet" => {
            let status = section(value, "status");
            for field in
                ["currentNumberScheduled", "desiredNumberScheduled", "numberMisscheduled", "numberReady"]
            {
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
    let both = address == "None" && !spec.contains_key("selector");
    default_to(spec, "ipFamilies", if both { json!(["IPv4", "IPv6"]) } else { json!(["IPv4"]) });
    default_to(spec, "ipFamilyPolicy", if both { "RequireDualStack" } else { "SingleStack" });
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
                for key in [
                    "batch.kubernetes.io/controller-uid",
                    "batch.kubernetes.io/job-name",
                    "controller-uid",
                    "job-name",
                ] {
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
    let noted = |object: &Value| object.pointer("/metadata/annotations").cloned();
    let renoted = kind.kind == "Deployment" && noted(old) != noted(value);
    renoted || old.get("spec") != value.get("spec")
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
