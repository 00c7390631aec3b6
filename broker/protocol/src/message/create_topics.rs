//! `CreateTopics`: creation of topics.

use std::borrow::Cow;

use crate::message::table::message;
use crate::uuid::Uuid;

message! {
    CreateTopics;
    /// The topics to create.
    pub struct CreateTopicsRequest<'a> {
        topics: Vec<CreatableTopic<'a>>, 0..;
        timeout_ms: i32 = 60000, 0..;
        validate_only: bool, 1..;
    }

    /// An element of [`CreateTopicsRequest::topics`].
    pub struct CreatableTopic<'a> {
        name: Cow<'a, str>, 0..;
        /// -1: as assigned, or the default of the broker.
        num_partitions: i32, 0..;
        /// -1: as assigned, or the default of the broker.
        replication_factor: i16, 0..;
        assignments: Vec<CreatableReplicaAssignment>, 0..;
        configs: Vec<CreatableTopicConfig<'a>>, 0..;
    }

    /// An element of [`CreatableTopic::assignments`].
    pub struct CreatableReplicaAssignment {
        partition_index: i32, 0..;
        broker_ids: Vec<i32>, 0..;
    }

    /// An element of [`CreatableTopic::configs`].
    pub struct CreatableTopicConfig<'a> {
        name: Cow<'a, str>, 0..;
        value: Option<Cow<'a, str>>, 0..;
    }
}

message! {
    CreateTopics;
    /// What became of each topic.
    pub struct CreateTopicsResponse<'a> {
        throttle_time_ms: i32, 2..;
        topics: Vec<CreatableTopicResult<'a>>, 0..;
    }

    /// An element of [`CreateTopicsResponse::topics`].
    pub struct CreatableTopicResult<'a> {
        name: Cow<'a, str>, 0..;
        topic_id: Uuid, 7..;
        error_code: i16, 0..;
        error_message: Option<Cow<'a, str>>, 1..;
        num_partitions: i32 = -1, 5..;
        replication_factor: i16 = -1, 5..;
        configs: Option<Vec<CreatableTopicConfigs<'a>>>, 5..;
        topic_config_error_code: i16, 5.., tag 0;
    }

    /// An element of [`CreatableTopicResult::configs`].
    pub struct CreatableTopicConfigs<'a> {
        name: Cow<'a, str>, 5..;
        value: Option<Cow<'a, str>>, 5..;
        read_only: bool, 5..;
        config_source: i8 = -1, 5..;
        is_sensitive: bool, 5..;
    }
}
