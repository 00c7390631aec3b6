//! What to ask about records: written, read, found and deleted.

use broker_protocol::error_code::ErrorCode;
use broker_protocol::message::delete_records::{
    DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsTopic,
};
use broker_protocol::message::describe_producers::{DescribeProducersRequest, TopicRequest};
use broker_protocol::message::fetch::{FetchPartition, FetchRequest, FetchTopic, ForgottenTopic};
use broker_protocol::message::init_producer_id::InitProducerIdRequest;
use broker_protocol::message::list_offsets::{
    ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic,
};
use broker_protocol::message::offset_for_leader_epoch::{
    OffsetForLeaderEpochRequest, OffsetForLeaderPartition, OffsetForLeaderTopic,
};
use broker_protocol::message::produce::{PartitionProduceData, ProduceRequest, TopicProduceData};
use broker_protocol::primitive::Records;
use broker_protocol::quantity::Offset;
use broker_protocol::record::builder::BatchBuilder;
use broker_protocol::record::compression::Compression;
use broker_protocol::record::legacy::{MessageFields, write_message};
use broker_server::clock::{Clock, SystemClock};

use super::{Cases, MISSING, MISSING_ID, NO_PARTITION, OK, TOPIC, UNKNOWN, World, missing};

/// From this version on Produce and Fetch know topics by id.
const IDS_FROM: i16 = 13;
/// From this version on Fetch has sessions, and a code of its own.
const SESSIONS_FROM: i16 = 7;

/// Each topic with the partitions to ask for: one exists.
const ASKED: [(&str, &[i32]); 2] = [(TOPIC, &[0, NO_PARTITION]), (MISSING, &[0])];

pub(crate) fn init_producer_id(
    _: &mut World,
    version: i16,
) -> Cases<InitProducerIdRequest<'static>> {
    let new = InitProducerIdRequest { transaction_timeout_ms: 1, ..Default::default() };
    let transactional =
        InitProducerIdRequest { transactional_id: Some("x".into()), ..Default::default() };
    // Before version 3 no id is said, so that it is a new one.
    let id_without_epoch = InitProducerIdRequest { producer_id: 5, ..Default::default() };
    let no_epoch = if version >= 3 { ErrorCode::InvalidRequest } else { OK };
    vec![
        (new, vec![OK]),
        (transactional, vec![ErrorCode::TransactionalIdAuthorizationFailed]),
        (id_without_epoch, vec![no_epoch]),
    ]
}

/// One record in the format of the time.
fn records(version: i16) -> Vec<u8> {
    let (timestamp, value) = (SystemClock.wall(), Some(&b"value"[..]));
    let magic = match version {
        0 | 1 => 0,
        2 => 1,
        _ => {
            let mut builder = BatchBuilder::new(Offset(0), Compression::None);
            builder.push(timestamp, None, value);
            return builder.finish().unwrap();
        }
    };
    let offset = Offset(0);
    let fields = MessageFields { offset, timestamp, log_append_time: false, key: None, value };
    let mut bytes = Vec::new();
    write_message(&mut bytes, magic, &fields);
    bytes
}

pub(crate) fn produce(world: &mut World, version: i16) -> Cases<ProduceRequest<'static>> {
    let partition = |index| PartitionProduceData {
        index,
        records: Some(Records::Bytes(records(version).into())),
    };
    let topic = |(name, partitions): (&'static str, &[i32]), topic_id| TopicProduceData {
        name: name.into(),
        topic_id,
        partition_data: partitions.iter().map(|index| partition(*index)).collect(),
    };
    let topic_data = vec![topic(ASKED[0], world.id), topic(ASKED[1], MISSING_ID)];
    let request = |acks| ProduceRequest {
        acks,
        timeout_ms: 20_000,
        topic_data: topic_data.clone(),
        ..Default::default()
    };
    let unknown = missing(version, IDS_FROM);
    let expected = vec![OK, UNKNOWN, unknown];
    let refused = vec![ErrorCode::InvalidRequiredAcks, ErrorCode::InvalidRequiredAcks, unknown];
    vec![(request(1), expected.clone()), (request(-1), expected), (request(2), refused)]
}

