//! An API server of one kind and of Events, just big enough for the driver.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{Method, Request, Response};
use http_body_util::{BodyExt, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::{Bytes, Frame};
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};

type Change = Box<dyn FnOnce(&mut Value) + Send>;
type Body = UnsyncBoxBody<Bytes, Infallible>;

#[derive(Default)]
struct State {
    version: u64,
    objects: BTreeMap<String, Value>,
    events: Vec<Value>,
    watchers: Vec<mpsc::UnboundedSender<Value>>,
    /// Every write the driver has made, as `<what> <name>`.
    writes: Vec<String>,
    /// Runs before the next status write.
    before_status: Option<Change>,
    /// Collections that were listed or watched.
    looked: Vec<String>,
    /// Status writes to refuse.
    broken: u32,
}

#[derive(Clone)]
pub(crate) struct Fake {
    state: Arc<Mutex<State>>,
    changed: watch::Sender<u64>,
}

impl Fake {
    pub(crate) fn new() -> Self {
        Self { state: Arc::default(), changed: watch::Sender::new(0) }
    }

    pub(crate) fn client(&self) -> kube::Client {
        let fake = self.clone();
        let service = tower::service_fn(move |request: Request<kube::client::Body>| {
            let fake = fake.clone();
            async move {
                let (parts, body) = request.into_parts();
                let body = body.collect().await.unwrap().to_bytes();
                Ok::<_, Infallible>(fake.answer(&parts.method, &parts.uri, &body))
            }
        });
        kube::Client::new(service, "default")
    }

    /// Creates or changes an object, as a user would.
    pub(crate) fn put(&self, name: &str, change: Value) {
        let mut state = self.state.lock().unwrap();
        let mut object = state.objects.get(name).cloned().unwrap_or_else(|| {
            json!({
                "apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "GitRepository",
                "metadata": {"name": name, "namespace": "apps", "uid": format!("uid-{name}"), "generation": 1},
                "spec": {"url": "https://example.com/x", "interval": "1m"},
            })
        });
        merge(&mut object, &change);
        state.store(name, object);
        drop(state);
        self.changed.send_modify(|count| *count += 1);
    }

    /// Lets somebody else change the object right before the next status write.
    pub(crate) fn before_status(&self, change: impl FnOnce(&mut Value) + Send + 'static) {
        self.state.lock().unwrap().before_status = Some(Box::new(change));
    }

    /// Refuses the next status writes.
    pub(crate) fn break_status(&self, times: u32) {
        self.state.lock().unwrap().broken = times;
    }

    pub(crate) fn object(&self, name: &str) -> Value {
        self.state.lock().unwrap().objects.get(name).cloned().unwrap_or_default()
    }

    pub(crate) fn writes(&self) -> Vec<String> {
        self.state.lock().unwrap().writes.clone()
    }

    pub(crate) fn looked(&self) -> Vec<String> {
        self.state.lock().unwrap().looked.clone()
    }

    pub(crate) fn clear_writes(&self) {
        self.state.lock().unwrap().writes.clear();
    }

    pub(crate) fn events(&self) -> Vec<Value> {
        self.state.lock().unwrap().events.clone()
    }

    /// Waits until something holds.
    pub(crate) async fn until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let mut changed = self.changed.subscribe();
        let wait = async {
            while !holds(self) {
                changed.changed().await.unwrap();
            }
        };
        let waited = tokio::time::timeout(Duration::from_secs(7200), wait).await;
        assert!(waited.is_ok(), "never: {what}; writes: {:?}", self.writes());
    }

    /// Waits until a condition of an object says something.
    pub(crate) async fn until_condition(&self, name: &str, kind: &str, status: &str) {
        let what = format!("{name} {kind}={status}");
        self.until(&what, |fake| condition(&fake.object(name), kind)["status"] == status).await;
    }

    fn answer(&self, method: &Method, uri: &http::Uri, body: &[u8]) -> Response<Body> {
        let answer = self.state.lock().unwrap().answer(method, uri, body);
        self.changed.send_modify(|count| *count += 1);
        answer
    }
}

pub(crate) fn condition(object: &Value, kind: &str) -> Value {
    let conditions = object["status"]["conditions"].as_array().cloned().unwrap_or_default();
    conditions.into_iter().find(|condition| condition["type"] == kind).unwrap_or_default()
}

