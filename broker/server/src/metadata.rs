//! What every broker knows of the cluster: brokers, topics, leaders. An immutable snapshot that the
//! controller side publishes and everybody else reads without a lock.
//!
//! The snapshot never reaches further than what the controller has decided: a partition is in it
//! once its state exists in the coordination tree. Topics are shared between snapshots, so a
//! change costs one map of pointers.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arc_swap::ArcSwap;
use broker_protocol::quantity::{BrokerId, LeaderEpoch};
use broker_protocol::uuid::Uuid;
use tokio::sync::watch;

/// The topics that the broker itself writes; clients may read them only.
pub const INTERNAL_TOPICS: [&str; 2] = ["__consumer_offsets", "__transaction_state"];

/// Returns whether `topic` is one that only brokers write.
pub fn is_internal(topic: &str) -> bool {
    INTERNAL_TOPICS.contains(&topic)
}

/// The cluster at one moment.
#[derive(Debug, Clone, Default)]
pub struct Metadata {
    /// The broker that decides, if one is elected.
    pub controller: Option<BrokerId>,
    /// How often a controller had been elected when that one was; 0 before the first was heard of.
    pub controller_epoch: i32,
    /// Whether controllers have told this broker of all topics there are, so that others do not exist.
    pub is_told: bool,
    /// The live brokers, by id.
    pub brokers: BTreeMap<BrokerId, Broker>,
    /// All topics, by name.
    pub topics: BTreeMap<Arc<str>, Arc<Topic>>,
    /// The same topics, by id.
    pub names: HashMap<Uuid, Arc<str>>,
}

/// A live broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broker {
    /// Where it runs, if it says (`broker.rack`).
    pub rack: Option<Arc<str>>,
    /// Where it is reached, one a listener.
    pub endpoints: Vec<Endpoint>,
}

/// Where a broker is reached through one of its listeners.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// The listener's name.
    pub listener: Arc<str>,
    /// The advertised host.
    pub host: Arc<str>,
    /// The advertised port.
    pub port: u16,
}

/// A topic; `partitions` is indexed by partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topic {
    /// Its name.
    pub name: Arc<str>,
    /// Its id; zero if it was made by a Kafka that had none, and no controller has given it one since.
    pub id: Uuid,
    /// Its partitions, in order, without holes; an [unknown](Partition::unknown) one fills a hole.
    pub partitions: Vec<Partition>,
}

/// A partition's assignment and state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    /// The broker that serves it, if any can.
    pub leader: Option<BrokerId>,
    /// How often leadership has changed.
    pub leader_epoch: LeaderEpoch,
    /// The assigned replicas, the preferred leader first.
    pub replicas: Vec<BrokerId>,
    /// The replicas in sync.
    pub isr: Vec<BrokerId>,
    /// Replicas that are down, or whose log directory is.
    pub offline: Vec<BrokerId>,
}

impl Partition {
    /// Makes a partition of which nothing has been told, or that is being deleted.
    pub fn unknown() -> Self {
        Self {
            leader: None,
            leader_epoch: LeaderEpoch(-1),
            replicas: Vec::new(),
            isr: Vec::new(),
            offline: Vec::new(),
        }
    }

    /// Returns whether nothing has been told of it.
    pub fn is_unknown(&self) -> bool {
        self.replicas.is_empty()
    }
}

impl Metadata {
    /// Returns the topic `name`.
    pub fn topic(&self, name: &str) -> Option<&Arc<Topic>> {
        self.topics.get(name)
    }

    /// Returns the topic whose id is `id`.
    pub fn topic_by_id(&self, id: Uuid) -> Option<&Arc<Topic>> {
        self.topics.get(self.names.get(&id)?)
    }

    /// Returns where `broker` is reached by a client that came through `listener`.
    pub fn endpoint(&self, broker: BrokerId, listener: &str) -> Option<&Endpoint> {
        self.brokers.get(&broker)?.endpoints.iter().find(|e| *e.listener == *listener)
    }

    /// Adds or replaces `topic`.
    pub fn insert_topic(&mut self, topic: Topic) {
        self.remove_topic(&topic.name.clone());
        if !topic.id.is_zero() {
            self.names.insert(topic.id, Arc::clone(&topic.name));
        }
        self.topics.insert(Arc::clone(&topic.name), Arc::new(topic));
    }

    /// Removes the topic `name`, if it is there.
    pub fn remove_topic(&mut self, name: &str) {
        if let Some(topic) = self.topics.remove(name) {
            self.names.remove(&topic.id);
        }
    }
}

/// Where the newest snapshot is found. One writer (the controller side), any number of readers.
#[derive(Debug)]
pub struct Cache {
    newest: ArcSwap<Metadata>,
    changes: watch::Sender<()>,
}

impl Default for Cache {
    fn default() -> Self {
        Self { newest: ArcSwap::default(), changes: watch::Sender::new(()) }
    }
}

impl Cache {
    /// Returns the newest snapshot.
    pub fn load(&self) -> Arc<Metadata> {
        self.newest.load_full()
    }

    /// Replaces the snapshot and tells those who wait.
    pub fn publish(&self, metadata: Metadata) {
        self.newest.store(Arc::new(metadata));
        self.changes.send_replace(());
    }

    /// Waits until `holds` is true of a snapshot, and returns that one. Cancel-safe.
    pub async fn wait_until(&self, holds: impl Fn(&Metadata) -> bool) -> Arc<Metadata> {
        let mut changes = self.changes.subscribe();
        loop {
            // Marked as seen before it is read: a change in between is seen by the next turn.
            changes.borrow_and_update();
            let newest = self.load();
            if holds(&newest) {
                return newest;
            }
            if changes.changed().await.is_err() {
                // The sender lives as long as `self`.
                return newest;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods, reason = "a test has no shutdown to name its tasks")]

    use super::*;

    fn topic(name: &str, id: u8) -> Topic {
        Topic { name: name.into(), id: Uuid::from_bytes([id; 16]), partitions: Vec::new() }
    }

    /// A topic that was deleted and made again is found by its new id only.
    #[test]
    fn a_recreated_topic_is_found_by_its_new_id_only() {
        let mut metadata = Metadata::default();
        metadata.insert_topic(topic("a", 1));
        metadata.insert_topic(topic("a", 2));
        assert!(metadata.topic_by_id(Uuid::from_bytes([1; 16])).is_none());
        assert_eq!(&*metadata.topic_by_id(Uuid::from_bytes([2; 16])).unwrap().name, "a");
        metadata.remove_topic("a");
        assert!(metadata.names.is_empty());
    }

    /// A waiter sees the first snapshot that fits, also if it was there before it waited.
    #[tokio::test]
    async fn a_waiter_sees_the_snapshot_that_fits() {
        let cache = Arc::new(Cache::default());
        let waiter = tokio::task::spawn({
            let cache = Arc::clone(&cache);
            async move { cache.wait_until(|m| m.topic("b").is_some()).await }
        });
        for name in ["a", "b"] {
            let mut next = (*cache.load()).clone();
            next.insert_topic(topic(name, name.as_bytes()[0]));
            cache.publish(next);
        }
        assert_eq!(waiter.await.unwrap().topics.len(), 2);
    }
}
