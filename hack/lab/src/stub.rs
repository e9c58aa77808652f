//! Plays the Deployment controller: every Deployment is rolled out at once. So a measured controller waits for
//! nothing but itself.

use anyhow::Result;
use futures::TryStreamExt;
use kube::api::{Api, DynamicObject, Patch, PatchParams};
use kube::{Client, runtime::watcher};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::resources::kind;

/// Runs until dropped.
pub(crate) struct Stub(JoinHandle<()>);

impl Stub {
    /// Watches Deployments of all namespaces.
    pub(crate) fn start(client: Client) -> Self {
        Self(tokio::spawn(async move {
            if let Err(error) = play(&client).await {
                eprintln!("the Deployment stub ended: {error:#}");
            }
        }))
    }
}

impl Drop for Stub {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn play(client: &Client) -> Result<()> {
    let resource = kind("apps", "v1", "Deployment", "deployments");
    let all: Api<DynamicObject> = Api::all_with(client.clone(), &resource);
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

async fn roll_out(client: &Client, object: &DynamicObject) -> Result<()> {
    let generation = object.metadata.generation.unwrap_or(1);
    let observed = object.data.pointer("/status/observedGeneration").and_then(Value::as_i64);
    let held = object
        .metadata
        .labels
        .as_ref()
        .is_some_and(|labels| labels.contains_key("lab.sluice.dev/never-ready"));
    if observed == Some(generation) || held {
        return Ok(());
    }
    let replicas = object.data.pointer("/spec/replicas").and_then(Value::as_i64).unwrap_or(1);
    let condition = |kind: &str, reason: &str| json!({"type": kind, "status": "True", "reason": reason});
    let status = json!({"status": {
        "observedGeneration": generation, "replicas": replicas, "updatedReplicas": replicas,
        "readyReplicas": replicas, "availableReplicas": replicas,
        "conditions": [condition("Available", "MinimumReplicasAvailable"), condition("Progressing", "NewReplicaSetAvailable")],
    }});
    let (Some(name), Some(namespace)) = (&object.metadata.name, &object.metadata.namespace) else {
        return Ok(());
    };
    let api = crate::resources::deployments(client, namespace);
    match api.patch_status(name, &PatchParams::default(), &Patch::Merge(status)).await {
        Err(kube::Error::Api(status)) if status.code == 404 || status.code == 409 => Ok(()),
        outcome => Ok(outcome.map(drop)?),
    }
}
