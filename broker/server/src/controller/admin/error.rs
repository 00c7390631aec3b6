//! Why a change of topics was refused, or is not known to be done.

use std::sync::Arc;

use broker_protocol::uuid::Uuid;
use broker_zookeeper::error::TreeError;
use broker_zookeeper::store::StoreError;

use crate::controller::placement::PlacementError;
use crate::controller::topic_name::NameError;
use crate::request_time::{TimedOut, TreeSilent};

/// The most partitions that one topic may have. Kafka has no bound of its own; each
/// partition is a directory and some open files, and a mistyped number must not fill the disk.
pub(super) const PARTITIONS_MAX: usize = 100_000;

/// Why a change was refused.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// The name is not legal.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The name differs from that of another topic in `.` and `_` only.
    #[error("topic {name} collides with topic {with}: '.' and '_' cannot be told apart in metrics")]
    Collision {
        /// The new name.
        name: String,
        /// The other topic.
        with: Arc<str>,
    },
    /// The topic exists.
    #[error("topic {0} exists already")]
    Exists(String),
    /// The topic does not exist.
    #[error("topic {0} does not exist")]
    Unknown(String),
    /// The number of partitions makes no sense.
    #[error("{asked} is no number of partitions: it must be from 1 to {PARTITIONS_MAX}")]
    PartitionCount {
        /// What was asked for.
        asked: i32,
    },
    /// The topic can only grow.
    #[error("topic {topic} has {current} partitions; {asked} is not more")]
    NotMore {
        /// The topic.
        topic: String,
        /// How many it has.
        current: usize,
        /// What was asked for.
        asked: i32,
    },
    /// The topic cannot shrink.
    #[error("topic {topic} has {current} partitions and cannot have {asked}: it can only get more")]
    Fewer {
        /// The topic.
        topic: String,
        /// How many it has.
        current: usize,
        /// What was asked for.
        asked: i32,
    },
    /// The chosen replicas are not those of all partitions.
    #[error("there are to be {asked} partitions, and the replicas of {named} are named")]
    AssignmentCount {
        /// What was asked for.
        asked: i32,
        /// How many the assignment names.
        named: usize,
    },
    /// What the new partitions would be like is being changed.
    #[error("replicas of topic {0} are being moved: it can grow once that is done or stopped")]
    Moving(String),
    /// The replication factor makes no sense.
    #[error("replication factor {asked} must be larger than 0")]
    ReplicationFactor {
        /// What was asked for.
        asked: i16,
    },
    /// Fewer brokers than replicas.
    #[error(transparent)]
    Placement(#[from] PlacementError),
    /// Brokers were cordoned, or no longer are, while replicas were placed.
    #[error("brokers were cordoned meanwhile: ask again")]
    Cordoned,
    /// The chosen replicas make no sense.
    #[error("replica assignment: {0}")]
    Assignment(&'static str),
    /// The chosen replicas could be, but not now.
    #[error("partition {partition} is to be on broker {broker}, which is {state}")]
    Closed {
        /// The first partition that names such a broker.
        partition: i32,
        /// The first such broker that it names.
        broker: i32,
        /// How the broker is.
        state: &'static str,
    },
    /// The topic has another number of partitions than whoever lets it grow knows.
    #[error(
        "topic {topic} has {current} partitions, or others than were said; {said} were said: look again"
    )]
    Otherwise {
        /// The topic.
        topic: String,
        /// How many it has.
        current: usize,
        /// How many it was said to have.
        said: i32,
    },
    /// The topic is being deleted.
    #[error("topic {0} is being deleted: its name is free once that is done")]
    Going(String),
    /// Another topic has this id.
    #[error("{id} is the id of topic {topic}: each topic has one of its own")]
    IdTaken {
        /// The id.
        id: Uuid,
        /// The topic that has it.
        topic: Arc<str>,
    },
    /// Another operator has come.
    #[error("another operator has come: ask again")]
    Fenced,
    /// Both a count and an assignment were given.
    #[error("give either partition count and replication factor, or a replica assignment")]
    Both,
    /// A setting is unknown or out of range.
    #[error("{0}")]
    Config(String),
    /// Topics may not be deleted.
    #[error("delete.topic.enable is false on this broker")]
    DeletionDisabled,
    /// The time is over; the change may still happen.
    #[error(transparent)]
    TimedOut(#[from] TimedOut),
    /// The tree is away.
    #[error(transparent)]
    Silent(#[from] TreeSilent),
    /// The tree refused.
    #[error(transparent)]
    Tree(#[from] TreeError),
}

impl From<StoreError> for AdminError {
    fn from(error: StoreError) -> Self {
        Self::Tree(error.into())
    }
}
