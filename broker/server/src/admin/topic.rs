//! Whether a topic could be as the operator wants it.

use broker_admin::v1::{CheckTopicRequest, CheckTopicResponse, Problem as Wrong};
use broker_protocol::uuid::Uuid;
use tonic::Status;

use super::unavailable;
use crate::context::Context;
use crate::controller::admin::NewTopic;
use crate::controller::admin::check::{Field, Problem};
use crate::request_time::RequestTime;

/// How long the tree may take.
const LIMIT: std::time::Duration = std::time::Duration::from_secs(5);

/// Checks a description.
pub(super) async fn check(
    context: &Context,
    request: CheckTopicRequest,
) -> Result<CheckTopicResponse, Status> {
    let factor = i16::try_from(request.replication_factor);
    let factor = factor.map_err(|_| {
        Status::invalid_argument("replication_factor: a number of brokers, at most 32767")
    })?;
    let chosen = request.assignment.into_iter().map(|replicas| replicas.brokers);
    let chosen: std::collections::BTreeMap<i32, Vec<i32>> = (0..).zip(chosen).collect();
    let new = NewTopic {
        name: request.name,
        partitions: (request.partitions != 0).then_some(request.partitions),
        replication_factor: (factor != 0).then_some(factor),
        assignment: (!chosen.is_empty()).then_some(chosen),
        config: request.configuration.into_iter().collect(),
        author: None,
    };
    let mut time = RequestTime::new(LIMIT);
    let checked = context.admin.check_topic(&new, &mut time).await;
    let (problems, existing) = checked.map_err(unavailable)?;
    Ok(CheckTopicResponse {
        problems: problems.into_iter().map(wrong).collect(),
        existing_topic_id: existing
            .filter(|existing| existing.id != Uuid::ZERO)
            .map(|existing| existing.id.to_string())
            .unwrap_or_default(),
        existing_partitions: existing.map_or(0, |existing| existing.partitions as u32),
        existing_replication_factor: existing
            .map_or(0, |existing| existing.replication_factor as u32),
    })
}

fn wrong(problem: Problem) -> Wrong {
    let field = match problem.field {
        Field::Name => "name".to_owned(),
        Field::Partitions => "partitions".to_owned(),
        Field::ReplicationFactor => "replication_factor".to_owned(),
        Field::Assignment => "assignment".to_owned(),
        Field::Config(key) => format!("configuration.{key}"),
    };
    Wrong { field, message: problem.message }
}
