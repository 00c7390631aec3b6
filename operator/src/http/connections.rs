//! Connections of the HTTP port, bounded in number, in time and in what a request may be.
//!
//! Whoever is late or sends too much is closed, and so is a connection too many.

use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tracing::{debug, warn};

/// Connections at once: scrapers, probes and persons make a few.
const MOST: usize = 32;

/// From the end of an answer, or the begin, to the end of the next request's header.
const HEADER: Duration = Duration::from_secs(30);

/// From a connection's begin to its end.
const LIFE: Duration = Duration::from_mins(5);

/// Bytes of a request's line and header; hyper takes no less than 8 KiB.
const HEADER_SIZE: usize = 8 * 1024;

/// How long to wait when no connection can be accepted: for want of descriptors, mostly.
const PAUSE: Duration = Duration::from_millis(100);

/// Answers connections for ever. Dropped, it drops them all.
pub(super) async fn serve(listener: TcpListener, router: Router) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) if connections.len() < MOST => {
                    connections.spawn(answer(stream, router.clone()));
                }
                Ok((_, peer)) => debug!(%peer, "one connection too many is closed"),
                Err(error) => {
                    warn!(%error, "no connection can be accepted");
                    tokio::time::sleep(PAUSE).await;
                }
            },
        }
    }
}

async fn answer(stream: TcpStream, router: Router) {
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER)
        .max_buf_size(HEADER_SIZE)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    if !matches!(tokio::time::timeout(LIFE, served).await, Ok(Ok(()))) {
        debug!("an HTTP connection was ended");
    }
}
