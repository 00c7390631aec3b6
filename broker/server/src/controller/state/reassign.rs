//! Reassignment: replicas are added, catch up, and then those that are not wanted any more go.
//!
//! Each change of the assignment is made in two writes: the partition's state (a new leader epoch;
//! what leaves the assignment neither leads nor stays in the ISR), then the topic's node. After a
//! crash in between, the next controller sees a reassignment under way and goes on.
//!
//! Moves come by request, or in `/admin/reassign_partitions` from old tools; of that node what is
//! done or refused is taken out, and it is deleted when it is empty. A move that relies on nodes of the tree
//! (`Guard`) is written by a transaction that checks them, and given up where they are others: the partition then
//! has another leader epoch, and the replicas that it had.
//! Source: Kafka 3.9 `onPartitionReassignment`, `ReplicaAssignment`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use broker_protocol::error_code::ErrorCode;
use broker_protocol::quantity::BrokerId;
use broker_protocol::topic_partition::TopicPartition;

use super::assignment::Assignment;
use super::effect::Change;
use super::request::{Guard, Reply, Token};
use super::turn::Reason;
use super::waiting::{ReassignWaiting, Waiting};
use super::{Facts, State, named};
use crate::controller::partition_election::Presence;

impl State {
    /// Partitions are to be moved, or their moves to be cancelled.
    pub(super) fn reassign(
        &mut self,
        token: Token,
        asked: BTreeMap<TopicPartition, Option<Vec<BrokerId>>>,
        guard: Option<Guard>,
    ) {
        let mut waiting = ReassignWaiting { token, done: BTreeMap::new(), left: BTreeSet::new() };
        for (partition, target) in asked {
            match self.begin_move(&partition, target.as_deref()) {
                Ok(()) => {
                    self.guard(&partition, guard);
                    waiting.left.insert(partition)
                }
                Err(error) => waiting.done.insert(partition, error).is_none(),
            };
        }
        self.waiting.push(Waiting::Reassign(waiting));
    }

    /// Notes what must hold when what is to be written of a partition is: what was asked for last says.
    fn guard(&mut self, partition: &TopicPartition, guard: Option<Guard>) {
        let Facts { wanted, ready, guards, .. } = &mut self.facts;
        let is_to_be_written = wanted.contains_key(partition) || ready.contains_key(partition);
        match guard.filter(|_| is_to_be_written) {
            Some(guard) => guards.insert(partition.clone(), guard),
            None => guards.remove(partition),
        };
    }

    /// What the moves of a topic rely on is not so any more: those that rely on something are given up.
    pub(super) fn give_up_guarded(&mut self, topic: &Arc<str>) {
        let Facts { ready, guards, .. } = &mut self.facts;
        let of_topic = ready.keys().filter(|partition| partition.topic == *topic);
        let given_up: Vec<_> = of_topic.filter(|one| guards.contains_key(*one)).cloned().collect();
        for partition in given_up {
            ready.remove(&partition);
            guards.remove(&partition);
            for waiting in &mut self.waiting {
                if let Waiting::Reassign(waiting) = waiting
                    && waiting.left.remove(&partition)
                {
                    waiting.done.insert(partition.clone(), ErrorCode::OperationNotAttempted);
                }
            }
            self.turn.doubt(partition);
        }
    }

    /// Takes note of a move, to be begun by the next decision; `None` cancels the present one.
    fn begin_move(
        &mut self,
        partition: &TopicPartition,
        target: Option<&[BrokerId]>,
    ) -> Result<(), ErrorCode> {
        let held = self.partition(partition).ok_or(ErrorCode::UnknownTopicOrPartition)?;
        if self.deletions.contains(&partition.topic) {
            return Err(ErrorCode::UnknownTopicOrPartition);
        }
        let ready = self.facts.ready.get(partition);
        let current = ready.or(self.facts.wanted.get(partition)).unwrap_or(&held.assignment);
        let target = match target {
            Some(target) => target.to_vec(),
            None if current.is_moving() => current.origin(),
            None => return Err(ErrorCode::NoReassignmentInProgress),
        };
        let distinct: BTreeSet<_> = target.iter().collect();
        if target.is_empty() || distinct.len() < target.len() || target.iter().any(|id| id.0 < 0) {
            return Err(ErrorCode::InvalidReplicaAssignment);
        }
        let next = current.moving_to(&target);
        let is_live =
            |id: &BrokerId| self.brokers.contains_key(id) && !self.shutting_down.contains(id);
        if !next.adding.iter().all(is_live) {
            return Err(ErrorCode::InvalidReplicaAssignment);
        }
        if next != **current {
            self.facts.wanted.insert(partition.clone(), Arc::new(next));
            self.turn.doubt(partition.clone());
        }
        Ok(())
    }

    /// The assignment that a partition is to have next, if that is another one: what was asked
    /// for, or the end of a move whose replicas are all in sync.
    pub(super) fn next_assignment(&self, partition: &TopicPartition) -> Option<Arc<Assignment>> {
        let held = self.partition(partition)?;
        if let Some(wanted) = self.facts.wanted.get(partition) {
            return Some(Arc::clone(wanted));
        }
        let view = held.view.as_ref().filter(|_| held.assignment.is_moving())?;
        let target = held.assignment.target();
        let is_led =
            view.leader.is_some_and(|leader| self.presence(leader, partition) != Presence::Gone);
        let is_in_sync = target.iter().all(|id| view.isr.contains(id));
        (is_led && is_in_sync).then(|| Arc::new(Assignment::settled(target)))
    }

