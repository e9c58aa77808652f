//! Sets of fields: the algebra and the text form of `managedFields[].fieldsV1`.
//!
//! An element of a path is kept in its wire form: `f:name`, `k:{"name":"x"}`, `v:"x"` or `i:0`.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use crate::schema::Type;

/// A set of paths.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Set {
    members: BTreeSet<String>,
    children: BTreeMap<String, Set>,
}

impl Set {
    pub(crate) fn is_empty(&self) -> bool {
        self.members.is_empty() && self.children.values().all(Set::is_empty)
    }

    pub(crate) fn insert(&mut self, element: String) {
        self.members.insert(element);
    }

    /// Puts `child` under `element`.
    pub(crate) fn attach(&mut self, element: &str, child: Set) {
        if !child.is_empty() {
            let slot = self.children.entry(element.to_owned()).or_default();
            *slot = slot.union(&child);
        }
    }

    pub(crate) fn has(&self, element: &str) -> bool {
        self.members.contains(element)
    }

    pub(crate) fn under(&self, element: &str) -> Option<&Set> {
        self.children.get(element)
    }

    pub(crate) fn union(&self, other: &Set) -> Set {
        let mut out = self.clone();
        out.members.extend(other.members.iter().cloned());
        for (element, child) in &other.children {
            let slot = out.children.entry(element.clone()).or_default();
            *slot = slot.union(child);
        }
        out
    }

    fn combine(&self, other: &Set, keep: fn(bool) -> bool, alone: bool) -> Set {
        let members = self.members.iter().filter(|m| keep(other.members.contains(*m))).cloned().collect();
        let mut out = Set { members, children: BTreeMap::new() };
        for (element, child) in &self.children {
            let kept = match other.children.get(element) {
                Some(theirs) => child.combine(theirs, keep, alone),
                None if alone => child.clone(),
                None => continue,
            };
            if !kept.is_empty() {
                out.children.insert(element.clone(), kept);
            }
        }
        out
    }

    pub(crate) fn difference(&self, other: &Set) -> Set {
        self.combine(other, |found| !found, true)
    }

    pub(crate) fn intersection(&self, other: &Set) -> Set {
        self.combine(other, |found| found, false)
    }

    /// Also counts every declared field above a member as a member.
    pub(crate) fn with_parents(&self, ty: Type<'_>) -> Set {
        let mut out = self.clone();
        for (element, child) in &self.children {
            let below = match element.strip_prefix("f:") {
                Some(name) => {
                    if ty.declares(name) {
                        out.members.insert(element.clone());
                    }
                    ty.child_or_any(name)
                }
                None => ty.items(),
            };
            out.children.insert(element.clone(), child.with_parents(below));
        }
        out
    }

    /// Drops a path with everything below it.
    pub(crate) fn remove(&mut self, path: &[&str]) {
        match path {
            [] => {}
            [last] => {
                self.members.remove(*last);
                self.children.remove(*last);
            }
            [head, rest @ ..] => {
                if let Some(child) = self.children.get_mut(*head) {
                    child.remove(rest);
                    if child.is_empty() {
                        self.children.remove(*head);
                    }
                }
            }
        }
    }

    /// Drops one member but keeps what is below it.
    pub(crate) fn remove_member(&mut self, element: &str) {
        self.members.remove(element);
    }

    /// Every path, as messages show them (`.spec.containers[name="a"].image`).
    pub(crate) fn paths(&self) -> Vec<String> {
        let mut out = Vec::new();
        self.collect("", &mut out);
        out
    }

    fn collect(&self, prefix: &str, out: &mut Vec<String>) {
        for element in &self.members {
            out.push(format!("{prefix}{}", pretty(element)));
        }
        for (element, child) in &self.children {
            child.collect(&format!("{prefix}{}", pretty(element)), out);
        }
    }

    /// The `fieldsV1` object.
    pub(crate) fn to_value(&self) -> Value {
        let mut map = Map::new();
        for element in &self.members {
            let mut inner = Map::new();
            if let Some(child) = self.children.get(element).filter(|child| !child.is_empty()) {
                inner = match child.to_value() {
                    Value::Object(inner) => inner,
                    _ => Map::new(),
                };
                inner.insert(".".into(), Value::Object(Map::new()));
            }
            map.insert(element.clone(), Value::Object(inner));
        }
        for (element, child) in &self.children {
            if !self.members.contains(element) && !child.is_empty() {
                map.insert(element.clone(), child.to_value());
            }
        }
        Value::Object(map)
    }

    /// Reads a `fieldsV1` object.
    pub(crate) fn from_value(value: &Value) -> Set {
        let mut set = Set::default();
        let Value::Object(map) = value else { return set };
        for (key, inner) in map {
            if key == "." {
                continue;
            }
            let element = canonical(key);
            let empty = inner.as_object().is_none_or(Map::is_empty);
            if empty || inner.get(".").is_some() {
                set.members.insert(element.clone());
            }
            let child = Set::from_value(inner);
            if !child.is_empty() {
                set.children.insert(element, child);
            }
        }
        set
    }
}

/// Keys may arrive with their fields in any order.
fn canonical(element: &str) -> String {
    match element.split_once(':') {
        Some((mark @ ("k" | "v"), json)) => match serde_json::from_str::<Value>(json) {
            Ok(value) => format!("{mark}:{value}"),
            Err(_) => element.to_owned(),
        },
        _ => element.to_owned(),
    }
}

/// An element as the server's messages have it.
pub(crate) fn pretty(element: &str) -> String {
    match element.split_once(':') {
        Some(("f", name)) => format!(".{name}"),
        Some(("v", json)) => format!("[={json}]"),
        Some(("i", index)) => format!("[{index}]"),
        Some(("k", json)) => {
            let fields = match serde_json::from_str::<Map<String, Value>>(json) {
                Ok(map) => map.iter().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>().join(","),
                Err(_) => json.to_owned(),
            };
            format!("[{fields}]")
        }
        _ => element.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_text_form_survives_a_round_trip() {
        let text = json!({"f:metadata": {"f:labels": {".": {}, "f:app": {}}},
            "f:spec": {"f:ports": {"k:{\"containerPort\":80,\"protocol\":\"TCP\"}": {".": {}, "f:containerPort": {}}}}});
        assert_eq!(Set::from_value(&text).to_value(), text);
    }

    #[test]
    fn paths_read_like_the_servers_messages() {
        let set = Set::from_value(
            &json!({"f:a": {"k:{\"name\":\"x\"}": {"f:image": {}}}, "f:fin": {"v:\"q\"": {}}}),
        );
        assert_eq!(set.paths(), [".a[name=\"x\"].image", ".fin[=\"q\"]"]);
    }

    #[test]
    fn difference_keeps_what_only_the_left_has() {
        let left = Set::from_value(&json!({"f:a": {}, "f:b": {"f:c": {}, "f:d": {}}}));
        let right = Set::from_value(&json!({"f:a": {}, "f:b": {"f:c": {}}}));
        assert_eq!(left.difference(&right).to_value(), json!({"f:b": {"f:d": {}}}));
        assert_eq!(left.intersection(&right).to_value(), json!({"f:a": {}, "f:b": {"f:c": {}}}));
    }
}
