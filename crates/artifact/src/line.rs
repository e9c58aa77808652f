//! Things made side by side that leave in order, without many of them waiting.

use std::collections::BTreeMap;
use std::sync::mpsc::SyncSender;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// What several threads make, run by run, goes to one receiver in the order of the runs. Whoever makes what is not
/// due yet may be so many bytes ahead, all together, and waits beyond that.
///
/// Runs must be begun in their order, by threads that end them: the one that is due never waits.
pub(crate) struct Line<'a, T, S> {
    to: &'a SyncSender<T>,
    size: S,
    ahead: usize,
    state: Mutex<State<T>>,
    moved: Condvar,
}

struct State<T> {
    /// The run whose things leave now.
    due: usize,
    /// Bytes that wait.
    held: usize,
    /// Runs that ended before they were due.
    ended: BTreeMap<usize, Vec<T>>,
    given_up: bool,
}

/// One run's place in the line.
pub(crate) struct Place<'l, 'a, T, S> {
    line: &'l Line<'a, T, S>,
    run: usize,
    waiting: Vec<T>,
    ended: bool,
}

/// A run that is not ended is never made whole, so what comes after it has nothing to wait for.
impl<T, S> Drop for Place<'_, '_, T, S> {
    fn drop(&mut self) {
        if !self.ended {
            self.line.give_up();
        }
    }
}

impl<T, S> Line<'_, T, S> {
    /// Nothing leaves any more, and nobody waits.
    pub(crate) fn give_up(&self) {
        self.state().given_up = true;
        self.moved.notify_all();
    }

    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<'a, T, S: Fn(&T) -> usize> Line<'a, T, S> {
    pub(crate) fn new(to: &'a SyncSender<T>, size: S, ahead: usize) -> Self {
        let state = State { due: 0, held: 0, ended: BTreeMap::new(), given_up: false };
        Self { to, size, ahead, state: Mutex::new(state), moved: Condvar::new() }
    }

    pub(crate) fn place(&self, run: usize) -> Place<'_, 'a, T, S> {
        Place { line: self, run, waiting: Vec::new(), ended: false }
    }

    /// Sends what was held until now. Only for the run that is due.
    fn release(&self, things: Vec<T>) {
        for thing in things {
            let size = (self.size)(&thing);
            self.send(thing);
            self.state().held -= size;
            self.moved.notify_all();
        }
    }

    fn send(&self, thing: T) {
        // A receiver that is gone says why; nobody has to go on.
        if self.to.send(thing).is_err() {
            self.give_up();
        }
    }
}

impl<T, S: Fn(&T) -> usize> Place<'_, '_, T, S> {
    /// Hands over the run's next thing. Blocks while too many wait, or the receiver has no room. False when nothing
    /// more is wanted of anybody.
    pub(crate) fn put(&mut self, thing: T) -> bool {
        let size = (self.line.size)(&thing);
        let mut state = self.line.state();
        while !state.given_up && state.due != self.run && state.held + size > self.line.ahead {
            state = self.line.moved.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if state.given_up {
            return false;
        }
        if state.due != self.run {
            state.held += size;
            self.waiting.push(thing);
            return true;
        }
        drop(state);
        self.line.release(std::mem::take(&mut self.waiting));
        self.line.send(thing);
        !self.line.state().given_up
    }

    /// Nothing more comes of this run.
    pub(crate) fn end(mut self) {
        self.ended = true;
        let (line, waiting) = (self.line, std::mem::take(&mut self.waiting));
        let mut state = line.state();
        if state.due != self.run {
            state.ended.insert(self.run, waiting);
            return;
        }
        drop(state);
        line.release(waiting);
        loop {
            let mut state = line.state();
            state.due += 1;
            let due = state.due;
            let Some(things) = state.ended.remove(&due) else {
                line.moved.notify_all();
                return;
            };
            drop(state);
            line.release(things);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread;

    use super::*;

    #[test]
    fn what_is_made_side_by_side_leaves_in_order_and_little_of_it_waits() {
        let (to, from) = mpsc::sync_channel(1);
        let line = Line::new(&to, |_: &(usize, usize)| 1, 4);
        thread::scope(|scope| {
            let (ended, wait) = mpsc::channel::<()>();
            let line = &line;
            let second = scope.spawn(move || {
                let mut place = line.place(1);
                assert!((0..4).all(|at| place.put((1, at))));
                drop(ended);
                assert!((4..9).all(|at| place.put((1, at))));
                place.end();
            });
            let first = scope.spawn(move || {
                let mut place = line.place(0);
                // The other run has as much waiting as may wait.
                assert!(wait.recv().is_err());
                assert!((0..3).all(|at| place.put((0, at))));
                assert!(line.state().held <= 4);
                place.end();
            });
            let received: Vec<_> = from.iter().take(12).collect();
            let wanted: Vec<_> = (0..3).map(|at| (0, at)).chain((0..9).map(|at| (1, at))).collect();
            assert_eq!(received, wanted);
            first.join().unwrap();
            second.join().unwrap();
            assert_eq!(line.state().held, 0);
        });
    }

    #[test]
    fn a_receiver_that_is_gone_holds_nobody() {
        let (to, from) = mpsc::sync_channel(1);
        drop(from);
        let line = Line::new(&to, |_: &usize| 1, 1);
        for run in [0, 5] {
            let mut place = line.place(run);
            assert!(!place.put(1), "who goes on works for nobody");
            place.end();
        }
    }

    #[test]
    fn a_run_that_breaks_off_holds_nobody() {
        let (to, _from) = mpsc::sync_channel(1);
        let line = Line::new(&to, |_: &usize| 1, 1);
        let broken = line.place(0);
        let mut next = line.place(1);
        assert!(next.put(0));
        drop(broken);
        assert!(!next.put(1));
    }
}
