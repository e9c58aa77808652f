use crate::comparator::{Comparator, Given, Operator};
use crate::version::Version;

/// Longest text that is read as a range, in bytes.
const LONGEST: usize = 4096;

/// Alternatives (`||`) of comparators that must all hold.
///
/// A prerelease is admitted by an alternative only if one of its comparators names a prerelease.
#[derive(Clone, Debug)]
pub struct Range {
    alternatives: Vec<Vec<Comparator>>,
}

/// The text is not a range.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("improper constraint: {0}")]
pub struct RangeError(String);

impl Range {
    /// Reads a range: comparators separated by commas or spaces, alternatives by `||`, and `1.2 - 1.4`.
    ///
    /// # Errors
    /// When Masterminds/semver would refuse the text, or it is longer than 4 KiB.
    pub fn parse(text: &str) -> Result<Self, RangeError> {
        if text.len() > LONGEST {
            return Err(RangeError(format!("{} bytes are too long", text.len())));
        }
        let alternatives = text.split("||").map(group).collect::<Option<_>>();
        Ok(Self { alternatives: alternatives.ok_or_else(|| RangeError(text.to_owned()))? })
    }

    /// True if some alternative admits the version.
    pub fn matches(&self, version: &Version) -> bool {
        self.alternatives.iter().any(|group| {
            let prereleases = group.iter().any(|comparator| comparator.version.is_prerelease());
            (prereleases || !version.is_prerelease())
                && group.iter().all(|comparator| comparator.admits(version))
        })
    }
}

/// The tags that hold the highest version the range admits: several when they differ only in build metadata
/// or spelling. Tags that are no three-part versions are passed over.
pub fn latest<'a>(tags: impl IntoIterator<Item = &'a str>, range: &Range) -> Vec<&'a str> {
    let mut best: Option<Version> = None;
    let mut found = Vec::new();
    for tag in tags {
        let Ok(version) = Version::parse_tag(tag) else { continue };
        if !range.matches(&version) || best.as_ref().is_some_and(|best| version < *best) {
            continue;
        }
        if best.as_ref().is_none_or(|best| version > *best) {
            found.clear();
            best = Some(version);
        }
        found.push(tag);
    }
    found
}

fn group(text: &str) -> Option<Vec<Comparator>> {
    let mut comparators = Vec::new();
    let mut rest = text.trim_start();
    // Masterminds rewrites `a - b` as text, which swallows the white space in front of it.
    let mut after_comma = true;
    while !rest.is_empty() || comparators.is_empty() {
        let (operator, after) = operator(rest);
        let (comparator, after) = bound(operator, after.trim_start())?;
        if let Some(upper) = hyphen(after) {
            // `a - b`; an operator in front belongs to nothing.
            if operator != Operator::Equal || rest.starts_with('=') || !after_comma {
                return None;
            }
            let (upper, after) = bound(Operator::LessEqual, upper)?;
            comparators.push(Comparator { operator: Operator::GreaterEqual, ..comparator });
            comparators.push(upper);
            (rest, after_comma) = separated(after, true)?;
        } else {
            comparators.push(comparator);
            (rest, after_comma) = separated(after, false)?;
        }
    }
    Some(comparators)
}

/// What follows ` - `, when the text goes on that way.
fn hyphen(text: &str) -> Option<&str> {
    let after = text.trim_start().strip_prefix('-')?;
    let spaced = text.starts_with(char::is_whitespace) && after.starts_with(char::is_whitespace);
    spaced.then(|| after.trim_start())
}

/// Skips what stands between two comparators: white space, or a comma; nothing else, and nothing at all only
/// where the first one `may_touch` the next. Also says whether it was a comma.
fn separated(text: &str, may_touch: bool) -> Option<(&str, bool)> {
    let rest = text.trim_start();
    if rest.is_empty() {
        return Some((rest, false));
    }
    match rest.strip_prefix(',') {
        Some(after) => Some((after.trim_start(), true)).filter(|(after, _)| !after.is_empty()),
        None => (may_touch || rest.len() < text.len()).then_some((rest, false)),
    }
}

fn operator(text: &str) -> (Operator, &str) {
    const OPERATORS: [(&str, Operator); 11] = [
        ("!=", Operator::NotEqual),
        (">=", Operator::GreaterEqual),
        ("=>", Operator::GreaterEqual),
        ("<=", Operator::LessEqual),
        ("=<", Operator::LessEqual),
        ("~>", Operator::Tilde),
        (">", Operator::Greater),
        ("<", Operator::Less),
        ("=", Operator::Equal),
        ("~", Operator::Tilde),
        ("^", Operator::Caret),
    ];
    for (symbol, operator) in OPERATORS {
        if let Some(rest) = text.strip_prefix(symbol) {
            return (operator, rest);
        }
    }
    (Operator::Equal, text)
}

fn bound(operator: Operator, text: &str) -> Option<(Comparator, &str)> {
    let end = text.find(|c: char| c.is_whitespace() || ",<>=!~^".contains(c)).unwrap_or(text.len());
    let (word, rest) = text.split_at(end);
    let core = word.strip_prefix('v').unwrap_or(word);
    let core_end = core.find(['-', '+']).unwrap_or(core.len());
    let (core, tail) = core.split_at(core_end);
    let (pre, build) = match tail.split_once('+') {
        Some((pre, build)) => (pre, Some(build)),
        None => (tail, None),
    };
    if build.is_some_and(|build| semver::BuildMetadata::new(build).is_err() || build.is_empty()) {
        return None;
    }
    let parts: Vec<&str> = core.split('.').collect();
    if parts.len() > 3 || !parts.iter().all(|part| number_or_wildcard(part)) {
        return None;
    }
    let wild = |index: usize| parts.get(index).is_none_or(|part| matches!(*part, "x" | "X" | "*"));
    let (given, numbers) = match parts.as_slice() {
        _ if wild(0) => (Given::Nothing, "0.0.0".to_owned()),
        [major, ..] if wild(1) => (Given::Major, format!("{major}.0.0")),
        [major, minor, ..] if wild(2) => (Given::Minor, format!("{major}.{minor}.0")),
        _ => (Given::All, core.to_owned()),
    };
    let version = Version::parse(&format!("{numbers}{pre}")).ok()?;
    Some((Comparator { operator, given, version }, rest))
}

fn number_or_wildcard(part: &str) -> bool {
    matches!(part, "x" | "X" | "*") || !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit())
}
