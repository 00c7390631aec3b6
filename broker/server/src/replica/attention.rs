//! Which led partitions may need another ISR: those with a replica that may join, and those with a
//! member that lacks records; and a bell for those who wait for the logs of replicas to start later.
//!
//! Two sets of names, so bounded by the partitions; a partition that stands still is in neither and
//! costs nothing. Partitions put themselves in, the task of `isr` takes them out.
//!
//! Concurrency: shared; the lock is short and no other is taken under it.

use std::collections::HashSet;

use broker_protocol::topic_partition::TopicPartition;
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

use super::counters::Counter;

/// Partitions to look at.
#[derive(Debug, Default)]
pub struct Attention {
    /// ISRs that grew.
    pub expansions: Counter,
    /// ISRs that shrank.
    pub shrinks: Counter,
    /// Orders to lead that were not obeyed, as the replica may lack what was acknowledged.
    pub refusals: Counter,
    sets: Mutex<Sets>,
    changed: Notify,
    /// Rung by every partition: it happens with retention and `DeleteRecords` only, and few wait.
    log_starts: watch::Sender<()>,
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

    /// Says that the log of some replica starts later than before, or that its leader may be another.
    pub fn log_start_moved(&self) {
        self.log_starts.send_replace(());
    }

    /// Returns a bell that rings with each [`Attention::log_start_moved`] from now on.
    pub fn log_starts(&self) -> watch::Receiver<()> {
        self.log_starts.subscribe()
    }
}
