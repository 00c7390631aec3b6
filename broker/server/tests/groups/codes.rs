//! The code that each handler answers with, where it is not the coordinator's own.

use std::fs;

use broker_protocol::error_code::ErrorCode;
use broker_protocol::message::delete_groups::{DeleteGroupsRequest, DeleteGroupsResponse};
use broker_protocol::message::describe_groups::{DescribeGroupsRequest, DescribeGroupsResponse};
use broker_protocol::message::heartbeat::{HeartbeatRequest, HeartbeatResponse};
use broker_protocol::message::join_group::{
    JoinGroupRequest, JoinGroupRequestProtocol, JoinGroupResponse,
};
use broker_protocol::message::leave_group::{LeaveGroupRequest, LeaveGroupResponse};
use broker_protocol::message::list_groups::{ListGroupsRequest, ListGroupsResponse};
use broker_protocol::message::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
    OffsetCommitResponse,
};
use broker_protocol::message::offset_delete::{
    OffsetDeleteRequest, OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
    OffsetDeleteResponse,
};
use broker_protocol::message::offset_fetch::{
    OffsetFetchRequest, OffsetFetchRequestTopic, OffsetFetchResponse,
};
use broker_protocol::message::sync_group::{
    SyncGroupRequest, SyncGroupRequestAssignment, SyncGroupResponse,
};

use super::client::{Client, beside_broker};

/// Versions without topic ids, which all of these requests have.
const JOIN: i16 = 5;
const SYNC: i16 = 3;
const HEARTBEAT: i16 = 3;
const COMMIT: i16 = 7;
const FETCH: i16 = 5;

/// A consumer of the topic `t`.
fn join<'a>(group_id: &'a str, member_id: &'a str) -> JoinGroupRequest<'a> {
    let metadata = (&b"\0\0\0\0\0\x01\0\x01t\xff\xff\xff\xff"[..]).into();
    JoinGroupRequest {
        group_id: group_id.into(),
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: 10_000,
        member_id: member_id.into(),
        protocol_type: "consumer".into(),
        protocols: vec![JoinGroupRequestProtocol { name: "range".into(), metadata }],
        ..Default::default()
    }
}

/// Joins; returns the code, the member id and the generation.
fn joined(client: &mut Client, request: &JoinGroupRequest<'_>) -> (ErrorCode, String, i32) {
    let answer = client.call(request, JOIN);
    let response: JoinGroupResponse<'_> = answer.read(JOIN);
    let code = code(response.error_code);
    (code, response.member_id.into_owned(), response.generation_id)
}

fn code(number: i16) -> ErrorCode {
    ErrorCode::from_code(number).unwrap()
}

