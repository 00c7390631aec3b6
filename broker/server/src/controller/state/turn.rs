//! One turn: what an event makes doubtful is decided, written, and then told.
//!
//! Writes go in rounds, each awaited: partition states first, then the topic nodes that follow from
//! them, then what is left to be tidied up. Directives go last, so that each broker hears of the
//! outcome once; replies that a write alone decides go as soon as it is done.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use broker_protocol::quantity::{BrokerId, LeaderEpoch};
use broker_protocol::topic_partition::TopicPartition;

use super::assignment::Assignment;
use super::effect::{
    Change, Directive, EPOCH_DURING_DELETE, Effect, Extent, StateWrite, View, What,
};
use super::event::{BatchId, WriteError};
use super::request::{Reply, Token};
use super::waiting::Waiting;
use super::{Partition, State, Topic, named};

/// What has come up in this turn.
#[derive(Debug, Default)]
pub(super) struct Turn {
    effects: Vec<Effect>,
    /// Partitions that must be decided again.
    doubts: BTreeSet<TopicPartition>,
    /// Changes that are decided.
    changes: Vec<(Change, Reason)>,
    /// Partitions that changed, for everybody to know.
    touched: Touched,
    /// Brokers that must be told everything.
    whole: BTreeSet<BrokerId>,
    /// Brokers that must be told again what they lead and follow.
    again: BTreeSet<BrokerId>,
    /// Of which partitions brokers must be told again.
    some_again: BTreeMap<BrokerId, BTreeSet<TopicPartition>>,
    /// Replicas to be stopped while their broker shuts down.
    halts: BTreeSet<(BrokerId, TopicPartition)>,
    /// What brokers are told before all else, in order: what was there is another topic.
    told_first: Vec<(BrokerId, Directive)>,
    /// What brokers are told besides, in order.
    told: Vec<(BrokerId, Directive)>,
    /// Whether the offline replicas of some views may be others.
    presence_changed: bool,
    stale_states: BTreeSet<TopicPartition>,
    stale_topics: BTreeSet<Arc<str>>,
    unread_unclean: BTreeSet<Arc<str>>,
    needs_producer_ids: bool,
    questions: Vec<(BrokerId, TopicPartition, LeaderEpoch)>,
}

type Touched = BTreeMap<TopicPartition, Touch>;

/// How a partition changed.
#[derive(Debug, Default)]
struct Touch {
    /// Whether its replicas must know, or only those who look.
    is_led: bool,
    /// Replicas that are new.
    new: BTreeSet<BrokerId>,
}

/// Why a change is made, for when it is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Reason {
    /// The change says it all.
    Plain,
    /// A decision of the controller's own.
    Decided {
        /// The assignment that follows it into the topic's node.
        then: Option<Arc<Assignment>>,
        is_unclean: bool,
    },
    /// A proposal of a leader, by its number.
    Proposed(usize),
}

/// A write that is under way.
#[derive(Debug)]
pub(super) struct Pending {
    batch: BatchId,
    changes: Vec<(Change, Reason)>,
}

