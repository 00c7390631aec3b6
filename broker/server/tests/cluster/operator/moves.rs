//! Replicas that an operator has moved, and what slows them down meanwhile.

use broker_admin::v1::{ClearThrottlesRequest, Move, ReassignPartitionsRequest};
use broker_zookeeper::path;
use tonic::{Code, Status};

use super::super::admin::set_of_topic;
use super::super::topic::produce;
use super::*;

const FAST: &str = "1000000000";

impl Operator {
    fn reassign(
        &self,
        cluster: &Cluster,
        at: i32,
        one: (&str, &str, i32, &[i32]),
        rate: u64,
    ) -> Result<(), Status> {
        let (topic, topic_id, partition, replicas) = one;
        let (topic, topic_id, replicas) =
            (topic.to_owned(), topic_id.to_owned(), replicas.to_vec());
        let request = ReassignPartitionsRequest {
            fence: Some(self.fence()),
            moves: vec![Move { topic, topic_id, partition, replicas }],
            throttle_bytes_per_second: rate,
        };
        self.ask(cluster, at, async |mut client| client.reassign_partitions(request).await)
            .map(drop)
    }

    fn clear(&self, cluster: &Cluster) -> Result<u32, Status> {
        let request = ClearThrottlesRequest { fence: Some(self.fence()) };
        let cleared =
            self.ask(cluster, 1, async |mut client| client.clear_throttles(request).await);
        cleared.map(|cleared| cleared.left)
    }
}

fn text(cluster: &Cluster, path: &str) -> String {
    String::from_utf8(cluster.get(path).0).unwrap()
}

