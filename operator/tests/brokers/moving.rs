//! Topics grow and move; brokers are emptied and forgotten.

use broker_admin::v1::{GrowTopicRequest, Move, ReplicaList};
use operator::admin::client::BrokerError;

use super::bed::{Bed, fence, topic_id};

fn one_move(partition: i32, replicas: &[i32]) -> Move {
    Move { topic: "t".to_owned(), topic_id: topic_id("t"), partition, replicas: replicas.to_vec() }
}

/// A broker is emptied in steps, with fewer bytes left each time; then it can be forgotten, and not before.
#[tokio::test(start_paused = true)]
async fn a_broker_is_emptied_and_forgotten() {
    let bed = Bed::start(3).await;
    bed.topic("t", &[&[2, 0], &[0, 1]], &[]).await;
    let mut controller = bed.broker(0);
    controller.cordon(fence(1), 2, true).await.unwrap();
    let refused = controller.reassign(&fence(1), &[one_move(1, &[0, 2])], 0).await.unwrap_err();
    assert!(matches!(refused, BrokerError::Precondition { .. }), "{refused:?}");
    controller.reassign(&fence(1), &[one_move(0, &[0, 1])], 8 << 20).await.unwrap();
    let mut left = Vec::new();
    for _ in 0..6 {
        let mut bytes = 0;
        for broker in 0..3 {
            bytes += bed.broker(broker).bytes_left(Some(2), "").await.unwrap().unwrap_or_default();
        }
        left.push(bytes >> 20);
        bed.pass(1).await;
    }
    assert!(left[0] > 20 && left.is_sorted_by(|one, next| one >= next), "{left:?}");
    assert_eq!(left.last(), Some(&0), "{left:?}");
    let t = controller.topics(&["t"]).await.unwrap().remove(0);
    assert_eq!((&*t.partitions[0].replicas, &*t.partitions[0].in_sync), (&[0, 1][..], &[0, 1][..]));
    assert_eq!(controller.clear_throttles(fence(1)).await.unwrap(), 0);

    let refused = controller.forget_broker(fence(1), 2).await.unwrap_err();
    assert!(matches!(refused, BrokerError::Precondition { .. }), "{refused:?}");
    bed.fake.delete("statefulsets", "default", "orders-2");
    bed.pass(30).await;
    controller.forget_broker(fence(1), 2).await.unwrap();
    let brokers = controller.cluster().await.unwrap().brokers;
    assert_eq!(brokers.iter().map(|one| one.broker_id).collect::<Vec<_>>(), [0, 1]);
    assert_eq!(bed.violations(), [""; 0]);
}

/// A topic is made and grown once, however often it is asked for; another one of its name is not touched.
#[tokio::test(start_paused = true)]
async fn what_was_asked_for_before_is_no_error() {
    let bed = Bed::start(2).await;
    for _ in 0..2 {
        bed.topic("t", &[&[0]], &[("retention.ms", "1")]).await;
    }
    let mut broker = bed.broker(1);
    let growth = |from| GrowTopicRequest {
        fence: Some(fence(1)),
        name: "t".to_owned(),
        topic_id: topic_id("t"),
        from,
        assignment: vec![ReplicaList { brokers: vec![1] }],
    };
    for _ in 0..2 {
        broker.grow_topic(growth(1)).await.unwrap();
    }
    let refused = broker.grow_topic(growth(3)).await.unwrap_err();
    assert!(matches!(refused, BrokerError::Precondition { .. }), "{refused:?}");
    let other = GrowTopicRequest { topic_id: topic_id("u"), ..growth(2) };
    assert!(matches!(broker.grow_topic(other).await, Err(BrokerError::NotFound { .. })));
    broker.delete_topic(fence(1), "t", &topic_id("u")).await.unwrap();
    bed.pass(10).await;
    let t = broker.topics(&[]).await.unwrap().remove(0);
    assert_eq!((t.partitions.len(), t.configuration["retention.ms"].as_str()), (2, "1"));
    assert_eq!(t.configuration_author, "operator operator-0 in term 1");
}
