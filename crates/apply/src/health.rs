//! Whether objects are as they should be: read from watches, judged by rules.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;
use sluice_expr::{Health as Ruled, Rules};
pub use sluice_manifest::health::Status;
use sluice_manifest::health::{Health as Judged, judge, judge_with_pods};
use tokio_util::sync::CancellationToken;

use crate::transport::{Call, JSON, escape};
use crate::watch::{Depth, Scope};
use crate::{Failure, Identity, ObjectId, Owner, Target, WatchLease};

/// One object whose health is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// The object.
    pub id: ObjectId,
    /// Whether it carries our owner labels: then the shared watch of its kind sees it. Others cost a
    /// watch each.
    pub owned: bool,
    /// Whether its absence means that it has done its work (a Job with a time to live).
    pub vanishes: bool,
}

/// Objects whose health is watched as long as this value lives.
pub struct HealthWatch {
    target: Target,
    checks: Vec<Check>,
    rules: Arc<Rules>,
    owner: Owner,
    lease: WatchLease,
}

impl fmt::Debug for HealthWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HealthWatch").field("checks", &self.checks.len()).finish()
    }
}

/// The health of a set of objects at one moment.
#[derive(Clone, Debug, Default)]
pub struct Health {
    /// One state for each check, in their order.
    pub states: Vec<State>,
    /// Whether some could not be watched and were read instead: look again after a few seconds.
    pub polled: bool,
}

/// The health of one object.
#[derive(Clone, Debug)]
pub struct State {
    /// The object.
    pub id: ObjectId,
    /// How it is.
    pub status: Status,
    /// Why, in the words of the rule.
    pub message: String,
    /// Why it could not be told.
    pub error: Option<String>,
}

/// What the health of a set means for who waits for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outlook {
    /// Every object is current.
    Healthy,
    /// Some are on their way.
    Waiting,
    /// Waiting longer will not help: `failed early due to stalled resources: […]`.
    Stalled(String),
}

/// Pods of one set that are read at most.
const MOST_PODS: usize = 100;
/// How long reading what may not be watched may take, all of it: so long, and so much more for each object.
const READS: Duration = Duration::from_secs(15);
const READ: Duration = Duration::from_millis(100);
/// How long the first list of a watch is waited for before objects are read instead.
const PATIENCE: Duration = Duration::from_secs(5);

impl Health {
    /// What it means. With `fail_fast` the first failed object decides; without it, only when all
    /// others are current.
    #[must_use]
    pub fn outlook(&self, fail_fast: bool) -> Outlook {
        let count = |status| self.states.iter().filter(|state| state.status == status).count();
        let (current, failed) = (count(Status::Current), count(Status::Failed));
        if current == self.states.len() {
            Outlook::Healthy
        } else if failed > 0 && (fail_fast || current + failed == self.states.len()) {
            Outlook::Stalled(format!(
                "failed early due to stalled resources: [{}]",
                self.list(|status| status == Status::Failed)
            ))
        } else {
            Outlook::Waiting
        }
    }

    /// `timeout waiting for: […]`, naming everything that is not current.
    #[must_use]
    pub fn timeout(&self) -> String {
        format!("timeout waiting for: [{}]", self.list(|status| status != Status::Current))
    }

    /// The objects that are not current.
    pub fn pending(&self) -> impl Iterator<Item = &State> {
        self.states.iter().filter(|state| state.status != Status::Current)
    }

    fn list(&self, wanted: impl Fn(Status) -> bool) -> String {
        let texts: Vec<String> =
            self.states.iter().filter(|state| wanted(state.status)).map(State::to_string).collect();
        texts.join(", ")
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let subject = self.id.subject();
        match (&self.error, self.status) {
            (None, Status::Unknown) => write!(f, "can't determine status for {subject}"),
            (None, status) => write!(f, "{subject} status: '{status}'"),
            (Some(error), status) => write!(f, "{subject} status: '{status}': {error}"),
        }
    }
}

