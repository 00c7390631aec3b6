//! Events that have nothing to do with each other: in any order they end the same.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::sync::Arc;

use broker_protocol::error_code::ErrorCode;
use broker_protocol::quantity::BrokerId;
use broker_protocol::topic_partition::TopicPartition;

use super::random::Life;
use super::tree::TopicNode;
use super::world::World;
use crate::controller::state::assignment::Assignment;
use crate::controller::state::event::{Answer, Event, Outcome};
use crate::controller::state::named;
use crate::controller::state::request::{ElectionKind, Request};

/// One thing that happens to one topic.
type Happening = Box<dyn Fn(&mut World)>;

/// Everything that must be the same: the nodes, and what each broker knows and was told to do.
fn outcome(world: &World) -> String {
    let mut said = String::new();
    for (name, TopicNode { version, partitions, states, .. }) in &world.tree.topics {
        let _ = writeln!(said, "{name} {version} {partitions:?} {states:?}");
    }
    let World { tree, .. } = world;
    let asked = (&tree.marks, &tree.reassignments, &tree.preferred, &tree.notifications);
    let _ = writeln!(said, "{asked:?} {}", tree.next_producer_id);
    for (id, process) in &world.processes {
        for (name, replica) in &process.replicas {
            let told = replica.told.as_ref().map(|view| (view.leader, view.leader_epoch));
            let _ = writeln!(said, "{id} {name} {told:?} {:?} {}", replica.isr, replica.has_failed);
        }
        let known = process.metadata.values().map(|view| {
            (view.partition.to_string(), view.leader, view.leader_epoch, view.partition_epoch)
        });
        let _ = writeln!(said, "{id} {:?}", known.collect::<BTreeSet<_>>());
    }
    said
}

/// A healthy cluster after a random life; the same for the same seed.
fn cluster(seed: u64) -> World {
    let mut life = Life::new(seed);
    life.world.faults = super::world::Faults::default();
    for _ in 0..200 {
        life.act();
    }
    life.heal();
    for name in ["x", "y", "z"] {
        if !life.world.tree.topics.contains_key(name) {
            life.world.create(name, &[&[1, 2, 3], &[2, 3, 4]], true);
            life.world.topic_seen(name);
        }
    }
    life.world.settle();
    life.world
}

fn ask(request: Request) -> Happening {
    Box::new(move |world| {
        world.ask(request.clone());
    })
}

/// One thing for each topic, by its place.
fn happenings(world: &World, seed: u64) -> Vec<Happening> {
    let mut all: Vec<Happening> = Vec::new();
    let mut random = fastrand::Rng::with_seed(seed);
    for (name, node) in &world.tree.topics {
        let partition = named(name, random.i32(..node.partitions.len() as i32));
        all.push(match random.u8(..6) {
            0 => {
                let target = vec![BrokerId(4), BrokerId(1)];
                ask(Request::Reassign(BTreeMap::from([(partition, Some(target))])))
            }
            1 => {
                let (kind, partitions) = (ElectionKind::Preferred, Some(vec![partition]));
                ask(Request::ElectLeaders { kind, partitions })
            }
            2 => fails(world, partition),
            3 => grows(Arc::clone(name)),
            4 => deleted(Arc::clone(name)),
            _ => {
                let name = Arc::clone(name);
                Box::new(move |world| world.apply(Event::Unclean(Arc::clone(&name), Some(true))))
            }
        });
    }
    let broker_epoch = world.tree.known[&BrokerId(1)];
    all.push(ask(Request::AllocateProducerIds { broker: BrokerId(1), broker_epoch }));
    all
}

/// The leader's log directory fails.
fn fails(world: &World, partition: TopicPartition) -> Happening {
    let topic_id = world.tree.topics[&partition.topic].id.unwrap_or_default();
    let leader = world.led_by(&partition).map_or(BrokerId(1), |(leader, _)| leader);
    let epoch = world.tree.known[&leader];
    Box::new(move |world| {
        let replicas = world.processes.get_mut(&leader).map(|process| &mut process.replicas);
        if let Some(replica) = replicas.and_then(|replicas| replicas.get_mut(&partition)) {
            replica.has_failed = true;
        }
        let error = ErrorCode::KafkaStorageError;
        let outcome = Outcome { partition: partition.clone(), topic_id, error };
        let answer = Answer::Led(vec![outcome]);
        world.apply(Event::Answered { broker: leader, epoch, answer });
    })
}

fn grows(name: Arc<str>) -> Happening {
    Box::new(move |world| {
        if let Some(node) = world.tree.topics.get_mut(&name) {
            let replicas = vec![BrokerId(3), BrokerId(4)];
            node.partitions.insert(node.partitions.len() as i32, Assignment::settled(replicas));
            node.version += 1;
        }
        world.topic_seen(&name);
    })
}

fn deleted(name: Arc<str>) -> Happening {
    Box::new(move |world| {
        world.tree.marks.insert(Arc::clone(&name));
        world.apply(Event::DeletionsAsked(world.tree.marks.clone()));
    })
}

/// Method: two clusters of one seed; one thing for each topic in order, and shuffled. Then rest: all that is on
/// its way arrives in turn, and in any order that each sender's own words allow.
#[test]
fn the_same_events_in_another_order_end_the_same() {
    for seed in 0..1_000 {
        let (mut one, mut other) = (cluster(seed), cluster(seed));
        assert_eq!(outcome(&one), outcome(&other), "seed {seed}: a seed is the whole report");
        for happening in happenings(&one, seed) {
            happening(&mut one);
        }
        let mut shuffled = happenings(&other, seed);
        fastrand::Rng::with_seed(seed + 1).shuffle(&mut shuffled);
        for happening in shuffled {
            happening(&mut other);
        }
        one.settle();
        other.settle_in_any_order(seed);
        assert_eq!(outcome(&one), outcome(&other), "seed {seed}");
    }
}
