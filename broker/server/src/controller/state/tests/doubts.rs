//! Replicas that came back with less than they had: what they may lead, and in which epoch.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use broker_protocol::error_code::ErrorCode;
use broker_protocol::quantity::BrokerId;
use broker_protocol::uuid::Uuid;

use super::brokers::Replica;
use super::invariants::check;
use super::scenarios::proposal;
use super::world::{Asking, World, ids, part};
use crate::controller::state::assignment::Assignment;
use crate::controller::state::event::Event;
use crate::controller::state::request::{ElectionKind, Reply, Request};

/// A cluster with the topic `t`, whose one partition is on `replicas` and led by the first.
fn of_one_topic(brokers: i32, replicas: &[i32]) -> World {
    let mut world = World::new(brokers, 1);
    world.create("t", &[replicas], true);
    world.topic_seen("t");
    world.settle();
    world
}

/// Ends a broker's process and session, and lets everybody hear of it.
fn dies(world: &mut World, id: i32) {
    world.kill(BrokerId(id));
    world.expire(BrokerId(id));
    world.brokers_seen();
    world.settle();
}

/// Cuts the power of broker 1, which then lacks the last record of `t-0`, and starts it again.
fn lose_power(world: &mut World) {
    let name = part("t", 0);
    world.kill(BrokerId(1));
    let disk = world.disks.get_mut(&BrokerId(1)).unwrap();
    let replica = disk.replicas.get_mut(&name).unwrap();
    replica.is_cut = true;
    replica.log.pop();
    world.start(BrokerId(1), BTreeSet::from([name]));
}

fn told(world: &World, id: i32) -> Option<(i32, i32)> {
    let replica = world.replica(BrokerId(id), &part("t", 0))?;
    let told = replica.told.as_ref()?;
    Some((told.leader.map_or(-1, |leader| leader.0), told.leader_epoch.0))
}

/// A controller that has not seen the leader's earlier life cannot tell what it wrote then: what it writes
/// now must not have the same epoch and offset.
#[test]
fn a_doubted_leader_leads_in_an_epoch_of_its_own() {
    let mut world = of_one_topic(1, &[1]);
    world.produce(BrokerId(1), &part("t", 0));
    lose_power(&mut world);
    world.fail_over();
    world.settle();
    assert_eq!(world.state_of(&part("t", 0)), (1, 1, vec![1]));
    assert_eq!(told(&world, 1), Some((1, 1)));
    let writes = world.writes;
    world.brokers_seen();
    assert_eq!(world.writes, writes, "and once is enough");
}

/// While a state cannot be read nothing is decided, so a leader that has restarted is not told to lead
/// either: once it can be read, it leads in another epoch.
#[test]
fn nobody_leads_again_by_a_state_that_cannot_be_read() {
    let name = part("t", 0);
    for is_seen in [true, false] {
        let mut world = of_one_topic(2, &[1, 2]);
        world.produce(BrokerId(1), &name);
        world.tree.unreadable.insert(name.clone());
        world.tree.state_mut(&name).unwrap().version += 1;
        world.topic_seen("t");
        if !is_seen {
            world.expire(BrokerId(1));
            world.brokers_seen();
        }
        lose_power(&mut world);
        world.brokers_seen();
        world.settle();
        assert_eq!(told(&world, 1), None);
        assert!(world.processes[&BrokerId(1)].replicas.contains_key(&name), "nor is it swept");
        world.tree.mend_states();
        world.topic_seen("t");
        world.settle();
        assert_eq!(world.state_of(&name), (2, 1, vec![2]));
        assert_eq!(told(&world, 1), Some((2, 1)));
    }
}

/// A controller that could not read the state at first does not take those whom it names for proven.
#[test]
fn a_state_that_is_mended_proves_nobody() {
    let name = part("t", 0);
    let mut world = of_one_topic(2, &[1, 2]);
    world.produce(BrokerId(1), &name);
    world.tree.unreadable.insert(name.clone());
    world.tree.state_mut(&name).unwrap().version += 1;
    lose_power(&mut world);
    world.fail_over();
    world.tree.mend_states();
    world.topic_seen("t");
    world.settle();
    assert_eq!(world.state_of(&name), (2, 1, vec![2]));
}

