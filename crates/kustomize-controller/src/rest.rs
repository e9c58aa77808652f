//! The visits that find nothing to apply: what they still look at, and what they leave behind.

use sluice_api::kustomize::v1::reason as ks;
use sluice_manifest::Inventory;
use sluice_runtime::{Trigger, Verdict};
use tokio::time::Instant;

use crate::deploy::{Site, now};
use crate::error::Failure;
use crate::health;
use crate::reconcile::ready;
use crate::remembered::{self, Inputs};
use crate::session::{Session, Settled};
use crate::settle::Book;

/// Looks whether the cluster still is as it was left. `None` when something has to be applied after all.
pub(crate) async fn rest(
    site: &Site<'_>,
    inputs: &Inputs,
    session: &mut Session,
    book: &mut Book,
    began: Instant,
) -> Result<Option<Verdict>, Failure> {
    let asked = matches!(site.scope.trigger, Trigger::Interval | Trigger::Requested | Trigger::Retry);
    let repair = site.context.options.ways.drift_repair || asked;
    let drift = drift(site, session);
    if (repair && drift.seen) || (asked && drift.blind) {
        return Ok(None);
    }
    let Some(settled) = &mut session.settled else { return Ok(None) };
    if !is_recorded(settled, &book.inventory().0) {
        return Ok(None);
    }
    if let Some(verdict) = health::keep(site, settled, book).await? {
        return Ok(Some(verdict));
    }
    let moved = book.has_moved() || settled.inputs.artifact != inputs.artifact;
    let told = site.scope.trigger == Trigger::Requested || !site.context.options.ways.quiet;
    if moved || told {
        settled.inputs = inputs.clone();
        let took = began.elapsed();
        let applied = remembered::mark(inputs, settled.members.iter().map(|(id, state)| (id, state.clone())));
        book.advance();
        book.count(&settled.digest.clone(), ks::RECONCILIATION_SUCCEEDED, now(), took, applied);
        book.tell(book.subject.finished(took, site.request.interval));
    }
    Ok(Some(ready(book)))
}

/// Whether the status holds what was settled. It does not when the write that ended that pass was lost.
fn is_recorded(settled: &Settled, recorded: &Inventory) -> bool {
    recorded.ids().count() == settled.members.len()
        && settled.members.iter().all(|(id, _)| recorded.contains(id))
}

struct Drift {
    /// Some member is not as it was left, and nobody is being left alone for it.
    seen: bool,
    /// Some member cannot be watched, or its state is not known.
    blind: bool,
}

fn drift(site: &Site<'_>, session: &Session) -> Drift {
    let cluster = site.target.cluster();
    let now = Instant::now();
    let members = session.settled.iter().flat_map(|settled: &Settled| &settled.members);
    let mut drift = Drift { seen: false, blind: false };
    for (id, state) in members {
        let watched = cluster.is_watched(id);
        let Some((uid, key)) = state.as_ref().filter(|_| watched) else {
            drift.blind = true;
            continue;
        };
        let same = cluster
            .known(id)
            .is_some_and(|seen| seen.uid == *uid && seen.drift_key == *key && !seen.deleting);
        let resting = session.contests.get(id).is_some_and(|contest| contest.resting(now).is_some());
        drift.seen |= !same && !resting;
    }
    drift
}
