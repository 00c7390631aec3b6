//! One thing at a time: what is written and told, in the order that clients and brokers see.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use broker_protocol::error_code::ErrorCode;
use broker_protocol::quantity::{BrokerId, LeaderEpoch};
use broker_protocol::uuid::Uuid;

use super::world::{World, ids, part, settings};
use crate::controller::state::assignment::Assignment;
use crate::controller::state::effect::{Change, Directive, Effect, Extent};
use crate::controller::state::event::{Answer, Event, Outcome, WriteError};
use crate::controller::state::request::{
    ElectionKind, Guard, IsrProposal, Reply, Request, TopicRef,
};
use crate::controller::state::{Balance, Settings, State};

fn sends(effects: &[Effect]) -> Vec<(i32, Vec<Directive>)> {
    let of = |effect: &Effect| {
        let Effect::Send { broker, directives, .. } = effect else { return None };
        Some((broker.0, directives.clone()))
    };
    effects.iter().filter_map(of).collect()
}

/// Of which extent brokers are told all.
fn extents(effects: &[Effect]) -> Vec<Extent> {
    let of = |effect: &Effect| {
        let Effect::Send { extent, .. } = effect else { return None };
        Some(*extent).filter(|extent| *extent != Extent::Part)
    };
    effects.iter().filter_map(of).collect()
}

/// A topic of three partitions on brokers 1, 2 and 3, led by 1, 2 and 3.
fn three() -> World {
    let mut world = World::new(3, 1);
    world.create("t", &[&[1, 2, 3], &[2, 3, 1], &[3, 1, 2]], true);
    world.topic_seen("t");
    world.settle();
    world
}

/// Standing alone is the same code: a new topic is one write, then what its leader is told.
#[test]
fn a_new_topic_is_one_write_and_then_directives() {
    let mut world = World::new(1, 1);
    let before = world.writes;
    world.create("t", &[&[1], &[1]], true);
    world.topic_seen("t");
    assert_eq!(world.writes, before + 1);
    let Effect::Write { changes, .. } = &world.effects[0] else { panic!("{:?}", world.effects) };
    let is_first = |change: &Change| matches!(change, Change::CreateState { is_first: true, .. });
    assert!(changes.len() == 2 && changes.iter().all(is_first));
    let sends = sends(&world.effects[1..]);
    let [(1, directives)] = &sends[..] else { panic!("{sends:?}") };
    let kinds = directives.iter().map(|directive| match directive {
        Directive::Lead { is_new, view } => (true, *is_new, view.leader_epoch.0),
        Directive::Announce(view) => (false, false, view.leader_epoch.0),
        Directive::Forget(_) | Directive::Stop { .. } => panic!("{directive:?}"),
    });
    let kinds: BTreeSet<_> = kinds.collect();
    assert_eq!(kinds, BTreeSet::from([(true, true, 0), (false, false, 0)]));
    assert_eq!(world.state_of(&part("t", 0)), (1, 0, vec![1]));
    world.settle();
    world.topic_seen("t");
    assert!(world.effects.is_empty(), "what is known already changes nothing");
}

/// A new controller announces healthy partitions, and writes nothing.
#[test]
fn a_new_controller_leaves_healthy_partitions_alone() {
    let mut world = three();
    let writes = world.writes;
    world.fail_over();
    assert_eq!(world.writes, writes);
    for (_, directives) in sends(&world.effects) {
        assert_eq!(directives.len(), 6, "three to lead or follow, three to announce");
    }
    assert_eq!(world.state_of(&part("t", 0)), (1, 0, vec![1, 2, 3]));
}

/// An old tool's topic gets an id before anybody hears of it.
#[test]
fn a_topic_without_an_id_is_given_one() {
    let mut world = World::new(1, 1);
    world.create("t", &[&[1]], false);
    world.topic_seen("t");
    assert!(world.tree.topics["t"].id.is_some());
    let writes: Vec<_> =
        world.effects.iter().filter(|effect| matches!(effect, Effect::Write { .. })).collect();
    assert_eq!(writes.len(), 2);
    assert_eq!(sends(&world.effects).len(), 1);
}

