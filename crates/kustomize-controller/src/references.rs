//! ConfigMaps and Secrets that Kustomizations refer to, read under the controller's identity. One read serves
//! all passes that run at about the same time.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::{Api, Client};
use sluice_api::kustomize::v1::SubstituteKind;
use sluice_types::Redacted;
use tokio::sync::OnceCell;
use tokio::time::Instant;

/// How old a read may be where nobody asked for a fresh one.
const SHARED: Duration = Duration::from_secs(1);

/// What an object holds.
#[derive(Debug)]
pub(crate) struct Values {
    /// Its resource version.
    pub(crate) version: String,
    /// The text values by key.
    pub(crate) data: Redacted<BTreeMap<String, Vec<u8>>>,
}

/// Names an object.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct ReferenceKey {
    pub(crate) kind: SubstituteKind,
    pub(crate) namespace: String,
    pub(crate) name: String,
}

impl std::fmt::Display for ReferenceKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.kind.as_str(), self.name)
    }
}

type Slot = Arc<OnceCell<Option<Arc<Values>>>>;

/// Reads of the last moment.
#[derive(Debug, Default)]
pub(crate) struct References {
    recent: Mutex<HashMap<ReferenceKey, (Instant, Slot)>>,
}

impl References {
    /// The object, or `None` where there is none. With `fresh`, no read is shared that began before now.
    pub(crate) async fn read(
        &self,
        client: &Client,
        key: &ReferenceKey,
        fresh: bool,
    ) -> Result<Option<Arc<Values>>, kube::Error> {
        let slot = self.slot(key, fresh);
        slot.get_or_try_init(|| fetch(client.clone(), key)).await.cloned()
    }

    /// The object has changed: no earlier read is shared any more.
    pub(crate) fn forget(&self, key: &ReferenceKey) {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }

    fn slot(&self, key: &ReferenceKey, fresh: bool) -> Slot {
        let now = Instant::now();
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        recent.retain(|_, (read, _)| *read + SHARED > now);
        if fresh {
            recent.remove(key);
        }
        let (_, slot) = recent.entry(key.clone()).or_insert_with(|| (now, Slot::default()));
        slot.clone()
    }
}

async fn fetch(client: Client, key: &ReferenceKey) -> Result<Option<Arc<Values>>, kube::Error> {
    let values = match key.kind {
        SubstituteKind::ConfigMap => {
            let api: Api<ConfigMap> = Api::namespaced(client, &key.namespace);
            api.get_opt(&key.name).await?.map(|map| Values {
                version: map.metadata.resource_version.unwrap_or_default(),
                data: Redacted::new(
                    map.data
                        .unwrap_or_default()
                        .into_iter()
                        .map(|(key, text)| (key, text.into_bytes()))
                        .collect(),
                ),
            })
        }
        SubstituteKind::Secret => {
            let api: Api<Secret> = Api::namespaced(client, &key.namespace);
            api.get_opt(&key.name).await?.map(|secret| Values {
                version: secret.metadata.resource_version.unwrap_or_default(),
                data: Redacted::new(
                    secret.data.unwrap_or_default().into_iter().map(|(key, bytes)| (key, bytes.0)).collect(),
                ),
            })
        }
    };
    Ok(values.map(Arc::new))
}

/// What an API server says about an object that is not there.
pub(crate) fn not_found(key: &ReferenceKey) -> String {
    let plural = match key.kind {
        SubstituteKind::ConfigMap => "configmaps",
        SubstituteKind::Secret => "secrets",
    };
    format!("{plural} \"{}\" not found", key.name)
}
