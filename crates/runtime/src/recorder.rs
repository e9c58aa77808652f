//! Kubernetes Events, as client-go's recorder writes them: equal ones are counted up, floods of similar ones
//! are combined, and one object may not fill the cluster with them.

use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube::api::{Api, Patch, PatchParams, PostParams};
use kube::{Client, Error};
use lru::LruCache;
use serde_json::json;
use sluice_api::event::InvolvedObject;
use tokio::sync::Notify;

use crate::events::Outstanding;
use crate::lock::lock;
use crate::metrics::Family;
use crate::pass::Note;
use crate::record::within;

/// Writers. The events of one object always have the same one, so that they stay in order.
const LANES: usize = 2;
/// Events that may wait in one lane.
const WAITING: usize = 2048;
/// With more than this many waiting, they do not give way to passes any more: late is better than lost.
const CROWDED: usize = WAITING / 4 * 3;
/// How long one event gives way to passes.
const PATIENCE: Duration = Duration::from_millis(250);
/// Events remembered to be counted up, per lane.
const REMEMBERED: NonZeroUsize = NonZeroUsize::new(1024).unwrap();
/// So many messages of one reason about one object are combined...
const SIMILAR: usize = 10;
/// ...when they come within this time, in seconds.
const SIMILAR_WITHIN: i64 = 600;
/// Events about one object that may be written at once...
const BURST: f64 = 25.0;
/// ...and how many per second after that.
const REFILL: f64 = 1.0 / 300.0;

pub(crate) struct Recorder {
    lanes: Vec<Arc<Lane>>,
}

#[derive(Default)]
struct Lane {
    waiting: Mutex<Waiting>,
    more: Notify,
    outstanding: Outstanding,
}

/// Equal events are counted while they wait.
#[derive(Default)]
struct Waiting {
    order: VecDeque<u64>,
    told: HashMap<u64, Told>,
}

#[derive(Clone, Debug)]
struct Told {
    about: InvolvedObject,
    note: Note,
    first: Timestamp,
    last: Timestamp,
    count: i32,
}

impl Recorder {
    pub(crate) fn start(
        client: Client,
        controller: &str,
        passes: Arc<Outstanding>,
        dropped: Arc<Family>,
    ) -> Self {
        let lanes: Vec<Arc<Lane>> = (0..LANES).map(|_| Arc::default()).collect();
        for lane in &lanes {
            let writer = Writer { client: client.clone(), controller: controller.to_owned() };
            tokio::spawn(lane.clone().run(writer, passes.clone(), dropped.clone()));
        }
        Self { lanes }
    }

    /// False when the queue is full.
    pub(crate) fn record(&self, about: InvolvedObject, note: Note, now: Timestamp) -> bool {
        let lane = &self.lanes[usize::try_from(hash(&about.uid)).unwrap_or_default() % self.lanes.len()];
        let key = hash(&(object(&about), note.severity, note.reason, &note.message));
        let mut waiting = lock(&lane.waiting);
        if let Some(told) = waiting.told.get_mut(&key) {
            told.count += 1;
            told.last = now;
            return true;
        }
        if waiting.order.len() >= WAITING {
            return false;
        }
        waiting.order.push_back(key);
        waiting.told.insert(key, Told { about, note, first: now, last: now, count: 1 });
        lane.outstanding.begin();
        drop(waiting);
        lane.more.notify_one();
        true
    }

    pub(crate) async fn idle(&self) {
        for lane in &self.lanes {
            lane.outstanding.none().await;
        }
    }
}

impl Lane {
    async fn run(self: Arc<Self>, writer: Writer, passes: Arc<Outstanding>, dropped: Arc<Family>) {
        let mut correlator = Correlator::new();
        loop {
            self.give_way(&passes).await;
            let told = {
                let mut waiting = lock(&self.waiting);
                waiting.order.pop_front().and_then(|key| waiting.told.remove(&key))
            };
            let Some(told) = told else {
                self.more.notified().await;
                continue;
            };
            match correlator.correlate(&told) {
                Some(entry) => {
                    let key = entry.key;
                    match writer.write(told, &entry).await {
                        Ok(name) => correlator.remember(key, name, &entry),
                        Err(error) => {
                            dropped.inc(&["kubernetes"]);
                            tracing::debug!(error = %error, "failed to write an event");
                        }
                    }
                }
                None => dropped.inc(&["kubernetes"]),
            }
            self.outstanding.end();
        }
    }

    /// Waits a moment for the end of the passes under way: somebody waits for their requests, and nobody for an
    /// event. What is equal is counted up meanwhile.
    async fn give_way(&self, passes: &Outstanding) {
        let waiting = lock(&self.waiting).order.len();
        if (1..=CROWDED).contains(&waiting) {
            // Time that runs out is the other good answer.
            let _ = tokio::time::timeout(PATIENCE, passes.none()).await;
        }
    }
}

/// What to write for an event.
#[derive(Clone, Debug, PartialEq)]
struct Entry {
    key: u64,
    /// Name of the event to count up; `None` for a new one.
    name: Option<String>,
    count: i32,
    message: String,
}

