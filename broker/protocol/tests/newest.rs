//! The versions that no oracle knows, byte by byte.
//!
//! Source: Kafka 4.2: from version 10 on, OffsetCommit and OffsetFetch name topics by their ids
//! (KIP-848); version 11 of ListOffsets has the form of version 10 (KIP-1023).

use broker_protocol::message::Message;
use broker_protocol::message::list_offsets::{ListOffsetsRequest, ListOffsetsResponse};
use broker_protocol::message::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
    OffsetCommitResponse, OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use broker_protocol::message::offset_fetch::{
    OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchRequestTopics, OffsetFetchResponse,
    OffsetFetchResponseGroup, OffsetFetchResponsePartitions, OffsetFetchResponseTopics,
};
use broker_protocol::primitive::{Reader, Writer};
use broker_protocol::uuid::Uuid;
use fastrand::Rng;

const TOPIC_ID: Uuid = Uuid::from_bytes([9; 16]);

fn encoded<'a, M: Message<'a>>(message: &M, version: i16) -> Vec<u8> {
    let mut writer = Writer::new();
    message.encode(&mut writer, version).expect("it fits the version");
    writer.into_parts().0.to_vec()
}

/// Joins rows of bytes: a row a field, and a last one for the tagged fields that are not there.
fn joined(fields: &[&[u8]]) -> Vec<u8> {
    fields.concat()
}

#[test]
fn offset_commit_version_10_names_topics_by_id() {
    let partition = OffsetCommitRequestPartition {
        partition_index: 1,
        committed_offset: 2,
        committed_leader_epoch: 3,
        committed_metadata: None,
        ..Default::default()
    };
    let topic = OffsetCommitRequestTopic {
        topic_id: TOPIC_ID,
        partitions: vec![partition],
        ..Default::default()
    };
    let request = OffsetCommitRequest {
        group_id: "g".into(),
        generation_id_or_member_epoch: 5,
        member_id: "m".into(),
        topics: vec![topic],
        ..Default::default()
    };
    let bytes = joined(&[
        &[2, b'g'],
        &[0, 0, 0, 5],
        &[2, b'm'],
        &[0],
        &[2],
        &[9; 16],
        &[2],
        &[0, 0, 0, 1],
        &[0, 0, 0, 0, 0, 0, 0, 2],
        &[0, 0, 0, 3],
        &[0],
        &[0, 0, 0],
    ]);
    assert_eq!(encoded(&request, 10), bytes);
    assert_eq!(OffsetCommitRequest::decode(&mut Reader::new(&bytes), 10), Ok(request));

    let partition = OffsetCommitResponsePartition { partition_index: 1, error_code: 100 };
    let topic = OffsetCommitResponseTopic {
        topic_id: TOPIC_ID,
        partitions: vec![partition],
        ..Default::default()
    };
    let response = OffsetCommitResponse { throttle_time_ms: 0, topics: vec![topic] };
    let bytes =
        joined(&[&[0, 0, 0, 0], &[2], &[9; 16], &[2], &[0, 0, 0, 1], &[0, 100], &[0, 0, 0]]);
    assert_eq!(encoded(&response, 10), bytes);
    assert_eq!(OffsetCommitResponse::decode(&mut Reader::new(&bytes), 10), Ok(response));
}

#[test]
fn offset_fetch_version_10_names_topics_by_id() {
    let topic = OffsetFetchRequestTopics {
        topic_id: TOPIC_ID,
        partition_indexes: vec![1],
        ..Default::default()
    };
    let group = OffsetFetchRequestGroup {
        group_id: "g".into(),
        topics: Some(vec![topic]),
        ..Default::default()
    };
    let request =
        OffsetFetchRequest { groups: vec![group], require_stable: true, ..Default::default() };
    let bytes = joined(&[
        &[2],
        &[2, b'g'],
        &[0],
        &[0xff; 4],
        &[2],
        &[9; 16],
        &[2, 0, 0, 0, 1],
        &[0, 0],
        &[1],
        &[0],
    ]);
    assert_eq!(encoded(&request, 10), bytes);
    assert_eq!(OffsetFetchRequest::decode(&mut Reader::new(&bytes), 10), Ok(request));

    let partition = OffsetFetchResponsePartitions {
        partition_index: 1,
        committed_offset: 2,
        committed_leader_epoch: 3,
        metadata: Some("".into()),
        error_code: 0,
    };
    let topic = OffsetFetchResponseTopics {
        topic_id: TOPIC_ID,
        partitions: vec![partition],
        ..Default::default()
    };
    let group =
        OffsetFetchResponseGroup { group_id: "g".into(), topics: vec![topic], error_code: 0 };
    let response = OffsetFetchResponse { groups: vec![group], ..Default::default() };
    let bytes = joined(&[
        &[0, 0, 0, 0],
        &[2],
        &[2, b'g'],
        &[2],
        &[9; 16],
        &[2],
        &[0, 0, 0, 1],
        &[0, 0, 0, 0, 0, 0, 0, 2],
        &[0, 0, 0, 3],
        &[1],
        &[0, 0],
        &[0, 0],
        &[0, 0],
        &[0, 0],
    ]);
    assert_eq!(encoded(&response, 10), bytes);
    assert_eq!(OffsetFetchResponse::decode(&mut Reader::new(&bytes), 10), Ok(response));
}

#[test]
fn list_offsets_version_11_has_the_form_of_version_10() {
    for seed in 0..50 {
        let request = ListOffsetsRequest::sample(&mut Rng::with_seed(seed), 10);
        assert_eq!(encoded(&request, 11), encoded(&request, 10));
        let response = ListOffsetsResponse::sample(&mut Rng::with_seed(seed), 10);
        assert_eq!(encoded(&response, 11), encoded(&response, 10));
    }
}
