//! Whether clients may be told which topics there are.
//!
//! A broker that has just started knows no topic, and a client to which a topic is denied gives up; so
//! requests about topics wait until this broker was told of them all.
//!
//! | controller | says at first | and then |
//! |---|---|---|
//! | Kafka's, to a broker that registers | UpdateMetadata of all partitions (`onBrokerStartup`) | |
//! | Kafka's, when it takes over | UpdateMetadata of the brokers alone (`onControllerFailover`) | LeaderAndIsr of the replicas, UpdateMetadata of all partitions; nothing where there is no partition |
//! | ours, in both cases | UpdateMetadata of all partitions | LeaderAndIsr of the replicas, even of none |
//!
//! So one that names partitions names them all, and after one that names none only time tells a cluster
//! without topics from one that is still to come: unless a LeaderAndIsr of nothing follows.
//!
//! Source: Kafka 3.9 `KafkaController`, `ReplicaStateMachine.startup`; a broker of Kafka answers at once.

use std::future;
use std::pin::Pin;
use std::time::Duration;

use tokio::time::{Sleep, sleep};

/// How long after an order that told of no topics, or of some of them, the rest may take. Kafka's controller
/// has read everything by then and only makes its requests; less than what requests are held for.
pub(super) const PATIENCE: Duration = Duration::from_secs(3);

/// What was told since this broker started.
#[derive(Debug, Default)]
pub(super) enum Telling {
    /// Nothing.
    #[default]
    Nothing,
    /// Who lives; topics may follow until then.
    Brokers(Pin<Box<Sleep>>),
    /// Which topics there are.
    Topics,
}

impl Telling {
    fn more_may_follow() -> Self {
        Self::Brokers(Box::pin(sleep(PATIENCE)))
    }

    /// Takes in an UpdateMetadata that was obeyed.
    pub(super) fn announced(&mut self, names_topics: bool) {
        if names_topics {
            *self = Self::Topics;
        } else if !self.is_done() {
            *self = Self::more_may_follow();
        }
    }

    /// Takes in a LeaderAndIsr that was obeyed.
    pub(super) fn led(&mut self, names_topics: bool) {
        if matches!(self, Self::Brokers(_)) {
            *self = if names_topics { Self::more_may_follow() } else { Self::Topics };
        }
    }

    /// The session is over: whoever was about to tell more tells it no more.
    pub(super) fn resigned(&mut self) {
        if !self.is_done() {
            *self = Self::Nothing;
        }
    }

    /// Waits until nothing more is to come; for ever where that is not a matter of time. Cancel-safe.
    pub(super) async fn ended(&mut self) {
        match self {
            Self::Brokers(patience) => patience.await,
            Self::Nothing | Self::Topics => future::pending().await,
        }
    }

    /// Whether all topics were told.
    pub(super) fn is_done(&self) -> bool {
        matches!(self, Self::Topics)
    }
}
