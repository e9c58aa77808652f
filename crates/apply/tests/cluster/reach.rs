//! Clusters that are reached with tokens which are asked for anew.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use futures::FutureExt as _;
use sluice_apply::{KubeconfigPolicy, Reach, Remotes, Settings};
use sluice_types::Proxies;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::fake::DIALECT;

/// A server that notes who asks, and serves nothing but ConfigMaps.
async fn server() -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let asked: Arc<Mutex<Vec<String>>> = Arc::default();
    let notes = Arc::clone(&asked);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut text = Vec::new();
            while !text.ends_with(b"\r\n\r\n") && stream.read_buf(&mut text).await.is_ok_and(|read| read > 0)
            {
            }
            let text = String::from_utf8_lossy(&text).to_lowercase();
            let told = text.lines().find_map(|line| line.strip_prefix("authorization: "));
            notes.lock().unwrap().push(told.unwrap_or_default().to_owned());
            let body = match text.split(' ').nth(1) {
                Some("/api") => r#"{"kind":"APIVersions","versions":["v1"]}"#,
                Some("/apis") => r#"{"kind":"APIGroupList","groups":[]}"#,
                _ => {
                    r#"{"kind":"APIResourceList","resources":[{"kind":"ConfigMap","name":"configmaps","namespaced":true}]}"#
                }
            };
            let head = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                body.len()
            );
            let _ = stream.write_all(format!("{head}{body}").as_bytes()).await;
        }
    });
    (address, asked)
}

#[tokio::test]
async fn every_request_carries_the_token_of_its_moment() {
    let (address, asked) = server().await;
    let settings = Settings { dialect: DIALECT, override_managers: Vec::new() };
    let remotes = Remotes::new(settings, KubeconfigPolicy::default(), Proxies::default());
    let given = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&given);
    let bearer = Arc::new(move || {
        let count = Arc::clone(&count);
        async move { Ok(format!("token-{}", count.fetch_add(1, Ordering::Relaxed)).into()) }.boxed()
    });
    let reach = Reach { address, ca: None, bearer };
    assert!(remotes.named("prod").is_none());
    let remote = remotes.reach("prod", &reach).unwrap();
    assert!(remote.is_new);
    assert!(remotes.named("prod").is_some_and(|remote| !remote.is_new));
    let found = remote.cluster.resource("", None, "ConfigMap").await.unwrap();
    assert_eq!(found.plural, "configmaps");
    let mut asked = asked.lock().unwrap().clone();
    asked.sort();
    assert_eq!(asked, ["bearer token-0", "bearer token-1", "bearer token-2"]);
}

#[tokio::test]
async fn a_token_that_cannot_be_had_is_told_in_its_own_words() {
    let (address, asked) = server().await;
    let settings = Settings { dialect: DIALECT, override_managers: Vec::new() };
    let remotes = Remotes::new(settings, KubeconfigPolicy::default(), Proxies::default());
    let bearer = Arc::new(|| async { Err("nobody signed in".to_owned()) }.boxed());
    let remote = remotes.reach("prod", &Reach { address, ca: None, bearer }).unwrap();
    let error = remote.cluster.resource("", None, "ConfigMap").await.unwrap_err().to_string();
    assert!(error.contains("nobody signed in"), "{error}");
    assert!(asked.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_kubeconfig_may_lead_through_a_socks_proxy_that_finds_the_server_itself() {
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let proxy = listener.local_addr().unwrap();
    let kubeconfig = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: c\ncontexts: [{{name: c, context: {{cluster: k, user: u}}}}]\n\
         clusters: [{{name: k, cluster: {{server: 'http://api.inside:6443', proxy-url: 'socks5://{proxy}'}}}}]\n\
         users: [{{name: u, user: {{token: t}}}}]\n"
    );
    let (address, asked) = server().await;
    let asked_for = tokio::spawn(async move {
        loop {
            let (mut client, _) = listener.accept().await.unwrap();
            let mut greeting = [0; 3];
            client.read_exact(&mut greeting).await.unwrap();
            assert_eq!(greeting, [5, 1, 0], "version 5, no password");
            client.write_all(&[5, 0]).await.unwrap();
            let mut head = [0; 5];
            client.read_exact(&mut head).await.unwrap();
            assert_eq!(head[..4], [5, 1, 0, 3], "connect to a name");
            let mut wanted = vec![0; usize::from(head[4]) + 2];
            client.read_exact(&mut wanted).await.unwrap();
            assert_eq!(wanted, [b"api.inside".as_slice(), &6443_u16.to_be_bytes()].concat());
            client.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).await.unwrap();
            let inside = address.strip_prefix("http://").unwrap().to_owned();
            tokio::spawn(async move {
                let mut server = tokio::net::TcpStream::connect(inside).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
            });
        }
    });
    let settings = Settings { dialect: DIALECT, override_managers: Vec::new() };
    let remotes = Remotes::new(settings, KubeconfigPolicy::default(), Proxies::default());
    let remote = remotes.cluster(kubeconfig.as_bytes()).unwrap();
    let found = remote.cluster.resource("", None, "ConfigMap").await.unwrap();
    assert_eq!(found.plural, "configmaps");
    assert_eq!(asked.lock().unwrap()[0], "bearer t");
    asked_for.abort();
}
