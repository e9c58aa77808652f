use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use http::{Method, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use serde_json::{Value, json};

use super::*;

const TERMS: Terms =
    Terms { lease: Duration::from_secs(35), renew: Duration::from_secs(30), retry: Duration::from_secs(5) };

/// An API server of one lease; a poisoned one answers 500.
#[derive(Clone, Default)]
struct Server(Arc<Mutex<(Value, u64, bool)>>);

impl Server {
    fn candidate(&self, identity: &str) -> Candidate {
        let server = self.clone();
        let service = tower::service_fn(move |request: Request<kube::client::Body>| {
            let server = server.clone();
            async move {
                let (parts, body) = request.into_parts();
                let body = body.collect().await.unwrap().to_bytes();
                let (code, answer) =
                    server.answer(&parts.method, serde_json::from_slice(&body).unwrap_or_default());
                let body = Full::new(Bytes::from(answer.to_string()));
                Ok::<_, Infallible>(Response::builder().status(code).body(body).unwrap())
            }
        });
        Candidate::new(Client::new(service, "x"), "flux-system", "lease", identity, TERMS)
    }

    fn answer(&self, method: &Method, body: Value) -> (u16, Value) {
        let failure = |code: u16| {
            let reason = if code == 404 { "NotFound" } else { "Conflict" };
            (code, json!({"kind": "Status", "status": "Failure", "code": code, "reason": reason}))
        };
        let mut state = self.0.lock().unwrap();
        let (lease, version, down) = &mut *state;
        if *down {
            return failure(500);
        }
        match (method, lease.is_null()) {
            (&Method::GET, true) | (&Method::PUT, true) => return failure(404),
            (&Method::GET, false) => return (200, lease.clone()),
            (&Method::POST, false) => return failure(409),
            (&Method::PUT, false)
                if body["metadata"]["resourceVersion"] != lease["metadata"]["resourceVersion"] =>
            {
                return failure(409);
            }
            _ => {}
        }
        *version += 1;
        *lease = body;
        lease["metadata"]["resourceVersion"] = json!(version.to_string());
        (200, lease.clone())
    }

    fn spec(&self) -> Value {
        self.0.lock().unwrap().0["spec"].clone()
    }

    fn fail(&self, down: bool) {
        self.0.lock().unwrap().2 = down;
    }
}

#[test]
fn every_shard_has_its_own_lease() {
    assert_eq!(name("source-controller", None), "source-controller-leader-election");
    assert_eq!(
        name("source-controller", Some("sharding.fluxcd.io/key=shard1")),
        format!(
            "source-controller-leader-election-{}",
            &hex::encode(Sha256::digest("sharding.fluxcd.io/key=shard1"))[..8]
        ),
    );
}

#[tokio::test(start_paused = true)]
async fn a_released_lease_is_taken_at_once_and_the_record_is_that_of_client_go() {
    let server = Server::default();
    let mut first = server.candidate("host_1");
    first.acquire().await;
    let spec = server.spec();
    assert_eq!(spec["holderIdentity"], "host_1");
    assert_eq!((&spec["leaseDurationSeconds"], &spec["leaseTransitions"]), (&json!(35), &json!(0)));
    first.release().await.unwrap();
    assert_eq!(
        (&server.spec()["holderIdentity"], &server.spec()["leaseDurationSeconds"]),
        (&json!(""), &json!(1))
    );
    let start = Instant::now();
    server.candidate("host_2").acquire().await;
    assert_eq!(start.elapsed(), Duration::ZERO);
    assert_eq!(
        (&server.spec()["holderIdentity"], &server.spec()["leaseTransitions"]),
        (&json!("host_2"), &json!(1))
    );
}

#[tokio::test(start_paused = true)]
async fn a_silent_leader_is_respected_until_its_lease_runs_out() {
    let server = Server::default();
    server.candidate("host_1").acquire().await;
    let start = Instant::now();
    server.candidate("host_2").acquire().await;
    assert!(start.elapsed() >= TERMS.lease, "{:?}", start.elapsed());
    assert!(start.elapsed() < TERMS.lease + TERMS.retry * 3);
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_renews_keeps_the_others_out() {
    let server = Server::default();
    let (mut leader, mut other) = (server.candidate("host_1"), server.candidate("host_2"));
    leader.acquire().await;
    tokio::select! {
        () = leader.keep() => panic!("lost"),
        () = other.acquire() => panic!("taken"),
        () = tokio::time::sleep(Duration::from_secs(600)) => {}
    }
}

#[tokio::test(start_paused = true)]
async fn a_leader_gives_up_before_its_lease_runs_out_and_survives_a_short_outage() {
    let server = Server::default();
    let mut leader = server.candidate("host_1");
    leader.acquire().await;
    server.fail(true);
    tokio::select! {
        () = leader.keep() => panic!("lost too early"),
        () = tokio::time::sleep(Duration::from_secs(12)) => server.fail(false),
    }
    server.fail(true);
    let start = Instant::now();
    leader.keep().await;
    assert!(start.elapsed() <= TERMS.lease, "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_leader_whose_lease_was_taken_knows() {
    let server = Server::default();
    let mut leader = server.candidate("host_1");
    leader.acquire().await;
    {
        let mut state = server.0.lock().unwrap();
        state.0["spec"]["holderIdentity"] = json!("host_2");
        state.0["metadata"]["resourceVersion"] = json!("99");
    }
    leader.keep().await;
    assert_eq!(server.spec()["holderIdentity"], "host_2");
}
