//! Compaction, as the log takes part in it: what may be compacted, and segments replaced by others.
//!
//! The cleaner works without the log's lock on a [`Snapshot`]; only [`Log::replace_segments`] needs it.
//! In between anything may have happened to the log, so that the sources are compared with what the
//! log has now before anything is touched.

use std::sync::Arc;

use broker_protocol::quantity::{Offset, TimestampMs};

use super::retain::DeletedSegment;
use super::{Log, LogError};
use crate::cleaner::{
    Cleanable, CleanedSegment, ClosedSegment, LastRecord, LogFacts, Settings, Snapshot, Source,
    cleanable,
};
use crate::format::LOG_SUFFIX;
use crate::segment::{Segment, SegmentError};

impl Log {
    /// Returns which part of the log may be compacted now; nothing is done yet.
    ///
    /// `cleaned_to` is the cleaner's checkpoint of this log.
    pub fn cleanable(
        &self,
        high_watermark: Offset,
        cleaned_to: Option<Offset>,
        now: TimestampMs,
    ) -> Result<Cleanable, LogError> {
        let settings = Settings::of(&self.config);
        let closed = self.closed_segments(settings.max_compaction_lag_ms < i64::MAX)?;
        let facts = LogFacts {
            closed: &closed,
            log_start_offset: self.log_start_offset,
            log_end_offset: self.log_end_offset,
            // What is not on stable storage yet is the commit thread's, by name and by file.
            last_stable_offset: self.last_stable_offset(high_watermark).min(self.recovery_point()),
            cleaned_to,
        };
        Ok(cleanable(&facts, &settings, now))
    }

    fn closed_segments(&self, with_first_timestamp: bool) -> Result<Vec<ClosedSegment>, LogError> {
        let closed = self.segments.iter().zip(0..self.segments.len() - 1);
        let facts = closed.map(|(segment, index)| {
            let first_timestamp =
                if with_first_timestamp { first_timestamp(segment)? } else { None };
            Ok(ClosedSegment {
                base_offset: segment.base_offset,
                end_offset: self.segment_end(index),
                size: segment.size(),
                largest_timestamp: self.largest_timestamp(segment)?,
                first_timestamp,
                index_sizes: (segment.index.size_in_bytes(), segment.time_index.size_in_bytes()),
            })
        });
        facts.collect()
    }

    /// Returns what the cleaner needs for a round over that part.
    pub fn snapshot_for_cleaner(&self, cleanable: Cleanable) -> Result<Snapshot, LogError> {
        let mut sources = Vec::new();
        for (facts, segment) in self.closed_segments(false)?.into_iter().zip(&self.segments) {
            if facts.end_offset > cleanable.first_uncleanable_offset {
                break;
            }
            let path = segment.path(LOG_SUFFIX);
            let modified_ms = self.fs.modified_ms(&path).map_err(|source| {
                LogError::Segment(SegmentError::Io { operation: "stat", path, source })
            })?;
            sources.push(Source { facts, file: segment.file()?.clone(), modified_ms });
        }
        let last_record = |entry: &crate::producer_state::ProducerEntry| LastRecord {
            last_data_offset: entry.batches().last().map(|batch| batch.last_offset),
            producer_epoch: entry.producer_epoch(),
        };
        Ok(Snapshot {
            fs: self.fs.clone(),
            dir: self.dir.to_path_buf(),
            sources,
            cleanable,
            settings: Settings::of(&self.config),
            aborted: self
                .aborted_transactions(self.first().base_offset, cleanable.first_uncleanable_offset),
            last_records: self
                .producers
                .iter()
                .map(|entry| (entry.producer_id(), last_record(entry)))
                .collect(),
        })
    }

    /// Puts a compacted segment in the place of its sources, durably.
    ///
    /// `None` if the log no longer has the sources: the compacted segment is then discarded, and so
    /// must be the round.
    ///
    /// # Errors
    /// The directory must go offline; recovery completes or undoes the swap.
    ///
    /// # Panics
    /// If a source is the active segment.
    pub fn replace_segments(
        &mut self,
        cleaned: &CleanedSegment,
        now: TimestampMs,
    ) -> Result<Option<DeletedSegment>, LogError> {
        let base_offset = cleaned.base_offset();
        let io = |operation, source| {
            let path = self.dir.join(format!("{base_offset}"));
            LogError::Segment(SegmentError::Io { operation, path, source })
        };
        let Some(first) = self.position_of(cleaned)? else {
            cleaned.discard().map_err(|source| io("discard compacted segment", source))?;
            return Ok(None);
        };
        let last = first + cleaned.sources.len();
        assert!(last < self.segments.len(), "the active segment is never compacted");
        self.is_closed = false;
        let files = cleaned.swap_in().map_err(|source| io("swap in compacted segment", source))?;
        for source in &cleaned.sources[1..] {
            self.producers.remove_snapshot(*source)?;
        }
        let config = self.segment_config();
        let opened = Segment::open(&self.fs, &self.dir, base_offset, config, now)?;
        let mut segment = opened.map_err(|segment| SegmentError::Damaged {
            path: segment.path(LOG_SUFFIX),
            position: 0,
        })?;
        segment.load_max_timestamp()?;
        assert_eq!(segment.size(), cleaned.size, "{}: the segment is another", self.partition);
        let before: u64 = self.segments.range(first..last).map(|s| u64::from(s.size())).sum();
        self.size = self.size - before + u64::from(segment.size());
        self.segments.drain(first + 1..last);
        self.segments[first] = segment;
        self.assert_order();
        Ok(Some(DeletedSegment { fs: self.fs.clone(), base_offset, files }))
    }

    /// Returns where the sources stand among the segments, if they are all still the same files.
    fn position_of(&self, cleaned: &CleanedSegment) -> Result<Option<usize>, LogError> {
        let first = self.segment_index(cleaned.base_offset());
        for (number, (offset, file)) in cleaned.sources.iter().zip(&cleaned.files).enumerate() {
            let Some(segment) = self.segments.get(first + number) else { return Ok(None) };
            if segment.base_offset != *offset || !Arc::ptr_eq(segment.file()?, file) {
                return Ok(None);
            }
        }
        Ok(Some(first))
    }
}

/// Returns the timestamp of a segment's first batch.
fn first_timestamp(segment: &Segment) -> Result<Option<TimestampMs>, SegmentError> {
    let mut found = None;
    segment.for_each(0, |entry| {
        found = Some(entry.max_timestamp).filter(|timestamp| timestamp.0 >= 0);
        Ok(false)
    })?;
    Ok(found)
}
