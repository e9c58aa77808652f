use std::convert::Infallible;
use std::sync::Mutex;

use axum::{Json, Router, routing::post};
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Bytes;
use serde_json::{Value, json};
use sluice_api::reason::SUCCEEDED;
use sluice_api::source::v1::GitRepository;

use super::*;

/// A cluster that accepts everything, or nothing.
fn cluster(code: u16) -> Client {
    let service = tower::service_fn(move |_: Request<kube::client::Body>| async move {
        let body = Full::new(Bytes::from_static(b"{\"metadata\": {}, \"involvedObject\": {}}"));
        Ok::<_, Infallible>(Response::builder().status(code).body(body).unwrap())
    });
    Client::new(service, "default")
}

/// A receiver that keeps what it gets.
async fn receiver() -> (String, Arc<Mutex<Vec<Value>>>) {
    let got = Arc::new(Mutex::new(Vec::new()));
    let keep = got.clone();
    let answer = move |Json(event): Json<Value>| async move { keep.lock().unwrap().push(event) };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}/", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, Router::new().route("/", post(answer))).await });
    (address, got)
}

fn repository() -> GitRepository {
    serde_json::from_value(json!({
        "metadata": {
            "name": "app", "namespace": "apps", "uid": "u", "resourceVersion": "7",
            "annotations": {"event.toolkit.fluxcd.io/team": "blue", "other": "x"},
        },
        "spec": {"url": "https://example.com/x", "interval": "1m"},
    }))
    .unwrap()
}

#[tokio::test]
async fn a_post_carries_the_annotations_meant_for_events_and_a_trace_is_never_posted() {
    let (address, got) = receiver().await;
    let registry = Registry::default();
    let sink = Sink::start(
        cluster(201),
        "source-controller",
        "pod-1",
        Some(&address),
        &Proxies::default(),
        &registry,
    )
    .unwrap();
    sink.tell(&repository(), Note::trace(SUCCEEDED, "unseen"));
    let key = "source.toolkit.fluxcd.io/revision";
    let note =
        Note::info(SUCCEEDED, "stored").with(key, "main@sha1:a").with("event.toolkit.fluxcd.io/team", "red");
    sink.tell(&repository(), note);
    sink.flush(Duration::from_secs(60)).await;
    let got = got.lock().unwrap();
    assert_eq!(got.len(), 1);
    assert_eq!(got[0]["message"], "stored");
    assert_eq!(got[0]["metadata"], json!({key: "main@sha1:a", "event.toolkit.fluxcd.io/team": "blue"}));
    assert_eq!(
        got[0]["involvedObject"],
        json!({
            "kind": "GitRepository", "namespace": "apps", "name": "app", "uid": "u",
            "apiVersion": "source.toolkit.fluxcd.io/v1", "resourceVersion": "7",
        })
    );
    assert_eq!(
        (&got[0]["reportingController"], &got[0]["reportingInstance"]),
        (&json!("source-controller"), &json!("pod-1"))
    );
}

#[tokio::test]
async fn events_that_nobody_takes_are_counted_and_hold_nothing_up() {
    let registry = Registry::default();
    let sink =
        Sink::start(cluster(403), "source-controller", "", None, &Proxies::default(), &registry).unwrap();
    for number in 0..5 {
        sink.tell(&repository(), Note::info(SUCCEEDED, number.to_string()));
    }
    sink.flush(Duration::from_secs(60)).await;
    assert!(registry.render().contains("sluice_events_dropped_total{sink=\"kubernetes\"} 5"));
}

#[tokio::test(start_paused = true)]
async fn an_event_gives_way_to_passes_but_not_for_ever() {
    let registry = Registry::default();
    let sink =
        Sink::start(cluster(403), "source-controller", "", None, &Proxies::default(), &registry).unwrap();
    let written = || registry.render().contains("sluice_events_dropped_total{sink=\"kubernetes\"} 1");
    let pass = sink.make_way();
    sink.tell(&repository(), Note::info(SUCCEEDED, "first"));
    sink.flush(Duration::from_millis(40)).await;
    assert!(!written(), "a pass is under way");
    sink.flush(Duration::from_secs(60)).await;
    assert!(written(), "passes that follow each other do not hold events up for good");
    drop(pass);
    sink.tell(&repository(), Note::info(SUCCEEDED, "second"));
    let begun = tokio::time::Instant::now();
    sink.flush(Duration::from_secs(60)).await;
    assert_eq!(begun.elapsed(), Duration::ZERO, "nothing is in its way");
}