/// A dead leader is replaced, a dead follower leaves the ISR; both have a new leader epoch.
#[test]
fn a_broker_that_dies_leads_nothing_and_is_in_no_isr() {
    let mut world = three();
    world.kill(BrokerId(1));
    world.expire(BrokerId(1));
    let writes = world.writes;
    world.brokers_seen();
    assert_eq!(world.writes, writes + 1);
    assert_eq!(world.state_of(&part("t", 0)), (2, 1, vec![2, 3]));
    assert_eq!(world.state_of(&part("t", 1)), (2, 1, vec![2, 3]));
    assert_eq!(world.state_of(&part("t", 2)), (3, 1, vec![3, 2]));
    world.start(BrokerId(1), BTreeSet::new());
    world.brokers_seen();
    let told = sends(&world.effects);
    let (_, directives) = told.iter().find(|(id, _)| *id == 1).unwrap();
    assert_eq!(directives.len(), 6);
    assert_eq!(world.state_of(&part("t", 0)), (2, 1, vec![2, 3]));
}

/// A restart between two readings is a failure and a start.
#[test]
fn a_bounced_broker_loses_what_it_led() {
    let mut world = three();
    world.kill(BrokerId(1));
    world.start(BrokerId(1), BTreeSet::new());
    world.brokers_seen();
    assert_eq!(world.state_of(&part("t", 0)), (2, 1, vec![2, 3]));
    assert_eq!(world.state_of(&part("t", 1)), (2, 1, vec![2, 3]));
    let mut alone = World::new(1, 1);
    alone.create("t", &[&[1]], true);
    alone.topic_seen("t");
    alone.kill(BrokerId(1));
    alone.start(BrokerId(1), BTreeSet::new());
    alone.brokers_seen();
    assert_eq!(alone.state_of(&part("t", 0)), (1, 1, vec![1]));
}

/// Who stops hands over first, is told so, and is let go once that is written.
#[test]
fn controlled_shutdown_moves_leaders_first() {
    let mut world = three();
    world.create("single", &[&[1]], true);
    world.topic_seen("single");
    let epoch = world.tree.brokers[&BrokerId(1)].epoch;
    let shutdown = |broker_epoch| Request::ControlledShutdown { broker: BrokerId(1), broker_epoch };
    let token = world.ask(shutdown(epoch));
    assert_eq!(world.replies[&token], Reply::ControlledShutdown(Ok(vec![])));
    assert_eq!(world.state_of(&part("t", 0)), (2, 1, vec![2, 3]));
    assert_eq!(world.state_of(&part("t", 2)), (3, 1, vec![3, 2]));
    assert_eq!(world.state_of(&part("single", 0)), (1, 0, vec![1]));
    let told = sends(&world.effects);
    let (_, directives) = told.iter().find(|(id, _)| *id == 1).unwrap();
    let leads = directives.iter().filter(|d| matches!(d, Directive::Lead { .. })).count();
    let stops = directives.iter().filter(|d| matches!(d, Directive::Stop { delete: false, .. }));
    assert_eq!((leads, stops.count()), (1, 2));
    let stale = world.ask(shutdown(epoch - 1));
    let refused = Reply::ControlledShutdown(Err(ErrorCode::StaleBrokerEpoch));
    assert_eq!(world.replies[&stale], refused);
}

pub(super) fn proposal(leader_epoch: i32, partition_epoch: i32, isr: &[i32]) -> IsrProposal {
    IsrProposal {
        topic: TopicRef::Name("t".into()),
        partition: 0,
        leader_epoch: LeaderEpoch(leader_epoch),
        partition_epoch,
        isr: isr.iter().map(|id| (BrokerId(*id), -1)).collect(),
        recovering: false,
    }
}

