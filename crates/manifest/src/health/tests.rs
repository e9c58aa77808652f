use serde_json::json;

use super::*;

fn now() -> Timestamp {
    "2026-01-01T00:01:00Z".parse().unwrap()
}

/// Each row: what the object is, its status, and what that makes it.
fn check(api: &str, kind: &str, rows: &[(Value, Status)]) {
    for (rest, expected) in rows {
        let mut live = json!({"apiVersion": api, "kind": kind, "metadata": {"name": "x", "generation": 2}});
        merge(&mut live, rest);
        let health = judge(&live, now());
        assert_eq!(health.status, *expected, "{kind} {rest}: {}", health.message);
    }
}

fn merge(into: &mut Value, from: &Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                merge(into.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from.clone(),
    }
}

fn condition_of(kind: &str, status: &str, reason: &str) -> Value {
    json!({"type": kind, "status": status, "reason": reason, "message": "m"})
}

use Status::{Current, Failed, InProgress, Terminating};

#[test]
fn any_kind_is_judged_by_deletion_generation_and_conditions() {
    check(
        "example.com/v1",
        "Widget",
        &[
            (json!({}), Current),
            (json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}}), Terminating),
            (json!({"status": {"observedGeneration": 1}}), InProgress),
            (json!({"status": {"observedGeneration": 2}}), Current),
            (json!({"status": {"conditions": [condition_of("Reconciling", "True", "")]}}), InProgress),
            (json!({"status": {"conditions": [condition_of("Stalled", "True", "")]}}), Failed),
            (json!({"status": {"conditions": [condition_of("Ready", "True", "")]}}), Current),
            (json!({"status": {"conditions": [condition_of("Ready", "False", "")]}}), InProgress),
            (json!({"status": {"conditions": [condition_of("Ready", "Unknown", "")]}}), InProgress),
        ],
    );
}

#[test]
fn a_deployment_is_current_when_the_new_replicas_are_available() {
    let available = condition_of("Available", "True", "");
    let rolled = condition_of("Progressing", "True", "NewReplicaSetAvailable");
    let full = json!({"spec": {"replicas": 2, "progressDeadlineSeconds": 600}, "status": {
        "observedGeneration": 2, "replicas": 2, "updatedReplicas": 2, "readyReplicas": 2,
        "availableReplicas": 2, "conditions": [available, rolled]}});
    let with = |patch: Value| {
        let mut value = full.clone();
        merge(&mut value, &patch);
        value
    };
    check(
        "apps/v1",
        "Deployment",
        &[
            (full.clone(), Current),
            (with(json!({"status": {"replicas": 1}})), InProgress),
            (with(json!({"status": {"replicas": 3}})), InProgress),
            (with(json!({"status": {"updatedReplicas": 1}})), InProgress),
            (with(json!({"status": {"availableReplicas": 1}})), InProgress),
            (with(json!({"status": {"readyReplicas": 1}})), InProgress),
            (with(json!({"status": {"conditions": [available]}})), InProgress),
            (
                with(
                    json!({"spec": {"progressDeadlineSeconds": i32::MAX}, "status": {"conditions": [available]}}),
                ),
                Current,
            ),
            (with(json!({"status": {"conditions": [rolled]}})), InProgress),
            (
                with(json!({"status": {"conditions": [available,
                    condition_of("Progressing", "False", "ProgressDeadlineExceeded")]}})),
                Failed,
            ),
            (json!({"spec": {"replicas": 0}, "status": {"conditions": [available]}}), Current),
        ],
    );
}

#[test]
fn a_stateful_set_waits_for_its_revision_unless_it_is_partitioned() {
    check(
        "apps/v1",
        "StatefulSet",
        &[
            (json!({"spec": {"updateStrategy": {"type": "OnDelete"}}}), Current),
            (
                json!({"status": {"replicas": 1, "readyReplicas": 1, "currentReplicas": 1,
                "currentRevision": "a", "updateRevision": "a"}}),
                Current,
            ),
            (
                json!({"status": {"replicas": 1, "readyReplicas": 1, "currentReplicas": 1,
                "currentRevision": "a", "updateRevision": "b"}}),
                InProgress,
            ),
            (json!({"status": {"replicas": 1, "readyReplicas": 0}}), InProgress),
            (json!({"status": {"replicas": 2, "readyReplicas": 2}}), InProgress),
            (json!({"status": {"replicas": 1, "readyReplicas": 1}}), InProgress),
            (
                json!({"spec": {"replicas": 3, "updateStrategy": {"rollingUpdate": {"partition": 2}}},
                "status": {"replicas": 3, "readyReplicas": 3, "updatedReplicas": 1}}),
                Current,
            ),
            (
                json!({"spec": {"replicas": 3, "updateStrategy": {"rollingUpdate": {"partition": 1}}},
                "status": {"replicas": 3, "readyReplicas": 3, "updatedReplicas": 1}}),
                InProgress,
            ),
        ],
    );
}

#[test]
fn a_daemon_set_counts_nodes() {
    let full = json!({"status": {"observedGeneration": 2, "desiredNumberScheduled": 2,
        "currentNumberScheduled": 2, "updatedNumberScheduled": 2, "numberAvailable": 2, "numberReady": 2}});
    let mut rows = vec![(full.clone(), Current), (json!({}), InProgress)];
    for field in ["currentNumberScheduled", "updatedNumberScheduled", "numberAvailable", "numberReady"] {
        let mut short = full.clone();
        short["status"][field] = json!(1);
        rows.push((short, InProgress));
    }
    for field in ["observedGeneration", "desiredNumberScheduled"] {
        let mut missing = full.clone();
        missing["status"].as_object_mut().unwrap().remove(field);
        rows.push((missing, InProgress));
    }
    check("apps/v1", "DaemonSet", &rows);
}

