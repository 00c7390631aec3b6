//! Retention: the start of the log moves forward, and segments below it go.
//!
//! In steps, so that the caller can wait for the disk between them: first it is known how far
//! ([`Log::retention_end`], or DeleteRecords says so), then the commit thread syncs up to there, then the
//! start moves ([`Log::advance_log_start_offset`]), then the checkpoint is written, then
//! [`Log::remove_old_segments`] takes files away. A crash in between keeps too much, never too little,
//! and the start never moves back.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use broker_protocol::quantity::{Offset, TimestampMs};

use super::{Log, LogError};
use crate::format::LOG_SUFFIX;
use crate::fs::{Fs, remove_if_exists};
use crate::retention::{Limits, SegmentFacts, deletable};
use crate::segment::{Segment, SegmentError};

/// A segment that left the log; its files are named `.deleted` and wait for `file.delete.delay.ms`.
#[derive(Debug)]
pub struct DeletedSegment {
    pub(crate) fs: Arc<dyn Fs>,
    pub(crate) base_offset: Offset,
    pub(crate) files: Vec<PathBuf>,
}

impl DeletedSegment {
    /// Returns the first offset it held.
    pub fn base_offset(&self) -> Offset {
        self.base_offset
    }

    /// Removes the files. A crash before leaves them to the next start, which removes them too.
    pub fn purge(self) -> io::Result<()> {
        for file in &self.files {
            remove_if_exists(self.fs.as_ref(), file)?;
        }
        Ok(())
    }
}

impl Log {
    /// Moves the log start offset to `offset`, for DeleteRecords or because the leader did.
    ///
    /// Returns whether it moved; it never moves back. What lies below the new start must be synced, by
    /// the commit thread: a sync that fails here would be one that it never hears of. The file of epochs
    /// is left as it is: after a crash before the checkpoint, what lies below the start is back.
    ///
    /// # Panics
    /// If `offset` is above the recovery point.
    pub fn advance_log_start_offset(&mut self, offset: Offset) -> bool {
        assert!(offset <= self.flushed.offset(), "{}: start above recovery", self.partition);
        if offset <= self.log_start_offset {
            return false;
        }
        self.log_start_offset = offset;
        self.epochs.truncate_from_start(offset);
        self.producers.advance_log_start_offset(offset);
        self.assert_order();
        true
    }

    /// Returns where the log may start, by the segments that `retention.ms`, `retention.bytes` or the log
    /// start offset let go, all below the high watermark; `None` if each is kept. Rolls if the active
    /// segment is among them.
    pub fn retention_end(
        &mut self,
        now: TimestampMs,
        high_watermark: Offset,
    ) -> Result<Option<Offset>, LogError> {
        let limits = self.limits();
        let mut facts = Vec::with_capacity(self.segments.len());
        for (index, segment) in self.segments.iter().enumerate() {
            facts.push(SegmentFacts {
                base_offset: segment.base_offset,
                end_offset: self.segment_end(index),
                size_in_bytes: u64::from(segment.size()),
                largest_timestamp: self.largest_timestamp(segment)?,
            });
        }
        let bound = high_watermark.min(self.log_end_offset);
        let reasons = deletable(&facts, limits, self.log_start_offset, bound, now);
        let Some(last) = reasons.len().checked_sub(1) else { return Ok(None) };
        if last + 1 == self.segments.len() {
            self.roll(now)?;
        }
        for (segment, reason) in facts.iter().zip(&reasons) {
            tracing::info!(
                partition = %self.partition, base_offset = %segment.base_offset, ?reason,
                "segment is past its retention"
            );
        }
        Ok(Some(facts[last].end_offset))
    }

    fn limits(&self) -> Limits {
        if !self.config.cleanup_policy.delete {
            return Limits { retention_ms: None, retention_bytes: None };
        }
        Limits {
            retention_ms: Some(self.config.retention_ms).filter(|limit| *limit >= 0),
            retention_bytes: u64::try_from(self.config.retention_bytes).ok(),
        }
    }

    pub(super) fn largest_timestamp(&self, segment: &Segment) -> Result<TimestampMs, LogError> {
        if segment.max_timestamp.timestamp.0 >= 0 {
            return Ok(segment.max_timestamp.timestamp);
        }
        // Records without timestamps are as old as the file.
        self.last_modified(segment)
    }

    pub(super) fn last_modified(&self, segment: &Segment) -> Result<TimestampMs, LogError> {
        let path = segment.path(LOG_SUFFIX);
        match self.fs.modified_ms(&path) {
            Ok(modified) => Ok(TimestampMs(modified)),
            Err(source) => Err(SegmentError::Io { operation: "stat", path, source }.into()),
        }
    }

    /// Takes the segments that end at or below the log start offset out of the log.
    ///
    /// The log start offset must be in its checkpoint by now, unless it is a segment's first offset.
    /// The renames are durable after the caller's next sync of the directory; a crash undoes them
    /// harmlessly.
    pub fn remove_old_segments(&mut self) -> Result<Vec<DeletedSegment>, LogError> {
        let mut deleted = Vec::new();
        while self.segments.len() > 1 && self.segment_end(0) <= self.log_start_offset {
            let Some(segment) = self.segments.pop_front() else { break };
            self.size -= u64::from(segment.size());
            deleted.push(self.delete(segment)?);
        }
        self.assert_order();
        Ok(deleted)
    }
}
