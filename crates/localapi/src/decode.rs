//! Decoding a body into its type: unknown fields are reported and dropped, types must fit.

use serde_json::{Map, Value};

use crate::schema::{Kind, Type};

/// What decoding found; the strings are ready for messages.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    /// Dotted paths of fields the type does not have.
    pub(crate) unknown: Vec<String>,
    /// The first value that does not fit a built-in type.
    pub(crate) misfit: Option<Misfit>,
}

/// Drops what the type does not know and, in built-in types, what is null or empty.
pub(crate) fn decode(ty: Type<'_>, value: &Value, findings: &mut Findings) -> Value {
    let at = Place { path: String::new(), plain: String::new(), owner: "" };
    walk(ty, value, &at, findings).unwrap_or_else(|| Value::Object(Map::new()))
}

/// Where decoding stands.
struct Place {
    /// Dotted path with indexes, as strict decoding reports it.
    path: String,
    /// Path of struct fields alone, as the JSON decoder reports it.
    plain: String,
    /// The struct that holds the field.
    owner: &'static str,
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

/// Optional strings behind a pointer: an empty one is a value of its own.
const KEPT_EMPTY: [&str; 4] = ["storageClassName", "ingressClassName", "holderIdentity", "loadBalancerClass"];

/// Numbers and flags that are no pointers: their zero is the same as absence.
const DROPPED_ZERO: [&str; 14] = [
    "minReadySeconds",
    "hostPort",
    "nodePort",
    "initialDelaySeconds",
    "paused",
    "hostNetwork",
    "hostPID",
    "hostIPC",
    "stdin",
    "stdinOnce",
    "tty",
    "readOnly",
    "publishNotReadyAddresses",
    "count",
];

fn walk(ty: Type<'_>, value: &Value, at: &Place, findings: &mut Findings) -> Option<Value> {
    if ty.node.typed && !value.is_null() && !fits(ty.node.kind, value) {
        if findings.misfit.is_none() {
            findings.misfit = Some(Misfit::new(ty.node.kind, value, at));
        }
        return None;
    }
    match value {
        Value::Null if ty.node.typed => None,
        Value::Object(map) => {
            let mut out = Map::new();
            for (name, child) in map {
                let path = join(&at.path, name);
                let below = match ty.child(name) {
                    Some(below) => below,
                    None if ty.node.embedded
                        && matches!(name.as_str(), "apiVersion" | "kind" | "metadata") =>
                    {
                        out.insert(name.clone(), child.clone());
                        continue;
                    }
                    None => {
                        findings.unknown.push(path);
                        continue;
                    }
                };
                let declared = ty.declares(name);
                let step = Place {
                    path,
                    plain: if declared { join(&at.plain, name) } else { at.plain.clone() },
                    owner: if declared { ty.node.name } else { at.owner },
                };
                let Some(kept) = walk(below, child, &step, findings) else { continue };
                let required = ty.field(name).is_some_and(|field| field.required);
                if below.node.typed && declared && !required && is_hollow(below, name, &kept) {
                    continue;
                }
                out.insert(name.clone(), kept);
            }
            Some(Value::Object(out))
        }
        Value::Array(list) => {
            let kept = list.iter().enumerate().filter_map(|(index, item)| {
                let path = format!("{}[{index}]", at.path);
                walk(ty.items(), item, &Place { path, plain: at.plain.clone(), owner: at.owner }, findings)
            });
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
        Value::Object(map) => map.is_empty() && ty.node.element.is_some(),
        Value::Number(number) => number.as_i64() == Some(0) && DROPPED_ZERO.contains(&name),
        Value::Bool(false) => DROPPED_ZERO.contains(&name),
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

/// A value of the wrong type.
#[derive(Debug)]
pub(crate) struct Misfit {
    /// As the JSON decoder words it.
    pub(crate) decoding: String,
    /// As server-side apply words it.
    pub(crate) applying: String,
}

impl Misfit {
    fn new(kind: Kind, value: &Value, at: &Place) -> Self {
        let found = match value {
            Value::Bool(_) => "bool",
            Value::Number(_) => "number",
            Value::String(_) => "string",
            Value::Array(_) => "array",
            _ => "object",
        };
        let (wanted, expected) = match kind {
            Kind::String | Kind::Bytes | Kind::Time => ("string", "string"),
            Kind::Integer | Kind::Number => ("int32", "numeric (int or float)"),
            Kind::Boolean => ("bool", "boolean"),
            Kind::List => ("[]interface {}", "list"),
            _ => ("map[string]interface {}", "map"),
        };
        let Place { path, plain, owner } = at;
        Self {
            decoding: format!(
                "json: cannot unmarshal {found} into Go struct field {owner}.{plain} of type {wanted}"
            ),
            applying: format!(".{path}: expected {expected}, got {found}"),
        }
    }
}