/// Method: one proposal a row, each on a fresh cluster whose partition is at leader epoch 1 and
/// partition epoch 1, with broker 1 dead, 2 leading, and 2 and 3 in sync.
#[test]
fn proposals_are_judged_one_by_one() {
    let rows = [
        ("a shrink", proposal(1, 1, &[2]), Ok((vec![2], 2))),
        ("what is so already", proposal(1, 0, &[3, 2]), Ok((vec![2, 3], 1))),
        ("an old leader epoch", proposal(0, 1, &[2]), Err(ErrorCode::FencedLeaderEpoch)),
        ("a leader epoch of the future", proposal(2, 1, &[2]), Err(ErrorCode::NotController)),
        ("a partition epoch of the future", proposal(1, 2, &[2]), Err(ErrorCode::NotController)),
        ("an old partition epoch", proposal(1, 0, &[2]), Err(ErrorCode::InvalidUpdateVersion)),
        ("a dead member", proposal(1, 1, &[2, 3, 1]), Err(ErrorCode::IneligibleReplica)),
        ("no replica", proposal(1, 1, &[2, 9]), Err(ErrorCode::InvalidRequest)),
        ("without the leader", proposal(1, 1, &[3]), Err(ErrorCode::InvalidRequest)),
        ("nobody", proposal(1, 1, &[]), Err(ErrorCode::InvalidRequest)),
    ];
    for (name, proposal, expected) in rows {
        let mut world = three();
        world.kill(BrokerId(1));
        world.expire(BrokerId(1));
        world.brokers_seen();
        let broker_epoch = world.tree.brokers[&BrokerId(2)].epoch;
        world.tree.proposals.push((BrokerId(2), part("t", 0), proposal.clone()));
        let token = world.ask(Request::AlterPartition {
            broker: BrokerId(2),
            broker_epoch,
            knows_ineligible: true,
            partitions: vec![proposal],
        });
        let Reply::AlterPartition(Ok(results)) = &world.replies[&token] else { panic!("{name}") };
        let result = results[0].1.clone().map(|altered| {
            assert_eq!((altered.leader, altered.leader_epoch), (BrokerId(2), LeaderEpoch(1)));
            (altered.isr.iter().map(|id| id.0).collect(), altered.partition_epoch)
        });
        assert_eq!(result, expected, "{name}");
    }
}

/// A move adds, waits for the ISR, hands over and removes, as a live 3.9.2 writes it.
#[test]
fn a_reassignment_goes_by_way_of_the_isr() {
    let mut world = World::new(2, 1);
    world.create("t", &[&[1]], true);
    world.topic_seen("t");
    let name = part("t", 0);
    let to = BTreeMap::from([(name.clone(), Some(ids(&[2])))]);
    let token = world.ask(Request::Reassign(to));
    let done = BTreeMap::from([(name.clone(), ErrorCode::None)]);
    assert_eq!(world.replies[&token], Reply::Reassign(done));
    let node = world.tree.assignment(&name).unwrap();
    assert_eq!(
        (&node.replicas, &node.adding, &node.removing),
        (&ids(&[2, 1]), &ids(&[2]), &ids(&[1]))
    );
    assert_eq!(world.state_of(&name), (1, 1, vec![1]));
    world.settle();
    world.tree.proposals.push((BrokerId(1), name.clone(), proposal(1, 1, &[1, 2])));
    let broker_epoch = world.tree.brokers[&BrokerId(1)].epoch;
    world.ask(Request::AlterPartition {
        broker: BrokerId(1),
        broker_epoch,
        knows_ineligible: true,
        partitions: vec![proposal(1, 1, &[1, 2])],
    });
    assert_eq!(world.state_of(&name), (2, 2, vec![2]));
    let node = world.tree.assignment(&name).unwrap();
    assert!(node.replicas == ids(&[2]) && !node.is_moving());
    let told = sends(&world.effects);
    let stops = |d: &Directive| matches!(d, Directive::Stop { delete: true, .. });
    assert!(told.iter().any(|(id, directives)| *id == 1 && directives.iter().any(stops)));
}

/// Whoever relies on what is not so any more moves nothing; without a guard, or by another, it moves.
#[test]
fn a_move_is_written_only_while_its_guard_holds() {
    let mut world = World::new(3, 1);
    world.create("t", &[&[1], &[1]], true);
    world.topic_seen("t");
    let (name, other) = (part("t", 0), part("t", 1));
    world.tree.guard = Guard { operator: 7, cordoned: Some(2) };
    let asked = |to| BTreeMap::from([(name.clone(), ids(to)), (other.clone(), ids(to))]);
    let both =
        |error| Reply::Reassign(BTreeMap::from([(name.clone(), error), (other.clone(), error)]));
    for stale in [
        Guard { operator: 6, cordoned: Some(2) },
        Guard { operator: 7, cordoned: Some(1) },
        Guard { operator: 7, cordoned: None },
    ] {
        let token = world.ask(Request::ReassignGuarded(asked(&[2]), stale));
        assert_eq!(world.replies[&token], both(ErrorCode::OperationNotAttempted));
        assert_eq!(world.tree.assignment(&name).unwrap(), &Assignment::settled(ids(&[1])));
        assert_eq!((world.state_of(&name).0, world.state_of(&name).2), (1, vec![1]));
    }
    let holds = world.tree.guard;
    let token = world.ask(Request::ReassignGuarded(asked(&[2]), holds));
    assert_eq!(world.replies[&token], both(ErrorCode::None));
    assert!(world.tree.assignment(&name).unwrap().is_moving());
    // What is asked for already needs no write, and so no guard.
    world.tree.guard.operator += 1;
    let token = world.ask(Request::ReassignGuarded(asked(&[2]), holds));
    assert_eq!(world.replies[&token], both(ErrorCode::None));
    world.settle();
}

