//! What we build on is licensed for it, and the banned crates stay out: the two lists stand in deny.toml.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use super::workspace::Workspace;

#[derive(Deserialize)]
struct Graph {
    packages: Vec<Crate>,
}

#[derive(Deserialize)]
struct Crate {
    name: String,
    version: String,
    license: Option<String>,
    source: Option<String>,
}

/// Names each dependency on this platform whose licence is not allowed, or that is banned.
pub(crate) fn check(workspace: &Workspace) -> Result<Vec<String>> {
    let text = fs::read_to_string(workspace.path("deny.toml")).context("reading deny.toml")?;
    let allowed = quoted(section(&text, "allow = ["));
    let banned: Vec<String> =
        section(&text, "deny = [").lines().filter_map(|line| quoted(line).into_iter().next()).collect();
    ensure!(!allowed.is_empty() && !banned.is_empty(), "deny.toml lists no licences or no bans");
    let mut violations = Vec::new();
    for package in used()? {
        let name = format!("{} {}", package.name, package.version);
        if banned.contains(&package.name) {
            violations.push(format!("{name} is banned by deny.toml"));
        }
        let licence = package.license.unwrap_or_default();
        if package.source.is_some() && !permits(&licence, &allowed) {
            violations.push(format!("{name} has licence '{licence}', which deny.toml does not allow"));
        }
    }
    Ok(violations)
}

/// The crates that a build for this machine compiles.
fn used() -> Result<Vec<Crate>> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let tree = Command::new(&cargo)
        .args(["tree", "--workspace", "--edges", "normal,build", "--prefix", "none", "--format", "{p}"])
        .output()
        .context("running cargo tree")?;
    ensure!(tree.status.success(), "cargo tree failed: {}", String::from_utf8_lossy(&tree.stderr));
    let listed = String::from_utf8_lossy(&tree.stdout).into_owned();
    let linked: std::collections::HashSet<(&str, &str)> = listed
        .lines()
        .filter_map(|line| {
            let mut words = line.split(' ');
            Some((words.next()?, words.next()?.trim_start_matches('v')))
        })
        .collect();
    let output = Command::new(&cargo)
        .args(["metadata", "--format-version", "1"])
        .output()
        .context("running cargo metadata")?;
    ensure!(output.status.success(), "cargo metadata failed: {}", String::from_utf8_lossy(&output.stderr));
    let graph: Graph = serde_json::from_slice(&output.stdout).context("reading cargo metadata")?;
    Ok(graph
        .packages
        .into_iter()
        .filter(|package| linked.contains(&(&*package.name, &*package.version)))
        .collect())
}

fn section<'a>(text: &'a str, start: &str) -> &'a str {
    text.split_once(start).and_then(|(_, rest)| rest.split_once("\n]")).map_or("", |(section, _)| section)
}

fn quoted(text: &str) -> Vec<String> {
    text.split('"').skip(1).step_by(2).map(str::to_owned).collect()
}

/// An SPDX expression of `AND` and `OR`; parentheses group alternatives.
fn permits(expression: &str, allowed: &[String]) -> bool {
    let plain = expression.replace(['(', ')'], "").replace('/', " OR ");
    if expression.contains("AND") {
        return plain.split(" AND ").all(|part| permits(part, allowed));
    }
    plain.split(" OR ").any(|licence| allowed.iter().any(|name| name == licence.trim()))
}

#[cfg(test)]
mod tests {
    use super::permits;

    #[test]
    fn one_allowed_alternative_is_enough_but_every_part_must_be() {
        let allowed = ["MIT".to_owned(), "ISC".to_owned()];
        for (expression, expected) in [
            ("MIT", true),
            ("MIT OR GPL-3.0", true),
            ("MIT/Apache-2.0", true),
            ("GPL-3.0", false),
            ("MIT AND ISC", true),
            ("ISC AND (MIT OR GPL-3.0)", true),
            ("MIT AND GPL-3.0", false),
            ("", false),
        ] {
            assert_eq!(permits(expression, &allowed), expected, "{expression}");
        }
    }
}
