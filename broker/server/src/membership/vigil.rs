//! Watches the controller's port, so that the death of its process is known before its session is over.
//!
//! A connection is held to the broker that is controller, and nothing is asked over it. When it ends, and
//! the port then refuses, the process is gone while its host lives: the office is taken from it, as
//! Kafka's own tools do it. That is safe whoever is right: the next controller raises the epoch, and a
//! write of the one before fails by it. A host that is silent proves nothing, and its session is waited
//! for; a port that was never open neither, for brokers of Kafka register before they listen.
//!
//! Source: ours.

use std::sync::Arc;
use std::time::Duration;

use broker_protocol::quantity::BrokerId;
use broker_zookeeper::node::broker::Broker;
use broker_zookeeper::path;
use broker_zookeeper::store::Store;
use tokio::sync::{mpsc, watch};
use tracing::info;

use crate::peer::{Options, Peer, PeerError};

/// Pause before a connection is tried again that was refused once, and before one of another failure.
const SOON: Duration = Duration::from_millis(30);
const LATER: Duration = Duration::from_secs(1);

/// Refused connections, one after the other, that mean that nobody listens.
const REFUSALS: u32 = 2;

/// How long a connection may take: a host that is silent is no news.
const LIMIT: Duration = Duration::from_secs(2);

/// Nothing is asked, so nothing is answered.
const ANSWER_SIZE_MAX: usize = 0;

/// Who watches, and whom it tells.
pub(crate) struct Vigil {
    /// This broker.
    pub(crate) me: BrokerId,
    /// Whatever session there is.
    pub(crate) store: Arc<dyn Store>,
    /// The listener by which brokers reach each other.
    pub(crate) listener: Arc<str>,
    /// Who is controller, as far as is known.
    pub(crate) controller: watch::Receiver<Option<BrokerId>>,
    /// Told of a controller whose process is gone.
    pub(crate) gone: mpsc::Sender<BrokerId>,
}

impl Vigil {
    /// Watches for as long as there is a membership.
    pub(crate) async fn run(mut self) {
        loop {
            let watched = *self.controller.borrow_and_update();
            let mut news = self.controller.clone();
            tokio::select! {
                biased;
                changed = news.changed() => if changed.is_err() {
                    return;
                },
                gone = self.watch(watched) => {
                    info!(broker = gone.0, "the controller's port refuses connections");
                    // A membership that is over needs no word.
                    let _ = self.gone.send(gone).await;
                    if self.controller.changed().await.is_err() {
                        return;
                    }
                }
            }
        }
    }

    /// Returns when the process of the controller is gone; never, if that cannot be told.
    async fn watch(&self, controller: Option<BrokerId>) -> BrokerId {
        let Some(controller) = controller.filter(|id| *id != self.me) else {
            return std::future::pending().await;
        };
        let (mut was_there, mut refusals) = (false, 0);
        loop {
            match self.connect(controller).await {
                Ok(mut peer) => {
                    (was_there, refusals) = (true, 0);
                    peer.closed().await;
                }
                Err(PeerError::Refused) if was_there => {
                    refusals += 1;
                    if refusals >= REFUSALS {
                        return controller;
                    }
                    tokio::time::sleep(SOON).await;
                }
                Err(_) => {
                    refusals = 0;
                    tokio::time::sleep(LATER).await;
                }
            }
        }
    }

    async fn connect(&self, broker: BrokerId) -> Result<Peer, PeerError> {
        let unknown = |kind: std::io::ErrorKind| PeerError::Unreachable(kind.into());
        let path = path::broker_id(broker.0);
        let read = tokio::time::timeout(LIMIT, self.store.get(&path)).await;
        let node = read.map_err(|_| PeerError::TimedOut)?.ok();
        let node = node.and_then(|(data, _)| Broker::decode(&path, &data).ok());
        let endpoints = node.into_iter().flat_map(|node| node.endpoints);
        let mut endpoints = endpoints.filter(|endpoint| *endpoint.listener == *self.listener);
        let Some(endpoint) = endpoints.next() else {
            return Err(unknown(std::io::ErrorKind::AddrNotAvailable));
        };
        let options = Options {
            client_id: self.me.0.to_string().into(),
            connect_timeout: LIMIT,
            call_timeout: LIMIT,
            answer_size_max: ANSWER_SIZE_MAX,
        };
        Peer::connect(&endpoint.host, endpoint.port, options).await
    }
}
