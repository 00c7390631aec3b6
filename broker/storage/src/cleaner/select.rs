//! Which part of a log may be compacted, whether it is worth it, and which segments become one.
//!
//! ```text
//! log start ... first_dirty_offset ... first_uncleanable_offset ... log end
//!      clean already         to be cleaned now           must stay as it is
//! ```
//!
//! Pure functions over facts. Source: Kafka 3.9 `LogCleanerManager.cleanableOffsets`,
//! `Cleaner.groupSegmentsBySize`.

use std::ops::Range;

use broker_protocol::quantity::{Offset, TimestampMs};

use super::Settings;

/// What compaction must know about a closed segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClosedSegment {
    /// Its first offset.
    pub base_offset: Offset,
    /// The next segment's first offset.
    pub end_offset: Offset,
    /// The size of its log file in bytes.
    pub size: u32,
    /// The largest timestamp of its records.
    pub largest_timestamp: TimestampMs,
    /// The timestamp of its first batch; `None` if that has none.
    pub first_timestamp: Option<TimestampMs>,
    /// The sizes of its offset and time index in bytes.
    pub index_sizes: (u32, u32),
}

/// What compaction must know about a log.
#[derive(Debug, Clone, Copy)]
pub struct LogFacts<'a> {
    /// All segments but the active one, in order.
    pub closed: &'a [ClosedSegment],
    /// The first offset readers may see.
    pub log_start_offset: Offset,
    /// The offset the next record will get.
    pub log_end_offset: Offset,
    /// Below it, every transaction is decided and every record replicated.
    pub last_stable_offset: Offset,
    /// Up to where the log was cleaned, from the checkpoint.
    pub cleaned_to: Option<Offset>,
}

/// The part of a log that may be compacted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cleanable {
    /// Everything below was cleaned before.
    pub first_dirty_offset: Offset,
    /// Nothing at or above is touched. Begins a segment.
    pub first_uncleanable_offset: Offset,
    /// The bytes below `first_dirty_offset`.
    pub clean_bytes: u64,
    /// The bytes between the two offsets.
    pub dirty_bytes: u64,
    /// Whether a record waits longer than `max.compaction.lag.ms`.
    pub is_overdue: bool,
}

impl Cleanable {
    /// Returns the share of dirty bytes, from 0 to 1; logs with more go first.
    pub fn dirty_ratio(&self) -> f64 {
        let total = self.clean_bytes + self.dirty_bytes;
        if total == 0 { 0.0 } else { self.dirty_bytes as f64 / total as f64 }
    }

    /// Returns whether the log is to be compacted now.
    pub fn is_due(&self, settings: &Settings) -> bool {
        self.dirty_bytes > 0
            && (self.is_overdue || self.dirty_ratio() > settings.min_cleanable_dirty_ratio)
    }
}

/// Returns which part of a log may be compacted at `now`.
///
/// # Panics
/// If the segments are not adjacent and in order.
pub fn cleanable(log: &LogFacts<'_>, settings: &Settings, now: TimestampMs) -> Cleanable {
    for pair in log.closed.windows(2) {
        assert_eq!(pair[0].end_offset, pair[1].base_offset, "segments are adjacent");
    }
    // A checkpoint outside the log is about records that are gone: all of the log counts as dirty.
    let within = |offset: &Offset| (log.log_start_offset..=log.log_end_offset).contains(offset);
    let first_dirty_offset = log.cleaned_to.filter(within).unwrap_or(log.log_start_offset);
    let lag_start = now.0.saturating_sub(settings.min_compaction_lag_ms.max(0));
    let is_dirty = |segment: &ClosedSegment| segment.end_offset > first_dirty_offset;
    let is_too_young = |segment: &ClosedSegment| {
        settings.min_compaction_lag_ms > 0
            && is_dirty(segment)
            && segment.largest_timestamp.0 > lag_start
    };
    let end = log
        .closed
        .iter()
        .take_while(|s| s.end_offset <= log.last_stable_offset && !is_too_young(s))
        .count();
    let cleanable = &log.closed[..end];
    let start = cleanable.iter().take_while(|segment| !is_dirty(segment)).count();
    let bytes = |segments: &[ClosedSegment]| segments.iter().map(|s| u64::from(s.size)).sum();
    let overdue_before = now.0.saturating_sub(settings.max_compaction_lag_ms.max(0));
    let is_overdue = |segment: &ClosedSegment| {
        segment.first_timestamp.is_some_and(|first| first.0 > 0 && first.0 < overdue_before)
    };
    let found = Cleanable {
        first_dirty_offset,
        first_uncleanable_offset: cleanable.last().map_or(first_dirty_offset, |s| s.end_offset),
        // The segment that the checkpoint lies in counts as dirty as a whole.
        clean_bytes: bytes(&cleanable[..start]),
        dirty_bytes: bytes(&cleanable[start..]),
        is_overdue: log.closed.iter().filter(|s| is_dirty(s)).any(is_overdue),
    };
    let has_order = found.dirty_bytes == 0 || first_dirty_offset < found.first_uncleanable_offset;
    assert!(has_order, "dirty bytes lie between the two offsets: {found:?}");
    found
}