#[test]
fn a_replica_set_needs_labelled_available_and_ready_replicas() {
    check(
        "apps/v1",
        "ReplicaSet",
        &[
            (
                json!({"status": {"replicas": 1, "fullyLabeledReplicas": 1, "availableReplicas": 1,
                "readyReplicas": 1}}),
                Current,
            ),
            (
                json!({"status": {"replicas": 2, "fullyLabeledReplicas": 1, "availableReplicas": 1,
                "readyReplicas": 1}}),
                InProgress,
            ),
            (
                json!({"status": {"replicas": 1, "fullyLabeledReplicas": 1, "availableReplicas": 0,
                "readyReplicas": 1}}),
                InProgress,
            ),
            (json!({"status": {"conditions": [condition_of("ReplicaFailure", "True", "")]}}), InProgress),
        ],
    );
}

#[test]
fn a_pod_may_be_done_ready_looping_or_without_a_node() {
    let unschedulable = condition_of("PodScheduled", "False", "Unschedulable");
    check(
        "v1",
        "Pod",
        &[
            (json!({"status": {"phase": "Succeeded"}}), Current),
            (json!({"status": {"phase": "Failed"}}), Current),
            (
                json!({"status": {"phase": "Running", "conditions": [condition_of("Ready", "True", "")]}}),
                Current,
            ),
            (json!({"status": {"phase": "Running"}}), InProgress),
            (
                json!({"status": {"phase": "Running", "containerStatuses": [
                {"name": "c", "state": {"waiting": {"reason": "CrashLoopBackOff"}}}]}}),
                Failed,
            ),
            (json!({"status": {"phase": "Pending"}}), InProgress),
            (
                json!({"metadata": {"creationTimestamp": "2026-01-01T00:00:50Z"},
                "status": {"phase": "Pending", "conditions": [unschedulable]}}),
                InProgress,
            ),
            (
                json!({"metadata": {"creationTimestamp": "2026-01-01T00:00:40Z"},
                "status": {"phase": "Pending", "conditions": [unschedulable]}}),
                Failed,
            ),
            (json!({}), InProgress),
        ],
    );
}

#[test]
fn a_job_is_current_when_complete_and_not_when_merely_started() {
    check(
        "batch/v1",
        "Job",
        &[
            (json!({"status": {"startTime": "2026-01-01T00:00:00Z", "active": 1}}), InProgress),
            (json!({"status": {"conditions": [condition_of("Complete", "True", "")]}}), Current),
            (json!({"status": {"conditions": [condition_of("Failed", "True", "")]}}), Failed),
            (json!({"spec": {"suspend": true}}), Current),
            (json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}}), InProgress),
        ],
    );
}

#[test]
fn storage_services_definitions_and_budgets_have_rules_of_their_own() {
    check(
        "v1",
        "PersistentVolumeClaim",
        &[
            (json!({"status": {"phase": "Bound"}}), Current),
            (json!({"status": {"phase": "Pending"}}), InProgress),
        ],
    );
    check(
        "v1",
        "Service",
        &[
            (json!({"spec": {"type": "ClusterIP"}}), Current),
            (json!({"spec": {"type": "LoadBalancer"}}), InProgress),
            (json!({"spec": {"type": "LoadBalancer", "clusterIP": "10.0.0.1"}}), Current),
        ],
    );
    let status = |conditions: Value| json!({"status": {"conditions": conditions}});
    check(
        "apiextensions.k8s.io/v1",
        "CustomResourceDefinition",
        &[
            (json!({}), InProgress),
            (status(json!([condition_of("Established", "True", "")])), Current),
            (status(json!([condition_of("NamesAccepted", "False", "")])), Failed),
            (status(json!([condition_of("Established", "False", "Installing")])), InProgress),
            (status(json!([condition_of("Established", "False", "Broken")])), Failed),
        ],
    );
    let never_ready = status(json!([condition_of("Ready", "False", "")]));
    check("policy/v1", "PodDisruptionBudget", &[(never_ready.clone(), Current)]);
    check("batch/v1", "CronJob", &[(never_ready.clone(), Current)]);
    check("v1", "ConfigMap", &[(never_ready.clone(), Current)]);
    check("v1", "Secret", &[(never_ready, Current)]);
}

#[test]
fn a_failed_pod_fails_the_set_that_waits_for_it() {
    let pod = |status: Value| json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "status": status});
    let looping = pod(json!({"phase": "Running", "containerStatuses": [
        {"name": "c", "state": {"waiting": {"reason": "CrashLoopBackOff"}}}]}));
    let homeless = pod(
        json!({"phase": "Pending", "conditions": [condition_of("PodScheduled", "False", "Unschedulable")]}),
    );
    let waiting = || Health::new(InProgress, "Ready: 0/1");
    assert_eq!(judge_with_pods(waiting(), &[homeless.clone(), looping.clone()], now()).status, Failed);
    assert_eq!(judge_with_pods(waiting(), &[homeless], now()).status, InProgress);
    assert_eq!(judge_with_pods(Health::new(Current, ""), &[looping], now()).status, Current);
}
