//! JSON patches (RFC 6902) with the extensions and messages of the Go library upstream uses.

use serde_json::Value;

use crate::decode::json_kind;
use crate::error::{Result, bad};
use crate::node::DEEPEST;

/// One operation of a patch.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Operation {
    op: String,
    path: Option<String>,
    from: Option<String>,
    value: Option<Value>,
}

/// Copies may not blow an object up beyond this many times its parts.
const MOST_COPIED: usize = 1 << 26;

/// Reads a patch from its decoded form; null is a patch without operations.
pub(crate) fn decode(value: &Value) -> Result<Vec<Operation>> {
    if value.is_null() {
        return Ok(Vec::new());
    }
    let Some(list) = value.as_array() else {
        let kind = json_kind(value);
        return Err(bad!("json: cannot unmarshal {kind} into Go value of type jsonpatch.Patch"));
    };
    list.iter()
        .map(|entry| {
            let Some(map) = entry.as_object() else {
                let kind = json_kind(entry);
                return Err(bad!("json: cannot unmarshal {kind} into Go value of type jsonpatch.Operation"));
            };
            let text = |key: &str| map.get(key).and_then(Value::as_str).map(str::to_owned);
            Ok(Operation {
                op: text("op").unwrap_or_else(|| "unknown".to_owned()),
                path: text("path"),
                from: text("from"),
                value: map.get("value").cloned(),
            })
        })
        .collect()
}

/// Applies all operations in order; how much was copied on the way.
pub(crate) fn apply(document: &mut Value, operations: &[Operation]) -> Result<usize> {
    let mut copied = 0;
    for operation in operations {
        match operation.op.as_str() {
            "add" => add(document, operation)?,
            "remove" => remove(document, operation)?,
            "replace" => replace(document, operation)?,
            "move" => relocate(document, operation)?,
            "test" => test(document, operation)?,
            "copy" => copy(document, operation, &mut copied)?,
            other => return Err(bad!("Unexpected kind: {other}")),
        }
    }
    Ok(copied)
}

fn path_of<'a>(operation: &'a Operation, name: &str) -> Result<&'a str> {
    operation.path.as_deref().ok_or_else(|| {
        let reason = match name {
            "replace" | "move" | "test" => "operation missing path field: missing value",
            _ => "missing value",
        };
        bad!("{name} operation failed to decode path: {reason}")
    })
}

fn from_of<'a>(operation: &'a Operation, name: &str) -> Result<&'a str> {
    operation.from.as_deref().ok_or_else(|| {
        bad!("{name} operation failed to decode from: operation, missing from field: missing value")
    })
}

fn unescape(part: &str) -> String {
    part.replace("~1", "/").replace("~0", "~")
}

/// The container a path ends in, and the last key.
fn find<'a>(document: &'a mut Value, path: &str) -> Option<(&'a mut Value, String)> {
    let (_, rest) = path.split_once('/')?;
    let mut parts: Vec<&str> = rest.split('/').collect();
    let last = unescape(parts.pop()?);
    let mut at = document;
    for part in parts {
        let part = unescape(part);
        at = match at {
            Value::Object(map) => map.get_mut(&part)?,
            Value::Array(list) => {
                let index = existing(list.len(), &part).ok()?;
                list.get_mut(index)?
            }
            _ => return None,
        };
        if !at.is_object() && !at.is_array() {
            return None;
        }
    }
    Some((at, last))
}

fn number(key: &str) -> Result<i64> {
    let digits = key.strip_prefix('+').unwrap_or(key);
    digits.parse().map_err(|_| bad!("strconv.Atoi: parsing {key:?}: invalid syntax"))
}

fn invalid(index: i64) -> crate::error::Error {
    bad!("Unable to access invalid index: {index}: invalid index referenced")
}

/// The place of an element that must exist; negative numbers count from the end.
fn existing(length: usize, key: &str) -> Result<usize> {
    let index = number(key)?;
    let size = i64::try_from(length).unwrap_or(i64::MAX);
    let at = if index < 0 { index + size } else { index };
    if at < 0 || at >= size { Err(invalid(index)) } else { usize::try_from(at).map_err(|_| invalid(index)) }
}

