use std::collections::HashMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use sluice_types::{Algorithm, Digest, Proxies};
use tokio::time::Instant;

use crate::cluster::Options;
use crate::kubeconfig::read;
use crate::{Cluster, KubeconfigError, KubeconfigPolicy, Reach, Settings, bearer};

/// How long one request to a remote cluster may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// A cluster that nobody asked for this long is forgotten, unless somebody still holds it.
const IDLE: Duration = Duration::from_secs(15 * 60);
/// Clusters kept at most; above it the longest unused one is forgotten.
const MOST: usize = 1024;

/// A remote cluster, and whether it was made just now: then its signals want a follower.
#[derive(Clone, Debug)]
pub struct Remote {
    /// The cluster.
    pub cluster: Cluster,
    /// Whether no earlier call answered with it.
    pub is_new: bool,
}

/// Clusters made from kubeconfigs and cloud identities, one for each content, so that all who use the same one share its
/// connections, discovery and watches.
pub struct Remotes {
    settings: Settings,
    policy: KubeconfigPolicy,
    proxies: Proxies,
    clusters: Mutex<HashMap<Digest, Entry>>,
}

struct Entry {
    cluster: Cluster,
    used: Instant,
}

impl Remotes {
    /// No cluster yet. Those whose kubeconfig names no proxy are reached through `proxies`.
    #[must_use]
    pub fn new(settings: Settings, policy: KubeconfigPolicy, proxies: Proxies) -> Self {
        Self { settings, policy, proxies, clusters: Mutex::default() }
    }

    /// The cluster of a kubeconfig. Contacts nothing.
    ///
    /// # Errors
    /// The kubeconfig is malformed or refused.
    pub fn cluster(&self, kubeconfig: &[u8]) -> Result<Remote, KubeconfigError> {
        let digest = Digest::of(Algorithm::Sha256, kubeconfig);
        if let Some(cluster) = self.cached(&digest) {
            return Ok(Remote { cluster, is_new: false });
        }
        let config = read(kubeconfig, self.policy, &self.proxies)?;
        let client =
            kube::Client::try_from(config).map_err(|error| KubeconfigError::Unusable(error.to_string()))?;
        Ok(self.keep(digest, self.make(client)))
    }

    /// The cluster under a name of the caller's, if there is one already. The name must tell of everything that
    /// the way there is made of.
    pub fn named(&self, name: &str) -> Option<Remote> {
        let cluster = self.cached(&Digest::of(Algorithm::Sha256, name.as_bytes()))?;
        Some(Remote { cluster, is_new: false })
    }

    /// The cluster that is reached so, under a name of the caller's. Contacts nothing.
    ///
    /// # Errors
    /// Address or certificates are none.
    pub fn reach(&self, name: &str, reach: &Reach) -> Result<Remote, KubeconfigError> {
        let cluster = self.make(bearer::client(reach, &self.proxies)?);
        Ok(self.keep(Digest::of(Algorithm::Sha256, name.as_bytes()), cluster))
    }

    fn make(&self, client: kube::Client) -> Cluster {
        Cluster::new(client, Options { settings: self.settings.clone(), request_timeout: REQUEST_TIMEOUT })
    }

    /// Forgets clusters that nobody used for a while. Called by [`Remotes::cluster`] too.
    pub fn sweep(&self) {
        if let Ok(mut clusters) = self.clusters.lock() {
            evict(&mut clusters);
        }
    }

    fn cached(&self, digest: &Digest) -> Option<Cluster> {
        let mut clusters = self.clusters.lock().ok()?;
        evict(&mut clusters);
        let entry = clusters.get_mut(digest)?;
        entry.used = Instant::now();
        Some(entry.cluster.clone())
    }

    fn keep(&self, digest: Digest, cluster: Cluster) -> Remote {
        let is_new = true;
        let Ok(mut clusters) = self.clusters.lock() else {
            return Remote { cluster, is_new };
        };
        // Another caller may have been faster; all are to share one.
        if let Some(entry) = clusters.get(&digest) {
            let cluster = entry.cluster.clone();
            return Remote { cluster, is_new: false };
        }
        let used = Instant::now();
        let kept = cluster.clone();
        clusters.insert(digest, Entry { cluster: kept, used });
        evict(&mut clusters);
        Remote { cluster, is_new }
    }
}

fn evict(clusters: &mut HashMap<Digest, Entry>) {
    let now = Instant::now();
    clusters.retain(|_, entry| {
        now.duration_since(entry.used) < IDLE || Arc::strong_count(&entry.cluster.inner) > 1
    });
    while clusters.len() > MOST {
        let oldest = clusters.iter().min_by_key(|(_, entry)| entry.used).map(|(digest, _)| digest.clone());
        match oldest {
            Some(digest) => clusters.remove(&digest),
            None => return,
        };
    }
}
