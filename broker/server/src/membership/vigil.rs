//! Watches the controller's port, so that the death of its process is known before its session is over.
//!
//! A connection is held to the broker that is controller, and nothing is asked over it. When it ends, and
//! the port then refuses, the process is gone while its host lives: the office is taken from it, as
//! Kafka's own tools do it. That is safe whoever is right: the next controller raises the epoch, and a
//! write of the one before fails by it. A host that is silent proves nothing, and its session is waited
//! for. A port that was not seen open proves little, for brokers of Kafka register before they listen, and
//! one that is closed to this broker alone must not cost the cluster a controller again and again: it counts
//! once, of the controller that this broker finds when it joins, and only where it stays closed for longer
//! than a start of Kafka takes from the one to the other. So a cluster that was killed as a whole does
//! not wait for the session of a controller that is gone.
//!
//! Source: ours.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use broker_protocol::quantity::BrokerId;
use broker_zookeeper::node::broker::Broker;
use broker_zookeeper::path;
use broker_zookeeper::store::Store;
use tokio::sync::{mpsc, watch};
use tracing::{info, warn};

use crate::peer::{Options, Peer, PeerError};

/// Pause before a connection is tried again that was refused once, or ended at once, and before one of another
/// failure or of a controller that was told of already: its office may not have been taken from it.
const SOON: Duration = Duration::from_millis(30);
const LATER: Duration = Duration::from_secs(1);

/// Refused connections, one after the other, that mean that nobody listens: on a port that was seen open, and
/// on one that was not, [`LATER`] one from the other.
const REFUSALS: u32 = 2;
const REFUSALS_UNSEEN: u32 = 6;

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
    /// How long a session outlives its broker.
    pub(crate) session_timeout: Duration,
}

/// What is said once of a controller that cannot be reached.
fn tell(controller: BrokerId, error: &PeerError, is_judged: bool, session_timeout: Duration) {
    let broker = controller.0;
    if !is_judged {
        warn!(
            broker, %error, ?session_timeout,
            "the controller cannot be reached; if it is gone, its successor is elected when its session is over"
        );
    } else if matches!(error, PeerError::Refused) {
        let patience = LATER * (REFUSALS_UNSEEN - 1);
        info!(
            broker,
            ?patience,
            "the controller's port refuses connections; if it still does after this, another is elected"
        );
    } else {
        warn!(
            broker, %error, ?session_timeout,
            "the controller's host does not answer; if it is gone, a successor is elected when its session is over"
        );
    }
}

impl Vigil {
    /// Watches for as long as there is a membership.
    pub(crate) async fn run(mut self) {
        let mut is_first = true;
        loop {
            let watched = *self.controller.borrow_and_update();
            let mut news = self.controller.clone();
            tokio::select! {
                biased;
                changed = news.changed() => if changed.is_err() {
                    return;
                },
                never = self.watch(watched, is_first) => match never {},
            }
            is_first &= watched.is_none();
        }
    }

    /// Tells when the process of the controller is gone, and again for as long as it is controller; never, if
    /// that cannot be told. Whoever `is_first` is judged by a port that was not seen open.
    async fn watch(&self, controller: Option<BrokerId>, is_first: bool) -> Infallible {
        let Some(controller) = controller.filter(|id| *id != self.me) else {
            return std::future::pending().await;
        };
        let (mut was_there, mut refusals, mut is_told) = (false, 0, false);
        loop {
            let error = match self.connect(controller).await {
                Ok(mut peer) => {
                    (was_there, refusals, is_told) = (true, 0, false);
                    // Whoever ends each connection at once is not asked as fast as it answers.
                    tokio::join!(peer.closed(), tokio::time::sleep(SOON));
                    continue;
                }
                Err(error) => error,
            };
            let is_refused = matches!(error, Some(PeerError::Refused));
            refusals = if is_refused { refusals + 1 } else { 0 };
            let enough = match (was_there, is_first) {
                (true, _) => Some(REFUSALS),
                (false, true) => Some(REFUSALS_UNSEEN),
                (false, false) => None,
            };
            if enough.is_some_and(|enough| refusals >= enough) {
                let broker = controller.0;
                info!(broker, "the controller's port refuses connections; its office is vacated");
                // A membership that is over needs no word.
                let _ = self.gone.send(controller).await;
                refusals = 0;
                tokio::time::sleep(LATER).await;
                continue;
            }
            let is_soon = is_refused && was_there;
            if let Some(error) = error
                && !is_soon
                && !std::mem::replace(&mut is_told, true)
            {
                tell(controller, &error, enough.is_some(), self.session_timeout);
            }
            tokio::time::sleep(if is_soon { SOON } else { LATER }).await;
        }
    }

