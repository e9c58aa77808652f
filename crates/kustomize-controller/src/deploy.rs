//! A build's way into the cluster: claim, apply, prune, health. Every step may be left at any point and taken
//! up by another pass: what is done already costs nothing then.

use std::borrow::Cow;
use std::time::Duration;

use sluice_api::condition::ConditionStatus;
use sluice_api::kustomize::v1::Kustomization;
use sluice_api::kustomize::v1::reason as ks;
use sluice_api::{Time, reason as common};
use sluice_apply::{Action, Cluster, Desired, Fate, ObjectId, Outlook, Policy, Report, Seen, Survey, Target};
use sluice_manifest as manifest;
use sluice_runtime::{Readiness, Scope, Trigger, Verdict, WakeKey};
use tokio::time::Instant;

use crate::claim::{Claimed, claim};
use crate::context::Context;
use crate::error::Failure;
use crate::health;
use crate::limit::Limit;
use crate::message::{self, Step};
use crate::policy;
use crate::remembered;
use crate::request::Request;
use crate::session::{Left, Session, Settled, Work};
use crate::settle::Book;
use crate::trouble::Trouble;

/// How long objects that others rely on may take to become healthy.
const STAGE: Duration = Duration::from_secs(60);
/// How long something may be missing before it is worth a word: a kind is served a moment after its definition.
const MOMENT: Duration = Duration::from_secs(3);
/// How long a pass holds on for them before it lets go of its worker.
const HOLD: Duration = Duration::from_secs(2);

/// What the steps of a deployment share.
pub(crate) struct Site<'a> {
    pub(crate) context: &'a Context,
    pub(crate) scope: &'a Scope<Kustomization>,
    pub(crate) request: &'a Request,
    pub(crate) target: &'a Target,
    pub(crate) limit: Limit,
}

/// Goes on with the work of the session.
pub(crate) async fn deploy(
    site: &Site<'_>,
    session: &mut Session,
    work: &mut Work,
    book: &mut Book,
) -> Result<Verdict, Failure> {
    book.facts.last_attempted_revision = Some(book.subject.revision.clone());
    let policy = policy::applying(site.context, site.request)?;
    // First of all: a watch that must read more than before starts over.
    let _foreseen = health::foresee(site, work);
    watch(site.target.cluster(), session, work);
    let first = work.stages.first().map(|(_, members)| rested(session, members)).unwrap_or_default();
    // To look changes nothing, so it need not wait until the claim is durable.
    let surveyed = {
        let survey = site.target.survey(&first, &policy, &session.memory, &site.scope.cancel);
        let (claimed, mut surveyed) = tokio::join!(claim(site, work, book), survey);
        let claimed = claimed?;
        surveyed.withhold(site.target.cluster(), |id| claimed.covers(id));
        surveyed
    };
    let mut report = manifest::Report::default();
    let stages = Stages { policy: &policy, first: &first, surveyed };
    if let Some(verdict) = apply(site, session, work, book, stages, &mut report).await? {
        return Ok(verdict);
    }
    if work.inventory.is_none() {
        prune(site, session, work, book, &mut report).await?;
        report.finished = true;
        work.inventory = Some(manifest::settle(&work.plan, &report));
    }
    if let Some(inventory) = &work.inventory {
        book.record(inventory);
        session.memory.retain(|id| inventory.contains(id));
        session.contests.retain(|id, _| inventory.contains(id));
    }
    watch_narrowly(site.target.cluster(), session, work).await;
    if let Some(verdict) = health::check(site, work, book).await? {
        return Ok(verdict);
    }
    Ok(succeed(site, session, work, book))
}

/// Watches every kind this run touches. Watches are shared, and a hint only.
fn watch(cluster: &Cluster, session: &mut Session, work: &Work) {
    session.lease = Some(cluster.watch_owned(work.plan.claim.ids()));
}

/// Watches the namespaces in use, where it has shown that not all may be watched.
async fn watch_narrowly(cluster: &Cluster, session: &mut Session, work: &Work) {
    if !cluster.is_narrow(work.plan.claim.ids()) {
        return;
    }
    watch(cluster, session, work);
    if let Some(lease) = &session.lease {
        // Too late is no harm: the next visit sees it.
        cluster.synced(lease, HOLD).await;
    }
}

/// How stages are applied, and what is known of the first.
struct Stages<'a> {
    policy: &'a Policy,
    first: &'a [Desired],
    surveyed: Survey<'a>,
}