fn sync(client: &mut Client, group_id: &str, generation_id: i32, member_id: &str) -> ErrorCode {
    let assignment =
        SyncGroupRequestAssignment { member_id: member_id.into(), assignment: (&b"a"[..]).into() };
    let request = SyncGroupRequest {
        group_id: group_id.into(),
        generation_id,
        member_id: member_id.into(),
        assignments: vec![assignment],
        ..Default::default()
    };
    let answer = client.call(&request, SYNC);
    code(answer.read::<SyncGroupResponse<'_>>(SYNC).error_code)
}

fn heartbeat(client: &mut Client, request: &HeartbeatRequest<'_>) -> ErrorCode {
    let answer = client.call(request, HEARTBEAT);
    code(answer.read::<HeartbeatResponse>(HEARTBEAT).error_code)
}

/// Commits offset 5 of partition 0 of each topic with its text; returns the codes.
fn commit(
    client: &mut Client,
    (group_id, generation_id, member_id): (&str, i32, &str),
    topics: &[(&str, &str)],
) -> Vec<ErrorCode> {
    let topics = topics.iter().map(|(topic, text)| OffsetCommitRequestTopic {
        name: (*topic).into(),
        partitions: vec![OffsetCommitRequestPartition {
            committed_offset: 5,
            committed_metadata: Some((*text).into()),
            ..Default::default()
        }],
        ..Default::default()
    });
    let request = OffsetCommitRequest {
        group_id: group_id.into(),
        generation_id_or_member_epoch: generation_id,
        member_id: member_id.into(),
        topics: topics.collect(),
        ..Default::default()
    };
    let answer = client.call(&request, COMMIT);
    let response: OffsetCommitResponse<'_> = answer.read(COMMIT);
    let partitions = response.topics.iter().flat_map(|topic| &topic.partitions);
    partitions.map(|partition| code(partition.error_code)).collect()
}

/// The whole answer's code, and the offset of `t`.
fn fetch(client: &mut Client, group_id: &str) -> (ErrorCode, Option<i64>) {
    let topic = OffsetFetchRequestTopic { name: "t".into(), partition_indexes: vec![0] };
    let request = OffsetFetchRequest {
        group_id: group_id.into(),
        topics: Some(vec![topic]),
        ..Default::default()
    };
    let answer = client.call(&request, FETCH);
    let response: OffsetFetchResponse<'_> = answer.read(FETCH);
    let partition = response.topics.first().and_then(|topic| topic.partitions.first());
    (code(response.error_code), partition.map(|partition| partition.committed_offset))
}

fn delete_offsets(
    client: &mut Client,
    group_id: &str,
    topics: &[&str],
) -> (ErrorCode, Vec<ErrorCode>) {
    let topics = topics.iter().map(|topic| OffsetDeleteRequestTopic {
        name: (*topic).into(),
        partitions: vec![OffsetDeleteRequestPartition { partition_index: 0 }],
    });
    let request = OffsetDeleteRequest { group_id: group_id.into(), topics: topics.collect() };
    let answer = client.call(&request, 0);
    let response: OffsetDeleteResponse<'_> = answer.read(0);
    let partitions = response.topics.iter().flat_map(|topic| &topic.partitions);
    let codes = partitions.map(|partition| code(partition.error_code)).collect();
    (code(response.error_code), codes)
}

fn leave(client: &mut Client, group_id: &str, member_id: &str) -> ErrorCode {
    let request = LeaveGroupRequest {
        group_id: group_id.into(),
        member_id: member_id.into(),
        ..Default::default()
    };
    let answer = client.call(&request, 1);
    code(answer.read::<LeaveGroupResponse<'_>>(1).error_code)
}

#[tokio::test]
async fn a_member_comes_works_and_goes() {
    let dir = tempfile::tempdir().unwrap();
    beside_broker(dir.path(), &["group.max.size=1"], |address| {
        let client = &mut Client::connect(address);
        client.create_topics(&["t", "former"]);
        client.await_coordinator();
        let impatient = JoinGroupRequest { session_timeout_ms: 1, ..join("g", "") };
        assert_eq!(joined(client, &impatient).0, ErrorCode::InvalidSessionTimeout);
        let (given, id, _) = joined(client, &join("g", ""));
        assert_eq!(given, ErrorCode::MemberIdRequired);
        assert!(id.starts_with("groups-"), "{id}");
        let (code, again, generation) = joined(client, &join("g", &id));
        assert_eq!((code, &again, generation), (ErrorCode::None, &id, 1));

        let early = commit(client, ("g", 1, &id), &[("t", "")]);
        assert_eq!(early, [ErrorCode::RebalanceInProgress]);
        assert_eq!(sync(client, "g", 1, &id), ErrorCode::None);
        let (full, _, _) = joined(client, &join("g", ""));
        assert_eq!(full, ErrorCode::GroupMaxSizeReached);

        let long = "m".repeat(4097);
        let topics = [("t", &long[1..]), ("former", &long), ("nowhere", "")];
        let codes = commit(client, ("g", 1, &id), &topics);
        let refused = [ErrorCode::OffsetMetadataTooLarge, ErrorCode::UnknownTopicOrPartition];
        assert_eq!(codes, [ErrorCode::None, refused[0], refused[1]]);
        for (generation, member, expected) in [
            (0, &*id, ErrorCode::IllegalGeneration),
            (1, "nobody", ErrorCode::UnknownMemberId),
            (1, &*id, ErrorCode::None),
        ] {
            let codes = commit(client, ("g", generation, member), &[("former", "")]);
            assert_eq!(codes, [expected], "{generation} {member}");
        }

        let (_, codes) = delete_offsets(client, "g", &["t", "former", "nowhere"]);
        let unknown = ErrorCode::UnknownTopicOrPartition;
        assert_eq!(codes, [ErrorCode::GroupSubscribedToTopic, ErrorCode::None, unknown]);
        assert_eq!(fetch(client, "g"), (ErrorCode::None, Some(5)));
        assert_eq!(leave(client, "g", &id), ErrorCode::None);
        assert_eq!(leave(client, "g", &id), ErrorCode::UnknownMemberId);
        assert_eq!(delete_offsets(client, "g", &["t"]), (ErrorCode::None, vec![ErrorCode::None]));
        assert_eq!(fetch(client, "g"), (ErrorCode::None, Some(-1)));
    })
    .await;
}

#[tokio::test]
async fn the_former_self_of_a_static_member_is_fenced() {
    let dir = tempfile::tempdir().unwrap();
    beside_broker(dir.path(), &[], |address| {
        let client = &mut Client::connect(address);
        client.await_coordinator();
        let named = || JoinGroupRequest { group_instance_id: Some("i".into()), ..join("g", "") };
        let (_, old, generation_id) = joined(client, &named());
        assert_eq!(sync(client, "g", generation_id, &old), ErrorCode::None);
        let (code, new, again) = joined(client, &named());
        assert_eq!((code, again), (ErrorCode::None, generation_id));
        for (member_id, expected) in [(&old, ErrorCode::FencedInstanceId), (&new, ErrorCode::None)]
        {
            let request = HeartbeatRequest {
                group_id: "g".into(),
                generation_id,
                member_id: member_id.as_str().into(),
                group_instance_id: Some("i".into()),
            };
            assert_eq!(heartbeat(client, &request), expected);
        }
    })
    .await;
}

#[tokio::test]
async fn a_group_must_have_a_name() {
    let dir = tempfile::tempdir().unwrap();
    beside_broker(dir.path(), &[], |address| {
        let client = &mut Client::connect(address);
        let invalid = ErrorCode::InvalidGroupId;
        assert_eq!(joined(client, &join("", "")).0, invalid);
        assert_eq!(sync(client, "", 1, "m"), invalid);
        assert_eq!(heartbeat(client, &HeartbeatRequest::default()), invalid);
        assert_eq!(leave(client, "", "m"), invalid);
        assert_eq!(delete_offsets(client, "", &["t"]).0, invalid);
    })
    .await;
}

/// Asks a broker that cannot read its groups: their partition has no leader.
fn assert_no_coordinator(client: &mut Client) {
    let nobody = ErrorCode::NotCoordinator;
    assert_eq!(joined(client, &join("g", "")).0, nobody);
    assert_eq!(fetch(client, "g"), (nobody, None));
    assert_eq!(commit(client, ("g", -1, ""), &[("t", "")]), [nobody]);
    assert_eq!(leave(client, "g", "m"), nobody);
    assert_eq!(delete_offsets(client, "g", &["t"]).0, nobody);
    assert_eq!(sync(client, "g", 1, "m"), nobody);
    let request = HeartbeatRequest { group_id: "g".into(), ..Default::default() };
    assert_eq!(heartbeat(client, &request), nobody);

    // Version 1 has a code for each partition only.
    let topic = OffsetFetchRequestTopic { name: "t".into(), partition_indexes: vec![0] };
    let request = OffsetFetchRequest {
        group_id: "g".into(),
        topics: Some(vec![topic]),
        ..Default::default()
    };
    let answer = client.call(&request, 1);
    let response: OffsetFetchResponse<'_> = answer.read(1);
    assert_eq!(code(response.topics[0].partitions[0].error_code), nobody);

    let answer = client.call(&ListGroupsRequest::default(), 4);
    // It lists the groups that are kept here: none.
    assert_eq!(code(answer.read::<ListGroupsResponse<'_>>(4).error_code), ErrorCode::None);
    let request = DescribeGroupsRequest { groups: vec!["g".into()], ..Default::default() };
    let answer = client.call(&request, 5);
    assert_eq!(code(answer.read::<DescribeGroupsResponse<'_>>(5).groups[0].error_code), nobody);
    let request = DeleteGroupsRequest { groups_names: vec!["g".into()] };
    let answer = client.call(&request, 2);
    assert_eq!(code(answer.read::<DeleteGroupsResponse<'_>>(2).results[0].error_code), nobody);
}

/// The log of the groups cannot be opened, so that they are never read; when it can be again, all
/// is as it was. "No offset" would have had consumers begin anywhere.
#[tokio::test]
async fn a_coordinator_that_cannot_read_its_groups_never_says_that_there_is_nothing() {
    let dir = tempfile::tempdir().unwrap();
    beside_broker(dir.path(), &[], |address| {
        let client = &mut Client::connect(address);
        client.create_topics(&["t"]);
        client.await_coordinator();
        assert_eq!(commit(client, ("g", -1, ""), &[("t", "")]), [ErrorCode::None]);
    })
    .await;
    let file = dir.path().join("__consumer_offsets-0/partition.metadata");
    let sound = fs::read(&file).unwrap();
    fs::write(&file, "damaged").unwrap();
    beside_broker(dir.path(), &[], |address| assert_no_coordinator(&mut Client::connect(address)))
        .await;
    fs::write(&file, sound).unwrap();
    beside_broker(dir.path(), &[], |address| {
        let client = &mut Client::connect(address);
        client.await_coordinator();
        assert_eq!(fetch(client, "g"), (ErrorCode::None, Some(5)));
    })
    .await;
}
