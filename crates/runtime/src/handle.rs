//! A driver's cache and queue, and what watchers of other objects may do to them.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, RwLock};

use sluice_api::Managed;
use tokio::sync::{broadcast, watch};

use crate::index::Index;
use crate::lock::{lock, read, write};
use crate::parking::Parking;
use crate::queue::Queue;
use crate::scope::Trigger;
use crate::wake::WakeKey;

/// Namespace and name of a driven object.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// Namespace.
    pub namespace: Arc<str>,
    /// Name.
    pub name: Arc<str>,
}

impl Key {
    /// Names an object.
    pub fn new(namespace: &str, name: &str) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }

    /// Names this object.
    pub fn of<K: kube::Resource>(object: &K) -> Self {
        let meta = object.meta();
        Self::new(meta.namespace.as_deref().unwrap_or_default(), meta.name.as_deref().unwrap_or_default())
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// What goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Urgency {
    /// What it waited for has come. It had its turn before: to end it first keeps little in memory and makes
    /// somebody ready, where another beginning only makes one more wait.
    Awaited,
    /// Something is to be applied or fetched.
    Fresh,
    /// Only a revision moves.
    Moved,
    /// An interval or a retry.
    Visit,
}

/// A change of the driver's cache, its own writes included.
#[derive(Clone, Debug)]
pub enum Change<K> {
    /// The object is new or differs from before.
    Applied(Arc<K>),
    /// The object is gone.
    Deleted(Arc<K>),
}

/// Where the cache learnt of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// A list: complete, but perhaps older than what a write has answered since.
    List,
    /// A watch.
    Watch,
    /// The answer to a write or a read of this driver.
    Answer,
}

/// A driver's cache and queue; cheap to clone.
pub struct Handle<K> {
    shared: Arc<Shared<K>>,
}

struct Shared<K> {
    /// What an object refers to.
    refers: fn(&K) -> Vec<WakeKey>,
    objects: RwLock<HashMap<Key, Cached<K>>>,
    /// Moves only while the objects are locked for writing.
    index: Mutex<Index>,
    queue: Queue,
    parking: Parking,
    changes: broadcast::Sender<Change<K>>,
    synced: watch::Sender<bool>,
}

struct Cached<K> {
    object: Arc<K>,
    /// True until the watch has caught up with the answer to our own write.
    ahead: bool,
}

impl<K> Clone for Handle<K> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone() }
    }
}

impl<K: Managed> Default for Handle<K> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K: Managed> Handle<K> {
    /// An empty cache and queue, to be given to [`crate::drive()`].
    pub fn new() -> Self {
        Self::indexed(|_| Vec::new())
    }

    /// The same, with objects to be found by what they refer to. That must follow from the object alone.
    pub fn indexed(refers: fn(&K) -> Vec<WakeKey>) -> Self {
        Self {
            shared: Arc::new(Shared {
                refers,
                objects: RwLock::default(),
                index: Mutex::default(),
                queue: Queue::default(),
                parking: Parking::default(),
                changes: broadcast::Sender::new(1024),
                synced: watch::Sender::new(false),
            }),
        }
    }

    /// Runs a pass soon; ends waits, back-off and the cancel token of a pass in progress, since there is
    /// something newer to see (`Visit` leaves a pass in progress alone). Unknown objects are ignored.
    pub fn enqueue(&self, key: &Key, urgency: Urgency) {
        if read(&self.shared.objects).contains_key(key) {
            let trigger = if urgency == Urgency::Visit { Trigger::Wake } else { Trigger::Source };
            self.shared.queue.add(key, urgency, trigger);
        }
    }

    /// Runs the objects that are parked on this key. Costs next to nothing when there are none.
    pub fn wake(&self, wake: &WakeKey) {
        for key in self.shared.parking.wake(wake) {
            self.shared.queue.add(&key, Urgency::Awaited, Trigger::Wake);
        }
    }

    /// The cached object, without its managed fields.
    pub fn get(&self, namespace: &str, name: &str) -> Option<Arc<K>> {
        self.find(&Key::new(namespace, name))
    }

    /// Every cached object, without managed fields.
    pub fn list(&self) -> Vec<Arc<K>> {
        read(&self.shared.objects).values().map(|cached| cached.object.clone()).collect()
    }

    /// The cached objects that refer to this.
    pub fn referring(&self, wake: &WakeKey) -> Vec<Arc<K>> {
        let keys = lock(&self.shared.index).of(wake);
        let objects = read(&self.shared.objects);
        keys.iter().filter_map(|key| objects.get(key)).map(|cached| cached.object.clone()).collect()
    }

    /// Changes from now on. A slow reader gets `Lagged` and must look at [`Handle::list`].
    pub fn subscribe(&self) -> broadcast::Receiver<Change<K>> {
        self.shared.changes.subscribe()
    }

    /// Resolves when the first complete list is in the cache.
    pub async fn synced(&self) {
        // The sender lives as long as this handle.
        let _ = self.shared.synced.subscribe().wait_for(|synced| *synced).await;
    }

    pub(crate) fn find(&self, key: &Key) -> Option<Arc<K>> {
        read(&self.shared.objects).get(key).map(|cached| cached.object.clone())
    }

    pub(crate) fn queue(&self) -> &Queue {
        &self.shared.queue
    }

    pub(crate) fn parking(&self) -> &Parking {
        &self.shared.parking
    }

