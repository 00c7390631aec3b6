//! When the active segment ends and the next one begins.
//!
//! By size, by time, when an index is full, and before an offset would be further from the base than
//! the indexes' 31 bits. What the old segment still owes the disk goes with the first sync of the new
//! one, so a roll itself waits for nothing.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::PathBuf;

use broker_protocol::quantity::{Offset, TimestampMs};

use super::{Log, LogError};
use crate::commit::SyncUnit;
use crate::format::{
    INDEX_SUFFIX, SNAPSHOT_SUFFIX, TIME_INDEX_SUFFIX, TXN_INDEX_SUFFIX, file_path,
};
use crate::segment::Segment;
use crate::segment::scan::Entry;

impl Log {
    /// Rolls if a batch of this size, end and timestamp should not go to the active segment.
    pub(crate) fn maybe_roll(
        &mut self,
        size: u32,
        last_offset: Offset,
        max_timestamp: TimestampMs,
        now: TimestampMs,
    ) -> Result<bool, LogError> {
        let active = self.active();
        let is_due = active.size() > 0
            && (size > (self.config.segment_bytes as u32).saturating_sub(active.size())
                || self.is_too_old(active.first_timestamp, max_timestamp, now)
                || active.is_index_full()
                || active.overflows(last_offset));
        // An empty segment may still begin too far below a follower's next batch.
        let is_far = active.size() == 0 && active.overflows(last_offset);
        if is_due || is_far {
            self.roll(now)?;
        }
        Ok(is_due || is_far)
    }

    /// Returns whether a follower's batch should not go to the active segment behind `pending`, of
    /// `pending_size` bytes, which are still to be written.
    pub(crate) fn is_roll_due(
        &self,
        pending_size: u32,
        entry: &Entry,
        pending: &[Entry],
        now: TimestampMs,
    ) -> bool {
        let active = self.active();
        let size = active.size() + pending_size;
        let first = pending.first().map(|first| first.max_timestamp).filter(|first| first.0 >= 0);
        let first_timestamp = active.first_timestamp.or(first);
        let is_due = size > 0
            && (entry.size > (self.config.segment_bytes as u32).saturating_sub(size)
                || self.is_too_old(first_timestamp, entry.max_timestamp, now)
                || active.is_index_full());
        is_due || active.overflows(entry.last_offset)
    }

    /// Starts a new segment if the active one holds something and is too old (`segment.ms`).
    ///
    /// Returns whether it did. For logs to which nothing is appended, so that compaction reaches their
    /// last records. Counted by the clock since the segment was made or loaded: by the records'
    /// timestamps a replay of old records would roll at every call.
    pub fn roll_if_due(&mut self, now: TimestampMs) -> Result<bool, LogError> {
        let active = self.active();
        let age = now.0.saturating_sub(active.created.0);
        let is_due = active.size() > 0 && self.is_above_age_max(age);
        if is_due {
            self.roll(now)?;
        }
        Ok(is_due)
    }

    /// Compares timestamp with timestamp where batches have them, and clock with clock otherwise.
    fn is_too_old(
        &self,
        first_timestamp: Option<TimestampMs>,
        max_timestamp: TimestampMs,
        now: TimestampMs,
    ) -> bool {
        let age = match first_timestamp {
            Some(first) => max_timestamp.0.saturating_sub(first.0),
            None => now.0.saturating_sub(self.active().created.0),
        };
        self.is_above_age_max(age)
    }

    /// Compares an age in milliseconds with what the settings and the segment's jitter allow.
    fn is_above_age_max(&self, age: i64) -> bool {
        // Cheap test first: the jitter is needed only when age is near the limit.
        age > self.segment_age_max().saturating_sub(self.config.segment_jitter_ms)
            && age > self.segment_age_max().saturating_sub(self.roll_jitter_ms())
    }

    /// The age in milliseconds at which the active segment is rolled.
    ///
    /// Compaction never reaches the active segment, so `max.compaction.lag.ms` bounds its age too.
    /// Source: Kafka 3.9 `LogConfig.maxSegmentMs`.
    fn segment_age_max(&self) -> i64 {
        let config = &self.config;
        if config.cleanup_policy.compact && config.max_compaction_lag_ms > 0 {
            config.segment_ms.min(config.max_compaction_lag_ms)
        } else {
            config.segment_ms
        }
    }

    /// Spreads the rolls of many partitions; fixed for a segment, so that it needs no memory.
    fn roll_jitter_ms(&self) -> i64 {
        let limit = self.config.segment_jitter_ms.min(self.segment_age_max());
        if limit <= 0 {
            return 0;
        }
        let mut hasher = DefaultHasher::new();
        (&self.partition, self.active().base_offset).hash(&mut hasher);
        (hasher.finish() % limit as u64) as i64
    }

    /// Ends the active segment and starts one at the log's end.
    ///
    /// # Errors
    /// The log is as before, but for the old segment's indexes, which may be cut to size already.
    pub(crate) fn roll(&mut self, now: TimestampMs) -> Result<(), LogError> {
        let base_offset = self.log_end_offset;
        assert!(self.active().base_offset < base_offset, "{}: nothing to roll", self.partition);
        self.is_closed = false;
        self.active_mut().seal()?;
        let config = self.segment_config();
        let segment = Segment::create(&self.fs, &self.dir, base_offset, config, now)?;
        self.producers.set_end_offset(base_offset);
        self.producers.take_snapshot(false)?;

        self.sync_unit.finish(self.finished_files(self.active()));
        self.start_sync_unit(&segment, true)?;
        self.segments.push_back(segment);
        self.recent.clear();
        self.assert_order();
        Ok(())
    }

    /// Makes the syncs of a new active segment cover the old one's too, if `keep_prior`.
    pub(crate) fn start_sync_unit(
        &mut self,
        segment: &Segment,
        keep_prior: bool,
    ) -> Result<(), LogError> {
        let prior = keep_prior.then(|| self.sync_unit.clone());
        let file = segment.file()?.clone();
        let (fs, dir) = (self.fs.clone(), self.dir.clone());
        self.sync_unit = SyncUnit::new(fs, dir, file, self.flushed.clone(), prior);
        Ok(())
    }

    /// Returns the files of a segment that get their last bytes when it is rolled.
    pub(crate) fn finished_files(&self, segment: &Segment) -> Vec<PathBuf> {
        let mut files: Vec<_> = [INDEX_SUFFIX, TIME_INDEX_SUFFIX, TXN_INDEX_SUFFIX]
            .into_iter()
            .map(|suffix| segment.path(suffix))
            .collect();
        files.push(file_path(&self.dir, self.log_end_offset, SNAPSHOT_SUFFIX));
        files
    }
}
