//! Credentials, certificates, proxies, redirects, silence.
#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::sync::Arc;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use sluice_git::{Auth, Error, Proxy, Remote, Tls};
use sluice_types::Proxies;
use support::http::{Behaviour, Server};
use support::repository::Repository;
use support::socks::{connect, socks};
use support::{Client, adjusted, branch, remote, text};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

fn repository() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let app = Repository::new(dir.path(), "app");
    app.write("x", "1");
    app.commit("one");
    dir
}

fn basic(username: &str, password: &str) -> Auth {
    Auth::Basic { username: username.to_owned(), password: password.to_owned().into() }
}

#[tokio::test]
async fn credentials_are_sent_and_their_refusal_is_told() {
    let dir = repository();
    // user:pass
    let wanted = Some("Basic dXNlcjpwYXNz".to_owned());
    let server = Server::with(dir.path(), Behaviour { authorization: wanted, ..Behaviour::default() }).await;
    let client = Client::new();
    let with = |auth: Auth| adjusted(&server.url("app"), |remote| remote.auth = auth);
    let checkout = client.checkout(&with(basic("user", "pass")), &branch("main")).await.unwrap();
    assert_eq!(text(&checkout, "x"), "1");
    for auth in [Auth::None, basic("user", "hunter2"), Auth::Bearer("hunter2".to_owned().into())] {
        let error = client.resolve(&with(auth), &branch("main")).await.unwrap_err();
        assert!(matches!(error, Error::Auth { .. }), "{error}");
        assert!(!format!("{error} {error:?}").contains("hunter2"));
    }
    let inline = server.url("app").replace("http://", "http://user:pass@");
    client.resolve(&remote(&inline), &branch("main")).await.unwrap();

    let wanted = Some("Bearer token".to_owned());
    let server = Server::with(dir.path(), Behaviour { authorization: wanted, ..Behaviour::default() }).await;
    let bearer = adjusted(&server.url("app"), |remote| remote.auth = Auth::Bearer("token".to_owned().into()));
    client.checkout(&bearer, &branch("main")).await.unwrap();
}

#[tokio::test]
async fn a_redirect_is_followed_but_takes_no_credentials_to_another_server() {
    let dir = repository();
    let target = Server::start(dir.path()).await;
    let redirect = Some(format!("http://{}", target.address));
    let server = Server::with(dir.path(), Behaviour { redirect, ..Behaviour::default() }).await;
    let remote = adjusted(&server.url("app"), |remote| remote.auth = basic("user", "pass"));
    Client::new().checkout(&remote, &branch("main")).await.unwrap();
    let first = server.seen.lock().unwrap().first().cloned().unwrap();
    assert!(first.1.contains_key("authorization"));
    let seen = target.seen.lock().unwrap();
    assert!(!seen.is_empty() && seen.iter().all(|(_, headers)| !headers.contains_key("authorization")));
}

struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

fn authority(name: &str) -> Authority {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let pem = params.self_signed(&key).unwrap().pem();
    Authority { issuer: Issuer::new(params, key), pem }
}

impl Authority {
    fn issue(&self, name: &str) -> (rcgen::Certificate, KeyPair) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        (params.signed_by(&key, &self.issuer).unwrap(), key)
    }
}

#[tokio::test]
async fn a_private_authority_and_a_client_certificate_open_a_tls_server() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let dir = repository();
    let (ours, other) = (authority("ours"), authority("other"));
    let (certificate, key) = ours.issue("localhost");
    let mut roots = rustls::RootCertStore::empty();
    roots.add(rcgen_der(&ours.pem)).unwrap();
    let verifier = rustls::server::WebPkiClientVerifier::builder(Arc::new(roots)).build().unwrap();
    let config = rustls::ServerConfig::builder()
        .with_client_cert_verifier(verifier)
        .with_single_cert(vec![certificate.der().clone()], key.serialize_der().try_into().unwrap())
        .unwrap();
    let server = Server::tls(dir.path(), config).await;
    let (certificate, key) = ours.issue("client");
    let pair = (certificate.pem().into_bytes(), key.serialize_pem().into_bytes().into());
    let url = format!("https://localhost:{}/app.git", server.address.port());
    let with = |ca: &Authority, client| {
        adjusted(&url, |remote| remote.tls = Tls { ca: Some(ca.pem.clone().into_bytes()), client })
    };
    let client = Client::new();
    client.checkout(&with(&ours, Some(pair.clone())), &branch("main")).await.unwrap();
    let error = client.resolve(&with(&other, Some(pair)), &branch("main")).await.unwrap_err();
    assert!(matches!(error, Error::Tls { .. }), "{error}");
    assert!(error.to_string().contains("UnknownIssuer"), "{error}");
    assert!(client.resolve(&with(&ours, None), &branch("main")).await.is_err());
    let broken = adjusted(&url, |remote| remote.tls.ca = Some(b"nonsense".to_vec()));
    let error = client.resolve(&broken, &branch("main")).await.unwrap_err();
    assert!(matches!(error, Error::Configuration(_)), "{error}");
}

fn rcgen_der(pem: &str) -> rustls::pki_types::CertificateDer<'static> {
    use rustls::pki_types::pem::PemObject;
    rustls::pki_types::CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()
}

