//! `DescribeTopicPartitions`: topics and partitions, a page at a time.

use std::borrow::Cow;

use crate::message::table::message;
use crate::uuid::Uuid;

message! {
    DescribeTopicPartitions;
    /// The topics to describe and where to go on.
    pub struct DescribeTopicPartitionsRequest<'a> {
        topics: Vec<TopicRequest<'a>>, 0..;
        response_partition_limit: i32 = 2000, 0..;
        cursor: Option<Cursor<'a>>, 0..;
    }

    /// An element of [`DescribeTopicPartitionsRequest::topics`].
    pub struct TopicRequest<'a> {
        name: Cow<'a, str>, 0..;
    }

    /// Where a page starts: the value of both `cursor`s.
    pub struct Cursor<'a> {
        topic_name: Cow<'a, str>, 0..;
        partition_index: i32, 0..;
    }
}

message! {
    DescribeTopicPartitions;
    /// A page of topics.
    pub struct DescribeTopicPartitionsResponse<'a> {
        throttle_time_ms: i32, 0..;
        topics: Vec<DescribeTopicPartitionsResponseTopic<'a>>, 0..;
        next_cursor: Option<Cursor<'a>>, 0..;
    }

    /// An element of [`DescribeTopicPartitionsResponse::topics`].
    pub struct DescribeTopicPartitionsResponseTopic<'a> {
        error_code: i16, 0..;
        name: Option<Cow<'a, str>>, 0..;
        topic_id: Uuid, 0..;
        is_internal: bool, 0..;
        partitions: Vec<DescribeTopicPartitionsResponsePartition>, 0..;
        topic_authorized_operations: i32 = i32::MIN, 0..;
    }

    /// An element of [`DescribeTopicPartitionsResponseTopic::partitions`].
    pub struct DescribeTopicPartitionsResponsePartition {
        error_code: i16, 0..;
        partition_index: i32, 0..;
        leader_id: i32, 0..;
        leader_epoch: i32 = -1, 0..;
        replica_nodes: Vec<i32>, 0..;
        isr_nodes: Vec<i32>, 0..;
        eligible_leader_replicas: Option<Vec<i32>>, 0..;
        last_known_elr: Option<Vec<i32>>, 0..;
        offline_replicas: Vec<i32>, 0..;
    }
}
