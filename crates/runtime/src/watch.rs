//! Watches: one namespace or all, retried for ever, without what is big and never looked at.

use std::fmt::Debug;
use std::time::Duration;

use futures::{Stream, StreamExt, stream};
use kube::api::Api;
use kube::core::NamespaceResourceScope;
use kube::runtime::utils::Backoff as _;
use kube::runtime::watcher::{self, DefaultBackoff, watcher};
use serde::de::DeserializeOwned;

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

fn steady<K: kube::Resource + Send>(
    stream: impl Stream<Item = watcher::Result<watcher::Event<K>>> + Send,
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

/// Pauses after an error, longer each time until something arrives. kube's own combinator takes the beginning of
/// another try for success, and would ask for what is refused once a second for ever.
fn patient<K: Send>(
    events: impl Stream<Item = watcher::Result<watcher::Event<K>>> + Send,
) -> impl Stream<Item = watcher::Result<watcher::Event<K>>> + Send {
    let state = (Box::pin(events), DefaultBackoff::default(), Duration::ZERO);
    stream::unfold(state, |(mut events, mut backoff, pause)| async move {
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
        let event = events.next().await?;
        let pause = match &event {
            Err(_) => backoff.next().unwrap_or_default(),
            Ok(watcher::Event::Init) => Duration::ZERO,
            Ok(_) => {
                backoff.reset();
                Duration::ZERO
            }
        };
        Some((event, (events, backoff, pause)))
    })
}

#[cfg(test)]
mod tests {
    use kube::Error;
    use kube::core::Status;
    use kube::runtime::watcher::Event;
    use tokio::time::Instant;

    use super::*;

    fn refused() -> watcher::Result<Event<()>> {
        Err(watcher::Error::InitialListFailed(Error::Api(
            Status::failure("no", "Forbidden").with_code(403).boxed(),
        )))
    }

    /// How long `tries` take that are all refused.
    async fn spent(tries: usize) -> Duration {
        let begun = Instant::now();
        let events = stream::iter((0..tries).flat_map(|_| [Ok(Event::Init), refused()]));
        assert_eq!(patient(events).count().await, 2 * tries);
        begun.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn what_stays_refused_is_asked_for_ever_less_often() {
        assert!(spent(3).await < Duration::from_secs(10));
        assert!(spent(30).await > Duration::from_secs(600));
    }

    #[tokio::test(start_paused = true)]
    async fn what_arrives_ends_the_pauses() {
        let begun = Instant::now();
        let events = (0..30).flat_map(|_| [Ok(Event::Init), Ok(Event::InitDone), refused()]);
        patient(stream::iter(events)).collect::<Vec<_>>().await;
        assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", begun.elapsed());
    }
}
