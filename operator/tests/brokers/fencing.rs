//! Who has been replaced changes nothing, and calls are lost or end their client like any others.

use operator::admin::client::BrokerError;

use super::bed::{Bed, fence, topic_id};
use super::support::fake::connection::{Fault, Nth};

/// A lower term is refused by every broker, once one has heard of a higher one.
#[tokio::test(start_paused = true)]
async fn a_lower_term_changes_nothing() {
    let bed = Bed::start(2).await;
    bed.broker(0).cordon(fence(5), 1, true).await.unwrap();
    let refused = bed.broker(1).cordon(fence(4), 1, false).await.unwrap_err();
    assert!(matches!(refused, BrokerError::Fenced { .. }), "{refused:?}");
    assert_eq!(bed.broker(1).cordon(fence(5), 0, false).await.unwrap(), [1]);
    let refused = bed.broker(0).cordon(fence(0), 1, false).await.unwrap_err();
    assert!(matches!(refused, BrokerError::Invalid { .. }), "{refused:?}");
}

/// A lost call did nothing, a lost answer everything; asking again is no harm. A killed client hears nothing.
#[tokio::test(start_paused = true)]
async fn calls_to_brokers_have_faults_like_any_others() {
    let bed = Bed::start(1).await;
    bed.topic("t", &[&[0]], &[]).await;
    let next = |ahead: u64| Nth::Write(bed.line.writes() + ahead);
    bed.line.plan(next(1), Fault::Refused);
    bed.line.plan(next(2), Fault::AnswerLost);
    bed.line.plan(next(4), Fault::KilledAfter);
    let mut broker = bed.broker(0);
    let id = topic_id("t");
    let is_marked = || bed.model.with(|state| state.tree.topics["t"].deleting.is_some());
    // A row is (whether it is answered, whether it is done).
    for (is_answered, is_done) in [(false, false), (false, true), (true, true)] {
        let answer = broker.delete_topic(fence(1), "t", &id).await;
        assert_eq!((answer.is_ok(), is_marked()), (is_answered, is_done), "{answer:?}");
    }
    tokio::select! {
        answer = broker.cordon(fence(1), 0, true) => panic!("{answer:?}"),
        () = bed.line.killed() => {}
    }
    assert!(bed.model.with(|state| state.tree.cordoned.contains(&0)));
    let calls: Vec<String> =
        bed.fake.calls().iter().rev().take(2).map(ToString::to_string).collect();
    assert!(calls[0].contains("operator-0: tell orders-0 SetCordon Ok"), "{calls:?}");
}
