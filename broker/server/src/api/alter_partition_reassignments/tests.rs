//! What the controller is asked for, and what an operator is told of it.

use std::sync::Arc;

use broker_protocol::message::alter_partition_reassignments::{
    ReassignablePartition, ReassignableTopic,
};
use broker_protocol::quantity::LeaderEpoch;
use broker_protocol::uuid::Uuid;
use tokio::sync::mpsc;

use super::*;
use crate::controller::handle::Mail;
use crate::controller::state::assignment::Assignment;
use crate::metadata::{Metadata, Partition, Topic};

/// No broker is cordoned.
static NOBODY: BTreeSet<BrokerId> = BTreeSet::new();

fn name(partition: i32) -> TopicPartition {
    TopicPartition { topic: "t".into(), partition }
}

fn ids(numbers: &[i32]) -> Vec<BrokerId> {
    numbers.iter().copied().map(BrokerId).collect()
}

/// A cluster whose only topic has three partitions of two replicas.
fn cluster() -> Cache {
    let partition = Partition {
        leader: Some(BrokerId(1)),
        leader_epoch: LeaderEpoch(0),
        replicas: ids(&[1, 2]),
        isr: ids(&[1, 2]),
        offline: Vec::new(),
    };
    let partitions = vec![partition; 3];
    let mut metadata = Metadata::default();
    metadata.insert_topic(Topic { name: "t".into(), id: Uuid::from_bytes([1; 16]), partitions });
    let cache = Cache::default();
    cache.publish(metadata);
    cache
}

fn request(wanted: &[(i32, Option<&[i32]>)]) -> AlterPartitionReassignmentsRequest<'static> {
    let partitions = wanted.iter().map(|(partition_index, replicas)| ReassignablePartition {
        partition_index: *partition_index,
        replicas: replicas.map(<[i32]>::to_vec),
    });
    let topic = ReassignableTopic { name: "t".into(), partitions: partitions.collect() };
    AlterPartitionReassignmentsRequest { topics: vec![topic], ..Default::default() }
}

fn codes(response: &AlterPartitionReassignmentsResponse<'_>) -> Vec<(i32, ErrorCode)> {
    assert_eq!(response.error_code, 0);
    let partitions = response.responses.iter().flat_map(|topic| &topic.partitions);
    partitions
        .map(|one| (one.partition_index, ErrorCode::from_code(one.error_code).expect("a code")))
        .collect()
}

/// Takes a request for moves from the mail and says of each that it has begun.
async fn begin_all(mail: &mut mpsc::Receiver<Mail>) -> Wanted {
    let Some(Mail::Ask(Request::Reassign(wanted), reply)) = mail.recv().await else {
        panic!("a question for moves")
    };
    let begun = wanted.keys().map(|name| (name.clone(), ErrorCode::None)).collect();
    reply.send(Reply::Reassign(begun)).expect("somebody waits");
    wanted
}

#[tokio::test]
async fn moves_and_their_ends_are_asked_for_as_they_stand() {
    let (handle, cache) = (ControllerHandle::default(), cluster());
    let mut mail = handle.attach();
    let request = request(&[(0, Some(&[2, 3, 4])), (1, None)]);
    let (response, wanted) =
        tokio::join!(reassign(&handle, &cache, &NOBODY, request), begin_all(&mut mail));
    assert_eq!(wanted, Wanted::from([(name(0), Some(ids(&[2, 3, 4]))), (name(1), None)]));
    assert_eq!(codes(&response), [(0, ErrorCode::None), (1, ErrorCode::None)]);
}

/// Partition 0 keeps its two replicas, 1 would get a third; 2 moves to three, and may go on to others.
#[tokio::test]
async fn the_number_of_replicas_is_kept_where_the_operator_wants_it_kept() {
    let (handle, cache) = (ControllerHandle::default(), cluster());
    let mut mail = handle.attach();
    let request = AlterPartitionReassignmentsRequest {
        allow_replication_factor_change: false,
        ..request(&[(0, Some(&[2, 3])), (1, Some(&[1, 2, 3])), (2, Some(&[3, 4, 5]))])
    };
    let controller = async {
        let Some(Mail::Ask(Request::ListReassignments(_), reply)) = mail.recv().await else {
            panic!("a question for what moves")
        };
        let assignment = Assignment {
            replicas: ids(&[3, 4, 5, 1, 2]),
            adding: ids(&[3, 4, 5]),
            removing: ids(&[1, 2]),
        };
        let moving = BTreeMap::from([(name(2), Arc::new(assignment))]);
        reply.send(Reply::ListReassignments(moving)).expect("somebody waits");
        begin_all(&mut mail).await
    };
    let (response, wanted) = tokio::join!(reassign(&handle, &cache, &NOBODY, request), controller);
    assert_eq!(wanted.keys().map(|name| name.partition).collect::<Vec<_>>(), [0, 2]);
    let expected =
        [(0, ErrorCode::None), (1, ErrorCode::InvalidReplicationFactor), (2, ErrorCode::None)];
    assert_eq!(codes(&response), expected);
    assert!(!response.allow_replication_factor_change);
}

#[tokio::test(start_paused = true)]
async fn who_is_not_the_controller_or_takes_too_long_says_so() {
    let (handle, cache) = (ControllerHandle::default(), cluster());
    let ask = || reassign(&handle, &cache, &NOBODY, request(&[(0, None)]));
    assert_eq!(ask().await.error_code, ErrorCode::NotController.code());
    let _silent = handle.attach();
    assert_eq!(ask().await.error_code, ErrorCode::RequestTimedOut.code());
}

/// A broker that is being emptied keeps what it has and gets nothing new.
#[tokio::test]
async fn nothing_is_moved_onto_a_cordoned_broker() {
    let (handle, cache) = (ControllerHandle::default(), cluster());
    let mut mail = handle.attach();
    let request = AlterPartitionReassignmentsRequest {
        allow_replication_factor_change: true,
        ..request(&[(0, Some(&[2, 3])), (1, Some(&[1, 4])), (2, None)])
    };
    let cordoned = BTreeSet::from([BrokerId(1), BrokerId(3)]);
    let moves = reassign(&handle, &cache, &cordoned, request);
    let (response, wanted) = tokio::join!(moves, begin_all(&mut mail));
    assert_eq!(wanted, Wanted::from([(name(1), Some(ids(&[1, 4]))), (name(2), None)]));
    let refused = ErrorCode::InvalidReplicaAssignment;
    assert_eq!(codes(&response), [(0, refused), (1, ErrorCode::None), (2, ErrorCode::None)]);
}
