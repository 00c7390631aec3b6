//! What to ask about the cluster: its brokers, topics and directories.

use broker_protocol::error_code::ErrorCode;
use broker_protocol::message::api_versions::ApiVersionsRequest;
use broker_protocol::message::describe_cluster::DescribeClusterRequest;
use broker_protocol::message::describe_log_dirs::{DescribableLogDirTopic, DescribeLogDirsRequest};
use broker_protocol::message::describe_topic_partitions::{
    Cursor, DescribeTopicPartitionsRequest, TopicRequest,
};
use broker_protocol::message::metadata::{MetadataRequest, MetadataRequestTopic};

use super::{Cases, MISSING, MISSING_ID, NO_PARTITION, OK, TOPIC, UNKNOWN, World};

/// From this version on topics can be asked for by id.
const METADATA_IDS_FROM: i16 = 12;

pub(crate) fn api_versions(_: &mut World, version: i16) -> Cases<ApiVersionsRequest<'static>> {
    let named = ApiVersionsRequest {
        client_software_name: "every-api".into(),
        client_software_version: "1.0".into(),
    };
    let nameless = if version >= 3 { ErrorCode::InvalidRequest } else { OK };
    vec![(named, vec![OK]), (ApiVersionsRequest::default(), vec![nameless])]
}

pub(crate) fn describe_cluster(_: &mut World, _: i16) -> Cases<DescribeClusterRequest> {
    let request = DescribeClusterRequest {
        include_cluster_authorized_operations: true,
        include_fenced_brokers: true,
        ..Default::default()
    };
    vec![(request, vec![OK])]
}

pub(crate) fn metadata(world: &mut World, version: i16) -> Cases<MetadataRequest<'static>> {
    let by_name =
        |name: &'static str| MetadataRequestTopic { name: Some(name.into()), ..Default::default() };
    let mut topics = vec![by_name(TOPIC), by_name(MISSING), by_name("a/b")];
    // A topic's own code, and that of its partition.
    let mut expected = vec![OK, OK, UNKNOWN, ErrorCode::InvalidTopicException];
    if version >= METADATA_IDS_FROM {
        let by_id = |topic_id| MetadataRequestTopic { topic_id, name: None };
        topics.extend([by_id(world.id), by_id(MISSING_ID)]);
        expected.extend([OK, OK, ErrorCode::UnknownTopicId]);
    }
    if version >= 13 {
        expected.push(OK);
    }
    let request = MetadataRequest {
        topics: Some(topics),
        include_cluster_authorized_operations: true,
        include_topic_authorized_operations: true,
        ..Default::default()
    };
    let mut cases = vec![(request, expected)];
    if (10..METADATA_IDS_FROM).contains(&version) {
        let by_id = MetadataRequestTopic { topic_id: MISSING_ID, name: None };
        let topics = Some(vec![by_name(TOPIC), by_id]);
        let request = MetadataRequest { topics, ..Default::default() };
        cases.push((request, vec![ErrorCode::InvalidRequest; 2]));
    }
    cases
}

pub(crate) fn describe_topic_partitions(
    _: &mut World,
    _: i16,
) -> Cases<DescribeTopicPartitionsRequest<'static>> {
    let topics = [TOPIC, MISSING].map(|name| TopicRequest { name: name.into() });
    let all = DescribeTopicPartitionsRequest { topics: topics.to_vec(), ..Default::default() };
    let cursor = Some(Cursor { topic_name: TOPIC.into(), partition_index: 0 });
    let rest = DescribeTopicPartitionsRequest { cursor, ..all.clone() };
    // By name, so that the one that is missing comes first.
    vec![(all, vec![UNKNOWN, OK, OK]), (rest, vec![OK, OK])]
}

pub(crate) fn describe_log_dirs(
    _: &mut World,
    version: i16,
) -> Cases<DescribeLogDirsRequest<'static>> {
    let topics = [(TOPIC, vec![0, NO_PARTITION]), (MISSING, vec![0])]
        .map(|(topic, partitions)| DescribableLogDirTopic { topic: topic.into(), partitions });
    let some = DescribeLogDirsRequest { topics: Some(topics.to_vec()) };
    // That of the directory, after that of the whole.
    let expected = if version >= 3 { vec![OK, OK] } else { vec![OK] };
    vec![(some, expected.clone()), (DescribeLogDirsRequest { topics: None }, expected)]
}
