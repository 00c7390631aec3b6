//! Requests whose counts lie or whose bytes are damaged: each is answered or closes its connection,
//! and no other connection notices.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};

use broker_protocol::api_key::ApiKey;
use broker_protocol::error_code::ErrorCode;
use broker_protocol::message::Message;
use broker_protocol::message::alter_configs::{
    AlterConfigsRequest, AlterConfigsResource, AlterConfigsResponse, AlterableConfig,
};
use broker_protocol::message::api_versions::{ApiVersionsRequest, ApiVersionsResponse};
use broker_protocol::message::create_topics::{
    CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig, CreateTopicsRequest,
    CreateTopicsResponse,
};
use broker_protocol::message::join_group::{JoinGroupRequest, JoinGroupRequestProtocol};
use broker_protocol::message::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
    OffsetCommitResponse,
};
use broker_protocol::message::sync_group::{SyncGroupRequest, SyncGroupRequestAssignment};

use super::client::{Client, beside_broker, encode, head_size};

/// Panics of any thread of this process: tokio keeps them from ending it.
static PANICS: AtomicUsize = AtomicUsize::new(0);

fn count_panics() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        PANICS.fetch_add(1, Ordering::Relaxed);
        before(info);
    }));
}

fn is_served(client: &mut Client) {
    let answer = client.call(&ApiVersionsRequest::default(), 0);
    assert_eq!(answer.read::<ApiVersionsResponse<'_>>(0).error_code, 0);
}

fn join(group_id: String) -> JoinGroupRequest<'static> {
    let metadata = (&b"\0\0\0\0\0\x01\0\x01t"[..]).into();
    JoinGroupRequest {
        group_id: group_id.into(),
        session_timeout_ms: 6_000,
        rebalance_timeout_ms: 50,
        protocol_type: "consumer".into(),
        protocols: vec![JoinGroupRequestProtocol { name: "range".into(), metadata }],
        ..Default::default()
    }
}

fn sync() -> SyncGroupRequest<'static> {
    let assignment = (&b"assignment"[..]).into();
    SyncGroupRequest {
        group_id: "g".into(),
        member_id: "m".into(),
        protocol_type: Some("consumer".into()),
        protocol_name: Some("range".into()),
        assignments: vec![SyncGroupRequestAssignment { member_id: "m".into(), assignment }],
        ..Default::default()
    }
}

fn commit() -> OffsetCommitRequest<'static> {
    let partition =
        OffsetCommitRequestPartition { committed_metadata: Some("m".into()), ..Default::default() };
    let topic = OffsetCommitRequestTopic {
        name: "t".into(),
        partitions: vec![partition],
        ..Default::default()
    };
    OffsetCommitRequest { group_id: "g".into(), topics: vec![topic], ..Default::default() }
}

fn create() -> CreateTopicsRequest<'static> {
    let value = Some("1000".into());
    let topic = CreatableTopic {
        name: "n".into(),
        num_partitions: -1,
        replication_factor: -1,
        assignments: vec![CreatableReplicaAssignment { partition_index: 0, broker_ids: vec![0] }],
        configs: vec![CreatableTopicConfig { name: "retention.ms".into(), value }],
    };
    CreateTopicsRequest { topics: vec![topic], timeout_ms: 1, validate_only: true }
}

fn alter() -> AlterConfigsRequest<'static> {
    let value = Some("1000".into());
    let resource = AlterConfigsResource {
        resource_type: 2,
        resource_name: "t".into(),
        configs: vec![AlterableConfig { name: "retention.ms".into(), value }],
    };
    AlterConfigsRequest { resources: vec![resource], validate_only: true }
}

/// What each byte is replaced by.
const DAMAGES: [u8; 5] = [0x00, 0x01, 0x7f, 0x80, 0xff];

/// Frames in which each byte of the body in turn is damaged in several ways. `request` is given a
/// number of its own for each.
fn damage<'a, M: Message<'a>>(
    versions: impl Iterator<Item = i16>,
    request: impl Fn(usize) -> M,
) -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    for version in versions {
        let body = head_size::<M>(version)..encode(&request(0), version).len();
        for (at, value) in body.flat_map(|at| DAMAGES.map(|value| (at, value))) {
            let mut frame = encode(&request(frames.len()), version);
            frame[at] = value;
            frames.push(frame);
        }
    }
    frames
}

