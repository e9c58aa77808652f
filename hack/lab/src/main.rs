//! The laboratory: the demo, the benchmarks, and real API servers on loopback.
//!
//! Never part of what is installed, and never talks to anything but loopback unless a kubeconfig is named;
//! only `cargo xtask` may call it.

mod bench;
mod clearing;
mod cluster;
mod demo;
mod install;
mod resources;
mod shapes;
mod watching;
mod world;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask")]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// A real kube-apiserver with etcd, controller-manager, scheduler and simulated nodes, on loopback
    Cluster(cluster::Args),
    /// Measured scenarios
    Bench(bench::Args),
    /// The main job, shown on an embedded API
    Demo(demo::Args),
}

#[tokio::main]
async fn main() -> ExitCode {
    if rustls::crypto::aws_lc_rs::default_provider().install_default().is_err() {
        eprintln!("error: a TLS provider was installed before the program began");
        return ExitCode::FAILURE;
    }
    let outcome = match Args::parse().command {
        Command::Bench(args) => bench::run(args).await,
        Command::Cluster(args) => cluster::run(args).await,
        Command::Demo(args) => demo::run(args).await,
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
