//! From a resource file's node to JSON, through what the build engine's own round trip
//! (node, text, go-yaml v3, JSON) makes of it.

use std::borrow::Cow;
use std::collections::HashMap;

use base64::Engine;
use serde_json::{Map, Number, Value};

use super::emit;
use super::limits::{Error, Limits};
use super::node::{Node, NodeValue, Style, Tag};
use super::parse::parse_documents;
use super::resolve::{Resolved, value_v3};

/// Turns a node into JSON: numbers of any notation, dates as RFC 3339 text, `!!binary` decoded.
///
/// # Errors
/// Duplicate keys, keys that are not text, infinities, tags that do not fit their text, and blocks that start with
/// a tab.
pub fn to_json(node: &Node) -> Result<Value, Error> {
    if oddities(node).1 {
        check_rendering(node)?;
    }
    let mut duplicates = false;
    let value = convert(Cow::Borrowed(node), false, true, &mut duplicates)?;
    if duplicates { Err(explain_duplicates(node)) } else { Ok(value) }
}

/// As `to_json`, taking the texts out of the node instead of copying them.
///
/// # Errors
/// As `to_json`.
pub fn to_json_into(node: Node) -> Result<Value, Error> {
    let (has_duplicates, has_tabbed_block) = oddities(&node);
    if has_tabbed_block {
        check_rendering(&node)?;
    }
    let mut duplicates = false;
    let source = has_duplicates.then(|| node.clone());
    let value = convert(Cow::Owned(node), false, true, &mut duplicates)?;
    match source {
        Some(node) if duplicates => Err(explain_duplicates(&node)),
        _ => Ok(value),
    }
}

/// Whether a key repeats somewhere, and whether a text that starts with a tab may be written as a block, which no
/// reader takes.
fn oddities(node: &Node) -> (bool, bool) {
    let join = |a: (bool, bool), b: (bool, bool)| (a.0 || b.0, a.1 || b.1);
    match &node.value {
        NodeValue::Scalar { text, style } => {
            let may_be_block = match style {
                Style::Literal | Style::Folded => true,
                Style::Plain => text.contains('\n'),
                Style::Single | Style::Double => false,
            };
            (false, text.starts_with('\t') && may_be_block)
        }
        NodeValue::Sequence(items) => items.iter().map(oddities).fold((false, false), join),
        NodeValue::Mapping(pairs) => {
            let own = (repeats(pairs).next().is_some(), false);
            pairs.iter().map(|(_, value)| oddities(value)).fold(own, join)
        }
    }
}

/// Fails where the reference tool cannot read its own rendering back.
fn check_rendering(node: &Node) -> Result<(), Error> {
    parse_documents(&emit::emit_node(node), Limits::default()).map(drop)
}

/// Pairs of places at which a key stands again.
fn repeats(pairs: &[(Node, Node)]) -> impl Iterator<Item = (usize, usize)> {
    let mut found = Vec::new();
    if pairs.len() <= 12 {
        for (at, (key, _)) in pairs.iter().enumerate() {
            for (later, (other, _)) in pairs.iter().enumerate().skip(at + 1) {
                if key.text().is_some() && key.text() == other.text() {
                    found.push((at, later));
                }
            }
        }
    } else {
        let mut seen: HashMap<&str, usize> = HashMap::with_capacity(pairs.len());
        for (at, (key, _)) in pairs.iter().enumerate() {
            let Some(text) = key.text() else { continue };
            if let Some(first) = seen.insert(text, at) {
                found.push((first, at));
            }
        }
        found.sort_unstable();
    }
    found.into_iter()
}

/// The reference tool finds duplicates when it reads its own rendering back, so the lines it names
/// are the rendering's.
fn explain_duplicates(node: &Node) -> Error {
    let rendered = parse_documents(&emit::emit_node(node), Limits::default());
    let mut messages = Vec::new();
    match rendered.as_deref() {
        Ok([node, ..]) => collect_duplicates(node, &mut messages),
        _ => collect_duplicates(node, &mut messages),
    }
    Error::Unmarshal(messages)
}

