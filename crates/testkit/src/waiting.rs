//! Waiting for an object to become what a scenario expects, by watching it.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use futures::{StreamExt, TryStreamExt};
use kube::Client;
use kube::api::{Api, ApiResource, DynamicObject};
use kube::core::GroupVersionKind;
use kube::runtime::watcher;
use serde_json::Value;

/// A kind by its parts: `("apps/v1", "Deployment", "deployments")`.
pub fn kind(api_version: &str, kind: &str, plural: &str) -> ApiResource {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), plural)
}

/// Objects of a kind in a namespace, or cluster-wide when it is empty.
pub fn objects(client: &Client, resource: &ApiResource, namespace: &str) -> Api<DynamicObject> {
    match namespace {
        "" => Api::all_with(client.clone(), resource),
        namespace => Api::namespaced_with(client.clone(), namespace, resource),
    }
}

/// Watches one object until it satisfies `until`; gives the object.
///
/// # Errors
/// When that did not happen within `limit`; the error tells the last status.
pub async fn wait(
    api: &Api<DynamicObject>,
    name: &str,
    limit: Duration,
    until: impl Fn(&DynamicObject) -> bool,
) -> Result<DynamicObject> {
    let one = watcher::Config::default().fields(&format!("metadata.name={name}"));
    let mut events = watcher::watcher(api.clone(), one).boxed();
    let mut last = None;
    let seen = async {
        loop {
            // A broken watch is taken up again by the watcher itself.
            let Some(event) = events.next().await else { bail!("the watch of {name} ended") };
            if let Ok(watcher::Event::Apply(object) | watcher::Event::InitApply(object)) = event {
                if until(&object) {
                    return Ok(object);
                }
                last = Some(object);
            }
        }
    };
    match tokio::time::timeout(limit, seen).await {
        Ok(outcome) => outcome,
        Err(_) => bail!(
            "{name} was not as expected within {} s; it was: {}",
            limit.as_secs(),
            last.map(|object| serde_json::to_string(&object).unwrap_or_default()).unwrap_or_default()
        ),
    }
}

/// Watches one object until it is gone.
///
/// # Errors
/// When it was still there after `limit`.
pub async fn wait_gone(api: &Api<DynamicObject>, name: &str, limit: Duration) -> Result<()> {
    let one = watcher::Config::default().fields(&format!("metadata.name={name}"));
    let mut events = watcher::watcher(api.clone(), one).boxed();
    let gone = async {
        let mut present = false;
        while let Some(event) = events.try_next().await? {
            match event {
                watcher::Event::Delete(_) => return Ok(()),
                watcher::Event::Init => present = false,
                watcher::Event::InitApply(_) => present = true,
                watcher::Event::InitDone if !present => return Ok(()),
                _ => {}
            }
        }
        bail!("the watch of {name} ended")
    };
    tokio::time::timeout(limit, gone)
        .await
        .with_context(|| format!("{name} was still there after {limit:?}"))?
}

/// A condition of an object by type.
pub fn condition<'a>(object: &'a DynamicObject, kind: &str) -> Option<&'a Value> {
    let conditions = object.data.pointer("/status/conditions")?.as_array()?;
    conditions.iter().find(|condition| condition.get("type").and_then(Value::as_str) == Some(kind))
}

/// A condition's field, empty when absent.
pub fn condition_text<'a>(object: &'a DynamicObject, kind: &str, field: &str) -> &'a str {
    condition(object, kind).and_then(|condition| condition.get(field)?.as_str()).unwrap_or_default()
}

/// A text inside an object, empty when absent.
pub fn text<'a>(object: &'a DynamicObject, pointer: &str) -> &'a str {
    object.data.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}
