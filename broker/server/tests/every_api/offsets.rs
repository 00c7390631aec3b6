//! What to ask about the offsets of groups.

use broker_protocol::error_code::ErrorCode;
use broker_protocol::message::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
    OffsetCommitResponse,
};
use broker_protocol::message::offset_delete::{
    OffsetDeleteRequest, OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};
use broker_protocol::message::offset_fetch::{
    OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};

use super::{Cases, MISSING, MISSING_ID, NO_PARTITION, OK, TOPIC, UNKNOWN, World, missing};

/// A group without members.
const GROUP: &str = "offsets";

/// From this version on OffsetCommit and OffsetFetch know topics by id.
const IDS_FROM: i16 = 10;

/// The topics with the partitions to commit to: only one exists.
const ASKED: [(&str, &[i32]); 2] = [(TOPIC, &[0, NO_PARTITION]), (MISSING, &[0])];

fn commit(world: &World, group_id: &str) -> OffsetCommitRequest<'static> {
    let partition = |index: &i32| OffsetCommitRequestPartition {
        partition_index: *index,
        committed_offset: 5,
        committed_metadata: Some("metadata".into()),
        ..Default::default()
    };
    let ids = [world.id, MISSING_ID];
    let topics = ASKED.iter().zip(ids).map(|((name, partitions), topic_id)| {
        let partitions = partitions.iter().map(partition).collect();
        OffsetCommitRequestTopic { name: (*name).into(), topic_id, partitions }
    });
    OffsetCommitRequest {
        group_id: group_id.to_owned().into(),
        topics: topics.collect(),
        ..Default::default()
    }
}

/// Makes a group that has an offset and no members.
pub(crate) fn store(world: &mut World, group_id: &str) {
    let answer = world.client.call(&commit(world, group_id), 7);
    let response: OffsetCommitResponse<'_> = answer.read(7);
    assert_eq!(response.topics[0].partitions[0].error_code, 0, "{response:?}");
}

pub(crate) fn offset_commit(
    world: &mut World,
    version: i16,
) -> Cases<OffsetCommitRequest<'static>> {
    let unknown = missing(version, IDS_FROM);
    let member = OffsetCommitRequest {
        generation_id_or_member_epoch: 1,
        member_id: "nobody".into(),
        ..commit(world, "missing")
    };
    // Version 0 cannot say that there are members.
    let no_member = if version >= 1 { ErrorCode::IllegalGeneration } else { OK };
    vec![
        (commit(world, GROUP), vec![OK, UNKNOWN, unknown]),
        (member, vec![no_member, UNKNOWN, unknown]),
    ]
}

pub(crate) fn offset_fetch(world: &mut World, version: i16) -> Cases<OffsetFetchRequest<'static>> {
    let names = [TOPIC, MISSING]
        .map(|name| OffsetFetchRequestTopic { name: name.into(), partition_indexes: vec![0] });
    let topics = [(TOPIC, world.id), (MISSING, MISSING_ID)].map(|(name, topic_id)| {
        OffsetFetchRequestTopics { name: name.into(), topic_id, partition_indexes: vec![0] }
    });
    let group = OffsetFetchRequestGroup {
        group_id: GROUP.into(),
        topics: Some(topics.to_vec()),
        ..Default::default()
    };
    let no_group = OffsetFetchRequestGroup { group_id: "missing".into(), ..group.clone() };
    let request = OffsetFetchRequest {
        group_id: GROUP.into(),
        topics: Some(names.to_vec()),
        groups: vec![group, no_group],
        require_stable: true,
    };
    // A partition without an offset is no error, but where the coordination tree keeps offsets; the
    // code of the whole comes after those of its partitions.
    let expected = match version {
        0 => vec![OK, UNKNOWN],
        1 => vec![OK, OK],
        2..=7 => vec![OK, OK, OK],
        8..IDS_FROM => vec![OK; 6],
        _ => [OK, ErrorCode::UnknownTopicId, OK].repeat(2),
    };
    vec![(request, expected)]
}

pub(crate) fn offset_delete(_: &mut World, _: i16) -> Cases<OffsetDeleteRequest<'static>> {
    let topics = [TOPIC, MISSING].map(|name| OffsetDeleteRequestTopic {
        name: name.into(),
        partitions: vec![OffsetDeleteRequestPartition { partition_index: 0 }],
    });
    let known = OffsetDeleteRequest { group_id: GROUP.into(), topics: topics.to_vec() };
    let no_group = OffsetDeleteRequest { group_id: "missing".into(), ..known.clone() };
    vec![(known, vec![OK, OK, UNKNOWN]), (no_group, vec![ErrorCode::GroupIdNotFound])]
}
