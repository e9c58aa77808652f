use std::time::Duration;

use sluice_types::{Classify, Retry};

use crate::limits::Bound;

/// Why an address is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// It is no URL, or has no host.
    #[error("address is not a valid URL")]
    Malformed,
    /// Neither http, https nor ssh.
    #[error("transport scheme '{0}' is not supported")]
    Scheme(String),
}

/// Why a private key is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// It needs a passphrase and none was given.
    #[error("SSH identity key is encrypted and no passphrase was given")]
    Encrypted,
    /// The passphrase is wrong.
    #[error("SSH identity key cannot be decrypted with the given passphrase")]
    Passphrase,
    /// It is no private key of a supported kind.
    #[error("SSH identity is not a supported private key")]
    Malformed,
}

/// Why a `known_hosts` text is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("known_hosts line {line} is not a host key entry")]
pub struct KnownHostsError {
    /// Counted from one.
    pub line: usize,
}

/// Why a remote could not be read. No message contains credentials.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// The remote has no references at all.
    #[error("git repository is empty")]
    EmptyRemote,
    /// The remote lacks the branch or tag.
    #[error("couldn't find remote ref \"{reference}\", git repository: '{url}'")]
    RefNotFound {
        /// Full name.
        reference: String,
        /// Without userinfo.
        url: String,
    },
    /// The remote lacks the named reference.
    #[error("unable to resolve ref '{0}' to a specific commit")]
    NameNotFound(String),
    /// No tag lies in the range.
    #[error("no match found for semver: {0}")]
    NoMatch(String),
    /// The range cannot be read.
    #[error("semver parse error: {0}")]
    Range(String),
    /// The reference's text is malformed.
    #[error("{0}")]
    InvalidReference(String),
    /// The commit is not on the remote, or not on the wanted branch.
    #[error("unable to find commit '{hash}', git repository: '{url}'")]
    CommitNotFound {
        /// The wanted commit.
        hash: String,
        /// Without userinfo.
        url: String,
    },
    /// The server does not hand out the wanted object by its hash.
    #[error("the wanted object is not offered by git repository: '{url}'")]
    NotOffered {
        /// Without userinfo.
        url: String,
    },
    /// The server asks for patience.
    #[error("server is busy ({detail}), git repository: '{url}'")]
    Busy {
        /// Without userinfo.
        url: String,
        /// The cause.
        detail: String,
        /// When the server wants to be asked again.
        after: Option<Duration>,
    },
    /// The server refuses our identity, or wants one.
    #[error("authentication failed{detail}, git repository: '{url}'")]
    Auth {
        /// Without userinfo.
        url: String,
        /// The server's words, if any, led by `: `.
        detail: String,
    },
    /// The server knows no such repository.
    #[error("repository not found, git repository: '{url}'")]
    RepositoryNotFound {
        /// Without userinfo.
        url: String,
    },
    /// The SSH host key is not the expected one.
    #[error("host key verification failed for '{host}': {detail}")]
    HostKey {
        /// Host, with port unless 22.
        host: String,
        /// What differs.
        detail: String,
    },
    /// Certificates or the TLS handshake.
    #[error("TLS failure: {detail}, git repository: '{url}'")]
    Tls {
        /// Without userinfo.
        url: String,
        /// The cause.
        detail: String,
    },
    /// The server cannot be reached, or broke off.
    #[error("unable to reach the remote: {detail}, git repository: '{url}'")]
    Network {
        /// Without userinfo.
        url: String,
        /// The cause.
        detail: String,
    },
    /// The operation took longer than the remote's timeout.
    #[error("context deadline exceeded, git repository: '{url}'")]
    Timeout {
        /// Without userinfo.
        url: String,
    },
    /// The caller no longer wants it.
    #[error("the operation was cancelled")]
    Cancelled,
    /// The server's answer makes no sense.
    #[error("unexpected answer: {detail}, git repository: '{url}'")]
    Protocol {
        /// Without userinfo.
        url: String,
        /// The cause.
        detail: String,
    },
    /// A tree entry that must not be checked out.
    #[error("refusing the tree of commit '{hash}': entry '{path}' {why}")]
    Hostile {
        /// The commit.
        hash: String,
        /// Path within it.
        path: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A bound was reached.
    #[error("exceeds the limit of {bound}, git repository: '{url}'")]
    Limit {
        /// Without userinfo.
        url: String,
        /// Which.
        bound: Bound,
    },
    /// A submodule could not be mounted.
    #[error("submodule '{path}': {source}")]
    Submodule {
        /// Where it is mounted.
        path: String,
        /// Why.
        source: Box<Error>,
    },
    /// A submodule has no usable address, or lies too deep.
    #[error("{0}")]
    InvalidSubmodule(String),
    /// A sparse directory that the tree lacks.
    #[error(
        "failed to sparse checkout directories : sparse checkout dir '{0}' does not exist in repository: \
         lstat /{0}: no such file or directory"
    )]
    SparseMissing(String),
    /// The proxy, certificates or algorithm lists cannot be used.
    #[error("invalid transport configuration: {0}")]
    Configuration(String),
    /// The mirror on disk.
    #[error("git mirror: {0}")]
    Storage(String),
}

impl Classify for Error {
    fn retry(&self) -> Retry {
        match self {
            Self::Busy { after: Some(after), .. } => Retry::After(*after),
            _ => Retry::Backoff,
        }
    }
}
