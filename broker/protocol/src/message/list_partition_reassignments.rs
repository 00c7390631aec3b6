//! `ListPartitionReassignments`: the partitions whose replicas are being changed (KIP-455).

use std::borrow::Cow;

use crate::message::table::message;

message! {
    ListPartitionReassignments;
    /// The partitions to look at.
    pub struct ListPartitionReassignmentsRequest<'a> {
        timeout_ms: i32 = 60_000, 0..;
        /// All if null.
        topics: Option<Vec<ListPartitionReassignmentsTopics<'a>>>, 0..;
    }

    /// An element of [`ListPartitionReassignmentsRequest::topics`].
    pub struct ListPartitionReassignmentsTopics<'a> {
        name: Cow<'a, str>, 0..;
        partition_indexes: Vec<i32>, 0..;
    }
}

message! {
    ListPartitionReassignments;
    /// Those that are being changed.
    pub struct ListPartitionReassignmentsResponse<'a> {
        throttle_time_ms: i32, 0..;
        error_code: i16, 0..;
        error_message: Option<Cow<'a, str>>, 0..;
        topics: Vec<OngoingTopicReassignment<'a>>, 0..;
    }

    /// An element of [`ListPartitionReassignmentsResponse::topics`].
    pub struct OngoingTopicReassignment<'a> {
        name: Cow<'a, str>, 0..;
        partitions: Vec<OngoingPartitionReassignment>, 0..;
    }

    /// An element of [`OngoingTopicReassignment::partitions`].
    pub struct OngoingPartitionReassignment {
        partition_index: i32, 0..;
        replicas: Vec<i32>, 0..;
        adding_replicas: Vec<i32>, 0..;
        removing_replicas: Vec<i32>, 0..;
    }
}