/// The value under a key. A key that an object lacks reads as null.
fn get<'a>(container: &'a Value, key: &str) -> Result<&'a Value> {
    match container {
        Value::Object(map) => Ok(map.get(key).unwrap_or(&Value::Null)),
        Value::Array(list) => list.get(existing(list.len(), key)?).ok_or_else(|| invalid(0)),
        _ => Err(bad!("missing value")),
    }
}

/// Refuses values that would make the document too deep to be walked.
fn check_depth(path: &str, value: &Value) -> Result<()> {
    fn fits(value: &Value, left: usize) -> bool {
        left > 0
            && match value {
                Value::Array(list) => list.iter().all(|item| fits(item, left - 1)),
                Value::Object(map) => map.values().all(|item| fits(item, left - 1)),
                _ => true,
            }
    }
    let used = path.matches('/').count();
    if used < DEEPEST && fits(value, DEEPEST - used) {
        return Ok(());
    }
    Err(crate::error::Error::limit("depth of an object", DEEPEST))
}

fn insert(container: &mut Value, key: &str, value: Value) -> Result<()> {
    match container {
        Value::Object(map) => {
            map.insert(key.to_owned(), value);
        }
        Value::Array(list) if key == "-" => list.push(value),
        Value::Array(list) => {
            let index = number(key).map_err(|_| {
                bad!(
                    "value was not a proper array index: '{key}': strconv.Atoi: parsing {key:?}: invalid syntax"
                )
            })?;
            let size = i64::try_from(list.len()).unwrap_or(i64::MAX).saturating_add(1);
            let at = if index < 0 { index + size } else { index };
            match usize::try_from(at) {
                Ok(at) if at <= list.len() => list.insert(at, value),
                _ => return Err(invalid(index)),
            }
        }
        _ => return Err(bad!("missing value")),
    }
    Ok(())
}

fn take(container: &mut Value, key: &str) -> Result<Value> {
    match container {
        Value::Object(map) => {
            map.remove(key).ok_or_else(|| bad!("Unable to remove nonexistent key: {key}: missing value"))
        }
        Value::Array(list) => {
            let index = existing(list.len(), key)?;
            Ok(list.remove(index))
        }
        _ => Err(bad!("missing value")),
    }
}

fn add(document: &mut Value, operation: &Operation) -> Result<()> {
    let path = path_of(operation, "add")?;
    let Some((container, key)) = find(document, path) else {
        return Err(bad!("add operation does not apply: doc is missing path: \"{path}\": missing value"));
    };
    let value = operation.value.clone().unwrap_or(Value::Null);
    check_depth(path, &value)?;
    insert(container, &key, value).map_err(|error| error.wrap(format!("error in add for path: '{path}'")))
}

fn remove(document: &mut Value, operation: &Operation) -> Result<()> {
    let path = path_of(operation, "remove")?;
    let Some((container, key)) = find(document, path) else {
        return Err(bad!("remove operation does not apply: doc is missing path: \"{path}\": missing value"));
    };
    take(container, &key).map(drop).map_err(|error| error.wrap(format!("error in remove for path: '{path}'")))
}

fn replace(document: &mut Value, operation: &Operation) -> Result<()> {
    let path = path_of(operation, "replace")?;
    let value = operation.value.clone().unwrap_or(Value::Null);
    check_depth(path, &value)?;
    if path.is_empty() {
        if !value.is_object() && !value.is_array() {
            return Err(bad!("replace operation value must be object or array"));
        }
        *document = value;
        return Ok(());
    }
    let Some((container, key)) = find(document, path) else {
        return Err(bad!("replace operation does not apply: doc is missing path: {path}: missing value"));
    };
    if get(container, &key).is_err() {
        return Err(bad!("replace operation does not apply: doc is missing key: {path}: missing value"));
    }
    match container {
        Value::Object(map) => {
            map.insert(key, value);
        }
        Value::Array(list) => {
            let index = existing(list.len(), &key)?;
            if let Some(place) = list.get_mut(index) {
                *place = value;
            }
        }
        _ => {}
    }
    Ok(())
}

