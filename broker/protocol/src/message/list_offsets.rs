//! `ListOffsets`: offsets by timestamp, and both ends of a log.

use std::borrow::Cow;

use crate::message::table::message;

message! {
    ListOffsets;
    /// Timestamps to look up.
    pub struct ListOffsetsRequest<'a> {
        /// -1 from a consumer.
        replica_id: i32, 0..;
        isolation_level: i8, 2..;
        topics: Vec<ListOffsetsTopic<'a>>, 0..;
        timeout_ms: i32, 10..;
    }

    /// An element of [`ListOffsetsRequest::topics`].
    pub struct ListOffsetsTopic<'a> {
        name: Cow<'a, str>, 0..;
        partitions: Vec<ListOffsetsPartition>, 0..;
    }

    /// An element of [`ListOffsetsTopic::partitions`].
    pub struct ListOffsetsPartition {
        partition_index: i32, 0..;
        current_leader_epoch: i32 = -1, 4..;
        /// -1: the end; -2: the start; -3: the largest timestamp; -4, -5, -6: ends of tiers.
        timestamp: i64, 0..;
        max_num_offsets: i32 = 1, 0..=0;
    }
}

message! {
    ListOffsets;
    /// The offsets found.
    pub struct ListOffsetsResponse<'a> {
        throttle_time_ms: i32, 2..;
        topics: Vec<ListOffsetsTopicResponse<'a>>, 0..;
    }

    /// An element of [`ListOffsetsResponse::topics`].
    pub struct ListOffsetsTopicResponse<'a> {
        name: Cow<'a, str>, 0..;
        partitions: Vec<ListOffsetsPartitionResponse>, 0..;
    }

    /// An element of [`ListOffsetsTopicResponse::partitions`].
    pub struct ListOffsetsPartitionResponse {
        partition_index: i32, 0..;
        error_code: i16, 0..;
        /// Version 0 answers with a list of segment starts, newest first.
        old_style_offsets: Vec<i64>, 0..=0;
        timestamp: i64 = -1, 1..;
        offset: i64 = -1, 1..;
        leader_epoch: i32 = -1, 4..;
    }
}
