//! What the log is told of a turn: one line a kind, with names that are few.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use broker_protocol::error_code::ErrorCode;
use broker_protocol::quantity::{BrokerId, LeaderEpoch};

use super::world::{World, ids, part};
use crate::controller::state::event::{Answer, Event, Outcome};
use crate::controller::state::request::{ElectionKind, IsrProposal, Request, TopicRef};
use crate::controller::state::story::{Level, Line};

/// The lines of the last turn; what is a warning begins with "!".
fn told(world: &World) -> Vec<String> {
    let line = |line: &Line| match line.level {
        Level::Info => line.text.clone(),
        Level::Warn => format!("! {}", line.text),
    };
    world.told.iter().map(line).collect()
}

/// Six partitions on three brokers, two led by each.
fn six() -> World {
    let mut world = World::new(3, 1);
    let of: &[&[i32]] = &[&[1, 2, 3], &[2, 3, 1], &[3, 1, 2]];
    world.create("t", &[of, of].concat(), true);
    world.topic_seen("t");
    world
}

#[test]
fn topics_are_told_when_they_come_grow_and_go() {
    let mut world = six();
    assert_eq!(told(&world), ["topic created (partitions x replicas): t (6 x 3)"]);
    world.settle();
    assert_eq!(told(&world), [""; 0], "answers of brokers are no story");
    world.topic_seen("t");
    assert_eq!(told(&world), [""; 0], "nothing has changed");
    let node = world.tree.topics.get_mut("t").unwrap();
    let more = node.partitions[&0].clone();
    node.partitions.insert(6, more);
    node.version += 1;
    world.topic_seen("t");
    assert_eq!(told(&world), ["topic given more partitions: t (to 7)"]);
    world.kill(BrokerId(3));
    world.expire(BrokerId(3));
    world.brokers_seen();
    world.tree.marks.insert("t".into());
    world.apply(Event::DeletionsAsked(world.tree.marks.clone()));
    assert_eq!(told(&world), ["topic being deleted: t (once broker 3 is there)"]);
    world.settle();
    world.start(BrokerId(3), BTreeSet::new());
    world.brokers_seen();
    let mut lines = told(&world);
    while world.deliver() || (1..=3).any(|id| world.step(BrokerId(id))) {
        lines.extend(told(&world));
    }
    lines.dedup();
    assert_eq!(lines, ["broker 3 is registered", "topic deleted: t"]);
}

#[test]
fn a_topic_that_another_hand_removes_is_warned_of() {
    let mut world = six();
    assert!(world.tree.remove_topic(&"t".into()));
    world.topic_seen("t");
    assert_eq!(told(&world), ["! topic taken out of the coordination tree by another hand: t"]);
}

#[test]
fn a_broker_that_dies_is_told_with_what_it_led() {
    let mut world = six();
    world.settle();
    let epoch = world.tree.brokers[&BrokerId(1)].epoch;
    world.kill(BrokerId(1));
    world.apply(Event::Refused { broker: BrokerId(1), epoch });
    assert_eq!(
        told(&world),
        ["broker 1 is refusing connections; 2 leaders moved (2 from 1 to 2); \
          the ISR of 6 partitions is smaller: t-0, t-1, t-2, t-3, t-4 and 1 more"]
    );
    world.expire(BrokerId(1));
    world.brokers_seen();
    assert_eq!(told(&world), ["broker 1 is gone, as the session is over"]);
    world.start(BrokerId(1), BTreeSet::new());
    world.brokers_seen();
    assert_eq!(told(&world), ["broker 1 is registered"]);
}

#[test]
fn who_has_no_leader_is_told_once_and_when_it_has_one_again() {
    let mut world = six();
    world.create("u", &[&[1]], true);
    world.topic_seen("u");
    world.settle();
    for id in [3, 2] {
        world.kill(BrokerId(id));
        world.expire(BrokerId(id));
        world.brokers_seen();
    }
    world.kill(BrokerId(1));
    world.start(BrokerId(2), BTreeSet::new());
    world.expire(BrokerId(1));
    world.brokers_seen();
    let names = "t-0, t-1, t-2, t-3, t-4 and 2 more";
    let missing =
        format!("! 7 partitions without a leader: {names}; replicas are waited for of broker 1");
    assert_eq!(
        told(&world),
        [
            "broker 1 is gone, as the session is over; broker 2 is registered".to_owned(),
            missing.clone()
        ]
    );
    world.tick(Duration::from_secs(1));
    assert_eq!(told(&world), [""; 0], "it is told once");
    world.fail_over();
    let overview = "the cluster: 1 broker (2), 2 topics, 7 partitions; 7 have no leader";
    assert_eq!(told(&world), [overview.to_owned(), missing]);
    world.start(BrokerId(1), BTreeSet::new());
    world.brokers_seen();
    let lines = told(&world);
    assert_eq!(lines[0], "broker 1 is registered; 7 leaders moved (7 from nobody to 1)");
    assert_eq!(lines[1..], ["every partition has a leader again"]);
    world.fail_over();
    let overview =
        "the cluster: 2 brokers (1, 2), 2 topics, 7 partitions; every partition has a leader";
    assert_eq!(told(&world), [overview]);
}

