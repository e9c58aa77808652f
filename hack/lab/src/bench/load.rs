//! Neighbours that never become ready, and one repository for everybody.

use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::json;

use super::costs::Meter;
use super::figures::Report;
use super::fleet::{self, NAMESPACE};
use sluice_testkit::waiting::text;

use crate::resources::{config_maps, kustomizations, nudge, ready_at, repositories};
use crate::shapes;
use crate::watching::Watching;
use crate::world::World;

const LIMIT: Duration = Duration::from_secs(900);

/// `healthy` Kustomizations alone, and again behind `never` that wait for what does not come.
pub(super) async fn stuck(report: &mut Report, world: &World, never: usize, healthy: usize) -> Result<()> {
    let (_, commit) = fleet::repository(world, "stuck", &shapes::application()).await?;
    let all = kustomizations(&world.client, NAMESPACE);
    let watching = Watching::start(all.clone());
    let make = |prefix: &str, path: &str, count: usize| {
        (0..count)
            .map(|index| shapes::kustomization(NAMESPACE, "stuck", prefix, path, index))
            .collect::<Vec<_>>()
    };
    let ready = |object: &kube::api::DynamicObject| ready_at(object, &commit);
    let mut meter = Meter::start(world).await?;
    let begun = Instant::now();
    fleet::create_all(&all, make("alone", "./app", healthy)).await?;
    watching.until(healthy, LIMIT, ready).await?;
    let alone = begun.elapsed();
    report.time(format!("{healthy} healthy alone"), alone, None);
    meter.lap(report, world, "alone").await?;
    let begun = Instant::now();
    fleet::create_all(&all, make("never", "./never", never)).await?;
    fleet::create_all(&all, make("behind", "./app", healthy)).await?;
    watching.until(2 * healthy, LIMIT, ready).await?;
    report.time(
        format!("{healthy} healthy behind {never} never ready"),
        begun.elapsed(),
        Some(alone.mul_f64(1.1)),
    );
    meter.lap(report, world, "behind never ready ones").await?;
    Ok(())
}

/// One repository with `count` directories and as many Kustomizations; then one directory changes.
pub(super) async fn mono(report: &mut Report, world: &World, count: usize) -> Result<()> {
    let config = |index: usize, step: usize| {
        let name = format!("mono-{index}");
        format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\ndata: {{step: \"{step}\"}}\n")
    };
    let files: Vec<(String, String)> =
        (0..count).map(|index| (format!("apps/{index}/config.yaml"), config(index, 0))).collect();
    let changes: Vec<(&str, Option<&str>)> =
        files.iter().map(|(path, content)| (path.as_str(), Some(content.as_str()))).collect();
    let (repository, commit) = fleet::repository(world, "mono", &changes).await?;
    let all = kustomizations(&world.client, NAMESPACE);
    let watching = Watching::start(all.clone());
    let objects = (0..count).map(|index| {
        json!({
            "apiVersion": "kustomize.toolkit.fluxcd.io/v1", "kind": "Kustomization",
            "metadata": {"name": format!("mono-{index}"), "namespace": NAMESPACE},
            "spec": {"interval": "1h", "prune": true, "path": format!("./apps/{index}"), "targetNamespace": NAMESPACE,
                     "sourceRef": {"kind": "GitRepository", "name": "mono"}},
        })
    });
    let mut meter = Meter::start(world).await?;
    let begun = Instant::now();
    fleet::create_all(&all, objects.collect()).await?;
    watching.until(count, LIMIT, |object| ready_at(object, &commit)).await?;
    report.time(
        format!("{count} directories, {count} Kustomizations: first sync"),
        begun.elapsed(),
        Some(Duration::from_secs(8)),
    );
    meter.lap(report, world, "first sync").await?;

    let changed = format!("mono-{}", count / 2);
    let path = format!("apps/{}/config.yaml", count / 2);
    let commit = repository.commit("change one", &[(&path, Some(&config(count / 2, 1)))])?;
    let configs = Watching::start(config_maps(&world.client, NAMESPACE));
    configs.until_one(&changed, LIMIT, |_| true).await?;
    let applied = configs.until_one(&changed, LIMIT, |object| text(object, "/data/step") == "1");
    let begun = Instant::now();
    let sources = repositories(&world.client, NAMESPACE);
    let (applied, asked) = tokio::join!(applied, nudge(&sources, "mono", "changed"));
    applied?;
    asked?;
    report.time("one directory changed → applied", begun.elapsed(), Some(Duration::from_millis(150)));
    watching.until(count, LIMIT, |object| ready_at(object, &commit)).await?;
    report.time("… all at the new revision", begun.elapsed(), Some(Duration::from_secs(2)));
    meter.lap(report, world, "one directory changed").await?;
    Ok(())
}
