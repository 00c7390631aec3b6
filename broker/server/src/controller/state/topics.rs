//! Topics as the tree has them: new, grown, made again, gone; and what is written to their nodes.
//!
//! Old tools write nodes without an id, and rewrite them without what a reassignment has added: the
//! controller puts both back, and tells nobody of a topic before its id is in the tree.
//! Source: Kafka 3.9 `processTopicChange`, `processPartitionModifications`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use broker_protocol::topic_partition::TopicPartition;

use super::assignment::Assignment;
use super::effect::{Change, Directive, View};
use super::event::{StateRead, StateReading, TopicRead, WriteError};
use super::turn::{Reason, stop, stop_for_ever};
use super::{Partition, State, Topic, named};

impl State {
    /// Topics were read.
    pub(super) fn topics_read(&mut self, topics: Vec<TopicRead>) {
        for read in topics {
            if self.has_resigned {
                return;
            }
            self.topic_read(read);
        }
    }

    fn topic_read(&mut self, read: TopicRead) {
        self.unread.remove(&read.name);
        if read.id.is_some_and(|id| self.deleted.has(id, self.now)) {
            return;
        }
        let Some(known) = self.topics.get(&read.name) else {
            self.topic_is_new(read);
            return;
        };
        let is_another = read.id.is_some_and(|id| id != known.id);
        let is_older = read.version < known.version;
        // Old tools give no id; but who makes a topic again leaves no state of what was before.
        let is_bare = read.id.is_none() && known.has_lost_states(&read);
        if is_another && known.has_id || is_older && known.was_older || is_bare {
            // Deleted and made again between two readings: what was there is another topic.
            self.drop_topic(&Arc::clone(&read.name));
            self.topic_is_new(read);
        } else if is_older {
            // A reading from before our last write, or a node that was made again without an id.
            self.turn.read_topic(Arc::clone(&read.name));
            if let Some(known) = self.topics.get_mut(&read.name) {
                known.was_older = true;
            }
        } else {
            if let Some(id) = read.id.filter(|_| is_another) {
                self.take_id(&read.name, id);
            }
            self.topic_is_known(read);
        }
    }

    /// A tool has given the topic another id than the one that nobody has been told yet.
    fn take_id(&mut self, name: &Arc<str>, id: broker_protocol::uuid::Uuid) {
        let Some(topic) = self.topics.get_mut(name) else { return };
        self.names.remove(&topic.id);
        self.names.insert(id, Arc::clone(name));
        topic.id = id;
        for partition in topic.partitions.values_mut() {
            if let Some(view) = &mut partition.view {
                *view = Arc::new(View { topic_id: id, ..View::clone(view) });
            }
        }
    }

    fn topic_is_new(&mut self, read: TopicRead) {
        let TopicRead { name, version, id, spare_id, partitions, mut states, unreadable } = read;
        let topic = Topic {
            id: id.unwrap_or(spare_id),
            version,
            partitions: BTreeMap::new(),
            has_id: id.is_some(),
            is_stale: false,
            was_older: false,
            deletion: None,
        };
        if states.is_empty() && unreadable.is_empty() {
            self.story.created(&name, &partitions);
        }
        self.names.insert(topic.id, Arc::clone(&name));
        self.topics.insert(Arc::clone(&name), topic);
        if id.is_none() {
            self.lacking.insert(Arc::clone(&name));
        }
        for (number, assignment) in partitions {
            let state = reading(&mut states, &unreadable, number);
            self.partition_is_new(named(&name, number), assignment, state);
        }
        self.begin_deletion(&name);
    }

    fn partition_is_new(
        &mut self,
        partition: TopicPartition,
        assignment: Assignment,
        state: StateReading,
    ) {
        let is_moving = assignment.is_moving();
        let Some(topic) = self.topics.get_mut(&partition.topic) else { return };
        let held = Partition { assignment: Arc::new(assignment), view: None };
        topic.partitions.insert(partition.partition, held);
        self.story.touch(partition.clone());
        if state == StateReading::Unreadable {
            self.facts.unreadable.insert(partition.clone());
        } else if let StateReading::Is(state) = state {
            if state.controller_epoch > self.controller_epoch {
                self.has_resigned = true;
                return;
            }
            self.hold(&partition, state);
            self.turn.lead(partition.clone());
            if is_moving {
                // The replicas that are added may not be known to the leader in its epoch.
                self.facts.bump.insert(partition.clone());
            }
        }
        self.turn.doubt(partition);
    }