/// A move that is cancelled leaves no trace; one that is not there cannot be cancelled.
#[test]
fn a_cancelled_reassignment_goes_back() {
    let mut world = World::new(3, 1);
    world.create("t", &[&[1, 2]], true);
    world.topic_seen("t");
    let name = part("t", 0);
    let cancel = || Request::Reassign(BTreeMap::from([(name.clone(), None)]));
    let token = world.ask(cancel());
    let refused = BTreeMap::from([(name.clone(), ErrorCode::NoReassignmentInProgress)]);
    assert_eq!(world.replies[&token], Reply::Reassign(refused));
    world.ask(Request::Reassign(BTreeMap::from([(name.clone(), Some(ids(&[3])))])));
    assert!(world.tree.assignment(&name).unwrap().is_moving());
    let token = world.ask(cancel());
    let done = BTreeMap::from([(name.clone(), ErrorCode::None)]);
    assert_eq!(world.replies[&token], Reply::Reassign(done));
    assert_eq!(world.tree.assignment(&name).unwrap().replicas, ids(&[1, 2]));
    let told = sends(&world.effects);
    let stops = |d: &Directive| matches!(d, Directive::Stop { delete: true, .. });
    let stopped = told.iter().filter(|(_, directives)| directives.iter().any(stops));
    assert_eq!(stopped.map(|(id, _)| *id).collect::<Vec<_>>(), [3], "what was begun is deleted");
}

/// All replicas stop, then all delete, then the nodes go; a broker that is down is waited for.
#[test]
fn a_topic_is_deleted_step_by_step() {
    let mut world = three();
    world.kill(BrokerId(3));
    world.expire(BrokerId(3));
    world.brokers_seen();
    world.settle();
    world.tree.marks.insert("t".into());
    world.apply(Event::DeletionsAsked(world.tree.marks.clone()));
    let is_stop = |d: &&Directive| matches!(d, Directive::Stop { delete: false, .. });
    for (_, directives) in sends(&world.effects) {
        assert_eq!(directives.iter().filter(is_stop).count(), 3);
        assert!(matches!(directives[0], Directive::Forget(_)));
    }
    world.settle();
    assert!(world.processes.values().all(|process| process.replicas.is_empty()));
    assert!(world.tree.topics.contains_key("t"), "broker 3 still has it");
    let late = world.tree.read_topic(&"t".into()).unwrap();
    world.start(BrokerId(3), BTreeSet::new());
    world.brokers_seen();
    world.settle();
    assert!(world.tree.topics.is_empty() && world.tree.marks.is_empty());
    assert!(world.processes.values().all(|process| process.replicas.is_empty()));
    // A reading from before the deletion brings nothing back.
    world.apply(Event::Topics(vec![late]));
    world.settle();
    assert!(world.processes.values().all(|process| process.replicas.is_empty()));
    world.tree.marks.insert("unknown".into());
    world.apply(Event::DeletionsAsked(world.tree.marks.clone()));
    world.settle();
    assert!(world.tree.marks.is_empty());
}

/// A port that refuses moves leadership where another can take it, and nothing else.
#[test]
fn a_refused_port_moves_leaders_and_no_more() {
    let mut world = three();
    world.create("single", &[&[1]], true);
    world.topic_seen("single");
    let epoch = world.tree.brokers[&BrokerId(1)].epoch;
    world.apply(Event::Refused { broker: BrokerId(1), epoch: epoch - 1 });
    assert!(world.effects.is_empty(), "a hint of an earlier life");
    world.apply(Event::Refused { broker: BrokerId(1), epoch });
    assert_eq!(world.state_of(&part("t", 0)), (2, 1, vec![2, 3]));
    assert_eq!(world.state_of(&part("single", 0)), (1, 0, vec![1]));
    assert_eq!(world.state.summary().brokers, 3);
    world.apply(Event::Reached { broker: BrokerId(1), epoch });
    let is_whole =
        |e: &Effect| matches!(e, Effect::Send { broker: BrokerId(1), extent: Extent::All, .. });
    assert!(world.effects.iter().any(is_whole));
    assert_eq!(world.state_of(&part("t", 0)), (2, 1, vec![2, 3]));
}

