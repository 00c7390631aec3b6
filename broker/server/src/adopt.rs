//! Taking over a directory that another broker wrote: its cluster's id and, if the tree is empty,
//! its topics.
//!
//! A Kafka broker keeps its topics in ZooKeeper. Where its tree was not brought along, the log
//! directories still say which partitions there are, by `partition.metadata` their topic's id, and by
//! `leader-epoch-checkpoint` the epoch that the next leader must exceed. Settings of topics are not on
//! disk: adopted topics begin with the broker's own. What producers the logs know is asked once they
//! are open; see `producer_ids`.
//!
//! There may be more topics than one transaction holds. A node says that it is not over yet, so that a
//! start after a crash goes on where the last one was.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Result;
use broker_protocol::quantity::{BrokerId, LeaderEpoch};
use broker_protocol::uuid::Uuid;
use broker_storage::format;
use broker_storage::fs::Fs;
use broker_storage::leader_epoch_cache::LeaderEpochCache;
use broker_storage::meta_properties::{MetaProperties, MetaPropertiesError};
use broker_storage::partition_metadata;
use broker_zookeeper::node::config::Config;
use broker_zookeeper::node::partition_state::PartitionState;
use broker_zookeeper::node::topic::Topic;
use broker_zookeeper::path;
use broker_zookeeper::store::{CreateMode, Op, Store, StoreError};
use tracing::{info, warn};

use crate::controller::read::fresh_id;

/// Returns the cluster's id that the directories name, if any does.
pub(crate) fn cluster_id(
    fs: &dyn Fs,
    dirs: &[PathBuf],
) -> Result<Option<Uuid>, MetaPropertiesError> {
    for dir in dirs {
        let found = match MetaProperties::read(fs, dir) {
            Ok(found) => found.and_then(|meta| meta.cluster_id),
            // Its disk failed: it is opened, and judged, later.
            Err(MetaPropertiesError::Io { .. }) => continue,
            Err(error) => return Err(error),
        };
        if let Some(id) = found.and_then(|id| id.parse().ok()) {
            return Ok(Some(id));
        }
    }
    Ok(None)
}

/// Puts the topics that the directories hold into a tree that has none; returns whether there are any.
///
/// [`done`] ends it, once all that follows from it is in the tree as well.
pub(crate) async fn topics(
    store: &dyn Store,
    fs: &Arc<dyn Fs>,
    dirs: &[PathBuf],
    broker_id: BrokerId,
) -> Result<bool> {
    let known = store.children(path::TOPICS).await?;
    let mut adopted = store.exists(path::ADOPTION).await?.is_some();
    if !known.is_empty() && !adopted {
        return Ok(false);
    }
    for (name, found) in on_disk(fs, dirs)? {
        if known.contains(&name) {
            continue;
        }
        let count = found.partitions.len() as i32;
        if !found.partitions.keys().copied().eq(0..count) {
            warn!(
                topic = name,
                "not adopted: its partitions are not numbered from 0 without holes"
            );
            continue;
        }
        let node = Topic {
            partitions: (0..count).map(|partition| (partition, vec![broker_id.0])).collect(),
            topic_id: Some(found.id.unwrap_or_else(fresh_id).to_string()),
            ..Topic::default()
        };
        let mode = CreateMode::Persistent;
        let config = Config::new(settings(&name)).encode();
        let mut nodes = vec![
            (path::topic_config(&name), config),
            (path::topic(&name), node.encode()),
            (path::partitions(&name), Vec::new()),
        ];
        for (partition, epoch) in found.partitions {
            nodes.push((path::partition(&name, partition), Vec::new()));
            nodes.push((path::partition_state(&name, partition), led(broker_id, epoch).encode()));
        }
        if !adopted {
            store.create(path::ADOPTION, &[], mode).await?;
            adopted = true;
        }
        let creates = nodes.into_iter().map(|(path, data)| Op::Create { path, data, mode });
        store.multi(creates.collect()).await?;
        info!(topic = name, partitions = count, "topic adopted from the log directories");
    }
    Ok(adopted)
}

