//! What one process fetched serves the next one.
#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::path::{Path, PathBuf};

use sluice_git::{Auth, Error, Limits, Reference};
use support::http::{Behaviour, Server};
use support::repository::Repository;
use support::{Client, adjusted, branch, remote, text};

/// Bytes that do not compress.
fn noise(count: usize) -> Vec<u8> {
    let mut state = 1_u32;
    let next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state.to_le_bytes()[1]
    };
    std::iter::repeat_with(next).take(count).collect()
}

fn repository() -> (tempfile::TempDir, Repository) {
    let dir = tempfile::tempdir().unwrap();
    let app = Repository::new(dir.path(), "app");
    app.write("noise", noise(200_000));
    app.write("x", "1");
    app.commit("one");
    (dir, app)
}

/// Fetching everything again would exceed this.
fn frugal() -> Limits {
    Limits { pack_bytes: 20_000, ..Limits::default() }
}

fn mirrors(client: &Client) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(client.dir.path().join("git")).unwrap();
    entries.map(|entry| entry.unwrap().path()).collect()
}

fn packs(mirror: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(mirror.join("objects/pack")).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.extension().is_some_and(|ext| ext == "pack")).collect()
}

#[tokio::test]
async fn after_a_restart_only_what_is_new_is_fetched() {
    let (dir, app) = repository();
    let server = Server::start(dir.path()).await;
    let (remote, main) = (remote(&server.url("app")), branch("main"));
    let client = Client::new();
    client.checkout(&remote, &main).await.unwrap();

    // The same commit: a greeting and a listing.
    let (client, before) = (client.restarted(frugal()), server.requests());
    let checkout = client.checkout(&remote, &main).await.unwrap();
    assert_eq!((checkout.files.len(), server.requests() - before), (2, 2));
    assert_eq!(text(&checkout, "x"), "1");

    for round in ["2", "3"] {
        app.write("x", round);
        app.commit("more");
        let checkout = client.checkout(&remote, &main).await.unwrap();
        assert_eq!((checkout.files.len(), text(&checkout, "x").as_str()), (2, round));
    }
    // What was written one by one is built upon as well.
    app.write("x", "4");
    app.commit("more");
    let client = client.restarted(frugal());
    assert_eq!(text(&client.checkout(&remote, &main).await.unwrap(), "x"), "4");
    assert_eq!(mirrors(&client).len(), 1);
}

#[tokio::test]
async fn a_mirror_that_was_left_shows_a_commit_only_when_the_server_offers_it() {
    let (dir, app) = repository();
    let server = Server::with(
        dir.path(),
        Behaviour { authorization: Some("Bearer one".to_owned()), ..Behaviour::default() },
    )
    .await;
    let with = |token: &str| {
        adjusted(&server.url("app"), |remote| remote.auth = Auth::Bearer(token.to_owned().into()))
    };
    let commit = Reference::Commit { hash: app.head(), branch: None };
    let client = Client::new();
    client.checkout(&with("one"), &commit).await.unwrap();
    let client = client.restarted(frugal());
    let stranger = client.checkout(&with("two"), &commit).await.unwrap_err();
    assert!(matches!(stranger, Error::Auth { .. }), "{stranger}");
    let before = server.requests();
    let client = client.restarted(frugal());
    client.checkout(&with("one"), &commit).await.unwrap();
    assert!(server.requests() > before);
    let known = server.requests();
    client.checkout(&with("one"), &commit).await.unwrap();
    assert_eq!(server.requests(), known, "it was offered once");
}

#[tokio::test]
async fn a_damaged_mirror_is_replaced() {
    let (dir, app) = repository();
    let server = Server::start(dir.path()).await;
    let (remote, main) = (remote(&server.url("app")), branch("main"));
    let client = Client::new();
    client.checkout(&remote, &main).await.unwrap();
    for pack in mirrors(&client).iter().flat_map(|mirror| packs(mirror)) {
        let mut bytes = std::fs::read(&pack).unwrap();
        let at = bytes.len() / 2;
        bytes[at] ^= 0x55;
        std::fs::write(&pack, bytes).unwrap();
    }
    let client = client.restarted(Limits::default());
    let checkout = client.checkout(&remote, &main).await.unwrap();
    let path = sluice_types::RelPath::new("noise").unwrap();
    assert!(sluice_tree::Files::read(&*checkout.files, &path).is_err());
    drop(checkout);
    let checkout = client.checkout(&remote, &main).await.unwrap();
    assert_eq!(*sluice_tree::Files::read(&*checkout.files, &path).unwrap(), *noise(200_000));
    app.commit("nothing");
    client.checkout(&remote, &main).await.unwrap();
    drop(checkout);
    assert_eq!(mirrors(&client).len(), 1);
}

#[tokio::test]
async fn what_was_not_finished_or_takes_too_much_room_goes() {
    let (dir, _app) = repository();
    let server = Server::start(dir.path()).await;
    let client = Client::new();
    client.checkout(&remote(&server.url("app")), &branch("main")).await.unwrap();
    let unfinished = client.dir.path().join("git/mirror-0123-0");
    std::fs::create_dir_all(unfinished.join("objects/pack")).unwrap();
    let client = client.restarted(Limits::default());
    assert!(!unfinished.exists());
    assert_eq!(mirrors(&client).len(), 1);
    let client = client.restarted(Limits { disk_bytes: 1000, ..Limits::default() });
    assert!(mirrors(&client).is_empty());
}

#[tokio::test]
async fn a_server_greets_once_and_again_when_it_has_moved() {
    let (dir, app) = repository();
    let lost = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let server =
        Server::with(dir.path(), Behaviour { lost: Some(lost.clone()), ..Behaviour::default() }).await;
    let (client, remote, main) = (Client::new(), remote(&server.url("app")), branch("main"));
    client.checkout(&remote, &main).await.unwrap();
    assert_eq!(server.requests(), 3, "greeting, listing, fetch");
    app.write("x", "2");
    app.commit("two");
    assert_eq!(text(&client.checkout(&remote, &main).await.unwrap(), "x"), "2");
    assert_eq!(server.requests(), 5, "listing, fetch");
    lost.store(1, std::sync::atomic::Ordering::Relaxed);
    client.resolve(&remote, &main).await.unwrap();
    assert_eq!(server.requests(), 8, "lost, greeting, listing");
}
