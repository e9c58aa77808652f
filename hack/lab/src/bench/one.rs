//! One Kustomization of many objects.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::json;

use super::costs::Meter;
use super::figures::Report;
use super::fleet::{self, NAMESPACE};
use sluice_testkit::waiting::text;

use crate::resources::{apply, kustomizations, nudge, ready_at, repositories};
use crate::watching::Watching;
use crate::world::World;

const LIMIT: Duration = Duration::from_secs(600);

/// First sync of `count` ConfigMaps, a nudge with nothing changed, one changed.
pub(super) async fn measure(report: &mut Report, world: &World, count: usize) -> Result<()> {
    let manifests = |step: usize| {
        (0..count).fold(String::new(), |mut text, index| {
            let step = if index == count / 2 { step } else { 0 };
            // Writing into a String cannot fail.
            let _ = write!(text, "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: big-{index}}}\ndata: {{step: \"{step}\", index: \"{index}\"}}\n");
            text
        })
    };
    let (repository, commit) =
        fleet::repository(world, "big", &[("big/all.yaml", Some(&manifests(0)))]).await?;
    let all = kustomizations(&world.client, NAMESPACE);
    let big = json!({
        "apiVersion": "kustomize.toolkit.fluxcd.io/v1", "kind": "Kustomization",
        "metadata": {"name": "big", "namespace": NAMESPACE},
        "spec": {"interval": "1h", "prune": true, "wait": true, "timeout": "5m", "path": "./big", "targetNamespace": NAMESPACE,
                 "sourceRef": {"kind": "GitRepository", "name": "big"}},
    });
    let mut meter = Meter::start(world).await?;
    let watching = Watching::start(all.clone());
    let begun = Instant::now();
    apply(&all, "big", &big).await?;
    watching.until_one("big", LIMIT, |object| ready_at(object, &commit)).await?;
    report.time(
        format!("one Kustomization of {count} objects: first sync"),
        begun.elapsed(),
        Some(Duration::from_secs(5)),
    );
    meter.lap(report, world, "first sync").await?;

    let begun = Instant::now();
    nudge(&all, "big", "nothing").await?;
    watching
        .until_one("big", LIMIT, |object| text(object, "/status/lastHandledReconcileAt") == "nothing")
        .await?;
    report.time("… nudged, nothing changed", begun.elapsed(), Some(Duration::from_millis(300)));
    meter.lap(report, world, "nudge").await?;

    let commit = repository.commit("change one", &[("big/all.yaml", Some(&manifests(1)))])?;
    let begun = Instant::now();
    nudge(&repositories(&world.client, NAMESPACE), "big", "one").await?;
    watching.until_one("big", LIMIT, |object| ready_at(object, &commit)).await?;
    report.time("… one object changed, Ready again", begun.elapsed(), Some(Duration::from_millis(500)));
    meter.lap(report, world, "one object changed").await?;
    Ok(())
}
