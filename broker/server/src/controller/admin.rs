//! What clients ask of the cluster: topics made, grown and deleted, as writes to the tree.
//!
//! Any broker may do this; the controller sees the node and decides. A call returns once the
//! change can be seen in the metadata of this broker, or its time is over: the change may then
//! still happen. Source: Kafka 3.9 `ZkAdminManager`, `AdminZkClient`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use broker_config::topic::TopicConfig;
use broker_protocol::quantity::BrokerId;
use broker_protocol::uuid::Uuid;
use broker_zookeeper::node::config::Config;
use broker_zookeeper::node::topic;
use broker_zookeeper::store::{Op, Store};

use self::assignment::Growth;
use self::cordon::Open;
use self::error::AdminError;
use super::read::fresh_id;
use super::topic_name;
use crate::dynamic_config::SharedConfig;
use crate::metadata::{self, Cache, Metadata};
use crate::request_time::{RequestTime, TimedOut};

mod assignment;
pub mod check;
mod cordon;
pub mod error;
pub mod operated;
mod write;

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
    /// Who wants them, in words.
    pub author: Option<String>,
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
        time: &mut RequestTime,
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
        self.check_config(&new.config)?;
        loop {
            let open = self.open(time, &snapshot).await?;
            let assignment = self.assign(&new, &open)?;
            let made = Made {
                id: if validate_only { Uuid::ZERO } else { fresh_id() },
                partitions: assignment.len(),
                replication_factor: assignment.values().next().map_or(0, Vec::len),
            };
            if validate_only {
                return Ok(made);
            }
            let written = self.write_topic(&new, assignment, made.id, open.conditions());
            match time.tree(written).await {
                Err(AdminError::Cordoned) => continue,
                written => written?,
            }
            let settled = |m: &Metadata| m.topic_by_id(made.id).is_some();
            self.seen(time, settled).await?;
            return Ok(made);
        }
    }

    /// Returns the live brokers that get no new replicas.
    pub async fn cordoned(&self, time: &mut RequestTime) -> Result<BTreeSet<BrokerId>, AdminError> {
        Ok(self.open(time, &self.metadata.load()).await?.cordoned)
    }

    /// Reads where replicas may be placed.
    async fn open(&self, time: &mut RequestTime, snapshot: &Metadata) -> Result<Open, AdminError> {
        time.tree(async { Ok(Open::read(&*self.store, snapshot).await?) }).await
    }

    /// Makes the topics that a client asked about and that do not exist. A name that cannot be
    /// made, or another broker that was first, is no error here: the caller looks again.
    pub async fn create_missing(&self, names: &[String]) {
        let mut time = RequestTime::new(AUTO_CREATE_LIMIT);
        for name in names {
            let mut new = NewTopic { name: name.clone(), ..NewTopic::default() };
            if metadata::is_internal(name) {
                self.shape_internal(&mut new);
            }
            match self.create_topic(new, &mut time, false).await {
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
        let mut time = RequestTime::new(AUTO_CREATE_LIMIT);
        match self.create_topic(new, &mut time, false).await {
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
    fn assign(&self, new: &NewTopic, open: &Open) -> Result<BTreeMap<i32, Vec<i32>>, AdminError> {
        if let Some(chosen) = &new.assignment {
            if new.partitions.is_some() || new.replication_factor.is_some() {
                return Err(AdminError::Both);
            }
            assignment::check(chosen, 0, open)?;
            return Ok(chosen.clone());
        }
        let config = self.config.load();
        let asked = new.partitions.unwrap_or(config.num_partitions);
        let count = assignment::partition_count(asked)?;
        let asked = new.replication_factor.unwrap_or(config.default_replication_factor as i16);
        let factor = usize::try_from(asked).ok().filter(|factor| *factor > 0);
        let factor = factor.ok_or(AdminError::ReplicationFactor { asked })?;
        assignment::place(open, assignment::start(open), 0, count, factor)
    }

    async fn write_topic(
        &self,
        new: &NewTopic,
        partitions: BTreeMap<i32, Vec<i32>>,
        id: Uuid,
        conditions: &[Op],
    ) -> Result<(), AdminError> {
        let node =
            topic::Topic { partitions, topic_id: Some(id.to_string()), ..topic::Topic::default() };
        let author = new.author.clone().filter(|_| !new.config.is_empty());
        let config = Config::new(new.config.clone()).by(author).encode();
        write::make(&*self.store, &new.name, &node, &config, conditions).await
    }

    /// Gives a topic more partitions, up to `count` in all; `chosen` are the replicas of the new
    /// ones, if the client chose them.
    pub async fn create_partitions(
        &self,
        topic: &str,
        count: i32,
        chosen: Option<Vec<Vec<i32>>>,
        time: &mut RequestTime,
        validate_only: bool,
    ) -> Result<(), AdminError> {
        let snapshot = self.metadata.load();
        if snapshot.topic(topic).is_none() {
            return Err(AdminError::Unknown(topic.to_owned()));
        }
        let wanted = assignment::partition_count(count)?;
        loop {
            let open = self.open(time, &snapshot).await?;
            let start = assignment::start(&open);
            let growth = Growth { topic, wanted: count, chosen: chosen.as_deref(), start };
            let lacks = |node: &topic::Topic| growth.of(node, &open);
            let grown = async {
                if validate_only {
                    let (node, _) = write::read(&*self.store, topic).await?;
                    return lacks(&node).map(drop);
                }
                write::grow(&*self.store, topic, lacks, open.conditions()).await
            };
            match time.tree(grown).await {
                Err(AdminError::Cordoned) => {}
                grown => break grown?,
            }
        }
        if validate_only {
            return Ok(());
        }
        let has_grown =
            |m: &Metadata| m.topic(topic).is_none_or(|topic| topic.partitions.len() >= wanted);
        self.seen(time, has_grown).await.map_err(AdminError::from)
    }

    /// Deletes a topic.
    pub async fn delete_topic(
        &self,
        topic: &str,
        time: &mut RequestTime,
    ) -> Result<(), AdminError> {
        if !self.config.load().delete_topic_enable {
            return Err(AdminError::DeletionDisabled);
        }
        let snapshot = self.metadata.load();
        let id = snapshot.topic(topic).ok_or_else(|| AdminError::Unknown(topic.to_owned()))?.id;
        time.tree(write::mark(&*self.store, topic, id, &[])).await?;
        self.seen(time, |m: &Metadata| m.topic_by_id(id).is_none()).await?;
        // The name is free once the controller has removed the marker, its last step.
        time.seen(write::unmarked(&*self.store, topic)).await?
    }

    async fn seen(
        &self,
        time: &mut RequestTime,
        settled: impl Fn(&Metadata) -> bool,
    ) -> Result<(), TimedOut> {
        time.seen(self.metadata.wait_until(settled)).await.map(drop)
    }
}

#[cfg(test)]
mod tests;
