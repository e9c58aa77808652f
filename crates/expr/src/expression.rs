use std::fmt;

use cel::parser::PrattParser;
use cel::{Context, ExecutionError, IdedExpr, Value};
use serde_json::Value as Json;

use crate::value::from_json;
use crate::{Error, MAX_TEXT, check, environment};

/// How deep brackets may be nested.
const MAX_BRACKETS: u16 = 32;
/// How many parts an expression may have, after its macros are expanded.
const MAX_NODES: usize = 4096;

/// A CEL expression that is to yield a boolean. Parsed once, evaluated often.
#[derive(Clone)]
pub struct Expression {
    text: String,
    expr: IdedExpr,
}

impl fmt::Debug for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Expression").field(&self.text).finish()
    }
}

impl Expression {
    /// Parses an expression over variables nobody knows yet, as health checks are: any top-level
    /// field of an object may be named.
    ///
    /// # Errors
    /// A configuration error: not CEL, or too large.
    pub fn parse(text: &str) -> Result<Self, Error> {
        if text.len() > MAX_TEXT {
            return Err(Error::TooLarge("the text is too long"));
        }
        let malformed = |message: String| Error::Parse { text: text.to_owned(), message };
        // The crate's other parser recurses without a bound that a thread's stack could hold.
        let mut expr = PrattParser::new()
            .max_recursion_depth(MAX_BRACKETS)
            .max_expression_node_count(MAX_NODES)
            .enable_optional_syntax(true)
            .parse(text)
            .map_err(|errors| malformed(errors.to_string()))?;
        check::bound_depth(&expr)?;
        check::meter(&mut expr, 0)?;
        Ok(Self { text: text.to_owned(), expr })
    }

    /// Parses an expression over `variables` only, and refuses one that surely is not a boolean.
    ///
    /// # Errors
    /// A configuration error, as [`Expression::parse`], or an undeclared variable, or another type.
    pub fn compile(text: &str, variables: &[&str]) -> Result<Self, Error> {
        let parsed = Self::parse(text)?;
        if let Some(name) = check::undeclared(&parsed.expr, variables) {
            return Err(Error::Parse {
                text: text.to_owned(),
                message: format!("undeclared reference to '{name}' (in container '')"),
            });
        }
        match check::surely(&parsed.expr) {
            Some(got) if got != "bool" => Err(Error::NotBoolean { text: text.to_owned(), got }),
            _ => Ok(parsed),
        }
    }

    /// The text it was parsed from.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Evaluates over the given variables.
    ///
    /// # Errors
    /// [`Error::Evaluate`] or [`Error::Result`]: other objects may give another answer.
    pub fn holds<'a>(&self, variables: impl IntoIterator<Item = (&'a str, &'a Json)>) -> Result<bool, Error> {
        let failed = |message: String| Error::Evaluate { text: self.text.clone(), message };
        let env = environment::shared().map_err(|reason| failed(reason.to_owned()))?;
        let mut context = Context::with_env(env);
        for (name, json) in variables {
            context.add_variable_from_value(name, from_json(json));
        }
        match environment::with_budget(|| context.resolve(&self.expr)) {
            Ok(Value::Bool(answer)) => Ok(answer),
            Ok(_) => Err(Error::Result(self.text.clone())),
            Err(error) => Err(failed(describe(&error))),
        }
    }
}

/// An evaluation's error without the values it met: they may come from a Secret.
fn describe(error: &ExecutionError) -> String {
    match error {
        ExecutionError::NoSuchKey(key) => format!("no such key: {key}"),
        ExecutionError::UndeclaredReference(name) => {
            format!("undeclared reference to '{name}' (in container '')")
        }
        ExecutionError::NoSuchOverload(overload) => {
            // Stand-ins are known by the names of what they stand for.
            format!("no such overload: {overload}").replace('@', "")
        }
        ExecutionError::UnexpectedType { got, want } => {
            format!("unexpected type: got {got}, want {want}")
        }
        ExecutionError::InvalidArgumentCount { expected, actual } => {
            format!("invalid argument count: expected {expected}, got {actual}")
        }
        ExecutionError::FunctionError { function, message }
            if matches!(message.as_str(), "too many steps" | "too much data") =>
        {
            format!("{function}: {message}")
        }
        ExecutionError::FunctionError { function, .. } => format!("error in function {function}"),
        ExecutionError::DivisionByZero(_) => "division by zero".to_owned(),
        ExecutionError::RemainderByZero(_) => "modulus by zero".to_owned(),
        ExecutionError::Overflow(..) => "integer overflow".to_owned(),
        ExecutionError::IndexOutOfBounds(_) => "index out of bounds".to_owned(),
        ExecutionError::DuplicateKey(_) => "repeated key in a map".to_owned(),
        _ => "unsupported operation on these types".to_owned(),
    }
}
