//! What becomes of an object before it is applied, so that what is sent is what Flux sends.

use serde_json::{Map, Value};

use super::PrepareError;
use super::typed;
use crate::object::Object;

/// Normalises one object: built-in kinds take the form of Kubernetes' own types, with protocols filled in
/// and `stringData` in `data`; nothing but a definition keeps its `status`. RBAC roles are left as they are,
/// and so is what does not fit its type: the server tells of it.
///
/// Answers what was left out because its type has no such field.
///
/// # Errors
/// A Secret with something else than text, which no server may be let tell of.
pub fn normalize(object: &mut Object) -> Result<Vec<String>, PrepareError> {
    let (api, kind) = (object.api_version().to_owned(), object.kind().to_owned());
    if api == "rbac.authorization.k8s.io/v1" && matches!(kind.as_str(), "Role" | "ClusterRole") {
        return Ok(Vec::new());
    }
    let subject = object.to_string();
    let value = object.value_mut();
    if (api.as_str(), kind.as_str()) == ("v1", "Secret") {
        for field in ["data", "stringData"] {
            check_texts(value.get(field), field, &subject)?;
        }
    }
    let mut ignored = Vec::new();
    if let Some(Ok(made)) = typed::convert(&api, &kind, value) {
        *value = made.value;
        finish(&api, &kind, value);
        ignored = made.unknown;
    }
    let Some(whole) = value.as_object_mut() else { return Ok(ignored) };
    if kind != "CustomResourceDefinition" {
        whole.remove("status");
    }
    if let Some(Value::Object(metadata)) = whole.get_mut("metadata") {
        metadata.remove("creationTimestamp");
    }
    Ok(ignored)
}

/// Defaults that make a difference to who owns what.
fn finish(api: &str, kind: &str, value: &mut Value) {
    let spec = match (api, kind) {
        ("v1", "Secret") => return encode_string_data(value),
        ("v1", "Service") => return default_protocol(value.pointer_mut("/spec/ports")),
        ("v1", "Pod") => "/spec",
        ("apps/v1", "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet") | ("batch/v1", "Job") => {
            "/spec/template/spec"
        }
        ("batch/v1", "CronJob") => "/spec/jobTemplate/spec/template/spec",
        _ => return,
    };
    let containers = value.pointer_mut(&format!("{spec}/containers"));
    for container in containers.and_then(Value::as_array_mut).into_iter().flatten() {
        default_protocol(container.get_mut("ports"));
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

fn encode_string_data(value: &mut Value) {
    use base64::Engine as _;
    let Some(whole) = value.as_object_mut() else { return };
    let Some(Value::Object(texts)) = whole.remove("stringData") else { return };
    let data = whole.entry("data").or_insert_with(|| Value::Object(Map::new()));
    for (key, text) in texts {
        let encoded = base64::engine::general_purpose::STANDARD.encode(text.as_str().unwrap_or_default());
        if let Some(data) = data.as_object_mut() {
            data.insert(key, encoded.into());
        }
    }
}

fn default_protocol(ports: Option<&mut Value>) {
    for port in ports.and_then(Value::as_array_mut).into_iter().flatten().filter_map(Value::as_object_mut) {
        port.entry("protocol").or_insert_with(|| "TCP".into());
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
                "spec":{"selector":null,"strategy":{},"template":{"metadata":{},"spec":{"containers":[
                    {"name":"c","resources":{},"ports":[
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
    fn what_does_not_fit_its_type_is_left_to_the_server() {
        let odd = json!({"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"c"},"data":{"n":1},"x":2});
        assert_eq!(normalized(odd.clone()), odd);
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
