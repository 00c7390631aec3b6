//! A port beside those of Kafka's protocol, for pages or for the operator: bound when the broker starts.

use std::net::{SocketAddr, ToSocketAddrs};

use anyhow::{Context as _, Result};
use tokio::net::TcpListener;

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
