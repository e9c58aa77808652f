//! Objects, their versions and the log that watches read.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use serde_json::{Value, json};
use tokio::sync::watch;

use crate::kinds::{Kind, Registry, Resource};
use crate::object::{meta, metadata, owners};

/// Namespace (empty for cluster scope) and name.
pub(crate) type Key = (String, String);

/// One committed write.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    pub(crate) version: u64,
    pub(crate) before: Option<Arc<Value>>,
    /// The object after the write; for a deletion its last state under the deletion's version.
    pub(crate) after: Arc<Value>,
    pub(crate) deleted: bool,
}

/// All objects of one resource.
#[derive(Debug)]
pub(crate) struct Shelf {
    pub(crate) objects: BTreeMap<Key, Arc<Value>>,
    pub(crate) log: VecDeque<Change>,
    /// Watches may not start before this version.
    pub(crate) forgotten: u64,
    /// Told the newest version after each write.
    pub(crate) beat: watch::Sender<u64>,
}

impl Default for Shelf {
    fn default() -> Self {
        Self { objects: BTreeMap::new(), log: VecDeque::new(), forgotten: 0, beat: watch::Sender::new(0) }
    }
}

/// A reference into the store.
pub(crate) type Place = (Resource, Key);

/// Everything the server remembers.
#[derive(Debug)]
pub(crate) struct Store {
    pub(crate) clock: u64,
    pub(crate) registry: Registry,
    shelves: HashMap<Resource, Shelf>,
    /// Owner UID to the objects that name it.
    dependents: HashMap<String, BTreeSet<Place>>,
    /// UIDs that exist.
    living: HashMap<String, Place>,
    /// Owners that went away or began to, since the collector last looked.
    pub(crate) dirty: BTreeSet<String>,
    /// How many changes per resource watches can go back.
    history: usize,
    /// The last cluster address that was given out.
    pub(crate) next_address: u32,
    /// Generation of each definition that is being served.
    served: HashMap<Resource, u64>,
}

impl Store {
    pub(crate) fn new(history: usize) -> Self {
        Self {
            clock: 1,
            registry: Registry::builtin(),
            shelves: HashMap::new(),
            dependents: HashMap::new(),
            living: HashMap::new(),
            dirty: BTreeSet::new(),
            history,
            next_address: 10,
            served: HashMap::new(),
        }
    }

    pub(crate) fn shelf(&mut self, resource: &Resource) -> &mut Shelf {
        self.shelves.entry(resource.clone()).or_default()
    }

    pub(crate) fn get(&self, resource: &Resource, key: &Key) -> Option<&Arc<Value>> {
        self.shelves.get(resource)?.objects.get(key)
    }

    /// A built-in object, by plain words.
    pub(crate) fn find(&self, group: &str, plural: &str, namespace: &str, name: &str) -> Option<&Arc<Value>> {
        self.get(&(group.into(), plural.into()), &(namespace.into(), name.into()))
    }

    /// Objects of a resource, in one namespace or (empty) everywhere, in key order.
    pub(crate) fn list(&self, resource: &Resource, namespace: &str) -> Vec<Arc<Value>> {
        let Some(shelf) = self.shelves.get(resource) else { return Vec::new() };
        let all = shelf.objects.iter();
        all.filter(|((ns, _), _)| namespace.is_empty() || ns == namespace)
            .map(|(_, object)| object.clone())
            .collect()
    }

    /// Stores the object under the next version.
    pub(crate) fn put(&mut self, resource: &Resource, mut object: Value) -> Arc<Value> {
        self.clock += 1;
        let version = self.clock;
        metadata(&mut object).insert("resourceVersion".into(), json!(version.to_string()));
        let key = (meta(&object, "namespace").to_owned(), meta(&object, "name").to_owned());
        let object = Arc::new(object);
        let before = self.shelf(resource).objects.insert(key.clone(), object.clone());
        let place = (resource.clone(), key);
        if let Some(before) = &before {
            self.unlink(&place, before);
        }
        let uid = meta(&object, "uid").to_owned();
        for (owner, _) in owners(&object) {
            if !self.living.contains_key(&owner) {
                self.dirty.insert(owner.clone());
            }
            self.dependents.entry(owner).or_default().insert(place.clone());
        }
        if crate::object::is_deleting(&object) {
            self.dirty.insert(uid.clone());
        }
        self.living.insert(uid, place);
        self.record(resource, Change { version, before, after: object.clone(), deleted: false });
        object
    }

    /// Takes the object out for good; gives its last state.
    pub(crate) fn take(&mut self, resource: &Resource, key: &Key) -> Option<Arc<Value>> {
        let before = self.shelf(resource).objects.remove(key)?;
        self.clock += 1;
        let version = self.clock;
        let place = (resource.clone(), key.clone());
        self.unlink(&place, &before);
        let uid = meta(&before, "uid");
        self.living.remove(uid);
        self.dirty.insert(uid.to_owned());
        // A blocked owner may be waiting for this dependent.
        self.dirty.extend(owners(&before).into_iter().map(|(owner, _)| owner));
        let mut last = (*before).clone();
        metadata(&mut last).insert("resourceVersion".into(), json!(version.to_string()));
        let last = Arc::new(last);
        self.record(resource, Change { version, before: Some(before), after: last.clone(), deleted: true });
        Some(last)
    }

    fn unlink(&mut self, place: &Place, object: &Value) {
        for (owner, _) in owners(object) {
            if let Some(set) = self.dependents.get_mut(&owner) {
                set.remove(place);
                if set.is_empty() {
                    self.dependents.remove(&owner);
                }
            }
        }
    }

    fn record(&mut self, resource: &Resource, change: Change) {
        let history = self.history;
        let shelf = self.shelf(resource);
        let version = change.version;
        shelf.log.push_back(change);
        while shelf.log.len() > history {
            if let Some(old) = shelf.log.pop_front() {
                shelf.forgotten = old.version;
            }
        }
        shelf.beat.send_replace(version);
    }

    /// Forgets the history of every resource, so that older watches meet 410.
    pub(crate) fn compact(&mut self) {
        let clock = self.clock;
        for shelf in self.shelves.values_mut() {
            shelf.log.clear();
            shelf.forgotten = clock;
        }
    }

    /// The generation of the definition behind a custom kind, when it is served.
    pub(crate) fn served(&self, group: &str, plural: &str) -> Option<u64> {
        self.served.get(&(group.to_owned(), plural.to_owned())).copied()
    }

    pub(crate) fn serve(&mut self, kind: Kind, generation: u64) {
        self.served.insert(kind.resource(), generation);
        self.registry.insert(kind);
    }

    pub(crate) fn retire(&mut self, group: &str, plural: &str) {
        self.served.remove(&(group.to_owned(), plural.to_owned()));
        self.registry.remove(group, plural);
    }

    pub(crate) fn place_of(&self, uid: &str) -> Option<&Place> {
        self.living.get(uid)
    }

    pub(crate) fn dependents_of(&self, uid: &str) -> Vec<Place> {
        self.dependents.get(uid).into_iter().flatten().cloned().collect()
    }

    /// Every object of every namespaced resource in the namespace.
    pub(crate) fn contents(&self, namespace: &str) -> Vec<Place> {
        let mut places = Vec::new();
        for (resource, shelf) in &self.shelves {
            for key in shelf.objects.keys().filter(|(ns, _)| ns == namespace) {
                places.push((resource.clone(), key.clone()));
            }
        }
        places
    }
}
