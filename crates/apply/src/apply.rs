//! Applying a stage: who is looked at, who is written, in which order.

use std::fmt;
use std::sync::Arc;

use futures::{StreamExt, stream};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::case::{Before, Case, StepFailure, refused};
use crate::kinds::Resource;
use crate::look::Found;
use crate::recreate::is_immutable;
use crate::transport::{Answer, Call};
use crate::{
    Action, Cluster, Desired, Error, Failure, Fate, Identity, Memory, Missing, ObjectId, Outcome, Policy,
    Report, Seen, Step,
};

/// Objects looked at in the same moment; those of one kind and namespace share a request, so that more looks
/// in a moment mean fewer requests.
const LOOKS_ABREAST: usize = 2048;

/// Objects of one pass that may wait for a turn to be written.
const MOST_ABREAST: usize = 64;

/// A cluster as one identity. Cheap to clone.
#[derive(Clone)]
pub struct Target {
    pub(crate) cluster: Cluster,
    pub(crate) who: Identity,
    /// After this no request is sent, and none is waited for.
    pub(crate) until: Option<Instant>,
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Target").field("who", &self.who).finish_non_exhaustive()
    }
}

/// What must be known of the objects of a stage before they are written, and what needs no write.
pub struct Survey<'a> {
    stage: &'a [Desired],
    cases: Vec<(usize, Case<'a>, Before)>,
    report: Report,
}

impl fmt::Debug for Survey<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Survey").field("to_write", &self.cases.len()).finish_non_exhaustive()
    }
}

impl Survey<'_> {
    /// Keeps back what may not be written, as if its kind were not served yet: whoever prepared for the stage found
    /// it so. If it is by now, [`crate::Signal::Kind`] tells so at once.
    pub fn withhold(&mut self, cluster: &Cluster, may: impl Fn(&ObjectId) -> bool) {
        self.cases.retain(|(_, case, _)| may(&case.desired.id));
        for (desired, outcome) in self.stage.iter().zip(&mut self.report.outcomes) {
            if outcome.error().is_none() && !may(&desired.id) {
                let (group, kind) = (desired.id.group.clone(), desired.id.kind.clone());
                let version = Some(desired.object().version().to_owned());
                let cause = Failure::NoMatch { group, version, kind };
                outcome.fate = without_kind(cluster, desired, &desired.id, cause);
            }
        }
    }
}

impl Target {
    /// The cluster behind it.
    #[must_use]
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// The same with an end: what was not answered by then fails with [`Failure::Late`], at once.
    #[must_use]
    pub fn until(&self, deadline: Instant) -> Self {
        Self { until: Some(deadline), ..self.clone() }
    }

    /// Waits for something, to the deadline at most.
    pub(crate) async fn in_time<T>(
        &self,
        work: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        match self.until {
            None => work.await,
            Some(until) if until <= Instant::now() => Err(Failure::Late),
            Some(until) => tokio::time::timeout_at(until, work).await.unwrap_or(Err(Failure::Late)),
        }
    }

    /// Applies the objects of one stage: waves in order, within a wave `policy.concurrency` at a
    /// time. An object that cannot be applied does not keep others from it, unless the policy says
    /// so. Objects that `memory` and the watches know to be as desired cost no request.
    ///
    /// A cancelled pass finishes the objects it began and leaves the others [`Fate::Untried`].
    /// Never fails as a whole; each outcome tells.
    pub async fn apply(
        &self,
        stage: &[Desired],
        policy: &Policy,
        memory: &Memory,
        cancel: &CancellationToken,
    ) -> Report {
        self.apply_surveyed(self.survey(stage, policy, memory, cancel).await, policy, cancel).await
    }

