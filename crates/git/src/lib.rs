//! Git without a working copy: resolve a reference on a remote, fetch into a shared bare mirror,
//! read the tree straight from the object database, verify signatures.
//!
//! Never spawns `git` or `ssh`, never writes a checkout, never sends credentials to another host
//! than the one they were given for. Called by controllers that source from Git.

mod checkout;
mod depot;
mod error;
mod greeting;
mod http;
mod known_hosts;
mod leftovers;
mod limits;
mod mirror;
mod mirrors;
mod object;
mod pack;
mod reader;
mod reference;
mod remote;
mod snapshot;
mod ssh;
mod submodule;
mod tunnel;
mod verify;
mod waiter;
mod walk;
mod wire;

pub use checkout::{Checkout, CommitInfo, FetchOptions, Signed, Skipped, TagInfo};
pub use error::{AddressError, Error, IdentityError, KnownHostsError};
pub use known_hosts::KnownHosts;
pub use limits::{Bound, Limits};
pub use mirrors::Mirrors;
pub use reference::{Reference, Resolved};
pub use remote::{Auth, Proxy, Remote, SshAlgorithms, SshIdentity, Tls};
pub use snapshot::Snapshot;
pub use verify::{Mode, Verified, VerifyError, verify};
