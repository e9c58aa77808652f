//! Group `source.toolkit.fluxcd.io`: where the desired state comes from.

pub mod v1;
mod view;

pub use view::{SourceKind, SourceObject, SourceStatus};
