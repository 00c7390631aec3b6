//! What clients ask of the cluster: topics made, grown and deleted, as writes to the tree.
//!
//! Any broker may do this; the controller sees the node and decides. A call returns once the
//! change can be seen in the metadata of this broker, or its time is over: the change may then
//! still happen. Source: Kafka 3.9 `ZkAdminManager`, `AdminZkClient`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use broker_config::topic::TopicConfig;
use broker_protocol::quantity::BrokerId;
use broker_protocol::uuid::Uuid;
use broker_zookeeper::node::config::Config;
use broker_zookeeper::node::topic;
use broker_zookeeper::path;
use broker_zookeeper::store::{CreateMode, Op, Store, StoreError};

use super::membership;
use super::placement::{self, PlacementError};
use super::read::fresh_id;
use super::topic_name::{self, NameError};
use super::tree_patience::{Patience, TreeSilent};
use crate::dynamic_config::SharedConfig;
use crate::metadata::{self, Cache, Metadata};
use broker_zookeeper::error::TreeError;

/// The most partitions that one topic may be made with. Kafka has no bound of its own; each
/// partition is a directory and some open files, and a mistyped number must not fill the disk.
const PARTITIONS_MAX: usize = 100_000;

/// How long an automatic creation may take before the client is told to ask again.
const AUTO_CREATE_LIMIT: Duration = Duration::from_secs(10);

/// A topic to be made.
#[derive(Debug, Clone, Default)]
pub struct NewTopic {
    /// Its name.
    pub name: String,
    /// The number of partitions; `None` takes `num.partitions`.
    pub partitions: Option<i32>,
    /// The replication factor; `None` takes `default.replication.factor`.
    pub replication_factor: Option<i16>,
    /// The replicas of each partition, where the client chose them.
    pub assignment: Option<BTreeMap<i32, Vec<i32>>>,
    /// Settings of its own.
    pub config: BTreeMap<String, String>,
}

/// What a topic was made with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Made {
    /// Its id; zero when it was only checked.
    pub id: Uuid,
    /// How many partitions it has.
    pub partitions: usize,
    /// How many replicas each has.
    pub replication_factor: usize,
}

