//! Watches, paging and concurrent writers behave alike on the development API and on a real server.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::PathBuf;

use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams};
use kube::{Client, ResourceExt};
use serde_json::{Value, json};
use sluice_localapi::{Options, Server};

/// A namespace of its own on whatever server there is.
struct Place {
    client: Client,
    namespace: String,
}

impl Place {
    async fn new(name: &str) -> Self {
        let client = match std::env::var_os("SLUICE_KUBECONFIG") {
            Some(path) => {
                let config = kube::config::Kubeconfig::read_from(PathBuf::from(path)).unwrap();
                let config = kube::Config::from_custom_kubeconfig(config, &Default::default()).await.unwrap();
                Client::try_from(config).unwrap()
            }
            None => Client::new(Server::start(Options::default()).router().into_service(), "default"),
        };
        let namespace = format!("watches-{name}-{}", std::process::id());
        let object: Namespace = serde_json::from_value(json!({"metadata": {"name": namespace}})).unwrap();
        Api::<Namespace>::all(client.clone()).create(&PostParams::default(), &object).await.unwrap();
        Self { client, namespace }
    }

    fn maps(&self) -> Api<ConfigMap> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    async fn create(&self, name: &str, labels: Value) -> ConfigMap {
        let object = json!({"metadata": {"name": name, "labels": labels}, "data": {"step": "1"}});
        self.maps().create(&PostParams::default(), &serde_json::from_value(object).unwrap()).await.unwrap()
    }

    async fn patch(&self, name: &str, patch: Value) -> ConfigMap {
        self.maps().patch(name, &PatchParams::default(), &Patch::Merge(patch)).await.unwrap()
    }

    /// The next `count` events of a watch as `TYPE name`, bookmarks aside.
    async fn events(&self, params: &WatchParams, from: &str, count: usize) -> Vec<String> {
        let events = self.maps().watch(params, from).await.unwrap();
        let told = events.try_filter_map(|event| async {
            Ok(match event {
                WatchEvent::Added(object) => Some(format!("ADDED {}", object.name_any())),
                WatchEvent::Modified(object) => Some(format!("MODIFIED {}", object.name_any())),
                WatchEvent::Deleted(object) => Some(format!("DELETED {}", object.name_any())),
                WatchEvent::Bookmark(bookmark) if !bookmark.metadata.annotations.is_empty() => {
                    Some("BOOKMARK".into())
                }
                WatchEvent::Bookmark(_) => None,
                WatchEvent::Error(error) => Some(format!("ERROR {}", error.code)),
            })
        });
        let some = told.take(count).try_collect::<Vec<String>>();
        tokio::time::timeout(std::time::Duration::from_secs(20), some).await.expect("in time").unwrap()
    }

