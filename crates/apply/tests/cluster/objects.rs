//! What the tests apply.

use std::sync::Arc;

use serde_json::{Value, json};
use sluice_apply::{Action, Cluster, Desired, Identity, Memory, ObjectId, Owner, Policy, Report, Target};
use sluice_manifest::Object;
use tokio_util::sync::CancellationToken;

pub(crate) const PATH: &str = "/api/v1/namespaces/team/configmaps/";

pub(crate) fn labels() -> Value {
    json!({"kustomize.toolkit.fluxcd.io/name": "app", "kustomize.toolkit.fluxcd.io/namespace": "team"})
}

/// Whom [`labels`] name.
pub(crate) fn owner() -> Owner {
    Owner { namespace: "team".to_owned(), name: "app".to_owned() }
}

pub(crate) fn desired(object: Value) -> Desired {
    Desired::from(Object::new(object).unwrap())
}

pub(crate) fn config(name: &str, data: Value) -> Desired {
    desired(json!({"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": "team", "labels": labels()}, "data": data}))
}

pub(crate) fn policy() -> Policy {
    Policy {
        concurrency: 4,
        spare: Arc::new(tokio::sync::Semaphore::new(0)),
        force: false,
        all_or_nothing: false,
        migrate_api_version: false,
        ignore: Arc::default(),
    }
}

pub(crate) fn target(cluster: &Cluster) -> Target {
    cluster.target(Identity::Own)
}

pub(crate) async fn apply(
    target: &Target,
    stage: &[Desired],
    policy: &Policy,
    memory: &mut Memory,
) -> Report {
    let report = target.apply(stage, policy, memory, &CancellationToken::new()).await;
    memory.learn(stage, &report);
    report
}

pub(crate) fn actions(report: &Report) -> Vec<Option<Action>> {
    report.outcomes.iter().map(sluice_apply::Outcome::action).collect()
}

pub(crate) fn id(name: &str) -> ObjectId {
    config(name, json!({})).id
}
