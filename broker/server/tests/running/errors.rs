//! The error codes of answers, as `/metrics` counts them after a load that is known.

use std::net::SocketAddr;

use broker_protocol::error_code::ErrorCode;
use broker_protocol::message::heartbeat::{HeartbeatRequest, HeartbeatResponse};

use super::client::{Client, beside_broker_and_metrics, page};
use super::topic::{batches, create, one_record, produce};

/// The counts by request and error, in order.
fn errors(address: SocketAddr) -> Vec<String> {
    let family = "kafka_network_requestmetrics_errors_total";
    let page = page(address);
    page.lines().filter_map(|line| line.strip_prefix(family)).map(str::to_owned).collect()
}

/// Each partition, topic or group that an answer speaks of counts; `NONE` does too, as in Kafka.
#[tokio::test]
async fn error_codes_are_counted_by_request() {
    let dir = tempfile::tempdir().unwrap();
    let settings = ["auto.create.topics.enable=false", "metrics.listener=127.0.0.1:0"];
    beside_broker_and_metrics(dir.path(), &settings, |address, metrics| {
        let metrics = metrics.unwrap();
        let client = &mut Client::connect(address);
        create(client, "t", &[("max.message.bytes", "500")]);
        for _ in 0..3 {
            assert_eq!(produce(client, "t", one_record(None, 10)), ErrorCode::None);
        }
        let large = produce(client, "t", one_record(None, 1000));
        assert_eq!(large, ErrorCode::MessageTooLarge);
        let missing = produce(client, "missing", one_record(None, 10));
        assert_eq!(missing, ErrorCode::UnknownTopicOrPartition);
        // Two fetches: one with the three batches, one that finds nothing more. Each answer has a
        // code of its own and one of its partition.
        assert_eq!(batches(client, "t"), [0, 1, 2]);
        let request = HeartbeatRequest { group_id: "g".into(), ..Default::default() };
        let answer = client.call(&request, 3);
        let response: HeartbeatResponse = answer.read(3);
        assert_eq!(response.error_code, ErrorCode::NotCoordinator.code());
        let expected = [
            "{request=\"CreateTopics\",error=\"NONE\"} 1",
            "{request=\"Fetch\",error=\"NONE\"} 4",
            "{request=\"Heartbeat\",error=\"NOT_COORDINATOR\"} 1",
            "{request=\"Produce\",error=\"MESSAGE_TOO_LARGE\"} 1",
            "{request=\"Produce\",error=\"NONE\"} 3",
            "{request=\"Produce\",error=\"UNKNOWN_TOPIC_OR_PARTITION\"} 1",
        ];
        let mut found = errors(metrics);
        found.sort_unstable();
        assert_eq!(found, expected);
    })
    .await;
}
