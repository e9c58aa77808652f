//! Every crate says first what it is for, what it must never do, and who may call it.

use std::fs;

use anyhow::{Context, Result};

use super::workspace::Workspace;

/// Names each crate whose opening comment lacks one of the three.
pub(crate) fn check(workspace: &Workspace) -> Result<Vec<String>> {
    let mut violations = Vec::new();
    for package in &workspace.packages {
        let Some(path) = package.root_file() else {
            violations.push(format!("{} has neither lib.rs nor main.rs", package.name));
            continue;
        };
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let lacking = lacking(&text);
        if !lacking.is_empty() {
            violations.push(format!(
                "{}: the opening comment does not say {}",
                workspace.shown(&path),
                lacking.join(", ")
            ));
        }
    }
    Ok(violations)
}

fn lacking(text: &str) -> Vec<&'static str> {
    let opening: String = text
        .lines()
        .take_while(|line| line.starts_with("//!"))
        .map(|line| line.trim_start_matches("//!").trim().to_lowercase() + " ")
        .collect();
    let mut lacking = Vec::new();
    if opening.trim().is_empty() {
        lacking.push("what the crate is for");
    }
    if !opening.contains("never ") {
        lacking.push("what it must never do");
    }
    if ![" may ", "only ", "called by "].iter().any(|words| opening.contains(words)) {
        lacking.push("who may call it");
    }
    lacking
}

#[cfg(test)]
mod tests {
    use super::lacking;

    #[test]
    fn all_three_must_be_said_before_the_code() {
        assert!(lacking("//! Reads trees.\n//! Never writes. Engines may call it.\nmod a;").is_empty());
        assert_eq!(lacking("//! Reads trees.\nmod a;").len(), 2);
        assert_eq!(lacking("mod a;\n//! Never. Any crate may call it.").len(), 3);
    }
}
