//! What the controller is told: what was read in the tree, what brokers answered, what was asked.
//!
//! A reading is always whole: an event says how a thing is, never how it changed. It may be late
//! and it may say what is known already.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use broker_protocol::error_code::ErrorCode;
use broker_protocol::quantity::{BrokerId, LeaderEpoch, Offset};
use broker_protocol::topic_partition::TopicPartition;
use broker_protocol::uuid::Uuid;

use super::Settings;
use super::assignment::Assignment;
use super::request::{Request, Token};

/// Names a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct BatchId(pub u64);

/// Something that happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// Everything has been read: the first event of a controller, before any other.
    Loaded(Box<Snapshot>),
    /// The registered brokers, all of them.
    Brokers(BTreeMap<BrokerId, LiveBroker>),
    /// Topics that are new or whose nodes changed. Many in one event are written at once.
    Topics(Vec<TopicRead>),
    /// Topics whose nodes are gone.
    TopicsGone(Vec<Arc<str>>),
    /// Topics whose nodes are there and cannot be understood: what is known of them stands.
    TopicsUnread(Vec<Arc<str>>),
    /// The topics that are marked for deletion, all of them.
    DeletionsAsked(BTreeSet<Arc<str>>),
    /// What `/admin/reassign_partitions` asks for, all of it; empty where it does not exist.
    ReassignmentsAsked(BTreeMap<TopicPartition, Vec<BrokerId>>),
    /// What `/admin/preferred_replica_election` asks for; sent only where the node exists.
    PreferredAsked(BTreeSet<TopicPartition>),
    /// States that were read: for [`Effect::Read`](super::effect::Effect::Read), or in a full pass.
    States(Vec<(TopicPartition, StateReading)>),
    /// Leaders of an old version changed ISRs by themselves.
    IsrChanged {
        /// Paths of the notifications, to be deleted.
        notifications: Vec<Arc<str>>,
        /// The states of the partitions that they name.
        states: Vec<(TopicPartition, StateReading)>,
    },
    /// Brokers lost a log directory.
    LogDirFailed {
        /// Paths of the notifications, to be deleted.
        notifications: Vec<Arc<str>>,
        /// Whose directory failed.
        brokers: BTreeSet<BrokerId>,
    },
    /// The producer ids that were handed out: for `Read`.
    ProducerIds(ProducerIdsRead),
    /// `unclean.leader.election.enable` of a topic; `None` where it is the default.
    Unclean(Arc<str>, Option<bool>),
    /// The controller's own settings changed.
    Settings(Settings),
    /// Somebody asks the controller.
    Asked {
        /// Names the answer.
        token: Token,
        /// What is asked.
        request: Request,
    },
    /// A broker carried out directives, or some of them.
    Answered {
        /// Which broker.
        broker: BrokerId,
        /// The broker epoch that the request was sent to; the answer of an earlier life is dropped.
        epoch: i64,
        /// What it says.
        answer: Answer,
    },
    /// A broker's port refuses connections while its host answers. A hint, never a proof.
    Refused {
        /// Which broker.
        broker: BrokerId,
        /// The broker epoch of its channel.
        epoch: i64,
    },
    /// A broker that had refused can be reached again.
    Reached {
        /// Which broker.
        broker: BrokerId,
        /// The broker epoch of its channel.
        epoch: i64,
    },
    /// Where the logs of unproven replicas end: for [`Effect::AskEnds`](super::effect::Effect::AskEnds).
    Ends(Vec<ReplicaEnd>),
    /// A write is done: the event after each [`Effect::Write`](super::effect::Effect::Write).
    Written {
        /// Which.
        batch: BatchId,
        /// For each change in order: the node's new version (0 where it has none), or why not.
        outcome: Vec<Result<i32, WriteError>>,
    },
    /// The time since this controller began; about ten a second.
    Tick(Duration),
}

/// The tree as a new controller has read it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Snapshot {
    /// The registered brokers.
    pub brokers: BTreeMap<BrokerId, LiveBroker>,
    /// Every topic, with the states of its partitions.
    pub topics: Vec<TopicRead>,
    /// Topics that are there besides, and whose nodes cannot be understood.
    pub unread: Vec<Arc<str>>,
    /// Topics that are marked for deletion.
    pub deletions: BTreeSet<Arc<str>>,
    /// What `/admin/reassign_partitions` asks for.
    pub reassignments: BTreeMap<TopicPartition, Vec<BrokerId>>,
    /// What `/admin/preferred_replica_election` asks for; `None` where it does not exist.
    pub preferred: Option<BTreeSet<TopicPartition>>,
    /// `unclean.leader.election.enable` of the topics that set it.
    pub unclean: BTreeMap<Arc<str>, bool>,
    /// Paths of notifications of before; what they told is part of this reading.
    pub notifications: Vec<Arc<str>>,
}

