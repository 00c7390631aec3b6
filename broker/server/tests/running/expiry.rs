//! What a running broker forgets: offsets of groups, and producers.

use broker_protocol::error_code::ErrorCode;
use broker_protocol::message::describe_producers::{
    DescribeProducersRequest, DescribeProducersResponse, TopicRequest,
};
use broker_protocol::message::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
    OffsetCommitResponse,
};
use broker_protocol::message::offset_fetch::{
    OffsetFetchRequest, OffsetFetchRequestTopic, OffsetFetchResponse,
};

use super::client::{Client, await_that, beside_broker};
use super::topic::{alter_brokers, create, now, one_record, produce};

/// The only version whose commits say when they were made, and the one whose say how long they live.
const COMMIT_AT: i16 = 1;
const COMMIT_FOR: i16 = 4;
const FETCH: i16 = 5;

/// Commits offset 5 of a topic of `group`, made `age_ms` ago or to live for `retention_time_ms`.
fn commit(client: &mut Client, topic: &str, age_ms: i64, retention_time_ms: Option<i64>) {
    let partition = OffsetCommitRequestPartition {
        committed_offset: 5,
        commit_timestamp: now().0 - age_ms,
        ..Default::default()
    };
    let topic = OffsetCommitRequestTopic {
        name: topic.into(),
        partitions: vec![partition],
        ..Default::default()
    };
    let request = OffsetCommitRequest {
        group_id: "g".into(),
        retention_time_ms: retention_time_ms.unwrap_or(-1),
        topics: vec![topic],
        ..Default::default()
    };
    let version = if retention_time_ms.is_some() { COMMIT_FOR } else { COMMIT_AT };
    let answer = client.call(&request, version);
    let response: OffsetCommitResponse<'_> = answer.read(version);
    assert_eq!(response.topics[0].partitions[0].error_code, 0, "{response:?}");
}

/// The group's offsets, -1 for none.
fn committed(client: &mut Client) -> [i64; 3] {
    let topics = ["fresh", "old", "short"]
        .map(|name| OffsetFetchRequestTopic { name: name.into(), partition_indexes: vec![0] });
    let topics = Some(topics.to_vec());
    let request = OffsetFetchRequest { group_id: "g".into(), topics, ..Default::default() };
    let answer = client.call(&request, FETCH);
    let response: OffsetFetchResponse<'_> = answer.read(FETCH);
    [0, 1, 2].map(|at| response.topics[at].partitions[0].committed_offset)
}

/// The second broker never looks for what has expired: what it does not know is not in the log.
#[tokio::test]
async fn offsets_expire_in_a_running_broker_and_stay_so() {
    let dir = tempfile::tempdir().unwrap();
    let often = ["offsets.retention.minutes=1", "offsets.retention.check.interval.ms=1"];
    beside_broker(dir.path(), &often, |address| {
        let client = &mut Client::connect(address);
        client.create_topics(&["fresh", "old", "short"]);
        client.await_coordinator();
        commit(client, "fresh", 0, None);
        commit(client, "old", 120_000, None);
        commit(client, "short", 0, Some(1));
        await_that("two offsets expire", || committed(client) == [5, -1, -1]);
    })
    .await;
    beside_broker(dir.path(), &["offsets.retention.minutes=10000"], |address| {
        let client = &mut Client::connect(address);
        client.await_coordinator();
        assert_eq!(committed(client), [5, -1, -1]);
    })
    .await;
}

/// The ids of the producers that the topic remembers.
fn producers(client: &mut Client, topic: &str) -> Vec<i64> {
    let topics = vec![TopicRequest { name: topic.into(), partition_indexes: vec![0] }];
    let answer = client.call(&DescribeProducersRequest { topics }, 0);
    let response: DescribeProducersResponse<'_> = answer.read(0);
    let partition = &response.topics[0].partitions[0];
    assert_eq!(partition.error_code, 0, "{response:?}");
    partition.active_producers.iter().map(|producer| producer.producer_id).collect()
}

#[tokio::test]
async fn a_producer_is_forgotten_after_a_new_producer_id_expiration_ms() {
    let dir = tempfile::tempdir().unwrap();
    let often = ["producer.id.expiration.check.interval.ms=1"];
    beside_broker(dir.path(), &often, |address| {
        let client = &mut Client::connect(address);
        create(client, "t", &[]);
        let mut batch = one_record(None, 10);
        (batch.header.producer_id, batch.header.producer_epoch) = (7, 0);
        batch.header.base_sequence = 0;
        assert_eq!(produce(client, "t", batch), ErrorCode::None);
        assert_eq!(producers(client, "t"), [7]);
        alter_brokers(client, "producer.id.expiration.ms", "1");
        await_that("the producer is forgotten", || producers(client, "t").is_empty());
    })
    .await;
}
