//! The resources that the laboratory creates and looks at.

use std::time::Duration;

use anyhow::{Context, Result};
use futures::{StreamExt, TryStreamExt};
use kube::Client;
use kube::api::{Api, DynamicObject, Patch, PatchParams};
use kube::runtime::watcher;
use serde_json::{Value, json};
use sluice_testkit::waiting::{condition_text, kind, objects, text, wait};

/// The field manager of what people would do by hand.
pub(crate) const MANAGER: &str = "kubectl-client-side-apply";

/// GitRepositories of a namespace.
pub(crate) fn repositories(client: &Client, namespace: &str) -> Api<DynamicObject> {
    objects(client, &kind("source.toolkit.fluxcd.io/v1", "GitRepository", "gitrepositories"), namespace)
}

/// Kustomizations of a namespace.
pub(crate) fn kustomizations(client: &Client, namespace: &str) -> Api<DynamicObject> {
    objects(client, &kind("kustomize.toolkit.fluxcd.io/v1", "Kustomization", "kustomizations"), namespace)
}

/// ConfigMaps of a namespace.
pub(crate) fn config_maps(client: &Client, namespace: &str) -> Api<DynamicObject> {
    objects(client, &kind("v1", "ConfigMap", "configmaps"), namespace)
}

/// Deployments of a namespace.
pub(crate) fn deployments(client: &Client, namespace: &str) -> Api<DynamicObject> {
    objects(client, &kind("apps/v1", "Deployment", "deployments"), namespace)
}

/// Applies an object as a person would, taking fields over.
pub(crate) async fn apply(api: &Api<DynamicObject>, name: &str, object: &Value) -> Result<DynamicObject> {
    let parameters = PatchParams::apply("lab").force();
    api.patch(name, &parameters, &Patch::Apply(object)).await.with_context(|| format!("applying {name}"))
}

/// Installs the CRDs and waits until the server serves them.
pub(crate) async fn install_crds(client: &Client) -> Result<()> {
    let resource = kind("apiextensions.k8s.io/v1", "CustomResourceDefinition", "customresourcedefinitions");
    let api = objects(client, &resource, "");
    for (_, definition) in sluice_api::crd::crds() {
        let name = definition.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
        apply(&api, name, &definition).await?;
        let served = |object: &DynamicObject| condition_text(object, "Established", "status") == "True";
        wait(&api, name, Duration::from_secs(20), served).await?;
    }
    Ok(())
}

/// Makes sure that a namespace exists.
pub(crate) async fn namespace(client: &Client, name: &str) -> Result<()> {
    let api = objects(client, &kind("v1", "Namespace", "namespaces"), "");
    apply(&api, name, &json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})).await?;
    Ok(())
}

/// Waits until no namespace with one of these beginnings is left.
pub(crate) async fn wait_for_no_namespaces(
    client: &Client,
    prefixes: &[&str],
    limit: Duration,
) -> Result<()> {
    let api = objects(client, &kind("v1", "Namespace", "namespaces"), "");
    let ours = |name: &String| prefixes.iter().any(|prefix| name.starts_with(prefix));
    let mut events = watcher::watcher(api, watcher::Config::default()).boxed();
    let mut left = std::collections::BTreeSet::new();
    let gone = async {
        let mut listed = false;
        while let Some(event) = events.try_next().await? {
            match event {
                watcher::Event::Init => left.clear(),
                watcher::Event::InitApply(object) => left.extend(object.metadata.name.filter(ours)),
                watcher::Event::InitDone => listed = true,
                watcher::Event::Apply(_) => {}
                watcher::Event::Delete(object) => {
                    left.remove(object.metadata.name.as_deref().unwrap_or_default());
                }
            }
            if listed && left.is_empty() {
                return Ok(());
            }
        }
        anyhow::bail!("the watch of namespaces ended")
    };
    match tokio::time::timeout(limit, gone).await {
        Ok(outcome) => outcome,
        Err(_) => anyhow::bail!("these namespaces are still there after {limit:?}: {left:?}"),
    }
}

/// Asks for a reconciliation now, as a webhook or `flux reconcile` would.
pub(crate) async fn nudge(api: &Api<DynamicObject>, name: &str, token: &str) -> Result<()> {
    let patch = json!({"metadata": {"annotations": {"reconcile.fluxcd.io/requestedAt": token}}});
    api.patch(name, &PatchParams::default(), &Patch::Merge(patch))
        .await
        .with_context(|| format!("nudging {name}"))?;
    Ok(())
}

/// True when the object is Ready at a revision that ends with `commit`.
pub(crate) fn ready_at(object: &DynamicObject, commit: &str) -> bool {
    condition_text(object, "Ready", "status") == "True"
        && text(object, "/status/lastAppliedRevision").ends_with(commit)
}
