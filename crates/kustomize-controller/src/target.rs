//! Where, and as whom, a Kustomization is applied.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use kube::Client;
use sluice_api::keys::kustomize::{FIELD_MANAGER, GROUP};
use sluice_api::kustomize::v1::{Kustomization, SubstituteKind};
use sluice_apply::{
    Cluster, Dialect, Identity, KubeconfigError, KubeconfigPolicy, Remotes, Settings, Target,
};
use tokio::sync::mpsc;

use crate::observe::Read;
use crate::options::Options;
use crate::request::Request;

/// Our names in the cluster.
pub(crate) const DIALECT: Dialect = Dialect { group: GROUP, manager: FIELD_MANAGER };
/// How long a request to this cluster may take.
const REQUEST: Duration = Duration::from_secs(60);

/// The clusters that are applied to.
pub(crate) struct Targets {
    local: Cluster,
    remotes: Remotes,
    met: mpsc::UnboundedSender<Cluster>,
    /// The other end, until somebody takes it.
    meetings: Mutex<Option<mpsc::UnboundedReceiver<Cluster>>>,
}

/// Why a cluster cannot be spoken to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unreachable {
    #[error("unable to read KubeConfig secret '{secret}' error: secrets \"{name}\" not found")]
    Missing { secret: String, name: String },
    #[error("KubeConfig secret '{secret}' does not contain a '{key}' key with a kubeconfig")]
    Empty { secret: String, key: String },
    #[error("KubeConfig secret '{secret}' cannot be used: {source}")]
    Unusable { secret: String, source: KubeconfigError },
    #[error(
        "spec.kubeConfig.configMapRef is not available in this version of the controller: \
         use spec.kubeConfig.secretRef"
    )]
    Provider,
}

impl Targets {
    /// This cluster.
    pub(crate) fn new(client: Client, options: &Options) -> Self {
        let settings = Settings { dialect: DIALECT, override_managers: options.override_managers.clone() };
        let (met, meetings) = mpsc::unbounded_channel();
        let local = Cluster::new(
            client,
            sluice_apply::Options { settings: settings.clone(), request_timeout: REQUEST },
        );
        // The receiver is held by this very value.
        let _ = met.send(local.clone());
        Self {
            local,
            remotes: Remotes::new(
                settings,
                KubeconfigPolicy { insecure_tls: options.insecure_kubeconfig_tls },
            ),
            met,
            meetings: Mutex::new(Some(meetings)),
        }
    }

    /// The clusters as they are met, this one first; to be taken once.
    pub(crate) fn meetings(&self) -> Option<mpsc::UnboundedReceiver<Cluster>> {
        self.meetings.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Asks for a signal once this cluster serves a kind.
    pub(crate) fn await_kind(&self, group: &str, kind: &str) {
        self.local.await_kind(group, kind);
    }

    /// The target of a request. `read` holds what the Kustomization refers to.
    pub(crate) async fn of(&self, request: &Request, read: &[Read]) -> Result<Target, Unreachable> {
        Ok(self.cluster(request, read).await?.target(identity(request)))
    }

    async fn cluster(&self, request: &Request, read: &[Read]) -> Result<Cluster, Unreachable> {
        let Some(reference) = &request.cluster else { return Ok(self.local.clone()) };
        let Some(wanted) = &reference.secret_ref else { return Err(Unreachable::Provider) };
        let secret = format!("{}/{}", request.key.namespace, wanted.name);
        let values = read
            .iter()
            .find(|(key, _)| key.kind == SubstituteKind::Secret && key.name == wanted.name)
            .and_then(|(_, values)| values.as_ref())
            .ok_or_else(|| Unreachable::Missing { secret: secret.clone(), name: wanted.name.clone() })?;
        let data = values.data.expose();
        let key = wanted.key.as_deref().filter(|key| !key.is_empty());
        let text = match key {
            Some(key) => data.get(key),
            None => data.get("value").or_else(|| data.get("value.yaml")),
        };
        let text = text.filter(|text| !text.is_empty()).ok_or_else(|| Unreachable::Empty {
            secret: secret.clone(),
            key: key.unwrap_or("value").to_owned(),
        })?;
        let remote =
            self.remotes.cluster(text).await.map_err(|source| Unreachable::Unusable { secret, source })?;
        if remote.is_new {
            // Without a follower nothing but speed is lost.
            let _ = self.met.send(remote.cluster.clone());
        }
        Ok(remote.cluster)
    }
}

fn identity(request: &Request) -> Identity {
    match &request.account {
        Some(name) => {
            Identity::ServiceAccount { namespace: request.key.namespace.to_string(), name: name.clone() }
        }
        None => Identity::Own,
    }
}

/// Names whose objects go where for comparison; what stands in the referred Secret is compared by its version.
pub(crate) fn describe(object: &Kustomization, request: &Request) -> String {
    let cluster = match &request.cluster {
        Some(reference) => reference.secret_ref.as_ref().map_or("?", |secret| secret.name.as_str()),
        None => "",
    };
    let uid = object.metadata.uid.as_deref().unwrap_or_default();
    format!("{uid}/{cluster}/{}", request.account.as_deref().unwrap_or_default())
}
