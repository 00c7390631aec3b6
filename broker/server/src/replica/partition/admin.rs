//! What is asked of a partition apart from appending and reading: offsets, times, epochs, deletion of
//! records, producers; and the jobs that keep its log in order.

use std::io;
use std::sync::{Arc, mpsc};
use std::time::Instant;

use broker_protocol::quantity::{BrokerId, LeaderEpoch, Offset, TimestampMs};
use broker_storage::checkpoint::CheckpointError;
use broker_storage::cleaner::{self, Cleanable, CleanedSegment, Snapshot};
use broker_storage::commit::{CommitError, Synced};
use broker_storage::log::{DeletedSegment, LogError};
use broker_storage::log_dir::DeletedDir;
use broker_storage::producer_state::ProducerEntry;

use super::read::Isolation;
use super::{EpochEndOffset, Partition};
use crate::replica::partition_state::{Replication, Role, StateError};
use crate::replica::progress::Progress;

/// The offsets and sizes of a partition at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offsets {
    /// The first offset.
    pub log_start_offset: Offset,
    /// The first offset that `read_committed` does not see.
    pub last_stable_offset: Offset,
    /// The first offset that consumers do not see.
    pub high_watermark: Offset,
    /// The offset after the last.
    pub log_end_offset: Offset,
    /// Everything below is durable.
    pub recovery_point: Offset,
    /// The size of all batches in bytes.
    pub size_in_bytes: u64,
    /// How many segments there are.
    pub segment_count: usize,
    /// The epoch of the leader, -1 if there was none.
    pub leader_epoch: LeaderEpoch,
    /// What this broker is.
    pub role: Role,
}

/// A place in the log that was found by its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimestampOffset {
    /// The record's timestamp, -1 where none was asked for.
    pub timestamp: TimestampMs,
    /// The record's offset.
    pub offset: Offset,
    /// The epoch it was written in, -1 if it is not known.
    pub leader_epoch: LeaderEpoch,
}

/// What to look for in [`Partition::find`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// The end, as far as the reader sees.
    Latest,
    /// The start.
    Earliest,
    /// The record with the largest timestamp.
    MaxTimestamp,
    /// The first record at or after a time.
    At(TimestampMs),
}

/// Why a look-up, or a deletion of records, gave nothing.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// Not here, or not now.
    #[error(transparent)]
    State(#[from] StateError),
    /// Records can be deleted up to the high watermark only.
    #[error("offset {offset} is above the high watermark {high_watermark}")]
    OffsetOutOfRange {
        /// What was asked for.
        offset: Offset,
        /// What holds.
        high_watermark: Offset,
    },
    /// The topic's `cleanup.policy` does not include `delete`.
    #[error("records of a topic that is only compacted cannot be deleted")]
    Policy,
    /// The log failed.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The new start of the log is not durable.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// What would lie below the new start could not be made durable.
    #[error(transparent)]
    Sync(#[from] CommitError),
}

/// A sync that the commit thread was asked for.
#[derive(Debug)]
#[must_use = "nothing is known to be durable before it was waited for"]
pub struct RequestedSync(Option<mpsc::Receiver<Result<(), CommitError>>>);

impl RequestedSync {
    /// Waits for the disk, without the partition's lock.
    ///
    /// # Errors
    /// The directory is offline.
    ///
    /// # Panics
    /// If the commit thread did.
    pub fn wait(self) -> Result<(), CommitError> {
        let Some(outcome) = self.0 else { return Ok(()) };
        outcome.recv().unwrap_or_else(|_| unreachable!("the commit thread answers everybody"))
    }
}

/// What a reassignment copies.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Moving {
    /// The log's bytes, once for each replica that is added.
    pub bytes_total: u64,
    /// Of those, about what the added replicas lack.
    pub bytes_left: u64,
}

