//! Deletion of topics, step by step: all replicas stop, all delete, then the nodes go.
//!
//! Clients are told first, so that none is sent to a replica that is going. A broker that is down
//! keeps a deletion waiting, for it would come back with the log of a topic that nobody knows; a
//! reassignment under way is let finish first. A new controller begins again: every step may be
//! repeated.
//! Source: Kafka 3.9 `TopicDeletionManager`.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use broker_protocol::quantity::BrokerId;
use broker_protocol::uuid::Uuid;

use super::effect::{Change, Directive, View};
use super::event::{Outcome, WriteError};
use super::turn::{Reason, stop_for_ever};
use super::{State, Topic, named};

/// How long a replica that could not be deleted, or nodes that could not, are left alone, and how long the
/// tree may show what was deleted.
const PAUSE: Duration = Duration::from_secs(10);

/// How far a deletion has come.
#[derive(Debug)]
pub(super) struct Deletion {
    phase: Phase,
    /// The replicas that have not answered.
    left: BTreeSet<(i32, BrokerId)>,
    /// Since when this step has been under way.
    since: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Live replicas stop: none fetches from a log that is going.
    Stopping,
    /// All replicas delete their logs.
    Deleting,
    /// The nodes are to be deleted.
    Removing,
    /// They are being deleted, or could not be and are left alone for a while.
    Removed,
}

impl Topic {
    fn views(&self) -> impl Iterator<Item = &Arc<View>> {
        self.partitions.values().filter_map(|partition| partition.view.as_ref())
    }

    /// Every replica that a broker was ever told of.
    fn replicas(&self) -> BTreeSet<(i32, BrokerId)> {
        let of = |view: &Arc<View>| {
            let number = view.partition.partition;
            view.assignment.replicas.iter().map(|id| (number, *id)).collect::<Vec<_>>()
        };
        self.views().flat_map(of).collect()
    }
}

/// The ids of topics that were deleted lately. A reading from before the deletion would bring one back,
/// and with it logs that nobody deletes; it is late by moments. Later on the tree is right whatever it says.
#[derive(Debug, Default)]
pub(super) struct Deleted(VecDeque<(Uuid, Duration)>);

impl Deleted {
    fn add(&mut self, id: Uuid, now: Duration) {
        self.0.retain(|(_, at)| now < *at + PAUSE);
        self.0.push_back((id, now));
    }

    /// Whether a topic of this id was deleted lately.
    pub(super) fn has(&self, id: Uuid, now: Duration) -> bool {
        self.0.iter().any(|(deleted, at)| *deleted == id && now < *at + PAUSE)
    }
}

impl State {
    /// The marks for deletion were read.
    pub(super) fn deletions_asked(&mut self, topics: BTreeSet<Arc<str>>) {
        self.deletions.clone_from(&topics);
        for name in topics {
            if !self.settings.deletes_topics {
                self.story.deletion_refused(&name);
                self.turn.change(Change::DeleteMark(name), Reason::Plain);
            } else if self.topics.contains_key(&name) {
                self.begin_deletion(&name);
            } else {
                // It may be there and not have been read; if it is gone, so is the mark's reason.
                self.turn.read_topic(name);
            }
        }
    }

    /// Counts the replicas of marked topics that are not known to be deleted.
    pub(super) fn replicas_to_delete(&self) -> usize {
        let left = |topic: &Topic| match &topic.deletion {
            Some(Deletion { phase: Phase::Deleting, left, .. }) => left.len(),
            Some(Deletion { phase: Phase::Removing | Phase::Removed, .. }) => 0,
            Some(Deletion { phase: Phase::Stopping, .. }) | None => topic.replicas().len(),
        };
        self.deletions.iter().filter_map(|name| self.topics.get(name)).map(left).sum()
    }

    /// Begins the deletion of a topic that is marked, if nothing stands in its way.
    pub(super) fn begin_deletion(&mut self, name: &Arc<str>) {
        if !self.deletions.contains(name) || !self.settings.deletes_topics {
            return;
        }
        let Some(topic) = self.topics.get(name) else { return };
        if topic.deletion.is_some() || self.is_any_moving(name, topic) {
            return;
        }
        let registered = |(_, broker): &(i32, BrokerId)| self.brokers.contains_key(broker);
        let (left, away): (BTreeSet<_>, BTreeSet<_>) =
            topic.replicas().into_iter().partition(registered);
        let away = away.into_iter().map(|(_, broker)| broker).collect();
        let views: Vec<_> = topic.views().cloned().collect();
        let numbers: Vec<_> = topic.partitions.keys().copied().collect();
        for view in &views {
            for broker in self.brokers.keys() {
                self.turn.tell(*broker, Directive::Forget(Arc::clone(view)));
            }
        }
        self.tell_stops(&views, &left, false);
        for number in numbers {
            self.turn.forget(&named(name, number));
            self.story.touch(named(name, number));
        }
        self.story.deletion_begun(name, &away);
        let deletion = Deletion { phase: Phase::Stopping, left, since: self.now };
        if let Some(topic) = self.topics.get_mut(name) {
            topic.deletion = Some(deletion);
        }
        self.advance_deletion(name);
    }

    fn is_any_moving(&self, name: &Arc<str>, topic: &Topic) -> bool {
        topic.partitions.iter().any(|(number, partition)| {
            let partition_name = named(name, *number);
            partition.assignment.is_moving()
                || self.facts.wanted.contains_key(&partition_name)
                || self.facts.ready.contains_key(&partition_name)
        })
    }