    fn topic_is_known(&mut self, read: TopicRead) {
        let TopicRead { name, version, id, partitions, mut states, unreadable, .. } = read;
        let Some(topic) = self.topics.get_mut(&name) else { return };
        topic.version = version;
        topic.has_id |= id.is_some();
        let was_stale = std::mem::take(&mut topic.is_stale);
        topic.was_older = false;
        let is_overwritten = |(number, held): (&i32, &Partition)| {
            held.assignment.is_moving() && partitions.get(number) != Some(&*held.assignment)
        };
        if id.is_none() || topic.partitions.iter().any(is_overwritten) {
            self.lacking.insert(Arc::clone(&name));
        } else {
            self.lacking.remove(&name);
        }
        for number in topic.partitions.keys() {
            let partition = named(&name, *number);
            if self.facts.ready.contains_key(&partition) {
                if was_stale {
                    // Its leader may have been told of another epoch meanwhile, without the new replicas.
                    self.facts.bump.insert(partition.clone());
                }
                self.turn.doubt(partition);
            }
        }
        let is_known = |number: &i32| topic.partitions.contains_key(number);
        let (known, new): (BTreeMap<_, _>, BTreeMap<_, _>) =
            partitions.into_iter().partition(|(number, _)| is_known(number));
        if !new.is_empty() {
            self.story.grown(&name, known.len() + new.len());
        }
        for (number, assignment) in new {
            let state = reading(&mut states, &unreadable, number);
            self.partition_is_new(named(&name, number), assignment, state);
        }
        let read = known
            .keys()
            .map(|number| (named(&name, *number), reading(&mut states, &unreadable, *number)));
        let read: Vec<_> = read.collect();
        let is_said = |(name, state): &(TopicPartition, StateReading)| {
            *state != StateReading::Missing || self.facts.unreadable.contains(name)
        };
        let read = read.into_iter().filter(is_said).collect();
        self.states_read(read);
    }

    /// The nodes of topics are gone, by another hand than this controller's.
    pub(super) fn topics_gone(&mut self, topics: &[Arc<str>]) {
        for name in topics {
            self.unread.remove(name);
            self.drop_topic(name);
            if self.deletions.contains(name) {
                self.turn.change(Change::DeleteMark(Arc::clone(name)), Reason::Plain);
            }
        }
    }

    /// Forgets a topic that is no longer in the tree, and has its replicas stopped. Their logs are deleted if
    /// that was asked for; what another hand took out of the tree may be wanted back.
    fn drop_topic(&mut self, name: &Arc<str>) {
        let Some(topic) = self.topics.get(name) else { return };
        let delete = topic.deletion.is_some();
        if delete {
            self.story.deleted(name);
        } else {
            self.story.vanished(name);
        }
        for view in self.forget_topic(name) {
            for broker in self.brokers.keys() {
                self.turn.tell_first(*broker, Directive::Forget(Arc::clone(&view)));
                if view.assignment.replicas.contains(broker) {
                    self.turn.tell_first(*broker, stop_for_ever(&view, delete));
                }
            }
        }
    }

    /// Forgets a topic; returns what its partitions were.
    pub(super) fn forget_topic(&mut self, name: &Arc<str>) -> Vec<Arc<View>> {
        let Some(topic) = self.topics.remove(name) else { return Vec::new() };
        self.names.remove(&topic.id);
        self.lacking.remove(name);
        self.unclean.remove(name);
        for number in topic.partitions.keys() {
            let partition = named(name, *number);
            self.facts.forget(&partition);
            self.turn.forget(&partition);
            self.story.touch(partition);
        }
        topic.partitions.into_values().filter_map(|partition| partition.view).collect()
    }

