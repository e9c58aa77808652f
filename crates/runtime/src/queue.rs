//! The queue of a driver: one entry per object, never the same object twice at once, fair between
//! namespaces, what waited and fresh changes first.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::handle::{Key, Urgency};
use crate::lock::lock;
use crate::scope::Trigger;

/// Every so many turns the least urgent object goes first, so that a flood cannot starve it.
const MERCY: u64 = 16;
/// While a fresh change is on its way, so many others run beside it: they share the API server with it.
const BESIDE: usize = 4;
/// For so long after it began: one that takes its time leaves the others theirs.
const HEAD_START: Duration = Duration::from_millis(500);

/// One object whose turn it is.
#[derive(Debug)]
pub(crate) struct Work {
    pub(crate) key: Key,
    pub(crate) trigger: Trigger,
    pub(crate) urgency: Urgency,
    /// How long it stood in the queue.
    pub(crate) waited: Duration,
    /// Tripped when something newer than this turn arrives.
    pub(crate) cancel: CancellationToken,
}

/// Counts for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Load {
    pub(crate) depth: usize,
    pub(crate) added: u64,
    pub(crate) retried: u64,
    /// Seconds that the passes in progress have been running, together.
    pub(crate) unfinished: f64,
    /// Seconds of the longest one.
    pub(crate) longest: f64,
    pub(crate) running: usize,
}

#[derive(Default)]
pub(crate) struct Queue {
    state: Mutex<State>,
    moved: Notify,
}

#[derive(Default)]
struct State {
    slots: HashMap<Key, Slot>,
    lanes: [Lane; 4],
    /// Turns in progress, by urgency.
    running: [usize; 4],
    /// When the newest turn of a fresh change began.
    freshest: Option<Instant>,
    due: BTreeMap<(Instant, u64), (Key, Trigger)>,
    serial: u64,
    turn: u64,
    depth: usize,
    added: u64,
    retried: u64,
}

struct Slot {
    place: Place,
    due: Option<(Instant, u64)>,
}

enum Place {
    Idle,
    Queued { urgency: Urgency, trigger: Trigger, since: Instant },
    Running { urgency: Urgency, since: Instant, cancel: CancellationToken, next: Option<(Urgency, Trigger)> },
}

/// The queued objects of one urgency: namespaces take turns.
#[derive(Default)]
struct Lane {
    ring: VecDeque<Arc<str>>,
    keys: HashMap<Arc<str>, VecDeque<Key>>,
}

impl Lane {
    fn push(&mut self, key: Key) {
        let namespace = key.namespace.clone();
        let keys = self.keys.entry(namespace.clone()).or_default();
        if keys.is_empty() {
            self.ring.push_back(namespace);
        }
        keys.push_back(key);
    }

    fn pop(&mut self) -> Option<Key> {
        let namespace = self.ring.pop_front()?;
        let keys = self.keys.get_mut(&namespace)?;
        let key = keys.pop_front();
        if keys.is_empty() {
            self.keys.remove(&namespace);
        } else {
            self.ring.push_back(namespace);
        }
        key
    }
}

impl Queue {
    /// Asks for a turn now. Ends a delay; during the object's turn it asks for another one after it, and
    /// trips the turn's cancel token if the trigger is news.
    pub(crate) fn add(&self, key: &Key, urgency: Urgency, trigger: Trigger) {
        let mut state = lock(&self.state);
        state.added += 1;
        state.add(key, urgency, trigger);
        drop(state);
        self.moved.notify_one();
    }

    /// Asks for a turn after a delay, unless one is asked for already.
    #[cfg(test)]
    pub(crate) fn add_later(&self, key: &Key, delay: Duration, trigger: Trigger) {
        lock(&self.state).add_later(key, Instant::now() + delay, trigger);
        self.moved.notify_one();
    }

    /// Takes the next object when there is one.
    pub(crate) async fn next(&self) -> Work {
        loop {
            let moved = self.moved.notified();
            let due = {
                let mut state = lock(&self.state);
                let now = Instant::now();
                state.promote(now);
                if let Some(work) = state.pop(now) {
                    return work;
                }
                let due = state.due.keys().next().map(|(at, _)| *at);
                due.into_iter().chain(state.held_until(now)).min()
            };
            match due {
                Some(at) => tokio::select! {
                    () = moved => {}
                    () = tokio::time::sleep_until(at) => {}
                },
                None => moved.await,
            }
        }
    }

    /// Ends an object's turn and says when it wants the next one.
    pub(crate) fn finish(&self, key: &Key, next: Option<(Duration, Trigger)>) {
        let mut state = lock(&self.state);
        let Some(slot) = state.slots.get_mut(key) else { return };
        let (urgency, again) = match &mut slot.place {
            Place::Running { urgency, next, .. } => (*urgency, next.take()),
            _ => return,
        };
        slot.place = Place::Idle;
        state.running[urgency as usize] -= 1;
        match (again, next) {
            (Some((urgency, trigger)), _) => state.add(key, urgency, trigger),
            (None, Some((delay, trigger))) => {
                if trigger == Trigger::Retry {
                    state.retried += 1;
                }
                state.add_later(key, Instant::now() + delay, trigger);
            }
            (None, None) => {
                state.slots.remove(key);
            }
        }
        drop(state);
        self.moved.notify_one();
    }

