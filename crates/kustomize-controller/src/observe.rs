//! What a pass looks at before anything is decided.

use std::sync::Arc;

use kube::Api;
use sluice_api::kustomize::v1::{Kustomization, SubstituteKind};
use sluice_runtime::Key;

use crate::context::Context;
use crate::cycle;
use crate::gate::Observed;
use crate::references::{ReferenceKey, Values, not_found};
use crate::request::{self, Request, SourceKey};

/// Source and dependencies.
pub(crate) async fn observe(context: &Context, request: &Request) -> Observed {
    let source = source(context, &request.source).await;
    let mut dependencies = Vec::with_capacity(request.dependencies.len());
    for dependency in &request.dependencies {
        dependencies.push(kustomization(context, &dependency.key).await);
    }
    let circle = if request.dependencies.is_empty() { None } else { circle(context, &request.key) };
    Observed { source, dependencies, circle }
}

async fn source(context: &Context, key: &SourceKey) -> Result<Arc<sluice_api::source::SourceObject>, String> {
    if !context.options.gates.direct_source_fetch {
        return context.sources.get(key).await;
    }
    context.sources.bypassed(key.kind);
    let api = Api::namespaced_with(context.client.clone(), &key.namespace, &key.kind.resource());
    api.get(&key.name).await.map(Arc::new).map_err(|error| words(&error))
}

/// Kustomizations of another shard are not in the cache.
async fn kustomization(context: &Context, key: &Key) -> Result<Arc<Kustomization>, String> {
    if let Some(found) = context.handle.get(&key.namespace, &key.name) {
        return Ok(found);
    }
    if context.options.sharded {
        let api: Api<Kustomization> = Api::namespaced(context.client.clone(), &key.namespace);
        return api.get(&key.name).await.map(Arc::new).map_err(|error| words(&error));
    }
    Err(format!("kustomizations.{} \"{}\" not found", sluice_api::keys::kustomize::GROUP, key.name))
}

fn circle(context: &Context, start: &Key) -> Option<Vec<Key>> {
    cycle::find(start, |key| {
        context
            .handle
            .get(&key.namespace, &key.name)
            .map(|object| request::prerequisites(&object).collect::<Vec<_>>())
            .unwrap_or_default()
    })
}

fn words(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message.clone(),
        other => other.to_string(),
    }
}

/// A ConfigMap or Secret as it was read.
pub(crate) type Read = (ReferenceKey, Option<Arc<Values>>);

/// Why something that a Kustomization refers to could not be read, in the words of what it was wanted for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unread {
    #[error("unable to read KubeConfig secret '{place}' error: {text}")]
    Kubeconfig { place: String, text: String },
    #[error("failed to get configmap {place}: {text}")]
    Login { place: String, text: String },
    #[error("substitute from '{key}' error: {text}")]
    Substitute { key: ReferenceKey, text: String },
}

impl Unread {
    fn of(object: &Kustomization, key: &ReferenceKey, text: String) -> Self {
        let cluster = object.spec.kube_config.as_ref();
        let secret = cluster.and_then(|cluster| cluster.secret_ref.as_ref());
        let map = cluster.and_then(|cluster| cluster.config_map_ref.as_ref());
        let place = format!("{}/{}", key.namespace, key.name);
        match key.kind {
            SubstituteKind::Secret if secret.is_some_and(|secret| secret.name == key.name) => {
                Self::Kubeconfig { place, text }
            }
            SubstituteKind::ConfigMap if map.is_some_and(|map| map.name == key.name) => {
                Self::Login { place, text }
            }
            _ => Self::Substitute { key: key.clone(), text },
        }
    }
}

/// Everything the Kustomization refers to, each read once.
pub(crate) async fn references(
    context: &Context,
    object: &Kustomization,
    fresh: bool,
) -> Result<Vec<Read>, Unread> {
    let namespace = object.metadata.namespace.clone().unwrap_or_default();
    let mut found = Vec::new();
    for (kind, name) in request::referenced(object) {
        let key = ReferenceKey { kind, namespace: namespace.clone(), name };
        let values = context.references.read(&context.client, &key, fresh).await;
        let values = values.map_err(|error| Unread::of(object, &key, words(&error)))?;
        found.push((key, values));
    }
    Ok(found)
}

