//! What all passes share.

use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use sluice_api::kustomize::v1::Kustomization;
use sluice_api::source::SourceKind;
use sluice_artifact::FetchError;
use sluice_runtime::{Handle, Host, Key, Urgency};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::artifacts::Artifacts;
use crate::options::Options;
use crate::references::References;
use crate::session::Sessions;
use crate::sources::Sources;
use crate::target::Targets;

/// No API server gets faster by more.
const MOST_SPARE: usize = 1024;

/// Caches, clients and switches; one per process.
pub(crate) struct Context {
    pub(crate) options: Options,
    pub(crate) client: Client,
    pub(crate) handle: Handle<Kustomization>,
    pub(crate) sources: Sources,
    pub(crate) artifacts: Artifacts,
    pub(crate) references: References,
    pub(crate) sessions: Sessions,
    pub(crate) targets: Targets,
    /// Tripped when the process shall end.
    pub(crate) stop: CancellationToken,
    /// Bounds the builds that run at once.
    pub(crate) builders: Arc<Semaphore>,
    /// Turns to apply more objects of one Kustomization at once than it has turns of its own.
    pub(crate) spare_applies: Arc<Semaphore>,
}

impl Context {
    /// Everything empty.
    pub(crate) fn new(
        options: Options,
        host: &Host,
        handle: Handle<Kustomization>,
    ) -> Result<Self, FetchError> {
        let kinds = SourceKind::ALL
            .into_iter()
            .filter(|kind| *kind != SourceKind::ExternalArtifact || options.gates.external_artifact);
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        Ok(Self {
            client: host.client.clone(),
            stop: host.stop.clone(),
            handle,
            sources: Sources::new(kinds),
            artifacts: Artifacts::new(&options)?,
            references: References::default(),
            sessions: Sessions::default(),
            targets: Targets::new(host, &options),
            builders: Arc::new(Semaphore::new(cores.max(2))),
            spare_applies: Arc::new(Semaphore::new(options.concurrent_ssa_spare.min(MOST_SPARE))),
            options,
        })
    }
}

impl Context {
    /// Asks for a visit after a while.
    pub(crate) fn visit_later(&self, key: &Key, delay: Duration) {
        let (handle, stop, key) = (self.handle.clone(), self.stop.clone(), key.clone());
        tokio::spawn(async move {
            if stop.run_until_cancelled(tokio::time::sleep(delay)).await.is_some() {
                handle.enqueue(&key, Urgency::Visit);
            }
        });
    }
}