/// A replica on a failed directory leads nothing; its broker's other replicas go on.
#[test]
fn a_failed_directory_moves_its_partitions_alone() {
    let mut world = three();
    world
        .processes
        .get_mut(&BrokerId(1))
        .unwrap()
        .replicas
        .get_mut(&part("t", 0))
        .unwrap()
        .has_failed = true;
    world.tree.notifications.insert("/n/1".into());
    world.apply(Event::LogDirFailed {
        notifications: vec!["/n/1".into()],
        brokers: [BrokerId(1)].into(),
    });
    assert!(world.tree.notifications.is_empty());
    world.settle();
    assert_eq!(world.state_of(&part("t", 0)), (2, 1, vec![2, 3]));
    assert_eq!(world.state_of(&part("t", 2)), (3, 0, vec![3, 1, 2]));
    let view = &world.processes[&BrokerId(2)].metadata[&part("t", 0)];
    assert_eq!(view.offline, ids(&[1]));
}

/// [`three`], where 2 leads what 1 should, and all are in sync.
fn away() -> World {
    let mut world = three();
    let name = part("t", 0);
    world.apply(Event::Refused { broker: BrokerId(1), epoch: 1 });
    world.apply(Event::Reached { broker: BrokerId(1), epoch: 1 });
    world.settle();
    world.tree.proposals.push((BrokerId(2), name.clone(), proposal(1, 1, &[2, 3, 1])));
    world.ask(Request::AlterPartition {
        broker: BrokerId(2),
        broker_epoch: 2,
        knows_ineligible: true,
        partitions: vec![proposal(1, 1, &[2, 3, 1])],
    });
    assert_eq!(world.state_of(&name), (2, 1, vec![2, 3, 1]));
    world
}

/// Nobody balances leaders where that is off, or where as many as are elsewhere may be.
#[test]
fn leaders_stay_where_the_settings_leave_them() {
    let interval = Duration::from_secs(30);
    let rows = [(None, 2), (Some(100), 2), (Some(99), 1)];
    for (percent, leader) in rows {
        let mut world = away();
        let balance = percent.map(|percent| Balance { percent, interval });
        world.apply(Event::Settings(Settings { balance, ..settings() }));
        for _ in 0..10 {
            world.tick(Duration::from_secs(10));
        }
        assert_eq!(world.state_of(&part("t", 0)).0, leader, "{percent:?}");
    }
}

/// Leaders go back to the first replicas: by themselves, on request, by an old tool's node.
#[test]
fn leaders_go_back_to_the_first_replicas() {
    let mut world = away();
    world.tick(Duration::from_secs(4));
    assert_eq!(world.state_of(&part("t", 0)).0, 2);
    world.tick(Duration::from_secs(2));
    assert_eq!(world.state_of(&part("t", 0)), (1, 2, vec![2, 3, 1]));
    let mut world = away();
    let kind = ElectionKind::Preferred;
    let token = world.ask(Request::ElectLeaders { kind, partitions: None });
    let done = BTreeMap::from([(part("t", 0), ErrorCode::None)]);
    assert_eq!(world.replies[&token], Reply::ElectLeaders(done));
    let partitions = Some(vec![part("t", 0), part("t", 9)]);
    let token = world.ask(Request::ElectLeaders { kind, partitions });
    let refused = BTreeMap::from([
        (part("t", 0), ErrorCode::ElectionNotNeeded),
        (part("t", 9), ErrorCode::UnknownTopicOrPartition),
    ]);
    assert_eq!(world.replies[&token], Reply::ElectLeaders(refused));
    let mut world = away();
    world.tree.preferred = Some([part("t", 0)].into());
    world.apply(Event::PreferredAsked([part("t", 0)].into()));
    assert_eq!(world.state_of(&part("t", 0)).0, 1);
    assert_eq!(world.tree.preferred, None);
}

/// The node that old tools write is emptied as its moves are done, then deleted.
#[test]
fn moves_of_old_tools_are_taken_out_as_they_are_done() {
    let mut world = three();
    let asked = BTreeMap::from([
        (part("t", 0), ids(&[3, 2, 1])),
        (part("t", 9), ids(&[1])),
        (part("t", 1), ids(&[7])),
    ]);
    world.tree.reassignments.clone_from(&asked);
    world.apply(Event::ReassignmentsAsked(asked));
    assert_eq!(world.tree.reassignments, BTreeMap::new());
    assert_eq!(world.tree.assignment(&part("t", 0)).unwrap().replicas, ids(&[3, 2, 1]));
    assert_eq!(world.tree.assignment(&part("t", 1)).unwrap().replicas, ids(&[2, 3, 1]));
}

