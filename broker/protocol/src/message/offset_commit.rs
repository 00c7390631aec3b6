//! `OffsetCommit`: positions of a group, on their way in.

use std::borrow::Cow;

use crate::message::table::message;
use crate::uuid::Uuid;

message! {
    OffsetCommit;
    /// Positions to remember.
    pub struct OffsetCommitRequest<'a> {
        group_id: Cow<'a, str>, 0..;
        /// -1 from a client that is in no group.
        generation_id_or_member_epoch: i32 = -1, 1..;
        member_id: Cow<'a, str>, 1..;
        group_instance_id: Option<Cow<'a, str>>, 7..;
        /// -1: the broker's own retention.
        retention_time_ms: i64 = -1, 2..=4;
        topics: Vec<OffsetCommitRequestTopic<'a>>, 0..;
    }

    /// An element of [`OffsetCommitRequest::topics`].
    pub struct OffsetCommitRequestTopic<'a> {
        name: Cow<'a, str>, 0..=9;
        topic_id: Uuid, 10..;
        partitions: Vec<OffsetCommitRequestPartition<'a>>, 0..;
    }

    /// An element of [`OffsetCommitRequestTopic::partitions`].
    pub struct OffsetCommitRequestPartition<'a> {
        partition_index: i32, 0..;
        committed_offset: i64, 0..;
        committed_leader_epoch: i32 = -1, 6..;
        commit_timestamp: i64 = -1, 1..=1;
        committed_metadata: Option<Cow<'a, str>>, 0..;
    }
}

message! {
    OffsetCommit;
    /// What became of each position.
    pub struct OffsetCommitResponse<'a> {
        throttle_time_ms: i32, 3..;
        topics: Vec<OffsetCommitResponseTopic<'a>>, 0..;
    }

    /// An element of [`OffsetCommitResponse::topics`].
    pub struct OffsetCommitResponseTopic<'a> {
        name: Cow<'a, str>, 0..=9;
        topic_id: Uuid, 10..;
        partitions: Vec<OffsetCommitResponsePartition>, 0..;
    }

    /// An element of [`OffsetCommitResponseTopic::partitions`].
    pub struct OffsetCommitResponsePartition {
        partition_index: i32, 0..;
        error_code: i16, 0..;
    }
}
