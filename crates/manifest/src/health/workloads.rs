//! Rules for what runs pods.

use serde_json::Value;

use super::{Health, Status, condition, int, text};

fn waiting(message: String) -> Health {
    Health::new(Status::InProgress, message)
}

fn count(live: &Value, field: &str) -> i64 {
    int(live, &format!("/status/{field}")).unwrap_or(0)
}

fn wanted(live: &Value) -> i64 {
    int(live, "/spec/replicas").unwrap_or(1)
}

pub(super) fn deployment(live: &Value) -> Health {
    let deadline = int(live, "/spec/progressDeadlineSeconds").unwrap_or(i64::from(i32::MAX));
    // Without a deadline the server does not report progress.
    let mut progressing = deadline == i64::from(i32::MAX);
    if let Some(progress) = condition(live, "Progressing") {
        if progress.reason == "ProgressDeadlineExceeded" {
            return Health::new(Status::Failed, "Progress deadline exceeded");
        }
        progressing |= progress.status == "True" && progress.reason == "NewReplicaSetAvailable";
    }
    let wanted = wanted(live);
    let replicas = count(live, "replicas");
    let updated = count(live, "updatedReplicas");
    let ready = count(live, "readyReplicas");
    let available = count(live, "availableReplicas");
    if wanted > replicas {
        return waiting(format!("replicas: {replicas}/{wanted}"));
    }
    if wanted > updated {
        return waiting(format!("Updated: {updated}/{wanted}"));
    }
    if replicas > wanted {
        return waiting(format!("Pending termination: {}", replicas - wanted));
    }
    if updated > available {
        return waiting(format!("Available: {available}/{updated}"));
    }
    if wanted > ready {
        return waiting(format!("Ready: {ready}/{wanted}"));
    }
    if !progressing {
        return waiting("ReplicaSet not Available".to_owned());
    }
    if condition(live, "Available").is_none_or(|c| c.status != "True") {
        return waiting("Deployment not Available".to_owned());
    }
    Health::new(Status::Current, format!("Deployment is available. Replicas: {replicas}"))
}

pub(super) fn stateful_set(live: &Value) -> Health {
    if text(live, "/spec/updateStrategy/type") == "OnDelete" {
        return Health::new(Status::Current, "StatefulSet is using the ondelete update strategy");
    }
    let wanted = wanted(live);
    let replicas = count(live, "replicas");
    let ready = count(live, "readyReplicas");
    let current = count(live, "currentReplicas");
    if wanted > replicas {
        return waiting(format!("Replicas: {replicas}/{wanted}"));
    }
    if wanted > ready {
        return waiting(format!("Ready: {ready}/{wanted}"));
    }
    if replicas > wanted {
        return waiting(format!("Pending termination: {}", replicas - wanted));
    }
    if let Some(partition) = int(live, "/spec/updateStrategy/rollingUpdate/partition") {
        let updated = count(live, "updatedReplicas");
        if updated < wanted - partition {
            return waiting(format!("updated: {updated}/{}", wanted - partition));
        }
        return Health::new(Status::Current, format!("Partition rollout complete. updated: {updated}"));
    }
    if wanted > current {
        return waiting(format!("current: {current}/{wanted}"));
    }
    if text(live, "/status/currentRevision") != text(live, "/status/updateRevision") {
        return waiting("Waiting for updated revision to match current".to_owned());
    }
    Health::new(Status::Current, format!("All replicas scheduled as expected. Replicas: {replicas}"))
}

pub(super) fn daemon_set(live: &Value) -> Health {
    if int(live, "/metadata/generation").is_none() {
        return waiting("Missing .metadata.generation".to_owned());
    }
    if int(live, "/status/observedGeneration").is_none() {
        return waiting("Missing .status.observedGeneration".to_owned());
    }
    let Some(wanted) = int(live, "/status/desiredNumberScheduled") else {
        return waiting("Missing .status.desiredNumberScheduled".to_owned());
    };
    for (field, word) in [
        ("currentNumberScheduled", "Current"),
        ("updatedNumberScheduled", "Updated"),
        ("numberAvailable", "Available"),
        ("numberReady", "Ready"),
    ] {
        let found = count(live, field);
        if wanted > found {
            return waiting(format!("{word}: {found}/{wanted}"));
        }
    }
    Health::new(Status::Current, format!("All replicas scheduled as expected. Replicas: {wanted}"))
}

pub(super) fn replica_set(live: &Value) -> Health {
    if condition(live, "ReplicaFailure").is_some_and(|c| c.status == "True") {
        return waiting("Replica Failure condition. Check Pods".to_owned());
    }
    let wanted = wanted(live);
    for (field, word) in
        [("fullyLabeledReplicas", "Labelled"), ("availableReplicas", "Available"), ("readyReplicas", "Ready")]
    {
        let found = count(live, field);
        if wanted > found {
            return waiting(format!("{word}: {found}/{wanted}"));
        }
    }
    let replicas = count(live, "replicas");
    if replicas > wanted {
        return waiting(format!("Pending termination: {}", replicas - wanted));
    }
    Health::new(Status::Current, format!("ReplicaSet is available. Replicas: {replicas}"))
}

/// A Job is done when it is complete (or suspended), not when it has started.
pub(super) fn job(live: &Value) -> Health {
    if condition(live, "Complete").is_some_and(|c| c.status == "True") {
        return Health::new(
            Status::Current,
            format!("Job Completed. succeeded: {}", count(live, "succeeded")),
        );
    }
    if condition(live, "Failed").is_some_and(|c| c.status == "True") {
        return Health::new(Status::Failed, format!("Job Failed. failed: {}", count(live, "failed")));
    }
    if live.pointer("/spec/suspend").and_then(Value::as_bool) == Some(true) {
        return Health::new(Status::Current, "Job is suspended");
    }
    waiting("Job in progress".to_owned())
}
