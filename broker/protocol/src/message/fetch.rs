//! `Fetch`: records on their way out, to consumers and to followers.

use std::borrow::Cow;

use crate::message::table::message;
use crate::primitive::Records;
use crate::uuid::Uuid;

message! {
    Fetch;
    /// Positions to read from.
    pub struct FetchRequest<'a> {
        /// -1 from a consumer; from version 15 on see `replica_state`.
        replica_id: i32 = -1, 0..=14;
        max_wait_ms: i32, 0..;
        min_bytes: i32, 0..;
        max_bytes: i32 = i32::MAX, 3..;
        /// 0: up to the high watermark; 1: up to the last stable offset.
        isolation_level: i8, 4..;
        session_id: i32, 7..;
        /// -1: no session; 0: a new one.
        session_epoch: i32 = -1, 7..;
        topics: Vec<FetchTopic<'a>>, 0..;
        forgotten_topics_data: Vec<ForgottenTopic<'a>>, 7..;
        rack_id: Cow<'a, str>, 11..;
        cluster_id: Option<Cow<'a, str>>, 12.., tag 0;
        replica_state: ReplicaState, 15.., tag 1;
    }

    /// The value of [`FetchRequest::replica_state`].
    pub struct ReplicaState {
        replica_id: i32 = -1, 15..;
        replica_epoch: i64 = -1, 15..;
    }

    /// An element of [`FetchRequest::topics`].
    pub struct FetchTopic<'a> {
        topic: Cow<'a, str>, 0..=12;
        topic_id: Uuid, 13..;
        partitions: Vec<FetchPartition>, 0..;
    }

    /// An element of [`FetchTopic::partitions`].
    pub struct FetchPartition {
        partition: i32, 0..;
        current_leader_epoch: i32 = -1, 9..;
        fetch_offset: i64, 0..;
        /// The epoch of a follower's last record, to find where its log diverges.
        last_fetched_epoch: i32 = -1, 12..;
        log_start_offset: i64 = -1, 5..;
        partition_max_bytes: i32, 0..;
        replica_directory_id: Uuid, 17.., tag 0;
        high_watermark: i64 = i64::MAX, 18.., tag 1;
    }

    /// An element of [`FetchRequest::forgotten_topics_data`].
    pub struct ForgottenTopic<'a> {
        topic: Cow<'a, str>, 7..=12;
        topic_id: Uuid, 13..;
        partitions: Vec<i32>, 7..;
    }
}

message! {
    Fetch;
    /// The records there. Its records may be left to the sender, see [`Records`].
    pub struct FetchResponse<'a> {
        throttle_time_ms: i32, 1..;
        error_code: i16, 7..;
        session_id: i32, 7..;
        responses: Vec<FetchableTopicResponse<'a>>, 0..;
        node_endpoints: Vec<NodeEndpoint<'a>>, 16.., tag 0;
    }

    /// An element of [`FetchResponse::responses`].
    pub struct FetchableTopicResponse<'a> {
        topic: Cow<'a, str>, 0..=12;
        topic_id: Uuid, 13..;
        partitions: Vec<PartitionData<'a>>, 0..;
    }

    /// An element of [`FetchableTopicResponse::partitions`].
    pub struct PartitionData<'a> {
        partition_index: i32, 0..;
        error_code: i16, 0..;
        high_watermark: i64, 0..;
        last_stable_offset: i64 = -1, 4..;
        log_start_offset: i64 = -1, 5..;
        /// Null where the reader did not ask for committed records only.
        aborted_transactions: Option<Vec<AbortedTransaction>>, 4..;
        /// A nearer replica to read from; -1 for none.
        preferred_read_replica: i32 = -1, 11..;
        /// Empty rather than null by default: old clients take null for damage.
        records: Option<Records<'a>> = Some(Records::Bytes(Cow::Borrowed(&[]))), 0..;
        diverging_epoch: EpochEndOffset, 12.., tag 0;
        current_leader: LeaderIdAndEpoch, 12.., tag 1;
        snapshot_id: SnapshotId, 12.., tag 2;
    }

    /// The value of [`PartitionData::diverging_epoch`].
    pub struct EpochEndOffset {
        epoch: i32 = -1, 12..;
        end_offset: i64 = -1, 12..;
    }

    /// The value of [`PartitionData::current_leader`].
    pub struct LeaderIdAndEpoch {
        leader_id: i32 = -1, 12..;
        leader_epoch: i32 = -1, 12..;
    }

    /// The value of [`PartitionData::snapshot_id`].
    pub struct SnapshotId {
        end_offset: i64 = -1, 0..;
        epoch: i32 = -1, 0..;
    }

    /// An element of [`PartitionData::aborted_transactions`].
    pub struct AbortedTransaction {
        producer_id: i64, 4..;
        first_offset: i64, 4..;
    }

    /// An element of [`FetchResponse::node_endpoints`].
    pub struct NodeEndpoint<'a> {
        node_id: i32, 16..;
        host: Cow<'a, str>, 16..;
        port: i32, 16..;
        rack: Option<Cow<'a, str>>, 16..;
    }
}
