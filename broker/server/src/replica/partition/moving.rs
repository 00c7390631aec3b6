//! A partition whose log is being copied into another log directory of this broker, to be used from there.
//!
//! The copy, the *future log*, is under the partition's lock as the log itself is: what is cut off the one is
//! cut off the other, so it is a beginning of the log at any time. It is appended to in steps, each
//! short; once it has everything it takes the log's place, in the midst of appends.
//!
//! Source: Kafka 3.9 `Partition.maybeReplaceCurrentWithFutureReplica`, `ReplicaAlterLogDirsThread`. Kafka
//! copies by a fetcher from the broker itself.

use std::sync::{Arc, mpsc};

use broker_config::topic::TopicConfig;
use broker_protocol::quantity::{LeaderEpoch, Offset, TimestampMs};
use broker_storage::commit::{CommitError, Synced};
use broker_storage::log::{
    AppendError as LogAppendError, Log, LogError, ReadError as LogReadError,
};
use broker_storage::log_dir::{CreateError, DeletedDir, LogDir};

use super::{Inner, Partition};
use crate::replica::partition_state::Role;

/// Why a copy does not go on. It is to be given up.
#[derive(Debug, thiserror::Error)]
pub enum MoveError {
    /// The log cannot be read.
    #[error(transparent)]
    Read(#[from] LogReadError),
    /// The bytes of the log cannot be read.
    #[error("read the log that is moved")]
    Bytes(#[source] std::io::Error),
    /// The copy cannot be written.
    #[error(transparent)]
    Append(#[from] LogAppendError),
    /// The copy cannot be cut, or closed.
    #[error(transparent)]
    Future(#[from] LogError),
    /// The copy cannot be synced.
    #[error(transparent)]
    Sync(#[from] CommitError),
    /// What is proven of the log cannot be said where it moves to.
    #[error("say there what is proven of the log")]
    Standing(#[source] std::io::Error),
    /// The copy cannot take the log's place.
    #[error(transparent)]
    Adopt(#[from] CreateError),
    /// The log that was replaced cannot be renamed away.
    #[error("delete the log that was moved")]
    Delete(#[source] std::io::Error),
}

/// A log that is being copied to.
#[derive(Debug)]
pub(super) struct Future {
    log: Log,
    dir: Arc<LogDir>,
}

impl Future {
    pub(super) fn set_config(&mut self, config: &Arc<TopicConfig>) {
        self.log.set_config(Arc::clone(config));
    }
}

/// How far a copy is.
#[derive(Debug, Clone)]
pub struct Moving {
    /// Where it is.
    pub dir: Arc<LogDir>,
    /// How many bytes it has.
    pub size_in_bytes: u64,
    /// How many offsets it lacks.
    pub offset_lag: i64,
}

/// What a step copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Copied {
    /// So many bytes.
    Bytes(u64),
    /// There is no more, for now.
    All,
    /// Nothing is being moved any more.
    Over,
}

impl Partition {
    /// Returns how far the copy is, if the log is being moved.
    pub fn moving(&self) -> Option<Moving> {
        let inner = self.inner.lock();
        inner.future.as_ref().map(|future| Moving {
            dir: Arc::clone(&future.dir),
            size_in_bytes: future.log.size_in_bytes(),
            offset_lag: inner.log.log_end_offset().0 - future.log.log_end_offset().0,
        })
    }

    /// Has the log copied to `log` in `dir` from now on.
    ///
    /// # Panics
    /// If it is being copied elsewhere.
    pub(in crate::replica) fn begin_move(&self, log: Log, dir: Arc<LogDir>) {
        let mut inner = self.inner.lock();
        assert!(inner.future.is_none(), "a log is moved to one place at a time");
        inner.future = Some(Future { log, dir });
    }

    /// Goes on copying to `log` in `dir`, which a past process left.
    pub(in crate::replica) fn resume_move(&self, log: Log, dir: Arc<LogDir>, now: TimestampMs) {
        let mut inner = self.inner.lock();
        inner.future = Some(Future { log, dir });
        inner.match_epochs(now);
    }

    /// Gives the copy up, and renames it away to be deleted. The log stays where it is.
    pub(in crate::replica) fn end_move(&self) -> Option<std::io::Result<DeletedDir>> {
        let future = self.inner.lock().future.take();
        future.map(|Future { log, dir }| dir.delete_log(&log))
    }

    /// Copies at most `max_bytes`, or one batch. Waits for the disk.
    ///
    /// # Errors
    /// As [`MoveError`].
    pub(in crate::replica) fn copy_some(
        &self,
        max_bytes: u32,
        now: TimestampMs,
    ) -> Result<Copied, MoveError> {
        let (offset, slice) = {
            let mut inner = self.inner.lock();
            inner.align(now)?;
            let Some(offset) = inner.future.as_ref().map(|it| it.log.log_end_offset()) else {
                return Ok(Copied::Over);
            };
            let end = inner.log.log_end_offset();
            (offset, inner.log.read(offset, max_bytes, end, true)?)
        };
        if slice.size == 0 {
            return Ok(Copied::All);
        }
        let bytes = slice.bytes().map_err(MoveError::Bytes)?;
        let mut inner = self.inner.lock();
        let Some(future) = &mut inner.future else { return Ok(Copied::Over) };
        if future.log.log_end_offset() == offset {
            future.log.append_as_follower(&bytes, LeaderEpoch(i32::MAX), now)?;
        }
        Ok(Copied::Bytes(bytes.len() as u64))
    }

    /// Makes what was copied durable. Waits for the disk, without the partition's lock.
    ///
    /// # Errors
    /// As [`MoveError::Sync`].
    pub(in crate::replica) fn sync_copy(&self) -> Result<(), MoveError> {
        let (point, dir) = {
            let mut inner = self.inner.lock();
            let Some(future) = &mut inner.future else { return Ok(()) };
            (future.log.sync_point(), Arc::clone(&future.dir))
        };
        let (done, outcome) = mpsc::channel();
        let told = Box::new(move |result| _ = done.send(result));
        dir.committer().submit_and(point, Arc::new(Nobody), told);
        match outcome.recv() {
            Ok(synced) => Ok(synced?),
            // The commit thread ends with the process.
            Err(mpsc::RecvError) => Ok(()),
        }
    }

    /// Has the copy take the log's place if at most `max_bytes` are left to copy; returns the old log's
    /// directory, to be removed. Waits for the disk with the partition's lock, for what was appended
    /// since the last sync.
    ///
    /// # Errors
    /// As [`MoveError`]; the log is where it was, unless the old one could not be renamed.
    pub(in crate::replica) fn take_copy(
        &self,
        max_bytes: u64,
        now: TimestampMs,
    ) -> Result<Option<(Arc<LogDir>, DeletedDir)>, MoveError> {
        let mut inner = self.inner.lock();
        inner.align(now)?;
        if matches!(inner.state.role(), Role::Offline | Role::Deleted) || inner.left() > max_bytes {
            return Ok(None);
        }
        inner.copy_rest(now)?;
        let Some(future) = &mut inner.future else { return Ok(None) };
        future.log.close()?;
        let mut log = future.dir.adopt_future(&future.log, now)?;
        let Some(Future { dir, .. }) = inner.future.take() else { return Ok(None) };
        log.advance_log_start_offset(inner.log.log_start_offset());
        log.on_high_watermark(inner.state.high_watermark());
        if inner.state.role() == Role::Leader {
            log.begin_epoch(inner.state.leader_epoch());
        }
        let old = std::mem::replace(&mut inner.log, log);
        let old_dir = self.dir.swap(dir);
        let deleted = old_dir.delete_log(&old);
        let synced = inner.log.recovery_point();
        let moved = inner.state.synced(synced);
        let advanced = self.advanced(&mut inner, moved);
        drop(inner);
        self.tell(advanced);
        Ok(Some((old_dir, deleted.map_err(MoveError::Delete)?)))
    }
}

/// Who waits for the sync of a copy.
struct Nobody;

impl Synced for Nobody {
    fn synced(&self, _: Result<Offset, CommitError>) {}
}

impl Inner {
    /// Brings the copy's bounds within those of the log.
    fn align(&mut self, now: TimestampMs) -> Result<(), LogError> {
        let Some(Future { log: copy, .. }) = &mut self.future else { return Ok(()) };
        let (start, end) = (self.log.log_start_offset(), self.log.log_end_offset());
        let cut = if copy.log_end_offset() < start {
            copy.truncate_fully_and_start_at(start, now)?
        } else {
            copy.truncate_to(end, now)?
        };
        for segment in cut {
            // What stays is removed with the directory, or by the next start.
            let _ = segment.purge();
        }
        Ok(())
    }

    /// Cuts off the copy what is cut off the log at `offset`.
    pub(super) fn cut_copy(&mut self, offset: Offset, now: TimestampMs) {
        let Some(Future { log: copy, dir }) = &mut self.future else { return };
        match copy.truncate_to(offset, now) {
            Ok(cut) => cut.into_iter().for_each(|segment| _ = segment.purge()),
            Err(error) => {
                tracing::error!(%error, "a log that is moved is not cut: it stays where it was");
                if let Some(source) = error.io_error() {
                    dir.note_error(source);
                }
                self.future = None;
            }
        }
    }

    /// Brings a copy that a past process left in line: it is what both have of the same epochs.
    pub(super) fn match_epochs(&mut self, now: TimestampMs) {
        while let Some(future) = &self.future {
            let Some(epoch) = future.log.latest_epoch() else {
                // Without an epoch nothing tells that the records are the same.
                return self.cut_copy(Offset(0), now);
            };
            let Some((known, end)) = self.log.end_offset_for_epoch(epoch) else {
                return self.cut_copy(Offset(0), now);
            };
            let (cut, is_complete) = future.log.epoch_cut(known, end);
            self.cut_copy(cut, now);
            if is_complete {
                return;
            }
        }
    }

    /// Returns how many bytes the copy lacks, about.
    fn left(&self) -> u64 {
        let Some(future) = &self.future else { return u64::MAX };
        if future.log.log_end_offset() == self.log.log_end_offset() {
            return 0;
        }
        let (offset, end) = (future.log.log_end_offset(), self.log.log_end_offset());
        let slice = self.log.read(offset, u32::MAX, end, true);
        slice.map_or(u64::MAX, |slice| u64::from(slice.size))
    }

    fn copy_rest(&mut self, now: TimestampMs) -> Result<(), MoveError> {
        let end = self.log.log_end_offset();
        while let Some(future) = &mut self.future
            && future.log.log_end_offset() < end
        {
            let slice = self.log.read(future.log.log_end_offset(), u32::MAX, end, true)?;
            let bytes = slice.bytes().map_err(MoveError::Bytes)?;
            let appended = future.log.append_as_follower(&bytes, LeaderEpoch(i32::MAX), now)?;
            if appended.is_none() {
                // Compaction left nothing at the end; the offsets are given out all the same.
                break;
            }
        }
        Ok(())
    }
}
