//! Git over SSH: keys, host keys, algorithms, both protocols.
#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::sync::atomic::Ordering;
use std::time::Duration;

use russh::keys::ssh_key::certificate::{Builder, CertType};
use russh::keys::{Algorithm, Certificate, EcdsaCurve, PrivateKey};
use sluice_git::{Auth, Error, IdentityError, KnownHosts, Proxy, Remote, SshIdentity};
use support::repository::Repository;
use support::socks;
use support::ssh::{Server, key, known};
use support::{Client, adjusted, branch, text};

const RSA: &str = include_str!("fixtures/keys/rsa");

fn repository() -> (tempfile::TempDir, Repository) {
    let dir = tempfile::tempdir().unwrap();
    let app = Repository::new(dir.path(), "app");
    app.write("x", "1");
    app.commit("one");
    (dir, app)
}

fn identity(key: &PrivateKey) -> SshIdentity {
    SshIdentity::parse(&key.to_openssh(Default::default()).unwrap(), None).unwrap()
}

fn remote(url: &str, key: &PrivateKey, known_hosts: &str) -> Remote {
    let known_hosts = KnownHosts::parse(known_hosts).unwrap();
    adjusted(url, |remote| remote.auth = Auth::Ssh { identity: identity(key), known_hosts })
}

#[tokio::test]
async fn a_branch_is_fetched_with_either_protocol() {
    let (dir, app) = repository();
    let (host, ours) = (key(Algorithm::Ed25519), key(Algorithm::Ecdsa { curve: EcdsaCurve::NistP256 }));
    for modern in [true, false] {
        let server = Server::start(dir.path(), vec![host.clone()], &ours, modern).await;
        let known = known(server.address.unwrap(), &host);
        let (client, remote) = (Client::new(), remote(&server.url("app"), &ours, &known));
        let checkout = client.checkout(&remote, &branch("main")).await.unwrap();
        assert_eq!(text(&checkout, "x"), app.git(&["show", "HEAD:x"]));
        app.write("x", format!("again {modern}"));
        app.commit("two");
        let checkout = client.checkout(&remote, &branch("main")).await.unwrap();
        assert_eq!(text(&checkout, "x"), format!("again {modern}"));
        let seen = server.seen.lock().unwrap().clone();
        assert_eq!(seen.first().map(String::as_str), Some("user git"));
        assert!(seen.contains(&"git-upload-pack '/app.git'".to_owned()), "{seen:?}");
    }
}

#[tokio::test]
async fn the_user_comes_from_the_address() {
    let (dir, _app) = repository();
    let (host, ours) = (key(Algorithm::Ed25519), key(Algorithm::Ed25519));
    let server = Server::start(dir.path(), vec![host.clone()], &ours, true).await;
    let url = server.url("app").replace("ssh://", "ssh://someone@");
    let remote = remote(&url, &ours, &known(server.address.unwrap(), &host));
    Client::new().resolve(&remote, &branch("main")).await.unwrap();
    assert_eq!(server.seen.lock().unwrap().first().map(String::as_str), Some("user someone"));
}

#[tokio::test]
async fn an_unknown_or_different_host_key_is_never_trusted() {
    let (dir, _app) = repository();
    let (host, other, ours) = (key(Algorithm::Ed25519), key(Algorithm::Ed25519), key(Algorithm::Ed25519));
    let server = Server::start(dir.path(), vec![host.clone()], &ours, true).await;
    let address = server.address.unwrap();
    let client = Client::new();
    let revoked = format!("{}@revoked {}", known(address, &host), known(address, &host));
    let texts = [
        String::new(),
        known(address, &other),
        known(address, &host).replace("127.0.0.1", "10.0.0.1"),
        revoked,
    ];
    for text in texts {
        let error =
            client.resolve(&remote(&server.url("app"), &ours, &text), &branch("main")).await.unwrap_err();
        assert!(matches!(error, Error::HostKey { .. }), "{error}");
    }
    assert!(server.seen.lock().unwrap().is_empty(), "nobody signed in");
}

