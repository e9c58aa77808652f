//! When an object gets its next turn.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use sluice_types::Retry;

use crate::handle::Key;
use crate::lock::lock;
use crate::pass::Verdict;
use crate::scope::Trigger;

/// A stalled object is looked at this often, whatever nobody told us about.
const STALLED: Duration = Duration::from_secs(3600);
/// A server that names a time is not obeyed for longer: the number is its own to choose.
const OBEDIENT: Duration = Duration::from_secs(3600);
/// A pass that was overtaken, without anything newer in the queue, runs again after this, and later if that
/// happens again.
const OVERTAKEN: Duration = Duration::from_millis(100);
/// But never later than this.
const OVERTAKEN_OFTEN: Duration = Duration::from_secs(30);

/// The pace of retries and visits.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pacing {
    /// First delay after a failure.
    pub min_retry: Duration,
    /// Longest delay after a failure.
    pub max_retry: Duration,
    /// Visits come this many percent earlier or later than the interval.
    pub jitter_percent: u8,
}

impl Default for Pacing {
    fn default() -> Self {
        Self { min_retry: Duration::from_millis(750), max_retry: Duration::from_secs(900), jitter_percent: 5 }
    }
}

/// What the kind says about its times.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    pub(crate) interval: Duration,
    pub(crate) retry_interval: Option<Duration>,
}

/// The next turn after this verdict. Whatever its times say, no object keeps a worker busy alone. `failures` counts this one; `roll` is a random number in `0.0..1.0`.
pub(crate) fn next(
    verdict: &Verdict,
    times: Times,
    pacing: &Pacing,
    failures: u32,
    roll: f64,
) -> Option<(Duration, Trigger)> {
    match verdict {
        Verdict::Ready { .. } if times.interval.is_zero() => None,
        Verdict::Ready { .. } => {
            let spread = f64::from(pacing.jitter_percent.min(99)) / 100.0;
            let interval = times.interval.max(pacing.min_retry);
            Some((interval.mul_f64(1.0 + spread * (2.0 * roll - 1.0)), Trigger::Interval))
        }
        Verdict::Waiting { again, .. } => Some((*again, Trigger::Retry)),
        Verdict::Failed { retry: Retry::OnChange, .. } => Some((STALLED, Trigger::Interval)),
        Verdict::Failed { retry: Retry::After(delay), .. } => Some(((*delay).min(OBEDIENT), Trigger::Retry)),
        Verdict::Failed { retry: Retry::Backoff, .. } => {
            let wanted = times.retry_interval.map(|retry| retry.max(pacing.min_retry));
            Some((wanted.unwrap_or_else(|| backoff(pacing, failures)), Trigger::Retry))
        }
        Verdict::Again => Some((doubled(OVERTAKEN, failures).min(OVERTAKEN_OFTEN), Trigger::Retry)),
        Verdict::Released => None,
    }
}

/// The delay after this many failures in a row.
pub(crate) fn backoff(pacing: &Pacing, failures: u32) -> Duration {
    doubled(pacing.min_retry, failures).min(pacing.max_retry)
}

fn doubled(first: Duration, failures: u32) -> Duration {
    first.saturating_mul(1 << failures.saturating_sub(1).min(30))
}

/// Failures in a row, per object.
#[derive(Default)]
pub(crate) struct Attempts(Mutex<HashMap<Key, u32>>);

impl Attempts {
    pub(crate) fn count(&self, key: &Key) -> u32 {
        lock(&self.0).get(key).copied().unwrap_or_default()
    }

    /// Counts a failure.
    pub(crate) fn fail(&self, key: &Key) -> u32 {
        let mut table = lock(&self.0);
        let count = table.entry(key.clone()).or_default();
        *count = count.saturating_add(1);
        *count
    }

    pub(crate) fn clear(&self, key: &Key) {
        lock(&self.0).remove(key);
    }
}

#[cfg(test)]
mod tests {
    use sluice_api::reason::{FAILED, SUCCEEDED};

    use super::*;
    use crate::pass::Readiness;

    fn failed(retry: Retry) -> Verdict {
        Verdict::Failed { reason: FAILED, message: String::new(), retry }
    }

    #[test]
    fn the_next_turn_follows_from_the_verdict() {
        let seconds = Duration::from_secs;
        let waiting = Verdict::Waiting {
            reason: FAILED,
            message: String::new(),
            readiness: Readiness::False,
            on: Vec::new(),
            again: seconds(30),
        };
        let every_minute = Times { interval: seconds(60), retry_interval: None };
        let fixed = Times { interval: seconds(60), retry_interval: Some(seconds(7)) };
        let never = Times { interval: Duration::ZERO, retry_interval: None };
        let greedy = Times { interval: Duration::from_nanos(1), retry_interval: Some(Duration::ZERO) };
        let least = Duration::from_millis(750);
        let ready = Verdict::ready(SUCCEEDED, "");
        for (verdict, times, failures, roll, expected) in [
            (ready.clone(), every_minute, 0, 0.5, Some((seconds(60), Trigger::Interval))),
            (ready.clone(), every_minute, 0, 0.0, Some((seconds(57), Trigger::Interval))),
            (ready.clone(), every_minute, 0, 1.0, Some((seconds(63), Trigger::Interval))),
            (ready.clone(), greedy, 0, 0.5, Some((least, Trigger::Interval))),
            (failed(Retry::Backoff), greedy, 1, 0.5, Some((least, Trigger::Retry))),
            (ready, never, 0, 0.5, None),
            (waiting, every_minute, 0, 0.5, Some((seconds(30), Trigger::Retry))),
            (
                failed(Retry::Backoff),
                every_minute,
                1,
                0.5,
                Some((Duration::from_millis(750), Trigger::Retry)),
            ),
            (failed(Retry::Backoff), every_minute, 3, 0.5, Some((seconds(3), Trigger::Retry))),
            (failed(Retry::Backoff), every_minute, 60, 0.5, Some((seconds(900), Trigger::Retry))),
            (failed(Retry::Backoff), fixed, 60, 0.5, Some((seconds(7), Trigger::Retry))),
            (failed(Retry::After(seconds(11))), fixed, 1, 0.5, Some((seconds(11), Trigger::Retry))),
            (
                failed(Retry::After(Duration::MAX)),
                every_minute,
                1,
                0.5,
                Some((seconds(3600), Trigger::Retry)),
            ),
            (failed(Retry::OnChange), fixed, 1, 0.5, Some((seconds(3600), Trigger::Interval))),
            (Verdict::Released, every_minute, 0, 0.5, None),
        ] {
            assert_eq!(next(&verdict, times, &Pacing::default(), failures, roll), expected, "{verdict:?}");
        }
    }
}
