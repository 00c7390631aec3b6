//! The coordination tree as far as the controller writes it, and the audit of each write.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use broker_protocol::quantity::BrokerId;
use broker_protocol::topic_partition::TopicPartition;
use broker_protocol::uuid::Uuid;

use crate::controller::state::assignment::Assignment;
use crate::controller::state::effect::{Change, StateWrite};
use crate::controller::state::event::{
    LiveBroker, ProducerIdsRead, Snapshot, StateRead, StateReading, TopicRead, WriteError,
};
use crate::controller::state::named;
use crate::controller::state::request::{Guard, IsrProposal};

/// A topic's nodes.
#[derive(Debug, Clone)]
pub(super) struct TopicNode {
    pub(super) version: i32,
    pub(super) id: Option<Uuid>,
    pub(super) partitions: BTreeMap<i32, Assignment>,
    pub(super) states: BTreeMap<i32, StateRead>,
}

/// All nodes.
#[derive(Debug, Default)]
pub(super) struct Tree {
    pub(super) brokers: BTreeMap<BrokerId, LiveBroker>,
    pub(super) topics: BTreeMap<Arc<str>, TopicNode>,
    /// Topics whose nodes somebody has spoilt.
    pub(super) unread: BTreeSet<Arc<str>>,
    /// Registrations that somebody has spoilt, of brokers that do not know.
    pub(super) hidden: BTreeMap<BrokerId, LiveBroker>,
    /// Partitions whose states somebody has spoilt.
    pub(super) unreadable: BTreeSet<TopicPartition>,
    pub(super) marks: BTreeSet<Arc<str>>,
    pub(super) reassignments: BTreeMap<TopicPartition, Vec<BrokerId>>,
    pub(super) preferred: Option<BTreeSet<TopicPartition>>,
    pub(super) notifications: BTreeSet<Arc<str>>,
    pub(super) next_producer_id: i64,
    /// Where the last block ends that was given out.
    pub(super) given_producer_ids: i64,
    pub(super) producer_ids_version: i32,
    pub(super) unclean: BTreeMap<Arc<str>, bool>,
    pub(super) controller_epoch: i32,
    /// Brokers that asked to stop, since they registered.
    pub(super) leaving: BTreeSet<BrokerId>,
    /// Brokers whose ports refused last, since they registered.
    pub(super) refusing: BTreeSet<BrokerId>,
    /// Proposals that were put to the controller and not answered.
    pub(super) proposals: Vec<(BrokerId, TopicPartition, IsrProposal)>,
    /// Brokers with their epochs, as the controller has read them last.
    pub(super) known: BTreeMap<BrokerId, i64>,
    /// The nodes that moves may rely on.
    pub(super) guard: Guard,
    pub(super) zxid: i64,
    pub(super) ids: u8,
}

impl Tree {
    pub(super) fn fresh_id(&mut self) -> Uuid {
        self.ids = self.ids.wrapping_add(1);
        self.zxid += 1;
        let mut bytes = [self.ids; 16];
        bytes[..8].copy_from_slice(&self.zxid.to_be_bytes());
        Uuid::from_bytes(bytes)
    }

    pub(super) fn read_topic(&mut self, name: &Arc<str>) -> Option<TopicRead> {
        let spare_id = self.fresh_id();
        let node = self.topics.get(name)?.clone();
        let TopicNode { version, id, partitions, states } = node;
        let unreadable = &self.unreadable;
        let (unreadable, states) =
            states.into_iter().partition::<BTreeMap<_, _>, _>(|(number, _)| {
                unreadable.contains(&named(name, *number))
            });
        let unreadable = unreadable.into_keys().collect();
        let name = Arc::clone(name);
        Some(TopicRead { name, version, id, spare_id, partitions, states, unreadable })
    }

    /// Has the nodes of topics that were spoilt be as they were.
    pub(super) fn mend_topics(&mut self) {
        for name in self.unread.clone() {
            self.mend_topic(&name);
        }
    }

    pub(super) fn mend_topic(&mut self, name: &Arc<str>) {
        if self.unread.remove(name)
            && let Some(node) = self.topics.get_mut(name)
        {
            node.version += 1;
        }
    }

    /// Has the states that were spoilt be as they were.
    pub(super) fn mend_states(&mut self) {
        for name in self.unreadable.clone() {
            self.mend_state(&name);
        }
    }

    pub(super) fn mend_state(&mut self, name: &TopicPartition) {
        if self.unreadable.remove(name)
            && let Some(state) = self.state_mut(name)
        {
            state.version += 1;
        }
    }