    /// Connects to the listener that `broker` has registered.
    ///
    /// # Errors
    /// Why that fails; `None` where the tree does not say where it is.
    async fn connect(&self, broker: BrokerId) -> Result<Peer, Option<PeerError>> {
        let path = path::broker_id(broker.0);
        let read = tokio::time::timeout(LIMIT, self.store.get(&path)).await;
        let node = read.ok().and_then(Result::ok);
        let node = node.and_then(|(data, _)| Broker::decode(&path, &data).ok());
        let endpoints = node.into_iter().flat_map(|node| node.endpoints);
        let mut endpoints = endpoints.filter(|endpoint| *endpoint.listener == *self.listener);
        let Some(endpoint) = endpoints.next() else { return Err(None) };
        let options = Options {
            client_id: self.me.0.to_string().into(),
            connect_timeout: LIMIT,
            call_timeout: LIMIT,
            answer_size_max: ANSWER_SIZE_MAX,
        };
        Ok(Peer::connect(&endpoint.host, endpoint.port, options).await?)
    }
}

#[cfg(test)]
mod tests {
    use broker_zookeeper::embedded::EmbeddedTree;
    use broker_zookeeper::node::broker::Endpoint;
    use broker_zookeeper::store::CreateMode;
    use tokio::net::TcpListener;

    use super::*;
    use crate::clock::{Clock as _, SystemClock};
    use crate::controller::membership::ensure_paths;

    /// A vigil over broker 7, whose port `socket` has.
    struct Bed {
        vigil: Vigil,
        told: mpsc::Receiver<BrokerId>,
        /// Dropped last: who is controller is known for as long.
        _known: watch::Sender<Option<BrokerId>>,
    }

    const CONTROLLER: BrokerId = BrokerId(7);

    async fn bed(socket: &TcpListener) -> Bed {
        let store = EmbeddedTree::in_memory().session().await;
        ensure_paths(&store).await.unwrap();
        let endpoint = Endpoint {
            listener: "PLAINTEXT".to_owned(),
            security_protocol: "PLAINTEXT".to_owned(),
            host: "127.0.0.1".to_owned(),
            port: socket.local_addr().unwrap().port(),
        };
        let node = Broker {
            version: 5,
            endpoints: vec![endpoint],
            rack: None,
            features: std::collections::BTreeMap::new(),
            timestamp_ms: 0,
        };
        let place = path::broker_id(CONTROLLER.0);
        store.create(&place, &node.encode(), CreateMode::Ephemeral).await.unwrap();
        let known = watch::Sender::new(Some(CONTROLLER));
        let (gone, told) = mpsc::channel(1);
        let vigil = Vigil {
            me: BrokerId(1),
            store: Arc::new(store),
            listener: "PLAINTEXT".into(),
            controller: known.subscribe(),
            gone,
            session_timeout: Duration::from_secs(6),
        };
        Bed { vigil, told, _known: known }
    }

    /// Runs `vigil` until `done` is.
    async fn until(vigil: Vigil, done: impl Future<Output = ()>) {
        tokio::select! {
            () = vigil.run() => panic!("there is a membership"),
            done = tokio::time::timeout(Duration::from_secs(20), done) => done.unwrap(),
        }
    }

    /// A controller whose process is gone is told of until it is controller no more: its office may not be
    /// taken from it at once.
    #[tokio::test]
    async fn a_controller_that_is_gone_is_told_of_until_there_is_another() {
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let Bed { vigil, mut told, _known } = bed(&socket).await;
        let dies = async {
            drop(socket.accept().await);
            drop(socket);
            for _ in 0..2 {
                assert_eq!(told.recv().await, Some(CONTROLLER));
            }
        };
        until(vigil, dies).await;
    }

    /// Whoever takes connections and ends them at once is not asked as fast as it answers.
    #[tokio::test]
    async fn a_port_that_ends_each_connection_is_left_alone_for_a_while() {
        const ENDED: u32 = 6;
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let Bed { vigil, told: _told, _known } = bed(&socket).await;
        let began = SystemClock.now();
        let ends = async {
            for _ in 0..=ENDED {
                drop(socket.accept().await);
            }
        };
        until(vigil, ends).await;
        let lasted = SystemClock.now() - began;
        assert!(lasted >= SOON * ENDED, "{lasted:?}");
    }
}
