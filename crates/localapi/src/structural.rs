//! Structural schemas of custom resources: reading, pruning, defaulting and validating.

use serde_json::{Map, Value};

use crate::rules::Rules;
use crate::schema::{Field, Graph, Id, Kind, Node, Relation, Type, add_metadata};
use crate::status::Cause;

/// Reads `openAPIV3Schema`; the root gets the server's own apiVersion, kind and metadata.
pub(crate) fn read(schema: &Value) -> (Graph, Id) {
    let mut graph = Graph::new();
    let mut root = node_of(&mut graph, schema);
    root.kind = Kind::Object;
    let text = graph.add(Node::of(Kind::String));
    let metadata = add_metadata(&mut graph);
    for (name, node) in [("apiVersion", text), ("kind", text), ("metadata", metadata)] {
        let field = Field { node, required: false, merge: None, retain_keys: false };
        root.fields.insert(name.to_owned(), field);
    }
    let id = graph.add(root);
    (graph, id)
}

fn is_true(schema: &Value, key: &str) -> bool {
    schema.get(key).and_then(Value::as_bool).unwrap_or(false)
}

fn node_of(graph: &mut Graph, schema: &Value) -> Node {
    let open = is_true(schema, "x-kubernetes-preserve-unknown-fields");
    let kind = match schema.get("type").and_then(Value::as_str) {
        Some("object") => Kind::Object,
        Some("array") => Kind::List,
        Some("string") => Kind::String,
        Some("integer") => Kind::Integer,
        Some("number") => Kind::Number,
        Some("boolean") => Kind::Boolean,
        _ if is_true(schema, "x-kubernetes-int-or-string") => Kind::IntOrString,
        _ => Kind::Any,
    };
    let mut node = Node::of(kind);
    node.open = open;
    node.embedded = is_true(schema, "x-kubernetes-embedded-resource");
    node.nullable = is_true(schema, "nullable");
    node.default = schema.get("default").cloned();
    node.rules = Rules::of(schema);
    let list_type = schema.get("x-kubernetes-list-type").and_then(Value::as_str);
    let map_type = schema.get("x-kubernetes-map-type").and_then(Value::as_str);
    node.relation = match (kind, list_type, map_type) {
        (Kind::List, Some("set"), _) => Relation::Set,
        (Kind::List, Some("map"), _) => {
            let keys = schema.get("x-kubernetes-list-map-keys").and_then(Value::as_array);
            Relation::Keys(keys.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect())
        }
        (Kind::List, ..) | (_, _, Some("atomic")) => Relation::Atomic,
        _ => Relation::Granular,
    };
    if let Some(items) = schema.get("items") {
        let inner = node_of(graph, items);
        node.element = Some(graph.add(inner));
    }
    match schema.get("additionalProperties") {
        Some(Value::Bool(true)) => node.open = true,
        Some(inner @ Value::Object(_)) => {
            let inner = node_of(graph, inner);
            node.element = Some(graph.add(inner));
        }
        _ => {}
    }
    let required = schema.get("required").and_then(Value::as_array).cloned().unwrap_or_default();
    for (name, inner) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
        let inner = node_of(graph, inner);
        let required = required.iter().any(|entry| entry.as_str() == Some(name));
        let field = Field { node: graph.add(inner), required, merge: None, retain_keys: false };
        node.fields.insert(name.clone(), field);
    }
    // A required name without a declared field still has to be there.
    for name in required.iter().filter_map(Value::as_str) {
        let field = Field { node: 0, required: true, merge: None, retain_keys: false };
        node.fields.entry(name.to_owned()).or_insert(field);
    }
    node
}

/// Fills in defaults, at every level that is there.
pub(crate) fn fill_defaults(ty: Type<'_>, value: &mut Value) {
    match value {
        Value::Object(map) => {
            for (name, field) in &ty.node.fields {
                let node = ty.graph.node(field.node);
                let Some(default) = &node.default else { continue };
                let absent = match map.get(name) {
                    None => true,
                    Some(Value::Null) => !node.nullable,
                    Some(_) => false,
                };
                if absent {
                    map.insert(name.clone(), default.clone());
                }
            }
            for (name, child) in map.iter_mut() {
                if let Some(below) = ty.child(name) {
                    fill_defaults(below, child);
                }
            }
        }
        Value::Array(list) => list.iter_mut().for_each(|item| fill_defaults(ty.items(), item)),
        _ => {}
    }
}

