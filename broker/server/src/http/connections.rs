//! Connections of the HTTP listener, bounded: how many, how long, how large a request.
//!
//! Who is late, too long or too large is closed. Bodies are never read into memory: no page takes one.

use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpStream;
use tracing::debug;

/// What a client of the HTTP listener may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Connections at once.
    pub(super) connections: usize,
    /// From the end of the last answer, or the connection's begin, to the end of a request's header.
    pub(super) header: Duration,
    /// From a connection's begin to its end, which comes even while an answer is written.
    pub(super) life: Duration,
    /// Bytes of a request's line and header.
    pub(super) header_size: usize,
}

impl Limits {
    /// Far above what scrapers, probes and persons need. A scraper that comes once a minute makes a
    /// connection each time; hyper takes no header size below 8 KiB.
    pub(super) const DEFAULT: Self = Self {
        connections: 64,
        header: Duration::from_secs(30),
        life: Duration::from_mins(10),
        header_size: 16 * 1024,
    };
}

/// Answers the requests of one connection until it ends, or is late, or has lived too long.
pub(super) async fn connection(stream: TcpStream, router: Router, limits: Limits) {
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header)
        .max_buf_size(limits.header_size)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    match tokio::time::timeout(limits.life, served).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => debug!(%error, "HTTP connection ended"),
        Err(_) => debug!("HTTP connection ended: it lived too long"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods, reason = "a test has no shutdown to name its tasks")]

    use std::net::SocketAddr;

    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio::task::JoinHandle;
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::net::side_port::{self, Terms};

    const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";

    fn terms(limits: Limits) -> Terms {
        let end = CancellationToken::new();
        Terms { name: "test", connections: limits.connections, end, linger: Duration::ZERO }
    }

    async fn start(limits: Limits) -> (SocketAddr, JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        // More than a socket takes while nobody reads.
        let large = || async { "x".repeat(64 << 20) };
        let router = Router::new().route("/", get(|| async { "here" })).route("/large", get(large));
        let connection = move |stream| connection(stream, router.clone(), limits);
        (address, tokio::task::spawn(side_port::serve(listener, terms(limits), connection)))
    }

    /// Reads until the other side closes; a reset is an end as well.
    async fn until_closed(stream: &mut TcpStream) -> String {
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        String::from_utf8(answer).unwrap()
    }

    async fn is_answered(stream: &mut TcpStream) -> bool {
        // A write or read that fails is no answer.
        let _ = stream.write_all(REQUEST).await;
        let mut first = [0; 15];
        stream.read_exact(&mut first).await.is_ok() && first == *b"HTTP/1.1 200 OK"
    }

    #[tokio::test]
    async fn silence_and_half_a_header_end_at_the_deadline() {
        let limits = Limits { header: Duration::from_millis(50), ..Limits::DEFAULT };
        let (address, server) = start(limits).await;
        for sent in [&b""[..], b"GET / HT", b"GET / HTTP/1.1\r\nHost:", REQUEST] {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(sent).await.unwrap();
            let answer = until_closed(&mut stream).await;
            assert_eq!(answer.contains("200 OK"), sent == REQUEST, "{sent:?}: {answer}");
        }
        server.abort();
    }

    #[tokio::test]
    async fn who_does_not_read_the_answer_is_closed_at_the_end_of_its_life() {
        let limits = Limits { connections: 1, life: Duration::from_millis(200), ..Limits::DEFAULT };
        let (address, server) = start(limits).await;
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        // The one place is taken, and free again once the first is closed.
        while !is_answered(&mut TcpStream::connect(address).await.unwrap()).await {}
        assert!(until_closed(&mut stream).await.len() < 64 << 20);
        server.abort();
    }

    #[tokio::test]
    async fn a_connection_above_the_cap_is_closed_and_the_others_live() {
        let (address, server) = start(Limits { connections: 2, ..Limits::DEFAULT }).await;
        let mut first = TcpStream::connect(address).await.unwrap();
        let mut second = TcpStream::connect(address).await.unwrap();
        assert!(is_answered(&mut first).await && is_answered(&mut second).await);
        let mut third = TcpStream::connect(address).await.unwrap();
        assert_eq!(until_closed(&mut third).await, "");
        drop(first);
        while !is_answered(&mut TcpStream::connect(address).await.unwrap()).await {}
        server.abort();
    }

    #[tokio::test]
    async fn a_header_that_is_too_large_is_refused_and_a_body_is_not_kept() {
        let (address, server) = start(Limits::DEFAULT).await;
        let mut stream = TcpStream::connect(address).await.unwrap();
        let long = format!("GET / HTTP/1.1\r\nHost: {}\r\n\r\n", "x".repeat(32 * 1024));
        // It may be closed before all is written.
        let _ = stream.write_all(long.as_bytes()).await;
        assert!(!until_closed(&mut stream).await.contains("200 OK"));
        let mut stream = TcpStream::connect(address).await.unwrap();
        let body = b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000000\r\n\r\nxyz";
        stream.write_all(body).await.unwrap();
        assert!(until_closed(&mut stream).await.contains("200 OK"), "answered, and closed");
        server.abort();
    }
}
