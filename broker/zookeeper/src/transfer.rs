//! Moving a tree into another one, so that a broker that began alone can join others.
//!
//! What is moved: every node that lives longer than its session, with its data. What is not: ephemeral
//! nodes, notifications, versions and transaction ids. So partition epochs begin anew with 0, while
//! leader epochs and the controller epoch, which are data, go on.
//!
//! A marker is made in the target before anything else and deleted last, so that a move that was
//! interrupted is taken up again, and no broker joins a tree that is half there. Nothing in the source is
//! changed. Whatever is in the target is replaced only under our own marker.

use std::collections::BTreeSet;

use crate::error::TreeError;
use crate::node::cluster_id::ClusterId;
use crate::path;
use crate::settle;
use crate::store::{CreateMode, NodeRead, Op, Store, StoreError};

/// Nodes that are written in one transaction.
const BATCH: usize = 500;

/// Bytes of data that are written in one transaction: half of what a server takes.
const BATCH_SIZE: usize = 512 * 1024;

/// Whose children are notifications: they are for brokers that live now.
const NOTIFICATIONS: [&str; 3] = [path::CONFIG_CHANGES, path::ISR_CHANGES, path::LOG_DIR_EVENTS];

/// Why a tree was not moved.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    /// The source has never been a cluster's.
    #[error("the embedded coordination tree holds no cluster yet: there is nothing to move")]
    NothingToMove,
    /// The source is itself still being filled.
    #[error(
        "topics of the log directories are still being taken over: start the broker once without \
         zookeeper.connect, so that this is finished, and stop it again"
    )]
    Adopting,
    /// The target is another cluster.
    #[error("the target is cluster {theirs}, and cluster {ours} cannot be moved into it")]
    Foreign {
        /// What is to be moved.
        ours: String,
        /// What is there.
        theirs: String,
    },
    /// The target has topics.
    #[error("the target has {count} topics already, {first} among them; it must have none")]
    HasTopics {
        /// How many.
        count: usize,
        /// One of them.
        first: String,
    },
    /// Brokers live in the target.
    #[error("brokers {ids} are running in the target; it must have none while it is filled")]
    HasBrokers {
        /// Their ids.
        ids: String,
    },
    /// Another cluster is being moved into the target.
    #[error("another move into the target was begun and not finished: that of cluster {theirs}")]
    OtherMove {
        /// The other cluster.
        theirs: String,
    },
    /// Something else writes to the target.
    #[error("{path} in the target is not what was written there: something else writes to it")]
    Differs {
        /// The node.
        path: String,
    },
    /// One of the trees cannot be read or written.
    #[error(transparent)]
    Tree(#[from] TreeError),
}

impl From<StoreError> for TransferError {
    fn from(error: StoreError) -> Self {
        Self::Tree(error.into())
    }
}

/// Copies the tree `from` into `to` and compares the two; returns how many nodes there are. The marker
/// stays until [`finish`].
///
/// # Errors
/// When `to` may not be filled (it is unchanged then), or one of the trees fails: repeat the call.
pub async fn copy(from: &dyn Store, to: &dyn Store) -> Result<usize, TransferError> {
    let ours = cluster(from).await?.ok_or(TransferError::NothingToMove)?;
    if settle::current(from, path::ADOPTION).await?.is_some() {
        return Err(TransferError::Adopting);
    }
    mark(to, &ours).await?;
    let paths = paths(from).await?;
    let mut chunk = Vec::new();
    let mut size = 0;
    for (path, node) in paths.iter().zip(read(from, &paths).await?) {
        let (data, _) = node?;
        if chunk.len() == BATCH || (size + data.len() > BATCH_SIZE && !chunk.is_empty()) {
            write(to, std::mem::take(&mut chunk)).await?;
            size = 0;
        }
        size += data.len();
        chunk.push((path.clone(), data));
    }
    write(to, chunk).await?;
    let (before, after) = (read(from, &paths).await?, read(to, &paths).await?);
    for ((path, before), after) in paths.iter().zip(before).zip(after) {
        if before?.0 != after?.0 {
            return Err(TransferError::Differs { path: path.clone() });
        }
    }
    Ok(paths.len())
}