/// Checks a custom resource (not its metadata) against its schema.
pub(crate) fn validate(ty: Type<'_>, object: &Value, old: Option<&Value>) -> Vec<Cause> {
    let mut causes = Vec::new();
    walk(ty, "", object, &mut causes);
    if causes.is_empty() {
        evaluate(ty, "", object, old, &mut causes);
    } else if ty.graph.has_expressions() && causes.iter().any(|cause| cause.field != "<nil>") {
        let text = "Invalid value: null: some validation rules were not checked because the object was invalid; correct the existing errors to complete validation";
        causes.push(Cause::new("FieldValueInvalid", "<nil>", text));
    }
    causes
}

fn evaluate(ty: Type<'_>, path: &str, value: &Value, old: Option<&Value>, causes: &mut Vec<Cause>) {
    if ty.node.typed {
        return;
    }
    match value {
        Value::Object(map) => {
            for (name, child) in map {
                if let Some(below) = ty.child(name) {
                    evaluate(below, &join(path, name), child, old.and_then(|old| old.get(name)), causes);
                }
            }
        }
        Value::Array(list) => {
            for (index, item) in list.iter().enumerate() {
                evaluate(ty.items(), &format!("{path}[{index}]"), item, None, causes);
            }
        }
        _ => {}
    }
    if let Some(rules) = &ty.node.rules {
        rules.evaluate(path, value, old, causes);
    }
}

fn type_name(kind: Kind) -> &'static str {
    match kind {
        Kind::String | Kind::Bytes | Kind::Time | Kind::Quantity => "string",
        Kind::Integer => "integer",
        Kind::Number => "number",
        Kind::Boolean => "boolean",
        Kind::Object => "object",
        Kind::List => "array",
        Kind::IntOrString => "integer,string",
        Kind::Any => "any",
    }
}

fn found_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn fits(kind: Kind, value: &Value) -> bool {
    match kind {
        Kind::Any => true,
        Kind::String | Kind::Bytes | Kind::Time | Kind::Quantity => value.is_string(),
        Kind::Integer => value.is_i64() || value.is_u64() || value.as_f64().is_some_and(|n| n.fract() == 0.0),
        Kind::Number => value.is_number(),
        Kind::Boolean => value.is_boolean(),
        Kind::Object => value.is_object(),
        Kind::List => value.is_array(),
        Kind::IntOrString => value.is_i64() || value.is_u64() || value.is_string(),
    }
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

fn walk(ty: Type<'_>, path: &str, value: &Value, causes: &mut Vec<Cause>) {
    if ty.node.typed || (value.is_null() && (ty.node.nullable || ty.node.kind == Kind::Any)) {
        return;
    }
    if !fits(ty.node.kind, value) {
        let (wanted, found) = (type_name(ty.node.kind), found_name(value));
        let shown = Value::String(found.to_owned());
        let text = format!("Invalid value: {shown}: {path} in body must be of type {wanted}: {shown}");
        causes.push(Cause::new("FieldValueTypeInvalid", path, text));
        return;
    }
    match value {
        Value::Object(map) => {
            let missing =
                ty.node.fields.iter().filter(|(name, field)| field.required && !map.contains_key(*name));
            for (name, _) in missing {
                causes.push(Cause::required(join(path, name), ""));
            }
            for (name, child) in map {
                if let Some(below) = ty.child(name) {
                    walk(below, &join(path, name), child, causes);
                }
            }
        }
        Value::Array(list) => {
            for (index, item) in list.iter().enumerate() {
                walk(ty.items(), &format!("{path}[{index}]"), item, causes);
            }
            duplicates(ty, path, list, causes);
        }
        _ => {}
    }
    if let Some(rules) = &ty.node.rules {
        rules.check(path, value, causes);
    }
}

fn duplicates(ty: Type<'_>, path: &str, list: &[Value], causes: &mut Vec<Cause>) {
    let mut seen = Vec::new();
    for (index, item) in list.iter().enumerate() {
        let Some(element) = crate::merge::item_element(ty, item) else { return };
        if seen.contains(&element) {
            let shown = match &ty.node.relation {
                Relation::Keys(keys) => {
                    let map: Map<String, Value> = keys
                        .iter()
                        .filter_map(|key| item.get(key).map(|v| (key.clone(), v.clone())))
                        .collect();
                    Value::Object(map)
                }
                _ => item.clone(),
            };
            let text = format!("Duplicate value: {shown}");
            causes.push(Cause::new("FieldValueDuplicate", format!("{path}[{index}]"), text));
        }
        seen.push(element);
    }
}
