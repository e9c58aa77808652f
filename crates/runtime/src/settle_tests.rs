use std::time::Duration;

use sluice_api::reason::{FAILED, SUCCEEDED};

use super::*;

const HEALTHY: &str = "Healthy";

fn at(second: i64) -> Time {
    Time::new(sluice_api_timestamp(second))
}

fn sluice_api_timestamp(second: i64) -> jiff::Timestamp {
    jiff::Timestamp::from_second(second).unwrap()
}

fn setting(second: i64) -> Setting<'static> {
    Setting {
        generation: 3,
        requested_at: None,
        owned: &[HEALTHY],
        progress: Some("in progress"),
        now: at(second),
    }
}

fn run(previous: Option<&Status<()>>, verdict: &Verdict, aspects: &[Aspect], second: i64) -> Status<()> {
    settle(previous, Outcome { facts: Some(&()), aspects: Some(aspects), verdict }, setting(second))
}

fn waiting(readiness: Readiness) -> Verdict {
    let (reason, message) = (PROGRESSING, "health of x".to_owned());
    Verdict::Waiting { reason, message, readiness, on: Vec::new(), again: Duration::from_secs(1) }
}

fn failed(retry: Retry) -> Verdict {
    Verdict::Failed { reason: FAILED, message: "no".to_owned(), retry }
}

fn shape(status: &Status<()>) -> Vec<String> {
    status.conditions.iter().map(|c| format!("{}={}/{}: {}", c.kind, c.status, c.reason, c.message)).collect()
}

/// What kstatus makes of a custom resource, in its order.
fn kstatus(status: &Status<()>) -> &'static str {
    if status.observed_generation != Some(3) {
        return "InProgress";
    }
    for (kind, verdict) in [(RECONCILING, "InProgress"), (STALLED, "Failed")] {
        if status.condition(kind).is_some_and(Condition::is_true) {
            return verdict;
        }
    }
    match status.condition(READY).map(|ready| ready.status) {
        Some(ConditionStatus::True) => "Current",
        _ => "InProgress",
    }
}

#[test]
fn conditions_follow_from_the_verdict() {
    for (verdict, expected, told) in [
        (Verdict::ready(SUCCEEDED, "done"), vec!["Ready=True/Succeeded: done"], "Current"),
        (
            waiting(Readiness::Unknown),
            vec!["Reconciling=True/Progressing: health of x", "Ready=Unknown/Progressing: in progress"],
            "InProgress",
        ),
        (
            waiting(Readiness::False),
            vec![
                "Reconciling=True/ProgressingWithRetry: health of x",
                "Ready=False/Progressing: health of x",
            ],
            "InProgress",
        ),
        (
            failed(Retry::Backoff),
            vec!["Reconciling=True/ProgressingWithRetry: no", "Ready=False/Failed: no"],
            "InProgress",
        ),
        (
            failed(Retry::After(Duration::from_secs(1))),
            vec!["Reconciling=True/ProgressingWithRetry: no", "Ready=False/Failed: no"],
            "InProgress",
        ),
        (failed(Retry::OnChange), vec!["Stalled=True/Failed: no", "Ready=False/Failed: no"], "Failed"),
    ] {
        // From every state the same one follows.
        for before in [
            None,
            Some(run(None, &failed(Retry::OnChange), &[], 1)),
            Some(run(None, &waiting(Readiness::Unknown), &[], 1)),
        ] {
            let mut status = run(before.as_ref(), &verdict, &[], 2);
            assert_eq!(shape(&status), expected, "{verdict:?}");
            if matches!(verdict, Verdict::Ready { .. } | Verdict::Failed { retry: Retry::OnChange, .. }) {
                assert_eq!(status.observed_generation, Some(3));
            }
            status.observed_generation = Some(3);
            assert_eq!(kstatus(&status), told, "{verdict:?}");
        }
    }
}

#[test]
fn the_observed_generation_stays_behind_until_an_end_is_reached() {
    for verdict in [waiting(Readiness::Unknown), waiting(Readiness::False), failed(Retry::Backoff)] {
        let before = Status::<()> { observed_generation: Some(2), ..Status::default() };
        assert_eq!(run(Some(&before), &verdict, &[], 1).observed_generation, Some(2));
    }
}

