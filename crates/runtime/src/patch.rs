//! The smallest merge patch from one status to another.

use serde_json::{Map, Value, json};

/// The merge patch that turns `before` into `after`; empty when they are equal. Lists are replaced whole.
pub(crate) fn diff(before: &Value, after: &Value) -> Map<String, Value> {
    let empty = Map::new();
    let (before, after) = (before.as_object().unwrap_or(&empty), after.as_object().unwrap_or(&empty));
    let mut patch = Map::new();
    for (key, new) in after {
        match before.get(key) {
            Some(old) if old == new => {}
            Some(old @ Value::Object(_)) if new.is_object() => {
                patch.insert(key.clone(), Value::Object(diff(old, new)));
            }
            _ => {
                patch.insert(key.clone(), new.clone());
            }
        }
    }
    for key in before.keys().filter(|key| !after.contains_key(*key)) {
        patch.insert(key.clone(), Value::Null);
    }
    patch
}

/// A patch of a status that only succeeds on this state of the object.
pub(crate) fn status_patch(resource_version: Option<&str>, patch: Map<String, Value>) -> Value {
    json!({"metadata": {"resourceVersion": resource_version}, "status": patch})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_differs_is_sent_and_what_is_gone_is_nulled() {
        for (before, after, patch) in [
            (json!({"a": 1}), json!({"a": 1}), json!({})),
            (Value::Null, json!({"a": 1}), json!({"a": 1})),
            (json!({"a": 1, "b": 2}), json!({"a": 1}), json!({"b": null})),
            (json!({"a": [1, 2]}), json!({"a": [1]}), json!({"a": [1]})),
            (
                json!({"m": {"x": 1, "y": 2}}),
                json!({"m": {"x": 1, "z": 3}}),
                json!({"m": {"y": null, "z": 3}}),
            ),
            (json!({"m": {"x": 1}}), json!({"m": "text"}), json!({"m": "text"})),
        ] {
            assert_eq!(Value::Object(diff(&before, &after)), patch);
        }
    }
}
