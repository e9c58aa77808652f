//! Proxies on loopback that count what goes through them.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A SOCKS5 proxy for IPv4 addresses; with credentials, it insists on them.
pub(crate) async fn socks(credentials: Option<(&'static str, &'static str)>) -> (String, Arc<AtomicUsize>) {
    let (listener, address, count, counter) = listen().await;
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            counter.fetch_add(1, Ordering::Relaxed);
            tokio::spawn(async move {
                let mut greeting = [0; 2];
                client.read_exact(&mut greeting).await.unwrap();
                let mut methods = vec![0; usize::from(greeting[1])];
                client.read_exact(&mut methods).await.unwrap();
                if let Some((username, password)) = credentials {
                    if !methods.contains(&2) {
                        client.write_all(&[5, 255]).await.unwrap();
                        return;
                    }
                    client.write_all(&[5, 2]).await.unwrap();
                    let wanted = [
                        &[1, username.len() as u8],
                        username.as_bytes(),
                        &[password.len() as u8],
                        password.as_bytes(),
                    ]
                    .concat();
                    let mut given = vec![0; wanted.len()];
                    client.read_exact(&mut given).await.unwrap();
                    client.write_all(&[1, u8::from(given != wanted)]).await.unwrap();
                    if given != wanted {
                        return;
                    }
                } else {
                    client.write_all(&[5, 0]).await.unwrap();
                }
                let mut request = [0; 10];
                client.read_exact(&mut request).await.unwrap();
                assert_eq!(request[3], 1, "an IPv4 address");
                let ip = Ipv4Addr::new(request[4], request[5], request[6], request[7]);
                let port = u16::from_be_bytes([request[8], request[9]]);
                let mut server = TcpStream::connect((ip, port)).await.unwrap();
                client.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
            });
        }
    });
    (format!("socks5://{address}"), count)
}

/// An HTTP proxy that knows `CONNECT` only.
pub(crate) async fn connect() -> (String, Arc<AtomicUsize>) {
    let (listener, address, count, counter) = listen().await;
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            counter.fetch_add(1, Ordering::Relaxed);
            tokio::spawn(async move {
                let mut request = Vec::new();
                while !request.ends_with(b"\r\n\r\n") {
                    request.push(client.read_u8().await.unwrap());
                }
                let request = String::from_utf8(request).unwrap();
                if !request.contains("Proxy-Authorization: Basic dXNlcjpwYXNz\r\n") {
                    let refusal = b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n";
                    client.write_all(refusal).await.unwrap();
                    return;
                }
                let target = request.strip_prefix("CONNECT ").unwrap().split(' ').next().unwrap();
                let mut server = TcpStream::connect(target).await.unwrap();
                client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
            });
        }
    });
    (format!("http://{address}"), count)
}

async fn listen() -> (TcpListener, std::net::SocketAddr, Arc<AtomicUsize>, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let count = Arc::new(AtomicUsize::new(0));
    (listener, address, count.clone(), count)
}
