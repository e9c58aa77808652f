//! Leadership: a Lease with the record that client-go keeps, so that either side may take over from the other.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::api::{Api, PostParams};
use kube::{Client, Error};
use sha2::{Digest, Sha256};
use tokio::time::Instant;

/// Pauses while somebody else leads are up to this much longer, so that candidates do not race in step.
const JITTER: f64 = 1.2;

/// Times of an election.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// How long a lease that is not renewed is respected.
    pub lease: Duration,
    /// How long the leader tries to renew before it gives up.
    pub renew: Duration,
    /// Time between two tries.
    pub retry: Duration,
}

/// The name of a controller's lease: with a selector, every shard elects for itself.
pub fn name(controller: &str, selector: Option<&str>) -> String {
    match selector {
        Some(selector) => {
            let hash = hex::encode(Sha256::digest(selector.as_bytes()));
            format!("{controller}-leader-election-{}", &hash[..8])
        }
        None => format!("{controller}-leader-election"),
    }
}

/// A candidate for a lease.
pub struct Candidate {
    api: Api<Lease>,
    name: String,
    identity: String,
    terms: Terms,
    /// The lease as last seen, and when that was: other hosts' clocks are not trusted.
    seen: Option<(Lease, Instant)>,
}

impl Candidate {
    /// A candidate under this identity.
    pub fn new(client: Client, namespace: &str, name: &str, identity: &str, terms: Terms) -> Self {
        let api = Api::namespaced(client, namespace);
        Self { api, name: name.to_owned(), identity: identity.to_owned(), terms, seen: None }
    }

    /// Waits until the lease is ours. Safe to cancel.
    pub async fn acquire(&mut self) {
        loop {
            match tokio::time::timeout(self.terms.renew, self.attempt()).await {
                Ok(Ok(true)) => return,
                Ok(Ok(false)) => {}
                Ok(Err(error)) => {
                    tracing::error!(error = %error, lease = self.name, "failed to acquire the lease");
                }
                Err(_) => tracing::error!(lease = self.name, "failed to acquire the lease in time"),
            }
            tokio::time::sleep(self.terms.retry.mul_f64(1.0 + JITTER * rand::random::<f64>())).await;
        }
    }

    /// Keeps the lease; returns when it is lost. Safe to cancel.
    pub async fn keep(&mut self) {
        let mut renewed = Instant::now();
        loop {
            tokio::time::sleep(self.terms.retry).await;
            let left = (renewed + self.terms.renew).saturating_duration_since(Instant::now());
            match tokio::time::timeout(left, self.attempt()).await {
                Ok(Ok(true)) => renewed = Instant::now(),
                Ok(Ok(false)) => return,
                Ok(Err(error)) => {
                    tracing::error!(error = %error, lease = self.name, "failed to renew the lease");
                }
                Err(_) => return,
            }
            if renewed.elapsed() >= self.terms.renew {
                return;
            }
        }
    }

    /// Gives the lease back, so that the next one need not wait for it to run out.
    ///
    /// # Errors
    /// Those of the request.
    pub async fn release(&mut self) -> Result<(), Error> {
        let Some((lease, _)) = self.seen.take().filter(|(lease, _)| holder(lease) == self.identity) else {
            return Ok(());
        };
        let mut lease = lease;
        let now = MicroTime(Timestamp::now());
        let spec = lease.spec.get_or_insert_default();
        spec.holder_identity = Some(String::new());
        spec.lease_duration_seconds = Some(1);
        spec.acquire_time = Some(now.clone());
        spec.renew_time = Some(now);
        self.api.replace(&self.name, &PostParams::default(), &lease).await.map(drop)
    }

    /// Takes or renews the lease; false when somebody else holds it.
    async fn attempt(&mut self) -> Result<bool, Error> {
        if let Some((lease, _)) = self.seen.clone().filter(|(lease, _)| holder(lease) == self.identity) {
            // The leader need not read what only it writes.
            match self.replace(lease).await {
                Ok(()) => return Ok(true),
                Err(Error::Api(status)) if status.code == 409 || status.code == 404 => {}
                Err(error) => return Err(error),
            }
        }
        let Some(lease) = self.api.get_opt(&self.name).await? else { return self.create().await };
        let unchanged = self.seen.as_ref().is_some_and(|(seen, _)| seen.spec == lease.spec);
        if !unchanged {
            self.seen = Some((lease.clone(), Instant::now()));
        }
        let since = self.seen.as_ref().map_or_else(Instant::now, |(_, since)| *since);
        let theirs = !holder(&lease).is_empty() && holder(&lease) != self.identity;
        if theirs && since.elapsed() < respected(&lease, self.terms) {
            return Ok(false);
        }
        match self.replace(lease).await {
            Ok(()) => Ok(true),
            Err(Error::Api(status)) if status.code == 409 => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn create(&mut self) -> Result<bool, Error> {
        let lease = Lease {
            metadata: ObjectMeta { name: Some(self.name.clone()), ..ObjectMeta::default() },
            spec: Some(self.record(None)),
        };
        match self.api.create(&PostParams::default(), &lease).await {
            Ok(lease) => {
                self.seen = Some((lease, Instant::now()));
                Ok(true)
            }
            Err(Error::Api(status)) if status.code == 409 => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn replace(&mut self, mut lease: Lease) -> Result<(), Error> {
        lease.spec = Some(self.record(lease.spec.as_ref()));
        let lease = self.api.replace(&self.name, &PostParams::default(), &lease).await?;
        self.seen = Some((lease, Instant::now()));
        Ok(())
    }

    /// Our record, after the one in place.
    fn record(&self, before: Option<&LeaseSpec>) -> LeaseSpec {
        let now = MicroTime(Timestamp::now());
        let ours = before.is_some_and(|spec| spec.holder_identity.as_deref() == Some(&self.identity));
        let transitions = before.and_then(|spec| spec.lease_transitions).unwrap_or_default();
        LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: i32::try_from(self.terms.lease.as_secs()).ok(),
            acquire_time: before.filter(|_| ours).map_or(Some(now.clone()), |spec| spec.acquire_time.clone()),
            renew_time: Some(now),
            lease_transitions: Some(if ours || before.is_none() { transitions } else { transitions + 1 }),
            ..LeaseSpec::default()
        }
    }
}

fn holder(lease: &Lease) -> &str {
    lease.spec.as_ref().and_then(|spec| spec.holder_identity.as_deref()).unwrap_or_default()
}

/// How long the holder's silence is respected: as long as it asked for.
fn respected(lease: &Lease, terms: Terms) -> Duration {
    let seconds = lease.spec.as_ref().and_then(|spec| spec.lease_duration_seconds);
    seconds.and_then(|seconds| u64::try_from(seconds).ok()).map_or(terms.lease, Duration::from_secs)
}

#[cfg(test)]
#[path = "lease_tests.rs"]
mod tests;
