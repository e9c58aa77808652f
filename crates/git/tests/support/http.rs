use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};

/// Paths and headers of the requests so far.
pub(crate) type Seen = Arc<Mutex<Vec<(String, HeaderMap)>>>;

/// What a server does besides serving.
#[derive(Clone, Default)]
pub(crate) struct Behaviour {
    /// The `Authorization` header that is wanted.
    pub(crate) authorization: Option<String>,
    /// Speak the old protocol only.
    pub(crate) old: bool,
    /// Stop in the middle of answers to `POST` requests that are longer than this.
    pub(crate) stall: Option<Arc<std::sync::atomic::AtomicUsize>>,
    /// So many `POST` requests are answered with 404.
    pub(crate) lost: Option<Arc<std::sync::atomic::AtomicUsize>>,
    /// Send requests for `info/refs` elsewhere.
    pub(crate) redirect: Option<String>,
}

/// A smart HTTP server.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) seen: Seen,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Service {
    root: PathBuf,
    behaviour: Behaviour,
    seen: Seen,
}

impl Server {
    pub(crate) async fn start(root: &Path) -> Self {
        Self::with(root, Behaviour::default()).await
    }

    pub(crate) async fn with(root: &Path, behaviour: Behaviour) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (router, seen) = router(root, behaviour);
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { address, seen, task }
    }

    pub(crate) async fn tls(root: &Path, config: rustls::ServerConfig) -> Self {
        let inner = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = inner.local_addr().unwrap();
        let (router, seen) = router(root, Behaviour::default());
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
        let listener = TlsListener { inner, acceptor };
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { address, seen, task }
    }

    pub(crate) fn url(&self, name: &str) -> String {
        format!("http://{}/{name}.git", self.address)
    }

    pub(crate) fn requests(&self) -> usize {
        self.seen.lock().unwrap().len()
    }
}

struct TlsListener {
    inner: TcpListener,
    acceptor: tokio_rustls::TlsAcceptor,
}

impl axum::serve::Listener for TlsListener {
    type Io = tokio_rustls::server::TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, SocketAddr) {
        loop {
            let (stream, address) = self.inner.accept().await.unwrap();
            if let Ok(stream) = self.acceptor.accept(stream).await {
                return (stream, address);
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.inner.local_addr()
    }
}

fn router(root: &Path, behaviour: Behaviour) -> (Router, Seen) {
    let seen: Seen = Arc::default();
    let service = Service { root: root.to_owned(), behaviour, seen: seen.clone() };
    (Router::new().fallback(serve).with_state(Arc::new(service)), seen)
}

async fn serve(State(service): State<Arc<Service>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    service.seen.lock().unwrap().push((parts.uri.path().to_owned(), parts.headers.clone()));
    if let Some(target) = service.behaviour.redirect.as_ref().filter(|_| parts.method == "GET") {
        let location = format!("{target}{}", parts.uri.path_and_query().unwrap());
        return (StatusCode::FOUND, [(header::LOCATION, location)]).into_response();
    }
    let given = parts.headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    if service.behaviour.authorization.is_some() && service.behaviour.authorization.as_deref() != given {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    if let Some(lost) = service.behaviour.lost.as_ref().filter(|_| parts.method == "POST") {
        use std::sync::atomic::Ordering::Relaxed;
        if lost.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1)).is_ok() {
            return StatusCode::NOT_FOUND.into_response();
        }
    }
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    let mut command = tokio::process::Command::new("git");
    command
        .arg("http-backend")
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap())
        .env("GIT_PROJECT_ROOT", &service.root)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("REQUEST_METHOD", parts.method.as_str())
        .env("PATH_INFO", parts.uri.path())
        .env("QUERY_STRING", parts.uri.query().unwrap_or_default())
        .env("CONTENT_LENGTH", body.len().to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    if let Some(kind) = parts.headers.get(header::CONTENT_TYPE) {
        command.env("CONTENT_TYPE", kind.to_str().unwrap());
    }
    if let Some(version) = parts.headers.get("git-protocol").filter(|_| !service.behaviour.old) {
        command.env("GIT_PROTOCOL", version.to_str().unwrap());
    }
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let writer = tokio::spawn(async move {
        let _ = stdin.write_all(&body).await;
    });
    let output = child.wait_with_output().await.unwrap();
    writer.await.unwrap();
    let end = output.stdout.windows(4).position(|w| w == b"\r\n\r\n").unwrap();
    let mut response = Response::builder();
    for line in String::from_utf8_lossy(&output.stdout[..end]).lines() {
        let (name, value) = line.split_once(": ").unwrap();
        response = match name {
            "Status" => response.status(value[..3].parse::<u16>().unwrap()),
            _ => response.header(name, value),
        };
    }
    let body = output.stdout[end + 4..].to_vec();
    let limit =
        service.behaviour.stall.as_ref().map(|limit| limit.load(std::sync::atomic::Ordering::Relaxed));
    match limit.filter(|limit| parts.method == "POST" && body.len() > *limit) {
        Some(limit) => {
            let start = futures::stream::iter([Ok::<_, std::io::Error>(body[..limit].to_vec())]);
            let silence = futures::stream::pending();
            response.body(Body::from_stream(futures::StreamExt::chain(start, silence))).unwrap()
        }
        None => response.body(Body::from(body)).unwrap(),
    }
}
