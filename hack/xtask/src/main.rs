//! Developer commands, run as `cargo xtask COMMAND`.
//!
//! Never part of what is installed; may be called by people and by CI only. Kept light, so that it builds
//! in seconds: what needs an API client lives in `sluice-lab` and `sluice-gen` and is started from here.

mod conform;
mod run;
mod tidy;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Sluice's developer commands")]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Start everything on the embedded API and show a commit travel from Git to the cluster
    Demo {
        /// Flags of the demo; `--help` lists them
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        flags: Vec<String>,
    },
    /// Measure; figures are printed as a table and as JSON
    Bench {
        /// The scenario and its flags; `--help` lists them
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        flags: Vec<String>,
    },
    /// Bring up or stop a real kube-apiserver with etcd on loopback
    Cluster {
        /// `up`, `down` or `status`, and flags; `--help` lists them
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        flags: Vec<String>,
    },
    /// Check the rules that the compiler does not: floors, purity, file sizes, charters
    Tidy,
    /// Write the files that are generated from code (CRDs, RBAC, flag and metric pages)
    Gen {
        /// Only compare, and fail when a file is out of date
        #[arg(long)]
        check: bool,
    },
    /// Run recorded cases against the engines
    Conform {
        /// `envsubst` or `kustomize`
        suite: conform::Suite,
        /// A file or folder of cases
        path: PathBuf,
        /// Only cases whose name contains this
        #[arg(long, default_value = "")]
        filter: String,
    },
    /// Everything that CI checks, and all tests
    Test {
        /// Leave out the tests that need a real API server
        #[arg(long)]
        no_cluster: bool,
    },
}

fn main() -> ExitCode {
    let outcome = match Args::parse().command {
        Command::Demo { flags } => run::demo(&flags),
        Command::Bench { flags } => run::bench(&flags),
        Command::Cluster { flags } => run::lab("cluster", &flags),
        Command::Tidy => tidy::run(),
        Command::Gen { check } => run::generate(check),
        Command::Conform { suite, path, filter } => conform::run(suite, &path, &filter),
        Command::Test { no_cluster } => run::test(no_cluster),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
