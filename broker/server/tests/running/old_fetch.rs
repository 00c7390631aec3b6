//! Fetch as clients without sessions send it, up to those that read no batch v2: what one request may
//! cost, whatever it names.

use broker_protocol::message::fetch::{FetchPartition, FetchRequest, FetchResponse, FetchTopic};
use broker_protocol::primitive::Records;
use broker_protocol::quantity::Offset;
use broker_protocol::record::builder::BatchBuilder;
use broker_protocol::record::compression::Compression;

use super::client::{Client, beside_broker};
use super::topic::{create, now, produce};

/// Records of nothing, which take several times the bytes as messages of old.
const RECORDS: usize = 20;
const MESSAGE_SIZE: usize = 34;

fn nothings() -> BatchBuilder {
    let mut builder = BatchBuilder::new(Offset(0), Compression::None);
    for _ in 0..RECORDS {
        builder.push(now(), None, None);
    }
    builder
}

/// Fetches partition 0 of each topic from its start; returns the sizes of their records.
fn fetch(client: &mut Client, version: i16, topics: &[&str]) -> Vec<usize> {
    let topics = topics.iter().map(|name| FetchTopic {
        topic: (*name).into(),
        partitions: vec![FetchPartition { partition_max_bytes: 1 << 20, ..Default::default() }],
        ..Default::default()
    });
    let request = FetchRequest {
        max_bytes: 1 << 20,
        session_epoch: -1,
        topics: topics.collect(),
        ..Default::default()
    };
    let answer = client.call(&request, version);
    let response: FetchResponse<'_> = answer.read(version);
    let partitions = response.responses.iter().flat_map(|topic| &topic.partitions);
    let size = |records: &Records<'_>| records.as_bytes().len();
    partitions
        .map(|partition| {
            assert_eq!(partition.error_code, 0, "version {version}");
            partition.records.as_ref().map_or(0, size)
        })
        .collect()
}

/// `fetch.max.bytes` bounds what is sent, not what was stored: a first batch may go beyond it.
#[tokio::test]
async fn what_is_converted_counts_against_the_answer() {
    let dir = tempfile::tempdir().unwrap();
    beside_broker(dir.path(), &["fetch.max.bytes=1024"], |address| {
        let client = &mut Client::connect(address);
        let topics = ["a", "b", "c", "d"];
        for topic in topics {
            create(client, topic, &[]);
            produce(client, topic, nothings());
        }
        let whole = RECORDS * MESSAGE_SIZE;
        assert_eq!(fetch(client, 2, &topics), [whole, 1024 - whole, 0, 0]);
        assert_eq!(fetch(client, 3, &topics), [whole, whole, 0, 0]);
    })
    .await;
}

/// A request that names a partition a thousand times gets it once; others stay as they are.
#[tokio::test]
async fn a_partition_is_answered_once_however_often_it_is_named() {
    let dir = tempfile::tempdir().unwrap();
    beside_broker(dir.path(), &[], |address| {
        let client = &mut Client::connect(address);
        for topic in ["a", "b"] {
            create(client, topic, &[]);
            produce(client, topic, nothings());
        }
        let mut topics = vec!["a"; 1000];
        topics.push("b");
        for version in [0, 2, 3, 4, 11] {
            let once = fetch(client, version, &["a", "b"]);
            assert!(once.len() == 2 && once.iter().all(|size| *size > 0), "{version}: {once:?}");
            assert_eq!(fetch(client, version, &topics), once, "version {version}");
        }
    })
    .await;
}
