//! Applying one object.

use std::borrow::Cow;
use std::sync::Arc;

use http::StatusCode;
use serde_json::Value;
use sluice_manifest::Controls;

use crate::apply::without_write;
use crate::kinds::Resource;
use crate::mask::mask;
use crate::transport::{APPLY_PATCH, Answer, Call, JSON, JSON_PATCH, escape};
use crate::watch::Write;
use crate::{
    Action, Desired, Error, Failure, Fate, Memory, ObjectId, Policy, Seen, Step, Target, cleanup, health,
    ignore, live, proof,
};

/// One object that is to be applied, and where.
pub(crate) struct Case<'a> {
    pub(crate) desired: &'a Desired,
    /// Its identity in the cluster.
    pub(crate) id: ObjectId,
    pub(crate) resource: Arc<Resource>,
    pub(crate) policy: &'a Policy,
    /// The controls of the desired object.
    pub(crate) controls: Controls,
}

/// What is known of the live object before it is written.
pub(crate) enum Before {
    /// A watch knows it.
    Known(Seen),
    /// It was looked at.
    Looked(Seen, Arc<Value>),
    /// It was looked for and is not there.
    Absent,
    /// It may not be read. The identity may still be allowed to write it.
    Hidden,
}

/// A failure and the step it belongs to.
pub(crate) struct StepFailure(pub(crate) Step, pub(crate) Failure);

impl Before {
    pub(crate) fn seen(&self) -> Option<&Seen> {
        match self {
            Self::Known(seen) | Self::Looked(seen, _) => Some(seen),
            Self::Absent | Self::Hidden => None,
        }
    }
}

/// How often an object that changes between look and write is looked at again. After that it is written as it
/// is: somebody changes it all the time, and nobody is served by never applying it.
const CHANGES: usize = 3;

/// What is sent.
pub(crate) struct Payload<'a>(Cow<'a, Value>);

impl<'a> Payload<'a> {
    /// Ownership must not be part of it.
    fn new(object: &'a Value) -> Self {
        let is_owned = object.get("metadata").is_some_and(|metadata| metadata.get("managedFields").is_some());
        let mut object = Cow::Borrowed(object);
        if is_owned && let Some(metadata) = object.to_mut().get_mut("metadata").and_then(Value::as_object_mut)
        {
            metadata.remove("managedFields");
        }
        Self(object)
    }

    /// To be taken whatever the object is now.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.0.to_string().into_bytes()
    }

    /// To be taken only if the object still is as it was seen.
    fn pinned(&self, seen: &Seen) -> Vec<u8> {
        let mut object = Value::clone(&self.0);
        if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.insert("resourceVersion".to_owned(), Value::from(seen.version.to_string()));
        }
        object.to_string().into_bytes()
    }
}

impl Case<'_> {
    /// Whether what a watch knows is not enough, for the fields of others are to be taken over.
    pub(crate) fn needs_look(&self, seen: &Seen) -> bool {
        self.policy.migrate_api_version || (seen.takeover && !self.controls.merges(Some(&seen.controls)))
    }

    pub(crate) fn forces(&self, seen: Option<&Seen>) -> bool {
        self.policy.force || self.controls.forces(seen.map(|seen| &seen.controls))
    }

    pub(crate) fn payload(&self) -> Payload<'_> {
        Payload::new(self.desired.object().value())
    }

    fn path(&self) -> Result<String, StepFailure> {
        self.resource.object(&self.id.namespace, &self.id.name).map_err(dry_run)
    }
}

impl Target {
    /// Reads the metadata.
    pub(crate) async fn look(&self, case: &Case<'_>) -> Result<Before, StepFailure> {
        let settings = &self.cluster.inner.settings;
        match self.see(&case.resource, &case.id.namespace, &case.id.name).await {
            Ok(None) => Ok(Before::Absent),
            Ok(Some(metadata)) => Ok(match Seen::of(&metadata, settings) {
                Some(seen) => Before::Looked(seen, metadata),
                None => Before::Absent,
            }),
            Err(failure) if failure.is_forbidden() => Ok(Before::Hidden),
            Err(failure) => Err(dry_run(failure)),
        }
    }