#[test]
fn a_repeated_verdict_changes_nothing_and_a_new_message_moves_the_time() {
    let first = run(None, &Verdict::ready(SUCCEEDED, "one"), &[], 1);
    assert_eq!(run(Some(&first), &Verdict::ready(SUCCEEDED, "one"), &[], 9), first);
    let second = run(Some(&first), &Verdict::ready(SUCCEEDED, "two"), &[], 9);
    assert_eq!(second.condition(READY).unwrap().last_transition_time, at(9));
}

#[test]
fn owned_aspects_come_and_go_and_foreign_conditions_stay() {
    let foreign = Condition {
        kind: "TestSuccess".to_owned(),
        status: ConditionStatus::True,
        observed_generation: None,
        last_transition_time: at(0),
        reason: "X".to_owned(),
        message: String::new(),
    };
    let before = Status::<()> { conditions: vec![foreign], ..Status::default() };
    let healthy = Aspect::new(HEALTHY, ConditionStatus::True, SUCCEEDED, "ok");
    let with = run(Some(&before), &Verdict::ready(SUCCEEDED, ""), &[healthy], 1);
    assert_eq!(
        with.conditions.iter().map(|c| c.kind.as_str()).collect::<Vec<_>>(),
        [READY, HEALTHY, "TestSuccess"]
    );
    let without = run(Some(&with), &Verdict::ready(SUCCEEDED, ""), &[], 2);
    assert!(without.condition(HEALTHY).is_none());
    assert!(without.condition("TestSuccess").is_some());
}

#[test]
fn an_aspect_cannot_overrule_the_verdict() {
    let claim = Aspect::new(STALLED, ConditionStatus::True, FAILED, "");
    assert!(run(None, &Verdict::ready(SUCCEEDED, ""), &[claim], 1).condition(STALLED).is_none());
}

#[test]
fn a_pass_that_broke_off_keeps_facts_and_aspects() {
    let healthy = Aspect::new(HEALTHY, ConditionStatus::True, SUCCEEDED, "ok");
    let before = run(None, &Verdict::ready(SUCCEEDED, ""), &[healthy], 1);
    let outcome = Outcome { facts: None, aspects: None, verdict: &failed(Retry::Backoff) };
    let after = settle(Some(&before), outcome, setting(2));
    assert!(after.condition(HEALTHY).is_some());
}

#[test]
fn a_request_is_answered_whatever_the_verdict() {
    for verdict in [Verdict::ready(SUCCEEDED, ""), failed(Retry::OnChange), Verdict::Again] {
        let outcome = Outcome { facts: Some(&()), aspects: Some(&[]), verdict: &verdict };
        let status = settle(None, outcome, Setting { requested_at: Some("now"), ..setting(1) });
        assert_eq!(status.last_handled_reconcile_at.as_deref(), Some("now"));
    }
}

#[test]
fn a_message_that_is_too_long_is_cut_between_characters() {
    let long = "ü".repeat(MESSAGE_LIMIT);
    let status = run(None, &Verdict::ready(SUCCEEDED, long), &[], 1);
    let message = &status.condition(READY).unwrap().message;
    assert!(message.len() <= MESSAGE_LIMIT && message.len() > MESSAGE_LIMIT - 5);
    assert!(message.ends_with("ü..."));
}

#[test]
fn progress_shows_facts_before_the_end() {
    let stalled = run(None, &failed(Retry::OnChange), &[], 1);
    let status = progressing(Some(&stalled), &(), "building", setting(2));
    assert_eq!(
        shape(&status),
        ["Reconciling=True/Progressing: building", "Ready=Unknown/Progressing: in progress"]
    );
}

#[test]
fn suspending_settles_the_generation_and_ends_a_stall() {
    let stalled = run(None, &failed(Retry::OnChange), &[], 1);
    let after = suspended(stalled, 2);
    assert_eq!(after.observed_generation, Some(2));
    assert_eq!(after.conditions.iter().map(|c| c.kind.as_str()).collect::<Vec<_>>(), [READY]);
    let retrying = run(None, &failed(Retry::Backoff), &[], 1);
    let after = suspended(retrying.clone(), 2);
    assert_eq!(shape(&after), shape(&retrying));
    assert_eq!(after.observed_generation, Some(2));
    assert_eq!(suspended(Status::<()>::default(), 2), Status::default());
}