/// The last replica standing: who cannot prove its log waits for the others, then who has most leads.
#[test]
fn an_unproven_replica_does_not_lead_while_another_can_prove_more() {
    let mut world = World::new(2, 1);
    world.create("t", &[&[1, 2]], true);
    world.topic_seen("t");
    world.settle();
    let name = part("t", 0);
    for (id, log) in [(1, vec![(0, 1)]), (2, vec![(0, 1), (0, 2)])] {
        let process = world.processes.get_mut(&BrokerId(id)).unwrap();
        process.replicas.get_mut(&name).unwrap().log = log;
        world.kill(BrokerId(id));
        world.expire(BrokerId(id));
    }
    world.brokers_seen();
    assert_eq!(world.state_of(&name), (-1, 1, vec![1, 2]));
    world.start(BrokerId(1), [name.clone()].into());
    world.brokers_seen();
    world.settle();
    assert_eq!(world.state_of(&name), (-1, 1, vec![1, 2]), "broker 2 may have more");
    world.start(BrokerId(2), [name.clone()].into());
    world.brokers_seen();
    world.settle();
    // It is asked again: the question came before it had heard that nobody leads.
    world.tick(Duration::from_secs(1));
    world.settle();
    assert_eq!(world.state_of(&name), (2, 2, vec![2]), "it has");
}

/// Ids go in blocks, never twice, whoever else takes them from the tree.
#[test]
fn producer_ids_are_given_once() {
    let mut world = World::new(2, 1);
    let block = |world: &mut World, broker, broker_epoch| {
        world.ask(Request::AllocateProducerIds { broker: BrokerId(broker), broker_epoch })
    };
    let first = block(&mut world, 1, 1);
    world.settle();
    let second = block(&mut world, 2, 2);
    world.tree.next_producer_id += 1000;
    world.tree.producer_ids_version += 1;
    let third = block(&mut world, 1, 1);
    world.settle();
    // Somebody deletes the node, and it is made again.
    world.tree.next_producer_id = 0;
    world.tree.producer_ids_version = 0;
    let fourth = block(&mut world, 2, 2);
    world.settle();
    let stale = block(&mut world, 1, 9);
    let asked = [first, second, third, fourth, stale];
    let replies = asked.map(|token| world.replies[&token].clone());
    let expected = [Ok(0), Ok(1000), Ok(3000), Ok(4000), Err(ErrorCode::StaleBrokerEpoch)];
    assert_eq!(replies, expected.map(Reply::AllocateProducerIds));
}

/// Answers of an earlier life, and of a topic of before, count for nothing.
#[test]
fn stale_answers_are_dropped() {
    let mut world = three();
    let outcome = |topic_id| Outcome {
        partition: part("t", 0),
        topic_id,
        error: ErrorCode::KafkaStorageError,
    };
    let id = world.tree.topics["t"].id.unwrap();
    let other = world.tree.fresh_id();
    for (epoch, topic_id) in [(0, id), (1, other)] {
        let answer = Answer::Led(vec![outcome(topic_id)]);
        world.apply(Event::Answered { broker: BrokerId(1), epoch, answer });
        assert!(world.effects.is_empty());
    }
}

/// A topic whose node is spoilt is no topic that is gone: its logs stay through failovers, and through
/// brokers that come back, until it can be read again.
#[test]
fn what_cannot_be_read_is_not_swept() {
    let mut world = three();
    world.create("other", &[&[1, 2, 3]], true);
    world.topic_seen("other");
    world.settle();
    world.tree.unread.insert("t".into());
    world.tree.topics.get_mut("t").unwrap().version += 1;
    world.topic_seen("t");
    world.fail_over();
    world.settle();
    let ids: Vec<_> = world.processes.keys().copied().collect();
    let holds = |world: &World, name: &str| {
        world.processes.values().all(|process| {
            let name = part(name, 0);
            process.replicas.contains_key(&name) && process.metadata.contains_key(&name)
        })
    };
    assert!(holds(&world, "t") && holds(&world, "other"));
    world.kill(BrokerId(3));
    world.expire(BrokerId(3));
    world.brokers_seen();
    world.start(BrokerId(3), BTreeSet::new());
    world.brokers_seen();
    world.settle();
    assert!(world.processes[&BrokerId(3)].replicas.contains_key(&part("t", 0)));
    // Meanwhile another topic goes, and one broker does not hear of it.
    world.kill(BrokerId(2));
    world.tree.topics.remove("other");
    world.topic_seen("other");
    world.expire(BrokerId(2));
    world.brokers_seen();
    world.start(BrokerId(2), BTreeSet::new());
    world.brokers_seen();
    world.settle();
    assert!(world.processes[&BrokerId(2)].replicas.contains_key(&part("other", 0)), "kept as yet");
    world.tree.unread.clear();
    world.tree.topics.get_mut("t").unwrap().version += 1;
    world.topic_seen("t");
    world.settle();
    assert!(holds(&world, "t"));
    for id in ids {
        assert!(!world.processes[&id].replicas.contains_key(&part("other", 0)), "{id} is swept");
    }
}

