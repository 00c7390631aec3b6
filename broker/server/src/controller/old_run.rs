//! The controller's loop: reads the tree, asks [`State`] what follows, does it.
//!
//! One loop owns the state; everything it reads comes from the tree, everything it decides goes
//! there first, in transactions that the controller's epoch fences. Instructions to brokers follow
//! the write, in order, one at a time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use broker_protocol::quantity::{BrokerId, LeaderEpoch};
use broker_protocol::topic_partition::TopicPartition;
use broker_protocol::uuid::Uuid;
use broker_zookeeper::node::partition_state::PartitionState;
use broker_zookeeper::node::topic;
use broker_zookeeper::path;
use broker_zookeeper::store::{
    CreateMode, EventKind, Op, Store, StoreError, Watch, WatchEvent, WatchMode,
};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::membership::Term;
use super::old_state::{Effect, Elected, Event, State, TopicRead};
use crate::dynamic_config::Applied;
use crate::metadata::Topic;
use broker_zookeeper::error::TreeError;

/// Partitions whose states are written in one transaction.
const BATCH: usize = 500;

/// How long a write waits for space on the tree's disk before it is tried again.
const FULL_PAUSE: Duration = Duration::from_secs(1);

/// What the controller tells a broker, in order.
#[derive(Debug)]
pub enum Instruction {
    /// Lead these partitions, then say so.
    Lead {
        /// The topic's id.
        topic_id: Uuid,
        /// The partitions with their elections.
        partitions: Vec<(TopicPartition, Elected)>,
        /// Fired when it is done.
        done: oneshot::Sender<()>,
    },
    /// Delete these replicas, then say so.
    Delete {
        /// The replicas.
        partitions: Vec<TopicPartition>,
        /// Fired when it is done.
        done: oneshot::Sender<()>,
    },
    /// Settings may differ: give them to the partitions that they are of, then say so. It comes from
    /// the configuration, not from the controller, and waits its turn all the same: settings that
    /// [`Instruction::Lead`] has read must not overwrite newer ones.
    Configure {
        /// Whose.
        applied: Applied,
        /// Fired when it is done.
        done: oneshot::Sender<()>,
    },
    /// A topic is now like this.
    Announce(Topic),
    /// A topic is gone.
    Forget(Arc<str>),
    /// Everything that was in the tree when the controller began has been told.
    Loaded,
}

/// The elected controller.
#[derive(Debug)]
pub struct Controller {
    store: Arc<dyn Store>,
    term: Term,
    state: State,
    instructions: mpsc::Sender<Instruction>,
}

/// The two watches that drive the loop.
struct Watches {
    topics: Watch,
    deletions: Watch,
}

impl Controller {
    /// Takes office for `term`, with the brokers that live.
    pub fn new(
        store: Arc<dyn Store>,
        term: Term,
        live: BTreeSet<BrokerId>,
        instructions: mpsc::Sender<Instruction>,
    ) -> Self {
        Self { store, term, state: State::new(live), instructions }
    }

    /// Runs until shutdown, or until the session or the term is over.
    pub async fn run(mut self, shutdown: CancellationToken) {
        info!(epoch = self.term.epoch, "controller elected");
        let ended = tokio::select! {
            biased;
            () = shutdown.cancelled() => return,
            ended = self.work() => ended,
        };
        if let Err(error) = ended {
            error!(%error, epoch = self.term.epoch, "controller resigned");
        }
    }

    async fn work(&mut self) -> Result<(), TreeError> {
        // Watched before it is read: what changes in between is read again.
        let mut watches = Watches {
            topics: self.store.watch(path::TOPICS, WatchMode::PersistentRecursive).await?,
            deletions: self.store.watch(path::DELETE_TOPICS, WatchMode::Persistent).await?,
        };
        self.all_topics().await?;
        self.deletions().await?;
        self.instruct(Instruction::Loaded).await;
        loop {
            tokio::select! {
                event = watches.topics.next() => {
                    match changed_topics(event, &mut watches.topics)? {
                        Changed::Topics(topics) => {
                            for topic in topics {
                                self.topic_changed(&topic).await?;
                            }
                        }
                        Changed::Any => self.all_topics().await?,
                    }
                }
                event = watches.deletions.next() => {
                    expired(&event)?;
                    while watches.deletions.try_next().is_some() {}
                    self.deletions().await?;
                }
            }
        }
    }

