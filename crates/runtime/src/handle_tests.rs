use serde_json::{Value, json};
use sluice_api::source::v1::GitRepository;

use super::*;

fn repository(version: u32, change: Value) -> GitRepository {
    let mut object = json!({
        "apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "GitRepository",
        "metadata": {"name": "app", "namespace": "apps", "uid": "u1", "generation": 1,
                     "resourceVersion": version.to_string()},
        "spec": {"url": "https://example.com/x", "interval": "1m"},
    });
    json_merge(&mut object, change);
    serde_json::from_value(object).unwrap()
}

fn json_merge(target: &mut Value, change: Value) {
    match (target, change) {
        (Value::Object(target), Value::Object(change)) => {
            for (key, value) in change {
                json_merge(target.entry(key).or_insert(Value::Null), value);
            }
        }
        (target, change) => *target = change,
    }
}

fn queued(handle: &Handle<GitRepository>) -> usize {
    handle.queue().load().depth
}

/// Drains the queue.
async fn settle(handle: &Handle<GitRepository>) {
    while queued(handle) > 0 {
        let work = handle.queue().next().await;
        handle.queue().finish(&work.key, None);
    }
}

#[tokio::test]
async fn only_spec_request_and_deletion_ask_for_a_pass() {
    for (what, change, expected) in [
        ("status", json!({"status": {"observedGeneration": 1}}), None),
        ("labels", json!({"metadata": {"labels": {"a": "b"}}}), None),
        ("generation", json!({"metadata": {"generation": 2}}), Some(Trigger::Spec)),
        ("deletion", json!({"metadata": {"deletionTimestamp": "2024-01-01T00:00:00Z"}}), Some(Trigger::Spec)),
        (
            "request",
            json!({"metadata": {"annotations": {"reconcile.fluxcd.io/requestedAt": "x"}}}),
            Some(Trigger::Requested),
        ),
    ] {
        let handle = Handle::new();
        handle.observe(repository(1, json!({})), Origin::Watch);
        settle(&handle).await;
        handle.observe(repository(2, change), Origin::Watch);
        match expected {
            None => assert_eq!(queued(&handle), 0, "{what}"),
            Some(trigger) => assert_eq!(handle.queue().next().await.trigger, trigger, "{what}"),
        }
    }
}

#[tokio::test]
async fn a_request_seen_first_in_the_answer_to_a_write_is_not_lost() {
    let handle = Handle::new();
    handle.observe(repository(1, json!({})), Origin::Watch);
    settle(&handle).await;
    let request = json!({"metadata": {"annotations": {"reconcile.fluxcd.io/requestedAt": "x"}}});
    handle.observe(repository(3, request), Origin::Answer);
    assert_eq!(handle.queue().next().await.trigger, Trigger::Requested);
}

#[test]
fn the_cache_never_steps_back_behind_an_own_write() {
    let handle = Handle::new();
    handle.observe(repository(5, json!({})), Origin::Watch);
    handle.observe(repository(9, json!({"status": {"observedGeneration": 1}})), Origin::Answer);
    for origin in [Origin::Watch, Origin::List] {
        let seen = handle.observe(repository(7, json!({})), origin);
        assert_eq!(seen.metadata.resource_version.as_deref(), Some("9"), "{origin:?}");
    }
    handle.observe(repository(9, json!({})), Origin::Watch);
    let restored = handle.observe(repository(7, json!({})), Origin::List);
    assert_eq!(restored.metadata.resource_version.as_deref(), Some("7"), "a restored backup counts");
}

#[tokio::test]
async fn a_list_removes_what_it_does_not_contain() {
    let handle = Handle::new();
    handle.observe(repository(1, json!({})), Origin::List);
    let mut changes = handle.subscribe();
    assert_eq!(handle.retain(&std::collections::HashSet::new()), [Key::new("apps", "app")]);
    assert!(matches!(changes.recv().await, Ok(Change::Deleted(_))));
    assert!(handle.list().is_empty());
    handle.synced().await;
}

#[test]
fn managed_fields_are_not_kept() {
    let handle = Handle::new();
    let annotations = json!({"kubectl.kubernetes.io/last-applied-configuration": "{}", "a": "b"});
    let change = json!({"metadata": {"managedFields": [{"manager": "x"}], "annotations": annotations}});
    let object = handle.observe(repository(1, change), Origin::Watch);
    assert!(object.metadata.managed_fields.is_none());
    assert_eq!(object.metadata.annotations.as_ref().unwrap().len(), 1);
}

#[tokio::test]
async fn an_answer_about_the_former_object_does_not_remove_the_new_one() {
    let handle = Handle::new();
    handle.observe(repository(1, json!({})), Origin::Watch);
    settle(&handle).await;
    let key = Key::new("apps", "app");
    handle.observe(repository(2, json!({"metadata": {"uid": "u2"}})), Origin::Watch);
    handle.lost(&key, Some("u1"));
    assert!(handle.find(&key).is_some());
    assert_eq!(handle.queue().next().await.trigger, Trigger::Spec, "the new object gets its turn");
    handle.lost(&key, Some("u2"));
    assert!(handle.find(&key).is_none());
}

#[test]
fn who_refers_to_something_is_found_for_as_long_as_it_does() {
    let wake = |url: &str| WakeKey::Named(url.into());
    let handle =
        Handle::<GitRepository>::indexed(|object| vec![WakeKey::Named(object.spec.url.as_str().into())]);
    let referring = |url: &str| handle.referring(&wake(url)).len();
    let (old, new) = ("https://example.com/x", "https://example.com/y");
    handle.observe(repository(1, json!({})), Origin::List);
    handle.observe(repository(2, json!({"status": {"observedGeneration": 1}})), Origin::Answer);
    assert_eq!((referring(old), referring(new)), (1, 0));
    let changed = json!({"metadata": {"generation": 2}, "spec": {"url": new}});
    handle.observe(repository(4, changed), Origin::Watch);
    handle.observe(repository(3, json!({})), Origin::Watch);
    assert_eq!((referring(old), referring(new)), (0, 1));
    let another = json!({"metadata": {"uid": "u2"}, "spec": {"url": old}});
    handle.observe(repository(5, another), Origin::Watch);
    assert_eq!((referring(old), referring(new)), (1, 0));
    handle.remove(&Key::new("apps", "app"));
    assert_eq!(referring(old), 0);
}
