//! Reasons that Kustomizations give.

use crate::reason::reasons;

reasons! {
    /// The revision was applied and is healthy.
    RECONCILIATION_SUCCEEDED = "ReconciliationSucceeded";
    /// Applying failed.
    RECONCILIATION_FAILED = "ReconciliationFailed";
    /// The source or its artifact is missing or could not be fetched.
    ARTIFACT_FAILED = "ArtifactFailed";
    /// A directory could not be made.
    DIRECTORY_CREATION_FAILED = "DirectoryCreationFailed";
    /// The objects could not be built from the source.
    BUILD_FAILED = "BuildFailed";
    /// Objects that are no longer wanted could not be deleted.
    PRUNE_FAILED = "PruneFailed";
    /// What was applied did not become healthy in time.
    HEALTH_CHECK_FAILED = "HealthCheckFailed";
    /// A newer revision ended the wait for health.
    HEALTH_CHECK_CANCELED = "HealthCheckCanceled";
}
