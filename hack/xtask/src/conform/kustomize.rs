//! Builds recorded kustomizations with `kustomize-build`, as a process.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use super::{Failure, Outcome};

#[derive(Deserialize)]
struct Meta {
    path: String,
    options: Options,
    expect: Expect,
    #[serde(default)]
    needs_root_substitution: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Options {
    #[serde(default)]
    reorder: Option<String>,
    #[serde(default)]
    load_restrictions: Option<String>,
    #[serde(default)]
    add_managedby_label: bool,
}

#[derive(Deserialize)]
struct Expect {
    outcome: String,
    #[serde(default)]
    contains: Option<Vec<String>>,
    #[serde(default)]
    stdout_contains: Option<Vec<String>>,
    #[serde(default)]
    error_contains: Option<Vec<String>>,
    #[serde(default)]
    error_equals: Option<String>,
    #[serde(default)]
    error_regexp: Option<String>,
}

/// Runs one case folder, or every case folder below `path`.
pub(super) fn run(path: &Path, filter: &str) -> Result<Outcome> {
    let binary = build()?;
    let scratch = std::env::temp_dir().join(format!("sluice-conform-{}", std::process::id()));
    let mut outcome = Outcome::default();
    for case in cases(path)? {
        let name = case.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        if name.contains(filter) {
            let result = check(&case, &binary, &scratch).with_context(|| name.clone())?;
            outcome.note(result.map_err(|(expected, got)| Failure {
                input: case.join("in").display().to_string(),
                name,
                expected,
                got,
            }));
        }
    }
    if scratch.exists() {
        fs::remove_dir_all(&scratch)?;
    }
    Ok(outcome)
}

fn build() -> Result<PathBuf> {
    let program = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let output = Command::new(program)
        .args(["build", "--quiet", "--release", "-p", "sluice-kustomize", "--bin", "kustomize-build"])
        .args(["--message-format", "json-render-diagnostics"])
        .stderr(std::process::Stdio::inherit())
        .output()
        .context("building kustomize-build")?;
    ensure!(output.status.success(), "building kustomize-build failed");
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter_map(|message| message.get("executable")?.as_str().map(PathBuf::from))
        .next_back()
        .context("cargo named no executable")
}

fn cases(path: &Path) -> Result<Vec<PathBuf>> {
    if path.join("meta.json").exists() {
        return Ok(vec![path.to_owned()]);
    }
    let mut found = Vec::new();
    for entry in fs::read_dir(path).with_context(|| path.display().to_string())? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            found.extend(cases(&entry.path())?);
        }
    }
    found.sort();
    Ok(found)
}

/// `Err` carries what was expected and what came out.
fn check(case: &Path, binary: &Path, scratch: &Path) -> Result<Result<(), (String, String)>> {
    let meta: Meta = serde_json::from_slice(&fs::read(case.join("meta.json"))?)?;
    let mut root = case.join("in").canonicalize()?;
    if meta.needs_root_substitution {
        let copy = scratch.join("in");
        if copy.exists() {
            fs::remove_dir_all(&copy)?;
        }
        copy_with_root(&root, &copy, &copy.display().to_string())?;
        root = copy;
    }
    let root_text = root.display().to_string();
    let mut command = Command::new(binary);
    let legacy = meta.options.reorder.as_deref() == Some("legacy");
    command.args(["--reorder", if legacy { "legacy" } else { "none" }]);
    let unrestricted = meta.options.load_restrictions.as_deref() == Some("none");
    command.args([
        "--load-restrictor",
        if unrestricted { "LoadRestrictionsNone" } else { "LoadRestrictionsRootOnly" },
    ]);
    if meta.options.add_managedby_label {
        command.arg("--as-current-user-managed-by");
    }
    command.arg(clean(&root.join(meta.path.trim_start_matches('/'))));
    let output = command.output().context("running kustomize-build")?;
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if meta.expect.outcome == "success" {
        let expected = case.join("expected.yaml");
        if !output.status.success() {
            return Ok(Err(("success".to_owned(), stderr.into_owned())));
        }
        if expected.exists() {
            let wanted = fs::read_to_string(expected)?.replace("@ROOT@", &root_text);
            return Ok(if wanted == stdout { Ok(()) } else { Err((wanted, stdout.into_owned())) });
        }
        let parts = meta.expect.contains.or(meta.expect.stdout_contains).unwrap_or_default();
        return Ok(all_in(&parts, &[&stdout]));
    }
    if output.status.success() {
        return Ok(Err(("an error".to_owned(), stdout.into_owned())));
    }
    // Most expectations were recorded on a tree rooted at "/".
    let shortened = stderr.replace(&format!("{root_text}/"), "/").replace(&root_text, "/");
    let mut parts = meta.expect.error_contains.unwrap_or_default();
    parts.extend(meta.expect.error_equals);
    let parts: Vec<String> = parts.iter().map(|part| part.replace("@ROOT@", &root_text)).collect();
    if let Some(pattern) = meta.expect.error_regexp {
        let pattern =
            regex::Regex::new(&format!("(?s){}", pattern.replace("@ROOT@", &regex::escape(&root_text))))?;
        if !pattern.is_match(&stderr) && !pattern.is_match(&shortened) {
            return Ok(Err((format!("an error matching {pattern}"), stderr.into_owned())));
        }
    }
    Ok(all_in(&parts, &[&stderr, &shortened]))
}

fn all_in(parts: &[String], texts: &[&str]) -> Result<(), (String, String)> {
    match parts.iter().find(|part| !texts.iter().any(|text| text.contains(part.as_str()))) {
        None => Ok(()),
        Some(missing) => {
            Err((format!("a text with {missing:?}"), texts.first().copied().unwrap_or_default().to_owned()))
        }
    }
}

fn clean(path: &Path) -> PathBuf {
    path.components().filter(|part| !matches!(part, std::path::Component::CurDir)).collect()
}

fn copy_with_root(from: &Path, to: &Path, root: &str) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let (source, target) = {
            let entry = entry?;
            (entry.path(), to.join(entry.file_name()))
        };
        if source.is_dir() {
            copy_with_root(&source, &target, root)?;
        } else {
            match String::from_utf8(fs::read(&source)?) {
                Ok(text) => fs::write(&target, text.replace("@ROOT@", root))?,
                Err(binary) => fs::write(&target, binary.into_bytes())?,
            }
        }
    }
    Ok(())
}
