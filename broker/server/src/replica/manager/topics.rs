//! The partitions on this broker, found by name or id without a lock.
//!
//! Readers load a snapshot; a change makes a new one that shares all topics but one. Changes are
//! rare, look-ups come with every request.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use broker_config::topic::TopicConfig;
use broker_protocol::topic_partition::TopicPartition;
use broker_protocol::uuid::Uuid;
use broker_storage::log_dir::{LoadedLog, LogDir};
use parking_lot::Mutex;

use crate::replica::attention::Attention;
use crate::replica::counters::TopicCounters;
use crate::replica::partition::Partition;

/// The replicas of one topic on this broker. Shared; lives as long as one of them does.
#[derive(Debug)]
pub struct Topic {
    name: Arc<str>,
    id: Uuid,
    counters: Arc<TopicCounters>,
    /// By partition number; holes are partitions that other brokers have.
    partitions: ArcSwap<Vec<Option<Arc<Partition>>>>,
}

impl Topic {
    /// Returns the topic's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the topic's id.
    pub fn id(&self) -> Uuid {
        self.id
    }

    /// Returns the counts of the topic.
    pub fn counters(&self) -> &Arc<TopicCounters> {
        &self.counters
    }

    /// Returns partition `number`, if this broker has it.
    pub fn partition(&self, number: i32) -> Option<Arc<Partition>> {
        let index = usize::try_from(number).ok()?;
        self.partitions.load().get(index)?.clone()
    }

    /// Returns the partitions that this broker has, by number.
    pub fn partitions(&self) -> Vec<Arc<Partition>> {
        self.partitions.load().iter().flatten().cloned().collect()
    }
}

#[derive(Debug, Default, Clone)]
struct Snapshot {
    by_name: HashMap<Arc<str>, Arc<Topic>>,
    by_id: HashMap<Uuid, Arc<Topic>>,
}

/// All topics of which this broker has a replica. Shared.
#[derive(Debug, Default)]
pub(super) struct Topics {
    newest: ArcSwap<Snapshot>,
    /// Held by whoever makes the next snapshot.
    changing: Mutex<()>,
    /// What deleted topics had counted.
    retired: TopicCounters,
}

impl Topics {
    /// Returns the topic `name`.
    pub(super) fn by_name(&self, name: &str) -> Option<Arc<Topic>> {
        self.newest.load().by_name.get(name).cloned()
    }

    /// Returns the topic whose id is `id`.
    pub(super) fn by_id(&self, id: Uuid) -> Option<Arc<Topic>> {
        self.newest.load().by_id.get(&id).cloned()
    }

    /// Returns all topics, in no order.
    pub(super) fn all(&self) -> Vec<Arc<Topic>> {
        self.newest.load().by_name.values().cloned().collect()
    }

    /// Returns what deleted topics had counted.
    pub(super) fn retired(&self) -> &TopicCounters {
        &self.retired
    }

    /// Returns the counters that partitions of topic `name` share, new ones for a new topic.
    pub(super) fn counters(&self, name: &str, id: Uuid) -> Arc<TopicCounters> {
        match self.by_name(name) {
            Some(topic) if topic.id == id => Arc::clone(&topic.counters),
            Some(_) | None => Arc::default(),
        }
    }

    /// Makes a partition of a log that was loaded from `dir`.
    pub(super) fn admit(
        &self,
        loaded: LoadedLog,
        dir: &Arc<LogDir>,
        config: Arc<TopicConfig>,
        attention: &Arc<Attention>,
    ) -> Arc<Partition> {
        let LoadedLog { log, high_watermark, .. } = loaded;
        let id = log.topic_id().unwrap_or(Uuid::ZERO);
        let counters = self.counters(&log.partition().topic, id);
        let (dir, attention) = (Arc::clone(dir), Arc::clone(attention));
        Partition::new(id, dir, log, high_watermark, config, counters, attention)
    }

    /// Adds partitions; one that is there already is replaced.
    pub(super) fn insert_all(&self, partitions: Vec<Arc<Partition>>) {
        let _turn = self.changing.lock();
        let mut next = Snapshot::clone(&self.newest.load());
        for partition in partitions {
            let topic = self.topic_of(&partition, &mut next);
            let mut numbered = Vec::clone(&topic.partitions.load());
            let index = partition.name().partition as usize;
            if numbered.len() <= index {
                numbered.resize(index + 1, None);
            }
            numbered[index] = Some(partition);
            topic.partitions.store(Arc::new(numbered));
        }
        self.newest.store(Arc::new(next));
    }

    /// Returns the topic that `partition` belongs to; makes it where there is none, and where the one of
    /// that name is another, whose partitions are gone then.
    fn topic_of(&self, partition: &Partition, next: &mut Snapshot) -> Arc<Topic> {
        let (name, id) = (Arc::clone(&partition.name().topic), partition.topic_id());
        let known = next.by_name.get(&name);
        // A log that does not know its topic's id is of the topic of that name.
        if let Some(known) = known.filter(|topic| topic.id == id || id.is_zero()) {
            return Arc::clone(known);
        }
        let before = known.filter(|topic| topic.id.is_zero());
        let partitions = before.map(|topic| topic.partitions.load_full()).unwrap_or_default();
        let topic = Arc::new(Topic {
            name: Arc::clone(&name),
            id,
            counters: Arc::clone(partition.shared_counters()),
            partitions: ArcSwap::new(partitions),
        });
        if let Some(old) = next.by_name.insert(name, Arc::clone(&topic)) {
            next.by_id.remove(&old.id);
            // The same where the topic has only got its id.
            if !Arc::ptr_eq(&old.counters, &topic.counters) {
                self.retired.absorb(&old.counters);
            }
        }
        if !id.is_zero() {
            next.by_id.insert(id, Arc::clone(&topic));
        }
        topic
    }

    /// Takes a partition out, and its topic with the last one.
    pub(super) fn remove(&self, name: &TopicPartition) -> Option<Arc<Partition>> {
        let _turn = self.changing.lock();
        let topic = self.by_name(&name.topic)?;
        let mut numbered = Vec::clone(&topic.partitions.load());
        let removed = numbered.get_mut(usize::try_from(name.partition).ok()?)?.take()?;
        let is_last = numbered.iter().all(Option::is_none);
        topic.partitions.store(Arc::new(numbered));
        if is_last {
            let mut next = Snapshot::clone(&self.newest.load());
            next.by_name.remove(&name.topic);
            next.by_id.remove(&topic.id);
            self.retired.absorb(&topic.counters);
            self.newest.store(Arc::new(next));
        }
        Some(removed)
    }
}
