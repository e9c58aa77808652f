//! What watches tell.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use sluice_apply::{Action, Change, Check, Identity, Memory, ObjectId, Outlook, Owner, Signal, Status};
use sluice_expr::Rules;
use tokio_util::sync::CancellationToken;

use crate::fake::{Fake, status};
use crate::objects::*;

#[tokio::test]
async fn a_kind_that_comes_is_signalled_and_applied() {
    let fake = Fake::new();
    let cluster = fake.cluster();
    let mut signals = cluster.signals();
    let widget = json!({"apiVersion": "example.org/v1", "kind": "Widget", "metadata": {"name": "w", "namespace": "team"}});
    let stage = [desired(widget)];
    apply(&target(&cluster), &stage, &policy(), &mut Memory::default()).await;
    let path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/widgets.example.org";
    let mut definition = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.example.org"}});
    fake.put(path, definition.clone());
    fake.state.lock().unwrap().kinds.push(("example.org", "Widget", "widgets", true));
    definition["status"] = json!({"conditions": [{"type": "Established", "status": "True"}]});
    fake.put(path, definition);
    let signal = tokio::time::timeout(Duration::from_secs(10), signals.recv()).await.unwrap().unwrap();
    assert_eq!(signal, Signal::Kind { group: "example.org".into(), kind: "Widget".into() });
    let report = apply(&target(&cluster), &stage, &policy(), &mut Memory::default()).await;
    assert_eq!(actions(&report), [Some(Action::Created)]);
}

#[tokio::test]
async fn drift_is_signalled_with_its_owner_and_our_own_writes_are_not() {
    let fake = Fake::new();
    let cluster = fake.cluster();
    let lease = cluster.watch_owned([&id("a")]);
    cluster.synced(&lease, Duration::from_secs(5)).await;
    let mut signals = cluster.signals();
    let stage = [config("a", json!({"k": "1"}))];
    apply(&target(&cluster), &stage, &policy(), &mut Memory::default()).await;
    let path = format!("{PATH}a");
    let mut edited = fake.get(&path).unwrap();
    edited["data"]["k"] = json!("edited");
    edited["metadata"]["managedFields"][0]["fieldsV1"] = json!({});
    fake.put(&path, edited);
    let signal = tokio::time::timeout(Duration::from_secs(10), signals.recv()).await.unwrap().unwrap();
    let owner = Some(Arc::new(Owner { namespace: "team".into(), name: "app".into() }));
    assert_eq!(signal, Signal::Object { id: stage[0].id.clone(), owner, change: Change::Drifted });
}