/// The variables that a Kustomization's references hold, in the order that later ones win.
pub(crate) fn variables(request: &Request, read: &[Read]) -> Result<Vec<Arc<Values>>, Unread> {
    let mut found = Vec::new();
    for reference in &request.substitutes {
        let values = read
            .iter()
            .find(|(key, _)| key.kind == reference.kind && key.name == reference.name)
            .and_then(|(_, values)| values.clone());
        match values {
            Some(values) => found.push(values),
            None if reference.optional.unwrap_or_default() => {}
            None => {
                let key = ReferenceKey {
                    kind: reference.kind,
                    namespace: request.key.namespace.to_string(),
                    name: reference.name.clone(),
                };
                let text = not_found(&key);
                return Err(Unread::Substitute { key, text });
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;
    use serde_json::json;

    /// An API server whose watches tell of the source's first revision, and whose reads of the second.
    fn lagging() -> kube::Client {
        let service = tower::service_fn(|request: http::Request<kube::client::Body>| async move {
            let source = |revision| {
                let mut source = serde_json::to_value(sample::source(revision)).unwrap();
                source["apiVersion"] = json!("source.toolkit.fluxcd.io/v1");
                source["kind"] = json!("GitRepository");
                source
            };
            let answer = if request.uri().path().ends_with("/repo") {
                source("r2")
            } else if request.uri().query().unwrap_or_default().contains("watch=true") {
                std::future::pending().await
            } else {
                json!({"apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "GitRepositoryList",
                    "metadata": {"resourceVersion": "1"}, "items": [source("r1")]})
            };
            let body = kube::client::Body::from(answer.to_string().into_bytes());
            Ok::<_, std::convert::Infallible>(http::Response::new(body))
        });
        kube::Client::new(service, "default")
    }

    #[tokio::test]
    async fn with_its_gate_sources_are_read_past_a_cache_that_lags() {
        sluice_runtime::tls::install();
        let key = SourceKey {
            kind: sluice_api::source::SourceKind::GitRepository,
            namespace: "apps".to_owned(),
            name: "repo".to_owned(),
        };
        for (gate, expected) in [(false, "r1"), (true, "r2")] {
            let host = sluice_runtime::Host::embedded(lagging(), "kustomize-controller", None).unwrap();
            let mut options = crate::options::Options::default();
            options.gates.direct_source_fetch = gate;
            let context = Arc::new(Context::new(options, &host, sluice_runtime::Handle::new()).unwrap());
            crate::wire::start(&context, &host);
            let seen = source(&context, &key).await.unwrap();
            assert_eq!(seen.status.artifact.as_ref().unwrap().revision, expected);
            host.stop.cancel();
        }
    }

    #[test]
    fn references_come_in_their_order_and_only_required_ones_must_exist() {
        let values = |version: &str| {
            Some(Arc::new(Values {
                version: version.to_owned(),
                data: sluice_types::Redacted::new(std::collections::BTreeMap::new()),
            }))
        };
        let key =
            |kind, name: &str| ReferenceKey { kind, namespace: "apps".to_owned(), name: name.to_owned() };
        let read = [
            (key(SubstituteKind::ConfigMap, "a"), values("map")),
            (key(SubstituteKind::ConfigMap, "gone"), None),
            (key(SubstituteKind::Secret, "a"), values("secret")),
        ];
        let versions = |from: serde_json::Value| {
            let object = sample::kustomization(json!({"postBuild": {"substituteFrom": from}}));
            let request = Request::read(&object, &crate::options::Options::default()).unwrap();
            variables(&request, &read)
                .map_err(|unread| unread.to_string())
                .map(|found| found.iter().map(|values| values.version.clone()).collect::<Vec<_>>())
        };
        let both = json!([{"kind": "Secret", "name": "a"}, {"kind": "ConfigMap", "name": "a"},
            {"kind": "ConfigMap", "name": "gone", "optional": true}]);
        assert_eq!(versions(both), Ok(vec!["secret".to_owned(), "map".to_owned()]));
        assert_eq!(
            versions(json!([{"kind": "ConfigMap", "name": "gone"}])),
            Err("substitute from 'ConfigMap/gone' error: configmaps \"gone\" not found".to_owned())
        );
    }

    #[test]
    fn what_cannot_be_read_is_told_as_what_it_was_wanted_for() {
        let from =
            json!({"substituteFrom": [{"kind": "Secret", "name": "s"}, {"kind": "ConfigMap", "name": "c"}]});
        let told = |cluster: serde_json::Value, kind: SubstituteKind, name: &str| {
            let object = sample::kustomization(json!({"postBuild": from, "kubeConfig": cluster}));
            let key = ReferenceKey { kind, namespace: "apps".to_owned(), name: name.to_owned() };
            Unread::of(&object, &key, "forbidden".to_owned()).to_string()
        };
        let secret = json!({"secretRef": {"name": "k"}});
        let map = json!({"configMapRef": {"name": "k"}});
        let table = [
            (
                &secret,
                SubstituteKind::Secret,
                "k",
                "unable to read KubeConfig secret 'apps/k' error: forbidden",
            ),
            (&map, SubstituteKind::ConfigMap, "k", "failed to get configmap apps/k: forbidden"),
            (&secret, SubstituteKind::Secret, "s", "substitute from 'Secret/s' error: forbidden"),
            (&map, SubstituteKind::ConfigMap, "c", "substitute from 'ConfigMap/c' error: forbidden"),
        ];
        for (cluster, kind, name, expected) in table {
            assert_eq!(told(cluster.clone(), kind, name), expected);
        }
    }
}
