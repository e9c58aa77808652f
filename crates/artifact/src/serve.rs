use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::StatusCode;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use sluice_types::RelPath;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;
use tower_http::services::ServeFile;

use crate::paced::Paced;
use crate::store::Store;
use crate::{LOCK_SUFFIX, RECORD_SUFFIX, TEMP_SUFFIX};

/// How long requests in flight may take once the server is asked to stop.
const GRACE: Duration = Duration::from_secs(5);
/// Pause before another client is let in when one could not be.
const BREATH: Duration = Duration::from_secs(1);
/// Bytes of a request's head.
const LARGEST_HEAD: usize = 16 << 10;
/// Bytes of one connection's buffers.
const BUFFER: usize = 128 << 10;

/// Answers `GET` and `HEAD` with the store's files: ranges, conditions, entity tags, no listings. The root
/// answers 200, for probes.
pub fn router(store: &Store) -> Router {
    Router::new().route("/", get(|| async { "" })).route("/{*path}", get(file)).with_state(store.clone())
}

/// What clients may take up.
#[derive(Clone, Copy, Debug)]
pub struct ServeLimits {
    /// Connections at one time; further ones wait until one ends.
    pub connections: usize,
    /// For the head of a request, the next one on a kept connection included.
    pub head: Duration,
    /// For each piece of an answer to be taken.
    pub piece: Duration,
}

impl Default for ServeLimits {
    fn default() -> Self {
        Self { connections: 1024, head: Duration::from_secs(30), piece: Duration::from_secs(30) }
    }
}

/// Serves until `stop` is tripped, and then for as long as requests in flight need, five seconds at most.
///
/// # Errors
/// When the listener fails.
pub async fn serve(
    store: Store,
    listener: TcpListener,
    limits: ServeLimits,
    stop: CancellationToken,
) -> io::Result<()> {
    let (router, slots) = (router(&store), Arc::new(Semaphore::new(limits.connections.max(1))));
    let mut connections = JoinSet::new();
    loop {
        let accepted = async {
            let slot = slots.clone().acquire_owned().await.map_err(io::Error::other)?;
            Ok::<_, io::Error>((slot, accept(&listener).await?))
        };
        let (slot, socket) = tokio::select! {
            accepted = accepted => accepted?,
            () = stop.cancelled() => break,
        };
        // An answer leaves in several small writes: the later ones shall not wait until the first is confirmed.
        // A socket that cannot do without that is only slower.
        let _ = socket.set_nodelay(true);
        let (router, stop) = (router.clone(), stop.clone());
        connections.spawn(async move {
            connection(socket, router, limits, stop).await;
            drop(slot);
        });
        while connections.try_join_next().is_some() {}
    }
    drop(listener);
    let ended = async { while connections.join_next().await.is_some() {} };
    // What is still under way then is cut off.
    let _ = tokio::time::timeout(GRACE, ended).await;
    Ok(())
}

/// The next client. Out of descriptors, those that are there must end first.
async fn accept(listener: &TcpListener) -> io::Result<TcpStream> {
    loop {
        match listener.accept().await {
            Ok((socket, _)) => return Ok(socket),
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => return Err(error),
            Err(error) => {
                tracing::warn!(%error, "a connection to the artifact server was not accepted");
                tokio::time::sleep(BREATH).await;
            }
        }
    }
}

async fn connection<T>(socket: T, router: Router, limits: ServeLimits, stop: CancellationToken)
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let socket = TokioIo::new(Paced::new(socket, limits.piece));
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(limits.head)
        .max_header_size(LARGEST_HEAD)
        .max_buf_size(BUFFER);
    let mut served = std::pin::pin!(http.serve_connection(socket, TowerToHyperService::new(router)));
    let ended = tokio::select! {
        ended = &mut served => ended,
        () = stop.cancelled() => {
            served.as_mut().graceful_shutdown();
            served.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection to the artifact server ended");
    }
}

async fn file(State(store): State<Store>, Path(path): Path<String>, request: Request) -> Response {
    let Some(path) = visible(&path) else { return StatusCode::NOT_FOUND.into_response() };
    let file = store.root().join(path.as_str());
    if !tokio::fs::metadata(&file).await.is_ok_and(|meta| meta.is_file()) {
        return StatusCode::NOT_FOUND.into_response();
    }
    match ServeFile::new(file).oneshot(request).await {
        Ok(response) => response.into_response(),
        Err(never) => match never {},
    }
}

/// Confined, and neither hidden nor of use to the store alone.
fn visible(path: &str) -> Option<RelPath> {
    let path = RelPath::new(path).ok().filter(|confined| confined.as_str() == path)?;
    let hidden = path.components().any(|segment| segment.starts_with('.'));
    let private =
        [LOCK_SUFFIX, RECORD_SUFFIX, TEMP_SUFFIX].iter().any(|suffix| path.as_str().ends_with(suffix));
    (!hidden && !private).then_some(path)
}

#[cfg(test)]
#[path = "serve_tests.rs"]
mod tests;