    /// Whether an object of the same owner, of which nothing is remembered, is as desired already.
    pub(crate) async fn stands(&self, case: &Case<'_>, before: &Before) -> Option<Fate> {
        let settings = &self.cluster.inner.settings;
        let fresh = |seen: &Seen| !case.needs_look(seen) && !seen.deleting;
        let owner = live::owner(case.desired.object().value().get("metadata")?, &settings.dialect)?;
        before.seen().filter(|seen| fresh(seen) && seen.owner.as_deref() == Some(&owner))?;
        // What may not be read is applied.
        let live = self.send(&Call::get(case.path().ok()?, JSON)).await.ok()?.body;
        let seen = Seen::of(live.get("metadata")?, settings).filter(fresh)?;
        let stands = proof::stands(case.desired.object().value(), &live, settings);
        stands.then(|| Fate::Applied {
            action: Action::Unchanged,
            seen,
            health: Some(health::builtin(&live)),
        })
    }

    /// Writes the object as it was seen. If it changed since, it is looked at again: it may carry another
    /// control now.
    pub(crate) async fn apply_one(&self, case: &Case<'_>, before: &Before) -> Result<Fate, StepFailure> {
        let mut fresh = match before {
            // What was applied a moment ago, such as a role, may have made it readable.
            Before::Hidden => Some(self.look(case).await?),
            _ => None,
        };
        let mut changes = 0;
        loop {
            let before = fresh.as_ref().unwrap_or(before);
            match self.apply_seen(case, before, changes < CHANGES).await {
                Err(StepFailure(_, failure)) if changes < CHANGES && failure.is_conflict() => {
                    changes += 1;
                    fresh = Some(self.look(case).await?);
                }
                result => return result,
            }
        }
    }

    async fn apply_seen(&self, case: &Case<'_>, before: &Before, pin: bool) -> Result<Fate, StepFailure> {
        if let Some(fate) = before.seen().and_then(|seen| without_write(case, seen, &Memory::default())) {
            return Ok(fate);
        }
        let ignored = case.policy.ignore.paths(case.desired.object().value());
        if before.seen().is_some() && !ignored.is_empty() {
            return self.apply_ignoring(case, before, &ignored, pin).await;
        }
        let write = self.cluster.inner.watches.expect(&case.id);
        let taken = self.take_over(case, before).await?;
        let pin = if pin { taken.as_ref().or(before.seen()) } else { None };
        self.write(case, before.seen(), pin, case.payload(), write).await
    }

    /// Hands the fields of other tools to our manager, where there are any; answers how that left the object.
    async fn take_over(&self, case: &Case<'_>, before: &Before) -> Result<Option<Seen>, StepFailure> {
        let Before::Looked(seen, metadata) = before else {
            return Ok(None);
        };
        let settings = &self.cluster.inner.settings;
        let takeover = !case.controls.merges(Some(&seen.controls));
        let migrate_to = case.policy.migrate_api_version.then(|| case.desired.object().api_version());
        let Some(patch) = cleanup::patch(metadata, settings, takeover, migrate_to) else {
            return Ok(None);
        };
        let step = if seen.takeover && takeover { Step::Cleanup } else { Step::Migrate };
        let path = format!("{}?fieldManager={}", case.path()?, escape(settings.dialect.manager));
        let body = Payload::new(&patch).bytes();
        let sent = self.send(&Call::patch(path, JSON_PATCH, &body)).await;
        let answer = sent.map_err(|failure| StepFailure(step, failure))?;
        Ok(answer.body.get("metadata").and_then(|metadata| Seen::of(metadata, settings)))
    }

