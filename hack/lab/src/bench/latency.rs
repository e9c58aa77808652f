//! From a push, or a hand edit, to the cluster.

use std::time::{Duration, Instant};

use anyhow::Result;
use futures::{StreamExt, stream};
use kube::api::{DynamicObject, Patch, PatchParams};
use serde_json::json;

use super::costs::Meter;
use super::figures::Report;
use super::fleet::{self, NAMESPACE};
use sluice_testkit::waiting::{condition_text, text, wait};

use crate::resources::{MANAGER, apply, config_maps, kustomizations, nudge, ready_at, repositories};
use crate::shapes;
use crate::watching::Watching;
use crate::world::World;

const LIMIT: Duration = Duration::from_secs(120);
/// More in a row would measure the back-off that answers whoever keeps changing an object back.
const EDITS: usize = 5;

/// `pushes` commits one after the other, then half of them while `others` Kustomizations reconcile, then hand edits.
pub(super) async fn measure(report: &mut Report, world: &World, pushes: usize, others: usize) -> Result<()> {
    let (repository, commit) = fleet::repository(world, "probe", &shapes::application()).await?;
    let appliers = kustomizations(&world.client, NAMESPACE);
    let probe = json!({
        "apiVersion": "kustomize.toolkit.fluxcd.io/v1", "kind": "Kustomization",
        "metadata": {"name": "probe", "namespace": NAMESPACE},
        "spec": {"interval": "1h", "prune": true, "path": "./probe", "targetNamespace": NAMESPACE,
                 "sourceRef": {"kind": "GitRepository", "name": "probe"}},
    });
    apply(&appliers, "probe", &probe).await?;
    wait(&appliers, "probe", LIMIT, |object| ready_at(object, &commit)).await?;

    // Begun before anything is measured: no latency holds the start of a watch.
    let configs = Watching::start(config_maps(&world.client, NAMESPACE));
    let configs = &configs;
    let push = async |step: usize| {
        let content = format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: probe}}\ndata: {{step: \"{step}\"}}\n"
        );
        repository.commit(&format!("step {step}"), &[("probe/probe.yaml", Some(&content))])?;
        let wanted = step.to_string();
        let sources = repositories(&world.client, NAMESPACE);
        let applied = configs.until_one("probe", LIMIT, |object| text(object, "/data/step") == wanted);
        let begun = Instant::now();
        let token = format!("push-{step}");
        let (applied, asked) = tokio::join!(applied, nudge(&sources, "probe", &token));
        applied?;
        asked?;
        anyhow::Ok(begun.elapsed())
    };
    let millis = Duration::from_millis;
    let mut meter = Meter::start(world).await?;
    let mut latencies = Vec::new();
    for step in 1..=pushes {
        latencies.push(push(step).await?);
    }
    report.percentiles("push → object changed", latencies, millis(70), millis(150));

    meter.lap(report, world, "pushes").await?;
    let mut repairs = Vec::new();
    let probes = config_maps(&world.client, NAMESPACE);
    let right = pushes.to_string();
    for edit in 0..EDITS.min(pushes) {
        let parameters = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
        let begun = Instant::now();
        let edited = probes
            .patch("probe", &parameters, &Patch::Merge(json!({"data": {"step": format!("by hand {edit}")}})))
            .await?;
        // The answer may be there before the watch has told of the edit.
        let repaired = |object: &DynamicObject| {
            text(object, "/data/step") == right && version(object) > version(&edited)
        };
        configs.until_one("probe", LIMIT, repaired).await?;
        repairs.push(begun.elapsed());
    }
    report.percentiles("hand edit → repaired", repairs, millis(250), millis(500));

    meter.lap(report, world, "hand edits").await?;
    let objects =
        (0..others).map(|index| shapes::kustomization(NAMESPACE, "probe", "app", "./app", index)).collect();
    fleet::create_all(&appliers, objects).await?;
    let busy = Watching::start(appliers.clone());
    busy.until(others, Duration::from_secs(900), |object| {
        condition_text(object, "Ready", "status") == "True"
    })
    .await?;
    // To read what the storm does would only take the machine's time.
    drop(busy);
    meter.skip(world).await?;
    let api = &appliers;
    let storm = async {
        for round in 0.. {
            let token = format!("storm-{round}");
            let token = token.as_str();
            stream::iter(0..others)
                .for_each_concurrent(8, |index| async move {
                    // A nudge that fails only makes the storm a little weaker.
                    nudge(api, &format!("app-{index}"), token).await.ok();
                })
                .await;
        }
    };
    let measured = async {
        let mut latencies = Vec::new();
        for step in pushes + 1..=pushes + pushes.div_ceil(2) {
            latencies.push(push(step).await?);
        }
        anyhow::Ok(latencies)
    };
    let latencies = tokio::select! {
        latencies = measured => latencies?,
        () = storm => Vec::new(),
    };
    report.percentiles(&format!("push while {others} others reconcile"), latencies, millis(150), millis(500));
    meter.lap(report, world, "pushes under load").await?;
    Ok(())
}

/// Where an object stands in the order of its changes.
fn version(object: &DynamicObject) -> u64 {
    object.metadata.resource_version.as_deref().and_then(|version| version.parse().ok()).unwrap_or_default()
}