impl Partition {
    /// Returns where the partition stands.
    pub fn offsets(&self) -> Offsets {
        let inner = self.inner.lock();
        let high_watermark = inner.state.high_watermark();
        Offsets {
            log_start_offset: inner.log.log_start_offset(),
            last_stable_offset: inner.log.last_stable_offset(high_watermark),
            high_watermark,
            log_end_offset: inner.log.log_end_offset(),
            recovery_point: inner.log.recovery_point(),
            size_in_bytes: inner.log.size_in_bytes(),
            segment_count: inner.log.segment_count(),
            leader_epoch: inner.state.leader_epoch(),
            role: inner.state.role(),
        }
    }

    /// Measures a reassignment of what this broker leads; `None` where nothing moves or another leads. `off`: only if
    /// it takes the partition off that broker.
    pub fn measure_move(&self, off: Option<BrokerId>) -> Option<Moving> {
        let inner = self.inner.lock();
        let leadership = inner.state.leadership().filter(|_| inner.state.role() == Role::Leader)?;
        let is_meant = match off {
            None => !leadership.adding.is_empty() || !leadership.removing.is_empty(),
            Some(broker) => leadership.removing.contains(&broker),
        };
        let left = |broker: &BrokerId| {
            let known = inner.state.followers().iter().find(|known| known.broker() == *broker);
            let vouched = known.and_then(Progress::vouched_end);
            inner.log.size_from(vouched.unwrap_or(inner.log.log_start_offset()))
        };
        is_meant.then(|| Moving {
            bytes_total: inner.log.size_in_bytes() * leadership.adding.len() as u64,
            bytes_left: leadership.adding.iter().map(left).sum(),
        })
    }

    /// Tells how this replica and the others stand to each other.
    pub fn replication(&self, now: Instant) -> Replication {
        self.inner.lock().state.replication(now)
    }

    /// Finds an offset by time or place; `None` if no record fits.
    ///
    /// `isolation` is absent for those who ask any replica, and not the leader only, for its whole log.
    ///
    /// # Errors
    /// `State`, or `Log` if an index or the log cannot be read.
    pub fn find(
        &self,
        target: Target,
        isolation: Option<Isolation>,
        current_leader_epoch: LeaderEpoch,
    ) -> Result<Option<TimestampOffset>, AdminError> {
        self.noted(self.look_up(target, isolation, current_leader_epoch))
    }

    fn look_up(
        &self,
        target: Target,
        isolation: Option<Isolation>,
        current_leader_epoch: LeaderEpoch,
    ) -> Result<Option<TimestampOffset>, AdminError> {
        let inner = self.inner.lock();
        match isolation {
            None => inner.state.check_epoch(current_leader_epoch)?,
            Some(_) => inner.state.check_leader(current_leader_epoch)?,
        }
        let (log, high_watermark) = (&inner.log, inner.state.high_watermark());
        let visible_end = match isolation {
            None | Some(Isolation::LogEnd) => log.log_end_offset(),
            Some(Isolation::ReadUncommitted) => high_watermark,
            Some(Isolation::ReadCommitted) => log.last_stable_offset(high_watermark),
        };
        let no_time = TimestampMs(-1);
        let epoch = |epoch: Option<LeaderEpoch>| epoch.unwrap_or(LeaderEpoch(-1));
        let found = match target {
            Target::Latest => Some((no_time, visible_end, epoch(log.latest_epoch()))),
            Target::Earliest => {
                let offset = log.log_start_offset();
                Some((no_time, offset, epoch(log.epoch_for_offset(offset))))
            }
            Target::MaxTimestamp => {
                log.max_timestamp_offset()?.filter(|found| found.1 < visible_end)
            }
            Target::At(time) => log.offset_for_timestamp(time, visible_end)?,
        };
        Ok(found.map(|(timestamp, offset, leader_epoch)| TimestampOffset {
            timestamp,
            offset,
            leader_epoch,
        }))
    }

    /// Returns up to `max` offsets at which segments start, the largest first, for the oldest clients:
    /// of the segments last written at or before `target`, with the end first if that is the latest.
    ///
    /// # Errors
    /// As [`Partition::find`].
    pub fn offsets_before(&self, target: Target, max: usize) -> Result<Vec<Offset>, AdminError> {
        self.noted(self.look_up_before(target, max))
    }

