//! What a process has once: a client, a name, a pace, and a way to stop.

use std::sync::Arc;

use kube::Client;
use sluice_types::Proxies;
use tokio_util::sync::CancellationToken;

use crate::events::{InvalidAddress, Sink};
use crate::gates::Gates;
use crate::metrics::Registry;
use crate::schedule::Pacing;
use crate::watch::WatchScope;

/// The process around a controller; cheap to clone.
#[derive(Clone)]
pub struct Host {
    /// Client under the controller's own identity.
    pub client: Client,
    /// Name of the controller, such as `source-controller`.
    pub controller: Arc<str>,
    /// Version of the controller.
    pub version: &'static str,
    /// Namespace that the controller runs in.
    pub namespace: Arc<str>,
    /// Name of the machine or pod.
    pub instance: Arc<str>,
    /// Where events go.
    pub events: Sink,
    /// What is measured.
    pub metrics: Arc<Registry>,
    /// The positions of the controller's switches.
    pub gates: Arc<Gates>,
    /// The objects this process is responsible for.
    pub scope: WatchScope,
    /// The pace of retries and visits.
    pub pacing: Pacing,
    /// Passes of one kind that may run at once.
    pub concurrent: usize,
    /// Tripped when the process shall end.
    pub stop: CancellationToken,
}

impl Host {
    /// A host without servers and leadership, for tests and tools. Events are written with the client, and
    /// POSTed when there is an address. Must be called inside a Tokio runtime.
    ///
    /// # Errors
    /// When the address is no URL.
    pub fn embedded(client: Client, controller: &str, events: Option<&str>) -> Result<Self, InvalidAddress> {
        let metrics = Arc::new(Registry::default());
        Ok(Self {
            events: Sink::start(client.clone(), controller, "", events, &Proxies::default(), &metrics)?,
            client,
            controller: controller.into(),
            version: env!("CARGO_PKG_VERSION"),
            namespace: "flux-system".into(),
            instance: "".into(),
            metrics,
            gates: Arc::default(),
            scope: WatchScope::default(),
            pacing: Pacing::default(),
            concurrent: 4,
            stop: CancellationToken::new(),
        })
    }

    /// What requests of this controller call themselves, to any server.
    pub fn user_agent(&self) -> String {
        user_agent(&self.controller, self.version)
    }
}

pub(crate) fn user_agent(controller: &str, version: &str) -> String {
    format!("sluice-{controller}/{version}")
}
