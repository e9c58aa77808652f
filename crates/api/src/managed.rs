//! What the spine needs to know about a kind to reconcile it.

use std::fmt::Debug;
use std::time::Duration;

use kube::core::NamespaceResourceScope;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::keys;
use crate::status::Status;

/// A namespaced kind with a spec that is reconciled and a [`Status`] envelope.
pub trait Managed:
    kube::Resource<DynamicType = (), Scope = NamespaceResourceScope>
    + Clone
    + Debug
    + Serialize
    + DeserializeOwned
    + Send
    + Sync
    + 'static
{
    /// What only this kind reports in its status.
    type Facts: Clone + Debug + Default + PartialEq + Serialize + DeserializeOwned + Send + Sync + 'static;

    /// The status, once somebody wrote one.
    fn status(&self) -> Option<&Status<Self::Facts>>;

    /// The place of the status.
    fn status_mut(&mut self) -> &mut Option<Status<Self::Facts>>;

    /// Time between visits while nothing happens; zero for none.
    fn interval(&self) -> Duration;

    /// Time from a failure to the next attempt; `None` for exponential back-off.
    fn retry_interval(&self) -> Option<Duration> {
        None
    }

    /// How long one reconciliation may take.
    fn timeout(&self) -> Duration;

    /// True when the object must be left alone.
    fn suspended(&self) -> bool;

    /// The value of the annotation that asks for a reconciliation now.
    fn requested_at(&self) -> Option<&str> {
        self.meta().annotations.as_ref()?.get(keys::REQUESTED_AT).map(String::as_str)
    }

    /// True when the object waits for its finalizers.
    fn deleting(&self) -> bool {
        self.meta().deletion_timestamp.is_some()
    }

    /// Generation of the spec.
    fn generation(&self) -> i64 {
        self.meta().generation.unwrap_or_default()
    }
}
