//! The wait for health after everything was applied, and the watch over it afterwards.

use std::collections::HashMap;
use std::time::Duration;

use sluice_api::condition::ConditionStatus;
use sluice_api::kustomize::v1::reason as ks;
use sluice_api::reason as common;
use sluice_apply::{Check, Desired, Fate, Health, HealthWatch, ObjectId, Outlook, Report};
use sluice_runtime::{Readiness, Trigger, Verdict, WakeKey};
use tokio::time::Instant;

use crate::deploy::{self, Site, now, unhealthy};
use crate::error::Failure;
use crate::message::{self, Step};
use crate::policy;
use crate::request::{self, Checks, is_self};
use crate::session::{Checking, Settled, Work};
use crate::settle::Book;

/// How often objects that may not be watched are looked at while they are waited for.
const POLL: Duration = Duration::from_secs(5);

/// The key that an object's changes wake.
pub(crate) fn wake_key(id: &ObjectId) -> WakeKey {
    WakeKey::object(&id.group, &id.kind, &id.namespace, &id.name)
}

/// The checks of what was applied; what was left alone is not asked about.
pub(crate) fn applied(members: &[Desired], report: &Report) -> Vec<Check> {
    members
        .iter()
        .zip(&report.outcomes)
        .filter(|(_, outcome)| matches!(outcome.fate, Fate::Applied { .. }))
        .map(|(desired, outcome)| Check {
            id: outcome.id.clone(),
            owned: true,
            vanishes: desired.vanishes_when_done(),
        })
        .collect()
}

/// The checks that the spec asks for; `None` for no check at all.
async fn wanted(site: &Site<'_>, work: &Work) -> Result<Option<Vec<Check>>, Failure> {
    let key = &site.request.key;
    let checks: Vec<Check> = match &site.request.checks {
        Checks::Nothing => return Ok(None),
        Checks::Everything => work
            .stages
            .iter()
            .flat_map(|(_, members)| members)
            .filter(|desired| !work.left_alone.contains_key(&desired.id))
            .map(|desired| Check {
                id: desired.id.clone(),
                owned: true,
                vanishes: desired.vanishes_when_done(),
            })
            .collect(),
        Checks::Listed(listed) => {
            known(site.limit.keep("reading discovery", place(site, listed)).await?, work)
        }
    };
    let checks: Vec<Check> = checks
        .into_iter()
        .filter(|check| {
            let id = &check.id;
            !is_self(key, &id.group, &id.kind, &id.namespace, &id.name)
        })
        .collect();
    Ok((!checks.is_empty()).then_some(checks))
}

/// The checks of listed objects with what is known of those that are members: they are seen by the shared watch
/// of their kind.
fn known(mut checks: Vec<Check>, work: &Work) -> Vec<Check> {
    let members: HashMap<&ObjectId, &Desired> =
        work.stages.iter().flat_map(|(_, all)| all).map(|desired| (&desired.id, desired)).collect();
    for check in &mut checks {
        check.owned = work.plan.claim.contains(&check.id);
        check.vanishes = members.get(&check.id).is_some_and(|desired| desired.vanishes_when_done());
    }
    checks
}

/// The watches that [`check`] will ask for, as far as that is known before anything is applied.
pub(crate) fn foresee(site: &Site<'_>, work: &Work) -> Option<HealthWatch> {
    let everything = matches!(site.request.checks, Checks::Everything) && work.checking.is_none();
    let members = work.stages.iter().flat_map(|(_, members)| members);
    let checks = members.map(|desired| Check { id: desired.id.clone(), owned: true, vanishes: false });
    everything.then(|| {
        site.target.watch_health(checks.collect(), site.request.rules.clone(), policy::owner(site.request))
    })
}

/// The checks of listed objects.
async fn place(site: &Site<'_>, listed: &[request::Check]) -> Result<Vec<Check>, Failure> {
    let mut checks = Vec::new();
    for check in listed {
        let id = ObjectId {
            group: check.group.clone(),
            kind: check.kind.clone(),
            namespace: check.namespace.clone(),
            name: check.name.clone(),
        };
        let placed = site.target.cluster().place(&id).await;
        let id = placed.map_err(|failure| Failure::Client(failure.to_string()))?;
        checks.push(Check { id, owned: false, vanishes: false });
    }
    Ok(checks)
}

/// The watch over these.
pub(crate) fn watch(site: &Site<'_>, checks: Vec<Check>) -> HealthWatch {
    site.target.watch_health(checks, site.request.rules.clone(), policy::owner(site.request))
}

/// The watch over what an earlier life applied; `None` where the spec asks for none, or it cannot be told.
pub(crate) async fn resume<'a>(
    site: &Site<'_>,
    members: impl Iterator<Item = &'a ObjectId>,
) -> Option<HealthWatch> {
    let mut checks = match &site.request.checks {
        Checks::Nothing => Vec::new(),
        Checks::Everything => {
            members.map(|id| Check { id: id.clone(), owned: true, vanishes: false }).collect::<Vec<_>>()
        }
        Checks::Listed(listed) => {
            site.limit.keep("reading discovery", place(site, listed)).await.unwrap_or_default()
        }
    };
    let key = &site.request.key;
    checks.retain(|check| {
        let id = &check.id;
        !is_self(key, &id.group, &id.kind, &id.namespace, &id.name)
    });
    (!checks.is_empty()).then(|| watch(site, checks))
}

