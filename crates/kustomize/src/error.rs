//! Why a build failed.

use std::fmt::Display;

/// What class of failure an [`Error`] belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The inputs contradict the rules.
    Invalid,
    /// A resource file is not YAML.
    MalformedYaml,
    /// An entry names something outside of the tree.
    Remote,
    /// A bound of [`Limits`](crate::Limits) was passed.
    Limit,
    /// The caller asked to stop.
    Cancelled,
}

/// A failed build, told in the words kustomize v5.8.1 would use where it has some.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    kind: ErrorKind,
    message: String,
    file: Option<String>,
    line: Option<u32>,
}

pub(crate) type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// An error of the given class.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), file: None, line: None }
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Invalid, message)
    }

    pub(crate) fn limit(what: &str, limit: usize) -> Self {
        Self::new(ErrorKind::Limit, format!("{what} exceeds the limit of {limit}"))
    }

    /// The class of the failure.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The file the failure was found in, where known, as a path from the root of the tree.
    pub fn file(&self) -> Option<&str> {
        self.file.as_deref()
    }

    /// The line in that file, from 1, where known.
    pub fn line(&self) -> Option<u32> {
        self.line
    }

    /// Puts an outer layer's words in front.
    pub(crate) fn wrap(mut self, prefix: impl Display) -> Self {
        self.message = format!("{prefix}: {}", self.message);
        self
    }

    /// Replaces the text and keeps class and place.
    pub(crate) fn reword(mut self, text: impl FnOnce(&str) -> String) -> Self {
        self.message = text(&self.message);
        self
    }

    /// Notes the place, unless a more precise one is known.
    pub(crate) fn located(mut self, file: &str, line: Option<u32>) -> Self {
        if self.file.is_none() {
            self.file = Some(file.to_owned());
            self.line = line.or(self.line);
        }
        self
    }

    /// Names the object a bound was passed at; other failures are told in upstream's words alone.
    pub(crate) fn concerning(self, object: impl Display) -> Self {
        if self.kind == ErrorKind::Limit { self.wrap(object) } else { self }
    }

    /// Whether no other reading of the same entry may be tried.
    pub(crate) fn is_final(&self) -> bool {
        matches!(self.kind, ErrorKind::Limit | ErrorKind::Cancelled)
    }
}

/// `format!` into an invalid-input error.
macro_rules! bad {
    ($($arg:tt)*) => { $crate::error::Error::invalid(format!($($arg)*)) };
}
pub(crate) use bad;
