//! Proof, by reading alone, that an apply would change nothing: for objects that an earlier life or a
//! predecessor applied.
//!
//! The server keeps a field in our entry of `managedFields` only as long as nobody else changes it. Where that
//! entry names exactly the desired fields, in the same API version, and each has the desired value and place,
//! an apply has nothing to write. What cannot be proven is applied.

use serde_json::{Map, Value};

use crate::live::{Settings, managed};

/// Defaults inside of values that are owned as a whole: the name of the value, the field, and what the server
/// puts there.
const DEFAULTS: [(&str, &str, &str); 11] = [
    ("fieldRef", "apiVersion", "v1"),
    ("resourceFieldRef", "divisor", "0"),
    ("roleRef", "apiGroup", "rbac.authorization.k8s.io"),
    ("subjects", "apiGroup", "rbac.authorization.k8s.io"),
    ("ports", "protocol", "TCP"),
    ("rules", "scope", "*"),
    ("serviceAccountToken", "expirationSeconds", "3600"),
    ("volumeClaimTemplates", "apiVersion", "v1"),
    ("volumeClaimTemplates", "kind", "PersistentVolumeClaim"),
    ("volumeClaimTemplates", "status", r#"{"phase":"Pending"}"#),
    ("spec", "volumeMode", "Filesystem"),
];

/// Parts of built-in kinds that are always applied, as nothing where nothing is desired of them. Their fields
/// are owned one by one, and those that others or the server put there are no concern of ours.
const HOLLOW: [&str; 5] = ["metadata", "resources", "spec", "strategy", "updateStrategy"];

/// Whether an apply of `desired` would leave `live` as it is.
pub(crate) fn stands(desired: &Value, live: &Value, settings: &Settings) -> bool {
    let metadata = live.get("metadata").unwrap_or(&Value::Null);
    let Some(entry) = managed(metadata).find(|entry| settings.is_own(entry)) else {
        return false;
    };
    let (Some(Value::Object(fields)), Some(live)) = (entry.get("fieldsV1"), live.as_object()) else {
        return false;
    };
    let text = |field: &str| desired.get(field).and_then(Value::as_str).unwrap_or_default();
    // A custom kind may own as a whole what has these names.
    let group = text("apiVersion").rsplit_once('/').map_or("", |(group, _)| group);
    let hollow = if !group.contains('.') || group.ends_with(".k8s.io") { &HOLLOW[..] } else { &[] };
    entry.get("apiVersion") == desired.get("apiVersion") && object(fields, &owned(desired), live, hollow)
}

/// An object without what no field manager owns.
fn owned(object: &Value) -> Map<String, Value> {
    let mut object = object.as_object().cloned().unwrap_or_default();
    object.retain(|name, _| name != "apiVersion" && name != "kind");
    if let Some(Value::Object(metadata)) = object.get_mut("metadata") {
        metadata.retain(|name, _| name != "name" && name != "namespace");
        if metadata.is_empty() {
            object.remove("metadata");
        }
    }
    object
}

/// `name` is the field that holds the value.
fn value(fields: &Value, desired: &Value, live: Option<&Value>, name: &str, hollow: &[&str]) -> bool {
    let Value::Object(fields) = fields else { return false };
    match (desired, live) {
        (Value::Object(desired), live)
            if fields.is_empty() && desired.is_empty() && hollow.contains(&name) =>
        {
            live.is_none_or(Value::is_object)
        }
        (Value::Null, None) => fields.is_empty(),
        (_, None) => false,
        (_, Some(live)) if fields.is_empty() => is_whole(name, desired, live),
        (Value::Object(desired), Some(Value::Object(live))) => object(fields, desired, live, hollow),
        (Value::Array(desired), Some(Value::Array(live))) => list(fields, desired, live, hollow),
        _ => false,
    }
}

fn object(
    fields: &Map<String, Value>,
    desired: &Map<String, Value>,
    live: &Map<String, Value>,
    hollow: &[&str],
) -> bool {
    let owned = fields.keys().filter(|name| *name != ".");
    let mut owned = owned.map(|name| name.strip_prefix("f:"));
    owned.all(|name| name.is_some_and(|name| desired.contains_key(name)))
        && desired.iter().all(|(name, wanted)| {
            match fields.get(&format!("f:{name}")) {
                // A port that leads nowhere in particular leads to the same one.
                Some(_) if name == "targetPort" && wanted == 0 => live.get(name) == live.get("port"),
                Some(inner) => value(inner, wanted, live.get(name), name, hollow),
                None => false,
            }
        })
}

/// A list whose elements are owned one by one. Those desired must stand in their order.
fn list(fields: &Map<String, Value>, desired: &[Value], live: &[Value], hollow: &[&str]) -> bool {
    let owned = || fields.iter().filter(|(name, _)| *name != ".");
    let mut rest = live.iter();
    owned().count() == desired.len()
        && desired.iter().all(|wanted| {
            let Some((name, inner)) = owned().find(|(name, _)| is_named(name, wanted)) else {
                return false;
            };
            let Some(found) = rest.find(|item| is_named(name, item)) else { return false };
            name.starts_with("v:") || value(inner, wanted, Some(found), "", hollow)
        })
}

/// Whether an element of a list goes by this name.
fn is_named(name: &str, item: &Value) -> bool {
    let Some((kind, text)) = name.split_once(':') else { return false };
    let Ok(wanted) = serde_json::from_str::<Value>(text) else { return false };
    match (kind, &wanted) {
        ("k", Value::Object(keys)) => keys.iter().all(|(key, value)| item.get(key) == Some(value)),
        ("v", value) => value == item,
        _ => false,
    }
}

/// Whether a value that is owned as a whole is as desired. It may have gained nothing but defaults.
fn is_whole(name: &str, desired: &Value, live: &Value) -> bool {
    match (desired, live) {
        (Value::Object(desired), Value::Object(live)) => {
            desired.keys().all(|key| live.contains_key(key))
                && live.iter().all(|(key, found)| match desired.get(key) {
                    Some(wanted) => is_whole(key, wanted, found),
                    None => {
                        let found = found.as_str().map_or_else(|| found.to_string(), str::to_owned);
                        DEFAULTS.contains(&(name, key.as_str(), found.as_str()))
                    }
                })
        }
        (Value::Array(desired), Value::Array(live)) => {
            desired.len() == live.len()
                && desired.iter().zip(live).all(|(wanted, found)| is_whole(name, wanted, found))
        }
        (Value::Number(desired), Value::Number(live)) => desired.as_f64() == live.as_f64(),
        _ => desired == live,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::settings;
    use serde_json::json;

    fn desired() -> Value {
        json!({"apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "apps", "labels": {"app": "web"}},
        "spec": {
            "selector": {"matchLabels": {"app": "web"}},
            "template": {"spec": {
                "containers": [
                    {"name": "web", "image": "web:1", "ports": [{"containerPort": 80, "protocol": "TCP"}],
                     "env": [{"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]},
                    {"name": "side", "args": ["a", "b"]}
                ],
                "volumes": [{"name": "tmp", "emptyDir": {}}]
            }}
        }})
    }

    fn live() -> Value {
        json!({"apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {
                "name": "web", "namespace": "apps", "uid": "u", "resourceVersion": "7",
                "labels": {"app": "web", "somebody": "else's"},
                "annotations": {"deployment.kubernetes.io/revision": "1"},
                "managedFields": [
                    {"manager": "kustomize-controller", "operation": "Apply", "apiVersion": "apps/v1", "fieldsV1": {
                        "f:metadata": {"f:labels": {"f:app": {}}},
                        "f:spec": {
                            "f:selector": {},
                            "f:template": {"f:spec": {
                                "f:containers": {
                                    "k:{\"name\":\"side\"}": {".": {}, "f:name": {}, "f:args": {}},
                                    "k:{\"name\":\"web\"}": {".": {}, "f:name": {}, "f:image": {},
                                        "f:env": {"k:{\"name\":\"POD\"}": {".": {}, "f:name": {},
                                            "f:valueFrom": {"f:fieldRef": {}}}},
                                        "f:ports": {"k:{\"containerPort\":80,\"protocol\":\"TCP\"}":
                                            {".": {}, "f:containerPort": {}, "f:protocol": {}}}}
                                },
                                "f:volumes": {"k:{\"name\":\"tmp\"}": {".": {}, "f:name": {}, "f:emptyDir": {}}}
                            }}
                        }}},
                    {"manager": "hpa", "operation": "Update", "apiVersion": "apps/v1",
                     "fieldsV1": {"f:spec": {"f:replicas": {}}}}
                ]
            },
            "spec": {
                "replicas": 3,
                "selector": {"matchLabels": {"app": "web"}},
                "template": {"spec": {
                    "containers": [
                        {"name": "injected", "image": "x"},
                        {"name": "web", "image": "web:1", "imagePullPolicy": "IfNotPresent",
                         "ports": [{"containerPort": 80, "protocol": "TCP"}],
                         "env": [{"name": "POD", "valueFrom":
                            {"fieldRef": {"fieldPath": "metadata.name", "apiVersion": "v1"}}}]},
                        {"name": "side", "args": ["a", "b"]}
                    ],
                    "volumes": [{"name": "tmp", "emptyDir": {}}],
                    "restartPolicy": "Always"
                }}
            },
            "status": {"replicas": 3}})
    }

    #[test]
    fn what_was_applied_and_not_touched_stands() {
        assert!(stands(&desired(), &live(), &settings()));
    }

    /// Puts a value where a pointer leads, or removes what is there.
    fn with(mut object: Value, path: &str, value: Option<Value>) -> Value {
        let (parent, last) = path.rsplit_once('/').expect("a pointer");
        let last = last.replace("~1", "/");
        match (object.pointer_mut(parent).expect("is there"), value) {
            (Value::Object(fields), Some(value)) => drop(fields.insert(last, value)),
            (Value::Object(fields), None) => drop(fields.remove(&last).expect("is there")),
            (Value::Array(items), Some(value)) => items.insert(last.parse().expect("an index"), value),
            (Value::Array(items), None) => drop(items.remove(last.parse().expect("an index"))),
            _ => unreachable!("{path}"),
        }
        object
    }

    const CONTAINERS: &str = "/spec/template/spec/containers";

    #[test]
    fn another_wish_does_not_stand() {
        let image = format!("{CONTAINERS}/0/image");
        let port = format!("{CONTAINERS}/0/ports/1");
        let args = format!("{CONTAINERS}/1/args");
        let third = format!("{CONTAINERS}/2");
        let field = format!("{CONTAINERS}/0/env/0/valueFrom/fieldRef/apiVersion");
        for (path, value) in [
            ("/apiVersion", Some(json!("apps/v2"))),
            ("/spec/replicas", Some(json!(3))),
            ("/spec/selector/matchLabels/tier", Some(json!("front"))),
            ("/metadata/labels/app", Some(json!("other"))),
            ("/metadata/labels", None),
            ("/metadata/annotations", Some(json!({"a": "b"}))),
            ("/metadata/finalizers", Some(json!([]))),
            ("/spec/template/metadata", Some(json!({"name": "x"}))),
            (&image, Some(json!("web:2"))),
            (&image, None),
            (&port, Some(json!({"containerPort": 81, "protocol": "TCP"}))),
            (&args, Some(json!(["a"]))),
            (&args, Some(json!(["b", "a"]))),
            (&third, Some(json!({"name": "third"}))),
            (&third, Some(json!({"name": "web"}))),
            (&field, Some(json!("v2"))),
            ("/spec/template/spec/volumes", None),
            ("/spec/template/spec/volumes/0/emptyDir/medium", Some(json!("Memory"))),
            ("/status", Some(json!({}))),
        ] {
            let wish = with(desired(), path, value.clone());
            assert!(!stands(&wish, &live(), &settings()), "{path} {value:?}");
        }
        let mut turned = desired();
        turned.pointer_mut(CONTAINERS).and_then(Value::as_array_mut).expect("a list").reverse();
        assert!(!stands(&turned, &live(), &settings()), "the order of containers is part of the wish");
    }

    #[test]
    fn another_state_does_not_stand() {
        let entry = "/metadata/managedFields/0";
        let image = format!("{CONTAINERS}/1/image");
        let field = format!("{CONTAINERS}/1/env/0/valueFrom/fieldRef/fieldPath");
        for (path, value) in [
            (format!("{entry}/manager"), Some(json!("kubectl"))),
            (format!("{entry}/operation"), Some(json!("Update"))),
            (format!("{entry}/subresource"), Some(json!("scale"))),
            (format!("{entry}/apiVersion"), Some(json!("apps/v1beta2"))),
            (format!("{entry}/fieldsV1/f:spec/f:replicas"), Some(json!({}))),
            (format!("{entry}/fieldsV1/f:metadata"), None),
            (format!("{entry}/fieldsV1/f:metadata/f:labels"), Some(json!({}))),
            (image, Some(json!("web:2"))),
            (field, Some(json!("metadata.uid"))),
            (format!("{CONTAINERS}/1"), None),
            ("/spec/selector/matchLabels/tier".to_owned(), Some(json!("front"))),
            ("/spec/template/spec/volumes".to_owned(), None),
            ("/spec/template/spec/volumes/0/emptyDir/medium".to_owned(), Some(json!("Memory"))),
            ("/metadata/managedFields".to_owned(), None),
        ] {
            let state = with(live(), &path, value.clone());
            assert!(!stands(&desired(), &state, &settings()), "{path} {value:?}");
        }
    }

    /// A live object of which our entry owns `fields`.
    fn owning(mut object: Value, fields: Value) -> Value {
        object["metadata"]["managedFields"] = json!([{"manager": "kustomize-controller", "operation": "Apply",
            "apiVersion": object["apiVersion"], "fieldsV1": fields}]);
        object
    }

    #[test]
    fn what_is_desired_of_nothing_stands_in_built_in_kinds() {
        let object = |api: &str, spec: Value| json!({"apiVersion": api, "kind": "X", "metadata": {"name": "a"}, "spec": spec});
        for (api, expected) in
            [("v1", true), ("apps/v1", true), ("storage.k8s.io/v1", true), ("x.com/v1", false)]
        {
            let live = owning(object(api, json!({"finalizers": ["kubernetes"]})), json!({"f:spec": {}}));
            assert_eq!(stands(&object(api, json!({})), &live, &settings()), expected, "{api}");
        }
        let selector =
            owning(object("v1", json!({"selector": {"a": "b"}})), json!({"f:spec": {"f:selector": {}}}));
        assert!(!stands(&object("v1", json!({"selector": {}})), &selector, &settings()));
    }

    #[test]
    fn a_port_to_nowhere_stands_where_it_leads_to_itself() {
        let service = |target: Value| {
            json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a"},
                "spec": {"ports": [{"port": 80, "protocol": "TCP", "targetPort": target}]}})
        };
        let fields = json!({"f:spec": {"f:ports": {"k:{\"port\":80,\"protocol\":\"TCP\"}":
            {".": {}, "f:port": {}, "f:protocol": {}, "f:targetPort": {}}}}});
        for (live, expected) in [(json!(80), true), (json!(8080), false)] {
            let live = owning(service(live), fields.clone());
            assert_eq!(stands(&service(json!(0)), &live, &settings()), expected);
        }
    }

    #[test]
    fn defaults_inside_of_whole_values_are_no_difference() {
        let object =
            |spec: Value| json!({"apiVersion": "v1", "kind": "X", "metadata": {"name": "a"}, "spec": spec});
        for (name, wish, found) in [
            ("ports", json!([{"port": 1}]), json!([{"port": 1, "protocol": "TCP"}])),
            (
                "volumeClaimTemplates",
                json!([{"metadata": {"name": "d"}, "spec": {"accessModes": ["x"]}}]),
                json!([{"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "d"},
                    "spec": {"accessModes": ["x"], "volumeMode": "Filesystem"}, "status": {"phase": "Pending"}}]),
            ),
            (
                "sources",
                json!([{"serviceAccountToken": {"path": "p"}}]),
                json!([{"serviceAccountToken": {"path": "p", "expirationSeconds": 3600}}]),
            ),
        ] {
            let fields = json!({"f:spec": {format!("f:{name}"): {}}});
            let live = owning(object(json!({name: found})), fields.clone());
            assert!(stands(&object(json!({name: wish})), &live, &settings()), "{name}");
            let other = owning(object(json!({name: [{"port": 1, "protocol": "UDP"}]})), fields);
            assert!(!stands(&object(json!({name: wish})), &other, &settings()), "{name}");
        }
    }

    #[test]
    fn sets_of_plain_values_stand_in_their_order() {
        let wish = |items: Value| json!({"apiVersion": "v1", "kind": "X", "metadata": {"name": "a", "finalizers": items}});
        let fields = json!({"f:metadata": {"f:finalizers": {"v:\"x/1\"": {}, "v:\"z/3\"": {}}}});
        let live = owning(wish(json!(["x/1", "y/2", "z/3"])), fields);
        assert!(stands(&wish(json!(["x/1", "z/3"])), &live, &settings()));
        for items in
            [json!(["z/3", "x/1"]), json!(["x/1"]), json!(["x/1", "y/2", "z/3"]), json!(["x/1", "x/1"])]
        {
            assert!(!stands(&wish(items.clone()), &live, &settings()), "{items}");
        }
    }
}
