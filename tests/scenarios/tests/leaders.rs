//! Of several source-controllers only the leader serves artifacts, and one that loses its lease ends.
#![allow(clippy::unwrap_used, clippy::panic)]

use kube::api::{DynamicObject, Patch, PatchParams, PostParams};
use serde_json::json;
use sluice_scenarios::LIMIT;
use sluice_scenarios::site::{Identity, Site};
use sluice_testkit::free_port;
use sluice_testkit::proxy::Seen;
use sluice_testkit::waiting::{kind, objects, text};
use tokio::net::TcpStream;

const OTHER: &str = "source-controller-5f7d8c9b6d-x2x7q_0f3c1a52-6a2b-4b62-9a9c-0d6f3f6f2f10";

/// First eight digits of the selector's SHA-256.
const SHARD: &str = "bae38364";

#[tokio::test]
async fn only_the_leader_serves_artifacts_and_who_loses_the_lease_ends_with_a_failure() {
    let site = Site::start("leaders").await.unwrap();
    let leases = objects(&site.client, &kind("coordination.k8s.io/v1", "Lease", "leases"), "default");
    let lease = format!("source-controller-leader-election-{SHARD}");
    let mut held = site.read("fixtures/swap/lease.yaml", &[("$LEASE", lease.as_str())]).unwrap().remove(0);
    site.delete(&held).await.unwrap();
    held["spec"]["holderIdentity"] = json!(OTHER);
    held["spec"]["leaseDurationSeconds"] = json!(3600);
    let held: DynamicObject = serde_json::from_value(held).unwrap();
    leases.create(&PostParams::default(), &held).await.unwrap();

    let address = format!("127.0.0.1:{}", free_port().unwrap());
    let flags = [
        "--enable-leader-election=true",
        "--leader-election-retry-period=50ms",
        &format!("--storage-addr={address}"),
    ];
    let mut ours = site.start_source(Identity::Admin, &flags).await.unwrap();
    let looked = |log: &[Seen]| log.iter().filter(|seen| seen.resource == "leases").count() >= 3;
    tokio::time::timeout(LIMIT, ours.proxy.wait(looked)).await.unwrap();
    let refused = TcpStream::connect(&address).await.map(drop).map_err(|error| error.kind());
    assert_eq!(refused, Err(std::io::ErrorKind::ConnectionRefused), "a probe must find it unready");

    let change = async |spec: serde_json::Value| {
        let change = Patch::Merge(json!({"spec": spec}));
        leases.patch(&lease, &PatchParams::default(), &change).await.unwrap();
    };
    change(json!({"leaseDurationSeconds": 1})).await;
    site.until(&leases, &lease, |object| text(object, "/spec/holderIdentity") != OTHER).await.unwrap();
    let serving = async {
        while TcpStream::connect(&address).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LIMIT, serving).await.unwrap();

    change(json!({"holderIdentity": OTHER, "leaseDurationSeconds": 3600})).await;
    let status = ours.ends().await.unwrap();
    assert!(!status.success(), "{status}");
    assert!(ours.output().contains("leader election lost"), "{}", ours.output());
    assert_eq!(text(&leases.get(&lease).await.unwrap(), "/spec/holderIdentity"), OTHER);
    site.delete_namespace().await.unwrap();
}