    fn look_up_before(&self, target: Target, max: usize) -> Result<Vec<Offset>, AdminError> {
        let inner = self.inner.lock();
        inner.state.check_leader(LeaderEpoch(-1))?;
        let mut offsets = match target {
            Target::Latest | Target::MaxTimestamp => inner.log.offsets_before(None, max)?,
            Target::Earliest => vec![inner.log.log_start_offset()],
            Target::At(time) => inner.log.offsets_before(Some(time), max)?,
        };
        let high_watermark = inner.state.high_watermark();
        if offsets.first().is_some_and(|first| *first > high_watermark) {
            offsets.retain(|offset| *offset < high_watermark);
            offsets.insert(0, high_watermark);
        }
        offsets.truncate(max);
        Ok(offsets)
    }

    /// Returns the largest epoch up to `epoch`, and where it ends in the log.
    ///
    /// # Errors
    /// When this broker does not lead, in the epoch that the client believes in.
    pub fn end_offset_for_epoch(
        &self,
        epoch: LeaderEpoch,
        current_leader_epoch: LeaderEpoch,
    ) -> Result<EpochEndOffset, StateError> {
        let inner = self.inner.lock();
        inner.state.check_leader(current_leader_epoch)?;
        Ok(inner.end_offset_for_epoch(epoch))
    }

    /// Takes the directory offline if the log failed for it. Not to be called with the lock held.
    fn noted<T>(&self, outcome: Result<T, AdminError>) -> Result<T, AdminError> {
        if let Err(AdminError::Log(error)) = &outcome {
            self.note(error);
        }
        outcome
    }

    /// Asks the commit thread, which alone syncs a log in use, for a sync of all that is written.
    pub fn request_sync(self: &Arc<Self>) -> RequestedSync {
        let point = {
            let mut inner = self.inner.lock();
            let is_durable = inner.log.recovery_point() == inner.log.log_end_offset();
            (!is_durable).then(|| inner.log.sync_point())
        };
        RequestedSync(point.map(|point| {
            let (done, outcome) = mpsc::channel();
            let owner = Arc::clone(self) as Arc<dyn Synced>;
            let told = Box::new(move |result| _ = done.send(result));
            self.dir.load().committer().submit_and(point, owner, told);
            outcome
        }))
    }

    fn sync_below(self: &Arc<Self>, end: Offset) -> Result<(), CommitError> {
        let is_durable = self.inner.lock().log.recovery_point() >= end;
        if is_durable { Ok(()) } else { self.request_sync().wait() }
    }

    /// Returns the recovery point for the checkpoint, once all it stands for is on the disk.
    ///
    /// `None` without one: the next start then looks at the whole log. Waits for the disk.
    pub fn recovery_point_to_write(&self) -> Option<Offset> {
        let mut inner = self.inner.lock();
        let recovery_point = inner.log.recovery_point();
        let flushed = match inner.state.role() {
            Role::Leader | Role::Follower => inner.log.flush_epochs(),
            // The directory is lost, or the file has another name by now.
            Role::Offline | Role::Deleted => return None,
        };
        drop(inner);
        self.noted(flushed.map_err(AdminError::from)).is_ok().then_some(recovery_point)
    }

    /// Deletes the records below `offset`, or below the high watermark if it is -1; returns the first
    /// offset that is left. An offset below the start deletes nothing. Waits for the disk.
    ///
    /// # Errors
    /// As [`AdminError`]; nothing was deleted.
    pub fn delete_records(self: &Arc<Self>, offset: Offset) -> Result<Offset, AdminError> {
        let target = self.deletion_end(offset)?;
        self.sync_below(target)?;
        self.inner.lock().state.check_leader(LeaderEpoch(-1))?;
        let start = self.move_log_start(target)?;
        // Whoever asked for it waits for them.
        self.replica_subscribers.wake();
        Ok(start)
    }

    /// Returns the first offset that any replica still has, of those that `is_alive` says live; -1 while one
    /// has not said.
    ///
    /// # Errors
    /// When this broker does not lead.
    pub fn low_watermark(&self, is_alive: &dyn Fn(BrokerId) -> bool) -> Result<Offset, StateError> {
        let inner = self.inner.lock();
        inner.state.check_leader(LeaderEpoch(-1))?;
        Ok(inner.state.low_watermark(is_alive))
    }