/// Looks at the health of what the spec asks for. Answers a verdict unless it is healthy.
pub(crate) async fn check(
    site: &Site<'_>,
    work: &mut Work,
    book: &mut Book,
) -> Result<Option<Verdict>, Failure> {
    if work.checking.is_none() {
        let Some(checks) = wanted(site, work).await? else {
            book.forget_health();
            return Ok(None);
        };
        let watch = watch(site, checks);
        work.checking = Some(Checking { watch, since: Instant::now(), failed: None });
    }
    let (changed, silent) = (work.changed, deploy::is_silent(site, work, book));
    let Some(checking) = &mut work.checking else { return Ok(None) };
    if site.scope.trigger == Trigger::Retry
        && checking.failed.as_ref().is_some_and(|(since, _)| since.elapsed() >= site.request.retry)
    {
        checking.failed = None;
        checking.since = Instant::now();
        work.began = checking.since;
    }
    let health = checking.watch.observe(&site.scope.cancel).await;
    if site.scope.cancel.is_cancelled() {
        return Err(Failure::Overtaken);
    }
    let took = checking.since.elapsed();
    let fast = !site.context.options.gates.disable_fail_fast_behavior;
    let text = match health.outlook(fast) {
        Outlook::Healthy => {
            let text = message::healthy(took);
            let news = book.has_moved();
            if !book.is_healthy() || (news && changed) {
                let note = book.subject.info(common::PROGRESSING, text.clone());
                book.tell(note);
            }
            if !silent || !book.is_healthy() {
                book.health(ConditionStatus::True, common::SUCCEEDED, text);
            }
            return Ok(None);
        }
        Outlook::Stalled(text) => text,
        Outlook::Waiting if checking.failed.is_none() && took < site.request.timeout => {
            return Ok(Some(waiting(site, book, &health, site.request.timeout - took)));
        }
        Outlook::Waiting => health.timeout(),
    };
    Ok(Some(fail(site, work, book, &health, &text)))
}

fn waiting(site: &Site<'_>, book: &mut Book, health: &Health, left: Duration) -> Verdict {
    let message = message::progress(Step::Health, &book.subject.revision, site.request.timeout);
    book.health(ConditionStatus::Unknown, common::PROGRESSING, message.clone());
    Verdict::Waiting {
        reason: common::PROGRESSING,
        message,
        readiness: Readiness::Unknown,
        on: keys(health),
        again: if health.polled { left.min(POLL) } else { left },
    }
}

fn keys(health: &Health) -> Vec<WakeKey> {
    health.pending().map(|state| wake_key(&state.id)).collect()
}

/// Health will not come by itself: said once, and looked at again when something changes or it is time to retry.
fn fail(site: &Site<'_>, work: &mut Work, book: &mut Book, health: &Health, text: &str) -> Verdict {
    let digest = work.digest.clone();
    let took = work.began.elapsed();
    let retry = site.request.retry;
    let waiting = |message: String, again: Duration| Verdict::Waiting {
        reason: ks::HEALTH_CHECK_FAILED,
        message,
        readiness: Readiness::False,
        on: keys(health),
        again: if health.polled { again.min(POLL) } else { again },
    };
    let Some(checking) = &mut work.checking else { return Verdict::failed(ks::HEALTH_CHECK_FAILED, text) };
    if let Some((since, message)) = &checking.failed {
        let plain = message.split_once(": ").map_or(message.as_str(), |(_, plain)| plain).to_owned();
        book.health(ConditionStatus::False, ks::HEALTH_CHECK_FAILED, plain);
        return waiting(
            message.clone(),
            retry.saturating_sub(since.elapsed()).max(Duration::from_millis(100)),
        );
    }
    let message = unhealthy(book, text, checking.since.elapsed());
    checking.failed = Some((Instant::now(), message.clone()));
    let note = book.subject.error(ks::HEALTH_CHECK_FAILED, message.clone());
    book.tell(note);
    book.count(&digest, ks::HEALTH_CHECK_FAILED, now(), took, None);
    waiting(message, retry)
}

/// Looks at the health of what was applied and healthy before. Health that is lost for as long as the timeout
/// costs the readiness; health that returns restores it.
pub(crate) async fn keep(
    site: &Site<'_>,
    settled: &mut Settled,
    book: &mut Book,
) -> Result<Option<Verdict>, Failure> {
    let Some(watch) = &settled.health else { return Ok(None) };
    let health = watch.observe(&site.scope.cancel).await;
    if site.scope.cancel.is_cancelled() {
        return Err(Failure::Overtaken);
    }
    let fast = !site.context.options.gates.disable_fail_fast_behavior;
    let text = match health.outlook(fast) {
        Outlook::Healthy => {
            if let Some(since) = settled.degraded.take()
                && !book.is_healthy()
            {
                let text = message::healthy(since.elapsed());
                book.health(ConditionStatus::True, common::SUCCEEDED, text.clone());
                let note = book.subject.info(common::PROGRESSING, text);
                book.tell(note);
            }
            return Ok(None);
        }
        Outlook::Stalled(text) => text,
        Outlook::Waiting => health.timeout(),
    };
    let Some(since) = settled.degraded else {
        settled.degraded = Some(Instant::now());
        // One visit at the end is enough, however often the object stirs until then.
        site.context.visit_later(&site.request.key, site.request.timeout);
        return Ok(None);
    };
    if since.elapsed() < site.request.timeout {
        return Ok(None);
    }
    let first = book.is_healthy();
    let message = unhealthy(book, &text, site.request.timeout);
    if first {
        let note = book.subject.error(ks::HEALTH_CHECK_FAILED, message.clone());
        book.tell(note);
    }
    Ok(Some(Verdict::Waiting {
        reason: ks::HEALTH_CHECK_FAILED,
        message,
        readiness: Readiness::False,
        on: keys(&health),
        again: site.request.retry,
    }))
}
