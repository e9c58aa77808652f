use std::time::Duration;

use axum::Router;
use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::serve::ListenerExt as _;
use http::StatusCode;
use sluice_types::RelPath;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;
use tower_http::services::ServeFile;

use crate::store::Store;
use crate::{LOCK_SUFFIX, RECORD_SUFFIX, TEMP_SUFFIX};

/// How long requests in flight may take once the server is asked to stop.
const GRACE: Duration = Duration::from_secs(5);

/// Answers `GET` and `HEAD` with the store's files: ranges, conditions, entity tags, no listings. The root
/// answers 200, for probes.
pub fn router(store: &Store) -> Router {
    Router::new().route("/", get(|| async { "" })).route("/{*path}", get(file)).with_state(store.clone())
}

/// Serves until `stop` is tripped, and then for as long as requests in flight need, five seconds at most.
///
/// # Errors
/// When the listener fails.
pub async fn serve(store: Store, listener: TcpListener, stop: CancellationToken) -> std::io::Result<()> {
    let asked = stop.clone();
    let listener = listener.tap_io(|socket| {
        // An answer leaves in several small writes: the later ones shall not wait until the first is confirmed.
        // A socket that cannot do without that is only slower.
        let _ = socket.set_nodelay(true);
    });
    let server = axum::serve(listener, router(&store)).with_graceful_shutdown(stop.cancelled_owned());
    tokio::select! {
        result = server => result,
        () = async { asked.cancelled().await; tokio::time::sleep(GRACE).await } => Ok(()),
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
