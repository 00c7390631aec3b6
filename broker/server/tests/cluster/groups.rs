//! Committed offsets, whoever coordinates.

use broker_protocol::message::find_coordinator::{FindCoordinatorRequest, FindCoordinatorResponse};
use broker_protocol::message::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
    OffsetCommitResponse,
};
use broker_protocol::message::offset_fetch::{
    OffsetFetchRequest, OffsetFetchRequestTopic, OffsetFetchResponse,
};

use super::client::await_that;
use super::nodes::Cluster;
use super::topic::create;

/// Asks any broker who coordinates; -1 if nobody does.
fn coordinator(cluster: &Cluster) -> i32 {
    let request = FindCoordinatorRequest { key: "g".into(), ..Default::default() };
    let answer = cluster.client(cluster.running()[0]).call(&request, 1);
    let response: FindCoordinatorResponse<'_> = answer.read(1);
    if response.error_code == 0 { response.node_id } else { -1 }
}

/// Returns the committed offset, once a coordinator that runs has read it; -1 for none.
fn committed(cluster: &Cluster) -> i64 {
    let topics =
        Some(vec![OffsetFetchRequestTopic { name: "t".into(), partition_indexes: vec![0] }]);
    let request = OffsetFetchRequest { group_id: "g".into(), topics, ..Default::default() };
    let mut offset = -1;
    await_that("a coordinator that has read its groups", || {
        let id = coordinator(cluster);
        if !cluster.running().contains(&id) {
            return false;
        }
        let answer = cluster.client(id).call(&request, 5);
        let response: OffsetFetchResponse<'_> = answer.read(5);
        let Some(topic) = response.topics.first() else { return false };
        offset = topic.partitions[0].committed_offset;
        response.error_code == 0 && topic.partitions[0].error_code == 0
    });
    offset
}

fn commit(cluster: &Cluster, offset: i64) {
    let partition = OffsetCommitRequestPartition {
        partition_index: 0,
        committed_offset: offset,
        ..Default::default()
    };
    let topics = vec![OffsetCommitRequestTopic {
        name: "t".into(),
        partitions: vec![partition],
        ..Default::default()
    }];
    let request = OffsetCommitRequest {
        group_id: "g".into(),
        generation_id_or_member_epoch: -1,
        topics,
        ..Default::default()
    };
    await_that("the commit", || {
        let id = coordinator(cluster);
        if !cluster.running().contains(&id) {
            return false;
        }
        let answer = cluster.client(id).call(&request, 7);
        let response: OffsetCommitResponse<'_> = answer.read(7);
        response.topics[0].partitions[0].error_code == 0
    });
}

#[test]
fn committed_offsets_move_with_their_coordinator() {
    let mut cluster = Cluster::start(3, &["offsets.topic.replication.factor=3"]);
    create(&cluster, "t", 1, &[]);
    for turn in 0..3 {
        commit(&cluster, turn);
        let id = coordinator(&cluster);
        cluster.kill(id);
        cluster.expire(id);
        assert_eq!(committed(&cluster), turn, "after {id} was killed");
        cluster.begin(id);
        assert_eq!(committed(&cluster), turn, "after {id} came back");
    }
}
