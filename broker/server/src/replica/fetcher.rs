//! Copying partitions from the brokers that lead them.
//!
//! One task a source broker (`num.replica.fetchers` of them), on a network thread's runtime: it asks, appends
//! what comes and asks again. What to ask is decided in `plan`, what to do with an answer in `round`, and
//! `source` is the loop around both.
//!
//! State: which partition is copied from whom. Owned by `control`, whose orders it carries out; the tasks
//! own the rest. Nothing has to be waited for when a partition is given up or another leader is
//! followed: `Partition` refuses what was asked for in another epoch.
//!
//! Source: Kafka 3.9 `AbstractFetcherManager`, `ReplicaFetcherThread`.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use broker_protocol::quantity::BrokerId;
use broker_protocol::topic_partition::TopicPartition;
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use crate::dynamic_config::SharedConfig;
use crate::replica::manager::Manager;
use crate::replica::partition::Partition;
use crate::tasks::Tasks;

mod epochs;
pub mod plan;
mod round;
mod source;

/// Changes that a task may be behind; each may name any number of partitions.
const COMMANDS: usize = 64;

/// What the tasks that copy are called.
pub(crate) const TASK: &str = "fetcher";

/// From this version of Fetch on a leader says where a log diverges.
const DIVERGING_EPOCH_FROM: i16 = 12;

/// The versions in which leaders are asked, by `inter.broker.protocol.version`.
#[derive(Debug, Clone, Copy)]
pub struct Versions {
    /// Of Fetch, where every topic has an id.
    pub fetch: i16,
    /// Of ListOffsets.
    pub list_offsets: i16,
    /// Of OffsetForLeaderEpoch, which is asked where Fetch does not say where logs diverge.
    pub offset_for_leader_epoch: i16,
}

/// What fetchers stand on.
#[derive(Debug)]
pub struct Parts {
    /// This broker.
    pub broker_id: BrokerId,
    /// The epoch of its registration.
    pub broker_epoch: Arc<AtomicI64>,
    /// Its partitions.
    pub replicas: Arc<Manager>,
    /// Its settings.
    pub config: SharedConfig,
    /// How leaders are asked.
    pub versions: Versions,
    /// Where tasks run.
    pub runtimes: Vec<Handle>,
    /// The set that they are spawned in.
    pub tasks: Tasks,
}

/// Where brokers are reached by other brokers. Shared by the tasks, written by the owner.
type Endpoints = Arc<Mutex<HashMap<BrokerId, (Arc<str>, u16)>>>;

/// What a task is told.
#[derive(Debug)]
enum Command {
    /// Copy these, from where they stand.
    Follow(Vec<Arc<Partition>>),
    /// Copy these no more.
    Leave(Vec<TopicPartition>),
}

/// A task: a source broker, and which of its several.
type Source = (BrokerId, u32);

/// Who copies what.
#[derive(Debug)]
pub struct Fetchers {
    parts: Arc<Parts>,
    endpoints: Endpoints,
    sources: HashMap<Source, mpsc::Sender<Command>>,
    followed: HashMap<TopicPartition, Source>,
    /// Over how many tasks a leader's partitions are spread, all of them: the setting when that was done.
    spread_over: u32,
    started: usize,
}

impl Fetchers {
    /// Begins with nothing to copy.
    pub fn new(parts: Parts) -> Self {
        let spread_over = parts.spread_over();
        Self {
            parts: Arc::new(parts),
            endpoints: Endpoints::default(),
            sources: HashMap::new(),
            followed: HashMap::new(),
            spread_over,
            started: 0,
        }
    }

