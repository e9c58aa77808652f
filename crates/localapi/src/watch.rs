//! Watches: a stream of changes read from a resource's log.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::Stream;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::kinds::Resource;
use crate::present::View;
use crate::request::{Form, Query};
use crate::select::Selector;
use crate::server::Shared;
use crate::status::Refusal;
use crate::store::Change;

/// What a watch was asked for.
pub(crate) struct Watch {
    shared: Arc<Shared>,
    resource: Resource,
    namespace: String,
    selector: Selector,
    view: View,
    bookmarks: bool,
    /// The last version that was told.
    at: u64,
    beat: watch::Receiver<u64>,
    closing: watch::Receiver<u64>,
    deadline: Option<Instant>,
    pending: Option<Bytes>,
    over: bool,
}

impl Watch {
    /// Opens a watch; the objects that are there already come first where the request says so.
    pub(crate) fn open(
        shared: Arc<Shared>,
        view: View,
        namespace: String,
        selector: Selector,
        query: &Query,
    ) -> Result<Self, Refusal> {
        let resource = view.kind.resource();
        let wants_initial = query.flag("sendInitialEvents");
        if wants_initial && query.get("resourceVersionMatch") != "NotOlderThan" {
            let text = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan";
            return Err(Refusal::invalid_options("resourceVersionMatch", text));
        }
        let given = query.get("resourceVersion");
        let from: u64 = match given {
            "" => 0,
            text => text
                .parse()
                .map_err(|_| Refusal::bad_request(format!("invalid resource version {text:?}")))?,
        };
        let bookmarks = query.flag("allowWatchBookmarks");
        let mut store = shared.lock();
        let clock = store.clock;
        let shelf = store.shelf(&resource);
        let beat = shelf.beat.subscribe();
        let mut watch = Self {
            closing: shared.closing(),
            shared: shared.clone(),
            resource: resource.clone(),
            namespace,
            selector,
            view,
            bookmarks,
            at: from,
            beat,
            deadline: query.number("timeoutSeconds").map(|s| Instant::now() + Duration::from_secs(s)),
            pending: None,
            over: false,
        };
        if from > clock {
            // The real server waits a while, then gives up; nobody can have seen the future here.
            return Err(Refusal::too_new(from, clock));
        }
        let initial = wants_initial || (from == 0 && query.get("sendInitialEvents") != "false");
        if initial {
            let objects = store.list(&resource, &watch.namespace);
            let mut out = Vec::new();
            for object in objects.iter().filter(|object| watch.selector.matches(object)) {
                watch.event("ADDED", object, &mut out);
            }
            if wants_initial && bookmarks {
                watch.bookmark(clock, true, &mut out);
            }
            watch.at = clock;
            watch.pending = (!out.is_empty()).then(|| Bytes::from(out));
        } else if from < shelf_forgotten(&mut store, &resource) && from != 0 {
            let oldest = shelf_forgotten(&mut store, &resource);
            let refusal = Refusal::expired(format!("too old resource version: {from} ({oldest})"));
            watch.pending = Some(Bytes::from(error_line(&refusal)));
            watch.over = true;
        } else if from == 0 {
            watch.at = clock;
        }
        drop(store);
        Ok(watch)
    }

    /// The body of the response.
    pub(crate) fn stream(self) -> impl Stream<Item = Result<Bytes, Infallible>> {
        futures::stream::unfold(self, |mut watch| async move {
            let bytes = watch.next().await?;
            Some((Ok(bytes), watch))
        })
    }

