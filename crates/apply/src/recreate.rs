//! Replacing an object whose immutable fields changed, without losing it to a mistake.

use std::sync::LazyLock;

use http::Method;
use regex::Regex;
use serde_json::{Value, json};

use crate::case::{Case, StepFailure, refused};
use crate::kinds::Resource;
use crate::transport::{Call, JSON, escape};
use crate::watch::Write;
use crate::{Failure, Fate, Missing, ObjectId, Seen, Step, Target};

/// How API servers and webhooks say that a field cannot change.
static IMMUTABLE: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(
        r"(?i)immutable|updates? to .*(is|are) forbidden|(cannot|can not|can't|may not|must not) (be )?(change|update|modif)",
    )
    .ok()
});

/// Whether a refusal says that a field cannot change, rather than that a value is wrong.
pub(crate) fn is_immutable(failure: &Failure) -> bool {
    let Some(refusal) = failure.refusal() else {
        return false;
    };
    let says = |text: &str| IMMUTABLE.as_ref().is_some_and(|regex| regex.is_match(text));
    let client_error = (400..500).contains(&refusal.code);
    client_error && (refusal.causes.iter().any(|cause| says(&cause.message)) || says(&refusal.message))
}

impl Target {
    /// Deletes the object and applies it again, if the refusal is about immutability and the server
    /// would accept the object as a new one. An object that is slow to go is parked.
    pub(crate) async fn recreate(
        &self,
        case: &Case<'_>,
        seen: &Seen,
        body: &[u8],
        refusal: Failure,
        write: Write,
    ) -> Result<Fate, StepFailure> {
        if !is_immutable(&refusal) {
            return Err(StepFailure(Step::DryRun, refusal));
        }
        if seen.deleting {
            return Ok(parked(case, refusal));
        }
        if !self.is_creatable(case, body).await {
            return Err(StepFailure(Step::DryRun, refusal));
        }
        let removed = self.remove(&case.id, &case.resource, &seen.uid).await;
        if !removed.map_err(|failure| StepFailure(Step::Recreate, failure))? {
            return Ok(parked(case, refusal));
        }
        let answer = self.send_apply(case, body, false).await;
        let answer = answer.map_err(|failure| StepFailure(Step::Apply, failure))?;
        self.understand(case, Some(seen), answer, write)
    }

    /// Whether the server would accept the object if it were not there: a rehearsed creation is
    /// validated before its name is found to be taken.
    async fn is_creatable(&self, case: &Case<'_>, body: &[u8]) -> bool {
        let Ok(path) = case.resource.collection(&case.id.namespace) else {
            return false;
        };
        let manager = escape(self.cluster.inner.settings.dialect.manager);
        let call = Call {
            method: Method::POST,
            path: format!("{path}?dryRun=All&fieldManager={manager}"),
            accept: JSON,
            content: Some((JSON, body)),
        };
        match self.send(&call).await {
            Ok(_) => true,
            Err(failure) => failure.code() == Some(409) && failure.reason() == "AlreadyExists",
        }
    }

    /// Deletes exactly the object with this UID; answers whether it is gone already.
    pub(crate) async fn remove(
        &self,
        id: &ObjectId,
        resource: &Resource,
        uid: &str,
    ) -> Result<bool, Failure> {
        let options = json!({
            "kind": "DeleteOptions",
            "apiVersion": "v1",
            "propagationPolicy": "Background",
            "preconditions": {"uid": uid},
        });
        let body = options.to_string().into_bytes();
        let call = Call {
            method: Method::DELETE,
            path: resource.object(&id.namespace, &id.name)?,
            accept: JSON,
            content: Some((JSON, &body)),
        };
        match self.send(&call).await {
            Ok(answer) => Ok(answer.body.get("kind").and_then(Value::as_str) == Some("Status")
                || answer.body.pointer("/metadata/deletionTimestamp").is_none()),
            Err(failure) if failure.is_not_found() => Ok(true),
            Err(failure) => Err(failure),
        }
    }
}

fn parked(case: &Case<'_>, cause: Failure) -> Fate {
    let error = refused(case.desired, &case.id, Step::RecreateWait, cause);
    Fate::Parked { on: Missing::Termination(case.id.clone()), error }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Cause, Refusal};

    fn refusal(code: u16, message: &str, causes: &[&str]) -> Failure {
        Failure::Refused(Box::new(Refusal {
            code,
            reason: "Invalid".into(),
            message: message.into(),
            about: String::new(),
            causes: causes
                .iter()
                .map(|&message| Cause { message: message.into(), ..Cause::default() })
                .collect(),
            retry_after: None,
        }))
    }

    #[test]
    fn only_words_about_change_count_as_immutability() {
        for (text, expected) in [
            ("data: Forbidden: field is immutable when `immutable` is set", true),
            ("spec.selector: Invalid value: {}: field is immutable", true),
            (
                "spec: Forbidden: updates to statefulset spec for fields other than 'replicas' are forbidden",
                true,
            ),
            ("roleRef: Invalid value: {}: cannot change roleRef", true),
            ("spec.clusterIPs[0]: Invalid value: []: may not change once set", true),
            ("provisioner: Forbidden: updates to provisioner are forbidden.", true),
            ("spec: Forbidden: spec is immutable after creation except resources.requests", true),
            ("spec.replicas: Invalid value: -1: must be greater than or equal to 0", false),
            ("spec.template.spec.containers: Required value", false),
        ] {
            assert_eq!(is_immutable(&refusal(422, text, &[])), expected, "{text}");
            assert_eq!(is_immutable(&refusal(422, "invalid", &[text])), expected, "{text}");
        }
        assert!(!is_immutable(&refusal(500, "field is immutable", &[])));
        assert!(!is_immutable(&Failure::Transport("field is immutable".into())));
    }
}
