//! Log directories that failed, as brokers tell it, and notifications, which are deleted.
//!
//! A broker that lost a directory says only that; told again what it leads and follows, it answers
//! KAFKA_STORAGE_ERROR for each replica that is gone.
//! INCONSISTENT_TOPIC_ID is what a broker says of a log that it should not have any more. Who could not obey
//! for another reason, as one that cannot read the settings of a topic, is told again after a pause: nobody
//! else repeats a directive, and a partition would have a leader in the tree alone.
//! Source: Kafka 3.9 `processLogDirEventNotification`, `processLeaderAndIsrResponseReceived`.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use broker_protocol::error_code::ErrorCode;
use broker_protocol::quantity::BrokerId;
use broker_protocol::topic_partition::TopicPartition;

use super::State;
use super::effect::Change;
use super::event::{Answer, Outcome};
use super::story::Cause;
use super::turn::Reason;

/// How long a broker that could not obey is left alone. It has waited by itself where that might help.
const PAUSE: Duration = Duration::from_secs(5);

/// What a broker could not lead or follow.
#[derive(Debug)]
pub(super) struct Refusals {
    /// Since the first of them.
    since: Duration,
    pub(super) partitions: BTreeSet<TopicPartition>,
}

impl State {
    /// Brokers lost a log directory.
    pub(super) fn log_dirs_failed(&mut self, brokers: BTreeSet<BrokerId>) {
        for broker in brokers {
            self.turn.tell_again(broker);
        }
    }

    /// Notifications have been taken in.
    pub(super) fn notified(&mut self, notifications: Vec<Arc<str>>) {
        for path in notifications {
            self.turn.change(Change::DeleteNotification(path), Reason::Plain);
        }
    }

    /// A broker answered directives.
    pub(super) fn answered(&mut self, broker: BrokerId, epoch: i64, answer: Answer) {
        if !self.is_current(broker, epoch) {
            return;
        }
        match answer {
            Answer::Led(outcomes) => {
                for outcome in outcomes {
                    self.led(broker, outcome);
                }
            }
            Answer::Stopped { outcomes, delete } => {
                for outcome in outcomes {
                    self.stopped(broker, &outcome, delete);
                }
            }
        }
    }

    fn led(&mut self, broker: BrokerId, outcome: Outcome) {
        let Outcome { partition, topic_id, error } = outcome;
        let Some(view) = self.view(&partition) else { return };
        if view.topic_id != topic_id || !view.assignment.replicas.contains(&broker) {
            return;
        }
        let has_changed = if error == ErrorCode::KafkaStorageError {
            self.facts.failed.entry(partition.clone()).or_default().insert(broker)
        } else if error.is_none() {
            if let Some(refusals) = self.facts.refusals.get_mut(&broker) {
                refusals.partitions.remove(&partition);
            }
            self.facts.failed.get_mut(&partition).is_some_and(|failed| failed.remove(&broker))
        } else if error == ErrorCode::InconsistentTopicId {
            // It has the log of a topic that was deleted while it was away. It is told everything,
            // once: then that log is a stray.
            if self.facts.swept.insert((broker, topic_id)) {
                self.turn.tell_all(broker);
            }
            false
        } else {
            // An equal epoch, or one that is overtaken, is normal traffic.
            let is_late =
                matches!(error, ErrorCode::StaleControllerEpoch | ErrorCode::StaleBrokerEpoch);
            if !is_late {
                let new = Refusals { since: self.now, partitions: BTreeSet::new() };
                let refusals = self.facts.refusals.entry(broker).or_insert(new);
                refusals.partitions.insert(partition.clone());
            }
            false
        };
        if has_changed {
            if error == ErrorCode::KafkaStorageError {
                self.story.broker(Cause::LostDirectory, broker);
            }
            self.turn.presence_changed();
            self.turn.doubt(partition);
        }
    }

    /// Tells brokers again what they could not obey, but for what nobody can decide now.
    pub(super) fn tell_refused(&mut self) {
        for (broker, refusals) in std::mem::take(&mut self.facts.refusals) {
            let is_due = self.now >= refusals.since + PAUSE;
            let (due, later): (BTreeSet<_>, BTreeSet<_>) = refusals
                .partitions
                .into_iter()
                .partition(|partition| is_due && !self.facts.is_open(partition));
            self.turn.tell_some_again(broker, due);
            if !later.is_empty() {
                let since = if is_due { self.now } else { refusals.since };
                self.facts.refusals.insert(broker, Refusals { since, partitions: later });
            }
        }
    }
}
