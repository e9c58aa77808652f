//! What a snapshot shows of a tree: links, sparse directories, submodules, hostile names.
#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::io::Write;
use std::process::{Command, Stdio};

use sluice_git::{Bound, Checkout, Error, FetchOptions, Limits};
use sluice_tree::{Error as TreeError, Files, Kind};
use sluice_types::RelPath;
use support::http::Server;
use support::repository::{Repository, git};
use support::{Client, branch, content, remote};

fn paths(checkout: &Checkout) -> Vec<String> {
    content(checkout).into_iter().map(|(path, _)| path).collect()
}

fn path(text: &str) -> RelPath {
    RelPath::new(text).unwrap()
}

async fn fetch(server: &Server, client: &Client, options: &FetchOptions) -> Result<Checkout, Error> {
    let remote = remote(&server.url("app"));
    let resolved = client.resolve(&remote, &branch("main")).await.unwrap();
    client.fetch_with(&remote, &resolved, options).await
}

#[tokio::test]
async fn links_are_skipped_and_told() {
    let dir = tempfile::tempdir().unwrap();
    let app = Repository::new(dir.path(), "app");
    app.write("a/real", "1");
    app.write("b/real", "1");
    std::os::unix::fs::symlink("/etc/passwd", app.work.join("a/link")).unwrap();
    app.commit("one");
    let server = Server::start(dir.path()).await;
    let client = Client::new();
    let checkout = fetch(&server, &client, &FetchOptions::default()).await.unwrap();
    assert_eq!(paths(&checkout), ["a/real", "b/real"]);
    assert_eq!((checkout.skipped.symlinks, checkout.skipped.symlink_paths), (1, vec![path("a/link")]));
    assert!(checkout.files.object_id(&path("b")).is_some());
    assert!(checkout.files.object_id(&path("a")).is_none(), "a shows less than its tree");
    let names: Vec<String> = checkout.files.list(&path("")).unwrap().into_iter().map(|e| e.name).collect();
    assert_eq!(names, ["a", "b"]);
    assert_eq!(checkout.files.read(&path("a")).unwrap_err(), TreeError::NotAFile(path("a")));
    assert_eq!(checkout.files.list(&path("a/real")).unwrap_err(), TreeError::NotADirectory(path("a/real")));
    assert_eq!(checkout.files.kind(&path("a/link")).unwrap_err(), TreeError::NotFound(path("a/link")));
}

#[tokio::test]
async fn sparse_directories_are_all_that_is_shown() {
    let dir = tempfile::tempdir().unwrap();
    let app = Repository::new(dir.path(), "app");
    for name in ["top", "a/1", "a/b/2", "ab/3", "c/d/4"] {
        app.write(name, name);
    }
    app.commit("one");
    let server = Server::start(dir.path()).await;
    let client = Client::new();
    let sparse = |dirs: &[&str]| FetchOptions {
        sparse: dirs.iter().map(|dir| (*dir).to_owned()).collect(),
        ..FetchOptions::default()
    };
    let checkout = fetch(&server, &client, &sparse(&["./a", "c/d"])).await.unwrap();
    assert_eq!(paths(&checkout), ["a/1", "a/b/2", "c/d/4"]);
    assert_eq!(checkout.files.kind(&path("c")).unwrap(), Kind::Directory);
    for missing in ["missing", "../../etc", "a/1/x"] {
        let error = fetch(&server, &client, &sparse(&["a", missing])).await.unwrap_err();
        let start = "failed to sparse checkout directories : sparse checkout dir '";
        assert!(error.to_string().starts_with(start), "{error}");
    }
}

#[tokio::test]
async fn submodules_are_mounted_when_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let (inner, lib, app) = (
        Repository::new(dir.path(), "inner"),
        Repository::new(dir.path(), "lib"),
        Repository::new(dir.path(), "app"),
    );
    inner.write("deep", "3");
    inner.commit("inner");
    let add = |outer: &Repository, name: &str, at: &str| {
        let bare = dir.path().join(format!("{name}.git"));
        outer.git(&[
            "-c",
            "protocol.file.allow=always",
            "submodule",
            "add",
            "-q",
            bare.to_str().unwrap(),
            at,
        ]);
        git(
            &outer.work,
            &["config", "-f", ".gitmodules", &format!("submodule.{at}.url"), &format!("../{name}.git")],
        );
    };
    lib.write("two", "2");
    add(&lib, "inner", "nested/inner");
    lib.commit("lib");
    app.write("one", "1");
    add(&app, "lib", "deps/lib");
    app.commit("app");
    let server = Server::start(dir.path()).await;
    let client = Client::new();
    let plain = fetch(&server, &client, &FetchOptions::default()).await.unwrap();
    assert_eq!(
        (paths(&plain), plain.skipped.submodules),
        (vec![".gitmodules".to_owned(), "one".to_owned()], 1)
    );
    let options = FetchOptions { recurse_submodules: true, ..FetchOptions::default() };
    let full = fetch(&server, &client, &options).await.unwrap();
    let expected =
        [".gitmodules", "deps/lib/.gitmodules", "deps/lib/nested/inner/deep", "deps/lib/two", "one"];
    assert_eq!(paths(&full), expected);
    assert!(full.files.object_id(&path("deps")).is_none());

    git(&app.work, &["config", "-f", ".gitmodules", "submodule.deps/lib.url", "file:///etc"]);
    app.commit("evil");
    let error = fetch(&server, &client, &options).await.unwrap_err();
    assert!(matches!(error, Error::InvalidSubmodule(_)), "{error}");
}

