//! Finding a JSON pointer in a set of owned fields.

use serde_json::Value;

/// Whether a `fieldsV1` set holds the field a pointer leads to in `object`, or something beneath it.
pub(super) fn holds(fields: &Value, object: &Value, path: &str) -> bool {
    let mut fields = fields;
    let mut at = object;
    for segment in path.split('/').skip(1) {
        let segment = segment.replace("~1", "/").replace("~0", "~");
        let next = match at {
            Value::Array(items) => {
                let Some((index, item)) =
                    segment.parse::<usize>().ok().and_then(|index| Some((index, items.get(index)?)))
                else {
                    return false;
                };
                at = item;
                element(fields, index, item)
            }
            _ => {
                at = at.get(&segment).unwrap_or(&Value::Null);
                fields.get(format!("f:{segment}"))
            }
        };
        match next {
            Some(next) => fields = next,
            // A whole list or map that is owned at once lists nothing beneath it.
            None => return fields.as_object().is_some_and(serde_json::Map::is_empty),
        }
    }
    true
}

/// The entry of a list element: by its keys, its value or its place.
fn element<'f>(fields: &'f Value, index: usize, item: &Value) -> Option<&'f Value> {
    fields.as_object()?.iter().find_map(|(name, inner)| {
        let (kind, text) = name.split_once(':')?;
        let found = match kind {
            "k" => {
                let keys: Value = serde_json::from_str(text).ok()?;
                keys.as_object()?.iter().all(|(key, value)| item.get(key) == Some(value))
            }
            "v" => serde_json::from_str::<Value>(text).ok()? == *item,
            "i" => text.parse() == Ok(index),
            _ => false,
        };
        found.then_some(inner)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn pointers_are_found_through_maps_and_lists() {
        let object = json!({
            "spec": {
                "replicas": 1,
                "containers": [{"name": "a"}, {"name": "b", "image": "x"}],
                "finalizers": ["f"],
                "args": ["1"]
            },
            "metadata": {"annotations": {"a/b": "c"}}
        });
        let fields = json!({
            "f:spec": {
                "f:replicas": {},
                "f:containers": {"k:{\"name\":\"b\"}": {".": {}, "f:image": {}}},
                "f:finalizers": {"v:\"f\"": {}},
                "f:args": {}
            },
            "f:metadata": {"f:annotations": {"f:a/b": {}}}
        });
        for (path, expected) in [
            ("/spec/replicas", true),
            ("/spec/paused", false),
            ("/spec/containers/1/image", true),
            ("/spec/containers/0/image", false),
            ("/spec/containers/7", false),
            ("/spec/containers/x", false),
            ("/spec/finalizers/0", true),
            ("/spec/args/0", true),
            ("/metadata/annotations/a~1b", true),
            ("/spec", true),
        ] {
            assert_eq!(holds(&fields, &object, path), expected, "{path}");
        }
    }
}