fn collect_duplicates(node: &Node, messages: &mut Vec<String>) {
    match &node.value {
        NodeValue::Scalar { .. } => {}
        NodeValue::Sequence(items) => items.iter().for_each(|item| collect_duplicates(item, messages)),
        NodeValue::Mapping(pairs) => {
            let before = messages.len();
            for (first, again) in repeats(pairs) {
                if let (Some((a, _)), Some((b, _))) = (pairs.get(first), pairs.get(again)) {
                    messages.push(format!(
                        "line {}: mapping key {:?} already defined at line {}",
                        b.line,
                        b.text().unwrap_or_default(),
                        a.line
                    ));
                }
            }
            // A mapping with duplicates is not looked into any further.
            if messages.len() == before {
                pairs.iter().for_each(|(_, value)| collect_duplicates(value, messages));
            }
        }
    }
}

fn convert(node: Cow<'_, Node>, flow: bool, root: bool, duplicates: &mut bool) -> Result<Value, Error> {
    let flow = flow || node.flow;
    match &node.value {
        NodeValue::Scalar { .. } => return scalar(node, flow),
        NodeValue::Mapping(pairs) => {
            // The root is read into a map of strings, which takes numbers for keys, too.
            let text_keys = pairs.iter().all(|(key, _)| {
                matches!(key.tag, Tag::Str | Tag::Merge)
                    || (key.tag == Tag::Null && key.text() == Some("") && key.is_scalar())
            });
            if !text_keys && !root {
                return Err(Error::Json("unsupported type: map[interface {}]interface {}".to_owned()));
            }
            if repeats(pairs).next().is_some() {
                *duplicates = true;
            }
        }
        NodeValue::Sequence(_) => {}
    }
    match node {
        Cow::Owned(node) => match node.value {
            NodeValue::Sequence(items) => {
                let items = items.into_iter().map(|item| convert(Cow::Owned(item), flow, false, duplicates));
                items.collect::<Result<_, _>>().map(Value::Array)
            }
            NodeValue::Mapping(pairs) => {
                let mut map = Map::new();
                for (key, value) in pairs {
                    let key = match key.value {
                        NodeValue::Scalar { text, .. } => text,
                        _ => return Err(invalid_key(&key)),
                    };
                    map.insert(key.into(), convert(Cow::Owned(value), flow, false, duplicates)?);
                }
                Ok(Value::Object(map))
            }
            NodeValue::Scalar { .. } => Ok(Value::Null),
        },
        Cow::Borrowed(node) => match &node.value {
            NodeValue::Sequence(items) => {
                let items = items.iter().map(|item| convert(Cow::Borrowed(item), flow, false, duplicates));
                items.collect::<Result<_, _>>().map(Value::Array)
            }
            NodeValue::Mapping(pairs) => {
                let mut map = Map::new();
                for (key, value) in pairs {
                    let Some(text) = key.text() else { return Err(invalid_key(key)) };
                    let value = convert(Cow::Borrowed(value), flow, false, duplicates)?;
                    map.insert(text.to_owned(), value);
                }
                Ok(Value::Object(map))
            }
            NodeValue::Scalar { .. } => Ok(Value::Null),
        },
    }
}

fn invalid_key(key: &Node) -> Error {
    Error::at(key.line, "invalid map key")
}

