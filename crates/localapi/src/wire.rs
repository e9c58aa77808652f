//! Reads built-in kinds from protobuf, as typed clients send them. Answers are always JSON, which they accept too.

use std::collections::HashMap;
use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

/// What stands before every object.
const MAGIC: &[u8] = b"k8s\0";

#[derive(Debug)]
enum Shape {
    Text,
    Integer,
    Number,
    Flag,
    Bytes,
    /// Seconds and nanoseconds; shown with microseconds or without.
    Time {
        micros: bool,
    },
    Quantity,
    IntOrString,
    /// JSON inside.
    Json,
    /// A list inside a struct of its own.
    Wrapped,
    Struct(&'static str),
    List(Box<Shape>),
    Map(Box<Shape>),
}

#[derive(Debug)]
struct Field {
    /// Empty where the struct's fields stand in the one around it.
    name: &'static str,
    shape: Shape,
    /// Absent when zero.
    optional: bool,
}

type Fields = HashMap<u64, Field>;

static TABLE: LazyLock<HashMap<&'static str, Fields>> = LazyLock::new(|| {
    let lines = include_str!("../schema/wire.txt").lines();
    lines.filter_map(|line| line.split_once(' ')).map(|(name, rest)| (name, fields(rest))).collect()
});

fn fields(line: &'static str) -> Fields {
    let field = |word: &'static str| {
        let (name, rest) = word.split_once('=')?;
        let (number, shape) = rest.split_once(':')?;
        let (shape, optional) = shape.strip_suffix('?').map_or((shape, false), |shape| (shape, true));
        let name = if name == "!" { "" } else { name };
        Some((number.parse().ok()?, Field { name, shape: shape_of(shape)?, optional }))
    };
    line.split(' ').filter_map(field).collect()
}

fn shape_of(text: &'static str) -> Option<Shape> {
    if let Some(name) = text.strip_prefix('@') {
        return Some(Shape::Struct(name));
    }
    if let Some(of) = text.strip_prefix("[]") {
        return Some(Shape::List(Box::new(shape_of(of)?)));
    }
    if let Some(of) = text.strip_prefix("{}") {
        return Some(Shape::Map(Box::new(shape_of(of)?)));
    }
    Some(match text {
        "s" => Shape::Text,
        "i" => Shape::Integer,
        "n" => Shape::Number,
        "b" => Shape::Flag,
        "y" => Shape::Bytes,
        "t" => Shape::Time { micros: false },
        "T" => Shape::Time { micros: true },
        "q" => Shape::Quantity,
        "x" => Shape::IntOrString,
        "o" => Shape::Json,
        "w" => Shape::Wrapped,
        _ => return None,
    })
}

/// A field as it stands on the wire.
#[derive(Clone, Copy)]
enum Raw<'a> {
    Varint(u64),
    Fixed(u64),
    Bytes(&'a [u8]),
}

/// Walks over the fields of one message; ends early where it is broken.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn varint(&mut self) -> Option<u64> {
        let mut out = 0;
        for shift in (0..64).step_by(7) {
            let (first, rest) = self.0.split_first()?;
            self.0 = rest;
            out |= u64::from(first & 0x7f) << shift;
            if first & 0x80 == 0 {
                return Some(out);
            }
        }
        None
    }

    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn next(&mut self) -> Option<(u64, Raw<'a>)> {
        let key = self.varint()?;
        let raw = match key & 7 {
            0 => Raw::Varint(self.varint()?),
            1 => Raw::Fixed(u64::from_le_bytes(self.take(8)?.try_into().ok()?)),
            2 => {
                let length = usize::try_from(self.varint()?).ok()?;
                Raw::Bytes(self.take(length)?)
            }
            _ => return None,
        };
        Some((key >> 3, raw))
    }

    /// All fields; `None` when the message is broken.
    fn all(mut self) -> Option<Vec<(u64, Raw<'a>)>> {
        let mut out = Vec::new();
        while !self.0.is_empty() {
            out.push(self.next()?);
        }
        Some(out)
    }
}

fn bytes_of(message: &[u8], number: u64) -> Option<&[u8]> {
    Reader(message).all()?.into_iter().rev().find_map(|(found, raw)| match raw {
        Raw::Bytes(bytes) if found == number => Some(bytes),
        _ => None,
    })
}

fn number_of(message: &[u8], number: u64) -> i64 {
    let fields = Reader(message).all().unwrap_or_default();
    let found = fields.into_iter().rev().find_map(|(found, raw)| match raw {
        Raw::Varint(value) if found == number => Some(value.cast_signed()),
        _ => None,
    });
    found.unwrap_or(0)
}

fn text_of(message: &[u8], number: u64) -> String {
    String::from_utf8_lossy(bytes_of(message, number).unwrap_or_default()).into_owned()
}

/// The object in an envelope; `None` when it is broken or of a kind that is not known.
pub(crate) fn read(envelope: &[u8]) -> Option<Value> {
    let envelope = envelope.strip_prefix(MAGIC)?;
    let kind = bytes_of(envelope, 1)?;
    let (api_version, kind) = (text_of(kind, 1), text_of(kind, 2));
    let name = match (kind.as_str(), api_version.split_once('/')) {
        ("DeleteOptions", _) => "meta.v1.DeleteOptions".to_owned(),
        (kind, None) => format!("core.{api_version}.{kind}"),
        (kind, Some((group, version))) => {
            format!("{}.{version}.{kind}", group.split('.').next().unwrap_or(group))
        }
    };
    let mut object = message(&name, bytes_of(envelope, 2).unwrap_or_default())?;
    object.insert("apiVersion".into(), json!(api_version));
    object.insert("kind".into(), json!(kind));
    Some(Value::Object(object))
}

