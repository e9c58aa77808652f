use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::routing::post;
use sluice_api::event::{InvolvedObject, Severity};

use super::*;
use crate::metrics::Registry;

fn event(message: &str) -> Event {
    Event {
        involved_object: InvolvedObject::default(),
        severity: Severity::Info,
        timestamp: "2024-01-01T00:00:00Z".to_owned(),
        message: message.to_owned(),
        reason: "Succeeded".to_owned(),
        metadata: [("event.toolkit.fluxcd.io/a".to_owned(), "b".to_owned())].into(),
        reporting_controller: "source-controller".to_owned(),
        reporting_instance: "host".to_owned(),
    }
}

/// A receiver that answers with these codes in turn, and the last one for ever.
async fn receiver(codes: &'static [u16]) -> (String, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let answer = move || {
        let turn = count.fetch_add(1, Ordering::SeqCst);
        async move { StatusCode::from_u16(codes[turn.min(codes.len() - 1)]).unwrap() }
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}/", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, Router::new().route("/", post(answer))).await });
    (address, asked)
}

#[tokio::test]
async fn a_duplicate_counts_as_delivered_and_a_refusal_is_not_repeated() {
    for (codes, asked_for, lost) in
        [(&[200][..], 1, 0.0), (&[429], 1, 0.0), (&[400], 1, 1.0), (&[503, 202], 2, 0.0)]
    {
        let (address, asked) = receiver(codes).await;
        let dropped = Registry::default().counter("dropped", "", &["sink"]);
        let poster = Poster::start(&address, Proxies::default(), dropped.clone()).unwrap();
        assert!(poster.post(event("x")));
        poster.idle().await;
        assert_eq!(asked.load(Ordering::SeqCst), asked_for, "{codes:?}");
        assert_eq!(dropped.value(&["post"]), lost, "{codes:?}");
    }
}

#[tokio::test]
async fn a_receiver_is_reached_through_the_proxy_of_the_process_but_not_on_loopback() {
    let (address, asked) = receiver(&[200]).await;
    for (receiver, proxy, delivered) in [
        // A proxy is asked by the whole address, which is as good as the path for this one.
        ("http://notification-controller.invalid/", address.as_str(), 1),
        (&address, "http://127.0.0.1:1", 2),
    ] {
        let proxies = |name: &str| (name == "HTTP_PROXY").then(|| proxy.to_owned());
        let dropped = Registry::default().counter("dropped", "", &["sink"]);
        let poster = Poster::start(receiver, Proxies::read(proxies), dropped).unwrap();
        assert!(poster.post(event("x")));
        poster.idle().await;
        assert_eq!(asked.load(Ordering::SeqCst), delivered, "{receiver}");
    }
}

#[test]
fn the_body_is_what_receivers_know() {
    assert_eq!(
        serde_json::to_value(event("x")).unwrap(),
        serde_json::json!({
            "involvedObject": {"kind": "", "namespace": "", "name": "", "uid": "", "apiVersion": "", "resourceVersion": ""},
            "severity": "info",
            "timestamp": "2024-01-01T00:00:00Z",
            "message": "x",
            "reason": "Succeeded",
            "metadata": {"event.toolkit.fluxcd.io/a": "b"},
            "reportingController": "source-controller",
            "reportingInstance": "host",
        })
    );
}

#[test]
fn an_address_that_is_no_url_is_refused() {
    assert!(
        Poster::start("::", Proxies::default(), Registry::default().counter("dropped", "", &["sink"]))
            .is_err()
    );
}