/// Applies stage after stage. Answers a verdict when one has to be waited for.
async fn apply(
    site: &Site<'_>,
    session: &mut Session,
    work: &mut Work,
    book: &mut Book,
    Stages { policy, first, surveyed }: Stages<'_>,
    done: &mut manifest::Report,
) -> Result<Option<Verdict>, Failure> {
    let mut surveyed = Some(surveyed);
    let mut changes = Vec::new();
    let mut trouble = Trouble::default();
    let mut wait = None;
    for place in 0..work.stages.len() {
        // A kind may have come while the stage before was waited for.
        let claimed = if place > 0 { claim(site, work, book).await } else { Ok(Claimed::All) };
        let claimed = match claimed {
            Ok(claimed) => claimed,
            Err(failure) => {
                tell_changes(site, work, book, &changes);
                return Err(failure);
            }
        };
        let Some((kind, members)) = work.stages.get(place) else { break };
        let kind = *kind;
        let cancel = &site.scope.cancel;
        let (members, report) = match surveyed.take() {
            Some(surveyed) => {
                (Cow::Borrowed(first), site.target.apply_surveyed(surveyed, policy, cancel).await)
            }
            None => {
                let members = rested(session, members);
                let mut surveyed = site.target.survey(&members, policy, &session.memory, cancel).await;
                surveyed.withhold(site.target.cluster(), |id| claimed.covers(id));
                let report = site.target.apply_surveyed(surveyed, policy, cancel).await;
                (Cow::Owned(members), report)
            }
        };
        session.memory.learn(&members, &report);
        let before = changes.len();
        note_changes(&report, &mut changes);
        contend(site, session, work, book, &report);
        trouble.add(&report);
        if report.outcomes.iter().any(|outcome| matches!(outcome.fate, Fate::Untried)) && trouble.is_empty() {
            tell_changes(site, work, book, &changes);
            return Err(Failure::Overtaken);
        }
        for (desired, outcome) in members.iter().zip(&report.outcomes) {
            match &outcome.fate {
                Fate::Skipped { seen } => {
                    work.left_alone
                        .insert(outcome.id.clone(), seen.as_ref().and_then(|seen| left(site, seen)));
                }
                _ => drop(work.left_alone.remove(&outcome.id)),
            }
            if outcome.action().is_some() {
                let version = desired.object().version().to_owned();
                done.applied.push((desired.id.clone(), outcome.id.clone(), version));
            }
        }
        if kind.waits() && !report.outcomes.is_empty() && work.inventory.is_none() {
            wait = match linger(site, work, place, &members, &report).await {
                Ok(wait) => wait,
                Err(failure) => {
                    tell_changes(site, work, book, &changes);
                    return Err(failure);
                }
            };
            if wait.is_some() {
                break;
            }
        }
        if !trouble.is_empty() && !site.context.options.ways.partial_apply {
            // As Flux does: what the stages before changed stands below what stopped this one.
            trouble.follow(lines(&changes[..before]));
            break;
        }
    }
    tell_changes(site, work, book, &changes);
    if !trouble.is_empty() {
        let quietly = work.began.elapsed() < MOMENT;
        return Err(trouble.fail(site.target.cluster(), session, quietly));
    }
    session.missing.clear();
    if let Some(on) = wait {
        let (on, again) = on;
        return Ok(Some(Verdict::Waiting {
            reason: common::PROGRESSING,
            message: message::progress(Step::Apply, &book.subject.revision, site.request.timeout),
            readiness: Readiness::Unknown,
            on,
            again,
        }));
    }
    Ok(None)
}

/// The members without those that are left alone for a while because somebody keeps changing them back.
fn rested(session: &Session, members: &[Desired]) -> Vec<Desired> {
    let now = Instant::now();
    let resting = |desired: &&Desired| {
        session.contests.get(&desired.id).is_some_and(|contest| contest.resting(now).is_some())
    };
    members.iter().filter(|desired| !resting(desired)).cloned().collect()
}

/// The state of an object that is left alone, where the watches of owned objects will tell of its changes.
fn left(site: &Site<'_>, seen: &Seen) -> Option<Left> {
    let key = &site.request.key;
    let owned =
        seen.owner.as_ref().is_some_and(|owner| owner.namespace == *key.namespace && owner.name == *key.name);
    owned.then(|| (seen.uid.clone(), seen.drift_key))
}