    /// As [`Target::apply`], after a survey of the stage. The younger the survey, the better.
    pub async fn apply_surveyed(
        &self,
        survey: Survey<'_>,
        policy: &Policy,
        cancel: &CancellationToken,
    ) -> Report {
        let Survey { mut cases, mut report, .. } = survey;
        if policy.all_or_nothing {
            self.rehearse(&cases, cancel, &mut report).await;
            if report.outcomes.iter().any(|outcome| outcome.error().is_some()) {
                return report;
            }
        }
        cases.sort_by_key(|(_, case, _)| case.desired.wave);
        let own = Semaphore::new(if policy.all_or_nothing { 1 } else { policy.concurrency.max(1) });
        let (own, at_most) = (&own, if policy.all_or_nothing { 1 } else { MOST_ABREAST });
        for wave in cases.chunk_by(|(_, a, _), (_, b, _)| a.desired.wave == b.desired.wave) {
            // Collected first: a closure that a stream keeps would make the future unfit for `spawn`.
            let applies: Vec<_> = wave
                .iter()
                .map(|(at, case, before)| async move {
                    let _turn = turn(own, &policy.spare).await;
                    if cancel.is_cancelled() {
                        return (*at, Fate::Untried);
                    }
                    let applied = self.apply_one(case, before).await;
                    (*at, applied.unwrap_or_else(|failure| self.judge(case, failure)))
                })
                .collect();
            let mut fates = stream::iter(applies).buffer_unordered(at_most);
            while let Some((at, fate)) = fates.next().await {
                let failed = matches!(fate, Fate::Failed(_) | Fate::Parked { .. });
                if let Some(outcome) = report.outcomes.get_mut(at) {
                    outcome.fate = fate;
                }
                if failed && policy.all_or_nothing {
                    return report;
                }
            }
        }
        report
    }

