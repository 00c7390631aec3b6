//! What the controller wants done, in order: writes to the tree, directives to brokers, replies.
//!
//! An event's effects hold at most one [`Effect::Write`], the last of them. It is awaited, and its
//! [`Event::Written`](super::event::Event::Written) is the next event, before any other: so there
//! is never a decision that is half made. Directives follow the write that they tell of.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use broker_protocol::quantity::{BrokerId, LeaderEpoch};
use broker_protocol::topic_partition::TopicPartition;
use broker_protocol::uuid::Uuid;

use super::assignment::Assignment;
use super::event::{BatchId, LiveBroker};
use super::request::{Guard, Reply, Token};

/// Something to be done.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Change the tree.
    ///
    /// Each change is made or not by itself: one that fails is taken out of its multi, and the
    /// others are made. Their order is kept. What a lost connection leaves open is settled by
    /// reading before it is answered.
    Write {
        /// Named by the answer.
        batch: BatchId,
        /// Never empty.
        changes: Vec<Change>,
    },
    /// The registered brokers from here on: channels are opened and closed by broker epoch, and
    /// each UpdateMetadata names all of them. Every broker is to get one, with or without partitions.
    Brokers(Arc<BTreeMap<BrokerId, LiveBroker>>),
    /// Tell a broker, in order.
    Send {
        /// Whom.
        broker: BrokerId,
        /// How much of what it must know this is.
        extent: Extent,
        /// What; may be empty unless this is [`Extent::Part`].
        directives: Vec<Directive>,
    },
    /// Answer a request.
    Reply {
        /// Which.
        token: Token,
        /// With what.
        reply: Reply,
    },
    /// Ask replicas where their logs end (ListOffsets, replica -2), in a leader epoch or, if that is -1,
    /// in any; answered by `Ends`, each one, also where a broker does not answer within a second or so.
    AskEnds(Vec<(BrokerId, TopicPartition, LeaderEpoch)>),
    /// Read again, and answer by the event of that name.
    Read(What),
    /// A later controller has written: stop at once, without another effect.
    Resign,
}

/// How much of what a broker must know it is told at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// What has changed.
    Part,
    /// All that is known, though something in the tree could not be read, or has no id yet. What was to
    /// be sent before is superseded; what is not named stays as it is.
    Known,
    /// All that there is: after its registration, or after it could not be reached. What was to be sent
    /// before is superseded. The LeaderAndIsr is a full one, even if it names no partition: logs that it
    /// does not name by their topic's id are strays, and topics that were not announced before it are
    /// gone.
    All,
}

/// What is to be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// States, answered by `States`.
    States(BTreeSet<TopicPartition>),
    /// Topics with their states, answered by `Topics` and `TopicsGone`.
    Topics(BTreeSet<Arc<str>>),
    /// `unclean.leader.election.enable` of topics, each answered by `Unclean`.
    Unclean(BTreeSet<Arc<str>>),
    /// The producer ids, answered by `ProducerIds`.
    ProducerIds,
}

/// A change to the tree. Each is fenced by the controller's epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Make a partition's state, and its parents where they are missing. Its version is 0.
    CreateState {
        /// Of which partition.
        partition: TopicPartition,
        /// The state.
        state: StateWrite,
        /// Whether this may be the first state below the topic, so that `partitions` is missing.
        is_first: bool,
    },
    /// Replace a partition's state.
    SetState {
        /// Of which partition.
        partition: TopicPartition,
        /// The version that is replaced.
        version: i32,
        /// The state.
        state: StateWrite,
    },
    /// Replace a topic's node.
    SetTopic {
        /// Which topic.
        topic: Arc<str>,
        /// The version that is replaced.
        version: i32,
        /// Its id.
        id: Uuid,
        /// All partitions.
        partitions: BTreeMap<i32, Assignment>,
        /// What else must hold; where one does not, the change is [`WriteError::NotHeld`](super::event::WriteError).
        guards: BTreeSet<Guard>,
    },
    /// Delete a topic: the nodes below it, children first, its own, its settings, and at last the
    /// mark for deletion. What is gone already is no failure.
    DeleteTopic {
        /// Which topic.
        topic: Arc<str>,
        /// Its partitions.
        partitions: Vec<i32>,
    },
    /// Delete a topic's mark for deletion.
    DeleteMark(Arc<str>),
    /// Replace `/admin/reassign_partitions`, or delete it where nothing is left.
    SetReassignments(BTreeMap<TopicPartition, Vec<BrokerId>>),
    /// Delete `/admin/preferred_replica_election`.
    DeletePreferred,
    /// Delete a notification, by its path.
    DeleteNotification(Arc<str>),
    /// Replace `/latest_producer_id_block`.
    SetProducerIds {
        /// The version that is replaced.
        version: i32,
        /// Who takes the block.
        broker: BrokerId,
        /// Its first id; it has [`BLOCK_SIZE`](broker_zookeeper::node::producer_id_block::BLOCK_SIZE).
        start: i64,
    },
}

/// What a partition's state is to hold; the controller's own epoch is added where it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateWrite {
    /// The leader, if there is one.
    pub leader: Option<BrokerId>,
    /// How often leadership has changed.
    pub leader_epoch: LeaderEpoch,
    /// The replicas in sync.
    pub isr: Vec<BrokerId>,
    /// Whether the leader was elected uncleanly and has to recover.
    pub recovering: bool,
}

/// What a broker is told of one partition. Cheap to clone: views are shared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Directive {
    /// LeaderAndIsr: lead or follow.
    Lead {
        /// The partition.
        view: Arc<View>,
        /// Whether this broker's replica is new, so that it is right for its log to be missing.
        /// Holds until the broker has answered, whatever supersedes this directive.
        is_new: bool,
    },
    /// UpdateMetadata: clients may know.
    Announce(Arc<View>),
    /// UpdateMetadata with leader -2: the partition is going.
    Forget(Arc<View>),
    /// StopReplica.
    Stop {
        /// The partition.
        partition: TopicPartition,
        /// The topic's id.
        topic_id: Uuid,
        /// Whether the log is deleted too.
        delete: bool,
        /// The leader epoch from which on it holds; -2 where the topic is deleted.
        leader_epoch: LeaderEpoch,
    },
}

/// The leader epoch in a Stop of a topic that is deleted: it overrides every other.
pub const EPOCH_DURING_DELETE: LeaderEpoch = LeaderEpoch(-2);

/// A partition as brokers are told of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    /// Which partition.
    pub partition: TopicPartition,
    /// Its topic's id.
    pub topic_id: Uuid,
    /// Its replicas.
    pub assignment: Arc<Assignment>,
    /// The leader, if there is one.
    pub leader: Option<BrokerId>,
    /// How often leadership has changed.
    pub leader_epoch: LeaderEpoch,
    /// The replicas in sync.
    pub isr: Vec<BrokerId>,
    /// The version of the state's node.
    pub partition_epoch: i32,
    /// The controller that decided the state.
    pub controller_epoch: i32,
    /// Whether the leader recovers from an unclean election.
    pub recovering: bool,
    /// Replicas whose broker is not registered, or whose log directory failed.
    pub offline: Vec<BrokerId>,
}
