//! The driver: watches a kind, and gives every object its turn.

use std::collections::{HashMap, HashSet};
use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::StreamExt;
use kube::api::Api;
use kube::runtime::watcher;
use sluice_api::Managed;
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

use crate::guarded::Guarded;
use crate::handle::{Handle, Key, Origin};
use crate::host::Host;
use crate::pass::Pass;
use crate::record::Records;
use crate::schedule::Attempts;
use crate::scope::Scope;
use crate::telemetry::Telemetry;
use crate::visit::Visitor;

/// How a kind is driven.
#[derive(Clone, Debug)]
pub struct Wiring<K> {
    /// Field manager of status and finalizer writes.
    pub field_manager: &'static str,
    /// The finalizer to hold; `None` when nothing must be done on deletion.
    pub finalizer: Option<&'static str>,
    /// Passes that may run at once.
    pub concurrency: usize,
    /// Domain condition types that only this controller writes.
    pub owned: &'static [&'static str],
    /// Message of Ready=Unknown while passes are in progress; `None` repeats the message of the progress.
    pub progress: Option<&'static str>,
    /// Whether suspending an object settles its generation. It is no longer stalled then.
    pub suspension_settles: bool,
    /// After this time a pass is cancelled, and a moment later aborted. A safety net: passes keep their own time.
    pub deadline: fn(&K) -> Duration,
}

impl<K: Managed> Wiring<K> {
    /// The controller's name in logs and metrics: the kind in lower case.
    pub(crate) fn name(&self) -> String {
        K::kind(&()).to_ascii_lowercase()
    }
}

/// Why a driver ended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The watch ended by itself, which it never should.
    #[error("the watch of {0} ended")]
    Watch(String),
}

/// Drives every object of a kind in the host's watch scope until the host stops, then waits for the passes
/// in progress (which are cancelled).
///
/// # Errors
/// When the watch ends by itself.
pub async fn drive<K, C, R, F>(
    wiring: Wiring<K>,
    handle: Handle<K>,
    context: Arc<C>,
    host: Host,
    reconcile: R,
) -> Result<(), Error>
where
    K: Managed,
    C: Send + Sync + 'static,
    R: Fn(Arc<C>, Scope<K>) -> F + Send + Sync + 'static,
    F: Future<Output = Pass<K::Facts>> + Send + 'static,
{
    let workers = Arc::new(Semaphore::new(wiring.concurrency.max(1)));
    let visitor = Arc::new(Visitor {
        records: Arc::new(Records::new(host.client.clone(), handle.clone(), wiring.field_manager)),
        telemetry: Telemetry::new(&host.metrics, handle.clone(), wiring.concurrency),
        failures: Attempts::default(),
        overtaken: Attempts::default(),
        waits: Mutex::new(HashMap::new()),
        aside: Semaphore::new(crate::visit::ASIDE),
        wiring,
        handle: handle.clone(),
        context,
        host: host.clone(),
        reconcile: Arc::new(reconcile),
    });
    let visits = TaskTracker::new();
    let dispatch = async {
        // A closed semaphore does not happen: nobody closes it.
        while let Ok(worker) = workers.clone().acquire_owned().await {
            let work = handle.queue().next().await;
            let visitor = visitor.clone();
            visits.spawn(async move {
                visitor.visit(work).await;
                drop(worker);
            });
        }
    };
    let ended = tokio::select! {
        () = host.stop.cancelled() => Ok(()),
        () = dispatch => Ok(()),
        () = watch(&host, &handle, |key| visitor.forget(key)) => Err(Error::Watch(K::kind(&()).into_owned())),
    };
    handle.queue().cancel_all();
    visits.close();
    visits.wait().await;
    ended
}

/// Feeds the cache from a watch.
async fn watch<K: Managed>(host: &Host, handle: &Handle<K>, forget: impl Fn(&Key)) {
    let api: Api<Guarded<K>> = host.scope.api(host.client.clone());
    let mut events = pin!(crate::watch::events(api, host.scope.config()));
    let mut listed = HashSet::new();
    while let Some(event) = events.next().await {
        match event {
            watcher::Event::Init => listed.clear(),
            watcher::Event::InitApply(object) => {
                if let Some(key) = note(handle, object, Origin::List) {
                    listed.insert(key);
                }
            }
            watcher::Event::InitDone => {
                for key in handle.retain(&listed) {
                    forget(&key);
                }
                listed = HashSet::new();
            }
            watcher::Event::Apply(object) => {
                note(handle, object, Origin::Watch);
            }
            watcher::Event::Delete(object) => {
                let key = Key::of(&object);
                handle.remove(&key);
                forget(&key);
            }
        }
    }
}

/// An object that cannot be read is reported and left as it was: the others go on.
fn note<K: Managed>(handle: &Handle<K>, object: Guarded<K>, origin: Origin) -> Option<Key> {
    let key = Key::of(&object);
    match object.0 {
        Ok(object) => {
            handle.observe(object, origin);
        }
        Err(error) => {
            tracing::error!(namespace = %key.namespace, name = %key.name, error = %error, "failed to read an object");
        }
    }
    Some(key)
}