/// Why a change was refused.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// The name is not legal.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The name differs from that of another topic in `.` and `_` only.
    #[error("topic {name} collides with topic {with}: '.' and '_' cannot be told apart in metrics")]
    Collision {
        /// The new name.
        name: String,
        /// The other topic.
        with: Arc<str>,
    },
    /// The topic exists.
    #[error("topic {0} exists already")]
    Exists(String),
    /// The topic does not exist.
    #[error("topic {0} does not exist")]
    Unknown(String),
    /// The number of partitions makes no sense.
    #[error("{asked} is no number of partitions: it must be from 1 to {PARTITIONS_MAX}")]
    PartitionCount {
        /// What was asked for.
        asked: i32,
    },
    /// The topic can only grow.
    #[error("topic {topic} has {current} partitions; {asked} is not more")]
    NotMore {
        /// The topic.
        topic: String,
        /// How many it has.
        current: usize,
        /// What was asked for.
        asked: i32,
    },
    /// The replication factor makes no sense.
    #[error("replication factor {asked} must be larger than 0")]
    ReplicationFactor {
        /// What was asked for.
        asked: i16,
    },
    /// Fewer brokers than replicas.
    #[error(transparent)]
    Placement(#[from] PlacementError),
    /// The chosen replicas make no sense.
    #[error("replica assignment: {0}")]
    Assignment(&'static str),
    /// Both a count and an assignment were given.
    #[error("give either partition count and replication factor, or a replica assignment")]
    Both,
    /// A setting is unknown or out of range.
    #[error("{0}")]
    Config(String),
    /// Topics may not be deleted.
    #[error("delete.topic.enable is false on this broker")]
    DeletionDisabled,
    /// The time is over; the change may still happen.
    #[error("the change was accepted and is not finished after {0:?}")]
    TimedOut(Duration),
    /// The tree is away.
    #[error(transparent)]
    Silent(#[from] TreeSilent),
    /// The tree refused.
    #[error(transparent)]
    Tree(#[from] TreeError),
}

impl From<StoreError> for AdminError {
    fn from(error: StoreError) -> Self {
        Self::Tree(error.into())
    }
}

/// Changes to the cluster's topics. Cheap to share; all calls may run at once.
#[derive(Debug)]
pub struct Admin {
    store: Arc<dyn Store>,
    metadata: Arc<Cache>,
    config: SharedConfig,
}

impl Admin {
    /// Writes to `store`, and sees the outcome in `metadata`.
    pub fn new(store: Arc<dyn Store>, metadata: Arc<Cache>, config: SharedConfig) -> Self {
        Self { store, metadata, config }
    }

    /// The tree that this broker is in session with.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// Makes a topic, or only checks that it could be made.
    pub async fn create_topic(
        &self,
        new: NewTopic,
        limit: Duration,
        validate_only: bool,
    ) -> Result<Made, AdminError> {
        let snapshot = self.metadata.load();
        topic_name::check(&new.name)?;
        if snapshot.topic(&new.name).is_some() {
            return Err(AdminError::Exists(new.name));
        }
        if let Some(with) = snapshot.topics.keys().find(|with| topic_name::collide(with, &new.name))
        {
            return Err(AdminError::Collision { name: new.name, with: Arc::clone(with) });
        }
        let assignment = self.assign(&new, &snapshot)?;
        self.check_config(&new.config)?;
        let made = Made {
            id: if validate_only { Uuid::ZERO } else { fresh_id() },
            partitions: assignment.len(),
            replication_factor: assignment.values().next().map_or(0, Vec::len),
        };
        if !validate_only {
            let written = self.write_topic(&new, assignment, made.id);
            Patience::new(limit).wait(written).await?;
            let settled = |m: &Metadata| m.topic_by_id(made.id).is_some();
            self.wait(limit, settled).await?;
        }
        Ok(made)
    }

    /// Makes the topics that a client asked about and that do not exist. A name that cannot be
    /// made, or another broker that was first, is no error here: the caller looks again.
    pub async fn create_missing(&self, names: &[String]) {
        for name in names {
            let mut new = NewTopic { name: name.clone(), ..NewTopic::default() };
            if metadata::is_internal(name) {
                self.shape_internal(&mut new);
            }
            match self.create_topic(new, AUTO_CREATE_LIMIT, false).await {
                // One that this broker was not told of yet is there all the same.
                Ok(_) | Err(AdminError::Exists(_)) => {}
                Err(error) => {
                    tracing::warn!(topic = name, %error, "topic not created automatically");
                    if let AdminError::Silent(_) = error {
                        return;
                    }
                }
            }
        }
    }

    /// Makes the topic of the committed offsets, unless it exists, and waits until it is led.
    pub async fn ensure_offsets_topic(&self) -> Result<(), AdminError> {
        let mut new = NewTopic { name: "__consumer_offsets".to_owned(), ..NewTopic::default() };
        if self.metadata.load().topic(&new.name).is_some() {
            return Ok(());
        }
        self.shape_internal(&mut new);
        match self.create_topic(new, AUTO_CREATE_LIMIT, false).await {
            Ok(_) | Err(AdminError::Exists(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Source: Kafka 3.9 `GroupCoordinator.offsetsTopicConfigs`.
    fn shape_internal(&self, new: &mut NewTopic) {
        let config = self.config.load();
        new.partitions = Some(config.offsets_topic_num_partitions);
        new.replication_factor = Some(config.offsets_topic_replication_factor);
        let setting = |key: &str, value: String| (key.to_owned(), value);
        new.config = BTreeMap::from([
            setting("cleanup.policy", "compact".to_owned()),
            setting("compression.type", "producer".to_owned()),
            setting("segment.bytes", config.offsets_topic_segment_bytes.to_string()),
        ]);
    }

    fn check_config(&self, overrides: &BTreeMap<String, String>) -> Result<(), AdminError> {
        let checked = TopicConfig::resolve(&self.config.load(), overrides);
        checked.map(drop).map_err(|error| AdminError::Config(error.to_string()))
    }

    /// Decides which brokers hold which partition of a new topic.
    fn assign(
        &self,
        new: &NewTopic,
        snapshot: &Metadata,
    ) -> Result<BTreeMap<i32, Vec<i32>>, AdminError> {
        if let Some(chosen) = &new.assignment {
            if new.partitions.is_some() || new.replication_factor.is_some() {
                return Err(AdminError::Both);
            }
            check_assignment(chosen, 0, snapshot)?;
            return Ok(chosen.clone());
        }
        let config = self.config.load();
        let asked = new.partitions.unwrap_or(config.num_partitions);
        let count = partition_count(asked)?;
        let asked = new.replication_factor.unwrap_or(config.default_replication_factor as i16);
        let factor = usize::try_from(asked).ok().filter(|factor| *factor > 0);
        let factor = factor.ok_or(AdminError::ReplicationFactor { asked })?;
        place(snapshot, 0, count, factor)
    }

    async fn write_topic(
        &self,
        new: &NewTopic,
        partitions: BTreeMap<i32, Vec<i32>>,
        id: Uuid,
    ) -> Result<(), AdminError> {
        let config_path = path::topic_config(&new.name);
        let config = Config::new(new.config.clone()).encode();
        let node =
            topic::Topic { partitions, topic_id: Some(id.to_string()), ..topic::Topic::default() };
        // What an old tool left behind is replaced, as Kafka does.
        let config = if self.store.exists(&config_path).await?.is_some() {
            Op::Set { path: config_path, data: config, version: None }
        } else {
            Op::Create { path: config_path, data: config, mode: CreateMode::Persistent }
        };
        let topic = Op::Create {
            path: path::topic(&new.name),
            data: node.encode(),
            mode: CreateMode::Persistent,
        };
        match self.store.multi(vec![config, topic]).await {
            Ok(_) => Ok(()),
            Err(StoreError::NodeExists { .. }) => Err(AdminError::Exists(new.name.clone())),
            Err(error) => Err(error.into()),
        }
    }

    /// Gives a topic more partitions, up to `count` in all; `chosen` are the replicas of the new
    /// ones, if the client chose them.
    pub async fn create_partitions(
        &self,
        topic: &str,
        count: i32,
        chosen: Option<Vec<Vec<i32>>>,
        limit: Duration,
        validate_only: bool,
    ) -> Result<(), AdminError> {
        let snapshot = self.metadata.load();
        let known = snapshot.topic(topic).ok_or_else(|| AdminError::Unknown(topic.to_owned()))?;
        let current = known.partitions.len();
        let wanted = partition_count(count)?;
        if wanted <= current {
            return Err(AdminError::NotMore { topic: topic.to_owned(), current, asked: count });
        }
        let new = if let Some(chosen) = chosen {
            if chosen.len() != wanted - current {
                return Err(AdminError::Assignment(
                    "it must name the replicas of each new partition",
                ));
            }
            let numbered = chosen.into_iter().enumerate();
            let new = numbered.map(|(n, replicas)| ((current + n) as i32, replicas)).collect();
            check_assignment(&new, current, &snapshot)?;
            new
        } else {
            let factor = known.partitions.first().map_or(1, |first| first.replicas.len());
            place(&snapshot, current, wanted - current, factor)?
        };
        if validate_only {
            return Ok(());
        }
        let path = path::topic(topic);
        let write = async {
            let (data, stat) = self.store.get(&path).await?;
            let mut node = topic::Topic::decode(&path, &data).map_err(TreeError::from)?;
            node.partitions.extend(new);
            self.store.set(&path, &node.encode(), Some(stat.version)).await?;
            Ok::<_, AdminError>(())
        };
        Patience::new(limit).wait(write).await?;
        let id = known.id;
        let grown =
            |m: &Metadata| m.topic_by_id(id).is_none_or(|topic| topic.partitions.len() >= wanted);
        self.wait(limit, grown).await
    }

    /// Deletes a topic.
    pub async fn delete_topic(&self, topic: &str, limit: Duration) -> Result<(), AdminError> {
        if !self.config.load().delete_topic_enable {
            return Err(AdminError::DeletionDisabled);
        }
        let snapshot = self.metadata.load();
        let id = snapshot.topic(topic).ok_or_else(|| AdminError::Unknown(topic.to_owned()))?.id;
        let marker = path::delete_topic(topic);
        let mark = async {
            membership::ensure(&*self.store, &marker, &[]).await?;
            Ok::<_, AdminError>(())
        };
        Patience::new(limit).wait(mark).await?;
        self.wait(limit, |m: &Metadata| m.topic_by_id(id).is_none()).await?;
        // The name is free once the controller has removed the marker, its last step.
        let gone = async {
            loop {
                let (stat, mut watch) = self.store.exists_and_watch(&marker).await?;
                if stat.is_none() {
                    return Ok(());
                }
                watch.next().await;
            }
        };
        tokio::time::timeout(limit, gone).await.map_err(|_| AdminError::TimedOut(limit))?
    }

    async fn wait(
        &self,
        limit: Duration,
        settled: impl Fn(&Metadata) -> bool,
    ) -> Result<(), AdminError> {
        let seen = tokio::time::timeout(limit, self.metadata.wait_until(settled)).await;
        seen.map(drop).map_err(|_| AdminError::TimedOut(limit))
    }
}

fn partition_count(asked: i32) -> Result<usize, AdminError> {
    let count = usize::try_from(asked).ok().filter(|count| (1..=PARTITIONS_MAX).contains(count));
    count.ok_or(AdminError::PartitionCount { asked })
}

fn place(
    snapshot: &Metadata,
    first: usize,
    count: usize,
    factor: usize,
) -> Result<BTreeMap<i32, Vec<i32>>, AdminError> {
    let rack_of = |(id, broker): (&BrokerId, &metadata::Broker)| (*id, broker.rack.clone());
    let brokers: Vec<_> = snapshot.brokers.iter().map(rack_of).collect();
    let brokers: Vec<_> = brokers.iter().map(|(id, rack)| (*id, rack.as_deref())).collect();
    let start = fastrand::usize(..brokers.len().max(1));
    let placed = placement::place_by_rack(&brokers, first, count, factor, start + first, start)?;
    let ids = |replicas: Vec<BrokerId>| replicas.into_iter().map(|id| id.0).collect();
    Ok((first as i32..).zip(placed.into_iter().map(ids)).collect())
}

/// Checks replicas that a client chose; partitions are numbered from `first` on.
fn check_assignment(
    chosen: &BTreeMap<i32, Vec<i32>>,
    first: usize,
    snapshot: &Metadata,
) -> Result<(), AdminError> {
    if chosen.is_empty() {
        return Err(AdminError::Assignment("it names no partition"));
    }
    if !chosen.keys().copied().eq(first as i32..(first + chosen.len()) as i32) {
        return Err(AdminError::Assignment("partitions must be numbered without holes"));
    }
    let factor = chosen.values().next().map_or(0, Vec::len);
    for replicas in chosen.values() {
        if replicas.is_empty() || replicas.len() != factor {
            return Err(AdminError::Assignment(
                "every partition must have the same number of replicas",
            ));
        }
        let mut distinct = replicas.clone();
        distinct.sort_unstable();
        distinct.dedup();
        if distinct.len() != replicas.len() {
            return Err(AdminError::Assignment("a broker cannot hold a partition twice"));
        }
        if replicas.iter().any(|id| !snapshot.brokers.contains_key(&BrokerId(*id))) {
            return Err(AdminError::Assignment("it names a broker that is not alive"));
        }
    }
    Ok(())
}
