use std::cmp::Ordering;
use std::fmt;

use semver::{BuildMetadata, Prerelease};

/// A version as a tag spells it. Ordering is that of Semantic Versioning 2: build metadata does not count.
#[derive(Clone, Debug)]
pub struct Version {
    pub(crate) major: u64,
    pub(crate) minor: u64,
    pub(crate) patch: u64,
    pub(crate) pre: Prerelease,
    build: BuildMetadata,
    original: Box<str>,
}

/// The text is not a version.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid semantic version '{0}'")]
pub struct VersionError(String);

impl Version {
    /// Reads a version leniently: a `v` prefix, leading zeros in the numeric core, and missing minor and patch
    /// parts are accepted (`v1`, `1.2`, `2025.02.03`).
    ///
    /// # Errors
    /// When the text is not of that form, or a number does not fit 64 bits.
    pub fn parse(text: &str) -> Result<Self, VersionError> {
        let invalid = || VersionError(text.to_owned());
        let rest = text.strip_prefix('v').unwrap_or(text);
        let (rest, build) = match rest.split_once('+') {
            Some((rest, build)) => (rest, BuildMetadata::new(non_empty(build).ok_or_else(invalid)?)),
            None => (rest, Ok(BuildMetadata::EMPTY)),
        };
        let (core, pre) = match rest.split_once('-') {
            Some((core, pre)) => (core, Prerelease::new(non_empty(pre).ok_or_else(invalid)?)),
            None => (rest, Ok(Prerelease::EMPTY)),
        };
        let mut numbers = [0; 3];
        let mut parts = core.split('.');
        for (index, number) in numbers.iter_mut().enumerate() {
            match parts.next() {
                Some(part) if !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()) => {
                    *number = part.parse().map_err(|_| invalid())?;
                }
                None if index > 0 => break,
                _ => return Err(invalid()),
            }
        }
        if parts.next().is_some() {
            return Err(invalid());
        }
        let [major, minor, patch] = numbers;
        Ok(Self {
            major,
            minor,
            patch,
            pre: pre.map_err(|_| invalid())?,
            build: build.map_err(|_| invalid())?,
            original: text.into(),
        })
    }

    /// Reads a tag that must spell out all three parts, as Flux asks of Git and image tags.
    ///
    /// # Errors
    /// As [`Version::parse`], and when fewer than two dots separate the parts.
    pub fn parse_tag(tag: &str) -> Result<Self, VersionError> {
        if tag.splitn(3, '.').count() < 3 {
            return Err(VersionError(tag.to_owned()));
        }
        Self::parse(tag)
    }

    /// The text it was read from.
    pub fn original(&self) -> &str {
        &self.original
    }

    /// True for versions such as `1.2.3-rc.1`.
    pub fn is_prerelease(&self) -> bool {
        !self.pre.is_empty()
    }

    pub(crate) fn core(&self) -> (u64, u64, u64) {
        (self.major, self.minor, self.patch)
    }
}

fn non_empty(text: &str) -> Option<&str> {
    Some(text).filter(|text| !text.is_empty())
}

impl Ord for Version {
    fn cmp(&self, other: &Self) -> Ordering {
        self.core().cmp(&other.core()).then_with(|| self.pre.cmp(&other.pre))
    }
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Version {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Version {}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)?;
        if !self.pre.is_empty() {
            write!(f, "-{}", self.pre)?;
        }
        if !self.build.is_empty() {
            write!(f, "+{}", self.build)?;
        }
        Ok(())
    }
}
