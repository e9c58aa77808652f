//! Starts other programs of the workspace, through cargo.

use std::process::Command;

use anyhow::{Context, Result, bail};

fn cargo(arguments: &[&str]) -> Result<()> {
    let program = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let status =
        Command::new(&program).args(arguments).status().with_context(|| format!("starting {program}"))?;
    if !status.success() {
        bail!("`cargo {}` failed ({status})", arguments.join(" "));
    }
    Ok(())
}

fn step(title: &str, arguments: &[&str]) -> Result<()> {
    println!("\n== {title}: cargo {}", arguments.join(" "));
    cargo(arguments)
}

/// The processes of the loop, as the demo and the scenarios start them.
const PROCESSES: [&str; 8] = [
    "-p",
    "sluice-source-controller",
    "-p",
    "sluice-kustomize-controller",
    "-p",
    "sluice-localapi",
    "-p",
    "sluice-kustomize",
];

/// Builds the processes of the loop and shows them at work.
pub(crate) fn demo(flags: &[String]) -> Result<()> {
    cargo(&[&["build", "-p", "sluice-lab"], &PROCESSES[..]].concat())?;
    lab("demo", flags)
}

/// Builds optimised processes and measures them.
pub(crate) fn bench(flags: &[String]) -> Result<()> {
    cargo(&[&["build", "--release"], &PROCESSES[..]].concat())?;
    lab_with(&["--release"], "bench", flags)
}

/// Runs a command of the laboratory.
pub(crate) fn lab(command: &str, flags: &[String]) -> Result<()> {
    lab_with(&[], command, flags)
}

fn lab_with(profile: &[&str], command: &str, flags: &[String]) -> Result<()> {
    let mut arguments = vec!["run", "--quiet"];
    arguments.extend(profile);
    arguments.extend(["-p", "sluice-lab", "--", command]);
    arguments.extend(flags.iter().map(String::as_str));
    cargo(&arguments)
}

/// Writes or compares the generated files.
pub(crate) fn generate(check: bool) -> Result<()> {
    let mut arguments = vec!["run", "--quiet", "-p", "sluice-gen", "--"];
    if check {
        arguments.push("--check");
    }
    cargo(&arguments)
}

/// All that CI checks: formatting, tidy, generated files, lints, tests, and the scenarios on a real server.
pub(crate) fn test(no_cluster: bool) -> Result<()> {
    step("formatting", &["fmt", "--all", "--check"])?;
    println!("\n== tidy");
    super::tidy::run()?;
    if !no_cluster {
        // First: a machine that cannot build them says so before an hour of tests, not after it.
        println!("\n== servers of a real cluster");
        lab("cluster", &["build".to_owned()])?;
    }
    step("lints", &["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"])?;
    println!("\n== generated files");
    generate(true)?;
    step("processes", &[&["build"], &PROCESSES[..]].concat())?;
    step("tests", &["test", "--workspace"])?;
    if no_cluster {
        println!("\nThe scenarios on a real API server were left out (--no-cluster).");
        return Ok(());
    }
    println!("\n== scenarios on a real API server");
    lab("cluster", &["test".to_owned()])
}
