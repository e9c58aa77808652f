//! Waiting for kinds that are not served yet: whoever registers them says when they are.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::StreamExt;
use kube::api::{Api, ApiResource, DynamicObject};
use kube::core::PartialObjectMeta;
use kube::runtime::watcher::{self, Event, watcher};
use serde_json::Value;
use sluice_patience::{Pause, patient};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::{Shared, Signal};
use crate::kinds::Resource;
use crate::transport::{Call, JSON};
use crate::{Failure, Identity};

/// Kinds waited for at most.
const MOST: usize = 4096;
/// Discovery, and the server's other parts, may follow a registration's own word by a moment: the pauses in
/// which they are expected to, and how long.
const LAG_MS: [u64; 7] = [25, 50, 100, 200, 400, 800, 1600];
const LAG: Duration = Duration::from_secs(5);
/// Where registrations cannot be watched, and against lost events, discovery is read this often.
const SAFETY_NET: Duration = Duration::from_secs(60);
/// When it is tried again to watch registrations.
const PAUSE: Duration = Duration::from_secs(60);
/// The shortest and the longest pause after a failure that may pass.
const SOON: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(15)];

/// A kind of object that makes others served.
struct Registrar {
    group: &'static str,
    kind: &'static str,
    /// The condition that says so.
    condition: &'static str,
}

const DEFINITIONS: Registrar =
    Registrar { group: "apiextensions.k8s.io", kind: "CustomResourceDefinition", condition: "Established" };
const AGGREGATED: Registrar =
    Registrar { group: "apiregistration.k8s.io", kind: "APIService", condition: "Available" };

/// The kinds that are waited for. Where they are too many, the one that was asked for the longest ago goes:
/// who waits for it asks again.
#[derive(Default)]
struct Wanted {
    /// By group and kind: how many asked before the last who did.
    asked: HashMap<(String, String), u64>,
    count: u64,
}

impl Wanted {
    /// True when nobody waited for it before.
    fn ask(&mut self, group: &str, kind: &str) -> bool {
        self.count += 1;
        if self.asked.insert((group.to_owned(), kind.to_owned()), self.count).is_some() {
            return false;
        }
        while self.asked.len() > MOST {
            let oldest = self.asked.iter().min_by_key(|(_, asked)| **asked).map(|(name, _)| name.clone());
            let Some(oldest) = oldest else { break };
            self.asked.remove(&oldest);
        }
        true
    }
}

pub(super) struct KindWatch {
    shared: Shared,
    wanted: Mutex<Wanted>,
    /// Rung when discovery may tell something new.
    moved: Notify,
    /// Groups whose registration said that they are served, and when.
    promised: Mutex<HashMap<String, Instant>>,
    started: AtomicBool,
}

impl KindWatch {
    pub(super) fn new(shared: Shared) -> Self {
        Self {
            shared,
            wanted: Mutex::default(),
            moved: Notify::new(),
            promised: Mutex::default(),
            started: AtomicBool::new(false),
        }
    }

    pub(super) fn add(self: &Arc<Self>, group: &str, kind: &str) {
        let new = self.wanted.lock().is_ok_and(|mut wanted| wanted.ask(group, kind));
        if !self.started.swap(true, Ordering::AcqRel) {
            let stop = &self.shared.stop;
            for registrar in [DEFINITIONS, AGGREGATED] {
                let watcher = Arc::clone(self);
                tokio::spawn(
                    stop.clone().run_until_cancelled_owned(async move { watcher.watch(&registrar).await }),
                );
            }
            let checker = Arc::clone(self);
            tokio::spawn(stop.clone().run_until_cancelled_owned(async move { checker.check().await }));
        }
        if new {
            // The kind may have come between the look that missed it and now.
            self.moved.notify_one();
        }
    }

    async fn watch(&self, registrar: &Registrar) {
        let mut soon = Pause::between(SOON[0], SOON[1]);
        loop {
            match self.watchable(registrar).await {
                Ok(Some(resource)) => {
                    if self.follow(registrar, &resource).await {
                        soon.reset();
                    }
                    soon.pass().await;
                }
                Ok(None) => tokio::time::sleep(PAUSE).await,
                Err(failure) => {
                    tracing::debug!(%failure, kind = registrar.kind, "cannot be watched yet");
                    soon.pass().await;
                }
            }
        }
    }

    /// Where registrations are, if they are served here and may be watched.
    async fn watchable(&self, registrar: &Registrar) -> Result<Option<Arc<Resource>>, Failure> {
        let Shared { kinds, transport, access, .. } = &self.shared;
        let resource = match kinds.find(transport, registrar.group, None, registrar.kind).await {
            Ok(resource) => resource,
            Err(Failure::NoMatch { .. }) => return Ok(None),
            Err(failure) => return Err(failure),
        };
        if access.may_watch(&resource, None).await? {
            return Ok(Some(resource));
        }
        access.complain(&resource);
        Ok(None)
    }

