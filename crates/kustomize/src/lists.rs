//! The two lists of a keyed merge, and which of their elements belong together.

use std::collections::{HashMap, HashSet};

use sluice_manifest::yaml::{Node, NodeValue};

use crate::error::Result;
use crate::node::{self, Shape};

/// The elements of both lists in one place, so that an element can stand in several.
#[derive(Default)]
pub(crate) struct Lists {
    pub(crate) all: Vec<Node>,
    pub(crate) dest: Vec<usize>,
    pub(crate) origin: Option<Vec<usize>>,
}

impl Lists {
    /// Whether no key is missing or repeated in either list.
    pub(crate) fn is_plain(&self, key: &str) -> bool {
        let distinct = |list: &[usize]| {
            let mut seen = HashSet::with_capacity(list.len());
            list.iter().all(|at| {
                let node = &self.all[*at];
                let text = node::key_text(node, key);
                !text.is_empty() && node.is_mapping() && seen.insert(text)
            })
        };
        distinct(&self.dest) && self.origin.as_deref().is_none_or(distinct)
    }

    pub(crate) fn places(&self, list: &[usize], key: &str) -> HashMap<String, usize> {
        list.iter().map(|at| (node::key_text(&self.all[*at], key).to_owned(), *at)).collect()
    }

    pub(crate) fn into_node(mut self, mut dest: Node) -> Node {
        let order = std::mem::take(&mut self.dest);
        let take = |at| std::mem::replace(&mut self.all[at], Node::null());
        // An element may stand twice only where keys are repeated.
        let distinct = order.iter().collect::<HashSet<_>>().len() == order.len();
        let items = if distinct {
            order.into_iter().map(take).collect()
        } else {
            order.iter().map(|at| self.all[*at].clone()).collect()
        };
        dest.value = NodeValue::Sequence(items);
        dest
    }

    pub(crate) fn hold_one(&mut self, node: Node) -> usize {
        self.all.push(node);
        self.all.len() - 1
    }

    pub(crate) fn hold(&mut self, nodes: Vec<Node>) -> Vec<usize> {
        nodes.into_iter().map(|node| self.hold_one(node)).collect()
    }

    pub(crate) fn both(&self) -> impl Iterator<Item = &Node> {
        self.origin.iter().flatten().chain(&self.dest).map(|at| &self.all[*at])
    }

    /// The key values of all elements, the patch's first, without repetitions.
    pub(crate) fn values(&self, keys: &[String]) -> Vec<Vec<String>> {
        let mut seen = HashSet::new();
        let mut found = Vec::new();
        for node in self.both() {
            let values: Vec<String> = keys.iter().map(|key| node::key_text(node, key).to_owned()).collect();
            if !values.is_empty() && seen.insert(values.clone()) {
                found.push(values);
            }
        }
        found
    }

    pub(crate) fn texts(&self) -> Vec<Vec<String>> {
        let mut seen = HashSet::new();
        let texts = self.both().map(|node| node.text().unwrap_or("").to_owned());
        texts.filter(|text| seen.insert(text.clone())).map(|text| vec![text]).collect()
    }

    pub(crate) fn find(&self, list: &[usize], keys: &[String], values: &[String]) -> Option<usize> {
        let first_key = keys.first().map_or("", String::as_str);
        if first_key.is_empty() {
            let wanted = values.first().map_or("", String::as_str);
            return list.iter().copied().find(|at| self.all[*at].text().unwrap_or("") == wanted);
        }
        let fallback = [String::new()];
        let values = if values.is_empty() { &fallback[..] } else { values };
        if keys.len() != values.len() {
            return None;
        }
        list.iter().copied().find(|at| {
            let node = &self.all[*at];
            node.is_mapping()
                && keys.iter().zip(values).all(|(key, value)| {
                    node.get(key).is_some_and(|found| found.text().unwrap_or("") == value)
                })
        })
    }

    pub(crate) fn matches(&self, at: usize, keys: &[String], values: &[String]) -> bool {
        let node = &self.all[at];
        let mut last = false;
        for (index, key) in keys.iter().enumerate() {
            if let Some(value) = values.get(index) {
                last = if key.is_empty() {
                    node.is_scalar() && node.text() == Some(value)
                } else {
                    // An empty value stands for "any".
                    node.get(key).is_some_and(|found| value.is_empty() || found.text().unwrap_or("") == value)
                };
            }
            if !last {
                return false;
            }
        }
        true
    }

