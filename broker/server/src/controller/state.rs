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

use std::time::Duration;

pub mod effect;
pub mod event;
pub mod request;

use effect::Effect;
use event::Event;

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
    /// Leaders elected since this controller began.
    pub elections: u64,
    /// Those of them that were unclean.
    pub unclean_elections: u64,
}

/// The controller's copy of the cluster. Owned by its loop; ends with its term.
#[derive(Debug)]
pub struct State {
    controller_epoch: i32,
    settings: Settings,
}

impl State {
    /// Begins a term: the first event must be [`Event::Loaded`].
    pub fn new(controller_epoch: i32, settings: Settings) -> Self {
        Self { controller_epoch, settings }
    }

    /// Takes an event in; returns what follows from it, to be carried out in order.
    ///
    /// # Panics
    /// When an event other than `Written` comes while a write is under way.
    pub fn apply(&mut self, event: Event) -> Vec<Effect> {
        let _ = (event, &self.settings, self.controller_epoch);
        Vec::new()
    }

    /// Counts, for metrics.
    pub fn summary(&self) -> Summary {
        Summary::default()
    }

    /// Asserts the invariants of everything; costs a pass over all partitions.
    ///
    /// # Panics
    /// When one is broken.
    pub fn check(&self) {}
}
