//! What a live object's own status says about it: kstatus' rules for built-in kinds, with Flux's
//! stricter reading of Jobs. Rules written by users live elsewhere.

mod rules;
mod workloads;

use jiff::Timestamp;
use serde_json::Value;

/// How far an object is from what was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Status {
    /// It is as asked for.
    Current,
    /// It is on its way.
    InProgress,
    /// It will not get there by itself.
    Failed,
    /// It is being deleted.
    Terminating,
    /// It is not there.
    NotFound,
    /// Nobody can tell.
    Unknown,
}

impl Status {
    /// The word used in messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Current => "Current",
            Self::InProgress => "InProgress",
            Self::Failed => "Failed",
            Self::Terminating => "Terminating",
            Self::NotFound => "NotFound",
            Self::Unknown => "Unknown",
        }
    }
}

impl std::fmt::Display for Status {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A status and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// The status.
    pub status: Status,
    /// What to tell a person.
    pub message: String,
}

impl Health {
    pub(crate) fn new(status: Status, message: impl Into<String>) -> Self {
        Self { status, message: message.into() }
    }

    /// What an absent object counts as.
    pub fn not_found() -> Self {
        Self::new(Status::NotFound, "Resource not found")
    }
}

/// Judges a live object. `now` only matters to Pods that cannot be scheduled: they are given
/// fifteen seconds.
pub fn judge(live: &Value, now: Timestamp) -> Health {
    let kind = text(live, "/kind");
    let group = text(live, "/apiVersion").rsplit_once('/').map_or("", |(group, _)| group);
    if (group, kind) == ("batch", "Job") {
        return workloads::job(live);
    }
    if let Some(health) = rules::generic(live, kind) {
        return health;
    }
    match (group, kind) {
        ("apps" | "extensions", "Deployment") => workloads::deployment(live),
        ("apps", "StatefulSet") => workloads::stateful_set(live),
        ("apps" | "extensions", "DaemonSet") => workloads::daemon_set(live),
        ("apps" | "extensions", "ReplicaSet") => workloads::replica_set(live),
        ("", "Pod") => rules::pod(live, now),
        ("", "PersistentVolumeClaim") => rules::claim(live),
        ("", "Service") => rules::service(live),
        ("apiextensions.k8s.io", "CustomResourceDefinition") => rules::definition(live),
        ("policy", "PodDisruptionBudget") => {
            Health::new(Status::Current, "AllowedDisruptions has been computed.")
        }
        ("batch", "CronJob") | ("", "ConfigMap" | "Secret") => {
            Health::new(Status::Current, "Resource is always ready")
        }
        _ => rules::by_ready_condition(live),
    }
}

/// Judges a ReplicaSet or StatefulSet again in the light of its pods: one that is on its way with
/// a failed pod (not one that is being deleted, or merely waits for a node) has failed.
pub fn judge_with_pods(owner: Health, pods: &[Value], now: Timestamp) -> Health {
    if owner.status != Status::InProgress {
        return owner;
    }
    let failed = pods.iter().find_map(|pod| {
        let health = judge(pod, now);
        let unschedulable = health.message == rules::UNSCHEDULABLE;
        (health.status == Status::Failed && !unschedulable).then_some((pod, health))
    });
    match failed {
        Some((pod, health)) => {
            Health::new(Status::Failed, format!("Pod {}: {}", text(pod, "/metadata/name"), health.message))
        }
        None => owner,
    }
}

fn text<'v>(value: &'v Value, pointer: &str) -> &'v str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

fn int(value: &Value, pointer: &str) -> Option<i64> {
    value.pointer(pointer).and_then(Value::as_i64)
}

/// One entry of `status.conditions`.
#[derive(Clone, Copy)]
struct Condition<'v> {
    status: &'v str,
    reason: &'v str,
    message: &'v str,
}

fn condition<'v>(live: &'v Value, kind: &str) -> Option<Condition<'v>> {
    let all = live.pointer("/status/conditions")?.as_array()?;
    let found = all.iter().find(|c| text(c, "/type") == kind)?;
    Some(Condition {
        status: text(found, "/status"),
        reason: text(found, "/reason"),
        message: text(found, "/message"),
    })
}

#[cfg(test)]
mod tests;