    /// Has a registration that was spoilt be as it was.
    pub(super) fn mend_broker(&mut self, id: BrokerId) {
        if let Some(broker) = self.hidden.remove(&id) {
            self.brokers.entry(id).or_insert(broker);
        }
    }

    /// Removes a topic's nodes, spoilt or not.
    pub(super) fn remove_topic(&mut self, name: &Arc<str>) -> bool {
        self.unread.remove(name);
        self.unreadable.retain(|partition| partition.topic != *name);
        self.unclean.remove(name);
        self.topics.remove(name).is_some()
    }

    pub(super) fn reading(&self, partition: &TopicPartition) -> StateReading {
        match self.read_state(partition) {
            Some(_) if self.unreadable.contains(partition) => StateReading::Unreadable,
            Some(state) => StateReading::Is(state),
            None => StateReading::Missing,
        }
    }

    pub(super) fn read_state(&self, partition: &TopicPartition) -> Option<StateRead> {
        self.topics.get(&partition.topic)?.states.get(&partition.partition).cloned()
    }

    pub(super) fn state_mut(&mut self, partition: &TopicPartition) -> Option<&mut StateRead> {
        self.topics.get_mut(&partition.topic)?.states.get_mut(&partition.partition)
    }

    pub(super) fn assignment(&self, partition: &TopicPartition) -> Option<&Assignment> {
        self.topics.get(&partition.topic)?.partitions.get(&partition.partition)
    }

    pub(super) fn partitions(&self) -> Vec<TopicPartition> {
        let of = |(name, topic): (&Arc<str>, &TopicNode)| {
            topic.partitions.keys().map(|number| named(name, *number)).collect::<Vec<_>>()
        };
        self.topics.iter().flat_map(of).collect()
    }

    pub(super) fn producer_ids(&self) -> ProducerIdsRead {
        ProducerIdsRead { next: self.next_producer_id, version: self.producer_ids_version }
    }

    pub(super) fn snapshot(&mut self) -> Snapshot {
        let (unread, names): (Vec<_>, Vec<_>) =
            self.topics.keys().cloned().partition(|name| self.unread.contains(name));
        Snapshot {
            brokers: self.brokers.clone(),
            topics: names.iter().filter_map(|name| self.read_topic(name)).collect(),
            unread,
            deletions: self.marks.clone(),
            reassignments: self.reassignments.clone(),
            preferred: self.preferred.clone(),
            unclean: self.unclean.clone(),
            notifications: self.notifications.iter().cloned().collect(),
        }
    }

    /// Makes a change, or says why not. Panics where no controller may make it.
    pub(super) fn change(&mut self, change: &Change) -> Result<i32, WriteError> {
        match change {
            Change::CreateState { partition, state, .. } => self.create_state(partition, state),
            Change::SetState { partition, version, state } => {
                self.set_state(partition, *version, state)
            }
            Change::SetTopic { topic, version, id, partitions, guards } => {
                if guards.iter().any(|guard| *guard != self.guard) {
                    return Err(WriteError::NotHeld);
                }
                let node = self.topics.get_mut(topic).ok_or(WriteError::Missing)?;
                if node.version != *version {
                    return Err(WriteError::Conflict);
                }
                assert!(node.id.is_none_or(|known| known == *id), "a topic keeps its id");
                let kept = node.partitions.keys().all(|number| partitions.contains_key(number));
                assert!(kept, "no partition is lost");
                node.id = Some(*id);
                let former = std::mem::replace(&mut node.partitions, partitions.clone());
                node.version += 1;
                for (number, state) in &node.states {
                    // One that is not there was made for the topic before, which had no id either.
                    let Some(Assignment { replicas, .. }) = node.partitions.get(number) else {
                        continue;
                    };
                    // A state that was there before its partition may name who never was a replica.
                    let was_in = |member: &&BrokerId| {
                        former.get(number).is_some_and(|former| former.replicas.contains(*member))
                    };
                    let mut members = state.isr.iter().filter(was_in);
                    let is_in = members.all(|member| replicas.contains(member));
                    assert!(is_in, "{topic}-{number}: {state:?} outlives {replicas:?}");
                }
                Ok(node.version)
            }
            Change::DeleteTopic { topic, .. } => {
                self.remove_topic(topic);
                self.marks.remove(topic);
                Ok(0)
            }
            Change::DeleteMark(topic) => {
                self.marks.remove(topic).then_some(0).ok_or(WriteError::Missing)
            }
            Change::SetReassignments(rest) => {
                self.reassignments.clone_from(rest);
                Ok(0)
            }
            Change::DeletePreferred => self.preferred.take().map(|_| 0).ok_or(WriteError::Missing),
            Change::DeleteNotification(path) => {
                self.notifications.remove(path).then_some(0).ok_or(WriteError::Missing)
            }
            Change::SetProducerIds { version, start, .. } => {
                if self.producer_ids_version != *version {
                    return Err(WriteError::Conflict);
                }
                let next = self.next_producer_id.max(self.given_producer_ids);
                assert_eq!(*start, next, "no id is given twice, none is left out");
                self.next_producer_id = next + 1000;
                self.given_producer_ids = self.next_producer_id;
                self.producer_ids_version += 1;
                Ok(self.producer_ids_version)
            }
        }
    }

