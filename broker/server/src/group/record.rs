//! Groups and offsets as records of `__consumer_offsets`, byte for byte Kafka's.
//!
//! Written: offset key 1 with value 3 (value 1 where the client named an expiry, which only that
//! version can say), group key 2 with value 3. Read: all keys, values 0 to 4. A record without a
//! value takes back what its key names.
//!
//! Source: Kafka 3.9 `OffsetCommitKey`, `OffsetCommitValue`, `GroupMetadataKey`,
//! `GroupMetadataValue`, `GroupMetadataManager`.

use std::sync::Arc;

use broker_protocol::topic_partition::TopicPartition;

use crate::group::state::request::CommittedOffset;

mod decode;
mod encode;

/// One record: what is kept from here on, or no longer kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// A committed offset.
    Offset {
        /// Of which group.
        group_id: Arc<str>,
        /// Of which partition.
        partition: TopicPartition,
        /// The offset; `None` takes it back.
        value: Option<CommittedOffset>,
    },
    /// A generation of a group.
    Group {
        /// Which group.
        group_id: Arc<str>,
        /// The generation; `None` takes the group back.
        value: Option<GroupValue>,
    },
}

/// A generation of a group, as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupValue {
    /// The kind of the group.
    pub protocol_type: Arc<str>,
    /// The number of the generation.
    pub generation_id: i32,
    /// The protocol that was chosen.
    pub protocol_name: Option<Arc<str>>,
    /// The leader's member id.
    pub leader_id: Option<Arc<str>>,
    /// When the group came into its state, wall milliseconds, or -1.
    pub state_timestamp: i64,
    /// The members.
    pub members: Vec<MemberValue>,
}

/// A member, as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberValue {
    /// The member's id.
    pub member_id: Arc<str>,
    /// Its static name.
    pub group_instance_id: Option<Arc<str>>,
    /// The client.
    pub client_id: Arc<str>,
    /// Where it came from.
    pub client_host: Arc<str>,
    /// How long a rebalance waits for it.
    pub rebalance_timeout_ms: i32,
    /// How long it may be silent.
    pub session_timeout_ms: i32,
    /// What it said in the chosen protocol.
    pub subscription: Arc<[u8]>,
    /// Its assignment.
    pub assignment: Arc<[u8]>,
}

/// Why a record is not one of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// The record has no key.
    #[error("a record without a key")]
    NoKey,
    /// The key is of a version that a later Kafka writes; to be skipped.
    #[error("key version {0} is not known")]
    UnknownKeyVersion(i16),
    /// The value is of a version that is not known.
    #[error("value version {0} is not known")]
    UnknownValueVersion(i16),
    /// The bytes end early, or are not what they should be.
    #[error("a record that is cut short or damaged")]
    Damaged,
}

impl Entry {
    /// Reads a record.
    ///
    /// # Errors
    /// When it is not a record of groups or offsets.
    pub fn decode(key: Option<&[u8]>, value: Option<&[u8]>) -> Result<Self, RecordError> {
        decode::entry(key, value)
    }

    /// Writes the record's key and value.
    pub fn encode(&self) -> (Vec<u8>, Option<Vec<u8>>) {
        encode::entry(self)
    }
}

#[cfg(test)]
mod tests;
