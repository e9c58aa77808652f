//! What holds for pods and for what makes them.

use serde_json::{Value, json};

use super::metadata::not_a_label;
use super::{LABEL_RE, fits, list};
use crate::object::text;
use crate::status::Cause;

/// The pod at `pointer`, which refusals call `path`.
pub(super) fn pod_template(value: &Value, pointer: &str, path: &str, causes: &mut Vec<Cause>) {
    let prefix = if path.is_empty() { "spec".to_owned() } else { format!("{path}.spec") };
    let spec = value.pointer(&format!("{pointer}/spec")).unwrap_or(&Value::Null);
    if list(spec, "/containers").next().is_none() {
        causes.push(Cause::required(format!("{prefix}.containers"), ""));
        return;
    }
    let mut seen = Vec::new();
    for (index, container) in list(spec, "/containers") {
        let at = format!("{prefix}.containers[{index}]");
        let name = text(container, "/name");
        if name.is_empty() {
            causes.push(Cause::required(format!("{at}.name"), ""));
        } else if !fits(&LABEL_RE, name) || name.len() > 63 {
            causes.push(Cause::invalid(format!("{at}.name"), &json!(name), &not_a_label()));
        } else if seen.contains(&name) {
            causes.push(Cause::duplicate(format!("{at}.name"), &json!(name)));
        }
        seen.push(name);
        self::container(spec, container, &at, causes);
    }
}

fn container(spec: &Value, container: &Value, at: &str, causes: &mut Vec<Cause>) {
    if text(container, "/image").is_empty() {
        causes.push(Cause::required(format!("{at}.image"), ""));
    }
    for (index, port) in list(container, "/ports") {
        let field = format!("{at}.ports[{index}].containerPort");
        match port.get("containerPort").and_then(Value::as_i64).unwrap_or(0) {
            0 => causes.push(Cause::required(field, "")),
            1..=65535 => {}
            other => {
                causes.push(Cause::invalid(field, &json!(other), "must be between 1 and 65535, inclusive"));
            }
        }
    }
    let policy = text(container, "/imagePullPolicy");
    if !matches!(policy, "" | "Always" | "IfNotPresent" | "Never") {
        let known = ["Always", "IfNotPresent", "Never"];
        causes.push(Cause::unsupported(format!("{at}.imagePullPolicy"), &json!(policy), &known));
    }
    for (index, mount) in list(container, "/volumeMounts") {
        let name = text(mount, "/name");
        if !list(spec, "/volumes").any(|(_, volume)| text(volume, "/name") == name) {
            causes.push(Cause::not_found(format!("{at}.volumeMounts[{index}].name"), &json!(name)));
        }
    }
}

/// Pods that are kept running may not end.
pub(super) fn kept_running(value: &Value, causes: &mut Vec<Cause>) {
    let policy = text(value, "/spec/template/spec/restartPolicy");
    if !matches!(policy, "" | "Always") {
        causes.push(Cause::unsupported("spec.template.spec.restartPolicy", &json!(policy), &["Always"]));
    }
}
