//! Watches: one namespace or all, retried for ever, without what is big and never looked at.

use std::fmt::Debug;

use futures::{Stream, StreamExt};
use kube::api::Api;
use kube::core::NamespaceResourceScope;
use kube::runtime::watcher::{self, watcher};
use serde::de::DeserializeOwned;
use sluice_patience::patient;

use crate::handle::slim;

/// Which objects of the driven kinds this process is responsible for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WatchScope {
    /// The only namespace; `None` for all.
    pub namespace: Option<String>,
    /// Label selector of the driven kinds (sharding).
    pub selector: Option<String>,
}

impl WatchScope {
    /// A client for a namespaced kind inside the scope's namespaces.
    pub fn api<K>(&self, client: kube::Client) -> Api<K>
    where
        K: kube::Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        match &self.namespace {
            Some(namespace) => Api::namespaced(client, namespace),
            None => Api::all(client),
        }
    }

    /// The watch of a driven kind: with the scope's selector.
    pub fn config(&self) -> watcher::Config {
        let mut config = watcher::Config::default();
        config.label_selector.clone_from(&self.selector);
        config
    }
}

/// Every state of the objects behind this client. Errors are logged and retried with back-off; managed fields
/// are dropped. After a break everything is listed again, between `Init` and `InitDone`. With a client of
/// `PartialObjectMeta<K>` only metadata crosses the wire.
pub fn events<K>(api: Api<K>, config: watcher::Config) -> impl Stream<Item = watcher::Event<K>> + Send
where
    K: kube::Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    let kind = api.resource_url().to_owned();
    steady(watcher(api, config), kind)
}

fn steady<K: kube::Resource + Send + 'static>(
    stream: impl Stream<Item = watcher::Result<watcher::Event<K>>> + Send + 'static,
    url: String,
) -> impl Stream<Item = watcher::Event<K>> + Send {
    patient(stream).filter_map(move |event| {
        let event = match event {
            Ok(event) => Some(event.modify(slim)),
            Err(error) => {
                tracing::info!(url, error = %error, "a watch broke off and is tried again");
                None
            }
        };
        futures::future::ready(event)
    })
}