pub(crate) fn fetch(world: &mut World, version: i16) -> Cases<FetchRequest<'static>> {
    let partition = |partition, fetch_offset| FetchPartition {
        partition,
        fetch_offset,
        partition_max_bytes: 1 << 20,
        ..Default::default()
    };
    let topic = |name: &'static str, topic_id, partitions| FetchTopic {
        topic: name.into(),
        topic_id,
        partitions,
    };
    let topics = vec![
        topic(TOPIC, world.id, vec![partition(0, 0), partition(NO_PARTITION, 0)]),
        topic(MISSING, MISSING_ID, vec![partition(0, 0)]),
    ];
    let all = FetchRequest { topics, session_epoch: -1, ..Default::default() };
    let beyond = vec![topic(TOPIC, world.id, vec![partition(0, 1_000_000)])];
    let beyond = FetchRequest { topics: beyond, session_epoch: 0, ..Default::default() };
    let mut cases = vec![
        (all, vec![OK, UNKNOWN, missing(version, IDS_FROM)]),
        (beyond, vec![ErrorCode::OffsetOutOfRange]),
    ];
    if version >= SESSIONS_FROM {
        for (_, expected) in &mut cases {
            expected.insert(0, OK);
        }
        let forgotten =
            ForgottenTopic { topic: TOPIC.into(), topic_id: world.id, partitions: vec![0] };
        let no_session = FetchRequest {
            session_id: 1,
            session_epoch: 1,
            forgotten_topics_data: vec![forgotten],
            ..Default::default()
        };
        cases.push((no_session, vec![ErrorCode::FetchSessionIdNotFound]));
    }
    cases
}

pub(crate) fn list_offsets(_: &mut World, _: i16) -> Cases<ListOffsetsRequest<'static>> {
    let asked = |timestamp| {
        let partition = |index: &i32| ListOffsetsPartition {
            partition_index: *index,
            timestamp,
            ..Default::default()
        };
        let topics = ASKED.map(|(name, partitions)| ListOffsetsTopic {
            name: name.into(),
            partitions: partitions.iter().map(partition).collect(),
        });
        ListOffsetsRequest { replica_id: -1, topics: topics.to_vec(), ..Default::default() }
    };
    let unsupported = vec![ErrorCode::UnsupportedVersion; 3];
    // The end, the start, a time, and a place that no version knows.
    let found = [-1, -2, 1].map(|timestamp| (asked(timestamp), vec![OK, UNKNOWN, UNKNOWN]));
    found.into_iter().chain([(asked(-7), unsupported)]).collect()
}

pub(crate) fn offset_for_leader_epoch(
    _: &mut World,
    version: i16,
) -> Cases<OffsetForLeaderEpochRequest<'static>> {
    let asked = |current_leader_epoch| {
        let partition = |index: &i32| OffsetForLeaderPartition {
            partition: *index,
            current_leader_epoch,
            leader_epoch: 0,
        };
        let topics = ASKED.map(|(name, partitions)| OffsetForLeaderTopic {
            topic: name.into(),
            partitions: partitions.iter().map(partition).collect(),
        });
        OffsetForLeaderEpochRequest { replica_id: -1, topics: topics.to_vec() }
    };
    let ahead = if version >= 2 { ErrorCode::UnknownLeaderEpoch } else { OK };
    vec![(asked(-1), vec![OK, UNKNOWN, UNKNOWN]), (asked(1_000), vec![ahead, UNKNOWN, UNKNOWN])]
}

pub(crate) fn describe_producers(
    _: &mut World,
    _: i16,
) -> Cases<DescribeProducersRequest<'static>> {
    let topics = ASKED.map(|(name, partitions)| TopicRequest {
        name: name.into(),
        partition_indexes: partitions.to_vec(),
    });
    vec![(DescribeProducersRequest { topics: topics.to_vec() }, vec![OK, UNKNOWN, UNKNOWN])]
}

pub(crate) fn delete_records(_: &mut World, _: i16) -> Cases<DeleteRecordsRequest<'static>> {
    let below = |offset| {
        let partition = |index: &i32| DeleteRecordsPartition { partition_index: *index, offset };
        let topics = ASKED.map(|(name, partitions)| DeleteRecordsTopic {
            name: name.into(),
            partitions: partitions.iter().map(partition).collect(),
        });
        DeleteRecordsRequest { topics: topics.to_vec(), timeout_ms: 20_000 }
    };
    let beyond = vec![ErrorCode::OffsetOutOfRange, UNKNOWN, UNKNOWN];
    vec![(below(1), vec![OK, UNKNOWN, UNKNOWN]), (below(1_000_000), beyond)]
}
