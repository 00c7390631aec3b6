//! Reaching a ZooKeeper: `zookeeper.connect`, the chroot, a session to begin, to take over, to close.

use std::convert::Infallible;
use std::time::Duration;

use zookeeper_client as zk;

use super::{convert, names, probe};
use crate::limits;
use crate::path;
use crate::store::CreateMode;

/// When it is first said why there is no session yet, and how long afterwards again.
const FIRST_WHY: Duration = Duration::from_secs(1);
const NEXT_WHY: Duration = Duration::from_secs(5);

/// How long a server is left alone that gave no session, or did not answer the first requests of one.
const PAUSE: Duration = Duration::from_millis(200);

/// Why there is no session.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// It must be `host:port,host:port`, and may end in the path of a node.
    #[error(
        "{connect:?} is no list of host:port, with or without a path, as zk1:2181,zk2:2181/ottla is"
    )]
    BadConnect {
        /// What was given.
        connect: String,
    },
    /// No server answered.
    #[error("none of the servers {servers} gave a session within {timeout:?}: {why}")]
    Unreachable {
        /// The servers that were named.
        servers: String,
        /// How long they had.
        timeout: Duration,
        /// How far one gets with each.
        why: String,
    },
    /// The session to take over is over.
    #[error("the session has expired")]
    SessionExpired,
    /// A server answers that it does not know what all servers know since 3.6.
    #[error(
        "the ZooKeeper at {servers} is older than 3.6, the oldest that will do: upgrade its servers"
    )]
    TooOld {
        /// The servers that were named.
        servers: String,
    },
    /// The servers answered, but gave no session or not the chroot.
    #[error("begin a session with {servers}")]
    Refused {
        /// The servers that were named.
        servers: String,
        /// What the client library said.
        source: zk::Error,
    },
}

/// The servers, and the node that stands for the root; `/` is the servers' own root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    servers: String,
    pub(super) chroot: String,
}

/// Whether it is a host, with a port or without.
fn is_server(text: &str) -> bool {
    let is_port = |port: &str| port.parse().is_ok_and(|port: u16| port > 0);
    match text.rsplit_once(':') {
        // The colon is one of an IPv6 address.
        Some((_, rest)) if rest.ends_with(']') => true,
        Some((host, port)) => !host.is_empty() && is_port(port),
        None => !text.is_empty(),
    }
}

impl Target {
    /// Reads `zookeeper.connect`.
    pub(super) fn parse(connect: &str) -> Result<Self, ConnectError> {
        let bad = || ConnectError::BadConnect { connect: connect.to_owned() };
        let (servers, chroot) = match connect.find('/') {
            Some(slash) => connect.split_at(slash),
            None => (connect, "/"),
        };
        let servers: Vec<&str> = servers.split(',').map(str::trim).collect();
        if !servers.iter().all(|server| is_server(server)) || limits::check_path(chroot).is_err() {
            return Err(bad());
        }
        Ok(Self { servers: servers.join(","), chroot: chroot.to_owned() })
    }

    /// Begins a session with a server that is not too old, and goes below the chroot, which is made if
    /// need be.
    pub(super) async fn connect(
        &self,
        session_timeout: Duration,
        connection_timeout: Duration,
    ) -> Result<zk::Client, ConnectError> {
        let connector = || zk::Client::connector().with_session_timeout(session_timeout);
        let client = async {
            let client = self.session(connector).await?;
            self.refuse_old(&client).await?;
            self.make_chroot(&client).await?;
            self.below_chroot(client)
        };
        tracing::info!(servers = self.servers, "connecting to ZooKeeper");
        tokio::select! {
            biased;
            client = client => client,
            error = self.unreachable(connection_timeout) => Err(error),
        }
    }

    fn below_chroot(&self, client: zk::Client) -> Result<zk::Client, ConnectError> {
        let below = client.chroot(self.chroot.as_str());
        below.map_err(|_| ConnectError::BadConnect { connect: self.chroot.clone() })
    }

