//! Signing in to remote clusters that a ConfigMap describes: short-lived tokens, kept in a cache and asked for anew
//! before they end.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use futures::FutureExt as _;
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::api::PostParams;
use kube::{Api, Client};
use sluice_apply::{Reach, Remote, Remotes};
use sluice_identity::{ApiServer, Credential, Environment, Error, Key, Presented, aks, aws, azure, gcp};
use sluice_runtime::{Host, Key as ObjectKey, Tokens};
use sluice_types::Redacted;

use crate::provider::{self, Provider, Way};

/// Where a pod finds the token that tells who it is.
const OWN_TOKEN: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";
/// Seconds that a token for a cluster is asked for, and one that is exchanged at once.
const CLUSTER_SECONDS: i64 = 3600;
const EXCHANGE_SECONDS: i64 = 600;

/// What signing in takes; one per process.
pub(crate) struct Logins {
    client: Client,
    web: OnceLock<reqwest::Client>,
    tokens: Tokens,
    environment: Environment,
}

/// Who signs in.
#[derive(Clone)]
struct Account {
    api: Api<ServiceAccount>,
    object: ServiceAccount,
}

impl Logins {
    /// Nobody has signed in yet.
    pub(crate) fn new(host: &Host, tokens: usize, lifetime: Duration, environment: Environment) -> Self {
        let tokens = Tokens::new(&host.metrics, tokens, lifetime, "Kustomization", "fetch_kubeconfig");
        Self { client: host.client.clone(), web: OnceLock::new(), tokens, environment }
    }

    /// Stops counting for a Kustomization that is gone.
    pub(crate) fn forget(&self, object: &ObjectKey) {
        self.tokens.forget(object);
    }

    /// The way to token services; made when it is first wanted.
    fn web(&self) -> Result<&reqwest::Client, Error> {
        if let Some(web) = self.web.get() {
            return Ok(web);
        }
        sluice_runtime::tls::install();
        let proxies = self.environment.proxies();
        let proxy = reqwest::Proxy::custom(move |url| proxies.to(url).map(str::to_owned));
        let made = reqwest::Client::builder().proxy(proxy).build();
        let made = made.map_err(|error| Error::Configuration(error.without_url().to_string()))?;
        Ok(self.web.get_or_init(|| made))
    }

    /// The cluster at the end of an object's way. Asks its cloud where it is, unless that is known.
    pub(crate) async fn cluster(
        self: &Arc<Self>,
        remotes: &Remotes,
        object: &ObjectKey,
        way: &Way,
    ) -> Result<Remote, Error> {
        let namespace = &*object.namespace;
        let name = format!("{namespace}\n{way:?}");
        // A token that cannot be had is told now, by its own words. What the client asks for later is counted for no
        // object: it is shared.
        let token = self.tokens.get(key(namespace, way), object, || self.obtain(namespace, way));
        if let Some(remote) = remotes.named(&name) {
            token.await?;
            return Ok(remote);
        }
        let server = self.locate(namespace, way).await?;
        token.await?;
        let (logins, space, way) = (Arc::clone(self), namespace.to_owned(), way.clone());
        let reach = Reach {
            address: server.address,
            ca: Some(server.ca).filter(|ca| !ca.is_empty()),
            bearer: Arc::new(move || {
                let (logins, space, way) = (Arc::clone(&logins), space.clone(), way.clone());
                async move { logins.token(&space, &way).await.map_err(|error| error.to_string()) }.boxed()
            }),
        };
        let reached = remotes.reach(&name, &reach);
        reached.map_err(|error| Error::Configuration(error.to_string()))
    }

