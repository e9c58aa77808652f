//! Circles in the graph of dependencies.

use std::collections::BTreeSet;

use sluice_runtime::Key;

/// The way from `start` back to itself along dependencies, `start` at both ends.
pub(crate) fn find<I>(start: &Key, dependencies: impl Fn(&Key) -> I) -> Option<Vec<Key>>
where
    I: IntoIterator<Item = Key>,
{
    let mut seen = BTreeSet::new();
    let mut path = vec![start.clone()];
    let mut open: Vec<std::vec::IntoIter<Key>> =
        vec![dependencies(start).into_iter().collect::<Vec<_>>().into_iter()];
    while let Some(next) = open.last_mut() {
        let Some(key) = next.next() else {
            open.pop();
            path.pop();
            continue;
        };
        if key == *start {
            path.push(key);
            return Some(path);
        }
        if seen.insert(key.clone()) {
            open.push(dependencies(&key).into_iter().collect::<Vec<_>>().into_iter());
            path.push(key);
        }
    }
    None
}

/// A circle as people read it.
pub(crate) fn describe(path: &[Key]) -> String {
    path.iter().map(ToString::to_string).collect::<Vec<_>>().join(" -> ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn circle(edges: &[(&str, &str)], start: &str) -> Option<String> {
        let key = |name: &str| Key::new("apps", name);
        let found = find(&key(start), |from| {
            let targets: Vec<Key> = edges
                .iter()
                .filter(|(source, _)| *source == &*from.name)
                .map(|(_, target)| key(target))
                .collect();
            targets
        });
        found.map(|path| path.iter().map(|key| key.name.to_string()).collect::<Vec<_>>().join(">"))
    }

    #[test]
    fn a_circle_is_named_by_its_shortest_found_way() {
        let edges = [("a", "b"), ("b", "c"), ("c", "a"), ("d", "a"), ("e", "e")];
        assert_eq!(circle(&edges, "a").as_deref(), Some("a>b>c>a"));
        assert_eq!(circle(&edges, "c").as_deref(), Some("c>a>b>c"));
        assert_eq!(circle(&edges, "e").as_deref(), Some("e>e"));
    }

    #[test]
    fn who_only_waits_for_a_circle_is_not_in_it() {
        assert_eq!(circle(&[("d", "a"), ("a", "b"), ("b", "a")], "d"), None);
    }

    #[test]
    fn a_diamond_is_no_circle() {
        assert_eq!(circle(&[("a", "b"), ("a", "c"), ("b", "d"), ("c", "d")], "a"), None);
    }
}
