//! What a partition's state should be, from all that is known of it; and what it is once written.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use broker_protocol::quantity::{BrokerId, LeaderEpoch};
use broker_protocol::topic_partition::TopicPartition;

use super::assignment::Assignment;
use super::effect::{Change, StateWrite, View};
use super::event::{End, StateRead, StateReading};
use super::standing::Question;
use super::turn::Reason;
use super::waiting::Waiting;
use super::{Partition, Planted, State};
use crate::controller::partition_election::{self, Elected, Facts, Presence};

impl State {
    /// Decides one partition, and has written what differs from what is.
    pub(super) fn decide(&mut self, partition: &TopicPartition) {
        let Some(topic) = self.topics.get(&partition.topic) else { return };
        let Some(held) = topic.partitions.get(&partition.partition) else { return };
        if topic.deletion.is_some() || self.facts.is_open(partition) {
            return;
        }
        let Some(view) = held.view.clone() else {
            self.begin_partition(partition, &Arc::clone(&held.assignment));
            return;
        };
        let held = Arc::clone(&held.assignment);
        let ready = self.facts.ready.get(partition).cloned();
        let ready = ready.filter(|ready| !self.gives_up(partition, &view, &held, ready));
        if let Some(ready) = ready {
            let elected = self.elect(partition, &view, &kept(&ready, &held));
            self.decided(partition, &view, elected, None);
            return;
        }
        if let Some(then) = self.next_assignment(partition) {
            let elected = self.elect(partition, &view, &kept(&then, &held));
            if keeps_all(&then, &held) || self.is_by_proof(partition, &view, &elected) {
                self.decided(partition, &view, elected, Some(then));
                return;
            }
        }
        let elected = self.elect(partition, &view, &held.replicas);
        self.decided(partition, &view, elected, None);
    }

    /// Gives up an assignment that is not in the topic's node yet, if it lets replicas go while nobody is
    /// known to have all: one of those may have more than the others.
    fn gives_up(
        &mut self,
        partition: &TopicPartition,
        view: &View,
        held: &Assignment,
        ready: &Arc<Assignment>,
    ) -> bool {
        let elected = self.elect(partition, view, &kept(ready, held));
        if keeps_all(ready, held) || self.is_by_proof(partition, view, &elected) {
            return false;
        }
        self.facts.ready.remove(partition);
        let is_asked = |waiting: &Waiting| match waiting {
            Waiting::Reassign(waiting) => waiting.left.contains(partition),
            Waiting::Shutdown { .. } | Waiting::Drain { .. } | Waiting::Elect(_) => false,
        };
        if self.waiting.iter().any(is_asked) {
            // It is answered that this cannot be.
            self.facts.wanted.entry(partition.clone()).or_insert_with(|| Arc::clone(ready));
        }
        if !self.facts.wanted.contains_key(partition) {
            self.facts.guards.remove(partition);
        }
        true
    }

    /// Whether there is a leader, and it leads because it is known to have all.
    fn is_by_proof(&self, partition: &TopicPartition, view: &View, elected: &Elected) -> bool {
        let is_proven = |leader| view.isr.contains(&leader) && !self.is_doubted(leader, partition);
        elected.leader.is_some_and(is_proven)
    }

    /// Gives a partition that has no state its first one, or once its state was lost the next.
    fn begin_partition(&mut self, partition: &TopicPartition, assignment: &Arc<Assignment>) {
        if let Some(wanted) = self.facts.wanted.remove(partition) {
            // Nothing is to be handed over: the new replicas begin.
            self.facts.ready.insert(partition.clone(), wanted);
        }
        if self.facts.ready.contains_key(partition) {
            return;
        }
        let is_up = |id| matches!(self.presence(id, partition), Presence::Up { .. });
        let Some(elected) = partition_election::first(&assignment.replicas, is_up) else { return };
        let topic = self.topics.get(&partition.topic);
        let first = topic.and_then(|topic| topic.partitions.values().next());
        let is_first = first.is_some_and(|first| first.view.is_none());
        let state = StateWrite {
            leader: elected.leader,
            leader_epoch: LeaderEpoch(0),
            isr: elected.isr,
            recovering: false,
        };
        let change = Change::CreateState { partition: partition.clone(), state, is_first };
        self.turn.change(change, Reason::Decided { then: None, is_unclean: false });
    }

    /// Elects among `replicas`: first as if members that restarted were gone; if nobody is left,
    /// then with them, for what they have is still theirs.
    fn elect(&self, partition: &TopicPartition, view: &View, replicas: &[BrokerId]) -> Elected {
        let nobody = BTreeSet::new();
        let bounced = self.facts.bounced.get(partition).unwrap_or(&nobody);
        let ends: BTreeMap<BrokerId, Option<End>> =
            self.facts.questions.get(partition).map(Question::ends).unwrap_or_default();
        let present = |id| self.presence(id, partition);
        let without = |id: BrokerId| {
            if bounced.contains(&id) { Presence::Gone } else { self.presence(id, partition) }
        };
        let facts = |leader, presence, is_unclean| Facts {
            replicas,
            leader,
            isr: &view.isr,
            presence,
            prefers_first: self.facts.prefer.contains(partition),
            drained: self.drained(),
            is_unclean,
            ends: &ends,
        };
        let is_unclean = self.is_unclean(partition);
        if bounced.is_empty() {
            return self.elect_by(&facts(view.leader, &present, is_unclean));
        }
        let elected = self.elect_by(&facts(view.leader, &without, false));
        if elected.leader.is_some() {
            return elected;
        }
        let leader = view.leader.filter(|leader| !bounced.contains(leader));
        self.elect_by(&facts(leader, &present, is_unclean))
    }

