//! What must hold after each event, told by a naive reading of everything; and when all is quiet.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use broker_protocol::quantity::BrokerId;
use broker_protocol::topic_partition::TopicPartition;

use super::random::{BROKERS, Life};
use super::world::World;
use crate::controller::partition_election::Presence;

/// Panics where the controller's copy, or what it has decided, is not what it should be.
pub(super) fn check(world: &World) {
    world.state.check();
    let state = &world.state;
    assert!(state.pending.is_none() && state.turn_is_over(), "a turn ends before the next event");
    for (name, topic) in state.topics.iter().filter(|(_, topic)| topic.deletion.is_none()) {
        for (number, partition) in &topic.partitions {
            let name = TopicPartition { topic: name.clone(), partition: *number };
            let facts = &state.facts;
            let is_open = facts.stale.contains(&name)
                || facts.unreadable.contains(&name)
                || facts.ready.contains_key(&name);
            let Some(view) = partition.view.as_ref().filter(|_| !is_open) else { continue };
            if let Some(held) = world.tree.read_state(&name)
                && held.version == view.partition_epoch
                && world.tree.topics[&name.topic].id == Some(topic.id)
            {
                let known = (view.leader, view.leader_epoch, &view.isr);
                assert_eq!(known, (held.leader, held.leader_epoch, &held.isr), "{name}");
            }
            let presence = |id: BrokerId| {
                let presence = state.presence(id, &name);
                assert_eq!(stands(world, id, &name), without_proof(presence), "{id} and {name}");
                presence
            };
            let can_lead = |id: &&BrokerId| presence(**id) == Presence::Up { proven: true };
            // A state that was there before its partition may name who is no replica.
            let is_replica = |id: &&BrokerId| view.assignment.replicas.contains(id);
            let candidate = view.isr.iter().filter(is_replica).find(can_lead);
            match view.leader {
                None => assert_eq!(candidate, None, "{name} could be led: {view:?}"),
                Some(leader) => {
                    assert_ne!(presence(leader), Presence::Gone, "{name}: {view:?}");
                    if matches!(presence(leader), Presence::Leaving { .. }) {
                        assert_eq!(candidate, None, "{name} could be handed over: {view:?}");
                    }
                    let gone = view
                        .isr
                        .iter()
                        .find(|id| **id != leader && presence(**id) == Presence::Gone);
                    assert_eq!(gone, None, "{name} has a dead member in sync: {view:?}");
                }
            }
        }
    }
}

/// How a broker stands by what the controller was told, its replica's log aside.
#[derive(Debug, PartialEq, Eq)]
enum Stands {
    Up,
    Leaving,
    Gone,
}

fn stands(world: &World, id: BrokerId, name: &TopicPartition) -> Stands {
    let failed = world.state.facts.failed.get(name);
    if failed.is_some_and(|failed| failed.contains(&id)) || !world.tree.known.contains_key(&id) {
        Stands::Gone
    } else if world.tree.leaving.contains(&id) || world.tree.refusing.contains(&id) {
        Stands::Leaving
    } else {
        Stands::Up
    }
}

fn without_proof(presence: Presence) -> Stands {
    match presence {
        Presence::Up { .. } => Stands::Up,
        Presence::Leaving { .. } => Stands::Leaving,
        Presence::Gone => Stands::Gone,
    }
}

