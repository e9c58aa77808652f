//! POSTs of events to the notification controller: a lossy hint, retried a little.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use reqwest::{Client, StatusCode, Url};
use sluice_api::event::Event;
use sluice_types::Proxies;
use tokio::sync::mpsc;

use crate::events::{InvalidAddress, Outstanding};
use crate::lock::lock;
use crate::metrics::Family;

/// Events that may wait.
const WAITING: usize = 2048;
/// Events under way at once.
const CONCURRENT: usize = 4;
/// How long one attempt may take.
const ATTEMPT: Duration = Duration::from_secs(5);
/// Attempts after the first one.
const RETRIES: u32 = 4;
/// Longest pause between attempts.
const PAUSE: Duration = Duration::from_secs(30);

pub(crate) struct Poster {
    queue: mpsc::Sender<(u64, Event)>,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    /// What waits already need not wait twice.
    waiting: Mutex<HashSet<u64>>,
    outstanding: Outstanding,
}

impl Poster {
    pub(crate) fn start(
        address: &str,
        proxies: Proxies,
        dropped: Arc<Family>,
    ) -> Result<Self, InvalidAddress> {
        crate::tls::install();
        let url = Url::parse(address).map_err(|error| InvalidAddress(error.to_string()))?;
        let proxy = reqwest::Proxy::custom(move |url| proxies.to(url).map(str::to_owned));
        let client = Client::builder().timeout(ATTEMPT).proxy(proxy).build();
        let client = client.map_err(|error| InvalidAddress(error.to_string()))?;
        let (queue, events) = mpsc::channel::<(u64, Event)>(WAITING);
        let state = Arc::new(State::default());
        let events = Arc::new(tokio::sync::Mutex::new(events));
        for _ in 0..CONCURRENT {
            let (client, url, dropped) = (client.clone(), url.clone(), dropped.clone());
            let (state, events) = (state.clone(), events.clone());
            tokio::spawn(async move {
                loop {
                    let Some((key, event)) = events.lock().await.recv().await else { return };
                    lock(&state.waiting).remove(&key);
                    if let Err(error) = deliver(&client, &url, &event).await {
                        dropped.inc(&["post"]);
                        tracing::error!(error = %error, "failed to post an event");
                    }
                    state.outstanding.end();
                }
            });
        }
        Ok(Self { queue, state })
    }

    /// False when the queue is full.
    pub(crate) fn post(&self, event: Event) -> bool {
        let key = hash(&event);
        if !lock(&self.state.waiting).insert(key) {
            return true;
        }
        self.state.outstanding.begin();
        let queued = self.queue.try_send((key, event)).is_ok();
        if !queued {
            lock(&self.state.waiting).remove(&key);
            self.state.outstanding.end();
        }
        queued
    }

    pub(crate) async fn idle(&self) {
        self.state.outstanding.none().await;
    }
}

/// Why an event could not be delivered. The address is not part of it: it may hold a secret.
#[derive(Debug, thiserror::Error)]
enum Undelivered {
    #[error("the receiver answered {0}")]
    Refused(StatusCode),
    #[error("{0}")]
    Unreachable(reqwest::Error),
}

async fn deliver(client: &Client, url: &Url, event: &Event) -> Result<(), Undelivered> {
    let mut pause = Duration::from_secs(1);
    let mut attempt = 0;
    loop {
        let failure = match client.post(url.clone()).json(event).send().await {
            // "Too many" means that the receiver has this event already.
            Ok(answer)
                if answer.status().is_success() || answer.status() == StatusCode::TOO_MANY_REQUESTS =>
            {
                return Ok(());
            }
            Ok(answer) if answer.status().is_server_error() => Undelivered::Refused(answer.status()),
            Ok(answer) => return Err(Undelivered::Refused(answer.status())),
            Err(error) => Undelivered::Unreachable(error.without_url()),
        };
        if attempt == RETRIES {
            return Err(failure);
        }
        attempt += 1;
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSE);
    }
}

fn hash(event: &Event) -> u64 {
    let mut hasher = DefaultHasher::new();
    (&event.involved_object, event.severity, &event.reason, &event.message, &event.metadata)
        .hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
#[path = "poster_tests.rs"]
mod tests;
