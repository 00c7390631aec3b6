//! ElectLeaders: an operator has leaders elected, and is answered when this broker knows of them.
//!
//! Kafka's admin clients ask the controller, which they know from Metadata. Where the request names no
//! partitions, those that have the right leader are not in the answer.
//! Source: Kafka 3.9 `KafkaApis.handleElectLeaders`, `DelayedElectLeader`.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use broker_protocol::error_code::ErrorCode;
use broker_protocol::message::elect_leaders::{
    ElectLeadersRequest, ElectLeadersResponse, PartitionResult, ReplicaElectionResult,
};
use broker_protocol::topic_partition::TopicPartition;

use super::RequestContext;
use super::partition_outcome::{by_topic, words};
use crate::context::Context;
use crate::controller::handle::ControllerHandle;
use crate::controller::state::request::{ElectionKind, Reply, Request};
use crate::metadata::{Cache, Metadata};

/// What became of each partition.
type Outcomes = BTreeMap<TopicPartition, ErrorCode>;

/// Has this broker, as the controller, elect leaders.
pub(crate) async fn elect_leaders(
    context: &Context,
    request: ElectLeadersRequest<'_>,
    _: &RequestContext<'_>,
) -> ElectLeadersResponse<'static> {
    elect(&context.controller, &context.metadata, request).await
}

/// Has leaders elected; waits for the elections, and then until `metadata` names the leaders, up to
/// the request's timeout.
async fn elect(
    controller: &ControllerHandle,
    metadata: &Cache,
    request: ElectLeadersRequest<'_>,
) -> ElectLeadersResponse<'static> {
    let kind = match request.election_type {
        0 => ElectionKind::Preferred,
        1 => ElectionKind::Unclean,
        _ => {
            let error_code = ErrorCode::InvalidRequest.code();
            return ElectLeadersResponse { error_code, ..Default::default() };
        }
    };
    let named = request.topic_partitions.as_ref().map(|topics| {
        let partitions = topics.iter().flat_map(|topic| {
            let name: Arc<str> = Cow::as_ref(&topic.topic).into();
            topic
                .partitions
                .iter()
                .map(move |&partition| TopicPartition { topic: Arc::clone(&name), partition })
        });
        partitions.collect::<Vec<_>>()
    });
    let limit = Duration::from_millis(request.timeout_ms.max(0) as u64);
    // Elections go on when the time is up: what then is not known to be done is told as such.
    let mut known = None;
    let elected = async {
        let asked = Request::ElectLeaders { kind, partitions: named.clone() };
        let outcomes = match controller.ask(asked).await {
            Some(Reply::ElectLeaders(outcomes)) => outcomes,
            Some(_) | None => all(named.as_deref(), metadata, ErrorCode::NotController),
        };
        let outcomes = known.insert(outcomes);
        metadata.wait_until(|newest| unheard(kind, outcomes, newest).next().is_none()).await;
    };
    let in_time = tokio::time::timeout(limit, elected).await.is_ok();
    let mut outcomes =
        known.unwrap_or_else(|| all(named.as_deref(), metadata, ErrorCode::RequestTimedOut));
    if !in_time {
        let late: Vec<_> = unheard(kind, &outcomes, &metadata.load()).cloned().collect();
        outcomes.extend(late.into_iter().map(|name| (name, ErrorCode::RequestTimedOut)));
    }
    ElectLeadersResponse { replica_election_results: results(outcomes), ..Default::default() }
}

/// One outcome for all that were named, or that there are.
fn all(named: Option<&[TopicPartition]>, metadata: &Cache, code: ErrorCode) -> Outcomes {
    if let Some(named) = named {
        return named.iter().map(|name| (name.clone(), code)).collect();
    }
    let newest = metadata.load();
    let topics = newest.topics.values();
    let partitions = topics.flat_map(|topic| {
        (0..topic.partitions.len())
            .map(|index| TopicPartition { topic: topic.name.clone(), partition: index as i32 })
    });
    partitions.map(|name| (name, code)).collect()
}

/// The partitions that were elected for, and of whose leaders this broker has not heard.
fn unheard<'a>(
    kind: ElectionKind,
    outcomes: &'a Outcomes,
    newest: &'a Metadata,
) -> impl Iterator<Item = &'a TopicPartition> {
    let elected = outcomes.iter().filter(|(_, code)| **code == ErrorCode::None);
    elected.map(|(name, _)| name).filter(move |name| {
        let topic = newest.topic(&name.topic);
        let partition = topic
            .zip(usize::try_from(name.partition).ok())
            .and_then(|(topic, index)| topic.partitions.get(index));
        let Some(partition) = partition else { return true };
        match kind {
            ElectionKind::Preferred => partition.leader != partition.replicas.first().copied(),
            ElectionKind::Unclean => partition.leader.is_none(),
        }
    })
}

fn results(outcomes: Outcomes) -> Vec<ReplicaElectionResult<'static>> {
    let topics = by_topic(outcomes).into_iter();
    let results = topics.map(|(topic, partitions)| ReplicaElectionResult {
        topic: Cow::Owned(topic.to_string()),
        partition_result: partitions
            .into_iter()
            .map(|(partition_id, code)| PartitionResult {
                partition_id,
                error_code: code.code(),
                error_message: words(code),
            })
            .collect(),
    });
    results.collect()
}

#[cfg(test)]
mod tests;
