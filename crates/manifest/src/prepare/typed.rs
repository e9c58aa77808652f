//! Built-in kinds as they come out of Kubernetes' own Go types: unknown fields are gone, empty ones too, and
//! parts that those types always have are there, as `resources: {}`. What is applied must be what Flux
//! applies, for the server records who applied which field.

use std::collections::HashMap;
use std::sync::OnceLock;

use serde_json::{Map, Value};

use crate::quantity;

/// Recorded by `types/record`, which explains it.
const TABLE: &str = include_str!("../../types/builtin.txt");

/// Fields that only the server writes, so that it is no mistake to leave them out.
const UNTOLD: [&str; 3] = ["status", "metadata.creationTimestamp", "metadata.managedFields"];

/// A field: its name, whether it is left out when empty, its shape.
type Field = (&'static str, bool, &'static str);

struct Table {
    kinds: HashMap<(&'static str, &'static str), &'static str>,
    types: HashMap<&'static str, Vec<Field>>,
}

/// The value does not fit the type.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Misfit;

/// What became of an object.
#[derive(Debug, PartialEq)]
pub(super) struct Converted {
    pub(super) value: Value,
    /// Paths of the fields that were left out because the type has none of that name.
    pub(super) unknown: Vec<String>,
}

/// Converts an object of a built-in kind; `None` for other kinds.
pub(super) fn convert(api_version: &str, kind: &str, object: &Value) -> Option<Result<Converted, Misfit>> {
    let name = table().kinds.get(&(api_version, kind))?;
    let mut unknown = Vec::new();
    let value = structure(name, object, "", &mut unknown);
    unknown
        .retain(|path| !UNTOLD.iter().any(|untold| path == untold || path.ends_with(&format!(".{untold}"))));
    Some(value.map(|value| Converted { value, unknown }))
}

fn table() -> &'static Table {
    static PARSED: OnceLock<Table> = OnceLock::new();
    PARSED.get_or_init(|| {
        let (kinds, types) = TABLE.split_once("\n\n").unwrap_or_default();
        let words = |line: &'static str| line.split(' ');
        Table {
            kinds: kinds
                .lines()
                .filter_map(|line| match words(line).collect::<Vec<_>>()[..] {
                    [api, kind, name] => Some(((api, kind), name)),
                    _ => None,
                })
                .collect(),
            types: types
                .lines()
                .filter_map(|line| {
                    Some((words(line).next()?, words(line).skip(1).filter_map(field).collect()))
                })
                .collect(),
        }
    })
}

fn field(text: &'static str) -> Option<Field> {
    let (name, shape) = text.split_once('=')?;
    let bare = name.strip_suffix('?');
    Some((bare.unwrap_or(name), bare.is_some(), shape))
}

fn structure(name: &str, value: &Value, path: &str, unknown: &mut Vec<String>) -> Result<Value, Misfit> {
    let given = value.as_object().ok_or(Misfit)?;
    let fields = table().types.get(name).map(Vec::as_slice).unwrap_or_default();
    let below = |field: &str| if path.is_empty() { field.to_owned() } else { format!("{path}.{field}") };
    let stray = given
        .iter()
        .filter(|(key, value)| !value.is_null() && !fields.iter().any(|(field, ..)| field == key));
    unknown.extend(stray.map(|(key, _)| below(key)));
    let mut made = Map::new();
    for (field, optional, shape) in fields {
        let converted = shaped(shape, given.get(*field).unwrap_or(&Value::Null), &below(field), unknown)?;
        if !(*optional && is_empty(shape, &converted)) {
            made.insert((*field).to_owned(), converted);
        }
    }
    Ok(Value::Object(made))
}

fn shaped(shape: &str, value: &Value, path: &str, unknown: &mut Vec<String>) -> Result<Value, Misfit> {
    if let Some(inner) = shape.strip_prefix('*') {
        return if value.is_null() { Ok(Value::Null) } else { shaped(inner, value, path, unknown) };
    }
    if let Some(inner) = shape.strip_prefix('[') {
        return match value {
            Value::Null => Ok(Value::Null),
            Value::Array(items) => items
                .iter()
                .enumerate()
                .map(|(at, item)| shaped(inner, item, &format!("{path}[{at}]"), unknown))
                .collect(),
            _ => Err(Misfit),
        };
    }
    if let Some(inner) = shape.strip_prefix('{') {
        return match value {
            Value::Null => Ok(Value::Null),
            Value::Object(items) => {
                let convert = |(key, item): (&String, &Value)| -> Result<(String, Value), Misfit> {
                    Ok((key.clone(), shaped(inner, item, &format!("{path}.{key}"), unknown)?))
                };
                items.iter().map(convert).collect::<Result<Map<_, _>, _>>().map(Value::Object)
            }
            _ => Err(Misfit),
        };
    }
    match (shape, value) {
        ("s" | "y", Value::Null) => Ok("".into()),
        ("b", Value::Null) => Ok(false.into()),
        ("i" | "f" | "x", Value::Null) => Ok(0.into()),
        ("q", Value::Null) => Ok("0".into()),
        ("o", _) | ("s" | "x", Value::String(_)) | ("b", Value::Bool(_)) | ("f", Value::Number(_)) => {
            Ok(value.clone())
        }
        ("y", Value::String(text)) => bytes(text),
        ("i" | "x", Value::Number(number)) => whole(number),
        ("q", Value::String(text)) => quantity::canonical(text).map(Value::from).ok_or(Misfit),
        ("q", Value::Number(number)) => {
            quantity::canonical(&number.to_string()).map(Value::from).ok_or(Misfit)
        }
        ("s" | "b" | "i" | "f" | "x" | "q" | "y", _) => Err(Misfit),
        (name, Value::Null) => structure(name, &Value::Object(Map::new()), path, unknown),
        (name, _) => structure(name, value, path, unknown),
    }
}

