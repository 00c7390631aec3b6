//! `OffsetForLeaderEpoch`: where the epochs of a log end.

use std::borrow::Cow;

use crate::message::table::message;

message! {
    OffsetForLeaderEpoch;
    /// The epochs to look up.
    pub struct OffsetForLeaderEpochRequest<'a> {
        replica_id: i32 = -2, 3..;
        topics: Vec<OffsetForLeaderTopic<'a>>, 0..;
    }

    /// An element of [`OffsetForLeaderEpochRequest::topics`].
    pub struct OffsetForLeaderTopic<'a> {
        topic: Cow<'a, str>, 0..;
        partitions: Vec<OffsetForLeaderPartition>, 0..;
    }

    /// An element of [`OffsetForLeaderTopic::partitions`].
    pub struct OffsetForLeaderPartition {
        partition: i32, 0..;
        current_leader_epoch: i32 = -1, 2..;
        leader_epoch: i32, 0..;
    }
}

message! {
    OffsetForLeaderEpoch;
    /// Where they end.
    pub struct OffsetForLeaderEpochResponse<'a> {
        throttle_time_ms: i32, 2..;
        topics: Vec<OffsetForLeaderTopicResult<'a>>, 0..;
    }

    /// An element of [`OffsetForLeaderEpochResponse::topics`].
    pub struct OffsetForLeaderTopicResult<'a> {
        topic: Cow<'a, str>, 0..;
        partitions: Vec<EpochEndOffset>, 0..;
    }

    /// An element of [`OffsetForLeaderTopicResult::partitions`].
    pub struct EpochEndOffset {
        error_code: i16, 0..;
        partition: i32, 0..;
        leader_epoch: i32 = -1, 1..;
        end_offset: i64 = -1, 0..;
    }
}
