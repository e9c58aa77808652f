//! The end of a Kustomization: what becomes of its objects.

use std::time::Duration;

use k8s_openapi::api::core::v1::ServiceAccount;
use kube::Api;
use sluice_api::kustomize::v1::reason as ks;
use sluice_api::kustomize::v1::{DeletionPolicy, Kustomization};
use sluice_api::{Managed as _, reason as common};
use sluice_apply::{Action, Deletion, Gone, ObjectId, Target};
use sluice_runtime::{Readiness, Scope, Verdict};
use sluice_types::Retry;

use crate::context::Context;
use crate::health;
use crate::observe;
use crate::policy;
use crate::request::Request;
use crate::settle::Book;

/// How often objects that cannot be watched are looked at while they terminate.
const POLL: Duration = Duration::from_secs(2);
/// The first and the longest pause between attempts to delete objects.
const LEAST: Duration = Duration::from_millis(750);
const MOST: Duration = Duration::from_secs(900);

/// What has to be done for a Kustomization that is being deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// Its objects stay.
    Orphan,
    /// Its objects go.
    Delete,
    /// Its objects go first.
    Wait,
}

fn fate(object: &Kustomization) -> Fate {
    let policy = object.spec.deletion_policy.unwrap_or_default();
    match policy {
        _ if object.suspended() => Fate::Orphan,
        DeletionPolicy::Delete => Fate::Delete,
        DeletionPolicy::WaitForTermination => Fate::Wait,
        DeletionPolicy::MirrorPrune if object.spec.prune => Fate::Delete,
        DeletionPolicy::MirrorPrune | DeletionPolicy::Orphan => Fate::Orphan,
    }
}

/// Lets go of everything, as the policy says.
pub(crate) async fn release(context: &Context, scope: &Scope<Kustomization>, book: &mut Book) -> Verdict {
    let fate = fate(&scope.object);
    let (inventory, _) = book.inventory();
    if let Some(revision) = book.facts.last_applied_revision.clone() {
        book.subject.revision = revision;
        book.subject.origin = book.facts.last_applied_origin_revision.clone();
    }
    if fate == Fate::Orphan || inventory.is_empty() {
        return Verdict::Released;
    }
    let ids: Vec<ObjectId> = inventory.ids().cloned().collect();
    let until = tokio::time::Instant::now() + scope.object.timeout();
    let prepared = tokio::time::timeout_at(until, prepare(context, scope)).await;
    match prepared.unwrap_or_else(|_| Err("timed out before the server answered".to_owned())) {
        Ok(Some((request, target))) => {
            let target = target.until(until);
            let options = policy::deleting(context, &request);
            let deletion = target.delete(&ids, &options, &scope.cancel).await;
            settle(scope, book, &request, &target, deletion, fate).await
        }
        Ok(None) => {
            let lines: Vec<String> = ids.iter().map(ObjectId::subject).collect();
            let text = format!("unable to prune objects: \n{}", lines.join("\n"));
            book.tell(book.subject.error(ks::PRUNE_FAILED, text));
            Verdict::Released
        }
        Err(text) => {
            book.tell(
                book.subject.error(ks::PRUNE_FAILED, format!("pruning for deleted resource failed: {text}")),
            );
            failed(scope, text)
        }
    }
}

/// A deletion that failed is tried again sooner than any interval.
fn failed(scope: &Scope<Kustomization>, message: String) -> Verdict {
    let delay = LEAST.saturating_mul(1 << scope.attempt.min(20)).min(MOST);
    Verdict::Failed { reason: ks::PRUNE_FAILED, message, retry: Retry::After(delay) }
}

