//! Decoding a body into its type: unknown fields are reported and dropped, types must fit.

use serde_json::{Map, Value};

use crate::schema::{Kind, Type};

/// What decoding found; the strings are ready for messages.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    /// Dotted paths of fields the type does not have.
    pub(crate) unknown: Vec<String>,
    /// The first value that does not fit a built-in type.
    pub(crate) misfit: Option<String>,
}

/// Drops what the type does not know and, in built-in types, what is null or empty.
pub(crate) fn decode(ty: Type<'_>, value: &Value, findings: &mut Findings) -> Value {
    walk(ty, value, "", findings).unwrap_or_else(|| Value::Object(Map::new()))
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

/// Optional strings behind a pointer: an empty one is a value of its own.
const KEPT_EMPTY: [&str; 6] =
    ["storageClassName", "ingressClassName", "namespace!", "holderIdentity", "loadBalancerClass", "volumeName!"];

fn walk(ty: Type<'_>, value: &Value, path: &str, findings: &mut Findings) -> Option<Value> {
    if ty.node.typed && !value.is_null() && !fits(ty.node.kind, value) {
        if findings.misfit.is_none() {
            findings.misfit = Some(misfit(ty.node.kind, value, path));
        }
        return None;
    }
    match value {
        Value::Null if ty.node.typed => None,
        Value::Object(map) => {
            let mut out = Map::new();
            for (name, child) in map {
                let step = join(path, name);
                let below = match ty.child(name) {
                    Some(below) => below,
                    None if ty.node.embedded && matches!(name.as_str(), "apiVersion" | "kind" | "metadata") => {
                        out.insert(name.clone(), child.clone());
                        continue;
                    }
                    None => {
                        findings.unknown.push(step);
                        continue;
                    }
                };
                let Some(kept) = walk(below, child, &step, findings) else { continue };
                let required = ty.field(name).is_some_and(|field| field.required);
                let declared = ty.declares(name);
                if below.node.typed && declared && !required && is_hollow(below, name, &kept) {
                    continue;
                }
                out.insert(name.clone(), kept);
            }
            Some(Value::Object(out))
        }
        Value::Array(list) => {
            let items = list.iter().enumerate();
            let kept = items.filter_map(|(i, item)| walk(ty.items(), item, &format!("{path}[{i}]"), findings));
            Some(Value::Array(kept.collect()))
        }
        other => Some(other.clone()),
    }
}

fn is_hollow(ty: Type<'_>, name: &str, value: &Value) -> bool {
    match value {
        Value::String(text) => text.is_empty() && !KEPT_EMPTY.contains(&name),
        Value::Array(list) => list.is_empty(),
        // A map vanishes when empty; an object of fields is a pointer and stays.
        Value::Object(map) => map.is_empty() && ty.node.fields.is_empty(),
        _ => false,
    }
}

fn fits(kind: Kind, value: &Value) -> bool {
    match kind {
        Kind::Any => true,
        Kind::String | Kind::Bytes | Kind::Time => value.is_string(),
        Kind::Quantity | Kind::IntOrString => value.is_string() || value.is_number(),
        Kind::Integer => value.is_i64() || value.is_u64(),
        Kind::Number => value.is_number(),
        Kind::Boolean => value.is_boolean(),
        Kind::Object => value.is_object(),
        Kind::List => value.is_array(),
    }
}

fn misfit(kind: Kind, value: &Value, path: &str) -> String {
    let found = match value {
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        _ => "object",
    };
    let wanted = match kind {
        Kind::String | Kind::Bytes | Kind::Time => "string",
        Kind::Integer => "int32",
        Kind::Boolean => "bool",
        Kind::List => "[]interface {}",
        _ => "map[string]interface {}",
    };
    let plain: String = strip_indexes(path);
    format!("json: cannot unmarshal {found} into Go struct field .{plain} of type {wanted}")
}

fn strip_indexes(path: &str) -> String {
    let mut out = String::new();
    let mut inside = false;
    for c in path.chars() {
        match c {
            '[' => inside = true,
            ']' => inside = false,
            c if !inside => out.push(c),
            _ => {}
        }
    }
    out
}