    /// The setter all list changes go through: replaces what matches, or appends.
    pub(crate) fn set(
        &self,
        list: &[usize],
        element: Option<usize>,
        keys: &[String],
        values: &[String],
    ) -> Vec<usize> {
        let wants_maps = keys.first().is_some_and(|key| !key.is_empty())
            && values.first().is_some_and(|value| !value.is_empty());
        let mut found = false;
        let mut result = Vec::with_capacity(list.len() + 1);
        for &at in list {
            let node = &self.all[at];
            if node::is_null_or_empty_map(node) {
                continue;
            }
            if !node.is_mapping() && wants_maps {
                result.push(at);
                continue;
            }
            if !self.matches(at, keys, values) {
                if !values.is_empty() {
                    result.push(at);
                }
                continue;
            }
            found = true;
            result.extend(element);
        }
        if !found {
            result.extend(element);
        }
        result
    }

    pub(crate) fn put(
        &self,
        list: &[usize],
        element: usize,
        keys: &[String],
        values: &[String],
    ) -> Vec<usize> {
        self.set(list, Some(element), keys, values)
    }

    pub(crate) fn without(&self, list: &[usize], keys: &[String], values: &[String]) -> Vec<usize> {
        self.set(list, None, keys, values)
    }

    /// The added elements first, then what is left of the old list.
    pub(crate) fn append(&self, added: Vec<usize>, keys: &[String]) -> Result<Vec<usize>> {
        let mut result = added;
        for &at in &self.dest {
            let node = &self.all[at];
            if keys.first().is_some_and(String::is_empty) {
                let text = node.text().unwrap_or("").to_owned();
                result = self.set(&result, Some(at), keys, &[text]);
                continue;
            }
            if !node.is_mapping() && !node.is_null() {
                return Err(node::wrong_kind(node, Shape::Mapping));
            }
            let mut values = Vec::with_capacity(keys.len());
            for key in keys {
                match node.get(key) {
                    Some(value) if !value.is_null() || node.is_mapping() => {
                        values.push(value.text().unwrap_or("").to_owned());
                    }
                    _ => result.push(at),
                }
            }
            if keys.len() > 1 {
                result = self.set(&result, None, keys, &values);
            }
            result = self.set(&result, Some(at), keys, &values);
        }
        Ok(result)
    }
}

/// Fills gaps: values that agree where both are known count as one.
pub(crate) fn unite(list: &mut [Vec<String>]) {
    for i in 0..list.len() {
        // Upstream goes on comparing what stood here before it filled the gaps.
        let left = list[i].clone();
        for j in 0..list.len() {
            let right = &list[j];
            if left.len() != right.len() || !left.iter().zip(right).any(|(a, b)| a == b) {
                continue;
            }
            if left.iter().zip(right).any(|(a, b)| a != b && !a.is_empty() && !b.is_empty()) {
                continue;
            }
            let united: Vec<String> = left
                .iter()
                .zip(right)
                .map(|(a, b)| if a.is_empty() { b.clone() } else { a.clone() })
                .collect();
            list[i].clone_from(&united);
            list[j] = united;
        }
    }
}

/// Drops the keys no element has.
pub(crate) fn valid(all: &[Vec<String>], values: &[String], keys: &[String]) -> (Vec<String>, Vec<String>) {
    let known: Vec<bool> = keys
        .iter()
        .enumerate()
        .map(|(at, _)| all.iter().any(|v| v.get(at).is_some_and(|v| !v.is_empty())))
        .collect();
    if !known.iter().any(|known| *known) {
        return (keys.to_vec(), values.to_vec());
    }
    let keys_left =
        keys.iter().zip(&known).filter(|(_, known)| **known).map(|(key, _)| key.clone()).collect();
    let values_left = values
        .iter()
        .enumerate()
        .filter(|(at, value)| !value.is_empty() || known.get(*at).copied().unwrap_or(false))
        .map(|(_, value)| value.clone())
        .collect();
    (keys_left, values_left)
}
