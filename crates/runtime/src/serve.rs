//! Health probes and metrics over HTTP.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use axum::Router;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::routing::get;
use axum::serve::ListenerExt as _;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::metrics::{self, Registry};

/// Listens on an address as Go writes them: `host:port`, or `:port` for all interfaces.
///
/// # Errors
/// When the address is malformed or taken.
pub async fn listen(address: &str) -> io::Result<TcpListener> {
    match address.strip_prefix(':') {
        Some(port) => {
            let port: u16 =
                port.parse().map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
            match TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)).await {
                Ok(listener) => Ok(listener),
                // A host without IPv6.
                Err(_) => TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).await,
            }
        }
        None => TcpListener::bind(address).await,
    }
}

/// Serves a router until the token is tripped.
pub async fn serve(listener: TcpListener, router: Router, stop: CancellationToken) {
    let listener = listener.tap_io(|socket| {
        // An answer leaves in several small writes: the later ones shall not wait until the first is confirmed.
        // A socket that cannot do without that is only slower.
        let _ = socket.set_nodelay(true);
    });
    let served = axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned()).await;
    if let Err(error) = served {
        tracing::error!(error = %error, "a server ended");
    }
}

/// `/healthz` and `/readyz`: while the process can answer, it is well.
pub fn probes() -> Router {
    let well = || async { "ok" };
    Router::new().route("/healthz", get(well)).route("/readyz", get(well))
}

/// What whoever looks for a Go profile is told.
const NO_PROFILES: &str = "there are no Go profiles here: this controller is not a Go program. CPU time, memory and \
                           requests are on /metrics; perf and heaptrack can profile the process\n";

/// `/metrics`, and a word to those who look for profiles.
pub fn metrics(registry: Arc<Registry>) -> Router {
    let render = move || {
        let registry = registry.clone();
        async move { ([(CONTENT_TYPE, metrics::CONTENT_TYPE)], registry.render()) }
    };
    let sorry = || async { (StatusCode::NOT_FOUND, NO_PROFILES) };
    Router::new()
        .route("/metrics", get(render))
        .route("/debug/pprof/", get(sorry))
        .route("/debug/pprof/{*profile}", get(sorry))
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use http::Request;
    use http_body_util::BodyExt;
    use tower::ServiceExt;

    use super::*;

    async fn ask(router: Router, path: &str) -> (StatusCode, String) {
        let answer = router.oneshot(Request::get(path).body(Body::empty()).unwrap()).await.unwrap();
        let status = answer.status();
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn probes_and_metrics_answer() {
        assert_eq!(ask(probes(), "/healthz").await.0, StatusCode::OK);
        assert_eq!(ask(probes(), "/readyz").await.0, StatusCode::OK);
        let registry = Arc::new(Registry::default());
        registry.counter("x_total", "X.", &[]).inc(&[]);
        let (status, text) = ask(metrics(registry.clone()), "/metrics").await;
        assert_eq!((status, text.contains("x_total 1")), (StatusCode::OK, true));
        for path in ["/debug/pprof/", "/debug/pprof/heap"] {
            let (status, text) = ask(metrics(registry.clone()), path).await;
            assert_eq!((status, text.starts_with("there are no Go profiles")), (StatusCode::NOT_FOUND, true));
        }
    }

    #[tokio::test]
    async fn addresses_are_read_as_go_writes_them() {
        for (address, good) in [("127.0.0.1:0", true), (":0", true), (":http", false), ("nonsense", false)] {
            assert_eq!(listen(address).await.is_ok(), good, "{address}");
        }
    }
}
