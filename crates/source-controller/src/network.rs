//! The way to a token service, and who could listen on the way of a token.

use sluice_api::source::v1::GitProvider;
use sluice_git::Proxy;
use sluice_identity::Environment;
use sluice_types::{Proxies, Retry};

use crate::error::Error;
use crate::request::Request;

/// Refuses to show the controller's own token to a remote whose authority and whose way are both of the object's
/// choosing: whoever wrote the two could read it.
pub(crate) fn keep_from_interception(request: &Request, account: bool) -> Result<(), Error> {
    let own = matches!(request.provider, GitProvider::Azure | GitProvider::Aws) && !account;
    if !own || request.remote.proxy.is_none() || request.remote.tls.ca.is_none() {
        return Ok(());
    }
    let message = "the controller's own identity is not shown through spec.proxySecretRef to a server that 'ca.crt' of \
                   spec.secretRef vouches for: remove one of them, set spec.serviceAccountName, or set proxy and \
                   authority for the whole controller (HTTPS_PROXY, SSL_CERT_FILE)";
    Err(Error::Provider { message: message.to_owned(), retry: Retry::OnChange })
}

/// Proxy and authorities on the way to a token service.
pub(crate) struct Network {
    proxy: Option<Proxy>,
    proxies: Proxies,
    ca: Option<Vec<u8>>,
    /// Plain requests, those to metadata services, go through the object's proxy, too.
    plain: bool,
    /// Tells ways apart.
    pub(crate) key: String,
}

impl Network {
    /// For credentials that the object brought itself: its proxy, and its authority.
    pub(crate) fn of_object(request: &Request, environment: &Environment) -> Self {
        Self::new(request, environment, request.remote.tls.ca.clone(), true)
    }

    /// For a cloud's: its proxy, but never its authority, and never in the clear.
    pub(crate) fn of_cloud(request: &Request, environment: &Environment) -> Self {
        Self::new(request, environment, None, false)
    }

    fn new(request: &Request, environment: &Environment, ca: Option<Vec<u8>>, plain: bool) -> Self {
        let proxy = request.remote.proxy.clone();
        let mut key = proxy.as_ref().map(|proxy| proxy.address.clone()).unwrap_or_default();
        key.push('\n');
        key.push_str(&String::from_utf8_lossy(ca.as_deref().unwrap_or_default()));
        Self { proxy, proxies: environment.proxies(), ca, plain, key }
    }

    pub(crate) fn client(&self) -> Result<reqwest::Client, Error> {
        let unusable = |error: reqwest::Error| Error::Credentials(error.without_url().to_string());
        let mut builder = reqwest::Client::builder();
        if let Some(ca) = &self.ca {
            let certificates = reqwest::Certificate::from_pem_bundle(ca).map_err(unusable)?;
            builder = certificates.into_iter().fold(builder, reqwest::ClientBuilder::add_root_certificate);
        }
        let Some(proxy) = &self.proxy else {
            let proxies = self.proxies.clone();
            let proxy = reqwest::Proxy::custom(move |url| proxies.to(url).map(str::to_owned));
            return builder.proxy(proxy).build().map_err(unusable);
        };
        let through = match self.plain {
            true => reqwest::Proxy::all(&proxy.address),
            false => reqwest::Proxy::https(&proxy.address),
        };
        let mut through = through.map_err(unusable)?;
        if let Some((username, password)) = &proxy.credentials {
            through = through.basic_auth(username, password.expose());
        }
        builder.proxy(through).build().map_err(unusable)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use sluice_git::{Limits, Mirrors};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;
    use crate::request::Allowed;
    use crate::sample;

    fn request(provider: GitProvider, proxy: &str, ca: bool) -> Request {
        let mut object = sample::object();
        if provider == GitProvider::Github {
            object.spec.secret_ref = Some(sluice_api::reference::LocalReference { name: "app".into() });
        }
        object.spec.provider = Some(provider);
        let mut request = Request::new(&object, Allowed::default()).unwrap();
        request.remote.proxy = Some(proxy)
            .filter(|proxy| !proxy.is_empty())
            .map(|proxy| Proxy { address: proxy.into(), credentials: None });
        request.remote.tls.ca = ca.then(|| b"PEM".to_vec());
        request
    }

    #[test]
    fn who_chose_the_way_and_the_authority_does_not_see_the_controllers_own_token() {
        use GitProvider::{Aws, Azure, Generic, Github};
        for (provider, proxy, ca, account, refused) in [
            (Azure, "http://p:1", true, false, true),
            (Aws, "http://p:1", true, false, true),
            (Azure, "http://p:1", true, true, false),
            (Azure, "http://p:1", false, false, false),
            (Azure, "", true, false, false),
            (Github, "http://p:1", true, false, false),
            (Generic, "http://p:1", true, false, false),
        ] {
            let answer = keep_from_interception(&request(provider, proxy, ca), account);
            assert_eq!(answer.is_err(), refused, "{provider:?} {proxy} {ca} {account}");
            let Err(error) = answer else { continue };
            assert_eq!(error.reason(), sluice_api::source::v1::reason::INVALID_PROVIDER_CONFIGURATION);
            assert_eq!(error.class(), crate::error::Class::Failed(Retry::OnChange));
        }
    }

    /// Answers everything, and counts.
    async fn server() -> (String, Arc<AtomicUsize>) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let count = Arc::new(AtomicUsize::new(0));
        let counted = count.clone();
        tokio::spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                counted.fetch_add(1, Ordering::Relaxed);
                let _ = socket.read(&mut [0; 4096]).await;
                let _ = socket
                    .write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n")
                    .await;
            }
        });
        (address, count)
    }

    #[tokio::test]
    async fn a_clouds_metadata_is_never_asked_for_through_an_objects_proxy() {
        let dir = tempfile::tempdir().unwrap();
        // It chooses the TLS provider, as in the process.
        let _mirrors =
            Mirrors::new(dir.path().join("mirrors"), Limits::default(), Proxies::default()).unwrap();
        let ((metadata, asked), (proxy, passed)) = (server().await, server().await);
        let none = Environment::default();
        let cloud = Network::of_cloud(&request(GitProvider::Azure, &proxy, true), &none);
        cloud.client().unwrap().get(&metadata).send().await.unwrap();
        assert_eq!((asked.load(Ordering::Relaxed), passed.load(Ordering::Relaxed)), (1, 0));
        // What is encrypted goes through it.
        assert!(cloud.client().unwrap().get("https://sts.invalid/").send().await.is_err());
        assert_eq!(passed.load(Ordering::Relaxed), 1);
        let object =
            Network { ca: None, ..Network::of_object(&request(GitProvider::Github, &proxy, true), &none) };
        object.client().unwrap().get(&metadata).send().await.unwrap();
        assert_eq!((asked.load(Ordering::Relaxed), passed.load(Ordering::Relaxed)), (1, 2));
    }
}
