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
fn links_of_every_kind_are_followed_before_it_is_asked_where_they_lead() {
    let dir = scratch("kinds-of-links");
    let app = dir.join("app");
    fs::create_dir_all(dir.join("elsewhere")).unwrap();
    fs::create_dir_all(app.join("below")).unwrap();
    fs::write(dir.join("elsewhere/a.yaml"), OBJECT).unwrap();
    fs::write(app.join("inside.yaml"), OBJECT).unwrap();
    fs::write(app.join("below/a.yaml"), OBJECT).unwrap();
    let outside = dir.join("outside.yaml");
    let links = [
        ("absolute.yaml", outside.to_str().unwrap(), Some("security; file")),
        ("far.yaml", "/etc/hostname", Some("security; file")),
        ("first.yaml", "second.yaml", Some("security; file")),
        ("second.yaml", "third.yaml", Some("security; file")),
        ("third.yaml", "../outside.yaml", Some("security; file")),
        ("directory", "../elsewhere", Some("security; file")),
        ("away", "directory", Some("security; file")),
        ("dangling.yaml", "none.yaml", Some("no such file or directory")),
        ("dangling-outside.yaml", "../none.yaml", Some("no such file or directory")),
        ("round.yaml", "below/../inside.yaml", None),
        ("there-and-back.yaml", "../app/inside.yaml", None),
        ("inner", "below", None),
    ];
    for (name, target, _) in links {
        symlink(target, app.join(name)).unwrap();
    }
    symlink(app.join("inside.yaml"), app.join("absolute-inside.yaml")).unwrap();
    for (name, _, refused) in links.into_iter().chain([("absolute-inside.yaml", "", None)]) {
        let entry = if name.ends_with(".yaml") { name.to_owned() } else { format!("{name}/a.yaml") };
        fs::write(app.join("kustomization.yaml"), format!("resources: [{entry}]")).unwrap();
        let (success, text) = run(&app, &[]);
        match refused {
            None => assert!(success, "{entry}: {text}"),
            Some(why) => assert!(!success && text.contains(why), "{entry}: {text}"),
        }
    }
    // The directory that is built may itself be reached by a link.
    symlink("app", dir.join("link")).unwrap();
    fs::write(app.join("kustomization.yaml"), "resources: [inside.yaml]").unwrap();
    assert!(run(&dir.join("link"), &[]).0);
    fs::write(app.join("kustomization.yaml"), "resources: [third.yaml]").unwrap();
    assert!(run(&dir.join("link"), &[]).1.contains("security; file"));
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

#[test]
fn flags_are_taken_as_kustomize_takes_them() {
    let dir = scratch("flags");
    let app = dir.join("app");
    fs::write(app.join("outside.yaml"), OBJECT).unwrap();
    fs::write(app.join("kustomization.yaml"), "resources: [outside.yaml]\nsortOptions: {order: fifo}")
        .unwrap();
    let out = dir.join("out.yaml");
    let short = format!("-o{}", out.display());
    for flags in [
        &["--enable-helm", "--helm-command", "helm3", "--helm-api-versions=v1", "--helm-kube-version=1"][..],
        &["-e", "A=b", "--env=C", "--mount", "type=bind", "--network", "--network-name", "none"],
        &[
            "--as-current-user",
            "--enable-alpha-plugins",
            "--enable-exec=false",
            "--stack-trace",
            "--helm-debug",
        ],
        &[&short],
    ] {
        let (success, text) = run(&app, flags);
        assert!(success && (text.contains("ConfigMap") || text.is_empty()), "{flags:?}: {text}");
    }
    assert!(fs::read_to_string(out).unwrap().contains("ConfigMap"));
    for (flags, words) in [
        (&["--bogus"][..], "unknown flag: --bogus"),
        (&["-hx"], "unknown shorthand flag: 'x' in -x"),
        (&["-o"], "flag needs an argument: 'o' in -o"),
        (&["--output"], "flag needs an argument: --output"),
        (&["--enable-helm=maybe"], "invalid argument \"maybe\" for \"--enable-helm\" flag"),
        (&["other"], "specify one path to kustomization.yaml"),
        (&["--", "other"], "specify one path to kustomization.yaml"),
        (&["--reorder", "x"], "illegal flag value --reorder x; legal values: [legacy none]"),
        (&["--load-restrictor", "x"], "illegal flag value --load-restrictor x; legal values: ["),
    ] {
        let (success, text) = run(&app, flags);
        assert!(!success && text.contains(words), "{flags:?}: {text}");
    }
}

#[test]
fn an_order_given_twice_is_warned_of_where_the_flag_was_given() {
    let dir = scratch("order");
    let app = dir.join("app");
    fs::write(app.join("outside.yaml"), OBJECT).unwrap();
    fs::write(app.join("kustomization.yaml"), "resources: [outside.yaml]\nsortOptions: {order: fifo}")
        .unwrap();
    let told = |flags: &[&str]| {
        let out = Command::new(env!("CARGO_BIN_EXE_kustomize-build")).arg(&app).args(flags).output().unwrap();
        assert!(out.status.success());
        String::from_utf8(out.stderr).unwrap()
    };
    assert_eq!(told(&[]), "");
    for order in ["none", "legacy"] {
        let text = told(&["--reorder", order]);
        assert!(
            text.contains("Flag --reorder has been deprecated, use the new 'sortOptions' field"),
            "{text}"
        );
        assert!(
            text.contains("Warning: Sorting order is set both in 'kustomization.yaml' ('sortOptions')"),
            "{text}"
        );
    }
}
