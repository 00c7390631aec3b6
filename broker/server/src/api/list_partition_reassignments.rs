//! ListPartitionReassignments: the partitions whose replicas are being changed.
//!
//! A partition that was asked about and does not move is not in the answer, nor is one that does not
//! exist. Source: Kafka 3.9 `KafkaController.processListPartitionReassignments`.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use broker_protocol::error_code::ErrorCode;
use broker_protocol::message::list_partition_reassignments::{
    ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse,
    OngoingPartitionReassignment, OngoingTopicReassignment,
};
use broker_protocol::quantity::BrokerId;
use broker_protocol::topic_partition::TopicPartition;

use super::RequestContext;
use super::partition_outcome::by_topic;
use crate::context::Context;
use crate::controller::handle::ControllerHandle;
use crate::controller::state::assignment::Assignment;
use crate::controller::state::request::{Reply, Request};

/// Has this broker, as the controller, say what it moves.
pub(crate) async fn list_partition_reassignments(
    context: &Context,
    request: ListPartitionReassignmentsRequest<'_>,
    _: &RequestContext<'_>,
) -> ListPartitionReassignmentsResponse<'static> {
    list(&context.controller, request).await
}

/// Lists the moves that the controller knows of.
async fn list(
    controller: &ControllerHandle,
    request: ListPartitionReassignmentsRequest<'_>,
) -> ListPartitionReassignmentsResponse<'static> {
    let named = request.topics.as_ref().map(|topics| {
        let partitions = topics.iter().flat_map(|topic| {
            let name: Arc<str> = Cow::as_ref(&topic.name).into();
            let indexes = topic.partition_indexes.iter();
            indexes.map(move |&partition| TopicPartition { topic: Arc::clone(&name), partition })
        });
        partitions.collect()
    });
    let limit = Duration::from_millis(request.timeout_ms.max(0) as u64);
    let moving = tokio::time::timeout(limit, moving(controller, named)).await;
    match moving.unwrap_or(Err(ErrorCode::RequestTimedOut)) {
        Ok(moving) => ListPartitionReassignmentsResponse {
            topics: by_topic(moving).into_iter().map(ongoing).collect(),
            ..Default::default()
        },
        Err(code) => {
            ListPartitionReassignmentsResponse { error_code: code.code(), ..Default::default() }
        }
    }
}

/// Asks the controller which of `partitions`, or of all there are, it moves.
pub(super) async fn moving(
    controller: &ControllerHandle,
    partitions: Option<Vec<TopicPartition>>,
) -> Result<BTreeMap<TopicPartition, Arc<Assignment>>, ErrorCode> {
    match controller.ask(Request::ListReassignments(partitions)).await {
        Some(Reply::ListReassignments(moving)) => Ok(moving),
        Some(_) | None => Err(ErrorCode::NotController),
    }
}

fn ongoing(
    (name, partitions): (Arc<str>, Vec<(i32, Arc<Assignment>)>),
) -> OngoingTopicReassignment<'static> {
    let numbers = |ids: &[BrokerId]| ids.iter().map(|id| id.0).collect();
    let partitions =
        partitions.into_iter().map(|(partition_index, assignment)| OngoingPartitionReassignment {
            partition_index,
            replicas: numbers(&assignment.replicas),
            adding_replicas: numbers(&assignment.adding),
            removing_replicas: numbers(&assignment.removing),
        });
    OngoingTopicReassignment {
        name: Cow::Owned(name.to_string()),
        partitions: partitions.collect(),
    }
}

#[cfg(test)]
mod tests;