fn relocate(document: &mut Value, operation: &Operation) -> Result<()> {
    let from = from_of(operation, "move")?;
    let Some((container, key)) = find(document, from) else {
        return Err(bad!("move operation does not apply: doc is missing from path: {from}: missing value"));
    };
    get(container, &key).map_err(|error| error.wrap(format!("error in move for path: '{key}'")))?;
    let value =
        take(container, &key).map_err(|error| error.wrap(format!("error in move for path: '{key}'")))?;
    let path = path_of(operation, "move")?;
    check_depth(path, &value)?;
    let Some((container, key)) = find(document, path) else {
        return Err(bad!(
            "move operation does not apply: doc is missing destination path: {path}: missing value"
        ));
    };
    insert(container, &key, value).map_err(|error| error.wrap(format!("error in move for path: '{path}'")))
}

fn copy(document: &mut Value, operation: &Operation, copied: &mut usize) -> Result<()> {
    let from = from_of(operation, "copy")?;
    let Some((container, key)) = find(document, from) else {
        return Err(bad!("copy operation does not apply: doc is missing from path: {from}: missing value"));
    };
    let value = get(container, &key)
        .map_err(|error| error.wrap(format!("error in copy for from: '{from}'")))?
        .clone();
    *copied = copied.saturating_add(weight(&value));
    if *copied > MOST_COPIED {
        return Err(crate::error::Error::limit("size of copies in a JSON patch", MOST_COPIED));
    }
    let path = path_of(operation, "copy")?;
    check_depth(path, &value)?;
    let Some((container, key)) = find(document, path) else {
        return Err(bad!(
            "copy operation does not apply: doc is missing destination path: {path}: missing value"
        ));
    };
    insert(container, &key, value).map_err(|error| error.wrap("error while adding value during copy"))
}

/// About what a value takes, and what a mapping does, however small it is.
const NODE: usize = std::mem::size_of::<Value>();
const LEAF: usize = 11 * (NODE + std::mem::size_of::<String>());

/// How many nodes are put into an object.
pub(crate) fn nodes(operations: &[Operation]) -> usize {
    fn count(value: &Value) -> usize {
        match value {
            Value::Array(list) => 1 + list.iter().map(count).sum::<usize>(),
            Value::Object(map) => 1 + map.values().map(|value| 1 + count(value)).sum::<usize>(),
            _ => 1,
        }
    }
    operations.iter().filter_map(|operation| operation.value.as_ref()).map(count).sum()
}

fn weight(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len() + NODE,
        Value::Array(list) => list.iter().map(weight).sum::<usize>() + NODE,
        Value::Object(map) => map.iter().map(|(key, value)| key.len() + weight(value)).sum::<usize>() + LEAF,
        _ => NODE,
    }
}

fn test(document: &mut Value, operation: &Operation) -> Result<()> {
    let path = path_of(operation, "test")?;
    let wanted = operation.value.as_ref().unwrap_or(&Value::Null);
    let failed = || bad!("testing value {path} failed: test failed");
    if path.is_empty() {
        return if same(document, wanted) { Ok(()) } else { Err(failed()) };
    }
    let Some((container, key)) = find(document, path) else {
        return Err(bad!("test operation does not apply: is missing path: {path}: missing value"));
    };
    let value =
        get(container, &key).map_err(|error| error.wrap(format!("error in test for path: '{path}'")))?;
    if same(value, wanted) { Ok(()) } else { Err(failed()) }
}

/// Equality of values; numbers by what they are, not by how they are kept.
fn same(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Number(a), Value::Number(b)) => {
            a == b || a.as_f64() == b.as_f64() && a.to_string() == b.to_string()
        }
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| same(a, b)))
        }
        (a, b) => a == b,
    }
}
