//! What the controller knows and decides. Pure: no store, no task, no clock.
//!
//! The state is a copy of the coordination tree's part that the controller owns. An event says what
//! was read there; the effects say what must be written, who leads what, and what everybody may
//! know. A partition is announced only by effects that follow the write of its state.
//!
//! For each partition: `leader_epoch` grows with every change of the leader; `leader` is in `isr`;
//! `isr` is a subset of `replicas`.
//! Source: Kafka 3.9 `KafkaController`, `PartitionStateMachine`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use broker_protocol::quantity::{BrokerId, LeaderEpoch};
use broker_protocol::topic_partition::TopicPartition;
use broker_protocol::uuid::Uuid;

use crate::metadata::{Partition, Topic};

/// A partition's state as its node holds it; `version` is the node's, the partition epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Elected {
    /// The leader, if one could be elected.
    pub leader: Option<BrokerId>,
    /// How often leadership has changed.
    pub leader_epoch: LeaderEpoch,
    /// The replicas in sync.
    pub isr: Vec<BrokerId>,
    /// The node's version; `None` before the node exists.
    pub version: Option<i32>,
}

/// A topic as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicRead {
    /// Its name.
    pub name: Arc<str>,
    /// Its id; the caller has given one to a topic that lacked it.
    pub id: Uuid,
    /// The replicas of each partition, in order, without holes.
    pub assignment: Vec<Vec<BrokerId>>,
    /// The state of each partition that has one.
    pub states: BTreeMap<i32, Elected>,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A topic is new, or more partitions were assigned to it.
    TopicRead(TopicRead),
    /// A topic is marked for deletion.
    DeletionAsked(Arc<str>),
}

/// What must be done, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Write the states of these partitions, then make their leaders lead.
    Elect {
        /// The topic's id.
        topic_id: Uuid,
        /// The partitions, with their states.
        partitions: Vec<(TopicPartition, Elected)>,
    },
    /// Delete the replicas of these partitions, then the topic's nodes.
    Delete {
        /// The topic.
        topic: Arc<str>,
        /// Its partitions.
        partitions: Vec<TopicPartition>,
    },
    /// Let everybody know the topic as it is now.
    Announce(Topic),
    /// Let everybody forget the topic.
    Forget(Arc<str>),
}

/// The controller's copy of the cluster.
#[derive(Debug, Default)]
pub struct State {
    live: BTreeSet<BrokerId>,
    topics: BTreeMap<Arc<str>, Known>,
}

#[derive(Debug)]
struct Known {
    id: Uuid,
    partitions: Vec<(Vec<BrokerId>, Elected)>,
}

impl State {
    /// Begins with the brokers that live.
    pub fn new(live: BTreeSet<BrokerId>) -> Self {
        Self { live, topics: BTreeMap::new() }
    }

    /// Takes an event in; returns what follows from it.
    pub fn apply(&mut self, event: Event) -> Vec<Effect> {
        match event {
            Event::TopicRead(read) => self.topic_read(read),
            Event::DeletionAsked(topic) => self.deletion_asked(&topic),
        }
    }

    fn topic_read(&mut self, read: TopicRead) -> Vec<Effect> {
        let TopicRead { name, id, assignment, mut states } = read;
        let mut effects = Vec::new();
        if self.topics.get(&name).is_some_and(|known| known.id != id) {
            // Deleted and made again between two reads: what was there is another topic.
            effects.extend(self.deletion_asked(&name));
        }
        let known = self
            .topics
            .entry(Arc::clone(&name))
            .or_insert_with(|| Known { id, partitions: Vec::new() });
        let first_new = known.partitions.len();
        let mut elections = Vec::new();
        for (partition, replicas) in assignment.into_iter().enumerate().skip(first_new) {
            let before = states.remove(&(partition as i32));
            let elected = elect(&self.live, &replicas, before);
            let name = TopicPartition { topic: Arc::clone(&name), partition: partition as i32 };
            elections.push((name, elected.clone()));
            known.partitions.push((replicas, elected));
        }
        if elections.is_empty() {
            return effects;
        }
        let topic = announced(&name, known, &self.live);
        effects.push(Effect::Elect { topic_id: id, partitions: elections });
        effects.push(Effect::Announce(topic));
        effects
    }

    fn deletion_asked(&mut self, topic: &Arc<str>) -> Vec<Effect> {
        let Some(known) = self.topics.remove(topic) else { return Vec::new() };
        let partitions = (0..known.partitions.len() as i32)
            .map(|partition| TopicPartition { topic: Arc::clone(topic), partition })
            .collect();
        // Forgotten first: no client is sent to a replica that is going.
        vec![
            Effect::Forget(Arc::clone(topic)),
            Effect::Delete { topic: Arc::clone(topic), partitions },
        ]
    }
}

