//! What the server refuses about built-in kinds: names, required fields and immutable ones.

mod metadata;
mod pods;
mod specs;

use std::sync::LazyLock;

use regex::Regex;
use serde_json::{Value, json};

use crate::kinds::Kind;
use crate::object::meta;
use crate::status::Cause;

pub(crate) use metadata::validate_metadata;
use pods::pod_template;

const SUBDOMAIN: &str = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*";
const LABEL: &str = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?";
/// The items of a list, if there is one, with their places.
fn list<'v>(value: &'v Value, pointer: &str) -> impl Iterator<Item = (usize, &'v Value)> {
    value.pointer(pointer).and_then(Value::as_array).into_iter().flatten().enumerate()
}

const QUALIFIED: &str = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]";

// The patterns are constant; one that did not compile would match nothing and fail every test.
fn whole(pattern: &str) -> Option<Regex> {
    Regex::new(&format!("^(?:{pattern})$")).ok()
}

static SUBDOMAIN_RE: LazyLock<Option<Regex>> = LazyLock::new(|| whole(SUBDOMAIN));
static LABEL_RE: LazyLock<Option<Regex>> = LazyLock::new(|| whole(LABEL));
static QUALIFIED_RE: LazyLock<Option<Regex>> = LazyLock::new(|| whole(QUALIFIED));

fn fits(regex: &Option<Regex>, text: &str) -> bool {
    regex.as_ref().is_some_and(|regex| regex.is_match(text))
}

/// Rules of one built-in kind.
pub(crate) fn validate(kind: &Kind, value: &Value, old: Option<&Value>) -> Vec<Cause> {
    let mut causes = Vec::new();
    match (kind.group.as_str(), kind.kind.as_str()) {
        ("apps", "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet") => workload(value, &mut causes),
        ("batch", "Job") => pod_template(value, "/spec/template", "spec.template", &mut causes),
        ("batch", "CronJob") => {
            if value.pointer("/spec/schedule").and_then(Value::as_str).unwrap_or_default().is_empty() {
                causes.push(Cause::required("spec.schedule", ""));
            }
            pod_template(
                value,
                "/spec/jobTemplate/spec/template",
                "spec.jobTemplate.spec.template",
                &mut causes,
            );
        }
        ("", "Pod") => pod_template(value, "", "", &mut causes),
        ("", "Service") => service(value, &mut causes),
        ("", "ConfigMap") => {
            keys(value, &["data", "binaryData"], &mut causes);
            specs::told_once(value, &mut causes);
        }
        ("", "Secret") => {
            keys(value, &["data"], &mut causes);
            specs::complete(value, &mut causes);
        }
        ("apiextensions.k8s.io", "CustomResourceDefinition") => definition(value, &mut causes),
        ("networking.k8s.io", "Ingress") => ingress(value, &mut causes),
        _ => {}
    }
    specs::validate(kind, value, &mut causes);
    if let Some(old) = old {
        immutable(kind, value, old, &mut causes);
    }
    causes
}

fn keys(value: &Value, sections: &[&str], causes: &mut Vec<Cause>) {
    for section in sections {
        for (key, _) in value.get(section).and_then(Value::as_object).into_iter().flatten() {
            let valid = !key.is_empty()
                && key.len() <= 253
                && key != "."
                && !key.starts_with("..")
                && key.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
            if !valid {
                let detail = "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')";
                causes.push(Cause::invalid(format!("{section}[{key}]"), &Value::String(key.clone()), detail));
            }
        }
    }
}

fn workload(value: &Value, causes: &mut Vec<Cause>) {
    let replicas = value.pointer("/spec/replicas");
    if let Some(count) = replicas.filter(|count| count.as_i64().is_some_and(|count| count < 0)) {
        causes.push(Cause::invalid("spec.replicas", count, "must be greater than or equal to 0"));
    }
    let selector = value.pointer("/spec/selector");
    if selector.is_none() {
        causes.push(Cause::required("spec.selector", ""));
    }
    let labels = value.pointer("/spec/template/metadata/labels");
    let wanted = selector.and_then(|selector| selector.get("matchLabels")).and_then(Value::as_object);
    let matches =
        wanted.is_none_or(|map| map.iter().all(|(key, text)| labels.and_then(|l| l.get(key)) == Some(text)));
    if selector.is_none() || !matches {
        let shown = labels.cloned().unwrap_or(Value::Null);
        causes.push(Cause::invalid(
            "spec.template.metadata.labels",
            &shown,
            "`selector` does not match template `labels`",
        ));
    }
    pod_template(value, "/spec/template", "spec.template", causes);
}