fn message(name: &str, bytes: &[u8]) -> Option<Map<String, Value>> {
    let fields = TABLE.get(name)?;
    let mut out = Map::new();
    for (number, raw) in Reader(bytes).all()? {
        let Some(field) = fields.get(&number) else { continue };
        match (&field.shape, raw) {
            (Shape::Struct(name), Raw::Bytes(bytes)) if field.name.is_empty() => {
                out.extend(message(name, bytes)?);
            }
            (Shape::List(of), raw) => {
                let list = out.entry(field.name).or_insert_with(|| json!([]));
                list.as_array_mut()?.push(value(of, raw)?);
            }
            (Shape::Map(of), Raw::Bytes(entry)) => {
                let found = Reader(entry).all()?.into_iter().find(|(number, _)| *number == 2);
                let element = match found {
                    Some((_, raw)) => value(of, raw)?,
                    None => value(of, Raw::Bytes(&[]))?,
                };
                let map = out.entry(field.name).or_insert_with(|| json!({}));
                map.as_object_mut()?.insert(text_of(entry, 1), element);
            }
            (shape, raw) => {
                let found = value(shape, raw)?;
                if !(found.is_null() || field.optional && is_zero(&found)) {
                    out.insert(field.name.into(), found);
                }
            }
        }
    }
    Some(out)
}

fn is_zero(value: &Value) -> bool {
    match value {
        Value::String(text) => text.is_empty(),
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::Bool(flag) => !flag,
        _ => false,
    }
}

fn value(shape: &Shape, raw: Raw<'_>) -> Option<Value> {
    Some(match (shape, raw) {
        (Shape::Text, Raw::Bytes(bytes)) => json!(std::str::from_utf8(bytes).ok()?),
        (Shape::Integer, Raw::Varint(number)) => json!(number.cast_signed()),
        (Shape::Number, Raw::Fixed(bits)) => json!(f64::from_bits(bits)),
        (Shape::Flag, Raw::Varint(flag)) => json!(flag != 0),
        (Shape::Bytes, Raw::Bytes(bytes)) => json!(STANDARD.encode(bytes)),
        (Shape::Time { .. }, Raw::Bytes([])) => Value::Null,
        (Shape::Time { micros }, Raw::Bytes(bytes)) => {
            let nanos = i32::try_from(number_of(bytes, 2)).ok()?;
            let time = jiff::Timestamp::new(number_of(bytes, 1), nanos).ok()?;
            json!(
                time.strftime(if *micros { "%Y-%m-%dT%H:%M:%S.%6fZ" } else { "%Y-%m-%dT%H:%M:%SZ" })
                    .to_string()
            )
        }
        (Shape::Quantity, Raw::Bytes(bytes)) => json!(text_of(bytes, 1)),
        (Shape::IntOrString, Raw::Bytes(bytes)) => match number_of(bytes, 1) {
            0 => json!(number_of(bytes, 2)),
            _ => json!(text_of(bytes, 3)),
        },
        (Shape::Json, Raw::Bytes(bytes)) => serde_json::from_slice(bytes_of(bytes, 1)?).ok()?,
        (Shape::Wrapped, Raw::Bytes(bytes)) => {
            let items = Reader(bytes).all()?;
            items.into_iter().filter_map(|(_, raw)| value(&Shape::Text, raw)).collect()
        }
        (Shape::Struct(name), Raw::Bytes(bytes)) => Value::Object(message(name, bytes)?),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(number: u8, content: &[u8]) -> Vec<u8> {
        let mut out = vec![number << 3 | 2, u8::try_from(content.len()).unwrap()];
        out.extend(content);
        out
    }

    fn envelope(api_version: &str, kind: &str, object: &[u8]) -> Vec<u8> {
        let kind = [field(1, api_version.as_bytes()), field(2, kind.as_bytes())].concat();
        [MAGIC.to_vec(), field(1, &kind), field(2, object)].concat()
    }

    #[test]
    fn an_object_is_read_with_maps_bytes_and_numbers() {
        let metadata = field(1, &[field(1, b"a"), field(8, b""), vec![0x38, 0]].concat());
        let data = field(2, &[field(1, b"key"), field(2, b"value")].concat());
        let binary = field(3, &[field(1, b"b"), field(2, &[1, 2])].concat());
        let object = [metadata, data, binary, vec![0x20, 1]].concat();
        let expected = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"},
            "data": {"key": "value"}, "binaryData": {"b": "AQI="}, "immutable": true});
        assert_eq!(read(&envelope("v1", "ConfigMap", &object)), Some(expected));
    }

    #[test]
    fn structs_without_a_name_of_their_own_are_laid_open() {
        let probe = field(1, &field(2, &[field(1, b"/healthz"), field(2, &[8, 0, 0x10, 80])].concat()));
        let read = message("core.v1.Probe", &probe).map(Value::Object);
        assert_eq!(read, Some(json!({"httpGet": {"path": "/healthz", "port": 80}})));
    }

    #[test]
    fn what_is_broken_or_unknown_is_not_read() {
        assert_eq!(read(b"{}"), None);
        assert_eq!(read(&envelope("v1", "Unheard", b"")), None);
        assert_eq!(read(&envelope("v1", "ConfigMap", &[0x0a, 9, 1])), None);
    }
}
