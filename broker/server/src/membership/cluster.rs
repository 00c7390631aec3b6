//! What a broker finds before it joins: whether the tree is a cluster that it may join, and as whom.
//!
//! Nothing is written to a tree that is refused. Refusals are words for a person; none of them goes
//! away by itself.

use std::collections::BTreeMap;

use broker_protocol::quantity::BrokerId;
use broker_protocol::uuid::Uuid;
use broker_zookeeper::error::TreeError;
use broker_zookeeper::node::broker::Supported;
use broker_zookeeper::node::cluster_id::ClusterId;
use broker_zookeeper::node::feature::Feature;
use broker_zookeeper::path;
use broker_zookeeper::settle;
use broker_zookeeper::store::{Store, StoreError};
use tracing::warn;

use super::controller_election;
use super::identity::Identity;
use crate::controller::membership::{cluster_id, ensure_paths};

/// The highest level of each feature of Kafka 3.9 that this broker knows.
const KNOWN_FEATURES: [(&str, i16); 2] = [("metadata.version", 21), ("kraft.version", 1)];

/// Why a broker may not join.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClusterError {
    /// The cluster is on its way to KRaft.
    #[error(
        "zookeeper.connect leads to a cluster that is being migrated to KRaft ({path} says so): this \
         broker cannot join it; finish the migration, or roll it back first"
    )]
    Migrating {
        /// The node that says so.
        path: &'static str,
    },
    /// An embedded tree is being moved into this one.
    #[error(
        "the tree at zookeeper.connect is being filled by `ottla-broker move-coordination`, which was \
         not finished: repeat that command first"
    )]
    Moving,
    /// The log directories are of another cluster.
    #[error(
        "the log directories belong to cluster {ours} (meta.properties), but zookeeper.connect leads \
         to cluster {theirs}: one of the two settings is wrong"
    )]
    Foreign {
        /// Of the log directories.
        ours: String,
        /// Of the tree.
        theirs: String,
    },
    /// The log directories are of a cluster, the tree of none.
    #[error(
        "the log directories belong to cluster {ours} (meta.properties), but zookeeper.connect leads \
         to a tree without a cluster: check its servers and the path after them"
    )]
    Lost {
        /// Of the log directories.
        ours: String,
    },
    /// The tree was put back to an older state.
    #[error(
        "controller epoch {found} in ZooKeeper is lower than {seen}, which this broker has seen: \
         ZooKeeper was put back to an older state, and what was decided since then is lost; if that \
         is meant to be, delete the file {file} in the first log directory",
        file = super::identity::FILE
    )]
    RolledBack {
        /// The highest epoch that was seen.
        seen: i32,
        /// The epoch that is there.
        found: i32,
    },
    /// The tree cannot be read or written.
    #[error(transparent)]
    Tree(#[from] TreeError),
}

impl From<StoreError> for ClusterError {
    fn from(error: StoreError) -> Self {
        Self::Tree(error.into())
    }
}

/// A cluster that may be joined.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cluster {
    /// Its id, 22 characters.
    pub(crate) id: String,
    /// Its controllers so far.
    pub(crate) controller_epoch: i32,
}

/// Looks at the tree, and makes what every cluster has.
///
/// `ours` is the cluster that the log directories belong to, if any does; a new cluster is named
/// `fresh`.
pub(crate) async fn find(
    store: &dyn Store,
    ours: Option<&str>,
    fresh: Uuid,
    past: Option<&Identity>,
) -> Result<Cluster, ClusterError> {
    refuse_migration(store).await?;
    if settle::current(store, path::MOVE).await?.is_some() {
        return Err(ClusterError::Moving);
    }
    match (settle::current(store, path::CLUSTER_ID).await?, ours) {
        (Some((data, _)), Some(ours)) => {
            let theirs = ClusterId::decode(path::CLUSTER_ID, &data).map_err(TreeError::from)?.id;
            if theirs != ours {
                return Err(ClusterError::Foreign { ours: ours.to_owned(), theirs });
            }
        }
        (None, Some(ours)) => return Err(ClusterError::Lost { ours: ours.to_owned() }),
        (_, None) => {}
    }
    ensure_paths(store).await?;
    let id = cluster_id(store, fresh).await?;
    let controller_epoch = controller_election::term(store).await?.epoch;
    let seen = past.map_or(0, |past| past.controller_epoch);
    if controller_epoch < seen {
        return Err(ClusterError::RolledBack { seen, found: controller_epoch });
    }
    Ok(Cluster { id, controller_epoch })
}

async fn refuse_migration(store: &dyn Store) -> Result<(), ClusterError> {
    if settle::current(store, path::MIGRATION).await?.is_some() {
        return Err(ClusterError::Migrating { path: path::MIGRATION });
    }
    // A controller of KRaft owns the node without a session.
    match settle::current(store, path::CONTROLLER).await? {
        Some((_, stat)) if stat.ephemeral_owner == 0 => {
            Err(ClusterError::Migrating { path: path::CONTROLLER })
        }
        Some(_) | None => Ok(()),
    }
}

/// Returns what to register so that a controller of Kafka does not leave this broker out: every
/// feature that the cluster has settled on, known or not.
pub(crate) async fn features(store: &dyn Store) -> Result<BTreeMap<String, Supported>, TreeError> {
    let Some((data, _)) = settle::current(store, path::FEATURE).await? else {
        return Ok(BTreeMap::new());
    };
    let finalized = match Feature::decode(path::FEATURE, &data) {
        Ok(finalized) => finalized,
        Err(error) => {
            warn!(%error, "features of the cluster ignored");
            return Ok(BTreeMap::new());
        }
    };
    if !finalized.is_enabled {
        return Ok(BTreeMap::new());
    }
    Ok(finalized.features.into_iter().map(|(name, level)| covered(name, level)).collect())
}

