//! Where, and as whom, a Kustomization is applied.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sluice_api::keys::kustomize::{FIELD_MANAGER, GROUP};
use sluice_api::kustomize::v1::reason as ks;
use sluice_api::kustomize::v1::{Kustomization, SubstituteKind};
use sluice_api::{Reason, reason as common};
use sluice_apply::{
    Cluster, Dialect, Identity, KubeconfigError, KubeconfigPolicy, Remote, Remotes, Settings, Signal, Target,
};
use sluice_runtime::{Host, Key};
use tokio::sync::{broadcast, mpsc};

use crate::logins::Logins;
use crate::observe::Read;
use crate::options::Options;
use crate::provider::{Refused, Way};
use crate::request::Request;

/// Our names in the cluster.
pub(crate) const DIALECT: Dialect = Dialect { group: GROUP, manager: FIELD_MANAGER };
/// How long a request to this cluster may take.
const REQUEST: Duration = Duration::from_secs(60);

/// The clusters that are applied to.
pub(crate) struct Targets {
    options: Options,
    logins: Arc<Logins>,
    local: Cluster,
    remotes: Remotes,
    met: mpsc::UnboundedSender<broadcast::Receiver<Signal>>,
    /// The other end, until somebody takes it.
    meetings: Mutex<Option<Meetings>>,
}

/// The signals of each cluster, from the moment that it is met.
pub(crate) type Meetings = mpsc::UnboundedReceiver<broadcast::Receiver<Signal>>;

/// Why a cluster cannot be spoken to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unreachable {
    #[error("unable to read KubeConfig secret '{secret}' error: secrets \"{name}\" not found")]
    Missing { secret: String, name: String },
    #[error("KubeConfig secret '{secret}' does not contain a '{key}' key with a kubeconfig")]
    Empty { secret: String, key: String },
    #[error("KubeConfig secret '{secret}' cannot be used: {source}")]
    Unusable { secret: String, source: KubeconfigError },
    #[error("failed to get configmap {map}: configmaps \"{name}\" not found")]
    MissingMap { map: String, name: String },
    #[error("KubeConfig configmap '{map}' cannot be used: {source}")]
    UnusableMap { map: String, source: Refused },
    #[error("signing in to the cluster of KubeConfig configmap '{map}' failed: {text}")]
    SignIn { map: String, text: String },
    #[error("signing in to the cluster of KubeConfig configmap '{map}' is not possible: {text}")]
    Unsupported { map: String, text: String },
    #[error("spec.kubeConfig names neither a Secret nor a ConfigMap")]
    Nothing,
}

impl Unreachable {
    /// The reason to be told where nothing but another configuration helps.
    pub(crate) fn stalls(&self) -> Option<Reason> {
        match self {
            Self::UnusableMap { source: Refused::Gate, .. } => Some(common::FEATURE_GATE_DISABLED),
            Self::Unsupported { .. } => Some(ks::RECONCILIATION_FAILED),
            _ => None,
        }
    }
}

impl Targets {
    /// This cluster.
    pub(crate) fn new(host: &Host, options: &Options) -> Self {
        let settings = Settings { dialect: DIALECT, override_managers: options.override_managers.clone() };
        let (met, meetings) = mpsc::unbounded_channel();
        let local = Cluster::new(
            host.client.clone(),
            sluice_apply::Options { settings: settings.clone(), request_timeout: REQUEST },
        );
        // The receiver is held by this very value.
        let _ = met.send(local.signals());
        let environment = options.environment.clone();
        Self {
            logins: Arc::new(Logins::new(host, options.tokens, options.token_lifetime, environment)),
            options: options.clone(),
            local,
            remotes: Remotes::new(
                settings,
                KubeconfigPolicy { insecure_tls: options.insecure_kubeconfig_tls },
                options.environment.proxies(),
            ),
            met,
            meetings: Mutex::new(Some(meetings)),
        }
    }

    /// The signals of clusters as they are met, this one first; to be taken once.
    pub(crate) fn meetings(&self) -> Option<Meetings> {
        self.meetings.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// A Kustomization is gone.
    pub(crate) fn forget(&self, key: &Key) {
        self.logins.forget(key);
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
        let Some(wanted) = &reference.secret_ref else {
            let map = reference.config_map_ref.as_ref().ok_or(Unreachable::Nothing)?;
            let remote = self.by_map(request, &map.name, read).await?;
            return Ok(self.meet(remote));
        };
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
        let remote = self.remotes.cluster(text).map_err(|source| Unreachable::Unusable { secret, source })?;
        Ok(self.meet(remote))
    }

    fn meet(&self, remote: Remote) -> Cluster {
        if remote.is_new {
            // Without a follower nothing but speed is lost.
            let _ = self.met.send(remote.cluster.signals());
        }
        remote.cluster
    }

    async fn by_map(&self, request: &Request, name: &str, read: &[Read]) -> Result<Remote, Unreachable> {
        let namespace = &request.key.namespace;
        let map = format!("{namespace}/{name}");
        let values = read
            .iter()
            .find(|(key, _)| key.kind == SubstituteKind::ConfigMap && key.name == name)
            .and_then(|(_, values)| values.as_ref())
            .ok_or_else(|| Unreachable::MissingMap { map: map.clone(), name: name.to_owned() })?;
        let way = Way::read(values.data.expose(), &self.options)
            .map_err(|source| Unreachable::UnusableMap { map: map.clone(), source })?;
        self.logins.cluster(&self.remotes, &request.key, &way).await.map_err(|error| match error {
            sluice_identity::Error::Unsupported(text) => Unreachable::Unsupported { map, text },
            other => Unreachable::SignIn { map, text: other.to_string() },
        })
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
        Some(reference) => match (&reference.secret_ref, &reference.config_map_ref) {
            (Some(secret), _) => secret.name.clone(),
            (None, Some(map)) => format!("ConfigMap {}", map.name),
            (None, None) => "?".to_owned(),
        },
        None => String::new(),
    };
    let uid = object.metadata.uid.as_deref().unwrap_or_default();
    format!("{uid}/{cluster}/{}", request.account.as_deref().unwrap_or_default())
}
