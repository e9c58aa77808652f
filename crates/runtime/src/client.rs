//! The client of the process: found credentials, a name, and a count of every request.

use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::header::USER_AGENT;
use http::{HeaderValue, Request, Response, Uri};
use kube::client::{Body, ClientBuilder};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use reqwest::Url;
use sluice_types::Proxies;
use tower::{Layer, Service};

use crate::metrics::{Family, Registry};

/// No usable credentials or address.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no configuration.
    #[error("failed to find a kubeconfig: {0}")]
    Infer(#[from] kube::config::InferConfigError),
    /// The file cannot be used.
    #[error("failed to read the kubeconfig: {0}")]
    File(#[from] kube::config::KubeconfigError),
    /// The configuration cannot be used.
    #[error("failed to make a client: {0}")]
    Client(#[from] kube::Error),
}

/// Makes a client from a kubeconfig file, else from `$KUBECONFIG`, the user's file or the pod's own credentials.
/// Returns it with the namespace that the credentials belong to.
///
/// # Errors
/// When there are no usable credentials.
pub async fn connect(
    kubeconfig: Option<&Path>,
    agent: &str,
    proxies: &Proxies,
    registry: &Registry,
) -> Result<(Client, String), Error> {
    crate::tls::install();
    let (mut config, file) = match kubeconfig {
        Some(path) => {
            let file = Kubeconfig::read_from(path)?;
            let config = Config::from_custom_kubeconfig(file.clone(), &KubeConfigOptions::default()).await?;
            (config, Some(file))
        }
        // Without a file these are the pod's own, and its API server is not behind a proxy.
        None => (Config::infer().await?, Kubeconfig::read().ok()),
    };
    config.proxy_url = file.and_then(|file| proxy(&file, &config.cluster_url, proxies));
    let namespace = config.default_namespace.clone();
    let counting = Counting::new(agent, &config, registry);
    Ok((ClientBuilder::try_from(config)?.with_layer(&counting).build(), namespace))
}

/// The proxy that a kubeconfig names for its server, or that of the process. What the client would make of the
/// process' environment by itself does not spare loopback.
fn proxy(file: &Kubeconfig, server: &Uri, proxies: &Proxies) -> Option<Uri> {
    let current = file.current_context.as_deref()?;
    let context = file.contexts.iter().find(|context| context.name == current)?.context.as_ref()?;
    let cluster = file.clusters.iter().find(|cluster| cluster.name == context.cluster)?.cluster.as_ref()?;
    let named = cluster.proxy_url.as_deref().filter(|proxy| !proxy.is_empty());
    let url = Url::parse(&server.to_string()).ok()?;
    named.or_else(|| proxies.to(&url))?.parse().ok()
}

/// Counts requests by code, method and host, and names the client.
#[derive(Clone)]
pub struct Counting {
    agent: Option<HeaderValue>,
    host: Arc<str>,
    requests: Arc<Family>,
}

impl Counting {
    /// For clients of this configuration; the agent is `sluice-<controller>/<version>`.
    pub fn new(agent: &str, config: &Config, registry: &Registry) -> Self {
        let host = config.cluster_url.authority().map(|authority| authority.as_str()).unwrap_or_default();
        let requests = registry.counter(
            "rest_client_requests_total",
            "Number of HTTP requests, partitioned by status code, method, and host.",
            &["code", "method", "host"],
        );
        Self { agent: HeaderValue::from_str(agent).ok(), host: host.into(), requests }
    }
}

impl<S> Layer<S> for Counting {
    type Service = Counted<S>;

    fn layer(&self, inner: S) -> Counted<S> {
        Counted { inner, counting: self.clone() }
    }
}

/// A service whose requests are counted.
#[derive(Clone)]
pub struct Counted<S> {
    inner: S,
    counting: Counting,
}

impl<S, B> Service<Request<Body>> for Counted<S>
where
    S: Service<Request<Body>, Response = Response<B>>,
    S::Future: Send + 'static,
    S::Error: 'static,
    B: 'static,
{
    type Response = Response<B>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<B>, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let counting = self.counting.clone();
        if let Some(agent) = &counting.agent {
            request.headers_mut().insert(USER_AGENT, agent.clone());
        }
        let method = request.method().clone();
        let answer = self.inner.call(request);
        Box::pin(async move {
            let answer = answer.await;
            let code = answer.as_ref().ok().map(Response::status);
            let code = code.as_ref().map_or("<error>", |code| code.as_str());
            counting.requests.inc(&[code, method.as_str(), &counting.host]);
            answer
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_on_loopback_is_reached_directly_unless_the_file_says_otherwise() {
        let proxies = Proxies::read(|name| (name == "HTTPS_PROXY").then(|| "http://process:1".to_owned()));
        let of = |server: &str, named: &str| {
            let text = format!(
                "current-context: c\ncontexts: [{{name: c, context: {{cluster: k}}}}]\n\
                 clusters: [{{name: k, cluster: {{server: '{server}'{named}}}}}]\n"
            );
            let file = Kubeconfig::from_yaml(&text).unwrap();
            proxy(&file, &server.parse().unwrap(), &proxies).map(|proxy| proxy.to_string())
        };
        assert_eq!(of("https://127.0.0.1:6443", ""), None);
        assert_eq!(of("https://localhost:6443", ""), None);
        assert_eq!(of("https://api.example:6443", ""), Some("http://process:1/".to_owned()));
        let named = of("https://127.0.0.1:6443", ", proxy-url: 'http://file:2'");
        assert_eq!(named, Some("http://file:2/".to_owned()));
    }

    #[tokio::test]
    async fn requests_are_counted_and_carry_the_agent() {
        let registry = Registry::default();
        let config = Config::new(http::Uri::from_static("https://api.example:6443"));
        let counting = Counting::new("sluice-test/v1", &config, &registry);
        let service = tower::service_fn(|request: Request<Body>| async move {
            assert_eq!(request.headers()[USER_AGENT], "sluice-test/v1");
            let code = if request.uri().path() == "/missing" { 404 } else { 200 };
            Response::builder().status(code).body(())
        });
        let mut counted = counting.layer(service);
        for path in ["/", "/missing", "/missing"] {
            let request = Request::get(path).body(Body::empty()).unwrap();
            counted.call(request).await.unwrap();
        }
        let text = registry.render();
        for line in [
            "rest_client_requests_total{code=\"200\",method=\"GET\",host=\"api.example:6443\"} 1",
            "rest_client_requests_total{code=\"404\",method=\"GET\",host=\"api.example:6443\"} 2",
        ] {
            assert!(text.contains(line), "{text}");
        }
    }
}
