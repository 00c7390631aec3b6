//! What the controller knows and decides. Pure: no store, no task, no clock.
//!
//! The state is a copy of the part of the tree that the controller owns, and of what only it knows:
//! who is shutting down, whose port refuses, which replicas are on failed directories. An event
//! says how something is; whatever then is not as it should be is decided anew, level-triggered: no
//! decision depends on the order in which its reasons arrived, and none is lost by a failed write.
//!
//! A turn is one event, the writes that follow from it, one after the other, and then directives.
//! No other event comes in between, so no broker is told of a decision that is not in the tree, and
//! none is made on top of one that is not known to be there.
//!
//! For each partition, asserted at every change: `leader` is in `isr`; `isr` is a part of
//! `replicas` and never empty; `leader_epoch` and `partition_epoch` never fall; a change of the
//! leader, and a removal from the ISR that its leader did not ask for, has a new `leader_epoch`.
//!
//! Reading path: `event`, `effect`, `request` (what comes and goes), `turn`, then by concern.
//! Source: Kafka 3.9 `KafkaController`, `PartitionStateMachine`, `ReplicaStateMachine`,
//! `TopicDeletionManager`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use broker_protocol::quantity::BrokerId;
use broker_protocol::topic_partition::TopicPartition;
use broker_protocol::uuid::Uuid;

mod alter_partition;
pub mod assignment;
mod balance;
mod brokers;
mod check;
mod decide;
mod deletion;
pub mod effect;
pub mod event;
mod load;
mod log_dirs;
pub mod permit;
mod producer_ids;
mod reassign;
pub mod request;
mod shutdown;
mod standing;
pub mod story;
#[cfg(test)]
mod tests;
mod topics;
mod turn;
mod waiting;

use alter_partition::Alteration;
use assignment::Assignment;
use balance::BalanceClock;
use deletion::{Deleted, Deletion};
use effect::{Effect, View};
use event::{Event, LiveBroker};
use log_dirs::Refusals;
use permit::Permit;
use producer_ids::ProducerIds;
use request::{Guard, Request};
use standing::Question;
use story::Story;
use turn::{Pending, Turn};
use waiting::Waiting;

/// What the controller is set to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// How leaders are spread; `None` without `auto.leader.rebalance.enable`.
    pub balance: Option<Balance>,
    /// `unclean.leader.election.enable` of topics that do not set it.
    pub elects_uncleanly: bool,
    /// `delete.topic.enable`.
    pub deletes_topics: bool,
    /// Whether the winner of an unclean election is told so: `inter.broker.protocol.version` 3.2
    /// or more.
    pub marks_recovery: bool,
}

/// When leaders go back to the first replicas.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Balance {
    /// `leader.imbalance.per.broker.percentage`.
    pub percent: u32,
    /// `leader.imbalance.check.interval.seconds`.
    pub interval: Duration,
}

/// Counts of the cluster, for metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Summary {
    /// Registered brokers.
    pub brokers: usize,
    /// Topics.
    pub topics: usize,
    /// Partitions.
    pub partitions: usize,
    /// Partitions without a live leader.
    pub offline_partitions: usize,
    /// Partitions that their first replica does not lead.
    pub preferred_imbalance: usize,
    /// Partitions that are moving.
    pub reassigning: usize,
    /// Topics that are to be deleted.
    pub topics_to_delete: usize,
    /// Replicas of them that are not known to be deleted.
    pub replicas_to_delete: usize,
}

/// Leaders elected since a controller began, the first ones of new partitions left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Elected {
    /// All of them.
    pub leaders: u64,
    /// Those of them that were not in sync.
    pub unclean: u64,
}

