//! The server's own ceiling, and the least time that any API-compatible controller could need on it.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result};
use futures::{StreamExt, TryStreamExt, stream};
use kube::Client;
use kube::api::{Api, DynamicObject, Patch, PatchParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use serde_json::json;

use super::figures::Report;
use super::fleet::NAMESPACE;
use crate::resources::{config_maps, install_crds, kustomizations, namespace};
use crate::shapes;

const OBJECTS: usize = 1000;

/// Server-side applies a second at 1–64 connections, then the floor for `count` Kustomizations.
pub(super) async fn measure(report: &mut Report, server: Option<&Path>, count: usize) -> Result<()> {
    let path = server.context("`bench cluster` needs --server KUBECONFIG (see `cargo xtask cluster up`)")?;
    let config =
        kube::Config::from_custom_kubeconfig(Kubeconfig::read_from(path)?, &KubeConfigOptions::default())
            .await?;
    let client = Client::try_from(config)?;
    install_crds(&client).await?;
    namespace(&client, NAMESPACE).await?;
    report.begin("ceiling");
    let configs = config_maps(&client, NAMESPACE);
    for connections in [1, 4, 16, 64] {
        for (what, value) in [("creates", "0"), ("changes", "1"), ("no-ops", "1")] {
            let begun = Instant::now();
            apply_all(&configs, connections, value).await?;
            let rate = OBJECTS as f64 / begun.elapsed().as_secs_f64();
            report.note(format!("{what} at {connections} connections"), rate, "/s", None);
        }
        configs.delete_collection(&Default::default(), &Default::default()).await?;
    }
    floor(report, &client, count).await
}

async fn apply_all(configs: &Api<DynamicObject>, connections: usize, value: &str) -> Result<()> {
    stream::iter(0..OBJECTS)
        .map(|index| async move {
            let name = format!("ceiling-{connections}-{index}");
            let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"value": value}});
            configs.patch(&name, &PatchParams::apply("lab").force(), &Patch::Apply(&object)).await?;
            anyhow::Ok(())
        })
        .buffer_unordered(connections)
        .try_collect::<Vec<()>>()
        .await?;
    Ok(())
}

/// Finalizer, claim, four applies of ConfigMaps and a status for each, and nothing else.
async fn floor(report: &mut Report, client: &Client, count: usize) -> Result<()> {
    report.begin("floor");
    let all = kustomizations(client, NAMESPACE);
    let configs = config_maps(client, NAMESPACE);
    let objects: Vec<_> =
        (0..count).map(|index| shapes::kustomization(NAMESPACE, "none", "floor", "./app", index)).collect();
    let begun = Instant::now();
    super::fleet::create_all(&all, objects).await?;
    let (all, configs) = (&all, &configs);
    stream::iter(0..count)
        .map(|index| async move {
            let name = format!("floor-{index}");
            let merge = PatchParams::default();
            all.patch(&name, &merge, &Patch::Merge(json!({"metadata": {"finalizers": ["lab.sluice.dev/floor"]}}))).await?;
            all.patch_status(&name, &merge, &Patch::Merge(json!({"status": {"lastAttemptedRevision": "a"}}))).await?;
            for part in 0..4 {
                let name = format!("{name}-{part}");
                configs.get_metadata_opt(&name).await?;
                let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"a": "b"}});
                configs.patch(&name, &PatchParams::apply("lab").force(), &Patch::Apply(&object)).await?;
            }
            all.patch_status(&name, &merge, &Patch::Merge(json!({"status": {"lastAppliedRevision": "a"}}))).await?;
            all.patch(&name, &merge, &Patch::Merge(json!({"metadata": {"finalizers": null}}))).await?;
            anyhow::Ok(())
        })
        .buffer_unordered(64)
        .try_collect::<Vec<()>>()
        .await?;
    report.time(format!("the floor for {count} Kustomizations × 4 objects"), begun.elapsed(), None);
    all.delete_collection(&Default::default(), &Default::default()).await?;
    configs.delete_collection(&Default::default(), &Default::default()).await?;
    Ok(())
}
