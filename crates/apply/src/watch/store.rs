//! What one watch knows: a few hundred bytes per object.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use serde_json::Value;

use super::{Change, Depth};
use crate::{Owner, Seen, Status, health};

/// What is kept of one object.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    pub(crate) seen: Seen,
    pub(crate) health: Option<(Status, Box<str>)>,
    pub(crate) object: Option<Arc<Value>>,
}

impl Known {
    /// Keeps of an object what a watch of this depth keeps.
    pub(crate) fn of(seen: Seen, depth: Depth, object: impl FnOnce() -> Value) -> Self {
        if depth == Depth::Metadata {
            return Self { seen, health: None, object: None };
        }
        let mut object = object();
        let (status, message) = health::builtin(&object);
        health::project(&mut object);
        Self {
            seen,
            health: Some((status, message.into())),
            object: (depth == Depth::Objects).then(|| Arc::new(object)),
        }
    }
}

type Key = (Arc<str>, Box<str>);

/// All objects of one watch. Namespaces and owners are stored once.
#[derive(Default)]
pub(crate) struct Store {
    objects: HashMap<Arc<str>, HashMap<Box<str>, Known>>,
    owners: HashSet<Arc<Owner>>,
    /// Whether a list was ever complete; before that, it is no news that an object is there.
    begun: bool,
    /// The objects of a list that is being read, until it is complete.
    listing: Option<HashMap<Key, Known>>,
    /// What was noted while a list was being read: the list may be older.
    noted: HashSet<Key>,
    /// Objects that a request of ours is about to change, and the news held back meanwhile.
    writing: HashMap<Key, Held>,
}

#[derive(Default)]
struct Held {
    writers: usize,
    news: Option<News>,
    /// The version at which the object went.
    gone: Option<u64>,
}

/// What an event means for whoever is interested.
#[derive(Clone, Debug)]
pub(crate) struct News {
    pub(crate) namespace: Arc<str>,
    pub(crate) name: Box<str>,
    pub(crate) owner: Option<Arc<Owner>>,
    pub(crate) change: Change,
}

impl Store {
    pub(crate) fn get(&self, namespace: &str, name: &str) -> Option<&Known> {
        self.objects.get(namespace)?.get(name)
    }

    fn intern(&mut self, namespace: &str, known: &mut Known) -> Arc<str> {
        if let Some(owner) = &mut known.seen.owner {
            match self.owners.get(owner) {
                Some(same) => *owner = Arc::clone(same),
                None => {
                    if self.owners.len() == self.owners.capacity() {
                        // Before it grows, it lets go of those whose objects are all gone.
                        self.owners.retain(|owner| Arc::strong_count(owner) > 1);
                    }
                    self.owners.insert(Arc::clone(owner));
                }
            }
        }
        self.objects.get_key_value(namespace).map_or_else(|| namespace.into(), |(same, _)| Arc::clone(same))
    }

    /// Whether a list is being read.
    pub(crate) fn is_listing(&self) -> bool {
        self.listing.is_some()
    }

    /// A list begins.
    pub(crate) fn begin(&mut self) {
        self.listing = Some(HashMap::new());
        self.noted.clear();
    }

    /// An object of the list.
    pub(crate) fn listed(&mut self, namespace: &str, name: &str, mut known: Known) {
        let namespace = self.intern(namespace, &mut known);
        if let Some(listing) = &mut self.listing {
            listing.insert((namespace, name.into()), known);
        }
    }

    /// The list is complete; what differs from before is news.
    pub(crate) fn complete(&mut self) -> Vec<News> {
        let mut news = Vec::new();
        let first = !std::mem::replace(&mut self.begun, true);
        let listing = self.listing.take().unwrap_or_default();
        let mut before = std::mem::take(&mut self.objects);
        self.owners.clear();
        for ((namespace, name), known) in listing {
            let old = before.get_mut(&namespace).and_then(|names| names.remove(&name));
            let noted = self.noted.remove(&(Arc::clone(&namespace), name.clone()));
            match old {
                Some(old) if noted && old.seen.version > known.seen.version => {
                    self.put(&namespace, name, old);
                }
                old => {
                    // What we wrote before the first list may have been changed since by others.
                    if !first || old.is_some() {
                        news.extend(compare(&namespace, &name, old.as_ref(), &known));
                    }
                    self.put(&namespace, name, known);
                }
            }
        }
        for (namespace, names) in before {
            for (name, old) in names {
                // The list may be older or newer than what was noted meanwhile. Not to know the object
                // costs a look; to believe in one that is gone would be wrong for good.
                if !self.noted.contains(&(Arc::clone(&namespace), name.clone())) {
                    news.push(gone(&namespace, &name, &old));
                }
            }
        }
        self.noted.clear();
        news
    }

