//! Every kind of reference, over smart HTTP.
#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use sluice_git::{Error, FetchOptions, Reference};
use sluice_tree::{Files, Kind};
use sluice_types::RelPath;
use support::http::{Behaviour, Server};
use support::repository::{Repository, git};
use support::{Client, branch, content, remote, text};

struct World {
    dir: tempfile::TempDir,
    app: Repository,
}

fn world() -> World {
    let dir = tempfile::tempdir().unwrap();
    let app = Repository::new(dir.path(), "app");
    World { dir, app }
}

#[tokio::test]
async fn a_branch_is_read_without_a_checkout_and_followed_incrementally() {
    let world = world();
    world.app.write("a/one.txt", "one");
    world.app.write("run.sh", "#!");
    world.app.make_executable("run.sh");
    let first = world.app.commit("first line\n\nbody");
    for old in [false, true] {
        let server = Server::with(world.dir.path(), Behaviour { old, ..Behaviour::default() }).await;
        let (client, remote) = (Client::new(), remote(&server.url("app")));
        let resolved = client.resolve(&remote, &branch("main")).await.unwrap();
        assert_eq!(resolved.revision.as_str(), format!("main@sha1:{}", world.app.head()));
        let checkout = client.fetch(&remote, &resolved).await.unwrap();
        if !old {
            assert_eq!(checkout.commit.hash, first);
            assert_eq!(checkout.commit.subject(), "first line");
            assert_eq!(checkout.commit.author, "A <a@example.com>");
        }
        assert_eq!(text(&checkout, "a/one.txt"), "one");
        assert_eq!(checkout.files.kind(&RelPath::new("run.sh").unwrap()).unwrap(), Kind::Executable);
        let one = RelPath::new("a/one.txt").unwrap();
        let before = checkout.files.object_id(&one);

        world.app.write("two.txt", format!("two {old}"));
        let second = world.app.commit("second");
        let later = client.checkout(&remote, &branch("main")).await.unwrap();
        assert_eq!(later.commit.hash, second);
        assert_eq!(later.files.object_id(&one), before);
        assert_eq!(text(&later, "two.txt"), format!("two {old}"));
        assert_eq!(text(&checkout, "a/one.txt"), "one");
        assert!(client.fetch(&remote, &resolved).await.is_ok(), "the older state is still at hand");
    }
}

#[tokio::test]
async fn tags_are_peeled_and_may_move() {
    let world = world();
    world.app.write("x", "1");
    let one = world.app.commit("one");
    world.app.git(&["tag", "-a", "-m", "annotated", "v1"]);
    world.app.git(&["tag", "light"]);
    world.app.push();
    let server = Server::start(world.dir.path()).await;
    let (client, remote) = (Client::new(), remote(&server.url("app")));
    let tag = |name: &str| Reference::Tag(name.to_owned());
    let resolved = client.resolve(&remote, &tag("v1")).await.unwrap();
    assert_eq!(resolved.revision.as_str(), format!("v1@sha1:{one}"));
    let checkout = client.fetch(&remote, &resolved).await.unwrap();
    let info = checkout.tag.unwrap();
    assert_eq!(info.hash.as_deref(), Some(world.app.git(&["rev-parse", "v1"]).as_str()));
    assert!(info.signed.signature.is_none());
    let light = client.checkout(&remote, &tag("light")).await.unwrap().tag.unwrap();
    assert_eq!((light.name.as_str(), light.hash), ("light", None));

    world.app.write("x", "2");
    let two = world.app.commit("two");
    world.app.git(&["tag", "-f", "-a", "-m", "moved", "v1"]);
    world.app.push();
    let moved = client.resolve(&remote, &tag("v1")).await.unwrap();
    assert_eq!(moved.revision.as_str(), format!("v1@sha1:{two}"));
    assert_eq!(text(&client.fetch(&remote, &moved).await.unwrap(), "x"), "2");
}