    /// Address and certificates: what the ConfigMap gives, else what the cloud tells.
    async fn locate(&self, namespace: &str, way: &Way) -> Result<ApiServer, Error> {
        let given = way.ca.as_ref().map(|ca| ca.clone().into_bytes());
        let found = match (&way.provider, &way.address, &given) {
            (Provider::Generic { .. }, Some(address), _) => {
                return Ok(ApiServer { address: address.clone(), ca: given.unwrap_or_default() });
            }
            (_, Some(address), Some(ca)) => {
                return Ok(ApiServer { address: address.clone(), ca: ca.clone() });
            }
            (Provider::Aws(cluster), ..) => {
                let keys = self.aws_keys(namespace, way, cluster).await?;
                vec![cluster.describe(self.web()?, &cluster.service()?, &keys, SystemTime::now()).await?]
            }
            (Provider::Azure(Some(cluster)), ..) => self.azure_servers(namespace, way, cluster).await?,
            (Provider::Gcp(Some(cluster)), ..) => {
                let endpoints = gcp::Endpoints::from_environment(&self.environment)?;
                let credential = self.credential(namespace, way).await?;
                vec![cluster.describe(self.web()?, &endpoints, &credential).await?]
            }
            _ => return Err(Error::Configuration("the ConfigMap names no cluster".to_owned())),
        };
        let canonical = |address: &str| {
            provider::address(address).map_err(|refused| Error::Configuration(refused.to_string()))
        };
        let mut addresses = Vec::new();
        for server in found {
            let address = canonical(&server.address)?;
            if way.address.as_ref().is_none_or(|wanted| *wanted == address) {
                return Ok(ApiServer { address, ca: given.unwrap_or(server.ca) });
            }
            addresses.push(format!("'{address}'"));
        }
        let wanted = way.address.as_deref().unwrap_or_default();
        Err(Error::Configuration(format!(
            "the cluster's addresses [{}] do not match the address '{wanted}' that is given",
            addresses.join(", ")
        )))
    }

    async fn azure_servers(
        &self,
        namespace: &str,
        way: &Way,
        cluster: &aks::Cluster,
    ) -> Result<Vec<ApiServer>, Error> {
        let credential = self.azure(namespace, way, azure::RESOURCE_MANAGER).await?;
        let management = aks::MANAGEMENT
            .parse()
            .map_err(|_| Error::Configuration("the resource manager's address is no URL".to_owned()))?;
        let kubeconfigs = cluster.kubeconfigs(self.web()?, &management, &credential).await?;
        let read = |kubeconfig: &Vec<u8>| {
            let (address, ca) = sluice_apply::server_of(kubeconfig).map_err(|error| {
                Error::Configuration(format!("AKS gave a kubeconfig that is none: {error}"))
            })?;
            Ok(ApiServer { address, ca: ca.unwrap_or_default() })
        };
        kubeconfigs.iter().map(read).collect()
    }

    async fn token(&self, namespace: &str, way: &Way) -> Result<Redacted<String>, Error> {
        match self.credential(namespace, way).await?.kind {
            Presented::Bearer(token) | Presented::Basic { password: token, .. } => Ok(token),
        }
    }

    /// The token for the cluster, from the cache or new.
    async fn credential(&self, namespace: &str, way: &Way) -> Result<Credential, Error> {
        self.tokens.share(key(namespace, way), || self.obtain(namespace, way)).await
    }

    async fn obtain(&self, namespace: &str, way: &Way) -> Result<Credential, Error> {
        match &way.provider {
            Provider::Generic { audiences } => {
                let account = match &way.account {
                    Some(name) => self.account(namespace, name).await?,
                    None => self.own_account().await?,
                };
                account.token(audiences, CLUSTER_SECONDS).await
            }
            Provider::Aws(cluster) => {
                let keys = self.aws_keys(namespace, way, cluster).await?;
                Ok(cluster.credential(&keys, SystemTime::now()))
            }
            Provider::Azure(_) => self.azure(namespace, way, azure::AKS).await,
            Provider::Gcp(_) => self.gcp(namespace, way).await,
        }
    }

    async fn aws_keys(
        &self,
        namespace: &str,
        way: &Way,
        cluster: &aws::eks::Cluster,
    ) -> Result<aws::Keys, Error> {
        let endpoints = aws::Endpoints::of_region(&cluster.region)?;
        let identity = match &way.account {
            None => aws::Identity::Controller,
            Some(name) => {
                let account = self.account(namespace, name).await?;
                let role = account.annotation(aws::ROLE_ANNOTATION)?.to_owned();
                if !aws::is_role_arn(&role) {
                    return Err(Error::Configuration(format!("'{role}' is no AWS role ARN")));
                }
                let session = format!("{name}.{namespace}.{}.fluxcd.io", cluster.region);
                aws::Identity::ServiceAccount {
                    role,
                    session,
                    token: account.assertion(aws::AUDIENCE).await?,
                }
            }
        };
        aws::keys(self.web()?, &endpoints, &self.environment, &identity).await
    }

