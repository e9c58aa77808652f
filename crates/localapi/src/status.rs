//! Refusals, in the exact shape a Kubernetes API server gives them.

use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde_json::{Map, Value, json};

/// What the refusal is about: plural resource (or kind), group and name.
#[derive(Clone, Debug, Default)]
pub(crate) struct Subject {
    pub(crate) group: String,
    pub(crate) resource: String,
    pub(crate) kind: String,
    pub(crate) name: String,
}

impl Subject {
    fn qualified(&self, word: &str) -> String {
        if self.group.is_empty() { word.to_owned() } else { format!("{word}.{}", self.group) }
    }
}

/// One field-level reason inside a refusal.
#[derive(Clone, Debug)]
pub(crate) struct Cause {
    pub(crate) reason: &'static str,
    pub(crate) message: String,
    pub(crate) field: String,
}

impl Cause {
    pub(crate) fn new(reason: &'static str, field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { reason, message: message.into(), field: field.into() }
    }

    pub(crate) fn required(field: impl Into<String>, detail: &str) -> Self {
        let colon = if detail.is_empty() { "" } else { ": " };
        Self::new("FieldValueRequired", field, format!("Required value{colon}{detail}"))
    }

    pub(crate) fn invalid(field: impl Into<String>, value: &Value, detail: &str) -> Self {
        Self::new("FieldValueInvalid", field, format!("Invalid value: {}: {detail}", shown(value)))
    }

    /// `known` are the values there are, in the order in which the server tells them.
    pub(crate) fn unsupported(field: impl Into<String>, value: &Value, known: &[&str]) -> Self {
        let known: Vec<String> = known.iter().map(|word| format!("{word:?}")).collect();
        let text = format!("Unsupported value: {value}: supported values: {}", known.join(", "));
        Self::new("FieldValueNotSupported", field, text)
    }

    pub(crate) fn duplicate(field: impl Into<String>, value: &Value) -> Self {
        Self::new("FieldValueDuplicate", field, format!("Duplicate value: {value}"))
    }

    pub(crate) fn not_found(field: impl Into<String>, value: &Value) -> Self {
        Self::new("FieldValueNotFound", field, format!("Not found: {value}"))
    }

    pub(crate) fn forbidden(field: impl Into<String>, detail: &str) -> Self {
        Self::new("FieldValueForbidden", field, format!("Forbidden: {detail}"))
    }
}

/// A value as it stands in a field error: scalars as JSON, the rest as JSON too.
fn shown(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        other => other.to_string(),
    }
}

/// A refused request; turns into a `Status` body.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Refusal {
    pub(crate) code: u16,
    pub(crate) reason: &'static str,
    pub(crate) message: String,
    pub(crate) details: Option<Value>,
}

fn details(subject: &Subject, word: &str, causes: &[Cause]) -> Value {
    let mut map = Map::new();
    if !subject.name.is_empty() {
        map.insert("name".into(), json!(subject.name));
    }
    if !subject.group.is_empty() {
        map.insert("group".into(), json!(subject.group));
    }
    if !word.is_empty() {
        map.insert("kind".into(), json!(word));
    }
    if !causes.is_empty() {
        let list: Vec<Value> = causes
            .iter()
            .map(|cause| {
                let mut entry = Map::new();
                entry.insert("reason".into(), json!(cause.reason));
                entry.insert("message".into(), json!(cause.message));
                if !cause.field.is_empty() {
                    entry.insert("field".into(), json!(cause.field));
                }
                Value::Object(entry)
            })
            .collect();
        map.insert("causes".into(), Value::Array(list));
    }
    Value::Object(map)
}

impl Refusal {
    fn new(code: u16, reason: &'static str, message: String, details: Option<Value>) -> Self {
        Self { code, reason, message, details }
    }

    pub(crate) fn not_found(subject: &Subject) -> Self {
        let message = format!("{} \"{}\" not found", subject.qualified(&subject.resource), subject.name);
        Self::new(404, "NotFound", message, Some(details(subject, &subject.resource, &[])))
    }

