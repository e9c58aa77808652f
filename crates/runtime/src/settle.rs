//! From a verdict to a status: conditions are computed, so that `Stalled` and `Reconciling` never coexist.

use sluice_api::condition::{Condition, ConditionStatus, MESSAGE_LIMIT, READY, RECONCILING, STALLED};
use sluice_api::reason::{PROGRESSING, PROGRESSING_WITH_RETRY, Reason};
use sluice_api::{Status, Time};
use sluice_types::Retry;

use crate::pass::{Aspect, Readiness, Verdict};

/// The observed generation of an object that no pass has brought to an end yet.
const NEVER: i64 = -1;

/// What of the object and its wiring a status depends on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setting<'a> {
    /// Generation of the spec that the pass saw.
    pub(crate) generation: i64,
    /// The request that the pass answers.
    pub(crate) requested_at: Option<&'a str>,
    /// Domain conditions that only this controller writes.
    pub(crate) owned: &'a [&'a str],
    /// Message of Ready=Unknown.
    pub(crate) progress: Option<&'a str>,
    pub(crate) now: Time,
}

/// What a pass leaves behind in the status.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outcome<'a, F> {
    /// `None` keeps the facts.
    pub(crate) facts: Option<&'a F>,
    /// `None` keeps the domain conditions.
    pub(crate) aspects: Option<&'a [Aspect]>,
    pub(crate) verdict: &'a Verdict,
}

/// One condition to be.
struct Want<'a> {
    kind: &'a str,
    status: ConditionStatus,
    reason: Reason,
    message: &'a str,
}

/// The status after a pass. Foreign conditions survive; what did not change keeps its transition time.
pub(crate) fn settle<F: Clone + Default>(
    previous: Option<&Status<F>>,
    outcome: Outcome<'_, F>,
    setting: Setting<'_>,
) -> Status<F> {
    let mut status = previous.cloned().unwrap_or_default();
    if let Some(facts) = outcome.facts {
        status.facts = facts.clone();
    }
    if let Some(requested_at) = setting.requested_at {
        status.last_handled_reconcile_at = Some(requested_at.to_owned());
    }
    let Some(summary) = summarise(outcome.verdict, setting.progress) else { return status };
    if summary.at_rest {
        status.observed_generation = Some(setting.generation);
    }
    status.observed_generation.get_or_insert(NEVER);
    let mut wanted = summary.conditions;
    let mut owned = vec![READY, RECONCILING, STALLED];
    if let Some(aspects) = outcome.aspects {
        owned.extend(setting.owned);
        for aspect in aspects {
            // An aspect cannot overrule the verdict.
            if ![READY, RECONCILING, STALLED].contains(&aspect.kind) {
                let Aspect { kind, status, reason, message } = aspect;
                owned.push(kind);
                wanted.push(Want { kind, status: *status, reason: *reason, message });
            }
        }
    }
    let before = std::mem::take(&mut status.conditions);
    status.conditions = merge(&before, &wanted, &owned, setting);
    status
}

/// The status while a pass goes on: facts, Reconciling=True and Ready=Unknown.
pub(crate) fn progressing<F: Clone + Default>(
    previous: Option<&Status<F>>,
    facts: &F,
    message: &str,
    setting: Setting<'_>,
) -> Status<F> {
    let mut status = previous.cloned().unwrap_or_default();
    status.facts = facts.clone();
    status.observed_generation.get_or_insert(NEVER);
    let wanted = unsettled(ConditionStatus::Unknown, PROGRESSING, message, PROGRESSING, setting.progress);
    let before = std::mem::take(&mut status.conditions);
    status.conditions = merge(&before, &wanted, &[READY, RECONCILING, STALLED], setting);
    status
}

/// The status of an object that was suspended: its generation needs nothing more, so nothing is stalled.
/// What it said of its state stays, and so does that something was underway.
pub(crate) fn suspended<F>(mut status: Status<F>, generation: i64) -> Status<F> {
    if status.conditions.is_empty() {
        return status;
    }
    status.observed_generation = Some(generation);
    status.conditions.retain(|condition| condition.kind != STALLED);
    for condition in &mut status.conditions {
        if condition.kind == RECONCILING {
            PROGRESSING_WITH_RETRY.as_str().clone_into(&mut condition.reason);
        }
    }
    status
}

struct Summary<'a> {
    conditions: Vec<Want<'a>>,
    /// True when the generation was dealt with to an end, good or bad.
    at_rest: bool,
}

fn summarise<'a>(verdict: &'a Verdict, progress: Option<&'a str>) -> Option<Summary<'a>> {
    use ConditionStatus::{False, True, Unknown};
    Some(match verdict {
        Verdict::Ready { reason, message } => Summary {
            conditions: vec![Want { kind: READY, status: True, reason: *reason, message }],
            at_rest: true,
        },
        Verdict::Waiting { reason, message, readiness, .. } => {
            let (status, why) = match readiness {
                Readiness::Unknown => (Unknown, PROGRESSING),
                Readiness::False => (False, PROGRESSING_WITH_RETRY),
            };
            Summary { conditions: unsettled(status, *reason, message, why, progress), at_rest: false }
        }
        Verdict::Failed { reason, message, retry: Retry::OnChange } => Summary {
            conditions: vec![
                Want { kind: STALLED, status: True, reason: *reason, message },
                Want { kind: READY, status: False, reason: *reason, message },
            ],
            at_rest: true,
        },
        Verdict::Failed { reason, message, .. } => Summary {
            conditions: unsettled(False, *reason, message, PROGRESSING_WITH_RETRY, progress),
            at_rest: false,
        },
        Verdict::Again | Verdict::Released => return None,
    })
}

fn unsettled<'a>(
    ready: ConditionStatus,
    reason: Reason,
    message: &'a str,
    reconciling: Reason,
    progress: Option<&'a str>,
) -> Vec<Want<'a>> {
    let summary = progress.filter(|_| ready == ConditionStatus::Unknown).unwrap_or(message);
    vec![
        Want { kind: RECONCILING, status: ConditionStatus::True, reason: reconciling, message },
        Want { kind: READY, status: ready, reason, message: summary },
    ]
}

fn merge(before: &[Condition], wanted: &[Want<'_>], owned: &[&str], setting: Setting<'_>) -> Vec<Condition> {
    let mut after: Vec<Condition> =
        before.iter().filter(|condition| !owned.contains(&condition.kind.as_str())).cloned().collect();
    for want in wanted {
        let message = shorten(want.message);
        let since = before
            .iter()
            .find(|old| {
                old.kind == want.kind
                    && old.status == want.status
                    && old.reason == want.reason.as_str()
                    && old.message == message
            })
            .map_or(setting.now, |old| old.last_transition_time);
        after.push(Condition {
            kind: want.kind.to_owned(),
            status: want.status,
            observed_generation: Some(setting.generation),
            last_transition_time: since,
            reason: want.reason.as_str().to_owned(),
            message,
        });
    }
    after.sort_by(|a, b| (rank(&a.kind), &a.kind).cmp(&(rank(&b.kind), &b.kind)));
    after
}

fn rank(kind: &str) -> usize {
    [STALLED, RECONCILING, READY].iter().position(|first| *first == kind).unwrap_or(3)
}

/// Cuts a message that the API server would refuse.
fn shorten(message: &str) -> String {
    const MARK: &str = "...";
    if message.len() <= MESSAGE_LIMIT {
        return message.to_owned();
    }
    let end = message.floor_char_boundary(MESSAGE_LIMIT - MARK.len());
    format!("{}{MARK}", &message[..end])
}

#[cfg(test)]
#[path = "settle_tests.rs"]
mod tests;