    async fn all_topics(&mut self) -> Result<(), TreeError> {
        for topic in self.store.children(path::TOPICS).await? {
            self.topic_changed(&topic).await?;
        }
        Ok(())
    }

    /// Reads a topic and does what follows.
    async fn topic_changed(&mut self, topic: &str) -> Result<(), TreeError> {
        match self.read_topic(topic).await {
            Ok(Some(read)) => self.apply(Event::TopicRead(read)).await,
            Ok(None) => Ok(()),
            // One topic that cannot be read must not stop the others.
            Err(TreeError::Node(error)) => {
                warn!(%error, topic, "topic ignored");
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    async fn read_topic(&self, name: &str) -> Result<Option<TopicRead>, TreeError> {
        let path = path::topic(name);
        let (data, stat) = match self.store.get(&path).await {
            Ok(found) => found,
            Err(StoreError::NoNode { .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let mut node = topic::Topic::decode(&path, &data)?;
        let id = if let Some(Ok(id)) = node.topic_id.as_deref().map(str::parse::<Uuid>) {
            id
        } else {
            // An old tool wrote the node without an id.
            let id = fresh_id();
            node.topic_id = Some(id.to_string());
            let set = Op::Set { path, data: node.encode(), version: Some(stat.version) };
            self.write(vec![self.term.check(), set]).await?;
            id
        };
        let replicas = |ids: &Vec<i32>| ids.iter().copied().map(BrokerId).collect();
        let whole = node.partitions.keys().copied().eq(0..node.partitions.len() as i32);
        if !whole {
            warn!(
                topic = name,
                "topic ignored: its partitions are not numbered from 0 without holes"
            );
            return Ok(None);
        }
        Ok(Some(TopicRead {
            name: name.into(),
            id,
            assignment: node.partitions.values().map(replicas).collect(),
            states: self.read_states(name, node.partitions.len() as i32).await?,
        }))
    }

    async fn read_states(
        &self,
        topic: &str,
        count: i32,
    ) -> Result<BTreeMap<i32, Elected>, TreeError> {
        let mut states = BTreeMap::new();
        if self.store.exists(&path::partitions(topic)).await?.is_none() {
            return Ok(states);
        }
        for partition in 0..count {
            let path = path::partition_state(topic, partition);
            match self.store.get(&path).await {
                Ok((data, stat)) => {
                    let node = PartitionState::decode(&path, &data)?;
                    states.insert(
                        partition,
                        Elected {
                            leader: Some(BrokerId(node.leader)).filter(|leader| leader.0 >= 0),
                            leader_epoch: LeaderEpoch(node.leader_epoch),
                            isr: node.isr.into_iter().map(BrokerId).collect(),
                            version: Some(stat.version),
                        },
                    );
                }
                Err(StoreError::NoNode { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(states)
    }

    async fn deletions(&mut self) -> Result<(), TreeError> {
        for topic in self.store.children(path::DELETE_TOPICS).await? {
            let known = self.store.exists(&path::topic(&topic)).await?.is_some();
            if known {
                self.apply(Event::DeletionAsked(topic.as_str().into())).await?;
            } else {
                let path = path::delete_topic(&topic);
                self.write(vec![Op::Delete { path, version: None }]).await?;
            }
        }
        Ok(())
    }

    async fn apply(&mut self, event: Event) -> Result<(), TreeError> {
        for effect in self.state.apply(event) {
            match effect {
                Effect::Elect { topic_id, partitions } => self.elect(topic_id, partitions).await?,
                Effect::Delete { topic, partitions } => self.delete(&topic, partitions).await?,
                Effect::Announce(topic) => self.instruct(Instruction::Announce(topic)).await,
                Effect::Forget(topic) => self.instruct(Instruction::Forget(topic)).await,
            }
        }
        Ok(())
    }

    async fn elect(
        &self,
        topic_id: Uuid,
        partitions: Vec<(TopicPartition, Elected)>,
    ) -> Result<(), TreeError> {
        if let Some((name, _)) = partitions.first() {
            let path = path::partitions(&name.topic);
            let mode = CreateMode::Persistent;
            match self.write(vec![Op::Create { path, data: Vec::new(), mode }]).await {
                Ok(()) | Err(StoreError::NodeExists { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        for batch in partitions.chunks(BATCH) {
            let writes = batch.iter().flat_map(|(name, elected)| self.write_state(name, elected));
            self.write(std::iter::once(self.term.check()).chain(writes).collect()).await?;
        }
        let (done, finished) = oneshot::channel();
        self.instruct(Instruction::Lead { topic_id, partitions, done }).await;
        // A broker that is gone cannot lead; that is seen as its session's end.
        let _ = finished.await;
        Ok(())
    }

    fn write_state(&self, name: &TopicPartition, elected: &Elected) -> Vec<Op> {
        let path = path::partition_state(&name.topic, name.partition);
        let state = PartitionState {
            controller_epoch: self.term.epoch,
            leader: elected.leader.map_or(-1, |id| id.0),
            version: 1,
            leader_epoch: elected.leader_epoch.0,
            isr: elected.isr.iter().map(|id| id.0).collect(),
            leader_recovery_state: 0,
        };
        let data = state.encode();
        if elected.version.is_some() {
            return vec![Op::Set { path, data, version: elected.version }];
        }
        let parent = path::partition(&name.topic, name.partition);
        let mode = CreateMode::Persistent;
        vec![Op::Create { path: parent, data: Vec::new(), mode }, Op::Create { path, data, mode }]
    }

    async fn delete(&self, topic: &str, partitions: Vec<TopicPartition>) -> Result<(), TreeError> {
        let count = partitions.len();
        let (done, finished) = oneshot::channel();
        self.instruct(Instruction::Delete { partitions, done }).await;
        let _ = finished.await;
        self.delete_below(&path::topic(topic)).await?;
        for path in [path::topic_config(topic), path::delete_topic(topic)] {
            match self.write(vec![self.term.check(), Op::Delete { path, version: None }]).await {
                Ok(()) | Err(StoreError::NoNode { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        info!(topic, partitions = count, "topic deleted");
        Ok(())
    }

    /// Deletes a node and all below it, children first, in fenced transactions.
    async fn delete_below(&self, top: &str) -> Result<(), TreeError> {
        let mut found = vec![top.to_owned()];
        let mut next = 0;
        while next < found.len() {
            let parent = found[next].clone();
            next += 1;
            match self.store.children(&parent).await {
                Ok(children) => {
                    found.extend(children.iter().map(|name| format!("{parent}/{name}")));
                }
                Err(StoreError::NoNode { .. }) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
        found.reverse();
        for batch in found.chunks(BATCH) {
            let deletes = batch.iter().map(|path| Op::Delete { path: path.clone(), version: None });
            self.write(std::iter::once(self.term.check()).chain(deletes).collect()).await?;
        }
        Ok(())
    }

    /// Does `ops` or none of them. A full disk is waited for: what was decided stays decided, and
    /// the partitions that are led are led on.
    async fn write(&self, ops: Vec<Op>) -> Result<(), StoreError> {
        loop {
            match self.store.multi(ops.clone()).await {
                Err(error @ StoreError::Full) => {
                    warn!(%error, "the controller waits for space");
                    tokio::time::sleep(FULL_PAUSE).await;
                }
                done => return done.map(drop),
            }
        }
    }

    async fn instruct(&self, instruction: Instruction) {
        // The receiver ends only at shutdown.
        let _ = self.instructions.send(instruction).await;
    }
}

fn expired(event: &WatchEvent) -> Result<(), TreeError> {
    if event.kind == EventKind::SessionExpired {
        return Err(StoreError::SessionExpired.into());
    }
    Ok(())
}

/// What events say of the topics.
#[derive(Debug, PartialEq, Eq)]
enum Changed {
    /// The nodes of these changed.
    Topics(BTreeSet<String>),
    /// Any may have changed.
    Any,
}

/// Collects the topics whose own nodes changed, from one event and those behind it.
fn changed_topics(first: WatchEvent, watch: &mut Watch) -> Result<Changed, TreeError> {
    let mut topics = BTreeSet::new();
    let mut has_missed = false;
    let mut event = Some(first);
    while let Some(seen) = event {
        expired(&seen)?;
        has_missed |= seen.kind == EventKind::Missed;
        let topic = seen.path.strip_prefix(path::TOPICS).and_then(|rest| rest.strip_prefix('/'));
        // Deeper nodes are the controller's own.
        if let Some(topic) = topic.filter(|topic| !topic.contains('/')) {
            topics.insert(topic.to_owned());
        }
        event = watch.try_next();
    }
    Ok(if has_missed { Changed::Any } else { Changed::Topics(topics) })
}

/// Makes a topic id that is none of Kafka's reserved ones.
pub(crate) fn fresh_id() -> Uuid {
    Uuid::from_bytes(uuid::Uuid::new_v4().into_bytes())
}
