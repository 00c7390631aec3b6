//! `Produce`: records on their way into partitions.

use std::borrow::Cow;

use crate::message::table::message;
use crate::primitive::Records;
use crate::uuid::Uuid;

message! {
    Produce;
    /// Record batches to append.
    pub struct ProduceRequest<'a> {
        transactional_id: Option<Cow<'a, str>>, 3..;
        /// 0: none, not even an answer; 1: the leader has it; -1: all in-sync replicas have it.
        acks: i16, 0..;
        timeout_ms: i32, 0..;
        topic_data: Vec<TopicProduceData<'a>>, 0..;
    }

    /// An element of [`ProduceRequest::topic_data`].
    pub struct TopicProduceData<'a> {
        name: Cow<'a, str>, 0..=12;
        topic_id: Uuid, 13..;
        partition_data: Vec<PartitionProduceData<'a>>, 0..;
    }

    /// An element of [`TopicProduceData::partition_data`].
    pub struct PartitionProduceData<'a> {
        index: i32, 0..;
        records: Option<Records<'a>>, 0..;
    }
}

message! {
    Produce;
    /// Where the batches went, or why they did not.
    pub struct ProduceResponse<'a> {
        responses: Vec<TopicProduceResponse<'a>>, 0..;
        throttle_time_ms: i32, 1..;
        node_endpoints: Vec<NodeEndpoint<'a>>, 10.., tag 0;
    }

    /// An element of [`ProduceResponse::responses`].
    pub struct TopicProduceResponse<'a> {
        name: Cow<'a, str>, 0..=12;
        topic_id: Uuid, 13..;
        partition_responses: Vec<PartitionProduceResponse<'a>>, 0..;
    }

    /// An element of [`TopicProduceResponse::partition_responses`].
    pub struct PartitionProduceResponse<'a> {
        index: i32, 0..;
        error_code: i16, 0..;
        base_offset: i64, 0..;
        /// -1 unless the topic stamps records as they arrive.
        log_append_time_ms: i64 = -1, 2..;
        log_start_offset: i64 = -1, 5..;
        /// The records to blame, if the batch was refused for some of its records.
        record_errors: Vec<BatchIndexAndErrorMessage<'a>>, 8..;
        error_message: Option<Cow<'a, str>>, 8..;
        current_leader: LeaderIdAndEpoch, 10.., tag 0;
    }

    /// An element of [`PartitionProduceResponse::record_errors`].
    pub struct BatchIndexAndErrorMessage<'a> {
        batch_index: i32, 8..;
        batch_index_error_message: Option<Cow<'a, str>>, 8..;
    }

    /// The value of [`PartitionProduceResponse::current_leader`].
    pub struct LeaderIdAndEpoch {
        leader_id: i32 = -1, 10..;
        leader_epoch: i32 = -1, 10..;
    }

    /// An element of [`ProduceResponse::node_endpoints`].
    pub struct NodeEndpoint<'a> {
        node_id: i32, 10..;
        host: Cow<'a, str>, 10..;
        port: i32, 10..;
        rack: Option<Cow<'a, str>>, 10..;
    }
}