/// A new controller asks all who are in sync, whoever leads by the tree: also where the port of that one
/// refuses by then, so that nobody could be elected in its place.
#[test]
fn a_doubted_leader_whose_port_refuses_does_not_stay() {
    let name = part("t", 0);
    let mut world = of_one_topic(2, &[1, 2]);
    world.produce(BrokerId(1), &name);
    world.replicate(BrokerId(1), &name, |_| true);
    world.kill(BrokerId(2));
    world.start(BrokerId(2), BTreeSet::from([name.clone()]));
    lose_power(&mut world);
    world.tree.unread.insert("t".into());
    world.fail_over();
    let epoch = world.tree.known[&BrokerId(1)];
    world.apply(Event::Refused { broker: BrokerId(1), epoch });
    world.tree.mend_topics();
    world.topic_seen("t");
    world.settle();
    assert_eq!(world.state_of(&name), (-1, 1, vec![1, 2]));
    world.apply(Event::Reached { broker: BrokerId(1), epoch });
    world.settle();
    assert_eq!(world.state_of(&name), (2, 2, vec![2]), "it has more");
}

/// A replica that is being added, and has caught up but not joined, is not dropped by another move while
/// those in sync may have less than it.
#[test]
fn nobody_is_moved_away_who_may_have_most() {
    let name = part("t", 0);
    let mut world = of_one_topic(3, &[1]);
    let moving =
        |target: &[i32]| Request::Reassign(BTreeMap::from([(part("t", 0), Some(ids(target)))]));
    world.ask(moving(&[2]));
    world.settle();
    world.produce(BrokerId(1), &name);
    world.replicate(BrokerId(1), &name, |id| id == BrokerId(2));
    lose_power(&mut world);
    world.brokers_seen();
    let token = world.ask(moving(&[3]));
    world.settle();
    let refused = BTreeMap::from([(name.clone(), ErrorCode::InvalidReplicaAssignment)]);
    assert_eq!(world.replies[&token], Reply::Reassign(refused));
    world.tick(Duration::from_secs(1));
    world.settle();
    assert_eq!(world.state_of(&name).0, 2, "who has most leads");
}

/// One whose doubts were over when another controller read of them goes on acknowledging until it hears that
/// it does not lead: what it says of its log before counts for nothing.
#[test]
fn a_leader_is_heard_once_it_leads_no_more() {
    let name = part("t", 0);
    let mut world = of_one_topic(2, &[1, 2]);
    world.produce(BrokerId(1), &name);
    world.produce(BrokerId(1), &name);
    dies(&mut world, 2);
    lose_power(&mut world);
    world.brokers_seen();
    world.settle();
    assert_eq!(told(&world, 1).unwrap().0, 1, "it is alone");
    world.start(BrokerId(2), BTreeSet::new());
    world.fail_over();
    while world.deliver() {}
    world.produce(BrokerId(1), &name);
    world.settle();
    world.tick(Duration::from_secs(1));
    world.settle();
    assert_eq!(world.state_of(&name).0, 1, "the last record has the latest epoch");
}

/// A state that was spoilt and put back before the controller looked has another version, which its leader does
/// not know: without a new epoch all that it asks for would be refused for ever.
#[test]
fn a_leader_hears_of_a_state_that_another_hand_has_written() {
    let name = part("t", 0);
    let mut world = of_one_topic(2, &[1, 2]);
    world.tree.state_mut(&name).unwrap().version += 2;
    world.topic_seen("t");
    world.settle();
    assert_eq!(told(&world, 1), Some((1, 1)));
    let version = world.tree.read_state(&name).unwrap().version;
    assert_eq!(world.replica(BrokerId(1), &name).unwrap().partition_epoch, version);
}

