//! One visit of one object, from the queue and back.

use std::collections::HashMap;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::FutureExt;
use sluice_api::condition::READY;
use sluice_api::event::Severity;
use sluice_api::reason::PROGRESSING;
use sluice_api::{Managed, Status, Time, condition};
use sluice_types::Retry;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use crate::drive::Wiring;
use crate::handle::{Handle, Key, Urgency};
use crate::host::Host;
use crate::lock::lock;
use crate::parking::Ticket;
use crate::pass::{Aspect, Note, Pass, Readiness, Verdict, broken};
use crate::queue::Work;
use crate::record::{Records, Written, has_finalizer};
use crate::schedule::{self, Attempts, Times};
use crate::scope::{Latest, Scope, Trigger};
use crate::settle::{Outcome, Setting, settle};
use crate::telemetry::Telemetry;

/// A wait that is shorter than this is nobody's business.
const QUIET: Duration = Duration::from_secs(2);
/// A parked object rests this long at least, whatever its times say.
const BREATH: Duration = Duration::from_millis(50);
/// What a cancelled pass may still take before it is dropped.
const GRACE: Duration = Duration::from_secs(5);

/// Everything the visits of one kind share.
pub(crate) struct Visitor<K: Managed, C, R> {
    pub(crate) wiring: Wiring<K>,
    pub(crate) handle: Handle<K>,
    pub(crate) context: Arc<C>,
    pub(crate) host: Host,
    pub(crate) reconcile: Arc<R>,
    pub(crate) records: Arc<Records<K>>,
    pub(crate) telemetry: Telemetry,
    pub(crate) failures: Attempts,
    pub(crate) overtaken: Attempts,
    pub(crate) waits: Mutex<HashMap<Key, Wait<K::Facts>>>,
    /// Turns to write what is not urgent.
    pub(crate) aside: Semaphore,
}

/// Statuses that are written at once where nothing had to be applied or fetched: more would slow down, on a busy
/// API server, the writes that somebody waits for.
pub(crate) const ASIDE: usize = 3;

/// What a parked object will say when it still waits after a moment.
pub(crate) struct Wait<F> {
    since: Instant,
    until: Instant,
    /// Taken once it was said.
    word: Option<Box<Report<F>>>,
}

/// What a pass left behind.
struct Report<F> {
    /// Object that the pass saw.
    generation: i64,
    requested_at: Option<String>,
    facts: Option<F>,
    aspects: Option<Vec<Aspect>>,
    verdict: Verdict,
}