    async fn next(&mut self) -> Option<Bytes> {
        let mut idle = tokio::time::interval(self.shared.bookmark_every());
        idle.tick().await;
        loop {
            if let Some(bytes) = self.pending.take() {
                return Some(bytes);
            }
            if self.over {
                return None;
            }
            self.beat.mark_unchanged();
            let out = self.read();
            if !out.is_empty() {
                return Some(Bytes::from(out));
            }
            let deadline = self.deadline.unwrap_or_else(|| Instant::now() + Duration::from_secs(86_400));
            tokio::select! {
                told = self.beat.changed() => told.ok()?,
                _ = self.closing.changed() => return None,
                () = tokio::time::sleep_until(deadline) => return None,
                _ = idle.tick(), if self.bookmarks => {
                    let mut out = Vec::new();
                    let clock = self.shared.lock().clock;
                    self.bookmark(clock, false, &mut out);
                    return Some(Bytes::from(out));
                }
            }
        }
    }

    /// Everything since the last version told.
    fn read(&mut self) -> Vec<u8> {
        let shared = self.shared.clone();
        let mut store = shared.lock();
        let clock = store.clock;
        let shelf = store.shelf(&self.resource);
        if self.at < shelf.forgotten {
            self.over = true;
            let text = format!("too old resource version: {} ({})", self.at, shelf.forgotten);
            return error_line(&Refusal::expired(text));
        }
        let start = shelf.log.partition_point(|change| change.version <= self.at);
        let changes: Vec<Change> = shelf.log.range(start..).cloned().collect();
        drop(store);
        let mut out = Vec::new();
        for change in &changes {
            self.tell(change, &mut out);
        }
        self.at = clock.max(self.at);
        out
    }

    fn sees(&self, object: &Value) -> bool {
        let here = self.namespace.is_empty() || crate::object::meta(object, "namespace") == self.namespace;
        here && self.selector.matches(object)
    }

    fn tell(&self, change: &Change, out: &mut Vec<u8>) {
        let before = change.before.as_ref().is_some_and(|object| self.sees(object));
        let after = !change.deleted && self.sees(&change.after);
        match (before, after) {
            (false, true) => self.event("ADDED", &change.after, out),
            (true, true) => self.event("MODIFIED", &change.after, out),
            (true, false) if change.deleted => self.event("DELETED", &change.after, out),
            (true, false) => {
                // It left the selection: the old state goes, under the new version.
                let mut last = change.before.as_deref().cloned().unwrap_or_default();
                let version = json!(change.version.to_string());
                crate::object::metadata(&mut last).insert("resourceVersion".into(), version);
                self.event("DELETED", &Arc::new(last), out);
            }
            (false, false) => {}
        }
    }

    fn event(&self, kind: &str, object: &Arc<Value>, out: &mut Vec<u8>) {
        out.extend_from_slice(format!("{{\"type\":\"{kind}\",\"object\":").as_bytes());
        out.extend_from_slice(&self.view.single(object));
        out.extend_from_slice(b"}\n");
    }

    fn bookmark(&self, version: u64, end: bool, out: &mut Vec<u8>) {
        let mut metadata = json!({"resourceVersion": version.to_string(), "creationTimestamp": null});
        if end {
            crate::object::as_map(&mut metadata)
                .insert("annotations".into(), json!({"k8s.io/initial-events-end": "true"}));
        }
        let object = match self.view.form {
            Form::Table => {
                json!({"kind": "Table", "apiVersion": "meta.k8s.io/v1", "columnDefinitions": null, "rows":
                [{"cells": null, "object": {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": metadata}}],
                "metadata": {"resourceVersion": version.to_string()}})
            }
            Form::Metadata => {
                json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": metadata})
            }
            Form::Full => {
                json!({"kind": self.view.kind.kind, "apiVersion": self.view.api_version(), "metadata": metadata})
            }
        };
        out.extend_from_slice(json!({"type": "BOOKMARK", "object": object}).to_string().as_bytes());
        out.push(b'\n');
    }
}

fn shelf_forgotten(store: &mut crate::store::Store, resource: &Resource) -> u64 {
    store.shelf(resource).forgotten
}

fn error_line(refusal: &Refusal) -> Vec<u8> {
    let mut line = json!({"type": "ERROR", "object": refusal.body()}).to_string().into_bytes();
    line.push(b'\n');
    line
}
