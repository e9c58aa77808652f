//! Files can be read in one sitting.

use std::fs;

use anyhow::{Context, Result};

use super::workspace::Workspace;

const LONGEST: usize = 500;
const LONGEST_MEDIAN: usize = 150;

/// Names each file over the limit that is no listed table, and gives the median length.
pub(crate) fn check(workspace: &Workspace) -> Result<(Vec<String>, usize)> {
    let mut violations = Vec::new();
    let mut lengths = Vec::new();
    for package in &workspace.packages {
        for path in package.sources()? {
            let shown = workspace.shown(&path);
            let lines = fs::read_to_string(&path).with_context(|| shown.clone())?.lines().count();
            if lines > LONGEST && !workspace.tables.contains(&shown) {
                violations.push(format!("{shown} has {lines} lines, more than {LONGEST}"));
            }
            lengths.push(lines);
        }
    }
    for table in workspace.tables.iter().filter(|table| !workspace.has(table)) {
        violations.push(format!("{table} is listed as a table but does not exist"));
    }
    lengths.sort_unstable();
    let median = lengths.get(lengths.len() / 2).copied().unwrap_or(0);
    if median > LONGEST_MEDIAN {
        violations.push(format!("the median file has {median} lines, more than {LONGEST_MEDIAN}"));
    }
    Ok((violations, median))
}
