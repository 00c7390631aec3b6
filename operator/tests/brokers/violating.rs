//! What must never happen is noticed, and told in words.

use operator::admin::Accepts;

use super::bed::{Bed, fence};

async fn bed() -> Bed {
    let bed = Bed::start(3).await;
    bed.topic("t", &[&[0, 1, 2]], &[("min.insync.replicas", "2")]).await;
    bed
}

/// A pod is deleted without leave, and two of them at once.
#[tokio::test(start_paused = true)]
async fn pods_that_are_deleted_without_leave_are_told() {
    let bed = bed().await;
    bed.apply(3, "0.2.0", &[]);
    bed.fake.delete("pods", "default", "orders-1-0");
    bed.pass(3).await;
    let alone = "orders: broker 1 was deleted without a permit, with 1 replicas";
    assert_eq!(bed.violations(), [alone]);
    bed.fake.delete("pods", "default", "orders-2-0");
    bed.pass(3).await;
    let both = [
        alone,
        "orders: broker 2 was deleted without a permit, with 1 replicas",
        "orders: broker 2 was deleted: t-0 fall below min.insync.replicas",
        "orders: broker 2 was deleted while broker 1 is not back",
    ];
    assert_eq!(bed.violations(), both);
}

/// Nobody is blamed for a pod that the test ends.
#[tokio::test(start_paused = true)]
async fn a_pod_that_the_test_ends_is_nobodys_fault() {
    let bed = bed().await;
    bed.model.excuse(1);
    bed.fake.delete("pods", "default", "orders-1-0");
    bed.pass(30).await;
    assert_eq!(bed.violations(), [""; 0]);
    assert_eq!(bed.model.starts()[1], (1, 2));
}

/// A broker with leave is restarted, and comes back as what it was.
#[tokio::test(start_paused = true)]
async fn a_restart_for_nothing_is_told() {
    let bed = bed().await;
    let epoch = bed.model.with(|state| state.epoch(1));
    let accepts = Accepts::Nothing;
    bed.broker(0).acquire(fence(1), 1, epoch, "roll", accepts).await.unwrap();
    bed.fake.delete("pods", "default", "orders-1-0");
    bed.pass(30).await;
    assert_eq!(bed.violations(), ["orders: broker 1 was restarted and is made of the same"]);
}

/// A broker is taken away, or its disk, while it holds replicas.
#[tokio::test(start_paused = true)]
async fn a_lost_replica_is_told() {
    let bed = bed().await;
    bed.model.excuse(2);
    bed.fake.delete("statefulsets", "default", "orders-2");
    bed.pass(10).await;
    let taken = "orders: broker 2 was taken away with 1 replicas";
    assert_eq!(bed.violations(), [taken]);
    bed.fake.delete("persistentvolumeclaims", "default", "data-orders-1-0");
    bed.model.excuse(1);
    bed.fake.delete("pods", "default", "orders-1-0");
    bed.pass(30).await;
    assert_eq!(bed.violations()[1..], ["orders: a disk of broker 1 is gone, with 1 replicas"]);
}
