//! The server: shared state, the router and the dispatch of requests.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::serve::ListenerExt as _;
use bytes::Bytes;

use http::header::{CONTENT_TYPE, HeaderValue};
use http::request::Parts;
use http::{Request, StatusCode};
use serde_json::{Value, json};
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

use crate::authorize::{Caller, Wish, allows, identify};
use crate::collect;
use crate::discovery;
use crate::kinds::Kind;
use crate::object;
use crate::present::View;
use crate::request::{self, Query, Target};
use crate::status::Refusal;
use crate::store::Store;
use crate::{endpoints, events, reviews, wire};

/// Largest request body, as in the real server.
const BODY_LIMIT: usize = 3 * 1024 * 1024;

/// How a server behaves.
#[derive(Clone, Debug)]
pub struct Options {
    /// How many changes per resource a watch can go back; older ones meet 410.
    pub history: usize,
    /// Whether roles are enforced; without, everyone may do everything.
    pub rbac: bool,
    /// Bearer tokens of known users.
    pub tokens: Vec<Token>,
    /// How often idle watches get a bookmark.
    pub bookmark_every: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self { history: 20_000, rbac: false, tokens: Vec::new(), bookmark_every: Duration::from_secs(30) }
    }
}

/// A bearer token and the user behind it.
#[derive(Clone, Debug)]
pub struct Token {
    /// What stands in the `Authorization` header after `Bearer`.
    pub token: String,
    /// The user's name; a service account's brings its groups along.
    pub user: String,
    /// Further groups.
    pub groups: Vec<String>,
}

/// State that all requests share.
#[derive(Debug)]
pub(crate) struct Shared {
    store: Mutex<Store>,
    tokens: Mutex<HashMap<String, Caller>>,
    options: Options,
    work: Notify,
    closing: watch::Sender<u64>,
}

impl Shared {
    pub(crate) fn lock(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tokens(&self) -> MutexGuard<'_, HashMap<String, Caller>> {
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn closing(&self) -> watch::Receiver<u64> {
        self.closing.subscribe()
    }

    pub(crate) fn bookmark_every(&self) -> Duration {
        self.options.bookmark_every
    }

    pub(crate) fn issue_token(&self, user: &str) -> String {
        let token = reviews::token_for(user);
        self.tokens().insert(token.clone(), Caller::named(user, Vec::new()));
        token
    }

    pub(crate) fn known_token(&self, token: &str) -> Option<Caller> {
        self.tokens().get(token).cloned()
    }

    pub(crate) fn may(&self, store: &Store, caller: &Caller, wish: &Wish<'_>) -> bool {
        !self.options.rbac || allows(store, caller, wish)
    }

    /// Tells the collector that there may be work.
    pub(crate) fn nudge(&self) {
        self.work.notify_one();
    }
}

/// A running API. Cheap to clone; all clones are the same server.
#[derive(Clone, Debug)]
pub struct Server {
    shared: Arc<Shared>,
}

impl Server {
    /// Starts an empty API with the namespaces every cluster has. Must be called inside a tokio runtime, whose end
    /// also ends the server's background work.
    pub fn start(options: Options) -> Self {
        let known = options.tokens.iter();
        let known =
            known.map(|token| (token.token.clone(), Caller::named(&token.user, token.groups.clone())));
        let tokens = known.chain([("admin".to_owned(), Caller::admin())]).collect();
        let mut store = Store::new(options.history);
        for name in ["default", "kube-system", "kube-public", "kube-node-lease"] {
            let namespace = json!({"apiVersion": "v1", "kind": "Namespace",
                "metadata": {"name": name, "uid": object::fresh_uid(), "creationTimestamp": object::now(),
                    "labels": {"kubernetes.io/metadata.name": name}},
                "spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Active"}});
            store.put(&(String::new(), "namespaces".into()), namespace);
        }
        collect::settle(&mut store);
        let shared = Arc::new(Shared {
            store: Mutex::new(store),
            tokens: Mutex::new(tokens),
            options,
            work: Notify::new(),
            closing: watch::Sender::new(0),
        });
        let weak = Arc::downgrade(&shared);
        tokio::spawn(async move {
            loop {
                let Some(shared) = weak.upgrade() else { return };
                // Woken now and then to notice that the server is gone.
                let _ = tokio::time::timeout(Duration::from_secs(5), shared.work.notified()).await;
                collect::settle(&mut shared.lock());
            }
        });
        Self { shared }
    }

    /// The API as a service: a transport for a client, or to be served on a socket.
    pub fn router(&self) -> Router {
        Router::new().fallback(handle).with_state(self.shared.clone())
    }

