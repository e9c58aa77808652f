//! The claim: what a run answers for, durable before its first write.

use std::collections::HashSet;

use sluice_apply::{Desired, ObjectId};
use sluice_manifest::{self as manifest, Inventory};

use crate::deploy::Site;
use crate::error::Failure;
use crate::message::{self, Step};
use crate::session::Work;
use crate::settle::Book;

/// What may be written now.
#[derive(Debug)]
pub(crate) enum Claimed {
    /// Everything: it was applied before, or nothing is claimed first.
    All,
    /// What is recorded durably, and nothing else.
    These(Inventory),
}

impl Claimed {
    /// Whether the object may be written.
    pub(crate) fn covers(&self, id: &ObjectId) -> bool {
        match self {
            Self::All => true,
            Self::These(recorded) => recorded.contains(id),
        }
    }
}

/// Makes durable what this run answers for, before its first write.
pub(crate) async fn claim(site: &Site<'_>, work: &Work, book: &mut Book) -> Result<Claimed, Failure> {
    if !site.context.options.ways.claim_first || work.inventory.is_some() {
        return Ok(Claimed::All);
    }
    let (recorded, _) = book.inventory();
    let claim = claimable(site, work, &recorded).await?;
    if recorded != claim || book.facts.inventory.is_none() {
        book.record(&claim);
        let doing = message::progress(Step::Apply, &book.subject.revision, site.request.timeout);
        let commit = async { Ok(site.scope.commit(&book.facts, &doing).await?) };
        site.limit.keep("recording the inventory", commit).await?;
    }
    Ok(Claimed::These(claim))
}

/// The claim without what cannot be written yet, for its kind is neither served nor defined by this very set: Flux
/// would find it in the inventory and try to delete it for ever. It is claimed once its kind is there.
async fn claimable(site: &Site<'_>, work: &Work, recorded: &Inventory) -> Result<Inventory, Failure> {
    let objects = work.stages.iter().flat_map(|(_, members)| members).map(Desired::object);
    let defined: HashSet<(&str, &str)> = objects.filter_map(manifest::Object::defines).collect();
    let mut absent = Vec::new();
    for id in work.plan.claim.ids().filter(|id| !recorded.contains(id)) {
        if defined.contains(&(id.group.as_str(), id.kind.as_str())) {
            continue;
        }
        match site.target.cluster().resource(&id.group, None, &id.kind).await {
            Ok(_) => {}
            Err(sluice_apply::Failure::NoMatch { .. }) => absent.push(id.clone()),
            Err(failure) => return Err(Failure::Client(failure.to_string())),
        }
    }
    Ok(work.plan.claim.without(&absent))
}