fn scalar(node: Cow<'_, Node>, flow: bool) -> Result<Value, Error> {
    let tag = match &node.tag {
        // An omitted value inside `{}` or `[]` is rendered as `''`.
        Tag::Null if flow && node.text() == Some("") && node.style() == Some(Style::Plain) => {
            return Ok(Value::String(String::new()));
        }
        Tag::Null => {
            return match node.text() {
                None | Some("" | "~" | "null" | "Null" | "NULL") => Ok(Value::Null),
                Some(text) => Err(mismatch(text, "null")),
            };
        }
        Tag::Str | Tag::Custom(_) | Tag::Merge | Tag::Map | Tag::Seq => {
            let text = node.text().unwrap_or_default();
            let changes = match node.style() {
                Some(Style::Double) | None => false,
                Some(Style::Folded) if !flow => true,
                Some(Style::Folded | Style::Literal) if flow => false,
                Some(_) => text.contains(['\u{85}', '\u{2028}', '\u{2029}']),
            };
            if changes {
                return Ok(Value::String(rewritten(text, node.style().unwrap_or_default())));
            }
            return Ok(Value::String(match node {
                Cow::Owned(Node { value: NodeValue::Scalar { text, .. }, .. }) => text.into(),
                other => other.text().unwrap_or_default().to_owned(),
            }));
        }
        tag => tag.clone(),
    };
    let text = node.text().unwrap_or_default();
    let number = |number: Option<Number>| match number {
        Some(number) => Ok(Value::Number(number)),
        None => Err(Error::Json(format!(
            "unsupported value: {}",
            match text {
                t if t.starts_with('-') => "-Inf",
                t if t.to_ascii_lowercase().ends_with("nan") => "NaN",
                _ => "+Inf",
            }
        ))),
    };
    match (tag, value_v3(text)) {
        (Tag::Bool, Resolved::Bool(value)) => Ok(Value::Bool(value)),
        (Tag::Int, Resolved::Int(value)) => Ok(Value::from(value)),
        (Tag::Int, Resolved::Uint(value)) => Ok(Value::from(value)),
        (Tag::Float, Resolved::Float(value)) => number(Number::from_f64(value)),
        (Tag::Float, Resolved::Int(value)) => number(Number::from_f64(value as f64)),
        // Inside `{}` and `[]` a time of day is quoted when rendered, and so read back as text.
        (Tag::Timestamp, Resolved::Timestamp(_)) if flow && text.contains(':') => {
            Ok(Value::String(text.to_owned()))
        }
        (Tag::Timestamp, Resolved::Timestamp(date)) => Ok(Value::String(date)),
        (Tag::Binary, _) => {
            let compact: String = text.chars().filter(|c| !matches!(c, '\n' | '\r')).collect();
            base64::engine::general_purpose::STANDARD
                .decode(compact)
                .map(|bytes| Value::String(String::from_utf8_lossy(&bytes).into_owned()))
                .map_err(|_| Error::at(0, "!!binary value contains invalid base64 data"))
        }
        (Tag::Bool, _) => Err(mismatch(text, "bool")),
        (Tag::Int, _) => Err(mismatch(text, "int")),
        (Tag::Float, _) => Err(mismatch(text, "float")),
        (_, _) => Err(mismatch(text, "timestamp")),
    }
}

/// What text is when it is written and read back: in a `>` block the Go writer adds line breaks before lines
/// that start with a blank, and line breaks of other kinds than `\n` do not stay what they are without escapes.
fn rewritten(text: &str, style: Style) -> String {
    let mut scalar = Node::string(text);
    scalar.value = NodeValue::Scalar { text: text.into(), style };
    let rendered = emit::emit_node(&Node::mapping(vec![(Node::string("a"), scalar)]));
    let read = parse_documents(&rendered, Limits::default()).ok();
    let found = read.as_ref().and_then(|nodes| nodes.first()?.get("a")?.text());
    found.unwrap_or(text).to_owned()
}

fn mismatch(text: &str, wanted: &str) -> Error {
    let found = match value_v3(text).tag() {
        Tag::Null => "null",
        Tag::Bool => "bool",
        Tag::Int => "int",
        Tag::Float => "float",
        Tag::Timestamp => "timestamp",
        _ => "str",
    };
    Error::at(0, format!("cannot decode !!{found} `{text}` as a !!{wanted}"))
}