/// Every byte of a request of each API and version holds what it should not. A join must not wait for
/// the members of another, so each has a group of its own, whichever byte of its name is damaged.
#[tokio::test]
async fn a_request_with_a_damaged_byte_is_answered_or_closed() {
    count_panics();
    let lonely = |number| join(format!("{number:05}-{number:05}"));
    let mut frames = damage(ApiKey::JoinGroup.versions(), lonely);
    frames.extend(damage(ApiKey::SyncGroup.versions(), |_| sync()));
    frames.extend(damage(ApiKey::OffsetCommit.versions(), |_| commit()));
    // Version 0 cannot only look.
    frames.extend(damage(1..=*ApiKey::CreateTopics.versions().end(), |_| create()));
    frames.extend(damage(ApiKey::AlterConfigs.versions(), |_| alter()));
    let dir = tempfile::tempdir().unwrap();
    let (answered, closed) = beside_broker(dir.path(), &[], move |address| {
        let mut bystander = Client::connect(address);
        bystander.create_topics(&["t"]);
        let (mut answered, mut closed) = (0, 0);
        let mut client = Client::connect(address);
        for (number, frame) in frames.iter().enumerate() {
            if client.exchange(frame).is_some() {
                answered += 1;
            } else {
                closed += 1;
                client = Client::connect(address);
            }
            if number % 100 == 0 {
                is_served(&mut bystander);
            }
        }
        is_served(&mut bystander);
        (answered, closed)
    })
    .await;
    assert_eq!(PANICS.load(Ordering::Relaxed), 0, "{answered} answered, {closed} closed");
    assert!(answered > 1_000 && closed > 1_000, "{answered} answered, {closed} closed");
}

/// The body up to its last array, then `count` and nothing.
fn with_count<'a, M: Message<'a>>(request: &M, version: i16, cut: usize, count: i32) -> Vec<u8> {
    let mut frame = encode(request, version);
    frame.truncate(frame.len() - cut);
    if M::API_KEY.is_flexible(version) {
        let mut left = (count as u32).wrapping_add(1);
        while left >= 0x80 {
            frame.push(left as u8 | 0x80);
            left >>= 7;
        }
        frame.push(left as u8);
    } else {
        frame.extend(count.to_be_bytes());
    }
    let size = (frame.len() - 4) as u32;
    frame[..4].copy_from_slice(&size.to_be_bytes());
    frame
}

/// The requests without elements, as (name, plain and flexible frame of the count).
fn counted(count: i32) -> Vec<(&'static str, Vec<u8>)> {
    let mut frames = Vec::new();
    let mut both = |name, plain, flexible| frames.extend([(name, plain), (name, flexible)]);
    // What follows the count is cut with it: a count of 4 bytes, or 1 with the tags after it.
    let none = JoinGroupRequest { protocols: Vec::new(), ..join("g".to_owned()) };
    both("JoinGroup", with_count(&none, 5, 4, count), with_count(&none, 7, 2, count));
    let none = SyncGroupRequest { assignments: Vec::new(), ..sync() };
    both("SyncGroup", with_count(&none, 3, 4, count), with_count(&none, 5, 2, count));
    let none = OffsetCommitRequest { topics: Vec::new(), ..commit() };
    both("OffsetCommit", with_count(&none, 7, 4, count), with_count(&none, 8, 2, count));
    let none = CreateTopicsRequest { topics: Vec::new(), ..create() };
    both("CreateTopics", with_count(&none, 4, 9, count), with_count(&none, 5, 7, count));
    let none = AlterConfigsRequest { resources: Vec::new(), ..alter() };
    both("AlterConfigs", with_count(&none, 1, 5, count), with_count(&none, 2, 3, count));
    frames
}

#[tokio::test]
async fn a_count_that_is_negative_or_too_large_closes_its_connection_alone() {
    let dir = tempfile::tempdir().unwrap();
    beside_broker(dir.path(), &[], |address: SocketAddr| {
        let mut bystander = Client::connect(address);
        for count in [-1, -2, i32::MIN, i32::MAX, 1 << 24, 1] {
            for (name, frame) in counted(count) {
                let answer = Client::connect(address).exchange(&frame);
                assert_eq!(answer, None, "{name} with {count} elements: {frame:?}");
                is_served(&mut bystander);
            }
        }
    })
    .await;
}

/// Rows: what is wrong with the topic, and its code.
fn wrong_topics() -> Vec<(CreatableTopic<'static>, ErrorCode)> {
    let plain = |num_partitions, replication_factor| CreatableTopic {
        name: "n".into(),
        num_partitions,
        replication_factor,
        ..Default::default()
    };
    let assigned = |partition_index, broker_ids| {
        let assignments = vec![CreatableReplicaAssignment { partition_index, broker_ids }];
        CreatableTopic { assignments, ..plain(-1, -1) }
    };
    let configured = |value| {
        let configs = vec![CreatableTopicConfig { name: "retention.ms".into(), value }];
        CreatableTopic { configs, ..plain(1, 1) }
    };
    vec![
        (plain(0, 1), ErrorCode::InvalidPartitions),
        (plain(-5, 1), ErrorCode::InvalidPartitions),
        (plain(i32::MAX, 1), ErrorCode::InvalidPartitions),
        (plain(1, 0), ErrorCode::InvalidReplicationFactor),
        (plain(1, i16::MIN), ErrorCode::InvalidReplicationFactor),
        (plain(1, 2), ErrorCode::InvalidReplicationFactor),
        (assigned(1, vec![0]), ErrorCode::InvalidReplicaAssignment),
        (assigned(-1, vec![0]), ErrorCode::InvalidReplicaAssignment),
        (assigned(0, vec![]), ErrorCode::InvalidReplicaAssignment),
        (assigned(0, vec![0, 0]), ErrorCode::InvalidReplicaAssignment),
        (CreatableTopic { num_partitions: 1, ..assigned(0, vec![0]) }, ErrorCode::InvalidRequest),
        (configured(None), ErrorCode::InvalidConfig),
        (configured(Some("x".into())), ErrorCode::InvalidConfig),
    ]
}

