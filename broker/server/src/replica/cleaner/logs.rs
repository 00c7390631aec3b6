//! What the cleaner remembers of each log: how far it is clean, whether it is worth another round.
//!
//! How far is in a checkpoint of each directory, as Kafka keeps it, written after every round. It may
//! be behind or about a log that is gone: a round then only does more than it must, for the storage
//! takes a checkpoint outside the log for none.
//!
//! Concurrency: not shared; the cleaner has a lock around it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use broker_protocol::quantity::{Offset, TimestampMs};
use broker_protocol::topic_partition::TopicPartition;
use broker_protocol::uuid::Uuid;
use broker_storage::checkpoint::{CLEANER_FILE, CheckpointError, OffsetCheckpoint};
use broker_storage::cleaner::Cleanable;
use broker_storage::log_dir::LogDir;

use super::Facts;
use crate::replica::manager::Manager;
use crate::replica::partition::Partition;

/// Why a log is left as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Uncleanable {
    /// It is damaged, or a segment of it would become too large.
    ForEver,
    /// A batch of it has more keys than fit a map of this many bytes.
    WithMapOf(usize),
}

/// What is remembered of one log.
#[derive(Debug)]
struct Known {
    /// The topic's id, by which a log is told from one of the same name that was deleted.
    topic_id: Uuid,
    cleaned_to: Option<Offset>,
    uncleanable: Option<Uncleanable>,
    is_in_progress: bool,
}

/// All logs that the cleaner has met.
#[derive(Debug)]
pub(super) struct Logs {
    /// One for each log directory, in their order.
    checkpoints: Vec<OffsetCheckpoint>,
    known: BTreeMap<TopicPartition, Known>,
}

impl Logs {
    /// Reads the checkpoints. One that cannot be read only makes the first round of its logs longer.
    pub(super) fn read(manager: &Manager) -> Self {
        let mut logs = Self { checkpoints: Vec::new(), known: BTreeMap::new() };
        for dir in manager.log_dirs() {
            let checkpoint = OffsetCheckpoint::new(Arc::clone(dir.fs()), dir.path(), CLEANER_FILE);
            let offsets = checkpoint.read().unwrap_or_else(|error| {
                let dir = dir.path().display();
                tracing::warn!(%dir, %error, "compaction begins anew without its checkpoint");
                BTreeMap::new()
            });
            logs.checkpoints.push(checkpoint);
            for (name, offset) in offsets {
                if let Some(partition) = manager.partition(&name.topic, name.partition)
                    && Arc::ptr_eq(&partition.dir(), dir)
                {
                    logs.known_of(&partition).cleaned_to = Some(offset);
                }
            }
        }
        logs
    }

    /// Picks the log with the largest share of dirty bytes among those that are due, and marks it as
    /// in progress.
    pub(super) fn take_dirtiest(
        &mut self,
        manager: &Manager,
        map_size: usize,
        now: TimestampMs,
        facts: &Facts,
    ) -> Option<(Arc<Partition>, Cleanable)> {
        let partitions = manager.partitions();
        self.forget_all_but(&partitions);
        facts.uncleanable.store(self.uncleanable_count(), Ordering::Relaxed);
        let due = partitions.into_iter().filter_map(|partition| {
            let known = self.known.get(partition.name());
            if known.is_some_and(|known| known.is_left_alone(map_size)) {
                return None;
            }
            let cleanable = partition.cleanable(known.and_then(|it| it.cleaned_to), now)?;
            Some((partition, cleanable))
        });
        let dirtiest = due.max_by(|(_, a), (_, b)| a.dirty_ratio().total_cmp(&b.dirty_ratio()));
        let ratio = dirtiest.as_ref().map_or(0.0, |(_, cleanable)| cleanable.dirty_ratio());
        facts.dirty_permille_max.store((ratio * 1000.0) as u64, Ordering::Relaxed);
        let (partition, cleanable) = dirtiest?;
        self.known_of(&partition).is_in_progress = true;
        Some((partition, cleanable))
    }

    /// Lets others compact the log.
    pub(super) fn give_back(&mut self, partition: &Partition) {
        self.known_of(partition).is_in_progress = false;
    }

    /// Remembers how far a log is clean, also for the next start.
    pub(super) fn cleaned(&mut self, manager: &Manager, partition: &Partition, to: Offset) {
        self.known_of(partition).cleaned_to = Some(to);
        let is_its = |dir: &Arc<LogDir>| Arc::ptr_eq(dir, &partition.dir());
        let Some(index) = manager.log_dirs().iter().position(is_its) else { return };
        let here = manager.partitions();
        let offsets: BTreeMap<_, _> = here
            .iter()
            .filter(|other| Arc::ptr_eq(&other.dir(), &partition.dir()))
            .filter_map(|p| Some((p.name().clone(), self.known.get(p.name())?.cleaned_to?)))
            .collect();
        if let Err(error) = self.checkpoints[index].write(&offsets) {
            tracing::error!(partition = %partition.name(), %error, "compaction is not checkpointed");
            if let CheckpointError::Io { source, .. } = &error {
                partition.dir().note_error(source);
            }
        }
    }

    /// Leaves a log as it is from now on.
    pub(super) fn give_up(&mut self, partition: &Partition, why: Uncleanable) {
        self.known_of(partition).uncleanable = Some(why);
    }

    /// Returns how many logs are left as they are.
    pub(super) fn uncleanable_count(&self) -> usize {
        self.known.values().filter(|known| known.uncleanable.is_some()).count()
    }

    /// A log that was deleted takes with it what was known of it: one of the same name starts anew.
    fn forget_all_but(&mut self, partitions: &[Arc<Partition>]) {
        let here: BTreeSet<_> = partitions.iter().map(|p| (p.name(), p.topic_id())).collect();
        self.known.retain(|name, known| here.contains(&(name, known.topic_id)));
    }

    fn known_of(&mut self, partition: &Partition) -> &mut Known {
        let fresh = || Known {
            topic_id: partition.topic_id(),
            cleaned_to: None,
            uncleanable: None,
            is_in_progress: false,
        };
        let known = self.known.entry(partition.name().clone()).or_insert_with(fresh);
        if known.topic_id != partition.topic_id() {
            *known = fresh();
        }
        known
    }
}

impl Known {
    fn is_left_alone(&self, map_size: usize) -> bool {
        self.is_in_progress
            || match self.uncleanable {
                None => false,
                Some(Uncleanable::ForEver) => true,
                Some(Uncleanable::WithMapOf(size)) => map_size <= size,
            }
    }
}
