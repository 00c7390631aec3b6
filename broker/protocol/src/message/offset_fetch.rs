//! `OffsetFetch`: positions of groups, on their way out.

use std::borrow::Cow;

use crate::message::table::message;
use crate::uuid::Uuid;

message! {
    OffsetFetch;
    /// The groups, or before version 8 the one group, to look up.
    pub struct OffsetFetchRequest<'a> {
        group_id: Cow<'a, str>, 0..=7;
        /// All topics if null.
        topics: Option<Vec<OffsetFetchRequestTopic<'a>>> = Some(Vec::new()), 0..=7, null 2..=7;
        groups: Vec<OffsetFetchRequestGroup<'a>>, 8..;
        require_stable: bool, 7..;
    }

    /// An element of [`OffsetFetchRequest::topics`].
    pub struct OffsetFetchRequestTopic<'a> {
        name: Cow<'a, str>, 0..=7;
        partition_indexes: Vec<i32>, 0..=7;
    }

    /// An element of [`OffsetFetchRequest::groups`].
    pub struct OffsetFetchRequestGroup<'a> {
        group_id: Cow<'a, str>, 8..;
        member_id: Option<Cow<'a, str>>, 9..;
        member_epoch: i32 = -1, 9..;
        /// All topics if null.
        topics: Option<Vec<OffsetFetchRequestTopics<'a>>>, 8..;
    }

    /// An element of [`OffsetFetchRequestGroup::topics`].
    pub struct OffsetFetchRequestTopics<'a> {
        name: Cow<'a, str>, 8..=9;
        topic_id: Uuid, 10..;
        partition_indexes: Vec<i32>, 8..;
    }
}

message! {
    OffsetFetch;
    /// The positions remembered.
    pub struct OffsetFetchResponse<'a> {
        throttle_time_ms: i32, 3..;
        topics: Vec<OffsetFetchResponseTopic<'a>>, 0..=7;
        error_code: i16, 2..=7;
        groups: Vec<OffsetFetchResponseGroup<'a>>, 8..;
    }

    /// An element of [`OffsetFetchResponse::topics`].
    pub struct OffsetFetchResponseTopic<'a> {
        name: Cow<'a, str>, 0..=7;
        partitions: Vec<OffsetFetchResponsePartition<'a>>, 0..=7;
    }

    /// An element of [`OffsetFetchResponseTopic::partitions`].
    pub struct OffsetFetchResponsePartition<'a> {
        partition_index: i32, 0..=7;
        /// -1 for none.
        committed_offset: i64, 0..=7;
        committed_leader_epoch: i32 = -1, 5..=7;
        metadata: Option<Cow<'a, str>>, 0..=7;
        error_code: i16, 0..=7;
    }

    /// An element of [`OffsetFetchResponse::groups`].
    pub struct OffsetFetchResponseGroup<'a> {
        group_id: Cow<'a, str>, 8..;
        topics: Vec<OffsetFetchResponseTopics<'a>>, 8..;
        error_code: i16, 8..;
    }

    /// An element of [`OffsetFetchResponseGroup::topics`].
    pub struct OffsetFetchResponseTopics<'a> {
        name: Cow<'a, str>, 8..=9;
        topic_id: Uuid, 10..;
        partitions: Vec<OffsetFetchResponsePartitions<'a>>, 8..;
    }

    /// An element of [`OffsetFetchResponseTopics::partitions`].
    pub struct OffsetFetchResponsePartitions<'a> {
        partition_index: i32, 8..;
        /// -1 for none.
        committed_offset: i64, 8..;
        committed_leader_epoch: i32 = -1, 8..;
        metadata: Option<Cow<'a, str>>, 8..;
        error_code: i16, 8..;
    }
}
