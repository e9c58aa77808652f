//! Custom resources of the toolkit, one module per group and version, and the vocabulary written
//! on the wire: conditions, reasons, artifacts, keys of annotations and labels, event payloads.
//!
//! Never does IO, reads a clock or decides anything. Every crate above may use it.

pub mod artifact;
pub mod condition;
pub mod crd;
pub mod event;
pub mod keys;
pub mod kustomize;
pub mod managed;
pub mod reason;
pub mod reference;
mod schema;
pub mod source;
pub mod status;
pub mod time;

pub use artifact::Artifact;
pub use condition::{Condition, ConditionStatus};
pub use managed::Managed;
pub use reason::Reason;
pub use status::Status;
pub use time::Time;
