//! Words and engines do no IO; nothing sleeps, stubs or ignores.

use std::fs;

use anyhow::{Context, Result};

use super::workspace::Workspace;

/// What F0 and F1 must not reach for, outside tests and binaries.
const IMPURE: [&str; 12] = [
    "std::fs",
    "std::env",
    "std::net",
    "std::process",
    "std::thread",
    "tokio::",
    "async fn",
    "Instant::now",
    "SystemTime::now",
    "Timestamp::now",
    "Zoned::now",
    "rand::",
];

/// What no source file holds: it would hide work that is not done, or wait without an event.
const NOWHERE: [&str; 6] =
    ["todo!(", "unimplemented!(", "dbg!(", "#[ignore", "thread::sleep(", "#![deny(warnings)]"];

/// Names each line that breaks purity or leaves work behind.
pub(crate) fn check(workspace: &Workspace) -> Result<Vec<String>> {
    let mut violations = Vec::new();
    for package in &workspace.packages {
        if package.name == "xtask" {
            continue; // this file names the words it looks for
        }
        let pure = workspace.floors.get(&package.name).is_some_and(|&floor| floor <= 1);
        for path in package.sources()? {
            let shown = workspace.shown(&path);
            let text = fs::read_to_string(&path).with_context(|| shown.clone())?;
            let product = pure && shown.contains("/src/") && !shown.contains("/src/bin/");
            for (word, line) in offences(&text, product) {
                violations.push(format!("{shown}:{line}: `{word}` has no place here"));
            }
        }
    }
    Ok(violations)
}

fn offences(text: &str, pure: bool) -> Vec<(&'static str, usize)> {
    let mut found = Vec::new();
    let mut in_tests = false;
    for (index, line) in text.lines().enumerate() {
        in_tests |= line.trim_start().starts_with("#[cfg(test)]");
        if line.trim_start().starts_with("//") {
            continue;
        }
        let impure = if pure && !in_tests { &IMPURE[..] } else { &[] };
        found.extend(
            NOWHERE.iter().chain(impure).filter(|word| line.contains(**word)).map(|word| (*word, index + 1)),
        );
    }
    found
}

#[cfg(test)]
mod tests {
    use super::offences;

    #[test]
    fn engines_are_pure_but_their_tests_need_not_be() {
        let text = "use std::fs;\n// std::env in prose\n#[cfg(test)]\nmod tests { use std::env; }";
        assert_eq!(offences(text, true), [("std::fs", 1)]);
        assert!(offences(text, false).is_empty());
    }

    #[test]
    fn stubs_are_found_in_tests_too() {
        assert_eq!(offences("#[cfg(test)]\nfn a() { todo!() }", false), [("todo!(", 2)]);
    }
}
