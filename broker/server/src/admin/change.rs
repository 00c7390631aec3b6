//! Topics made, grown and marked for deletion for the newest operator.

use std::time::Duration;

use broker_admin::v1::{
    CreateTopicRequest, CreateTopicResponse, DeleteTopicRequest, DeleteTopicResponse,
    GrowTopicRequest, GrowTopicResponse, ReplicaList,
};
use tonic::Status;
use tracing::info;

use super::fence::Admitted;
use super::refusal::{of_admin, topic_id};
use crate::context::Context;
use crate::controller::admin::NewTopic;
use crate::controller::admin::operated::Addition;
use crate::request_time::RequestTime;

/// How long the tree may take.
const LIMIT: Duration = Duration::from_secs(5);

/// Makes a topic.
pub(super) async fn create(
    context: &Context,
    operator: &Admitted,
    request: CreateTopicRequest,
) -> Result<CreateTopicResponse, Status> {
    let id = topic_id(&request.topic_id)?;
    let new = NewTopic {
        name: request.name,
        assignment: Some((0..).zip(brokers(request.assignment)).collect()),
        config: request.configuration.into_iter().collect(),
        author: Some(operator.holder().to_owned()),
        ..NewTopic::default()
    };
    let mut time = RequestTime::new(LIMIT);
    let made = context.admin.make_operated(&new, id, &operator.is_newest(), &mut time).await;
    made.map_err(|error| of_admin(&error))?;
    info!(topic = new.name, %id, "made for the operator");
    Ok(CreateTopicResponse {})
}

/// Adds partitions.
pub(super) async fn grow(
    context: &Context,
    operator: &Admitted,
    request: GrowTopicRequest,
) -> Result<GrowTopicResponse, Status> {
    let addition = Addition {
        id: topic_id(&request.topic_id)?,
        name: request.name,
        from: request.from,
        replicas: brokers(request.assignment),
    };
    if addition.from < 1 || addition.replicas.is_empty() {
        return Err(Status::invalid_argument(
            "from, assignment: how many partitions there are, at least 1, and the replicas of each new one",
        ));
    }
    let mut time = RequestTime::new(LIMIT);
    let is_newest = operator.is_newest();
    let grown = context.admin.grow_operated(&addition, &is_newest, &mut time).await;
    grown.map_err(|error| of_admin(&error))?;
    info!(topic = addition.name, from = addition.from, "grown for the operator");
    Ok(GrowTopicResponse {})
}

/// Marks a topic for deletion.
pub(super) async fn delete(
    context: &Context,
    operator: &Admitted,
    request: DeleteTopicRequest,
) -> Result<DeleteTopicResponse, Status> {
    let DeleteTopicRequest { name, topic_id: id, .. } = request;
    let id = topic_id(&id)?;
    let mut time = RequestTime::new(LIMIT);
    let is_newest = operator.is_newest();
    let marked = context.admin.mark_operated(&name, id, &is_newest, &mut time).await;
    marked.map_err(|error| of_admin(&error))?;
    info!(topic = name, %id, "marked for deletion, or gone");
    Ok(DeleteTopicResponse {})
}

fn brokers(assignment: Vec<ReplicaList>) -> Vec<Vec<i32>> {
    assignment.into_iter().map(|replicas| replicas.brokers).collect()
}