impl State {
    fn store(&mut self, name: &str, mut object: Value) -> Value {
        self.version += 1;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        let deleted = object["metadata"]["deletionTimestamp"].is_string()
            && object["metadata"]["finalizers"].as_array().is_none_or(Vec::is_empty);
        let kind = match (deleted, self.objects.contains_key(name)) {
            (true, _) => "DELETED",
            (false, true) => "MODIFIED",
            (false, false) => "ADDED",
        };
        if deleted {
            self.objects.remove(name);
        } else {
            self.objects.insert(name.to_owned(), object.clone());
        }
        let event = json!({"type": kind, "object": object});
        self.watchers.retain(|watcher| watcher.send(event.clone()).is_ok());
        object
    }

    fn answer(&mut self, method: &Method, uri: &http::Uri, body: &[u8]) -> Response<Body> {
        let path: Vec<&str> = uri.path().trim_matches('/').split('/').collect();
        let patch: Value = serde_json::from_slice(body).unwrap_or_default();
        if path.ends_with(&["gitrepositories"]) {
            self.looked.push(uri.to_string());
        }
        match (method.as_str(), path.as_slice()) {
            ("POST", ["api", "v1", "namespaces", _, "events"]) => {
                self.writes.push(format!("event {}", patch["involvedObject"]["name"].as_str().unwrap()));
                self.events.push(patch.clone());
                reply(201, &patch)
            }
            ("PATCH", ["api", "v1", "namespaces", _, "events", name]) => {
                let event = self.events.iter_mut().find(|event| event["metadata"]["name"] == *name).unwrap();
                merge(event, &patch);
                let event = event.clone();
                self.writes.push(format!("event {}", event["involvedObject"]["name"].as_str().unwrap()));
                reply(200, &event)
            }
            ("GET", [.., "gitrepositories"]) if uri.query().unwrap_or_default().contains("watch=true") => {
                let (sender, receiver) = mpsc::unbounded_channel::<Value>();
                self.watchers.push(sender);
                let lines = futures::stream::unfold(receiver, |mut receiver| async move {
                    let event = receiver.recv().await?;
                    Some((Ok(Frame::data(Bytes::from(format!("{event}\n")))), receiver))
                });
                Response::new(StreamBody::new(lines).boxed_unsync())
            }
            ("GET", [.., "gitrepositories"]) => {
                let items: Vec<&Value> = self.objects.values().collect();
                reply(
                    200,
                    &json!({"metadata": {"resourceVersion": self.version.to_string()}, "items": items}),
                )
            }
            ("GET", [.., "gitrepositories", name]) => match self.objects.get(*name) {
                Some(object) => reply(200, object),
                None => failure(404, "NotFound"),
            },
            ("PATCH", [.., "gitrepositories", name]) => self.patch(name, "object", &patch),
            ("PATCH", [.., "gitrepositories", name, "status"]) => {
                if self.broken > 0 {
                    self.broken -= 1;
                    return failure(500, "InternalError");
                }
                if let Some(change) = self.before_status.take() {
                    let mut object = self.objects.get(*name).cloned().unwrap();
                    change(&mut object);
                    self.store(name, object);
                }
                self.patch(name, "status", &patch)
            }
            _ => failure(405, "MethodNotAllowed"),
        }
    }

    fn patch(&mut self, name: &str, what: &str, patch: &Value) -> Response<Body> {
        let Some(mut object) = self.objects.get(name).cloned() else { return failure(404, "NotFound") };
        let version = &patch["metadata"]["resourceVersion"];
        if !version.is_null() && *version != object["metadata"]["resourceVersion"] {
            return failure(409, "Conflict");
        }
        merge(&mut object, patch);
        self.writes.push(format!("{what} {name}"));
        reply(200, &self.store(name, object))
    }
}

fn reply(code: u16, body: &Value) -> Response<Body> {
    let text = futures::stream::iter([Ok(Frame::data(Bytes::from(body.to_string())))]);
    Response::builder().status(code).body(StreamBody::new(text).boxed_unsync()).unwrap()
}

fn failure(code: u16, reason: &str) -> Response<Body> {
    reply(
        code,
        &json!({"kind": "Status", "status": "Failure", "code": code, "reason": reason, "message": reason}),
    )
}

fn merge(target: &mut Value, change: &Value) {
    let Value::Object(change) = change else {
        *target = change.clone();
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    for (key, value) in change {
        if value.is_null() {
            target.as_object_mut().unwrap().remove(key);
        } else {
            merge(&mut target[key], value);
        }
    }
}
