//! Whether the cluster's own identity may list and watch a kind. It is asked before it is tried: a
//! request that is denied stands in audit logs as an attempt.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::Method;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::kinds::Resource;
use crate::transport::{Call, JSON, Transport};
use crate::{Failure, Identity};

const REVIEWS: &str = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
/// How long a right that was given is believed in; one that is taken away shows as a refusal before.
const GIVEN: Duration = Duration::from_secs(600);
/// How long a right that was missing is not asked for again.
const MISSING: Duration = Duration::from_secs(60);
/// Answers kept at most.
const MOST: usize = 8192;

/// What is asked about: plural resource, group, and one object's namespace and name, or a namespace alone.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Question {
    group: String,
    resource: String,
    only: Option<(String, String)>,
}

#[derive(Clone, Copy)]
struct Answer {
    allowed: bool,
    until: Instant,
}

impl Answer {
    fn new(allowed: bool) -> Self {
        Self { allowed, until: Instant::now() + if allowed { GIVEN } else { MISSING } }
    }

    fn current(self) -> Option<bool> {
        (Instant::now() < self.until).then_some(self.allowed)
    }
}

/// Remembers the server's answers for a while. Cheap to clone; all clones share them.
#[derive(Clone)]
pub(crate) struct Access {
    transport: Transport,
    /// Whether everything is allowed: one question instead of two for each kind.
    everything: Arc<tokio::sync::Mutex<Option<Answer>>>,
    answers: Arc<Mutex<HashMap<Question, Answer>>>,
    /// What was complained about.
    told: Arc<Mutex<HashSet<(String, String)>>>,
}

impl Access {
    pub(crate) fn new(transport: Transport) -> Self {
        Self { transport, everything: Arc::default(), answers: Arc::default(), told: Arc::default() }
    }

    /// Whether all objects of a kind, or only the one of this namespace and name, or without a name those of
    /// this namespace, may be listed and watched. A server that does not answer such questions is taken to allow it.
    pub(crate) async fn may_watch(
        &self,
        resource: &Resource,
        only: Option<&(String, String)>,
    ) -> Result<bool, Failure> {
        if self.may_everything().await? {
            return Ok(true);
        }
        let question = Question {
            group: resource.group.clone(),
            resource: resource.plural.clone(),
            only: only.cloned(),
        };
        if let Some(allowed) = self.remembered(&question) {
            return Ok(allowed);
        }
        let allowed = self.ask("list", &question).await? && self.ask("watch", &question).await?;
        if let Ok(mut answers) = self.answers.lock() {
            if answers.len() >= MOST {
                answers.clear();
            }
            answers.insert(question, Answer::new(allowed));
        }
        Ok(allowed)
    }

    /// Forgets what was allowed: the server refused it all the same.
    pub(crate) async fn forget(&self) {
        *self.everything.lock().await = Some(Answer::new(false));
        if let Ok(mut answers) = self.answers.lock() {
            answers.clear();
        }
    }

    /// Says once for each kind why its drift is not seen, and what would help.
    pub(crate) fn complain(&self, resource: &Resource) {
        let Resource { group, plural, .. } = resource;
        let new = self.told.lock().is_ok_and(|mut told| told.insert((group.clone(), plural.clone())));
        if new {
            tracing::warn!(
                group,
                resource = plural,
                "the controller's own account may not list and watch these objects in all namespaces: where it may \
                 not in theirs either, what others change in them is seen and repaired only once per interval; to \
                 have it seen at once, grant the verbs list and watch on this resource to the controller's \
                 ServiceAccount by a ClusterRole, or by a Role in each namespace"
            );
        }
    }

    /// It is allowed now, so to lose it again is worth a word.
    pub(crate) fn content(&self, resource: &Resource) {
        if let Ok(mut told) = self.told.lock() {
            told.remove(&(resource.group.clone(), resource.plural.clone()));
        }
    }

    async fn may_everything(&self) -> Result<bool, Failure> {
        let mut everything = self.everything.lock().await;
        if let Some(allowed) = everything.and_then(Answer::current) {
            return Ok(allowed);
        }
        let all = Question { group: "*".to_owned(), resource: "*".to_owned(), only: None };
        let allowed = self.ask("*", &all).await?;
        *everything = Some(Answer::new(allowed));
        Ok(allowed)
    }

    fn remembered(&self, question: &Question) -> Option<bool> {
        self.answers.lock().ok()?.get(question).copied().and_then(Answer::current)
    }

    async fn ask(&self, verb: &str, question: &Question) -> Result<bool, Failure> {
        let (namespace, name) = question.only.clone().unwrap_or_default();
        let review = json!({
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": {
                "verb": verb, "group": question.group, "resource": question.resource,
                "namespace": namespace, "name": name,
            }},
        });
        let body = review.to_string().into_bytes();
        let call = Call {
            method: Method::POST,
            path: REVIEWS.to_owned(),
            accept: JSON,
            content: Some((JSON, &body)),
        };
        match self.transport.send(&Identity::Own, &call).await {
            Ok(answer) => Ok(answer.body.pointer("/status/allowed").and_then(Value::as_bool) == Some(true)),
            Err(failure) if matches!(failure.code(), Some(401 | 403 | 404 | 405)) => Ok(true),
            Err(failure) => Err(failure),
        }
    }
}
