//! Reasons that sources give.

use crate::reason::reasons;

reasons! {
    /// The URL cannot be parsed or has the wrong scheme.
    URL_INVALID = "URLInvalid";
    /// Credentials, certificates or proxy settings are unusable or were refused.
    AUTHENTICATION_FAILED = "AuthenticationFailed";
    /// A signature is missing or wrong.
    VERIFICATION_ERROR = "VerificationError";
    /// A directory could not be made.
    DIRECTORY_CREATION_FAILED = "DirectoryCreationFailed";
    /// A file could not be looked at.
    STAT_OPERATION_FAILED = "StatOperationFailed";
    /// A file could not be read.
    READ_OPERATION_FAILED = "ReadOperationFailed";
    /// The artifact's lock could not be had.
    ACQUIRE_LOCK_FAILED = "AcquireLockFailed";
    /// A path is not what it must be.
    INVALID_PATH = "InvalidPath";
    /// The artifact could not be packed or copied.
    ARCHIVE_OPERATION_FAILED = "ArchiveOperationFailed";
    /// The link to the latest artifact could not be moved.
    SYMLINK_UPDATE_FAILED = "SymlinkUpdateFailed";
    /// The stored artifact is that of the remote's revision.
    ARTIFACT_UP_TO_DATE = "ArtifactUpToDate";
    /// A cache failed.
    CACHE_OPERATION_FAILED = "CacheOperationFailed";
    /// A status write failed.
    PATCH_OPERATION_FAILED = "PatchOperationFailed";
    /// The provider's settings contradict each other.
    INVALID_PROVIDER_CONFIGURATION = "InvalidProviderConfiguration";
    /// The settings of the token service contradict each other.
    INVALID_STS_CONFIGURATION = "InvalidSTSConfiguration";
    /// A Git operation succeeded.
    GIT_OPERATION_SUCCEEDED = "GitOperationSucceeded";
    /// A Git operation failed.
    GIT_OPERATION_FAILED = "GitOperationFailed";
    /// The object referred to does not exist.
    NOT_FOUND = "NotFound";
    /// The object referred to has no artifact.
    NO_ARTIFACT = "NoArtifact";
    /// A source that is needed is not available.
    SOURCE_UNAVAILABLE = "SourceUnavailable";
    /// A newer revision was seen.
    NEW_REVISION = "NewRevision";
    /// An include changed.
    INCLUDE_CHANGE = "IncludeChange";
    /// The repository has no commits.
    EMPTY_GIT_REPOSITORY = "EmptyGitRepository";
    /// The ignore rules could not be read.
    SOURCE_IGNORE_ERROR = "SourceIgnoreError";
    /// A path leads out of the tree.
    ILLEGAL_PATH = "IllegalPath";
    /// Files of an include could not be copied.
    COPY_FAILURE = "CopyFailure";
    /// The verification mode is unknown.
    INVALID_VERIFICATION_MODE = "InvalidVerificationMode";
    /// The Git object cannot be verified.
    INVALID_GIT_OBJECT = "InvalidGitObject";
    /// The tag's signature is missing or wrong.
    INVALID_TAG_SIGNATURE = "InvalidTagSignature";
    /// The commit's signature is missing or wrong.
    INVALID_COMMIT_SIGNATURE = "InvalidCommitSignature";
    /// Old artifacts could not be removed.
    GARBAGE_COLLECTION_FAILED = "GarbageCollectionFailed";
    /// Old artifacts were removed.
    GARBAGE_COLLECTION_SUCCEEDED = "GarbageCollectionSucceeded";
    /// A new artifact was stored.
    NEW_ARTIFACT = "NewArtifact";
    /// A stored artifact is not what its digest says.
    ARTIFACT_VERIFICATION_FAILED = "ArtifactVerificationFailed";
    /// The cause is unknown.
    UNKNOWN = "Unknown";
}