/// A topic whose id is not in the tree yet is told nobody, and is no stray for that.
#[test]
fn a_topic_that_waits_for_its_id_is_not_swept() {
    let mut world = three();
    world.tree.topics.get_mut("t").unwrap().id = None;
    for process in world.processes.values_mut() {
        // As it was before there were ids.
        process.replicas.values_mut().for_each(|replica| replica.topic_id = Uuid::default());
    }
    world.faults.misread = 100;
    let loads = world.tree.snapshot();
    let settings = world.state.settings.clone();
    world.tree.controller_epoch += 1;
    world.state = State::new(world.tree.controller_epoch, settings);
    let Some(Effect::Write { batch, changes }) =
        world.state.apply(Event::Loaded(Box::new(loads))).pop()
    else {
        panic!("the id is written");
    };
    assert!(matches!(changes[..], [Change::SetTopic { .. }]));
    let conflict = Event::Written { batch, outcome: vec![Err(WriteError::Conflict)] };
    let effects = world.state.apply(conflict);
    assert_eq!(extents(&effects), [Extent::Known; 3]);
    world.faults.misread = 0;
    world.topic_seen("t");
    assert_eq!(extents(&world.effects), [Extent::All; 3], "once it has it");
}

/// One state that cannot be read stops nothing but its partition.
#[test]
fn a_state_that_cannot_be_read_is_left_alone() {
    let mut world = three();
    world.create("two", &[&[1, 2, 3], &[2, 3, 1]], true);
    world.topic_seen("two");
    world.settle();
    let (bad, good) = (part("two", 0), part("two", 1));
    world.tree.unreadable.insert(bad.clone());
    world.tree.state_mut(&bad).unwrap().version += 1;
    let before = world.state_of(&bad);
    world.fail_over();
    world.settle();
    for id in [1, 2] {
        world.kill(BrokerId(id));
        world.expire(BrokerId(id));
    }
    world.brokers_seen();
    world.settle();
    assert_eq!(world.state_of(&good).0, 3, "the others are elected");
    assert_eq!(world.state_of(&bad), before);
    assert!(world.processes[&BrokerId(3)].replicas.contains_key(&bad), "nor is it swept");
    world.tree.unreadable.clear();
    world.tree.state_mut(&bad).unwrap().version += 1;
    world.topic_seen("two");
    world.settle();
    assert_eq!(world.state_of(&bad).0, 3, "once it is mended it is decided");
    // Or its node is deleted: then it is made anew.
    world.tree.unreadable.insert(bad.clone());
    world.fail_over();
    world.tree.unreadable.clear();
    world.tree.topics.get_mut("two").unwrap().states.remove(&0);
    world.topic_seen("two");
    assert_eq!(world.state_of(&bad), (3, 0, vec![3]));
}

/// A topic that was made again while a broker was down takes the place of the log there.
#[test]
fn a_log_of_the_topic_before_is_swept_where_the_name_came_back() {
    let mut world = three();
    world.kill(BrokerId(3));
    world.expire(BrokerId(3));
    world.brokers_seen();
    world.settle();
    world.tree.topics.remove("t");
    world.topic_seen("t");
    world.create("t", &[&[1, 2, 3]], true);
    world.topic_seen("t");
    world.settle();
    let id = world.tree.topics["t"].id.unwrap();
    world.start(BrokerId(3), BTreeSet::new());
    world.brokers_seen();
    world.settle();
    assert_eq!(world.processes[&BrokerId(3)].replicas[&part("t", 0)].topic_id, id);
}

