//! What this broker says of itself before it is registered: which of its replicas cannot prove that they
//! are complete (`/ottla/standing/<id>`, ours and not Kafka's). No node says that there are none.
//!
//! Only this broker writes its node, one write after the other, so a write whose answer was lost is simply
//! made again.

use std::collections::{BTreeMap, BTreeSet};

use broker_protocol::quantity::BrokerId;
use broker_protocol::topic_partition::TopicPartition;
use broker_zookeeper::node::standing::Standing;
use broker_zookeeper::path;
use broker_zookeeper::store::{Store, StoreError};

use crate::controller::membership::ensure;

/// Says which replicas of broker `id` are unproven.
pub(super) async fn publish(
    store: &dyn Store,
    id: BrokerId,
    unproven: &BTreeSet<TopicPartition>,
) -> Result<(), StoreError> {
    let path = path::standing(id.0);
    loop {
        let written = if unproven.is_empty() {
            store.delete(&path, None).await
        } else {
            store.set(&path, &encode(unproven), None).await.map(|_| ())
        };
        match written {
            Err(StoreError::ConnectionLoss) => {}
            Err(StoreError::NoNode { .. }) if unproven.is_empty() => return Ok(()),
            Err(StoreError::NoNode { .. }) => {
                for parent in [path::parent_of(path::STANDING), path::STANDING, &path] {
                    ensure(store, parent, b"").await?;
                }
            }
            written => return written,
        }
    }
}

fn encode(unproven: &BTreeSet<TopicPartition>) -> Vec<u8> {
    let mut by_topic: BTreeMap<String, BTreeSet<i32>> = BTreeMap::new();
    for name in unproven {
        by_topic.entry(name.topic.to_string()).or_default().insert(name.partition);
    }
    Standing::new(by_topic).encode()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use broker_zookeeper::embedded::EmbeddedTree;
    use broker_zookeeper::faulty::{Faults, FaultyStore};

    use super::*;
    use crate::controller::membership::ensure_paths;

    /// The node says what was said last, and is gone when there is nothing to say; whatever is lost.
    #[tokio::test]
    async fn the_node_says_what_was_said_last() {
        let name = |partition| TopicPartition { topic: "t".into(), partition };
        for seed in 0..50 {
            let look = Arc::new(EmbeddedTree::in_memory().session().await);
            ensure_paths(&*look).await.unwrap();
            let faults = Faults { seed, lost_answers: 0.3, ..Faults::NONE };
            let store = FaultyStore::new(Arc::clone(&look) as _, faults);
            for said in [vec![], vec![name(3), name(1)], vec![name(1)], vec![]] {
                publish(&store, BrokerId(7), &said.iter().cloned().collect()).await.unwrap();
                let node = look.get("/ottla/standing/7").await;
                let read = node.ok().map(|(data, _)| String::from_utf8(data).unwrap());
                let partitions = match said.len() {
                    0 => None,
                    1 => Some("[1]"),
                    _ => Some("[1,3]"),
                };
                let wanted =
                    partitions.map(|of| format!(r#"{{"version":1,"unproven":{{"t":{of}}}}}"#));
                assert_eq!(read, wanted);
            }
        }
    }
}