    fn elect_by(&self, facts: &Facts<'_>) -> Elected {
        let elected = partition_election::elect(facts);
        if elected.leader.is_none() && self.planted(Planted::ElectionOutsideIsr) {
            let is_up = |id: &BrokerId| matches!((facts.presence)(*id), Presence::Up { .. });
            let any = facts.replicas.iter().copied().find(is_up);
            let isr = any.map_or(elected.isr, |any| vec![any]);
            return Elected { leader: any, isr, is_unclean: false, ask: Vec::new() };
        }
        elected
    }

    /// Compares a decision with what is, and has the difference written.
    fn decided(
        &mut self,
        partition: &TopicPartition,
        view: &View,
        elected: Elected,
        then: Option<Arc<Assignment>>,
    ) {
        let Elected { leader, isr, is_unclean, ask } = elected;
        if leader.is_none() && !self.unclean.contains_key(&partition.topic) {
            self.turn.read_unclean(Arc::clone(&partition.topic));
        }
        let has_restarted = |leader: BrokerId| {
            self.facts.bounced.get(partition).is_some_and(|bounced| bounced.contains(&leader))
        };
        // It may have lost what it wrote in this epoch: nothing is written in its place under the same one.
        let must = then.is_some()
            || self.facts.bump.contains(partition)
            || view.leader.is_some_and(has_restarted)
            || leader.is_some_and(|leader| self.is_doubted(leader, partition));
        if !must && leader == view.leader && isr == view.isr {
            if ask.is_empty() {
                self.facts.settled(partition);
            } else {
                self.ask_for_ends(view, &ask);
            }
            return;
        }
        let keeps_epoch = leader == view.leader && self.planted(Planted::RemovalWithoutEpoch);
        let state = StateWrite {
            leader,
            leader_epoch: LeaderEpoch(view.leader_epoch.0 + i32::from(!keeps_epoch)),
            isr,
            recovering: if is_unclean { self.settings.marks_recovery } else { view.recovering },
        };
        let version = view.partition_epoch;
        let change = Change::SetState { partition: partition.clone(), version, state };
        self.turn.change(change, Reason::Decided { then, is_unclean });
    }

    /// How a broker stands towards a partition.
    pub(super) fn presence(&self, id: BrokerId, partition: &TopicPartition) -> Presence {
        let has_failed =
            self.facts.failed.get(partition).is_some_and(|failed| failed.contains(&id));
        if has_failed || !self.brokers.contains_key(&id) {
            return Presence::Gone;
        }
        let proven = self.planted(Planted::UnprovenLeads) || !self.is_doubted(id, partition);
        if self.shutting_down.contains(&id) || self.suspects.contains(&id) {
            Presence::Leaving { proven }
        } else {
            Presence::Up { proven }
        }
    }

    /// Whether a replica's log may lack what was acknowledged.
    fn is_doubted(&self, id: BrokerId, partition: &TopicPartition) -> bool {
        self.facts.unproven.get(&id).is_some_and(|of_broker| of_broker.contains(partition))
    }

    /// Which of `replicas` are known not to work.
    pub(super) fn offline(
        &self,
        partition: &TopicPartition,
        replicas: &[BrokerId],
    ) -> Vec<BrokerId> {
        let is_gone = |id: &BrokerId| self.presence(*id, partition) == Presence::Gone;
        replicas.iter().copied().filter(is_gone).collect()
    }

    fn is_unclean(&self, partition: &TopicPartition) -> bool {
        let of_topic = self.unclean.get(&partition.topic).copied().flatten();
        of_topic.unwrap_or(self.settings.elects_uncleanly) || self.facts.unclean.contains(partition)
    }

    /// A state of ours is in the tree.
    pub(super) fn state_is(
        &mut self,
        partition: &TopicPartition,
        state: StateWrite,
        version: i32,
        reason: &Reason,
    ) {
        let read = StateRead {
            leader: state.leader,
            leader_epoch: state.leader_epoch,
            isr: state.isr,
            recovering: state.recovering,
            controller_epoch: self.controller_epoch,
            version,
        };
        let former = self.view(partition).cloned();
        self.hold(partition, read);
        let Some(view) = self.view(partition).cloned() else { return };
        self.assert_step(former.as_deref(), &view, matches!(reason, Reason::Proposed(_)));
        self.prove(partition, former.as_deref());
        match reason {
            Reason::Decided { then, is_unclean } => {
                self.count_election(former.as_deref(), &view, *is_unclean);
                let is_asked = self.facts.prefer.contains(partition);
                self.story.decided(former.as_deref(), &view, *is_unclean, is_asked);
                self.facts.settled(partition);
                if let Some(then) = then {
                    self.facts.wanted.remove(partition);
                    self.facts.ready.insert(partition.clone(), Arc::clone(then));
                }
                if former.is_none() {
                    self.turn.lead_new(partition.clone(), &view.assignment.replicas);
                } else {
                    self.turn.lead(partition.clone());
                }
            }
            Reason::Proposed(_) | Reason::Plain => self.turn.announce(partition.clone()),
        }
        self.turn.doubt(partition.clone());
    }

