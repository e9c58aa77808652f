//! Reads and writes of the driven objects: always under the resource version that was seen, and every
//! answer goes into the cache at once.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use kube::api::{Api, Patch, PatchParams};
use serde_json::{Value, json};
use sluice_api::{Managed, Status};

use crate::handle::{Handle, Key, Origin};
use crate::patch::{diff, status_patch};

/// Tries to write over a state that keeps changing.
const TRIES: usize = 5;

/// How long one request may take: a worker, or everything told after an event, hangs on it.
const REQUEST: Duration = Duration::from_secs(30);

/// What became of a write.
#[derive(Debug)]
pub(crate) enum Written<K> {
    /// There was nothing to write.
    Unchanged(Arc<K>),
    /// The object as it is now.
    Changed(Arc<K>),
    /// The object is gone, or another one has its name.
    Gone,
    /// Somebody else wrote, and the caller did not want to write over that.
    Refused,
}

/// Why a write did not happen.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Request(#[from] kube::Error),
    #[error("the object changed {TRIES} times while it was written")]
    Contended,
}

pub(crate) struct Records<K> {
    client: kube::Client,
    handle: Handle<K>,
    params: PatchParams,
}

impl<K: Managed> Records<K> {
    pub(crate) fn new(client: kube::Client, handle: Handle<K>, field_manager: &str) -> Self {
        let params = PatchParams { field_manager: Some(field_manager.to_owned()), ..PatchParams::default() };
        Self { client, handle, params }
    }

    fn api(&self, key: &Key) -> Api<K> {
        Api::namespaced(self.client.clone(), &key.namespace)
    }

    /// Reads an object from the API server, and takes note of it.
    pub(crate) async fn live(&self, seen: &K) -> Result<Option<Arc<K>>, kube::Error> {
        let key = &Key::of(seen);
        match within(self.api(key).get_opt(&key.name)).await? {
            Some(object) => Ok(Some(self.handle.observe(object, Origin::Answer))),
            None => {
                self.lost(seen);
                Ok(None)
            }
        }
    }

    fn lost(&self, seen: &K) {
        self.handle.lost(&Key::of(seen), seen.meta().uid.as_deref());
    }

    /// Writes the status that `make` computes from the one in place. When somebody wrote in between, `over`
    /// is asked (with the state seen before and the state in place) whether to write over that.
    pub(crate) async fn write_status(
        &self,
        base: Arc<K>,
        make: impl Fn(Option<&Status<K::Facts>>) -> Status<K::Facts>,
        over: impl Fn(&K, &K) -> bool,
    ) -> Result<Written<K>, Error> {
        let key = Key::of(&*base);
        let mut current = base.clone();
        for _ in 0..TRIES {
            let status = make(current.status());
            if current.status().map_or_else(|| status == Status::default(), |before| *before == status) {
                return Ok(Written::Unchanged(current));
            }
            let before = value(current.status());
            let changes = diff(&before, &value(Some(&status)));
            let body = status_patch(current.meta().resource_version.as_deref(), changes);
            let (api, patch) = (self.api(&key), Patch::Merge(&body));
            match within(api.patch_status(&key.name, &self.params, &patch)).await {
                Ok(object) => return Ok(Written::Changed(self.handle.observe(object, Origin::Answer))),
                Err(error) if is(&error, 404) => {
                    self.lost(&base);
                    return Ok(Written::Gone);
                }
                Err(error) if is(&error, 409) => {}
                Err(error) => return Err(error.into()),
            }
            current = match self.live(&base).await? {
                Some(live) if live.meta().uid == base.meta().uid => live,
                _ => return Ok(Written::Gone),
            };
            if !over(&base, &current) {
                return Ok(Written::Refused);
            }
        }
        Err(Error::Contended)
    }

    /// Adds or removes a finalizer.
    pub(crate) async fn write_finalizer(
        &self,
        base: Arc<K>,
        finalizer: &str,
        held: bool,
    ) -> Result<Written<K>, Error> {
        let key = Key::of(&*base);
        let mut current = base.clone();
        for _ in 0..TRIES {
            if has_finalizer(&*current, finalizer) == held {
                return Ok(Written::Unchanged(current));
            }
            let mut finalizers = current.meta().finalizers.clone().unwrap_or_default();
            finalizers.retain(|name| name != finalizer);
            if held {
                finalizers.push(finalizer.to_owned());
            }
            let version = current.meta().resource_version.as_deref();
            let body = json!({"metadata": {"finalizers": finalizers, "resourceVersion": version}});
            let (api, patch) = (self.api(&key), Patch::Merge(&body));
            match within(api.patch(&key.name, &self.params, &patch)).await {
                Ok(object) if !held && gone(&object) => {
                    self.lost(&base);
                    return Ok(Written::Gone);
                }
                Ok(object) => return Ok(Written::Changed(self.handle.observe(object, Origin::Answer))),
                Err(error) if is(&error, 404) => {
                    self.lost(&base);
                    return Ok(Written::Gone);
                }
                Err(error) if is(&error, 409) => {}
                Err(error) => return Err(error.into()),
            }
            current = match self.live(&base).await? {
                Some(live) if live.meta().uid == base.meta().uid => live,
                _ => return Ok(Written::Gone),
            };
        }
        Err(Error::Contended)
    }
}

/// A request, for as long as it may take.
pub(crate) async fn within<T>(
    request: impl Future<Output = Result<T, kube::Error>>,
) -> Result<T, kube::Error> {
    let answer = tokio::time::timeout(REQUEST, request).await;
    answer.unwrap_or_else(|elapsed| Err(kube::Error::Service(elapsed.into())))
}

/// True when the object holds this finalizer.
pub(crate) fn has_finalizer<K: kube::Resource>(object: &K, finalizer: &str) -> bool {
    object.meta().finalizers.iter().flatten().any(|name| name == finalizer)
}

/// True when nothing keeps a deleted object any more.
fn gone<K: Managed>(object: &K) -> bool {
    object.deleting() && object.meta().finalizers.as_ref().is_none_or(Vec::is_empty)
}

fn value<F: serde::Serialize>(status: Option<&Status<F>>) -> Value {
    // A status is plain data: there is nothing in it that JSON cannot hold.
    status.and_then(|status| serde_json::to_value(status).ok()).unwrap_or_default()
}

fn is(error: &kube::Error, code: u16) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == code)
}