impl Target {
    /// Watches the health of these objects until the answer is dropped. Watches run under the
    /// cluster's own identity, so they tell a target of another identity only about objects of
    /// `owner`; everything else, and what may not be watched, is read under the target's.
    #[must_use]
    pub fn watch_health(&self, checks: Vec<Check>, rules: Arc<Rules>, owner: Owner) -> HealthWatch {
        let watches = &self.cluster.inner.watches;
        let scopes = checks.iter().flat_map(|check| {
            let id = &check.id;
            let named = (!check.owned).then(|| Scope::named(id));
            let owned = check.owned.then(|| watches.scopes(id)).into_iter().flatten();
            let depth = if is_secret(id) {
                Depth::Metadata
            } else if rules.covers(&id.group, &id.kind) || runs_pods(id) {
                Depth::Objects
            } else if is_always_current(&id.group, &id.kind) {
                Depth::Metadata
            } else {
                Depth::Health
            };
            named.into_iter().chain(owned).map(move |scope| (scope, depth))
        });
        HealthWatch {
            lease: watches.lease(&self.cluster, scopes),
            // It outlives the run that asks for it.
            target: Target { until: None, ..self.clone() },
            checks,
            rules,
            owner,
        }
    }
}

impl HealthWatch {
    /// How the objects are now. Waits for the first list of new watches, a few seconds at most; then
    /// asks the server only about objects that may not be watched.
    pub async fn observe(&self, cancel: &CancellationToken) -> Health {
        let synced = self.lease.synced();
        let _ = cancel.run_until_cancelled(tokio::time::timeout(PATIENCE, synced)).await;
        let reads = READS + READ.saturating_mul(u32::try_from(self.checks.len()).unwrap_or(u32::MAX));
        let target = self.target.until(tokio::time::Instant::now() + reads);
        let mut health = Health::default();
        for check in &self.checks {
            let state = match self.watched(check) {
                Some(state) => state,
                None if cancel.is_cancelled() => check.state(Status::Unknown, String::new()),
                None => {
                    health.polled |= !self.is_followed(check);
                    self.read(&target, check).await
                }
            };
            if state.status == Status::InProgress && runs_pods(&check.id) && !cancel.is_cancelled() {
                health.polled = true;
                health.states.push(self.judge_pods(&target, state).await);
            } else {
                health.states.push(state);
            }
        }
        health
    }

    /// Waits until the objects are healthy or stalled, `limit` has passed, or the pass is cancelled;
    /// answers the last state. Meant for short waits only: it holds its caller.
    pub async fn settle(&self, fail_fast: bool, limit: Duration, cancel: &CancellationToken) -> Health {
        let deadline = tokio::time::Instant::now() + limit;
        let mut signals = self.target.cluster.signals();
        loop {
            let health = self.observe(cancel).await;
            let now = tokio::time::Instant::now();
            let done = health.outlook(fail_fast) != Outlook::Waiting;
            if done || cancel.is_cancelled() || now >= deadline {
                return health;
            }
            let pause = if health.polled { Duration::from_secs(2) } else { deadline - now };
            let until = deadline.min(now + pause);
            let _ = cancel.run_until_cancelled(tokio::time::timeout_at(until, self.stir(&mut signals))).await;
        }
    }

    /// Waits for a signal about one of the objects.
    async fn stir(&self, signals: &mut tokio::sync::broadcast::Receiver<crate::Signal>) {
        use tokio::sync::broadcast::error::RecvError;
        loop {
            match signals.recv().await {
                Ok(crate::Signal::Object { id, .. }) => {
                    if self.checks.iter().any(|check| check.id == id) {
                        return;
                    }
                }
                Ok(crate::Signal::Kind { .. }) => {}
                Err(RecvError::Lagged(_)) => return,
                Err(RecvError::Closed) => std::future::pending().await,
            }
        }
    }

    /// The state by what watches know; `None` when they cannot tell.
    fn watched(&self, check: &Check) -> Option<State> {
        let watches = &self.target.cluster.inner.watches;
        let id = &check.id;
        let Some(seen) = watches.known(id) else {
            // An owned object may have lost its labels, so absence is only sure for a named watch.
            let absent = !check.owned && self.may_see_all() && watches.is_synced(&Scope::named(id));
            return absent.then(|| check.absent());
        };
        if !self.may_see_all() && seen.owner.as_deref() != Some(&self.owner) {
            return None;
        }
        if seen.deleting {
            return Some(check.state(Status::Terminating, "Resource scheduled for deletion".into()));
        }
        if self.rules.covers(&id.group, &id.kind) {
            let object = watches.object(id)?;
            return Some(self.judge(check, &object));
        }
        if is_always_current(&id.group, &id.kind) {
            return Some(check.state(Status::Current, "Resource is current".into()));
        }
        let (status, message) = watches.health(id)?;
        Some(check.state(status, message))
    }

