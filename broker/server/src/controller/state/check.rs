//! What must always hold: asserted at every step of a partition, in every build.

use std::collections::BTreeSet;

use broker_protocol::quantity::BrokerId;

use super::effect::View;
use super::{State, Summary, named};

impl State {
    /// Asserts one step of a partition's state, from what it was to what is in the tree now.
    pub(super) fn assert_step(&self, former: Option<&View>, view: &View, is_leaders_own: bool) {
        assert_view(view);
        let View { partition, isr, assignment, .. } = view;
        // What was there before may be another hand's: it is kept, and nobody who is no replica leads by it.
        let was_member = |id: &BrokerId| former.is_some_and(|former| former.isr.contains(id));
        assert!(
            isr.iter().all(|id| assignment.replicas.contains(id) || was_member(id)),
            "the ISR {isr:?} of {partition} has a new member that is no replica of {assignment:?}"
        );
        assert!(view.controller_epoch <= self.controller_epoch, "no state is of a later term");
        let Some(former) = former else { return };
        assert!(
            view.partition_epoch > former.partition_epoch,
            "the partition epoch of {} grows with each write",
            view.partition
        );
        assert!(view.leader_epoch >= former.leader_epoch, "a leader epoch never falls");
        if is_leaders_own {
            assert_eq!(
                (view.leader, view.leader_epoch),
                (former.leader, former.leader_epoch),
                "a leader changes nothing but its ISR"
            );
        }
    }

    /// Asserts the invariants of everything; costs a pass over all partitions.
    ///
    /// # Panics
    /// When one is broken.
    pub fn check(&self) {
        for (name, topic) in &self.topics {
            assert_eq!(self.names.get(&topic.id), Some(name), "an id names one topic");
            for (number, partition) in &topic.partitions {
                assert_assignment(partition);
                let Some(view) = &partition.view else { continue };
                assert_eq!(view.partition, named(name, *number), "a view is of its partition");
                assert_eq!(view.topic_id, topic.id, "a view has its topic's id");
                assert_eq!(*view.assignment, *partition.assignment, "a view has its replicas");
                assert_view(view);
            }
        }
        assert_eq!(self.names.len(), self.topics.len(), "each topic has one id");
        let registered = |id: &BrokerId| self.brokers.contains_key(id);
        assert!(self.shutting_down.iter().all(registered), "only who is here shuts down");
        assert!(self.suspects.iter().all(registered), "only who is here is suspected");
        assert!(self.facts.unproven.keys().all(registered), "only who is here is doubted");
        for partition in self.facts.ready.keys().chain(self.facts.wanted.keys()) {
            assert!(self.partition(partition).is_some(), "what moves exists");
        }
        for partition in self.facts.guards.keys() {
            let (ready, wanted) = (&self.facts.ready, &self.facts.wanted);
            let is_to_be_written = ready.contains_key(partition) || wanted.contains_key(partition);
            assert!(is_to_be_written, "only what is to be written is guarded");
        }
    }

    /// Counts, for metrics.
    pub fn summary(&self) -> Summary {
        let mut summary = Summary {
            brokers: self.brokers.len(),
            topics: self.topics.len(),
            topics_to_delete: self.deletions.len(),
            replicas_to_delete: self.replicas_to_delete(),
            ..Summary::default()
        };
        let kept = self.topics.iter().filter(|(_, topic)| topic.deletion.is_none());
        for partition in kept.flat_map(|(_, topic)| topic.partitions.values()) {
            let leader = partition.view.as_ref().and_then(|view| view.leader);
            let is_led = leader.is_some_and(|leader| self.brokers.contains_key(&leader));
            summary.partitions += 1;
            summary.offline_partitions += usize::from(!is_led);
            summary.preferred_imbalance +=
                usize::from(leader != partition.assignment.replicas.first().copied());
            summary.reassigning += usize::from(partition.assignment.is_moving());
        }
        summary
    }
}

fn assert_view(view: &View) {
    let View { partition, leader, isr, leader_epoch, .. } = view;
    assert!(!isr.is_empty(), "the ISR of {partition} is empty");
    assert!(leader.is_none_or(|id| isr.contains(&id)), "the leader of {partition} is not in sync");
    assert_eq!(isr.iter().collect::<BTreeSet<_>>().len(), isr.len(), "a member is named once");
    assert!(leader_epoch.0 >= 0, "epochs count from 0");
}

fn assert_assignment(partition: &super::Partition) {
    let assignment = &partition.assignment;
    let replicas: BTreeSet<_> = assignment.replicas.iter().collect();
    assert_eq!(replicas.len(), assignment.replicas.len(), "a broker holds a replica once");
    let mut moving = assignment.adding.iter().chain(&assignment.removing);
    assert!(moving.all(|id| replicas.contains(id)), "what is added or removed is a replica");
}
