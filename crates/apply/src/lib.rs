//! Brings objects into a cluster and out of it: server-side apply with drift detection, pruning,
//! and health fed by watches, as a given identity.
//!
//! Never decides what is desired, never reads a custom resource of ours and writes no status; the
//! controllers that own an inventory may use it.
//!
//! * [`Cluster`]: one API server. It knows which kinds are served, shares watches between all who
//!   need them, and tells through [`Cluster::signals`] when an object drifts, goes, or changes its
//!   health, and when a missing kind appears. [`Remotes`] makes clusters from kubeconfigs.
//! * [`Target`]: a cluster as one [`Identity`]. [`Target::apply`] applies a stage of [`Desired`]
//!   objects, [`Target::delete`] deletes, [`Target::watch_health`] watches health.
//! * [`Memory`]: what one owner applied; with it and the watches, an object that is as it was left
//!   costs no request.
//!
//! What an object costs, in requests (`L` is the look: one GET of metadata, or a share of one LIST
//! when more than three objects of a kind and namespace are looked at in the same moment):
//!
//! | object | requests |
//! |---|---|
//! | as it was left, watched | 0 |
//! | as it was left, not watchable | L |
//! | as an earlier life or a predecessor left it | L + 1 GET, the L unless watched |
//! | changed in Git, watched | 1 apply |
//! | new, or its kind not watched | L + 1 apply |
//! | other tools left fields on it | L + 1 patch + 1 apply |
//! | covered by an ignore rule | L + 1 GET + 1 dry-run (+ 1 apply if it drifted) |
//! | immutable field, to be recreated | apply + dry-run create + delete + apply |
//! | to be deleted | L + 1 delete |
//!
//! All futures may be dropped at any await point: a write that was sent is then of unknown outcome,
//! which the next pass finds out. A [`tokio_util::sync::CancellationToken`] stops before the next
//! object instead.

mod access;
mod apply;
mod bearer;
mod case;
mod cleanup;
mod cluster;
mod delete;
mod desired;
mod dialect;
mod error;
mod health;
mod ignore;
mod kinds;
mod kubeconfig;
mod live;
mod look;
mod mask;
mod proof;
mod recreate;
mod remote;
mod report;
#[cfg(test)]
mod sample;
mod transport;
mod watch;

pub use apply::{Survey, Target};
pub use bearer::{Bearer, Reach};
pub use cluster::{Cluster, Options};
pub use delete::DeleteOptions;
pub use desired::{Desired, Memory};
pub use dialect::{Dialect, Identity, Owner};
pub use error::{Cause, Error, Failure, Refusal, Step};
pub use health::{Check, Health, HealthWatch, Outlook, State, Status};
pub use ignore::{IgnoreRule, IgnoreRules, Selector, SelectorError};
pub use kinds::Resource;
pub use kubeconfig::{KubeconfigError, KubeconfigPolicy, server_of};
pub use live::{Fingerprint, Seen, Settings};
pub use remote::{Remote, Remotes};
pub use report::{Action, Deletion, Fate, Gone, Missing, Outcome, Policy, Release, Removal, Report};
pub use sluice_manifest::ObjectId;
pub use watch::{Change, Signal, WatchLease};