    /// Takes over a session, whose chroot is there.
    ///
    /// What is read with the new client is no older than anything that the old one has seen: a server
    /// that lags has caught up.
    pub(super) async fn resume(
        &self,
        session: &zk::SessionInfo,
        session_timeout: Duration,
    ) -> Result<zk::Client, ConnectError> {
        let connector = || {
            let connector = zk::Client::connector().with_session(session.clone());
            connector.with_session_timeout(session_timeout)
        };
        let client = self.session(connector).await?;
        while let Err(error) = client.sync("/").await {
            // Whoever drops a client that lives closes the session.
            if client.state().is_terminated() || !passes(&error) {
                return Err(self.refused(error));
            }
            tokio::time::sleep(PAUSE).await;
        }
        self.below_chroot(client)
    }

    /// Tries until there is a session: the library gives up after the session's time-out.
    async fn session(
        &self,
        connector: impl Fn() -> zk::Connector,
    ) -> Result<zk::Client, ConnectError> {
        let servers = names::for_resolver(&self.servers);
        loop {
            match connector().connect(&servers).await {
                Ok(client) => return Ok(client),
                // It may give up without having waited for anything.
                Err(zk::Error::Timeout | zk::Error::ConnectionLoss) => {
                    tokio::time::sleep(PAUSE).await;
                }
                Err(zk::Error::SessionExpired) => return Err(ConnectError::SessionExpired),
                Err(source) => return Err(self.refused(source)),
            }
        }
    }

    /// Refuses servers that know no lasting watches: without them nobody can be controller. Asked by a
    /// request as new as those, which changes nothing: an old server says that it does not know it.
    ///
    /// Source: ZOOKEEPER-1416 and ZOOKEEPER-3209, both of 3.6.0; `UnimplementedRequestProcessor`.
    async fn refuse_old(&self, client: &zk::Client) -> Result<(), ConnectError> {
        loop {
            match client.list_ephemerals("/").await {
                Ok(_) => return Ok(()),
                Err(zk::Error::Unimplemented) => {
                    return Err(ConnectError::TooOld { servers: self.servers.clone() });
                }
                Err(error) if passes(&error) => tokio::time::sleep(PAUSE).await,
                Err(source) => return Err(self.refused(source)),
            }
        }
    }

    async fn make_chroot(&self, client: &zk::Client) -> Result<(), ConnectError> {
        if self.chroot == "/" {
            return Ok(());
        }
        let options = convert::create_options(CreateMode::Persistent);
        for path in path::parents(&self.chroot).chain([self.chroot.as_str()]) {
            loop {
                match client.create(path, &[], &options).await {
                    Ok(_) | Err(zk::Error::NodeExists) => break,
                    // Whoever makes it, it is there: this write may be repeated.
                    Err(error) if passes(&error) => tokio::time::sleep(PAUSE).await,
                    Err(source) => return Err(self.refused(source)),
                }
            }
        }
        Ok(())
    }

    /// Returns why there is no session, once there was none for `timeout`; says it now and then before. Whoever
    /// tries meanwhile goes on until it is known why.
    async fn unreachable(&self, timeout: Duration) -> ConnectError {
        let Err(_) = tokio::time::timeout(timeout, self.say_why()).await;
        let why = probe::why(&self.servers).await;
        ConnectError::Unreachable { servers: self.servers.clone(), timeout, why }
    }

    /// Says again and again how far one gets with each server.
    async fn say_why(&self) -> Infallible {
        tokio::time::sleep(FIRST_WHY).await;
        loop {
            let why = probe::why(&self.servers).await;
            tracing::warn!(why, "no session with ZooKeeper yet");
            tokio::time::sleep(NEXT_WHY).await;
        }
    }

    /// Returns the servers, by comma.
    pub(super) fn servers(&self) -> &str {
        &self.servers
    }

    fn refused(&self, source: zk::Error) -> ConnectError {
        ConnectError::Refused { servers: self.servers.clone(), source }
    }
}

/// Whether a request may be answered when it is made again.
fn passes(error: &zk::Error) -> bool {
    matches!(error, zk::Error::ConnectionLoss | zk::Error::Custom(_) | zk::Error::Throttled)
}

