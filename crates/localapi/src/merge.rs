//! Typed merging, comparing and removing: the three walks that server-side apply is made of.

use serde_json::{Map, Value};

use crate::fieldset::Set;
use crate::schema::{Relation, Type};

/// The path element of a list item; `None` in atomic lists.
pub(crate) fn item_element(ty: Type<'_>, item: &Value) -> Option<String> {
    match &ty.node.relation {
        Relation::Set => Some(format!("v:{item}")),
        Relation::Keys(keys) => {
            let mut map = Map::new();
            for key in keys {
                let value = item.get(key).cloned().or_else(|| key_default(ty, key)).unwrap_or(Value::Null);
                map.insert(key.clone(), value);
            }
            Some(format!("k:{}", Value::Object(map)))
        }
        _ => None,
    }
}

fn key_default(ty: Type<'_>, key: &str) -> Option<Value> {
    let declared = ty.items().child(key).and_then(|child| child.node.default.clone());
    declared.or_else(|| (ty.node.typed && key == "protocol").then(|| Value::String("TCP".into())))
}

fn is_empty(value: Option<&Value>) -> bool {
    match value {
        None | Some(Value::Null) => true,
        Some(Value::Object(map)) => map.is_empty(),
        Some(Value::Array(list)) => list.is_empty(),
        Some(_) => false,
    }
}

/// The fields that `value` sets.
pub(crate) fn fields_of(ty: Type<'_>, value: &Value) -> Set {
    let mut set = Set::default();
    match value {
        Value::Object(map) if !ty.is_leaf(value) => {
            for (key, child) in map {
                let below = ty.child_or_any(key);
                let element = format!("f:{key}");
                set.attach(&element, fields_of(below, child));
                let hollow = child.is_null() || child.as_object().is_some_and(Map::is_empty);
                if below.is_leaf(child) || hollow || !ty.declares(key) {
                    set.insert(element);
                }
            }
        }
        Value::Array(list) if !ty.is_leaf(value) => {
            for item in list {
                if let Some(element) = item_element(ty, item) {
                    set.attach(&element, fields_of(ty.items(), item));
                    set.insert(element);
                }
            }
        }
        _ => {}
    }
    set
}

/// What changed between two objects.
#[derive(Debug, Default)]
pub(crate) struct Comparison {
    pub(crate) added: Set,
    pub(crate) modified: Set,
    pub(crate) removed: Set,
}

impl Comparison {
    pub(crate) fn touched(&self) -> Set {
        self.modified.union(&self.added)
    }

    fn attach(&mut self, element: &str, below: Comparison) {
        self.added.attach(element, below.added);
        self.modified.attach(element, below.modified);
        self.removed.attach(element, below.removed);
    }

    fn child(&mut self, ty: Type<'_>, element: String, old: Option<&Value>, new: Option<&Value>) {
        self.attach(&element, compare(ty, old, new));
        match (old, new) {
            (None, Some(_)) => self.added.insert(element),
            (Some(_), None) => self.removed.insert(element),
            (Some(old), Some(new)) if old != new && together(ty, old, new) => self.modified.insert(element),
            _ => {}
        }
    }
}

/// Whether the pair is compared as one piece.
fn together(ty: Type<'_>, old: &Value, new: &Value) -> bool {
    let leaf = |value: &Value| !value.is_null() && ty.is_leaf(value);
    leaf(old) || leaf(new) || (is_empty(Some(old)) && is_empty(Some(new)))
}

