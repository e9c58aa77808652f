//! Rules for everything that is no workload.

use jiff::Timestamp;
use serde_json::Value;

use super::{Health, Status, condition, int, text};

pub(super) const UNSCHEDULABLE: &str = "Pod could not be scheduled";

/// What holds for every kind; `None` when there is nothing to say.
pub(super) fn generic(live: &Value, kind: &str) -> Option<Health> {
    if live.pointer("/metadata/deletionTimestamp").is_some_and(|t| !t.is_null()) {
        return Some(Health::new(Status::Terminating, "Resource scheduled for deletion"));
    }
    if let (Some(observed), Some(generation)) =
        (int(live, "/status/observedGeneration"), int(live, "/metadata/generation"))
        && observed != generation
    {
        let message =
            format!("{kind} generation is {generation}, but latest observed generation is {observed}");
        return Some(Health::new(Status::InProgress, message));
    }
    if let Some(reconciling) = condition(live, "Reconciling").filter(|c| c.status == "True") {
        return Some(Health::new(Status::InProgress, reconciling.message));
    }
    let stalled = condition(live, "Stalled").filter(|c| c.status == "True")?;
    Some(Health::new(Status::Failed, stalled.message))
}

/// Kinds without rules of their own: a Ready condition is believed, its absence is fine.
pub(super) fn by_ready_condition(live: &Value) -> Health {
    match condition(live, "Ready") {
        None => Health::new(Status::Current, "Resource is current"),
        Some(ready) if ready.status == "True" => Health::new(Status::Current, "Resource is Ready"),
        Some(ready) => Health::new(Status::InProgress, ready.message),
    }
}

pub(super) fn pod(live: &Value, now: Timestamp) -> Health {
    match text(live, "/status/phase") {
        "Succeeded" => Health::new(Status::Current, "Pod has completed successfully"),
        "Failed" => Health::new(Status::Current, "Pod has completed, but not successfully"),
        "Running" => running_pod(live),
        "Pending" => pending_pod(live, now),
        _ => Health::new(Status::InProgress, "Pod phase not available"),
    }
}

fn running_pod(live: &Value) -> Health {
    if condition(live, "Ready").is_some_and(|c| c.status == "True") {
        return Health::new(Status::Current, "Pod is Ready");
    }
    let containers = live.pointer("/status/containerStatuses").and_then(Value::as_array);
    let looping: Vec<&str> = containers
        .into_iter()
        .flatten()
        .filter(|c| text(c, "/state/waiting/reason") == "CrashLoopBackOff")
        .map(|c| text(c, "/name"))
        .collect();
    if looping.is_empty() {
        Health::new(Status::InProgress, "Pod is running but is not Ready")
    } else {
        Health::new(Status::Failed, format!("Containers in CrashLoop state: {}", looping.join(",")))
    }
}

fn pending_pod(live: &Value, now: Timestamp) -> Health {
    let scheduled = condition(live, "PodScheduled");
    if !scheduled.is_some_and(|c| c.status == "False" && c.reason == "Unschedulable") {
        return Health::new(Status::InProgress, "Pod is in the Pending phase");
    }
    let created = text(live, "/metadata/creationTimestamp").parse::<Timestamp>();
    let patience = jiff::SignedDuration::from_secs(15);
    match created {
        Ok(created) if now.duration_since(created) < patience => {
            Health::new(Status::InProgress, "Pod has not been scheduled")
        }
        _ => Health::new(Status::Failed, UNSCHEDULABLE),
    }
}

pub(super) fn claim(live: &Value) -> Health {
    match text(live, "/status/phase") {
        "Bound" => Health::new(Status::Current, "PVC is Bound"),
        phase => {
            let phase = if phase.is_empty() { "unknown" } else { phase };
            Health::new(Status::InProgress, format!("PVC is not Bound. phase: {phase}"))
        }
    }
}

pub(super) fn service(live: &Value) -> Health {
    if text(live, "/spec/type") == "LoadBalancer" && text(live, "/spec/clusterIP").is_empty() {
        return Health::new(Status::InProgress, "ClusterIP not set. Service type: LoadBalancer");
    }
    Health::new(Status::Current, "Service is ready")
}

pub(super) fn definition(live: &Value) -> Health {
    if let Some(names) = condition(live, "NamesAccepted").filter(|c| c.status == "False") {
        return Health::new(Status::Failed, names.message);
    }
    match condition(live, "Established") {
        Some(c) if c.status == "True" => Health::new(Status::Current, "CRD is established"),
        Some(c) if c.status == "False" && c.reason != "Installing" => Health::new(Status::Failed, c.message),
        _ => Health::new(Status::InProgress, "Install in progress"),
    }
}
