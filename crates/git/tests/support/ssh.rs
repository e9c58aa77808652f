use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use russh::keys::{Algorithm, Certificate, PrivateKey, PublicKey};
use russh::server::{Auth, Handler, Msg, Server as _, Session, VerifiedPublicKey};
use russh::{Channel, ChannelId};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::ChildStdin;

/// An SSH server that runs `git-upload-pack` and nothing else.
#[derive(Clone)]
pub(crate) struct Server {
    pub(crate) address: Option<SocketAddr>,
    root: PathBuf,
    /// Who may come in.
    client: PublicKey,
    /// Whether `GIT_PROTOCOL` is let through.
    modern: bool,
    pub(crate) seen: Arc<Mutex<Vec<String>>>,
}

pub(crate) fn key(algorithm: Algorithm) -> PrivateKey {
    PrivateKey::random(&mut russh::keys::key::safe_rng(), algorithm).unwrap()
}

/// A `known_hosts` line for a server's key.
pub(crate) fn known(address: SocketAddr, key: &PrivateKey) -> String {
    let text = key.public_key().to_openssh().unwrap();
    format!("[{}]:{} {text}\n", address.ip(), address.port())
}

impl Server {
    pub(crate) async fn start(root: &Path, keys: Vec<PrivateKey>, client: &PrivateKey, modern: bool) -> Self {
        Self::certified(root, keys, Vec::new(), client, modern).await
    }

    /// With certificates for its keys.
    pub(crate) async fn certified(
        root: &Path,
        keys: Vec<PrivateKey>,
        certificates: Vec<Certificate>,
        client: &PrivateKey,
        modern: bool,
    ) -> Self {
        let config = russh::server::Config {
            keys,
            certificates,
            auth_rejection_time: std::time::Duration::ZERO,
            auth_rejection_time_initial: Some(std::time::Duration::ZERO),
            ..russh::server::Config::default()
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = Some(listener.local_addr().unwrap());
        let (client, seen) = (client.public_key().clone(), Arc::default());
        let server = Self { address, root: root.to_owned(), client, modern, seen };
        let mut running = server.clone();
        tokio::spawn(async move { running.run_on_socket(Arc::new(config), &listener).await });
        server
    }

    pub(crate) fn url(&self, name: &str) -> String {
        format!("ssh://{}/{name}.git", self.address.unwrap())
    }
}

impl russh::server::Server for Server {
    type Handler = Connection;

    fn new_client(&mut self, _: Option<SocketAddr>) -> Connection {
        Connection { server: self.clone(), protocol: None, input: None }
    }
}

pub(crate) struct Connection {
    server: Server,
    protocol: Option<String>,
    input: Option<ChildStdin>,
}

impl Handler for Connection {
    type Error = russh::Error;

    async fn auth_publickey(&mut self, user: &str, key: VerifiedPublicKey<'_>) -> Result<Auth, russh::Error> {
        self.server.seen.lock().unwrap().push(format!("user {user}"));
        let known = key.public_key.key_data() == self.server.client.key_data();
        Ok(if known { Auth::Accept } else { Auth::reject() })
    }

    async fn channel_open_session(
        &mut self,
        _: Channel<Msg>,
        reply: russh::server::ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), russh::Error> {
        reply.accept().await;
        Ok(())
    }

    async fn env_request(
        &mut self,
        _: ChannelId,
        name: &str,
        value: &str,
        _: &mut Session,
    ) -> Result<(), russh::Error> {
        if name == "GIT_PROTOCOL" && self.server.modern {
            self.protocol = Some(value.to_owned());
        }
        Ok(())
    }

    async fn exec_request(
        &mut self,
        channel: ChannelId,
        data: &[u8],
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        let command = String::from_utf8_lossy(data).into_owned();
        self.server.seen.lock().unwrap().push(command.clone());
        let path = command.strip_prefix("git-upload-pack '/").unwrap().strip_suffix('\'').unwrap().to_owned();
        let handle = session.handle();
        if !self.server.root.join(&path).exists() {
            let words = format!("fatal: '/{path}' does not appear to be a git repository\n");
            let _ = session.extended_data(channel, 1, words.into_bytes());
            let _ = session.close(channel);
            return Ok(());
        }
        let mut command = tokio::process::Command::new("git");
        command
            .args(["upload-pack", "--strict"])
            .arg(self.server.root.join(path))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        match &self.protocol {
            Some(protocol) => command.env("GIT_PROTOCOL", protocol),
            None => command.env_remove("GIT_PROTOCOL"),
        };
        let mut child = command.spawn().unwrap();
        self.input = child.stdin.take();
        let (mut stdout, mut stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        tokio::spawn(async move {
            let mut buffer = vec![0; 32 << 10];
            loop {
                match stdout.read(&mut buffer).await.unwrap() {
                    0 => break,
                    count => {
                        if handle.data(channel, buffer[..count].to_vec()).await.is_err() {
                            return;
                        }
                    }
                }
            }
            let mut words = Vec::new();
            stderr.read_to_end(&mut words).await.unwrap();
            let _ = handle.extended_data(channel, 1, words).await;
            let status = child.wait().await.unwrap().code().unwrap_or(1).unsigned_abs();
            let _ = handle.exit_status_request(channel, status).await;
            let _ = handle.close(channel).await;
        });
        Ok(())
    }

    async fn data(&mut self, _: ChannelId, data: &[u8], _: &mut Session) -> Result<(), russh::Error> {
        if let Some(input) = &mut self.input {
            let _ = input.write_all(data).await;
        }
        Ok(())
    }

    async fn channel_eof(&mut self, _: ChannelId, _: &mut Session) -> Result<(), russh::Error> {
        self.input = None;
        Ok(())
    }
}
