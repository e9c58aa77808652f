//! A fault proxy before an API server: it counts, refuses, delays, closes and crashes, replayably.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Result;
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use futures::StreamExt as _;
use http::{HeaderName, Request, StatusCode};
use kube::Client;
use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// One request that came through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The user agent's first word.
    pub agent: String,
    /// HTTP method.
    pub method: String,
    /// Path with namespace and name.
    pub path: String,
    /// Plural resource with its subresource, for example `kustomizations/status`.
    pub resource: String,
    /// Whether it could change something (no dry run).
    pub writes: bool,
    /// Whether it opens a watch.
    pub watches: bool,
    /// Whether it is made in somebody else's name.
    pub impersonates: bool,
    /// The server's answer; zero while there is none.
    pub code: u16,
}

impl Seen {
    fn read(request: &http::request::Parts) -> Self {
        let path = request.uri.path();
        let query = request.uri.query().unwrap_or_default();
        let has = |word: &str| query.split('&').any(|pair| pair == word);
        let words: Vec<&str> = path.split('/').filter(|word| !word.is_empty()).collect();
        let rest = match words.as_slice() {
            ["api", _, rest @ ..] | ["apis", _, _, rest @ ..] => rest,
            _ => &[],
        };
        let rest = match rest {
            ["namespaces", _, inner @ ..] if !matches!(inner, [] | ["status" | "finalize"]) => inner,
            _ => rest,
        };
        let resource = match rest {
            [resource, _, sub @ ..] if !sub.is_empty() => format!("{resource}/{}", sub.join("/")),
            [resource, ..] => (*resource).to_owned(),
            [] => String::new(),
        };
        let agent = request.headers.get(http::header::USER_AGENT).and_then(|value| value.to_str().ok());
        let agent = agent.unwrap_or_default().split(['/', ' ']).next().unwrap_or_default();
        let method = request.method.as_str();
        let asks = resource.ends_with("reviews") || resource == "serviceaccounts/token";
        Self {
            agent: agent.to_owned(),
            method: method.to_owned(),
            path: path.to_owned(),
            writes: method != "GET" && !has("dryRun=All") && !asks,
            watches: has("watch=true") || has("watch=1"),
            impersonates: request.headers.contains_key("impersonate-user"),
            resource,
            code: 0,
        }
    }

    /// Events are written behind and leases by the clock: neither is part of a scenario's writes.
    pub fn is_noise(&self) -> bool {
        matches!(self.resource.as_str(), "events" | "leases")
    }

    /// A write that a scenario consists of.
    pub fn counts(&self) -> bool {
        self.writes && !self.is_noise()
    }
}

/// What befalls a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Answered with this status instead of being forwarded: 409, 410, 429 (with `Retry-After: 1`), 500 and so on.
    Refuse(u16),
    /// Forwarded, but the answer is replaced by this status: the write happened, nobody was told.
    Swallow(u16),
    /// The connection is closed without an answer and without forwarding.
    Close,
    /// Never answered, nor forwarded.
    Hang,
    /// Forwarded once [`Proxy::release`] is called.
    Hold,
}

type Test = Arc<dyn Fn(&Seen) -> bool + Send + Sync>;

/// A fault with the requests it befalls.
#[derive(Clone)]
pub struct Rule {
    when: Test,
    skip: u64,
    times: u64,
    fault: Fault,
}

impl Rule {
    /// Befalls the first `times` requests that satisfy `when`.
    pub fn first(times: u64, fault: Fault, when: impl Fn(&Seen) -> bool + Send + Sync + 'static) -> Self {
        Self { when: Arc::new(when), skip: 0, times, fault }
    }

    /// Befalls only the `n`-th request (from one) that satisfies `when`.
    pub fn nth(n: u64, fault: Fault, when: impl Fn(&Seen) -> bool + Send + Sync + 'static) -> Self {
        Self { when: Arc::new(when), skip: n.saturating_sub(1), times: 1, fault }
    }
}

/// Random but replayable faults: the same seed strikes the same requests, counted in order of arrival.
#[derive(Clone, Copy, Debug)]
pub struct Chaos {
    /// Where the sequence starts.
    pub seed: u64,
    /// How many of a thousand requests are struck.
    pub per_mille: u64,
}

const MENU: [Fault; 5] =
    [Fault::Refuse(409), Fault::Refuse(429), Fault::Refuse(500), Fault::Swallow(500), Fault::Close];

impl Chaos {
    fn strikes(self, index: u64) -> Option<Fault> {
        let roll = mix(self.seed ^ mix(index));
        if roll % 1000 >= self.per_mille {
            return None;
        }
        let pick = usize::try_from((roll >> 32) % 5).unwrap_or(0);
        MENU.get(pick).copied()
    }
}

/// SplitMix64's finalizer.
fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[derive(Default)]
struct Plan {
    log: Vec<Seen>,
    rules: Vec<Rule>,
    chaos: Option<Chaos>,
    arrivals: u64,
    /// Writes still to be let through before the lights go out.
    crash_in: Option<u64>,
}

