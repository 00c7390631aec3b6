//! Leaders and controllers that go: what was acknowledged stays, and what was not is the same everywhere.

use std::ops::Range;

use broker_zookeeper::node::partition_state::PartitionState;
use broker_zookeeper::path;

use super::client::await_that;
use super::nodes::Cluster;
use super::topic::{
    acknowledged, await_consumed, await_in_sync, consumed, create, described, produce,
};

const SAFE: [(&str, &str); 1] = [("min.insync.replicas", "2")];

fn numbers(range: Range<i32>) -> Vec<String> {
    range.map(|number| number.to_string()).collect()
}

fn write(cluster: &Cluster, topic: &str, range: Range<i32>) {
    for number in numbers(range) {
        acknowledged(cluster, topic, 0, &[&number]);
    }
}

/// Asserts that all replicas hold the same bytes; the brokers have ended.
fn assert_same(cluster: &Cluster, topic: &str, partitions: i32) {
    for partition in 0..partitions {
        let first = cluster.log(1, topic, partition);
        assert!(!first.is_empty());
        for id in [2, 3] {
            assert!(cluster.log(id, topic, partition) == first, "{topic}-{partition} on {id}");
        }
    }
}

#[test]
fn what_was_acknowledged_survives_its_leader_and_the_killed_broker_catches_up() {
    survives_its_leader("3.9");
}

/// Leaders write ISRs into the tree themselves, and followers ask where epochs end.
#[test]
fn what_was_acknowledged_survives_its_leader_where_brokers_speak_an_old_release() {
    for release in ["0.11.0", "2.3", "2.7-IV1"] {
        survives_its_leader(release);
    }
}

fn survives_its_leader(release: &str) {
    let mut cluster = Cluster::start(3, &[&format!("inter.broker.protocol.version={release}")]);
    create(&cluster, "t", 1, &SAFE);
    write(&cluster, "t", 0..20);
    let leader = await_in_sync(&cluster, "t", 0, 3);
    cluster.kill(leader);
    cluster.expire(leader);
    let next = await_in_sync(&cluster, "t", 0, 2);
    assert_ne!(next, leader);
    write(&cluster, "t", 20..40);
    await_consumed(&cluster, ("t", 0), &numbers(0..40));
    cluster.begin(leader);
    await_in_sync(&cluster, "t", 0, 3);
    write(&cluster, "t", 40..50);
    cluster.kill_all();
    assert_same(&cluster, "t", 1);
}

/// Waits for these records: a producer that is not idempotent sends again what a leader took in and could not
/// acknowledge.
fn await_repeated(cluster: &Cluster, range: Range<i32>) {
    await_that(&format!("{range:?}, each once or more"), || {
        let mut records = consumed(cluster, "t", 0);
        records.dedup();
        records == numbers(range.clone())
    });
}

/// Kills the controller, which `ends` may end the session of too, and has it back once another has taken
/// over.
fn lose_the_controller(cluster: &mut Cluster, ends: impl Fn(&Cluster, i32)) {
    create(cluster, "t", 3, &SAFE);
    write(cluster, "t", 0..5);
    let controller = cluster.controller();
    cluster.kill(controller);
    ends(cluster, controller);
    for partition in 0..3 {
        await_in_sync(cluster, "t", partition, 2);
    }
    assert_ne!(cluster.controller(), controller);
    write(cluster, "t", 5..10);
    cluster.begin(controller);
    for partition in 0..3 {
        await_in_sync(cluster, "t", partition, 3);
    }
}

#[test]
fn the_controller_is_succeeded_and_partitions_go_on() {
    let mut cluster = Cluster::start(3, &[]);
    lose_the_controller(&mut cluster, Cluster::expire);
    create(&cluster, "u", 1, &SAFE);
    await_in_sync(&cluster, "t", 0, 3);
    await_consumed(&cluster, ("t", 0), &numbers(0..10));
}

/// A controller whose process is gone is succeeded, and what it led is led, though its session goes on.
#[test]
fn nobody_waits_for_the_session_of_a_controller_that_was_killed() {
    let mut cluster = Cluster::start(3, &[]);
    lose_the_controller(&mut cluster, |_, _| ());
    await_repeated(&cluster, 0..10);
}

