//! The order in which Kustomizations that changed together are best visited.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use sluice_api::kustomize::v1::Kustomization;
use sluice_runtime::Key;

use crate::request::prerequisites;

/// Puts those that others depend on first. Circles are broken anywhere: the gate reports them.
pub(crate) fn by_dependencies(all: &mut Vec<Arc<Kustomization>>) {
    all.sort_by_cached_key(|object| Key::of(&**object));
    let places: HashMap<Key, usize> =
        all.iter().enumerate().map(|(place, object)| (Key::of(&**object), place)).collect();
    let mut seen = HashSet::new();
    let mut order = Vec::with_capacity(all.len());
    for start in 0..all.len() {
        // Depth first without recursion: chains are as long as tenants write them.
        let mut open = vec![(start, false)];
        while let Some((place, done)) = open.pop() {
            if done {
                order.push(place);
            } else if seen.insert(place) {
                open.push((place, true));
                let object = all.get(place);
                let needed = object.into_iter().flat_map(|object| prerequisites(object));
                open.extend(needed.filter_map(|key| places.get(&key)).map(|place| (*place, false)));
            }
        }
    }
    *all = order.into_iter().filter_map(|place| all.get(place).cloned()).collect();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;
    use serde_json::{Value, json};

    fn sorted(edges: &[(&str, &[&str])]) -> String {
        let mut all: Vec<_> = edges
            .iter()
            .map(|(name, needs)| {
                let needs: Vec<Value> = needs.iter().map(|need| json!({"name": need})).collect();
                let spec = json!({
                    "interval": "1m", "prune": true, "dependsOn": needs,
                    "sourceRef": {"kind": "GitRepository", "name": "repo"},
                });
                Arc::new(sample::named(name, spec, Value::Null))
            })
            .collect();
        by_dependencies(&mut all);
        all.iter().map(|object| object.metadata.name.clone().unwrap()).collect()
    }

    #[test]
    fn what_others_depend_on_goes_first() {
        assert_eq!(sorted(&[("a", &["c"]), ("b", &[]), ("c", &["d"]), ("d", &[])]), "dcab");
        assert_eq!(sorted(&[("a", &["outside"]), ("b", &["a"])]), "ab");
    }

    #[test]
    fn a_circle_loses_nobody() {
        assert_eq!(sorted(&[("a", &["b"]), ("b", &["a"]), ("c", &["a"])]).len(), 3);
    }
}