#[tokio::test]
async fn a_range_takes_the_newest_tag_and_the_later_commit_among_equals() {
    let world = world();
    let tags = [("v1.0.0", 100), ("1.0.1+a", 300), ("1.0.1+b", 200), ("v1.1", 400), ("v2025.02.03", 500)];
    for (name, seconds) in tags {
        world.app.write("version", name);
        let date = format!("{seconds} +0000");
        world.app.git(&["add", "-A"]);
        world.app.git(&["-c", "user.name=x", "commit", "-q", "-m", name, "--date", &date]);
        // The committer's date counts.
        let tree = world.app.git(&["rev-parse", "HEAD^{tree}"]);
        let raw = format!("tree {tree}\nauthor A <a@x> {date}\ncommitter A <a@x> {date}\n\n{name}\n");
        std::fs::write(world.app.work.join(".git/raw"), raw).unwrap();
        let commit = world.app.git(&["hash-object", "-t", "commit", "-w", ".git/raw"]);
        world.app.git(&["tag", name, &commit]);
    }
    world.app.push();
    let server = Server::start(world.dir.path()).await;
    let (client, remote) = (Client::new(), remote(&server.url("app")));
    for (range, tag) in [(">=1.0.0", "v2025.02.03"), ("1.0.x", "1.0.1+a"), ("<=1.0.0", "v1.0.0")] {
        let checkout = client.checkout(&remote, &Reference::Semver(range.to_owned())).await.unwrap();
        assert_eq!(text(&checkout, "version"), tag, "{range}");
        assert_eq!(checkout.tag.unwrap().name, tag);
    }
    let error = client.resolve(&remote, &Reference::Semver(">9999".to_owned())).await.unwrap_err();
    assert_eq!(error.to_string(), "no match found for semver: >9999");
    let error = client.resolve(&remote, &Reference::Semver("nonsense".to_owned())).await.unwrap_err();
    assert!(matches!(error, Error::Range(_)), "{error}");
}

#[tokio::test]
async fn a_name_may_be_any_reference() {
    let world = world();
    world.app.write("x", "1");
    let main = world.app.commit("one");
    world.app.git(&["tag", "-a", "-m", "annotated", "v1"]);
    world.app.push();
    world.app.git(&["checkout", "-q", "--orphan", "pull"]);
    world.app.write("x", "pull");
    world.app.git(&["add", "-A"]);
    world.app.git(&["commit", "-q", "-m", "pull"]);
    let pull = world.app.head();
    world.app.git(&["push", "-q", "origin", "HEAD:refs/pull/1/head"]);
    let server = Server::start(world.dir.path()).await;
    let (client, remote) = (Client::new(), remote(&server.url("app")));
    for (name, hash) in [
        ("refs/heads/main", &main),
        ("refs/tags/v1", &main),
        ("refs/tags/v1^{}", &main),
        ("refs/pull/1/head", &pull),
    ] {
        let resolved = client.resolve(&remote, &Reference::Name(name.to_owned())).await.unwrap();
        assert_eq!(resolved.revision.as_str(), format!("{name}@sha1:{hash}"));
        assert_eq!(&client.fetch(&remote, &resolved).await.unwrap().commit.hash, hash);
    }
    for name in ["refs/heads/none", "refs/heads/main^{}", "refs/tags/none"] {
        let error = client.resolve(&remote, &Reference::Name(name.to_owned())).await.unwrap_err();
        assert_eq!(error.to_string(), format!("unable to resolve ref '{name}' to a specific commit"));
    }
}

