//! Leave to restart a broker: who has it, until when, and what stands in its way.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use broker_protocol::quantity::BrokerId;

use super::scenarios::proposal;
use super::world::{Asking, World, ids, part};
use crate::controller::state::permit::{LEASE, PermitAnswer, PermitRequest, Refusal};
use crate::controller::state::request::{Reply, Request};

/// The topic `t`, one partition on three brokers, with `min.insync.replicas` 2.
fn cluster() -> World {
    let mut world = World::new(3, 1);
    world.create("t", &[&[1, 2, 3]], true);
    world.topic_seen("t");
    world.settle();
    world
}

fn epoch(world: &World, broker: i32) -> i64 {
    world.tree.brokers[&BrokerId(broker)].epoch
}

fn acquire(world: &mut World, asked: PermitRequest) -> PermitAnswer {
    let token = world.ask(Request::AcquirePermit(asked));
    let Reply::Permit(answer) = world.replies[&token].clone() else { panic!("another reply") };
    answer
}

/// What an operator asks for the broker as it is registered now.
fn request(world: &World, broker: i32, roll: &str) -> PermitRequest {
    PermitRequest {
        broker: BrokerId(broker),
        broker_epoch: epoch(world, broker),
        roll: roll.into(),
        accepts_unavoidable: false,
        min_isr: BTreeMap::from([("t".into(), 2)]),
        default_min_isr: 1,
    }
}

fn refusal(world: &mut World, broker: i32, roll: &str) -> Option<Refusal> {
    let asked = request(world, broker, roll);
    acquire(world, asked).refusal
}

fn goes(world: &mut World, broker: i32) {
    world.kill(BrokerId(broker));
    world.expire(BrokerId(broker));
    world.brokers_seen();
    world.settle();
}

fn comes_back(world: &mut World, broker: i32) {
    world.start(BrokerId(broker), BTreeSet::new());
    world.brokers_seen();
    world.settle();
}

/// Has the leader of `t-0` take these into the ISR.
fn in_sync(world: &mut World, isr: &[i32]) {
    let (leader, leader_epoch, _) = world.state_of(&part("t", 0));
    let partition_epoch = world.tree.topics["t"].states[&0].version;
    let proposal = proposal(leader_epoch, partition_epoch, isr);
    let (leader, partition) = (BrokerId(leader), part("t", 0));
    world.alter(Asking { leader, partition, proposal, broker_epoch: epoch(world, leader.0) });
    assert_eq!(world.state_of(&part("t", 0)).2, isr);
}

/// One broker at a time, from the request until it is back in sync.
#[test]
fn a_permit_is_held_until_the_broker_is_back_in_sync() {
    let mut world = cluster();
    let first = request(&world, 1, "roll");
    assert_eq!(acquire(&mut world, first.clone()).refusal, None);
    assert_eq!(refusal(&mut world, 2, "roll"), Some(Refusal::Held(BrokerId(1))));
    assert_eq!(acquire(&mut world, first.clone()).refusal, None, "renewed");
    goes(&mut world, 1);
    world.tick(LEASE * 10);
    assert_eq!(refusal(&mut world, 2, "roll"), Some(Refusal::Held(BrokerId(1))));
    assert_eq!(acquire(&mut world, first.clone()).refusal, None, "its broker is on the way");
    comes_back(&mut world, 1);
    assert_eq!(refusal(&mut world, 2, "roll"), Some(Refusal::Held(BrokerId(1))));
    in_sync(&mut world, &[2, 3, 1]);
    assert_eq!(acquire(&mut world, first).refusal, Some(Refusal::Stale), "it is done");
    assert_eq!(refusal(&mut world, 2, "roll"), None);
}