struct Known {
    name: String,
    count: i32,
}

struct Similar {
    messages: HashSet<u64>,
    last: Timestamp,
}

struct Allowance {
    tokens: f64,
    last: Timestamp,
}

/// Decides what becomes of an event, from those before it.
struct Correlator {
    known: LruCache<u64, Known>,
    similar: LruCache<u64, Similar>,
    allowances: LruCache<u64, Allowance>,
}

impl Correlator {
    fn new() -> Self {
        Self {
            known: LruCache::new(REMEMBERED),
            similar: LruCache::new(REMEMBERED),
            allowances: LruCache::new(REMEMBERED),
        }
    }

    /// `None` when the object has used up its allowance.
    fn correlate(&mut self, told: &Told) -> Option<Entry> {
        let (note, now) = (&told.note, told.last);
        let group = hash(&(object(&told.about), note.severity, note.reason));
        let exact = hash(&(group, &note.message));
        let combined = self.is_flood(group, exact, now);
        let (key, message) = if combined {
            (group, format!("(combined from similar events): {}", note.message))
        } else {
            (exact, note.message.clone())
        };
        if !self.allow(hash(&object(&told.about)), now) {
            return None;
        }
        let known = self.known.get(&key);
        let count = known.map_or(0, |known| known.count).saturating_add(told.count);
        Some(Entry { key, name: known.map(|known| known.name.clone()), count, message })
    }

    fn remember(&mut self, key: u64, name: String, entry: &Entry) {
        self.known.put(key, Known { name, count: entry.count });
    }

    fn is_flood(&mut self, group: u64, exact: u64, now: Timestamp) -> bool {
        let similar =
            self.similar.get_or_insert_mut(group, || Similar { messages: HashSet::new(), last: now });
        if now.as_second() - similar.last.as_second() > SIMILAR_WITHIN {
            similar.messages.clear();
        }
        similar.last = now;
        if similar.messages.contains(&exact) {
            return false;
        }
        if similar.messages.len() + 1 >= SIMILAR {
            return true;
        }
        similar.messages.insert(exact);
        false
    }

    fn allow(&mut self, object: u64, now: Timestamp) -> bool {
        let allowance = self.allowances.get_or_insert_mut(object, || Allowance { tokens: BURST, last: now });
        let passed = now.duration_since(allowance.last).as_secs_f64().max(0.0);
        allowance.tokens = (allowance.tokens + passed * REFILL).min(BURST);
        allowance.last = now;
        let allowed = allowance.tokens >= 1.0;
        if allowed {
            allowance.tokens -= 1.0;
        }
        allowed
    }
}

struct Writer {
    client: Client,
    controller: String,
}

impl Writer {
    /// Writes an event and returns its name.
    async fn write(&self, told: Told, entry: &Entry) -> Result<String, Error> {
        let namespace =
            if told.about.namespace.is_empty() { "default".to_owned() } else { told.about.namespace.clone() };
        let api: Api<Event> = Api::namespaced(self.client.clone(), &namespace);
        if let Some(name) = &entry.name {
            let last = Time(told.last);
            let patch = json!({"count": entry.count, "lastTimestamp": last, "message": entry.message});
            let params = PatchParams::default();
            match within(api.patch(name, &params, &Patch::Merge(&patch))).await {
                Ok(_) => return Ok(name.clone()),
                // Events expire.
                Err(Error::Api(status)) if status.code == 404 => {}
                Err(error) => return Err(error),
            }
        }
        let event = self.event(&namespace, told, entry);
        let name = event.metadata.name.clone().unwrap_or_default();
        within(api.create(&PostParams::default(), &event)).await?;
        Ok(name)
    }

    fn event(&self, namespace: &str, told: Told, entry: &Entry) -> Event {
        let Told { about, note, first, last, .. } = told;
        Event {
            metadata: ObjectMeta {
                name: Some(format!("{}.{:x}", about.name, first.as_nanosecond())),
                namespace: Some(namespace.to_owned()),
                annotations: (!note.metadata.is_empty()).then_some(note.metadata),
                ..ObjectMeta::default()
            },
            involved_object: ObjectReference {
                api_version: Some(about.api_version),
                kind: Some(about.kind),
                name: Some(about.name),
                namespace: Some(about.namespace),
                resource_version: Some(about.resource_version),
                uid: Some(about.uid),
                field_path: None,
            },
            type_: Some(note.severity.kubernetes_type().to_owned()),
            reason: Some(note.reason.as_str().to_owned()),
            message: Some(entry.message.clone()),
            count: Some(entry.count),
            first_timestamp: Some(Time(first)),
            last_timestamp: Some(Time(last)),
            source: Some(EventSource { component: Some(self.controller.clone()), host: None }),
            reporting_component: Some(self.controller.clone()),
            reporting_instance: Some(String::new()),
            ..Event::default()
        }
    }
}

fn object(about: &InvolvedObject) -> (&str, &str, &str, &str, &str) {
    (&about.kind, &about.namespace, &about.name, &about.uid, &about.api_version)
}

fn hash(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
#[path = "recorder_tests.rs"]
mod tests;
