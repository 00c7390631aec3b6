//! DescribeProducers: the producers that partitions remember.

use std::borrow::Cow;
use std::sync::Arc;

use broker_protocol::error_code::ErrorCode;
use broker_protocol::message::describe_producers::{
    DescribeProducersRequest, DescribeProducersResponse, PartitionResponse, ProducerState,
    TopicResponse,
};
use broker_storage::producer_state::ProducerEntry;

use super::RequestContext;
use crate::context::Context;

/// Lists every partition's producers.
#[allow(clippy::unused_async, reason = "dispatch awaits these handlers all alike")]
pub(crate) async fn describe_producers(
    context: &Arc<Context>,
    request: DescribeProducersRequest<'_>,
    _rc: &RequestContext<'_>,
) -> DescribeProducersResponse<'static> {
    let topics = request
        .topics
        .iter()
        .map(|topic| TopicResponse {
            name: Cow::Owned(topic.name.to_string()),
            partitions: topic
                .partition_indexes
                .iter()
                .map(|partition| describe(context, &topic.name, *partition))
                .collect(),
        })
        .collect();
    DescribeProducersResponse { topics, ..Default::default() }
}

fn describe(context: &Context, topic: &str, partition_index: i32) -> PartitionResponse<'static> {
    let found = context.replicas.partition(topic, partition_index);
    let producers = match found {
        None => Err(ErrorCode::UnknownTopicOrPartition),
        Some(partition) => partition.producers().map_err(|error| ErrorCode::from(&error)),
    };
    match producers {
        Ok(producers) => PartitionResponse {
            partition_index,
            active_producers: producers.iter().map(state).collect(),
            ..Default::default()
        },
        Err(code) => {
            PartitionResponse { partition_index, error_code: code.code(), ..Default::default() }
        }
    }
}

fn state(producer: &ProducerEntry) -> ProducerState {
    ProducerState {
        producer_id: producer.producer_id(),
        producer_epoch: i32::from(producer.producer_epoch()),
        last_sequence: producer.last_sequence(),
        last_timestamp: producer.last_timestamp().0,
        coordinator_epoch: producer.coordinator_epoch(),
        current_txn_start_offset: producer.current_txn_first_offset().map_or(-1, |first| first.0),
    }
}
