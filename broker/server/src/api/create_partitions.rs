//! CreatePartitions: topics can grow, never shrink; each topic by itself.

use std::borrow::Cow;

use broker_protocol::error_code::ErrorCode;
use broker_protocol::message::create_partitions::{
    CreatePartitionsRequest, CreatePartitionsResponse, CreatePartitionsTopic,
    CreatePartitionsTopicResult,
};

use super::RequestContext;
use crate::context::Context;
use crate::request_time::RequestTime;

/// Gives topics more partitions, or only checks that it could be done.
pub(crate) async fn create_partitions(
    context: &Context,
    request: CreatePartitionsRequest<'_>,
    _rc: &RequestContext<'_>,
) -> CreatePartitionsResponse<'static> {
    let mut time = RequestTime::of_ms(request.timeout_ms);
    let mut results = Vec::with_capacity(request.topics.len());
    for (position, topic) in request.topics.iter().enumerate() {
        let again = request.topics[..position].iter().any(|earlier| earlier.name == topic.name);
        let (code, message) = if again {
            (ErrorCode::InvalidRequest, Some("the request names this topic more than once".into()))
        } else {
            grow(context, topic, &mut time, request.validate_only).await
        };
        results.push(CreatePartitionsTopicResult {
            name: Cow::Owned(topic.name.to_string()),
            error_code: code.code(),
            error_message: message.map(Cow::Owned),
        });
    }
    CreatePartitionsResponse { results, ..Default::default() }
}

async fn grow(
    context: &Context,
    topic: &CreatePartitionsTopic<'_>,
    time: &mut RequestTime,
    validate_only: bool,
) -> (ErrorCode, Option<String>) {
    let chosen = topic.assignments.as_ref();
    let chosen = chosen.map(|all| all.iter().map(|one| one.broker_ids.clone()).collect());
    let grown = context
        .admin
        .create_partitions(&topic.name, topic.count, chosen, time, validate_only)
        .await;
    match grown {
        Ok(()) => (ErrorCode::None, None),
        Err(error) => (ErrorCode::from(&error), Some(error.to_string())),
    }
}