#[tokio::test]
async fn a_commit_is_found_by_its_hash_or_on_its_branch_only() {
    let world = world();
    world.app.write("x", "1");
    let old = world.app.commit("one");
    world.app.write("x", "2");
    world.app.commit("two");
    world.app.git(&["checkout", "-q", "-b", "side"]);
    world.app.write("x", "3");
    let side = world.app.commit("three");
    for behaviour in [Behaviour::default(), Behaviour { old: true, ..Behaviour::default() }] {
        let server = Server::with(world.dir.path(), behaviour).await;
        let (client, remote) = (Client::new(), remote(&server.url("app")));
        let commit = |hash: &str, branch: Option<&str>| Reference::Commit {
            hash: hash.to_owned(),
            branch: branch.map(str::to_owned),
        };
        let bare = client.resolve(&remote, &commit(&old, None)).await.unwrap();
        assert_eq!(bare.revision.as_str(), format!("sha1:{old}"));
        assert_eq!(server.requests(), 0, "a hash needs no listing");
        assert_eq!(text(&client.fetch(&remote, &bare).await.unwrap(), "x"), "1");

        let on_main = client.resolve(&remote, &commit(&old, Some("main"))).await.unwrap();
        assert_eq!(on_main.revision.as_str(), format!("main@sha1:{old}"));
        assert_eq!(text(&client.fetch(&remote, &on_main).await.unwrap(), "x"), "1");

        let elsewhere = client.resolve(&remote, &commit(&side, Some("main"))).await.unwrap();
        let error = client.fetch(&remote, &elsewhere).await.unwrap_err();
        assert!(matches!(error, Error::CommitNotFound { .. }), "{error}");

        let unknown = client.resolve(&remote, &commit(&"1".repeat(40), None)).await.unwrap();
        let error = client.fetch(&remote, &unknown).await.unwrap_err();
        assert!(matches!(error, Error::CommitNotFound { .. } | Error::NotOffered { .. }), "{error}");
    }
}

#[tokio::test]
async fn what_is_missing_is_named() {
    let world = world();
    Repository::new(world.dir.path(), "empty");
    world.app.commit("one");
    for old in [false, true] {
        let server = Server::with(world.dir.path(), Behaviour { old, ..Behaviour::default() }).await;
        let client = Client::new();
        let error = client.resolve(&remote(&server.url("empty")), &branch("main")).await.unwrap_err();
        assert_eq!(error.to_string(), "git repository is empty");
        let url = server.url("app");
        let error = client.resolve(&remote(&url), &branch("none")).await.unwrap_err();
        let expected = format!("couldn't find remote ref \"refs/heads/none\", git repository: '{url}'");
        assert_eq!(error.to_string(), expected);
        let error = client.resolve(&remote(&server.url("none")), &branch("main")).await.unwrap_err();
        assert!(matches!(error, Error::RepositoryNotFound { .. }), "{error}");
    }
}

#[tokio::test]
async fn the_other_hash_function_is_refused_in_so_many_words() {
    let dir = tempfile::tempdir().unwrap();
    git(dir.path(), &["init", "-q", "--bare", "--object-format=sha256", "app.git"]);
    let server = Server::start(dir.path()).await;
    let error = Client::new().resolve(&remote(&server.url("app")), &branch("main")).await.unwrap_err();
    assert!(error.to_string().contains("only SHA-1 repositories are supported"), "{error}");
}

#[tokio::test]
async fn a_rewritten_branch_is_followed() {
    let world = world();
    world.app.write("x", "1");
    world.app.commit("one");
    let server = Server::start(world.dir.path()).await;
    let (client, remote) = (Client::new(), remote(&server.url("app")));
    client.checkout(&remote, &branch("main")).await.unwrap();
    world.app.write("x", "2");
    world.app.git(&["add", "-A"]);
    world.app.git(&["commit", "-q", "--amend", "-m", "rewritten"]);
    world.app.push();
    let checkout = client.checkout(&remote, &branch("main")).await.unwrap();
    assert_eq!(content(&checkout), [("x".to_owned(), "2".to_owned())]);
}

#[tokio::test]
async fn many_passes_share_few_requests() {
    let world = world();
    world.app.commit("one");
    let server = Server::start(world.dir.path()).await;
    let (client, remote) = (Client::new(), remote(&server.url("app")));
    let main = branch("main");
    let resolved = client.resolve(&remote, &main).await.unwrap();
    let before = server.requests();
    let options = FetchOptions::default();
    let cancel = tokio_util::sync::CancellationToken::new();
    let passes = (0..20).map(|_| async {
        client.mirrors.resolve(&remote, &main, &cancel).await.unwrap();
        client.mirrors.fetch(&remote, &resolved, &options, &cancel).await.unwrap();
    });
    futures::future::join_all(passes).await;
    // One or two listings of two requests, and one fetch of two.
    assert!(server.requests() - before <= 8, "{} requests", server.requests() - before);
}
