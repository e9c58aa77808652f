//! Substitutes recorded texts.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde::Deserialize;
use sluice_kustomize::envsubst::{Limits, substitute};

use super::{Failure, Outcome};

#[derive(Deserialize)]
struct Variables {
    vars: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Vector {
    #[serde(rename = "in")]
    input: String,
    strict: bool,
    #[serde(default)]
    out: Option<String>,
    #[serde(default)]
    error: Option<String>,
}

/// Runs every line after the first of one file, or of every `.jsonl` file in a folder.
pub(super) fn run(path: &Path, filter: &str) -> Result<Outcome> {
    let mut files = Vec::new();
    if path.is_dir() {
        for entry in fs::read_dir(path).with_context(|| path.display().to_string())? {
            files.push(entry?.path());
        }
        files.retain(|file| file.extension().is_some_and(|extension| extension == "jsonl"));
        files.sort();
    } else {
        files.push(path.to_owned());
    }
    let mut outcome = Outcome::default();
    for file in files {
        let text = fs::read_to_string(&file).with_context(|| file.display().to_string())?;
        let mut lines = text.lines().enumerate();
        let (_, first) = lines.next().context("the file is empty")?;
        let Variables { vars } = serde_json::from_str(first).context("the first line holds the variables")?;
        for (index, line) in lines.filter(|(_, line)| !line.trim().is_empty()) {
            let name = format!("{}:{}", file.display(), index + 1);
            let vector: Vector = serde_json::from_str(line).with_context(|| name.clone())?;
            if vector.input.contains(filter) {
                outcome.note(check(name, &vector, &vars));
            }
        }
    }
    Ok(outcome)
}

fn check(name: String, vector: &Vector, vars: &BTreeMap<String, String>) -> Result<(), Failure> {
    let lookup = |name: &str| vars.get(name).map(String::as_str);
    let got = substitute(&vector.input, &lookup, vector.strict, Limits::default());
    let shown = match &got {
        Ok(text) => format!("{text:?}"),
        Err(error) => format!("error: {error}"),
    };
    let (holds, expected) = match (&vector.out, &vector.error, got) {
        (Some(out), _, got) => (got.is_ok_and(|text| text == *out), format!("{out:?}")),
        (None, Some(error), got) => (
            got.is_err_and(|got| {
                got.to_string().contains(error.as_str()) || error.contains(&got.to_string())
            }),
            format!("error: {error}"),
        ),
        (None, None, got) => (got.is_err(), "an error".to_owned()),
    };
    let input = vector.input.clone();
    if holds { Ok(()) } else { Err(Failure { name, input, expected, got: shown }) }
}
