//! The fields of a patch's mapping, to be taken one after the other by name.

use std::collections::{HashMap, HashSet};

use sluice_manifest::yaml::Node;

type Pair = (Node, Node);

/// Mappings up to this size are searched from end to end.
const SMALL: usize = 16;

fn name((key, _): &Pair) -> &str {
    key.text().unwrap_or("")
}

/// The places of keys that stood before.
pub(crate) fn repeats(pairs: &[Pair]) -> HashSet<usize> {
    if pairs.len() <= SMALL {
        let stood =
            |at: &usize| pairs.iter().take(*at).any(|pair| Some(name(pair)) == pairs.get(*at).map(name));
        return (1..pairs.len()).filter(stood).collect();
    }
    let mut seen = HashSet::with_capacity(pairs.len());
    pairs.iter().enumerate().filter(|(_, pair)| !seen.insert(name(pair))).map(|(at, _)| at).collect()
}

/// Fields in order, of which some were taken.
pub(crate) struct Fields {
    pairs: Vec<Option<Pair>>,
    /// Places by name, the last first; for large mappings only.
    places: Option<HashMap<String, Vec<usize>>>,
    taken: usize,
}

impl Fields {
    pub(crate) fn new(pairs: Vec<Pair>) -> Self {
        let places = (pairs.len() > SMALL).then(|| {
            let mut places: HashMap<String, Vec<usize>> = HashMap::with_capacity(pairs.len());
            for (at, pair) in pairs.iter().enumerate().rev() {
                places.entry(name(pair).to_owned()).or_default().push(at);
            }
            places
        });
        Self { pairs: pairs.into_iter().map(Some).collect(), places, taken: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.pairs.len()
    }

    pub(crate) fn has(&self, wanted: &str) -> bool {
        self.pairs.iter().flatten().any(|pair| name(pair) == wanted)
    }

    /// Takes the first value under the name; those that repeat it go.
    pub(crate) fn take(&mut self, wanted: &str) -> Option<Node> {
        if self.taken == self.pairs.len() {
            return None;
        }
        let mut found = None;
        match &mut self.places {
            Some(places) => {
                for at in places.remove(wanted)? {
                    self.taken += 1;
                    found = self.pairs.get_mut(at)?.take();
                }
            }
            None => {
                let has_name = |pair: &Pair| name(pair) == wanted;
                for slot in self.pairs.iter_mut().rev() {
                    if let Some(pair) = slot.take_if(|pair| has_name(pair)) {
                        self.taken += 1;
                        found = Some(pair);
                    }
                }
            }
        }
        found.map(|(_, value)| value)
    }

    /// What nobody took.
    pub(crate) fn into_left(self) -> Vec<Pair> {
        self.pairs.into_iter().flatten().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(count: usize) -> Vec<Pair> {
        let pair = |at: usize| (Node::string(format!("k{}", at % (count - 2))), Node::int(at as i64));
        (0..count).map(pair).collect()
    }

    #[test]
    fn fields_are_taken_in_order_whatever_their_number() {
        for count in [4, 40] {
            assert_eq!(repeats(&pairs(count)), HashSet::from([count - 2, count - 1]));
            let mut fields = Fields::new(pairs(count));
            assert_eq!(fields.take("k1"), Some(Node::int(1)));
            assert_eq!(fields.take("k1"), None);
            assert_eq!(fields.take("z"), None);
            assert_eq!(fields.into_left().len(), count - 2);
        }
    }
}
