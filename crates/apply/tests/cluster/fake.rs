//! An API server that fits into a test: enough of server-side apply to own fields per manager, and a
//! log of requests. What real servers do is tested elsewhere, against real servers.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use kube::client::Body;
use serde_json::{Map, Value, json};
use sluice_apply::{Cluster, Dialect, Options, Settings};
use tokio::sync::Notify;

pub(crate) const DIALECT: Dialect =
    Dialect { group: "kustomize.toolkit.fluxcd.io", manager: "kustomize-controller" };

#[derive(Default)]
pub(crate) struct State {
    pub(crate) objects: BTreeMap<String, Value>,
    pub(crate) log: Vec<String>,
    /// Requests whose `METHOD path` contains the text are answered so instead.
    pub(crate) refusals: Vec<(&'static str, u16, Value)>,
    pub(crate) watchable: bool,
    /// Requests whose line contains the text are never answered.
    pub(crate) hangs: Option<&'static str>,
    /// An object that changes after each time it was read.
    pub(crate) restless: Option<String>,
    /// Plural resources that our own identity may list and watch, after a namespace where it may only there;
    /// `None` for all.
    pub(crate) allowed: Option<Vec<&'static str>>,
    pub(crate) kinds: Vec<(&'static str, &'static str, &'static str, bool)>,
    clock: u64,
    events: Vec<(u64, String, Value)>,
}

#[derive(Clone)]
pub(crate) struct Fake {
    pub(crate) state: Arc<Mutex<State>>,
    changed: Arc<Notify>,
}

impl Fake {
    pub(crate) fn new() -> Self {
        let state = State {
            watchable: true,
            kinds: vec![
                ("", "ConfigMap", "configmaps", true),
                ("", "Secret", "secrets", true),
                ("", "Namespace", "namespaces", false),
                ("apps", "Deployment", "deployments", true),
                ("apps", "StatefulSet", "statefulsets", true),
                ("", "Pod", "pods", true),
                ("batch", "Job", "jobs", true),
                ("apiextensions.k8s.io", "CustomResourceDefinition", "customresourcedefinitions", false),
            ],
            ..State::default()
        };
        let fake = Self { state: Arc::new(Mutex::new(state)), changed: Arc::default() };
        fake.put(
            "/api/v1/namespaces/team",
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "team"}}),
        );
        fake
    }

    pub(crate) fn cluster(&self) -> Cluster {
        let fake = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let fake = fake.clone();
            async move { Ok::<_, Infallible>(fake.answer(request).await) }
        });
        let settings = Settings { dialect: DIALECT, override_managers: Vec::new() };
        let request_timeout = std::time::Duration::from_secs(5);
        Cluster::new(kube::Client::new(service, "default"), Options { settings, request_timeout })
    }

    /// Stores an object as somebody else would, stripping others' ownership of what changes.
    pub(crate) fn put(&self, path: &str, mut object: Value) {
        let mut state = self.state.lock().unwrap();
        state.clock += 1;
        let old = state.objects.get(path).cloned();
        object["metadata"]["resourceVersion"] = json!(state.clock.to_string());
        let uid = old.as_ref().map_or_else(
            || format!("uid-{}", state.clock),
            |o| o["metadata"]["uid"].as_str().unwrap().into(),
        );
        object["metadata"]["uid"] = json!(uid);
        state.objects.insert(path.to_owned(), object.clone());
        let kind = if old.is_some() { "MODIFIED" } else { "ADDED" };
        let version = state.clock;
        state.events.push((version, path.to_owned(), json!({"type": kind, "object": object})));
        self.changed.notify_waiters();
    }

    /// Stores a change that watches are not told of.
    pub(crate) fn put_quietly(&self, path: &str, mut object: Value) {
        let mut state = self.state.lock().unwrap();
        state.clock += 1;
        object["metadata"]["resourceVersion"] = json!(state.clock.to_string());
        state.objects.insert(path.to_owned(), object);
    }

    /// From now on this object changes after each time it was read.
    pub(crate) fn restless(&self, path: &str) {
        self.state.lock().unwrap().restless = Some(path.to_owned());
    }

    /// From now on such requests are never answered.
    pub(crate) fn hang(&self, what: &'static str) {
        self.state.lock().unwrap().hangs = Some(what);
    }

    pub(crate) fn get(&self, path: &str) -> Option<Value> {
        self.state.lock().unwrap().objects.get(path).cloned()
    }

    pub(crate) fn remove(&self, path: &str) {
        let mut state = self.state.lock().unwrap();
        state.clock += 1;
        let version = state.clock.to_string();
        if let Some(mut object) = state.objects.remove(path) {
            object["metadata"]["resourceVersion"] = json!(version);
            let version = state.clock;
            state.events.push((version, path.to_owned(), json!({"type": "DELETED", "object": object})));
            self.changed.notify_waiters();
        }
    }

    pub(crate) fn refuse(&self, what: &'static str, code: u16, status: Value) {
        self.state.lock().unwrap().refusals.push((what, code, status));
    }

    /// The requests since the last call, without discovery and watches.
    pub(crate) fn take_log(&self) -> Vec<String> {
        let log = std::mem::take(&mut self.state.lock().unwrap().log);
        log.into_iter()
            .filter(|line| {
                !line.contains("watch=")
                    && !line.contains("reviews")
                    && !line.contains("labelSelector")
                    && !line.contains("fieldSelector")
            })
            .collect()
    }

    async fn answer(&self, request: Request<Body>) -> Response<Full<bytes::Bytes>> {
        let (parts, body) = request.into_parts();
        let path = parts.uri.path().to_owned();
        let query = parts.uri.query().unwrap_or_default().to_owned();
        if let Some(found) = self.discover(&path) {
            return reply(200, &found);
        }
        if query.contains("watch=") {
            return self.watch(&path, &query).await;
        }
        let bytes = body.collect().await.unwrap().to_bytes();
        let line = format!(
            "{} {path}{}",
            parts.method,
            if query.is_empty() { String::new() } else { format!("?{query}") }
        );
        let refusal = {
            let mut state = self.state.lock().unwrap();
            state.log.push(line.clone());
            state.refusals.iter().find(|(what, ..)| line.contains(what)).cloned()
        };
        if let Some((_, code, status)) = refusal {
            return reply(code, &status);
        }
        let hangs = self.state.lock().unwrap().hangs;
        if hangs.is_some_and(|what| line.contains(what)) {
            return std::future::pending().await;
        }
        let body: Value = serde_json::from_slice(&bytes).unwrap_or_default();
        if path.ends_with("/selfsubjectaccessreviews") {
            return self.review(body);
        }
        let patch =
            parts.headers.get("content-type").and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned();
        match parts.method {
            Method::GET if self.is_collection(&path) => self.list(&path, &query),
            Method::GET => {
                let found = self.get(&path);
                if self.state.lock().unwrap().restless.as_ref() == Some(&path) {
                    found.iter().for_each(|object| self.put_quietly(&path, object.clone()));
                }
                found.map_or_else(|| missing(&path), |object| reply(200, &object))
            }
            Method::PATCH if patch.starts_with("application/apply") => self.apply(&path, &query, body),
            Method::PATCH => self.json_patch(&path, body),
            Method::POST => {
                let name = body["metadata"]["name"].as_str().unwrap();
                if self.get(&format!("{path}/{name}")).is_some() {
                    reply(409, &status(409, "AlreadyExists", "already exists"))
                } else {
                    reply(201, &body)
                }
            }
            Method::DELETE => self.delete(&path, &body),
            _ => reply(405, &status(405, "MethodNotAllowed", "no")),
        }
    }

    fn review(&self, mut review: Value) -> Response<Full<bytes::Bytes>> {
        let text = |field: &str| review["spec"]["resourceAttributes"][field].as_str().unwrap().to_owned();
        let wanted = text("resource");
        let there = format!("{}/{wanted}", text("namespace"));
        let state = self.state.lock().unwrap();
        let may = |allowed: &Vec<&str>| allowed.iter().any(|entry| *entry == wanted || *entry == there);
        let allowed = state.allowed.as_ref().is_none_or(may);
        review["status"] = json!({"allowed": allowed});
        reply(201, &review)
    }

    fn discover(&self, path: &str) -> Option<Value> {
        let state = self.state.lock().unwrap();
        let list = |group: &str| {
            let verbs: &[&str] = if state.watchable { &["get", "list", "watch"] } else { &["get"] };
            let resources: Vec<_> = state.kinds.iter().filter(|kind| kind.0 == group)
                .map(|(_, kind, plural, namespaced)| json!({"kind": kind, "name": plural, "namespaced": namespaced, "verbs": verbs}))
                .collect();
            json!({"kind": "APIResourceList", "resources": resources})
        };
        match path {
            "/api" => Some(json!({"kind": "APIVersions", "versions": ["v1"]})),
            "/apis" => {
                let mut groups: Vec<_> =
                    state.kinds.iter().map(|kind| kind.0).filter(|group| !group.is_empty()).collect();
                groups.dedup();
                let groups: Vec<_> = groups
                    .iter()
                    .map(
                        |group| json!({"name": group, "versions": [{"groupVersion": format!("{group}/v1")}]}),
                    )
                    .collect();
                Some(json!({"kind": "APIGroupList", "groups": groups}))
            }
            "/api/v1" => Some(list("")),
            other => {
                let group = other.strip_prefix("/apis/")?.strip_suffix("/v1")?;
                Some(list(group))
            }
        }
    }

    fn is_collection(&self, path: &str) -> bool {
        let last = path.rsplit('/').next().unwrap();
        self.state.lock().unwrap().kinds.iter().any(|kind| kind.2 == last)
    }

    fn list(&self, path: &str, query: &str) -> Response<Full<bytes::Bytes>> {
        let state = self.state.lock().unwrap();
        let owned = query.contains("labelSelector=kustomize");
        let items: Vec<_> = state
            .objects
            .iter()
            .filter(|(at, _)| is_within(at, path))
            .filter(|(_, object)| {
                !owned || object["metadata"]["labels"][DIALECT.group.to_owned() + "/name"].is_string()
            })
            .map(|(_, object)| object.clone())
            .collect();
        reply(
            200,
            &json!({"kind": "List", "apiVersion": "v1", "metadata": {"resourceVersion": state.clock.to_string()}, "items": items}),
        )
    }

    /// Answers with everything since the version asked for, or waits for something; then ends.
    async fn watch(&self, path: &str, query: &str) -> Response<Full<bytes::Bytes>> {
        let since = query.split('&').find_map(|part| part.strip_prefix("resourceVersion=")).unwrap();
        let since: u64 = since.parse().unwrap();
        loop {
            let changed = self.changed.notified();
            let lines: String = {
                let state = self.state.lock().unwrap();
                let news =
                    state.events.iter().filter(|(version, at, _)| *version > since && is_within(at, path));
                news.map(|(_, _, event)| format!("{event}\n")).collect()
            };
            if !lines.is_empty() {
                return Response::new(Full::from(lines.into_bytes()));
            }
            changed.await;
        }
    }

    fn apply(&self, path: &str, query: &str, mut body: Value) -> Response<Full<bytes::Bytes>> {
        let space = path
            .strip_prefix("/api/v1/namespaces/")
            .or_else(|| path.split("/namespaces/").nth(1))
            .and_then(|rest| rest.split_once('/'))
            .map(|(namespace, _)| namespace.to_owned());
        let absent = |space: &&String| self.get(&format!("/api/v1/namespaces/{space}")).is_none();
        if let Some(space) = space.as_ref().filter(absent) {
            let mut answer = status(404, "NotFound", &format!("namespaces \"{space}\" not found"));
            answer["details"] = json!({"kind": "namespaces", "name": space});
            return reply(404, &answer);
        }
        let old = self.get(path);
        let pinned = body["metadata"].as_object_mut().unwrap().remove("resourceVersion");
        if pinned.zip(old.as_ref()).is_some_and(|(pin, old)| old["metadata"]["resourceVersion"] != pin) {
            return reply(409, &status(409, "Conflict", "the object has been modified"));
        }
        let mut object = old.clone().unwrap_or_else(|| {
            // Kinds without a spec have no generation either.
            json!({"metadata": if body["spec"].is_object() { json!({"generation": 1}) } else { json!({}) }})
        });
        let fields = owned(&body);
        let mut managers: Vec<Value> =
            object["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
        let is_ours = |entry: &Value| entry["manager"] == DIALECT.manager && entry["operation"] == "Apply";
        if let Some(before) =
            managers.iter().find(|entry| is_ours(entry)).map(|entry| entry["fieldsV1"].clone())
        {
            prune(&mut object, &before, &fields);
        }
        managers.retain(|entry| !is_ours(entry));
        merge(&mut object, &body);
        managers.push(json!({"manager": DIALECT.manager, "operation": "Apply", "apiVersion": body["apiVersion"], "fieldsV1": fields}));
        object["metadata"]["managedFields"] = Value::Array(managers);
        if query.contains("dryRun") {
            return reply(200, &object);
        }
        if old.as_ref() == Some(&object) {
            return reply(200, &object);
        }
        if old.as_ref().is_some_and(|old| old["spec"] != object["spec"]) {
            object["metadata"]["generation"] = json!(object["metadata"]["generation"].as_i64().unwrap() + 1);
        }
        self.put(path, object);
        reply(if old.is_some() { 200 } else { 201 }, &self.get(path).unwrap())
    }

    fn json_patch(&self, path: &str, operations: Value) -> Response<Full<bytes::Bytes>> {
        let Some(mut object) = self.get(path) else { return missing(path) };
        let version = object["metadata"]["resourceVersion"].clone();
        let patch: json_patch::Patch = serde_json::from_value(operations).unwrap();
        json_patch::patch(&mut object, &patch).unwrap();
        if object["metadata"]["resourceVersion"] != version {
            return reply(409, &status(409, "Conflict", "the object has been modified"));
        }
        self.put(path, object);
        reply(200, &self.get(path).unwrap())
    }

    fn delete(&self, path: &str, options: &Value) -> Response<Full<bytes::Bytes>> {
        let Some(mut object) = self.get(path) else { return missing(path) };
        if options["preconditions"]["uid"] != object["metadata"]["uid"] {
            return reply(409, &status(409, "Conflict", "UID differs"));
        }
        if object["metadata"]["finalizers"].is_array() {
            object["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
            self.put(path, object.clone());
            return reply(200, &object);
        }
        self.remove(path);
        reply(200, &json!({"kind": "Status", "status": "Success"}))
    }
}

pub(crate) fn status(code: u16, reason: &str, message: &str) -> Value {
    json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason, "message": message})
}

