//! Whether clients may be told which topics there are.
//!
//! A broker that has just started knows no topic, and a client to which a topic is denied gives up; so
//! requests about topics wait until this broker was told of them all.
//!
//! | controller | says at first | and then |
//! |---|---|---|
//! | Kafka's, to a broker that registers | UpdateMetadata of all partitions (`onBrokerStartup`) | |
//! | Kafka's, when it takes over | UpdateMetadata of the brokers alone (`onControllerFailover`) | LeaderAndIsr of the replicas, UpdateMetadata of all partitions; nothing where there is no partition |
//! | ours, in both cases | UpdateMetadata of all partitions, or of those that it knows, and which of the two | LeaderAndIsr of the replicas, even of none; all once more when it knows them all |
//!
//! So one that does not say and names partitions names them all, and after one that names none only time
//! tells a cluster without topics from one that is still to come: unless a LeaderAndIsr of nothing follows.
//! After one that says that it does not name all, all is waited for, and no longer: of what cannot be read
//! until a person mends it clients have to wait by themselves.
//!
//! Source: Kafka 3.9 `KafkaController`, `ReplicaStateMachine.startup`; a broker of Kafka answers at once.

use std::future;
use std::pin::Pin;
use std::time::Duration;

use tokio::time::{Sleep, sleep};

/// How long after an order that told of no topics, or of some of them, the rest may take. Kafka's controller
/// has read everything by then and only makes its requests; less than what requests are held for.
pub(super) const PATIENCE: Duration = Duration::from_secs(3);

/// Kafka's `Type` of a request: a part of what there is.
const PART: i8 = 1;

/// All that there is.
const FULL: i8 = 2;

/// What was told since this broker started.
#[derive(Debug, Default)]
pub(super) enum Telling {
    /// Nothing.
    #[default]
    Nothing,
    /// Who lives; topics may follow until then.
    Brokers(Pin<Box<Sleep>>),
    /// Some topics; the others may follow until then.
    Some(Pin<Box<Sleep>>),
    /// Which topics there are.
    Topics,
}

impl Telling {
    fn more_may_follow() -> Self {
        Self::Brokers(Box::pin(sleep(PATIENCE)))
    }

    /// Takes in an UpdateMetadata that was obeyed.
    pub(super) fn announced(&mut self, request_type: i8, names_topics: bool) {
        *self = match (request_type, std::mem::take(self)) {
            (_, Self::Topics) | (FULL, _) => Self::Topics,
            (PART, Self::Some(patience)) => Self::Some(patience),
            (PART, Self::Nothing | Self::Brokers(_)) => Self::Some(Box::pin(sleep(PATIENCE))),
            _ if names_topics => Self::Topics,
            _ => Self::more_may_follow(),
        };
    }

    /// Takes in a LeaderAndIsr that was obeyed.
    pub(super) fn led(&mut self, request_type: i8, names_topics: bool) {
        *self = match std::mem::take(self) {
            Self::Brokers(_) | Self::Some(_) if request_type == FULL => Self::Topics,
            Self::Brokers(_) if names_topics => Self::more_may_follow(),
            Self::Brokers(_) => Self::Topics,
            told @ (Self::Nothing | Self::Some(_) | Self::Topics) => told,
        };
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
            Self::Brokers(patience) | Self::Some(patience) => patience.await,
            Self::Nothing | Self::Topics => future::pending().await,
        }
    }

    /// Whether all topics were told.
    pub(super) fn is_done(&self) -> bool {
        matches!(self, Self::Topics)
    }
}