/// A throttle is there while something moves, and a person's own afterwards as before.
#[test]
fn moves_are_throttled_until_they_are_over() {
    let cluster = Cluster::start(3, &["replica.fetch.max.bytes=10000"]);
    let operator = Operator::new(2);
    create_on(&cluster, "t", &[&[1, 2]], &[]);
    create_on(&cluster, "own", &[&[1]], &[]);
    set_of_topic(&cluster, "t", "retention.ms", "9999999");
    set_of_broker(&cluster, 2, "leader.replication.throttled.rate", FAST);
    let record = "x".repeat(10_000);
    for _ in 0..20 {
        assert_eq!(produce(&mut cluster.client(1), "t", 0, -1, &[&record]).0, ErrorCode::None);
    }
    let id = operator.topic(&cluster, "t").topic_id;
    let at = cluster.controller();
    for rate in [1, 2, 2] {
        operator.reassign(&cluster, at, ("t", &id, 0, &[1, 3]), rate).unwrap();
    }
    let topic = operator.topic(&cluster, "t");
    let partition = &topic.partitions[0];
    assert_eq!((&partition.adding, &partition.removing), (&vec![3], &vec![2]));
    assert_eq!(topic.configuration["leader.replication.throttled.replicas"], "*");
    assert!(topic.configuration_author.contains("ANONYMOUS"), "a throttle is nobody's change");
    let of_three = text(&cluster, &path::broker_config(Some(3)));
    assert!(of_three.contains(r#""follower.replication.throttled.rate":"2""#), "{of_three}");
    assert!(operator.cluster(&cluster).has_move_throttles);
    assert_eq!(operator.clear(&cluster).unwrap(), 4, "a topic and three brokers");
    let stale = Operator::new(1);
    assert_eq!(stale.clear(&cluster).unwrap_err().code(), Code::PermissionDenied);

    // As fast as they can.
    operator.reassign(&cluster, at, ("t", &id, 0, &[1, 3]), 0).unwrap();
    await_that("it is done", || operator.topic(&cluster, "t").partitions[0].adding.is_empty());
    for _ in 0..2 {
        assert_eq!(operator.clear(&cluster).unwrap(), 0);
        assert!(!operator.cluster(&cluster).has_move_throttles);
    }
    let topic = operator.topic(&cluster, "t");
    assert_eq!(topic.configuration.into_keys().collect::<Vec<_>>(), ["retention.ms"]);
    let of_two = text(&cluster, &path::broker_config(Some(2)));
    let own = format!(r#""config":{{"leader.replication.throttled.rate":"{FAST}"}}"#);
    assert!(of_two.contains(&own), "{of_two}");
}

/// Another controller of the operator may clear throttles while a move begins: one that begins is throttled, and nothing
/// is left behind.
#[test]
fn a_move_that_begins_while_throttles_are_cleared_is_throttled() {
    let cluster = Cluster::start(3, &["replica.fetch.max.bytes=10000"]);
    let operator = Operator::new(1);
    create_on(&cluster, "t", &[&[1, 2]], &[]);
    let record = "x".repeat(10_000);
    for _ in 0..20 {
        assert_eq!(produce(&mut cluster.client(1), "t", 0, -1, &[&record]).0, ErrorCode::None);
    }
    let (id, at) = (operator.topic(&cluster, "t").topic_id, cluster.controller());
    let is_over = || operator.topic(&cluster, "t").partitions[0].adding.is_empty();
    let rates = || {
        let of = |id| text(&cluster, &path::broker_config(Some(id)));
        (1..=3).map(of).filter(|of| of.contains("throttled")).count()
    };
    for round in 0..20 {
        let [here, there] = if round % 2 == 0 { [2, 3] } else { [3, 2] };
        // What this one was throttled by is noted, and the next one's may be the same.
        operator.reassign(&cluster, at, ("t", &id, 0, &[1, there]), 1_000_000_000).unwrap();
        let rate = if round % 4 < 2 { 1 } else { 1_000_000_000 };
        await_that("it has moved", is_over);
        let request = ReassignPartitionsRequest {
            fence: Some(operator.fence()),
            moves: vec![Move {
                topic: "t".to_owned(),
                topic_id: id.clone(),
                partition: 0,
                replicas: vec![1, here],
            }],
            throttle_bytes_per_second: rate,
        };
        let other = Operator::new(1);
        let mut client = other.client(&cluster, at);
        let moving = std::thread::spawn(move || {
            other.runtime.block_on(client.reassign_partitions(request)).map(drop)
        });
        operator.clear(&cluster).unwrap();
        moving.join().unwrap().unwrap();
        // At the lower one it takes longer than this test does.
        if rate == 1 {
            let topic = operator.topic(&cluster, "t");
            assert_eq!(topic.configuration.len(), 2, "round {round}: {topic:?}");
            assert_eq!(rates(), 3, "round {round}");
        }
        operator.reassign(&cluster, at, ("t", &id, 0, &[1, here]), 0).unwrap();
        await_that("it has moved", is_over);
        assert_eq!(operator.clear(&cluster).unwrap(), 0);
        let topic = operator.topic(&cluster, "t");
        assert!(topic.configuration.is_empty() && rates() == 0, "round {round}: {topic:?}");
    }
}

/// What is there already is done; nothing is begun of a call that cannot be done as a whole.
#[test]
fn only_the_controller_moves_what_can_be_moved() {
    let cluster = Cluster::start(3, &[]);
    let operator = Operator::new(2);
    create_on(&cluster, "t", &[&[1, 2]], &[]);
    let id = operator.topic(&cluster, "t").topic_id;
    let controller = cluster.controller();
    let another = if controller == 1 { 2 } else { 1 };
    let refused = operator.reassign(&cluster, another, ("t", &id, 0, &[1, 3]), 0).unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    let named = refused.metadata().get("ottla-controller").unwrap();
    assert_eq!(named.to_str().unwrap(), controller.to_string());
    operator.cordon(&cluster, 3, true).unwrap();
    let zero = "AAAAAAAAAAAAAAAAAAAAAQ";
    let rows: [(&str, i32, &[i32], Code); 6] = [
        (&id, 0, &[1, 2], Code::Ok),
        (zero, 0, &[1, 2], Code::NotFound),
        (&id, 1, &[1, 2], Code::NotFound),
        (&id, 0, &[1, 3], Code::FailedPrecondition),
        (&id, 0, &[1, 9], Code::FailedPrecondition),
        (&id, 0, &[1, 1], Code::InvalidArgument),
    ];
    for (id, partition, replicas, expected) in rows {
        let moved = operator.reassign(&cluster, controller, ("t", id, partition, replicas), 0);
        let code = moved.map_or_else(|status| status.code(), |()| Code::Ok);
        assert_eq!(code, expected, "{id} {partition} {replicas:?}");
    }
    operator.cordon(&cluster, 3, false).unwrap();
    let stale = Operator::new(1).reassign(&cluster, controller, ("t", &id, 0, &[1, 3]), 0);
    assert_eq!(stale.unwrap_err().code(), Code::PermissionDenied);
    assert_eq!(operator.topic(&cluster, "t").partitions[0].replicas, [1, 2]);
    operator.reassign(&cluster, controller, ("t", &id, 0, &[3, 1]), 0).unwrap();
    await_that("it has moved", || operator.topic(&cluster, "t").partitions[0].replicas == [3, 1]);
}

/// Whoever is cordoned gets nothing that was not in the tree by then, and whoever is replaced moves nothing after the
/// next one was heard, whenever that comes: the write and what it relies on are one.
#[test]
fn no_move_is_written_after_what_it_relies_on_has_changed() {
    let cluster = Cluster::start(3, &[]);
    create_on(&cluster, "t", &[&[1]], &[]);
    let first = Operator::new(1);
    first.cordon(&cluster, 9, false).unwrap();
    let (id, at) = (first.topic(&cluster, "t").topic_id, cluster.controller());
    let assigned = || {
        let node = text(&cluster, &path::topic("t"));
        let read = broker_zookeeper::node::topic::Topic::decode("t", node.as_bytes()).unwrap();
        read.partitions[&0].clone()
    };
    for round in 1..12 {
        let [before, after] = [round, round + u64::from(round % 2 == 0)].map(Operator::new);
        let target: &[i32] = if assigned()[0] == 1 { &[3] } else { &[1] };
        let other = target[0];
        let request = ReassignPartitionsRequest {
            fence: Some(before.fence()),
            moves: vec![Move {
                topic: "t".to_owned(),
                topic_id: id.clone(),
                partition: 0,
                replicas: target.to_vec(),
            }],
            throttle_bytes_per_second: 0,
        };
        let mut client = before.client(&cluster, at);
        let moving = std::thread::spawn(move || {
            before.runtime.block_on(client.reassign_partitions(request)).map(drop)
        });
        // The same operator, or the next one.
        after.cordon(&cluster, other, true).unwrap();
        let (then, moved) = (assigned(), moving.join().unwrap());
        assert_eq!(then.contains(&other), moved.is_ok(), "round {round}: {then:?} {moved:?}");
        assert_eq!(assigned().contains(&other), moved.is_ok(), "round {round}: {moved:?}");
        after.cordon(&cluster, other, false).unwrap();
        await_that("it is done", || assigned().len() == 1);
    }
}
