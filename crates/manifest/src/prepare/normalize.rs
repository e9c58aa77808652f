//! Built-in kinds in the form the server would give them, so that defaults do not look like drift.

use base64::Engine;
use serde_json::{Map, Value};

use super::PrepareError;
use crate::object::Object;

/// Normalises one object: protocol defaults, `stringData` into `data`, no `status` (but for
/// definitions), no null `creationTimestamp`. RBAC roles are left as they are.
///
/// # Errors
/// Text fields that hold something else than text.
pub fn normalize(object: &mut Object) -> Result<(), PrepareError> {
    let (api, kind) = (object.api_version().to_owned(), object.kind().to_owned());
    if api == "rbac.authorization.k8s.io/v1" && matches!(kind.as_str(), "Role" | "ClusterRole") {
        return Ok(());
    }
    let built_in = is_built_in(&api);
    let subject = object.to_string();
    let value = object.value_mut();
    if built_in {
        for field in ["labels", "annotations"] {
            check_texts(
                value.pointer(&format!("/metadata/{field}")),
                &format!("metadata.{field}"),
                &subject,
            )?;
        }
    }
    match (api.as_str(), kind.as_str()) {
        ("v1", "Secret") => encode_string_data(value, &subject)?,
        ("v1", "ConfigMap") => check_texts(value.get("data"), "data", &subject)?,
        ("v1", "Service") => default_protocol(value.pointer_mut("/spec/ports")),
        ("v1", "Pod") => default_pod(value.get_mut("spec")),
        ("apps/v1", "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet") | ("batch/v1", "Job") => {
            default_pod(value.pointer_mut("/spec/template/spec"));
        }
        ("batch/v1", "CronJob") => default_pod(value.pointer_mut("/spec/jobTemplate/spec/template/spec")),
        _ => {}
    }
    let Some(whole) = value.as_object_mut() else { return Ok(()) };
    if kind != "CustomResourceDefinition" {
        whole.remove("status");
    }
    for path in ["/metadata", "/spec/template/metadata", "/spec/jobTemplate/spec/template/metadata"] {
        if path != "/metadata" && !built_in {
            break;
        }
        if let Some(Value::Object(metadata)) = value.pointer_mut(path)
            && metadata.get("creationTimestamp").is_some_and(Value::is_null)
        {
            metadata.remove("creationTimestamp");
        }
    }
    Ok(())
}

/// Groups of the server itself.
fn is_built_in(api_version: &str) -> bool {
    match api_version.rsplit_once('/') {
        None => true,
        Some((group, _)) => {
            matches!(group, "apps" | "batch" | "autoscaling" | "policy" | "extensions")
                || (group.ends_with(".k8s.io")
                    && matches!(
                        group.trim_end_matches(".k8s.io"),
                        "networking"
                            | "rbac.authorization"
                            | "storage"
                            | "scheduling"
                            | "coordination"
                            | "admissionregistration"
                            | "apiextensions"
                            | "certificates"
                            | "discovery"
                            | "node"
                            | "events"
                            | "flowcontrol.apiserver"
                    ))
        }
    }
}

fn wrong(subject: &str, field: &str, key: &str, value: &Value) -> PrepareError {
    let found = match value {
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
        _ => "null",
    };
    PrepareError::Normalization {
        subject: subject.to_owned(),
        message: format!("cannot unmarshal {found} into field {field}.{key} of type string"),
    }
}

fn check_texts(map: Option<&Value>, field: &str, subject: &str) -> Result<(), PrepareError> {
    for (key, value) in map.and_then(Value::as_object).into_iter().flatten() {
        if !value.is_string() && !value.is_null() {
            return Err(wrong(subject, field, key, value));
        }
    }
    Ok(())
}

fn encode_string_data(value: &mut Value, subject: &str) -> Result<(), PrepareError> {
    check_texts(value.get("data"), "data", subject)?;
    let Some(whole) = value.as_object_mut() else { return Ok(()) };
    let Some(Value::Object(texts)) = whole.remove("stringData") else { return Ok(()) };
    let data = whole.entry("data").or_insert(Value::Null);
    if !data.is_object() {
        *data = Value::Object(Map::new());
    }
    for (key, text) in texts {
        let encoded = match &text {
            Value::String(text) => base64::engine::general_purpose::STANDARD.encode(text),
            Value::Null => String::new(),
            other => return Err(wrong(subject, "stringData", &key, other)),
        };
        if let Some(data) = data.as_object_mut() {
            data.insert(key, encoded.into());
        }
    }
    Ok(())
}

fn default_pod(spec: Option<&mut Value>) {
    let Some(spec) = spec else { return };
    for list in ["containers", "initContainers"] {
        for container in spec.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
            default_protocol(container.get_mut("ports"));
        }
    }
}

fn default_protocol(ports: Option<&mut Value>) {
    for port in ports.and_then(Value::as_array_mut).into_iter().flatten() {
        let Some(port) = port.as_object_mut() else { continue };
        let missing = match port.get("protocol") {
            None | Some(Value::Null) => true,
            Some(Value::String(text)) => text.is_empty(),
            Some(_) => false,
        };
        if missing {
            port.insert("protocol".to_owned(), "TCP".into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn normalized(value: Value) -> Value {
        let mut object = Object::new(value).unwrap();
        normalize(&mut object).unwrap();
        object.into_value()
    }

    #[test]
    fn ports_get_a_protocol_and_status_goes() {
        let made = normalized(json!({"apiVersion":"apps/v1","kind":"Deployment",
            "metadata":{"name":"d","creationTimestamp":null},"status":{},
            "spec":{"template":{"metadata":{"creationTimestamp":null},
                "spec":{"containers":[{"name":"c","ports":[{"containerPort":1},{"containerPort":2,"protocol":"UDP"}]}]}}}}));
        assert_eq!(
            made,
            json!({"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"d"},
                "spec":{"template":{"metadata":{},"spec":{"containers":[{"name":"c","ports":[
                    {"containerPort":1,"protocol":"TCP"},{"containerPort":2,"protocol":"UDP"}]}]}}}})
        );
    }

    #[test]
    fn a_secrets_text_is_encoded_over_its_data() {
        let made = normalized(json!({"apiVersion":"v1","kind":"Secret","metadata":{"name":"s"},
            "data":{"a":"eA==","b":"eA=="},"stringData":{"b":"hi"}}));
        assert_eq!(made["data"], json!({"a":"eA==","b":"aGk="}));
        assert!(made.get("stringData").is_none());
    }

    #[test]
    fn a_number_where_text_belongs_is_named_without_its_value() {
        let mut object = Object::new(json!({"apiVersion":"v1","kind":"Secret",
            "metadata":{"name":"s","namespace":"n"},"stringData":{"pin":1234}}))
        .unwrap();
        let error = normalize(&mut object).unwrap_err().to_string();
        assert_eq!(
            error,
            "Secret/n/s normalization error: cannot unmarshal number into field stringData.pin of type string"
        );
    }

    #[test]
    fn definitions_keep_their_status_and_custom_objects_their_fields() {
        let crd = json!({"apiVersion":"apiextensions.k8s.io/v1","kind":"CustomResourceDefinition",
            "metadata":{"name":"x"},"status":{"a":1}});
        assert_eq!(normalized(crd.clone()), crd);
        let custom = json!({"apiVersion":"example.com/v1","kind":"Secret","metadata":{"name":"x","labels":{"n":5}},
            "stringData":{"a":1}});
        assert_eq!(normalized(custom.clone()), custom);
    }
}