/// Go's empty values. A structure is never one of them, nor is what has a JSON form of its own.
fn is_empty(shape: &str, value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(flag) => shape == "b" && !flag,
        Value::Number(number) => matches!(shape, "i" | "f") && number.as_f64() == Some(0.0),
        Value::String(text) => matches!(shape, "s" | "y") && text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(items) => shape.starts_with('{') && items.is_empty(),
    }
}

/// A number without a fraction.
fn whole(number: &serde_json::Number) -> Result<Value, Misfit> {
    if number.is_i64() || number.is_u64() {
        return Ok(number.clone().into());
    }
    let text = number.to_string();
    let digits = text.strip_suffix(".0").ok_or(Misfit)?;
    digits.parse::<i64>().map(Value::from).map_err(|_| Misfit)
}

/// Bytes as base64, which may be broken into lines.
fn bytes(text: &str) -> Result<Value, Misfit> {
    use base64::Engine as _;
    let engine = base64::engine::general_purpose::STANDARD;
    let joined: String = text.chars().filter(|c| !matches!(c, '\r' | '\n')).collect();
    engine.decode(&joined).map(|raw| engine.encode(raw).into()).map_err(|_| Misfit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn converted(object: &Value) -> Option<Result<Value, Misfit>> {
        let text = |field: &str| object[field].as_str().unwrap_or_default().to_owned();
        let made = convert(&text("apiVersion"), &text("kind"), object)?;
        Some(made.map(|made| made.value))
    }

    #[test]
    fn fields_that_no_type_has_are_told_with_their_path() {
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "status": {}, "extra": {"a": 1},
            "metadata": {"name": "p", "creationTimestamp": null, "managedFields": []},
            "spec": {"containers": [{"name": "c"}, {"name": "d", "imagePullPolcy": "Always"}], "gone": null}});
        let made = convert("v1", "Pod", &pod).unwrap().unwrap();
        assert_eq!(made.unknown, ["extra", "spec.containers[1].imagePullPolcy"]);
    }

    #[test]
    fn every_shape_of_the_table_is_known() {
        for (name, fields) in &table().types {
            for (field, _, shape) in fields {
                let inner = shape.trim_start_matches(['*', '[', '{']);
                let known = inner.len() == 1 || table().types.contains_key(inner);
                assert!(known, "{name}.{field}: {shape}");
            }
        }
        assert!(table().kinds.len() > 35);
    }

    #[test]
    fn a_workload_loses_what_is_empty_or_unknown_and_gains_its_fixed_parts() {
        let made = converted(&json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "d", "labels": {}, "annotations": null, "creationTimestamp": null},
            "spec": {
                "replicas": 0, "minReadySeconds": 0, "paused": false, "selector": {}, "nonsense": 1,
                "template": {"spec": {
                    "hostNetwork": false, "automountServiceAccountToken": false,
                    "containers": [{
                        "name": "c", "args": [], "tty": false,
                        "env": [{"name": "EMPTY", "value": ""}],
                        "resources": {"limits": {"cpu": 1.5, "memory": "1024Mi"}},
                        "livenessProbe": {"httpGet": {"port": "http"}, "periodSeconds": 5.0}
                    }],
                    "volumes": [{"name": "v", "emptyDir": {}}]
                }}
            },
            "status": {"replicas": 1}
        }));
        assert_eq!(
            made,
            Some(Ok(json!({
                "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"},
                "spec": {
                    "replicas": 0, "selector": {}, "strategy": {},
                    "template": {"metadata": {}, "spec": {
                        "automountServiceAccountToken": false,
                        "containers": [{
                            "name": "c", "env": [{"name": "EMPTY"}],
                            "resources": {"limits": {"cpu": "1500m", "memory": "1Gi"}},
                            "livenessProbe": {"httpGet": {"port": "http"}, "periodSeconds": 5}
                        }],
                        "volumes": [{"name": "v", "emptyDir": {}}]
                    }}
                }
            })))
        );
    }

    #[test]
    fn numbers_that_are_always_written_are_there() {
        let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"},
            "spec": {"ports": [{"port": 80}, {"port": 81, "targetPort": "web", "nodePort": 0}]}});
        let made = converted(&service).unwrap().unwrap();
        assert_eq!(
            made["spec"],
            json!({"ports": [{"port": 80, "targetPort": 0}, {"port": 81, "targetPort": "web"}]})
        );
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "n"}});
        assert_eq!(converted(&namespace).unwrap().unwrap()["spec"], json!({}));
    }

    #[test]
    fn what_does_not_fit_is_told() {
        for (kind, field, value) in [
            ("ConfigMap", "data", json!({"a": 1})),
            ("ConfigMap", "data", json!(["a"])),
            ("ConfigMap", "binaryData", json!({"a": "no base64"})),
            ("ConfigMap", "immutable", json!("yes")),
            ("Service", "spec", json!({"ports": [{"port": "80"}]})),
            ("Service", "spec", json!({"ports": [{"port": 1.5}]})),
            ("ResourceQuota", "spec", json!({"hard": {"pods": "many"}})),
        ] {
            let object = json!({"apiVersion": "v1", "kind": kind, "metadata": {"name": "x"}, field: value});
            assert_eq!(converted(&object), Some(Err(Misfit)), "{object}");
        }
        assert_eq!(converted(&json!({"apiVersion": "example.com/v1", "kind": "Service"})), None);
        assert_eq!(converted(&json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role"})), None);
    }
}