impl Life {
    /// Ends all faults, and lets everything come to rest: then every broker knows the same.
    pub(super) fn heal(&mut self) {
        let faults = std::mem::take(&mut self.world.faults);
        self.world.deposed = None;
        self.world.in_flight.clear();
        self.world.tree.mend_topics();
        for id in (1..=BROKERS).map(BrokerId) {
            self.world.tree.mend_broker(id);
        }
        // What a leader did not write is told apart only if somebody saw that it could not be read.
        self.full_pass();
        self.world.tree.mend_states();
        for id in (1..=BROKERS).map(BrokerId) {
            let is_whole = self.world.processes.get(&id).is_some_and(|process| {
                process.replicas.values().all(|replica| !replica.has_failed)
            });
            let is_registered = self.world.tree.brokers.get(&id).is_some_and(|known| {
                self.world.processes.get(&id).is_some_and(|process| process.epoch == known.epoch)
            });
            if !is_whole || !is_registered || self.world.tree.leaving.contains(&id) {
                self.world.kill(id);
                let unproven = self.world.disks.get_mut(&id).map(|disk| {
                    let replicas = disk.replicas.iter_mut();
                    replicas
                        .filter_map(|(name, replica)| {
                            replica.has_failed = false;
                            replica.is_cut.then(|| name.clone())
                        })
                        .collect::<BTreeSet<_>>()
                });
                self.world.start(id, unproven.unwrap_or_default());
            }
        }
        self.full_pass();
        for (id, epoch) in self.world.tree.known.clone() {
            self.world.apply(crate::controller::state::event::Event::Reached { broker: id, epoch });
        }
        for _ in 0..12 {
            self.world.settle();
            self.world.tick(Duration::from_secs(30));
            for (leader, partition) in self.world.led() {
                self.world.replicate(leader, &partition, |_| true);
                for _ in 0..3 {
                    self.propose_growth(leader, &partition);
                }
            }
            self.full_pass();
        }
        self.world.settle();
        self.same_everywhere();
        self.world.faults = faults;
    }

    fn propose_growth(&mut self, leader: BrokerId, partition: &TopicPartition) {
        if let Some(process) = self.world.processes.get_mut(&leader)
            && let Some(replica) = process.replicas.get_mut(partition)
        {
            replica.proposed = None;
        }
        self.propose(leader, partition, false);
        while !self.world.in_flight.is_empty() {
            let asking = self.world.in_flight.remove(0);
            self.world.alter(asking);
        }
    }

    fn same_everywhere(&self) {
        let tree = &self.world.tree;
        let all: BTreeSet<_> = tree.partitions().into_iter().collect();
        // What another hand took away the next controller makes anew: this one knows it still.
        let is_missed = |name: &&TopicPartition| {
            tree.read_state(name).is_none() && self.world.state.view(name).is_some()
        };
        let missed: BTreeSet<_> = all.iter().filter(is_missed).collect();
        let is_torn = |topic: &&Arc<str>| missed.iter().any(|name| name.topic == **topic);
        let marked = tree.marks.iter().find(|topic| !is_torn(topic));
        assert_eq!(marked, None, "should be deleted");
        assert!(tree.reassignments.is_empty() && tree.preferred.is_none());
        assert!(tree.notifications.is_empty(), "{:?}", tree.notifications);
        let is_whole = |name: &&TopicPartition| !missed.contains(name);
        let whole: BTreeSet<_> = all.iter().filter(is_whole).collect();
        for name in &whole {
            let state = tree.read_state(name);
            assert!(state.is_some(), "{name} has no state");
            let (Some(state), Some(assignment)) = (state, tree.assignment(name)) else { continue };
            if !state.isr.iter().any(|id| assignment.replicas.contains(id)) {
                // It was there before its partition, and says that others have what counts.
                assert_eq!(state.leader, None, "{name} is led by no replica: {state:?}");
                continue;
            }
            assert!(state.leader.is_some(), "{name} has no leader: {state:?}");
            assert!(!assignment.is_moving(), "{name} is still moving: {assignment:?} {state:?}");
            let in_sync: BTreeSet<_> = state.isr.iter().collect();
            assert_eq!(in_sync, assignment.replicas.iter().collect(), "{name} is not in sync");
            for (id, process) in &self.world.processes {
                let known = process.metadata.get(name);
                let known =
                    known.map(|view| (view.leader, view.leader_epoch, view.partition_epoch));
                let held = (state.leader, state.leader_epoch, state.version);
                assert_eq!(known, Some(held), "{id} knows another {name}");
                let told = process.replicas.get(name).map(|replica| {
                    replica.told.as_ref().map(|told| (told.leader, told.leader_epoch))
                });
                let is_replica = assignment.replicas.contains(id);
                // A log that is left over from a topic that vanished is stopped.
                let told = told.filter(|told| is_replica || told.is_some());
                let expected = is_replica.then_some(Some((state.leader, state.leader_epoch)));
                assert_eq!(told, expected, "{id} was told otherwise of {name}");
            }
        }
        for (id, process) in &self.world.processes {
            let known: BTreeSet<_> = process.metadata.keys().filter(is_whole).collect();
            assert_eq!(known, whole, "{id} knows topics that are not there");
        }
    }
}