    /// Whether the target may see whatever the watches see. A tenant may not: neither that an object
    /// of others exists nor, by a rule of his own, what is in it.
    fn may_see_all(&self) -> bool {
        self.target.who == Identity::Own
    }

    /// Whether a watch signals when the object, which had to be read, changes.
    fn is_followed(&self, check: &Check) -> bool {
        let (watches, id) = (&self.target.cluster.inner.watches, &check.id);
        let hidden = is_secret(id) && self.rules.covers(&id.group, &id.kind);
        let named = !check.owned && watches.is_synced(&Scope::named(id));
        !hidden && (named || watches.known(id).is_some())
    }

    fn judge(&self, check: &Check, object: &Value) -> State {
        match self.rules.judge(object) {
            Some(Ok(Ruled::Current)) => check.state(Status::Current, String::new()),
            Some(Ok(Ruled::InProgress)) => check.state(Status::InProgress, String::new()),
            Some(Ok(Ruled::Failed)) => check.state(Status::Failed, String::new()),
            Some(Err(error)) => {
                State { error: Some(error.to_string()), ..check.state(Status::Unknown, String::new()) }
            }
            None => {
                let (status, message) = builtin(object);
                check.state(status, message)
            }
        }
    }

    /// A set of pods that is on its way has failed when one of its pods has. Pods carry no labels of
    /// ours, so they are read, but only while the set is on its way.
    async fn judge_pods(&self, target: &Target, state: State) -> State {
        let Ok(pods) = self.pods(target, &state.id).await else {
            return state;
        };
        let owner = Judged { status: state.status, message: state.message };
        let judged = judge_with_pods(owner, &pods, Timestamp::now());
        State { status: judged.status, message: judged.message, ..state }
    }

    async fn pods(&self, target: &Target, id: &ObjectId) -> Result<Vec<Value>, Failure> {
        let Some(object) = self.target.cluster.inner.watches.object(id) else {
            return Ok(Vec::new());
        };
        let labels = object.pointer("/spec/selector/matchLabels").and_then(Value::as_object);
        let pairs: Vec<String> = labels
            .into_iter()
            .flatten()
            .filter_map(|(key, value)| Some(format!("{key}={}", value.as_str()?)))
            .collect();
        if pairs.is_empty() {
            return Ok(Vec::new());
        }
        let resource = target.in_time(target.cluster.resource("", None, "Pod")).await?;
        let selector = escape(&pairs.join(","));
        let path =
            format!("{}?labelSelector={selector}&limit={MOST_PODS}", resource.collection(&id.namespace)?);
        let mut answer = target.send(&Call::get(path, JSON)).await?;
        let items = answer.body.get_mut("items").and_then(Value::as_array_mut).map(std::mem::take);
        let mut pods = items.unwrap_or_default();
        for pod in &mut pods {
            // Items of lists do not say what they are.
            if let Some(fields) = pod.as_object_mut() {
                fields.insert("apiVersion".to_owned(), Value::from("v1"));
                fields.insert("kind".to_owned(), Value::from("Pod"));
            }
        }
        Ok(pods)
    }

    async fn read(&self, target: &Target, check: &Check) -> State {
        match target.get(&check.id).await {
            Ok(Some(object)) if is_terminating(&object) => {
                check.state(Status::Terminating, "Resource scheduled for deletion".into())
            }
            Ok(Some(object)) => self.judge(check, &object),
            Ok(None) => check.absent(),
            Err(failure) => {
                State { error: Some(failure.to_string()), ..check.state(Status::Unknown, String::new()) }
            }
        }
    }
}

impl Check {
    fn state(&self, status: Status, message: String) -> State {
        State { id: self.id.clone(), status, message, error: None }
    }

    fn absent(&self) -> State {
        if self.vanishes {
            self.state(Status::Current, "Job was removed after it finished".into())
        } else {
            self.state(Status::NotFound, "Resource not found".into())
        }
    }
}