/// The controller's copy of the cluster. Owned by its loop; ends with its term.
#[derive(Debug)]
pub struct State {
    controller_epoch: i32,
    settings: Settings,
    /// The time since this controller began.
    now: Duration,
    /// The registered brokers.
    brokers: Arc<BTreeMap<BrokerId, LiveBroker>>,
    /// Registered brokers that have asked to stop.
    shutting_down: BTreeSet<BrokerId>,
    /// Registered brokers whose port refuses.
    suspects: BTreeSet<BrokerId>,
    topics: BTreeMap<Arc<str>, Topic>,
    names: BTreeMap<Uuid, Arc<str>>,
    /// Topics whose nodes lack what is known: the id, or a reassignment that a tool overwrote.
    lacking: BTreeSet<Arc<str>>,
    /// Topics whose nodes cannot be understood.
    unread: BTreeSet<Arc<str>>,
    /// Brokers that were told what is known, and are still to be told what there is not.
    unswept: BTreeSet<BrokerId>,
    /// `unclean.leader.election.enable` of topics, as far as it was read: `None` where a topic does
    /// not set it.
    unclean: BTreeMap<Arc<str>, Option<bool>>,
    facts: Facts,
    /// Topics that are marked for deletion.
    deletions: BTreeSet<Arc<str>>,
    deleted: Deleted,
    /// What `/admin/reassign_partitions` holds.
    legacy: BTreeMap<TopicPartition, Vec<BrokerId>>,
    producer_ids: ProducerIds,
    balance: BalanceClock,
    turn: Turn,
    pending: Option<Pending>,
    next_batch: u64,
    /// The ISR changes that are being written.
    altering: Option<Alteration>,
    waiting: Vec<Waiting>,
    /// Leave to restart a broker, which may be over.
    permit: Option<Permit>,
    /// The highest term of an operator that was seen.
    operator_term: u64,
    has_resigned: bool,
    elected: Elected,
    story: Story,
    #[cfg(test)]
    planted: Option<Planted>,
}

/// What is known of single partitions beside their states; most have none of it.
#[derive(Debug, Default)]
struct Facts {
    /// Replicas on failed log directories.
    failed: BTreeMap<TopicPartition, BTreeSet<BrokerId>>,
    /// Replicas whose broker has restarted, so that what the state says is of an earlier life.
    bounced: BTreeMap<TopicPartition, BTreeSet<BrokerId>>,
    /// Brokers that have been told everything because of a log of another topic of the same name,
    /// by the topic's id.
    swept: BTreeSet<(BrokerId, Uuid)>,
    /// What brokers could not obey and are to be told again.
    refusals: BTreeMap<BrokerId, Refusals>,
    /// Replicas that cannot prove that they are complete, by broker.
    unproven: BTreeMap<BrokerId, BTreeSet<TopicPartition>>,
    /// Partitions that another has written: nothing is decided before they are read again.
    stale: BTreeSet<TopicPartition>,
    /// Partitions whose states cannot be understood: nothing is decided before they can.
    unreadable: BTreeSet<TopicPartition>,
    /// Partitions that need a new leader epoch, whatever else is decided.
    bump: BTreeSet<TopicPartition>,
    /// Partitions whose first replica was asked for.
    prefer: BTreeSet<TopicPartition>,
    /// Partitions for which an unclean election was asked for.
    unclean: BTreeSet<TopicPartition>,
    /// Assignments that were asked for and are not begun.
    wanted: BTreeMap<TopicPartition, Arc<Assignment>>,
    /// Assignments whose partition state is written, and whose topic node is not.
    ready: BTreeMap<TopicPartition, Arc<Assignment>>,
    /// What must still hold when a topic's node is written, of those two.
    guards: BTreeMap<TopicPartition, Guard>,
    /// Whose logs were asked for their ends.
    questions: BTreeMap<TopicPartition, Question>,
}

#[derive(Debug)]
struct Topic {
    id: Uuid,
    /// The version of its node.
    version: i32,
    partitions: BTreeMap<i32, Partition>,
    /// Whether its id has been in the tree, so that brokers may have been told of it.
    has_id: bool,
    /// Whether the node's version is no longer known.
    is_stale: bool,
    /// Whether the last reading was of a lower version than what is known.
    was_older: bool,
    deletion: Option<Deletion>,
}

#[derive(Debug)]
struct Partition {
    assignment: Arc<Assignment>,
    /// Its state as it stands in the tree; `None` before there is one.
    view: Option<Arc<View>>,
}

/// Wrong rules that the random-event test plants, and must catch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Planted {
    RemovalWithoutEpoch,
    ElectionOutsideIsr,
    NoPartitionEpochCheck,
    NoLivenessCheck,
    UnprovenLeads,
    /// Members of the ISR are asked where their logs end before they know that nobody leads.
    EarlyAnswers,
    /// A list of unproven replicas that is read again takes all doubts away.
    ListProves,
}

