//! Leave to restart, and what comes after: the rules of the controller.

use std::time::Duration;

use operator::admin::client::BrokerError;
use operator::admin::{Accepts, Verdict};

use super::bed::{Bed, fence};

const NOW: Verdict = Verdict::Granted { still_led: None };

async fn ask(bed: &Bed, controller: i32, broker: i32, accepts: Accepts) -> Verdict {
    let epoch = bed.model.with(|state| state.epoch(broker));
    let mut controller = bed.broker(controller);
    controller.acquire(fence(1), broker, epoch, "roll", accepts).await.unwrap()
}

/// A broker that has leave hands over, is restarted, and another gets none before it is in sync again.
#[tokio::test(start_paused = true)]
async fn one_broker_at_a_time_has_leave() {
    let bed = Bed::start(3).await;
    bed.topic("t", &[&[1, 2, 0], &[2, 0, 1]], &[("min.insync.replicas", "2")]).await;
    let refused = bed.broker(0).drain(fence(1), 1).await.unwrap_err();
    assert!(matches!(refused, BrokerError::Precondition { .. }), "{refused:?}");
    assert_eq!(ask(&bed, 0, 1, Accepts::Nothing).await, NOW);
    assert!(matches!(ask(&bed, 0, 2, Accepts::Nothing).await, Verdict::Refused { .. }));
    assert_eq!(bed.broker(0).drain(fence(1), 1).await.unwrap(), 0);
    let leaders = bed.model.with(|state| {
        state.tree.topics["t"].partitions.iter().map(|one| one.leader).collect::<Vec<_>>()
    });
    assert_eq!(leaders, [Some(2), Some(2)]);

    bed.apply(3, "0.2.0", &[]);
    bed.fake.delete("pods", "default", "orders-1-0");
    bed.pass(7).await;
    assert_eq!(bed.in_sync("t"), [[0, 2], [0, 2]]);
    assert!(matches!(ask(&bed, 0, 2, Accepts::Everything).await, Verdict::Refused { .. }));
    bed.pass(20).await;
    assert_eq!(bed.in_sync("t"), [[0, 1, 2], [0, 1, 2]]);
    assert_eq!(ask(&bed, 0, 2, Accepts::Nothing).await, NOW);
    assert_eq!(bed.violations(), [""; 0]);
}

/// What would fall below `min.insync.replicas` is named; what does so by any restart may be accepted.
#[tokio::test(start_paused = true)]
async fn too_few_in_sync_are_a_reason() {
    let bed = Bed::start(3).await;
    bed.topic("few", &[&[1, 2]], &[("min.insync.replicas", "2")]).await;
    let Verdict::Refused { partitions, is_for_ever, .. } = ask(&bed, 0, 1, Accepts::Nothing).await
    else {
        panic!("it was granted")
    };
    assert!(is_for_ever && partitions[0].starts_with("few-0"), "{partitions:?}");
    assert_eq!(ask(&bed, 0, 1, Accepts::Unavoidable).await, NOW);
    bed.broker(0).release(fence(1), 1).await.unwrap();

    bed.topic("t", &[&[0, 1, 2]], &[("min.insync.replicas", "2")]).await;
    bed.model.crash(2);
    let refused = ask(&bed, 0, 1, Accepts::Unavoidable).await;
    assert!(matches!(refused, Verdict::Refused { is_for_ever: false, .. }), "{refused:?}");
    assert_eq!(ask(&bed, 0, 1, Accepts::Everything).await, NOW);
}

/// Leave that is not renewed ends; a new controller knows of none, and waits until it would be over.
#[tokio::test(start_paused = true)]
async fn leave_ends_with_its_time_or_its_controller() {
    let bed = Bed::start(3).await;
    assert_eq!(ask(&bed, 0, 1, Accepts::Nothing).await, NOW);
    bed.pass(61).await;
    assert_eq!(ask(&bed, 0, 2, Accepts::Nothing).await, NOW);
    bed.fake.delete("pods", "default", "orders-0-0");
    bed.pass(20).await;
    let stale = bed.broker(1).acquire(fence(1), 2, Some(1), "roll", Accepts::Nothing).await;
    assert!(matches!(stale.unwrap(), Verdict::Refused { .. }));
    assert!(matches!(ask(&bed, 1, 2, Accepts::Nothing).await, Verdict::Refused { .. }));
    tokio::time::advance(Duration::from_mins(1)).await;
    assert_eq!(ask(&bed, 1, 2, Accepts::Nothing).await, NOW);
}
