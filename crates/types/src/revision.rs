use std::fmt;

use serde::{Deserialize, Serialize};

/// A source's identifier of one state, such as `main@sha1:<hex>`, `v1.0.0@sha256:<hex>` or `sha256:<hex>`.
///
/// Forms written before Flux 2.0 (`main/<sha>`, a bare `<sha>`, `HEAD/<sha>`) are normalised, so that
/// equality means the same state.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub struct Revision(Box<str>);

impl Revision {
    /// Normalises and wraps a revision text.
    pub fn new(text: &str) -> Self {
        if text.contains(':') {
            return Self(text.into());
        }
        let (name, hash) = match text.rsplit_once('/') {
            Some((name, hash)) => (name, hash),
            None => ("", text),
        };
        let algorithm = match hash.len() {
            40 => "sha1",
            64 => "sha256",
            _ => return Self(text.into()),
        };
        if !hash.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Self(text.into());
        }
        Self(match name {
            "" | "HEAD" => format!("{algorithm}:{hash}").into(),
            name => format!("{name}@{algorithm}:{hash}").into(),
        })
    }

    /// The normalised text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<String> for Revision {
    fn from(text: String) -> Self {
        Self::new(&text)
    }
}

impl From<Revision> for String {
    fn from(revision: Revision) -> Self {
        revision.0.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn legacy_forms_mean_the_same_state() {
        let sha = "a9993e364706816aba3e25717850c26c9cd0d89d";
        for (old, new) in [
            (format!("main/{sha}"), format!("main@sha1:{sha}")),
            (format!("feature/x/{sha}"), format!("feature/x@sha1:{sha}")),
            (sha.to_owned(), format!("sha1:{sha}")),
            (format!("HEAD/{sha}"), format!("sha1:{sha}")),
            (format!("main@sha1:{sha}"), format!("main@sha1:{sha}")),
            ("6.5.3".to_owned(), "6.5.3".to_owned()),
        ] {
            assert_eq!(Revision::new(&old).as_str(), new);
        }
    }
}