    fn create_state(
        &mut self,
        partition: &TopicPartition,
        state: &StateWrite,
    ) -> Result<i32, WriteError> {
        let controller_epoch = self.controller_epoch;
        let node = self.topics.get_mut(&partition.topic).ok_or(WriteError::Missing)?;
        if node.states.contains_key(&partition.partition) {
            return Err(WriteError::Exists);
        }
        assert_eq!(state.leader_epoch.0, 0, "a new partition begins at epoch 0");
        let is_known = state.isr.iter().all(|member| self.known.contains_key(member));
        assert!(is_known, "{partition}: begins with a replica that is not there");
        node.states.insert(partition.partition, held(state, controller_epoch, 0));
        Ok(0)
    }

    fn set_state(
        &mut self,
        partition: &TopicPartition,
        version: i32,
        state: &StateWrite,
    ) -> Result<i32, WriteError> {
        let former = self.read_state(partition).ok_or(WriteError::Missing)?;
        if former.version != version {
            return Err(WriteError::Conflict);
        }
        self.audit(partition, &former, state);
        let controller_epoch = self.controller_epoch;
        if let Some(node) = self.state_mut(partition) {
            *node = held(state, controller_epoch, version + 1);
        }
        Ok(version + 1)
    }

    /// What no state may ever do (A5, A7, A8).
    fn audit(&self, partition: &TopicPartition, former: &StateRead, state: &StateWrite) {
        assert!(former.controller_epoch <= self.controller_epoch, "{partition}: a later term's");
        assert!(!state.isr.is_empty(), "{partition}: an empty ISR");
        assert!(state.leader.is_none_or(|leader| state.isr.contains(&leader)), "{partition}");
        if state.leader_epoch > former.leader_epoch {
            let is_added = |member: &&BrokerId| !former.isr.contains(*member);
            let added: Vec<_> = state.isr.iter().filter(is_added).collect();
            let is_alone = state.isr.len() == 1 && state.leader.is_some();
            assert!(added.is_empty() || is_alone, "{partition}: {added:?} join by an election");
            return;
        }
        assert_eq!(state.leader_epoch, former.leader_epoch, "{partition}: an epoch falls");
        assert_eq!(
            state.leader, former.leader,
            "{partition}: a leader without an epoch of its own"
        );
        let is_asked = |(leader, name, asked): &&(BrokerId, TopicPartition, IsrProposal)| {
            name == partition
                && Some(*leader) == former.leader
                && asked.isr.iter().map(|(id, _)| *id).eq(state.isr.iter().copied())
                && asked.leader_epoch == former.leader_epoch
        };
        let asked: Vec<_> = self.proposals.iter().filter(is_asked).collect();
        assert!(!asked.is_empty(), "{partition}: an ISR that nobody asked for keeps its epoch");
        let is_current = asked.iter().any(|(_, _, asked)| asked.partition_epoch == former.version);
        assert!(is_current, "{partition}: a proposal for another partition epoch is written");
        for (member, epoch) in asked.iter().flat_map(|(_, _, asked)| &asked.isr) {
            if former.isr.contains(member) {
                continue;
            }
            assert!(!self.leaving.contains(member), "{partition}: {member} joins and is stopping");
            let lives = self.known.get(member).is_some_and(|known| *epoch < 0 || known == epoch);
            assert!(lives, "{partition}: {member} joins and is not alive in epoch {epoch}");
        }
    }
}

fn held(state: &StateWrite, controller_epoch: i32, version: i32) -> StateRead {
    StateRead {
        leader: state.leader,
        leader_epoch: state.leader_epoch,
        isr: state.isr.clone(),
        recovering: state.recovering,
        controller_epoch,
        version,
    }
}