impl State {
    /// Begins a term: the first event must be [`Event::Loaded`].
    pub fn new(controller_epoch: i32, settings: Settings) -> Self {
        Self {
            controller_epoch,
            settings,
            now: Duration::ZERO,
            brokers: Arc::default(),
            shutting_down: BTreeSet::new(),
            suspects: BTreeSet::new(),
            topics: BTreeMap::new(),
            names: BTreeMap::new(),
            lacking: BTreeSet::new(),
            unread: BTreeSet::new(),
            unswept: BTreeSet::new(),
            unclean: BTreeMap::new(),
            facts: Facts::default(),
            deletions: BTreeSet::new(),
            deleted: Deleted::default(),
            legacy: BTreeMap::new(),
            producer_ids: ProducerIds::default(),
            balance: BalanceClock::default(),
            turn: Turn::default(),
            pending: None,
            next_batch: 0,
            altering: None,
            waiting: Vec::new(),
            permit: None,
            operator_term: 0,
            has_resigned: false,
            elected: Elected::default(),
            story: Story::default(),
            #[cfg(test)]
            planted: None,
        }
    }

    /// Takes an event in; returns what follows from it, to be carried out in order.
    ///
    /// # Panics
    /// When an event other than `Written` comes while a write is under way, or the reverse.
    pub fn apply(&mut self, event: Event) -> Vec<Effect> {
        if self.has_resigned {
            return Vec::new();
        }
        assert_eq!(
            self.pending.is_some(),
            matches!(event, Event::Written { .. }),
            "a write is answered before any other event, and nothing else is answered so"
        );
        self.take(event);
        if self.has_resigned {
            return vec![Effect::Resign];
        }
        self.go_on();
        self.turn.take_effects()
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Loaded(snapshot) => self.load(*snapshot),
            Event::Brokers(brokers) => self.brokers_read(brokers),
            Event::Topics(topics) => self.topics_read(topics),
            Event::TopicsGone(topics) => self.topics_gone(&topics),
            Event::TopicsUnread(topics) => self.unread.extend(topics),
            Event::DeletionsAsked(topics) => self.deletions_asked(topics),
            Event::ReassignmentsAsked(asked) => self.reassignments_asked(asked),
            Event::PreferredAsked(partitions) => self.preferred_asked(partitions),
            Event::States(states) => self.states_read(states),
            Event::IsrChanged { notifications, states } => {
                self.states_read(states);
                self.notified(notifications);
            }
            Event::LogDirFailed { notifications, brokers } => {
                self.log_dirs_failed(brokers);
                self.notified(notifications);
            }
            Event::ProducerIds(read) => self.producer_ids_read(read),
            Event::Unclean(topic, is_enabled) => self.unclean_set(&topic, is_enabled),
            Event::Settings(settings) => self.settings_changed(settings),
            Event::Asked { token, request } => self.asked(token, request),
            Event::Answered { broker, epoch, answer } => self.answered(broker, epoch, answer),
            Event::Refused { broker, epoch } => self.refused(broker, epoch),
            Event::Reached { broker, epoch } => self.reached(broker, epoch),
            Event::Ends(ends) => self.ends_known(ends),
            Event::Written { batch, outcome } => self.written(batch, outcome),
            Event::Tick(now) => self.tick(now),
        }
    }

    fn asked(&mut self, token: request::Token, request: Request) {
        match request {
            Request::AlterPartition { broker, broker_epoch, knows_ineligible, partitions } => {
                self.alter_partition(token, broker, broker_epoch, knows_ineligible, partitions);
            }
            Request::ControlledShutdown { broker, broker_epoch } => {
                self.controlled_shutdown(token, broker, broker_epoch);
            }
            Request::ElectLeaders { kind, partitions } => {
                self.elect_leaders(token, kind, partitions);
            }
            Request::Reassign(asked) => self.reassign(token, asked, None),
            Request::ReassignGuarded(asked, guard) => {
                let asked = asked.into_iter().map(|(name, target)| (name, Some(target)));
                self.reassign(token, asked.collect(), Some(guard));
            }
            Request::ListReassignments(partitions) => self.list_reassignments(token, partitions),
            Request::AllocateProducerIds { broker, broker_epoch } => {
                self.allocate_producer_ids(token, broker, broker_epoch);
            }
            Request::AcquirePermit(asked) => self.acquire_permit(token, &asked),
            Request::ReleasePermit { term, broker } => self.release_permit(token, term, broker),
            Request::Drain { term, broker } => self.drain(token, term, broker),
        }
    }

    fn tick(&mut self, now: Duration) {
        self.now = now;
        self.ask_again();
        self.delete_again();
        self.tell_refused();
        self.balance_if_due();
    }

    fn settings_changed(&mut self, settings: Settings) {
        self.settings = settings;
        self.doubt_leaderless(None);
    }

    fn unclean_set(&mut self, topic: &Arc<str>, is_enabled: Option<bool>) {
        if !self.topics.contains_key(topic) {
            // It is read when it is needed.
            return;
        }
        self.unclean.insert(Arc::clone(topic), is_enabled);
        self.doubt_leaderless(Some(topic));
    }

    /// Has the partitions without a leader decided again, of one topic or of all.
    fn doubt_leaderless(&mut self, topic: Option<&str>) {
        let is_meant = |name: &Arc<str>| topic.is_none_or(|topic| **name == *topic);
        for (name, known) in self.topics.iter().filter(|(name, _)| is_meant(name)) {
            for (number, partition) in &known.partitions {
                if partition.view.as_ref().is_none_or(|view| view.leader.is_none()) {
                    self.turn.doubt(named(name, *number));
                }
            }
        }
    }

    /// Returns what was elected so far.
    pub fn elected(&self) -> Elected {
        self.elected
    }

    fn partition(&self, partition: &TopicPartition) -> Option<&Partition> {
        self.topics.get(&partition.topic)?.partitions.get(&partition.partition)
    }

    fn view(&self, partition: &TopicPartition) -> Option<&Arc<View>> {
        self.partition(partition)?.view.as_ref()
    }

    /// Whether `epoch` is that of a registered broker's present life.
    fn is_current(&self, broker: BrokerId, epoch: i64) -> bool {
        self.brokers.get(&broker).is_some_and(|known| known.epoch == epoch)
    }

    /// Every partition that `holds` is true of. For what is rare: it is a pass over all.
    fn partitions_where(&self, holds: impl Fn(&Partition) -> bool) -> Vec<TopicPartition> {
        let of_topic = |(name, topic): (&Arc<str>, &Topic)| {
            let held = topic.partitions.iter().filter(|(_, partition)| holds(partition));
            held.map(|(number, _)| named(name, *number)).collect::<Vec<_>>()
        };
        self.topics.iter().flat_map(of_topic).collect()
    }

    /// Whether a test has planted this wrong rule.
    #[cfg(test)]
    fn planted(&self, rule: Planted) -> bool {
        self.planted == Some(rule)
    }

    #[cfg(not(test))]
    #[allow(clippy::unused_self, reason = "tests plant wrong rules")]
    const fn planted(&self, _rule: Planted) -> bool {
        false
    }
}

impl Facts {
    /// Forgets a partition that is gone.
    fn forget(&mut self, partition: &TopicPartition) {
        self.failed.remove(partition);
        for of_broker in self.unproven.values_mut() {
            of_broker.remove(partition);
        }
        for refusals in self.refusals.values_mut() {
            refusals.partitions.remove(partition);
        }
        self.stale.remove(partition);
        self.unreadable.remove(partition);
        self.wanted.remove(partition);
        self.ready.remove(partition);
        self.guards.remove(partition);
        self.settled(partition);
    }

    /// Whether nothing can be decided of a partition before its state is read again.
    fn is_open(&self, partition: &TopicPartition) -> bool {
        self.stale.contains(partition) || self.unreadable.contains(partition)
    }

    /// Forgets what a decision has answered.
    fn settled(&mut self, partition: &TopicPartition) {
        self.bounced.remove(partition);
        self.bump.remove(partition);
        self.prefer.remove(partition);
        self.unclean.remove(partition);
        self.questions.remove(partition);
    }
}

fn named(topic: &Arc<str>, partition: i32) -> TopicPartition {
    TopicPartition { topic: Arc::clone(topic), partition }
}
