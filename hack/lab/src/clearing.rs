//! Empties a namespace of what the measurements leave in it, so that the next one begins on the same server.

use anyhow::Result;
use futures::{StreamExt, TryStreamExt, stream};
use kube::Client;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use serde_json::json;
use sluice_testkit::waiting::{kind, objects};

/// What controllers hold on to; none runs any more when this is let go.
const HELD: [(&str, &str, &str); 2] = [
    ("kustomize.toolkit.fluxcd.io/v1", "Kustomization", "kustomizations"),
    ("source.toolkit.fluxcd.io/v1", "GitRepository", "gitrepositories"),
];

/// What the measured Kustomizations are made of.
const LEFT: [(&str, &str, &str); 6] = [
    ("apps/v1", "Deployment", "deployments"),
    ("v1", "Service", "services"),
    ("v1", "ServiceAccount", "serviceaccounts"),
    ("networking.k8s.io/v1", "Ingress", "ingresses"),
    ("v1", "ConfigMap", "configmaps"),
    ("v1", "Event", "events"),
];

const AT_A_TIME: usize = 32;

/// Deletes everything measured in a namespace. No controller may run: finalizers are taken away, nothing is pruned.
pub(crate) async fn clear(client: &Client, namespace: &str) -> Result<()> {
    let api = |(version, name, plural)| objects(client, &kind(version, name, plural), namespace);
    let all = ListParams::default();
    for held in HELD {
        let api = &api(held);
        let released = &json!({"metadata": {"finalizers": null}});
        stream::iter(api.list_metadata(&all).await?.items)
            .filter(|object| std::future::ready(object.metadata.finalizers.is_some()))
            .map(|object| async move {
                let name = object.metadata.name.unwrap_or_default();
                api.patch_metadata(&name, &PatchParams::default(), &Patch::Merge(released)).await
            })
            .buffer_unordered(AT_A_TIME)
            .try_for_each(|_| std::future::ready(Ok(())))
            .await?;
    }
    for kind in HELD.into_iter().chain(LEFT) {
        api(kind).delete_collection(&DeleteParams::default(), &all).await?;
    }
    Ok(())
}