/// A partition that has one replica too few already keeps its others; whoever is out of sync may go.
#[test]
fn a_partition_at_its_minimum_keeps_whom_it_has() {
    let mut world = cluster();
    goes(&mut world, 3);
    let asked = request(&world, 2, "roll");
    let answer = acquire(&mut world, asked);
    assert_eq!(answer.refusal, Some(Refusal::MinIsr));
    let [blocked] = &answer.blocked[..] else { panic!("{answer:?}") };
    assert_eq!(blocked.partition, part("t", 0));
    assert_eq!((&blocked.in_sync, blocked.min_isr), (&ids(&[1, 2]), 2));
    assert!(answer.unavoidable.is_empty());
    comes_back(&mut world, 3);
    assert_eq!(refusal(&mut world, 2, "roll"), Some(Refusal::MinIsr), "up is not in sync");
    assert_eq!(
        refusal(&mut world, 3, "mend"),
        None,
        "a broker that is in no ISR is missed nowhere"
    );
}

/// While the broker runs, leave is a lease, and what was safe is judged again.
#[test]
fn a_permit_of_a_broker_that_runs_is_a_lease() {
    let mut world = cluster();
    assert_eq!(refusal(&mut world, 1, "roll"), None);
    world.tick(LEASE.saturating_sub(Duration::from_millis(1)));
    assert_eq!(refusal(&mut world, 2, "roll"), Some(Refusal::Held(BrokerId(1))));
    world.tick(Duration::from_millis(1));
    assert_eq!(refusal(&mut world, 2, "roll"), None);

    goes(&mut world, 3);
    assert_eq!(refusal(&mut world, 2, "roll"), Some(Refusal::MinIsr));
    let held = Some(Refusal::Held(BrokerId(2)));
    assert_eq!(refusal(&mut world, 1, "roll"), held, "what is refused may be on its way");
    world.tick(LEASE);
    assert_eq!(refusal(&mut world, 1, "roll"), Some(Refusal::MinIsr));
}

/// It is given back by the broker's name, so that no permit outlives who knew what it was for.
#[test]
fn a_permit_is_given_back() {
    let mut world = cluster();
    assert_eq!(refusal(&mut world, 1, "roll"), None);
    world.ask(Request::ReleasePermit(BrokerId(2)));
    assert_eq!(refusal(&mut world, 2, "roll"), Some(Refusal::Held(BrokerId(1))));
    goes(&mut world, 1);
    world.ask(Request::ReleasePermit(BrokerId(1)));
    assert_eq!(refusal(&mut world, 2, "roll"), Some(Refusal::MinIsr), "broker 1 is away");
    comes_back(&mut world, 1);
    in_sync(&mut world, &[2, 3, 1]);
    assert_eq!(refusal(&mut world, 2, "roll"), None);
}

/// Too few replicas to do without one: named, and no obstacle for whoever accepts that.
#[test]
fn what_any_restart_breaks_is_told_apart() {
    let mut world = cluster();
    world.create("single", &[&[1]], true);
    world.topic_seen("single");
    world.settle();
    let asked = request(&world, 1, "roll");
    let answer = acquire(&mut world, asked.clone());
    assert_eq!(answer.refusal, Some(Refusal::MinIsr));
    assert!(answer.blocked.is_empty());
    assert_eq!(answer.unavoidable[0].partition, part("single", 0));
    let accepting = PermitRequest { accepts_unavoidable: true, ..asked };
    let answer = acquire(&mut world, accepting.clone());
    assert_eq!((answer.refusal, answer.unavoidable.len()), (None, 1));

    let stale = PermitRequest { broker_epoch: accepting.broker_epoch - 1, ..accepting };
    assert_eq!(acquire(&mut world, stale).refusal, Some(Refusal::Stale));
}

/// A controller that is elected later knows of no permit: it waits until one could be over, then goes by what it sees.
#[test]
fn another_controller_gives_no_leave_while_there_may_be_another() {
    let mut world = cluster();
    assert_eq!(refusal(&mut world, 1, "roll"), None);
    world.fail_over();
    assert_eq!(refusal(&mut world, 2, "roll"), Some(Refusal::NewController));
    goes(&mut world, 1);
    world.tick(LEASE);
    assert_eq!(refusal(&mut world, 2, "roll"), Some(Refusal::MinIsr));
    comes_back(&mut world, 1);
    in_sync(&mut world, &[2, 3, 1]);
    assert_eq!(refusal(&mut world, 2, "roll"), None);
}
