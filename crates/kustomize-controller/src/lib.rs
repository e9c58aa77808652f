//! Applies what sources hold: builds each Kustomization from its source's artifact and keeps the
//! cluster as the result says.
//!
//! A pass, told as a story: read the request; observe its source and its dependencies; let the gate decide;
//! ask the session whether anything at all has to be done; fetch; render; plan; claim the inventory; apply;
//! prune; wait for health (as stored state, never as a held worker); settle. Decisions are pure modules,
//! effects are others, and no file does both.
//!
//! Never writes a status or a condition itself (the driver does), never deletes without an owner label and a
//! UID, never reads outside of an artifact. Only its own binary, tests and tools may use it.

use std::sync::Arc;
use std::time::Duration;

use sluice_api::kustomize::v1::Kustomization;
use sluice_api::{Managed as _, condition, keys};
use sluice_runtime::program::Program;
use sluice_runtime::{Handle, Host, Wiring};

pub mod args;
mod artifacts;
mod bounds;
mod claim;
mod configs;
mod contest;
mod context;
mod cycle;
mod deploy;
mod error;
mod gate;
mod health;
mod history;
mod limit;
mod logins;
mod message;
mod observe;
pub mod options;
mod order;
mod policy;
mod provider;
pub mod rbac;
mod recall;
mod reconcile;
mod references;
mod release;
mod remembered;
mod render;
mod request;
mod rest;
#[cfg(test)]
mod sample;
mod session;
mod settle;
mod sources;
mod target;
mod trouble;
mod turn;
mod wire;
mod work;

/// What a pass may take beyond the timeouts of its two phases, before the build and after it, until it is given up:
/// a safety net only, for every wait of a pass has an end of its own.
const GRACE: Duration = Duration::from_secs(30);

/// The controller, before it knows its flags.
pub const PROGRAM: Program = Program {
    name: keys::kustomize::CONTROLLER,
    version: env!("CARGO_PKG_VERSION"),
    concurrent: 4,
    gates: options::GATES,
};

/// The command line, for documentation.
pub fn command() -> clap::Command {
    sluice_runtime::args::command::<args::Args>(PROGRAM)
}

/// Runs the controller until the host stops.
///
/// # Errors
/// When its flags contradict each other, or its kind can never be watched.
pub async fn run(args: args::Args, host: Host) -> anyhow::Result<()> {
    let options = args.options(&host)?;
    drive(options, host).await
}

/// Runs the controller with these options until the host stops.
///
/// # Errors
/// When its kind can never be watched.
pub async fn drive(options: options::Options, host: Host) -> anyhow::Result<()> {
    let handle = Handle::<Kustomization>::indexed(wire::sought);
    let wiring = Wiring {
        field_manager: keys::kustomize::STATUS_FIELD_MANAGER,
        finalizer: Some(keys::FINALIZER),
        concurrency: options.concurrent,
        owned: &[condition::HEALTHY],
        progress: Some("Reconciliation in progress"),
        suspension_settles: false,
        deadline: |object: &Kustomization| object.timeout().saturating_mul(2).saturating_add(GRACE),
    };
    let context = Arc::new(context::Context::new(options, &host, handle.clone())?);
    wire::start(&context, &host);
    sluice_runtime::drive(wiring, handle, context, host, reconcile::reconcile).await?;
    Ok(())
}