    fn deletion_end(&self, offset: Offset) -> Result<Offset, AdminError> {
        let inner = self.inner.lock();
        inner.state.check_leader(LeaderEpoch(-1))?;
        if !self.config.load().cleanup_policy.delete {
            return Err(AdminError::Policy);
        }
        let high_watermark = inner.state.high_watermark();
        let target = if offset == Offset(-1) { high_watermark } else { offset };
        if target.0 < 0 || target > high_watermark {
            return Err(AdminError::OffsetOutOfRange { offset, high_watermark });
        }
        Ok(target)
    }

    /// Moves the start of the log to `target`, below which everything was synced; returns the start.
    fn move_log_start(&self, target: Offset) -> Result<Offset, AdminError> {
        let mut inner = self.inner.lock();
        match inner.state.role() {
            Role::Leader | Role::Follower => {}
            Role::Offline => return Err(StateError::Offline.into()),
            Role::Deleted => return Err(StateError::Deleted.into()),
        }
        let recovery_point = inner.log.recovery_point();
        if target > recovery_point {
            // The log was cut while its sync was waited for.
            let (offset, high_watermark) = (target, inner.state.high_watermark());
            return Err(AdminError::OffsetOutOfRange { offset, high_watermark });
        }
        inner.log.advance_log_start_offset(target);
        let start = inner.log.log_start_offset();
        inner.state.log_start_moved(start);
        drop(inner);
        self.subscribers.wake();
        // Replicas hear of it with what they hear next.
        self.replica_subscribers.note();
        Ok(start)
    }

    /// Returns the producers that the log remembers.
    ///
    /// # Errors
    /// When this broker does not lead.
    pub fn producers(&self) -> Result<Vec<ProducerEntry>, StateError> {
        let inner = self.inner.lock();
        inner.state.check_leader(LeaderEpoch(-1))?;
        Ok(inner.log.producers().cloned().collect())
    }

    /// Forgets producers that were silent for longer than `expiration_ms`.
    pub fn forget_producers(&self, now: TimestampMs, expiration_ms: i64) {
        let mut inner = self.inner.lock();
        if matches!(inner.state.role(), Role::Leader | Role::Follower) {
            inner.log.remove_expired_producers(now, expiration_ms);
        }
    }

    /// Rolls by time and deletes by retention. Waits for the disk.
    pub fn keep(self: &Arc<Self>, now: TimestampMs) {
        let end = self.noted(self.roll_and_find_end(now).map_err(AdminError::from));
        let Ok(Some(end)) = end else { return };
        let moved = self.sync_below(end).map_err(AdminError::from);
        if let Err(error) = moved.and_then(|()| self.move_log_start(end)) {
            tracing::debug!(partition = %self.name, %error, "what is past its retention stays");
        }
    }

    fn roll_and_find_end(&self, now: TimestampMs) -> Result<Option<Offset>, LogError> {
        let mut inner = self.inner.lock();
        if matches!(inner.state.role(), Role::Offline | Role::Deleted) {
            return Ok(None);
        }
        let high_watermark = inner.state.high_watermark();
        inner.log.roll_if_due(now)?;
        if !self.config.load().cleanup_policy.delete {
            return Ok(None);
        }
        inner.log.retention_end(now, high_watermark)
    }

    /// Takes the segments below the log start out of the log; their files wait to be purged.
    pub fn remove_old_segments(&self) -> Vec<DeletedSegment> {
        let removed = {
            let mut inner = self.inner.lock();
            match inner.state.role() {
                Role::Leader | Role::Follower => inner.log.remove_old_segments(),
                Role::Offline | Role::Deleted => Ok(Vec::new()),
            }
        };
        removed.unwrap_or_else(|error| {
            self.note(&error);
            Vec::new()
        })
    }

