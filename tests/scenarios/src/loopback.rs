//! Plain HTTP on loopback: a client that shows the answer as it is, and a door that asks for credentials.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use anyhow::{Context as _, Result};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// What a server said.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    /// The status code.
    pub code: u16,
    /// Headers by their names in lower case.
    pub headers: BTreeMap<String, String>,
    /// Everything after the headers.
    pub body: Vec<u8>,
}

impl Answer {
    /// A header, empty when absent.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }
}

/// Splits `http://HOST/PATH`.
fn split(url: &str) -> (&str, &str) {
    let rest = url.trim_start_matches("http://");
    let at = rest.find('/').unwrap_or(rest.len());
    rest.split_at(at)
}

/// Asks once, with these header lines; follows nothing and cleans no path.
///
/// # Errors
/// When the server cannot be reached or does not speak HTTP.
pub async fn ask(method: &str, url: &str, headers: &[(&str, &str)]) -> Result<Answer> {
    let (host, path) = split(url);
    let path = if path.is_empty() { "/" } else { path };
    let mut request = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n");
    for (name, value) in headers {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    request.push_str("\r\n");
    let mut stream = TcpStream::connect(host).await.with_context(|| format!("connecting to {host}"))?;
    stream.write_all(request.as_bytes()).await?;
    let mut whole = Vec::new();
    stream.read_to_end(&mut whole).await?;
    let end = whole.windows(4).position(|window| window == b"\r\n\r\n").context("no HTTP answer")?;
    let head = String::from_utf8_lossy(whole.get(..end).unwrap_or_default()).into_owned();
    let mut lines = head.split("\r\n");
    let code = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok()).context("no status")?;
    let headers = lines.filter_map(|line| line.split_once(':'));
    let headers = headers.map(|(name, value)| (name.to_lowercase(), value.trim().to_owned())).collect();
    Ok(Answer { code, headers, body: whole.get(end + 4..).unwrap_or_default().to_vec() })
}

/// [`ask`] with GET.
///
/// # Errors
/// When the server cannot be reached or does not speak HTTP.
pub async fn get(url: &str) -> Result<Answer> {
    ask("GET", url, &[]).await
}

/// Stands before a server and lets in who shows the right `Authorization`; ends when dropped.
pub struct Door {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Door {
    /// Listens before the server of `url`; `authorization` is the header's whole value.
    ///
    /// # Errors
    /// When no port is free.
    pub async fn start(url: &str, authorization: &str) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let (host, _) = split(url);
        let (host, key) = (host.to_owned(), format!("authorization: {authorization}").to_lowercase());
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (host, key) = (host.clone(), key.clone());
                // A visitor who hangs up is no concern of the others.
                tokio::spawn(async move { admit(stream, &host, &key).await.ok() });
            }
        });
        Ok(Self { address, task })
    }

    /// The same path as in `url`, through the door.
    pub fn url(&self, url: &str) -> String {
        format!("http://{}{}", self.address, split(url).1)
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Who is let in once may stay for the rest of the connection.
async fn admit(mut stream: TcpStream, host: &str, key: &str) -> Result<()> {
    let mut head = Vec::new();
    while !head.windows(4).any(|window| window == b"\r\n\r\n") {
        if stream.read_buf(&mut head).await? == 0 {
            return Ok(());
        }
    }
    if String::from_utf8_lossy(&head).to_lowercase().lines().any(|line| line == key) {
        let mut server = TcpStream::connect(host).await?;
        server.write_all(&head).await?;
        copy_bidirectional(&mut stream, &mut server).await?;
        return Ok(());
    }
    let refusal = "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"git\"\r\nContent-Length: 0\r\n\
                   Connection: close\r\n\r\n";
    stream.write_all(refusal.as_bytes()).await?;
    Ok(stream.shutdown().await?)
}