/// Splits segments into runs, each of which will be one segment after compaction.
///
/// A run fits the size of a segment and of its indexes even if nothing can be dropped, and its offsets
/// fit the 31 bits that an index has for them.
pub(super) fn groups(segments: &[ClosedSegment], settings: &Settings) -> Vec<Range<usize>> {
    let mut groups: Vec<Range<usize>> = Vec::new();
    let (mut size, mut index, mut time_index) = (0_u64, 0_u64, 0_u64);
    for (number, segment) in segments.iter().enumerate() {
        size += u64::from(segment.size);
        index += u64::from(segment.index_sizes.0);
        time_index += u64::from(segment.index_sizes.1);
        let fits = |group: &&mut Range<usize>| {
            let offsets = segment.end_offset.0 - 1 - segments[group.start].base_offset.0;
            size <= u64::from(settings.segment_bytes)
                && index.max(time_index) <= u64::from(settings.segment_index_bytes)
                && offsets <= i64::from(i32::MAX)
        };
        if let Some(group) = groups.last_mut().filter(fits) {
            group.end = number + 1;
        } else {
            groups.push(number..number + 1);
            size = u64::from(segment.size);
            index = u64::from(segment.index_sizes.0);
            time_index = u64::from(segment.index_sizes.1);
        }
    }
    assert_eq!(groups.iter().map(Range::len).sum::<usize>(), segments.len(), "none is left out");
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: Settings = Settings {
        segment_bytes: 1000,
        segment_index_bytes: 100,
        index_interval_bytes: 4096,
        delete_retention_ms: 0,
        min_compaction_lag_ms: 0,
        max_compaction_lag_ms: i64::MAX,
        min_cleanable_dirty_ratio: 0.5,
    };

    /// Segments of ten offsets and the sizes given; the n-th has timestamps from 100n to 100n + 99.
    fn segments(sizes: &[u32]) -> Vec<ClosedSegment> {
        let segment = |(number, size): (i64, &u32)| ClosedSegment {
            base_offset: Offset(number * 10),
            end_offset: Offset(number * 10 + 10),
            size: *size,
            largest_timestamp: TimestampMs(number * 100 + 99),
            first_timestamp: Some(TimestampMs(number * 100)),
            index_sizes: (8, 12),
        };
        (0..).zip(sizes).map(segment).collect()
    }

    fn facts(closed: &[ClosedSegment]) -> LogFacts<'_> {
        LogFacts {
            closed,
            log_start_offset: Offset(0),
            log_end_offset: Offset(100),
            last_stable_offset: Offset(100),
            cleaned_to: None,
        }
    }

    fn offsets(log: &LogFacts<'_>, settings: &Settings) -> (i64, i64, u64, u64) {
        let found = cleanable(log, settings, TimestampMs(400));
        let (dirty, uncleanable) = (found.first_dirty_offset, found.first_uncleanable_offset);
        (dirty.0, uncleanable.0, found.clean_bytes, found.dirty_bytes)
    }

    #[test]
    fn the_cleanable_part_ends_before_what_is_young_undecided_or_active() {
        let closed = segments(&[1, 2, 4, 8]);
        let log = facts(&closed);
        let at = |offset| Some(Offset(offset));
        let lag = |min_compaction_lag_ms| Settings { min_compaction_lag_ms, ..SETTINGS };
        assert_eq!(offsets(&log, &SETTINGS), (0, 40, 0, 15), "never cleaned");
        let cleaned = LogFacts { cleaned_to: at(20), ..log };
        assert_eq!(offsets(&cleaned, &SETTINGS), (20, 40, 3, 12), "half cleaned");
        let inside = LogFacts { cleaned_to: at(15), ..log };
        assert_eq!(offsets(&inside, &SETTINGS), (15, 40, 1, 14), "cleaned into a segment");
        let beyond = LogFacts { cleaned_to: at(101), ..log };
        assert_eq!(offsets(&beyond, &SETTINGS), (0, 40, 0, 15), "cleaned beyond the end");
        let unstable = LogFacts { last_stable_offset: Offset(29), ..log };
        assert_eq!(offsets(&unstable, &SETTINGS), (0, 20, 0, 3), "an open transaction");
        assert_eq!(offsets(&log, &lag(150)), (0, 20, 0, 3), "segments of the last 150 ms");
        assert_eq!(offsets(&log, &lag(1)), (0, 40, 0, 15), "all old enough");
        assert_eq!(offsets(&facts(&[]), &SETTINGS), (0, 0, 0, 0), "only an active segment");
    }

    #[test]
    fn a_log_is_due_by_its_ratio_or_by_its_age() {
        let closed = segments(&[5, 5]);
        let log = LogFacts { cleaned_to: Some(Offset(10)), ..facts(&closed) };
        let due =
            |settings: &Settings| cleanable(&log, settings, TimestampMs(400)).is_due(settings);
        assert!(!due(&SETTINGS), "half is not more than half");
        assert!(due(&Settings { min_cleanable_dirty_ratio: 0.4, ..SETTINGS }));
        assert!(due(&Settings { max_compaction_lag_ms: 299, ..SETTINGS }));
        assert!(!due(&Settings { max_compaction_lag_ms: 300, ..SETTINGS }));
        let clean = LogFacts { cleaned_to: Some(Offset(20)), ..log };
        assert!(!cleanable(&clean, &SETTINGS, TimestampMs(400)).is_due(&SETTINGS));
    }

    #[test]
    fn segments_are_grouped_up_to_every_limit() {
        let by_size = segments(&[400, 600, 1, 999, 2000, 1]);
        assert_eq!(groups(&by_size, &SETTINGS), [0..2, 2..4, 4..5, 5..6]);
        let by_index = segments(&[1; 20]);
        assert_eq!(groups(&by_index, &SETTINGS), [0..8, 8..16, 16..20]);
        let mut by_offset = segments(&[1, 1, 1]);
        by_offset[1].end_offset = Offset(i64::from(i32::MAX) + 1);
        by_offset[2].base_offset = by_offset[1].end_offset;
        by_offset[2].end_offset = Offset(by_offset[1].end_offset.0 + 1);
        assert_eq!(groups(&by_offset, &SETTINGS), [0..2, 2..3]);
        assert!(groups(&[], &SETTINGS).is_empty());
    }
}