/// Nor does a controller that read it only after it was put back; the leader's first request tells.
#[test]
fn a_leader_that_goes_by_an_earlier_state_is_told_in_another_epoch() {
    let name = part("t", 0);
    let mut world = of_one_topic(2, &[1, 2]);
    world.tree.state_mut(&name).unwrap().version += 2;
    world.fail_over();
    world.settle();
    assert_eq!(told(&world, 1), Some((1, 0)));
    let broker_epoch = world.processes[&BrokerId(1)].epoch;
    let asking =
        |proposal| Asking { leader: BrokerId(1), partition: name.clone(), proposal, broker_epoch };
    world.alter(asking(proposal(0, 0, &[1, 2])));
    world.settle();
    assert_eq!(told(&world, 1), Some((1, 0)), "what is so already needs no epoch");
    world.alter(asking(proposal(0, 0, &[1])));
    world.settle();
    assert_eq!(told(&world, 1), Some((1, 1)));
    world.alter(asking(proposal(1, 3, &[1])));
    assert_eq!(world.state_of(&name), (1, 1, vec![1]));
}

/// Who was told that an unclean election cannot be does not lose records by it later.
#[test]
fn an_unclean_election_that_was_refused_is_not_made_up_for() {
    let name = part("t", 0);
    let mut world = of_one_topic(2, &[1, 2]);
    dies(&mut world, 2);
    world.kill(BrokerId(1));
    world.expire(BrokerId(1));
    world.start(BrokerId(2), BTreeSet::new());
    world.brokers_seen();
    world.tree.unreadable.insert(name.clone());
    world.topic_seen("t");
    let partitions = Some(vec![name.clone()]);
    let kind = ElectionKind::Unclean;
    let token = world.ask(Request::ElectLeaders { kind, partitions });
    let refused = BTreeMap::from([(name.clone(), ErrorCode::EligibleLeadersNotAvailable)]);
    assert_eq!(world.replies[&token], Reply::ElectLeaders(refused));
    world.tree.mend_states();
    world.topic_seen("t");
    world.settle();
    let (leader, _, isr) = world.state_of(&name);
    assert_eq!((leader, isr), (-1, vec![1]), "broker 1 is waited for");
}

/// Where the log ends that a broker has of another topic of the name is no word on this one's: it is heard once it
/// knows the epoch, which comes with the topic's id. One that does not learn of it is not waited for.
#[test]
fn what_a_log_of_another_topic_holds_elects_nobody() {
    let name = part("t", 0);
    let mut world = of_one_topic(2, &[1, 2]);
    dies(&mut world, 2);
    world.produce(BrokerId(1), &name);
    world.produce(BrokerId(1), &name);
    let foreign = Replica {
        topic_id: Uuid::from_bytes([9; 16]),
        log: vec![(9, 1_000), (9, 1_001), (9, 1_002)],
        ..Replica::default()
    };
    world.disks.get_mut(&BrokerId(2)).unwrap().replicas.insert(name.clone(), foreign);
    world.start(BrokerId(2), BTreeSet::new());
    lose_power(&mut world);
    // Nobody can tell it which logs are strays.
    world.create("u", &[&[1]], true);
    world.tree.unread.insert("u".into());
    world.topic_seen("u");
    world.brokers_seen();
    for second in 0..40 {
        world.settle();
        world.tick(Duration::from_secs(1));
        let leader = if second < 30 { -1 } else { 1 };
        assert_eq!(world.state_of(&name).0, leader, "after {second} s");
    }
    assert_eq!(world.state_of(&name).2, [1]);
    assert_eq!(world.replica(BrokerId(2), &name).unwrap().log.len(), 3, "it was never swept");
}

/// A topic that was deleted by hand and made again has the state of a partition that it has not, by a write that
/// was on its way; then it grows. Nobody who is no replica leads.
#[test]
fn a_state_that_was_there_before_its_partition_names_no_replica() {
    let name = part("t", 1);
    let mut world = of_one_topic(3, &[1]);
    let node = world.tree.topics.get_mut(&name.topic).unwrap();
    let old = node.states[&0].clone();
    node.states.insert(1, old);
    node.partitions.insert(1, Assignment::settled(ids(&[2, 3])));
    node.version += 1;
    world.topic_seen("t");
    world.settle();
    check(&world);
    assert_eq!(world.state_of(&name), (-1, 1, vec![1]));
}
