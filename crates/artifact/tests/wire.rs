//! The server and the fetcher over loopback.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use http::StatusCode;
use sluice_artifact::{
    FetchError, FetchLimits, FetchOptions, Fetcher, Home, Locator, Options, Published, ServeLimits, Store,
    router, serve,
};
use sluice_tree::{Ignore, Index, Memory, UnpackLimits};
use sluice_types::Proxies;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

struct Served {
    _root: TempDir,
    store: Store,
    published: Published,
    locator: Locator,
    base: String,
}

async fn listen(router: Router) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    base
}

fn tree() -> Memory {
    Memory::of([("app/kustomization.yaml", "resources: []"), ("README", "hello")]).unwrap()
}

async fn served() -> Served {
    // Ignored where another test was first.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let root = TempDir::new().unwrap();
    let store = Store::open(Options::new(root.path().to_owned(), "http://store.invalid".to_owned())).unwrap();
    let address = Home::new("GitRepository", "apps", "podinfo").unwrap().file("1.tar.gz").unwrap();
    let published = store
        .publish(&address, Arc::new(tree()), Arc::new(Ignore::none()), &CancellationToken::new())
        .await
        .unwrap();
    let base = listen(router(&store)).await;
    let locator = Locator { url: format!("{base}/{}", published.path), digest: published.digest.to_string() };
    Served { _root: root, store, published, locator, base }
}

fn fetcher(change: impl FnOnce(&mut FetchOptions)) -> Fetcher {
    let mut options = FetchOptions {
        retries: 2,
        wait_min: Duration::from_millis(1),
        wait_max: Duration::from_millis(2),
        ..FetchOptions::default()
    };
    change(&mut options);
    Fetcher::new(options).unwrap()
}

#[tokio::test]
async fn what_was_published_is_fetched_with_its_index() {
    let served = served().await;
    let fetcher = fetcher(|_| {});
    assert_eq!(fetcher.tree(&served.locator).await.unwrap(), tree());
    let index = fetcher.index(&served.locator, &served.published.index.to_string()).await.unwrap();
    assert_eq!(index, Index::of(&tree()).unwrap());
}

#[tokio::test]
async fn the_host_may_be_replaced() {
    let served = served().await;
    let host = served.base.trim_start_matches("http://").to_owned();
    let fetcher = fetcher(|options| options.host = Some(host));
    let locator = Locator { url: served.published.url.clone(), ..served.locator };
    assert_eq!(fetcher.tree(&locator).await.unwrap(), tree());
}

#[tokio::test]
async fn bytes_that_are_not_what_the_digest_says_are_not_unpacked() {
    let served = served().await;
    let wrong = format!("sha256:{}", "0".repeat(64));
    let locator = Locator { digest: wrong.clone(), ..served.locator.clone() };
    let refused = fetcher(|_| {}).tree(&locator).await.unwrap_err();
    assert!(matches!(refused, FetchError::Mismatch { .. }) && refused.to_string().contains(&wrong));
    let locator = Locator { digest: String::new(), ..served.locator };
    assert!(matches!(fetcher(|_| {}).tree(&locator).await, Err(FetchError::Digest(_))));
}

#[tokio::test]
async fn an_index_that_is_not_what_its_digest_says_is_not_believed() {
    let served = served().await;
    let fetcher = fetcher(|_| {});
    let wrong = format!("sha256:{}", "0".repeat(64));
    assert!(matches!(fetcher.index(&served.locator, &wrong).await, Err(FetchError::Mismatch { .. })));
    assert!(matches!(fetcher.index(&served.locator, "").await, Err(FetchError::Digest(_))));
}

#[tokio::test]
async fn oversized_artifacts_are_refused() {
    let served = served().await;
    let limits = FetchLimits { archive_bytes: 10, ..FetchLimits::default() };
    let refused = fetcher(|options| options.limits = limits).tree(&served.locator).await;
    assert!(matches!(refused, Err(FetchError::TooLarge { limit: 10, .. })));
    let unpack = UnpackLimits { bytes: 3, ..UnpackLimits::default() };
    let limits = FetchLimits { unpack, ..FetchLimits::default() };
    let refused = fetcher(|options| options.limits = limits).tree(&served.locator).await;
    assert!(matches!(refused, Err(FetchError::Unpack(_))));
}

