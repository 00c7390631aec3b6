//! Leave to restart a broker: who has it, until when, and what stands in its way.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use broker_protocol::quantity::BrokerId;

use super::scenarios::proposal;
use super::world::{Asking, World, ids, part};
use crate::controller::state::permit::{
    Accepts, Holder, LEASE, NAMED_MAX, PermitAnswer, PermitRequest, Refusal,
};
use crate::controller::state::request::{ElectionKind, Reply, Request};

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
        term: 1,
        broker: BrokerId(broker),
        broker_epoch: Some(epoch(world, broker)),
        roll: roll.into(),
        accepts: Accepts::Nothing,
        min_isr: BTreeMap::from([("t".into(), 2)]),
        default_min_isr: 1,
    }
}

fn refusal(world: &mut World, broker: i32, roll: &str) -> Option<Refusal> {
    let asked = request(world, broker, roll);
    acquire(world, asked).refusal
}

/// The broker that has leave, as a refusal names it.
fn holder(refusal: Option<Refusal>) -> Option<i32> {
    match refusal {
        Some(Refusal::Held(holder)) => Some(holder.broker.0),
        _ => None,
    }
}

fn release(world: &mut World, broker: i32) {
    let token = world.ask(Request::ReleasePermit { term: 1, broker: BrokerId(broker) });
    assert_eq!(world.replies[&token], Reply::PermitReleased(Ok(())));
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
    assert_eq!(holder(refusal(&mut world, 2, "roll")), Some(1));
    assert_eq!(acquire(&mut world, first.clone()).refusal, None, "renewed");
    goes(&mut world, 1);
    world.tick(LEASE * 10);
    assert_eq!(holder(refusal(&mut world, 2, "roll")), Some(1));
    assert_eq!(acquire(&mut world, first.clone()).refusal, None, "its broker is on the way");
    comes_back(&mut world, 1);
    assert_eq!(holder(refusal(&mut world, 2, "roll")), Some(1));
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
    let [blocked] = &answer.blocked.first[..] else { panic!("{answer:?}") };
    assert_eq!(blocked.partition, part("t", 0));
    assert_eq!((&blocked.in_sync, blocked.min_isr), (&ids(&[1, 2]), Some(2)));
    assert_eq!(answer.unavoidable.count, 0);
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
    assert_eq!(holder(refusal(&mut world, 2, "roll")), Some(1));
    world.tick(Duration::from_millis(1));
    assert_eq!(refusal(&mut world, 2, "roll"), None);

    goes(&mut world, 3);
    assert_eq!(refusal(&mut world, 2, "roll"), Some(Refusal::MinIsr));
    let held = holder(refusal(&mut world, 1, "roll"));
    assert_eq!(held, Some(2), "what is refused may be on its way");
    world.tick(LEASE);
    assert_eq!(refusal(&mut world, 1, "roll"), Some(Refusal::MinIsr));
}