/// Chooses a leader: the first replica that lives and is in sync.
///
/// A partition without a state begins with all its live replicas in sync. A state from before
/// this controller is of brokers that have restarted since: the epoch grows even if the leader
/// stays, so that nothing sent to its earlier life is taken by the new one.
fn elect(live: &BTreeSet<BrokerId>, replicas: &[BrokerId], before: Option<Elected>) -> Elected {
    let (isr, leader_epoch, version) = match before {
        Some(before) => (before.isr, LeaderEpoch(before.leader_epoch.0 + 1), before.version),
        None => (replicas.to_vec(), LeaderEpoch(0), None),
    };
    let in_sync: Vec<_> = isr.iter().copied().filter(|id| live.contains(id)).collect();
    let leader = replicas.iter().copied().find(|id| in_sync.contains(id));
    // With no leader the last ISR stands: it says who may lead again.
    let isr = if leader.is_some() { in_sync } else { isr };
    Elected { leader, leader_epoch, isr, version }
}

fn announced(name: &Arc<str>, known: &Known, live: &BTreeSet<BrokerId>) -> Topic {
    let partition = |(replicas, elected): &(Vec<BrokerId>, Elected)| Partition {
        leader: elected.leader,
        leader_epoch: elected.leader_epoch,
        replicas: replicas.clone(),
        isr: elected.isr.clone(),
        offline: replicas.iter().copied().filter(|id| !live.contains(id)).collect(),
    };
    Topic {
        name: Arc::clone(name),
        id: known.id,
        partitions: known.partitions.iter().map(partition).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ME: BrokerId = BrokerId(0);
    const ID: Uuid = Uuid::from_bytes([1; 16]);

    fn read(id: Uuid, partitions: usize, states: &[(i32, Elected)]) -> Event {
        Event::TopicRead(TopicRead {
            name: "t".into(),
            id,
            assignment: vec![vec![ME]; partitions],
            states: states.iter().cloned().collect(),
        })
    }

    fn elected(leader: Option<BrokerId>, epoch: i32, version: Option<i32>) -> Elected {
        Elected { leader, leader_epoch: LeaderEpoch(epoch), isr: vec![ME], version }
    }

    fn elections(effects: &[Effect]) -> Vec<(i32, Elected)> {
        let of_effect = |effect: &Effect| match effect {
            Effect::Elect { partitions, .. } => {
                partitions.iter().map(|(name, state)| (name.partition, state.clone())).collect()
            }
            Effect::Delete { .. } | Effect::Announce(_) | Effect::Forget(_) => Vec::new(),
        };
        effects.iter().flat_map(of_effect).collect()
    }

    /// A new partition begins at epoch 0; one that was led before gets the next epoch.
    #[test]
    fn every_election_has_an_epoch_of_its_own() {
        let mut state = State::new([ME].into());
        let effects = state.apply(read(ID, 2, &[(1, elected(Some(ME), 4, Some(7)))]));
        let expected = [(0, elected(Some(ME), 0, None)), (1, elected(Some(ME), 5, Some(7)))];
        assert_eq!(elections(&effects), expected);
        assert!(
            matches!(effects.last(), Some(Effect::Announce(topic)) if topic.partitions.len() == 2)
        );
    }

    /// Reading the same again does nothing; a grown topic elects its new partitions only.
    #[test]
    fn only_what_is_new_is_elected() {
        let mut state = State::new([ME].into());
        state.apply(read(ID, 1, &[]));
        assert_eq!(state.apply(read(ID, 1, &[])), []);
        let effects = state.apply(read(ID, 3, &[]));
        assert_eq!(elections(&effects).iter().map(|e| e.0).collect::<Vec<_>>(), [1, 2]);
    }

    /// Without a live replica in sync there is no leader, and the ISR stays what it was.
    #[test]
    fn a_partition_without_live_replicas_has_no_leader() {
        let mut state = State::new([BrokerId(9)].into());
        let effects = state.apply(read(ID, 1, &[(0, elected(Some(ME), 2, Some(1)))]));
        assert_eq!(elections(&effects), [(0, elected(None, 3, Some(1)))]);
    }

    /// A topic that was made again under its name is deleted first.
    #[test]
    fn a_recreated_topic_is_another_topic() {
        let mut state = State::new([ME].into());
        state.apply(read(ID, 1, &[]));
        let effects = state.apply(read(Uuid::from_bytes([2; 16]), 1, &[]));
        assert!(matches!(effects[0], Effect::Forget(_)));
        assert!(matches!(effects[1], Effect::Delete { .. }));
        assert_eq!(elections(&effects), [(0, elected(Some(ME), 0, None))]);
    }
}