fn service(value: &Value, causes: &mut Vec<Cause>) {
    let spec = |field: &str| value.pointer(&format!("/spec/{field}"));
    let headless = spec("clusterIP").and_then(Value::as_str) == Some("None");
    let external = spec("type").and_then(Value::as_str) == Some("ExternalName");
    let ports = spec("ports").and_then(Value::as_array).map_or(0, Vec::len);
    if ports == 0 && !headless && !external {
        causes.push(Cause::required("spec.ports", ""));
    }
    for (index, port) in spec("ports").and_then(Value::as_array).into_iter().flatten().enumerate() {
        if ports > 1 && port.get("name").is_none() {
            causes.push(Cause::required(format!("spec.ports[{index}].name"), ""));
        }
        let number = port.get("port").cloned().unwrap_or(Value::Null);
        if !number.as_i64().is_some_and(|number| (1..=65535).contains(&number)) {
            let detail = "must be between 1 and 65535, inclusive";
            causes.push(Cause::invalid(format!("spec.ports[{index}].port"), &number, detail));
            if port.get("targetPort") == Some(&number) {
                causes.push(Cause::invalid(format!("spec.ports[{index}].targetPort"), &number, detail));
            }
        }
    }
}

fn ingress(value: &Value, causes: &mut Vec<Cause>) {
    let rules = value.pointer("/spec/rules").and_then(Value::as_array);
    if rules.is_none_or(Vec::is_empty) && value.pointer("/spec/defaultBackend").is_none() {
        let detail = "either `defaultBackend` or `rules` must be specified";
        causes.push(Cause::invalid("spec", &Value::Null, detail));
    }
    for (r, rule) in rules.into_iter().flatten().enumerate() {
        for (p, path) in
            rule.pointer("/http/paths").and_then(Value::as_array).into_iter().flatten().enumerate()
        {
            if path.get("pathType").is_none() {
                causes.push(Cause::required(
                    format!("spec.rules[{r}].http.paths[{p}].pathType"),
                    "pathType must be specified",
                ));
            }
        }
    }
}

fn definition(value: &Value, causes: &mut Vec<Cause>) {
    let text = |pointer: &str| value.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    for (pointer, path) in [
        ("/spec/group", "spec.group"),
        ("/spec/scope", "spec.scope"),
        ("/spec/names/plural", "spec.names.plural"),
        ("/spec/names/kind", "spec.names.kind"),
    ] {
        if text(pointer).is_empty() {
            causes.push(Cause::required(path, ""));
        }
    }
    let wanted = format!("{}.{}", text("/spec/names/plural"), text("/spec/group"));
    if meta(value, "name") != wanted {
        let shown = Value::String(meta(value, "name").to_owned());
        causes.push(Cause::invalid("metadata.name", &shown, "must be spec.names.plural+\".\"+spec.group"));
    }
    let versions = value.pointer("/spec/versions").and_then(Value::as_array);
    let stored = versions
        .into_iter()
        .flatten()
        .filter(|v| v.get("storage").and_then(Value::as_bool) == Some(true))
        .count();
    if stored != 1 {
        let shown = value.pointer("/spec/versions").cloned().unwrap_or(Value::Null);
        causes.push(Cause::invalid(
            "spec.versions",
            &shown,
            "must have exactly one version marked as storage version",
        ));
    }
    for (index, version) in versions.into_iter().flatten().enumerate() {
        if version.pointer("/schema/openAPIV3Schema").is_none() {
            causes.push(Cause::required(
                format!("spec.versions[{index}].schema.openAPIV3Schema"),
                "schemas are required",
            ));
        }
    }
}

