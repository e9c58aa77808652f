//! Runs recorded cases against our engines and says how many hold.

mod envsubst;
mod kustomize;

use std::path::Path;

use anyhow::{Result, bail};
use clap::ValueEnum;

/// A format of recorded cases.
#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Suite {
    /// A file of JSON lines: variables first, then `{in, strict, out or error}`
    Envsubst,
    /// Folders with `in/`, `meta.json` and `expected.yaml` or an expected error
    Kustomize,
}

/// One case that did not hold.
pub(crate) struct Failure {
    name: String,
    input: String,
    expected: String,
    got: String,
}

/// What a suite found.
#[derive(Default)]
pub(crate) struct Outcome {
    passed: usize,
    failures: Vec<Failure>,
}

impl Outcome {
    fn note(&mut self, result: Result<(), Failure>) {
        match result {
            Ok(()) => self.passed += 1,
            Err(failure) => self.failures.push(failure),
        }
    }
}

/// Runs the cases below `path` whose name contains `filter`, and prints every failure in full.
pub(crate) fn run(suite: Suite, path: &Path, filter: &str) -> Result<()> {
    let outcome = match suite {
        Suite::Envsubst => envsubst::run(path, filter)?,
        Suite::Kustomize => kustomize::run(path, filter)?,
    };
    for Failure { name, input, expected, got } in &outcome.failures {
        println!("--- {name}\ninput:    {input}\nexpected: {expected}\ngot:      {got}\n");
    }
    println!("{} passed, {} failed", outcome.passed, outcome.failures.len());
    if outcome.passed + outcome.failures.len() == 0 {
        bail!("there is no case in {}", path.display());
    }
    if !outcome.failures.is_empty() {
        bail!("{} cases differ", outcome.failures.len());
    }
    Ok(())
}
