//! `DeleteTopics`: deletion of topics.

use std::borrow::Cow;

use crate::message::table::message;
use crate::uuid::Uuid;

message! {
    DeleteTopics;
    /// The topics to delete, by name, or by id from version 6.
    pub struct DeleteTopicsRequest<'a> {
        topics: Vec<DeleteTopicState<'a>>, 6..;
        topic_names: Vec<Cow<'a, str>>, 0..=5;
        timeout_ms: i32, 0..;
    }

    /// An element of [`DeleteTopicsRequest::topics`].
    pub struct DeleteTopicState<'a> {
        name: Option<Cow<'a, str>>, 6..;
        topic_id: Uuid, 6..;
    }
}

message! {
    DeleteTopics;
    /// What became of each topic.
    pub struct DeleteTopicsResponse<'a> {
        throttle_time_ms: i32, 1..;
        responses: Vec<DeletableTopicResult<'a>>, 0..;
    }

    /// An element of [`DeleteTopicsResponse::responses`].
    pub struct DeletableTopicResult<'a> {
        name: Option<Cow<'a, str>> = Some(Cow::Borrowed("")), 0.., null 6..;
        topic_id: Uuid, 6..;
        error_code: i16, 0..;
        error_message: Option<Cow<'a, str>>, 5..;
    }
}
