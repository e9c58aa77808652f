//! Access reviews and tokens: requests that are answered, never stored.

use std::sync::Arc;

use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::StatusCode;
use serde_json::{Value, json};

use crate::authorize::{Caller, Wish};
use crate::object::{self, fresh_uid, text};
use crate::request::Target;
use crate::server::{Shared, respond};
use crate::status::Refusal;

/// A token in the shape of a JWT, unsigned: clients look into the claims, nobody else verifies them.
pub(crate) fn token_for(user: &str) -> String {
    let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let expiry = jiff::Timestamp::now().as_second() + 3600;
    let claims = json!({"sub": user, "iss": "localapi", "exp": expiry, "jti": fresh_uid()});
    format!("{}.{}.{}", part(json!({"alg": "none"})), part(claims), URL_SAFE_NO_PAD.encode(fresh_uid()))
}

/// Answers a review, or `None` when the path is no review.
pub(crate) fn answer(
    shared: &Arc<Shared>,
    target: &Target,
    caller: &Caller,
    body: &Bytes,
) -> Option<Result<Response, Refusal>> {
    let status = match (target.group.as_str(), target.resource.as_str()) {
        ("authorization.k8s.io", "selfsubjectaccessreviews") => access,
        ("authorization.k8s.io", "subjectaccessreviews" | "localsubjectaccessreviews") => access,
        ("authorization.k8s.io", "selfsubjectrulesreviews") => rules,
        ("authentication.k8s.io", "tokenreviews") => token,
        ("authentication.k8s.io", "selfsubjectreviews") => whoami,
        _ => return None,
    };
    let mut review: Value = match serde_json::from_slice(body) {
        Ok(review) => review,
        Err(error) => return Some(Err(Refusal::bad_request(error.to_string()))),
    };
    let status = status(shared, caller, &review);
    object::as_map(&mut review).insert("status".into(), status);
    object::metadata(&mut review);
    Some(Ok(respond(StatusCode::CREATED, review.to_string().into_bytes(), &[])))
}

fn access(shared: &Arc<Shared>, caller: &Caller, review: &Value) -> Value {
    let who = match text(review, "/spec/user") {
        "" => caller.clone(),
        user => {
            let groups = review.pointer("/spec/groups").and_then(Value::as_array);
            let groups = groups.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect();
            Caller::named(user, groups)
        }
    };
    let part = |field: &str| text(review, &format!("/spec/resourceAttributes/{field}"));
    let wish = Wish {
        verb: part("verb"),
        group: part("group"),
        resource: part("resource"),
        subresource: part("subresource"),
        namespace: part("namespace"),
        name: part("name"),
    };
    let allowed =
        review.pointer("/spec/resourceAttributes").is_none() || shared.may(&shared.lock(), &who, &wish);
    json!({"allowed": allowed})
}

fn rules(_: &Arc<Shared>, _: &Caller, _: &Value) -> Value {
    json!({"incomplete": true, "nonResourceRules": [], "resourceRules": []})
}

fn token(shared: &Arc<Shared>, _: &Caller, review: &Value) -> Value {
    match shared.known_token(text(review, "/spec/token")) {
        Some(caller) => {
            json!({"authenticated": true, "user": {"username": caller.user, "groups": caller.groups}})
        }
        None => json!({"authenticated": false}),
    }
}

fn whoami(_: &Arc<Shared>, caller: &Caller, _: &Value) -> Value {
    json!({"userInfo": {"username": caller.user, "groups": caller.groups}})
}