    async fn azure(&self, namespace: &str, way: &Way, resource: &str) -> Result<Credential, Error> {
        let endpoints = azure::Endpoints::from_environment(&self.environment)?;
        let identity = match &way.account {
            None => azure::Identity::from_environment(&self.environment).await?,
            Some(name) => {
                let account = self.account(namespace, name).await?;
                azure::Identity::Federated {
                    tenant: account.annotation(azure::TENANT_ANNOTATION)?.to_owned(),
                    client: account.annotation(azure::CLIENT_ANNOTATION)?.to_owned(),
                    assertion: account.assertion(azure::AUDIENCE).await?,
                }
            }
        };
        azure::token(self.web()?, &endpoints, &identity, resource).await
    }

    async fn gcp(&self, namespace: &str, way: &Way) -> Result<Credential, Error> {
        let endpoints = gcp::Endpoints::from_environment(&self.environment)?;
        let Some(name) = &way.account else {
            return gcp::controller(self.web()?, &endpoints, &self.environment).await;
        };
        let account = self.account(namespace, name).await?;
        let provider = account.annotation(gcp::PROVIDER_ANNOTATION).ok();
        let federation = gcp::Federation::find(self.web()?, &endpoints, provider).await?;
        let token = account.assertion(&federation.token_audience).await?;
        let email = account.annotation(gcp::EMAIL_ANNOTATION).ok();
        gcp::exchange(self.web()?, &endpoints, &federation, &token, email).await
    }

    async fn account(&self, namespace: &str, name: &str) -> Result<Account, Error> {
        let api: Api<ServiceAccount> = Api::namespaced(self.client.clone(), namespace);
        let object = api.get(name).await.map_err(|error| {
            Error::Configuration(format!("failed to get service account '{namespace}/{name}': {error}"))
        })?;
        Ok(Account { api, object })
    }

    /// The controller's own account, as its pod's token names it.
    async fn own_account(&self) -> Result<Account, Error> {
        let text = tokio::fs::read_to_string(OWN_TOKEN).await.map_err(|error| {
            Error::Configuration(format!("failed to read service account token file {OWN_TOKEN}: {error}"))
        })?;
        let (namespace, name) = subject(&text).ok_or_else(|| {
            Error::Configuration(format!("the token in {OWN_TOKEN} is no service account's"))
        })?;
        self.account(&namespace, &name).await
    }
}

fn key(namespace: &str, way: &Way) -> Key {
    Key::of(&[namespace, &format!("{way:?}")])
}

/// Namespace and name of the account that a token is about. The token is the pod's own, so it is not verified.
fn subject(token: &str) -> Option<(String, String)> {
    use base64::Engine as _;
    let claims = token.trim().split('.').nth(1)?;
    let claims = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(claims).ok()?;
    let claims: serde_json::Value = serde_json::from_slice(&claims).ok()?;
    let subject = claims.get("sub")?.as_str()?.strip_prefix("system:serviceaccount:")?;
    let (namespace, name) = subject.split_once(':')?;
    Some((namespace.to_owned(), name.to_owned()))
}

impl Account {
    fn title(&self) -> String {
        let metadata = &self.object.metadata;
        let text = |part: &Option<String>| part.clone().unwrap_or_default();
        format!("{}/{}", text(&metadata.namespace), text(&metadata.name))
    }

    fn annotation(&self, key: &str) -> Result<&str, Error> {
        let annotations = self.object.metadata.annotations.as_ref();
        annotations.and_then(|all| all.get(key)).map(String::as_str).ok_or_else(|| {
            Error::Configuration(format!("service account '{}' has no annotation '{key}'", self.title()))
        })
    }

    /// A token that is exchanged for another one.
    async fn assertion(&self, audience: &str) -> Result<Redacted<String>, Error> {
        match self.token(&[audience.to_owned()], EXCHANGE_SECONDS).await?.kind {
            Presented::Bearer(token) | Presented::Basic { password: token, .. } => Ok(token),
        }
    }

