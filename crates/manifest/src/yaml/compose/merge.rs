//! Merge keys (`<<`), as go-yaml v3 expands them.

use std::collections::HashSet;

use super::super::node::{Node, NodeValue, Tag};
use super::super::scan::{Outcome, Problem};
use super::{EXCESSIVE, plain_failure};

const TWO_MERGES: &str = "duplicate merge key";
const NESTED_MERGE: &str = "invalid map merge: received a nested sequence";
const BAD_MERGE: &str = "map merge requires map or sequence of maps as the value";
pub(super) const BAD_ALIAS: &str = "invalid map merge: received alias for a non-map value";
/// Keys that are collections are compared with every other one, so there must not be many.
const MOST_BESIDE_COLLECTION_KEYS: usize = 1_000;

/// The words of what is wrong with a merge.
pub(super) const FAULTS: [&str; 4] = [BAD_MERGE, BAD_ALIAS, NESTED_MERGE, TWO_MERGES];

pub(super) const KEY: &str = "<<";

/// Puts the pairs of merged mappings behind the keys written out, which win. As upstream, drops the first key that
/// reads `<<`, though it was quoted and nothing was merged.
pub(super) fn expand(mut pairs: Vec<(Node, Node)>) -> Outcome<Vec<(Node, Node)>> {
    if let Some(at) = pairs.iter().position(|(key, _)| key.text() == Some(KEY))
        && pairs.get(at).is_some_and(|(key, _)| key.tag != Tag::Merge)
    {
        pairs.remove(at);
    }
    let (merges, mut expanded): (Vec<_>, Vec<_>) =
        pairs.into_iter().partition(|(key, _)| key.tag == Tag::Merge);
    if merges.len() > 1 {
        return Err(plain_failure(TWO_MERGES.to_owned()));
    }
    let mut present: HashSet<String> =
        expanded.iter().filter_map(|(key, _)| key.text()).map(str::to_owned).collect();
    for (_, value) in merges {
        let sources = match value.value {
            NodeValue::Mapping(pairs) => vec![pairs],
            NodeValue::Sequence(items) => {
                let mapping = |item: Node| match item.value {
                    NodeValue::Mapping(pairs) => Ok(pairs),
                    NodeValue::Sequence(_) => Err(plain_failure(NESTED_MERGE.to_owned())),
                    NodeValue::Scalar { .. } => Err(bad_merge()),
                };
                items.into_iter().map(mapping).collect::<Outcome<Vec<_>>>()?
            }
            NodeValue::Scalar { .. } => return Err(bad_merge()),
        };
        for (key, value) in sources.into_iter().flatten() {
            let new = match key.text() {
                Some(text) => present.insert(text.to_owned()),
                None if expanded.len() > MOST_BESIDE_COLLECTION_KEYS => {
                    return Err(plain_failure(EXCESSIVE.to_owned()));
                }
                None => !expanded.iter().any(|(other, _)| *other == key),
            };
            if new {
                expanded.push((key, value));
            }
        }
    }
    Ok(expanded)
}

fn bad_merge() -> Box<Problem> {
    plain_failure(BAD_MERGE.to_owned())
}