    /// Answers a request whose writes are done; gives it back while some are not.
    pub(super) fn answer_reassignment(
        &mut self,
        mut waiting: ReassignWaiting,
    ) -> Option<ReassignWaiting> {
        for partition in std::mem::take(&mut waiting.left) {
            let is_known = self.partition(&partition).is_some();
            let is_open = self.facts.stale.contains(&partition)
                && self.facts.wanted.contains_key(&partition)
                || self.facts.ready.contains_key(&partition);
            if is_known && is_open {
                waiting.left.insert(partition);
                continue;
            }
            // What is still wanted is impossible: nobody who is to stay could lead.
            self.facts.guards.remove(&partition);
            let error = match (is_known, self.facts.wanted.remove(&partition)) {
                (false, _) => ErrorCode::UnknownTopicOrPartition,
                (true, None) => ErrorCode::None,
                (true, Some(_)) => ErrorCode::InvalidReplicaAssignment,
            };
            waiting.done.insert(partition, error);
        }
        if !waiting.left.is_empty() {
            return Some(waiting);
        }
        self.turn.reply(waiting.token, Reply::Reassign(waiting.done));
        None
    }

    /// Somebody asks which partitions are moving.
    pub(super) fn list_reassignments(
        &mut self,
        token: Token,
        partitions: Option<Vec<TopicPartition>>,
    ) {
        let asked: Option<BTreeSet<_>> = partitions.map(|asked| asked.into_iter().collect());
        let mut moving = BTreeMap::new();
        for (name, topic) in &self.topics {
            for (number, partition) in &topic.partitions {
                let assignment = &partition.assignment;
                let name = named(name, *number);
                if assignment.is_moving()
                    && asked.as_ref().is_none_or(|asked| asked.contains(&name))
                {
                    moving.insert(name, Arc::clone(assignment));
                }
            }
        }
        self.turn.reply(token, Reply::ListReassignments(moving));
    }

    /// `/admin/reassign_partitions` was read.
    pub(super) fn reassignments_asked(&mut self, asked: BTreeMap<TopicPartition, Vec<BrokerId>>) {
        self.legacy = asked.clone();
        for (partition, target) in asked {
            let is_under_way = self.partition(&partition).is_some_and(|held| {
                held.assignment.is_moving() && held.assignment.target() == target
            });
            if !is_under_way {
                // One that is refused moves nothing, and is taken out of the node like one that is done.
                let _ = self.begin_move(&partition, Some(&target));
                self.guard(&partition, None);
            }
        }
    }

    /// Takes out of `/admin/reassign_partitions` what is done or cannot be done.
    pub(super) fn tidy_reassignments(&mut self) {
        if self.legacy.is_empty() {
            return;
        }
        let is_open = |partition: &TopicPartition| {
            let is_moving =
                self.partition(partition).is_some_and(|held| held.assignment.is_moving());
            let is_wanted =
                self.facts.wanted.contains_key(partition) && self.facts.stale.contains(partition);
            is_moving || is_wanted || self.facts.ready.contains_key(partition)
        };
        let open = self.legacy.iter().filter(|(partition, _)| is_open(partition));
        let rest: BTreeMap<_, _> =
            open.map(|(name, target)| (name.clone(), target.clone())).collect();
        if rest.len() < self.legacy.len() {
            let given_up = self.legacy.keys().filter(|partition| !rest.contains_key(*partition));
            for partition in given_up.cloned().collect::<Vec<_>>() {
                self.facts.wanted.remove(&partition);
                self.guard(&partition, None);
            }
            self.turn.change(Change::SetReassignments(rest), Reason::Plain);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(numbers: &[i32]) -> Vec<BrokerId> {
        numbers.iter().copied().map(BrokerId).collect()
    }

    /// As a live 3.9.2 writes it: the target first, then what is removed.
    #[test]
    fn a_move_names_what_it_adds_and_removes() {
        let rows: [(&[i32], &[i32], &[i32], &[i32], &[i32]); 4] = [
            (&[0], &[1], &[1, 0], &[1], &[0]),
            (&[1, 2, 3], &[1, 2], &[1, 2, 3], &[], &[3]),
            (&[1, 2], &[2, 1], &[2, 1], &[], &[]),
            (&[1, 2], &[2, 3], &[2, 3, 1], &[3], &[1]),
        ];
        for (origin, target, replicas, adding, removing) in rows {
            let moving = Assignment::settled(ids(origin)).moving_to(&ids(target));
            let expected = Assignment {
                replicas: ids(replicas),
                adding: ids(adding),
                removing: ids(removing),
            };
            assert_eq!(moving, expected);
            assert_eq!((moving.target(), moving.origin().len()), (ids(target), origin.len()));
            let back = moving.moving_to(&moving.origin());
            assert!(!back.is_moving());
        }
    }
}
