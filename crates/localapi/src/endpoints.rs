//! The verbs on resources.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::StatusCode;
use http::header::CONTENT_TYPE;
use serde_json::{Value, json};

use crate::authorize::Wish;
use crate::delete::{self, Deleted};
use crate::events;
use crate::object::{as_map, meta, text};
use crate::options;
use crate::patch::Patch;
use crate::present::jsonpath;
use crate::request;
use crate::select::Selector;
use crate::server::{Call, respond};
use crate::status::Refusal;
use crate::store::Key;
use crate::watch::Watch;
use crate::write::{Write, Written};

/// Answers a request for a resource that is served and allowed.
pub(crate) fn answer(call: Call, body: &Bytes) -> Result<Response, Refusal> {
    if call.target.group == events::GROUP {
        return carry_out(call, body).map_err(|refusal| refusal.in_group("events", events::GROUP));
    }
    carry_out(call, body)
}

fn carry_out(call: Call, body: &Bytes) -> Result<Response, Refusal> {
    options::check(&call)?;
    match (call.verb, call.target.subresource.as_str()) {
        (_, "scale") => scale(&call, body),
        ("create", "token") if call.kind.is("", "ServiceAccount") => token(&call),
        ("create", "eviction") if call.kind.is("", "Pod") => remove(&call, &Bytes::new()),
        (_, "" | "status" | "finalize") => {
            let has_status = call.kind.version(&call.target.version).is_some_and(|version| version.status);
            if call.target.subresource == "status" && !has_status {
                return Err(Refusal::no_such_path());
            }
            plain(call, body)
        }
        _ => Err(Refusal::no_such_path()),
    }
}

fn plain(call: Call, body: &Bytes) -> Result<Response, Refusal> {
    match call.verb {
        "get" => {
            let object = call.shared.lock().get(&call.kind.resource(), &key(&call)).cloned();
            let object = object.ok_or_else(|| Refusal::not_found(&call.kind.subject(&call.target.name)))?;
            Ok(respond(StatusCode::OK, call.view().single(&object), &[]))
        }
        "list" => list(&call),
        "watch" => watch(call),
        "delete" => remove(&call, body),
        "deletecollection" => remove_all(&call, body),
        _ => change(&call, body),
    }
}

fn key(call: &Call) -> Key {
    (call.target.namespace.clone(), call.target.name.clone())
}

fn selector(call: &Call) -> Result<Selector, Refusal> {
    let version = call.kind.version(&call.target.version).ok_or_else(Refusal::no_such_path)?;
    Selector::parse(call.query.get("labelSelector"), call.query.get("fieldSelector"), &call.kind, version)
}

/// Where a page ended: the version of the first page and the last key.
fn parse_continue(text: &str) -> Option<(u64, Key)> {
    let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
    let value: Value = serde_json::from_slice(&bytes).ok()?;
    let part = |key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
    Some((value.get("rv")?.as_u64()?, (part("ns")?, part("name")?)))
}

fn list(call: &Call) -> Result<Response, Refusal> {
    let selector = selector(call)?;
    let mut store = call.shared.lock();
    let resource = call.kind.resource();
    let mut objects = store.list(&resource, &call.target.namespace);
    let mut version = store.clock;
    if let Some(asked) = call.query.number("resourceVersion").filter(|asked| *asked > version) {
        return Err(Refusal::too_new(asked, version));
    }
    let token = call.query.get("continue");
    if !token.is_empty() {
        let (from, after) = parse_continue(token)
            .ok_or_else(|| Refusal::bad_request("invalid continue token: continue key is not valid"))?;
        if from < store.shelf(&resource).forgotten {
            return Err(Refusal::expired(
                "The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter.",
            ));
        }
        version = from;
        objects.retain(|object| {
            (meta(object, "namespace"), meta(object, "name")) > (after.0.as_str(), after.1.as_str())
        });
    }
    drop(store);
    objects.retain(|object| selector.matches(object));
    let mut metadata = json!({"resourceVersion": version.to_string()});
    if !call.kind.builtin && call.view().form != request::Form::Table {
        as_map(&mut metadata).insert("continue".into(), json!(""));
    }
    let limit =
        call.query.number("limit").and_then(|limit| usize::try_from(limit).ok()).filter(|limit| *limit > 0);
    if let Some(limit) = limit.filter(|limit| objects.len() > *limit) {
        let rest = objects.len() - limit;
        objects.truncate(limit);
        if let Some(last) = objects.last() {
            let token = json!({"rv": version, "ns": meta(last, "namespace"), "name": meta(last, "name")});
            let map = as_map(&mut metadata);
            map.insert("continue".into(), json!(URL_SAFE_NO_PAD.encode(token.to_string())));
            map.insert("remainingItemCount".into(), json!(rest));
        }
    }
    Ok(respond(StatusCode::OK, call.view().list(&objects, metadata), &[]))
}

