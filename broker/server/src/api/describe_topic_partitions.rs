//! DescribeTopicPartitions: topics in pages, for clients that list clusters with many partitions.
//!
//! Source: KIP-966; Kafka 3.9 `DescribeTopicPartitionsRequestHandler`.

use std::borrow::Cow;

use broker_protocol::error_code::ErrorCode;
use broker_protocol::message::describe_topic_partitions::{
    Cursor, DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse,
    DescribeTopicPartitionsResponsePartition, DescribeTopicPartitionsResponseTopic,
};

use super::metadata::ALL_TOPIC_OPERATIONS;
use crate::context::Context;
use crate::controller::topic_name;
use crate::metadata::{Metadata, Partition, is_internal};

/// Answers one page, and with it the cursor of the next if there is one.
pub(crate) fn describe_topic_partitions(
    context: &Context,
    request: &DescribeTopicPartitionsRequest<'_>,
) -> DescribeTopicPartitionsResponse<'static> {
    let metadata = context.metadata.load();
    let (start_topic, start_partition) = match &request.cursor {
        Some(cursor) => (cursor.topic_name.as_ref(), cursor.partition_index.max(0) as usize),
        None => ("", 0),
    };
    let mut names: Vec<&str> = if request.topics.is_empty() {
        metadata.topics.keys().map(AsRef::as_ref).collect()
    } else {
        request.topics.iter().map(|topic| topic.name.as_ref()).collect()
    };
    names.sort_unstable();
    names.dedup();

    let limit = context.config.load().max_request_partition_size_limit;
    let mut room = request.response_partition_limit.min(limit).max(1) as usize;
    let mut response = DescribeTopicPartitionsResponse::default();
    for name in names.into_iter().filter(|name| *name >= start_topic) {
        let from = if name == start_topic { start_partition } else { 0 };
        if room == 0 {
            response.next_cursor = Some(cursor(name, from));
            break;
        }
        let (topic, left) = describe(&metadata, name, from, &mut room);
        response.topics.push(topic);
        if let Some(next) = left {
            response.next_cursor = Some(cursor(name, next));
            break;
        }
    }
    response
}

fn cursor(name: &str, partition: usize) -> Cursor<'static> {
    Cursor { topic_name: Cow::Owned(name.to_owned()), partition_index: partition as i32 }
}

/// Describes up to `room` partitions of `name` from `from` on; returns where the rest begins.
fn describe(
    metadata: &Metadata,
    name: &str,
    from: usize,
    room: &mut usize,
) -> (DescribeTopicPartitionsResponseTopic<'static>, Option<usize>) {
    let mut answer = DescribeTopicPartitionsResponseTopic {
        name: Some(Cow::Owned(name.to_owned())),
        is_internal: is_internal(name),
        topic_authorized_operations: i32::MIN,
        ..Default::default()
    };
    let Some(topic) = metadata.topic(name) else {
        let error = if topic_name::is_valid(name) {
            ErrorCode::UnknownTopicOrPartition
        } else {
            ErrorCode::InvalidTopicException
        };
        answer.error_code = error.code();
        return (answer, None);
    };
    let end = topic.partitions.len().min(from.saturating_add(*room));
    let page = topic.partitions.iter().enumerate().take(end).skip(from);
    answer.topic_id = topic.id;
    answer.topic_authorized_operations = ALL_TOPIC_OPERATIONS;
    answer.partitions = page.map(|(index, p)| partition(index as i32, p)).collect();
    *room -= answer.partitions.len();
    (answer, (end < topic.partitions.len()).then_some(end))
}

fn partition(index: i32, state: &Partition) -> DescribeTopicPartitionsResponsePartition {
    let error =
        if state.leader.is_some() { ErrorCode::None } else { ErrorCode::LeaderNotAvailable };
    DescribeTopicPartitionsResponsePartition {
        error_code: error.code(),
        partition_index: index,
        leader_id: state.leader.map_or(-1, |id| id.0),
        leader_epoch: state.leader_epoch.0,
        replica_nodes: state.replicas.iter().map(|id| id.0).collect(),
        isr_nodes: state.isr.iter().map(|id| id.0).collect(),
        // Empty, not null: Java's clients take them for lists whatever the schema says.
        eligible_leader_replicas: Some(Vec::new()),
        last_known_elr: Some(Vec::new()),
        offline_replicas: state.offline.iter().map(|id| id.0).collect(),
    }
}