#[tokio::test]
async fn the_host_key_that_is_known_is_the_one_asked_for() {
    let (dir, _app) = repository();
    let rsa = PrivateKey::from_openssh(RSA).unwrap();
    let (ed, ours) = (key(Algorithm::Ed25519), key(Algorithm::Ed25519));
    let server = Server::start(dir.path(), vec![ed, rsa.clone()], &ours, true).await;
    let remote = remote(&server.url("app"), &ours, &known(server.address.unwrap(), &rsa));
    Client::new().resolve(&remote, &branch("main")).await.unwrap();
    let narrowed = |names: &[&str]| {
        let mut remote = remote.clone();
        remote.ssh.host_key = names.iter().map(|name| (*name).to_owned()).collect();
        remote
    };
    Client::new().resolve(&narrowed(&["rsa-sha2-256"]), &branch("main")).await.unwrap();
    let error = Client::new().resolve(&narrowed(&["nonsense"]), &branch("main")).await.unwrap_err();
    assert!(matches!(error, Error::Configuration(_)), "{error}");
}

#[tokio::test]
async fn an_rsa_key_signs_in_and_a_stranger_does_not() {
    let (dir, _app) = repository();
    let rsa = PrivateKey::from_openssh(RSA).unwrap();
    let host = key(Algorithm::Ed25519);
    let server = Server::start(dir.path(), vec![host.clone()], &rsa, true).await;
    let known = known(server.address.unwrap(), &host);
    let client = Client::new();
    client.resolve(&remote(&server.url("app"), &rsa, &known), &branch("main")).await.unwrap();
    let stranger = remote(&server.url("app"), &key(Algorithm::Ed25519), &known);
    let error = client.resolve(&stranger, &branch("main")).await.unwrap_err();
    assert!(matches!(error, Error::Auth { .. }), "{error}");
}

#[tokio::test]
async fn a_missing_repository_is_told_in_the_servers_words() {
    let (dir, _app) = repository();
    let (host, ours) = (key(Algorithm::Ed25519), key(Algorithm::Ed25519));
    let server = Server::start(dir.path(), vec![host.clone()], &ours, true).await;
    let remote = remote(&server.url("none"), &ours, &known(server.address.unwrap(), &host));
    let error = Client::new().resolve(&remote, &branch("main")).await.unwrap_err();
    assert!(matches!(error, Error::RepositoryNotFound { .. }), "{error}");
}

#[tokio::test]
async fn a_silent_server_costs_the_timeout_and_no_more() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (host, ours) = (key(Algorithm::Ed25519), key(Algorithm::Ed25519));
    let mut remote = remote(&format!("ssh://{address}/app.git"), &ours, &known(address, &host));
    remote.timeout = Duration::from_millis(100);
    let error = Client::new().resolve(&remote, &branch("main")).await.unwrap_err();
    assert!(matches!(error, Error::Timeout { .. }), "{error}");
}

#[tokio::test]
async fn ssh_goes_through_socks_and_connect_proxies() {
    let (dir, _app) = repository();
    let (host, ours) = (key(Algorithm::Ed25519), key(Algorithm::Ed25519));
    let server = Server::start(dir.path(), vec![host.clone()], &ours, true).await;
    let known = known(server.address.unwrap(), &host);
    let pair = |password: &str| Some(("user".to_owned(), password.to_owned().into()));
    let (open, guarded, connect) =
        (socks::socks(None).await, socks::socks(Some(("user", "pass"))).await, socks::connect().await);
    for ((address, count), credentials, works) in [
        (&open, None, true),
        (&guarded, pair("pass"), true),
        (&guarded, pair("hunter2"), false),
        (&guarded, None, false),
        (&connect, pair("pass"), true),
        (&connect, pair("hunter2"), false),
    ] {
        let mut remote = remote(&server.url("app"), &ours, &known);
        remote.proxy = Some(Proxy { address: address.clone(), credentials });
        let before = count.load(Ordering::Relaxed);
        let resolved = Client::new().resolve(&remote, &branch("main")).await;
        assert_eq!(resolved.is_ok(), works, "{address} {resolved:?}");
        assert!(count.load(Ordering::Relaxed) > before);
        if let Err(error) = resolved {
            assert!(matches!(error, Error::Network { .. }), "{error}");
            assert!(
                error.to_string().contains("by way of the proxy") && !error.to_string().contains("hunter2")
            );
        }
    }
}

/// A certificate for `host`, valid from one time to another.
fn certificate(
    authority: &PrivateKey,
    key: &PrivateKey,
    host: &str,
    times: (u64, u64),
    kind: CertType,
) -> Certificate {
    let mut rng = russh::keys::key::safe_rng();
    let mut builder = Builder::new_with_random_nonce(&mut rng, key.public_key(), times.0, times.1).unwrap();
    builder.cert_type(kind).unwrap().key_id("test").unwrap().valid_principal(host).unwrap();
    builder.sign(authority).unwrap()
}

