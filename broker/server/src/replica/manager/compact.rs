//! Compaction in the background: one round at a time, the dirtiest log first.
//!
//! A round reads without the partition's lock and takes it only to swap segments in. How far each log
//! is clean is in a checkpoint of its directory, as Kafka keeps it.
//!
//! Concurrency: one owner, on a blocking thread. Source: Kafka 3.9 `LogCleaner`, `LogCleanerManager`.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;

use broker_protocol::quantity::Offset;
use broker_protocol::topic_partition::TopicPartition;
use broker_storage::checkpoint::{CLEANER_FILE, OffsetCheckpoint};
use broker_storage::cleaner::{self, CleanError, Cleanable, CleanedSegment, Report, Round};
use broker_storage::log_dir::LogDir;

use super::Manager;
use crate::replica::partition::Partition;

/// The thread that compacts; owns what is known of how clean each log is.
#[derive(Debug)]
pub struct Compactor {
    manager: Arc<Manager>,
    /// One for each log directory, in their order.
    checkpoints: Vec<OffsetCheckpoint>,
    cleaned_to: BTreeMap<TopicPartition, Offset>,
    /// Logs that cannot be compacted, because of damage or their size.
    uncleanable: BTreeSet<TopicPartition>,
}

impl Compactor {
    /// Reads the checkpoints. One that cannot be read only makes the first round of its logs longer.
    pub fn new(manager: Arc<Manager>) -> Self {
        let (mut checkpoints, mut cleaned_to) = (Vec::new(), BTreeMap::new());
        for dir in manager.log_dirs() {
            let checkpoint = OffsetCheckpoint::new(Arc::clone(dir.fs()), dir.path(), CLEANER_FILE);
            match checkpoint.read() {
                Ok(offsets) => cleaned_to.extend(offsets),
                Err(error) => {
                    let dir = dir.path().display();
                    tracing::warn!(%dir, %error, "compaction begins anew without its checkpoint");
                }
            }
            checkpoints.push(checkpoint);
        }
        Self { manager, checkpoints, cleaned_to, uncleanable: BTreeSet::new() }
    }

    /// Compacts the dirtiest log that is due, with at most `map_size_max` bytes for keys; returns
    /// whether there was one. Ends early when `is_stopped` says so.
    pub fn run_once(&mut self, map_size_max: usize, is_stopped: &dyn Fn() -> bool) -> bool {
        let Some((partition, cleanable)) = self.dirtiest() else { return false };
        match self.compact(&partition, cleanable, map_size_max, is_stopped) {
            Ok(report) => {
                tracing::info!(
                    partition = %partition.name(), cleaned_to = %report.cleaned_to,
                    bytes_read = report.bytes_read, bytes_written = report.bytes_written,
                    records_read = report.records_read, records_kept = report.records_kept,
                    "log is compacted"
                );
                self.checkpoint(&partition, report.cleaned_to);
            }
            Err(CleanError::Stopped) => return false,
            Err(error) => {
                tracing::error!(
                    partition = %partition.name(), error = &error as &dyn std::error::Error,
                    "log is not compacted again before the next start"
                );
                if let Some(source) = io_error(&error) {
                    partition.dir().note_error(source);
                }
                self.uncleanable.insert(partition.name().clone());
            }
        }
        true
    }

    /// Returns the logs that are not compacted any more.
    pub fn uncleanable(&self) -> &BTreeSet<TopicPartition> {
        &self.uncleanable
    }

    fn dirtiest(&self) -> Option<(Arc<Partition>, Cleanable)> {
        let now = self.manager.clock.wall();
        let partitions = self.manager.partitions();
        let due = partitions.into_iter().filter_map(|partition| {
            if self.uncleanable.contains(partition.name()) {
                return None;
            }
            let cleaned_to = self.cleaned_to.get(partition.name()).copied();
            let cleanable = partition.cleanable(cleaned_to, now)?;
            Some((partition, cleanable))
        });
        due.max_by(|(_, a), (_, b)| a.dirty_ratio().total_cmp(&b.dirty_ratio()))
    }

    fn compact(
        &self,
        partition: &Arc<Partition>,
        cleanable: Cleanable,
        map_size_max: usize,
        is_stopped: &dyn Fn() -> bool,
    ) -> Result<Report, CleanError> {
        let swap_error = |source| CleanError::Swap { dir: partition.dir().path().into(), source };
        let snapshot = partition.snapshot_for_cleaner(cleanable).map_err(swap_error)?;
        let mut round = Swapping { manager: &self.manager, partition, is_stopped };
        cleaner::clean(&snapshot, map_size_max, self.manager.clock.wall(), &mut round)
    }

    fn checkpoint(&mut self, partition: &Partition, cleaned_to: Offset) {
        self.cleaned_to.insert(partition.name().clone(), cleaned_to);
        let here = self.manager.partitions();
        let here = here.iter().filter(|other| Arc::ptr_eq(other.dir(), partition.dir()));
        let offsets: BTreeMap<_, _> = here
            .filter_map(|p| Some((p.name().clone(), *self.cleaned_to.get(p.name())?)))
            .collect();
        let is_its = |dir: &Arc<LogDir>| Arc::ptr_eq(dir, partition.dir());
        let Some(index) = self.manager.log_dirs().iter().position(is_its) else { return };
        if let Err(error) = self.checkpoints[index].write(&offsets) {
            tracing::warn!(partition = %partition.name(), %error, "compaction is not checkpointed");
        }
    }
}

fn io_error(error: &CleanError) -> Option<&io::Error> {
    match error {
        CleanError::Read { source, .. } => Some(source),
        // A failed output leaves the log as it is; a failed swap has been noted where it failed.
        CleanError::Output(_)
        | CleanError::Swap { .. }
        | CleanError::Damaged { .. }
        | CleanError::MapTooSmall { .. }
        | CleanError::TooLarge { .. }
        | CleanError::Stopped => None,
    }
}

/// Takes part in a round for one partition.
struct Swapping<'a> {
    manager: &'a Manager,
    partition: &'a Arc<Partition>,
    is_stopped: &'a dyn Fn() -> bool,
}

impl Round for Swapping<'_> {
    fn progress(&mut self, _bytes: u64) -> ControlFlow<()> {
        if (self.is_stopped)() || self.partition.is_deleted() {
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    }

    fn swap(&mut self, segment: CleanedSegment) -> io::Result<ControlFlow<()>> {
        match self.partition.replace_segments(&segment, self.manager.clock.wall())? {
            Some(old) => {
                self.manager.bury(self.partition, vec![old]);
                Ok(ControlFlow::Continue(()))
            }
            None => Ok(ControlFlow::Break(())),
        }
    }
}
