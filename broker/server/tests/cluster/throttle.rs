//! Replication that is throttled: a replica that is added takes its time, and nobody else does.

use std::time::{Duration, Instant};

use broker_protocol::error_code::ErrorCode;

use super::admin::{create_on, reassign, set_of_broker};
use super::nodes::Cluster;
use super::topic::{await_in_sync, described, produce};

/// Bytes a second, and how many there are to copy.
const RATE: usize = 200_000;
const SIZE: usize = 700_000;

/// Of one batch, and of what a replica is given at once.
const BATCH: usize = 10_000;

/// Adds a replica while `sides` are throttled, writing all the while; returns how long it took.
fn time_to_add(topic_settings: &[(&str, &str)], rates: &[&str]) -> Duration {
    let max_bytes = format!("replica.fetch.max.bytes={BATCH}");
    let cluster = Cluster::start(3, &[&max_bytes]);
    let settings = [topic_settings, &[("min.insync.replicas", "2")]].concat();
    create_on(&cluster, "t", &[&[1, 2]], &settings);
    let record = "x".repeat(BATCH);
    for _ in 0..SIZE / BATCH {
        assert_eq!(produce(&mut cluster.client(1), "t", 0, -1, &[&record]).0, ErrorCode::None);
    }
    for (broker, rate) in (1..=3).flat_map(|broker| rates.iter().map(move |rate| (broker, rate))) {
        set_of_broker(&cluster, broker, rate, &RATE.to_string());
    }
    let begin = Instant::now();
    reassign(&cluster, "t", 0, &[1, 2, 3]);
    // Whoever is in sync is asked to take part in each of these. Were one held up by what is throttled, it
    // would be the last before the replica is there.
    let mut client = cluster.client(1);
    let mut acknowledged = 0;
    while described(&cluster, "t", 0)[0].as_ref().is_some_and(|led| led.isr.len() < 3) {
        assert_eq!(produce(&mut client, "t", 0, -1, &["y"]).0, ErrorCode::None);
        acknowledged += 1;
    }
    let took = begin.elapsed();
    await_in_sync(&cluster, "t", 0, 3);
    assert!(acknowledged > 2, "{acknowledged} appends while a replica was added");
    took
}

/// The time that the rate asks for, but for the first second's share and an answer beyond it.
fn least() -> Duration {
    Duration::from_secs_f64((SIZE - RATE - 2 * BATCH) as f64 / RATE as f64)
}

#[test]
fn a_leader_gives_no_more_than_its_rate_to_a_replica_that_is_added() {
    let took = time_to_add(
        &[("leader.replication.throttled.replicas", "0:1,0:2")],
        &["leader.replication.throttled.rate"],
    );
    assert!(took >= least(), "{SIZE} bytes at {RATE} a second in {took:?}");
}

#[test]
fn a_follower_takes_no_more_than_its_rate_while_it_is_added() {
    let took = time_to_add(
        &[("follower.replication.throttled.replicas", "*")],
        &["follower.replication.throttled.rate"],
    );
    assert!(took >= least(), "{SIZE} bytes at {RATE} a second in {took:?}");
}