/// Ends the taking over: from now on the tree alone says which topics there are.
pub(crate) async fn done(store: &dyn Store) -> Result<()> {
    match store.delete(path::ADOPTION, None).await {
        Ok(()) | Err(StoreError::NoNode { .. }) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// The state as the last leader left it: the next election raises the epoch above all in the log.
fn led(broker_id: BrokerId, epoch: LeaderEpoch) -> PartitionState {
    PartitionState {
        controller_epoch: 0,
        leader: broker_id.0,
        version: 1,
        leader_epoch: epoch.0,
        isr: vec![broker_id.0],
        leader_recovery_state: 0,
    }
}

/// The topic of committed offsets must be compacted, whoever made it.
fn settings(topic: &str) -> BTreeMap<String, String> {
    let pairs: &[(&str, &str)] = if crate::metadata::is_internal(topic) {
        &[("cleanup.policy", "compact"), ("compression.type", "producer")]
    } else {
        &[]
    };
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

#[derive(Debug, Default)]
struct Found {
    id: Option<Uuid>,
    /// The last leader epoch of each.
    partitions: BTreeMap<i32, LeaderEpoch>,
}

fn on_disk(fs: &Arc<dyn Fs>, dirs: &[PathBuf]) -> Result<BTreeMap<String, Found>> {
    let mut topics: BTreeMap<String, Found> = BTreeMap::new();
    let mut unread = None;
    for dir in dirs {
        let entries = match fs.list(dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(error) => {
                unread = Some(anyhow::Error::from(error).context(format!(
                    "log.dirs: {} cannot be read, and the coordination tree is empty: to take its \
                     topics from the log directories, all of them are needed",
                    dir.display()
                )));
                continue;
            }
        };
        for entry in entries {
            let name = entry.name;
            let Some((partition, format::DirKind::Current)) = format::parse_dir_name(&name) else {
                continue;
            };
            let found = topics.entry(partition.topic.to_string()).or_default();
            let dir = dir.join(&name);
            // Without a checkpoint no epoch was ever begun, or the log's recovery will say so.
            let epochs = LeaderEpochCache::load(Arc::clone(fs), &dir).ok();
            let epoch = epochs.and_then(|epochs| epochs.latest()).map_or(0, |last| last.epoch.0);
            found.partitions.insert(partition.partition, LeaderEpoch(epoch));
            found.id = found.id.or_else(|| partition_metadata::read(fs.as_ref(), &dir).ok()?);
        }
    }
    match unread {
        // What the others hold may be a part of a topic.
        Some(error) if !topics.is_empty() => Err(error),
        _ => Ok(topics),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use broker_protocol::quantity::Offset;
    use broker_storage::fs::real::RealFs;
    use broker_zookeeper::embedded::EmbeddedTree;

    use super::*;
    use crate::controller::membership::ensure_paths;

    /// The log's last epoch is the state's, so that the election on it begins a higher one.
    #[tokio::test]
    async fn an_adopted_partition_goes_on_from_its_last_leader_epoch() {
        let directory = tempfile::tempdir().unwrap();
        let fs: Arc<dyn Fs> = Arc::new(RealFs);
        write_logs(&fs, directory.path(), "topic");
        let store = EmbeddedTree::in_memory().session().await;
        ensure_paths(&store).await.unwrap();
        let dirs = [directory.path().to_owned()];
        assert!(topics(&store, &fs, &dirs, BrokerId(4)).await.unwrap());
        for partition in 0..2 {
            let path = path::partition_state("topic", partition);
            let (data, _) = store.get(&path).await.unwrap();
            let state = PartitionState::decode(&path, &data).unwrap();
            assert_eq!((state.leader, state.leader_epoch), (4, 7 + partition));
            assert_eq!(state.isr, [4]);
        }
    }

    /// Writes two logs of a topic, as far as adoption looks at them.
    fn write_logs(fs: &Arc<dyn Fs>, parent: &Path, topic: &str) {
        for partition in 0..2 {
            let dir = parent.join(format!("{topic}-{partition}"));
            fs.create_dir_all(&dir).unwrap();
            let mut epochs = LeaderEpochCache::empty(Arc::clone(fs), &dir);
            epochs.assign_in_memory(LeaderEpoch(3), Offset(0));
            epochs.assign_in_memory(LeaderEpoch(7 + partition), Offset(10));
            epochs.flush(Offset(11)).unwrap();
        }
    }

    #[tokio::test]
    async fn what_a_crash_left_is_adopted_by_the_next_start_and_nothing_after_that() {
        let directory = tempfile::tempdir().unwrap();
        let fs: Arc<dyn Fs> = Arc::new(RealFs);
        let store = EmbeddedTree::in_memory().session().await;
        ensure_paths(&store).await.unwrap();
        let dirs = [directory.path().to_owned()];
        // The last start got as far as the first topic.
        for topic in ["first", "second"] {
            write_logs(&fs, directory.path(), topic);
            assert!(topics(&store, &fs, &dirs, BrokerId(4)).await.unwrap());
        }
        assert_eq!(store.children(path::TOPICS).await.unwrap(), ["first", "second"]);
        assert!(topics(&store, &fs, &dirs, BrokerId(4)).await.unwrap(), "it is not over yet");
        done(&store).await.unwrap();
        write_logs(&fs, directory.path(), "third");
        assert!(!topics(&store, &fs, &dirs, BrokerId(4)).await.unwrap());
        assert_eq!(store.children(path::TOPICS).await.unwrap(), ["first", "second"]);
        done(&store).await.unwrap();
    }
}
