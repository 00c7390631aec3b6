//! Logs that a controller which named all of this broker's replicas did not name: they are put aside.
//!
//! That takes a replica away, so the tree is asked first whether it is this broker's after all: orders do not
//! say which cluster they are of, and an address may have been another broker's before. What the tree does not
//! say in time stays where it is until a controller names everything again.
//!
//! Source: Kafka 3.9 `LogManager.isStrayKraftReplica`, which asks its metadata likewise.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use broker_protocol::message::leader_and_isr::LeaderAndIsrRequest;
use broker_protocol::quantity::BrokerId;
use broker_protocol::topic_partition::TopicPartition;
use broker_protocol::uuid::Uuid;
use broker_zookeeper::node::topic::Topic;
use broker_zookeeper::path;
use broker_zookeeper::store::{NodeRead, Store, StoreError};
use tracing::{info, warn};

use super::Control;

/// How long the tree may take to answer: what ends a session waits for the control loop.
const LIMIT: Duration = Duration::from_secs(20);

/// Logs that may be strays, by topic: the number of each partition, and its topic's id.
type Unnamed = BTreeMap<Arc<str>, Vec<(i32, Uuid)>>;

impl Control {
    /// Puts aside the logs that a controller that named all of this broker's did not name. Those that are
    /// `going` wait where they are: StopReplica deletes them.
    pub(super) async fn sweep(
        &mut self,
        request: &LeaderAndIsrRequest<'_>,
        going: HashMap<TopicPartition, Uuid>,
    ) {
        let mut named = going;
        named.extend(request.partitions().map(|(topic, id, state)| {
            (TopicPartition { topic: topic.into(), partition: state.partition_index }, id)
        }));
        let is_named = |name: &TopicPartition, here: Uuid| {
            named.get(name).is_some_and(|id| *id == here || id.is_zero() || here.is_zero())
        };
        let mut unnamed = Unnamed::new();
        for log in self.parts.replicas.partitions() {
            let (name, id) = (log.name(), log.topic_id());
            if !is_named(name, id) {
                let of_topic = unnamed.entry(Arc::clone(&name.topic)).or_default();
                of_topic.push((name.partition, id));
            }
        }
        if unnamed.is_empty() {
            return;
        }
        let found = strays(&*self.parts.store, self.parts.broker_id, &unnamed);
        let Ok(Ok(strays)) = tokio::time::timeout(LIMIT, found).await else {
            warn!(
                topics = unnamed.len(),
                "the coordination tree does not say which logs are strays"
            );
            return;
        };
        let count: usize = unnamed.values().map(Vec::len).sum();
        if strays.len() < count {
            let kept = count - strays.len();
            warn!(
                kept,
                "a controller did not name replicas that the cluster assigns to this broker"
            );
        }
        let replicas = Arc::clone(&self.parts.replicas);
        let is_kept = move |name: &TopicPartition, _: Uuid| !strays.contains(name);
        let swept = self.on_disk(move || replicas.sweep_strays(&is_kept)).await;
        let swept = swept.unwrap_or_default();
        for stray in &swept {
            info!(partition = %stray, "the cluster knows nothing of this replica; it is put aside");
        }
        self.parts.fetchers.leave(&swept).await;
    }
}

/// Returns which of `unnamed` the tree does not assign to broker `me`.
async fn strays(
    store: &dyn Store,
    me: BrokerId,
    unnamed: &Unnamed,
) -> Result<HashSet<TopicPartition>, StoreError> {
    let paths: Vec<_> = unnamed.keys().map(|topic| path::topic(topic)).collect();
    let nodes = loop {
        let read = async {
            // A server may lag behind the one that the controller reads from.
            store.sync(path::TOPICS).await?;
            store.get_many(&paths).await
        };
        match read.await {
            Err(StoreError::ConnectionLoss) => {}
            read => break read?,
        }
    };
    let mut strays = HashSet::new();
    for (((topic, logs), path), node) in unnamed.iter().zip(&paths).zip(nodes) {
        let node = topic_of(path, node)?;
        let is_stray = |(number, id): &&(i32, Uuid)| !is_assigned(node.as_ref(), me, *number, *id);
        let name = |(number, _): &(i32, Uuid)| TopicPartition {
            topic: Arc::clone(topic),
            partition: *number,
        };
        strays.extend(logs.iter().filter(is_stray).map(name));
    }
    Ok(strays)
}

/// What a node says of a topic; one that cannot be understood may say anything.
enum Told {
    Topic(Topic),
    Unknown,
}

fn topic_of(path: &str, node: NodeRead) -> Result<Option<Told>, StoreError> {
    match node {
        Ok((data, _)) => Ok(Some(Topic::decode(path, &data).map_or(Told::Unknown, Told::Topic))),
        Err(StoreError::NoNode { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether a log of the topic with this id is a replica of broker `me`.
fn is_assigned(node: Option<&Told>, me: BrokerId, number: i32, id: Uuid) -> bool {
    let topic = match node {
        None => return false,
        Some(Told::Unknown) => return true,
        Some(Told::Topic(topic)) => topic,
    };
    let named = topic.topic_id.as_deref().and_then(|id| id.parse::<Uuid>().ok());
    let is_same = named.is_none_or(|named| id.is_zero() || named.is_zero() || named == id);
    is_same && topic.partitions.get(&number).is_some_and(|replicas| replicas.contains(&me.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Method: table of (name, what the tree says, whether a log of partition 0 of topic 1 is a replica).
    #[test]
    fn a_log_is_a_replica_if_its_topic_is_assigned_here() {
        let (one, two) = (Uuid::from_bytes([1; 16]), Uuid::from_bytes([2; 16]));
        let topic = |id: Option<Uuid>, partition, replicas: &[i32]| {
            Some(Told::Topic(Topic {
                partitions: BTreeMap::from([(partition, replicas.to_vec())]),
                topic_id: id.map(|id| id.to_string()),
                ..Topic::default()
            }))
        };
        let cases = [
            ("no topic", None, false),
            ("nobody understands it", Some(Told::Unknown), true),
            ("assigned", topic(Some(one), 0, &[3, 5]), true),
            ("assigned by an old tool", topic(None, 0, &[3, 5]), true),
            ("assigned to others", topic(Some(one), 0, &[3, 4]), false),
            ("another partition", topic(Some(one), 1, &[3, 5]), false),
            ("another topic of that name", topic(Some(two), 0, &[3, 5]), false),
        ];
        for (name, node, expected) in cases {
            assert_eq!(is_assigned(node.as_ref(), BrokerId(5), 0, one), expected, "{name}");
        }
    }
}
