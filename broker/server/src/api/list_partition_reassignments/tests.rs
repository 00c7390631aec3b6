//! What an operator is told of moves.

use broker_protocol::message::list_partition_reassignments::ListPartitionReassignmentsTopics;

use super::*;
use crate::controller::handle::Mail;

fn ids(numbers: &[i32]) -> Vec<BrokerId> {
    numbers.iter().copied().map(BrokerId).collect()
}

#[tokio::test]
async fn moves_are_listed_with_what_comes_and_what_goes() {
    let handle = ControllerHandle::default();
    let mut mail = handle.attach();
    let topics = ListPartitionReassignmentsTopics { name: "t".into(), partition_indexes: vec![3] };
    let request =
        ListPartitionReassignmentsRequest { topics: Some(vec![topics]), ..Default::default() };
    let name = TopicPartition { topic: "t".into(), partition: 3 };
    let controller = async {
        let Some(Mail::Ask(asked, reply)) = mail.recv().await else { panic!("a question") };
        assert_eq!(asked, Request::ListReassignments(Some(vec![name.clone()])));
        let assignment =
            Assignment { replicas: ids(&[3, 1, 2]), adding: ids(&[3]), removing: ids(&[2]) };
        let moving = BTreeMap::from([(name.clone(), Arc::new(assignment))]);
        reply.send(Reply::ListReassignments(moving)).expect("somebody waits");
    };
    let (response, ()) = tokio::join!(list(&handle, request), controller);
    let partition = OngoingPartitionReassignment {
        partition_index: 3,
        replicas: vec![3, 1, 2],
        adding_replicas: vec![3],
        removing_replicas: vec![2],
    };
    let topic = OngoingTopicReassignment { name: "t".into(), partitions: vec![partition] };
    let expected = ListPartitionReassignmentsResponse { topics: vec![topic], ..Default::default() };
    assert_eq!(response, expected);
}

#[tokio::test(start_paused = true)]
async fn who_is_not_the_controller_or_takes_too_long_says_so() {
    let request = ListPartitionReassignmentsRequest::default;
    let handle = ControllerHandle::default();
    let response = list(&handle, request()).await;
    assert_eq!(response.error_code, ErrorCode::NotController.code());
    let _silent = handle.attach();
    let response = list(&handle, request()).await;
    assert_eq!(response.error_code, ErrorCode::RequestTimedOut.code());
}
