//! The words every crate shares: digests, revisions, confined paths, redacted secrets,
//! durations as Kubernetes users write them, and retry classes.
//!
//! Never does IO, reads a clock or knows Kubernetes. Every other crate may use it.

mod digest;
mod duration;
mod path;
mod proxies;
mod redacted;
mod retry;
mod revision;

pub use digest::{Algorithm, Digest, DigestError, Hasher};
pub use duration::{DurationError, GoDuration};
pub use path::{PathError, RelPath};
pub use proxies::Proxies;
pub use redacted::Redacted;
pub use retry::{Classify, Retry};
pub use revision::Revision;
