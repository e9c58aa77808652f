//! Evaluates CEL for readiness and health: the environment, limits and matching rules that
//! `readyExpr` and `healthCheckExprs` have in Flux.
//!
//! Never does IO and never reads a clock. Expressions are a tenant's text, so their length, nesting
//! and number of steps are bounded, and errors never show the values an expression looked at.
//! The apply adapter and the controllers may use it.
//!
//! Limits: an expression has at most [`MAX_TEXT`] bytes and [`MAX_NESTING`] nested loops, and one
//! evaluation visits at most [`MAX_STEPS`] list or map elements and makes at most [`MAX_BYTES`] of
//! texts and lists in all.

mod check;
mod environment;
mod error;
mod expression;
mod growth;
mod health;
mod value;

pub use error::Error;
pub use expression::Expression;
pub use health::{Health, Rule, Rules};

/// The longest expression accepted, in bytes.
pub const MAX_TEXT: usize = 8 * 1024;
/// How deep loops (`all`, `exists`, `map`, `filter`, …) may be nested.
pub const MAX_NESTING: usize = 4;
/// How many elements the loops of one evaluation may visit in all.
pub const MAX_STEPS: usize = 20_000;
/// How many bytes of new texts, lists and maps one evaluation may make in all.
pub const MAX_BYTES: usize = 64 << 20;
