//! A port beside those of Kafka's protocol, for pages or for the operator: bound when the broker starts, with so many
//! connections at once.
//!
//! A connection above the cap is closed at once, so that a flood costs descriptors for no longer than it takes to accept
//! them.
//!
//! Concurrency: all connections of a port are tasks of one set, which ends with the task that runs [`serve`].

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

/// How long to wait when the process has no descriptor left for another connection.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(100);

/// Listens on `host` and `port` (0 takes a free one), as `setting` says; returns the real address, too.
///
/// # Errors
/// When the address cannot be bound: names the setting, and what to do.
pub(crate) async fn bind(
    setting: &str,
    (host, port): (&str, u16),
) -> Result<(TcpListener, SocketAddr)> {
    let asked = format!(
        "{setting}: cannot listen on {host}:{port}; is another broker running there? \
         --set {setting}=HOST:PORT gives it another place, an empty value none"
    );
    let address = (host, port).to_socket_addrs().ok().and_then(|mut found| found.next());
    let address = address.with_context(|| asked.clone())?;
    let listener = TcpListener::bind(address).await.with_context(|| asked.clone())?;
    let address = listener.local_addr().context(asked)?;
    Ok((listener, address))
}

/// How a port is served.
#[derive(Debug, Clone)]
pub(crate) struct Terms {
    /// What connections are called in the log.
    pub(crate) name: &'static str,
    /// Connections at once.
    pub(crate) connections: usize,
    /// Ends it: none is accepted any more.
    pub(crate) end: CancellationToken,
    /// How long connections have then to end by themselves.
    pub(crate) linger: Duration,
}

/// Has `connection` serve each connection, until the end. Dropped, it drops them all.
pub(crate) async fn serve<F>(
    listener: TcpListener,
    terms: Terms,
    connection: impl Fn(TcpStream) -> F,
) where
    F: Future<Output = ()> + Send + 'static,
{
    let Terms { name, connections: cap, end, linger } = terms;
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            biased;
            () = end.cancelled() => break,
            Some(_) = connections.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((_, peer)) if connections.len() >= cap => {
                debug!(%peer, port = name, "too many connections, this one is closed");
            }
            Ok((stream, _)) => {
                connections.spawn(connection(stream));
            }
            Err(error) if is_of_the_peer(&error) => {}
            Err(error) => {
                warn!(%error, port = name, "no connection can be accepted");
                tokio::time::sleep(EXHAUSTED_PAUSE).await;
            }
        }
    }
    drop(listener);
    let ended = async { while connections.join_next().await.is_some() {} };
    // Who is not done then is cut off.
    let _ = tokio::time::timeout(linger, ended).await;
}

/// A connection that went before it was accepted says nothing about the next.
fn is_of_the_peer(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
    )
}
