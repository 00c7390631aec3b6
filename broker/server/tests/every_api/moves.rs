//! What an operator asks of the controller: leaders elected, replicas moved.

use broker_protocol::error_code::ErrorCode;
use broker_protocol::message::alter_partition_reassignments::{
    AlterPartitionReassignmentsRequest, ReassignablePartition, ReassignableTopic,
};
use broker_protocol::message::alter_replica_log_dirs::{
    AlterReplicaLogDir, AlterReplicaLogDirTopic, AlterReplicaLogDirsRequest,
};
use broker_protocol::message::describe_log_dirs::{
    DescribeLogDirsRequest, DescribeLogDirsResponse,
};
use broker_protocol::message::elect_leaders::{ElectLeadersRequest, TopicPartitions};
use broker_protocol::message::list_partition_reassignments::{
    ListPartitionReassignmentsRequest, ListPartitionReassignmentsTopics,
};

use super::{Cases, MISSING, OK, TOPIC, UNKNOWN, World};

pub(crate) fn elect_leaders(_: &mut World, version: i16) -> Cases<ElectLeadersRequest<'static>> {
    let topics =
        [MISSING, TOPIC].map(|topic| TopicPartitions { topic: topic.into(), partitions: vec![0] });
    let some =
        ElectLeadersRequest { topic_partitions: Some(topics.to_vec()), ..Default::default() };
    let all = ElectLeadersRequest::default();
    // Version 0 has no code for the whole.
    let whole = if version >= 1 { vec![OK] } else { vec![] };
    let each = [UNKNOWN, ErrorCode::ElectionNotNeeded];
    let mut cases = vec![(some, [&whole[..], &each].concat()), (all.clone(), whole)];
    if version >= 1 {
        let other = ElectLeadersRequest { election_type: 2, ..all };
        cases.push((other, vec![ErrorCode::InvalidRequest]));
    }
    cases
}

pub(crate) fn alter_partition_reassignments(
    _: &mut World,
    version: i16,
) -> Cases<AlterPartitionReassignmentsRequest<'static>> {
    let to = |name: &'static str, replicas: Option<Vec<i32>>| {
        let partitions = vec![ReassignablePartition { partition_index: 0, replicas }];
        let topic = ReassignableTopic { name: name.into(), partitions };
        AlterPartitionReassignmentsRequest { topics: vec![topic], ..Default::default() }
    };
    let mut cases = vec![
        (to(TOPIC, Some(vec![0])), vec![OK, OK]),
        (to(TOPIC, Some(vec![0, 99])), vec![OK, ErrorCode::InvalidReplicaAssignment]),
        (to(TOPIC, None), vec![OK, ErrorCode::NoReassignmentInProgress]),
        (to(MISSING, Some(vec![0])), vec![OK, UNKNOWN]),
    ];
    if version >= 1 {
        let kept = AlterPartitionReassignmentsRequest {
            allow_replication_factor_change: false,
            ..to(TOPIC, Some(vec![0, 99]))
        };
        cases.push((kept, vec![OK, ErrorCode::InvalidReplicationFactor]));
    }
    cases
}

/// Replicas are sent to where they are, and to where nothing is.
pub(crate) fn alter_replica_log_dirs(
    world: &mut World,
    _: i16,
) -> Cases<AlterReplicaLogDirsRequest<'static>> {
    let answer = world.client.call(&DescribeLogDirsRequest::default(), 1);
    let described: DescribeLogDirsResponse<'_> = answer.read(1);
    let here = described.results[0].log_dir.to_string();
    let to = |path: &str, topic: &'static str| {
        let topics = vec![AlterReplicaLogDirTopic { name: topic.into(), partitions: vec![0] }];
        let dirs = vec![AlterReplicaLogDir { path: path.to_owned().into(), topics }];
        AlterReplicaLogDirsRequest { dirs }
    };
    vec![
        (to(&here, TOPIC), vec![OK]),
        (to("/nowhere", TOPIC), vec![ErrorCode::LogDirNotFound]),
        (to(&here, MISSING), vec![UNKNOWN]),
    ]
}

pub(crate) fn list_partition_reassignments(
    _: &mut World,
    _: i16,
) -> Cases<ListPartitionReassignmentsRequest<'static>> {
    let topics = [MISSING, TOPIC].map(|name| ListPartitionReassignmentsTopics {
        name: name.into(),
        partition_indexes: vec![0],
    });
    let some =
        ListPartitionReassignmentsRequest { topics: Some(topics.to_vec()), ..Default::default() };
    vec![(some, vec![OK]), (ListPartitionReassignmentsRequest::default(), vec![OK])]
}
