//! The handle to all groups that this broker coordinates: finds the loop that owns one, and asks.

use std::sync::Arc;

use broker_protocol::error_code::ErrorCode;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};

use super::listing::Listing;
use super::partition_for::partition_for;
use super::seams::Seams;
use super::shard::{Command, Shard};
use super::state::request::{Reply, Request};
use super::storage::TOPIC;

/// Loops that share the groups. A loop costs a task; a few of them let a scan of all groups (for
/// expiry, for a list) hold up only a part of the members.
const SHARDS: usize = 4;

/// Requests that wait for a loop. A client has few in flight, so this is thousands of clients at
/// once; the next one waits to be let in, and its connection with it.
const QUEUE: usize = 1024;

/// What the loops are called.
pub(crate) const TASK: &str = "group-coordinator";

/// The handle. Cheap to clone; all clones ask the same loops.
#[derive(Debug, Clone)]
pub struct Coordinator {
    seams: Arc<Seams>,
    shards: Arc<[mpsc::Sender<Command>]>,
}

impl Coordinator {
    /// Starts the loops on the runtime of `handle`; they end at shutdown.
    ///
    /// Groups are loaded as soon as their partitions are led here, as `Manager::led` says.
    pub fn start(seams: Seams, handle: &Handle) -> Self {
        let seams = Arc::new(seams);
        let shards = (0..SHARDS).map(|index| {
            let (sender, commands) = mpsc::channel(QUEUE);
            let shard = Shard::new(index, SHARDS, Arc::clone(&seams), sender.clone(), commands);
            seams.tasks.spawn_on(handle, TASK, shard.run());
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