/// A leader that stops in order hands over first; nobody waits for a session to end.
#[test]
fn every_broker_can_be_stopped_and_started_in_turn() {
    let mut cluster = Cluster::start(3, &[]);
    create(&cluster, "t", 1, &SAFE);
    for (turn, id) in [1, 2, 3].into_iter().enumerate() {
        let turn = turn as i32;
        write(&cluster, "t", 20 * turn..20 * turn + 10);
        cluster.stop(id);
        await_in_sync(&cluster, "t", 0, 2);
        write(&cluster, "t", 20 * turn + 10..20 * turn + 20);
        cluster.begin(id);
        await_in_sync(&cluster, "t", 0, 3);
    }
    await_in_sync(&cluster, "t", 0, 3);
    await_consumed(&cluster, ("t", 0), &numbers(0..60));
    cluster.kill_all();
    assert_same(&cluster, "t", 1);
}

/// A broker that stops goes on serving until others lead: its clients are cut off after that. So does one that
/// is controller, too.
#[test]
fn who_stops_in_order_hands_over_before_it_goes() {
    let mut cluster = Cluster::start(3, &["auto.leader.rebalance.enable=false"]);
    create(&cluster, "t", 6, &SAFE);
    let controller = cluster.controller();
    for stopped in [controller % 3 + 1, controller] {
        let led: Vec<i32> =
            (0..6).filter(|one| await_in_sync(&cluster, "t", *one, 3) == stopped).collect();
        assert!(!led.is_empty());
        let states: Vec<_> = led.iter().map(|one| path::partition_state("t", *one)).collect();
        let then = cluster.stop_and_look(stopped, states.clone());
        for (path, state) in states.iter().zip(then) {
            let state = PartitionState::decode(path, &state).unwrap();
            assert!(state.leader > 0 && state.leader != stopped, "{path}: {state:?}");
        }
        for partition in led {
            await_in_sync(&cluster, "t", partition, 2);
        }
        cluster.begin(stopped);
    }
}

/// What only a deposed leader has is cut when it comes back.
///
/// Method: the leader alone appends with `acks=1` and is killed; another is elected out of the ISR, as the
/// topic allows, and appends at the same offsets.
#[test]
fn a_deposed_leader_gives_up_what_the_others_do_not_have() {
    for release in ["3.9", "2.6", "0.11.0"] {
        gives_up_what_the_others_do_not_have(release);
    }
}

fn gives_up_what_the_others_do_not_have(release: &str) {
    let mut cluster = Cluster::start(3, &[&format!("inter.broker.protocol.version={release}")]);
    create(&cluster, "t", 1, &[("unclean.leader.election.enable", "true")]);
    write(&cluster, "t", 0..5);
    let leader = await_in_sync(&cluster, "t", 0, 3);
    let others: Vec<i32> = cluster.running().into_iter().filter(|id| *id != leader).collect();
    for other in &others {
        cluster.kill(*other);
        cluster.expire(*other);
    }
    await_in_sync(&cluster, "t", 0, 1);
    produce(&mut cluster.client(leader), "t", 0, 1, &["lost", "lost", "lost"]);
    cluster.kill(leader);
    cluster.expire(leader);
    for other in &others {
        cluster.begin(*other);
    }
    await_in_sync(&cluster, "t", 0, 2);
    write(&cluster, "t", 5..7);
    cluster.begin(leader);
    await_in_sync(&cluster, "t", 0, 3);
    await_consumed(&cluster, ("t", 0), &numbers(0..7));
    cluster.kill_all();
    assert_same(&cluster, "t", 1);
}

/// A session that ends while its broker lives costs leadership for a moment, and no process.
#[test]
fn a_broker_whose_session_ends_registers_anew_and_is_in_sync_again() {
    let mut cluster = Cluster::start(3, &[]);
    create(&cluster, "t", 3, &SAFE);
    write(&cluster, "t", 0..5);
    for id in [1, 2, 3] {
        cluster.expire(id);
        for partition in 0..3 {
            await_in_sync(&cluster, "t", partition, 3);
        }
        write(&cluster, "t", 5 * id..5 * id + 5);
    }
    let said = described(&cluster, "t", 0);
    assert!(said.iter().all(|one| *one == said[0]), "{said:?}");
    await_in_sync(&cluster, "t", 0, 3);
    await_repeated(&cluster, 0..20);
    cluster.kill_all();
    assert_same(&cluster, "t", 1);
}
