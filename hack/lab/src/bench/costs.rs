//! What a phase cost: CPU, memory and API requests of each controller, and what the server spent and wrote.

use std::time::Instant;

use anyhow::Result;
use serde::Serialize;
use sluice_testkit::process::Usage;

use super::figures::Report;
use super::fleet::megabytes;
use crate::world::{Controller, World};

/// One row of the table of phases.
#[derive(Serialize)]
pub(crate) struct Phase {
    pub(super) scenario: String,
    pub(super) name: String,
    pub(super) seconds: f64,
    pub(super) kustomize_controller: Share,
    pub(super) source_controller: Share,
    /// Absent on the embedded API.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) server: Option<ServerShare>,
}

/// What a controller had of it.
#[derive(Serialize)]
pub(crate) struct Share {
    pub(super) cpu_seconds: f64,
    pub(super) memory_mb: f64,
    pub(super) requests: u64,
}

/// What kube-apiserver had of it.
#[derive(Serialize)]
pub(crate) struct ServerShare {
    pub(super) cpu_seconds: f64,
    pub(super) memory_mb: f64,
    pub(super) etcd_writes: u64,
}

/// Totals at one moment.
#[derive(Clone, Copy)]
struct Totals {
    at: Instant,
    kustomize: (Usage, u64),
    source: (Usage, u64),
    server: Option<Server>,
}

/// What kube-apiserver tells of itself.
#[derive(Clone, Copy, Default, Debug, PartialEq)]
struct Server {
    cpu: f64,
    resident: f64,
    writes: f64,
}

/// Measures one phase after the other.
pub(crate) struct Meter(Totals);

impl Meter {
    /// Begins the first phase.
    pub(crate) async fn start(world: &World) -> Result<Self> {
        Ok(Self(totals(world).await?))
    }

    /// Begins a phase now, leaving what went on since the last one to nobody.
    pub(crate) async fn skip(&mut self, world: &World) -> Result<()> {
        self.0 = totals(world).await?;
        Ok(())
    }

    /// A new process of kustomize-controller counts from nothing.
    pub(crate) fn restarted(&mut self) {
        self.0.kustomize = (Usage::default(), 0);
    }

    /// Ends a phase and begins the next.
    pub(crate) async fn lap(&mut self, report: &mut Report, world: &World, name: &str) -> Result<()> {
        let (before, after) = (self.0, totals(world).await?);
        let share = |before: (Usage, u64), after: (Usage, u64)| Share {
            cpu_seconds: after.0.cpu.saturating_sub(before.0.cpu).as_secs_f64(),
            memory_mb: megabytes(after.0.resident),
            requests: after.1.saturating_sub(before.1),
        };
        let server = before.server.zip(after.server).map(|(before, after)| ServerShare {
            cpu_seconds: after.cpu - before.cpu,
            memory_mb: after.resident / 1e6,
            etcd_writes: (after.writes - before.writes) as u64,
        });
        report.phase(Phase {
            scenario: String::new(),
            name: name.to_owned(),
            seconds: after.at.duration_since(before.at).as_secs_f64(),
            kustomize_controller: share(before.kustomize, after.kustomize),
            source_controller: share(before.source, after.source),
            server,
        });
        self.0 = after;
        Ok(())
    }
}

async fn totals(world: &World) -> Result<Totals> {
    let of = async |controller: &Controller| {
        anyhow::Ok((controller.process.usage(), controller.requests().await.unwrap_or_default()))
    };
    let at = Instant::now();
    let page = world.server_metrics().await?;
    Ok(Totals {
        at,
        kustomize: of(&world.kustomize).await?,
        source: of(&world.source).await?,
        server: page.map(|page| read(&page)),
    })
}

/// Reads the figures from a page of metrics.
fn read(page: &str) -> Server {
    let mut found = Server::default();
    for line in page.lines() {
        let Some((name, value)) = line.rsplit_once(' ') else { continue };
        let value = || value.parse::<f64>().unwrap_or_default();
        match name {
            "process_cpu_seconds_total" => found.cpu = value(),
            "process_resident_memory_bytes" => found.resident = value(),
            name if is_write(name) => found.writes += value(),
            _ => {}
        }
    }
    found
}

fn is_write(series: &str) -> bool {
    let writes = ["create", "update", "delete"];
    series.starts_with("etcd_requests_total{")
        && writes.iter().any(|write| series.contains(&format!("operation=\"{write}\"")))
}

/// A phase as a line of the table.
pub(super) fn row(phase: &Phase) -> String {
    let share =
        |share: &Share| format!("{:>8.2} {:>6.0} {:>8}", share.cpu_seconds, share.memory_mb, share.requests);
    let server = match &phase.server {
        Some(server) => {
            format!("{:>8.2} {:>6.0} {:>8}", server.cpu_seconds, server.memory_mb, server.etcd_writes)
        }
        None => String::new(),
    };
    let name = format!("{}: {}", phase.scenario, phase.name);
    format!(
        "{name:<34} {:>8.2} |{} |{} |{server}",
        phase.seconds,
        share(&phase.kustomize_controller),
        share(&phase.source_controller)
    )
}

/// What stands above the rows.
pub(super) fn head() -> String {
    let columns = format!("{:>8} {:>6} {:>8}", "CPU s", "MB", "requests");
    let server = format!("{:>8} {:>6} {:>8}", "CPU s", "MB", "writes");
    format!(
        "{:<34} {:>8} |{:<24} |{:<24} | kube-apiserver, etcd\n{:<34} {:>8} |{columns} |{columns} |{server}",
        "phases", "", " kustomize-controller", " source-controller", "", "s"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_are_told_from_reads() {
        let page = "# TYPE etcd_requests_total counter\n\
            etcd_requests_total{operation=\"create\",resource=\"configmaps\"} 3\n\
            etcd_requests_total{operation=\"update\",resource=\"configmaps\"} 4\n\
            etcd_requests_total{operation=\"get\",resource=\"configmaps\"} 50\n\
            process_cpu_seconds_total 1.5\nprocess_resident_memory_bytes 2e+06\n";
        assert_eq!(read(page), Server { cpu: 1.5, resident: 2e6, writes: 7.0 });
    }
}