    async fn end(self) {
        let _ = Api::<Namespace>::all(self.client)
            .delete(&self.namespace, &DeleteParams::default())
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn a_watch_resumes_right_after_the_version_it_is_given() {
    let place = Place::new("resume").await;
    let first = place.create("a", json!({"mine": "yes"})).await;
    place.patch("a", json!({"data": {"step": "2"}})).await;
    place.create("b", json!({"mine": "yes"})).await;
    place.maps().delete("a", &DeleteParams::default()).await.unwrap();
    let params = WatchParams::default().labels("mine");
    let told = place.events(&params, &first.resource_version().unwrap(), 3).await;
    assert_eq!(told, ["MODIFIED a", "ADDED b", "DELETED a"]);
    place.end().await;
}

#[tokio::test]
async fn an_object_that_leaves_the_selection_is_told_as_deleted() {
    let place = Place::new("leave").await;
    let first = place.create("a", json!({"mine": "yes"})).await;
    place.patch("a", json!({"metadata": {"labels": {"mine": "no"}}})).await;
    place.patch("a", json!({"metadata": {"labels": {"mine": "yes"}}})).await;
    let params = WatchParams::default().labels("mine=yes");
    let told = place.events(&params, &first.resource_version().unwrap(), 2).await;
    assert_eq!(told, ["DELETED a", "ADDED a"]);
    place.end().await;
}

#[tokio::test]
async fn a_streaming_list_ends_with_a_bookmark() {
    let place = Place::new("stream").await;
    place.create("a", json!({"mine": "yes"})).await;
    place.create("b", json!({"mine": "yes"})).await;
    let params = WatchParams::default().labels("mine").initial_events();
    let mut told = place.events(&params, "0", 3).await;
    told[..2].sort();
    assert_eq!(told, ["ADDED a", "ADDED b", "BOOKMARK"]);
    place.end().await;
}

#[tokio::test]
async fn a_watch_ends_at_its_timeout() {
    let place = Place::new("timeout").await;
    let params = WatchParams::default().labels("mine").timeout(1);
    let events = place.maps().watch(&params, "0").await.unwrap();
    let ended = tokio::time::timeout(std::time::Duration::from_secs(20), events.collect::<Vec<_>>()).await;
    assert!(ended.unwrap().iter().all(|event| matches!(event, Ok(WatchEvent::Bookmark(_)))));
    place.end().await;
}

#[tokio::test]
async fn pages_together_hold_every_object_once() {
    let place = Place::new("pages").await;
    for index in 0..7 {
        place.create(&format!("m{index}"), json!({"mine": "yes"})).await;
    }
    let mut params = ListParams::default().labels("mine").limit(3);
    let mut names = Vec::new();
    loop {
        let page = place.maps().list(&params).await.unwrap();
        assert!(page.items.len() <= 3);
        names.extend(page.items.iter().map(ResourceExt::name_any));
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => params = params.continue_token(&token),
            None => break,
        }
    }
    assert_eq!(names, ["m0", "m1", "m2", "m3", "m4", "m5", "m6"]);
    place.end().await;
}

#[tokio::test]
async fn of_two_writers_with_one_version_the_second_is_refused() {
    let place = Place::new("writers").await;
    let seen = place.create("a", json!({})).await;
    let mut mine = seen.clone();
    mine.data.get_or_insert_default().insert("mine".into(), "1".into());
    let mut yours = seen;
    yours.data.get_or_insert_default().insert("yours".into(), "1".into());
    place.maps().replace("a", &PostParams::default(), &mine).await.unwrap();
    let refused = place.maps().replace("a", &PostParams::default(), &yours).await.unwrap_err();
    assert!(matches!(refused, kube::Error::Api(status) if status.code == 409 && status.reason == "Conflict"));
    place.end().await;
}

#[tokio::test]
async fn dependents_go_with_their_owner_unless_they_are_orphaned() {
    let place = Place::new("owners").await;
    for (owner, child) in [("cascade", "goes"), ("orphan", "stays")] {
        let uid = place.create(owner, json!({})).await.uid().unwrap();
        let reference = json!({"apiVersion": "v1", "kind": "ConfigMap", "name": owner, "uid": uid});
        let object = json!({"metadata": {"name": child, "ownerReferences": [reference]}});
        place.maps().create(&PostParams::default(), &serde_json::from_value(object).unwrap()).await.unwrap();
    }
    let deleted = kube::runtime::conditions::is_deleted;
    let gone = place.maps().get("goes").await.unwrap().uid().unwrap();
    place.maps().delete("cascade", &DeleteParams::background()).await.unwrap();
    kube::runtime::wait::await_condition(place.maps(), "goes", deleted(&gone)).await.unwrap();
    place.maps().delete("orphan", &DeleteParams::orphan()).await.unwrap();
    let freed =
        |object: Option<&ConfigMap>| object.is_some_and(|object| object.owner_references().is_empty());
    kube::runtime::wait::await_condition(place.maps(), "stays", freed).await.unwrap();
    place.end().await;
}
