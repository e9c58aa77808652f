//! Many Kustomizations of four objects: first sync, nudge, a quiet visit, a restart.

use std::time::{Duration, Instant};

use anyhow::Result;
use futures::{StreamExt, TryStreamExt, stream};
use kube::api::{Api, DynamicObject, Patch, PatchParams, PostParams};
use serde_json::json;

use super::costs::Meter;
use super::figures::Report;
use sluice_testkit::waiting::{text, wait};

use crate::resources::{apply, kustomizations, namespace, nudge, ready_at, repositories};
use crate::shapes;
use crate::watching::Watching;
use crate::world::World;

pub(crate) const NAMESPACE: &str = "bench";
const LIMIT: Duration = Duration::from_secs(900);
const CLIENTS: usize = 32;

/// Creates the source and waits for its artifact; gives the commit.
pub(crate) async fn repository(
    world: &World,
    name: &str,
    files: &[(&str, Option<&str>)],
) -> Result<(sluice_testkit::Repository, String)> {
    let (repository, url) = world.repository(name)?;
    let commit = repository.commit("first", files)?;
    namespace(&world.client, NAMESPACE).await?;
    let sources = repositories(&world.client, NAMESPACE);
    let source = json!({
        "apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "GitRepository",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {"interval": "1h", "url": url, "ref": {"branch": "main"}},
    });
    apply(&sources, name, &source).await?;
    wait(&sources, name, LIMIT, |object| text(object, "/status/artifact/revision").ends_with(&commit))
        .await?;
    Ok((repository, commit))
}

/// Creates objects as fast as the server takes them.
pub(crate) async fn create_all(api: &Api<DynamicObject>, objects: Vec<serde_json::Value>) -> Result<()> {
    stream::iter(objects)
        .map(|object| async move {
            let object: DynamicObject = serde_json::from_value(object)?;
            api.create(&PostParams::default(), &object).await?;
            anyhow::Ok(())
        })
        .buffer_unordered(CLIENTS)
        .try_collect::<Vec<()>>()
        .await?;
    Ok(())
}

/// One Kustomization ahead of the fleet and of its shape. What the process asks once for all, to discover kinds, to learn
/// its rights and to begin watches, is counted here, so that the fleet's requests are those of its objects.
async fn first(report: &mut Report, world: &World, all: &Api<DynamicObject>, commit: &str) -> Result<()> {
    let object = shapes::kustomization(NAMESPACE, "fleet", "first", "./app", 0);
    create_all(all, vec![object]).await?;
    wait(all, "first-0", LIMIT, |object| ready_at(object, commit)).await?;
    let (requests, _) = settled(world).await?;
    report.note("API requests from the start until a first one is Ready", requests as f64, "", None);
    Ok(())
}

fn of_fleet(object: &DynamicObject) -> bool {
    object.metadata.name.as_deref().is_some_and(|name| name.starts_with("app-"))
}

