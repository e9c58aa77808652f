//! The suffix that names a generated object after its content.

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use sluice_manifest::yaml::{Node, NodeValue, Style, Tag};

use crate::error::Result;
use crate::gojson;
use crate::node;
use crate::resource::Resource;

/// The suffix of a resource, ten characters.
pub(crate) fn suffix(resource: &Resource) -> Result<String> {
    let text = match resource.kind() {
        "ConfigMap" => gojson::compact(&config_map(&resource.node)?),
        "Secret" => gojson::compact(&secret(&resource.node)?),
        _ => {
            let mut text = String::new();
            dump(&resource.node, &mut text);
            text
        }
    };
    Ok(encode(text.as_bytes()))
}

fn encode(bytes: &[u8]) -> String {
    let digest = hex::encode(Sha256::digest(bytes));
    digest
        .chars()
        .take(10)
        .map(|c| match c {
            '0' => 'g',
            '1' => 'h',
            '3' => 'k',
            'a' => 'm',
            'e' => 't',
            c => c,
        })
        .collect()
}

fn field(node: &Node, name: &str) -> Result<Option<Value>> {
    // A scalar counts as its text, whatever its type.
    let convert = |value: &Node| match (value.text(), value.is_sequence()) {
        (Some(text), _) => Ok(text.into()),
        (None, true) => Ok(Value::Null),
        (None, false) => {
            let mut json = node::to_json(value)?;
            to_floats(&mut json);
            Ok(json)
        }
    };
    node.get(name).map(convert).transpose()
}

/// Upstream reads these maps once more, and whole numbers then as all others.
fn to_floats(value: &mut Value) {
    match value {
        Value::Number(number) => *value = number.as_f64().map_or(Value::Null, Value::from),
        Value::Array(list) => list.iter_mut().for_each(to_floats),
        Value::Object(map) => map.values_mut().for_each(to_floats),
        Value::Null | Value::Bool(_) | Value::String(_) => {}
    }
}

fn or_empty(value: Option<Value>) -> Value {
    value.unwrap_or_else(|| Value::String(String::new()))
}

fn config_map(node: &Node) -> Result<Value> {
    let mut map = Map::new();
    map.insert("kind".into(), "ConfigMap".into());
    map.insert("name".into(), "".into());
    map.insert("data".into(), or_empty(field(node, "data")?));
    if let Some(binary) = field(node, "binaryData")?.filter(Value::is_object) {
        map.insert("binaryData".into(), binary);
    }
    Ok(Value::Object(map))
}

fn secret(node: &Node) -> Result<Value> {
    let mut map = Map::new();
    map.insert("kind".into(), "Secret".into());
    map.insert("name".into(), "".into());
    map.insert("type".into(), or_empty(field(node, "type")?));
    map.insert("data".into(), or_empty(field(node, "data")?));
    if let Some(text) = field(node, "stringData")?.filter(Value::is_object) {
        map.insert("stringData".into(), text);
    }
    Ok(Value::Object(map))
}

/// Other kinds are hashed over the parser's tree, positions and quoting included, as upstream does.
fn dump(node: &Node, out: &mut String) {
    let (kind, style, text) = match &node.value {
        NodeValue::Sequence(_) => (2, if node.flow { 32 } else { 0 }, ""),
        NodeValue::Mapping(_) => (4, if node.flow { 32 } else { 0 }, ""),
        NodeValue::Scalar { text, style } => {
            let style = match style {
                Style::Plain => 0,
                Style::Double => 2,
                Style::Single => 4,
                Style::Literal => 8,
                Style::Folded => 16,
            };
            (8, style, text.as_str())
        }
    };
    let tag = match &node.tag {
        Tag::Map | Tag::Seq if node.line == 0 => "",
        Tag::Null => "!!null",
        Tag::Bool => "!!bool",
        Tag::Int => "!!int",
        Tag::Float => "!!float",
        Tag::Str => "!!str",
        Tag::Timestamp => "!!timestamp",
        Tag::Binary => "!!binary",
        Tag::Merge => "!!merge",
        Tag::Alias => "",
        Tag::Custom(tag) => tag,
        Tag::Map => "!!map",
        Tag::Seq => "!!seq",
    };
    let style = style | u8::from(node.tagged);
    out.push_str(&format!("{{\"Kind\":{kind},\"Style\":{style},\"Tag\":"));
    gojson::quote_into(out, tag);
    out.push_str(",\"Value\":");
    gojson::quote_into(out, text);
    out.push_str(",\"Anchor\":\"\",\"Alias\":null,\"Content\":");
    let children: Vec<&Node> = match &node.value {
        NodeValue::Scalar { .. } => Vec::new(),
        NodeValue::Sequence(items) => items.iter().collect(),
        NodeValue::Mapping(pairs) => pairs.iter().flat_map(|(key, value)| [key, value]).collect(),
    };
    if children.is_empty() {
        out.push_str(if node.emptied { "[]" } else { "null" });
    } else {
        for (at, child) in children.into_iter().enumerate() {
            out.push(if at == 0 { '[' } else { ',' });
            dump(child, out);
        }
        out.push(']');
    }
    let made = node.line == 0;
    let remarks = node.remarks.as_deref();
    for (name, text) in [
        (",\"HeadComment\":", remarks.map(|remarks| &remarks.head)),
        (",\"LineComment\":", remarks.map(|remarks| &remarks.line)),
        (",\"FootComment\":", remarks.map(|remarks| &remarks.foot)),
    ] {
        out.push_str(name);
        gojson::quote_into(out, text.map_or("", String::as_str));
    }
    out.push_str(&format!(
        ",\"Line\":{},\"Column\":{}}}",
        if made { 0 } else { node.line },
        if made { 0 } else { node.column }
    ));
}

#[cfg(test)]
#[path = "hash_tests.rs"]
mod tests;