/// The way to the objects; `None` when the account that owned them is gone.
async fn prepare(
    context: &Context,
    scope: &Scope<Kustomization>,
) -> Result<Option<(Request, Target)>, String> {
    // What cannot be applied any more may still be deleted.
    let mut object = (*scope.object).clone();
    object.spec.health_check_exprs.clear();
    object.spec.decryption = None;
    let request = Request::read(&object, &context.options).map_err(|refusal| refusal.to_string())?;
    if let Some(account) = &request.account {
        let api: Api<ServiceAccount> = Api::namespaced(context.client.clone(), &request.key.namespace);
        let found = api.get_opt(account).await.map_err(|error| error.to_string())?;
        if found.is_none() {
            return Ok(None);
        }
    }
    let read = observe::references(context, &cluster_only(&object), true).await;
    let read = read.map_err(|unread| unread.to_string())?;
    let target = context.targets.of(&request, &read).await.map_err(|error| error.to_string())?;
    Ok(Some((request, target)))
}

/// Values to substitute are of no use any more, and may be gone.
fn cluster_only(object: &Kustomization) -> Kustomization {
    let mut object = object.clone();
    object.spec.post_build = None;
    object
}

async fn settle(
    scope: &Scope<Kustomization>,
    book: &mut Book,
    request: &Request,
    target: &Target,
    deletion: Deletion,
    fate: Fate,
) -> Verdict {
    let deleted = |removal: &&sluice_apply::Removal| removal.action() == Some(Action::Deleted);
    let lines: Vec<String> =
        deletion.changes().map(|(id, action)| format!("{} {action}", id.subject())).collect();
    if let Some(text) = deletion.error() {
        book.tell(
            book.subject.error(ks::PRUNE_FAILED, format!("pruning for deleted resource failed: {text}")),
        );
        return failed(scope, text);
    }
    if scope.cancel.is_cancelled() && deletion.survivors().next().is_some() {
        return Verdict::Again;
    }
    let changes = lines.join("\n");
    let terminating: Vec<(ObjectId, Option<String>)> = deletion
        .outcomes
        .iter()
        .filter(deleted)
        .filter_map(|removal| match &removal.fate {
            Gone::Terminating { uid } => Some((removal.id.clone(), Some(uid.clone()))),
            _ => None,
        })
        .collect();
    if fate != Fate::Wait || terminating.is_empty() {
        book.tell(book.subject.info(common::PROGRESSING, changes));
        return Verdict::Released;
    }
    let left = match target.remaining(&terminating).await {
        Ok(left) => left,
        Err(error) => return failed(scope, error.to_string()),
    };
    if left.is_empty() {
        book.tell(book.subject.info(common::PROGRESSING, changes));
        return Verdict::Released;
    }
    if overdue(scope, request) {
        tracing::error!("failed to wait for resources termination");
        book.tell(book.subject.error(ks::PRUNE_FAILED, "failed to wait for resources termination"));
        return Verdict::Released;
    }
    let names: Vec<String> = left.iter().map(ObjectId::subject).collect();
    Verdict::Waiting {
        reason: common::PROGRESSING,
        message: format!("Waiting for the termination of {}", names.join(", ")),
        readiness: Readiness::Unknown,
        on: left.iter().map(health::wake_key).collect(),
        again: POLL,
    }
}

/// True when the wait has lasted for the whole timeout; it begins with the deletion of the Kustomization.
fn overdue(scope: &Scope<Kustomization>, request: &Request) -> bool {
    let Some(since) = &scope.object.metadata.deletion_timestamp else { return false };
    let since = sluice_api::Time::new(since.0);
    let now = crate::deploy::now();
    u64::try_from(now.unix_seconds() - since.unix_seconds()).unwrap_or_default() >= request.timeout.as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;
    use serde_json::json;

    #[test]
    fn the_policy_decides_and_suspension_protects() {
        let table = [
            (json!({"deletionPolicy": "Delete"}), Fate::Delete),
            (json!({"deletionPolicy": "WaitForTermination"}), Fate::Wait),
            (json!({"deletionPolicy": "Orphan", "prune": true}), Fate::Orphan),
            (json!({"deletionPolicy": "MirrorPrune", "prune": true}), Fate::Delete),
            (json!({"deletionPolicy": "MirrorPrune"}), Fate::Orphan),
            (json!({"prune": true}), Fate::Delete),
            (json!({"prune": true, "suspend": true}), Fate::Orphan),
        ];
        for (spec, expected) in table {
            assert_eq!(fate(&sample::kustomization(spec)), expected);
        }
    }
}
