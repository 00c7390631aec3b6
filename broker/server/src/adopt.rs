//! Taking over a directory that another broker wrote: its cluster's id and, if the tree is empty,
//! its topics.
//!
//! A Kafka broker keeps its topics in ZooKeeper. Where its tree was not brought along, the log
//! directories still say which partitions there are and, by `partition.metadata`, their topic's id.
//! Settings of topics are not on disk: adopted topics begin with the broker's own.

use std::collections::BTreeMap;
use std::path::PathBuf;

use broker_protocol::quantity::BrokerId;
use broker_protocol::uuid::Uuid;
use broker_storage::format;
use broker_storage::fs::Fs;
use broker_storage::meta_properties::{MetaProperties, MetaPropertiesError};
use broker_storage::partition_metadata;
use broker_zookeeper::node::config::Config;
use broker_zookeeper::node::topic::Topic;
use broker_zookeeper::path;
use broker_zookeeper::store::{CreateMode, Op, Store};
use tracing::{info, warn};

use crate::controller::run::fresh_id;
use broker_zookeeper::error::TreeError;

/// Returns the cluster's id that the directories name, if any does.
pub(crate) fn cluster_id(
    fs: &dyn Fs,
    dirs: &[PathBuf],
) -> Result<Option<Uuid>, MetaPropertiesError> {
    for dir in dirs {
        let found = MetaProperties::read(fs, dir)?.and_then(|meta| meta.cluster_id);
        if let Some(id) = found.and_then(|id| id.parse().ok()) {
            return Ok(Some(id));
        }
    }
    Ok(None)
}

/// Puts the topics that the directories hold into a tree that has none.
pub(crate) async fn topics(
    store: &dyn Store,
    fs: &dyn Fs,
    dirs: &[PathBuf],
    broker_id: BrokerId,
) -> Result<(), TreeError> {
    if !store.children(path::TOPICS).await?.is_empty() {
        return Ok(());
    }
    for (name, found) in on_disk(fs, dirs) {
        let count = found.partitions.len() as i32;
        if !found.partitions.iter().copied().eq(0..count) {
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
        store
            .multi(vec![
                Op::Create { path: path::topic_config(&name), data: config, mode },
                Op::Create { path: path::topic(&name), data: node.encode(), mode },
            ])
            .await?;
        info!(topic = name, partitions = count, "topic adopted from the log directories");
    }
    Ok(())
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
    partitions: Vec<i32>,
}

fn on_disk(fs: &dyn Fs, dirs: &[PathBuf]) -> BTreeMap<String, Found> {
    let mut topics: BTreeMap<String, Found> = BTreeMap::new();
    for dir in dirs {
        // A directory that cannot be read is reported when it is opened.
        for entry in fs.list(dir).unwrap_or_default() {
            let name = entry.name;
            let Some((partition, format::DirKind::Current)) = format::parse_dir_name(&name) else {
                continue;
            };
            let found = topics.entry(partition.topic.to_string()).or_default();
            found.partitions.push(partition.partition);
            found.id = found.id.or_else(|| partition_metadata::read(fs, &dir.join(&name)).ok()?);
        }
    }
    for found in topics.values_mut() {
        found.partitions.sort_unstable();
    }
    topics
}
