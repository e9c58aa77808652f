//! What can go wrong in a pass, and what that means for the object.

use sluice_api::condition;
use sluice_api::reason::{self as common, Reason};
use sluice_api::source::v1::reason;
use sluice_tree::{Bound, Error as Tree, UnpackError};
use sluice_types::{Classify, Retry};

/// A step that failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("failed to parse url: {0}")]
    Url(#[from] sluice_git::AddressError),
    /// A Secret with credentials, certificates or a proxy is missing or unusable.
    #[error("{0}")]
    Credentials(String),
    #[error(transparent)]
    Token(#[from] sluice_identity::Error),
    /// Provider and Secret do not fit each other.
    #[error("{message}")]
    Provider { message: String, retry: Retry },
    #[error(
        "to use spec.serviceAccountName for provider authentication please enable the \
         ObjectLevelWorkloadIdentity feature gate in the controller"
    )]
    Gate,
    #[error(
        "could not get resource for include '{0}': GitRepository.source.toolkit.fluxcd.io \"{0}\" not found"
    )]
    IncludeMissing(String),
    #[error("no artifact available for include '{0}'")]
    IncludeWithoutArtifact(String),
    #[error("include '{0}' leads back to this repository")]
    IncludeCycle(String),
    /// Another repository on the way has to change.
    #[error("include '{0}' leads back to this repository")]
    IncludeCircle(String),
    /// The API server could not be asked about an include.
    #[error("could not get resource for include '{name}': {why}")]
    IncludeUnknown { name: String, why: String },
    #[error("{}{error}{advice}", prefix(.error))]
    Git {
        error: sluice_git::Error,
        /// What to do about it, led by `: `.
        advice: String,
    },
    #[error("public keys secret error: {0}")]
    Keys(String),
    #[error(transparent)]
    Signature(#[from] sluice_git::VerifyError),
    #[error("failed to load source ignore patterns from repository: {}{}", .0, relief(.0))]
    Ignore(Tree),
    #[error("failed to copy '{name}' include from {from} to {to}: {why}")]
    Copy { name: String, from: String, to: String, why: String },
    #[error("{}{}{}", .0, exclusion(.0), fitting(.0))]
    Store(#[from] sluice_artifact::Error),
    #[error("garbage collection for deleted resource failed: {0}")]
    Removal(sluice_artifact::Error),
    /// Overtaken, timed out by the driver, or shutting down.
    #[error("the pass was cancelled")]
    Cancelled,
}

fn prefix(error: &sluice_git::Error) -> &'static str {
    match error {
        // Its text is complete.
        sluice_git::Error::SparseMissing(_) => "",
        _ => "failed to checkout and determine revision: ",
    }
}

/// What to do about a bound, led by `: `.
fn exclusion(error: &sluice_artifact::Error) -> String {
    let sluice_artifact::Error::Tree(error) = error else { return String::new() };
    let (what, flag) = match error {
        Tree::TooLarge { .. } => ("it", "--git-file-max-size"),
        Tree::Exceeds(Bound::Bytes(_)) => ("what is not needed", "--artifact-max-size"),
        Tree::Exceeds(Bound::Entries(_)) => ("what is not needed", "--artifact-max-entries"),
        Tree::Exceeds(Bound::Depth(_)) => return ": raise --artifact-max-depth of the controller".to_owned(),
        _ => return String::new(),
    };
    format!(": exclude {what} in .sourceignore or spec.ignore, or raise {flag} of the controller")
}

/// The same for the rules themselves.
fn relief(error: &Tree) -> &'static str {
    match error {
        Tree::TooLarge { .. } => ": shorten it, or raise --ignore-file-max-size of the controller",
        Tree::Exceeds(Bound::Rules(_)) => ": write fewer, or raise --ignore-max-rules of the controller",
        Tree::Exceeds(Bound::Depth(_)) => ": raise --artifact-max-depth of the controller",
        _ => "",
    }
}

/// The same for an included artifact that does not fit into memory.
fn fitting(error: &sluice_artifact::Error) -> &'static str {
    match error {
        sluice_artifact::Error::Unpack(UnpackError::Bytes(_)) => {
            ": raise --include-max-size of the controller"
        }
        _ => "",
    }
}

/// How the driver is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// Try again, or only after a change.
    Failed(Retry),
    /// Park until the include moves.
    Waiting,
    /// Say nothing, run again.
    Again,
}

