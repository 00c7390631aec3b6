//! A replica that moves to another log directory while it is written.

use std::path::Path;

use broker_protocol::error_code::ErrorCode;
use broker_protocol::message::alter_replica_log_dirs::{
    AlterReplicaLogDir, AlterReplicaLogDirTopic, AlterReplicaLogDirsRequest,
    AlterReplicaLogDirsResponse,
};
use broker_protocol::message::describe_log_dirs::{
    DescribeLogDirsPartition, DescribeLogDirsRequest, DescribeLogDirsResponse,
};

use super::client::{Client, await_that, beside_broker};
use super::topic::{alter_broker, batches, create, one_record, produce};

const ALTER: i16 = 1;
const DESCRIBE: i16 = 1;

/// What the broker says of the topic, each with its directory.
fn described(client: &mut Client) -> Vec<(String, DescribeLogDirsPartition)> {
    let answer = client.call(&DescribeLogDirsRequest::default(), DESCRIBE);
    let response: DescribeLogDirsResponse<'_> = answer.read(DESCRIBE);
    let mut found = Vec::new();
    for result in &response.results {
        for topic in result.topics.iter().filter(|topic| topic.name == "t") {
            let of_topic = topic.partitions.iter().cloned();
            found.extend(of_topic.map(|partition| (result.log_dir.to_string(), partition)));
        }
    }
    found
}

fn send_to(client: &mut Client, path: &str) -> ErrorCode {
    let topics = vec![AlterReplicaLogDirTopic { name: "t".into(), partitions: vec![0] }];
    let dirs = vec![AlterReplicaLogDir { path: path.to_owned().into(), topics }];
    let answer = client.call(&AlterReplicaLogDirsRequest { dirs }, ALTER);
    let response: AlterReplicaLogDirsResponse<'_> = answer.read(ALTER);
    ErrorCode::from_code(response.results[0].partitions[0].error_code).unwrap()
}

fn paths(dir: &Path) -> [String; 2] {
    ["a", "b"].map(|name| dir.join(name).display().to_string())
}

/// Both places are shown while the copy is behind; it goes no faster than it may, and nobody waits for it.
#[tokio::test]
async fn a_replica_moves_as_fast_as_it_may_while_it_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let paths = paths(dir.path());
    let log_dirs = format!("log.dirs={}", paths.join(","));
    let settings = ["replica.alter.log.dirs.io.max.bytes.per.second=1", &log_dirs];
    beside_broker(dir.path(), &settings, move |address| {
        let client = &mut Client::connect(address);
        // Each batch is a segment, and a step of the copy.
        create(client, "t", &[("segment.bytes", "200")]);
        for _ in 0..5 {
            assert_eq!(produce(client, "t", one_record(Some(b"key"), 100)), ErrorCode::None);
        }
        let here = described(client)[0].0.clone();
        let there = paths.iter().find(|path| **path != here).unwrap();
        assert_eq!(send_to(client, "/nowhere"), ErrorCode::LogDirNotFound);
        assert_eq!(send_to(client, there), ErrorCode::None);
        await_that("a step is copied", || {
            described(client)
                .iter()
                .any(|(path, it)| it.is_future_key && path == there && it.partition_size > 0)
        });
        assert_eq!(produce(client, "t", one_record(Some(b"key"), 100)), ErrorCode::None);
        let moving = described(client);
        assert_eq!(moving.len(), 2, "{moving:?}");
        let copy = moving.iter().find(|(_, it)| it.is_future_key).unwrap();
        assert!(copy.1.offset_lag > 0, "one batch in a day: {moving:?}");
        alter_broker(client, 0, "replica.alter.log.dirs.io.max.bytes.per.second", "1000000");
        await_that("it is there", || {
            let found = described(client);
            found.len() == 1 && found[0].0 == *there && !found[0].1.is_future_key
        });
        assert_eq!(produce(client, "t", one_record(Some(b"key"), 100)), ErrorCode::None);
        assert_eq!(batches(client, "t").len(), 7);
    })
    .await;
}
