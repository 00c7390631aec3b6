//! Whose id it is, and whose address: a newcomer takes neither from a broker that lives, nor its records.

use broker_zookeeper::path;

use super::client::await_that;
use super::metrics::value;
use super::nodes::Cluster;
use super::topic::{acknowledged, await_consumed, await_in_sync, create};

/// Orders that were refused since they are for another registration.
const REFUSED: &str = "kafka_network_requestmetrics_errors_total{request=\"LeaderAndIsr\",error=\"STALE_BROKER_EPOCH\"}";

/// A disk that was copied while its broker lives: the copy does not start, and the original goes on.
#[test]
fn the_copy_of_a_disk_does_not_take_the_place_of_the_broker_that_lives() {
    let cluster = Cluster::start(1, &[]);
    create(&cluster, "t", 1, &[]);
    acknowledged(&cluster, "t", 0, &["a"]);
    let copy = cluster.copy(1);
    acknowledged(&cluster, "t", 0, &["b"]);
    let refused = cluster.refusal(1, copy.path(), &[]);
    let address = cluster.address(1).to_string();
    for word in ["broker.id=1 is taken", "a copy of its own", &address] {
        assert!(refused.contains(word), "{refused}");
    }
    acknowledged(&cluster, "t", 0, &["c"]);
    await_consumed(&cluster, ("t", 0), &["a", "b", "c"]);
}

/// A broker that tells the cluster the address of another does not join.
#[test]
fn the_address_of_another_broker_is_refused() {
    let cluster = Cluster::start(2, &[]);
    let (dir, address) = (tempfile::tempdir().unwrap(), cluster.address(1));
    let advertised = format!("advertised.listeners=PLAINTEXT://{address}");
    let refused = cluster.refusal(8, dir.path(), &[advertised]);
    for word in ["advertised.listeners", &address.to_string(), "broker 1", "broker.id=8"] {
        assert!(refused.contains(word), "{refused}");
    }
}

/// One that is registered all the same, as by another's software: what it is told reaches the broker at that
/// address, which keeps all that it has.
#[test]
fn a_broker_that_is_told_what_is_meant_for_another_keeps_its_replicas() {
    let cluster = Cluster::start(3, &[]);
    create(&cluster, "t", 1, &[]);
    acknowledged(&cluster, "t", 0, &["a"]);
    let leader = await_in_sync(&cluster, "t", 0, 3);
    let (registration, _) = cluster.get(&path::broker_id(leader));
    cluster.make(&path::broker_id(8), &registration);
    await_that("a refused order", || value(&cluster, leader, REFUSED).is_some_and(|it| it > 0.0));
    assert_eq!(cluster.strays(leader), [""; 0]);
    acknowledged(&cluster, "t", 0, &["b"]);
    await_consumed(&cluster, ("t", 0), &["a", "b"]);
}