/// Measures a fleet of `count` Kustomizations.
pub(crate) async fn measure(report: &mut Report, world: &mut World, count: usize) -> Result<()> {
    let (_, commit) = repository(world, "fleet", &shapes::application()).await?;
    let all = kustomizations(&world.client, NAMESPACE);
    let seconds = |seconds: u64| Duration::from_secs(seconds);
    first(report, world, &all, &commit).await?;

    let before = (world.kustomize.process.usage(), requests(world).await?);
    let mut meter = Meter::start(world).await?;
    let watching = Watching::start(all.clone());
    let begun = Instant::now();
    create_all(
        &all,
        (0..count).map(|index| shapes::kustomization(NAMESPACE, "fleet", "app", "./app", index)).collect(),
    )
    .await?;
    watching.until(count, LIMIT, |object| of_fleet(object) && ready_at(object, &commit)).await?;
    let took = begun.elapsed();
    meter.lap(report, world, "first sync").await?;
    let floor = report.floors.map(|floors| floors.fleet);
    report.time_over(format!("{count} Kustomizations × 4 objects, all Ready"), took, seconds(20), floor);
    let ready = world.kustomize.process.usage();
    // Events follow; what comes next shall not be measured together with them.
    settled(world).await?;
    meter.lap(report, world, "Events behind it").await?;
    let after = (world.kustomize.process.usage(), requests(world).await?);
    let each = |total: f64| total / count as f64;
    let milliseconds = |span: Duration| each(span.as_secs_f64() * 1e3);
    let events = after.1.1 - before.1.1;
    report.note(
        "API requests each, without Events",
        each((after.1.0 - before.1.0 - events) as f64),
        "",
        Some(11.0),
    );
    report.note("Events each", each(events as f64), "", None);
    report.note("CPU each until all are Ready", milliseconds(ready.cpu - before.0.cpu), "ms", Some(5.0));
    report.note("CPU each with the last Event", milliseconds(after.0.cpu - before.0.cpu), "ms", None);
    report.note("peak memory of kustomize-controller", megabytes(after.0.peak), "MB", Some(60.0));
    report.note(
        "peak memory of source-controller",
        megabytes(world.source.process.usage().peak),
        "MB",
        Some(25.0),
    );

    let before = (world.kustomize.process.usage(), requests(world).await?, world.kustomize.reads().await?);
    meter.skip(world).await?;
    let begun = Instant::now();
    let token = "nudge-1";
    let api = &all;
    stream::iter(0..count)
        .map(|index| async move { nudge(api, &format!("app-{index}"), token).await })
        .buffer_unordered(CLIENTS)
        .try_collect::<Vec<()>>()
        .await?;
    watching.until(count, LIMIT, |object| text(object, "/status/lastHandledReconcileAt") == token).await?;
    let (took, floor) = (begun.elapsed(), report.floors.map(|floors| floors.nudge));
    report.time_over(format!("{count} nudged, nothing changed, all answered"), took, seconds(4), floor);
    // Events follow the answers; they are counted once the queue is silent.
    settled(world).await?;
    meter.lap(report, world, "nudge, with Events").await?;
    let after = (world.kustomize.process.usage(), requests(world).await?, world.kustomize.reads().await?);
    // An answer reads nothing; watches are renewed every few minutes, whatever goes on.
    let reads = after.2 - before.2;
    let writes = after.1.0 - before.1.0 - reads;
    report.note("API requests each that write, with Events", each(writes as f64), "", Some(2.0));
    report.note("API requests of all of them together that read", reads as f64, "", None);
    report.note("Events each", each((after.1.1 - before.1.1) as f64), "", Some(1.0));
    report.note("CPU each", milliseconds(after.0.cpu - before.0.cpu), "ms", None);

    meter.skip(world).await?;
    let begun = Instant::now();
    world.restart_kustomize().await?;
    meter.restarted();
    let (total, silent) = settled(world).await?;
    meter.lap(report, world, "restart").await?;
    report.time("restart: processes up and silent again", silent - begun, Some(seconds(3)));
    report.note("API requests after the restart", total as f64, "", None);
    visits(report, world, &all, count).await
}

/// Has everybody visited every few seconds, and counts what the visits cost.
async fn visits(report: &mut Report, world: &World, all: &Api<DynamicObject>, count: usize) -> Result<()> {
    let often = json!({"spec": {"interval": "5s"}});
    stream::iter(0..count)
        .map(|index| {
            let often = &often;
            async move {
                all.patch(&format!("app-{index}"), &PatchParams::default(), &Patch::Merge(often)).await
            }
        })
        .buffer_unordered(CLIENTS)
        .try_collect::<Vec<_>>()
        .await?;
    // The change of the interval itself is a pass that writes; the visits that follow are silent.
    settled(world).await?;
    let now = || async {
        let controller = &world.kustomize;
        let usage = controller.process.usage();
        anyhow::Ok((controller.quiet_visits().await?, controller.requests().await?, usage.cpu))
    };
    let before = now().await?;
    let mut after = before;
    let mut ticks = tokio::time::interval(Duration::from_millis(500));
    let begun = Instant::now();
    while after.0 - before.0 < 3 * count as u64 && begun.elapsed() < LIMIT {
        ticks.tick().await;
        after = now().await?;
    }
    let visits = (after.0 - before.0).max(1) as f64;
    report.note("interval visits", visits, "", None);
    report.note("API requests of all of them together", (after.1 - before.1) as f64, "", Some(0.0));
    report.note("CPU each visit", (after.2 - before.2).as_secs_f64() * 1e3 / visits, "ms", None);
    Ok(())
}

/// Requests so far, and how many of them wrote an Event.
async fn requests(world: &World) -> Result<(u64, u64)> {
    Ok((world.kustomize.requests().await?, world.kustomize.events().await?))
}

const QUIET: Duration = Duration::from_secs(2);

/// Waits until kustomize-controller has made no request for a while; gives its count and when it fell silent.
pub(crate) async fn settled(world: &World) -> Result<(u64, Instant)> {
    let mut ticks = tokio::time::interval(Duration::from_millis(100));
    let (mut last, mut since) = (world.kustomize.requests().await?, Instant::now());
    loop {
        ticks.tick().await;
        let now = world.kustomize.requests().await?;
        if now != last {
            (last, since) = (now, Instant::now());
        } else if since.elapsed() >= QUIET {
            return Ok((now, since));
        }
    }
}

pub(crate) fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}
