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
    #[error("duplicate custom health check for GroupKind {kind} at healthchecks[{at}]")]
    Duplicate {
        /// `Kind.group`.
        kind: String,
        /// The place of the second one.
        at: usize,
    },
    /// A rule says nothing about what is as desired.
    #[error(
        "failed to create custom status evaluator for healthchecks[{0}]: expression Current not specified"
    )]
    Incomplete(usize),
    /// An expression of a rule is none.
    #[error(
        "failed to create custom status evaluator for healthchecks[{at}]: failed to parse the expression {which}: \
         {source}"
    )]
    Rule {
        /// The place of the rule.
        at: usize,
        /// `Current`, `Failed` or `InProgress`.
        which: &'static str,
        /// What is wrong with it.
        source: Box<Error>,
    },
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
