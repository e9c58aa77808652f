//! Bounds on what is parsed, and what can go wrong.

/// Bounds on one parse. Everything a tenant hands in is hostile until it fits.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Most bytes of input.
    pub bytes: usize,
    /// Most documents in a stream.
    pub documents: usize,
    /// Deepest nesting of collections.
    pub depth: usize,
    /// Most nodes after aliases and merges were expanded.
    pub nodes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { bytes: 64 << 20, documents: 100_000, depth: 200, nodes: 10_000_000 }
    }
}

/// Why YAML was refused. The texts are those of the Go readers where these have one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The text is not YAML.
    #[error("yaml: {}{message}", line_prefix(*.line))]
    Syntax {
        /// The line the Go reader speaks of, which may be beside the mark; 0 for none.
        line: u32,
        /// The line the fault is in, from 1 as editors count; 0 when unknown.
        place: u32,
        /// What is wrong, in the Go reader's words.
        message: String,
    },
    /// The text is YAML, but not what it was read as.
    #[error("yaml: unmarshal errors:\n  {}", .0.join("\n  "))]
    Unmarshal(Vec<String>),
    /// A value that JSON cannot hold.
    #[error("json: {0}")]
    Json(String),
    /// A merge key over something that is no mapping.
    #[error("{0}")]
    Merge(&'static str),
    /// A mapping key that cannot become a JSON key.
    #[error("{0}")]
    Key(String),
    /// A line that starts with `---` and goes on with something that is no comment.
    #[error("invalid document separator: {0}")]
    Split(String),
    /// A bound was passed.
    #[error("yaml: {what} exceeds the limit of {limit}")]
    Limit {
        /// What there is too much of.
        what: &'static str,
        /// The bound.
        limit: usize,
    },
}

fn line_prefix(line: u32) -> String {
    if line == 0 { String::new() } else { format!("line {line}: ") }
}

impl Error {
    pub(crate) fn at(line: u32, message: impl Into<String>) -> Self {
        Self::Syntax { line, place: line, message: message.into() }
    }

    /// The line the fault is in, from 1 as editors count.
    pub fn place(&self) -> Option<u32> {
        match self {
            Self::Syntax { place, .. } if *place != 0 => Some(*place),
            _ => None,
        }
    }

    /// The same fault in a text that begins some lines further down.
    pub(crate) fn below(mut self, lines: u32) -> Self {
        if let Self::Syntax { place, .. } = &mut self
            && *place != 0
        {
            *place += lines;
        }
        self
    }
}
