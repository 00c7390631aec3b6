//! What a broker is still to be told. Pure.
//!
//! Not a queue: of each partition only the newest directive of a kind waits, so that what waits is
//! bounded by the partitions there are, however long a broker does not answer. Within a batch
//! letters go in Kafka's order: LeaderAndIsr, UpdateMetadata, StopReplica; before the first of all a
//! broker is told who lives. A directive that must not
//! overtake one that waits begins another batch: to lead after a stop, or a stop of another kind.
//!
//! Source: Kafka 3.9 `ControllerBrokerRequestBatch`, which keeps every request.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use broker_protocol::quantity::{BrokerId, LeaderEpoch};
use broker_protocol::topic_partition::TopicPartition;
use broker_protocol::uuid::Uuid;

use super::state::effect::{Directive, Extent, View};
use super::state::event::LiveBroker;

/// The registered brokers.
pub(super) type Brokers = Arc<BTreeMap<BrokerId, LiveBroker>>;

/// One request to be, its partitions in order.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Letter {
    /// LeaderAndIsr.
    Lead {
        /// Whether these are all replicas of the broker, and it has no others; then the UpdateMetadata
        /// before it named all topics.
        is_all: bool,
        /// The partitions, each with whether its replica is new.
        partitions: Vec<(Arc<View>, bool)>,
    },
    /// UpdateMetadata.
    Announce {
        /// Whether all topics that there are, are named.
        is_all: bool,
        /// Every live broker.
        brokers: Brokers,
        /// The partitions, each with whether it is to be forgotten.
        partitions: Vec<(Arc<View>, bool)>,
    },
    /// StopReplica.
    Stop(Vec<Stop>),
}

/// A replica to be stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stop {
    pub(super) partition: TopicPartition,
    pub(super) topic_id: Uuid,
    pub(super) delete: bool,
    pub(super) leader_epoch: LeaderEpoch,
}

#[derive(Debug, Default)]
struct Batch {
    /// Whether the cluster is due before all else: a broker of Kafka follows no leader that it does not
    /// know to live. The brokers are said once more after the LeaderAndIsr: then all is told.
    greets: bool,
    /// Of which extent a LeaderAndIsr is due, even of no replicas.
    whole: Option<Extent>,
    lead: BTreeMap<TopicPartition, (Arc<View>, bool)>,
    /// Whether an UpdateMetadata is due, even without partitions.
    brokers: bool,
    announce: BTreeMap<TopicPartition, (Arc<View>, bool)>,
    stop: BTreeMap<TopicPartition, Stop>,
}

impl Batch {
    /// Whether `directive` may go with, or in place of, what waits in this batch.
    fn fits(&self, directive: &Directive) -> bool {
        match directive {
            Directive::Lead { view, .. } => !self.stop.contains_key(&view.partition),
            Directive::Announce(_) | Directive::Forget(_) => true,
            Directive::Stop { partition, topic_id, delete, .. } => {
                let waiting = self.stop.get(partition);
                waiting.is_none_or(|stop| stop.topic_id == *topic_id && stop.delete == *delete)
            }
        }
    }

    fn add(&mut self, directive: Directive) {
        match directive {
            Directive::Lead { view, is_new } => {
                let waiting = self.lead.get(&view.partition);
                // What was never said is still new.
                let was_new =
                    waiting.is_some_and(|(old, is_new)| *is_new && old.topic_id == view.topic_id);
                self.lead.insert(view.partition.clone(), (view, is_new || was_new));
            }
            Directive::Announce(view) => {
                self.announce.insert(view.partition.clone(), (view, false));
            }
            Directive::Forget(view) => {
                self.announce.insert(view.partition.clone(), (view, true));
            }
            Directive::Stop { partition, topic_id, delete, leader_epoch } => {
                let stop = Stop { partition: partition.clone(), topic_id, delete, leader_epoch };
                self.stop.insert(partition, stop);
            }
        }
    }
}