fn watch(call: Call) -> Result<Response, Refusal> {
    let mut selector_fields = call.query.get("fieldSelector").to_owned();
    if !call.target.name.is_empty() {
        selector_fields = format!("metadata.name={}", call.target.name);
    }
    let version = call.kind.version(&call.target.version).ok_or_else(Refusal::no_such_path)?;
    let selector = Selector::parse(call.query.get("labelSelector"), &selector_fields, &call.kind, version)?;
    let view = call.view();
    let watch = Watch::open(call.shared.clone(), view, call.target.namespace.clone(), selector, &call.query)?;
    let mut response = Body::from_stream(watch.stream()).into_response();
    response.headers_mut().insert(CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
    Ok(response)
}

fn parse(body: &Bytes) -> Result<Value, Refusal> {
    if body.is_empty() {
        return Ok(json!({}));
    }
    serde_json::from_slice(body).map_err(|error| {
        Refusal::bad_request(format!("the object provided is unrecognized (must be of type Status): {error}"))
    })
}

fn write(call: &Call) -> Result<Write, Refusal> {
    Ok(Write {
        kind: call.kind.clone(),
        version: call.target.version.clone(),
        namespace: call.target.namespace.clone(),
        name: call.target.name.clone(),
        subresource: call.target.subresource.clone(),
        manager: request::manager(&call.query, &call.parts.headers),
        dry_run: call.query.is_dry_run(),
        validation: call.query.validation(),
        force: call.query.flag("force"),
    })
}

fn change(call: &Call, body: &Bytes) -> Result<Response, Refusal> {
    let value = parse(body)?;
    let mut write = write(call)?;
    let mut store = call.shared.lock();
    let written = match call.verb {
        "create" if call.target.name.is_empty() => write.create(&mut store, &value),
        "update" => write.replace(&mut store, &value),
        "patch" => patch(call, &mut write, &mut store, value),
        _ => Err(Refusal::method_not_allowed()),
    }?;
    let busy =
        !store.dirty.is_empty() || call.kind.group == "apiextensions.k8s.io" || call.kind.is("", "Namespace");
    drop(store);
    if busy {
        call.shared.nudge();
    }
    Ok(written_response(call, &written))
}

fn written_response(call: &Call, written: &Written) -> Response {
    let code = if written.created { StatusCode::CREATED } else { StatusCode::OK };
    respond(code, call.view().single(&written.object), &written.warnings)
}

fn patch(
    call: &Call,
    write: &mut Write,
    store: &mut crate::store::Store,
    value: Value,
) -> Result<Written, Refusal> {
    let kind = call.parts.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let patch = match kind.split(';').next().unwrap_or_default().trim() {
        "application/json-patch+json" => Patch::Json(value),
        "application/merge-patch+json" => Patch::Merge(value),
        "application/strategic-merge-patch+json" if call.kind.builtin => Patch::Strategic(value),
        "application/apply-patch+yaml" | "application/apply-patch+json" => {
            write.manager = call.query.get("fieldManager").to_owned();
            let exists = store.get(&call.kind.resource(), &key(call)).is_some();
            let wish = Wish::of("create", &call.target);
            if !exists && !call.shared.may(store, &call.caller, &wish) {
                return Err(wish.refuse(&call.caller));
            }
            return write.apply(store, &value);
        }
        _ => return Err(Refusal::unsupported_media(call.kind.builtin)),
    };
    write.patch(store, &patch)
}

fn remove(call: &Call, body: &Bytes) -> Result<Response, Refusal> {
    let options = delete::Options::read(&parse(body)?, &call.query)?;
    let outcome = delete::delete(&mut call.shared.lock(), &call.kind, &key(call), &options)?;
    call.shared.nudge();
    Ok(match outcome {
        Deleted::Gone(object) => {
            let mut success = delete::success(&call.kind, &object);
            if call.target.group == events::GROUP {
                success["details"]["group"] = json!(events::GROUP);
            }
            respond(StatusCode::OK, success.to_string().into_bytes(), &[])
        }
        Deleted::Going(object) => respond(StatusCode::OK, call.view().single(&object), &[]),
    })
}

fn remove_all(call: &Call, body: &Bytes) -> Result<Response, Refusal> {
    let options = delete::Options::read(&parse(body)?, &call.query)?;
    let selector = selector(call)?;
    let mut store = call.shared.lock();
    let mut objects = store.list(&call.kind.resource(), &call.target.namespace);
    objects.retain(|object| selector.matches(object));
    for object in &objects {
        let key = (meta(object, "namespace").to_owned(), meta(object, "name").to_owned());
        // One that went by itself in the meantime is as good as deleted.
        let _ = delete::delete(&mut store, &call.kind, &key, &options);
    }
    let metadata = json!({"resourceVersion": store.clock.to_string()});
    drop(store);
    call.shared.nudge();
    Ok(respond(StatusCode::OK, call.view().list(&objects, metadata), &[]))
}

/// `TokenRequest` of a service account.
fn token(call: &Call) -> Result<Response, Refusal> {
    let account = call.shared.lock().get(&call.kind.resource(), &key(call)).cloned();
    account.ok_or_else(|| Refusal::not_found(&call.kind.subject(&call.target.name)))?;
    let user = format!("system:serviceaccount:{}:{}", call.target.namespace, call.target.name);
    let token = call.shared.issue_token(&user);
    let expiry = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(1);
    let body = json!({"kind": "TokenRequest", "apiVersion": "authentication.k8s.io/v1",
        "metadata": {"name": call.target.name, "namespace": call.target.namespace}, "spec": {"expirationSeconds": 3600},
        "status": {"token": token, "expirationTimestamp": expiry.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()}});
    Ok(respond(StatusCode::CREATED, body.to_string().into_bytes(), &[]))
}

/// `scale`: reads and writes the replica count as an autoscaling/v1 Scale.
fn scale(call: &Call, body: &Bytes) -> Result<Response, Refusal> {
    let version = call.kind.version(&call.target.version).ok_or_else(Refusal::no_such_path)?;
    let scale = version.scale.as_ref().ok_or_else(Refusal::no_such_path)?;
    let mut store = call.shared.lock();
    let object = store.get(&call.kind.resource(), &key(call)).cloned();
    let mut object = object.ok_or_else(|| Refusal::not_found(&call.kind.subject(&call.target.name)))?;
    if call.verb != "get" {
        let given = parse(body)?;
        let path = scale.spec.trim_start_matches("/spec/");
        let change = json!({"spec": {path: given.pointer("/spec/replicas").cloned().unwrap_or(json!(0))}});
        let write = write(call)?;
        object = write.patch(&mut store, &Patch::Merge(change))?.object;
    }
    let number = |path: &str| object.pointer(path).cloned().unwrap_or(json!(0));
    let selector = jsonpath(&object, ".spec.selector.matchLabels").unwrap_or_default();
    let terms: Vec<String> = selector
        .as_object()
        .into_iter()
        .flatten()
        .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()))
        .collect();
    let answer = json!({"kind": "Scale", "apiVersion": "autoscaling/v1",
        "metadata": {"name": meta(&object, "name"), "namespace": meta(&object, "namespace"), "uid": meta(&object, "uid"),
            "resourceVersion": meta(&object, "resourceVersion"), "creationTimestamp": text(&object, "/metadata/creationTimestamp")},
        "spec": {"replicas": number(&scale.spec)},
        "status": {"replicas": number(&scale.status), "selector": terms.join(",")}});
    Ok(respond(StatusCode::OK, answer.to_string().into_bytes(), &[]))
}
