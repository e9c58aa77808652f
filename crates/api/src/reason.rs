//! Reasons: the words that conditions and events give to programs.

use std::fmt;

/// One word out of the contract's closed lists; see the constants here and in each group's `reason` module.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Reason(&'static str);

impl Reason {
    pub(crate) const fn new(word: &'static str) -> Self {
        Self(word)
    }

    /// The word on the wire.
    pub const fn as_str(self) -> &'static str {
        self.0
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// Declares reasons, each once, with its meaning.
macro_rules! reasons {
    ($($(#[doc = $doc:literal])+ $name:ident = $word:literal;)+) => {
        $($(#[doc = $doc])+ pub const $name: $crate::reason::Reason = $crate::reason::Reason::new($word);)+
    };
}
pub(crate) use reasons;

reasons! {
    /// Everything the spec asks for was done.
    SUCCEEDED = "Succeeded";
    /// It was not, and nothing more precise is known.
    FAILED = "Failed";
    /// Work is in progress.
    PROGRESSING = "Progressing";
    /// Work failed or waits, and will be tried again.
    PROGRESSING_WITH_RETRY = "ProgressingWithRetry";
    /// The object is suspended.
    SUSPENDED = "Suspended";
    /// A reference was refused by policy.
    ACCESS_DENIED = "AccessDenied";
    /// A field needs a feature gate that is off.
    FEATURE_GATE_DISABLED = "FeatureGateDisabled";
    /// A CEL expression does not compile.
    INVALID_CEL_EXPRESSION = "InvalidCELExpression";
    /// An object that must be ready first is not.
    DEPENDENCY_NOT_READY = "DependencyNotReady";
    /// An event about an object that has no Ready condition: informational.
    INFO = "info";
    /// An event about an object that has no Ready condition: a failure.
    ERROR = "error";
}
