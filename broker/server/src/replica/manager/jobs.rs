//! What is done to all logs from time to time. Every function waits for the disk; `tasks` decides
//! when each runs, on a blocking thread.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use broker_protocol::quantity::Offset;
use broker_protocol::topic_partition::TopicPartition;
use broker_storage::checkpoint::CheckpointError;
use broker_storage::log::DeletedSegment;
use broker_storage::log_dir::{DeletedDir, LogDir};

use super::Manager;
use crate::replica::partition::Partition;
use crate::replica::partition::admin::{AdminError, Offsets};

/// Files that are deleted when their time has come.
#[derive(Debug, Default)]
pub(super) struct Trash {
    entries: Vec<(Instant, Deleted)>,
}

#[derive(Debug)]
enum Deleted {
    Dir(DeletedDir),
    Segment(DeletedSegment),
}

impl Trash {
    pub(super) fn add_dirs(&mut self, dirs: Vec<DeletedDir>, due: Instant) {
        self.entries.extend(dirs.into_iter().map(|dir| (due, Deleted::Dir(dir))));
    }

    fn add_segments(&mut self, segments: Vec<DeletedSegment>, due: Instant) {
        self.entries.extend(segments.into_iter().map(|segment| (due, Deleted::Segment(segment))));
    }

    fn take_due(&mut self, now: Instant) -> Vec<Deleted> {
        let mut due = Vec::new();
        for (at, deleted) in std::mem::take(&mut self.entries) {
            if at <= now {
                due.push(deleted);
            } else {
                self.entries.push((at, deleted));
            }
        }
        due
    }
}

impl Manager {
    /// Rolls and retains what time asks for, in every log (`log.retention.check.interval.ms`).
    pub fn keep(&self) {
        let now = self.clock.wall();
        for partition in self.partitions() {
            partition.keep(now);
            self.remove_old_segments(&partition);
        }
    }

    /// Forgets producers that were silent for longer than `expiration_ms`, in every log
    /// (`producer.id.expiration.check.interval.ms`).
    pub fn forget_producers(&self, expiration_ms: i64) {
        let now = self.clock.wall();
        for partition in self.partitions() {
            partition.forget_producers(now, expiration_ms);
        }
    }

    /// Asks for the syncs that `flush.ms` makes due (`log.flush.scheduler.interval.ms`).
    pub fn flush_due(&self) {
        let now = self.clock.wall();
        for partition in self.partitions() {
            partition.flush_if_due(now);
        }
    }

    /// Deletes the files whose delay is over.
    pub fn purge(&self) {
        let due = self.trash.lock().take_due(self.clock.now());
        for deleted in due {
            let purged = match deleted {
                Deleted::Dir(dir) => dir.purge(),
                Deleted::Segment(segment) => segment.purge(),
            };
            if let Err(error) = purged {
                tracing::warn!(%error, "deleted files are left to the next start");
            }
        }
    }

    /// Writes the recovery points of all logs (`log.flush.offset.checkpoint.interval.ms`).
    pub fn checkpoint_recovery_points(&self) {
        for dir in self.online_dirs() {
            let partitions = self.partitions();
            let here = partitions.iter().filter(|partition| Arc::ptr_eq(&partition.dir(), dir));
            let points: Vec<_> =
                here.filter_map(|p| Some((p, p.recovery_point_to_write()?))).collect();
            let _turn = self.checkpointing.lock();
            // A log that was cut since is not to have the recovery point that it had.
            let now = points
                .iter()
                .map(|(p, point)| (p.name().clone(), (*point).min(p.offsets().recovery_point)));
            note(dir, dir.write_recovery_points(&now.collect()));
        }
    }

    /// Writes the start offsets of all logs (`log.flush.start.offset.checkpoint.interval.ms`).
    pub fn checkpoint_start_offsets(&self) {
        for dir in self.online_dirs() {
            note(dir, self.checkpoint_log_starts(dir));
        }
    }

