//! Decoding of settings in the words of Go's JSON decoder: strict for a kustomization file, lenient for plugins.

use serde_json::{Map, Value};
use sluice_manifest::yaml;

use crate::error::{Error, Result, bad};

/// What a value must be.
pub(crate) enum Shape {
    Text,
    /// A text that any scalar is taken for as it is written.
    Written,
    Flag,
    Whole,
    /// Whatever is there.
    Any,
    Texts(&'static Shape),
    /// Elements of the shape and their type's name.
    List(&'static Shape, &'static str),
    /// What upstream keeps in a struct within the struct: there it takes no number for a text.
    Embedded(&'static Shape),
    /// Known fields and the type's name.
    Struct(&'static [(&'static str, Shape)], &'static str),
}

impl Shape {
    fn type_name(&self) -> String {
        match self {
            Shape::Text | Shape::Written => "string".into(),
            Shape::Flag => "bool".into(),
            Shape::Whole => "int".into(),
            Shape::Any => "interface {}".into(),
            Shape::Embedded(inner) => inner.type_name(),
            Shape::Texts(inner) => format!("map[string]{}", inner.type_name()),
            Shape::List(_, name) => format!("[]{name}"),
            Shape::Struct(_, name) => format!("types.{name}"),
        }
    }
}

pub(crate) fn json_kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

struct Decoder {
    /// Whether unknown fields are passed over.
    lenient: bool,
    /// Whether other scalars are taken as texts where a text is wanted.
    converts: bool,
    path: Vec<String>,
    first: Option<Error>,
}

/// Checks `value` against `shape` and returns it with the fields' proper names and without nulls.
pub(crate) fn decode(value: Value, shape: &'static Shape, root: &str) -> Result<Value> {
    run(value, shape, root, (false, false))
}

/// As [`decode`] for settings that upstream reads with their types in sight: scalars become texts.
pub(crate) fn decode_typed(value: Value, shape: &'static Shape, root: &str) -> Result<Value> {
    run(value, shape, root, (true, false)).map_err(undecoded)
}

/// As [`decode_typed`], passing over unknown fields.
pub(crate) fn decode_lenient(value: Value, shape: &'static Shape, root: &str) -> Result<Value> {
    run(value, shape, root, (true, true)).map_err(undecoded)
}

fn undecoded(error: Error) -> Error {
    error.wrap("error unmarshaling JSON: while decoding JSON")
}

/// The text a number or truth value is taken for.
fn scalar_text(value: &Value) -> Option<String> {
    match value {
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Number(number) if number.is_i64() || number.is_u64() => Some(number.to_string()),
        Value::Number(number) => number.as_f64().map(float_text),
        _ => None,
    }
}

/// A fraction, which upstream writes with the precision of 32 bits.
fn float_text(number: f64) -> String {
    let short = number as f32;
    if short == 0.0 {
        return "0".to_owned();
    }
    if short.is_infinite() {
        return if short > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    yaml::float_text(number)
}

fn run(value: Value, shape: &'static Shape, root: &str, (converts, lenient): (bool, bool)) -> Result<Value> {
    let mut decoder = Decoder { lenient, converts, path: vec![root.to_owned()], first: None };
    let decoded = decoder.value(value, shape);
    match decoder.first {
        Some(error) => Err(error),
        None => Ok(decoded.unwrap_or(Value::Null)),
    }
}

impl Decoder {
    fn fail(&mut self, error: impl FnOnce(&str) -> Error) {
        if self.first.is_none() {
            self.first = Some(error(&self.path.join(".")));
        }
    }

    fn within(&mut self, step: String, value: Value, shape: &'static Shape) -> Option<Value> {
        self.path.push(step);
        let decoded = self.value(value, shape);
        self.path.pop();
        decoded
    }

    fn value(&mut self, value: Value, shape: &'static Shape) -> Option<Value> {
        match (shape, value) {
            (_, Value::Null) => None,
            (Shape::Any, value) => Some(value),
            (Shape::Embedded(inner), value) => {
                let converts = std::mem::replace(&mut self.converts, false);
                let decoded = self.value(value, inner);
                self.converts = converts;
                decoded
            }
            (Shape::Text | Shape::Written, value @ Value::String(_))
            | (Shape::Flag, value @ Value::Bool(_)) => Some(value),
            (Shape::Written, Value::Number(number)) if number.is_f64() => {
                number.as_f64().map(yaml::float_shown).map(Value::String)
            }
            (Shape::Text | Shape::Written, value) if self.converts && scalar_text(&value).is_some() => {
                scalar_text(&value).map(Value::String)
            }
            (Shape::Whole, Value::Number(number)) if number.is_i64() => Some(Value::Number(number)),
            (Shape::Whole, Value::Number(number)) => {
                self.fail(|path| {
                    bad!("json: cannot unmarshal number {number} into Go struct field {path} of type int")
                });
                None
            }
            (Shape::List(inner, _), Value::Array(items)) => {
                let decode = |(at, item)| {
                    let empty = || match inner {
                        Shape::Text => Value::String(String::new()),
                        _ => Value::Object(Map::new()),
                    };
                    self.within(format!("{at}"), item, inner).unwrap_or_else(empty)
                };
                Some(Value::Array(items.into_iter().enumerate().map(decode).collect()))
            }
            (Shape::Texts(inner), Value::Object(map)) => {
                let mut texts = Map::new();
                for (key, value) in map {
                    let value = self.within(key.clone(), value, inner);
                    texts.insert(key, value.unwrap_or_else(|| Value::String(String::new())));
                }
                Some(Value::Object(texts))
            }
            (Shape::Struct(fields, _), Value::Object(map)) => {
                let mut object = Map::new();
                for (key, value) in map {
                    let exact = fields.iter().find(|(name, _)| *name == key);
                    let found =
                        exact.or_else(|| fields.iter().find(|(name, _)| name.eq_ignore_ascii_case(&key)));
                    match found {
                        Some((name, shape)) => {
                            if let Some(value) = self.within((*name).to_owned(), value, shape) {
                                object.insert((*name).to_owned(), value);
                            }
                        }
                        None if self.lenient => {}
                        None => self.fail(|_| bad!("json: unknown field {key:?}")),
                    }
                }
                Some(Value::Object(object))
            }
            (shape, value) => {
                let kind = json_kind(&value);
                let whole = self.path.len() == 1;
                self.fail(|path| match (whole, shape.type_name()) {
                    (true, name) => bad!("json: cannot unmarshal {kind} into Go value of type {name}"),
                    (false, name) => {
                        bad!("json: cannot unmarshal {kind} into Go struct field {path} of type {name}")
                    }
                });
                None
            }
        }
    }
}
