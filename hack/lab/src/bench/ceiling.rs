//! The server's own ceiling: server-side applies a second, over one connection and over many.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use anyhow::{Context, Result};
use futures::future::try_join_all;
use kube::Client;
use kube::api::{Patch, PatchParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use serde_json::json;

use super::figures::Report;
use super::fleet::NAMESPACE;
use crate::clearing::clear;
use crate::resources::config_maps;

const CONNECTIONS: [usize; 4] = [1, 4, 16, 64];

/// Clients with a connection each.
pub(super) async fn clients(kubeconfig: &Path, count: usize) -> Result<Vec<Client>> {
    let kubeconfig = Kubeconfig::read_from(kubeconfig)?;
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    (0..count).map(|_| Client::try_from(config.clone()).context("making a client")).collect()
}

/// Carries out `work` for each number below `count`, every client one after the other.
pub(super) async fn share<F>(clients: &[Client], count: usize, work: F) -> Result<()>
where
    F: AsyncFn(&Client, usize) -> Result<()>,
{
    let next = AtomicUsize::new(0);
    let one = async |client: &Client| {
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            if index >= count {
                return anyhow::Ok(());
            }
            work(client, index).await?;
        }
    };
    try_join_all(clients.iter().map(one)).await?;
    Ok(())
}

/// Creates, changes and no-ops of `count` ConfigMaps at each number of connections.
pub(super) async fn measure(report: &mut Report, kubeconfig: &Path, count: usize) -> Result<()> {
    report.begin("ceiling");
    for connections in CONNECTIONS {
        let clients = clients(kubeconfig, connections).await?;
        for (what, step) in [("creates", "0"), ("changes", "1"), ("no-ops", "1")] {
            let begun = Instant::now();
            share(&clients, count, async |client, index| {
                apply(client, &format!("ceiling-{connections}-{index}"), step).await
            })
            .await?;
            let rate = count as f64 / begun.elapsed().as_secs_f64();
            report.note(format!("{what} at {connections} connections"), rate, "/s", None);
        }
        if let Some(client) = clients.first() {
            clear(client, NAMESPACE).await?;
        }
    }
    Ok(())
}

/// A ConfigMap of the size that configuration usually has.
async fn apply(client: &Client, name: &str, step: &str) -> Result<()> {
    let object = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "labels": {"app": "x"}},
        "data": {"a": "x".repeat(500), "v": step},
    });
    let parameters = PatchParams::apply("lab").force();
    config_maps(client, NAMESPACE).patch(name, &parameters, &Patch::Apply(&object)).await?;
    Ok(())
}