    /// Returns the part of the log to compact, if the topic is compacted and it is time.
    pub fn cleanable(&self, cleaned_to: Option<Offset>, now: TimestampMs) -> Option<Cleanable> {
        let config = self.config.load();
        if !config.cleanup_policy.compact {
            return None;
        }
        let inner = self.inner.lock();
        let is_moved = inner.future.is_some();
        if is_moved || matches!(inner.state.role(), Role::Offline | Role::Deleted) {
            return None;
        }
        let cleanable = inner.log.cleanable(inner.state.high_watermark(), cleaned_to, now);
        drop(inner);
        match cleanable {
            Ok(cleanable) => {
                Some(cleanable).filter(|it| it.is_due(&cleaner::Settings::of(&config)))
            }
            Err(error) => {
                self.note(&error);
                None
            }
        }
    }

    /// Returns what a round of compaction reads, or `None` if the partition has ended.
    ///
    /// # Errors
    /// The log cannot be read; its directory is then offline.
    pub fn snapshot_for_cleaner(&self, cleanable: Cleanable) -> io::Result<Option<Snapshot>> {
        let snapshot = {
            let inner = self.inner.lock();
            match inner.state.role() {
                Role::Leader | Role::Follower => {
                    inner.log.snapshot_for_cleaner(cleanable).map(Some)
                }
                // The files of a deleted log have other names already: that is no fault of the disk.
                Role::Offline | Role::Deleted => Ok(None),
            }
        };
        snapshot.map_err(|error| {
            self.note(&error);
            io::Error::other(error)
        })
    }

    /// Swaps a compacted segment in; returns the old files, or `None` if the log has moved on.
    ///
    /// # Errors
    /// The swap failed; the directory is offline, and the next start completes or undoes it.
    pub fn replace_segments(
        &self,
        cleaned: &CleanedSegment,
        now: TimestampMs,
    ) -> io::Result<Option<DeletedSegment>> {
        let replaced = {
            let mut inner = self.inner.lock();
            match inner.state.role() {
                Role::Leader | Role::Follower => inner.log.replace_segments(cleaned, now),
                Role::Offline | Role::Deleted => Ok(None),
            }
        };
        replaced.map_err(|error| {
            self.note(&error);
            io::Error::other(error)
        })
    }

    /// Moves the log out of the way, durably once its directory is synced. The partition must have ended.
    ///
    /// # Errors
    /// The disk's; its directory is then offline.
    ///
    /// # Panics
    /// If the partition goes on.
    pub fn delete_log(&self) -> io::Result<DeletedDir> {
        let inner = self.inner.lock();
        assert_eq!(inner.state.role(), Role::Deleted, "a log is deleted after its partition");
        self.dir.load().delete_log(&inner.log)
    }

    /// Renames the log away, to be kept; durably once its directory is synced. The partition must have ended.
    ///
    /// # Errors
    /// The disk's; its directory is then offline.
    ///
    /// # Panics
    /// If the partition goes on.
    pub fn rename_as_stray(&self) -> io::Result<()> {
        let inner = self.inner.lock();
        assert_eq!(inner.state.role(), Role::Deleted, "a log is renamed after its partition");
        self.dir.load().rename_as_stray(&inner.log)
    }

    /// Asks for the sync that `flush.ms` makes due.
    pub fn flush_if_due(self: &Arc<Self>, now: TimestampMs) {
        let point = {
            let mut inner = self.inner.lock();
            match inner.state.role() {
                Role::Leader | Role::Follower => inner.log.flush_if_due(now),
                Role::Offline | Role::Deleted => None,
            }
        };
        if let Some(point) = point {
            self.submit(point);
        }
    }

    /// Brings the log into the state of a clean shutdown; it is not to be used afterwards.
    ///
    /// Whatever was appended must be durable by now, as [`Partition::request_sync`] makes it: nobody may
    /// wait for the commit thread while the last files are synced here.
    ///
    /// # Errors
    /// When the disk fails: the directory is then offline, and its shutdown not clean.
    pub fn close(&self) -> Result<(), AdminError> {
        let closed = self.inner.lock().log.close();
        self.noted(closed.map_err(AdminError::from))
    }
}