/// Opens the target for brokers, once the source is put away; false if that was done before.
///
/// # Errors
/// When the target cannot be read or written, or the marker is another move's.
pub async fn finish(to: &dyn Store, cluster_id: &str) -> Result<bool, TransferError> {
    loop {
        let Some((data, stat)) = settle::current(to, path::MOVE).await? else { return Ok(false) };
        check_marker(&data, cluster_id)?;
        match to.delete(path::MOVE, Some(stat.version)).await {
            Ok(()) => return Ok(true),
            Err(StoreError::ConnectionLoss) => {
                if settle::current(to, path::MOVE).await?.is_none() {
                    return Ok(true);
                }
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// Returns the id of the cluster that a tree holds, if it holds one.
///
/// # Errors
/// When the tree cannot be read.
pub async fn cluster(store: &dyn Store) -> Result<Option<String>, TransferError> {
    let Some((data, _)) = settle::current(store, path::CLUSTER_ID).await? else { return Ok(None) };
    let id = ClusterId::decode(path::CLUSTER_ID, &data).map_err(TreeError::from)?.id;
    Ok(Some(id))
}

/// Makes the marker, or finds our own.
async fn mark(to: &dyn Store, ours: &str) -> Result<(), TransferError> {
    loop {
        if let Some((data, _)) = settle::current(to, path::MOVE).await? {
            return check_marker(&data, ours);
        }
        refuse_in_use(to, ours).await?;
        match to.create(path::MOVE, ours.as_bytes(), CreateMode::Persistent).await {
            Ok(_) | Err(StoreError::NodeExists { .. } | StoreError::ConnectionLoss) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

fn check_marker(data: &[u8], ours: &str) -> Result<(), TransferError> {
    if data == ours.as_bytes() {
        return Ok(());
    }
    Err(TransferError::OtherMove { theirs: String::from_utf8_lossy(data).into_owned() })
}

async fn refuse_in_use(to: &dyn Store, ours: &str) -> Result<(), TransferError> {
    if let Some(theirs) = cluster(to).await?.filter(|theirs| theirs != ours) {
        return Err(TransferError::Foreign { ours: ours.to_owned(), theirs });
    }
    let topics = children(to, path::TOPICS).await?;
    if let Some(first) = topics.first() {
        return Err(TransferError::HasTopics { count: topics.len(), first: first.clone() });
    }
    let brokers = children(to, path::BROKER_IDS).await?;
    if !brokers.is_empty() {
        return Err(TransferError::HasBrokers { ids: brokers.join(", ") });
    }
    Ok(())
}

/// The nodes to move, parents first.
async fn paths(from: &dyn Store) -> Result<Vec<String>, TransferError> {
    let mut found = BTreeSet::new();
    let mut open = vec!["/".to_owned()];
    while let Some(parent) = open.pop() {
        if NOTIFICATIONS.contains(&parent.as_str()) {
            continue;
        }
        let above = if parent == "/" { "" } else { parent.as_str() };
        let below: Vec<_> =
            children(from, &parent).await?.iter().map(|name| format!("{above}/{name}")).collect();
        for (path, node) in below.iter().zip(read(from, &below).await?) {
            // One that has gone meanwhile was ephemeral.
            if node.is_ok_and(|(_, stat)| stat.ephemeral_owner == 0) {
                found.insert(path.clone());
                open.push(path.clone());
            }
        }
    }
    Ok(found.into_iter().collect())
}

async fn children(store: &dyn Store, path: &str) -> Result<Vec<String>, StoreError> {
    loop {
        match store.children(path).await {
            Err(StoreError::NoNode { .. }) => return Ok(Vec::new()),
            Err(StoreError::ConnectionLoss) => {}
            children => return children,
        }
    }
}

async fn read(store: &dyn Store, paths: &[String]) -> Result<Vec<NodeRead>, StoreError> {
    loop {
        match store.get_many(paths).await {
            Err(StoreError::ConnectionLoss) => {}
            nodes => return nodes,
        }
    }
}

/// Writes nodes whose parents are there or come before them.
async fn write(to: &dyn Store, nodes: Vec<(String, Vec<u8>)>) -> Result<(), StoreError> {
    let create = |(path, data): &(String, Vec<u8>)| Op::Create {
        path: path.clone(),
        data: data.clone(),
        mode: CreateMode::Persistent,
    };
    match to.multi(nodes.iter().map(create).collect()).await {
        Ok(_) => return Ok(()),
        Err(StoreError::NodeExists { .. } | StoreError::ConnectionLoss) => {}
        Err(error) => return Err(error),
    }
    // Some are there, of an interrupted move or of this one.
    for (path, data) in nodes {
        put(to, &path, &data).await?;
    }
    Ok(())
}

/// Makes a node be there with its data. Under the marker nobody else writes: it may be repeated.
async fn put(to: &dyn Store, path: &str, data: &[u8]) -> Result<(), StoreError> {
    loop {
        match to.create(path, data, CreateMode::Persistent).await {
            Ok(_) => return Ok(()),
            Err(StoreError::ConnectionLoss) => continue,
            Err(StoreError::NodeExists { .. }) => {}
            Err(error) => return Err(error),
        }
        match settle::current(to, path).await? {
            Some((found, _)) if found == data => return Ok(()),
            Some(_) | None => {}
        }
        match to.set(path, data, None).await {
            Ok(_) => return Ok(()),
            Err(StoreError::ConnectionLoss | StoreError::NoNode { .. }) => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::embedded::{EmbeddedStore, EmbeddedTree};
    use crate::faulty::{Faults, FaultyStore};

    const ID: &str = r#"{"version":"1","id":"DzGNgXXyTIivZKu2GILbXQ"}"#;

    async fn make(store: &dyn Store, path: &str, data: &[u8]) {
        for parent in path::parents(path).filter(|parent| !parent.is_empty()) {
            let _ = store.create(parent, b"", CreateMode::Persistent).await;
        }
        put(store, path, data).await.unwrap();
    }

    /// A cluster with more nodes than one transaction takes.
    async fn source() -> EmbeddedStore {
        let store = EmbeddedTree::in_memory().session().await;
        make(&store, path::CLUSTER_ID, ID.as_bytes()).await;
        make(&store, path::CONTROLLER_EPOCH, b"7").await;
        for partition in 0..600 {
            make(&store, &path::partition_state("t", partition), b"state").await;
        }
        make(&store, &path::topic_config("big"), &vec![b'x'; 700_000]).await;
        make(&store, &format!("{}1", path::config_change()), b"news").await;
        store.create(path::CONTROLLER, b"me", CreateMode::Ephemeral).await.unwrap();
        store
    }

    async fn data(store: &dyn Store, path: &str) -> Option<Vec<u8>> {
        settle::current(store, path).await.unwrap().map(|(data, _)| data)
    }

    /// All that lives longer than a session arrives, through lost answers too, and the marker stays
    /// until the end.
    #[tokio::test]
    async fn a_tree_is_moved_whole() {
        let from = source().await;
        for (seed, lost_answers) in [(0, 0.0), (1, 0.3), (2, 0.3)] {
            let faults = Faults { seed, lost_answers, ..Faults::NONE };
            let to = Arc::new(EmbeddedTree::in_memory().session().await);
            let to = FaultyStore::new(to, faults);
            let count = copy(&from, &to).await.unwrap();
            assert!(count > 1_200, "{count}");
            for path in [path::CLUSTER_ID, path::CONTROLLER_EPOCH, "/config/topics/big"] {
                assert_eq!(data(&to, path).await, data(&from, path).await, "{path}");
            }
            let state = path::partition_state("t", 599);
            assert_eq!(data(&to, &state).await.unwrap(), b"state");
            assert_eq!(data(&to, path::CONTROLLER).await, None);
            assert!(children(&to, path::CONFIG_CHANGES).await.unwrap().is_empty());
            assert!(data(&to, path::MOVE).await.is_some());
            assert!(finish(&to, "DzGNgXXyTIivZKu2GILbXQ").await.unwrap());
            assert!(!finish(&to, "DzGNgXXyTIivZKu2GILbXQ").await.unwrap());
        }
    }

    /// A move that was interrupted is taken up again, whatever it had written.
    #[tokio::test]
    async fn an_interrupted_move_is_taken_up_again() {
        let from = source().await;
        let to = EmbeddedTree::in_memory().session().await;
        make(&to, path::MOVE, b"DzGNgXXyTIivZKu2GILbXQ").await;
        make(&to, &path::partition_state("t", 3), b"").await;
        make(&to, path::CONTROLLER_EPOCH, b"0").await;
        copy(&from, &to).await.unwrap();
        assert_eq!(data(&to, path::CONTROLLER_EPOCH).await.unwrap(), b"7");
        assert_eq!(data(&to, &path::partition_state("t", 3)).await.unwrap(), b"state");
    }

    /// A target that is in use, or another's, is refused and left as it is.
    #[tokio::test]
    async fn a_target_in_use_is_refused() {
        let from = source().await;
        let other = ID.replace("DzGN", "AAAA");
        let cases = [
            (path::CLUSTER_ID, other.as_str(), "cluster AAAA"),
            ("/brokers/topics/x", "{}", "1 topics already, x among them"),
            ("/brokers/ids/4", "{}", "brokers 4 are running"),
            (path::MOVE, "other", "that of cluster other"),
        ];
        for (path, there, words) in cases {
            let to = EmbeddedTree::in_memory().session().await;
            make(&to, path, there.as_bytes()).await;
            let before = to.children("/").await.unwrap();
            let refused = copy(&from, &to).await.unwrap_err().to_string();
            assert!(refused.contains(words), "{refused}");
            assert_eq!(to.children("/").await.unwrap(), before);
        }
        let (empty, to) = (EmbeddedTree::in_memory(), EmbeddedTree::in_memory());
        let nothing = copy(&empty.session().await, &to.session().await).await.unwrap_err();
        assert!(matches!(nothing, TransferError::NothingToMove));
    }
}