#[tokio::test]
async fn health_is_read_from_watches_and_tells_when_it_changes() {
    let fake = Fake::new();
    let cluster = fake.cluster();
    let target = target(&cluster);
    let deployment = desired(json!({"apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "d", "namespace": "team", "labels": labels()}, "spec": {"replicas": 1}}));
    let check = |id: &ObjectId, vanishes| Check { id: id.clone(), owned: true, vanishes };
    let job = ObjectId { group: "batch".into(), kind: "Job".into(), ..id("done") };
    let checks = vec![check(&deployment.id, false), check(&id("a"), false), check(&job, true)];
    let watch = target.watch_health(checks, Arc::new(Rules::default()), owner());
    apply(&target, &[deployment.clone(), config("a", json!({}))], &policy(), &mut Memory::default()).await;
    let cancel = CancellationToken::new();
    let health = watch.observe(&cancel).await;
    assert_eq!(health.outlook(true), Outlook::Waiting);
    assert_eq!(health.timeout(), "timeout waiting for: [Deployment/team/d status: 'InProgress']");

    let path = "/apis/apps/v1/namespaces/team/deployments/d";
    let mut ready = fake.get(path).unwrap();
    ready["status"] = json!({"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1, "readyReplicas": 1, "availableReplicas": 1,
        "conditions": [{"type": "Available", "status": "True"}, {"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable"}]});
    let settled =
        tokio::join!(watch.settle(true, Duration::from_secs(10), &cancel), async { fake.put(path, ready) }).0;
    assert_eq!(settled.outlook(true), Outlook::Healthy, "{settled:?}");
}

#[tokio::test]
async fn rules_of_the_user_go_before_those_for_built_in_kinds() {
    let fake = Fake::new();
    let cluster = fake.cluster();
    let target = target(&cluster);
    let stage = [config("a", json!({"phase": "Broken"}))];
    apply(&target, &stage, &policy(), &mut Memory::default()).await;
    let rules = Rules::compile([sluice_expr::Rule {
        api_version: "v1",
        kind: Some("ConfigMap"),
        in_progress: None,
        failed: Some("data.phase == 'Broken'"),
        current: "data.phase == 'Fine'",
    }])
    .unwrap();
    let checks = vec![Check { id: id("a"), owned: true, vanishes: false }];
    let watch = target.watch_health(checks, Arc::new(rules), owner());
    let health = watch.observe(&CancellationToken::new()).await;
    assert_eq!(
        health.outlook(true),
        Outlook::Stalled("failed early due to stalled resources: [ConfigMap/team/a status: 'Failed']".into())
    );
    assert!(!health.polled);
}

/// What a tenant who may read nothing but his own learns of an object of somebody else.
async fn seen_by_a_tenant(owned: bool, own_labels: bool) -> sluice_apply::State {
    let fake = Fake::new();
    let forbidden = status(403, "Forbidden", "not yours");
    fake.refuse("GET /api/v1/namespaces/team/configmaps/a", 403, forbidden);
    let theirs = json!({"kustomize.toolkit.fluxcd.io/name": "theirs",
        "kustomize.toolkit.fluxcd.io/namespace": "other"});
    let labels = if own_labels { labels() } else { theirs };
    fake.put(
        "/api/v1/namespaces/team/configmaps/a",
        json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"key": "secret"},
            "metadata": {"name": "a", "namespace": "team", "labels": labels}}),
    );
    let spying = sluice_expr::Rule {
        api_version: "v1",
        kind: Some("ConfigMap"),
        in_progress: None,
        failed: None,
        current: "data.key == 'secret'",
    };
    let account = Identity::ServiceAccount { namespace: "team".into(), name: "deployer".into() };
    let target = fake.cluster().target(account);
    let checks = vec![Check { id: id("a"), owned, vanishes: false }];
    let watch = target.watch_health(checks, Arc::new(Rules::compile([spying]).unwrap()), owner());
    let health = watch.observe(&CancellationToken::new()).await;
    assert!(!health.polled, "the watch tells when to look again");
    health.states.into_iter().next().unwrap()
}

#[tokio::test]
async fn a_tenant_learns_nothing_of_others_from_the_shared_watches() {
    for owned in [false, true] {
        let state = seen_by_a_tenant(owned, false).await;
        assert_eq!((state.status, state.error.as_deref()), (Status::Unknown, Some("not yours")));
    }
    assert_eq!(seen_by_a_tenant(true, true).await.status, Status::Current, "his own are watched");
}

#[tokio::test]
async fn a_set_that_is_on_its_way_fails_with_its_pod() {
    let fake = Fake::new();
    let cluster = fake.cluster();
    let target = target(&cluster);
    let set = desired(json!({"apiVersion": "apps/v1", "kind": "StatefulSet",
        "metadata": {"name": "s", "namespace": "team", "labels": labels()},
        "spec": {"replicas": 1, "selector": {"matchLabels": {"app": "s"}}}}));
    let watch = target.watch_health(
        vec![Check { id: set.id.clone(), owned: true, vanishes: false }],
        Arc::new(Rules::default()),
        owner(),
    );
    apply(&target, &[set], &policy(), &mut Memory::default()).await;
    let cancel = CancellationToken::new();
    assert_eq!(watch.observe(&cancel).await.outlook(true), Outlook::Waiting);
    fake.put(
        "/api/v1/namespaces/team/pods/s-0",
        json!({"metadata": {"name": "s-0", "namespace": "team", "labels": {"app": "s"}},
            "status": {"phase": "Running", "containerStatuses": [
                {"name": "c", "state": {"waiting": {"reason": "CrashLoopBackOff"}}}]}}),
    );
    let health = watch.observe(&cancel).await;
    assert!(matches!(health.outlook(true), Outlook::Stalled(_)), "{health:?}");
}

