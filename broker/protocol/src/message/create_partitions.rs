//! `CreatePartitions`: more partitions for a topic.

use std::borrow::Cow;

use crate::message::table::message;

message! {
    CreatePartitions;
    /// The counts to grow to.
    pub struct CreatePartitionsRequest<'a> {
        topics: Vec<CreatePartitionsTopic<'a>>, 0..;
        timeout_ms: i32, 0..;
        validate_only: bool, 0..;
    }

    /// An element of [`CreatePartitionsRequest::topics`].
    pub struct CreatePartitionsTopic<'a> {
        name: Cow<'a, str>, 0..;
        /// Partitions in all, old and new.
        count: i32, 0..;
        assignments: Option<Vec<CreatePartitionsAssignment>>, 0..;
    }

    /// An element of [`CreatePartitionsTopic::assignments`].
    pub struct CreatePartitionsAssignment {
        broker_ids: Vec<i32>, 0..;
    }
}

message! {
    CreatePartitions;
    /// What became of each topic.
    pub struct CreatePartitionsResponse<'a> {
        throttle_time_ms: i32, 0..;
        results: Vec<CreatePartitionsTopicResult<'a>>, 0..;
    }

    /// An element of [`CreatePartitionsResponse::results`].
    pub struct CreatePartitionsTopicResult<'a> {
        name: Cow<'a, str>, 0..;
        error_code: i16, 0..;
        error_message: Option<Cow<'a, str>>, 0..;
    }
}
