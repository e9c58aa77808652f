//! What is left of an earlier life: whether the cluster still is as the history says the last success left it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use sluice_api::condition::READY;
use sluice_api::keys;
use sluice_apply::Desired;
use sluice_manifest::Object;

use crate::deploy::Site;
use crate::health;
use crate::remembered::{self, Agreement, Inputs};
use crate::session::{Session, Settled};
use crate::settle::Book;

/// How long lists are waited for.
const PATIENCE: Duration = Duration::from_secs(20);

/// Takes the last success for this life's own, if lists of what it left behind agree with its digest.
pub(crate) async fn recall(site: &Site<'_>, inputs: &Inputs, session: &mut Session, book: &Book) {
    let Some(status) = site.scope.previous() else { return };
    let ready = status.condition(READY).is_some_and(sluice_api::Condition::is_true);
    let Some(last) = book.facts.history.first() else { return };
    let Some(wanted) = last.metadata.get(keys::APPLIED) else { return };
    if !ready || status.observed_generation != Some(inputs.generation) {
        return;
    }
    let (inventory, odd) = book.inventory();
    if !odd.is_empty() {
        return;
    }
    let cluster = site.target.cluster();
    // First of all: a watch that must read more than before starts over.
    let health = health::resume(site, inventory.ids()).await;
    let mut lease = cluster.watch_owned(inventory.ids());
    let mut synced = cluster.synced(&lease, PATIENCE).await;
    if synced && cluster.is_narrow(inventory.ids()) {
        lease = cluster.watch_owned(inventory.ids());
        synced = cluster.synced(&lease, PATIENCE).await;
    }
    // Whatever comes of this, the next steps want these watches too.
    session.lease = Some(lease);
    if !synced || !inventory.ids().all(|id| cluster.is_watched(id)) {
        return;
    }
    let members: Vec<_> = inventory
        .ids()
        .map(|id| {
            let seen = cluster.known(id).filter(|seen| !seen.deleting);
            (id.clone(), seen.map(|seen| (Arc::clone(&seen.uid), seen.drift_key)))
        })
        .collect();
    let mut inputs = inputs.clone();
    match remembered::compare(wanted, &inputs, members.iter().map(|(id, state)| (id, state.clone()))) {
        Agreement::Whole => {}
        // The artifact is another one: it is built, and what is built is compared.
        Agreement::ButArtifact => inputs.artifact.clear(),
        Agreement::None => {
            tracing::info!("the cluster is not as the last success left it: one full pass");
            return;
        }
    }
    session.settled =
        Some(Settled { inputs, reads: None, digest: last.digest.clone(), members, health, degraded: None });
}

/// Trusts members of the same build that are as an earlier life left them.
pub(crate) fn trust(
    site: &Site<'_>,
    inputs: &Inputs,
    digest: &str,
    session: &mut Session,
    objects: &[Object],
) {
    let Some(settled) = &session.settled else { return };
    let same = settled.inputs.generation == inputs.generation && settled.inputs.target == inputs.target;
    if settled.reads.is_some() || !same || settled.digest != digest {
        return;
    }
    let members: HashMap<_, _> = settled.members.iter().map(|(id, state)| (id, state.as_ref())).collect();
    for object in objects {
        let id = object.id();
        let left = members.get(&id).copied().flatten();
        let (Some((uid, key)), Some(seen)) = (left, site.target.cluster().known(&id)) else { continue };
        if seen.uid == *uid && seen.drift_key == *key {
            session.memory.trust(&Desired::from(object.clone()), &id, &seen);
        }
    }
}
