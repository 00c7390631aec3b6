//! DeleteTopics: by name, or by id from version 6 on; each topic by itself.

use std::borrow::Cow;

use broker_protocol::error_code::ErrorCode;
use broker_protocol::message::delete_topics::{
    DeletableTopicResult, DeleteTopicState, DeleteTopicsRequest, DeleteTopicsResponse,
};
use broker_protocol::uuid::Uuid;

use super::RequestContext;
use crate::context::Context;
use crate::request_time::RequestTime;

/// Deletes topics.
pub(crate) async fn delete_topics(
    context: &Context,
    request: DeleteTopicsRequest<'_>,
    rc: &RequestContext<'_>,
) -> DeleteTopicsResponse<'static> {
    let mut time = RequestTime::of_ms(request.timeout_ms);
    let asked: Vec<DeleteTopicState<'_>> = if rc.api_version >= 6 {
        request.topics
    } else {
        let by_name = |name| DeleteTopicState { name: Some(name), topic_id: Uuid::ZERO };
        request.topic_names.into_iter().map(by_name).collect()
    };
    let mut responses = Vec::with_capacity(asked.len());
    for topic in &asked {
        responses.push(delete(context, topic, &mut time).await);
    }
    DeleteTopicsResponse { responses, ..Default::default() }
}

async fn delete(
    context: &Context,
    asked: &DeleteTopicState<'_>,
    time: &mut RequestTime,
) -> DeletableTopicResult<'static> {
    let metadata = context.metadata.load();
    let answer = |code: ErrorCode, message: Option<String>, name: Option<&str>, id: Uuid| {
        DeletableTopicResult {
            name: name.map(|name| Cow::Owned(name.to_owned())),
            topic_id: id,
            error_code: code.code(),
            error_message: message.map(Cow::Owned),
        }
    };
    let name = match (&asked.name, asked.topic_id.is_zero()) {
        (Some(_), false) => {
            let message = "a topic is named either by name or by id".to_owned();
            return answer(ErrorCode::InvalidRequest, Some(message), None, asked.topic_id);
        }
        (Some(name), true) => name.to_string(),
        (None, _) => match metadata.topic_by_id(asked.topic_id) {
            Some(topic) => topic.name.to_string(),
            None => return answer(ErrorCode::UnknownTopicId, None, None, asked.topic_id),
        },
    };
    let id = metadata.topic(&name).map_or(Uuid::ZERO, |topic| topic.id);
    let deleted = context.admin.delete_topic(&name, time).await;
    match deleted {
        Ok(()) => answer(ErrorCode::None, None, Some(&name), id),
        Err(error) => answer(ErrorCode::from(&error), Some(error.to_string()), Some(&name), id),
    }
}