impl Turn {
    pub(super) fn take_effects(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.effects)
    }

    pub(super) fn effect(&mut self, effect: Effect) {
        self.effects.push(effect);
    }

    pub(super) fn reply(&mut self, token: Token, reply: Reply) {
        self.effects.push(Effect::Reply { token, reply });
    }

    pub(super) fn doubt(&mut self, partition: TopicPartition) {
        self.doubts.insert(partition);
    }

    pub(super) fn change(&mut self, change: Change, reason: Reason) {
        self.changes.push((change, reason));
    }

    /// Has everybody told of a partition, and its replicas to lead or follow it.
    pub(super) fn lead(&mut self, partition: TopicPartition) {
        self.touched.entry(partition).or_default().is_led = true;
    }

    pub(super) fn lead_new(&mut self, partition: TopicPartition, new: &[BrokerId]) {
        let touch = self.touched.entry(partition).or_default();
        touch.is_led = true;
        touch.new.extend(new);
    }

    /// Has everybody told of a partition.
    pub(super) fn announce(&mut self, partition: TopicPartition) {
        self.touched.entry(partition).or_default();
    }

    pub(super) fn tell(&mut self, broker: BrokerId, directive: Directive) {
        self.told.push((broker, directive));
    }

    pub(super) fn tell_first(&mut self, broker: BrokerId, directive: Directive) {
        self.told_first.push((broker, directive));
    }

    pub(super) fn tell_all(&mut self, broker: BrokerId) {
        self.whole.insert(broker);
    }

    pub(super) fn tell_again(&mut self, broker: BrokerId) {
        self.again.insert(broker);
    }

    pub(super) fn tell_some_again(
        &mut self,
        broker: BrokerId,
        partitions: BTreeSet<TopicPartition>,
    ) {
        if !partitions.is_empty() {
            self.some_again.entry(broker).or_default().extend(partitions);
        }
    }

    pub(super) fn halt(&mut self, broker: BrokerId, partition: TopicPartition) {
        self.halts.insert((broker, partition));
    }

    pub(super) fn presence_changed(&mut self) {
        self.presence_changed = true;
    }

    pub(super) fn read_state(&mut self, partition: TopicPartition) {
        self.stale_states.insert(partition);
    }

    pub(super) fn read_topic(&mut self, topic: Arc<str>) {
        self.stale_topics.insert(topic);
    }

    /// Has it read whether a topic may lose records rather than wait.
    pub(super) fn read_unclean(&mut self, topic: Arc<str>) {
        self.unread_unclean.insert(topic);
    }

    pub(super) fn read_producer_ids(&mut self) {
        self.needs_producer_ids = true;
    }

    pub(super) fn ask(&mut self, broker: BrokerId, partition: TopicPartition, epoch: LeaderEpoch) {
        self.questions.push((broker, partition, epoch));
    }

    /// Forgets what was to be told of a partition that is gone.
    pub(super) fn forget(&mut self, partition: &TopicPartition) {
        self.doubts.remove(partition);
        self.touched.remove(partition);
    }
}

impl State {
    #[cfg(test)]
    pub(super) fn turn_is_over(&self) -> bool {
        self.turn.effects.is_empty() && self.turn.doubts.is_empty() && self.turn.changes.is_empty()
    }

    /// Takes the turn to its next write, or to its end.
    pub(super) fn go_on(&mut self) {
        if self.pending.is_some() {
            return;
        }
        self.decide_doubts();
        if self.turn.changes.is_empty() {
            self.write_topics();
        }
        if self.turn.changes.is_empty() {
            self.tidy_deletions();
            self.tidy_reassignments();
        }
        let changes = std::mem::take(&mut self.turn.changes);
        if !changes.is_empty() {
            self.next_batch += 1;
            let batch = BatchId(self.next_batch);
            let of_batch = changes.iter().map(|(change, _)| change.clone()).collect();
            self.turn.effect(Effect::Write { batch, changes: of_batch });
            self.pending = Some(Pending { batch, changes });
            return;
        }
        self.tell();
        self.answer_waiting();
        self.ask_and_read();
    }

    fn decide_doubts(&mut self) {
        let is_state = |change: &Change| match change {
            Change::SetState { partition, .. } | Change::CreateState { partition, .. } => {
                Some(partition.clone())
            }
            Change::SetTopic { .. }
            | Change::DeleteTopic { .. }
            | Change::DeleteMark(_)
            | Change::SetReassignments(_)
            | Change::DeletePreferred
            | Change::DeleteNotification(_)
            | Change::SetProducerIds { .. } => None,
        };
        // What a leader proposed in this turn is written first; then it is looked at again.
        let busy: BTreeSet<_> =
            self.turn.changes.iter().filter_map(|(change, _)| is_state(change)).collect();
        let doubts = std::mem::take(&mut self.turn.doubts);
        for partition in doubts {
            if busy.contains(&partition) {
                self.turn.doubts.insert(partition);
            } else {
                self.decide(&partition);
            }
        }
    }

