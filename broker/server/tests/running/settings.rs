//! What single settings do, where clients see it and no other test does.

use std::net::SocketAddr;

use broker_protocol::error_code::ErrorCode;
use broker_protocol::message::describe_configs::{
    DescribeConfigsRequest, DescribeConfigsResource, DescribeConfigsResponse,
};
use broker_protocol::message::describe_topic_partitions::{
    DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse,
};
use broker_protocol::message::fetch::{FetchPartition, FetchRequest, FetchResponse, FetchTopic};
use broker_protocol::message::join_group::{
    JoinGroupRequest, JoinGroupRequestProtocol, JoinGroupResponse,
};
use broker_protocol::primitive::Records;

use super::client::{Client, await_that, beside_broker, beside_broker_and_metrics, page};
use super::topic::{alter_topic, batches, create, one_record, produce, start_offset};

const TOPIC: i8 = 2;

/// Fetches `t` from its start; returns the id of the session, the code, and how many bytes came.
fn fetch(client: &mut Client, version: i16, session_epoch: i32) -> (i32, ErrorCode, usize) {
    let partition = FetchPartition { partition_max_bytes: 1 << 20, ..Default::default() };
    let topic = FetchTopic { topic: "t".into(), partitions: vec![partition], ..Default::default() };
    let request = FetchRequest {
        max_bytes: 1 << 20,
        session_epoch,
        topics: vec![topic],
        ..Default::default()
    };
    let answer = client.call(&request, version);
    let response: FetchResponse<'_> = answer.read(version);
    let partition = &response.responses[0].partitions[0];
    let code = ErrorCode::from_code(partition.error_code).unwrap();
    let size = |records: &Records<'_>| records.as_bytes().len();
    (response.session_id, code, partition.records.as_ref().map_or(0, size))
}

/// Without records there is nothing to convert, and nothing to refuse.
#[tokio::test]
async fn old_clients_are_refused_records_where_they_are_not_converted() {
    let dir = tempfile::tempdir().unwrap();
    beside_broker(dir.path(), &[], |address| {
        let client = &mut Client::connect(address);
        create(client, "t", &[("message.downconversion.enable", "false")]);
        for version in 0..=4 {
            assert_eq!(fetch(client, version, -1), (0, ErrorCode::None, 0), "{version}, empty");
        }
        produce(client, "t", one_record(None, 10));
        for version in 0..=3 {
            let refused = (0, ErrorCode::UnsupportedVersion, 0);
            assert_eq!(fetch(client, version, -1), refused, "version {version}");
        }
        for (is_enabled, versions) in [("false", 4..=11), ("true", 0..=11)] {
            alter_topic(client, "t", "message.downconversion.enable", is_enabled);
            for version in versions {
                let (_, code, size) = fetch(client, version, -1);
                assert!(code == ErrorCode::None && size > 0, "{is_enabled}, {version}: {code:?}");
            }
        }
    })
    .await;
}

#[tokio::test]
async fn who_comes_when_the_slots_of_fetch_sessions_are_taken_goes_on_without_one() {
    let dir = tempfile::tempdir().unwrap();
    let setting = "max.incremental.fetch.session.cache.slots=2";
    beside_broker(dir.path(), &[setting], |address| {
        let client = &mut Client::connect(address);
        create(client, "t", &[]);
        let has_session = [(); 4].map(|()| fetch(client, 11, 0).0 > 0);
        assert_eq!(has_session, [true, true, false, false]);
    })
    .await;
}

/// Asks to join with a session of `session_timeout_ms`: a version in which nobody is a member yet.
fn join(client: &mut Client, session_timeout_ms: i32) -> ErrorCode {
    const VERSION: i16 = 5;
    let protocol = JoinGroupRequestProtocol { name: "range".into(), metadata: (&b""[..]).into() };
    let request = JoinGroupRequest {
        group_id: "g".into(),
        session_timeout_ms,
        rebalance_timeout_ms: 10_000,
        protocol_type: "consumer".into(),
        protocols: vec![protocol],
        ..Default::default()
    };
    let answer = client.call(&request, VERSION);
    let response: JoinGroupResponse<'_> = answer.read(VERSION);
    ErrorCode::from_code(response.error_code).unwrap()
}