fn immutable(kind: &Kind, value: &Value, old: &Value, causes: &mut Vec<Cause>) {
    let mut fixed = |pointer: &str, detail: &str| {
        let (is, was) = (value.pointer(pointer), old.pointer(pointer));
        if is != was {
            let path = pointer.trim_start_matches('/').replace('/', ".");
            causes.push(Cause::invalid(path, is.unwrap_or(&Value::Null), detail));
        }
    };
    match (kind.group.as_str(), kind.kind.as_str()) {
        ("apps", "Deployment" | "DaemonSet" | "ReplicaSet") => fixed("/spec/selector", "field is immutable"),
        ("apps", "StatefulSet") => {
            let free = [
                "replicas",
                "ordinals",
                "template",
                "updateStrategy",
                "revisionHistoryLimit",
                "persistentVolumeClaimRetentionPolicy",
                "minReadySeconds",
            ];
            let rest = |object: &Value| {
                let mut spec = object.get("spec").and_then(Value::as_object).cloned().unwrap_or_default();
                spec.retain(|key, _| !free.contains(&key.as_str()));
                spec
            };
            if rest(value) != rest(old) {
                causes.push(Cause::forbidden("spec", "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden"));
            }
        }
        ("batch", "Job") => {
            fixed("/spec/completions", "field is immutable");
            fixed("/spec/selector", "field is immutable");
            fixed("/spec/template/metadata", "field is immutable");
            fixed("/spec/template/spec", "field is immutable");
        }
        ("", "Secret" | "ConfigMap") => {
            if kind.kind == "Secret" {
                fixed("/type", "field is immutable");
            }
            if old.get("immutable").and_then(Value::as_bool) == Some(true) {
                for section in ["immutable", "data", "binaryData"] {
                    if value.get(section) != old.get(section) {
                        causes.push(Cause::forbidden(section, "field is immutable when `immutable` is set"));
                    }
                }
            }
        }
        ("", "Service") => {
            let external = value.pointer("/spec/type").and_then(Value::as_str) == Some("ExternalName");
            let (is, was) = (value.pointer("/spec/clusterIP"), old.pointer("/spec/clusterIP"));
            if is != was && was.is_some() && !external {
                let shown = Value::Array(is.cloned().into_iter().collect());
                causes.push(Cause::invalid("spec.clusterIPs[0]", &shown, "may not change once set"));
            }
        }
        ("rbac.authorization.k8s.io", "RoleBinding" | "ClusterRoleBinding")
            if value.get("roleRef") != old.get("roleRef") =>
        {
            let part = |field: &str| value.pointer(&format!("/roleRef/{field}")).cloned().unwrap_or_default();
            let shown = json!({"APIGroup": part("apiGroup"), "Kind": part("kind"), "Name": part("name")});
            causes.push(Cause::invalid("roleRef", &shown, "cannot change roleRef"));
        }
        ("", "PersistentVolumeClaim") => {
            let rest = |object: &Value| {
                let mut spec = object.get("spec").and_then(Value::as_object).cloned().unwrap_or_default();
                let bound = old.pointer("/status/phase").and_then(Value::as_str) == Some("Bound");
                spec.retain(|key, _| match key.as_str() {
                    "volumeName" => false,
                    "resources" | "volumeAttributesClassName" => !bound,
                    _ => true,
                });
                spec
            };
            if rest(value) != rest(old) {
                causes.push(Cause::forbidden("spec", "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims"));
            }
        }
        ("storage.k8s.io", "StorageClass") => {
            if value.get("parameters") != old.get("parameters") {
                causes.push(Cause::forbidden("parameters", "updates to parameters are forbidden."));
            }
            if value.get("provisioner") != old.get("provisioner") {
                let shown = value.get("provisioner").unwrap_or(&Value::Null);
                causes.push(Cause::invalid("provisioner", shown, "field is immutable"));
            }
        }
        ("networking.k8s.io", "IngressClass") => fixed("/spec/controller", "field is immutable"),
        ("scheduling.k8s.io", "PriorityClass") if value.get("value") != old.get("value") => {
            causes.push(Cause::forbidden("value", "may not be changed in an update."));
        }
        ("apiextensions.k8s.io", "CustomResourceDefinition") => {
            fixed("/spec/scope", "field is immutable");
            fixed("/spec/group", "field is immutable");
        }
        _ => {}
    }
}
