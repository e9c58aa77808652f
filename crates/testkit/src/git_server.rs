//! Git's smart HTTP protocol on loopback, answered by the host's `git http-backend`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use axum::serve::ListenerExt as _;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio::task::JoinHandle;

/// Most bytes of one request's body.
const LARGEST_BODY: usize = 1 << 30;

/// Serves every bare repository below a folder until dropped.
pub struct GitServer {
    address: SocketAddr,
    served: Arc<Served>,
    task: JoinHandle<()>,
}

struct Served {
    root: PathBuf,
    requests: AtomicU64,
    micros: AtomicU64,
}

impl GitServer {
    /// Listens on a free port of loopback.
    ///
    /// # Errors
    /// When no port is free.
    pub async fn start(root: &Path) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let listener = listener.tap_io(|socket| {
            // A socket that keeps Nagle's algorithm is only slower.
            let _ = socket.set_nodelay(true);
        });
        let served = Arc::new(Served {
            root: root.canonicalize()?,
            requests: AtomicU64::new(0),
            micros: AtomicU64::new(0),
        });
        let router = Router::new().fallback(answer).with_state(served.clone());
        let task = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, router).await {
                tracing::error!(%error, "git server ended");
            }
        });
        Ok(Self { address, served, task })
    }

    /// The URL of a repository, for example `http://127.0.0.1:1234/apps.git`.
    pub fn url(&self, repository: &str) -> String {
        format!("http://{}/{repository}", self.address)
    }

    /// Requests answered so far, and the time spent in git itself.
    pub fn spent(&self) -> (u64, Duration) {
        let micros = self.served.micros.load(Ordering::Relaxed);
        (self.served.requests.load(Ordering::Relaxed), Duration::from_micros(micros))
    }
}

impl Drop for GitServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn answer(State(served): State<Arc<Served>>, request: Request) -> Response<Body> {
    let begun = Instant::now();
    let answer = backend(&served.root, request).await;
    served.requests.fetch_add(1, Ordering::Relaxed);
    let micros = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
    served.micros.fetch_add(micros, Ordering::Relaxed);
    answer.unwrap_or_else(|error| {
        let mut refused = Response::new(Body::from(format!("{error:#}")));
        *refused.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        refused
    })
}

async fn backend(root: &Path, request: Request) -> Result<Response<Body>> {
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, LARGEST_BODY).await.context("reading the request")?;
    let text = |name: HeaderName| header_text(&parts.headers, &name);
    let mut command = Command::new("git");
    command
        .arg("http-backend")
        .env("GIT_PROJECT_ROOT", root)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("PATH_INFO", parts.uri.path())
        .env("QUERY_STRING", parts.uri.query().unwrap_or(""))
        .env("REQUEST_METHOD", parts.method.as_str())
        .env("CONTENT_TYPE", text(header::CONTENT_TYPE))
        .env("CONTENT_LENGTH", body.len().to_string())
        .env("REMOTE_USER", "loopback")
        .env("REMOTE_ADDR", "127.0.0.1")
        .env("HTTP_CONTENT_ENCODING", text(header::CONTENT_ENCODING))
        .env("GIT_PROTOCOL", text(HeaderName::from_static("git-protocol")))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true);
    let mut child = command.spawn().context("starting git http-backend")?;
    let mut stdin = child.stdin.take().context("git http-backend has no standard input")?;
    let feed = async move {
        // The backend may close its input early; what it then answers is what counts.
        stdin.write_all(&body).await.ok();
    };
    let (output, ()) = tokio::join!(child.wait_with_output(), feed);
    parse(Bytes::from(output.context("running git http-backend")?.stdout))
}

fn header_text(headers: &HeaderMap, name: &HeaderName) -> String {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("").to_owned()
}

/// Reads a CGI answer: headers, an empty line, the body.
fn parse(output: Bytes) -> Result<Response<Body>> {
    let split = output
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .context("git http-backend gave no headers")?;
    let mut response = Response::new(Body::from(output.slice(split + 4..)));
    for line in String::from_utf8_lossy(&output[..split]).lines() {
        let Some((name, value)) = line.split_once(": ") else { continue };
        if name.eq_ignore_ascii_case("status") {
            let code = value.split(' ').next().unwrap_or("500");
            *response.status_mut() = StatusCode::from_bytes(code.as_bytes())?;
        } else {
            response
                .headers_mut()
                .insert(HeaderName::from_bytes(name.as_bytes())?, HeaderValue::from_str(value)?);
        }
    }
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repository::Repository;

    #[tokio::test]
    async fn a_clone_over_http_holds_what_was_committed() {
        let folder = tempfile::tempdir().unwrap();
        let repository = Repository::create(folder.path(), "apps").unwrap();
        let hash = repository.commit("first", &[("a/b.yaml", Some("x: 1\n"))]).unwrap();
        let server = GitServer::start(folder.path()).await.unwrap();
        let url = server.url(&repository.served_name());
        let listed = Command::new("git").args(["ls-remote", &url, "refs/heads/main"]).output().await.unwrap();
        assert_eq!(String::from_utf8_lossy(&listed.stdout), format!("{hash}\trefs/heads/main\n"));
        assert!(server.spent().0 > 0);
    }
}