impl Error {
    /// The domain condition that carries the error. All are `True` but `SourceVerified`, which is `False`.
    pub(crate) const fn condition(&self) -> Option<&'static str> {
        Some(match self {
            Self::Url(_)
            | Self::Credentials(_)
            | Self::Token(_)
            | Self::Provider { .. }
            | Self::Gate
            | Self::Git { .. } => condition::FETCH_FAILED,
            Self::IncludeMissing(_)
            | Self::IncludeWithoutArtifact(_)
            | Self::IncludeCycle(_)
            | Self::IncludeCircle(_)
            | Self::IncludeUnknown { .. } => condition::INCLUDE_UNAVAILABLE,
            Self::Keys(_) | Self::Signature(_) => condition::SOURCE_VERIFIED,
            Self::Ignore(_) | Self::Copy { .. } | Self::Store(_) => condition::STORAGE_OPERATION_FAILED,
            Self::Removal(_) | Self::Cancelled => return None,
        })
    }

    pub(crate) fn reason(&self) -> Reason {
        use sluice_artifact::Error as Store;
        use sluice_git::{Error as Git, VerifyError};
        match self {
            Self::Url(_) => reason::URL_INVALID,
            Self::Credentials(_) | Self::Token(_) => reason::AUTHENTICATION_FAILED,
            Self::Provider { .. } => reason::INVALID_PROVIDER_CONFIGURATION,
            Self::Gate => common::FEATURE_GATE_DISABLED,
            Self::IncludeMissing(_) | Self::IncludeUnknown { .. } => reason::NOT_FOUND,
            Self::IncludeWithoutArtifact(_) => reason::NO_ARTIFACT,
            Self::IncludeCycle(_) | Self::IncludeCircle(_) => reason::SOURCE_UNAVAILABLE,
            Self::Git { error: Git::EmptyRemote, .. } => reason::EMPTY_GIT_REPOSITORY,
            Self::Git { .. } => reason::GIT_OPERATION_FAILED,
            Self::Keys(_) => reason::VERIFICATION_ERROR,
            Self::Signature(VerifyError::Mode) => reason::INVALID_VERIFICATION_MODE,
            Self::Signature(VerifyError::Unsigned(_)) => reason::INVALID_GIT_OBJECT,
            Self::Signature(VerifyError::Tag { .. }) => reason::INVALID_TAG_SIGNATURE,
            Self::Signature(VerifyError::Commit { .. }) => reason::INVALID_COMMIT_SIGNATURE,
            Self::Ignore(_) => reason::SOURCE_IGNORE_ERROR,
            Self::Copy { .. } => reason::COPY_FAILURE,
            Self::Store(Store::Root(_) | Store::InvalidPath(_)) => reason::INVALID_PATH,
            Self::Store(Store::CreateDirectory { .. }) => reason::DIRECTORY_CREATION_FAILED,
            Self::Store(Store::Lock(_)) => reason::ACQUIRE_LOCK_FAILED,
            Self::Store(Store::Corrupt(_) | Store::Unpack(_)) => reason::READ_OPERATION_FAILED,
            Self::Store(Store::Io { .. } | Store::Tree(_) | Store::Cancelled) => {
                reason::ARCHIVE_OPERATION_FAILED
            }
            Self::Removal(_) => reason::GARBAGE_COLLECTION_FAILED,
            Self::Cancelled => common::FAILED,
        }
    }

    pub(crate) fn class(&self) -> Class {
        match self {
            Self::Cancelled
            | Self::Git { error: sluice_git::Error::Cancelled, .. }
            | Self::Store(sluice_artifact::Error::Cancelled) => Class::Again,
            Self::IncludeMissing(_) | Self::IncludeWithoutArtifact(_) => Class::Waiting,
            Self::Url(_) | Self::Gate | Self::IncludeCycle(_) => Class::Failed(Retry::OnChange),
            Self::Provider { retry, .. } => Class::Failed(*retry),
            Self::Git { error, .. } => Class::Failed(error.retry()),
            Self::Token(error) => Class::Failed(error.retry()),
            Self::Signature(error) => Class::Failed(error.retry()),
            Self::Store(error) | Self::Removal(error) => Class::Failed(error.retry()),
            Self::Credentials(_)
            | Self::Keys(_)
            | Self::Ignore(_)
            | Self::Copy { .. }
            | Self::IncludeCircle(_)
            | Self::IncludeUnknown { .. } => Class::Failed(Retry::Backoff),
        }
    }

    /// The include that the object waits for.
    pub(crate) fn awaited(&self) -> Option<&str> {
        match self {
            Self::IncludeMissing(name) | Self::IncludeWithoutArtifact(name) => Some(name),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_exceeds_a_bound_names_a_flag_that_exists() {
        let path = || sluice_types::RelPath::root();
        let large = || Tree::TooLarge { path: path(), limit: 1 };
        let store = |error: Tree| Error::Store(error.into());
        for (error, flag) in [
            (store(large()), "git-file-max-size"),
            (store(Tree::Exceeds(Bound::Bytes(1))), "artifact-max-size"),
            (store(Tree::Exceeds(Bound::Entries(1))), "artifact-max-entries"),
            (store(Tree::Exceeds(Bound::Depth(1))), "artifact-max-depth"),
            (Error::Store(UnpackError::Bytes(1).into()), "include-max-size"),
            (Error::Ignore(large()), "ignore-file-max-size"),
            (Error::Ignore(Tree::Exceeds(Bound::Rules(1))), "ignore-max-rules"),
            (Error::Ignore(Tree::Exceeds(Bound::Depth(1))), "artifact-max-depth"),
        ] {
            assert!(error.to_string().contains(&format!("raise --{flag} of")), "{error}");
            let command = crate::command();
            assert!(command.get_arguments().any(|known| known.get_long() == Some(flag)), "{flag}");
        }
        assert_eq!(exclusion(&sluice_artifact::Error::Cancelled), "");
    }
}
