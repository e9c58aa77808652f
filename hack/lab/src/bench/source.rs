//! A large repository: the first artifact, and a commit of one file.

use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::json;

use super::costs::Meter;
use super::figures::Report;
use super::fleet::{NAMESPACE, megabytes};
use sluice_testkit::waiting::{text, wait};

use crate::resources::{apply, namespace, nudge, repositories};
use crate::watching::Watching;
use crate::world::World;

const LIMIT: Duration = Duration::from_secs(300);
const FILES: usize = 2331;
const BYTES: usize = 209_000_000;
const COMMITS: usize = 5;

/// A repository of 209 MB that does not compress, in 2,331 files.
pub(super) async fn measure(report: &mut Report, world: &World, scale: f64) -> Result<()> {
    let (repository, url) = world.repository("large")?;
    let size = (BYTES as f64 * scale) as usize / FILES;
    let mut noise = Noise(0x9E37_79B9_7F4A_7C15);
    for index in 0..FILES {
        let folder = repository.work().join(format!("part-{:02}", index % 40));
        std::fs::create_dir_all(&folder)?;
        std::fs::write(folder.join(format!("{index}.bin")), noise.bytes(size))?;
    }
    let commit = repository.commit("large", &[("step.yaml", Some("step: 0\n"))])?;
    namespace(&world.client, NAMESPACE).await?;
    let sources = repositories(&world.client, NAMESPACE);
    let source = json!({
        "apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "GitRepository",
        "metadata": {"name": "large", "namespace": NAMESPACE},
        "spec": {"interval": "1h", "timeout": "5m", "url": url, "ref": {"branch": "main"}},
    });
    let mut meter = Meter::start(world).await?;
    let begun = Instant::now();
    apply(&sources, "large", &source).await?;
    wait(&sources, "large", LIMIT, |object| text(object, "/status/artifact/revision").ends_with(&commit))
        .await?;
    report.time(
        format!("{} MB, {FILES} files: first artifact", size * FILES / 1_000_000),
        begun.elapsed(),
        Some(Duration::from_secs(3)),
    );
    meter.lap(report, world, "first artifact").await?;
    let watching = Watching::start(sources.clone());
    let mut latencies = Vec::new();
    for step in 1..=COMMITS {
        let commit = repository.commit("one file", &[("step.yaml", Some(&format!("step: {step}\n")))])?;
        let begun = Instant::now();
        nudge(&sources, "large", &format!("step-{step}")).await?;
        watching
            .until_one("large", LIMIT, |object| text(object, "/status/artifact/revision").ends_with(&commit))
            .await?;
        latencies.push(begun.elapsed());
    }
    report.percentiles(
        "one-file commit → new artifact",
        latencies,
        Duration::from_millis(400),
        Duration::from_millis(400),
    );
    meter.lap(report, world, "one-file commits").await?;
    let usage = world.source.process.usage();
    report.note("peak memory of source-controller", megabytes(usage.peak), "MB", Some(60.0));
    Ok(())
}

/// Bytes that do not compress, the same in every run (xorshift).
struct Noise(u64);

impl Noise {
    fn bytes(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(count + 8);
        while bytes.len() < count {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            bytes.extend_from_slice(&self.0.to_le_bytes());
        }
        bytes.truncate(count);
        bytes
    }
}
