use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::broadcast;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::kinds::{Kinds, Resource};
use crate::live::Settings;
use crate::look::Looks;
use crate::transport::Transport;
use crate::watch::{Depth, Scope, WatchLease, Watches};
use crate::{Failure, Identity, ObjectId, Seen, Signal, Target};

/// How a cluster is spoken to.
#[derive(Clone, Debug)]
pub struct Options {
    /// Our names, and whose fields are taken over.
    pub settings: Settings,
    /// How long one request may take; Flux allows 30 s for remote clusters.
    pub request_timeout: Duration,
}

/// One cluster that objects are applied to: the connection, what it serves, and what is known of its
/// objects. Cheap to clone; all clones share everything. When the last clone, [`Target`] and
/// [`WatchLease`] are gone, its watches end.
#[derive(Clone)]
pub struct Cluster {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) transport: Transport,
    pub(crate) kinds: Arc<Kinds>,
    pub(crate) looks: Looks,
    pub(crate) watches: Watches,
    pub(crate) settings: Arc<Settings>,
    _stop: DropGuard,
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster").finish_non_exhaustive()
    }
}

impl Cluster {
    /// A cluster behind a client. The client's own identity watches and reads discovery; requests of
    /// a [`Target`] carry impersonation headers on top of it. Asks the server nothing yet.
    #[must_use]
    pub fn new(client: kube::Client, options: Options) -> Self {
        let stop = CancellationToken::new();
        let transport = Transport::new(client, options.request_timeout);
        let kinds = Arc::new(Kinds::default());
        let settings = Arc::new(options.settings);
        let watches =
            Watches::new(transport.clone(), Arc::clone(&kinds), Arc::clone(&settings), stop.clone());
        Self {
            inner: Arc::new(Inner {
                transport,
                kinds,
                looks: Looks::default(),
                watches,
                settings,
                _stop: stop.drop_guard(),
            }),
        }
    }

    /// The cluster as seen and changed by one identity. Costs nothing.
    #[must_use]
    pub fn target(&self, who: Identity) -> Target {
        Target { cluster: self.clone(), who, until: None }
    }

    /// Where a kind lives; without a version, in the one the server prefers. A kind that is not
    /// known is looked for in fresh discovery, at most every two seconds.
    ///
    /// # Errors
    /// [`Failure::NoMatch`] when the kind is not served.
    pub async fn resource(
        &self,
        group: &str,
        version: Option<&str>,
        kind: &str,
    ) -> Result<Arc<Resource>, Failure> {
        let inner = &self.inner;
        inner.kinds.find(&inner.transport, group, version, kind).await
    }

    /// The identity an object has in this cluster: cluster-scoped kinds lose a namespace that was
    /// injected. An object of an unknown kind keeps the identity it has. To be asked before the
    /// inventory is claimed.
    ///
    /// # Errors
    /// Discovery could not be read.
    pub async fn place(&self, id: &ObjectId) -> Result<ObjectId, Failure> {
        let mut placed = id.clone();
        match self.resource(&id.group, None, &id.kind).await {
            Ok(resource) if !resource.namespaced => placed.namespace.clear(),
            Ok(_) | Err(Failure::NoMatch { .. }) => {}
            Err(failure) => return Err(failure),
        }
        Ok(placed)
    }

    /// What happens to watched objects and to kinds that were found missing. A receiver that lags
    /// behind misses signals and must look at everything once.
    #[must_use]
    pub fn signals(&self) -> broadcast::Receiver<Signal> {
        self.inner.watches.signals()
    }

    /// Keeps metadata watches of the owned objects of the kinds of these alive until the lease is dropped.
    /// Take a new lease before dropping the old one. Kinds not served yet start being watched when they are.
    /// Kinds of which it is known by now that they may not be watched in all namespaces are watched in the
    /// namespaces of these objects, up to a bound.
    pub fn watch_owned<'a>(&self, ids: impl IntoIterator<Item = &'a ObjectId>) -> WatchLease {
        let places: HashMap<_, _> =
            ids.into_iter().map(|id| ((&id.group, &id.kind, &id.namespace), id)).collect();
        let watches = &self.inner.watches;
        let scopes = places.into_values().flat_map(|id| watches.scopes(id));
        watches.lease(self, scopes.map(|scope| (scope, Depth::Metadata)))
    }

    /// Keeps a metadata watch of one object, whoever owns it, alive until the lease is dropped.
    pub fn watch_object(&self, id: &ObjectId) -> WatchLease {
        self.inner.watches.lease(self, [(Scope::named(id), Depth::Metadata)])
    }

    /// Waits until all watches of the lease, at one moment, have their list, are refused, or found
    /// that their kind does not exist; at most for `limit`. Answers whether all did.
    pub async fn synced(&self, lease: &WatchLease, limit: Duration) -> bool {
        tokio::time::timeout(limit, lease.synced()).await.is_ok()
    }

    /// What the watches know of an object: `None` when it is not watched, not owned or not there.
    /// A hint: never the authority to delete.
    #[must_use]
    pub fn known(&self, id: &ObjectId) -> Option<Seen> {
        self.inner.watches.known(id)
    }

    /// Whether the absence of an owned object from [`Cluster::known`] means that it does not exist
    /// or is not owned: its kind is watched, at least in its namespace, and the first list is in; or it is not
    /// served any more.
    #[must_use]
    pub fn is_watched(&self, id: &ObjectId) -> bool {
        self.inner.watches.scopes(id).any(|scope| self.inner.watches.is_complete(&scope))
    }

    /// Whether some of these are of kinds that the cluster's own identity may not watch in all namespaces.
    #[must_use]
    pub fn is_narrow<'a>(&self, ids: impl IntoIterator<Item = &'a ObjectId>) -> bool {
        let kinds: HashSet<_> = ids.into_iter().map(|id| (&id.group, &id.kind)).collect();
        kinds.into_iter().any(|(group, kind)| self.inner.watches.is_denied(group, kind))
    }

    /// Whether the cluster's own identity may watch the object neither with all of its kind nor with those
    /// of its namespace, so that its drift is only seen by looking.
    #[must_use]
    pub fn is_unseen(&self, id: &ObjectId) -> bool {
        self.inner.watches.is_unseen(id)
    }

    /// Asks for [`Signal::Kind`] once this kind is served. Costs one watch of CRDs per cluster.
    pub fn await_kind(&self, group: &str, kind: &str) {
        self.inner.watches.await_kind(group, kind);
    }
}
