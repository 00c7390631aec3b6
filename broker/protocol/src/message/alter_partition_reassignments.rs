//! `AlterPartitionReassignments`: gives partitions other replicas, or stops doing so (KIP-455).

use std::borrow::Cow;

use crate::message::table::message;

message! {
    AlterPartitionReassignments;
    /// The replicas that are wanted.
    pub struct AlterPartitionReassignmentsRequest<'a> {
        timeout_ms: i32 = 60_000, 0..;
        /// Whether there may be more or fewer than there were (KIP-860).
        allow_replication_factor_change: bool = true, 1..;
        topics: Vec<ReassignableTopic<'a>>, 0..;
    }

    /// An element of [`AlterPartitionReassignmentsRequest::topics`].
    pub struct ReassignableTopic<'a> {
        name: Cow<'a, str>, 0..;
        partitions: Vec<ReassignablePartition>, 0..;
    }

    /// An element of [`ReassignableTopic::partitions`].
    pub struct ReassignablePartition {
        partition_index: i32, 0..;
        /// Null cancels what is under way.
        replicas: Option<Vec<i32>>, 0..;
    }
}

message! {
    AlterPartitionReassignments;
    /// Whether each has begun.
    pub struct AlterPartitionReassignmentsResponse<'a> {
        throttle_time_ms: i32, 0..;
        /// As the request said.
        allow_replication_factor_change: bool = true, 1..;
        error_code: i16, 0..;
        error_message: Option<Cow<'a, str>>, 0..;
        responses: Vec<ReassignableTopicResponse<'a>>, 0..;
    }

    /// An element of [`AlterPartitionReassignmentsResponse::responses`].
    pub struct ReassignableTopicResponse<'a> {
        name: Cow<'a, str>, 0..;
        partitions: Vec<ReassignablePartitionResponse<'a>>, 0..;
    }

    /// An element of [`ReassignableTopicResponse::partitions`].
    pub struct ReassignablePartitionResponse<'a> {
        partition_index: i32, 0..;
        error_code: i16, 0..;
        error_message: Option<Cow<'a, str>>, 0..;
    }
}