    /// The kind is gone and its objects with it, also those that we wrote and no list has shown yet.
    pub(crate) fn vanish(&mut self) -> Vec<News> {
        self.begin();
        self.complete()
    }

    fn put(&mut self, namespace: &Arc<str>, name: Box<str>, mut known: Known) {
        let namespace = {
            let same = self.intern(namespace, &mut known);
            if self.objects.contains_key(&same) { same } else { Arc::clone(namespace) }
        };
        self.objects.entry(namespace).or_default().insert(name, known);
    }

    /// An object was added or changed.
    pub(crate) fn applied(&mut self, namespace: &str, name: &str, mut known: Known) -> Option<News> {
        let namespace = self.intern(namespace, &mut known);
        let old = self.get(&namespace, name);
        if old.is_some_and(|old| is_older(&known.seen, &old.seen)) {
            return None;
        }
        let news = compare(&namespace, name, old, &known);
        self.put(&namespace, name.into(), known);
        match self.writing.get_mut(&(namespace, name.into())) {
            Some(held) => {
                held.news = news.or(held.news.take());
                None
            }
            None => news,
        }
    }

    /// A request of ours is about to change the object: its echo may come before its answer.
    pub(crate) fn expect(&mut self, namespace: &str, name: &str) {
        let held = self.writing.entry((namespace.into(), name.into())).or_default();
        held.writers += 1;
    }

    /// The request was answered, with this object or without one. Answers what was held back, unless
    /// it was the echo.
    pub(crate) fn settle(&mut self, namespace: &str, name: &str, answer: Option<Known>) -> Option<News> {
        let key: Key = (namespace.into(), name.into());
        let held = self.writing.get_mut(&key)?;
        held.writers = held.writers.saturating_sub(1);
        let (news, went) = (held.news.take(), held.gone);
        if held.writers == 0 {
            self.writing.remove(&key);
        }
        let answer = answer.filter(|answer| went.is_none_or(|went| answer.seen.version > went));
        let Some(answer) = answer else {
            return news;
        };
        let newer = self.get(namespace, name).filter(|current| is_older(&answer.seen, &current.seen));
        let news = newer.and_then(|current| compare(&key.0, name, Some(&answer), current));
        self.note(namespace, name, answer);
        news
    }

    /// An object was deleted.
    pub(crate) fn deleted(&mut self, namespace: &str, name: &str, seen: &Seen) -> Option<News> {
        // Another object of that name may have been noted already.
        let old = self.get(namespace, name);
        if old.is_some_and(|old| old.seen.uid != seen.uid && old.seen.version > seen.version) {
            return None;
        }
        let news = old.map(|old| gone(&namespace.into(), name, old));
        if let Some(names) = self.objects.get_mut(namespace) {
            names.remove(name);
            if names.is_empty() {
                self.objects.remove(namespace);
            }
        }
        match self.writing.get_mut(&(namespace.into(), name.into())) {
            Some(held) => {
                held.gone = Some(seen.version);
                held.news = news.or(held.news.take());
                None
            }
            None => news,
        }
    }

    /// The answer to a request of ours showed the object.
    fn note(&mut self, namespace: &str, name: &str, mut known: Known) {
        if self.get(namespace, name).is_some_and(|old| is_older(&known.seen, &old.seen)) {
            return;
        }
        let namespace = self.intern(namespace, &mut known);
        if self.listing.is_some() {
            self.noted.insert((Arc::clone(&namespace), name.into()));
        }
        self.put(&namespace, name.into(), known);
    }
}

