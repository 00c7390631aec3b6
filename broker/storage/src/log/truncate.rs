//! Truncation: the end of the log moves back, because a leader's log is another.
//!
//! The cut is made at once and is durable with the next sync. Around it the caller, so that no crash leaves
//! a mixture of what was cut off and what is appended afterwards:
//! 1. writes a recovery point at or below the cut ([`Log::epoch_cut`] says where it will be), so that
//!    recovery looks at everything above;
//! 2. cuts;
//! 3. syncs ([`Log::sync_point`]), and appends nothing before that.
//!
//! Only where whole segments fall away their names are synced here, one after the other: otherwise one
//! could come back behind a hole.

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
        let (offset, is_complete) = self.epoch_cut(epoch, end_offset);
        let deleted = self.truncate_to(offset, now)?;
        Ok(EpochTruncation { deleted, is_complete })
    }

    /// Returns where [`Log::truncate_to_epoch_end`] cuts, and whether the logs agree then.
    pub fn epoch_cut(&self, epoch: LeaderEpoch, end_offset: Offset) -> (Offset, bool) {
        match self.end_offset_for_epoch(epoch) {
            // Both logs wrote in that epoch: they agree up to where the shorter ends it.
            Some((own, own_end)) if own == epoch => (own_end.min(end_offset), true),
            // Only the leader's did. What is behind the epochs before it is of no leader that counts.
            Some((_, own_end)) => (own_end, false),
            // Nothing here is older.
            None => (end_offset, true),
        }
    }

    /// Removes every record at `offset` and above, with the batch that contains it.
    ///
    /// Returns the files of whole segments that fell away. Of a log that ends before only the epochs go
    /// that wrote nothing.
    ///
    /// # Errors
    /// The directory must go offline: the log is cut in part.
    pub fn truncate_to(
        &mut self,
        offset: Offset,
        now: TimestampMs,
    ) -> Result<Vec<DeletedSegment>, LogError> {
        if offset >= self.log_end_offset {
            self.forget_empty_epochs();
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
        self.log_end_offset = offset;
        let recovery_point = self.flushed.offset().min(offset);
        self.restart_sync(recovery_point, deleted.is_empty())?;
        self.epochs.truncate_from_end(offset);
        self.rebuild_producers(now, i64::MAX, Offset(i64::MAX))?;
        self.assert_order();
        Ok(deleted)
    }

    /// Removes everything; the next record gets `offset`. Durable before it returns.
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
        self.restart_sync(offset, false)?;
        self.epochs.clear();
        self.epochs.flush(offset)?;
        self.producers.truncate_fully_and_start_at(offset)?;
        self.assert_order();
        Ok(deleted)
    }

    fn pop_active(&mut self) -> Result<Option<DeletedSegment>, LogError> {
        let Some(segment) = self.segments.pop_back() else { return Ok(None) };
        self.size -= u64::from(segment.size());
        let deleted = self.delete(segment)?;
        self.fs.sync_dir(&self.dir).map_err(|source| self.sync_error(source))?;
        Ok(Some(deleted))
    }

    /// Counts sizes and durability anew: syncs of what was cut must not move the recovery point.
    fn restart_sync(&mut self, recovery_point: Offset, is_same_file: bool) -> Result<(), LogError> {
        self.size = self.segments().map(|segment| u64::from(segment.size())).sum();
        self.unrequested = Unrequested::default();
        self.is_closed = false;
        self.flushed = Arc::new(Flushed::new(recovery_point));
        self.sync_unit = if is_same_file {
            self.sync_unit.after_cut(self.flushed.clone())
        } else {
            let file = self.active().file()?.clone();
            // Older segments may still owe a sync: the new unit goes on where the old one was.
            let prior = Some(self.sync_unit.clone());
            let (fs, dir) = (self.fs.clone(), self.dir.clone());
            SyncUnit::new(fs, dir, file, self.flushed.clone(), prior).owing_a_cut()
        };
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
