//! `kustomize.toolkit.fluxcd.io/v1`.

mod build;
mod facts;
mod kustomization;
pub mod reason;

pub use build::{
    BuildMetadata, CommonMetadata, Decryption, DecryptionProvider, IgnoreRule, Image, Patch, PostBuild,
    Selector, SubstituteKind, SubstituteReference, SubstituteStrategy,
};
pub use facts::{Inventory, InventoryEntry, KustomizationFacts, KustomizationStatus, Snapshot};
pub use kustomization::{
    DeletionPolicy, DependencyReference, HealthCheckExpr, Kustomization, KustomizationSpec, SourceReference,
};
