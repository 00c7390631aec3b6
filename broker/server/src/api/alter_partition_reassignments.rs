//! AlterPartitionReassignments: an operator gives partitions other replicas, or stops doing so.
//!
//! The answer says that moves have begun; that they are done, ListPartitionReassignments says.
//! Source: Kafka 3.9 `KafkaApis.handleAlterPartitionReassignmentsRequest`; version 1: KIP-860.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use broker_protocol::error_code::ErrorCode;
use broker_protocol::message::alter_partition_reassignments::{
    AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse,
    ReassignablePartitionResponse, ReassignableTopicResponse,
};
use broker_protocol::quantity::BrokerId;
use broker_protocol::topic_partition::TopicPartition;

use super::RequestContext;
use super::list_partition_reassignments::moving;
use super::partition_outcome::{by_topic, words};
use crate::context::Context;
use crate::controller::handle::ControllerHandle;
use crate::controller::state::request::{Reply, Request};
use crate::metadata::Cache;

/// The replicas that each partition is to have; none to stop a move.
type Wanted = BTreeMap<TopicPartition, Option<Vec<BrokerId>>>;

/// Has this broker, as the controller, move replicas.
pub(crate) async fn alter_partition_reassignments(
    context: &Context,
    request: AlterPartitionReassignmentsRequest<'_>,
    _: &RequestContext<'_>,
) -> AlterPartitionReassignmentsResponse<'static> {
    reassign(&context.controller, &context.metadata, request).await
}

/// Has moves begun or stopped; a partition that is refused does not keep the others from moving.
async fn reassign(
    controller: &ControllerHandle,
    metadata: &Cache,
    request: AlterPartitionReassignmentsRequest<'_>,
) -> AlterPartitionReassignmentsResponse<'static> {
    let allow_replication_factor_change = request.allow_replication_factor_change;
    let limit = Duration::from_millis(request.timeout_ms.max(0) as u64);
    let begun = tokio::time::timeout(limit, begin(controller, metadata, &request)).await;
    let answer = AlterPartitionReassignmentsResponse {
        allow_replication_factor_change,
        ..Default::default()
    };
    match begun.unwrap_or(Err(ErrorCode::RequestTimedOut)) {
        Ok(outcomes) => {
            let responses = by_topic(outcomes).into_iter().map(|(name, partitions)| {
                let partitions = partitions.into_iter().map(|(partition_index, code)| {
                    let (error_code, error_message) = (code.code(), words(code));
                    ReassignablePartitionResponse { partition_index, error_code, error_message }
                });
                let name = Cow::Owned(name.to_string());
                ReassignableTopicResponse { name, partitions: partitions.collect() }
            });
            AlterPartitionReassignmentsResponse { responses: responses.collect(), ..answer }
        }
        Err(code) => AlterPartitionReassignmentsResponse { error_code: code.code(), ..answer },
    }
}

async fn begin(
    controller: &ControllerHandle,
    metadata: &Cache,
    request: &AlterPartitionReassignmentsRequest<'_>,
) -> Result<BTreeMap<TopicPartition, ErrorCode>, ErrorCode> {
    let mut wanted = Wanted::new();
    for topic in &request.topics {
        for one in &topic.partitions {
            let replicas = one.replicas.as_ref();
            let replicas = replicas.map(|ids| ids.iter().copied().map(BrokerId).collect());
            let (topic, partition) = (Cow::as_ref(&topic.name).into(), one.partition_index);
            wanted.insert(TopicPartition { topic, partition }, replicas);
        }
    }
    let mut outcomes = BTreeMap::new();
    if !request.allow_replication_factor_change {
        outcomes = refuse_other_counts(controller, metadata, &mut wanted).await?;
    }
    match controller.ask(Request::Reassign(wanted)).await {
        Some(Reply::Reassign(begun)) => outcomes.extend(begun),
        Some(_) | None => return Err(ErrorCode::NotController),
    }
    Ok(outcomes)
}

/// Takes out of `wanted` what would give a partition more or fewer replicas than it has, or, while
/// it moves, than it is to have.
async fn refuse_other_counts(
    controller: &ControllerHandle,
    metadata: &Cache,
    wanted: &mut Wanted,
) -> Result<BTreeMap<TopicPartition, ErrorCode>, ErrorCode> {
    let moving = moving(controller, Some(wanted.keys().cloned().collect())).await?;
    let newest = metadata.load();
    let count = |name: &TopicPartition| {
        if let Some(assignment) = moving.get(name) {
            return Some(assignment.target().len());
        }
        let index = usize::try_from(name.partition).ok()?;
        Some(newest.topic(&name.topic)?.partitions.get(index)?.replicas.len())
    };
    let mut refused = BTreeMap::new();
    wanted.retain(|name, replicas| {
        let other = replicas.as_ref().zip(count(name)).is_some_and(|(to, has)| to.len() != has);
        if other {
            refused.insert(name.clone(), ErrorCode::InvalidReplicationFactor);
        }
        !other
    });
    Ok(refused)
}

#[cfg(test)]
mod tests;