/// What one broker is still to be told.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    batches: VecDeque<Batch>,
    brokers: Brokers,
    /// Whether it has begun to be told everything. Until then it is told nothing: it would take the
    /// part for the whole.
    is_begun: bool,
}

impl Outbox {
    /// Has every letter from here on name these brokers, and one sent at least.
    pub(super) fn brokers(&mut self, brokers: Brokers) {
        self.brokers = brokers;
        self.last().brokers = true;
    }

    /// Adds directives, in order; but for a part, they replace all that waits.
    pub(super) fn add(&mut self, extent: Extent, directives: Vec<Directive>) {
        if extent != Extent::Part {
            self.is_begun = true;
            self.batches.clear();
            let batch = self.last();
            (batch.greets, batch.whole, batch.brokers) = (true, Some(extent), true);
        }
        for directive in directives {
            if !self.last().fits(&directive) {
                self.batches.push_back(Batch::default());
            }
            self.last().add(directive);
        }
    }

    /// Takes the next letter out, if there is one.
    pub(super) fn next(&mut self) -> Option<Letter> {
        if !self.is_begun {
            return None;
        }
        while let Some(batch) = self.batches.front_mut() {
            if std::mem::take(&mut batch.greets) {
                // With all partitions: clients are not to think for a moment that there are none.
                let is_all = batch.whole == Some(Extent::All);
                let partitions = std::mem::take(&mut batch.announce).into_values().collect();
                let brokers = Arc::clone(&self.brokers);
                return Some(Letter::Announce { is_all, brokers, partitions });
            }
            if batch.whole.is_some() || !batch.lead.is_empty() {
                let is_all = batch.whole.take() == Some(Extent::All);
                let partitions = std::mem::take(&mut batch.lead).into_values().collect();
                return Some(Letter::Lead { is_all, partitions });
            }
            if batch.brokers || !batch.announce.is_empty() {
                batch.brokers = false;
                let partitions = std::mem::take(&mut batch.announce).into_values().collect();
                let brokers = Arc::clone(&self.brokers);
                return Some(Letter::Announce { is_all: false, brokers, partitions });
            }
            if !batch.stop.is_empty() {
                let stops = std::mem::take(&mut batch.stop).into_values().collect();
                return Some(Letter::Stop(stops));
            }
            self.batches.pop_front();
        }
        None
    }

    /// Returns the registered brokers, as they were said last.
    pub(super) fn known_brokers(&self) -> Brokers {
        Arc::clone(&self.brokers)
    }

