//! Connections for ssh, directly or through a proxy: SOCKS5, or HTTP's `CONNECT`.

use std::io;
use std::net::IpAddr;

use base64::Engine as _;
use sluice_types::Redacted;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use url::Url;

use crate::remote::Proxy;

/// Bytes of a proxy's answer to `CONNECT`.
const ANSWER: usize = 8 << 10;

/// Connects to a host, through a proxy if there is one. Names are resolved by the proxy.
pub(crate) async fn connect(proxy: Option<&Proxy>, host: &str, port: u16) -> io::Result<TcpStream> {
    let stream = match proxy {
        None => TcpStream::connect((host, port)).await?,
        Some(proxy) => through(proxy, host, port)
            .await
            .map_err(|error| io::Error::new(error.kind(), format!("by way of the proxy: {error}")))?,
    };
    stream.set_nodelay(true)?;
    Ok(stream)
}

async fn through(proxy: &Proxy, host: &str, port: u16) -> io::Result<TcpStream> {
    let url = Url::parse(&proxy.address).map_err(|_| refused("its address is no URL"))?;
    let name = url.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
    let credentials = proxy.credentials.as_ref();
    match url.scheme() {
        "socks5" => {
            let mut stream = TcpStream::connect((name.as_str(), url.port().unwrap_or(1080))).await?;
            socks(&mut stream, credentials, host, port).await?;
            Ok(stream)
        }
        "http" => {
            let mut stream = TcpStream::connect((name.as_str(), url.port().unwrap_or(80))).await?;
            tunnel(&mut stream, credentials, host, port).await?;
            Ok(stream)
        }
        _ => Err(refused("ssh goes through socks5:// and http:// proxies only")),
    }
}

type Credentials = (String, Redacted<String>);

/// RFC 1928, and RFC 1929 for user name and password.
async fn socks(
    stream: &mut TcpStream,
    credentials: Option<&Credentials>,
    host: &str,
    port: u16,
) -> io::Result<()> {
    let greeting: &[u8] = if credentials.is_some() { &[5, 2, 0, 2] } else { &[5, 1, 0] };
    stream.write_all(greeting).await?;
    let mut chosen = [0; 2];
    stream.read_exact(&mut chosen).await?;
    match (chosen, credentials) {
        ([5, 0], _) => {}
        ([5, 2], Some((username, password))) => {
            let mut request = vec![1];
            for text in [username.as_bytes(), password.expose().as_bytes()] {
                request.push(u8::try_from(text.len()).map_err(|_| refused("its credentials are too long"))?);
                request.extend_from_slice(text);
            }
            stream.write_all(&request).await?;
            let mut answer = [0; 2];
            stream.read_exact(&mut answer).await?;
            if answer != [1, 0] {
                return Err(refused("it refuses its user name or password"));
            }
        }
        ([5, _], _) => return Err(refused("it wants credentials that were not given")),
        _ => return Err(refused("it does not speak SOCKS5")),
    }
    let mut request = vec![5, 1, 0];
    match host.parse::<IpAddr>() {
        Ok(IpAddr::V4(ip)) => {
            request.push(1);
            request.extend_from_slice(&ip.octets());
        }
        Ok(IpAddr::V6(ip)) => {
            request.push(4);
            request.extend_from_slice(&ip.octets());
        }
        Err(_) => {
            request.push(3);
            request.push(u8::try_from(host.len()).map_err(|_| refused("the host's name is too long"))?);
            request.extend_from_slice(host.as_bytes());
        }
    }
    request.extend_from_slice(&port.to_be_bytes());
    stream.write_all(&request).await?;
    let mut answer = [0; 4];
    stream.read_exact(&mut answer).await?;
    if !matches!(answer, [5, 0, _, _]) {
        return Err(refused(&format!("it cannot reach the host (SOCKS5 reply {})", answer[1])));
    }
    let address = match answer[3] {
        1 => 4,
        4 => 16,
        3 => usize::from(stream.read_u8().await?),
        _ => return Err(refused("it does not speak SOCKS5")),
    };
    let mut bound = vec![0; address + 2];
    stream.read_exact(&mut bound).await?;
    Ok(())
}

async fn tunnel(
    stream: &mut TcpStream,
    credentials: Option<&Credentials>,
    host: &str,
    port: u16,
) -> io::Result<()> {
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    let mut request = format!("CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n");
    if let Some((username, password)) = credentials {
        let pair = format!("{username}:{}", password.expose());
        let pair = base64::engine::general_purpose::STANDARD.encode(pair);
        request.push_str(&format!("Proxy-Authorization: Basic {pair}\r\n"));
    }
    request.push_str("\r\n");
    stream.write_all(request.as_bytes()).await?;
    // One byte after the other: what follows is the host's.
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        if answer.len() > ANSWER {
            return Err(refused("its answer is too long"));
        }
        answer.push(stream.read_u8().await?);
    }
    let status = answer.split(|byte| *byte == b' ').nth(1).unwrap_or_default();
    match status {
        [b'2', _, _] => Ok(()),
        b"407" => Err(refused("it wants other credentials (407)")),
        other => Err(refused(&format!("it answers {}", String::from_utf8_lossy(other).escape_debug()))),
    }
}

fn refused(why: &str) -> io::Error {
    io::Error::other(why.to_owned())
}