#[test]
fn an_unclean_election_is_warned_of() {
    let mut world = six();
    world.settle();
    for id in [3, 2] {
        world.kill(BrokerId(id));
        world.expire(BrokerId(id));
        world.brokers_seen();
    }
    world.kill(BrokerId(1));
    world.expire(BrokerId(1));
    world.start(BrokerId(2), BTreeSet::new());
    world.brokers_seen();
    let partitions = Some(vec![part("t", 0)]);
    world.ask(Request::ElectLeaders { kind: ElectionKind::Unclean, partitions });
    let lines = told(&world);
    assert_eq!(
        lines,
        [
            "! 1 leader elected uncleanly, what was acknowledged may be lost: t-0 (broker 2)",
            "5 partitions still without a leader: t-1, t-2, t-3, t-4, t-5; \
             replicas are waited for of broker 1",
        ]
    );
}

#[test]
fn a_broker_that_stops_hands_over_and_gets_back_what_it_prefers() {
    let mut world = six();
    world.settle();
    let epoch = world.tree.brokers[&BrokerId(1)].epoch;
    let shutdown = || Request::ControlledShutdown { broker: BrokerId(1), broker_epoch: epoch };
    world.ask(shutdown());
    let lines = told(&world);
    assert!(lines[0].starts_with("broker 1 is about to stop; 2 leaders moved (2 from 1 to 2);"));
    assert_eq!(lines.len(), 1);
    world.ask(shutdown());
    assert_eq!(told(&world), [""; 0], "asked twice it is told once");
    world.kill(BrokerId(1));
    world.expire(BrokerId(1));
    world.brokers_seen();
    world.start(BrokerId(1), BTreeSet::new());
    world.brokers_seen();
    world.settle();
    let name = part("t", 0);
    let (_, leader_epoch, isr) = world.state_of(&name);
    let version = world.tree.read_state(&name).unwrap().version;
    let members = isr.into_iter().chain([1]).map(|id| (BrokerId(id), -1)).collect();
    let proposal = IsrProposal {
        topic: TopicRef::Name("t".into()),
        partition: 0,
        leader_epoch: LeaderEpoch(leader_epoch),
        partition_epoch: version,
        isr: members,
        recovering: false,
    };
    world.tree.proposals.push((BrokerId(2), name.clone(), proposal.clone()));
    world.ask(Request::AlterPartition {
        broker: BrokerId(2),
        broker_epoch: world.tree.brokers[&BrokerId(2)].epoch,
        knows_ineligible: true,
        partitions: vec![proposal],
    });
    assert_eq!(told(&world), [""; 0], "its leader tells it");
    let kind = ElectionKind::Preferred;
    world.ask(Request::ElectLeaders { kind, partitions: Some(vec![name]) });
    assert_eq!(told(&world), ["the first replica leads 1 partition again: t-0"]);
}

#[test]
fn moves_of_replicas_are_told_from_begin_to_end() {
    let mut world = six();
    world.settle();
    let to = |target: Option<&[i32]>| {
        Request::Reassign(BTreeMap::from([(part("t", 0), target.map(ids))]))
    };
    world.create("u", &[&[1]], true);
    world.topic_seen("u");
    world.ask(Request::Reassign(BTreeMap::from([(part("u", 0), Some(ids(&[2])))])));
    assert_eq!(told(&world), ["reassignment begun of 1 partition: u-0 [2]"]);
    world.ask(Request::Reassign(BTreeMap::from([(part("u", 0), None)])));
    assert_eq!(told(&world), ["reassignment cancelled of 1 partition: u-0 [1]"]);
    world.ask(to(Some(&[2, 1])));
    let lines = told(&world);
    assert!(
        lines.iter().any(|line| line == "reassignment done of 1 partition: t-0 [2, 1]"),
        "{lines:?}"
    );
}

#[test]
fn a_failed_directory_is_told_with_what_follows() {
    let mut world = six();
    world.settle();
    let epoch = world.tree.brokers[&BrokerId(1)].epoch;
    let topic_id = world.tree.topics["t"].id.unwrap();
    let outcome = |partition| Outcome {
        partition: part("t", partition),
        topic_id,
        error: ErrorCode::KafkaStorageError,
    };
    let answer = Answer::Led(vec![outcome(0), outcome(3)]);
    world.apply(Event::Answered { broker: BrokerId(1), epoch, answer });
    assert_eq!(
        told(&world),
        ["broker 1 is without a log directory; 2 leaders moved (2 from 1 to 2); \
          the ISR of 2 partitions is smaller: t-0, t-3"]
    );
}