    /// Writes the high watermarks of all logs
    /// (`replica.high.watermark.checkpoint.interval.ms`).
    pub fn checkpoint_high_watermarks(&self) {
        for dir in self.online_dirs() {
            let offsets = self.offsets_in(dir, |offsets| Some(offsets.high_watermark));
            note(dir, dir.write_high_watermarks(&offsets));
        }
        self.write_standings();
        self.set_late_configs();
    }

    fn write_standings(&self) {
        self.standings
            .write(&|name| self.partition(&name.topic, name.partition)?.is_synced_whole());
    }

    /// Closes every log, writes every checkpoint and marks the directories as stopped cleanly. Nobody
    /// may append any more.
    pub fn close(&self, broker_epoch: i64) {
        self.write_standings();
        for dir in self.online_dirs() {
            let mut is_clean = true;
            let partitions: Vec<_> =
                self.partitions().into_iter().filter(|p| Arc::ptr_eq(&p.dir(), dir)).collect();
            // All at once, for the commit thread to serve them in one round.
            let syncs: Vec<_> = partitions.iter().map(Partition::request_sync).collect();
            for (partition, sync) in partitions.iter().zip(syncs) {
                let closed = sync.wait().map_err(AdminError::from).and_then(|()| partition.close());
                if let Err(error) = closed {
                    is_clean = false;
                    tracing::error!(partition = %partition.name(), %error, "log is not closed");
                }
            }
            if !is_clean {
                continue;
            }
            let points = self.offsets_in(dir, |offsets| Some(offsets.recovery_point));
            let marks = self.offsets_in(dir, |offsets| Some(offsets.high_watermark));
            let written = dir
                .write_recovery_points(&points)
                .and_then(|()| self.checkpoint_log_starts(dir))
                .and_then(|()| dir.write_high_watermarks(&marks));
            if written.is_ok()
                && let Err(error) = dir.mark_clean_shutdown(broker_epoch)
            {
                tracing::error!(dir = %dir.path().display(), %error, "no mark of a clean shutdown");
            }
            note(dir, written);
        }
    }

    pub(super) fn checkpoint_log_starts(&self, dir: &Arc<LogDir>) -> Result<(), CheckpointError> {
        let above_zero =
            |offsets: &Offsets| Some(offsets.log_start_offset).filter(|start| *start > Offset(0));
        dir.write_log_start_offsets(&self.offsets_in(dir, above_zero))
    }

    /// Takes segments below the log start out of a log.
    pub(super) fn remove_old_segments(&self, partition: &Arc<Partition>) {
        self.bury(partition, partition.remove_old_segments());
    }

    /// Has the files of segments deleted after the topic's delay.
    pub(in crate::replica) fn bury(&self, partition: &Partition, segments: Vec<DeletedSegment>) {
        if !segments.is_empty() {
            let delay = partition.config().file_delete_delay_ms.max(0) as u64;
            let due = self.clock.now() + Duration::from_millis(delay);
            self.trash.lock().add_segments(segments, due);
        }
    }

    fn online_dirs(&self) -> impl Iterator<Item = &Arc<LogDir>> {
        self.dirs.iter().filter(|dir| !dir.offline().is_offline())
    }

    fn offsets_in(
        &self,
        dir: &Arc<LogDir>,
        pick: impl Fn(&Offsets) -> Option<Offset>,
    ) -> BTreeMap<TopicPartition, Offset> {
        let partitions = self.partitions();
        let here = partitions.iter().filter(|partition| Arc::ptr_eq(&partition.dir(), dir));
        here.filter_map(|p| Some((p.name().clone(), pick(&p.offsets())?))).collect()
    }
}

pub(super) fn note(dir: &LogDir, written: Result<(), CheckpointError>) {
    if let Err(error) = written {
        tracing::error!(dir = %dir.path().display(), %error, "a checkpoint is not written");
    }
}