/// Closes a session; returns once the server has said so, or the session is over in another way.
pub(super) async fn close(client: zk::Client) {
    let mut states = client.state_watcher();
    let mut state = client.state();
    drop(client);
    while !state.is_terminated() {
        state = states.changed().await;
    }
}

#[cfg(test)]
mod tests {
    use super::super::scripted::{self, Silent};
    use super::*;

    #[tokio::test]
    async fn who_gets_no_session_hears_why() {
        let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = closed.local_addr().unwrap();
        drop(closed);
        let target = Target::parse(&at.to_string()).unwrap();
        let limit = Duration::from_millis(100);
        let error = target.connect(Duration::from_secs(10), limit).await.unwrap_err();
        assert!(error.to_string().ends_with(&format!(": {at} refuses connections")), "{error}");
    }

    /// To a broadcast address no host connects, and hears so at once. Nothing else could run meanwhile, so that
    /// the test looks from another thread.
    #[test]
    fn who_has_no_route_hears_so() {
        let (say, said) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let target = Target::parse("255.255.255.255:2181").unwrap();
            let limit = Duration::from_millis(100);
            let connects = target.connect(limit, limit * 5);
            say.send(runtime.unwrap().block_on(connects).unwrap_err().to_string())
        });
        let error = said.recv_timeout(Duration::from_secs(20)).unwrap();
        assert!(error.contains("255.255.255.255:2181 cannot be reached"), "{error}");
    }

    /// Who looks why there is no session yet goes on to try: a server that answers meanwhile gives one.
    #[tokio::test]
    async fn a_server_that_comes_while_it_is_asked_why_gives_a_session() {
        let late = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let silent = Silent::new().await;
        let target = format!("{},{}", late.local_addr().unwrap(), silent.address());
        let target = Target::parse(&target).unwrap();
        let limit = Duration::from_millis(100);
        let connects = target.connect(Duration::from_secs(1), limit);
        let comes = async {
            // The limit passes in vain.
            let _ = tokio::time::timeout(limit * 2, std::future::pending::<()>()).await;
            scripted::serve(&late, 0).await
        };
        let client = tokio::select! {
            client = connects => client,
            never = comes => match never {},
        };
        assert!(client.is_ok(), "{client:?}");
    }

    /// A client that were dropped for it would close the session.
    #[tokio::test]
    async fn a_server_that_refuses_for_now_gives_a_session_back() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let target = Target::parse(&listener.local_addr().unwrap().to_string()).unwrap();
        let limit = Duration::from_secs(10);
        let taken = async {
            let client = target.connect(limit, limit).await.unwrap();
            let session = client.session().clone();
            close(client).await;
            target.resume(&session, limit).await
        };
        let taken = tokio::select! {
            taken = taken => taken,
            never = scripted::serve(&listener, 1) => match never {},
        };
        assert!(taken.is_ok(), "{taken:?}");
    }

    /// The string is Kafka's: servers by comma, then the path that stands for the root.
    #[test]
    fn a_connect_string_is_servers_and_a_chroot() {
        let cases = [
            ("zk1:2181", "zk1:2181", "/"),
            ("zk1, zk2:2182", "zk1,zk2:2182", "/"),
            ("zk1:2181,zk2:2181/kafka/a", "zk1:2181,zk2:2181", "/kafka/a"),
            ("[::1]:2181/", "[::1]:2181", "/"),
        ];
        for (connect, servers, chroot) in cases {
            let target = Target { servers: servers.to_owned(), chroot: chroot.to_owned() };
            assert_eq!(Target::parse(connect).unwrap(), target, "{connect}");
        }
        let wrong = ["", "/kafka", "zk1,,zk2", "zk1/kafka/", "zk1/a//b", "zk1/a,zk2/b/"];
        let wrong_ports = ["zk1:2181ottla", "zk1:", ":2181", "zk1:0", "zk1:2181,zk2:65536/a"];
        for connect in wrong.into_iter().chain(wrong_ports) {
            assert!(Target::parse(connect).is_err(), "{connect}");
        }
    }
}
