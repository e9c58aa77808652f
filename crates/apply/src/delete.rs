//! Deleting what is no longer desired.

use std::sync::Arc;

use futures::{StreamExt, stream};
use sluice_manifest::SsaMode;
use sluice_manifest::order::rank;
use tokio_util::sync::CancellationToken;

use crate::kinds::Resource;
use crate::{Deletion, Error, Failure, Gone, ObjectId, Owner, Release, Removal, Seen, Step, Target};

/// How a deletion is to be done.
#[derive(Clone, Debug)]
pub struct DeleteOptions {
    /// Only objects whose labels name this owner are deleted.
    pub owner: Owner,
    /// Objects of one rank deleted at the same time.
    pub concurrency: usize,
}

impl Target {
    /// Deletes objects, ranks in reverse order, in the background and without waiting for
    /// finalizers. Each object is read live first: it must carry the owner's labels and no control
    /// that protects it, and exactly the UID that was read is deleted.
    ///
    /// Errors are collected; a cancelled pass leaves the rest [`Gone::Untried`].
    pub async fn delete(
        &self,
        ids: &[ObjectId],
        options: &DeleteOptions,
        cancel: &CancellationToken,
    ) -> Deletion {
        let mut deletion = Deletion {
            outcomes: ids.iter().map(|id| Removal { id: id.clone(), fate: Gone::Untried }).collect(),
        };
        let mut ranks: Vec<usize> = ids.iter().map(|id| rank(&id.kind)).collect();
        ranks.sort_unstable_by(|a, b| b.cmp(a));
        ranks.dedup();
        for place in ranks {
            let members = ids.iter().enumerate().filter(|(_, id)| rank(&id.kind) == place);
            // Collected first: a closure that a stream keeps would make the future unfit for `spawn`.
            let removals: Vec<_> = members
                .map(|(at, id)| async move {
                    if cancel.is_cancelled() {
                        return (at, Gone::Untried);
                    }
                    (at, self.delete_one(id, &options.owner).await)
                })
                .collect();
            let mut fates = stream::iter(removals).buffer_unordered(options.concurrency.max(1));
            while let Some((at, fate)) = fates.next().await {
                if let Some(removal) = deletion.outcomes.get_mut(at) {
                    removal.fate = fate;
                }
            }
        }
        deletion
    }

    /// Which of these objects still exist. Give the UID that was deleted to count an object that was
    /// created anew as gone.
    ///
    /// # Errors
    /// The first object that could not be read.
    pub async fn remaining(&self, objects: &[(ObjectId, Option<String>)]) -> Result<Vec<ObjectId>, Error> {
        let look = |(id, uid)| async move {
            let (id, uid): (&ObjectId, &Option<String>) = (id, uid);
            let seen = self.find(id).await.map_err(|cause| failed(id, Step::Query, cause))?;
            let there =
                seen.is_some_and(|(seen, _)| uid.as_deref().is_none_or(|uid| uid == seen.uid.as_ref()));
            Ok::<_, Error>(there.then(|| id.clone()))
        };
        let looks: Vec<_> = objects.iter().map(|(id, uid)| look((id, uid))).collect();
        let mut looks = stream::iter(looks).buffered(16);
        let mut remaining = Vec::new();
        while let Some(found) = looks.next().await {
            remaining.extend(found?);
        }
        Ok(remaining)
    }

    async fn delete_one(&self, id: &ObjectId, owner: &Owner) -> Gone {
        // Twice: the object may be replaced between the look and the deletion.
        for _ in 0..2 {
            let (seen, resource) = match self.find(id).await {
                Ok(Some(found)) => found,
                Ok(None) => return Gone::Deleted,
                Err(cause) => return Gone::Failed(failed(id, Step::Query, cause)),
            };
            if let Some(release) = released(&seen, owner) {
                return Gone::Released(release);
            }
            let terminating = || Gone::Terminating { uid: seen.uid.as_ref().to_owned() };
            if seen.deleting {
                return terminating();
            }
            match self.remove(id, &resource, &seen.uid).await {
                Ok(true) => return Gone::Deleted,
                Ok(false) => return terminating(),
                Err(failure) if failure.code() == Some(409) => {}
                Err(cause) => return Gone::Failed(failed(id, Step::Delete, cause)),
            }
        }
        let cause = Failure::Transport("the object keeps being replaced".to_owned());
        Gone::Failed(failed(id, Step::Delete, cause))
    }

    /// Reads an object live; `None` when it, or its kind, does not exist.
    async fn find(&self, id: &ObjectId) -> Result<Option<(Seen, Arc<Resource>)>, Failure> {
        let resource = match self.in_time(self.cluster.resource(&id.group, None, &id.kind)).await {
            Ok(resource) => resource,
            Err(Failure::NoMatch { .. }) => return Ok(None),
            Err(failure) => return Err(failure),
        };
        let inner = &self.cluster.inner;
        let found = self.see(&resource, &id.namespace, &id.name).await;
        if found.as_ref().is_err_and(|failure| failure.code() == Some(404)) {
            // The kind may be gone since discovery was read; then the next look finds out.
            inner.kinds.forget();
        }
        let seen = found?.and_then(|metadata| Seen::of(&metadata, &inner.settings));
        Ok(seen.map(|seen| (seen, resource)))
    }
}

/// Why the object is not ours to delete.
fn released(seen: &Seen, owner: &Owner) -> Option<Release> {
    if seen.owner.as_deref() != Some(owner) {
        return Some(Release::ForeignOwner);
    }
    let controls = &seen.controls;
    if controls.prune_disabled {
        return Some(Release::PruneDisabled);
    }
    if controls.reconcile_disabled {
        return Some(Release::ReconcileDisabled);
    }
    (controls.ssa == Some(SsaMode::Ignore)).then_some(Release::Ignored)
}

fn failed(id: &ObjectId, step: Step, cause: Failure) -> Error {
    Error { id: id.clone(), unplaced: false, step, cause }
}