impl<K, C, R, F> Visitor<K, C, R>
where
    K: Managed,
    C: Send + Sync + 'static,
    R: Fn(Arc<C>, Scope<K>) -> F + Send + Sync + 'static,
    F: Future<Output = Pass<K::Facts>> + Send + 'static,
{
    /// Visits an object whose turn it is, and ends its turn.
    pub(crate) async fn visit(&self, work: Work) {
        let key = work.key.clone();
        let _way = self.host.events.make_way();
        let next = match self.handle.find(&key) {
            Some(object) => {
                let span = self.span(&key);
                let visit = AssertUnwindSafe(self.visit_object(work, object)).catch_unwind();
                // A fault of ours must not keep the object from its next turn.
                let delay = (self.host.pacing.max_retry, Trigger::Retry);
                visit.instrument(span).await.unwrap_or(Some(delay))
            }
            None => {
                self.forget(&key);
                None
            }
        };
        self.handle.queue().finish(&key, next);
    }

    /// Drops what is remembered of an object that is gone.
    pub(crate) fn forget(&self, key: &Key) {
        self.failures.clear(key);
        self.overtaken.clear(key);
        lock(&self.waits).remove(key);
        self.telemetry.forget(key);
    }

    fn span(&self, key: &Key) -> tracing::Span {
        tracing::info_span!(
            "reconcile",
            controller = self.wiring.name(),
            controllerGroup = %K::group(&()),
            controllerKind = %K::kind(&()),
            namespace = %key.namespace,
            name = %key.name,
            reconcileID = %crate::ids::uuid(),
        )
    }

    async fn visit_object(&self, work: Work, object: Arc<K>) -> Option<(Duration, Trigger)> {
        let key = &work.key;
        if work.trigger == Trigger::Retry
            && let Some((report, until)) = self.overdue_word(key)
        {
            return self.say_wait(object, report, until).await;
        }
        if let Some(wait) = lock(&self.waits).get_mut(key) {
            wait.word = None;
        }
        self.telemetry.began(work.waited);
        let began = Instant::now();
        let (next, verdict) = self.run(&work, object).await;
        self.telemetry.ended(key, verdict.as_ref(), began.elapsed());
        if self.handle.find(key).is_none() {
            self.forget(key);
            return None;
        }
        next
    }

    /// Suspension, deletion and finalizer; then the pass.
    async fn run(&self, work: &Work, object: Arc<K>) -> (Option<(Duration, Trigger)>, Option<Verdict>) {
        let key = &work.key;
        let mut object = object;
        if object.deleting() {
            if !self.wiring.finalizer.is_some_and(|finalizer| has_finalizer(&*object, finalizer)) {
                return (None, None);
            }
            object = match self.records.live(&object).await {
                Ok(Some(live)) => live,
                Ok(None) => return (None, None),
                Err(error) => return self.request_failed(key, "read the object", &error),
            };
            if !object.deleting() {
                // Another object of that name: to see it was to queue it.
                return (None, None);
            }
        } else if object.suspended() {
            return self.pass_over(key, object).await;
        } else if let Some(finalizer) = self.wiring.finalizer {
            object = match self.records.write_finalizer(object, finalizer, true).await {
                Ok(Written::Changed(object) | Written::Unchanged(object)) => object,
                Ok(Written::Gone | Written::Refused) => return (None, None),
                Err(error) => return self.request_failed(key, "add the finalizer", &error),
            };
        }
        let (report, notes, latest, ticket) = self.pass(work, object).await;
        let verdict = report.verdict.clone();
        (self.conclude(work, report, notes, latest, ticket).await, Some(verdict))
    }

    /// A suspended object only gets its request answered.
    async fn pass_over(&self, key: &Key, object: Arc<K>) -> (Option<(Duration, Trigger)>, Option<Verdict>) {
        tracing::info!("reconciliation is suspended for this resource");
        self.failures.clear(key);
        lock(&self.waits).remove(key);
        let requested_at = object.requested_at().map(str::to_owned);
        let (generation, settles) = (object.generation(), self.wiring.suspension_settles);
        let make = |previous: Option<&Status<K::Facts>>| {
            let mut status = previous.cloned().unwrap_or_default();
            if requested_at.is_some() {
                status.last_handled_reconcile_at.clone_from(&requested_at);
            }
            if settles { crate::settle::suspended(status, generation) } else { status }
        };
        match self.records.write_status(object, make, |_, _| true).await {
            Ok(_) => (None, None),
            Err(error) => self.request_failed(key, "write the status", &error),
        }
    }

    /// Runs the pass in a task of its own, so that it can be dropped and its panic contained.
    async fn pass(&self, work: &Work, object: Arc<K>) -> (Report<K::Facts>, Vec<Note>, Arc<K>, Ticket) {
        let key = &work.key;
        let latest = Latest::new(object.clone());
        let scope = Scope {
            object: object.clone(),
            trigger: work.trigger,
            attempt: self.failures.count(key),
            cancel: work.cancel.clone(),
            records: self.records.clone(),
            latest: latest.clone(),
            progress: self.wiring.progress,
        };
        let ticket = self.handle.parking().begin(key);
        let (context, reconcile) = (self.context.clone(), self.reconcile.clone());
        let task = tokio::spawn(async move { reconcile(context, scope).await }.in_current_span());
        let pass = self.attend(task, &work.cancel, (self.wiring.deadline)(&object)).await;
        let mut report = Report {
            generation: object.generation(),
            requested_at: object.requested_at().map(str::to_owned),
            facts: None,
            aspects: None,
            verdict: Verdict::Again,
        };
        let notes = match pass {
            Ok(pass) => {
                report.facts = Some(pass.facts);
                report.aspects = Some(pass.aspects);
                report.verdict = pass.verdict;
                pass.notes
            }
            Err(verdict) => {
                report.verdict = verdict;
                Vec::new()
            }
        };
        (report, notes, latest.get(), ticket)
    }

    /// Waits for a pass; drops it when it ignores its deadline or the end of the process for too long.
    async fn attend<P: Send + 'static>(
        &self,
        mut task: tokio::task::JoinHandle<P>,
        cancel: &CancellationToken,
        deadline: Duration,
    ) -> Result<P, Verdict> {
        let ended = tokio::select! {
            ended = &mut task => ended,
            () = async {
                tokio::select! {
                    () = tokio::time::sleep(deadline) => {}
                    () = self.host.stop.cancelled() => {}
                }
                cancel.cancel();
                tokio::time::sleep(GRACE).await;
            } => {
                task.abort();
                task.await
            }
        };
        ended.map_err(|error| {
            if error.is_panic() {
                self.telemetry.panicked();
                return broken("the reconciliation panicked, see the log of the controller".to_owned());
            }
            let deadline = sluice_types::GoDuration(deadline);
            broken(format!("the reconciliation was given up after {deadline}"))
        })
    }

    /// Status, notes, parking, and the next turn.
    async fn conclude(
        &self,
        work: &Work,
        report: Report<K::Facts>,
        notes: Vec<Note>,
        latest: Arc<K>,
        ticket: Ticket,
    ) -> Option<(Duration, Trigger)> {
        let key = &work.key;
        let stopping = self.host.stop.is_cancelled();
        let on = match &report.verdict {
            Verdict::Waiting { on, .. } if !stopping => on.clone(),
            _ => Vec::new(),
        };
        if !self.handle.parking().end(key, ticket, on) {
            // What it waits for happened while it ran. What it did is told now: the next pass finds it done.
            self.tell(&latest, notes, false);
            return Some((Duration::ZERO, Trigger::Wake));
        }
        if stopping && !matches!(report.verdict, Verdict::Ready { .. } | Verdict::Released) {
            // A pass that was cut short has nothing to say about its object, except what it did.
            self.tell(&latest, notes, false);
            return None;
        }
        let failures = self.count(key, &report.verdict);
        match &report.verdict {
            Verdict::Again => self.tell(&latest, notes, false),
            Verdict::Released => return self.release(key, latest, notes).await,
            Verdict::Waiting { readiness, again, .. } => {
                let (readiness, until) = (*readiness, Instant::now() + (*again).max(BREATH));
                self.tell(&latest, notes, news(latest.status(), &report.verdict));
                return self.park(key, report, latest, readiness, until).await;
            }
            _ => {
                lock(&self.waits).remove(key);
                let step_aside = work.urgency >= Urgency::Moved;
                // Nobody closes it.
                let aside = if step_aside { self.aside.acquire().await.ok() } else { None };
                let written = self.write(&latest, &report).await;
                drop(aside);
                let wrote = match written {
                    Ok(wrote) => wrote,
                    Err(error) => {
                        // What was done is told now: the next pass will find it done.
                        self.tell(&latest, notes, false);
                        return self.request_failed(key, "write the status", &error).0;
                    }
                };
                if !wrote && notes.iter().all(|note| note.routine) {
                    self.telemetry.quiet();
                }
                self.tell(&latest, notes, wrote || work.trigger == Trigger::Requested);
                log(&report.verdict);
            }
        }
        let times = Times { interval: latest.interval(), retry_interval: latest.retry_interval() };
        schedule::next(&report.verdict, times, &self.host.pacing, failures, rand::random())
    }

    /// Counts failures, and how often in a row a pass was overtaken.
    fn count(&self, key: &Key, verdict: &Verdict) -> u32 {
        match verdict {
            Verdict::Again => self.overtaken.fail(key),
            Verdict::Failed { .. } => {
                self.overtaken.clear(key);
                self.failures.fail(key)
            }
            Verdict::Ready { .. } | Verdict::Waiting { .. } | Verdict::Released => {
                self.overtaken.clear(key);
                self.failures.clear(key);
                0
            }
        }
    }

    async fn write(&self, latest: &Arc<K>, report: &Report<K::Facts>) -> Result<bool, crate::record::Error> {
        let now = Time::new(jiff::Timestamp::now());
        let make = |previous: Option<&Status<K::Facts>>| {
            let outcome = Outcome {
                facts: report.facts.as_ref(),
                aspects: report.aspects.as_deref(),
                verdict: &report.verdict,
            };
            settle(previous, outcome, self.setting(report, now))
        };
        let written = self.records.write_status(latest.clone(), make, |_, _| true).await?;
        Ok(matches!(written, Written::Changed(_)))
    }

    fn setting<'a>(&'a self, report: &'a Report<K::Facts>, now: Time) -> Setting<'a> {
        Setting {
            generation: report.generation,
            requested_at: report.requested_at.as_deref(),
            owned: self.wiring.owned,
            progress: self.wiring.progress,
            now,
        }
    }

    /// Removes the finalizer.
    async fn release(&self, key: &Key, latest: Arc<K>, notes: Vec<Note>) -> Option<(Duration, Trigger)> {
        self.tell(&latest, notes, true);
        let finalizer = self.wiring.finalizer?;
        match self.records.write_finalizer(latest, finalizer, false).await {
            Ok(_) => None,
            Err(error) => self.request_failed(key, "remove the finalizer", &error).0,
        }
    }

    /// Remembers a wait. It is said at once when it is worth knowing, else only if it lasts.
    async fn park(
        &self,
        key: &Key,
        report: Report<K::Facts>,
        latest: Arc<K>,
        readiness: Readiness,
        until: Instant,
    ) -> Option<(Duration, Trigger)> {
        let now = Instant::now();
        let since = lock(&self.waits).get(key).map_or(now, |wait| wait.since);
        let loud = readiness == Readiness::False && news(latest.status(), &report.verdict);
        if loud || now >= since + QUIET {
            lock(&self.waits).insert(key.clone(), Wait { since, until, word: None });
            if let Err(error) = self.write(&latest, &report).await {
                return self.request_failed(key, "write the status", &error).0;
            }
            return Some((until.saturating_duration_since(Instant::now()), Trigger::Retry));
        }
        let at = until.min(since + QUIET);
        lock(&self.waits).insert(key.clone(), Wait { since, until, word: Some(Box::new(report)) });
        Some((at.saturating_duration_since(now), Trigger::Retry))
    }

    /// What a parked object has not said yet, unless its wait is over anyway.
    fn overdue_word(&self, key: &Key) -> Option<(Report<K::Facts>, Instant)> {
        let mut waits = lock(&self.waits);
        let wait = waits.get_mut(key)?;
        if wait.until <= Instant::now() {
            return None;
        }
        Some((*wait.word.take()?, wait.until))
    }

    async fn say_wait(
        &self,
        object: Arc<K>,
        report: Report<K::Facts>,
        until: Instant,
    ) -> Option<(Duration, Trigger)> {
        if let Err(error) = self.write(&object, &report).await {
            // The word is lost; the pass that follows says it again.
            let key = Key::of(&*object);
            return self.request_failed(&key, "write the status", &error).0;
        }
        Some((until.saturating_duration_since(Instant::now()), Trigger::Retry))
    }

    fn tell(&self, object: &K, notes: Vec<Note>, wrote: bool) {
        for note in notes {
            if wrote || !note.routine {
                // Failures are logged with their verdict, steps on the way by those who take them.
                if note.severity != Severity::Error && note.reason != PROGRESSING {
                    tracing::info!("{}", note.message);
                }
                self.host.events.tell(object, note);
            }
        }
    }

    fn request_failed(
        &self,
        key: &Key,
        what: &str,
        error: &dyn std::error::Error,
    ) -> (Option<(Duration, Trigger)>, Option<Verdict>) {
        tracing::error!(error = %error, "failed to {what}");
        let delay = schedule::backoff(&self.host.pacing, self.failures.fail(key));
        (Some((delay, Trigger::Retry)), Some(broken(String::new())))
    }
}

/// True when the Ready condition says something else so far.
fn news<F>(status: Option<&Status<F>>, verdict: &Verdict) -> bool {
    let Verdict::Waiting { reason, message, .. } = verdict else { return true };
    let ready = status.and_then(|status| condition::find(&status.conditions, READY));
    ready.is_none_or(|ready| ready.reason != reason.as_str() || ready.message != *message)
}

fn log(verdict: &Verdict) {
    match verdict {
        Verdict::Failed { message, retry: Retry::OnChange, .. } => {
            tracing::error!(error = %message, "reconciliation stalled");
        }
        Verdict::Failed { message, .. } => tracing::error!(error = %message, "reconciliation failed"),
        Verdict::Ready { message, .. } => tracing::debug!("{message}"),
        Verdict::Waiting { .. } | Verdict::Again | Verdict::Released => {}
    }
}
