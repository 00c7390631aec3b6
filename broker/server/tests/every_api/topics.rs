//! What to ask so that topics come, grow and go. Each version has a topic of its own.

use broker_protocol::error_code::ErrorCode;
use broker_protocol::message::create_partitions::{
    CreatePartitionsAssignment, CreatePartitionsRequest, CreatePartitionsTopic,
};
use broker_protocol::message::create_topics::{
    CreatableTopic, CreatableTopicConfig, CreateTopicsRequest,
};
use broker_protocol::message::delete_topics::{DeleteTopicState, DeleteTopicsRequest};

use super::{Cases, MISSING, MISSING_ID, OK, TOPIC, UNKNOWN, World};

/// Longer than any of this takes, in milliseconds.
const TIMEOUT_MS: i32 = 20_000;

/// The topic that CreateTopics makes in a version.
fn made(version: i16) -> String {
    format!("made-{version}")
}

pub(crate) fn create_topics(_: &mut World, version: i16) -> Cases<CreateTopicsRequest<'static>> {
    let topic = |name: &str, key: &'static str| CreatableTopic {
        name: name.to_owned().into(),
        num_partitions: 1,
        replication_factor: 1,
        configs: vec![CreatableTopicConfig { name: key.into(), value: Some("1000000".into()) }],
        ..Default::default()
    };
    let topics = vec![
        topic(&made(version), "segment.bytes"),
        topic(TOPIC, "segment.bytes"),
        topic("none-of-ours", "no.such.key"),
        topic("a/b", "segment.bytes"),
    ];
    let expected = vec![
        OK,
        ErrorCode::TopicAlreadyExists,
        ErrorCode::InvalidConfig,
        ErrorCode::InvalidTopicException,
    ];
    vec![(CreateTopicsRequest { topics, timeout_ms: TIMEOUT_MS, ..Default::default() }, expected)]
}

pub(crate) fn create_partitions(
    _: &mut World,
    version: i16,
) -> Cases<CreatePartitionsRequest<'static>> {
    let topic = |name: String, count| CreatePartitionsTopic {
        name: name.into(),
        count,
        ..Default::default()
    };
    // To a broker that there is not.
    let elsewhere = Some(vec![CreatePartitionsAssignment { broker_ids: vec![999] }]);
    let topics = vec![
        topic(made(version), 2),
        topic(TOPIC.to_owned(), 1),
        topic(MISSING.to_owned(), 2),
        CreatePartitionsTopic { assignments: elsewhere, ..topic(made(7), 2) },
    ];
    let expected =
        vec![OK, ErrorCode::InvalidPartitions, UNKNOWN, ErrorCode::InvalidReplicaAssignment];
    let request = CreatePartitionsRequest { topics, timeout_ms: TIMEOUT_MS, ..Default::default() };
    vec![(request, expected)]
}

pub(crate) fn delete_topics(_: &mut World, version: i16) -> Cases<DeleteTopicsRequest<'static>> {
    let topic_names = vec![made(version).into(), MISSING.into()];
    let by_name = topic_names.iter().cloned();
    let mut topics: Vec<_> =
        by_name.map(|name| DeleteTopicState { name: Some(name), ..Default::default() }).collect();
    topics.push(DeleteTopicState { name: None, topic_id: MISSING_ID });
    let mut expected = vec![OK, UNKNOWN];
    if version >= 6 {
        expected.push(ErrorCode::UnknownTopicId);
    }
    vec![(DeleteTopicsRequest { topics, topic_names, timeout_ms: TIMEOUT_MS }, expected)]
}