fn covered(name: String, level: i16) -> (String, Supported) {
    let known = KNOWN_FEATURES.iter().find(|(known, _)| *known == name).map(|(_, max)| *max);
    if known.is_none_or(|known| known < level) {
        warn!(feature = name, level, "the cluster has settled on what this broker does not know");
    }
    let max_version = known.unwrap_or(level).max(level);
    (name, Supported { min_version: level.min(1), max_version })
}

/// Returns this broker's id: `configured`, or else the one that its log directories have `stored`, or
/// else a new one above `reserved_max`.
pub(crate) async fn broker_id(
    store: &dyn Store,
    configured: i32,
    stored: Option<BrokerId>,
    reserved_max: i32,
) -> Result<BrokerId, TreeError> {
    if configured >= 0 {
        return Ok(BrokerId(configured));
    }
    if let Some(stored) = stored {
        return Ok(stored);
    }
    loop {
        match store.set(path::BROKER_SEQUENCE, &[], None).await {
            Ok(stat) => return Ok(BrokerId(reserved_max.saturating_add(stat.version))),
            // A number that is lost is left out.
            Err(StoreError::ConnectionLoss) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use broker_zookeeper::embedded::{EmbeddedStore, EmbeddedTree};
    use broker_zookeeper::store::CreateMode;

    use super::*;

    const FRESH: Uuid = Uuid::from_bytes([7; 16]);

    async fn tree_with(nodes: &[(&str, &str)]) -> EmbeddedStore {
        let store = EmbeddedTree::in_memory().session().await;
        for (path, data) in nodes {
            for parent in path::parents(path).filter(|parent| !parent.is_empty()) {
                let _ = store.create(parent, b"", CreateMode::Persistent).await;
            }
            store.create(path, data.as_bytes(), CreateMode::Persistent).await.unwrap();
        }
        store
    }

    /// Each tree that is no place for this broker is refused, and nothing is written to it.
    #[tokio::test]
    async fn what_cannot_be_joined_is_refused_and_left_as_it_is() {
        let id = r#"{"version":"1","id":"DzGNgXXyTIivZKu2GILbXQ"}"#;
        let named = (path::CLUSTER_ID, id);
        let cases: [(&[(&str, &str)], Option<&str>, &str); 5] = [
            (&[named, (path::MOVE, "x")], None, "move-coordination"),
            (&[named, (path::MIGRATION, "{}")], None, "KRaft"),
            (&[named, (path::CONTROLLER, "{}")], None, "KRaft"),
            (&[named], Some("other"), "cluster other"),
            (&[], Some("other"), "without a cluster"),
        ];
        for (nodes, ours, word) in cases {
            let store = tree_with(nodes).await;
            let before = store.children("/").await.unwrap();
            let refused = find(&store, ours, FRESH, None).await.unwrap_err().to_string();
            assert!(refused.contains(word), "{refused}");
            assert_eq!(store.children("/").await.unwrap(), before);
        }
        let store = tree_with(&[named]).await;
        let found = find(&store, Some("DzGNgXXyTIivZKu2GILbXQ"), FRESH, None).await.unwrap();
        assert_eq!((found.id.as_str(), found.controller_epoch), ("DzGNgXXyTIivZKu2GILbXQ", 0));
        let found = find(&tree_with(&[]).await, None, FRESH, None).await.unwrap();
        assert_eq!(found.id, FRESH.to_string());
    }

    /// A tree that knows fewer controllers than this broker was put back.
    #[tokio::test]
    async fn a_tree_that_was_put_back_is_refused() {
        let store = tree_with(&[(path::CONTROLLER_EPOCH, "4")]).await;
        for (seen, is_joined) in [(3, true), (4, true), (5, false)] {
            let past = Identity { controller_epoch: seen, ..Identity::default() };
            let found = find(&store, None, FRESH, Some(&past)).await;
            assert_eq!(found.is_ok(), is_joined, "{found:?}");
        }
    }

    /// Whatever the cluster has settled on is covered, unless it does not count.
    #[tokio::test]
    async fn every_finalized_feature_is_covered() {
        let cases = [
            (r#"{"features":{},"version":2,"status":1}"#, vec![]),
            (
                r#"{"features":{"kraft.version":{"max_version_level":0},"metadata.version":{"max_version_level":14},"new":{"max_version_level":9}},"version":2,"status":1}"#,
                vec![("kraft.version", 0, 1), ("metadata.version", 1, 21), ("new", 1, 9)],
            ),
            (r#"{"features":{"new":{"max_version_level":9}},"version":2,"status":0}"#, vec![]),
        ];
        for (data, expected) in cases {
            let found = features(&tree_with(&[(path::FEATURE, data)]).await).await.unwrap();
            let found: Vec<_> = (found.iter())
                .map(|(name, levels)| (name.as_str(), levels.min_version, levels.max_version))
                .collect();
            assert_eq!(found, expected);
        }
        assert!(features(&tree_with(&[]).await).await.unwrap().is_empty());
    }

    /// An id comes from the settings, from the disk, or anew from the tree, above the reserved ones.
    #[tokio::test]
    async fn ids_are_configured_kept_or_new() {
        let store = tree_with(&[(path::BROKER_SEQUENCE, "")]).await;
        assert_eq!(broker_id(&store, 5, Some(BrokerId(5)), 1000).await.unwrap(), BrokerId(5));
        assert_eq!(broker_id(&store, -1, Some(BrokerId(1007)), 1000).await.unwrap().0, 1007);
        assert_eq!(broker_id(&store, -1, None, 1000).await.unwrap(), BrokerId(1001));
        assert_eq!(broker_id(&store, -1, None, 1000).await.unwrap(), BrokerId(1002));
    }
}
