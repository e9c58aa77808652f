//! What JSON text becomes that is read as YAML 1.1, which is how objects are written in the end.

use serde_json::{Map, Value};

use super::limits::Error;
use super::parse;

/// Reads a value once more: U+0085 in a text is a line break that folds, and a zero has no sign.
///
/// # Errors
/// Control characters, and line breaks in a key.
pub fn reread(value: Value) -> Result<Value, Error> {
    Ok(match value {
        Value::Number(number) if number.is_f64() && number.as_f64() == Some(0.0) => Value::from(0),
        Value::String(text) => Value::String(carried(text)?),
        Value::Array(items) => Value::Array(items.into_iter().map(reread).collect::<Result<_, _>>()?),
        Value::Object(map) if is_plain(&map) => Value::Object(map),
        Value::Object(map) => {
            let pairs = map.into_iter().map(|(key, value)| Ok((carried_key(key)?, reread(value)?)));
            Value::Object(pairs.collect::<Result<_, Error>>()?)
        }
        other => other,
    })
}

/// Whether nothing changes in a mapping; most are left where they are.
fn is_plain(map: &Map<String, Value>) -> bool {
    fn is_plain_value(value: &Value) -> bool {
        match value {
            Value::Null | Value::Bool(_) => true,
            Value::Number(number) => !number.is_f64() || number.as_f64() != Some(0.0),
            Value::String(text) => is_ascii_text(text),
            Value::Array(items) => items.iter().all(is_plain_value),
            Value::Object(map) => is_plain(map),
        }
    }
    map.iter().all(|(key, value)| is_ascii_text(key) && is_plain_value(value))
}

fn is_ascii_text(text: &str) -> bool {
    text.bytes().all(|b| b < 0x7F)
}

/// A key has to stand on one line.
fn carried_key(key: String) -> Result<String, Error> {
    if key.contains('\u{85}') {
        return Err(Error::at(1, "did not find expected ',' or '}'"));
    }
    carried(key)
}

fn carried(text: String) -> Result<String, Error> {
    if is_ascii_text(&text) {
        return Ok(text);
    }
    // JSON escapes what is below U+0020, so only the rest can offend.
    let visible: String = text.chars().filter(|c| *c >= ' ').collect();
    parse::check_characters(&visible)?;
    if !text.contains('\u{85}') {
        return Ok(text);
    }
    let mut folded = String::with_capacity(text.len());
    let mut rest = text.as_str();
    while let Some(at) = rest.find('\u{85}') {
        folded.push_str(rest.get(..at).unwrap_or_default().trim_end_matches(' '));
        let after = rest.get(at..).unwrap_or_default();
        let tail = after.trim_start_matches(['\u{85}', ' ']);
        let gap = after.len() - tail.len();
        let breaks = after.get(..gap).unwrap_or_default().matches('\u{85}').count();
        if breaks == 1 {
            folded.push(' ');
        } else {
            folded.extend(std::iter::repeat_n('\n', breaks - 1));
        }
        rest = tail;
    }
    folded.push_str(rest);
    Ok(folded)
}
