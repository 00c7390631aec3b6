//! Log directories that failed, as brokers tell it, and notifications, which are deleted.
//!
//! A broker that lost a directory says only that; told again what it leads and follows, it answers
//! KAFKA_STORAGE_ERROR for each replica that is gone.
//! INCONSISTENT_TOPIC_ID is what a broker says of a log that it should not have any more.
//! Source: Kafka 3.9 `processLogDirEventNotification`, `processLeaderAndIsrResponseReceived`.

use std::collections::BTreeSet;
use std::sync::Arc;

use broker_protocol::error_code::ErrorCode;
use broker_protocol::quantity::BrokerId;

use super::State;
use super::effect::Change;
use super::event::{Answer, Outcome};
use super::story::Cause;
use super::turn::Reason;

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
            self.facts.failed.get_mut(&partition).is_some_and(|failed| failed.remove(&broker))
        } else if error == ErrorCode::InconsistentTopicId {
            // It has the log of a topic that was deleted while it was away. It is told everything,
            // once: then that log is a stray.
            if self.facts.swept.insert((broker, topic_id)) {
                self.turn.tell_all(broker);
            }
            false
        } else {
            // An equal epoch, or one that is overtaken: normal traffic.
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
}
