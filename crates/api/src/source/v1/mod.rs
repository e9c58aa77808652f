//! `source.toolkit.fluxcd.io/v1`.

mod external;
mod git;
pub mod reason;

pub use external::{ExternalArtifact, ExternalArtifactSpec, ExternalArtifactStatus};
pub use git::{
    GitProvider, GitRepository, GitRepositoryFacts, GitRepositorySpec, GitRepositoryStatus, Include,
    Reference, VerificationMode, Verify,
};