    fn count_election(&mut self, former: Option<&View>, view: &View, is_unclean: bool) {
        if former.is_some_and(|former| former.leader != view.leader) && view.leader.is_some() {
            self.elected.leaders += 1;
            self.elected.unclean += u64::from(is_unclean);
        }
    }

    /// Holds a partition's state as it stands in the tree.
    pub(super) fn hold(&mut self, partition: &TopicPartition, read: StateRead) {
        let Some(topic) = self.topics.get(&partition.topic) else { return };
        let Some(held) = topic.partitions.get(&partition.partition) else { return };
        let view = View {
            partition: partition.clone(),
            topic_id: topic.id,
            assignment: Arc::clone(&held.assignment),
            leader: read.leader,
            leader_epoch: read.leader_epoch,
            isr: read.isr,
            partition_epoch: read.version,
            controller_epoch: read.controller_epoch,
            recovering: read.recovering,
            offline: self.offline(partition, &held.assignment.replicas),
        };
        self.story.touch(partition.clone());
        if let Some(held) = self.partition_mut(partition) {
            held.view = Some(Arc::new(view));
        }
    }

    pub(super) fn partition_mut(&mut self, partition: &TopicPartition) -> Option<&mut Partition> {
        self.topics.get_mut(&partition.topic)?.partitions.get_mut(&partition.partition)
    }

    /// States were read: of a leader's own change, or after a write of ours met one.
    pub(super) fn states_read(&mut self, states: Vec<(TopicPartition, StateReading)>) {
        for (partition, read) in states {
            if self.partition(&partition).is_none() {
                continue;
            }
            let known = self.view(&partition).map(|view| view.partition_epoch);
            if read == StateReading::Unreadable {
                self.facts.unreadable.insert(partition);
                continue;
            }
            let was_unreadable = self.facts.unreadable.remove(&partition);
            if was_unreadable {
                // It is not its leader's hand that mended it.
                self.facts.bump.insert(partition.clone());
            }
            let StateReading::Is(read) = read else {
                self.state_is_missing(&partition, was_unreadable);
                continue;
            };
            if read.controller_epoch > self.controller_epoch {
                self.has_resigned = true;
                return;
            }
            let was_stale = self.facts.stale.remove(&partition) || was_unreadable;
            if known.is_none_or(|known| known < read.version) {
                self.state_has_changed(&partition, read, was_stale);
                self.turn.doubt(partition);
            } else if was_stale {
                self.turn.doubt(partition);
            }
        }
    }

    /// A state is not what it was, and not by a write of ours that is known to be done.
    fn state_has_changed(&mut self, partition: &TopicPartition, read: StateRead, was_stale: bool) {
        let former = self.view(partition).cloned();
        let is_leaders_own =
            former.as_ref().is_some_and(|former| former.leader_epoch == read.leader_epoch);
        // Its leader writes nothing that is so already: it is another hand's, of which the leader does not know.
        let is_foreign = former.as_ref().is_some_and(|former| former.isr == read.isr);
        self.hold(partition, read);
        if former.is_some() {
            // Of a first reading it is not known who has joined since the broker that is doubted began.
            self.prove(partition, former.as_deref());
        }
        if is_leaders_own {
            self.turn.announce(partition.clone());
            if was_stale || is_foreign {
                // If it was a proposal whose write was taken for a conflict, then its leader does
                // not know: a new leader epoch tells it.
                self.facts.bump.insert(partition.clone());
            }
        } else {
            // A decision of ours whose write was taken for a conflict: nobody has been told.
            self.turn.lead(partition.clone());
        }
    }

    /// A state that was there is not: its topic is going, or somebody's hand was in the tree.
    fn state_is_missing(&mut self, partition: &TopicPartition, was_unreadable: bool) {
        if self.view(partition).is_some() {
            self.turn.read_topic(Arc::clone(&partition.topic));
        } else if self.facts.stale.remove(partition) || was_unreadable {
            self.turn.doubt(partition.clone());
        }
    }
}

/// The replicas of `next` that are there: who is to be added is no replica before the topic's node says so.
fn kept(next: &Assignment, held: &Assignment) -> Vec<BrokerId> {
    next.replicas.iter().copied().filter(|id| held.replicas.contains(id)).collect()
}

/// Whether no replica goes.
fn keeps_all(next: &Assignment, held: &Assignment) -> bool {
    held.replicas.iter().all(|id| next.replicas.contains(id))
}
