//! The floor: the requests that any API-compatible controller must make for a fleet, and nothing else.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use kube::Client;
use kube::api::{Api, DynamicObject, Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use sluice_manifest::{Object, read_objects, yaml::Limits};
use sluice_testkit::waiting::{kind, objects};

use super::ceiling::{clients, share};
use super::figures::Report;
use super::fleet::{self, NAMESPACE};
use crate::clearing::clear;
use crate::resources::{kustomizations, nudge};
use crate::shapes;

const CLIENTS: usize = 32;
const EVENTS: usize = 3;

/// How long the server alone takes.
#[derive(Clone, Copy)]
pub(crate) struct Floors {
    /// Until a fleet is applied.
    pub(super) fleet: Duration,
    /// Until each of a fleet was asked to reconcile and has answered that nothing changed.
    pub(super) nudge: Duration,
}

/// For each of `count` Kustomizations: finalizer, claim, four looks, four applies, a status and three Events; then the
/// annotation of a nudge and the status that answers it.
pub(super) async fn measure(report: &mut Report, kubeconfig: &Path, count: usize) -> Result<Floors> {
    report.begin("floor");
    let clients = clients(kubeconfig, CLIENTS).await?;
    let first = clients.first().context("no client")?;
    let all = kustomizations(first, NAMESPACE);
    let objects =
        (0..count).map(|index| shapes::kustomization(NAMESPACE, "none", "floor", "./app", index)).collect();
    fleet::create_all(&all, objects).await?;
    let begun = Instant::now();
    share(&clients, count, async |client, index| one(client, index).await).await?;
    let fleet = begun.elapsed();
    report.time(format!("{count} Kustomizations × 4 objects, as fast as the server takes it"), fleet, None);
    let begun = Instant::now();
    share(&clients, count, async |client, index| answered(client, &floor_name(index)).await).await?;
    let nudge = begun.elapsed();
    report.time(format!("{count} nudges and answers, as fast as the server takes them"), nudge, None);
    clear(first, NAMESPACE).await?;
    Ok(Floors { fleet, nudge })
}

fn floor_name(index: usize) -> String {
    format!("floor-{index}")
}

/// Asked to reconcile, and answered; no Event, because those follow when there is time.
async fn answered(client: &Client, name: &str) -> Result<()> {
    let all = kustomizations(client, NAMESPACE);
    nudge(&all, name, "asked").await?;
    let answer = json!({"status": {"lastHandledReconcileAt": "asked"}});
    all.patch_status(name, &PatchParams::default(), &Patch::Merge(answer)).await?;
    Ok(())
}

async fn one(client: &Client, index: usize) -> Result<()> {
    let name = floor_name(index);
    let all = kustomizations(client, NAMESPACE);
    let merge = PatchParams::default();
    let status = async |ready: &str| all.patch_status(&name, &merge, &Patch::Merge(status_of(ready))).await;
    let finalizer = json!({"metadata": {"finalizers": ["lab.sluice.dev/floor"]}});
    all.patch(&name, &merge, &Patch::Merge(finalizer)).await?;
    status("Unknown").await?;
    let text = shapes::APPLICATION.replace("${INDEX}", &name).replace("${MCPU}", "10m");
    for object in read_objects(&text, "app.yaml", Limits::default())? {
        let api = api_of(client, &object)?;
        api.get_metadata_opt(object.name()).await?;
        let parameters = PatchParams::apply("kustomize-controller").force();
        api.patch(object.name(), &parameters, &Patch::Apply(object.value())).await?;
    }
    status("True").await?;
    let events = objects(client, &kind("v1", "Event", "events"), NAMESPACE);
    for _ in 0..EVENTS {
        let event = json!({
            "apiVersion": "v1", "kind": "Event", "metadata": {"generateName": format!("{name}-")}, "reason": "x",
            "involvedObject": {"kind": "Kustomization", "name": name, "namespace": NAMESPACE}, "message": "y", "type": "Normal",
        });
        events.create(&PostParams::default(), &serde_json::from_value(event)?).await?;
    }
    Ok(())
}

fn status_of(ready: &str) -> Value {
    let entries = ["_ServiceAccount", "_Service", "apps_Deployment", "networking.k8s.io_Ingress"];
    let entries = entries.map(|kind| json!({"id": format!("{NAMESPACE}_a_{kind}"), "v": "v1"}));
    json!({"status": {"observedGeneration": 1, "inventory": {"entries": entries}, "conditions": [
        {"type": "Ready", "status": ready, "reason": "ReconciliationSucceeded", "message": "Applied revision",
         "lastTransitionTime": "2026-01-01T00:00:00Z"},
    ]}})
}

fn api_of(client: &Client, object: &Object) -> Result<Api<DynamicObject>> {
    let plural = match object.kind() {
        "ServiceAccount" => "serviceaccounts",
        "Service" => "services",
        "Deployment" => "deployments",
        "Ingress" => "ingresses",
        other => anyhow::bail!("the application has no {other}"),
    };
    Ok(objects(client, &kind(object.api_version(), object.kind(), plural), NAMESPACE))
}
