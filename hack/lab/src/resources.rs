//! The resources that the laboratory creates and looks at, and ways to wait for them.

use std::time::Duration;

use anyhow::{Context, Result};
use futures::{StreamExt, TryStreamExt};
use kube::api::{Api, ApiResource, DynamicObject, Patch, PatchParams};
use kube::core::GroupVersionKind;
use kube::{Client, runtime::watcher};
use serde_json::{Value, json};

/// The field manager of what people would do by hand.
pub(crate) const MANAGER: &str = "kubectl-client-side-apply";

/// A kind of the API by its parts.
pub(crate) fn kind(group: &str, version: &str, kind: &str, plural: &str) -> ApiResource {
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), plural)
}

/// GitRepositories of a namespace.
pub(crate) fn repositories(client: &Client, namespace: &str) -> Api<DynamicObject> {
    let resource = kind("source.toolkit.fluxcd.io", "v1", "GitRepository", "gitrepositories");
    Api::namespaced_with(client.clone(), namespace, &resource)
}

/// Kustomizations of a namespace.
pub(crate) fn kustomizations(client: &Client, namespace: &str) -> Api<DynamicObject> {
    let resource = kind("kustomize.toolkit.fluxcd.io", "v1", "Kustomization", "kustomizations");
    Api::namespaced_with(client.clone(), namespace, &resource)
}

/// ConfigMaps of a namespace.
pub(crate) fn config_maps(client: &Client, namespace: &str) -> Api<DynamicObject> {
    Api::namespaced_with(client.clone(), namespace, &kind("", "v1", "ConfigMap", "configmaps"))
}

/// Deployments of a namespace.
pub(crate) fn deployments(client: &Client, namespace: &str) -> Api<DynamicObject> {
    Api::namespaced_with(client.clone(), namespace, &kind("apps", "v1", "Deployment", "deployments"))
}

/// Applies an object as a person would, taking fields over.
pub(crate) async fn apply(api: &Api<DynamicObject>, name: &str, object: &Value) -> Result<DynamicObject> {
    let parameters = PatchParams::apply("lab").force();
    api.patch(name, &parameters, &Patch::Apply(object)).await.with_context(|| format!("applying {name}"))
}

/// Installs the CRDs and waits until the server serves them.
pub(crate) async fn install_crds(client: &Client) -> Result<()> {
    let resource =
        kind("apiextensions.k8s.io", "v1", "CustomResourceDefinition", "customresourcedefinitions");
    let api: Api<DynamicObject> = Api::all_with(client.clone(), &resource);
    for (_, definition) in sluice_api::crd::crds() {
        let name =
            definition.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default().to_owned();
        apply(&api, &name, &definition).await?;
        wait(&api, &name, Duration::from_secs(20), |object| {
            condition(object, "Established")
                .is_some_and(|condition| condition.get("status") == Some(&json!("True")))
        })
        .await?;
    }
    Ok(())
}

/// Makes sure that a namespace exists.
pub(crate) async fn namespace(client: &Client, name: &str) -> Result<()> {
    let api: Api<DynamicObject> = Api::all_with(client.clone(), &kind("", "v1", "Namespace", "namespaces"));
    apply(&api, name, &json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})).await?;
    Ok(())
}

/// Asks for a reconciliation now, as a webhook or `flux reconcile` would.
pub(crate) async fn nudge(api: &Api<DynamicObject>, name: &str, token: &str) -> Result<()> {
    let patch = json!({"metadata": {"annotations": {"reconcile.fluxcd.io/requestedAt": token}}});
    api.patch(name, &PatchParams::default(), &Patch::Merge(patch))
        .await
        .with_context(|| format!("nudging {name}"))?;
    Ok(())
}

/// Watches one object until it satisfies `until`.
pub(crate) async fn wait(
    api: &Api<DynamicObject>,
    name: &str,
    limit: Duration,
    until: impl Fn(&DynamicObject) -> bool,
) -> Result<DynamicObject> {
    let one = watcher::Config::default().fields(&format!("metadata.name={name}"));
    let mut events = watcher::watcher(api.clone(), one).boxed();
    let mut last = None;
    let seen = async {
        while let Some(event) = events.try_next().await? {
            if let watcher::Event::Apply(object) | watcher::Event::InitApply(object) = event {
                if until(&object) {
                    return Ok(object);
                }
                last = Some(object);
            }
        }
        anyhow::bail!("the watch of {name} ended")
    };
    match tokio::time::timeout(limit, seen).await {
        Ok(outcome) => outcome,
        Err(_) => anyhow::bail!(
            "{name} was not as expected within {} s; its status: {}",
            limit.as_secs(),
            last.and_then(|object| object.data.get("status").cloned()).unwrap_or_default()
        ),
    }
}

/// Watches one object until it is gone.
pub(crate) async fn wait_gone(api: &Api<DynamicObject>, name: &str, limit: Duration) -> Result<()> {
    let one = watcher::Config::default().fields(&format!("metadata.name={name}"));
    let mut events = watcher::watcher(api.clone(), one).boxed();
    let gone = async {
        let mut present = false;
        while let Some(event) = events.try_next().await? {
            match event {
                watcher::Event::Delete(_) => return Ok(()),
                watcher::Event::InitApply(_) => present = true,
                watcher::Event::InitDone if !present => return Ok(()),
                _ => {}
            }
        }
        anyhow::bail!("the watch of {name} ended")
    };
    tokio::time::timeout(limit, gone)
        .await
        .with_context(|| format!("{name} was still there after {limit:?}"))?
}

/// A condition of an object by type.
pub(crate) fn condition<'a>(object: &'a DynamicObject, kind: &str) -> Option<&'a Value> {
    let conditions = object.data.pointer("/status/conditions")?.as_array()?;
    conditions.iter().find(|condition| condition.get("type").and_then(Value::as_str) == Some(kind))
}

/// True when the object is Ready at a revision that ends with `commit`.
pub(crate) fn ready_at(object: &DynamicObject, commit: &str) -> bool {
    let ready =
        condition(object, "Ready").and_then(|condition| condition.get("status")?.as_str()) == Some("True");
    ready && text(object, "/status/lastAppliedRevision").ends_with(commit)
}

/// A text inside an object, empty when absent.
pub(crate) fn text<'a>(object: &'a DynamicObject, pointer: &str) -> &'a str {
    object.data.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}