    /// Takes note of a state of an object, and runs a pass if it is one that asks for it. Every state goes
    /// through here, also those that writes answer with: whoever sees a trigger first acts on it.
    pub(crate) fn observe(&self, mut object: K, origin: Origin) -> Arc<K> {
        slim(&mut object);
        let (key, object) = (Key::of(&object), Arc::new(object));
        let mut objects = write(&self.shared.objects);
        let before = objects.get(&key);
        if let Some(cached) = before {
            let (old, new) = (cached.object.meta(), object.meta());
            let same = old.uid == new.uid;
            let older = same && precedes(new.resource_version.as_deref(), old.resource_version.as_deref());
            if older && (origin != Origin::List || cached.ahead) {
                return cached.object.clone();
            }
            if same && old.resource_version == new.resource_version {
                let object = cached.object.clone();
                if origin != Origin::Answer
                    && let Some(cached) = objects.get_mut(&key)
                {
                    cached.ahead = false;
                }
                return object;
            }
        }
        let replaced = before.is_some_and(|cached| cached.object.meta().uid != object.meta().uid);
        let trigger = trigger(before.filter(|_| !replaced).map(|cached| &*cached.object), &object);
        self.index(&key, before.map(|cached| &*cached.object), Some(&*object));
        objects.insert(key.clone(), Cached { object: object.clone(), ahead: origin == Origin::Answer });
        // The lock is held to the end: whoever removes the object meanwhile must not drop its turn.
        if replaced {
            self.drop_tables(&key);
        }
        let started = *self.shared.synced.borrow();
        match trigger {
            Some(Trigger::Spec) if !started && !object.deleting() && settled(&*object) => {
                self.shared.queue.add(&key, Urgency::Visit, Trigger::Start);
            }
            // Who asks again knows of nothing new, who changes a spec does.
            Some(Trigger::Requested) => self.shared.queue.add(&key, Urgency::Moved, Trigger::Requested),
            Some(trigger) => self.shared.queue.add(&key, Urgency::Fresh, trigger),
            None => {}
        }
        let _ = self.shared.changes.send(Change::Applied(object.clone()));
        object
    }

    /// Takes note of an answer that there is no such object. It was asked about the object with this UID; another
    /// one of that name may have come since.
    pub(crate) fn lost(&self, key: &Key, uid: Option<&str>) {
        let mut objects = write(&self.shared.objects);
        if objects.get(key).is_some_and(|cached| cached.object.meta().uid.as_deref() == uid) {
            self.take_out(&mut objects, key);
        }
    }

    /// Takes note that an object is gone.
    pub(crate) fn remove(&self, key: &Key) -> Option<Arc<K>> {
        self.take_out(&mut write(&self.shared.objects), key)
    }

    fn take_out(&self, objects: &mut HashMap<Key, Cached<K>>, key: &Key) -> Option<Arc<K>> {
        let object = objects.remove(key)?.object;
        self.index(key, Some(&*object), None);
        self.drop_tables(key);
        let _ = self.shared.changes.send(Change::Deleted(object.clone()));
        Some(object)
    }

    /// Ends a list: what it did not contain is gone. Returns what was removed.
    pub(crate) fn retain(&self, listed: &std::collections::HashSet<Key>) -> Vec<Key> {
        let gone: Vec<Key> =
            read(&self.shared.objects).keys().filter(|key| !listed.contains(*key)).cloned().collect();
        for key in &gone {
            self.remove(key);
        }
        self.shared.synced.send_replace(true);
        gone
    }

    fn index(&self, key: &Key, before: Option<&K>, now: Option<&K>) {
        let refers = |object: Option<&K>| object.map(self.shared.refers).unwrap_or_default();
        lock(&self.shared.index).replace(key, &refers(before), &refers(now));
    }

    fn drop_tables(&self, key: &Key) {
        self.shared.queue.forget(key);
        self.shared.parking.forget(key);
    }
}

/// Why this state of an object asks for a pass, compared to the one before.
fn trigger<K: Managed>(before: Option<&K>, after: &K) -> Option<Trigger> {
    let Some(before) = before else { return Some(Trigger::Spec) };
    if before.generation() != after.generation() || before.deleting() != after.deleting() {
        return Some(Trigger::Spec);
    }
    (after.requested_at().is_some() && before.requested_at() != after.requested_at())
        .then_some(Trigger::Requested)
}

/// True when nothing about the object is urgent after a start.
fn settled<K: Managed>(object: &K) -> bool {
    object.status().is_some_and(|status| {
        status.is_ready()
            && status.observed_generation == Some(object.generation())
            && (object.requested_at().is_none()
                || status.last_handled_reconcile_at.as_deref() == object.requested_at())
    })
}

/// True when the first resource version is older. They are numbers wherever they can be compared at all.
fn precedes(a: Option<&str>, b: Option<&str>) -> bool {
    let number = |text: Option<&str>| text.and_then(|text| text.parse::<u64>().ok());
    matches!((number(a), number(b)), (Some(a), Some(b)) if a < b)
}

/// Drops what is big and never looked at.
pub(crate) fn slim<K: kube::Resource>(object: &mut K) {
    let meta = object.meta_mut();
    meta.managed_fields = None;
    if let Some(annotations) = &mut meta.annotations {
        annotations.remove("kubectl.kubernetes.io/last-applied-configuration");
    }
}

#[cfg(test)]
#[path = "handle_tests.rs"]
mod tests;
