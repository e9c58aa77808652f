//! Reading and changing the metadata of stored objects.

use serde_json::{Map, Value};

/// Text at a JSON pointer, empty when absent.
pub(crate) fn text<'v>(value: &'v Value, pointer: &str) -> &'v str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// A metadata field as text, empty when absent.
pub(crate) fn meta<'v>(object: &'v Value, field: &str) -> &'v str {
    object.get("metadata").and_then(|m| m.get(field)).and_then(Value::as_str).unwrap_or_default()
}

/// The metadata, made when absent.
pub(crate) fn metadata(object: &mut Value) -> &mut Map<String, Value> {
    section(object, "metadata")
}

/// An object-valued field, made (or replaced) when it is not one.
pub(crate) fn section<'v>(object: &'v mut Value, field: &str) -> &'v mut Map<String, Value> {
    let map = as_map(object);
    as_map(map.entry(field).or_insert_with(|| Value::Object(Map::new())))
}

/// The value as a map; anything else is replaced by an empty one.
pub(crate) fn as_map(value: &mut Value) -> &mut Map<String, Value> {
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    match value {
        Value::Object(map) => map,
        _ => unreachable!("made an object above"),
    }
}

/// Sets `field` where it is absent.
pub(crate) fn default_to(map: &mut Map<String, Value>, field: &str, value: impl Into<Value>) {
    if map.get(field).is_none_or(Value::is_null) {
        map.insert(field.to_owned(), value.into());
    }
}

/// The finalizers.
pub(crate) fn finalizers(object: &Value) -> Vec<String> {
    let list = object.pointer("/metadata/finalizers").and_then(Value::as_array);
    list.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// Replaces the finalizers; an empty list is no field.
pub(crate) fn set_finalizers(object: &mut Value, list: Vec<String>) {
    let metadata = metadata(object);
    if list.is_empty() {
        metadata.remove("finalizers");
    } else {
        metadata.insert("finalizers".into(), Value::from(list));
    }
}

/// Whether deletion has begun.
pub(crate) fn is_deleting(object: &Value) -> bool {
    object.pointer("/metadata/deletionTimestamp").is_some_and(|stamp| !stamp.is_null())
}

/// Whether a namespace still carries its own finalizer.
pub(crate) fn holds_content(namespace: &Value) -> bool {
    let list = namespace.pointer("/spec/finalizers").and_then(Value::as_array);
    list.is_some_and(|list| !list.is_empty())
}

/// The owners: (uid, whether it blocks its owner's deletion).
pub(crate) fn owners(object: &Value) -> Vec<(String, bool)> {
    let list = object.pointer("/metadata/ownerReferences").and_then(Value::as_array);
    list.into_iter()
        .flatten()
        .filter_map(|owner| {
            let blocks = owner.get("blockOwnerDeletion").and_then(Value::as_bool).unwrap_or(false);
            owner.get("uid").and_then(Value::as_str).map(|uid| (uid.to_owned(), blocks))
        })
        .collect()
}

/// Seconds-precise RFC 3339, as `metav1.Time` prints.
pub(crate) fn now() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// A random UID.
pub(crate) fn fresh_uid() -> String {
    let mut bytes: [u8; 16] = rand::random();
    bytes[6] = (bytes[6] & 0x0f) | 0x40;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    let hex = hex::encode(bytes);
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}
