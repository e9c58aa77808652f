//! Artifacts on disk and on the wire: the store packs trees into `tar.gz` files, keeps, checks, collects
//! and serves them; the fetcher downloads, verifies and unpacks them.
//!
//! Never reads Kubernetes objects or process environment, never hands out a file that is not complete,
//! never deletes outside the directory of the object it was asked about. Called by controllers that
//! publish sources (store) and by those that consume them (fetch).

mod address;
mod archive;
mod collect;
mod error;
mod fetch;
mod line;
mod paced;
mod pile;
mod record;
mod serve;
mod shelf;
mod store;

pub use address::{Address, Home, advertised};
pub use collect::Retention;
pub use error::Error;
pub use fetch::{FetchError, FetchLimits, FetchOptions, Fetcher, Locator};
pub use serve::{ServeLimits, router, serve};
pub use store::{Options, Published, State, Store};

/// Key of `status.artifact.metadata` under which the digest of the path index stands.
pub const INDEX_METADATA: &str = "sluice.dev/index";

/// What is appended to an archive's name to find its path index.
pub const INDEX_SUFFIX: &str = ".index";

/// What is appended to an archive's name to find the record of its members; not served.
pub(crate) const RECORD_SUFFIX: &str = ".members";
/// What is appended to an archive's name to find its lock; not served.
pub(crate) const LOCK_SUFFIX: &str = ".lock";
/// How names of unfinished files end; not served.
pub(crate) const TEMP_SUFFIX: &str = ".tmp";