    fn tell_stops(&mut self, views: &[Arc<View>], whom: &BTreeSet<(i32, BrokerId)>, delete: bool) {
        for view in views {
            let number = view.partition.partition;
            let replicas = view.assignment.replicas.iter();
            for broker in replicas.filter(|broker| whom.contains(&(number, **broker))) {
                self.turn.tell(*broker, stop_for_ever(view, delete));
            }
        }
    }

    /// Takes a deletion to its next step, once nobody is left in this one.
    fn advance_deletion(&mut self, name: &Arc<str>) {
        let now = self.now;
        let Some(topic) = self.topics.get_mut(name) else { return };
        let replicas = topic.replicas();
        let views: Vec<_> = topic.views().cloned().collect();
        let Some(deletion) = &mut topic.deletion else { return };
        if deletion.phase == Phase::Stopping && deletion.left.is_empty() {
            *deletion = Deletion { phase: Phase::Deleting, left: replicas.clone(), since: now };
            self.tell_stops(&views, &replicas, true);
        }
        let Some(topic) = self.topics.get_mut(name) else { return };
        if let Some(deletion) = &mut topic.deletion
            && deletion.phase == Phase::Deleting
            && deletion.left.is_empty()
        {
            deletion.phase = Phase::Removing;
        }
    }

    /// A replica answered a Stop.
    pub(super) fn stopped(&mut self, broker: BrokerId, outcome: &Outcome, delete: bool) {
        let Outcome { partition, topic_id, error } = outcome;
        let Some(topic) = self.topics.get_mut(&partition.topic) else { return };
        if topic.id != *topic_id {
            return;
        }
        let Some(deletion) = &mut topic.deletion else { return };
        let is_answer = match deletion.phase {
            Phase::Stopping => !delete,
            // A broker that does not have the log has nothing to delete, and says so without error.
            Phase::Deleting => delete && error.is_none(),
            Phase::Removing | Phase::Removed => false,
        };
        if is_answer && deletion.left.remove(&(partition.partition, broker)) {
            self.advance_deletion(&Arc::clone(&partition.topic));
        }
    }

    /// Brokers are gone, or have restarted: they stop nothing any more, but what is to be deleted
    /// is still on their disks.
    pub(super) fn replicas_gone(&mut self, brokers: &BTreeSet<BrokerId>) {
        for name in self.deletions.clone() {
            let Some(topic) = self.topics.get_mut(&name) else { continue };
            if let Some(deletion) = &mut topic.deletion
                && deletion.phase == Phase::Stopping
            {
                deletion.left.retain(|(_, broker)| !brokers.contains(broker));
                self.advance_deletion(&name);
            }
        }
    }

    /// What a broker must forget and stop, that is told everything.
    pub(super) fn stops_of(&self, broker: BrokerId) -> Vec<Directive> {
        let mut stops = Vec::new();
        for topic in self.deletions.iter().filter_map(|name| self.topics.get(name)) {
            let Some(deletion) = &topic.deletion else { continue };
            stops.extend(topic.views().cloned().map(Directive::Forget));
            let is_meant =
                |view: &&Arc<View>| deletion.left.contains(&(view.partition.partition, broker));
            let delete = deletion.phase != Phase::Stopping;
            stops.extend(topic.views().filter(is_meant).map(|view| stop_for_ever(view, delete)));
        }
        stops
    }

    /// Begins what was in the way of a deletion, and deletes the nodes of what is deleted.
    pub(super) fn tidy_deletions(&mut self) {
        for name in self.deletions.clone() {
            self.begin_deletion(&name);
            let Some(topic) = self.topics.get_mut(&name) else { continue };
            let Some(deletion) = &mut topic.deletion else { continue };
            if deletion.phase == Phase::Removing {
                deletion.phase = Phase::Removed;
                let partitions = topic.partitions.keys().copied().collect();
                self.turn.change(Change::DeleteTopic { topic: name, partitions }, Reason::Plain);
            }
        }
    }

    /// Takes in what became of a topic's nodes.
    pub(super) fn topic_deleted(&mut self, name: &Arc<str>, outcome: Result<i32, WriteError>) {
        if outcome.is_ok() {
            if let Some(topic) = self.topics.get(name) {
                self.deleted.add(topic.id, self.now);
            }
            self.story.deleted(name);
            self.forget_topic(name);
            self.deletions.remove(name);
        } else if let Some(topic) = self.topics.get_mut(name)
            && let Some(deletion) = &mut topic.deletion
        {
            deletion.since = self.now;
        }
    }

    /// Tries again what could not be deleted.
    pub(super) fn delete_again(&mut self) {
        let now = self.now;
        for name in self.deletions.clone() {
            let Some(topic) = self.topics.get_mut(&name) else { continue };
            let views: Vec<_> = topic.views().cloned().collect();
            let Some(deletion) = &mut topic.deletion else { continue };
            if now < deletion.since + PAUSE {
                continue;
            }
            deletion.since = now;
            match deletion.phase {
                Phase::Stopping => {}
                Phase::Deleting => {
                    let left = deletion.left.clone();
                    self.tell_stops(&views, &left, true);
                }
                Phase::Removing | Phase::Removed => deletion.phase = Phase::Removing,
            }
        }
    }
}