fn is_older(new: &Seen, old: &Seen) -> bool {
    new.version < old.version && new.version > 0
}

fn gone(namespace: &Arc<str>, name: &str, old: &Known) -> News {
    News {
        namespace: Arc::clone(namespace),
        name: name.into(),
        owner: old.seen.owner.clone(),
        change: Change::Deleted,
    }
}

/// Whether two known things differ; to know something for the first time is no difference.
fn differ<T: PartialEq>(old: &Option<T>, new: &Option<T>) -> bool {
    matches!((old, new), (Some(old), Some(new)) if old != new)
}

fn compare(namespace: &Arc<str>, name: &str, old: Option<&Known>, new: &Known) -> Option<News> {
    let change = match old {
        Some(old) if old.seen.uid == new.seen.uid => {
            if new.seen.deleting && !old.seen.deleting {
                Change::Terminating
            } else if old.seen.drift_key != new.seen.drift_key {
                Change::Drifted
            } else if differ(&old.health, &new.health) || differ(&old.object, &new.object) {
                Change::Health
            } else {
                return None;
            }
        }
        _ => Change::Drifted,
    };
    Some(News { namespace: Arc::clone(namespace), name: name.into(), owner: new.seen.owner.clone(), change })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Fingerprint;
    use sluice_manifest::Controls;

    fn known(uid: &str, version: u64, key: &str) -> Known {
        let key: Fingerprint = key.parse().expect("hexadecimal");
        Known {
            seen: Seen {
                uid: uid.into(),
                version,
                drift_key: key,
                content: key,
                owner: None,
                controls: Controls::default(),
                takeover: false,
                deleting: false,
            },
            health: None,
            object: None,
        }
    }

    fn list(store: &mut Store, objects: &[(&str, Known)]) -> Vec<(String, Change)> {
        store.begin();
        for (name, known) in objects {
            store.listed("ns", name, known.clone());
        }
        finish(store)
    }

    fn finish(store: &mut Store) -> Vec<(String, Change)> {
        let mut news: Vec<(String, Change)> =
            store.complete().into_iter().map(|news| (news.name.into(), news.change)).collect();
        news.sort_by(|a, b| a.0.cmp(&b.0));
        news
    }

    #[test]
    fn the_first_list_is_no_news_and_the_second_tells_what_was_missed() {
        let mut store = Store::default();
        let news = list(
            &mut store,
            &[("a", known("1", 1, "a")), ("b", known("2", 2, "b")), ("c", known("3", 3, "c"))],
        );
        assert_eq!(news, []);
        let news = list(
            &mut store,
            &[("a", known("1", 9, "a")), ("b", known("2", 9, "bb")), ("d", known("4", 9, "d"))],
        );
        let expected = [("b", Change::Drifted), ("c", Change::Deleted), ("d", Change::Drifted)];
        assert_eq!(news, expected.map(|(name, change)| (name.to_owned(), change)));
    }

    fn write(store: &mut Store, name: &str, answer: Known) -> Option<Change> {
        store.expect("ns", name);
        store.settle("ns", name, Some(answer)).map(|news| news.change)
    }

    #[test]
    fn what_others_did_to_a_written_object_before_the_first_list_is_news() {
        let mut store = Store::default();
        write(&mut store, "edited", known("1", 1, "a"));
        write(&mut store, "deleted", known("2", 2, "a"));
        write(&mut store, "left", known("3", 3, "a"));
        let news = list(
            &mut store,
            &[("edited", known("1", 9, "b")), ("left", known("3", 3, "a")), ("foreign", known("4", 4, "a"))],
        );
        assert_eq!(news, [("deleted".to_owned(), Change::Deleted), ("edited".to_owned(), Change::Drifted)]);
    }

    #[test]
    fn with_a_kind_goes_what_was_written_before_the_first_list() {
        let mut store = Store::default();
        write(&mut store, "a", known("1", 1, "a"));
        store.begin();
        let gone: Vec<Change> = store.vanish().into_iter().map(|news| news.change).collect();
        assert_eq!(gone, [Change::Deleted]);
        assert!(store.get("ns", "a").is_none());
    }

    #[test]
    fn the_echo_of_our_own_write_is_no_news() {
        let mut store = Store::default();
        list(&mut store, &[("a", known("1", 1, "a"))]);
        assert_eq!(write(&mut store, "a", known("1", 5, "aa")), None);
        assert!(store.applied("ns", "a", known("1", 3, "ab")).is_none(), "older than what we know");
        assert!(store.applied("ns", "a", known("1", 5, "aa")).is_none());
        let news = store.applied("ns", "a", known("1", 6, "b")).map(|news| news.change);
        assert_eq!(news, Some(Change::Drifted));
    }

    #[test]
    fn an_echo_that_overtakes_its_answer_is_held_back() {
        let mut store = Store::default();
        list(&mut store, &[]);
        store.expect("ns", "a");
        assert!(store.applied("ns", "a", known("1", 5, "a")).is_none());
        assert!(store.settle("ns", "a", Some(known("1", 5, "a"))).is_none());

        store.expect("ns", "a");
        assert!(store.applied("ns", "a", known("1", 6, "b")).is_none());
        assert!(store.applied("ns", "a", known("1", 7, "ff")).is_none());
        let news = store.settle("ns", "a", Some(known("1", 6, "b"))).map(|news| news.change);
        assert_eq!(news, Some(Change::Drifted), "somebody was faster than the answer");

        store.expect("ns", "a");
        assert!(store.applied("ns", "a", known("1", 8, "c")).is_none());
        let news = store.settle("ns", "a", None).map(|news| news.change);
        assert_eq!(news, Some(Change::Drifted), "the write failed, so it was no echo");
    }

    #[test]
    fn an_object_that_went_before_its_answer_came_is_not_believed_in() {
        let mut store = Store::default();
        list(&mut store, &[("a", known("1", 1, "a"))]);
        store.expect("ns", "a");
        assert!(store.deleted("ns", "a", &known("1", 6, "a").seen).is_none());
        let news = store.settle("ns", "a", Some(known("1", 5, "b"))).map(|news| news.change);
        assert_eq!(news, Some(Change::Deleted));
        assert!(store.get("ns", "a").is_none());

        store.expect("ns", "a");
        assert!(store.deleted("ns", "a", &known("2", 8, "a").seen).is_none());
        assert!(store.settle("ns", "a", Some(known("3", 9, "b"))).is_none(), "it was created anew");
        assert!(store.get("ns", "a").is_some());
    }

    #[test]
    fn what_was_noted_during_a_list_survives_an_older_list() {
        let mut store = Store::default();
        list(&mut store, &[("a", known("1", 1, "a"))]);
        store.begin();
        store.listed("ns", "a", known("1", 1, "a"));
        write(&mut store, "a", known("1", 5, "aa"));
        write(&mut store, "new", known("2", 6, "b"));
        assert_eq!(finish(&mut store), []);
        assert_eq!(store.get("ns", "a").map(|known| known.seen.version), Some(5));
        assert!(store.get("ns", "new").is_none(), "it may be gone already");
    }

    #[test]
    fn owners_that_come_and_go_leave_nothing_behind() {
        let mut store = Store::default();
        list(&mut store, &[]);
        for number in 0..10_000_u64 {
            let mut known = known("1", number + 1, "a");
            known.seen.owner = Some(Arc::new(Owner { namespace: "ns".into(), name: number.to_string() }));
            store.applied("ns", "a", known.clone());
            store.deleted("ns", "a", &known.seen);
        }
        assert!(store.owners.len() < 100, "{}", store.owners.len());
    }

    #[test]
    fn a_deletion_of_the_former_object_does_not_remove_the_new_one() {
        let mut store = Store::default();
        list(&mut store, &[("a", known("1", 1, "a"))]);
        write(&mut store, "a", known("2", 7, "b"));
        assert!(store.deleted("ns", "a", &known("1", 6, "a").seen).is_none());
        assert!(store.get("ns", "a").is_some());
        assert!(store.deleted("ns", "a", &known("2", 8, "b").seen).is_some());
        assert!(store.get("ns", "a").is_none());
    }
}
