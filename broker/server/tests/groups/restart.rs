//! Offsets of a topic that was deleted while the broker was down.

use std::fs;
use std::path::Path;

use broker_protocol::message::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
    OffsetCommitResponse,
};
use broker_protocol::message::offset_fetch::{
    OffsetFetchRequest, OffsetFetchRequestTopic, OffsetFetchResponse,
};
use broker_zookeeper::embedded::EmbeddedTree;
use broker_zookeeper::path;
use broker_zookeeper::store::Store;

use super::client::{Client, await_that, beside_broker};

fn commit(client: &mut Client, topics: &[&str]) {
    let topics = topics.iter().map(|topic| OffsetCommitRequestTopic {
        name: (*topic).into(),
        partitions: vec![OffsetCommitRequestPartition {
            committed_offset: 5,
            ..Default::default()
        }],
        ..Default::default()
    });
    let request = OffsetCommitRequest {
        group_id: "g".into(),
        topics: topics.collect(),
        ..Default::default()
    };
    let answer = client.call(&request, 7);
    let response: OffsetCommitResponse<'_> = answer.read(7);
    assert!(response.topics.iter().all(|topic| topic.partitions[0].error_code == 0));
}

/// The offsets of partition 0 of each topic.
fn fetch(client: &mut Client, topics: &[&str]) -> Vec<i64> {
    let topics = topics
        .iter()
        .map(|topic| OffsetFetchRequestTopic { name: (*topic).into(), partition_indexes: vec![0] });
    let topics = Some(topics.collect());
    let request = OffsetFetchRequest { group_id: "g".into(), topics, ..Default::default() };
    let answer = client.call(&request, 5);
    let response: OffsetFetchResponse<'_> = answer.read(5);
    response.topics.iter().map(|topic| topic.partitions[0].committed_offset).collect()
}

/// Does what the deletion of a topic does, without a broker.
async fn delete_topic(dir: &Path, topic: &str) {
    let tree = EmbeddedTree::open(&dir.join("ottla-coordination.log")).unwrap();
    let store = tree.session().await;
    let partitions = path::partitions(topic);
    let state = path::partition_state(topic, 0);
    let nodes = [
        state.clone(),
        state.rsplit_once('/').unwrap().0.to_owned(),
        partitions,
        path::topic(topic),
        path::topic_config(topic),
    ];
    for node in nodes {
        store.delete(&node, None).await.unwrap();
    }
    tree.close().await;
    fs::remove_dir_all(dir.join(format!("{topic}-0"))).unwrap();
}

/// A topic made again under the name begins without offsets.
#[tokio::test]
async fn offsets_go_with_a_topic_that_is_deleted_while_the_broker_is_down() {
    let dir = tempfile::tempdir().unwrap();
    beside_broker(dir.path(), &[], |address| {
        let client = &mut Client::connect(address);
        client.create_topics(&["t", "u"]);
        client.await_coordinator();
        commit(client, &["t", "u"]);
        assert_eq!(fetch(client, &["t", "u"]), [5, 5]);
    })
    .await;
    delete_topic(dir.path(), "t").await;
    beside_broker(dir.path(), &[], |address| {
        let client = &mut Client::connect(address);
        client.await_coordinator();
        await_that("the offset is gone", || fetch(client, &["t", "u"]) == [-1, 5]);
        client.create_topics(&["t"]);
        assert_eq!(fetch(client, &["t", "u"]), [-1, 5]);
    })
    .await;
    beside_broker(dir.path(), &[], |address| {
        let client = &mut Client::connect(address);
        client.await_coordinator();
        assert_eq!(fetch(client, &["t", "u"]), [-1, 5], "as it was written down");
    })
    .await;
}