/// Whoever takes a topic's node away and makes another of its name, the controller deletes no records for
/// that: whether it sees the two in one reading or in two, the logs of before are put aside.
#[test]
fn a_topic_that_another_hand_made_again_loses_no_log() {
    for readings in [1, 2] {
        let mut world = three();
        let is_deleted = |effects: &[Effect]| {
            let told = sends(effects).into_iter().flat_map(|(_, directives)| directives);
            told.into_iter().any(|told| matches!(told, Directive::Stop { delete: true, .. }))
        };
        world.tree.topics.remove("t");
        if readings == 2 {
            world.topic_seen("t");
            assert!(!is_deleted(&world.effects));
        }
        world.create("t", &[&[1, 2, 3]], true);
        world.topic_seen("t");
        assert!(!is_deleted(&world.effects), "{readings} readings");
        world.settle();
        let id = world.tree.topics["t"].id.unwrap();
        for (broker, process) in &world.processes {
            let replica = &process.replicas[&part("t", 0)];
            assert!(replica.topic_id == id && replica.told.is_some(), "{readings}: {broker}");
        }
    }
}

/// A broker that could not obey for a while, whatever it calls that, is told again until it does, each
/// time after a pause.
#[test]
fn who_could_not_obey_is_told_again_after_a_pause() {
    let mut world = three();
    let topic_id = world.tree.topics["t"].id.unwrap();
    let told = |world: &World| {
        let leads = |told: &Directive| match told {
            Directive::Lead { view, .. } => Some(view.partition.to_string()),
            Directive::Announce(_) | Directive::Forget(_) | Directive::Stop { .. } => None,
        };
        let told = sends(&world.effects).into_iter();
        let told = told.flat_map(|(id, told)| told.into_iter().map(move |one| (id, one)));
        told.filter_map(|(id, one)| Some((id, leads(&one)?))).collect::<Vec<_>>()
    };
    let answers = |world: &mut World, error| {
        let outcome = Outcome { partition: part("t", 1), topic_id, error };
        let answer = Answer::Led(vec![outcome]);
        world.apply(Event::Answered { broker: BrokerId(2), epoch: 2, answer });
        assert_eq!(told(world), [], "{error:?} is not answered at once");
    };
    let waited = |world: &mut World| {
        let mut times: Vec<u32> = Vec::new();
        for second in 1..=20 {
            world.tick(Duration::from_secs(1));
            let told = told(world);
            if !told.is_empty() {
                assert_eq!(told, [(2, "t-1".to_owned())]);
                times.push(second);
            }
        }
        times
    };
    for refusal in [ErrorCode::UnknownServerError, ErrorCode::UnknownTopicOrPartition] {
        answers(&mut world, refusal);
        assert_eq!(waited(&mut world), [5], "{refusal:?}");
        answers(&mut world, refusal);
        answers(&mut world, refusal);
        assert_eq!(waited(&mut world), [5], "{refusal:?}, said twice");
    }
    answers(&mut world, ErrorCode::UnknownServerError);
    answers(&mut world, ErrorCode::None);
    assert_eq!(waited(&mut world), [0; 0], "it has obeyed");
    for normal in [ErrorCode::StaleControllerEpoch, ErrorCode::StaleBrokerEpoch] {
        answers(&mut world, normal);
        assert_eq!(waited(&mut world), [0; 0], "{normal:?}");
    }
    answers(&mut world, ErrorCode::UnknownServerError);
    world.tree.topics.remove("t");
    world.topic_seen("t");
    assert_eq!(waited(&mut world), [0; 0], "there is no such topic any more");
}

/// Who was away when a topic was deleted does not go on telling clients of it.
#[test]
fn a_topic_that_went_while_a_session_was_over_is_forgotten() {
    let mut world = three();
    world.create("elsewhere", &[&[1]], true);
    world.topic_seen("elsewhere");
    world.settle();
    world.expire(BrokerId(3));
    world.brokers_seen();
    world.processes.get_mut(&BrokerId(3)).unwrap().resign();
    world.tree.topics.remove("elsewhere");
    world.topic_seen("elsewhere");
    world.settle();
    world.register_again(BrokerId(3));
    world.brokers_seen();
    world.settle();
    assert!(!world.processes[&BrokerId(3)].metadata.contains_key(&part("elsewhere", 0)));
    assert!(world.processes[&BrokerId(3)].metadata.contains_key(&part("t", 0)));
}
