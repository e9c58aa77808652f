//! Objects that wait, indexed by what they wait for.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Mutex;

use crate::handle::Key;
use crate::lock::lock;
use crate::wake::WakeKey;

/// Wakes remembered for passes in progress; beyond this every such pass counts as woken.
const REMEMBERED: usize = 16_384;

/// Taken when a pass begins, so that what happens during the pass is not missed when it parks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ticket(u64);

#[derive(Default)]
pub(crate) struct Parking {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    parked: HashMap<Key, Vec<WakeKey>>,
    index: HashMap<WakeKey, HashSet<Key>>,
    /// Number of wakes so far.
    clock: u64,
    /// Passes in progress by the clock they began at.
    open: BTreeMap<u64, usize>,
    /// When each key was last woken, as far as a pass in progress may care.
    recent: HashMap<WakeKey, u64>,
    /// Passes that began before this count as woken.
    flooded: u64,
}

impl Parking {
    /// Begins a pass: the object is no longer parked.
    pub(crate) fn begin(&self, key: &Key) -> Ticket {
        let mut state = lock(&self.state);
        state.unpark(key);
        let clock = state.clock;
        *state.open.entry(clock).or_default() += 1;
        Ticket(clock)
    }

    /// Ends a pass. With something to wait for, the object is parked; false when that happened meanwhile.
    pub(crate) fn end(&self, key: &Key, ticket: Ticket, on: Vec<WakeKey>) -> bool {
        let mut state = lock(&self.state);
        let woken = ticket.0 < state.flooded
            || on.iter().any(|wake| state.recent.get(wake).is_some_and(|&at| at > ticket.0));
        state.close(ticket.0);
        if woken && !on.is_empty() {
            return false;
        }
        for wake in &on {
            state.index.entry(wake.clone()).or_default().insert(key.clone());
        }
        if !on.is_empty() {
            state.parked.insert(key.clone(), on);
        }
        true
    }

    /// The objects to run because this happened; they are no longer parked.
    pub(crate) fn wake(&self, wake: &WakeKey) -> Vec<Key> {
        let mut state = lock(&self.state);
        if !state.open.is_empty() {
            state.clock += 1;
            let clock = state.clock;
            if state.recent.len() < REMEMBERED || state.recent.contains_key(wake) {
                state.recent.insert(wake.clone(), clock);
            } else {
                state.flooded = clock;
                state.recent.clear();
            }
        }
        let keys: Vec<Key> = state.index.get(wake).into_iter().flatten().cloned().collect();
        for key in &keys {
            state.unpark(key);
        }
        keys
    }

    /// Forgets an object.
    pub(crate) fn forget(&self, key: &Key) {
        lock(&self.state).unpark(key);
    }
}

impl State {
    fn unpark(&mut self, key: &Key) {
        for wake in self.parked.remove(key).into_iter().flatten() {
            if let Some(keys) = self.index.get_mut(&wake) {
                keys.remove(key);
                if keys.is_empty() {
                    self.index.remove(&wake);
                }
            }
        }
    }

    fn close(&mut self, began: u64) {
        let oldest = self.open.keys().next().copied();
        if let Some(count) = self.open.get_mut(&began) {
            *count -= 1;
            if *count == 0 {
                self.open.remove(&began);
            }
        }
        match self.open.keys().next().copied() {
            None => self.recent.clear(),
            now if now != oldest => {
                let least = now.unwrap_or_default();
                self.recent.retain(|_, at| *at > least);
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> Key {
        Key::new("apps", name)
    }

    fn on(name: &str) -> WakeKey {
        WakeKey::object("apps", "Deployment", "apps", name)
    }

    #[test]
    fn a_parked_object_is_woken_once_by_any_of_its_keys() {
        let parking = Parking::default();
        let ticket = parking.begin(&key("a"));
        assert!(parking.end(&key("a"), ticket, vec![on("x"), on("y")]));
        assert_eq!(parking.wake(&on("z")), []);
        assert_eq!(parking.wake(&on("y")), [key("a")]);
        assert_eq!(parking.wake(&on("x")), []);
        let state = lock(&parking.state);
        assert!(state.index.is_empty() && state.parked.is_empty() && state.recent.is_empty());
    }

    #[test]
    fn what_happens_while_the_pass_runs_is_not_missed() {
        let parking = Parking::default();
        let early = parking.begin(&key("a"));
        parking.wake(&on("x"));
        let late = parking.begin(&key("b"));
        assert!(!parking.end(&key("a"), early, vec![on("x")]), "x happened after a began");
        assert!(parking.end(&key("b"), late, vec![on("x")]), "x happened before b began");
        assert!(lock(&parking.state).recent.is_empty());
    }

    #[test]
    fn more_wakes_than_can_be_remembered_wake_too_many_rather_than_too_few() {
        let parking = Parking::default();
        let ticket = parking.begin(&key("a"));
        for number in 0..=REMEMBERED {
            parking.wake(&on(&number.to_string()));
        }
        assert!(!parking.end(&key("a"), ticket, vec![on("never")]));
        let ticket = parking.begin(&key("a"));
        assert!(parking.end(&key("a"), ticket, vec![on("never")]));
    }

    #[test]
    fn a_new_pass_and_forgetting_end_the_wait() {
        let parking = Parking::default();
        for end in [Parking::forget as fn(&Parking, &Key), |parking, key| {
            parking.begin(key);
        }] {
            let ticket = parking.begin(&key("a"));
            assert!(parking.end(&key("a"), ticket, vec![on("x")]));
            end(&parking, &key("a"));
            assert_eq!(parking.wake(&on("x")), []);
        }
    }
}
