//! Look-ups by timestamp, for ListOffsets.
//!
//! The time index leads to a batch; which record in it is meant takes reading (and perhaps
//! decompressing) that one batch. May read from the disk.
//!
//! Source: Kafka 3.9 `UnifiedLog.fetchOffsetByTimestamp`.

use broker_protocol::quantity::{LeaderEpoch, Offset, TimestampMs};
use broker_protocol::record::compression::DECOMPRESSED_SIZE_MAX;
use broker_protocol::record::entries::{Entry as Stored, entries};

use super::{Log, LogError};
use crate::segment::scan::Entry;
use crate::segment::{Segment, SegmentError};

/// A record found by its time.
pub type Found = (TimestampMs, Offset, LeaderEpoch);

/// The epoch of records that were written before there were any.
const NO_LEADER_EPOCH: LeaderEpoch = LeaderEpoch(-1);

impl Log {
    /// Finds the first record at or above the log start and below `upper_bound` whose timestamp is
    /// `target` or later.
    pub fn offset_for_timestamp(
        &self,
        target: TimestampMs,
        upper_bound: Offset,
    ) -> Result<Option<Found>, LogError> {
        let first = self.segment_index(self.log_start_offset);
        for segment in self.segments.range(first..) {
            if segment.base_offset >= upper_bound {
                break;
            }
            if segment.max_timestamp.timestamp < target {
                continue;
            }
            if let Some(found) = self.search(segment, target)? {
                return Ok(Some(found).filter(|(_, offset, _)| *offset < upper_bound));
            }
        }
        Ok(None)
    }

    fn search(&self, segment: &Segment, target: TimestampMs) -> Result<Option<Found>, LogError> {
        // Everything up to the entry before is older than the target.
        let below = TimestampMs(target.0.saturating_sub(1));
        let from = segment.time_index.lookup(below).map_err(SegmentError::from)?;
        let start = segment.find(from.offset.max(self.log_start_offset))?;
        let Some(start) = start else { return Ok(None) };
        let mut candidates = Vec::new();
        let mut from = start.position;
        loop {
            segment.for_each(from, |entry| {
                if entry.max_timestamp >= target {
                    candidates.push(*entry);
                }
                Ok(candidates.is_empty())
            })?;
            let Some(entry) = candidates.pop() else { return Ok(None) };
            let mut found = None;
            self.for_each_record(segment, &entry, |timestamp, offset| {
                if found.is_none() && timestamp >= target && offset >= self.log_start_offset {
                    found = Some((timestamp, offset));
                }
            })?;
            if let Some((timestamp, offset)) = found {
                return Ok(Some((timestamp, offset, self.epoch_of(&entry))));
            }
            from = entry.end_position();
        }
    }

    /// Finds the first record with the largest timestamp of the log; `None` if no record has one.
    pub fn max_timestamp_offset(&self) -> Result<Option<Found>, LogError> {
        let mut best: Option<&Segment> = None;
        for segment in &self.segments {
            let is_better = best
                .is_none_or(|best| segment.max_timestamp.timestamp > best.max_timestamp.timestamp);
            if segment.max_timestamp.timestamp.0 >= 0 && is_better {
                best = Some(segment);
            }
        }
        let Some(segment) = best else { return Ok(None) };
        let Some(entry) = segment.find(segment.max_timestamp.offset)? else { return Ok(None) };
        let mut found: Option<(TimestampMs, Offset)> = None;
        self.for_each_record(segment, &entry, |timestamp, offset| {
            if found.is_none_or(|(best, _)| timestamp > best) && offset >= self.log_start_offset {
                found = Some((timestamp, offset));
            }
        })?;
        Ok(found.map(|(timestamp, offset)| (timestamp, offset, self.epoch_of(&entry))))
    }

    /// Returns up to `count_max` offsets at which segments start that were last written at or before
    /// `timestamp`, highest first, for `ListOffsets` v0.
    ///
    /// `None` asks for the latest: the log's end comes first. With `Some(-1)` nothing is old enough.
    /// Source: Kafka 3.9 `UnifiedLog.legacyFetchOffsetsBefore`.
    pub fn offsets_before(
        &self,
        timestamp: Option<TimestampMs>,
        count_max: usize,
    ) -> Result<Vec<Offset>, LogError> {
        let mut offsets = Vec::new();
        if timestamp.is_none() {
            offsets.push(self.log_end_offset);
        }
        for segment in self.segments.iter().rev() {
            if offsets.len() >= count_max {
                break;
            }
            let is_old = match timestamp {
                Some(timestamp) => self.last_modified(segment)? <= timestamp,
                None => true,
            };
            if is_old && segment.size() > 0 {
                offsets.push(segment.base_offset.max(self.log_start_offset));
            }
        }
        offsets.truncate(count_max);
        Ok(offsets)
    }

    fn epoch_of(&self, entry: &Entry) -> LeaderEpoch {
        entry
            .leader_epoch()
            .or_else(|| self.epochs.epoch_for_offset(entry.base_offset))
            .unwrap_or(NO_LEADER_EPOCH)
    }

    /// Shows timestamp and offset of each record of a batch, in their order.
    fn for_each_record(
        &self,
        segment: &Segment,
        entry: &Entry,
        visit: impl FnMut(TimestampMs, Offset),
    ) -> Result<(), LogError> {
        let bytes = segment.read_batch(entry)?;
        decode(&bytes, visit).ok_or_else(|| LogError::Undecodable {
            dir: self.dir.to_path_buf(),
            base_offset: entry.base_offset,
        })
    }
}

/// Shows timestamp and offset of each record of a stored batch or message; `None` if it does not decode.
fn decode(bytes: &[u8], mut visit: impl FnMut(TimestampMs, Offset)) -> Option<()> {
    match entries(bytes).next()?.ok()? {
        Stored::Batch(batch) => {
            for record in &batch.records(DECOMPRESSED_SIZE_MAX).ok()? {
                let record = record.ok()?;
                visit(record.timestamp, record.offset);
            }
        }
        Stored::Legacy(message) => message
            .for_each(DECOMPRESSED_SIZE_MAX, |message| {
                visit(message.timestamp, message.offset);
            })
            .ok()?,
    }
    Some(())
}