    /// The path names no resource that is served.
    pub(crate) fn no_such_path() -> Self {
        Self::new(404, "NotFound", "the server could not find the requested resource".into(), Some(json!({})))
    }

    pub(crate) fn already_exists(subject: &Subject) -> Self {
        let message = format!("{} \"{}\" already exists", subject.qualified(&subject.resource), subject.name);
        Self::new(409, "AlreadyExists", message, Some(details(subject, &subject.resource, &[])))
    }

    pub(crate) fn conflict(subject: &Subject, why: &str) -> Self {
        let what = subject.qualified(&subject.resource);
        let message = format!("Operation cannot be fulfilled on {what} \"{}\": {why}", subject.name);
        Self::new(409, "Conflict", message, Some(details(subject, &subject.resource, &[])))
    }

    /// The object was changed since it was read.
    pub(crate) fn stale(subject: &Subject) -> Self {
        Self::conflict(
            subject,
            "the object has been modified; please apply your changes to the latest version and try again",
        )
    }

    /// A server-side apply met fields owned by other managers.
    pub(crate) fn apply_conflict(causes: Vec<(String, Vec<String>)>) -> Self {
        let count: usize = causes.iter().map(|(_, fields)| fields.len()).sum();
        let mut parts = Vec::new();
        let mut list = Vec::new();
        for (who, fields) in &causes {
            parts.push(match fields.as_slice() {
                [one] if count == 1 => format!("conflict with {who}: {one}"),
                many => format!("conflicts with {who}:\n- {}", many.join("\n- ")),
            });
            for field in fields {
                list.push(json!({"reason": "FieldManagerConflict", "message": format!("conflict with {who}"), "field": field}));
            }
        }
        let noun = if count == 1 { "conflict" } else { "conflicts" };
        let message = format!("Apply failed with {count} {noun}: {}", parts.join("\n"));
        Self::new(409, "Conflict", message, Some(json!({"causes": list})))
    }

    /// As [`Refusal::invalid`], naming the resource instead of the kind.
    pub(crate) fn invalid_resource(subject: &Subject, causes: Vec<Cause>) -> Self {
        Self::invalid(&Subject { kind: subject.resource.clone(), ..subject.clone() }, causes)
    }

    pub(crate) fn invalid(subject: &Subject, causes: Vec<Cause>) -> Self {
        let lines: Vec<String> = causes
            .iter()
            .map(|cause| {
                if cause.field.is_empty() {
                    cause.message.clone()
                } else {
                    format!("{}: {}", cause.field, cause.message)
                }
            })
            .collect();
        let mut lines = lines;
        lines.dedup();
        let text = match lines.as_slice() {
            [one] => one.clone(),
            many => format!("[{}]", many.join(", ")),
        };
        let what = subject.qualified(&subject.kind);
        let message = format!("{what} \"{}\" is invalid: {text}", subject.name);
        Self::new(422, "Invalid", message, Some(details(subject, &subject.kind, &causes)))
    }

    pub(crate) fn forbidden(subject: &Subject, why: &str) -> Self {
        Self::forbidden_for(subject, why, &[])
    }

