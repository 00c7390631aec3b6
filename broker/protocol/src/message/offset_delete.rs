//! `OffsetDelete`: deletion of positions of a group.

use std::borrow::Cow;

use crate::message::table::message;

message! {
    OffsetDelete;
    /// The positions to forget.
    pub struct OffsetDeleteRequest<'a> {
        group_id: Cow<'a, str>, 0..;
        topics: Vec<OffsetDeleteRequestTopic<'a>>, 0..;
    }

    /// An element of [`OffsetDeleteRequest::topics`].
    pub struct OffsetDeleteRequestTopic<'a> {
        name: Cow<'a, str>, 0..;
        partitions: Vec<OffsetDeleteRequestPartition>, 0..;
    }

    /// An element of [`OffsetDeleteRequestTopic::partitions`].
    pub struct OffsetDeleteRequestPartition {
        partition_index: i32, 0..;
    }
}

message! {
    OffsetDelete;
    /// What became of each position.
    pub struct OffsetDeleteResponse<'a> {
        error_code: i16, 0..;
        throttle_time_ms: i32, 0..;
        topics: Vec<OffsetDeleteResponseTopic<'a>>, 0..;
    }

    /// An element of [`OffsetDeleteResponse::topics`].
    pub struct OffsetDeleteResponseTopic<'a> {
        name: Cow<'a, str>, 0..;
        partitions: Vec<OffsetDeleteResponsePartition>, 0..;
    }

    /// An element of [`OffsetDeleteResponseTopic::partitions`].
    pub struct OffsetDeleteResponsePartition {
        partition_index: i32, 0..;
        error_code: i16, 0..;
    }
}
