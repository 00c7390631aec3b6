//! DeleteRecords, and the replicas that follow it.

use std::time::Duration;

use broker_protocol::error_code::ErrorCode;
use broker_protocol::message::delete_records::{
    DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsResponse, DeleteRecordsTopic,
};
use broker_protocol::message::list_offsets::{
    ListOffsetsPartition, ListOffsetsRequest, ListOffsetsResponse, ListOffsetsTopic,
};

use super::nodes::Cluster;
use super::topic::{acknowledged, await_in_sync, create};

/// The replica id of those who ask any replica.
const DEBUG: i32 = -2;
const EARLIEST: i64 = -2;

/// Deletes what is below `offset`; returns the code and the low watermark.
fn delete(cluster: &Cluster, leader: i32, offset: i64, timeout: Duration) -> (ErrorCode, i64) {
    let partitions = vec![DeleteRecordsPartition { partition_index: 0, offset }];
    let topics = vec![DeleteRecordsTopic { name: "t".into(), partitions }];
    let timeout_ms = timeout.as_millis() as i32;
    let request = DeleteRecordsRequest { topics, timeout_ms };
    let answer = cluster.client(leader).call(&request, 1);
    let response: DeleteRecordsResponse<'_> = answer.read(1);
    let result = &response.topics[0].partitions[0];
    (ErrorCode::from_code(result.error_code).unwrap(), result.low_watermark)
}

/// Returns where the log of each broker that runs starts.
fn starts(cluster: &Cluster) -> Vec<i64> {
    let start = |id| {
        let partition = ListOffsetsPartition {
            current_leader_epoch: -1,
            timestamp: EARLIEST,
            ..Default::default()
        };
        let topics = vec![ListOffsetsTopic { name: "t".into(), partitions: vec![partition] }];
        let request = ListOffsetsRequest { replica_id: DEBUG, topics, ..Default::default() };
        let answer = cluster.client(id).call(&request, 5);
        let response: ListOffsetsResponse<'_> = answer.read(5);
        response.topics[0].partitions[0].offset
    };
    cluster.running().into_iter().map(start).collect()
}

/// Both kinds of durability: what a replica deletes must be on its stable storage before.
#[test]
fn records_are_deleted_once_every_replica_that_lives_has_deleted_them() {
    let long = Duration::from_secs(15);
    for durability in ["synced", "replicated"] {
        let mut cluster = Cluster::start(3, &[]);
        create(&cluster, "t", 1, &[("ottla.durability", durability)]);
        for record in ["a", "b", "c", "d", "e", "f"] {
            acknowledged(&cluster, "t", 0, &[record]);
        }
        let leader = await_in_sync(&cluster, "t", 0, 3);
        assert_eq!(delete(&cluster, leader, 2, long), (ErrorCode::None, 2), "{durability}");
        assert_eq!(starts(&cluster), [2; 3], "{durability}");
        assert_eq!(delete(&cluster, leader, -1, long), (ErrorCode::None, 6), "{durability}");
        assert_eq!(starts(&cluster), [6; 3], "{durability}");
        let above = (ErrorCode::OffsetOutOfRange, -1);
        assert_eq!(delete(&cluster, leader, 7, long), above, "{durability}");

        acknowledged(&cluster, "t", 0, &["g"]);
        let follower = (1..=3).find(|id| *id != leader).unwrap();
        cluster.kill(follower);
        // Registered as it still is, it counts.
        let (late, low_watermark) = delete(&cluster, leader, 7, Duration::from_millis(100));
        assert_eq!(late, ErrorCode::RequestTimedOut, "{durability}");
        assert!(low_watermark < 7, "{durability}: {low_watermark}");
        cluster.expire(follower);
        assert_eq!(delete(&cluster, leader, 7, long), (ErrorCode::None, 7), "{durability}");
    }
}
