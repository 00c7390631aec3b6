//! Finds out why no server gives a session: the client library tries one after the other and keeps to itself what
//! each said.

use std::io;
use std::time::Duration;

use tokio::net::{TcpStream, lookup_host};
use tokio::task::JoinSet;
use tokio::time::timeout;

/// How long a name or a host may take.
const LIMIT: Duration = Duration::from_secs(2);

/// The port of a server that is named without one, as in the client library.
const PORT: &str = "2181";

/// Says of each of `servers`, which come by comma, how far one gets with it. All are asked at once, so that it
/// takes no longer than twice [`LIMIT`].
pub(super) async fn why(servers: &str) -> String {
    let servers = servers.split(',').enumerate().map(|(at, server)| (at, server.to_owned()));
    // Ends with this future.
    let asked: JoinSet<_> = servers
        .map(|(at, server)| async move { (at, format!("{server} {}", one(&server).await)) })
        .collect();
    let mut said = asked.join_all().await;
    said.sort_unstable();
    said.into_iter().map(|(_, said)| said).collect::<Vec<_>>().join(", ")
}

async fn one(server: &str) -> String {
    let has_port = server.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    let server = if has_port { server.to_owned() } else { format!("{server}:{PORT}") };
    let found: Vec<_> = match timeout(LIMIT, lookup_host(server)).await {
        Ok(Ok(found)) => found.collect(),
        Ok(Err(error)) => return format!("is a name that is not resolved ({error})"),
        Err(_) => return "is a name that is not resolved in time".to_owned(),
    };
    match timeout(LIMIT, TcpStream::connect(&*found)).await {
        Ok(Ok(_)) => "takes connections and gives no session".to_owned(),
        Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => {
            "refuses connections".to_owned()
        }
        Ok(Err(error)) => format!("cannot be reached ({error})"),
        Err(_) => "does not answer".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::super::scripted::Silent;
    use super::*;

    /// Of servers that are silent each has its time, and not one after the other.
    #[tokio::test(start_paused = true)]
    async fn all_are_asked_at_once() {
        let silent = [Silent::new().await, Silent::new().await, Silent::new().await];
        let servers = silent.each_ref().map(Silent::address);
        let said = timeout(LIMIT * 3 / 2, why(&servers.join(","))).await.unwrap();
        assert_eq!(said, servers.map(|server| format!("{server} does not answer")).join(", "));
    }

    #[tokio::test]
    async fn each_server_has_its_reason() {
        let open = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let closed = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (open_at, closed_at) = (open.local_addr().unwrap(), closed.local_addr().unwrap());
        drop(closed);
        let said = why(&format!("{closed_at},nosuch.invalid:2181,{open_at}")).await;
        let said: Vec<_> = said.split(", ").collect();
        assert_eq!(said[0], format!("{closed_at} refuses connections"));
        assert!(
            said[1].starts_with("nosuch.invalid:2181 is a name that is not resolved"),
            "{said:?}"
        );
        assert_eq!(said[2], format!("{open_at} takes connections and gives no session"));
    }
}
