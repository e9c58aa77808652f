//! When to stop repairing an object at once because somebody else keeps changing it back.

use std::time::Duration;

use tokio::time::Instant;

/// Repairs in a row that are made without delay.
const PATIENT: u32 = 5;
/// The first delay; each further repair doubles it.
const FIRST: Duration = Duration::from_secs(10);
/// The longest delay.
const LONGEST: Duration = Duration::from_secs(600);

/// The repairs of one object.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Contest {
    repairs: u32,
    last: Option<Instant>,
}

/// What a repair leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rest {
    /// How long the object is left alone.
    pub(crate) delay: Duration,
    /// True when the delays begin: worth telling once.
    pub(crate) begins: bool,
}

impl Contest {
    /// Counts a repair. A quiet time of twice the delay forgets all that was counted.
    pub(crate) fn repaired(&mut self, now: Instant) -> Option<Rest> {
        let quiet = self.last.map(|last| now.saturating_duration_since(last));
        let forgetful = (delay(self.repairs) * 2).max(Duration::from_secs(60));
        if quiet.is_some_and(|quiet| quiet > forgetful) {
            self.repairs = 0;
        }
        self.repairs = self.repairs.saturating_add(1);
        self.last = Some(now);
        (self.repairs > PATIENT)
            .then(|| Rest { delay: delay(self.repairs), begins: self.repairs == PATIENT + 1 })
    }

    /// How long from now the object is still left alone.
    pub(crate) fn resting(&self, now: Instant) -> Option<Duration> {
        let until = self.last? + delay(self.repairs);
        until.checked_duration_since(now).filter(|left| !left.is_zero())
    }
}

fn delay(repairs: u32) -> Duration {
    match repairs.checked_sub(PATIENT + 1) {
        None => Duration::ZERO,
        Some(doublings) => FIRST.saturating_mul(1 << doublings.min(10)).min(LONGEST),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_sixth_repair_in_a_row_is_the_last_at_once() {
        let mut contest = Contest::default();
        let mut now = Instant::now();
        for _ in 0..5 {
            assert_eq!(contest.repaired(now), None);
            assert_eq!(contest.resting(now), None);
            now += Duration::from_secs(1);
        }
        assert_eq!(contest.repaired(now), Some(Rest { delay: Duration::from_secs(10), begins: true }));
        assert_eq!(contest.resting(now + Duration::from_secs(4)), Some(Duration::from_secs(6)));
        assert_eq!(contest.resting(now + Duration::from_secs(10)), None);
        now += Duration::from_secs(11);
        assert_eq!(contest.repaired(now), Some(Rest { delay: Duration::from_secs(20), begins: false }));
        let mut delay = Duration::from_secs(20);
        for _ in 0..20 {
            now += delay + Duration::from_secs(1);
            delay = contest.repaired(now).unwrap().delay;
        }
        assert_eq!(delay, LONGEST);
    }

    #[tokio::test(start_paused = true)]
    async fn rare_repairs_are_always_made_at_once() {
        let mut contest = Contest::default();
        let mut now = Instant::now();
        for _ in 0..20 {
            assert_eq!(contest.repaired(now), None);
            now += Duration::from_secs(61);
        }
    }
}