    /// Says where brokers are reached; the others are where they were.
    pub fn reach<'a>(&self, brokers: impl Iterator<Item = (BrokerId, &'a str, u16)>) {
        let mut endpoints = self.endpoints.lock();
        for (broker, host, port) in brokers {
            let known = endpoints.get(&broker);
            if known
                .is_none_or(|(known_host, known_port)| &**known_host != host || *known_port != port)
            {
                endpoints.insert(broker, (Arc::from(host), port));
            }
        }
    }

    /// Copies partitions from their leaders, as they say, from now on; one without a leader from nobody.
    pub async fn follow(&mut self, partitions: Vec<Arc<Partition>>) {
        let mut joining: HashMap<Source, Vec<Arc<Partition>>> = HashMap::new();
        let mut leaving: HashMap<Source, Vec<TopicPartition>> = HashMap::new();
        for partition in partitions {
            let name = partition.name().clone();
            let position = partition.follower_position();
            let source = position.map(|position| self.source(position.leader, &name));
            let before = match source {
                Some(source) => self.followed.insert(name.clone(), source),
                None => self.followed.remove(&name),
            };
            if let Some(before) = before.filter(|before| Some(*before) != source) {
                leaving.entry(before).or_default().push(name);
            }
            if let Some(source) = source {
                joining.entry(source).or_default().push(partition);
            }
        }
        for (source, names) in leaving {
            self.tell(source, Command::Leave(names)).await;
        }
        for (source, partitions) in joining {
            self.tell(source, Command::Follow(partitions)).await;
        }
    }

    /// Copies these partitions no more.
    pub async fn leave(&mut self, partitions: &[TopicPartition]) {
        let mut leaving: HashMap<Source, Vec<TopicPartition>> = HashMap::new();
        for name in partitions {
            if let Some(source) = self.followed.remove(name) {
                leaving.entry(source).or_default().push(name.clone());
            }
        }
        for (source, names) in leaving {
            self.tell(source, Command::Leave(names)).await;
        }
    }

    /// Spreads what is copied over as many tasks as the settings say now. Costs nothing where they say what
    /// they said.
    pub async fn spread(&mut self) {
        let before = std::mem::replace(&mut self.spread_over, self.parts.spread_over());
        if before == self.spread_over {
            return;
        }
        let followed = self.followed.iter();
        let moved = followed.filter(|(name, source)| self.source(source.0, name) != **source);
        let replicas = &self.parts.replicas;
        let moved = moved.filter_map(|(name, _)| replicas.partition(&name.topic, name.partition));
        let moved = moved.collect();
        self.follow(moved).await;
        let followed = &self.followed;
        // A task ends with its commands.
        self.sources.retain(|source, _| followed.values().any(|used| used == source));
    }

    /// Copies nothing any more.
    pub fn stop(&mut self) {
        self.followed.clear();
        // A task ends with its commands.
        self.sources.clear();
    }

    fn source(&self, leader: BrokerId, partition: &TopicPartition) -> Source {
        let topic = partition.topic.bytes();
        let topic = topic.fold(0_u32, |hash, byte| hash.wrapping_mul(31).wrapping_add(byte.into()));
        (leader, topic.wrapping_mul(31).wrapping_add(partition.partition as u32) % self.spread_over)
    }

    async fn tell(&mut self, source: Source, command: Command) {
        if !self.sources.contains_key(&source) {
            if matches!(command, Command::Leave(_)) {
                return;
            }
            let started = self.start(source.0);
            self.sources.insert(source, started);
        }
        if let Some(commands) = self.sources.get(&source) {
            // A task ends before its owner only with the process.
            let _ = commands.send(command).await;
        }
    }

    fn start(&mut self, leader: BrokerId) -> mpsc::Sender<Command> {
        let (commands, inbox) = mpsc::channel(COMMANDS);
        let fetcher = source::Fetcher::new(
            leader,
            Arc::clone(&self.parts),
            Arc::clone(&self.endpoints),
            inbox,
        );
        let runtimes = &self.parts.runtimes;
        let runtime = runtimes.get(self.started % runtimes.len().max(1));
        self.started += 1;
        let runtime = runtime.cloned().unwrap_or_else(Handle::current);
        self.parts.tasks.spawn_on(&runtime, TASK, fetcher.run());
        commands
    }
}

impl Versions {
    /// Whether an answer to a fetch says where a log diverges (KIP-595).
    fn tell_of_divergence(self) -> bool {
        self.fetch >= DIVERGING_EPOCH_FROM
    }
}

impl Parts {
    fn spread_over(&self) -> u32 {
        self.config.load().num_replica_fetchers.max(1) as u32
    }

    fn broker_epoch(&self) -> i64 {
        self.broker_epoch.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests;
