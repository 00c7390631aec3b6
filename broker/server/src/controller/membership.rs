//! What every cluster has in the tree, and the right to write there as its controller.
//! Source: Kafka 3.9 `KafkaZkClient`, `KafkaServer`.

use broker_protocol::uuid::Uuid;
use broker_zookeeper::node::cluster_id::ClusterId;
use broker_zookeeper::path;
use broker_zookeeper::settle;
use broker_zookeeper::store::{CreateMode, Op, Store, StoreError};

use broker_zookeeper::error::TreeError;

/// The right to write as the controller: every such write checks that the epoch node still has
/// `version`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Term {
    /// How many controllers there have been.
    pub epoch: i32,
    /// The version of the epoch's node.
    pub version: i32,
}

impl Term {
    /// The check that fences a write of this controller.
    pub fn check(self) -> Op {
        Op::Check { path: path::CONTROLLER_EPOCH.to_owned(), version: self.version }
    }
}

/// How a controller ended that nobody had told to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resignation {
    /// Its session or its term is over.
    Over,
    /// It could not do its work in this tree, and the next may not be able to either.
    Refused,
}

/// Makes the nodes that every cluster has.
pub async fn ensure_paths(store: &dyn Store) -> Result<(), TreeError> {
    for path in path::PERSISTENT {
        ensure(store, path, &[]).await?;
    }
    ensure(store, path::CONTROLLER_EPOCH, b"0").await?;
    Ok(())
}

/// Makes a persistent node, unless it exists.
pub async fn ensure(store: &dyn Store, path: &str, data: &[u8]) -> Result<(), StoreError> {
    loop {
        return match store.create(path, data, CreateMode::Persistent).await {
            Ok(_) | Err(StoreError::NodeExists { .. }) => Ok(()),
            // Whoever makes it, it is there: this write may be repeated.
            Err(StoreError::ConnectionLoss) => continue,
            Err(error) => Err(error),
        };
    }
}

/// Makes an empty persistent node and those above it, unless they exist.
pub async fn ensure_with_parents(store: &dyn Store, path: &str) -> Result<(), StoreError> {
    for parent in path::parents(path) {
        ensure(store, parent, &[]).await?;
    }
    ensure(store, path, &[]).await
}

/// Returns the cluster's id; the first broker gives it one.
pub async fn cluster_id(store: &dyn Store, fresh: Uuid) -> Result<String, TreeError> {
    let node = ClusterId::new(&fresh.to_string());
    ensure(store, path::CLUSTER_ID, &node.encode()).await?;
    let found = settle::current(store, path::CLUSTER_ID).await?;
    let (data, _) = found.ok_or(StoreError::NoNode { path: path::CLUSTER_ID.to_owned() })?;
    Ok(ClusterId::decode(path::CLUSTER_ID, &data)?.id)
}

#[cfg(test)]
mod tests {
    use broker_zookeeper::embedded::EmbeddedTree;

    use super::*;

    /// The cluster keeps the id that its first broker gave it.
    #[tokio::test]
    async fn the_first_broker_names_the_cluster() {
        let store = EmbeddedTree::in_memory().session().await;
        ensure_paths(&store).await.unwrap();
        let first = cluster_id(&store, Uuid::from_bytes([1; 16])).await.unwrap();
        let second = cluster_id(&store, Uuid::from_bytes([2; 16])).await.unwrap();
        assert_eq!((first.len(), &first), (22, &second));
    }
}