    async fn token(&self, audiences: &[String], seconds: i64) -> Result<Credential, Error> {
        let spec = TokenRequestSpec {
            audiences: Some(audiences.to_vec()),
            expiration_seconds: Some(seconds),
            ..TokenRequestSpec::default()
        };
        let request = TokenRequest { spec: Some(spec), ..TokenRequest::default() };
        let failed = |why: String| {
            Error::Configuration(format!(
                "failed to get a token for service account '{}': {why}",
                self.title()
            ))
        };
        let name = self.object.metadata.name.as_deref().unwrap_or_default();
        let asked = SystemTime::now();
        let answer = self.api.create_token_request(name, &PostParams::default(), &request).await;
        let status = answer.map_err(|error| failed(error.to_string()))?.status;
        let status = status.ok_or_else(|| failed("the answer holds none".to_owned()))?;
        let token = status.token.ok_or_else(|| failed("the answer holds none".to_owned()))?;
        let lifetime = Duration::from_secs(u64::try_from(seconds).unwrap_or_default());
        let expires = status.expiration_timestamp.map_or(asked + lifetime, |time| time.0.into());
        Ok(Credential { kind: Presented::Bearer(token.into()), expires })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// Answers reads of ServiceAccounts and requests for their tokens; notes the audiences.
    fn accounts(asked: &Arc<Mutex<Vec<String>>>) -> Client {
        let asked = Arc::clone(asked);
        let service = tower::service_fn(move |request: http::Request<kube::client::Body>| {
            let asked = Arc::clone(&asked);
            async move {
                let (parts, body) = request.into_parts();
                let body = body.collect_bytes().await.unwrap_or_default();
                let answer = if parts.method == http::Method::POST {
                    let review: serde_json::Value = serde_json::from_slice(&body).unwrap();
                    asked.lock().unwrap().push(format!(
                        "{} {}",
                        parts.uri.path(),
                        review["spec"]["audiences"]
                    ));
                    serde_json::json!({"metadata": {}, "spec": {"audiences": []},
                        "status": {"token": "t0ken", "expirationTimestamp": "2033-05-18T03:33:20Z"}})
                } else {
                    serde_json::json!({"metadata": {"name": "deployer", "namespace": "team"}})
                };
                Ok::<_, std::convert::Infallible>(http::Response::new(kube::client::Body::from(
                    answer.to_string().into_bytes(),
                )))
            }
        });
        Client::new(service, "default")
    }

    #[tokio::test]
    async fn a_generic_cluster_is_given_an_account_s_token_for_its_audience_once() {
        let asked = Arc::default();
        let host = Host::embedded(accounts(&asked), "kustomize-controller", None).unwrap();
        let logins = Arc::new(Logins::new(&host, 10, Duration::from_secs(3600), Environment::default()));
        let way = Way {
            provider: Provider::Generic { audiences: vec!["prod".to_owned()] },
            address: Some("https://prod.example:443".to_owned()),
            ca: None,
            account: Some("deployer".to_owned()),
        };
        for _ in 0..2 {
            assert_eq!(logins.token("team", &way).await.unwrap().expose(), "t0ken");
        }
        let server = logins.locate("team", &way).await.unwrap();
        assert_eq!(server.address, "https://prod.example:443");
        let settings =
            sluice_apply::Settings { dialect: crate::target::DIALECT, override_managers: Vec::new() };
        let remotes = Remotes::new(settings, sluice_apply::KubeconfigPolicy::default(), Default::default());
        let object = ObjectKey::new("team", "apps");
        assert!(logins.cluster(&remotes, &object, &way).await.unwrap().is_new);
        assert!(!logins.cluster(&remotes, &object, &way).await.unwrap().is_new);
        let line = "/api/v1/namespaces/team/serviceaccounts/deployer/token [\"prod\"]";
        assert_eq!(*asked.lock().unwrap(), [line]);
        let hits = "gotk_token_cache_events_total{event_type=\"cache_hit\",kind=\"Kustomization\",name=\"apps\",\
                    namespace=\"team\",operation=\"fetch_kubeconfig\"} 2";
        assert!(host.metrics.render().lines().any(|line| line == hits));
        logins.forget(&object);
        assert!(!host.metrics.render().contains("event_type"));
    }

    #[test]
    fn a_pod_knows_its_account_by_its_token() {
        use base64::Engine as _;
        let part = |text: &str| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(text);
        let token = |sub: &str| format!("{}.{}.x", part("{}"), part(&format!("{{\"sub\":\"{sub}\"}}")));
        let own = token("system:serviceaccount:flux-system:kustomize-controller");
        assert_eq!(subject(&own), Some(("flux-system".into(), "kustomize-controller".into())));
        assert_eq!(subject(&token("kubernetes-admin")), None);
        assert_eq!(subject("nonsense"), None);
    }
}
