//! What this broker says of itself before it is registered: which of its replicas cannot prove that they
//! are complete (`/ottla/standing/<id>`, ours and not Kafka's). No node says that there are none.
//!
//! Only this broker writes its node, one write after the other; one whose answer was lost is looked for. Before
//! it is known that the id is this broker's nothing is written: the first word is said in the transaction that
//! registers. It names that session: whoever takes the id over may be a broker of Kafka, which says nothing.

use std::collections::{BTreeMap, BTreeSet};

use broker_protocol::quantity::BrokerId;
use broker_protocol::topic_partition::TopicPartition;
use broker_zookeeper::node::standing::Standing;
use broker_zookeeper::path;
use broker_zookeeper::settle;
use broker_zookeeper::store::{CreateMode, Op, Store, StoreError};

use crate::controller::membership::ensure_with_parents;

/// Says which replicas of broker `id` are unproven, if it is not said yet.
pub(super) async fn publish(
    store: &dyn Store,
    id: BrokerId,
    unproven: &BTreeSet<TopicPartition>,
) -> Result<(), StoreError> {
    while let Some(op) = op(store, id, unproven).await? {
        match store.multi(vec![op]).await {
            Err(error) if is_to_be_looked_at_again(&error) => {}
            written => return written.map(|_| ()),
        }
    }
    Ok(())
}

/// Returns whether a write's answer was lost, or somebody's write came first.
pub(super) fn is_to_be_looked_at_again(error: &StoreError) -> bool {
    matches!(
        error,
        StoreError::ConnectionLoss
            | StoreError::NodeExists { .. }
            | StoreError::BadVersion { .. }
            | StoreError::NoNode { .. }
    )
}

/// Returns the step that has the node of broker `id` say which of its replicas are unproven, if it does not
/// say so yet. It fails if somebody else writes the node meanwhile.
pub(super) async fn op(
    store: &dyn Store,
    id: BrokerId,
    unproven: &BTreeSet<TopicPartition>,
) -> Result<Option<Op>, StoreError> {
    let path = path::standing(id.0);
    let found = settle::current(store, &path).await?;
    let data = (!unproven.is_empty()).then(|| encode(store.session_id(), unproven));
    Ok(match (found, data) {
        (None, None) => None,
        (Some((said, _)), Some(data)) if said == data => None,
        (None, Some(data)) => {
            ensure_with_parents(store, path::STANDING).await?;
            Some(Op::Create { path, data, mode: CreateMode::Persistent })
        }
        (Some((_, stat)), None) => Some(Op::Delete { path, version: Some(stat.version) }),
        (Some((_, stat)), Some(data)) => Some(Op::Set { path, data, version: Some(stat.version) }),
    })
}

fn encode(session: i64, unproven: &BTreeSet<TopicPartition>) -> Vec<u8> {
    let mut by_topic: BTreeMap<String, BTreeSet<i32>> = BTreeMap::new();
    for name in unproven {
        by_topic.entry(name.topic.to_string()).or_default().insert(name.partition);
    }
    Standing::new(session, by_topic).encode()
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
                let id = store.session_id();
                let wanted = partitions
                    .map(|of| format!(r#"{{"version":1,"session":{id},"unproven":{{"t":{of}}}}}"#));
                assert_eq!(read, wanted);
            }
        }
    }
}