    /// Takes in what became of a write.
    pub(super) fn written(&mut self, batch: BatchId, outcome: Vec<Result<i32, WriteError>>) {
        let Some(pending) = self.pending.take() else { return };
        assert_eq!(
            (pending.batch, pending.changes.len()),
            (batch, outcome.len()),
            "an answer is for the write that is under way, change by change"
        );
        for ((change, reason), outcome) in pending.changes.into_iter().zip(outcome) {
            match change {
                Change::CreateState { partition, state, .. }
                | Change::SetState { partition, state, .. } => {
                    self.state_written(partition, state, &reason, outcome);
                }
                Change::SetTopic { topic, partitions, .. } => {
                    self.topic_written(&topic, partitions, outcome);
                }
                Change::DeleteTopic { topic, .. } => self.topic_deleted(&topic, outcome),
                Change::DeleteMark(topic) => {
                    self.deletions.remove(&topic);
                }
                Change::SetReassignments(rest) => self.legacy = rest,
                Change::DeletePreferred | Change::DeleteNotification(_) => {}
                Change::SetProducerIds { start, .. } => self.producer_ids_written(start, outcome),
            }
        }
        self.answer_alterations();
    }

    fn state_written(
        &mut self,
        partition: TopicPartition,
        state: StateWrite,
        reason: &Reason,
        outcome: Result<i32, WriteError>,
    ) {
        if let (Reason::Proposed(number), Err(error)) = (reason, outcome) {
            self.proposal_failed(*number, error);
        }
        match outcome {
            Ok(version) => {
                self.state_is(&partition, state, version, reason);
                if let Reason::Proposed(number) = reason {
                    self.proposal_done(*number, &partition);
                }
            }
            Err(WriteError::Conflict | WriteError::Exists | WriteError::NotHeld) => {
                self.facts.stale.insert(partition.clone());
                self.turn.read_state(partition);
            }
            Err(WriteError::Missing) => {
                self.facts.stale.insert(partition.clone());
                self.turn.read_topic(partition.topic);
            }
        }
    }

    /// Tells brokers what has changed, each in one go.
    fn tell(&mut self) {
        self.refresh_offline();
        let mut sends: BTreeMap<BrokerId, Vec<Directive>> = BTreeMap::new();
        let (touched, held) = std::mem::take(&mut self.turn.touched)
            .into_iter()
            .partition::<Touched, _>(|(partition, _)| self.can_be_told(partition));
        self.turn.touched = held;
        let whole = self.due_for_all();
        let halts = std::mem::take(&mut self.turn.halts);
        let others: Vec<_> =
            self.brokers.keys().copied().filter(|broker| !whole.contains_key(broker)).collect();
        for (broker, directive) in std::mem::take(&mut self.turn.told_first) {
            if others.contains(&broker) {
                sends.entry(broker).or_default().push(directive);
            }
        }
        for (partition, touch) in &touched {
            let Some(view) = self.view_to_tell(partition) else { continue };
            for broker in &others {
                let directives = sends.entry(*broker).or_default();
                let is_halted = halts.contains(&(*broker, partition.clone()));
                if touch.is_led && !is_halted && view.assignment.replicas.contains(broker) {
                    let is_new = touch.new.contains(broker);
                    directives.push(Directive::Lead { view: Arc::clone(view), is_new });
                }
                directives.push(Directive::Announce(Arc::clone(view)));
            }
        }
        for (broker, directive) in self.told_again(&touched) {
            if others.contains(&broker) {
                sends.entry(broker).or_default().push(directive);
            }
        }
        for (broker, partition) in halts {
            let Some(view) = self.view_to_tell(&partition) else { continue };
            sends.entry(broker).or_default().push(stop(view, false, view.leader_epoch));
        }
        for (broker, directive) in std::mem::take(&mut self.turn.told) {
            if others.contains(&broker) {
                sends.entry(broker).or_default().push(directive);
            }
        }
        // What else was to be said to these is part of everything, or goes with what is swept.
        for (broker, extent) in whole {
            let directives = self.everything(broker, &touched);
            self.turn.effect(Effect::Send { broker, extent, directives });
        }
        for (broker, directives) in sends {
            self.turn.effect(Effect::Send { broker, extent: Extent::Part, directives });
        }
    }