impl Target {
    /// Reads a whole object; `None` when it or its kind does not exist.
    pub(crate) async fn get(&self, id: &ObjectId) -> Result<Option<Value>, Failure> {
        let resource = match self.in_time(self.cluster.resource(&id.group, None, &id.kind)).await {
            Ok(resource) => resource,
            Err(Failure::NoMatch { .. }) => return Ok(None),
            Err(failure) => return Err(failure),
        };
        let path = resource.object(&id.namespace, &id.name)?;
        match self.send(&Call::get(path, JSON)).await {
            Ok(answer) => Ok(Some(answer.body)),
            Err(failure) if failure.is_not_found() => Ok(None),
            Err(failure) => Err(failure),
        }
    }
}

fn is_terminating(object: &Value) -> bool {
    object.pointer("/metadata/deletionTimestamp").is_some_and(|at| !at.is_null())
}

fn is_secret(id: &ObjectId) -> bool {
    id.group.is_empty() && id.kind == "Secret"
}

fn runs_pods(id: &ObjectId) -> bool {
    id.group == "apps" && matches!(id.kind.as_str(), "StatefulSet" | "ReplicaSet")
}

/// Kinds that are current as soon as they exist, so that nothing but metadata is read of them.
fn is_always_current(group: &str, kind: &str) -> bool {
    matches!(
        (group, kind),
        ("", "ConfigMap" | "Secret" | "ServiceAccount" | "Endpoints" | "LimitRange")
            | ("rbac.authorization.k8s.io", "Role" | "RoleBinding" | "ClusterRole" | "ClusterRoleBinding")
            | ("batch", "CronJob")
            | ("policy", "PodDisruptionBudget")
    )
}

/// The health of an object by the rules for built-in kinds and common conditions.
pub(crate) fn builtin(object: &Value) -> (Status, String) {
    let health = judge(object, Timestamp::now());
    (health.status, health.message)
}

/// Drops what no rule reads and what must not be kept.
pub(crate) fn project(object: &mut Value) {
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
        if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
            annotations.remove("kubectl.kubernetes.io/last-applied-configuration");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn health(states: &[(&str, Status, Option<&str>)]) -> Health {
        let state = |&(name, status, error): &(&str, Status, Option<&str>)| State {
            id: ObjectId {
                group: "apps".into(),
                kind: "Deployment".into(),
                namespace: "team".into(),
                name: name.into(),
            },
            status,
            message: String::new(),
            error: error.map(str::to_owned),
        };
        Health { states: states.iter().map(state).collect(), polled: false }
    }

    #[test]
    fn the_outlook_is_that_of_flux() {
        use Status::{Current, Failed, InProgress, NotFound};
        let stalled = |names: &[&str]| {
            let texts: Vec<_> =
                names.iter().map(|name| format!("Deployment/team/{name} status: 'Failed'")).collect();
            Outlook::Stalled(format!("failed early due to stalled resources: [{}]", texts.join(", ")))
        };
        let (a, b) = (("a", Failed, None), ("b", Failed, None));
        for (states, fail_fast, expected) in [
            (vec![], true, Outlook::Healthy),
            (vec![("a", Current, None)], true, Outlook::Healthy),
            (vec![("a", Current, None), ("b", InProgress, None)], true, Outlook::Waiting),
            (vec![("a", NotFound, None)], true, Outlook::Waiting),
            (vec![a, ("b", InProgress, None)], true, stalled(&["a"])),
            (vec![a, ("b", InProgress, None)], false, Outlook::Waiting),
            (vec![a, b, ("c", Current, None)], false, stalled(&["a", "b"])),
        ] {
            assert_eq!(health(&states).outlook(fail_fast), expected, "{states:?} {fail_fast}");
        }
    }

    #[test]
    fn a_timeout_names_everything_that_is_not_current() {
        let health = health(&[
            ("a", Status::InProgress, None),
            ("b", Status::Current, None),
            ("c", Status::Failed, None),
            ("d", Status::Unknown, None),
            ("e", Status::Unknown, Some("no such key: x")),
        ]);
        assert_eq!(
            health.timeout(),
            "timeout waiting for: [Deployment/team/a status: 'InProgress', Deployment/team/c status: 'Failed', \
             can't determine status for Deployment/team/d, \
             Deployment/team/e status: 'Unknown': no such key: x]"
        );
    }
}
