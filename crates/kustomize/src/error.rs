//! Why a build failed.

use std::fmt::Display;

use crate::id::ResId;
use crate::places::Place;

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
/// The place follows in brackets.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}{}", self.details())]
pub struct Error {
    kind: ErrorKind,
    message: String,
    place: Option<Box<Place>>,
    /// What is wrong, where upstream leaves it out.
    reason: Option<Box<str>>,
    /// The line of the file to be noted later.
    line: Option<u32>,
    /// The kustomization file that asks for the one in `place`.
    asked_by: Option<Box<Place>>,
}

pub(crate) type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// An error of the given class.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), reason: None, place: None, line: None, asked_by: None }
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

    /// The same with the tree's root put before the names of files.
    pub fn under(mut self, root: &str) -> Self {
        for place in [&mut self.place, &mut self.asked_by].into_iter().flatten() {
            place.file.insert_str(0, root);
        }
        self
    }

    /// What is wrong in upstream's words, without the place.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The file the failure was found in, where known, as a path from the root of the tree.
    pub fn file(&self) -> Option<&str> {
        self.place.as_ref().map(|place| place.file.as_str())
    }

    /// The line in that file, from 1, where known.
    pub fn line(&self) -> Option<u32> {
        self.place.as_ref().and_then(|place| place.line)
    }

    fn details(&self) -> String {
        let reason = self.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
        match (&self.place, &self.asked_by) {
            (None, _) => reason,
            (Some(place), None) => format!("{reason} ({place})"),
            (Some(place), Some(by)) => format!("{reason} ({place}, named by {by})"),
        }
    }

    /// The same failure as one of another class.
    pub(crate) fn of_kind(self, kind: ErrorKind) -> Self {
        Self { kind, ..self }
    }

    /// Notes the line of a file that is not known yet.
    pub(crate) fn at_line(mut self, line: Option<u32>) -> Self {
        self.line = self.line.or(line.filter(|line| *line != 0));
        self
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
        if self.place.is_none() {
            self.place = Some(Box::new(Place { file: file.to_owned(), line: line.or(self.line) }));
        }
        self
    }

    /// Notes which kustomization file led here, unless one is known; it is the place itself if there is none.
    pub(crate) fn asked_by(mut self, file: &str, line: impl FnOnce() -> Option<u32>) -> Self {
        let by = || Box::new(Place { file: file.to_owned(), line: line() });
        match &self.place {
            None => self.place = Some(by()),
            Some(place) if place.file == file || self.asked_by.is_some() => {}
            Some(_) => self.asked_by = Some(by()),
        }
        self
    }

    /// Adds what upstream does not tell, and the line of it.
    pub(crate) fn because(mut self, reason: &Self) -> Self {
        self.reason = Some(reason.message.as_str().into());
        self.at_line(reason.line)
    }

    /// Adds which object could not be written, which upstream does not tell.
    pub(crate) fn of_object(mut self, id: &ResId) -> Self {
        self.reason.get_or_insert_with(|| format!("in {id}").into());
        self
    }

    /// Turns lines of a file that was rewritten before it was read into those of the file itself.
    pub(crate) fn with_lines_of(mut self, file: &str, line_of: impl Fn(u32) -> Option<u32>) -> Self {
        for place in [&mut self.place, &mut self.asked_by].into_iter().flatten() {
            if place.file == file {
                place.line = place.line.and_then(&line_of);
            }
        }
        self
    }

    /// Leaves a file unmentioned that nobody can open.
    pub(crate) fn without_file(mut self, file: &str) -> Self {
        self.asked_by = self.asked_by.filter(|place| place.file != file);
        self.place = self.place.filter(|place| place.file != file);
        self
    }

    /// Takes over where another failure was found, unless this one knows its place.
    pub(crate) fn or_place_of(mut self, other: Error) -> Self {
        if self.place.is_none() {
            self.place = other.place;
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