    /// Flux compares a dry-run with the live object and lets ignored paths differ.
    async fn apply_ignoring(
        &self,
        case: &Case<'_>,
        before: &Before,
        ignored: &[&str],
        pin: bool,
    ) -> Result<Fate, StepFailure> {
        let live_call = Call::get(case.path()?, JSON);
        let full = case.payload().bytes();
        let (live, rehearsed) = tokio::join!(self.send(&live_call), self.send_apply(case, &full, true));
        let live = live.map_err(dry_run)?.body;
        let Ok(rehearsed) = rehearsed else {
            // The write meets the same refusal, and knows whether to recreate.
            let write = self.cluster.inner.watches.expect(&case.id);
            let pin = before.seen().filter(|_| pin);
            return self.write(case, before.seen(), pin, case.payload(), write).await;
        };
        let settings = &self.cluster.inner.settings;
        let metadata = Arc::new(live.get("metadata").cloned().unwrap_or(Value::Null));
        let before = match Seen::of(&metadata, settings) {
            Some(seen) => {
                if let Some(fate) = without_write(case, &seen, &Memory::default()) {
                    return Ok(fate);
                }
                let takes_over = seen.takeover && !case.controls.merges(Some(&seen.controls));
                if !takes_over && !ignore::differs(&live, &rehearsed.body, ignored) {
                    let health = Some(health::builtin(&live));
                    return Ok(Fate::Applied { action: Action::Unchanged, seen, health });
                }
                Before::Looked(seen, metadata)
            }
            None => Before::Absent,
        };
        let write = self.cluster.inner.watches.expect(&case.id);
        let taken = self.take_over(case, &before).await?;
        let mut payload = case.desired.object().value().clone();
        ignore::adjust(&mut payload, &live, ignored, settings);
        let pin = if pin { taken.as_ref().or(before.seen()) } else { None };
        self.write(case, before.seen(), pin, Payload::new(&payload), write).await
    }

    /// The one forced apply, and what its answer means. With a state to pin it to, a change since then is a
    /// conflict.
    async fn write(
        &self,
        case: &Case<'_>,
        before: Option<&Seen>,
        pin: Option<&Seen>,
        payload: Payload<'_>,
        write: Write,
    ) -> Result<Fate, StepFailure> {
        let pin = pin.filter(|seen| seen.version > 0);
        let bytes = match pin {
            Some(seen) => payload.pinned(seen),
            None => payload.bytes(),
        };
        match self.send_apply(case, &bytes, false).await {
            Ok(answer) => self.understand(case, before, answer, write),
            Err(failure) if pin.is_some() && failure.is_conflict() => Err(dry_run(failure)),
            Err(failure) => match before {
                Some(seen) if case.forces(before) => {
                    self.recreate(case, seen, &payload.bytes(), failure, write).await
                }
                _ => Err(dry_run(failure)),
            },
        }
    }

    pub(crate) async fn send_apply(
        &self,
        case: &Case<'_>,
        body: &[u8],
        rehearsal: bool,
    ) -> Result<Answer, Failure> {
        let path = case.resource.object(&case.id.namespace, &case.id.name)?;
        let manager = escape(self.cluster.inner.settings.dialect.manager);
        let suffix = if rehearsal { "&dryRun=All" } else { "" };
        let path = format!("{path}?fieldManager={manager}&force=true{suffix}");
        self.send(&Call::patch(path, APPLY_PATCH, body)).await
    }

    pub(crate) fn understand(
        &self,
        case: &Case<'_>,
        before: Option<&Seen>,
        answer: Answer,
        write: Write,
    ) -> Result<Fate, StepFailure> {
        let inner = &self.cluster.inner;
        let metadata = answer.body.get("metadata").unwrap_or(&Value::Null);
        let Some(seen) = Seen::of(metadata, &inner.settings) else {
            return Err(StepFailure(Step::Apply, Failure::Malformed("the object that was applied")));
        };
        let action = match before {
            _ if answer.status == StatusCode::CREATED => Action::Created,
            Some(before) if before.uid == seen.uid => {
                let same = before.version == seen.version || before.content == seen.content;
                if same { Action::Unchanged } else { Action::Configured }
            }
            Some(_) => Action::Created,
            None => Action::Configured,
        };
        if action != Action::Unchanged && case.id.kind == "CustomResourceDefinition" {
            inner.kinds.expire();
        }
        write.settle(&seen, &answer.body);
        let health = Some(health::builtin(&answer.body));
        Ok(Fate::Applied { action, seen, health })
    }
}

fn dry_run(failure: Failure) -> StepFailure {
    StepFailure(Step::DryRun, failure)
}

/// An object's error; what a Secret holds is masked in it.
pub(crate) fn refused(desired: &Desired, id: &ObjectId, step: Step, cause: Failure) -> Error {
    let cause = if desired.is_secret() { mask(cause, desired.object()) } else { cause };
    Error { id: id.clone(), unplaced: false, step, cause }
}
