use std::fmt;

use serde::{Deserialize, Serialize};

/// A confined path: slash-separated, cleaned, relative, without `..`. The empty path is the root.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RelPath(Box<str>);

/// Why a text is not a confined path.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// It begins with a slash.
    #[error("path '{0}' is absolute")]
    Absolute(String),
    /// `..` leads above the root.
    #[error("path '{0}' leads out of the root")]
    Escapes(String),
    /// It contains a NUL byte.
    #[error("path '{0}' contains a NUL byte")]
    Nul(String),
}

impl RelPath {
    /// The root of the tree.
    pub fn root() -> Self {
        Self::default()
    }

    /// Cleans a relative path lexically: `.` and empty segments vanish, `..` removes its predecessor.
    ///
    /// # Errors
    /// When the path is absolute, leaves the root, or contains a NUL byte.
    pub fn new(text: &str) -> Result<Self, PathError> {
        if text.starts_with('/') {
            return Err(PathError::Absolute(text.to_owned()));
        }
        Self::root().join(text)
    }

    /// Resolves a relative path from this directory.
    ///
    /// # Errors
    /// As [`RelPath::new`].
    pub fn join(&self, text: &str) -> Result<Self, PathError> {
        if text.starts_with('/') {
            return Err(PathError::Absolute(text.to_owned()));
        }
        if text.contains('\0') {
            return Err(PathError::Nul(text.replace('\0', "\\0")));
        }
        let mut segments: Vec<&str> = self.components().collect();
        for segment in text.split('/') {
            match segment {
                "" | "." => {}
                ".." => {
                    segments.pop().ok_or_else(|| PathError::Escapes(text.to_owned()))?;
                }
                name => segments.push(name),
            }
        }
        Ok(Self(segments.join("/").into()))
    }

    /// As a chroot would resolve it: absolute paths start at the root, and `..` cannot leave it.
    pub fn clamped(text: &str) -> Self {
        let mut segments: Vec<&str> = Vec::new();
        for segment in text.split('/') {
            match segment {
                "" | "." => {}
                ".." => {
                    segments.pop();
                }
                name => segments.push(name),
            }
        }
        Self(segments.join("/").replace('\0', "").into())
    }

    /// The text, empty for the root.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// True for the root of the tree.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The segments from the root down.
    pub fn components(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.0.split('/').filter(|segment| !segment.is_empty())
    }

    /// The directory this path lies in; `None` for the root.
    pub fn parent(&self) -> Option<Self> {
        if self.is_root() {
            return None;
        }
        Some(match self.0.rsplit_once('/') {
            Some((parent, _)) => Self(parent.into()),
            None => Self::root(),
        })
    }

    /// The last segment; `None` for the root.
    pub fn file_name(&self) -> Option<&str> {
        self.components().next_back()
    }

    /// True if `base` is this path or one of its ancestors.
    pub fn starts_with(&self, base: &Self) -> bool {
        base.is_root()
            || self.0.strip_prefix(&*base.0).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// The way from `base` to this path, with `..` where it has to climb; `.` when they are equal.
    pub fn relative_to(&self, base: &Self) -> String {
        let (from, to): (Vec<_>, Vec<_>) = (base.components().collect(), self.components().collect());
        let shared = from.iter().zip(&to).take_while(|(a, b)| a == b).count();
        let mut way: Vec<&str> = vec![".."; from.len() - shared];
        way.extend(to.iter().skip(shared));
        if way.is_empty() { ".".to_owned() } else { way.join("/") }
    }
}

impl fmt::Display for RelPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_root() { "." } else { &self.0 })
    }
}

impl fmt::Debug for RelPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl TryFrom<String> for RelPath {
    type Error = PathError;

    fn try_from(text: String) -> Result<Self, PathError> {
        Self::new(&text)
    }
}

impl From<RelPath> for String {
    fn from(path: RelPath) -> Self {
        path.0.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_cleaned_and_confined() {
        for (text, cleaned) in [("./a//b/", "a/b"), ("a/../b", "b"), (".", ""), ("", ""), ("a/b/..", "a")] {
            assert_eq!(RelPath::new(text).unwrap().as_str(), cleaned);
        }
        for text in ["/a", "..", "a/../../b", "a\0b"] {
            assert!(RelPath::new(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn clamping_resolves_like_a_chroot() {
        for (text, cleaned) in [("../../etc", "etc"), ("/a/./b", "a/b"), ("a/../../b", "b")] {
            assert_eq!(RelPath::clamped(text).as_str(), cleaned);
        }
    }

    #[test]
    fn a_name_that_merely_begins_alike_is_no_ancestor() {
        let base = RelPath::new("app").unwrap();
        assert!(RelPath::new("app/x").unwrap().starts_with(&base));
        assert!(!RelPath::new("app2/x").unwrap().starts_with(&base));
    }

    #[test]
    fn the_way_between_two_paths_climbs_where_it_must() {
        let path = |text: &str| RelPath::new(text).unwrap();
        assert_eq!(path("a/b").relative_to(&path("a/c/d")), "../../b");
        assert_eq!(path("a").relative_to(&path("a")), ".");
    }
}