    pub(crate) fn forbidden_for(subject: &Subject, why: &str, causes: &[Cause]) -> Self {
        let what = subject.qualified(&subject.resource);
        let message = if subject.name.is_empty() {
            format!("{what} is forbidden: {why}")
        } else {
            format!("{what} \"{}\" is forbidden: {why}", subject.name)
        };
        Self::new(403, "Forbidden", message, Some(details(subject, &subject.resource, causes)))
    }

    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "BadRequest", message.into(), None)
    }

    pub(crate) fn unauthorized() -> Self {
        Self::new(401, "Unauthorized", "Unauthorized".into(), None)
    }

    pub(crate) fn method_not_allowed() -> Self {
        let text = "the server does not allow this method on the requested resource";
        Self::new(405, "MethodNotAllowed", text.into(), Some(json!({})))
    }

    pub(crate) fn unsupported_media(builtin: bool) -> Self {
        if !builtin {
            let text = "the body of the request was in an unknown format - accepted media types include: application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml";
            return Self::new(415, "UnsupportedMediaType", text.into(), None);
        }
        Self::new(415, "UnsupportedMediaType", "415: Unsupported Media Type".into(), Some(json!({})))
    }

    /// Bodies are read as JSON only.
    pub(crate) fn json_only() -> Self {
        let text = "the body of the request was in an unknown format - accepted media types include: application/json";
        Self::new(415, "UnsupportedMediaType", text.into(), None)
    }

    /// The delete preconditions do not hold; this one names the kind, not the resource.
    pub(crate) fn failed_precondition(subject: &Subject, why: &str) -> Self {
        let message = format!(
            "Operation cannot be fulfilled on {} \"{}\": {why}",
            subject.qualified(&subject.kind),
            subject.name
        );
        Self::new(409, "Conflict", message, Some(details(subject, &subject.kind, &[])))
    }

    /// An error the server did not foresee: code 500 without a reason.
    pub(crate) fn unforeseen(message: impl Into<String>) -> Self {
        Self::new(500, "", message.into(), None)
    }

    /// The group or version is not known at all; answered in plain text.
    pub(crate) fn no_such_group() -> Self {
        Self::new(404, "", String::new(), None)
    }

    pub(crate) fn not_acceptable() -> Self {
        let text = "406: Not Acceptable\n\nAvailable representations: application/json, application/yaml, application/vnd.kubernetes.protobuf";
        Self::new(406, "NotAcceptable", text.into(), Some(json!({})))
    }

    pub(crate) fn too_large() -> Self {
        Self::new(413, "RequestEntityTooLarge", "Request entity too large: limit is 3145728".into(), None)
    }

    pub(crate) fn expired(message: impl Into<String>) -> Self {
        Self::new(410, "Expired", message.into(), None)
    }

    /// List options that do not go together.
    pub(crate) fn invalid_options(field: &str, why: &str) -> Self {
        let subject =
            Subject { group: "meta.k8s.io".into(), kind: "ListOptions".into(), ..Subject::default() };
        Self::invalid(&subject, vec![Cause::forbidden(field, why)])
    }

    /// A version that has not been reached yet.
    pub(crate) fn too_new(asked: u64, current: u64) -> Self {
        let text = format!("Timeout: Too large resource version: {asked}, current: {current}");
        let causes = json!([{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}]);
        Self::new(504, "Timeout", text, Some(json!({"causes": causes, "retryAfterSeconds": 1})))
    }

    /// A patch that names a path which is not there.
    pub(crate) fn unprocessable(message: impl Into<String>) -> Self {
        Self::new(422, "Invalid", message.into(), Some(json!({})))
    }

    /// The same refusal of a resource of the core group that was asked for under another one.
    pub(crate) fn in_group(mut self, resource: &str, group: &str) -> Self {
        self.message = self.message.replacen(&format!("{resource} \""), &format!("{resource}.{group} \""), 1);
        if let Some(Value::Object(details)) = &mut self.details {
            details.insert("group".into(), json!(group));
        }
        self
    }

    /// The `Status` object, as sent in bodies and in watch ERROR events.
    pub(crate) fn body(&self) -> Value {
        let mut body = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": self.message, "reason": self.reason, "code": self.code,
        });
        let map = crate::object::as_map(&mut body);
        if let Some(details) = &self.details {
            map.insert("details".into(), details.clone());
        }
        if self.reason.is_empty() {
            map.remove("reason");
        }
        body
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let code = StatusCode::from_u16(self.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        if self.code == 404 && self.message.is_empty() {
            return (code, "404 page not found\n").into_response();
        }
        (code, axum::Json(self.body())).into_response()
    }
}