#[tokio::test]
async fn a_namespace_that_comes_is_signalled() {
    let fake = Fake::new();
    let cluster = fake.cluster();
    let id = ObjectId {
        group: String::new(),
        kind: "Namespace".into(),
        namespace: String::new(),
        name: "late".into(),
    };
    let lease = cluster.watch_object(&id);
    assert!(cluster.synced(&lease, Duration::from_secs(5)).await);
    let mut signals = cluster.signals();
    fake.put(
        "/api/v1/namespaces/late",
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "late"}}),
    );
    let signal = tokio::time::timeout(Duration::from_secs(10), signals.recv()).await.unwrap().unwrap();
    assert_eq!(signal, Signal::Object { id, owner: None, change: Change::Drifted });
}

#[tokio::test]
async fn an_object_is_watched_from_the_moment_its_kind_exists() {
    let fake = Fake::new();
    let cluster = fake.cluster();
    let widget = ObjectId { group: "example.org".into(), kind: "Widget".into(), ..id("w") };
    let lease = cluster.watch_owned([&widget]);
    cluster.synced(&lease, Duration::from_secs(5)).await;
    fake.state.lock().unwrap().kinds.push(("example.org", "Widget", "widgets", true));
    let widget = desired(json!({"apiVersion": "example.org/v1", "kind": "Widget",
        "metadata": {"name": "w", "namespace": "team", "labels": labels()}}));
    let mut signals = cluster.signals();
    while !apply(&target(&cluster), std::slice::from_ref(&widget), &policy(), &mut Memory::default())
        .await
        .is_complete()
    {
        tokio::time::timeout(Duration::from_secs(10), signals.recv()).await.unwrap().unwrap();
    }
    let soon = tokio::time::Instant::now() + Duration::from_secs(10);
    while !cluster.is_watched(&widget.id) && tokio::time::Instant::now() < soon {
        tokio::task::yield_now().await;
    }
    assert!(cluster.known(&widget.id).is_some());
}

#[tokio::test]
async fn what_may_not_be_watched_is_not_tried() {
    let fake = Fake::new();
    fake.state.lock().unwrap().allowed = Some(vec!["configmaps"]);
    let cluster = fake.cluster();
    let deployment = ObjectId { group: "apps".into(), kind: "Deployment".into(), ..id("d") };
    let lease = cluster.watch_owned([&id("a"), &deployment]);
    assert!(cluster.synced(&lease, Duration::from_secs(5)).await);
    assert!(cluster.is_watched(&id("a")) && !cluster.is_unseen(&id("a")));
    assert!(cluster.is_unseen(&deployment));
    let log = std::mem::take(&mut fake.state.lock().unwrap().log);
    assert!(log.iter().all(|line| !line.contains("deployments")), "{log:?}");
    assert_eq!(log.iter().filter(|line| line.contains("reviews")).count(), 4, "{log:?}");
    let again = cluster.watch_owned([&deployment]);
    drop(lease);
    assert!(cluster.synced(&again, Duration::from_secs(5)).await);
    let log = std::mem::take(&mut fake.state.lock().unwrap().log);
    assert!(log.iter().all(|line| line.contains("reviews")), "{log:?}");
    assert_eq!(log.len(), 1, "the answer is remembered, and its namespace asked about: {log:?}");
    let more = cluster.watch_owned([&deployment]);
    drop(again);
    assert!(cluster.synced(&more, Duration::from_secs(5)).await);
    assert!(fake.state.lock().unwrap().log.is_empty(), "nothing new is to be known");
}