struct Shared {
    upstream: Client,
    plan: Mutex<Plan>,
    /// Nothing passes in either direction.
    dark: watch::Sender<bool>,
    /// Watches deliver nothing, everything else passes.
    held: watch::Sender<bool>,
    closing: watch::Sender<u64>,
    releasing: watch::Sender<u64>,
    logged: watch::Sender<u64>,
}

impl Shared {
    fn plan(&self) -> MutexGuard<'_, Plan> {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A proxy on loopback; ends when dropped.
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

impl Proxy {
    /// Starts a proxy that forwards everything under the upstream client's identity.
    ///
    /// # Errors
    /// When no port is free.
    pub async fn start(upstream: Client) -> Result<Self> {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            upstream,
            plan: Mutex::default(),
            dark: watch::Sender::new(false),
            held: watch::Sender::new(false),
            closing: watch::Sender::new(0),
            releasing: watch::Sender::new(0),
            logged: watch::Sender::new(0),
        });
        let router = Router::new().fallback(pass).with_state(shared.clone());
        let task = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, router).await {
                tracing::error!(%error, "the proxy ended");
            }
        });
        Ok(Self { address, shared, task })
    }

    /// A kubeconfig that leads through the proxy.
    pub fn kubeconfig(&self) -> String {
        sluice_localapi::kubeconfig(self.address, None)
    }

    /// Everything that came through so far, in order of arrival.
    pub fn log(&self) -> Vec<Seen> {
        self.shared.plan().log.clone()
    }

    /// Forgets the log.
    pub fn clear(&self) {
        self.shared.plan().log.clear();
    }

    /// The writes of the scenario so far: no Events, no Leases, no dry runs.
    pub fn writes(&self) -> Vec<Seen> {
        self.log().into_iter().filter(Seen::counts).collect()
    }

    /// Goes dark right after the server answered the `n`-th write (from one) that is still to come; the answer is lost.
    pub fn crash_after(&self, n: u64) {
        self.shared.plan().crash_in = Some(n);
    }

    /// Waits until the proxy went dark.
    pub async fn crashed(&self) {
        let mut dark = self.shared.dark.subscribe();
        // The sender lives as long as this proxy.
        let _ = dark.wait_for(|dark| *dark).await;
    }

    /// Whether it is dark.
    pub fn is_dark(&self) -> bool {
        *self.shared.dark.borrow()
    }

    /// Ends the darkness, and forgets a crash still to come.
    pub fn resume(&self) {
        self.shared.plan().crash_in = None;
        self.shared.dark.send_replace(false);
    }

    /// Replaces the rules.
    pub fn set_rules(&self, rules: Vec<Rule>) {
        self.shared.plan().rules = rules;
    }

    /// Waits until every fault of the rules has struck.
    pub async fn struck(&self) {
        let mut logged = self.shared.logged.subscribe();
        while self.shared.plan().rules.iter().any(|rule| rule.times > 0) {
            if logged.changed().await.is_err() {
                return;
            }
        }
    }

    /// Forwards what is held.
    pub fn release(&self) {
        self.shared.releasing.send_modify(|count| *count += 1);
    }

    /// Starts or ends chaos.
    pub fn set_chaos(&self, chaos: Option<Chaos>) {
        let mut plan = self.shared.plan();
        plan.chaos = chaos;
        plan.arrivals = 0;
    }

    /// Lets watches lag (nothing is delivered) or catch up.
    pub fn hold_watches(&self, held: bool) {
        self.shared.held.send_replace(held);
    }

    /// Closes every open watch.
    pub fn close_watches(&self) {
        self.shared.closing.send_modify(|count| *count += 1);
    }

    /// Waits until the log satisfies `until`.
    pub async fn wait(&self, until: impl Fn(&[Seen]) -> bool) {
        let mut logged = self.shared.logged.subscribe();
        while !until(&self.shared.plan().log) {
            if logged.changed().await.is_err() {
                return;
            }
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Headers that belong to one connection or to the caller's own credentials.
const OWN: [&str; 5] = ["host", "content-length", "transfer-encoding", "connection", "authorization"];

async fn lit(shared: &Shared) {
    let mut dark = shared.dark.subscribe();
    let _ = dark.wait_for(|dark| !*dark).await;
}

async fn pass(State(shared): State<Arc<Shared>>, request: Request<Body>) -> Response {
    lit(&shared).await;
    let (parts, body) = request.into_parts();
    let seen = Seen::read(&parts);
    let mut releasing = shared.releasing.subscribe();
    let (index, fault) = arrive(&shared, &seen);
    match fault {
        Some(Fault::Refuse(code)) => return finish(&shared, index, code, refusal(code)),
        Some(Fault::Close) => return finish(&shared, index, 0, broken()),
        Some(Fault::Hang) => std::future::pending().await,
        Some(Fault::Hold) => {
            shared.logged.send_modify(|count| *count += 1);
            // The sender lives as long as this request.
            let _ = releasing.changed().await;
        }
        Some(Fault::Swallow(_)) | None => {}
    }
    let Ok(bytes) = to_bytes(body, usize::MAX).await else { return broken() };
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
    let mut forward = Request::new(kube::client::Body::from(bytes.to_vec()));
    *forward.method_mut() = parts.method;
    if let Ok(uri) = path.parse() {
        *forward.uri_mut() = uri;
    }
    for (name, value) in &parts.headers {
        if !OWN.contains(&name.as_str()) {
            forward.headers_mut().append(name.clone(), value.clone());
        }
    }
    let answer = match shared.upstream.send(forward).await {
        Ok(answer) => answer,
        Err(error) => {
            tracing::warn!(%error, "the upstream failed");
            return finish(&shared, index, 502, refusal(502));
        }
    };
    let code = answer.status().as_u16();
    if seen.counts() && (200..300).contains(&code) && goes_dark(&shared) {
        note(&shared, index, code);
        lit(&shared).await;
        return broken();
    }
    if let Some(Fault::Swallow(code)) = fault {
        return finish(&shared, index, code, refusal(code));
    }
    // What was on its way when the lights went out never arrives.
    lit(&shared).await;
    note(&shared, index, code);
    relay(&shared, &seen, answer)
}

/// Logs the request and finds the fault that befalls it.
fn arrive(shared: &Shared, seen: &Seen) -> (usize, Option<Fault>) {
    let mut plan = shared.plan();
    plan.log.push(seen.clone());
    let index = plan.log.len() - 1;
    let mut fault = None;
    for rule in plan.rules.iter_mut().filter(|rule| rule.times > 0 && (rule.when)(seen)) {
        if rule.skip > 0 {
            rule.skip -= 1;
            continue;
        }
        rule.times -= 1;
        fault = fault.or(Some(rule.fault));
    }
    if !seen.watches {
        plan.arrivals += 1;
        let arrivals = plan.arrivals;
        fault = fault.or(plan.chaos.and_then(|chaos| chaos.strikes(arrivals)));
    }
    (index, fault)
}

/// Counts a successful write; true for the one after which everything stops.
fn goes_dark(shared: &Shared) -> bool {
    let mut plan = shared.plan();
    let Some(left) = plan.crash_in.as_mut() else { return false };
    *left = left.saturating_sub(1);
    if *left > 0 {
        return false;
    }
    plan.crash_in = None;
    drop(plan);
    shared.dark.send_replace(true);
    true
}

fn note(shared: &Shared, index: usize, code: u16) {
    if let Some(seen) = shared.plan().log.get_mut(index) {
        seen.code = code;
    }
    shared.logged.send_modify(|count| *count += 1);
}

fn finish(shared: &Shared, index: usize, code: u16, response: Response) -> Response {
    note(shared, index, code);
    response
}

fn relay(shared: &Arc<Shared>, seen: &Seen, answer: http::Response<kube::client::Body>) -> Response {
    let (parts, body) = answer.into_parts();
    let body = if seen.watches {
        let (shared, closing) = (shared.clone(), shared.closing.subscribe());
        let chunks = http_body_util::BodyExt::into_data_stream(body);
        let state = (chunks, shared, closing);
        Body::from_stream(futures::stream::unfold(state, |(mut chunks, shared, mut closing)| async move {
            let chunk = tokio::select! {
                chunk = chunks.next() => chunk?,
                _ = closing.changed() => return None,
            };
            let mut held = shared.held.subscribe();
            tokio::select! {
                _ = held.wait_for(|held| !*held) => {}
                _ = closing.changed() => return None,
            }
            lit(&shared).await;
            Some((chunk, (chunks, shared, closing)))
        }))
    } else {
        Body::new(body)
    };
    let mut response = Response::new(body);
    *response.status_mut() = parts.status;
    for (name, value) in &parts.headers {
        if !OWN.contains(&name.as_str()) {
            response.headers_mut().append(name.clone(), value.clone());
        }
    }
    response
}

fn refusal(code: u16) -> Response {
    let reason = match code {
        409 => "Conflict",
        410 => "Expired",
        429 => "TooManyRequests",
        500 => "InternalError",
        503 => "ServiceUnavailable",
        504 => "Timeout",
        _ => "Unknown",
    };
    let body = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "reason": reason,
        "code": code, "message": format!("the fault proxy says {code}")});
    let status = StatusCode::from_u16(code).unwrap_or(StatusCode::BAD_GATEWAY);
    let mut response = (status, axum::Json(body)).into_response();
    if code == 429 {
        response
            .headers_mut()
            .insert(HeaderName::from_static("retry-after"), http::HeaderValue::from_static("1"));
    }
    response
}

/// A response whose body breaks off: the client sees a closed connection.
fn broken() -> Response {
    let broken = futures::stream::once(async {
        Err::<Vec<u8>, _>(std::io::Error::other("closed by the fault proxy"))
    });
    let mut response = Response::new(Body::from_stream(broken));
    *response.status_mut() = StatusCode::OK;
    response
}
