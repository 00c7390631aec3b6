//! Whether another process answers where a registration says that its broker is reached.
//!
//! A broker that starts again finds its own past registration, and so does one whose disk is a copy of a live
//! broker's. The port tells the two apart: of the one that was killed it refuses, or is this process's own. The
//! own one is known by what is asked over it, whatever addresses are translated on the way: the name that the
//! question is asked in is drawn for this process.
//!
//! | at the address | so the process of that registration |
//! |---|---|
//! | the port refuses, no host answers, the name is no address | is gone, or moved: a volume is mounted once |
//! | this process | is gone |
//! | anything else, also what takes the connection and says nothing | may live |
//!
//! Source: ours.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use broker_protocol::message::api_versions::{ApiVersionsRequest, ApiVersionsResponse};
use broker_protocol::uuid::Uuid;
use broker_zookeeper::node::broker::{Broker, Endpoint};

use crate::peer::{Options, Peer, PeerError};

/// How long a connection may take, and then an answer.
const LIMIT: Duration = Duration::from_secs(2);

/// More than any answer has.
const ANSWER_SIZE_MAX: usize = 64 * 1024;

/// The version of ApiVersions that every broker serves.
const VERSION: i16 = 0;

/// This process, as it is known to itself.
#[derive(Debug)]
pub(crate) struct Presence {
    name: Arc<str>,
    is_heard: AtomicBool,
    is_registered: AtomicBool,
}

impl Presence {
    /// A process that calls itself by what was `drawn` for it.
    pub(crate) fn new(drawn: Uuid) -> Self {
        Self {
            name: format!("ottla-start-{drawn}").into(),
            is_heard: AtomicBool::new(false),
            is_registered: AtomicBool::new(false),
        }
    }

    /// Says whether this process is registered: from the answer of the tree to the end of the session.
    pub(crate) fn register(&self, is_registered: bool) {
        self.is_registered.store(is_registered, Ordering::Release);
    }

    /// Returns whether it is.
    pub(crate) fn is_registered(&self) -> bool {
        self.is_registered.load(Ordering::Acquire)
    }

    /// Takes in who asked this process something.
    pub(crate) fn hear(&self, client_id: &str) {
        if *client_id == *self.name {
            self.is_heard.store(true, Ordering::Release);
        }
    }

    /// Returns where another process than this one may be reached as `broker`.
    pub(crate) async fn elsewhere<'a>(&self, broker: &'a Broker) -> Option<&'a Endpoint> {
        for endpoint in &broker.endpoints {
            if self.is_elsewhere(endpoint).await {
                return Some(endpoint);
            }
        }
        None
    }

    async fn is_elsewhere(&self, endpoint: &Endpoint) -> bool {
        self.is_heard.store(false, Ordering::Release);
        let options = Options {
            client_id: Arc::clone(&self.name),
            connect_timeout: LIMIT,
            call_timeout: LIMIT,
            answer_size_max: ANSWER_SIZE_MAX,
        };
        let Ok(mut peer) = Peer::connect(&endpoint.host, endpoint.port, options).await else {
            return false;
        };
        let request = ApiVersionsRequest::default();
        let answer: Result<ApiVersionsResponse<'_>, PeerError> = peer.call(&request, VERSION).await;
        // What is heard here was asked here, answered or not.
        drop(answer);
        !self.is_heard.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    fn at(port: u16) -> Broker {
        let listener = "PLAINTEXT".to_owned();
        let endpoint = Endpoint {
            security_protocol: listener.clone(),
            listener,
            host: "127.0.0.1".to_owned(),
            port,
        };
        Broker {
            version: 5,
            endpoints: vec![endpoint],
            rack: None,
            features: std::collections::BTreeMap::new(),
            timestamp_ms: 0,
        }
    }

    /// An address at which nobody listens.
    async fn nobody() -> Broker {
        at(TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port())
    }

    /// What each kind of address says of the process that was there.
    #[tokio::test]
    async fn only_a_process_that_is_not_this_one_is_elsewhere() {
        let presence = Presence::new(Uuid::from_bytes([3; 16]));
        assert_eq!(presence.elsewhere(&nobody().await).await, None);
        let closes = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let there = at(closes.local_addr().unwrap().port());
        let (found, accepted) = tokio::join!(presence.elsewhere(&there), closes.accept());
        drop(accepted);
        assert_eq!(found, there.endpoints.first(), "it took the connection");
        let hears = async {
            let (mut stream, _) = closes.accept().await.unwrap();
            let mut request = [0; 256];
            let size = stream.read(&mut request).await.unwrap();
            let name = presence.name.as_bytes();
            assert!(request[..size].windows(name.len()).any(|window| window == name));
            presence.hear(&presence.name);
            presence.hear("somebody else");
            stream.write_all(&0_i32.to_be_bytes()).await.unwrap();
        };
        let (found, ()) = tokio::join!(presence.elsewhere(&there), hears);
        assert_eq!(found, None, "it is this process");
        let moved = Broker {
            endpoints: [nobody().await.endpoints, there.endpoints.clone()].concat(),
            ..there
        };
        let (found, accepted) = tokio::join!(presence.elsewhere(&moved), closes.accept());
        drop(accepted);
        assert_eq!(found, moved.endpoints.last(), "one of its addresses is enough");
    }
}
