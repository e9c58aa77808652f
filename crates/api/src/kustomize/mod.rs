//! Group `kustomize.toolkit.fluxcd.io`: what is built and applied.

pub mod v1;
