//! A log directory that fails while its broker serves: what it led is led elsewhere.

use std::path::PathBuf;

use broker_protocol::error_code::ErrorCode;

use super::admin::create_on;
use super::client::await_that;
use super::nodes::Cluster;
use super::topic::{Led, acknowledged, await_consumed, await_in_sync, described, produce};

const SETTINGS: [&str; 2] =
    ["log.dirs={dir}/first,{dir}/second", "auto.leader.rebalance.enable=false"];

/// Each batch begins a file, which a directory that is gone cannot have.
const TOPIC: [(&str, &str); 2] = [("min.insync.replicas", "2"), ("segment.bytes", "200")];

/// A record that leaves no room in a segment for another.
fn record(number: i32) -> String {
    format!("{number:0100}")
}

/// The log directory of broker 1 that holds the log of a topic.
fn directory(cluster: &Cluster, topic: &str) -> PathBuf {
    let dirs = ["first", "second"].map(|name| cluster.dir(1).join(name));
    let holds = |dir: &PathBuf| dir.join(format!("{topic}-0")).is_dir();
    dirs.into_iter().find(holds).unwrap()
}

/// Waits until all brokers say that `isr` are in sync, and that one of `leaders` leads.
fn await_led(cluster: &Cluster, topic: &str, leaders: &[i32], isr: &[i32]) {
    let is_so = |led: &Option<Led>| {
        led.as_ref().is_some_and(|led| leaders.contains(&led.leader) && led.isr == isr)
    };
    await_that(&format!("{topic} is led by one of {leaders:?}, with {isr:?} in sync"), || {
        described(cluster, topic, 0).iter().all(is_so)
    });
}

/// Method: broker 1 leads `a` and `b`, and follows in `c` and `d`; one of its two directories is put aside and
/// replaced by a file.
#[test]
fn what_a_failed_directory_led_is_led_elsewhere_and_nothing_else_moves() {
    let mut cluster = Cluster::start(3, &SETTINGS);
    let topics = [("a", 1), ("b", 1), ("c", 2), ("d", 2)];
    for (topic, leader) in topics {
        create_on(&cluster, topic, &[&[leader, 1 + leader % 2, 3]], &TOPIC);
        acknowledged(&cluster, topic, 0, &[&record(0)]);
    }
    let failing = directory(&cluster, "a");
    let is_in_it = topics.map(|(topic, _)| directory(&cluster, topic) == failing);
    assert_ne!(is_in_it[0], is_in_it[1], "what broker 1 leads is in both");
    assert_ne!(is_in_it[2], is_in_it[3], "and what it follows");
    let aside = cluster.dir(1).join("aside");
    std::fs::rename(&failing, &aside).unwrap();
    std::fs::write(&failing, "no directory").unwrap();

    let (code, _) = produce(&mut cluster.client(1), "a", 0, -1, &[&record(1)]);
    assert_eq!(code, ErrorCode::KafkaStorageError);
    for ((topic, leader), has_failed) in topics.into_iter().zip(is_in_it) {
        match (has_failed, leader) {
            (true, 1) => await_led(&cluster, topic, &[2, 3], &[2, 3]),
            (true, _) => await_led(&cluster, topic, &[leader], &[2, 3]),
            (false, _) => await_led(&cluster, topic, &[leader], &[1, 2, 3]),
        }
        acknowledged(&cluster, topic, 0, &[&record(2)]);
    }

    cluster.kill(1);
    cluster.expire(1);
    std::fs::remove_file(&failing).unwrap();
    std::fs::rename(&aside, &failing).unwrap();
    cluster.begin(1);
    for (topic, _) in topics {
        await_in_sync(&cluster, topic, 0, 3);
        await_consumed(&cluster, (topic, 0), &[&record(0), &record(2)]);
    }
}