#[tokio::test]
async fn a_session_timeout_outside_the_limits_of_groups_is_refused() {
    use ErrorCode::{InvalidSessionTimeout, MemberIdRequired};
    let dir = tempfile::tempdir().unwrap();
    let limits = ["group.min.session.timeout.ms=100", "group.max.session.timeout.ms=200"];
    beside_broker(dir.path(), &limits, |address| {
        let client = &mut Client::connect(address);
        client.await_coordinator();
        for (timeout_ms, expected) in [
            (99, InvalidSessionTimeout),
            (100, MemberIdRequired),
            (200, MemberIdRequired),
            (201, InvalidSessionTimeout),
        ] {
            assert_eq!(join(client, timeout_ms), expected, "{timeout_ms}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_page_of_partitions_is_no_longer_than_the_broker_allows() {
    let dir = tempfile::tempdir().unwrap();
    beside_broker(dir.path(), &["max.request.partition.size.limit=2"], |address| {
        let client = &mut Client::connect(address);
        for name in ["a", "b", "c"] {
            create(client, name, &[]);
        }
        for (limit, expected) in [(1, &["a"][..]), (2, &["a", "b"]), (2000, &["a", "b"])] {
            let request = DescribeTopicPartitionsRequest {
                response_partition_limit: limit,
                ..Default::default()
            };
            let answer = client.call(&request, 0);
            let response: DescribeTopicPartitionsResponse<'_> = answer.read(0);
            let names: Vec<_> =
                response.topics.iter().filter_map(|topic| topic.name.as_deref()).collect();
            assert_eq!(names, expected);
            assert!(response.next_cursor.is_some(), "{limit}");
        }
    })
    .await;
}

#[tokio::test]
async fn the_offsets_topic_has_segments_of_the_size_that_is_configured() {
    let dir = tempfile::tempdir().unwrap();
    beside_broker(dir.path(), &["offsets.topic.segment.bytes=4321"], |address| {
        let client = &mut Client::connect(address);
        client.await_coordinator();
        let resource = DescribeConfigsResource {
            resource_type: TOPIC,
            resource_name: "__consumer_offsets".into(),
            configuration_keys: Some(vec!["segment.bytes".into()]),
        };
        let request = DescribeConfigsRequest { resources: vec![resource], ..Default::default() };
        let answer = client.call(&request, 1);
        let response: DescribeConfigsResponse<'_> = answer.read(1);
        let found = &response.results[0].configs[0];
        assert_eq!((&*found.name, found.value.as_deref()), ("segment.bytes", Some("4321")));
    })
    .await;
}

/// Runs `clients` beside a broker whose metrics can be looked at.
async fn beside_metrics(
    settings: &[&str],
    clients: impl FnOnce(&mut Client, SocketAddr) + Send + 'static,
) {
    let dir = tempfile::tempdir().unwrap();
    let settings = [settings, &["metrics.listener=127.0.0.1:0"]].concat();
    beside_broker_and_metrics(dir.path(), &settings, |address, metrics| {
        clients(&mut Client::connect(address), metrics.unwrap());
    })
    .await;
}

#[tokio::test]
async fn partitions_have_series_of_their_own_unless_metrics_partitions_says_otherwise() {
    const OF_PARTITION: &str = "kafka_log_log_size{topic=\"t\",partition=\"0\"} ";
    const OF_TOPIC: &str = "kafka_log_log_size{topic=\"t\"} ";
    let cases = [("all", [true, false]), ("topic", [false, true]), ("off", [false, false])];
    for (mode, expected) in cases {
        let setting = format!("metrics.partitions={mode}");
        beside_metrics(&[&setting], move |client, metrics| {
            create(client, "t", &[]);
            let page = page(metrics);
            let found = [OF_PARTITION, OF_TOPIC].map(|series| page.contains(series));
            assert_eq!(found, expected, "{mode}: {page}");
        })
        .await;
    }
}

/// Method: the same with and without; a job that runs as often shows that there was time for it.
#[tokio::test]
async fn nothing_is_compacted_when_the_cleaner_is_disabled() {
    for is_enabled in [false, true] {
        let settings = [
            &format!("log.cleaner.enable={is_enabled}"),
            "log.initial.task.delay.ms=1",
            "log.retention.check.interval.ms=1",
            "log.cleaner.backoff.ms=1",
        ];
        beside_metrics(&settings, move |client, metrics| {
            let (small, eager) = (("segment.bytes", "200"), ("min.cleanable.dirty.ratio", "0"));
            create(client, "compacted", &[small, eager, ("cleanup.policy", "compact")]);
            create(client, "deleted", &[small, ("retention.bytes", "0")]);
            for topic in ["compacted", "deleted"] {
                for _ in 0..3 {
                    let code = produce(client, topic, one_record(Some(b"key"), 100));
                    assert_eq!(code, ErrorCode::None);
                }
            }
            await_that("old segments go", || start_offset(client, "deleted") > 0);
            if is_enabled {
                await_that("old values go", || batches(client, "compacted") == [1, 2]);
            }
            let kept = if is_enabled { &[1, 2][..] } else { &[0, 1, 2] };
            assert_eq!(batches(client, "compacted"), kept);
            let is_running = page(metrics).contains("task=\"cleaner\"");
            assert_eq!(is_running, is_enabled, "the task that compacts");
        })
        .await;
    }
}
