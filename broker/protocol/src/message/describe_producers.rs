//! `DescribeProducers`: the producers that a partition remembers.

use std::borrow::Cow;

use crate::message::table::message;

message! {
    DescribeProducers;
    /// The partitions to look at.
    pub struct DescribeProducersRequest<'a> {
        topics: Vec<TopicRequest<'a>>, 0..;
    }

    /// An element of [`DescribeProducersRequest::topics`].
    pub struct TopicRequest<'a> {
        name: Cow<'a, str>, 0..;
        partition_indexes: Vec<i32>, 0..;
    }
}

message! {
    DescribeProducers;
    /// The producers of each.
    pub struct DescribeProducersResponse<'a> {
        throttle_time_ms: i32, 0..;
        topics: Vec<TopicResponse<'a>>, 0..;
    }

    /// An element of [`DescribeProducersResponse::topics`].
    pub struct TopicResponse<'a> {
        name: Cow<'a, str>, 0..;
        partitions: Vec<PartitionResponse<'a>>, 0..;
    }

    /// An element of [`TopicResponse::partitions`].
    pub struct PartitionResponse<'a> {
        partition_index: i32, 0..;
        error_code: i16, 0..;
        error_message: Option<Cow<'a, str>>, 0..;
        active_producers: Vec<ProducerState>, 0..;
    }

    /// An element of [`PartitionResponse::active_producers`].
    pub struct ProducerState {
        producer_id: i64, 0..;
        producer_epoch: i32, 0..;
        last_sequence: i32 = -1, 0..;
        last_timestamp: i64 = -1, 0..;
        coordinator_epoch: i32, 0..;
        current_txn_start_offset: i64 = -1, 0..;
    }
}