/// Pushes a commit whose tree was written byte by byte.
fn hostile(app: &Repository, entries: &[(&str, &str, &str)]) {
    let mut tree = Vec::new();
    for (mode, name, id) in entries {
        tree.extend_from_slice(format!("{mode} {name}\0").as_bytes());
        tree.extend((0..40).step_by(2).map(|at| u8::from_str_radix(&id[at..at + 2], 16).unwrap()));
    }
    let mut child = Command::new("git")
        .args(["hash-object", "-t", "tree", "-w", "--literally", "--stdin"])
        .current_dir(&app.bare)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(&tree).unwrap();
    let output = child.wait_with_output().unwrap();
    let tree = String::from_utf8(output.stdout).unwrap().trim().to_owned();
    let commit = git(&app.bare, &["commit-tree", &tree, "-m", "hostile"]);
    git(&app.bare, &["update-ref", "refs/heads/main", &commit]);
}

#[tokio::test]
async fn trees_that_would_escape_a_checkout_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let app = Repository::new(dir.path(), "app");
    app.write("x", "1");
    app.commit("one");
    let blob = app.git(&["rev-parse", "HEAD:x"]);
    let server = Server::start(dir.path()).await;
    let client = Client::new();
    for name in ["..", ".git", ".GIT", "a/b", "git~1", ".git ."] {
        hostile(&app, &[("100644", name, &blob)]);
        let error = fetch(&server, &client, &FetchOptions::default()).await.unwrap_err();
        assert!(matches!(error, Error::Hostile { .. }), "{name}: {error}");
    }
    let tree = app.git(&["rev-parse", "HEAD^{tree}"]);
    hostile(&app, &[("120000", "A", &blob), ("40000", "a", &tree)]);
    let error = fetch(&server, &client, &FetchOptions::default()).await.unwrap_err();
    assert!(matches!(error, Error::Hostile { .. }), "{error}");
    hostile(&app, &[("100644", "README", &blob), ("100644", "readme", &blob)]);
    assert_eq!(
        paths(&fetch(&server, &client, &FetchOptions::default()).await.unwrap()),
        ["README", "readme"]
    );
}

#[tokio::test]
async fn bounds_hold() {
    let dir = tempfile::tempdir().unwrap();
    let app = Repository::new(dir.path(), "app");
    app.write("small", "1");
    app.write("large", "x".repeat(100_000));
    app.commit("one");
    let server = Server::start(dir.path()).await;
    let options = FetchOptions::default();
    let client = Client::limited(Limits { entries: 1, ..Limits::default() });
    assert!(matches!(fetch(&server, &client, &options).await.unwrap_err(), Error::Limit { .. }));
    let client = Client::limited(Limits { pack_bytes: 600, ..Limits::default() });
    let error = fetch(&server, &client, &options).await.unwrap_err();
    assert!(matches!(error, Error::Limit { .. }), "{error}");
}

#[tokio::test]
async fn a_file_beyond_its_bound_is_named_when_it_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let app = Repository::new(dir.path(), "app");
    app.write("small", "1");
    app.write("a/large", "x".repeat(2_000));
    app.commit("one");
    let server = Server::start(dir.path()).await;
    let client = Client::limited(Limits { file_bytes: 1_000, ..Limits::default() });
    let checkout = fetch(&server, &client, &FetchOptions::default()).await.unwrap();
    let read = |path: &str| checkout.files.read(&RelPath::new(path).unwrap());
    assert_eq!(&*read("small").unwrap(), b"1");
    let error = read("a/large").unwrap_err().to_string();
    assert_eq!(error, "'a/large': larger than the limit of 1000 bytes");
}

#[tokio::test]
async fn an_object_too_large_to_be_taken_in_at_all_is_a_limit_of_the_repository() {
    let dir = tempfile::tempdir().unwrap();
    let app = Repository::new(dir.path(), "app");
    app.write("huge", vec![b'x'; (64 << 20) + 1]);
    app.commit("one");
    let server = Server::start(dir.path()).await;
    let client = Client::limited(Limits { file_bytes: 1_000, ..Limits::default() });
    let error = fetch(&server, &client, &FetchOptions::default()).await.unwrap_err();
    assert!(
        matches!(&error, Error::Limit { bound: Bound::File(67_108_864), url } if !url.is_empty()),
        "{error}"
    );
}

#[tokio::test]
async fn mirrors_make_room_but_not_under_a_reader() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["app", "b"] {
        let repository = Repository::new(dir.path(), name);
        repository.write("x", name);
        repository.commit("one");
    }
    let server = Server::start(dir.path()).await;
    let client = Client::limited(Limits { disk_bytes: 1, ..Limits::default() });
    let mirrors = || std::fs::read_dir(client.dir.path().join("git")).unwrap().count();
    let first = fetch(&server, &client, &FetchOptions::default()).await.unwrap();
    client.checkout(&remote(&server.url("b")), &branch("main")).await.unwrap();
    assert_eq!(mirrors(), 2);
    assert_eq!(content(&first), [("x".to_owned(), "app".to_owned())]);
    drop(first);
    assert_eq!(mirrors(), 1);
}