#[tokio::test]
async fn where_not_all_namespaces_may_be_watched_those_in_use_are() {
    let fake = Fake::new();
    fake.state.lock().unwrap().allowed = Some(vec!["team/configmaps"]);
    let cluster = fake.cluster();
    let here = id("a");
    let elsewhere = ObjectId { namespace: "other".into(), ..id("a") };
    let lease = cluster.watch_owned([&here, &elsewhere]);
    assert!(cluster.synced(&lease, Duration::from_secs(5)).await);
    assert!(cluster.is_narrow([&here]) && !cluster.is_watched(&here));
    let narrow = cluster.watch_owned([&here, &elsewhere]);
    drop(lease);
    assert!(cluster.synced(&narrow, Duration::from_secs(5)).await);
    assert!(cluster.is_watched(&here) && !cluster.is_unseen(&here));
    assert!(!cluster.is_watched(&elsewhere) && cluster.is_unseen(&elsewhere));

    // Drift is told, our own writes are not, and health is known without polling.
    let mut signals = cluster.signals();
    let stage = [config("a", json!({"k": "1"}))];
    apply(&target(&cluster), &stage, &policy(), &mut Memory::default()).await;
    let path = format!("{PATH}a");
    let mut edited = fake.get(&path).unwrap();
    edited["metadata"]["managedFields"][0]["fieldsV1"] = json!({});
    fake.put(&path, edited);
    let signal = tokio::time::timeout(Duration::from_secs(10), signals.recv()).await.unwrap().unwrap();
    let owner_of = Some(Arc::new(owner()));
    assert_eq!(signal, Signal::Object { id: here.clone(), owner: owner_of, change: Change::Drifted });
    let checks = vec![Check { id: here, owned: true, vanishes: false }];
    let health = target(&cluster).watch_health(checks, Arc::new(Rules::default()), owner());
    let health = health.observe(&CancellationToken::new()).await;
    assert!(!health.polled && health.outlook(true) == Outlook::Healthy, "{health:?}");
    let log = fake.state.lock().unwrap().log.clone();
    assert!(log.iter().all(|line| !line.contains("GET /api/v1/configmaps")), "{log:?}");
}

#[tokio::test]
async fn single_namespaces_are_watched_up_to_a_bound() {
    let fake = Fake::new();
    fake.state.lock().unwrap().allowed = Some(Vec::new());
    let cluster = fake.cluster();
    let ids: Vec<ObjectId> =
        (0..300).map(|number| ObjectId { namespace: format!("n{number}"), ..id("a") }).collect();
    let lease = cluster.watch_owned(&ids);
    assert!(cluster.synced(&lease, Duration::from_secs(5)).await);
    let before = fake.state.lock().unwrap().log.len();
    let narrow = cluster.watch_owned(&ids);
    assert!(cluster.synced(&narrow, Duration::from_secs(5)).await);
    let asked = fake.state.lock().unwrap().log.len() - before;
    assert_eq!(asked, 256);
    drop(lease);
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_is_refused_again_and_again_is_tried_ever_less_often() {
    let fake = Fake::new();
    let lists = "GET /api/v1/configmaps";
    let refusal = status(403, "Forbidden", "whatever was said before");
    fake.refuse(lists, 403, refusal);
    let cluster = fake.cluster();
    let _lease = cluster.watch_owned([&id("a")]);
    tokio::time::sleep(Duration::from_secs(60)).await;
    let log = fake.state.lock().unwrap().log.clone();
    let tries = log.iter().filter(|line| line.starts_with(lists)).count();
    assert!((5..9).contains(&tries), "{tries}");
}
