//! `cluster` says plainly what it lacks, and stops what it started even when it was interrupted.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Output};

fn cluster(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sluice-lab"));
    command.arg("cluster").env("XDG_CACHE_HOME", folder.join("cache")).env_remove("KUBEBUILDER_ASSETS");
    command.arg("--dir").arg(folder.join("state"));
    command
}

fn refused(output: &Output, words: &[&str]) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "{said}");
    assert!(words.iter().all(|word| said.contains(word)), "{said}");
}

fn program(folder: &Path, name: &str, script: &str) {
    let path = folder.join(name);
    std::fs::write(&path, script).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn without_go_it_fails_and_says_what_to_install() {
    let folder = tempfile::tempdir().unwrap();
    let output = cluster(folder.path()).arg("build").env("PATH", folder.path()).output().unwrap();
    refused(&output, &["a Go toolchain is needed", "KUBEBUILDER_ASSETS"]);
}

#[test]
fn a_build_that_fails_is_not_passed_over() {
    let folder = tempfile::tempdir().unwrap();
    program(folder.path(), "go", "#!/bin/sh\necho 'dial tcp: connection refused' >&2\nexit 1\n");
    for command in ["build", "up", "test"] {
        let output = cluster(folder.path()).arg(command).env("PATH", folder.path()).output().unwrap();
        refused(
            &output,
            &["connection refused", "building etcd failed", "module proxy", "KUBEBUILDER_ASSETS"],
        );
    }
}

/// The packages that a command has built, by a `go` that makes empty files.
fn built(command: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let script = "#!/bin/sh\nwhile [ \"$1\" != -o ]; do shift; done\n: > \"$2\"\necho \"$3\" >> \"$0.log\"\n";
    program(folder.path(), "go", script);
    cluster(folder.path()).arg(command).env("PATH", folder.path()).output().unwrap();
    std::fs::read_to_string(folder.path().join("go.log")).unwrap()
}

#[test]
fn only_what_a_command_needs_is_built() {
    let (up, all) = (built("up"), built("build"));
    assert!(up.contains("cmd/kube-apiserver") && !up.contains("kubectl") && !up.contains("helm"), "{up}");
    assert!(all.starts_with(&up) && all.contains("cmd/kubectl") && all.contains("cmd/helm"), "{all}");
}

#[test]
fn binaries_that_are_named_are_used_and_their_failure_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let assets = folder.path().join("assets");
    std::fs::create_dir(&assets).unwrap();
    let up = || cluster(folder.path()).arg("up").env("KUBEBUILDER_ASSETS", &assets).output().unwrap();
    refused(&up(), &["holds no etcd"]);
    program(&assets, "etcd", "#!/bin/sh\nexit 3\n");
    program(&assets, "kube-apiserver", "#!/bin/sh\nexit 3\n");
    refused(&up(), &["etcd ended", "logs are in"]);
}

fn sleeper() -> Child {
    Command::new("sleep").arg("600").spawn().unwrap()
}

fn record(state: &Path, pid: u32, program: &Path) {
    std::fs::create_dir_all(state).unwrap();
    let program = program.display().to_string();
    let text = format!("[{{\"name\": \"etcd\", \"pid\": {pid}, \"program\": {program:?}}}]");
    std::fs::write(state.join("processes.json"), text).unwrap();
}

#[test]
fn down_stops_what_was_recorded_and_nobody_else() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let (mut ours, mut other) = (sleeper(), sleeper());
    let sleep = std::fs::read_link(format!("/proc/{}/exe", ours.id())).unwrap();

    // The number was given to another program meanwhile.
    record(&state, other.id(), Path::new("/nowhere/etcd"));
    assert!(cluster(folder.path()).arg("down").status().unwrap().success());
    assert!(other.try_wait().unwrap().is_none());
    assert!(!state.exists());

    record(&state, ours.id(), &sleep);
    assert!(cluster(folder.path()).arg("down").status().unwrap().success());
    assert!(!ours.wait().unwrap().success());
    assert!(!state.exists());
    assert!(
        cluster(folder.path()).arg("down").status().unwrap().success(),
        "a second time, with nothing there"
    );
    other.kill().unwrap();
    other.wait().unwrap();
}
