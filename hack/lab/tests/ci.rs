//! `.ci/run` fails with what to install where CI's machine lacks something, and leaves nothing out.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output};

use tempfile::TempDir;

const NOTHING: &str = "#!/bin/sh\nexit 0\n";
const GO: &str = "#!/bin/sh\necho go1.999.0\n";
const OLD_GO: &str = "#!/bin/sh\n[ \"$1\" = env ] && echo go1.19.8 && exit\necho 'no proxy' >&2\nexit 1\n";
/// What every machine has.
const BASE: [&str; 5] = ["dirname", "head", "sed", "sort", "tail"];

fn program(folder: &Path, name: &str, script: &str) {
    let path = folder.join(name);
    std::fs::write(&path, script).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

/// A machine with these programs only, which can install nothing.
fn machine(programs: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for name in BASE {
        let folders = std::env::split_paths(&std::env::var_os("PATH").unwrap()).collect::<Vec<_>>();
        let program = folders.iter().map(|folder| folder.join(name)).find(|path| path.exists()).unwrap();
        std::os::unix::fs::symlink(program, folder.path().join(name)).unwrap();
    }
    program(folder.path(), "apt-get", "#!/bin/sh\necho 'unable to locate package' >&2\nexit 100\n");
    for (name, script) in programs {
        program(folder.path(), name, script);
    }
    folder
}

fn run(machine: &TempDir) -> Output {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.ci/run");
    Command::new("/bin/bash").arg(script).env("PATH", machine.path()).output().unwrap()
}

fn refused(machine: &TempDir, words: &str) {
    let output = run(machine);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains(words), "{said}");
}

#[test]
fn what_is_lacking_and_cannot_be_installed_is_named() {
    refused(&machine(&[("git", NOTHING)]), "git and a C compiler are needed");
    refused(&machine(&[("git", NOTHING), ("cc", NOTHING)]), "a Rust toolchain");
    let without_go = machine(&[("git", NOTHING), ("cc", NOTHING), ("cargo", NOTHING)]);
    refused(&without_go, "or newer is needed to build kube-apiserver, and none could be installed");
}

#[test]
fn a_go_that_is_too_old_and_cannot_fetch_another_is_named_at_once() {
    let old = machine(&[("git", NOTHING), ("cc", NOTHING), ("cargo", NOTHING), ("go", OLD_GO)]);
    refused(&old, "or newer is needed to build kube-apiserver; go1.19.8 could not fetch it");
}

#[test]
fn everything_is_run_and_a_failure_is_passed_on() {
    let fails = "#!/bin/sh\necho \"$@\"\nexit 7\n";
    let whole = machine(&[("git", NOTHING), ("cc", NOTHING), ("go", GO), ("cargo", fails)]);
    let output = run(&whole);
    assert_eq!(output.status.code(), Some(7));
    // In particular no `--no-cluster`.
    assert_eq!(String::from_utf8_lossy(&output.stdout), "xtask test\n");
}
