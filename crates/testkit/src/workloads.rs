//! Plays the Deployment controller on servers that have none: every Deployment is rolled out at once.

use anyhow::Result;
use futures::TryStreamExt;
use k8s_openapi::api::apps::v1::Deployment;
use kube::api::{Api, Patch, PatchParams};
use kube::{Client, ResourceExt, runtime::watcher};
use serde_json::json;
use tokio::task::JoinHandle;

/// A Deployment with this label never becomes ready.
pub const NEVER_READY: &str = "testkit.sluice.dev/never-ready";

/// The stub; ends when dropped.
pub struct Workloads(JoinHandle<()>);

impl Workloads {
    /// Watches the Deployments of all namespaces.
    pub fn start(client: Client) -> Self {
        Self(tokio::spawn(async move {
            if let Err(error) = play(&client).await {
                tracing::error!(%error, "the Deployment stub ended");
            }
        }))
    }
}

impl Drop for Workloads {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn play(client: &Client) -> Result<()> {
    let all: Api<Deployment> = Api::all(client.clone());
    let events = watcher::watcher(all, watcher::Config::default());
    let changed = events.try_filter_map(|event| async {
        Ok(match event {
            watcher::Event::Apply(object) | watcher::Event::InitApply(object) => Some(object),
            _ => None,
        })
    });
    changed
        .map_err(anyhow::Error::from)
        .try_for_each_concurrent(16, |object| async move { roll_out(client, &object).await })
        .await
}

async fn roll_out(client: &Client, object: &Deployment) -> Result<()> {
    let generation = object.metadata.generation.unwrap_or(1);
    let observed = object.status.as_ref().and_then(|status| status.observed_generation);
    if observed == Some(generation) || object.labels().contains_key(NEVER_READY) {
        return Ok(());
    }
    let replicas = object.spec.replicas.unwrap_or(1);
    let condition = |kind: &str, reason: &str| json!({"type": kind, "status": "True", "reason": reason});
    let status = json!({"status": {
        "observedGeneration": generation, "replicas": replicas, "updatedReplicas": replicas,
        "readyReplicas": replicas, "availableReplicas": replicas,
        "conditions": [condition("Available", "MinimumReplicasAvailable"), condition("Progressing", "NewReplicaSetAvailable")],
    }});
    let api: Api<Deployment> = Api::namespaced(client.clone(), &object.namespace().unwrap_or_default());
    match api.patch_status(&object.name_any(), &PatchParams::default(), &Patch::Merge(status)).await {
        Err(kube::Error::Api(status)) if status.code == 404 || status.code == 409 => Ok(()),
        outcome => Ok(outcome.map(drop)?),
    }
}
