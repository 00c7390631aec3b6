//! CreatePartitions: topics can grow, never shrink; each topic by itself.

use std::borrow::Cow;
use std::time::Duration;

use broker_protocol::error_code::ErrorCode;
use broker_protocol::message::create_partitions::{
    CreatePartitionsRequest, CreatePartitionsResponse, CreatePartitionsTopic,
    CreatePartitionsTopicResult,
};

use super::RequestContext;
use crate::context::Context;
use crate::controller::admin::error::AdminError;

/// Gives topics more partitions, or only checks that it could be done.
pub(crate) async fn create_partitions(
    context: &Context,
    request: CreatePartitionsRequest<'_>,
    _rc: &RequestContext<'_>,
) -> CreatePartitionsResponse<'static> {
    let mut limit = Duration::from_millis(request.timeout_ms.max(0) as u64);
    let mut results = Vec::with_capacity(request.topics.len());
    for (position, topic) in request.topics.iter().enumerate() {
        let again = request.topics[..position].iter().any(|earlier| earlier.name == topic.name);
        let (code, message) = if again {
            (ErrorCode::InvalidRequest, Some("the request names this topic more than once".into()))
        } else {
            grow(context, topic, &mut limit, request.validate_only).await
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
    limit: &mut Duration,
    validate_only: bool,
) -> (ErrorCode, Option<String>) {
    let chosen = topic.assignments.as_ref();
    let chosen = chosen.map(|all| all.iter().map(|one| one.broker_ids.clone()).collect());
    let grown = context
        .admin
        .create_partitions(&topic.name, topic.count, chosen, *limit, validate_only)
        .await;
    if let Err(AdminError::Silent(_)) = grown {
        *limit = Duration::ZERO;
    }
    match grown {
        Ok(()) => (ErrorCode::None, None),
        Err(error) => (ErrorCode::from(&error), Some(error.to_string())),
    }
}