/// It is given back by the broker's name, so that no permit outlives who knew what it was for.
#[test]
fn a_permit_is_given_back() {
    let mut world = cluster();
    assert_eq!(refusal(&mut world, 1, "roll"), None);
    release(&mut world, 2);
    assert_eq!(holder(refusal(&mut world, 2, "roll")), Some(1));
    goes(&mut world, 1);
    release(&mut world, 1);
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
    assert_eq!(answer.blocked.count, 0);
    assert_eq!(answer.unavoidable.first[0].partition, part("single", 0));
    let accepting = PermitRequest { accepts: Accepts::Unavoidable, ..asked };
    let answer = acquire(&mut world, accepting.clone());
    assert_eq!((answer.refusal, answer.unavoidable.count), (None, 1));

    let earlier = accepting.broker_epoch.map(|epoch| epoch - 1);
    let stale = PermitRequest { broker_epoch: earlier, ..accepting };
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

/// A person may have said that whatever falls may fall; it is told all the same, the first hundred by name.
#[test]
fn everything_is_accepted_by_who_says_so() {
    let mut world = World::new(3, 1);
    let replicas: &[i32] = &[1, 2];
    world.create("t", &vec![replicas; NAMED_MAX + 1], true);
    world.topic_seen("t");
    world.settle();
    goes(&mut world, 2);
    let asked = request(&world, 1, "roll");
    let unavoidable = PermitRequest { accepts: Accepts::Unavoidable, ..asked.clone() };
    let refused = acquire(&mut world, unavoidable);
    assert_eq!(refused.refusal, Some(Refusal::MinIsr));
    assert_eq!((refused.blocked.count, refused.blocked.first.len()), (NAMED_MAX + 1, NAMED_MAX));
    let given = acquire(&mut world, PermitRequest { accepts: Accepts::Everything, ..asked });
    assert_eq!((given.refusal, given.blocked.count), (None, NAMED_MAX + 1));
}

/// A broker that is not registered may be restarted whatever is in sync, one at a time all the same.
#[test]
fn a_broker_that_is_away_may_be_restarted() {
    let mut world = cluster();
    goes(&mut world, 3);
    let away = PermitRequest { broker_epoch: None, ..request(&world, 1, "mend") };
    assert_eq!(acquire(&mut world, away.clone()).refusal, Some(Refusal::Stale), "1 is here");
    let away = PermitRequest { broker: BrokerId(3), ..away };
    assert_eq!(acquire(&mut world, away.clone()).refusal, None);
    assert_eq!(holder(refusal(&mut world, 1, "roll")), Some(3));
    comes_back(&mut world, 3);
    assert_eq!(holder(refusal(&mut world, 1, "roll")), Some(3), "it copies");
    in_sync(&mut world, &[1, 2, 3]);
    assert_eq!(refusal(&mut world, 1, "roll"), None);
}

/// Who asks after the holder hears what is waited for. What nobody can be in sync of is not waited for.
#[test]
fn a_permit_waits_for_what_can_be_in_sync_and_says_what_that_is() {
    let mut world = cluster();
    world.create("lost", &[&[2, 1]], true);
    world.topic_seen("lost");
    world.settle();
    let asked = PermitRequest { accepts: Accepts::Everything, ..request(&world, 1, "roll") };
    assert_eq!(acquire(&mut world, asked).refusal, None);
    world.tick(Duration::from_secs(5));
    goes(&mut world, 1);
    goes(&mut world, 2);
    assert_eq!(world.state_of(&part("lost", 0)).0, -1);
    comes_back(&mut world, 1);
    let asked = request(&world, 3, "roll");
    let answer = acquire(&mut world, asked);
    let first = Holder { broker: BrokerId(1), roll: "roll".into(), held: Duration::from_secs(5) };
    assert_eq!(answer.refusal, Some(Refusal::Held(first)));
    let waited = answer.blocked.first.iter().map(|blocked| blocked.partition.clone());
    assert_eq!(waited.collect::<Vec<_>>(), [part("t", 0)], "nobody leads lost-0");
    in_sync(&mut world, &[3, 1]);
    assert_eq!(holder(refusal(&mut world, 3, "roll")), None);
}

/// The controller itself obeys nobody who has been replaced.
#[test]
fn an_operator_that_has_been_replaced_changes_nothing() {
    let mut world = cluster();
    let newer = PermitRequest { term: 2, ..request(&world, 1, "roll") };
    assert_eq!(acquire(&mut world, newer).refusal, None);
    assert_eq!(refusal(&mut world, 1, "roll"), Some(Refusal::Fenced(2)));
    let token = world.ask(Request::ReleasePermit { term: 1, broker: BrokerId(1) });
    assert_eq!(world.replies[&token], Reply::PermitReleased(Err(Refusal::Fenced(2))));
    let token = world.ask(Request::Drain { term: 1, broker: BrokerId(1) });
    assert_eq!(world.replies[&token], Reply::Drained(Err(Refusal::Fenced(2))));
    let newer = PermitRequest { term: 2, ..request(&world, 2, "roll") };
    assert_eq!(holder(acquire(&mut world, newer).refusal), Some(1));
}

/// A broker with leave hands over and stays in sync; once the leave is over it may lead again.
#[test]
fn a_broker_with_leave_is_drained() {
    let mut world = cluster();
    world.create("single", &[&[1]], true);
    world.topic_seen("single");
    world.settle();
    let drain = |world: &mut World, broker| {
        let token = world.ask(Request::Drain { term: 1, broker: BrokerId(broker) });
        world.settle();
        world.replies[&token].clone()
    };
    assert_eq!(drain(&mut world, 1), Reply::Drained(Ok(None)), "it has no leave");
    let asked = PermitRequest { accepts: Accepts::Unavoidable, ..request(&world, 1, "roll") };
    assert_eq!(acquire(&mut world, asked).refusal, None);
    assert_eq!(drain(&mut world, 2), Reply::Drained(Ok(None)), "another has");
    assert_eq!(world.state_of(&part("t", 0)).0, 1);
    assert_eq!(drain(&mut world, 1), Reply::Drained(Ok(Some(Vec::new()))));
    let (leader, _, isr) = world.state_of(&part("t", 0));
    assert_eq!((leader, &isr[..]), (2, &[1, 2, 3][..]));
    assert_eq!(world.state_of(&part("single", 0)).0, 1, "nobody else has it");

    let prefer = |world: &mut World| {
        let kind = ElectionKind::Preferred;
        world.ask(Request::ElectLeaders { kind, partitions: Some(vec![part("t", 0)]) });
        world.settle();
        world.state_of(&part("t", 0)).0
    };
    assert_eq!(prefer(&mut world), 2);
    world.tick(LEASE);
    assert_eq!(prefer(&mut world), 1);
}
