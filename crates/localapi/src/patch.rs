//! JSON, merge and strategic merge patches.

use serde_json::{Map, Value};

use crate::schema::Type;
use crate::status::Refusal;

/// A patch body with its type.
#[derive(Debug)]
pub(crate) enum Patch {
    Json(Value),
    Merge(Value),
    Strategic(Value),
}

/// The patched object.
pub(crate) fn apply(ty: Type<'_>, object: &Value, patch: &Patch) -> Result<Value, Refusal> {
    match patch {
        Patch::Json(operations) => {
            let operations: json_patch::Patch =
                serde_json::from_value(operations.clone()).map_err(|_| rejected())?;
            let mut out = object.clone();
            json_patch::patch(&mut out, &operations).map_err(|_| rejected())?;
            Ok(out)
        }
        Patch::Merge(patch) => {
            let mut out = object.clone();
            json_patch::merge(&mut out, patch);
            Ok(out)
        }
        Patch::Strategic(patch) => Ok(strategic(ty, object, patch, false)),
    }
}

fn rejected() -> Refusal {
    Refusal::unprocessable("the server rejected our request due to an error in our request")
}

fn directive(map: &Map<String, Value>) -> Option<&str> {
    map.get("$patch").and_then(Value::as_str)
}

fn strategic(ty: Type<'_>, live: &Value, patch: &Value, retain_keys: bool) -> Value {
    let (Value::Object(before), Value::Object(changes)) = (live, patch) else { return patch.clone() };
    match directive(changes) {
        Some("replace") => {
            let mut out = changes.clone();
            out.remove("$patch");
            return Value::Object(out);
        }
        Some("delete") => return Value::Object(Map::new()),
        _ => {}
    }
    let mut out = before.clone();
    if let Some(kept) = changes.get("$retainKeys").and_then(Value::as_array).filter(|_| retain_keys) {
        out.retain(|key, _| kept.iter().any(|name| name.as_str() == Some(key)));
    }
    for (key, change) in changes {
        if let Some(name) = key.strip_prefix("$deleteFromPrimitiveList/") {
            if let (Some(Value::Array(list)), Some(gone)) = (out.get_mut(name), change.as_array()) {
                list.retain(|item| !gone.contains(item));
            }
            continue;
        }
        if key.starts_with('$') {
            continue;
        }
        if change.is_null() {
            out.remove(key);
            continue;
        }
        let below = ty.child_or_any(key);
        let field = ty.field(key);
        let merge_key = field.and_then(|field| field.merge.as_deref());
        let order = changes.get(&format!("$setElementOrder/{key}")).and_then(Value::as_array);
        let merged = match (out.get(key), change, merge_key) {
            (None, Value::Array(list), Some(_)) => Value::Array(without_directives(list)),
            (None, Value::Object(_), _) => strategic(below, &Value::Object(Map::new()), change, false),
            (None, ..) => change.clone(),
            (Some(Value::Array(before)), Value::Array(list), Some("")) => merge_scalars(before, list, order),
            (Some(Value::Array(before)), Value::Array(list), Some(by)) => {
                merge_objects(below, before, list, by, order)
            }
            (Some(before @ Value::Object(_)), Value::Object(_), _) => {
                strategic(below, before, change, field.is_some_and(|field| field.retain_keys))
            }
            _ => change.clone(),
        };
        out.insert(key.clone(), merged);
    }
    // A list may be reordered without being changed otherwise.
    for (key, order) in changes {
        let Some(name) = key.strip_prefix("$setElementOrder/") else { continue };
        if changes.contains_key(name) {
            continue;
        }
        let by = ty.field(name).and_then(|field| field.merge.clone()).unwrap_or_default();
        if let (Some(Value::Array(list)), Some(order)) = (out.get_mut(name), order.as_array()) {
            let before = list.clone();
            sort(list, &before, &by, order);
        }
    }
    Value::Object(out)
}

