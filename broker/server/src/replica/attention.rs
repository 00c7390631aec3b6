//! Which led partitions may need another ISR: those with a replica that may join, and those with a
//! member that lacks records.
//!
//! Two sets of names, so bounded by the partitions; a partition that stands still is in neither and
//! costs nothing. Partitions put themselves in, the task of `isr` takes them out.
//!
//! Concurrency: shared; the lock is short and no other is taken under it.

use std::collections::HashSet;

use broker_protocol::topic_partition::TopicPartition;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::counters::Counter;

/// Partitions to look at.
#[derive(Debug, Default)]
pub struct Attention {
    /// ISRs that grew.
    pub expansions: Counter,
    /// ISRs that shrank.
    pub shrinks: Counter,
    sets: Mutex<Sets>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Sets {
    joining: HashSet<TopicPartition>,
    lagging: HashSet<TopicPartition>,
}

impl Attention {
    /// Says that a replica of `partition` may join its ISR: it is looked at soon.
    pub fn may_join(&self, partition: &TopicPartition) {
        if self.sets.lock().joining.insert(partition.clone()) {
            self.changed.notify_one();
        }
    }

    /// Says that a member of the ISR of `partition` lacks records: it is looked at from time to time.
    pub fn lags(&self, partition: &TopicPartition) {
        self.sets.lock().lagging.insert(partition.clone());
    }

    /// Says that no member lacks anything any more.
    pub fn is_level(&self, partition: &TopicPartition) {
        self.sets.lock().lagging.remove(partition);
    }

    /// Takes out those that a replica may join.
    pub fn take_joining(&self) -> Vec<TopicPartition> {
        self.sets.lock().joining.drain().collect()
    }

    /// Returns those with a member that lacks records.
    pub fn lagging(&self) -> Vec<TopicPartition> {
        self.sets.lock().lagging.iter().cloned().collect()
    }

    /// Returns once a replica may join somewhere; may return early. Cancel-safe.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }
}
