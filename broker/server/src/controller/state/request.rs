//! What is asked of the controller by other brokers and by clients, and what it answers.
//!
//! Version differences of the wire end above: where behaviour differs there is a field.

use std::collections::BTreeMap;
use std::sync::Arc;

use broker_protocol::error_code::ErrorCode;
use broker_protocol::quantity::{BrokerId, LeaderEpoch};
use broker_protocol::topic_partition::TopicPartition;
use broker_protocol::uuid::Uuid;

use super::permit::{PermitAnswer, PermitRequest, Refusal};

/// Names a request, so that its answer finds the way back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Token(pub u64);

/// Something that is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// A leader wants to change ISRs.
    AlterPartition {
        /// The leader.
        broker: BrokerId,
        /// Its broker epoch.
        broker_epoch: i64,
        /// Whether it knows INELIGIBLE_REPLICA (version 2); else it is told OPERATION_NOT_ATTEMPTED.
        knows_ineligible: bool,
        /// What it wants.
        partitions: Vec<IsrProposal>,
    },
    /// A broker wants to stop, and not to lead any more.
    ControlledShutdown {
        /// Which.
        broker: BrokerId,
        /// Its broker epoch; -1 from brokers that know none.
        broker_epoch: i64,
    },
    /// Leaders are to be elected.
    ElectLeaders {
        /// How.
        kind: ElectionKind,
        /// Of which partitions; `None` for all that need it.
        partitions: Option<Vec<TopicPartition>>,
    },
    /// Partitions are to be moved, each to these replicas; `None` cancels a move.
    Reassign(BTreeMap<TopicPartition, Option<Vec<BrokerId>>>),
    /// Partitions are to be moved, each to these replicas, as long as what the guard names is as it was.
    ReassignGuarded(BTreeMap<TopicPartition, Vec<BrokerId>>, Guard),
    /// Which partitions are moving; `None` for all.
    ListReassignments(Option<Vec<TopicPartition>>),
    /// A broker needs producer ids.
    AllocateProducerIds {
        /// Which.
        broker: BrokerId,
        /// Its broker epoch.
        broker_epoch: i64,
    },
    /// A broker is to be restarted.
    AcquirePermit(PermitRequest),
    /// A broker need not be restarted any more.
    ReleasePermit {
        /// The term of the operator that says so.
        term: u64,
        /// Which.
        broker: BrokerId,
    },
    /// A broker that may be restarted is to lead nothing that another can.
    Drain {
        /// The term of the operator that asks.
        term: u64,
        /// Which.
        broker: BrokerId,
    },
}

/// What a move relies on: versions of nodes in the tree, checked by the transaction that writes the assignment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Guard {
    /// Of the node that names the newest operator.
    pub operator: i32,
    /// Of the node that names brokers which get no new replicas; `None` where there was none.
    pub cordoned: Option<i32>,
}

/// A topic as a request names it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum TopicRef {
    /// By name: AlterPartition 0 and 1.
    Name(Arc<str>),
    /// By id.
    Id(Uuid),
}

/// An ISR that a leader wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IsrProposal {
    /// The topic.
    pub topic: TopicRef,
    /// The partition.
    pub partition: i32,
    /// The epoch that it leads in.
    pub leader_epoch: LeaderEpoch,
    /// The partition epoch that it replaces.
    pub partition_epoch: i32,
    /// The members, each with the broker epoch that the leader saw it fetch with; -1 for unknown.
    pub isr: Vec<(BrokerId, i64)>,
    /// Whether the leader still recovers.
    pub recovering: bool,
}

/// How a leader is elected on request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ElectionKind {
    /// The first replica, if it is in sync.
    Preferred,
    /// Any live replica, where no replica in sync lives.
    Unclean,
}

/// The answer to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// To `AlterPartition`: for each proposal in order, or one error for all.
    AlterPartition(Result<Vec<(IsrProposal, Result<Altered, ErrorCode>)>, ErrorCode>),
    /// To `ControlledShutdown`: the partitions that it still leads.
    ControlledShutdown(Result<Vec<TopicPartition>, ErrorCode>),
    /// To `ElectLeaders`.
    ElectLeaders(BTreeMap<TopicPartition, ErrorCode>),
    /// To `Reassign` and `ReassignGuarded`; OPERATION_NOT_ATTEMPTED where the guard does not hold any more.
    Reassign(BTreeMap<TopicPartition, ErrorCode>),
    /// To `ListReassignments`: the partitions that are moving.
    ListReassignments(BTreeMap<TopicPartition, Arc<super::assignment::Assignment>>),
    /// To `AllocateProducerIds`: the first of the block's ids.
    AllocateProducerIds(Result<i64, ErrorCode>),
    /// To `AcquirePermit`.
    Permit(PermitAnswer),
    /// To `ReleasePermit`: whether the operator is heard.
    PermitReleased(Result<(), Refusal>),
    /// To `Drain`: the partitions with other replicas that it still leads; `None` where it has no leave.
    Drained(Result<Option<Vec<TopicPartition>>, Refusal>),
}

/// A partition's state after an ISR was changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Altered {
    /// The leader.
    pub leader: BrokerId,
    /// Its epoch, which an ISR that the leader asked for does not change.
    pub leader_epoch: LeaderEpoch,
    /// The replicas in sync.
    pub isr: Vec<BrokerId>,
    /// The new partition epoch.
    pub partition_epoch: i32,
    /// Whether the leader still recovers.
    pub recovering: bool,
}
