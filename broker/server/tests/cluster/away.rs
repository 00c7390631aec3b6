//! A coordination tree that answers nobody, and brokers that are told to stop when they cannot hand over or have
//! not started yet.

use std::thread;
use std::time::Duration;

use broker_protocol::error_code::ErrorCode;
use broker_protocol::message::create_topics::{
    CreatableTopic, CreateTopicsRequest, CreateTopicsResponse,
};
use broker_protocol::message::incremental_alter_configs::{
    AlterConfigsResource, AlterableConfig, IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResponse,
};

use super::client::await_that;
use super::metrics::value;
use super::nodes::Cluster;
use super::topic::{acknowledged, await_consumed, await_in_sync, create, produce};

/// What systemd and Kubernetes wait for at least before they kill.
const PATIENCE: Duration = Duration::from_secs(25);

/// Below what answers in progress have when a broker stops.
const AT_ONCE: Duration = Duration::from_secs(4);

/// The type of a resource that is a topic.
const TOPIC: i8 = 2;

/// The controller can write no other leaders, nor can the others be told of one.
#[test]
fn a_broker_stops_in_time_though_the_tree_is_away() {
    let mut cluster = Cluster::start(3, &[]);
    create(&cluster, "t", 3, &[]);
    acknowledged(&cluster, "t", 0, &["a"]);
    let controller = cluster.controller();
    let held = cluster.hold();
    cluster.stop_within(controller, PATIENCE);
    let other = cluster.running()[0];
    cluster.stop_within(other, PATIENCE);
    drop(held);
    for id in [controller, other] {
        cluster.expire(id);
        cluster.begin(id);
    }
    await_in_sync(&cluster, "t", 0, 3);
    await_consumed(&cluster, ("t", 0), &["a"]);
}

/// An acknowledgement that waits for a follower which is gone, at a leader that stops: it cannot come any more,
/// and who waits for it has another leader to look for. Nor does the stop wait.
#[test]
fn who_waits_for_other_replicas_hears_at_once_that_the_leader_stops() {
    let mut cluster = Cluster::start(3, &["controlled.shutdown.enable=false"]);
    create(&cluster, "t", 3, &[]);
    let controller = cluster.controller();
    let mut led = (0..3).map(|partition| (partition, await_in_sync(&cluster, "t", partition, 3)));
    let (partition, leader) = led.find(|(_, leader)| *leader != controller).unwrap();
    // The follower that goes is the one that would take it out of the ISR.
    cluster.kill(controller);
    let mut client = cluster.client(leader);
    let asked = thread::spawn(move || produce(&mut client, "t", partition, -1, &["a"]));
    let end = format!("kafka_log_log_logendoffset{{topic=\"t\",partition=\"{partition}\"}}");
    await_that("what waits", || value(&cluster, leader, &end) == Some(1.0));
    cluster.stop_within(leader, AT_ONCE);
    assert_eq!(asked.join().unwrap().0, ErrorCode::NotLeaderOrFollower);
}

/// A broker that waits to be told what is its own, by a controller that is gone.
#[test]
fn a_broker_that_is_stopped_before_it_has_started_leaves_no_registration() {
    let mut cluster = Cluster::start(2, &[]);
    let controller = cluster.controller();
    let other = 3 - controller;
    cluster.stop(other);
    cluster.kill(controller);
    cluster.begin_in_vain(other);
    assert!(!cluster.is_registered(other));
    assert!(cluster.is_registered(controller), "its session goes on");
}

/// Nobody is left who has seen the port of the controller open, and no session ends.
#[test]
fn the_first_of_a_cluster_that_was_killed_does_not_wait_for_the_session_of_the_controller() {
    let mut cluster = Cluster::start(3, &[]);
    create(&cluster, "t", 3, &[]);
    acknowledged(&cluster, "t", 0, &["a"]);
    let controller = cluster.controller();
    cluster.kill_all();
    let first = (1..=3).find(|id| *id != controller).unwrap();
    cluster.begin(first);
    await_that("another controller", || cluster.has_controller_beside(controller));
    await_in_sync(&cluster, "t", 0, 1);
}

#[test]
fn what_needs_the_tree_is_refused_in_words_while_it_is_away() {
    let cluster = Cluster::start(1, &[]);
    create(&cluster, "t", 1, &[]);
    let held = cluster.hold();
    let mut client = cluster.client(1);
    let new = |name: &str| CreatableTopic {
        name: name.to_owned().into(),
        num_partitions: 1,
        replication_factor: 1,
        ..Default::default()
    };
    let request = CreateTopicsRequest {
        topics: (0..60).map(|number| new(&format!("u{number}"))).collect(),
        timeout_ms: 1_000,
        ..Default::default()
    };
    // Within what clients wait for: the tree is waited for once, not once a topic.
    let answer = client.call(&request, 5);
    let response: CreateTopicsResponse<'_> = answer.read(5);
    for topic in &response.topics {
        assert_eq!(topic.error_code, ErrorCode::RequestTimedOut.code());
        assert!(topic.error_message.as_ref().unwrap().contains("ZooKeeper"), "{topic:?}");
    }
    let configs = vec![AlterableConfig {
        name: "retention.ms".into(),
        value: Some("60000".into()),
        ..Default::default()
    }];
    let resource =
        AlterConfigsResource { resource_type: TOPIC, resource_name: "t".into(), configs };
    let request =
        IncrementalAlterConfigsRequest { resources: vec![resource], ..Default::default() };
    let answer = client.call(&request, 1);
    let response: IncrementalAlterConfigsResponse<'_> = answer.read(1);
    assert_eq!(response.responses[0].error_code, ErrorCode::RequestTimedOut.code());
    drop(held);
    // What was asked is done now, or can be.
    await_that("a topic after all", || {
        let request =
            CreateTopicsRequest { topics: vec![new("w")], timeout_ms: 1_000, ..Default::default() };
        let answer = client.call(&request, 5);
        let response: CreateTopicsResponse<'_> = answer.read(5);
        [0, ErrorCode::TopicAlreadyExists.code()].contains(&response.topics[0].error_code)
    });
}