/// Compares below a pair of values; the pair itself is the caller's to mark.
pub(crate) fn compare(ty: Type<'_>, old: Option<&Value>, new: Option<&Value>) -> Comparison {
    let mut out = Comparison::default();
    let shape = new.or(old);
    if (is_empty(old) && is_empty(new)) || shape.is_none_or(|value| ty.is_leaf(value)) {
        return out;
    }
    let (old_map, new_map) = (old.and_then(Value::as_object), new.and_then(Value::as_object));
    if old_map.is_some() || new_map.is_some() {
        for (key, before) in old_map.into_iter().flatten() {
            let after = new_map.and_then(|map| map.get(key));
            out.child(ty.child_or_any(key), format!("f:{key}"), Some(before), after);
        }
        for (key, after) in new_map.into_iter().flatten() {
            if !old_map.is_some_and(|map| map.contains_key(key)) {
                out.child(ty.child_or_any(key), format!("f:{key}"), None, Some(after));
            }
        }
        return out;
    }
    let before = keyed(ty, old);
    let after = keyed(ty, new);
    for (element, item) in &before {
        let twin = after.iter().find(|(other, _)| other == element).map(|(_, item)| *item);
        out.child(ty.items(), element.clone(), Some(item), twin);
    }
    for (element, item) in &after {
        if !before.iter().any(|(other, _)| other == element) {
            out.child(ty.items(), element.clone(), None, Some(item));
        }
    }
    out
}

fn keyed<'v>(ty: Type<'_>, list: Option<&'v Value>) -> Vec<(String, &'v Value)> {
    let items = list.and_then(Value::as_array).into_iter().flatten();
    items.filter_map(|item| item_element(ty, item).map(|element| (element, item))).collect()
}

/// Merges `config` into `live`; what `config` says wins.
pub(crate) fn merge(ty: Type<'_>, live: &Value, config: &Value) -> Value {
    if ty.is_leaf(config) || ty.is_leaf(live) {
        return config.clone();
    }
    match (live, config) {
        (Value::Object(live), Value::Object(config)) => {
            let mut out = live.clone();
            for (key, value) in config {
                let merged = match live.get(key) {
                    Some(before) => merge(ty.child_or_any(key), before, value),
                    None => value.clone(),
                };
                out.insert(key.clone(), merged);
            }
            Value::Object(out)
        }
        (Value::Array(_), Value::Array(_)) => merge_lists(ty, live, config),
        _ => config.clone(),
    }
}

/// Items only `live` has keep their place; shared ones follow the order of `config`.
fn merge_lists(ty: Type<'_>, live: &Value, config: &Value) -> Value {
    let (left, right) = (keyed(ty, Some(live)), keyed(ty, Some(config)));
    let wanted = |element: &String| right.iter().any(|(other, _)| other == element);
    let mut out = Vec::with_capacity(left.len().max(right.len()));
    let mut done: Vec<&String> = Vec::new();
    let (mut l, mut r) = (left.iter().peekable(), right.iter().peekable());
    loop {
        match l.peek() {
            Some((element, item)) if !wanted(element) => {
                out.push((*item).clone());
                l.next();
                continue;
            }
            Some((element, _)) if done.contains(&element) => {
                l.next();
                continue;
            }
            _ => {}
        }
        let Some((element, item)) = r.next() else {
            if l.next().is_none() {
                break;
            }
            continue;
        };
        done.push(element);
        let twin = left.iter().find(|(other, _)| other == element);
        out.push(match twin {
            Some((_, before)) => merge(ty.items(), before, item),
            None => (*item).clone(),
        });
    }
    Value::Array(out)
}

/// Takes the fields in `set` out of `value`; `None` when nothing is left of it.
pub(crate) fn remove(ty: Type<'_>, value: &Value, set: &Set) -> Option<Value> {
    if ty.is_leaf(value) {
        return Some(value.clone());
    }
    match value {
        Value::Object(map) => {
            let mut out = Map::new();
            for (key, child) in map {
                let element = format!("f:{key}");
                if set.has(&element) {
                    continue;
                }
                let kept = match set.under(&element) {
                    Some(below) => remove(ty.child_or_any(key), child, below),
                    None => Some(child.clone()),
                };
                if let Some(kept) = kept {
                    out.insert(key.clone(), kept);
                }
            }
            (!out.is_empty()).then_some(Value::Object(out))
        }
        Value::Array(list) => {
            let mut out = Vec::new();
            for item in list {
                let element = item_element(ty, item).unwrap_or_default();
                if set.has(&element) {
                    continue;
                }
                match set.under(&element) {
                    Some(below) => out.extend(remove(ty.items(), item, below)),
                    None => out.push(item.clone()),
                }
            }
            (!out.is_empty()).then_some(Value::Array(out))
        }
        other => Some(other.clone()),
    }
}
