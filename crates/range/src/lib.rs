//! Semantic version ranges as Masterminds/semver v3 reads them, the dialect of Flux's `semver` fields.
//!
//! Never does IO and never guesses: what Masterminds refuses is refused. Any crate may use it.

mod comparator;
mod range;
mod version;

pub use range::{Range, RangeError, latest};
pub use version::{Version, VersionError};