    /// What brokers must be told again of what they lead and follow.
    fn told_again(&mut self, touched: &Touched) -> Vec<(BrokerId, Directive)> {
        let mut told = Vec::new();
        for broker in std::mem::take(&mut self.turn.again) {
            self.turn.some_again.remove(&broker);
            let directives = self.replicas_of(broker, touched).into_iter();
            told.extend(directives.map(|directive| (broker, directive)));
        }
        for (broker, partitions) in std::mem::take(&mut self.turn.some_again) {
            let is_meant = |directive: &Directive| matches!(directive, Directive::Lead { view, .. } if partitions.contains(&view.partition));
            let directives = self.replicas_of(broker, touched).into_iter().filter(is_meant);
            told.extend(directives.map(|directive| (broker, directive)));
        }
        told
    }

    /// The registered brokers that are told everything now, and whether what they are not told of is gone:
    /// those that must be, and those that were told what was known and now can be told the rest.
    fn due_for_all(&mut self) -> BTreeMap<BrokerId, Extent> {
        let (whole, unswept) =
            (std::mem::take(&mut self.turn.whole), std::mem::take(&mut self.unswept));
        let due = whole.union(&unswept).filter(|broker| self.brokers.contains_key(*broker));
        let due: Vec<_> = due.map(|broker| (*broker, self.extent_of_all(*broker))).collect();
        let is_short = |(_, extent): &&(BrokerId, Extent)| *extent == Extent::Known;
        self.unswept = due.iter().filter(is_short).map(|(broker, _)| *broker).collect();
        let is_told = |(broker, extent): &(BrokerId, Extent)| {
            *extent == Extent::All || whole.contains(broker)
        };
        due.into_iter().filter(is_told).collect()
    }

    /// Whether all that is known is all that there is, as far as a broker is concerned: each of its
    /// replicas can be named. Of a topic that is not, it would put the logs aside.
    fn extent_of_all(&self, broker: BrokerId) -> Extent {
        let is_named = |partition: &Partition| {
            partition.view.is_some() || !partition.assignment.replicas.contains(&broker)
        };
        let is_told = |topic: &Topic| {
            topic.deletion.is_some() || topic.has_id && topic.partitions.values().all(is_named)
        };
        let is_open = !self.facts.unreadable.is_empty() || !self.facts.stale.is_empty();
        if !is_open && self.unread.is_empty() && self.topics.values().all(is_told) {
            Extent::All
        } else {
            Extent::Known
        }
    }

    /// Whether brokers may be told of a partition: its id is in the tree.
    fn can_be_told(&self, partition: &TopicPartition) -> bool {
        self.topics.get(&partition.topic).is_none_or(|topic| topic.has_id)
    }

    /// A partition's state, unless its topic is being deleted.
    fn view_to_tell(&self, partition: &TopicPartition) -> Option<&Arc<View>> {
        let topic = self.topics.get(&partition.topic).filter(|topic| topic.deletion.is_none())?;
        topic.partitions.get(&partition.partition)?.view.as_ref()
    }

    /// The topics that brokers are told of. None may be missing that they know: what is not named
    /// to a broker that is told everything, it takes for a stray.
    fn told_topics(&self) -> impl Iterator<Item = &Topic> {
        self.topics.values().filter(|topic| topic.deletion.is_none() && topic.has_id)
    }

    /// All that a broker must know.
    fn everything(&self, broker: BrokerId, touched: &Touched) -> Vec<Directive> {
        let mut directives = self.replicas_of(broker, touched);
        for topic in self.told_topics() {
            let views = topic.partitions.values().filter_map(|partition| partition.view.as_ref());
            directives.extend(views.map(|view| Directive::Announce(Arc::clone(view))));
        }
        directives.extend(self.stops_of(broker));
        directives
    }