    fn last(&mut self) -> &mut Batch {
        if self.batches.is_empty() {
            self.batches.push_back(Batch::default());
        }
        let last = self.batches.len() - 1;
        &mut self.batches[last]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controller::state::assignment::Assignment;

    fn view(partition: i32, leader_epoch: i32, id: u8) -> Arc<View> {
        Arc::new(View {
            partition: TopicPartition { topic: "t".into(), partition },
            topic_id: Uuid::from_bytes([id; 16]),
            assignment: Arc::new(Assignment::default()),
            leader: None,
            leader_epoch: LeaderEpoch(leader_epoch),
            isr: Vec::new(),
            partition_epoch: 0,
            controller_epoch: 1,
            recovering: false,
            offline: Vec::new(),
        })
    }

    fn stop(partition: i32, id: u8, delete: bool) -> Directive {
        Directive::Stop {
            partition: TopicPartition { topic: "t".into(), partition },
            topic_id: Uuid::from_bytes([id; 16]),
            delete,
            leader_epoch: LeaderEpoch(1),
        }
    }

    /// Says a letter in a few characters: its kind, then partition and epoch of each.
    fn said(letter: &Letter) -> String {
        let of = |(view, mark): &(Arc<View>, bool)| {
            let mark = if *mark { "!" } else { "" };
            format!(" {}@{}{mark}", view.partition.partition, view.leader_epoch.0)
        };
        match letter {
            Letter::Lead { is_all, partitions } => {
                let all = if *is_all { " all" } else { "" };
                format!("lead{all}{}", partitions.iter().map(of).collect::<String>())
            }
            Letter::Announce { is_all, partitions, .. } => {
                let all = if *is_all { " all" } else { "" };
                format!("announce{all}{}", partitions.iter().map(of).collect::<String>())
            }
            Letter::Stop(stops) => {
                let of = |stop: &Stop| {
                    let mark = if stop.delete { "!" } else { "" };
                    format!(" {}{mark}", stop.partition.partition)
                };
                format!("stop{}", stops.iter().map(of).collect::<String>())
            }
        }
    }

    fn lead(view: Arc<View>) -> Directive {
        Directive::Lead { view, is_new: false }
    }

    fn all(outbox: &mut Outbox) -> Vec<String> {
        let letters = std::iter::from_fn(|| outbox.next());
        letters.map(|letter| said(&letter)).collect()
    }

    /// Method: table of (name, directives, letters).
    #[test]
    fn what_waits_is_merged_and_nothing_overtakes_what_it_must_follow() {
        let new = |view| Directive::Lead { view, is_new: true };
        let cases: [(&str, Vec<Directive>, &[&str]); 6] = [
            (
                "a decision goes in Kafka's order",
                vec![stop(1, 1, false), Directive::Announce(view(0, 1, 1)), lead(view(0, 1, 1))],
                &["lead 0@1", "announce 0@1", "stop 1"],
            ),
            (
                "the newest of a partition stands, and what is new stays new",
                vec![new(view(0, 1, 1)), lead(view(1, 1, 1)), lead(view(0, 2, 1))],
                &["lead 0@2! 1@1"],
            ),
            (
                "a topic made again is not new because the one before was",
                vec![new(view(0, 1, 1)), lead(view(0, 0, 2))],
                &["lead 0@0"],
            ),
            (
                "to lead again follows the stop",
                vec![stop(0, 1, true), lead(view(0, 3, 2)), Directive::Announce(view(0, 3, 2))],
                &["stop 0!", "lead 0@3", "announce 0@3"],
            ),
            (
                "a deletion does not take the place of the stop before it",
                vec![stop(0, 1, false), stop(0, 1, false), stop(0, 1, true)],
                &["stop 0", "stop 0!"],
            ),
            (
                "what is forgotten and comes again is announced",
                vec![Directive::Forget(view(0, 1, 1)), Directive::Announce(view(0, 0, 2))],
                &["announce 0@0"],
            ),
        ];
        for (name, directives, expected) in cases {
            let mut outbox = Outbox::default();
            outbox.add(Extent::All, Vec::new());
            assert_eq!(all(&mut outbox).len(), 3);
            outbox.add(Extent::Part, directives);
            assert_eq!(all(&mut outbox), expected, "{name}");
        }
    }

    #[test]
    fn a_whole_telling_begins_with_who_lives_and_replaces_what_waits() {
        let mut outbox = Outbox::default();
        outbox.add(Extent::Part, vec![lead(view(0, 1, 1)), stop(0, 1, true), lead(view(0, 1, 2))]);
        outbox.add(Extent::All, Vec::new());
        assert_eq!(all(&mut outbox), ["announce all", "lead all", "announce"]);
        outbox.add(Extent::All, Vec::new());
        outbox.add(Extent::Known, Vec::new());
        assert_eq!(all(&mut outbox), ["announce", "lead", "announce"], "not all is known");
        outbox.brokers(Brokers::default());
        assert_eq!(all(&mut outbox), ["announce"]);
    }

    /// A broker that has just started answers clients by the first that it is told.
    #[test]
    fn nothing_is_told_before_everything() {
        let mut outbox = Outbox::default();
        outbox.brokers(Brokers::default());
        assert_eq!(all(&mut outbox), [""; 0]);
        outbox.add(Extent::All, vec![Directive::Announce(view(0, 1, 1)), lead(view(0, 1, 1))]);
        assert_eq!(all(&mut outbox), ["announce all 0@1", "lead all 0@1", "announce"]);
    }
}
