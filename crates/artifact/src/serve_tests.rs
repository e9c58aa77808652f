use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::time::Instant;

use super::*;
use crate::Options;

const BIG: usize = 1 << 20;

struct Served {
    _root: tempfile::TempDir,
    store: Store,
}

fn served() -> Served {
    let root = tempfile::tempdir().unwrap();
    let home = root.path().join("gitrepository/apps/web");
    std::fs::create_dir_all(&home).unwrap();
    std::fs::write(home.join("big.tar.gz"), vec![b'x'; BIG]).unwrap();
    let store = Store::open(Options::new(root.path().to_owned(), "http://store.invalid".to_owned())).unwrap();
    Served { _root: root, store }
}

/// A client whose window holds so many bytes.
fn client(served: &Served, window: usize) -> DuplexStream {
    let (ours, theirs) = tokio::io::duplex(window);
    tokio::spawn(connection(theirs, router(&served.store), ServeLimits::default(), CancellationToken::new()));
    ours
}

async fn answer(client: &mut DuplexStream) -> String {
    let mut text = Vec::new();
    client.read_to_end(&mut text).await.unwrap();
    String::from_utf8_lossy(&text).into_owned()
}

const GET: &[u8] = b"GET /gitrepository/apps/web/big.tar.gz HTTP/1.1\r\nhost: x\r\n\r\n";

#[tokio::test(start_paused = true)]
async fn who_never_finishes_a_request_is_let_go() {
    let served = served();
    for sent in [&b""[..], b"GET / HTTP/1.1\r\nhost: x\r\n"] {
        let (mut client, began) = (client(&served, 1024), Instant::now());
        client.write_all(sent).await.unwrap();
        answer(&mut client).await;
        assert_eq!(began.elapsed().as_secs(), ServeLimits::default().head.as_secs());
    }
}

#[tokio::test(start_paused = true)]
async fn a_kept_connection_is_closed_when_nothing_more_is_asked() {
    let (served, began) = (served(), Instant::now());
    let mut client = client(&served, 1024);
    client.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    assert!(answer(&mut client).await.starts_with("HTTP/1.1 200"));
    assert_eq!(began.elapsed().as_secs(), ServeLimits::default().head.as_secs());
}

#[tokio::test(start_paused = true)]
async fn who_does_not_take_the_answer_or_takes_it_byte_by_byte_is_let_go() {
    let served = served();
    for bites in [0, 1000] {
        let (mut client, began) = (client(&served, 4096), Instant::now());
        client.write_all(GET).await.unwrap();
        let mut bite = [0; 16];
        for _ in 0..bites {
            tokio::time::sleep(Duration::from_secs(1)).await;
            if client.read(&mut bite).await.unwrap() == 0 || began.elapsed() > Duration::from_secs(60) {
                break;
            }
        }
        tokio::time::sleep(ServeLimits::default().piece).await;
        let rest = answer(&mut client).await;
        assert!(rest.len() < BIG / 2, "{} bytes came", rest.len());
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_reader_that_keeps_taking_gets_everything() {
    let served = served();
    let mut client = client(&served, 4096);
    client.write_all(GET.strip_suffix(b"\r\n").unwrap()).await.unwrap();
    client.write_all(b"connection: close\r\n\r\n").await.unwrap();
    let (mut taken, mut bite) = (0, vec![0; 4096]);
    loop {
        tokio::time::sleep(Duration::from_millis(500)).await;
        match client.read(&mut bite).await.unwrap() {
            0 => break,
            count => taken += count,
        }
    }
    assert!(taken > BIG, "{taken} bytes came");
}

#[tokio::test]
async fn heads_are_bounded_and_bodies_are_not_read() {
    let served = served();
    let long = format!("GET / HTTP/1.1\r\nhost: x\r\nx: {}\r\n\r\n", "y".repeat(LARGEST_HEAD));
    let body = "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000000\r\n\r\nhello".to_owned();
    for (request, status) in [(long, "431"), (body, "405")] {
        let mut client = client(&served, 64 << 10);
        client.write_all(request.as_bytes()).await.unwrap();
        let text = answer(&mut client).await;
        assert!(text.starts_with(&format!("HTTP/1.1 {status}")), "{text}");
    }
}

#[tokio::test]
async fn connections_beyond_the_bound_wait_their_turn() {
    let served = served();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, stop) = (listener.local_addr().unwrap(), CancellationToken::new());
    let limits = ServeLimits { connections: 1, ..ServeLimits::default() };
    let server = tokio::spawn(serve(served.store.clone(), listener, limits, stop.clone()));
    let ask = async |socket: &mut TcpStream| {
        socket.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        let mut text = [0; 12];
        socket.read_exact(&mut text).await.unwrap();
        assert_eq!(text, *b"HTTP/1.1 200");
    };
    let mut first = TcpStream::connect(address).await.unwrap();
    ask(&mut first).await;
    let mut second = TcpStream::connect(address).await.unwrap();
    {
        let mut waiting = std::pin::pin!(ask(&mut second));
        // While the first one goes on being answered, the second one is not.
        for _ in 0..20 {
            assert!(futures::poll!(waiting.as_mut()).is_pending());
            first.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
            let mut some = [0; 32];
            assert!(first.read(&mut some).await.unwrap() > 0);
        }
        drop(first);
        waiting.await;
    }
    drop(second);
    stop.cancel();
    server.await.unwrap().unwrap();
}
