use sluice_types::{Classify, Retry};
use thiserror::Error as ThisError;

/// What is wrong with an expression, or with one evaluation of it.
#[derive(Clone, Debug, PartialEq, Eq, ThisError)]
pub enum Error {
    /// The text is not CEL. Only a change of the text can help.
    #[error("failed to parse the CEL expression '{text}': {message}")]
    Parse {
        /// The expression.
        text: String,
        /// What the parser says.
        message: String,
    },
    /// The text is CEL but can never yield a boolean. Only a change of the text can help.
    #[error("CEL expression output type mismatch: expected bool, got {got} in '{text}'")]
    NotBoolean {
        /// The expression.
        text: String,
        /// The type it yields.
        got: &'static str,
    },
    /// The text is longer or nested deeper than allowed.
    #[error("CEL expression is too large: {0}")]
    TooLarge(&'static str),
    /// Two rules are meant for the same kind.
    #[error("duplicate health check expressions for {0}")]
    Duplicate(String),
    /// A rule lacks what it needs.
    #[error("invalid health check expressions: {0}")]
    Incomplete(&'static str),
    /// The evaluation failed, as it does when a field is absent. The objects may change.
    #[error("failed to evaluate the CEL expression '{text}': {message}")]
    Evaluate {
        /// The expression.
        text: String,
        /// The reason, without any value of the objects.
        message: String,
    },
    /// The evaluation yielded something else than a boolean. The objects may change.
    #[error("failed to evaluate CEL expression as boolean: '{0}'")]
    Result(String),
}

impl Error {
    /// Whether only another expression can help; otherwise the objects looked at may.
    #[must_use]
    pub fn is_configuration(&self) -> bool {
        !matches!(self, Self::Evaluate { .. } | Self::Result(_))
    }
}

impl Classify for Error {
    fn retry(&self) -> Retry {
        if self.is_configuration() { Retry::OnChange } else { Retry::Backoff }
    }
}
