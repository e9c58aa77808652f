//! Every invariant in ARCHITECTURE.md names tests that exist.

use std::collections::HashSet;
use std::fs;

use anyhow::{Context, Result, ensure};

use super::workspace::Workspace;

/// Names each test that the table of invariants mentions and no source file has.
pub(crate) fn check(workspace: &Workspace) -> Result<Vec<String>> {
    let text = fs::read_to_string(workspace.path("ARCHITECTURE.md")).context("reading ARCHITECTURE.md")?;
    let named = named(&text);
    ensure!(!named.is_empty(), "ARCHITECTURE.md has no table of invariants");
    let mut functions = HashSet::new();
    for package in &workspace.packages {
        for path in package.sources()? {
            let source = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
            functions.extend(
                source.split("fn ").skip(1).filter_map(|rest| rest.split('(').next()).map(str::to_owned),
            );
        }
    }
    Ok(named
        .into_iter()
        .filter(|name| !functions.contains(*name))
        .map(|name| format!("ARCHITECTURE.md names the test `{name}`, which does not exist"))
        .collect())
}

fn named(text: &str) -> Vec<&str> {
    let table = text.split_once("## Invariants").map_or("", |(_, rest)| rest);
    let table = table.split_once("\n## ").map_or(table, |(table, _)| table);
    let code = table
        .lines()
        .filter(|line| line.starts_with('|'))
        .flat_map(|line| line.split('`').skip(1).step_by(2));
    code.filter(|name| name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_'))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::named;

    #[test]
    fn only_names_of_tests_in_the_table_are_looked_for() {
        let text = "`before`\n## Invariants\n| a | `a_test`, `cargo xtask tidy` |\n## Next\n| `after` |";
        assert_eq!(named(text), ["a_test"]);
    }
}
