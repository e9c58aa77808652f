//! Fields of single kinds that may hold certain values only.

use serde_json::{Value, json};

use super::list;
use super::pods::kept_running;
use crate::kinds::Kind;
use crate::object::text;
use crate::status::Cause;

const PORTS: &str = "must be between 1 and 65535, inclusive";

fn number(value: &Value, pointer: &str) -> Option<i64> {
    value.pointer(pointer).and_then(Value::as_i64)
}

fn one_of(value: &Value, pointer: &str, known: &[&str], causes: &mut Vec<Cause>) {
    let given = text(value, pointer);
    if !given.is_empty() && !known.contains(&given) {
        let field = pointer.trim_start_matches('/').replace('/', ".");
        causes.push(Cause::unsupported(field, &json!(given), known));
    }
}

/// Rules of one kind beyond names, required and immutable fields.
pub(super) fn validate(kind: &Kind, value: &Value, causes: &mut Vec<Cause>) {
    match (kind.group.as_str(), kind.kind.as_str()) {
        ("apps", "Deployment") => {
            kept_running(value, causes);
            if text(value, "/spec/strategy/type") == "Recreate"
                && value.pointer("/spec/strategy/rollingUpdate").is_some()
            {
                let detail = "may not be specified when strategy `type` is 'Recreate'";
                causes.push(Cause::forbidden("spec.strategy.rollingUpdate", detail));
            }
        }
        ("apps", "StatefulSet" | "DaemonSet" | "ReplicaSet") => kept_running(value, causes),
        ("batch", "CronJob") => cron_job(value, causes),
        ("", "Service") => service(value, causes),
        ("networking.k8s.io", "NetworkPolicy") => network_policy(value, causes),
        ("autoscaling", "HorizontalPodAutoscaler") => {
            let (least, most) = (number(value, "/spec/minReplicas"), number(value, "/spec/maxReplicas"));
            if most < least {
                let detail = "must be greater than or equal to `minReplicas`";
                causes.push(Cause::invalid("spec.maxReplicas", &json!(most), detail));
            }
        }
        ("policy", "PodDisruptionBudget") => disruption_budget(value, causes),
        ("rbac.authorization.k8s.io", "Role" | "ClusterRole") => {
            for (index, rule) in list(value, "/rules") {
                if list(rule, "/verbs").next().is_none() {
                    let detail = "verbs must contain at least one value";
                    causes.push(Cause::required(format!("rules[{index}].verbs"), detail));
                }
            }
        }
        ("coordination.k8s.io", "Lease") => {
            for field in ["leaseDurationSeconds", "leaseTransitions"] {
                let (least, detail) = match field {
                    "leaseDurationSeconds" => (1, "must be greater than 0"),
                    _ => (0, "must be greater than or equal to 0"),
                };
                if let Some(given) = number(value, &format!("/spec/{field}")).filter(|given| *given < least) {
                    causes.push(Cause::invalid(format!("spec.{field}"), &json!(given), detail));
                }
            }
        }
        _ => {}
    }
}

/// No key of a ConfigMap stands in both of its sections.
pub(super) fn told_once(value: &Value, causes: &mut Vec<Cause>) {
    let binary = value.get("binaryData").and_then(Value::as_object);
    for (key, _) in value.get("data").and_then(Value::as_object).into_iter().flatten() {
        if binary.is_some_and(|binary| binary.contains_key(key)) {
            let detail = "duplicate of key present in binaryData";
            causes.push(Cause::invalid(format!("data[{key}]"), &json!(key), detail));
        }
    }
}

/// Types of Secrets promise certain keys.
pub(super) fn complete(value: &Value, causes: &mut Vec<Cause>) {
    let keys: &[&str] = match text(value, "/type") {
        "kubernetes.io/tls" => &["tls.crt", "tls.key"],
        "kubernetes.io/dockerconfigjson" => &[".dockerconfigjson"],
        "kubernetes.io/dockercfg" => &[".dockercfg"],
        "kubernetes.io/ssh-auth" => &["ssh-privatekey"],
        _ => &[],
    };
    for key in keys {
        if value.get("data").and_then(|data| data.get(key)).is_none() {
            causes.push(Cause::required(format!("data[{key}]"), ""));
        }
    }
}

fn cron_job(value: &Value, causes: &mut Vec<Cause>) {
    let schedule = text(value, "/spec/schedule");
    let fields: Vec<&str> = schedule.split_whitespace().collect();
    if !schedule.is_empty() && !schedule.starts_with('@') && fields.len() != 5 {
        let detail = format!("expected exactly 5 fields, found {}: [{}]", fields.len(), fields.join(" "));
        causes.push(Cause::invalid("spec.schedule", &json!(schedule), &detail));
    }
    one_of(value, "/spec/concurrencyPolicy", &["Allow", "Forbid", "Replace"], causes);
}

fn service(value: &Value, causes: &mut Vec<Cause>) {
    let mut names = Vec::new();
    for (index, port) in list(value, "/spec/ports") {
        let name = text(port, "/name");
        if !name.is_empty() && names.contains(&name) {
            causes.push(Cause::duplicate(format!("spec.ports[{index}].name"), &json!(name)));
        }
        names.push(name);
    }
    let kind = text(value, "/spec/type");
    if text(value, "/spec/clusterIP") == "None" && matches!(kind, "NodePort" | "LoadBalancer") {
        let detail = format!("may not be set to 'None' for {kind} services");
        causes.push(Cause::invalid("spec.clusterIPs[0]", &json!("None"), &detail));
    }
    one_of(value, "/spec/sessionAffinity", &["ClientIP", "None"], causes);
}

fn network_policy(value: &Value, causes: &mut Vec<Cause>) {
    for direction in ["ingress", "egress"] {
        for (r, rule) in list(value, &format!("/spec/{direction}")) {
            for (p, port) in list(rule, "/ports") {
                let given = number(port, "/port").filter(|given| !(1..=65535).contains(given));
                if let Some(given) = given {
                    let field = format!("spec.{direction}[{r}].ports[{p}].port");
                    causes.push(Cause::invalid(field, &json!(given), PORTS));
                }
            }
        }
    }
}

/// Refusals show the server's own form of the spec.
fn disruption_budget(value: &Value, causes: &mut Vec<Cause>) {
    let part = |field: &str| value.pointer(&format!("/spec/{field}")).cloned().unwrap_or_default();
    let (least, most) = (part("minAvailable"), part("maxUnavailable"));
    if !least.is_null() && !most.is_null() {
        let shown = format!(
            "{{\"MinAvailable\":{least},\"Selector\":{},\"MaxUnavailable\":{most},\"UnhealthyPodEvictionPolicy\":{}}}",
            part("selector"),
            part("unhealthyPodEvictionPolicy")
        );
        let detail = "minAvailable and maxUnavailable cannot be both set";
        causes.push(Cause::new("FieldValueInvalid", "spec", format!("Invalid value: {shown}: {detail}")));
    }
}
