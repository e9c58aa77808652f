//! A client whose token is asked for anew with each request, for tokens of clouds live minutes only.

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures::future::BoxFuture;
use http::{HeaderValue, Request, header};
use kube::client::Body;
use kube::config::Cluster;
use sluice_types::{Proxies, Redacted};
use tower::BoxError;

use crate::KubeconfigError;
use crate::kubeconfig::configure;

/// Gives the token for one cluster; the giver keeps it as long as it is good. An error is a text without secrets.
pub type Bearer = Arc<dyn Fn() -> BoxFuture<'static, Result<Redacted<String>, String>> + Send + Sync>;

/// An API server that is reached with a [`Bearer`].
#[derive(Clone)]
pub struct Reach {
    /// `https://host:port`.
    pub address: String,
    /// PEM certificates that the server is verified with; none for those of the system.
    pub ca: Option<Vec<u8>>,
    /// The token.
    pub bearer: Bearer,
}

impl fmt::Debug for Reach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reach").field("address", &self.address).finish_non_exhaustive()
    }
}

/// The client. Contacts nothing.
pub(crate) fn client(reach: &Reach, proxies: &Proxies) -> Result<kube::Client, KubeconfigError> {
    let unusable = |text: String| KubeconfigError::Unusable(text);
    let cluster = Cluster {
        server: Some(reach.address.clone()),
        certificate_authority_data: reach.ca.as_ref().map(|ca| STANDARD.encode(ca)),
        ..Cluster::default()
    };
    let config = configure(cluster, proxies)?;
    let inner = kube::Client::try_from(config).map_err(|error| unusable(error.to_string()))?;
    let bearer = reach.bearer.clone();
    let signed = tower::service_fn(move |mut request: Request<Body>| {
        let (inner, bearer) = (inner.clone(), bearer.clone());
        async move {
            let token = bearer().await?;
            let value = HeaderValue::from_str(&format!("Bearer {}", token.expose()));
            let mut value = value.map_err(|_| "the token cannot stand in a header")?;
            value.set_sensitive(true);
            request.headers_mut().insert(header::AUTHORIZATION, value);
            Ok::<_, BoxError>(inner.send(request).await?)
        }
    });
    Ok(kube::Client::new(signed, "default"))
}
