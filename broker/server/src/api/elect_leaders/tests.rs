//! What an operator is told of elections, by a controller that says what the test wants.

use broker_protocol::message::elect_leaders::TopicPartitions;
use broker_protocol::quantity::{BrokerId, LeaderEpoch};
use broker_protocol::uuid::Uuid;

use super::*;
use crate::controller::handle::Mail;
use crate::metadata::{Partition, Topic};

fn name(partition: i32) -> TopicPartition {
    TopicPartition { topic: "t".into(), partition }
}

/// A cluster whose only topic has a partition for each leader given; its first replica is broker 1.
fn cluster(leaders: &[Option<i32>]) -> Metadata {
    let partitions = leaders.iter().map(|leader| Partition {
        leader: leader.map(BrokerId),
        leader_epoch: LeaderEpoch(0),
        replicas: vec![BrokerId(1), BrokerId(2)],
        isr: vec![BrokerId(1), BrokerId(2)],
        offline: Vec::new(),
    });
    let topic =
        Topic { name: "t".into(), id: Uuid::from_bytes([1; 16]), partitions: partitions.collect() };
    let mut metadata = Metadata::default();
    metadata.insert_topic(topic);
    metadata
}

fn request(partitions: Option<Vec<i32>>, timeout_ms: i32) -> ElectLeadersRequest<'static> {
    let topic = |partitions| vec![TopicPartitions { topic: "t".into(), partitions }];
    ElectLeadersRequest {
        topic_partitions: partitions.map(topic),
        timeout_ms,
        ..Default::default()
    }
}

/// The partitions in an answer with their codes.
fn codes(response: &ElectLeadersResponse<'_>) -> Vec<(i32, ErrorCode)> {
    assert_eq!(response.error_code, 0);
    let partitions = response.replica_election_results.iter().flat_map(|t| &t.partition_result);
    partitions
        .map(|one| (one.partition_id, ErrorCode::from_code(one.error_code).expect("a code")))
        .collect()
}

/// A controller that answers one request with `outcomes`, and then publishes `after`.
async fn answered(
    request: ElectLeadersRequest<'static>,
    outcomes: &[(i32, ErrorCode)],
    after: Option<Metadata>,
) -> (Request, ElectLeadersResponse<'static>) {
    let (handle, cache) = (ControllerHandle::default(), Cache::default());
    cache.publish(cluster(&[Some(2), Some(2)]));
    let mut mail = handle.attach();
    let outcomes = outcomes.iter().map(|(partition, code)| (name(*partition), *code)).collect();
    let controller = async {
        let Some(Mail::Ask(asked, reply)) = mail.recv().await else { panic!("a question") };
        reply.send(Reply::ElectLeaders(outcomes)).expect("somebody waits");
        if let Some(after) = after {
            cache.publish(after);
        }
        asked
    };
    let (response, asked) = tokio::join!(elect(&handle, &cache, request), controller);
    (asked, response)
}

#[tokio::test]
async fn an_election_is_told_once_this_broker_knows_the_leader() {
    let outcomes = [(0, ErrorCode::None), (1, ErrorCode::ElectionNotNeeded)];
    let after = cluster(&[Some(1), Some(2)]);
    let (asked, response) =
        answered(request(Some(vec![0, 1]), 60_000), &outcomes, Some(after)).await;
    let partitions = Some(vec![name(0), name(1)]);
    assert_eq!(asked, Request::ElectLeaders { kind: ElectionKind::Preferred, partitions });
    assert_eq!(codes(&response), outcomes);
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_nobody_hears_of_is_told_as_late() {
    let outcomes = [(0, ErrorCode::None), (1, ErrorCode::PreferredLeaderNotAvailable)];
    let (asked, response) = answered(request(None, 1_000), &outcomes, None).await;
    let kind = ElectionKind::Preferred;
    assert_eq!(asked, Request::ElectLeaders { kind, partitions: None });
    let late = [(0, ErrorCode::RequestTimedOut), (1, ErrorCode::PreferredLeaderNotAvailable)];
    assert_eq!(codes(&response), late);
}

/// As Kafka's controller in ZooKeeper mode says it: for each partition, not for the request.
#[tokio::test]
async fn a_broker_that_is_not_the_controller_says_so_of_each_partition() {
    let (handle, cache) = (ControllerHandle::default(), Cache::default());
    cache.publish(cluster(&[Some(2), Some(2)]));
    for (named, expected) in [(Some(vec![7]), vec![7]), (None, vec![0, 1])] {
        let response = elect(&handle, &cache, request(named, 60_000)).await;
        let expected: Vec<_> =
            expected.into_iter().map(|partition| (partition, ErrorCode::NotController)).collect();
        assert_eq!(codes(&response), expected);
    }
}

#[tokio::test]
async fn a_kind_of_election_that_there_is_not_is_refused() {
    let (handle, cache) = (ControllerHandle::default(), Cache::default());
    let request = ElectLeadersRequest { election_type: 2, ..request(None, 60_000) };
    let response = elect(&handle, &cache, request).await;
    assert_eq!(response.error_code, ErrorCode::InvalidRequest.code());
}
