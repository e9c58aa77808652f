//! Dependencies one after the other, and ending while passes wait.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::json;

use super::costs::Meter;
use super::figures::Report;
use super::fleet::{self, NAMESPACE, megabytes};
use crate::resources::{kustomizations, ready_at};
use crate::shapes;
use crate::watching::Watching;
use crate::world::World;

/// `count` Kustomizations, each depending on the one before.
pub(super) async fn measure(report: &mut Report, world: &World, count: usize) -> Result<()> {
    let (_, commit) = fleet::repository(world, "chain", &shapes::application()).await?;
    let all = kustomizations(&world.client, NAMESPACE);
    let objects = (0..count).map(|index| {
        let mut object = shapes::kustomization(NAMESPACE, "chain", "link", "./app", index);
        if let (Some(before), Some(spec)) = (index.checked_sub(1), object.get_mut("spec")) {
            spec["dependsOn"] = json!([{"name": format!("link-{before}")}]);
        }
        object
    });
    let watching = Watching::start(all.clone());
    let mut meter = Meter::start(world).await?;
    let begun = Instant::now();
    fleet::create_all(&all, objects.collect()).await?;
    watching.until(count, Duration::from_secs(900), |object| ready_at(object, &commit)).await?;
    report.time(
        format!("a chain of {count} dependsOn, all Ready"),
        begun.elapsed(),
        Some(Duration::from_millis(1500)),
    );
    meter.lap(report, world, "all Ready").await?;
    Ok(())
}

/// Memory before there is anything to do, and SIGTERM with `waiting` passes parked on health.
pub(super) async fn ending(report: &mut Report, world: &mut World, waiting: usize) -> Result<()> {
    report.note(
        "memory of idle source-controller",
        megabytes(world.source.process.usage().resident),
        "MB",
        Some(15.0),
    );
    report.note(
        "memory of idle kustomize-controller",
        megabytes(world.kustomize.process.usage().resident),
        "MB",
        Some(15.0),
    );
    fleet::repository(world, "ending", &shapes::application()).await?;
    let all = kustomizations(&world.client, NAMESPACE);
    let watching = Watching::start(all.clone());
    let objects =
        (0..waiting).map(|index| shapes::kustomization(NAMESPACE, "ending", "never", "./never", index));
    fleet::create_all(&all, objects.collect()).await?;
    watching
        .until(waiting, Duration::from_secs(120), |object| {
            object.data.pointer("/status/inventory/entries/0").is_some()
        })
        .await?;
    let begun = Instant::now();
    let status = world.kustomize.process.terminate(Duration::from_secs(60)).await?;
    report.time(
        format!("SIGTERM with {waiting} waiting → exit"),
        begun.elapsed(),
        Some(Duration::from_secs(1)),
    );
    ensure!(status.success(), "kustomize-controller ended with {status}");
    Ok(())
}