/// A broker's registration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveBroker {
    /// The transaction that created its node: which of the broker's lives this is.
    pub epoch: i64,
    /// Where it is reached, one a listener.
    pub endpoints: Arc<[Endpoint]>,
    /// Where it runs, if it says.
    pub rack: Option<Arc<str>>,
    /// Replicas that it cannot prove complete (`/ottla/standing/<id>`); empty for other brokers.
    pub unproven: Arc<BTreeSet<TopicPartition>>,
}

/// Where a broker is reached through one of its listeners.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// The listener's name.
    pub listener: Arc<str>,
    /// Kafka's number of its security protocol: 0 is PLAINTEXT.
    pub security_protocol: i16,
    /// The advertised host.
    pub host: Arc<str>,
    /// The advertised port.
    pub port: u16,
}

/// A topic's node, and the states below it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicRead {
    /// Its name.
    pub name: Arc<str>,
    /// The node's version.
    pub version: i32,
    /// Its id, unless a tool wrote the node that knows none.
    pub id: Option<Uuid>,
    /// The id that it gets if it has none: fresh and random.
    pub spare_id: Uuid,
    /// The replicas of each partition.
    pub partitions: BTreeMap<i32, Assignment>,
    /// The state of each partition that has one.
    pub states: BTreeMap<i32, StateRead>,
    /// Partitions whose states are there and cannot be understood.
    pub unreadable: BTreeSet<i32>,
}

/// What is where a partition's state should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StateReading {
    /// Nothing.
    Missing,
    /// A node that cannot be understood: nothing may be decided without what it says.
    Unreadable,
    /// A state.
    Is(StateRead),
}

/// A partition's state as its node holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateRead {
    /// The leader, if there is one.
    pub leader: Option<BrokerId>,
    /// How often leadership has changed.
    pub leader_epoch: LeaderEpoch,
    /// The replicas in sync.
    pub isr: Vec<BrokerId>,
    /// Whether the leader still recovers from an unclean election.
    pub recovering: bool,
    /// The controller that wrote it, or told the leader that did.
    pub controller_epoch: i32,
    /// The node's version, which is the partition epoch.
    pub version: i32,
}

/// `/latest_producer_id_block` as it was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProducerIdsRead {
    /// The first id that nobody has.
    pub next: i64,
    /// The node's version.
    pub version: i32,
}

/// What a broker says to directives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// To `Lead`, by LeaderAndIsr.
    Led(Vec<Outcome>),
    /// To `Stop`, by StopReplica.
    Stopped {
        /// The replicas.
        outcomes: Vec<Outcome>,
        /// Whether they were to be deleted.
        delete: bool,
    },
}

/// What became of one replica's directive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The partition.
    pub partition: TopicPartition,
    /// The topic's id in the directive.
    pub topic_id: Uuid,
    /// The broker's code; a top-level error counts for each.
    pub error: ErrorCode,
}

/// Where the log of one replica ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct End {
    /// The epoch of its last batch.
    pub leader_epoch: LeaderEpoch,
    /// The offset that its next record will get.
    pub log_end_offset: Offset,
}

/// A replica's answer to where its log ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplicaEnd {
    /// Whose replica.
    pub broker: BrokerId,
    /// The broker epoch that was asked.
    pub epoch: i64,
    /// The leader epoch that was asked for.
    pub leader_epoch: LeaderEpoch,
    /// Of which partition.
    pub partition: TopicPartition,
    /// What it says.
    pub said: Said,
}

/// What a replica says when it is asked where its log ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Said {
    /// There, in the leader epoch that was asked for, if one was.
    End(End),
    /// It has not heard of that leader epoch: it may still write in the one before.
    NotYet,
    /// It does not know, or does not answer.
    Silence,
}

/// Why a change was not made. A fenced controller is not told: it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteError {
    /// The node has another version.
    Conflict,
    /// The node, or its parent, does not exist.
    Missing,
    /// The node exists already.
    Exists,
    /// A guard of the change does not hold.
    NotHeld,
}
