//! A broker's place in the tree: the paths it needs, the cluster's id, its registration, and the
//! election of a controller. Source: Kafka 3.9 `KafkaZkClient`, `KafkaServer`.

use broker_protocol::quantity::BrokerId;
use broker_protocol::uuid::Uuid;
use broker_zookeeper::node::broker::Broker;
use broker_zookeeper::node::cluster_id::ClusterId;
use broker_zookeeper::node::controller::Controller;
use broker_zookeeper::node::controller_epoch;
use broker_zookeeper::path;
use broker_zookeeper::settle;
use broker_zookeeper::store::{CreateMode, Op, OpResult, Store, StoreError};

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

/// Makes the nodes that every cluster has.
pub async fn ensure_paths(store: &dyn Store) -> Result<(), TreeError> {
    for path in path::PERSISTENT {
        ensure(store, path, &[]).await?;
    }
    ensure(store, path::CONTROLLER_EPOCH, b"0").await?;
    Ok(())
}

/// Makes a persistent node, unless it exists.
pub async fn ensure(store: &dyn Store, path: &str, data: &[u8]) -> Result<(), TreeError> {
    loop {
        return match store.create(path, data, CreateMode::Persistent).await {
            Ok(_) | Err(StoreError::NodeExists { .. }) => Ok(()),
            // Whoever makes it, it is there: this write may be repeated.
            Err(StoreError::ConnectionLoss) => continue,
            Err(error) => Err(error.into()),
        };
    }
}

/// Returns the cluster's id; the first broker gives it one.
pub async fn cluster_id(store: &dyn Store, fresh: Uuid) -> Result<String, TreeError> {
    let node = ClusterId::new(&fresh.to_string());
    ensure(store, path::CLUSTER_ID, &node.encode()).await?;
    let found = settle::current(store, path::CLUSTER_ID).await?;
    let (data, _) = found.ok_or(StoreError::NoNode { path: path::CLUSTER_ID.to_owned() })?;
    Ok(ClusterId::decode(path::CLUSTER_ID, &data)?.id)
}

/// Registers a broker; returns its epoch.
///
/// Two steps in one transaction, as Kafka does, so that watchers see one change with data.
pub async fn register(store: &dyn Store, id: BrokerId, broker: &Broker) -> Result<i64, TreeError> {
    let path = path::broker_id(id.0);
    let results = store
        .multi(vec![
            Op::Create { path: path.clone(), data: Vec::new(), mode: CreateMode::Ephemeral },
            Op::Set { path, data: broker.encode(), version: Some(0) },
        ])
        .await?;
    let created = results.iter().find_map(|result| match result {
        OpResult::Created { stat, .. } => Some(stat.czxid),
        OpResult::Set { .. } | OpResult::Deleted | OpResult::Checked => None,
    });
    Ok(created.unwrap_or(-1))
}

/// Stands for controller; `None` when another broker has won.
pub async fn stand(
    store: &dyn Store,
    id: BrokerId,
    now_ms: i64,
) -> Result<Option<Term>, TreeError> {
    let (data, stat) = store.get(path::CONTROLLER_EPOCH).await?;
    let epoch = controller_epoch::decode(path::CONTROLLER_EPOCH, &data)? + 1;
    let won = store
        .multi(vec![
            Op::Create {
                path: path::CONTROLLER.to_owned(),
                data: Controller::new(id.0, now_ms).encode(),
                mode: CreateMode::Ephemeral,
            },
            Op::Set {
                path: path::CONTROLLER_EPOCH.to_owned(),
                data: controller_epoch::encode(epoch),
                version: Some(stat.version),
            },
        ])
        .await;
    match won {
        Ok(_) => Ok(Some(Term { epoch, version: stat.version + 1 })),
        Err(StoreError::NodeExists { .. } | StoreError::BadVersion { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use broker_zookeeper::embedded::EmbeddedTree;

    use super::*;

    /// One of two contenders wins; after the winner's session the other does, with a higher epoch.
    #[tokio::test]
    async fn one_controller_at_a_time_and_epochs_that_grow() {
        let tree = EmbeddedTree::in_memory();
        let (a, b) = (tree.session().await, tree.session().await);
        ensure_paths(&a).await.unwrap();
        ensure_paths(&b).await.unwrap();
        let first = stand(&a, BrokerId(1), 0).await.unwrap().unwrap();
        assert_eq!(stand(&b, BrokerId(2), 0).await.unwrap(), None);
        tree.expire(broker_zookeeper::store::Store::session_id(&a)).await;
        let second = stand(&b, BrokerId(2), 0).await.unwrap().unwrap();
        assert_eq!((first.epoch, second.epoch), (1, 2));
        let stale = b.multi(vec![first.check()]).await.unwrap_err();
        assert!(matches!(stale, StoreError::BadVersion { .. }));
        b.multi(vec![second.check()]).await.unwrap();
    }

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
