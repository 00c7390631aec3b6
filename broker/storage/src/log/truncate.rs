//! Truncation: the end of the log moves back, because a leader's log is another.
//!
//! Durable before it returns, so that a crash does not bring the cut records back.

use std::sync::Arc;

use broker_protocol::quantity::{LeaderEpoch, Offset, TimestampMs};

use super::retain::DeletedSegment;
use super::{Log, LogError, Unrequested};
use crate::commit::{Flushed, SyncUnit};
use crate::segment::Segment;

/// What a truncation by leader epoch did.
#[derive(Debug)]
pub struct EpochTruncation {
    /// The files of whole segments that fell away.
    pub deleted: Vec<DeletedSegment>,
    /// Whether the log now agrees with the leader's. Otherwise the leader is to be asked again, for what
    /// is now the log's latest epoch, which is an earlier one.
    pub is_complete: bool,
}

impl Log {
    /// Removes what the leader's log does not have, by its answer to where this log's latest epoch ends:
    /// `epoch`, the largest it knows up to that one, and its `end_offset` (exclusive) there.
    ///
    /// Where the leader knows none at all there is no answer, and [`Log::truncate_to`] the high watermark
    /// is what is left. Nothing that both logs have is removed once the truncation is complete.
    ///
    /// # Errors
    /// As [`Log::truncate_to`].
    ///
    /// Source: KIP-101 and KIP-279; Kafka 3.9 `AbstractFetcherThread`.
    pub fn truncate_to_epoch_end(
        &mut self,
        epoch: LeaderEpoch,
        end_offset: Offset,
        now: TimestampMs,
    ) -> Result<EpochTruncation, LogError> {
        let (offset, is_complete) = match self.end_offset_for_epoch(epoch) {
            // Both logs wrote in that epoch: they agree up to where the shorter ends it.
            Some((own, own_end)) if own == epoch => (own_end.min(end_offset), true),
            // Only the leader's did. What is behind the epochs before it is of no leader that counts.
            Some((_, own_end)) => (own_end, false),
            // Nothing here is older.
            None => (end_offset, true),
        };
        let deleted = self.truncate_to(offset, now)?;
        Ok(EpochTruncation { deleted, is_complete })
    }

    /// Removes every record at `offset` and above, with the batch that contains it.
    ///
    /// Returns the files of whole segments that fell away. Nothing happens if the log ends before.
    /// Afterwards the caller writes the recovery point checkpoint, before anything is appended.
    ///
    /// # Errors
    /// The directory must go offline: the log is cut in part.
    pub fn truncate_to(
        &mut self,
        offset: Offset,
        now: TimestampMs,
    ) -> Result<Vec<DeletedSegment>, LogError> {
        if offset >= self.log_end_offset {
            return Ok(Vec::new());
        }
        if offset < self.first().base_offset || offset < self.log_start_offset {
            return self.truncate_fully_and_start_at(offset, now);
        }
        let mut deleted = Vec::new();
        while self.active().base_offset >= offset && self.segments.len() > 1 {
            deleted.extend(self.pop_active()?);
        }
        self.recent.clear();
        self.active_mut().truncate_to(offset)?;
        let file = self.active().file()?.clone();
        file.sync_data().map_err(|source| self.sync_error(source))?;
        self.fs.sync_dir(&self.dir).map_err(|source| self.sync_error(source))?;

        let recovery_point = self.flushed.offset().min(offset);
        self.log_end_offset = offset;
        self.restart_sync(recovery_point)?;
        self.epochs.truncate_from_end(offset);
        self.epochs.flush()?;
        self.rebuild_producers(now, i64::MAX, Offset(i64::MAX))?;
        self.assert_order();
        Ok(deleted)
    }

    /// Removes everything; the next record gets `offset`.
    ///
    /// # Errors
    /// The directory must go offline.
    pub fn truncate_fully_and_start_at(
        &mut self,
        offset: Offset,
        now: TimestampMs,
    ) -> Result<Vec<DeletedSegment>, LogError> {
        let mut deleted = Vec::new();
        while !self.segments.is_empty() {
            deleted.extend(self.pop_active()?);
        }
        let config = self.segment_config();
        self.segments.push_back(Segment::create(&self.fs, &self.dir, offset, config, now)?);
        self.fs.sync_dir(&self.dir).map_err(|source| self.sync_error(source))?;
        self.recent.clear();
        (self.log_start_offset, self.log_end_offset) = (offset, offset);
        self.restart_sync(offset)?;
        self.epochs.clear();
        self.epochs.flush()?;
        self.producers.truncate_fully_and_start_at(offset)?;
        self.assert_order();
        Ok(deleted)
    }

    fn pop_active(&mut self) -> Result<Option<DeletedSegment>, LogError> {
        let Some(segment) = self.segments.pop_back() else { return Ok(None) };
        self.size -= u64::from(segment.size());
        Ok(Some(self.delete(segment)?))
    }

    /// Counts sizes and durability anew: syncs of what was cut must not move the recovery point.
    fn restart_sync(&mut self, recovery_point: Offset) -> Result<(), LogError> {
        self.size = self.segments().map(|segment| u64::from(segment.size())).sum();
        self.unrequested = Unrequested::default();
        self.is_closed = false;
        self.flushed = Arc::new(Flushed::new(recovery_point));
        let active = self.active();
        let file = active.file()?.clone();
        // Older segments may still owe a sync: the new unit goes on where the old one was.
        let prior = Some(self.sync_unit.clone());
        let (fs, dir) = (self.fs.clone(), self.dir.clone());
        self.sync_unit = SyncUnit::new(fs, dir, file, self.flushed.clone(), prior);
        Ok(())
    }

    pub(super) fn delete(&mut self, segment: Segment) -> Result<DeletedSegment, LogError> {
        let base_offset = segment.base_offset;
        let files = segment.mark_deleted()?;
        if base_offset.0 > 0 {
            self.producers.remove_snapshot(base_offset)?;
        }
        Ok(DeletedSegment { fs: self.fs.clone(), base_offset, files })
    }
}