#[tokio::test]
async fn whole_requests_that_make_no_sense_have_their_codes() {
    let dir = tempfile::tempdir().unwrap();
    beside_broker(dir.path(), &[], |address| {
        let client = &mut Client::connect(address);
        client.create_topics(&["t"]);
        for (topic, expected) in wrong_topics() {
            for validate_only in [true, false] {
                let topics = vec![topic.clone()];
                let request = CreateTopicsRequest { topics, validate_only, ..create() };
                let answer = client.call(&request, 5);
                let response: CreateTopicsResponse<'_> = answer.read(5);
                assert_eq!(response.topics[0].error_code, expected.code(), "{topic:?}");
            }
        }
        let twice =
            CreateTopicsRequest { topics: [create().topics, create().topics].concat(), ..create() };
        let answer = client.call(&twice, 5);
        let response: CreateTopicsResponse<'_> = answer.read(5);
        let codes: Vec<_> = response.topics.iter().map(|topic| topic.error_code).collect();
        assert_eq!(codes, [ErrorCode::InvalidRequest.code()]);

        let mut partitions = commit();
        let template = partitions.topics[0].partitions[0].clone();
        let numbered =
            |partition_index| OffsetCommitRequestPartition { partition_index, ..template.clone() };
        partitions.topics[0].partitions = [0, -1, 1, i32::MAX].map(numbered).to_vec();
        let nothing = OffsetCommitRequestTopic { name: "t".into(), ..Default::default() };
        partitions.topics.push(nothing);
        client.await_coordinator();
        let answer = client.call(&partitions, 7);
        let response: OffsetCommitResponse<'_> = answer.read(7);
        let codes: Vec<_> = response.topics[0].partitions.iter().map(|p| p.error_code).collect();
        assert_eq!((codes, response.topics[1].partitions.len()), (vec![0, 3, 3, 3], 0));
    })
    .await;
}

/// The codes of an AlterConfigs.
fn altered(client: &mut Client, resources: Vec<AlterConfigsResource<'_>>) -> Vec<i16> {
    let request = AlterConfigsRequest { resources, validate_only: false };
    let answer = client.call(&request, 1);
    let response: AlterConfigsResponse<'_> = answer.read(1);
    response.responses.iter().map(|response| response.error_code).collect()
}

#[tokio::test]
async fn settings_that_make_no_sense_are_refused_one_by_one() {
    let dir = tempfile::tempdir().unwrap();
    beside_broker(dir.path(), &[], |address| {
        let client = &mut Client::connect(address);
        client.create_topics(&["t", "u"]);
        let resource =
            |resource_type, name: &'static str, key: &'static str, value: &'static str| {
                let config = AlterableConfig { name: key.into(), value: Some(value.into()) };
                AlterConfigsResource {
                    resource_type,
                    resource_name: name.into(),
                    configs: vec![config],
                }
            };
        let key = "retention.ms";
        let mut no_value = resource(2, "t", key, "");
        no_value.configs[0].value = None;
        let mut same_key = resource(2, "t", key, "1");
        same_key.configs.extend(same_key.configs.clone());
        let rows = [
            (no_value, ErrorCode::InvalidRequest),
            (same_key, ErrorCode::InvalidRequest),
            (resource(99, "t", key, "1"), ErrorCode::InvalidRequest),
            (resource(-1, "t", key, "1"), ErrorCode::InvalidRequest),
            (resource(4, "x", "log.retention.ms", "1"), ErrorCode::InvalidRequest),
            (resource(2, "nowhere", key, "1"), ErrorCode::UnknownTopicOrPartition),
            (resource(2, "t", "no.such.key", "1"), ErrorCode::InvalidConfig),
            (resource(2, "t", key, "one"), ErrorCode::InvalidConfig),
        ];
        for (wrong, expected) in rows {
            let codes = altered(client, vec![wrong.clone(), resource(2, "u", key, "1000")]);
            assert_eq!(codes, [expected.code(), 0], "{wrong:?}");
        }
        // Which of the two would hold?
        let twice = vec![
            resource(2, "t", key, "1"),
            resource(2, "u", key, "2"),
            resource(2, "t", key, "3"),
        ];
        let invalid = ErrorCode::InvalidRequest.code();
        assert_eq!(altered(client, twice), [invalid, 0, invalid]);
        assert_eq!(altered(client, Vec::new()), [0; 0]);
    })
    .await;
}