    /// Settles every object of a stage that needs no write, and looks at the others. Changes nothing. A
    /// cancelled survey leaves the rest [`Fate::Untried`].
    pub async fn survey<'a>(
        &self,
        stage: &'a [Desired],
        policy: &'a Policy,
        memory: &Memory,
        cancel: &CancellationToken,
    ) -> Survey<'a> {
        let mut report = Report { outcomes: stage.iter().map(untried).collect() };
        let looks: Vec<_> = stage
            .iter()
            .enumerate()
            .map(|(at, desired)| async move {
                if cancel.is_cancelled() {
                    return (at, Err(untried(desired)));
                }
                (at, self.prepare(desired, policy, memory).await)
            })
            .collect();
        let mut looks = stream::iter(looks).buffer_unordered(LOOKS_ABREAST);
        let mut cases = Vec::new();
        while let Some((at, prepared)) = looks.next().await {
            match prepared {
                Ok((case, before)) => {
                    if let Some(outcome) = report.outcomes.get_mut(at) {
                        outcome.id = case.id.clone();
                    }
                    cases.push((at, case, before));
                }
                Err(settled) => {
                    if let Some(outcome) = report.outcomes.get_mut(at) {
                        *outcome = settled;
                    }
                }
            }
        }
        Survey { stage, cases, report }
    }

    /// What is to be written, with what is known of the live object; or the outcome, where nothing is.
    async fn prepare<'a>(
        &self,
        desired: &'a Desired,
        policy: &'a Policy,
        memory: &Memory,
    ) -> Result<(Case<'a>, Before), Outcome> {
        let case = self.locate(desired, policy).await.map_err(|fate| outcome(&desired.id, *fate))?;
        let known = self.cluster.known(&case.id);
        if case.controls.skips_apply(None) {
            return Err(outcome(&case.id, Fate::Skipped { seen: known }));
        }
        let before = match known {
            Some(seen) if !case.needs_look(&seen) => Before::Known(seen),
            _ => match self.look(&case).await {
                Ok(before) => before,
                Err(failure) => return Err(outcome(&case.id, self.judge(&case, failure))),
            },
        };
        let mut settled = before.seen().and_then(|seen| without_write(&case, seen, memory));
        if settled.is_none() && memory.uid(&case.id).is_none() {
            settled = self.stands(&case, &before).await;
        }
        match settled {
            Some(fate) => Err(outcome(&case.id, fate)),
            None => Ok((case, before)),
        }
    }

    /// Where the object belongs, or why it belongs nowhere yet.
    async fn locate<'a>(&self, desired: &'a Desired, policy: &'a Policy) -> Result<Case<'a>, Box<Fate>> {
        let mut id = desired.id.clone();
        let version = desired.object().version();
        let found = self.cluster.resource(&id.group, Some(version), &id.kind);
        let resource = match self.in_time(found).await {
            Ok(resource) => resource,
            Err(cause) => {
                return Err(Box::new(if matches!(cause, Failure::NoMatch { .. }) {
                    without_kind(&self.cluster, desired, &id, cause)
                } else {
                    Fate::Failed(refused(desired, &id, Step::DryRun, cause))
                }));
            }
        };
        if !resource.namespaced {
            id.namespace.clear();
        } else if id.namespace.is_empty() {
            let cause = Failure::Transport("the server could not find the requested resource".to_owned());
            let mut error = refused(desired, &id, Step::DryRun, cause);
            error.unplaced = true;
            return Err(Box::new(Fate::Failed(error)));
        }
        let controls = desired.controls(&self.cluster.inner.settings.dialect);
        Ok(Case { desired, id, resource, policy, controls })
    }

    pub(crate) async fn send(&self, call: &Call<'_>) -> Result<Answer, Failure> {
        self.in_time(self.cluster.inner.transport.send(&self.who, call)).await
    }

    /// Reads the metadata of one object.
    pub(crate) async fn see(&self, resource: &Arc<Resource>, namespace: &str, name: &str) -> Found {
        let inner = &self.cluster.inner;
        self.in_time(inner.looks.look(&inner.transport, &self.who, resource, namespace, name)).await
    }

    /// Tells what a failure means: something missing that may come, or an error.
    fn judge(&self, case: &Case<'_>, failure: StepFailure) -> Fate {
        let StepFailure(step, cause) = failure;
        let id = &case.id;
        let error = refused(case.desired, id, step, cause);
        let Some(refusal) = error.cause.refusal() else {
            return Fate::Failed(error);
        };
        let gone = refusal.code == 404
            && (refusal.about == "namespaces" || refusal.message.starts_with("namespaces \""));
        let going = refusal.causes.iter().any(|cause| cause.reason == "NamespaceTerminating");
        if (gone || going) && !id.namespace.is_empty() {
            return Fate::Parked { on: Missing::Namespace(id.namespace.clone()), error };
        }
        if refusal.code == 404 && step == Step::DryRun {
            // An apply creates what is not there, so it is the kind that is gone.
            self.cluster.inner.kinds.forget();
            return await_kind(&self.cluster, id, error);
        }
        Fate::Failed(error)
    }

    /// Finds out, without changing anything, whether all that is to be written would be accepted.
    async fn rehearse(
        &self,
        cases: &[(usize, Case<'_>, Before)],
        cancel: &CancellationToken,
        report: &mut Report,
    ) {
        let abreast = cases.first().map_or(1, |(_, case, _)| case.policy.concurrency.max(1));
        let rehearsals: Vec<_> = cases
            .iter()
            .map(|(at, case, before)| async move {
                if cancel.is_cancelled() {
                    return (*at, None);
                }
                let failure = self.send_apply(case, &case.payload().bytes(), true).await.err();
                let forced = case.forces(before.seen());
                let failure = failure.filter(|failure| !(forced && is_immutable(failure)));
                (*at, failure.map(|failure| self.judge(case, StepFailure(Step::DryRun, failure))))
            })
            .collect();
        let mut fates = stream::iter(rehearsals).buffer_unordered(abreast);
        while let Some((at, fate)) = fates.next().await {
            if let (Some(fate), Some(outcome)) = (fate, report.outcomes.get_mut(at)) {
                outcome.fate = fate;
            }
        }
    }
}

/// A turn to write an object: one of the pass's own, or a spare one that no other pass has.
async fn turn<'a>(own: &'a Semaphore, spare: &'a Semaphore) -> Option<SemaphorePermit<'a>> {
    // Neither is ever closed.
    tokio::select! {
        biased;
        turn = own.acquire() => turn.ok(),
        turn = spare.acquire() => turn.ok(),
    }
}

/// The outcome for a live object that is left as it is.
pub(crate) fn without_write(case: &Case<'_>, seen: &Seen, memory: &Memory) -> Option<Fate> {
    if case.controls.skips_apply(Some(&seen.controls)) {
        return Some(Fate::Skipped { seen: Some(seen.clone()) });
    }
    let agrees = memory.agrees(case.desired, &case.id, seen);
    agrees.then(|| Fate::Applied { action: Action::Unchanged, seen: seen.clone(), health: None })
}

/// An object whose kind is not served; from now on it is told when it is.
fn without_kind(cluster: &Cluster, desired: &Desired, id: &ObjectId, cause: Failure) -> Fate {
    await_kind(cluster, id, refused(desired, id, Step::DryRun, cause))
}

fn await_kind(cluster: &Cluster, id: &ObjectId, error: Error) -> Fate {
    cluster.await_kind(&id.group, &id.kind);
    Fate::Parked { on: Missing::Kind { group: id.group.clone(), kind: id.kind.clone() }, error }
}

fn untried(desired: &Desired) -> Outcome {
    outcome(&desired.id, Fate::Untried)
}

fn outcome(id: &ObjectId, fate: Fate) -> Outcome {
    Outcome { id: id.clone(), fate }
}