fn missing(path: &str) -> Response<Full<bytes::Bytes>> {
    reply(404, &status(404, "NotFound", &format!("{path} not found")))
}

fn reply(code: u16, body: &Value) -> Response<Full<bytes::Bytes>> {
    let mut response = Response::new(Full::from(body.to_string().into_bytes()));
    *response.status_mut() = StatusCode::from_u16(code).unwrap();
    response
}

/// Whether an object lies in a collection, be it of one namespace or of all.
fn is_within(object: &str, collection: &str) -> bool {
    let Some((place, _)) = object.rsplit_once('/') else { return false };
    if place == collection {
        return true;
    }
    let (root, plural) = collection.rsplit_once('/').unwrap();
    place
        .strip_prefix(root)
        .and_then(|rest| rest.strip_prefix("/namespaces/"))
        .and_then(|rest| rest.split_once('/'))
        .is_some_and(|(_, rest)| rest == plural)
}

fn owned(object: &Value) -> Value {
    let mut fields = Map::new();
    for (name, value) in object.as_object().into_iter().flatten() {
        if !["apiVersion", "kind", "name", "namespace"].contains(&name.as_str()) {
            fields.insert(format!("f:{name}"), owned(value));
        }
    }
    Value::Object(fields)
}

fn merge(into: &mut Value, from: &Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (name, value) in from {
                merge(into.entry(name.clone()).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from.clone(),
    }
}

fn prune(object: &mut Value, before: &Value, after: &Value) {
    for (field, inner) in before.as_object().into_iter().flatten() {
        let name = field.trim_start_matches("f:");
        match after.get(field) {
            Some(kept) => {
                if let Some(value) = object.get_mut(name) {
                    prune(value, inner, kept);
                }
            }
            None => {
                if let Some(map) = object.as_object_mut() {
                    map.remove(name);
                }
            }
        }
    }
}
