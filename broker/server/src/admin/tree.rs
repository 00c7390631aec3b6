//! What stands in the coordination tree, read in parts that fit into a message each.
//!
//! What is read is no snapshot: each node is as it was when it was read, and no older than the call.

use std::collections::{BTreeMap, BTreeSet};

use broker_zookeeper::error::TreeError;
use broker_zookeeper::node::topic::Topic;
use broker_zookeeper::path;
use broker_zookeeper::store::{NodeRead, Stat, Store, StoreError};

/// Nodes that are read by one request.
pub(super) const MANY: usize = 500;

/// Has everything that is read after this be no older than now.
pub(super) async fn freshen(store: &dyn Store) -> Result<(), StoreError> {
    store.sync(path::TOPICS).await
}

/// Returns a node's children, none if it does not exist.
pub(super) async fn children(store: &dyn Store, path: &str) -> Result<Vec<String>, StoreError> {
    match store.children(path).await {
        Err(StoreError::NoNode { .. }) => Ok(Vec::new()),
        read => read,
    }
}

/// Returns the numbers of a node's children.
pub(super) async fn numbers(store: &dyn Store, path: &str) -> Result<Vec<i32>, StoreError> {
    Ok(children(store, path).await?.iter().filter_map(|name| name.parse().ok()).collect())
}

/// Reads nodes, in the order of `paths`; `None` for one that does not exist.
pub(super) async fn nodes(
    store: &dyn Store,
    paths: &[String],
) -> Result<Vec<Option<(Vec<u8>, Stat)>>, StoreError> {
    let found = |read: NodeRead| match read {
        Ok(node) => Ok(Some(node)),
        Err(StoreError::NoNode { .. }) => Ok(None),
        Err(error) => Err(error),
    };
    let mut all = Vec::with_capacity(paths.len());
    for paths in paths.chunks(MANY) {
        for read in store.get_many(paths).await? {
            all.push(found(read)?);
        }
    }
    Ok(all)
}

/// Reads what brokers hold which partitions of topics; what is not there is left out.
///
/// # Errors
/// Also where one cannot be understood: nobody knows then which brokers hold it.
pub(super) async fn topics(
    store: &dyn Store,
    names: Vec<String>,
) -> Result<BTreeMap<String, (Topic, Stat)>, TreeError> {
    let paths: Vec<_> = names.iter().map(|name| path::topic(name)).collect();
    let mut topics = BTreeMap::new();
    for ((name, path), node) in names.into_iter().zip(&paths).zip(nodes(store, &paths).await?) {
        if let Some((data, stat)) = node {
            topics.insert(name, (Topic::decode(path, &data)?, stat));
        }
    }
    Ok(topics)
}

/// Reads that of all topics.
pub(super) async fn all_topics(
    store: &dyn Store,
) -> Result<BTreeMap<String, (Topic, Stat)>, TreeError> {
    let names = children(store, path::TOPICS).await?;
    topics(store, names).await
}

/// Whether replicas of a topic are moved.
pub(super) fn is_moving(topic: &Topic) -> bool {
    !topic.adding_replicas.is_empty() || !topic.removing_replicas.is_empty()
}

/// The brokers that are registered.
pub(super) async fn registered(store: &dyn Store) -> Result<BTreeSet<i32>, StoreError> {
    Ok(numbers(store, path::BROKER_IDS).await?.into_iter().collect())
}
