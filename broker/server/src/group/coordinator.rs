//! The handle to all groups that this broker coordinates: finds the loop that owns one, and asks.

use std::sync::Arc;
use std::time::Duration;

use broker_protocol::error_code::ErrorCode;
use broker_protocol::quantity::BrokerId;
use broker_protocol::record::batch::Attributes;
use broker_protocol::record::compression::Compression;
use broker_protocol::topic_partition::TopicPartition;
use broker_zookeeper::store::Store;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};

use super::partition_for::partition_for;
use super::shard::{Command, Shard};
use super::state::request::{CommittedOffset, Reply, Request};
use super::state::{GroupState, Limits};
use super::storage::TOPIC;
use crate::clock::SharedClock;
use crate::dynamic_config::SharedConfig;
use crate::metadata::Cache;
use crate::replica::manager::Manager;
use crate::tasks::Tasks;

/// Loops that share the groups. A loop costs a task; a few of them let a scan of all groups (for
/// expiry, for a list) hold up only a part of the members.
const SHARDS: usize = 4;

/// Requests that wait for a loop. A client has few in flight, so this is thousands of clients at
/// once; the next one waits to be let in, and its connection with it.
const QUEUE: usize = 1024;

/// What the coordinator stands on.
#[derive(Debug)]
pub struct Seams {
    /// This broker.
    pub broker_id: BrokerId,
    /// Where the offsets topic is kept.
    pub replicas: Arc<Manager>,
    /// Which partitions of it are led here.
    pub metadata: Arc<Cache>,
    /// Where it is written which topics there are.
    pub store: Arc<dyn Store>,
    /// The limits of groups.
    pub config: SharedConfig,
    /// The source of time.
    pub clock: SharedClock,
    /// The set that every task is spawned in.
    pub tasks: Tasks,
}

impl Seams {
    /// The limits as they are configured now.
    pub(crate) fn limits(&self) -> Limits {
        let config = self.config.load();
        let delay_ms = config.group_initial_rebalance_delay_ms.max(0) as u64;
        Limits {
            min_session_timeout_ms: config.group_min_session_timeout_ms,
            max_session_timeout_ms: config.group_max_session_timeout_ms,
            max_size: config.group_max_size.max(1) as usize,
            initial_rebalance_delay: Duration::from_millis(delay_ms),
            offset_metadata_max_bytes: config.offset_metadata_max_bytes.max(0) as usize,
            offsets_retention_ms: i64::from(config.offsets_retention_minutes) * 60_000,
        }
    }

    /// How often expired offsets are looked for.
    pub(crate) fn check_interval(&self) -> Duration {
        let interval_ms = self.config.load().offsets_retention_check_interval_ms;
        Duration::from_millis(interval_ms.max(1) as u64)
    }

    /// How what is appended is compressed. The setting has the numbers that batches have.
    pub(crate) fn compression(&self) -> Compression {
        let codec = self.config.load().offsets_topic_compression_codec;
        Attributes(codec as i16).compression().unwrap_or_default()
    }

    /// How long an append may take to be acknowledged.
    pub(crate) fn commit_timeout(&self) -> Duration {
        Duration::from_millis(self.config.load().offsets_commit_timeout_ms.max(1) as u64)
    }
}

/// What is known of one group, at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupFacts {
    /// Its id.
    pub group_id: Arc<str>,
    /// Where it is in its life.
    pub state: GroupState,
    /// Its generation.
    pub generation_id: i32,
    /// Its kind, if it has had members.
    pub protocol_type: Option<Arc<str>>,
    /// The number of its members.
    pub members_count: usize,
    /// Its visible offsets, if they were asked for.
    pub offsets: Vec<(TopicPartition, CommittedOffset)>,
}

/// All groups, at about one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listing {
    /// The groups, by id.
    pub groups: Vec<GroupFacts>,
    /// Whether some are missing because their partition is still being read.
    pub is_loading: bool,
}

/// The handle. Cheap to clone; all clones ask the same loops.
#[derive(Debug, Clone)]
pub struct Coordinator {
    seams: Arc<Seams>,
    shards: Arc<[mpsc::Sender<Command>]>,
}

impl Coordinator {
    /// Starts the loops on the runtime of `handle`; they end at shutdown.
    ///
    /// Groups are loaded as soon as `metadata` says that their partitions are led here.
    pub fn start(seams: Seams, handle: &Handle) -> Self {
        let seams = Arc::new(seams);
        let shards = (0..SHARDS).map(|index| {
            let (sender, commands) = mpsc::channel(QUEUE);
            let shard = Shard::new(index, SHARDS, Arc::clone(&seams), sender.clone(), commands);
            seams.tasks.spawn_on(handle, "group-coordinator", shard.run());
            sender
        });
        let shards = shards.collect();
        Self { seams, shards }
    }

    /// Returns the partition of `__consumer_offsets` that keeps `group_id`, if there is that topic.
    pub fn partition_for(&self, group_id: &str) -> Option<i32> {
        let metadata = self.seams.metadata.load();
        let count = metadata.topic(TOPIC)?.partitions.len() as i32;
        (count > 0).then(|| partition_for(group_id, count))
    }

    /// Asks a group. The answer is [`Reply::Unavailable`] if it is not kept here, or not loaded.
    ///
    /// Not cancel-safe: a request whose future is dropped may still be carried out.
    pub async fn ask(&self, group_id: &str, request: Request) -> Reply {
        let not_here = Reply::Unavailable(ErrorCode::NotCoordinator);
        let Some(partition) = self.partition_for(group_id) else { return not_here };
        let (reply, answer) = oneshot::channel();
        let group_id = Arc::from(group_id);
        let command = Command::Ask { group_id, request: Box::new(request), reply };
        // The loop is gone only when the broker shuts down.
        if self.shards[partition as usize % SHARDS].send(command).await.is_err() {
            return not_here;
        }
        answer.await.unwrap_or(not_here)
    }

    /// Returns all groups without their offsets.
    pub async fn list(&self) -> Listing {
        self.listing(false).await
    }

    /// Returns all groups with their offsets, for metrics.
    pub async fn snapshot(&self) -> Listing {
        self.listing(true).await
    }

    async fn listing(&self, with_offsets: bool) -> Listing {
        let mut all = Listing::default();
        for shard in &*self.shards {
            let (reply, answer) = oneshot::channel();
            if shard.send(Command::List { with_offsets, reply }).await.is_err() {
                continue;
            }
            let Ok(listing) = answer.await else { continue };
            all.groups.extend(listing.groups);
            all.is_loading |= listing.is_loading;
        }
        all.groups.sort_by(|a, b| a.group_id.cmp(&b.group_id));
        all
    }
}

#[cfg(test)]
mod tests;
