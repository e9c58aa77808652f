//! The command over a real directory.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

const OBJECT: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n";

fn scratch(name: &str) -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_dir_all(&dir);
    fs::create_dir_all(dir.join("app")).unwrap();
    fs::write(dir.join("outside.yaml"), OBJECT).unwrap();
    dir
}

fn run(dir: &Path, flags: &[&str]) -> (bool, String) {
    let out = Command::new(env!("CARGO_BIN_EXE_kustomize-build")).arg(dir).args(flags).output().unwrap();
    let text = if out.status.success() { out.stdout } else { out.stderr };
    (out.status.success(), String::from_utf8(text).unwrap())
}

#[test]
fn a_link_does_not_lead_out_of_the_directory_of_its_kustomization() {
    let dir = scratch("links");
    let app = dir.join("app");
    symlink("../outside.yaml", app.join("link.yaml")).unwrap();
    symlink("..", app.join("up")).unwrap();
    for entry in ["link.yaml", "up/outside.yaml"] {
        for kustomization in [
            format!("resources: [{entry}]"),
            format!("configMapGenerator: [{{name: g, files: [{entry}]}}]"),
            format!("secretGenerator: [{{name: g, envs: [{entry}]}}]"),
            format!("namePrefix: a\npatches: [{{path: {entry}}}]"),
            format!("namePrefix: a\nconfigurations: [{entry}]"),
            format!("namePrefix: a\nopenapi: {{path: {entry}}}"),
        ] {
            fs::write(app.join("kustomization.yaml"), &kustomization).unwrap();
            let (success, text) = run(&app, &[]);
            assert!(!success && text.contains("security; file"), "{kustomization}: {text}");
        }
    }
    fs::write(app.join("kustomization.yaml"), "resources: [link.yaml]").unwrap();
    assert!(run(&app, &["--load-restrictor=LoadRestrictionsNone"]).0);
    fs::write(app.join("inside.yaml"), OBJECT).unwrap();
    symlink("inside.yaml", app.join("near.yaml")).unwrap();
    fs::write(app.join("kustomization.yaml"), "resources: [near.yaml]").unwrap();
    assert!(run(&app, &[]).0);
}

#[test]
fn links_in_a_ring_are_refused() {
    let dir = scratch("ring");
    let app = dir.join("app");
    symlink("b", app.join("a")).unwrap();
    symlink("a", app.join("b")).unwrap();
    symlink(".", app.join("self")).unwrap();
    for entry in ["a", "self"] {
        fs::write(app.join("kustomization.yaml"), format!("resources: [{entry}]")).unwrap();
        let (success, text) = run(&app, &[]);
        assert!(!success, "{entry}: {text}");
    }
}
