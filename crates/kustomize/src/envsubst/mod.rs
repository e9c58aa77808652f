//! Variable substitution in text: `${name}`, defaults, and the shell-like functions Flux offers.
//!
//! The semantics are Flux's, quirks included: all default operators mean the same, arguments are
//! evaluated eagerly, lengths and offsets count bytes, and a value is never scanned again.

mod functions;
mod glob;
mod parse;

use parse::Node;

/// Bounds on one substitution.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Most bytes of output. Arguments and intermediate results together may take four times that.
    pub output: usize,
    /// Deepest nesting of `${…}` inside arguments.
    pub depth: usize,
    /// Most steps spent matching patterns.
    pub steps: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { output: 8 << 20, depth: 64, steps: 20_000_000 }
    }
}

/// Why text could not be substituted. Never shows a value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The expression is malformed.
    #[error("bad substitution")]
    BadSubstitution,
    /// An expression has no end, or something unknown after the name.
    #[error("missing closing brace")]
    MissingClosingBrace,
    /// `${` is not followed by a name.
    #[error("unable to parse variable name")]
    VariableName,
    /// An argument is missing.
    #[error("unable to parse substitution within function")]
    FunctionArgument,
    /// A default operator is malformed.
    #[error("unable to parse default function")]
    DefaultFunction,
    /// Strict mode, and the variable has no value.
    #[error("variable not set (strict mode): {0:?}")]
    NotSet(String),
    /// A substring with a negative length.
    #[error("substring length out of range")]
    Length,
    /// A substring cut a character in half.
    #[error("result is not valid UTF-8")]
    NotText,
    /// A bound was passed.
    #[error("substitution exceeds the limit of {limit} {what}")]
    Limit {
        /// What there is too much of.
        what: &'static str,
        /// The bound.
        limit: u64,
    },
}

impl Error {
    /// Whether the text itself is malformed, whatever the variables are.
    pub fn is_syntax(&self) -> bool {
        matches!(
            self,
            Self::BadSubstitution
                | Self::MissingClosingBrace
                | Self::VariableName
                | Self::FunctionArgument
                | Self::DefaultFunction
        )
    }
}

/// Substitutes every expression in `text`. `lookup` gives a variable's value; in `strict` mode a
/// variable without one is an error unless a default operator stands with it.
///
/// # Errors
/// Malformed expressions, unset variables, results that are no text, and passed bounds.
pub fn substitute<'v>(
    text: &str,
    lookup: &dyn Fn(&str) -> Option<&'v str>,
    strict: bool,
    limits: Limits,
) -> Result<String, Error> {
    String::from_utf8(substitute_bytes(text, lookup, strict, limits)?).map_err(|_| Error::NotText)
}

/// As `substitute`, for results that need not be text.
///
/// # Errors
/// As `substitute`, but for results that are no text.
pub fn substitute_bytes<'v>(
    text: &str,
    lookup: &dyn Fn(&str) -> Option<&'v str>,
    strict: bool,
    limits: Limits,
) -> Result<Vec<u8>, Error> {
    let nodes = parse::parse(text, limits.depth)?;
    let mut pass = Pass { lookup, strict, limits, steps: limits.steps, spent: 0 };
    let mut out = Vec::with_capacity(text.len());
    for node in &nodes {
        pass.evaluate(node, &mut out)?;
    }
    Ok(out)
}

struct Pass<'f, 'v> {
    lookup: &'f dyn Fn(&str) -> Option<&'v str>,
    strict: bool,
    limits: Limits,
    steps: u64,
    spent: usize,
}

impl Pass<'_, '_> {
    fn evaluate(&mut self, node: &Node, out: &mut Vec<u8>) -> Result<(), Error> {
        let before = out.len();
        match node {
            Node::Text(text) => out.extend_from_slice(text.as_bytes()),
            Node::Call { name, operator, arguments } => {
                let mut values = Vec::with_capacity(arguments.len());
                for argument in arguments {
                    let mut value = Vec::new();
                    self.evaluate(argument, &mut value)?;
                    values.push(value);
                }
                let value = (self.lookup)(name);
                if value.is_none() && self.strict && !functions::is_default(operator) {
                    return Err(Error::NotSet(name.clone()));
                }
                let value = value.unwrap_or_default().as_bytes();
                let result = functions::apply(operator, value, &values, self.limits.output, &mut self.steps);
                match result? {
                    Some(result) => out.extend_from_slice(&result),
                    None => out.extend_from_slice(value),
                }
            }
        }
        self.spent = self.spent.saturating_add(out.len() - before);
        if out.len() > self.limits.output || self.spent > self.limits.output.saturating_mul(4) {
            return Err(Error::Limit { what: "bytes", limit: self.limits.output as u64 });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
