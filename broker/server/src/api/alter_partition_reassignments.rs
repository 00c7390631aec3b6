//! AlterPartitionReassignments: an operator gives partitions other replicas, or stops doing so.
//!
//! The answer says that moves have begun; that they are done, ListPartitionReassignments says.
//! Source: Kafka 3.9 `KafkaApis.handleAlterPartitionReassignmentsRequest`; version 1: KIP-860.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
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
use crate::request_time::RequestTime;

/// The replicas that each partition is to have; none to stop a move.
type Wanted = BTreeMap<TopicPartition, Option<Vec<BrokerId>>>;

/// Has this broker, as the controller, move replicas.
pub(crate) async fn alter_partition_reassignments(
    context: &Context,
    request: AlterPartitionReassignmentsRequest<'_>,
    _: &RequestContext<'_>,
) -> AlterPartitionReassignmentsResponse<'static> {
    let mut time = RequestTime::of_ms(request.timeout_ms);
    match context.admin.cordoned(&mut time).await {
        Ok(cordoned) => reassign(&context.controller, &context.metadata, &cordoned, request).await,
        Err(error) => AlterPartitionReassignmentsResponse {
            error_code: ErrorCode::from(&error).code(),
            error_message: Some(Cow::Owned(error.to_string())),
            allow_replication_factor_change: request.allow_replication_factor_change,
            ..Default::default()
        },
    }
}

/// Has moves begun or stopped; a partition that is refused does not keep the others from moving.
async fn reassign(
    controller: &ControllerHandle,
    metadata: &Cache,
    cordoned: &BTreeSet<BrokerId>,
    request: AlterPartitionReassignmentsRequest<'_>,
) -> AlterPartitionReassignmentsResponse<'static> {
    let allow_replication_factor_change = request.allow_replication_factor_change;
    let limit = Duration::from_millis(request.timeout_ms.max(0) as u64);
    let begun = tokio::time::timeout(limit, begin(controller, metadata, cordoned, &request)).await;
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
    cordoned: &BTreeSet<BrokerId>,
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
    let mut outcomes = refuse_cordoned(metadata, cordoned, &mut wanted);
    if !request.allow_replication_factor_change {
        outcomes.extend(refuse_other_counts(controller, metadata, &mut wanted).await?);
    }
    match controller.ask(Request::Reassign(wanted)).await {
        Some(Reply::Reassign(begun)) => outcomes.extend(begun),
        Some(_) | None => return Err(ErrorCode::NotController),
    }
    Ok(outcomes)
}

/// Takes out of `wanted` what would put a new replica on a broker that gets none.
fn refuse_cordoned(
    metadata: &Cache,
    cordoned: &BTreeSet<BrokerId>,
    wanted: &mut Wanted,
) -> BTreeMap<TopicPartition, ErrorCode> {
    let newest = metadata.load();
    let has = |name: &TopicPartition, broker: &BrokerId| {
        let index = usize::try_from(name.partition).unwrap_or(usize::MAX);
        let partition = newest.topic(&name.topic).and_then(|topic| topic.partitions.get(index));
        partition.is_some_and(|partition| partition.replicas.contains(broker))
    };
    let lands = |name: &TopicPartition, replicas: &Option<Vec<BrokerId>>| {
        let mut new = replicas.iter().flatten().filter(|broker| !has(name, broker));
        new.any(|broker| cordoned.contains(broker))
    };
    let refused = wanted.extract_if(.., |name, replicas| lands(name, replicas));
    refused.map(|(name, _)| (name, ErrorCode::InvalidReplicaAssignment)).collect()
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