    /// Serves plain HTTP on a socket; aborting the task closes it.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub async fn listen(&self, address: SocketAddr) -> std::io::Result<(SocketAddr, JoinHandle<()>)> {
        let listener = tokio::net::TcpListener::bind(address).await?;
        let bound = listener.local_addr()?;
        // As a real API server: an event of a watch does not wait until the one before is confirmed.
        let listener = listener.tap_io(|socket| {
            let _ = socket.set_nodelay(true);
        });
        let router = self.router();
        let task = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, router).await {
                tracing::error!(%error, "the listener failed");
            }
        });
        Ok((bound, task))
    }

    /// Forgets all history: watches from an older version meet 410.
    pub fn compact(&self) {
        self.shared.lock().compact();
    }

    /// Ends every open watch, as a server that restarts would.
    pub fn close_watches(&self) {
        self.shared.closing.send_modify(|count| *count += 1);
    }

    /// A token for a user; a service account's name is `system:serviceaccount:<namespace>:<name>`.
    pub fn token(&self, user: &str) -> String {
        self.shared.issue_token(user)
    }
}

async fn handle(State(shared): State<Arc<Shared>>, request: Request<Body>) -> Response {
    match dispatch(shared, request).await {
        Ok(response) => response,
        Err(refusal) => refusal.into_response(),
    }
}

/// A request on its way through: everything but the body.
pub(crate) struct Call {
    pub(crate) shared: Arc<Shared>,
    pub(crate) parts: Parts,
    pub(crate) query: Query,
    pub(crate) target: Target,
    pub(crate) kind: Arc<Kind>,
    pub(crate) caller: Caller,
    pub(crate) verb: &'static str,
}

impl Call {
    pub(crate) fn view(&self) -> View {
        let form = request::form(&self.parts.headers);
        let newer_events = self.target.group == events::GROUP;
        View { kind: self.kind.clone(), version: self.target.version.clone(), form, newer_events }
    }
}

async fn dispatch(shared: Arc<Shared>, request: Request<Body>) -> Result<Response, Refusal> {
    let (parts, body) = request.into_parts();
    let query = Query::parse(parts.uri.query());
    let path = parts.uri.path().to_owned();
    let caller = {
        let store = shared.lock();
        identify(&store, &shared.tokens(), shared.options.rbac, &parts.headers)?
    };
    if let Some(answer) = discovery::answer(&shared, &path, &parts.headers) {
        return answer;
    }
    let kind = parts.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let protobuf = kind.contains("protobuf");
    if kind.contains("cbor") {
        return Err(Refusal::json_only());
    }
    let target = Target::parse(&path).ok_or_else(Refusal::no_such_path)?;
    let verb = request::verb(&parts, &target, &query)?;
    let bytes = match to_bytes(body, BODY_LIMIT).await {
        Ok(bytes) => bytes,
        Err(_) => return Err(Refusal::too_large()),
    };
    let bytes = match protobuf && !bytes.is_empty() {
        true => wire::read(&bytes).ok_or_else(Refusal::json_only)?.to_string().into(),
        false => bytes,
    };
    if let Some(answer) = reviews::answer(&shared, &target, &caller, &bytes) {
        return answer;
    }
    // The newer group of events is another view of the same ones.
    let (group, bytes) = match target.group.as_str() {
        events::GROUP => ("", core_event(&bytes)?),
        group => (group, bytes),
    };
    let kind = shared.lock().registry.get(group, &target.resource).cloned();
    let kind = kind.filter(|kind| kind.version(&target.version).is_some());
    let kind = kind.ok_or_else(|| {
        let store = shared.lock();
        let known = store
            .registry
            .all()
            .any(|kind| kind.group == target.group && kind.version(&target.version).is_some());
        // Below /api every version is answered for, below /apis only those that are served.
        if known || target.group.is_empty() { Refusal::no_such_path() } else { Refusal::no_such_group() }
    })?;
    if kind.namespaced && target.namespace.is_empty() && !matches!(verb, "list" | "watch") {
        return Err(if verb == "create" { Refusal::method_not_allowed() } else { Refusal::no_such_path() });
    }
    let wish = Wish::of(verb, &target);
    if !shared.may(&shared.lock(), &caller, &wish) {
        return Err(wish.refuse(&caller));
    }
    let call = Call { shared, parts, query, target, kind, caller, verb };
    endpoints::answer(call, &bytes)
}

fn core_event(body: &Bytes) -> Result<Bytes, Refusal> {
    if body.is_empty() {
        return Ok(Bytes::new());
    }
    let event: Value =
        serde_json::from_slice(body).map_err(|error| Refusal::bad_request(error.to_string()))?;
    Ok(if event.is_object() { events::to_core(&event).to_string().into() } else { body.clone() })
}

/// A JSON response from bytes.
pub(crate) fn respond(code: StatusCode, bytes: Vec<u8>, warnings: &[String]) -> Response {
    let mut response = (code, bytes).into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    for warning in warnings {
        let text = format!("299 - {}", Value::String(warning.clone()));
        if let Ok(value) = HeaderValue::from_str(&text) {
            headers.append(http::header::WARNING, value);
        }
    }
    response
}
