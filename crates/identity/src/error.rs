use std::time::Duration;

use sluice_types::{Classify, Retry};

/// Why there is no token. No variant ever holds one.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The token service answered with an error.
    #[error("{service} refused the request: HTTP status {status}{}", detail(.code))]
    Refused {
        /// Which service.
        service: &'static str,
        /// The HTTP status.
        status: u16,
        /// The service's own error code, when it gave a short one.
        code: Option<String>,
        /// How long it asked to wait.
        after: Option<Duration>,
    },
    /// The token service could not be reached, or not in time.
    #[error("{service} cannot be reached: {reason}")]
    Unreachable {
        /// Which service.
        service: &'static str,
        /// The cause, without the URL's query.
        reason: String,
    },
    /// The answer is not what the protocol says.
    #[error("{service} gave an answer that cannot be read: {reason}")]
    Malformed {
        /// Which service.
        service: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// A private key or an identifier that was configured cannot be used.
    #[error("{0}")]
    Configuration(String),
    /// A way of signing in that is not offered.
    #[error("{0}")]
    Unsupported(String),
    /// No way of signing in is configured in the environment.
    #[error("no {provider} credentials were found: {tried}")]
    NoCredentials {
        /// The cloud.
        provider: &'static str,
        /// What was looked for.
        tried: String,
    },
}

fn detail(code: &Option<String>) -> String {
    code.as_ref().map(|code| format!(" ({code})")).unwrap_or_default()
}

impl Classify for Error {
    fn retry(&self) -> Retry {
        match self {
            Self::Refused { after: Some(after), .. } => Retry::After(*after),
            // Keys, annotations and environments are mended outside the object, so nothing would wake it.
            _ => Retry::Backoff,
        }
    }
}