#[tokio::test]
async fn what_is_missing_is_said_at_once_and_what_is_down_is_tried_again() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = asked.clone();
    let answer = move |status| {
        let counter = counter.clone();
        get(move || {
            counter.fetch_add(1, Ordering::SeqCst);
            async move { status }
        })
    };
    let router = Router::new()
        .route("/gone", answer(StatusCode::NOT_FOUND))
        .route("/forbidden", answer(StatusCode::FORBIDDEN))
        .route("/down", answer(StatusCode::BAD_GATEWAY))
        .route("/busy", answer(StatusCode::TOO_MANY_REQUESTS));
    let base = listen(router).await;
    let digest = format!("sha256:{}", "0".repeat(64));
    for (path, attempts) in [("gone", 1), ("forbidden", 1), ("down", 3), ("busy", 3)] {
        asked.store(0, Ordering::SeqCst);
        let locator = Locator { url: format!("{base}/{path}"), digest: digest.clone() };
        let refused = fetcher(|_| {}).tree(&locator).await.unwrap_err();
        assert_eq!(asked.load(Ordering::SeqCst), attempts, "{path}");
        assert_eq!(matches!(refused, FetchError::NotFound(_)), path == "gone");
        assert!(refused.to_string().contains(&locator.url));
    }
}

async fn status(url: &str, headers: &[(&str, &str)]) -> (StatusCode, reqwest::header::HeaderMap, usize) {
    let mut request = reqwest::Client::new().get(url);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = request.send().await.unwrap();
    let (status, headers) = (response.status(), response.headers().clone());
    (status, headers, response.bytes().await.unwrap().len())
}

#[tokio::test]
async fn the_server_speaks_static_http() {
    let served = served().await;
    let url = &served.locator.url;
    let (ok, headers, length) = status(url, &[]).await;
    assert_eq!((ok, length as u64), (StatusCode::OK, served.published.size));
    let tag = headers["etag"].to_str().unwrap();
    let modified = headers["last-modified"].to_str().unwrap();
    assert_eq!(status(url, &[("if-modified-since", modified)]).await.0, StatusCode::NOT_MODIFIED);
    assert_eq!(status(url, &[("if-none-match", tag)]).await.0, StatusCode::NOT_MODIFIED);
    let (partial, headers, length) = status(url, &[("range", "bytes=2-11")]).await;
    assert_eq!((partial, length), (StatusCode::PARTIAL_CONTENT, 10));
    assert!(headers["content-range"].to_str().unwrap().starts_with("bytes 2-11/"));
    let head = reqwest::Client::new().head(url).send().await.unwrap();
    assert_eq!(head.headers()["content-length"], served.published.size.to_string().as_str());
    assert_eq!(status(&format!("{}/", served.base), &[]).await.0, StatusCode::OK);
}

#[tokio::test]
async fn neither_listings_nor_private_files_nor_the_outside_are_served() {
    let served = served().await;
    std::fs::write(served.store.root().join("gitrepository/apps/podinfo/x.1-2.tmp"), "half").unwrap();
    for path in [
        "gitrepository",
        "gitrepository/",
        "gitrepository/apps/podinfo/",
        "gitrepository/apps/podinfo/1.tar.gz.lock",
        "gitrepository/apps/podinfo/1.tar.gz.members",
        "gitrepository/apps/podinfo/x.1-2.tmp",
        "..%2f..%2f..%2fetc%2fpasswd",
        "%2e%2e/%2e%2e/etc/passwd",
        "%2fetc%2fpasswd",
        "gitrepository/apps/podinfo/1%2etar%2egz%2elock",
        "gitrepository/apps/podinfo/%00",
    ] {
        let (status, _, _) = status(&format!("{}/{path}", served.base), &[]).await;
        assert!(status.is_client_error(), "{path}: {status}");
    }
}

#[tokio::test]
async fn the_server_ends_when_it_is_asked_to() {
    let served = served().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let stop = CancellationToken::new();
    let server = tokio::spawn(serve(served.store.clone(), listener, ServeLimits::default(), stop.clone()));
    stop.cancel();
    server.await.unwrap().unwrap();
}

#[tokio::test]
async fn servers_are_reached_through_the_proxy_of_the_process_but_not_on_loopback() {
    let served = served().await;
    // To a plain server a proxy is asked like a server, by the whole address: this one knows the path only.
    let address = served.base.clone();
    let proxies = move |name: &str| (name == "HTTP_PROXY").then(|| address.clone());
    let through = fetcher(|options| options.proxies = Proxies::read(&proxies));
    let url = format!("http://source-controller.invalid/{}", served.published.path);
    let away = Locator { url, ..served.locator.clone() };
    assert_eq!(through.tree(&away).await.unwrap(), tree());
    assert!(matches!(fetcher(|_| {}).tree(&away).await, Err(FetchError::Network { .. })));
    let closed = |name: &str| (name == "HTTP_PROXY").then(|| "http://127.0.0.1:1".to_owned());
    let past = fetcher(|options| options.proxies = Proxies::read(closed));
    assert_eq!(past.tree(&served.locator).await.unwrap(), tree());
    assert!(past.tree(&away).await.is_err());
}