#[tokio::test]
async fn a_host_certificate_counts_where_its_authority_is_known() {
    let (dir, _app) = repository();
    let (host, ours) = (key(Algorithm::Ed25519), key(Algorithm::Ed25519));
    let (authority, stranger) =
        (key(Algorithm::Ed25519), key(Algorithm::Ecdsa { curve: EcdsaCurve::NistP256 }));
    let always = (0, u64::from(u32::MAX) * 2);
    let good = certificate(&authority, &host, "127.0.0.1", always, CertType::Host);
    let line = |marker: &str, key: &PrivateKey| {
        format!("@{marker} 127.0.0.1,[127.0.0.1]:* {}\n", key.public_key().to_openssh().unwrap())
    };
    let trusted = line("cert-authority", &authority);
    for (what, certificate, known, works) in [
        ("trusted", good.clone(), trusted.clone(), true),
        ("unknown authority", good.clone(), line("cert-authority", &stranger), false),
        ("revoked authority", good.clone(), format!("{trusted}{}", line("revoked", &authority)), false),
        ("revoked key", good.clone(), format!("{trusted}{}", line("revoked", &host)), false),
        (
            "another host's",
            certificate(&authority, &host, "other", always, CertType::Host),
            trusted.clone(),
            false,
        ),
        (
            "a pattern",
            certificate(&authority, &host, "127.0.*", always, CertType::Host),
            trusted.clone(),
            true,
        ),
        (
            "expired",
            certificate(&authority, &host, "127.0.0.1", (0, 1000), CertType::Host),
            trusted.clone(),
            false,
        ),
        (
            "a user's",
            certificate(&authority, &host, "127.0.0.1", always, CertType::User),
            trusted.clone(),
            false,
        ),
    ] {
        let server = Server::certified(dir.path(), vec![host.clone()], vec![certificate], &ours, true).await;
        let resolved =
            Client::new().resolve(&remote(&server.url("app"), &ours, &known), &branch("main")).await;
        assert_eq!(resolved.is_ok(), works, "{what}: {resolved:?}");
        if let Err(error) = resolved {
            assert!(matches!(error, Error::HostKey { .. }), "{what}: {error}");
        }
    }
    // Without a certificate, an authority proves nothing.
    let server = Server::start(dir.path(), vec![host], &ours, true).await;
    let error = Client::new()
        .resolve(&remote(&server.url("app"), &ours, &trusted), &branch("main"))
        .await
        .unwrap_err();
    assert!(matches!(error, Error::HostKey { .. }), "{error}");
}

#[test]
fn every_kind_of_key_is_read() {
    let phrase = "open sesame".to_owned().into();
    for (pem, encrypted) in [
        (RSA, false),
        (include_str!("fixtures/keys/rsa_pem"), false),
        (include_str!("fixtures/keys/ecdsa"), false),
        (include_str!("fixtures/keys/ecdsa384_pem"), false),
        (include_str!("fixtures/keys/ecdsa521"), false),
        (include_str!("fixtures/keys/ed25519"), false),
        (include_str!("fixtures/keys/ed25519_encrypted"), true),
        (include_str!("fixtures/keys/rsa_pem_encrypted"), true),
        (include_str!("fixtures/keys/rsa_pkcs8_encrypted"), true),
    ] {
        let head = pem.lines().next().unwrap_or_default();
        assert!(SshIdentity::parse(pem, Some(&phrase)).is_ok(), "{head}");
        if encrypted {
            assert_eq!(SshIdentity::parse(pem, None).unwrap_err(), IdentityError::Encrypted, "{head}");
            let wrong = "wrong".to_owned().into();
            assert_eq!(
                SshIdentity::parse(pem, Some(&wrong)).unwrap_err(),
                IdentityError::Passphrase,
                "{head}"
            );
        } else {
            assert!(SshIdentity::parse(pem, None).is_ok(), "{head}");
        }
    }
    assert_eq!(SshIdentity::parse("nonsense", None).unwrap_err(), IdentityError::Malformed);
    assert!(!format!("{:?}", SshIdentity::parse(RSA, None).unwrap()).contains("PRIVATE"));
}
