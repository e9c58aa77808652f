//! Measured scenarios: both controllers as separate processes, figures as a table and as JSON.
//!
//! Figures of the embedded API tell whether the controllers changed; only those of a real server compare with Flux's.

mod ceiling;
mod chain;
mod costs;
mod figures;
mod fleet;
mod floor;
mod latency;
mod load;
mod one;
mod source;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::ValueEnum;
use sluice_testkit::Workloads;

use crate::clearing::clear;
use crate::resources::{install_crds, namespace};
use crate::world::{Options, World};
use figures::Report;

/// `cargo xtask bench …`
#[derive(clap::Args)]
pub(crate) struct Args {
    /// `loop`, or `cluster` for a real server with its own ceiling measured first
    #[arg(value_enum)]
    suite: Suite,
    /// Run on the server of this kubeconfig instead of the embedded API
    #[arg(long, value_name = "KUBECONFIG")]
    server: Option<PathBuf>,
    /// Only these scenarios
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Scenario>,
    /// Share of the full numbers of objects
    #[arg(long, default_value_t = 1.0)]
    scale: f64,
    /// `--concurrent` of both controllers
    #[arg(long, default_value_t = 20)]
    concurrent: u16,
    /// Also write the figures to this file as JSON
    #[arg(long)]
    json: Option<PathBuf>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Suite {
    /// The loop's figures
    Loop,
    /// The server's ceiling and floor, then the loop's figures
    Cluster,
}

/// One thing that is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Scenario {
    /// Kustomizations created at once, nudged, left alone, and over a restart
    Fleet,
    /// A push on an idle system, by hand-edit and while others reconcile
    Latency,
    /// A line of dependencies
    Chain,
    /// Never-ready ones ahead of healthy ones
    Stuck,
    /// One repository with a directory per Kustomization
    Mono,
    /// A large repository
    Source,
    /// One Kustomization of many objects
    Big,
    /// Memory of idle controllers, and ending while passes wait
    Idle,
}

/// Carries out `cargo xtask bench …`.
pub(crate) async fn run(args: Args) -> Result<()> {
    let mut report = Report::new(args.server.is_some(), args.concurrent);
    let scenarios = if args.only.is_empty() { Scenario::value_variants() } else { &args.only };
    let scaled = |full: usize| ((full as f64 * args.scale) as usize).max(1);
    let server = match args.suite {
        Suite::Loop => args.server.as_deref(),
        Suite::Cluster => {
            let server = args.server.as_deref();
            let server =
                server.context("`bench cluster` needs --server KUBECONFIG (see `cargo xtask cluster up`)")?;
            prepare(server).await?;
            ceiling::measure(&mut report, server, scaled(2000)).await?;
            report.floors = Some(floor::measure(&mut report, server, scaled(1000)).await?);
            Some(server)
        }
    };
    for scenario in scenarios {
        // Each scenario begins with processes that remember nothing.
        let options =
            Options { server: server.map(PathBuf::from), concurrent: args.concurrent, log_level: "error" };
        let mut world = World::start(options).await?;
        let _workloads = Workloads::start(world.client.clone());
        report.begin(&format!("{scenario:?}").to_lowercase());
        match scenario {
            Scenario::Fleet => fleet::measure(&mut report, &mut world, scaled(1000)).await?,
            Scenario::Latency => latency::measure(&mut report, &world, scaled(200), scaled(1000)).await?,
            Scenario::Chain => chain::measure(&mut report, &world, scaled(20)).await?,
            Scenario::Stuck => load::stuck(&mut report, &world, scaled(40), scaled(300)).await?,
            Scenario::Mono => load::mono(&mut report, &world, scaled(500)).await?,
            Scenario::Source => source::measure(&mut report, &world, args.scale).await?,
            Scenario::Big => one::measure(&mut report, &world, scaled(5000)).await?,
            Scenario::Idle => chain::ending(&mut report, &mut world, 20).await?,
        }
        report.git(&world.git);
        let (client, server) = (world.client.clone(), server.is_some());
        drop(world);
        if server {
            clear(&client, fleet::NAMESPACE).await?;
        }
    }
    report.print();
    if let Some(path) = &args.json {
        report.write(path)?;
    }
    Ok(())
}

/// The definitions and an empty namespace.
async fn prepare(server: &Path) -> Result<()> {
    let client = crate::world::client(server).await?;
    install_crds(&client).await?;
    namespace(&client, fleet::NAMESPACE).await?;
    clear(&client, fleet::NAMESPACE).await
}