#[tokio::test]
async fn traffic_goes_through_the_proxy() {
    let dir = repository();
    let server = Server::start(dir.path()).await;
    let (address, count) = socks(None).await;
    let remote =
        adjusted(&server.url("app"), |remote| remote.proxy = Some(Proxy { address, credentials: None }));
    Client::new().checkout(&remote, &branch("main")).await.unwrap();
    assert!(count.load(std::sync::atomic::Ordering::Relaxed) > 0);
}

#[tokio::test]
async fn without_a_proxy_of_its_own_a_remote_is_reached_through_that_of_the_process() {
    let dir = repository();
    let server = Server::start(dir.path()).await;
    let (address, count) = connect().await;
    let proxies = move |name: &str| (name == "HTTP_PROXY").then(|| address.clone());
    let client = Client::through(Proxies::read(proxies));
    client.checkout(&remote(&server.url("app")), &branch("main")).await.unwrap();
    let passed = || count.load(std::sync::atomic::Ordering::Relaxed);
    assert_eq!(passed(), 0, "loopback is reached directly");
    // This proxy does not know what to do with a plain request.
    let away = Remote::new("http://git.invalid/app.git", Duration::from_secs(5)).unwrap();
    assert!(client.checkout(&away, &branch("main")).await.is_err());
    assert!(passed() > 0);
}

async fn silent() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, format!("http://{address}/app.git"))
}

#[tokio::test]
async fn a_silent_server_costs_the_timeout_and_no_more() {
    let (_listener, url) = silent().await;
    let remote = Remote::new(&url, Duration::from_millis(100)).unwrap();
    let error = Client::new().resolve(&remote, &branch("main")).await.unwrap_err();
    assert!(matches!(error, Error::Timeout { .. }), "{error}");
}

#[tokio::test]
async fn a_pack_that_stops_midway_costs_the_timeout_and_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let app = Repository::new(dir.path(), "app");
    let mut state = 1_u32;
    let noise: Vec<u8> = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state.to_le_bytes()[1]
    })
    .take(50_000)
    .collect();
    app.write("noise", noise);
    app.commit("one");
    let stall = Arc::new(std::sync::atomic::AtomicUsize::new(20_000));
    let server =
        Server::with(dir.path(), Behaviour { stall: Some(stall.clone()), ..Behaviour::default() }).await;
    let (client, main) = (Client::new(), branch("main"));
    let resolved = client.resolve(&remote(&server.url("app")), &main).await.unwrap();
    let hasty = adjusted(&server.url("app"), |remote| remote.timeout = Duration::from_millis(300));
    let error = client.fetch(&hasty, &resolved).await.unwrap_err();
    assert!(matches!(error, Error::Timeout { .. }), "{error}");
    stall.store(usize::MAX, std::sync::atomic::Ordering::Relaxed);
    let checkout = client.fetch(&remote(&server.url("app")), &resolved).await.unwrap();
    assert_eq!(checkout.files.len(), 1);
    let mirrors = std::fs::read_dir(client.dir.path().join("git")).unwrap();
    let left: Vec<_> = mirrors
        .flat_map(|mirror| std::fs::read_dir(mirror.unwrap().path().join("incoming")).unwrap())
        .map(|entry| entry.unwrap().path())
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test]
async fn secrets_in_an_address_reach_no_message() {
    let remote = remote("http://user:hunter2@127.0.0.1:1/app.git?token=hunter2");
    let error = Client::new().resolve(&remote, &branch("main")).await.unwrap_err();
    assert!(matches!(error, Error::Network { .. }), "{error}");
    assert!(!format!("{error} {error:?} {remote:?}").contains("hunter2"));
}

#[tokio::test]
async fn a_cancelled_pass_ends_at_once() {
    let (listener, url) = silent().await;
    let (client, cancel) = (Client::new(), CancellationToken::new());
    let (remote, main) = (remote(&url), branch("main"));
    let pass = client.mirrors.resolve(&remote, &main, &cancel);
    let tripped = async {
        let connection = listener.accept().await.unwrap();
        cancel.cancel();
        connection
    };
    let (outcome, _connection) = tokio::join!(pass, tripped);
    assert!(matches!(outcome.unwrap_err(), Error::Cancelled));
}

#[tokio::test]
async fn a_server_that_is_no_git_server_is_told_apart() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = axum::Router::new()
        .route("/dumb.git/info/refs", axum::routing::get(|| async { "0000" }))
        .route(
            "/busy.git/info/refs",
            axum::routing::get(|| async {
                (axum::http::StatusCode::TOO_MANY_REQUESTS, [("retry-after", "7")])
            }),
        )
        .route(
            "/torn.git/info/refs",
            axum::routing::get(|| async {
                ([("content-type", "application/x-git-upload-pack-advertisement")], "001e# service=git-upl")
            }),
        );
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    let client = Client::new();
    let resolve = async |name: &str| {
        client.resolve(&remote(&format!("http://{address}/{name}.git")), &branch("main")).await.unwrap_err()
    };
    assert!(matches!(resolve("dumb").await, Error::Protocol { .. }));
    assert!(matches!(resolve("none").await, Error::RepositoryNotFound { .. }));
    let busy = resolve("busy").await;
    assert_eq!(sluice_types::Classify::retry(&busy), sluice_types::Retry::After(Duration::from_secs(7)));
    let torn = resolve("torn").await;
    assert!(matches!(torn, Error::Protocol { .. } | Error::Network { .. }), "{torn}");
}