fn note_changes(report: &Report, changes: &mut Vec<(ObjectId, Action)>) {
    let told = |action: &Action| !matches!(action, Action::Unchanged | Action::Skipped);
    changes
        .extend(report.changes().filter(|(_, action)| told(action)).map(|(id, action)| (id.clone(), action)));
}

fn tell_changes(site: &Site<'_>, work: &mut Work, book: &mut Book, changes: &[(ObjectId, Action)]) {
    if changes.is_empty() {
        return;
    }
    work.changed = true;
    let output = change_log(changes, site.context.options.gates.group_change_log);
    tracing::info!(%output, revision = %book.subject.revision, "server-side apply completed");
    let note = book.subject.info(common::PROGRESSING, lines(changes).join("\n"));
    book.tell(note);
}

fn lines(changes: &[(ObjectId, Action)]) -> Vec<String> {
    changes.iter().map(|(id, action)| format!("{} {action}", id.subject())).collect()
}

/// The changes as logs have them: by object, or grouped by what was done.
fn change_log(changes: &[(ObjectId, Action)], grouped: bool) -> serde_json::Value {
    let mut log = serde_json::Map::new();
    for (id, action) in changes {
        if grouped {
            let group = log.entry(action.to_string()).or_insert_with(|| serde_json::Value::Array(Vec::new()));
            if let Some(group) = group.as_array_mut() {
                group.push(id.subject().into());
            }
        } else {
            log.insert(id.subject(), action.to_string().into());
        }
    }
    log.into()
}

/// Counts repairs, and tells once when somebody does not give in.
fn contend(site: &Site<'_>, session: &mut Session, work: &mut Work, book: &mut Book, report: &Report) {
    let now = Instant::now();
    for (id, action) in report.changes() {
        if !matches!(action, Action::Created | Action::Configured) {
            continue;
        }
        // What is applied for the first time is no repair.
        if !work.repairs && work.touched.insert(id.clone()) {
            continue;
        }
        let Some(rest) = session.contests.entry(id.clone()).or_default().repaired(now) else { continue };
        site.context.visit_later(&site.request.key, rest.delay);
        if rest.begins {
            let text = format!(
                "{} keeps being changed by somebody else after each repair: repairs are made less and less often",
                id.subject()
            );
            let note = book.subject.error(common::PROGRESSING, text);
            book.tell(note);
        }
    }
}

/// Waits for what others rely on: a moment here, longer as stored state. Answers what to wait for.
async fn linger(
    site: &Site<'_>,
    work: &mut Work,
    place: usize,
    members: &[Desired],
    report: &Report,
) -> Result<Option<(Vec<WakeKey>, Duration)>, Failure> {
    let checks = health::applied(members, report);
    if checks.is_empty() {
        return Ok(None);
    }
    let watch = health::watch(site, checks);
    let fast = !site.context.options.gates.disable_fail_fast_behavior;
    let health = watch.settle(fast, HOLD, &site.scope.cancel).await;
    if site.scope.cancel.is_cancelled() {
        return Err(Failure::Overtaken);
    }
    let fail = |text: String| Failure::Apply { text, on: Vec::new(), told: false };
    match health.outlook(fast) {
        Outlook::Healthy => Ok(None),
        Outlook::Stalled(text) => Err(fail(text)),
        Outlook::Waiting => {
            let since = *work.waits.entry(place).or_insert_with(Instant::now);
            let left = STAGE.saturating_sub(since.elapsed());
            if left.is_zero() {
                work.waits.remove(&place);
                return Err(fail(health.timeout()));
            }
            let again = if health.polled { left.min(HOLD) } else { left };
            Ok(Some((health.pending().map(|state| health::wake_key(&state.id)).collect(), again)))
        }
    }
}

/// Deletes what is not desired any more.
async fn prune(
    site: &Site<'_>,
    session: &mut Session,
    work: &mut Work,
    book: &mut Book,
    done: &mut manifest::Report,
) -> Result<(), Failure> {
    let ids = work.plan.prune_after(done);
    if ids.is_empty() {
        return Ok(());
    }
    let options = policy::deleting(site.context, site.request);
    let deletion = site.target.delete(&ids, &options, &site.scope.cancel).await;
    let lines: Vec<String> =
        deletion.changes().map(|(id, action)| format!("{} {action}", id.subject())).collect();
    for removal in &deletion.outcomes {
        match removal.action() {
            Some(Action::Deleted) => done.gone.push(removal.id.clone()),
            Some(_) => done.released.push(removal.id.clone()),
            None => continue,
        }
        session.memory.forget(&removal.id);
    }
    if !lines.is_empty() {
        work.changed = true;
        tracing::info!(output = ?lines, "garbage collection completed");
        let note = book.subject.info(common::PROGRESSING, lines.join("\n"));
        book.tell(note);
    }
    if let Some(text) = deletion.error() {
        book.record(&manifest::settle(&work.plan, done));
        return Err(Failure::Prune(text));
    }
    if deletion.survivors().next().is_some() {
        book.record(&manifest::settle(&work.plan, done));
        return Err(Failure::Overtaken);
    }
    Ok(())
}

