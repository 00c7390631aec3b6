//! What may be asked of a group and what is answered: requests own their parts, so that nothing
//! refers to a network buffer once they wait.

use std::sync::Arc;
use std::time::Duration;

use broker_protocol::error_code::ErrorCode;
use broker_protocol::topic_partition::TopicPartition;

/// Which request an answer belongs to; drawn by whoever sent it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(pub u64);

/// A protocol (an assignor, for consumers) that a member speaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Protocol {
    /// Its name.
    pub name: Arc<str>,
    /// What the member says in it; opaque, but for the topics of a consumer.
    pub metadata: Arc<[u8]>,
}

/// A request to one group.
#[derive(Debug, Clone)]
pub enum Request {
    /// Become a member of the next generation.
    Join(Join),
    /// Hand in, or get, the assignment of a generation.
    Sync(Sync),
    /// Still alive.
    Heartbeat(Identity),
    /// Stop being members.
    Leave(Vec<Leaver>),
    /// Remember offsets.
    Commit(Commit),
    /// Read offsets.
    FetchOffsets {
        /// Which; `None` is all that there are.
        partitions: Option<Vec<TopicPartition>>,
        /// Refuse those of which a commit is under way.
        require_stable: bool,
    },
    /// Forget offsets.
    DeleteOffsets(Vec<TopicPartition>),
    /// Describe the group.
    Describe,
    /// Forget the group.
    Delete,
}

/// A JoinGroup.
#[derive(Debug, Clone)]
pub struct Join {
    /// The member, or empty if it has no id.
    pub member_id: Arc<str>,
    /// The id that it gets if it needs one: random, drawn by the caller.
    pub new_member_id: Arc<str>,
    /// The name of a static member.
    pub group_instance_id: Option<Arc<str>>,
    /// Whether a member without an id must come again with the one that it is given (KIP-394).
    pub require_known_member_id: bool,
    /// Whether a leader understands that it need not assign (KIP-814).
    pub supports_skipping_assignment: bool,
    /// The client.
    pub client_id: Arc<str>,
    /// Where it comes from.
    pub client_host: Arc<str>,
    /// How long a rebalance waits for it.
    pub rebalance_timeout: Duration,
    /// How long it may be silent, in milliseconds, not judged yet.
    pub session_timeout_ms: i32,
    /// The kind of the group.
    pub protocol_type: Arc<str>,
    /// What it speaks, the preferred first.
    pub protocols: Vec<Protocol>,
}

/// A SyncGroup.
#[derive(Debug, Clone)]
pub struct Sync {
    /// Who asks.
    pub identity: Identity,
    /// The kind of group that it believes to be in.
    pub protocol_type: Option<Arc<str>>,
    /// The protocol that it believes to be chosen.
    pub protocol_name: Option<Arc<str>>,
    /// Assignments by member id, from the leader.
    pub assignments: Vec<(Arc<str>, Arc<[u8]>)>,
}

/// Which member of which generation asks.
#[derive(Debug, Clone)]
pub struct Identity {
    /// The generation, or -1.
    pub generation_id: i32,
    /// The member, or empty.
    pub member_id: Arc<str>,
    /// The name of a static member.
    pub group_instance_id: Option<Arc<str>>,
}

/// A member that leaves.
#[derive(Debug, Clone)]
pub struct Leaver {
    /// The member; empty if only its static name is known.
    pub member_id: Arc<str>,
    /// The name of a static member.
    pub group_instance_id: Option<Arc<str>>,
}

/// An OffsetCommit.
#[derive(Debug, Clone)]
pub struct Commit {
    /// Who asks; generation -1 is a client that manages no group.
    pub identity: Identity,
    /// The offsets, each of a partition that exists.
    pub offsets: Vec<(TopicPartition, CommittedOffset)>,
}