    /// Writes the nodes of topics whose partitions are ready for it, or that lack something.
    pub(super) fn write_topics(&mut self) {
        let mut due = self.lacking.clone();
        due.extend(self.facts.ready.keys().map(|partition| Arc::clone(&partition.topic)));
        for name in due {
            let Some(topic) = self.topics.get(&name) else { continue };
            if topic.is_stale || topic.deletion.is_some() {
                continue;
            }
            let of = |(number, held): (&i32, &Partition)| {
                let ready = self.facts.ready.get(&named(&name, *number));
                (*number, Assignment::clone(ready.unwrap_or(&held.assignment)))
            };
            let ready = self.facts.ready.keys().filter(|partition| partition.topic == name);
            let guards = ready.filter_map(|partition| self.facts.guards.get(partition));
            let change = Change::SetTopic {
                guards: guards.copied().collect(),
                partitions: topic.partitions.iter().map(of).collect(),
                version: topic.version,
                id: topic.id,
                topic: name,
            };
            self.turn.change(change, Reason::Plain);
        }
    }

    /// Takes in what became of a topic's node.
    pub(super) fn topic_written(
        &mut self,
        name: &Arc<str>,
        partitions: BTreeMap<i32, Assignment>,
        outcome: Result<i32, WriteError>,
    ) {
        let Some(topic) = self.topics.get_mut(name) else { return };
        if outcome == Err(WriteError::NotHeld) {
            self.give_up_guarded(name);
            return;
        }
        let Ok(version) = outcome else {
            topic.is_stale = true;
            self.turn.read_topic(Arc::clone(name));
            // Brokers may hear of the new leader epoch before the new replicas are known: it takes
            // another epoch to tell them of those.
            let ready = self.facts.ready.keys().filter(|partition| partition.topic == *name);
            for partition in ready.cloned().collect::<Vec<_>>() {
                self.facts.bump.insert(partition);
            }
            return;
        };
        topic.version = version;
        topic.has_id = true;
        self.lacking.remove(name);
        for (number, assignment) in partitions {
            let partition = named(name, number);
            if self.facts.ready.remove(&partition).is_some() {
                if !self.facts.wanted.contains_key(&partition) {
                    self.facts.guards.remove(&partition);
                }
                self.assignment_is(&partition, assignment);
            }
        }
    }

    /// An assignment of ours is in the tree: replicas that left it are stopped and deleted.
    fn assignment_is(&mut self, partition: &TopicPartition, assignment: Assignment) {
        let assignment = Arc::new(assignment);
        let offline = self.offline(partition, &assignment.replicas);
        let Some(held) = self.partition_mut(partition) else { return };
        let former = std::mem::replace(&mut held.assignment, Arc::clone(&assignment));
        let view = held.view.take();
        self.story.assigned(partition, &former, &assignment);
        let Some(view) = view else {
            self.turn.doubt(partition.clone());
            return;
        };
        let view = Arc::new(View { assignment, offline, ..View::clone(&view) });
        if let Some(held) = self.partition_mut(partition) {
            held.view = Some(Arc::clone(&view));
        }
        let replicas = &view.assignment.replicas;
        for broker in former.replicas.iter().filter(|broker| !replicas.contains(broker)) {
            self.turn.tell(*broker, stop(&view, true, view.leader_epoch));
            if let Some(failed) = self.facts.failed.get_mut(partition) {
                failed.remove(broker);
            }
        }
        let is_new = |broker: &&_| !former.replicas.contains(*broker);
        let new: Vec<_> = replicas.iter().filter(is_new).copied().collect();
        self.turn.lead_new(partition.clone(), &new);
        self.turn.doubt(partition.clone());
    }
}

impl Topic {
    /// Whether there were states, and none of them is left.
    fn has_lost_states(&self, read: &TopicRead) -> bool {
        let mut held = self.partitions.iter().filter(|(_, held)| held.view.is_some()).peekable();
        let is_there =
            |number| read.states.contains_key(number) || read.unreadable.contains(number);
        held.peek().is_some() && held.all(|(number, _)| !is_there(number))
    }
}

/// What was read of one partition's state.
fn reading(
    states: &mut BTreeMap<i32, StateRead>,
    unreadable: &BTreeSet<i32>,
    number: i32,
) -> StateReading {
    match states.remove(&number) {
        Some(state) => StateReading::Is(state),
        None if unreadable.contains(&number) => StateReading::Unreadable,
        None => StateReading::Missing,
    }
}