    /// Watches registrations until that is refused; true when they could be seen before.
    async fn follow(&self, registrar: &Registrar, resource: &Resource) -> bool {
        let place = ApiResource {
            group: resource.group.clone(),
            version: resource.version.clone(),
            api_version: resource.api_version(),
            kind: resource.kind.clone(),
            plural: resource.plural.clone(),
        };
        let client = self.shared.transport.client().clone();
        let api: Api<PartialObjectMeta<DynamicObject>> = Api::all_with(client, &place);
        let mut events = patient(watcher(api, watcher::Config::default()));
        let mut listed = false;
        while let Some(event) = events.next().await {
            match event {
                Ok(Event::Delete(object)) => {
                    if let Some(group) = object.metadata.name.as_deref().and_then(group_of) {
                        self.withdraw(group);
                    }
                    self.shared.kinds.forget();
                }
                Ok(Event::InitDone) => {
                    listed = true;
                    self.moved.notify_one();
                }
                Ok(Event::Apply(object)) => {
                    if let Some(name) = object.metadata.name.as_deref() {
                        self.registered(registrar, resource, name).await;
                    }
                }
                Ok(Event::Init | Event::InitApply(_)) => {}
                Err(watcher::Error::InitialListFailed(kube::Error::Api(status)))
                    if matches!(status.code, 401 | 403) =>
                {
                    self.shared.access.forget().await;
                    break;
                }
                Err(error) => tracing::debug!(%error, kind = registrar.kind, "watch interrupted"),
            }
        }
        listed
    }

    /// A registration changed. If it is one that is waited for and says that it is in force, discovery is
    /// asked until it agrees.
    async fn registered(&self, registrar: &Registrar, resource: &Resource, name: &str) {
        let Some(group) = group_of(name) else { return };
        if !self.wanted().iter().any(|(wanted, _)| wanted == group) {
            // It may serve another version than before.
            self.shared.kinds.expire();
            return;
        }
        let Ok(path) = resource.object("", name) else { return };
        let Ok(answer) = self.shared.transport.send(&Identity::Own, &Call::get(path, JSON)).await else {
            self.moved.notify_one();
            return;
        };
        if is_in_force(&answer.body, registrar.condition) {
            if let Ok(mut promised) = self.promised.lock() {
                promised.insert(group.to_owned(), Instant::now());
            }
            self.moved.notify_one();
        }
    }

    fn withdraw(&self, group: &str) {
        if let Ok(mut promised) = self.promised.lock() {
            promised.remove(group);
        }
    }

    async fn check(&self) {
        loop {
            // Running out of time and being rung for mean the same: look.
            let _ = tokio::time::timeout(SAFETY_NET, self.moved.notified()).await;
            if self.wanted().is_empty() {
                continue;
            }
            self.announce().await;
            for pause in LAG_MS {
                if !self.is_due() {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(pause)).await;
                self.announce().await;
            }
        }
    }

    /// Whether something that is waited for was promised a moment ago. What is not promised is not expected
    /// either: its registration will tell.
    fn is_due(&self) -> bool {
        let Ok(mut promised) = self.promised.lock() else { return false };
        promised.retain(|_, since| since.elapsed() < LAG);
        self.wanted().iter().any(|(group, _)| promised.contains_key(group))
    }

    fn wanted(&self) -> Vec<(String, String)> {
        self.wanted.lock().map(|wanted| wanted.asked.keys().cloned().collect()).unwrap_or_default()
    }

    async fn announce(&self) {
        let Shared { kinds, transport, .. } = &self.shared;
        let wanted = self.wanted();
        let Some((group, kind)) = wanted.first() else {
            return;
        };
        // One look at discovery answers for all of them.
        if let Err(failure) = kinds.serves(transport, group, kind).await {
            tracing::debug!(%failure, "discovery failed");
            return;
        }
        for (group, kind) in wanted {
            if kinds.cached(&group, None, &kind).is_some() {
                if let Ok(mut wanted) = self.wanted.lock() {
                    wanted.asked.remove(&(group.clone(), kind.clone()));
                }
                let _ = self.shared.signals.send(Signal::Kind { group, kind });
            }
        }
    }
}

/// The group in the name of a registration: `widgets.example.org`, `v1.example.org`.
fn group_of(name: &str) -> Option<&str> {
    name.split_once('.').map(|(_, group)| group)
}

fn is_in_force(registration: &Value, condition: &str) -> bool {
    let conditions = registration.pointer("/status/conditions").and_then(Value::as_array);
    conditions.into_iter().flatten().any(|entry| {
        let has = |field: &str, text: &str| entry.get(field).and_then(Value::as_str) == Some(text);
        has("type", condition) && has("status", "True")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_that_never_come_give_way_to_those_asked_for_later() {
        let mut wanted = Wanted::default();
        for number in 0..MOST {
            assert!(wanted.ask("nowhere.example", &format!("Kind{number}")));
        }
        assert!(!wanted.ask("nowhere.example", "Kind0"), "it is waited for already");
        assert!(wanted.ask("example.org", "Widget"));
        assert_eq!(wanted.asked.len(), MOST);
        let waited =
            |group: &str, kind: &str| wanted.asked.contains_key(&(group.to_owned(), kind.to_owned()));
        assert!(waited("example.org", "Widget") && waited("nowhere.example", "Kind0"));
        assert!(!waited("nowhere.example", "Kind1"), "it was asked for the longest ago");
    }
}