/// An offset that a group has committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommittedOffset {
    /// The next offset to read.
    pub offset: i64,
    /// The leader epoch of the record before it, or -1.
    pub leader_epoch: i32,
    /// What the client wrote beside it.
    pub metadata: Arc<str>,
    /// When it was committed, wall milliseconds.
    pub commit_timestamp: i64,
    /// When it expires, wall milliseconds, if the client said so.
    pub expire_timestamp: Option<i64>,
}

/// The answer to a [`Request`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// To a join.
    Join(JoinReply),
    /// To a sync.
    Sync(SyncReply),
    /// To a heartbeat and a deletion.
    Code(ErrorCode),
    /// To a leave, a commit and a deletion of offsets: one code for each part, in order, or one
    /// for the whole.
    Codes(Result<Vec<ErrorCode>, ErrorCode>),
    /// To a fetch of offsets.
    Offsets(Vec<FetchedOffset>),
    /// To a description; `None` if there is no such group.
    Description(Option<Box<Description>>),
    /// None: the partition that keeps the group is not here, or not yet.
    Unavailable(ErrorCode),
}

/// The answer to a join.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinReply {
    /// What went wrong.
    pub error: ErrorCode,
    /// The member's id.
    pub member_id: Arc<str>,
    /// The generation, or -1.
    pub generation_id: i32,
    /// The kind of the group.
    pub protocol_type: Option<Arc<str>>,
    /// The protocol that was chosen.
    pub protocol_name: Option<Arc<str>>,
    /// The leader's member id.
    pub leader: Arc<str>,
    /// Whether the leader must leave the assignment as it is.
    pub skip_assignment: bool,
    /// All members, for the leader only.
    pub members: Vec<JoinedMember>,
}

impl JoinReply {
    /// Makes the answer of a join that failed.
    pub fn failed(member_id: Arc<str>, error: ErrorCode) -> Self {
        Self {
            error,
            member_id,
            generation_id: -1,
            protocol_type: None,
            protocol_name: None,
            leader: Arc::from(""),
            skip_assignment: false,
            members: Vec::new(),
        }
    }
}

/// A member as its leader sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinedMember {
    /// The member's id.
    pub member_id: Arc<str>,
    /// Its static name.
    pub group_instance_id: Option<Arc<str>>,
    /// What it says in the chosen protocol.
    pub metadata: Arc<[u8]>,
}

/// The answer to a sync.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyncReply {
    /// What went wrong.
    pub error: ErrorCode,
    /// The kind of the group.
    pub protocol_type: Option<Arc<str>>,
    /// The protocol that was chosen.
    pub protocol_name: Option<Arc<str>>,
    /// What the leader assigned to the member.
    pub assignment: Arc<[u8]>,
}

impl SyncReply {
    /// Makes the answer of a sync that failed.
    pub fn failed(error: ErrorCode) -> Self {
        Self { error, protocol_type: None, protocol_name: None, assignment: Arc::from([]) }
    }
}

/// One offset that was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchedOffset {
    /// Of which partition.
    pub partition: TopicPartition,
    /// The offset; `None` if the group has committed none, or on error.
    pub committed: Option<CommittedOffset>,
    /// What went wrong.
    pub error: ErrorCode,
}

/// A group, described.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// The state's name.
    pub state: &'static str,
    /// The kind of the group, or empty.
    pub protocol_type: Arc<str>,
    /// The protocol that was chosen, or empty.
    pub protocol_name: Arc<str>,
    /// The members.
    pub members: Vec<DescribedMember>,
}

/// A member, described.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DescribedMember {
    /// The member's id.
    pub member_id: Arc<str>,
    /// Its static name.
    pub group_instance_id: Option<Arc<str>>,
    /// The client.
    pub client_id: Arc<str>,
    /// Where it comes from.
    pub client_host: Arc<str>,
    /// What it says in the chosen protocol; empty while the group is not stable.
    pub metadata: Arc<[u8]>,
    /// Its assignment; empty while the group is not stable.
    pub assignment: Arc<[u8]>,
}
