//! Watches meet 410 when history is gone, and end when the server says so.
#![allow(clippy::unwrap_used, clippy::panic)]

use futures::StreamExt;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, PostParams, WatchEvent, WatchParams};
use kube::{Client, ResourceExt};
use sluice_localapi::{Options, Server};

fn start(options: Options) -> (Server, Api<ConfigMap>) {
    let server = Server::start(options);
    let client = Client::new(server.router().into_service(), "default");
    (server, Api::default_namespaced(client))
}

async fn create(api: &Api<ConfigMap>, name: &str) -> String {
    let mut object = ConfigMap::default();
    object.metadata.name = Some(name.into());
    api.create(&PostParams::default(), &object).await.unwrap().resource_version().unwrap()
}

#[tokio::test]
async fn a_watch_from_forgotten_history_meets_410() {
    let (server, api) = start(Options::default());
    let old = create(&api, "a").await;
    create(&api, "b").await;
    server.compact();
    let mut events = api.watch(&WatchParams::default(), &old).await.unwrap().boxed();
    let first = events.next().await.unwrap().unwrap();
    assert!(matches!(first, WatchEvent::Error(status) if status.code == 410));
    assert!(events.next().await.is_none());
}

#[tokio::test]
async fn a_small_history_forgets_by_itself() {
    let (_server, api) = start(Options { history: 2, ..Options::default() });
    let old = create(&api, "a").await;
    for name in ["b", "c", "d"] {
        create(&api, name).await;
    }
    let mut events = api.watch(&WatchParams::default(), &old).await.unwrap().boxed();
    assert!(matches!(events.next().await.unwrap().unwrap(), WatchEvent::Error(status) if status.code == 410));
}

#[tokio::test]
async fn closing_watches_ends_them_but_not_the_server() {
    let (server, api) = start(Options::default());
    let version = create(&api, "a").await;
    let mut events = api.watch(&WatchParams::default(), &version).await.unwrap().boxed();
    create(&api, "b").await;
    assert!(matches!(events.next().await.unwrap().unwrap(), WatchEvent::Added(_)));
    server.close_watches();
    assert!(events.next().await.is_none());
    assert!(api.get("b").await.is_ok());
}

#[tokio::test]
async fn idle_watches_get_bookmarks_when_they_want_them() {
    let every = std::time::Duration::from_millis(10);
    let (_server, api) = start(Options { bookmark_every: every, ..Options::default() });
    let version = create(&api, "a").await;
    let mut events = api.watch(&WatchParams::default(), &version).await.unwrap().boxed();
    let Some(Ok(WatchEvent::Bookmark(bookmark))) = events.next().await else { panic!("no bookmark") };
    assert_eq!(bookmark.metadata.resource_version, version);
}