/// True for a look that nobody asked for and that found everything as it was: not worth a word.
pub(crate) fn is_silent(site: &Site<'_>, work: &Work, book: &Book) -> bool {
    work.repairs
        && !book.has_moved()
        && !work.changed
        && site.context.options.ways.quiet
        && site.scope.trigger != Trigger::Requested
}

/// Tells once that drift of some kinds is not seen when it happens, and what would help.
fn tell_unwatched(site: &Site<'_>, session: &mut Session, inventory: &manifest::Inventory, book: &mut Book) {
    let cluster = site.target.cluster();
    let mut kinds: Vec<String> = inventory
        .ids()
        .filter(|id| cluster.is_unseen(id))
        .map(|id| if id.group.is_empty() { id.kind.clone() } else { format!("{}.{}", id.kind, id.group) })
        .collect();
    kinds.sort();
    kinds.dedup();
    if kinds.is_empty() || std::mem::replace(&mut session.told_unwatched, true) {
        return;
    }
    let note = book.subject.info(common::PROGRESSING, message::unwatched(&kinds, site.request.interval));
    book.tell(note);
}

/// Everything is as desired.
fn succeed(site: &Site<'_>, session: &mut Session, work: &mut Work, book: &mut Book) -> Verdict {
    let silent = is_silent(site, work, book);
    book.advance();
    let inventory = work.inventory.take().unwrap_or_default();
    let members: Vec<_> = inventory
        .ids()
        .map(|id| {
            let applied = session.memory.applied(id).map(|(uid, key)| (uid.clone(), key));
            (id.clone(), applied.or_else(|| work.left_alone.get(id).cloned().flatten()))
        })
        .collect();
    let applied = remembered::mark(&work.inputs, members.iter().map(|(id, state)| (id, state.clone())));
    if silent {
        book.remember(applied);
    } else {
        tell_unwatched(site, session, &inventory, book);
        let took = work.began.elapsed();
        book.count(&work.digest, ks::RECONCILIATION_SUCCEEDED, now(), took, applied);
        book.tell(book.subject.finished(took, site.request.interval));
    }
    session.settled = Some(Settled {
        inputs: work.inputs.clone(),
        reads: Some(work.reads.clone()),
        digest: work.digest.clone(),
        members,
        health: work.checking.take().map(|checking| checking.watch),
        degraded: None,
    });
    Verdict::ready(ks::RECONCILIATION_SUCCEEDED, message::applied(&book.subject.revision))
}

/// The current time as statuses have it.
pub(crate) fn now() -> Time {
    Time::new(jiff::Timestamp::now())
}

/// States that health is lost or not reached.
pub(crate) fn unhealthy(book: &mut Book, text: &str, took: Duration) -> String {
    book.health(ConditionStatus::False, ks::HEALTH_CHECK_FAILED, text);
    let took = sluice_types::GoDuration(crate::history::rounded(took));
    format!("health check failed after {took}: {text}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn changes_are_logged_by_object_or_by_what_was_done() {
        let id = |name: &str| ObjectId {
            group: String::new(),
            kind: "ConfigMap".to_owned(),
            namespace: "apps".to_owned(),
            name: name.to_owned(),
        };
        let changes = [(id("a"), Action::Created), (id("b"), Action::Configured), (id("c"), Action::Created)];
        assert_eq!(
            change_log(&changes, false),
            json!({
                "ConfigMap/apps/a": "created", "ConfigMap/apps/b": "configured", "ConfigMap/apps/c": "created",
            })
        );
        assert_eq!(
            change_log(&changes, true),
            json!({
                "created": ["ConfigMap/apps/a", "ConfigMap/apps/c"], "configured": ["ConfigMap/apps/b"],
            })
        );
    }
}