    /// Forgets an object; a turn in progress is cancelled and not repeated.
    pub(crate) fn forget(&self, key: &Key) {
        let mut state = lock(&self.state);
        let Some(slot) = state.slots.get_mut(key) else { return };
        let due = slot.due.take();
        let keep = match &mut slot.place {
            Place::Running { cancel, next, .. } => {
                cancel.cancel();
                *next = None;
                true
            }
            Place::Queued { .. } => {
                state.depth -= 1;
                false
            }
            Place::Idle => false,
        };
        if let Some(due) = due {
            state.due.remove(&due);
        }
        if !keep {
            state.slots.remove(key);
        }
    }

    /// Cancels every turn in progress.
    pub(crate) fn cancel_all(&self) {
        for slot in lock(&self.state).slots.values() {
            if let Place::Running { cancel, .. } = &slot.place {
                cancel.cancel();
            }
        }
    }

    pub(crate) fn load(&self) -> Load {
        let state = lock(&self.state);
        let now = Instant::now();
        let mut load =
            Load { depth: state.depth, added: state.added, retried: state.retried, ..Load::default() };
        for slot in state.slots.values() {
            if let Place::Running { since, .. } = slot.place {
                let seconds = now.duration_since(since).as_secs_f64();
                load.running += 1;
                load.unfinished += seconds;
                load.longest = load.longest.max(seconds);
            }
        }
        load
    }
}

impl State {
    fn add(&mut self, key: &Key, urgency: Urgency, trigger: Trigger) {
        let slot = self.slots.entry(key.clone()).or_insert(Slot { place: Place::Idle, due: None });
        if let Some(due) = slot.due.take() {
            self.due.remove(&due);
        }
        match &mut slot.place {
            Place::Idle => {
                slot.place = Place::Queued { urgency, trigger, since: Instant::now() };
                self.depth += 1;
                self.lanes[urgency as usize].push(key.clone());
            }
            Place::Queued { urgency: queued, trigger: why, .. } => {
                *why = (*why).max(trigger);
                if urgency < *queued {
                    // What stays behind in the slower lane is passed over when its turn comes.
                    *queued = urgency;
                    self.lanes[urgency as usize].push(key.clone());
                }
            }
            Place::Running { cancel, next, .. } => {
                *next = Some(match *next {
                    Some((queued, why)) => (queued.min(urgency), why.max(trigger)),
                    None => (urgency, trigger),
                });
                if trigger.is_news() {
                    cancel.cancel();
                }
            }
        }
    }

    fn add_later(&mut self, key: &Key, at: Instant, trigger: Trigger) {
        let slot = self.slots.entry(key.clone()).or_insert(Slot { place: Place::Idle, due: None });
        if !matches!(slot.place, Place::Idle) {
            return;
        }
        if let Some(due) = slot.due.take() {
            self.due.remove(&due);
        }
        self.serial += 1;
        slot.due = Some((at, self.serial));
        self.due.insert((at, self.serial), (key.clone(), trigger));
    }

    /// Moves what is due into the lanes.
    fn promote(&mut self, now: Instant) {
        while let Some(entry) = self.due.first_entry() {
            if entry.key().0 > now {
                return;
            }
            let (key, trigger) = entry.remove();
            if let Some(slot) = self.slots.get_mut(&key) {
                slot.due = None;
            }
            self.add(&key, Urgency::Visit, trigger);
        }
    }

    /// Until when only what is urgent gets a turn.
    fn held_until(&self, now: Instant) -> Option<Instant> {
        let [awaited, fresh, moved, visits] = self.running;
        let crowded = awaited + fresh > 0 && moved + visits >= BESIDE;
        self.freshest.filter(|_| crowded).map(|began| began + HEAD_START).filter(|end| *end > now)
    }

    fn pop(&mut self, now: Instant) -> Option<Work> {
        self.turn += 1;
        let order: &[usize] = if self.held_until(now).is_some() {
            &[0, 1]
        } else if self.turn.is_multiple_of(MERCY) {
            &[3, 2, 1, 0]
        } else {
            &[0, 1, 2, 3]
        };
        for &lane in order {
            while let Some(key) = self.lanes[lane].pop() {
                let Some(slot) = self.slots.get_mut(&key) else { continue };
                let Place::Queued { urgency, trigger, since } = slot.place else { continue };
                if urgency as usize != lane {
                    continue;
                }
                let cancel = CancellationToken::new();
                slot.place = Place::Running { urgency, since: now, cancel: cancel.clone(), next: None };
                self.depth -= 1;
                self.running[lane] += 1;
                if urgency <= Urgency::Fresh {
                    self.freshest = Some(now);
                }
                return Some(Work { key, trigger, urgency, waited: now.duration_since(since), cancel });
            }
        }
        None
    }
}

#[cfg(test)]
#[path = "queue_tests.rs"]
mod tests;
