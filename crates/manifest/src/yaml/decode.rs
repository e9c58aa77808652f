//! From a go-yaml v2 tree to JSON, as `sigs.k8s.io/yaml` converts.

use std::collections::HashSet;

use base64::Engine;
use serde_json::{Map, Number, Value};

use super::float::go_g32;
use super::limits::Error;
use super::node::{Node, NodeValue, Tag};
use super::resolve::{Resolved, value_v2};

pub(super) fn v2_to_json(node: &Node) -> Result<Value, Error> {
    match &node.value {
        NodeValue::Sequence(items) => {
            items.iter().map(v2_to_json).collect::<Result<_, _>>().map(Value::Array)
        }
        NodeValue::Mapping(pairs) => {
            let mut map = Map::new();
            fill(&mut map, pairs)?;
            Ok(Value::Object(map))
        }
        NodeValue::Scalar { text, .. } => scalar(text, &node.tag),
    }
}

/// Tells of every key that stood before in its mapping, the innermost first.
pub(super) fn find_repeated(node: &Node, messages: &mut Vec<String>) {
    match &node.value {
        NodeValue::Scalar { .. } => {}
        NodeValue::Sequence(items) => items.iter().for_each(|item| find_repeated(item, messages)),
        NodeValue::Mapping(pairs) => {
            let mut seen = HashSet::with_capacity(pairs.len());
            for (key, value) in pairs {
                find_repeated(value, messages);
                let Some(text) = key.text().filter(|_| key.tag != Tag::Merge) else { continue };
                if !seen.insert(text) {
                    messages.push(format!("line {}: key {text:?} already set in map", value.line));
                }
            }
        }
    }
}

/// In order of appearance: what comes later wins, merged or not.
fn fill(map: &mut Map<String, Value>, pairs: &[(Node, Node)]) -> Result<(), Error> {
    for (key, value) in pairs {
        if key.tag == Tag::Merge {
            merge(map, value)?;
        } else {
            map.insert(key_text(key)?, v2_to_json(value)?);
        }
    }
    Ok(())
}

fn merge(map: &mut Map<String, Value>, value: &Node) -> Result<(), Error> {
    let refuse = || Error::at(0, "map merge requires map or sequence of maps as the value");
    match &value.value {
        NodeValue::Mapping(pairs) => fill(map, pairs),
        // Backwards: the first of several sources wins.
        NodeValue::Sequence(items) => items.iter().rev().try_for_each(|item| match &item.value {
            NodeValue::Mapping(pairs) => fill(map, pairs),
            _ => Err(refuse()),
        }),
        NodeValue::Scalar { .. } => Err(refuse()),
    }
}

fn key_text(key: &Node) -> Result<String, Error> {
    let NodeValue::Scalar { text, .. } = &key.value else {
        return Err(Error::at(0, "invalid map key"));
    };
    Ok(match (&key.tag, value_v2(text)) {
        (Tag::Bool, Resolved::Bool(value)) => value.to_string(),
        (Tag::Int, Resolved::Int(value)) => value.to_string(),
        (Tag::Int | Tag::Float, Resolved::Float(value)) => go_g32(value),
        (Tag::Int, Resolved::Uint(value)) => {
            return Err(unsupported_key("uint64", &value.to_string()));
        }
        (Tag::Null, _) => return Err(unsupported_key("%!s(<nil>)", "<nil>")),
        _ => text.to_string(),
    })
}

fn unsupported_key(kind: &str, key: &str) -> Error {
    Error::Key(format!("unsupported map key of type: {kind}, key: {key}"))
}

fn scalar(text: &str, tag: &Tag) -> Result<Value, Error> {
    let resolved = value_v2(text);
    Ok(match (tag, resolved) {
        (Tag::Null, _) => Value::Null,
        (Tag::Bool, Resolved::Bool(value)) => Value::Bool(value),
        (Tag::Int, Resolved::Int(value)) => Value::from(value),
        (Tag::Int, Resolved::Uint(value)) => Value::from(value),
        (Tag::Float, Resolved::Int(value)) => float(value as f64)?,
        (Tag::Float, Resolved::Float(value)) => float(value)?,
        (Tag::Binary, _) => {
            let compact: String = text.chars().filter(|c| !matches!(c, '\n' | '\r')).collect();
            let bytes = base64::engine::general_purpose::STANDARD
                .decode(compact)
                .map_err(|_| Error::at(0, "!!binary value contains invalid base64 data"))?;
            Value::String(String::from_utf8_lossy(&bytes).into_owned())
        }
        (Tag::Bool | Tag::Int | Tag::Float, other) => {
            let found = format!("{:?}", other.tag()).to_lowercase();
            let wanted = format!("{tag:?}").to_lowercase();
            return Err(Error::at(0, format!("cannot decode !!{found} `{text}` as a !!{wanted}")));
        }
        // Dates stay the text they were.
        _ => Value::String(text.to_owned()),
    })
}

fn float(value: f64) -> Result<Value, Error> {
    Number::from_f64(value).map(Value::Number).ok_or_else(|| {
        let shown = if value.is_nan() {
            "NaN"
        } else if value > 0.0 {
            "+Inf"
        } else {
            "-Inf"
        };
        Error::Json(format!("unsupported value: {shown}"))
    })
}
