//! The last outcomes in `status.history`.

use std::collections::BTreeMap;
use std::time::Duration;

use sluice_api::kustomize::v1::Snapshot;
use sluice_api::{Reason, Time};
use sluice_types::GoDuration;

/// Most entries kept.
const MOST: usize = 5;

/// One outcome of one run.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    /// Digest of the objects.
    pub(crate) digest: String,
    pub(crate) status: Reason,
    pub(crate) at: Time,
    pub(crate) took: Duration,
    pub(crate) metadata: BTreeMap<String, String>,
}

/// Puts an outcome to the front. One with the digest and the status of an entry is counted there.
pub(crate) fn record(history: &mut Vec<Snapshot>, outcome: Outcome) {
    let status = outcome.status.as_str();
    let same = history
        .iter()
        .position(|entry| entry.digest == outcome.digest && entry.last_reconciled_status == status);
    let earlier = same.map(|place| history.remove(place));
    let entry = Snapshot {
        digest: outcome.digest,
        first_reconciled: earlier.as_ref().map_or(outcome.at, |entry| entry.first_reconciled),
        last_reconciled: outcome.at,
        last_reconciled_duration: GoDuration(rounded(outcome.took)).to_string(),
        last_reconciled_status: status.to_owned(),
        total_reconciliations: earlier.map_or(0, |entry| entry.total_reconciliations).saturating_add(1),
        metadata: outcome.metadata,
    };
    history.insert(0, entry);
    history.truncate(MOST);
}

/// Durations that people read need no more than milliseconds.
pub(crate) fn rounded(duration: Duration) -> Duration {
    Duration::from_millis(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use sluice_api::kustomize::v1::reason::{HEALTH_CHECK_FAILED, RECONCILIATION_SUCCEEDED};

    fn outcome(digest: &str, status: Reason, second: i64) -> Outcome {
        Outcome {
            digest: digest.to_owned(),
            status,
            at: Time::new(jiff::Timestamp::from_second(second).unwrap()),
            took: Duration::from_micros(1_234_567),
            metadata: BTreeMap::from([("revision".to_owned(), format!("r{second}"))]),
        }
    }

    fn texts(history: &[Snapshot]) -> Vec<String> {
        history
            .iter()
            .map(|entry| {
                format!(
                    "{} {} {}-{} x{} {}",
                    entry.digest,
                    entry.last_reconciled_status,
                    entry.first_reconciled.unix_seconds(),
                    entry.last_reconciled.unix_seconds(),
                    entry.total_reconciliations,
                    entry.metadata["revision"],
                )
            })
            .collect()
    }

    #[test]
    fn an_outcome_seen_before_is_counted_and_moves_to_the_front() {
        let mut history = Vec::new();
        record(&mut history, outcome("a", RECONCILIATION_SUCCEEDED, 1));
        record(&mut history, outcome("b", RECONCILIATION_SUCCEEDED, 2));
        record(&mut history, outcome("a", RECONCILIATION_SUCCEEDED, 3));
        record(&mut history, outcome("a", HEALTH_CHECK_FAILED, 4));
        assert_eq!(
            texts(&history),
            [
                "a HealthCheckFailed 4-4 x1 r4",
                "a ReconciliationSucceeded 1-3 x2 r3",
                "b ReconciliationSucceeded 2-2 x1 r2",
            ]
        );
        assert_eq!(history[0].last_reconciled_duration, "1.234s");
    }

    #[test]
    fn the_oldest_of_six_is_forgotten() {
        let mut history = Vec::new();
        for (second, digest) in (1..).zip(["a", "b", "c", "d", "e", "f"]) {
            record(&mut history, outcome(digest, RECONCILIATION_SUCCEEDED, second));
        }
        assert_eq!(history.iter().map(|entry| entry.digest.as_str()).collect::<String>(), "fedcb");
    }
}