fn without_directives(list: &[Value]) -> Vec<Value> {
    let kept = list.iter().filter(|item| item.as_object().is_none_or(|map| directive(map) != Some("delete")));
    kept.filter(|item| item.as_object().is_none_or(|map| directive(map) != Some("replace") || map.len() > 1))
        .cloned()
        .collect()
}

fn merge_scalars(before: &[Value], list: &[Value], order: Option<&Vec<Value>>) -> Value {
    let mut out = before.to_vec();
    for item in list {
        if !out.contains(item) {
            out.push(item.clone());
        }
    }
    sort(&mut out, before, "", order.map_or(list, Vec::as_slice));
    Value::Array(out)
}

fn merge_objects(
    ty: Type<'_>,
    before: &[Value],
    list: &[Value],
    by: &str,
    order: Option<&Vec<Value>>,
) -> Value {
    let replaces = |item: &Value| {
        item.as_object().is_some_and(|map| map.len() == 1 && directive(map) == Some("replace"))
    };
    if list.iter().any(replaces) {
        return Value::Array(without_directives(list));
    }
    let mut out = before.to_vec();
    for change in list {
        let twin = out.iter().position(|item| item.get(by).is_some() && item.get(by) == change.get(by));
        let delete = change.as_object().is_some_and(|map| directive(map) == Some("delete"));
        match (twin, delete) {
            (Some(at), true) => {
                out.remove(at);
            }
            (None, true) => {}
            (Some(at), false) => {
                let merged = strategic(ty.items(), &out[at], change, false);
                out[at] = merged;
            }
            (None, false) => out.push(strategic(ty.items(), &Value::Object(Map::new()), change, false)),
        }
    }
    sort(&mut out, before, by, order.map_or(list, Vec::as_slice));
    Value::Array(out)
}

/// Puts the elements that the patch names in its order, and weaves in the others as they stood before.
fn sort(list: &mut Vec<Value>, before: &[Value], by: &str, order: &[Value]) {
    let key = |item: &Value| if by.is_empty() { Some(item.clone()) } else { item.get(by).cloned() };
    let was = |item: &Value| before.iter().position(|other| key(other) == key(item));
    let named = |item: &Value| order.iter().position(|other| key(other) == key(item));
    let (mut right, mut left): (Vec<Value>, Vec<Value>) =
        list.drain(..).partition(|item| named(item).is_some());
    right.sort_by_key(named);
    left.sort_by_key(was);
    let (mut left, mut right) = (left.into_iter().peekable(), right.into_iter().peekable());
    loop {
        let from_left = match (left.peek(), right.peek()) {
            (None, None) => return,
            (Some(_), None) => true,
            (None, Some(_)) => false,
            (Some(l), Some(r)) => matches!((was(l), was(r)), (Some(l), Some(r)) if l < r),
        };
        list.extend(if from_left { left.next() } else { right.next() });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::{BUILTIN, builtin};
    use serde_json::json;

    #[test]
    fn strategic_patches_merge_lists_by_their_keys() {
        let ty = Type::new(&BUILTIN.0, builtin("core.v1.Pod").unwrap());
        let live =
            json!({"spec": {"containers": [{"name": "a", "image": "x:1"}, {"name": "b", "image": "y"}]}});
        let cases = [
            (json!({"spec": {"containers": [{"name": "a", "image": "x:2"}]}}), json!(["x:2", "y"])),
            (json!({"spec": {"containers": [{"name": "a", "$patch": "delete"}]}}), json!(["y"])),
            (
                json!({"spec": {"containers": [{"$patch": "replace"}, {"name": "c", "image": "z"}]}}),
                json!(["z"]),
            ),
            (
                json!({"spec": {"$setElementOrder/containers": [{"name": "c"}, {"name": "a"}],
                    "containers": [{"name": "c", "image": "z"}]}}),
                json!(["z", "x:1", "y"]),
            ),
        ];
        for (patch, images) in cases {
            let out = strategic(ty, &live, &patch, false);
            let list = out.pointer("/spec/containers").and_then(Value::as_array).unwrap();
            let found: Vec<&Value> = list.iter().map(|c| &c["image"]).collect();
            assert_eq!(json!(found), images, "{patch}");
        }
    }
}