    /// What a broker leads and follows, but for what it may have led in an earlier life and nobody can
    /// decide now: it would lead again in the same epoch.
    fn replicas_of(&self, broker: BrokerId, touched: &Touched) -> Vec<Directive> {
        let mut directives = Vec::new();
        for topic in self.told_topics() {
            let views = topic.partitions.values().filter_map(|partition| partition.view.as_ref());
            let own = views.filter(|view| view.assignment.replicas.contains(&broker));
            let is_past =
                |view: &View| view.leader == Some(broker) && self.facts.is_open(&view.partition);
            let own = own.filter(|view| !is_past(view));
            let is_touched_new = |view: &View| {
                touched.get(&view.partition).is_some_and(|touch| touch.new.contains(&broker))
            };
            // A replica that is being added may never have been there.
            let is_added = |view: &View| {
                view.assignment.adding.contains(&broker) && !view.isr.contains(&broker)
            };
            let lead = |view: &Arc<View>| Directive::Lead {
                view: Arc::clone(view),
                is_new: is_touched_new(view) || is_added(view),
            };
            directives.extend(own.map(lead));
        }
        directives
    }

    /// Brings the offline replicas of all views up to date, and announces those that change.
    fn refresh_offline(&mut self) {
        if !std::mem::take(&mut self.turn.presence_changed) {
            return;
        }
        let mut changed = Vec::new();
        for (name, topic) in &self.topics {
            for (number, partition) in &topic.partitions {
                let Some(view) = &partition.view else { continue };
                let offline = self.offline(&named(name, *number), &view.assignment.replicas);
                if offline != view.offline {
                    changed.push((named(name, *number), offline));
                }
            }
        }
        for (partition, offline) in changed {
            let held = self
                .topics
                .get_mut(&partition.topic)
                .and_then(|topic| topic.partitions.get_mut(&partition.partition));
            if let Some(view) = held.and_then(|held| held.view.as_mut()) {
                *view = Arc::new(View { offline, ..View::clone(view) });
            }
            self.turn.announce(partition);
        }
    }

    fn ask_and_read(&mut self) {
        let states = std::mem::take(&mut self.turn.stale_states);
        let topics = std::mem::take(&mut self.turn.stale_topics);
        let questions = std::mem::take(&mut self.turn.questions);
        if !states.is_empty() {
            self.turn.effect(Effect::Read(What::States(states)));
        }
        if !topics.is_empty() {
            self.turn.effect(Effect::Read(What::Topics(topics)));
        }
        let unclean = std::mem::take(&mut self.turn.unread_unclean);
        if !unclean.is_empty() {
            self.turn.effect(Effect::Read(What::Unclean(unclean)));
        }
        if std::mem::take(&mut self.turn.needs_producer_ids) {
            self.turn.effect(Effect::Read(What::ProducerIds));
        }
        if !questions.is_empty() {
            self.turn.effect(Effect::AskEnds(questions));
        }
    }

    fn answer_waiting(&mut self) {
        for waiting in std::mem::take(&mut self.waiting) {
            match waiting {
                Waiting::Shutdown { token, broker } => {
                    let reply = Reply::ControlledShutdown(Ok(self.still_led(broker)));
                    self.turn.reply(token, reply);
                }
                Waiting::Drain { token, broker } => {
                    let reply = Reply::Drained(Ok(Some(self.still_led(broker))));
                    self.turn.reply(token, reply);
                }
                Waiting::Elect(waiting) => {
                    if let Some(waiting) = self.answer_election(waiting) {
                        self.waiting.push(Waiting::Elect(waiting));
                    }
                }
                Waiting::Reassign(waiting) => {
                    if let Some(waiting) = self.answer_reassignment(waiting) {
                        self.waiting.push(Waiting::Reassign(waiting));
                    }
                }
            }
        }
    }
}

/// Makes a Stop of a partition.
pub(super) fn stop(view: &View, delete: bool, leader_epoch: LeaderEpoch) -> Directive {
    Directive::Stop {
        partition: view.partition.clone(),
        topic_id: view.topic_id,
        delete,
        leader_epoch,
    }
}

/// Makes a Stop of a partition whose topic is being deleted.
pub(super) fn stop_for_ever(view: &View, delete: bool) -> Directive {
    stop(view, delete, EPOCH_DURING_DELETE)
}
