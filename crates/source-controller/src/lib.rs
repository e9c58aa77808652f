//! Serves the state of Git repositories as artifacts.
//!
//! A pass, told as a story: look whether the stored artifact is intact; read the request; get credentials;
//! look at the includes; ask the remote where the reference stands; let the gate decide whether anything has
//! to be built; fetch, verify, graft the includes, pack; settle. Decisions are pure modules, effects are others.
//!
//! Never writes a status or a condition itself (the driver does), never replaces an artifact by one whose
//! signature does not hold, never writes to the cluster beyond its own kinds. Only its own binary, tests and
//! tools may use it.

mod advice;
pub mod args;
mod credentials;
mod error;
mod gate;
mod graft;
mod included;
mod lost;
mod network;
mod observe;
pub mod rbac;
mod reconcile;
mod request;
#[cfg(test)]
mod sample;
mod settle;
mod source;
mod tokens;
mod wire;
mod work;

use std::time::Duration;

use kube::Client;
use sluice_api::source::v1::GitRepository;
use sluice_artifact::{FetchOptions, Store};
use sluice_git::{Mirrors, SshAlgorithms};
use sluice_runtime::gates::{CACHE_SECRETS_AND_CONFIG_MAPS, OBJECT_LEVEL_WORKLOAD_IDENTITY};
use sluice_runtime::{Handle, Program};
use sluice_tree::IgnoreLimits;

pub use args::{Options, SourceArgs};
pub use rbac::RULES;
pub use reconcile::reconcile;
pub use work::work;

/// What the process is.
pub const PROGRAM: Program = Program {
    name: sluice_api::keys::source::CONTROLLER,
    version: env!("CARGO_PKG_VERSION"),
    concurrent: 2,
    gates: &[OBJECT_LEVEL_WORKLOAD_IDENTITY, CACHE_SECRETS_AND_CONFIG_MAPS],
};

/// The command line, for documentation.
pub fn command() -> clap::Command {
    sluice_runtime::args::command::<SourceArgs>(PROGRAM)
}

/// Key of artifact metadata: digest of the public keys that the commit was verified with.
pub const KEYS_METADATA: &str = "sluice.dev/verified-with";

/// What passes share.
pub struct Context {
    /// Reads Secrets, and includes that are not cached.
    pub(crate) client: Client,
    /// The driver's cache.
    pub(crate) handle: Handle<GitRepository>,
    pub(crate) store: Store,
    pub(crate) mirrors: Mirrors,
    pub(crate) lost: lost::Lost,
    pub(crate) allowed: request::Allowed,
    pub(crate) identity: tokens::Identity,
    pub(crate) ssh: SshAlgorithms,
    pub(crate) ignore: IgnoreLimits,
    /// For the artifacts of included repositories.
    pub(crate) include: FetchOptions,
    /// What an object that waits for an include is visited after, woken or not.
    pub(crate) dependency_interval: Duration,
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_index_stands_where_consumers_look_for_it() {
        assert_eq!(sluice_artifact::INDEX_METADATA, sluice_api::keys::ARTIFACT_INDEX);
    }
}
