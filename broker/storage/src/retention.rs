//! Which segments of a log have to go: a pure function of what is known about them.
//!
//! Only whole segments, only from the front, never one that reaches above the high watermark: what is
//! not replicated yet must stay. The rules, in Kafka's order:
//! 1. time: the segment's largest timestamp is older than `retention_ms`;
//! 2. size: the log without the segment still has `retention_bytes`;
//! 3. log start: the segment lies wholly below the log start offset.
//!
//! Deciding is all this does: rolling an active segment before it goes, and deleting, are the log's.
//! Source: Kafka 3.9 `UnifiedLog.deleteOldSegments`.

use broker_protocol::quantity::{Offset, TimestampMs};

/// What retention must know about a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentFacts {
    /// Its first offset.
    pub base_offset: Offset,
    /// The next segment's first offset, or the log end offset (exclusive).
    pub end_offset: Offset,
    /// The size of its log file in bytes.
    pub size_in_bytes: u64,
    /// The largest timestamp of its records, or when its file was last written if they have none.
    pub largest_timestamp: TimestampMs,
}

/// How long and how much a log keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Age in milliseconds above which a segment goes; `None` for no bound.
    pub retention_ms: Option<i64>,
    /// Size in bytes that the log may shrink to, but not below; `None` for no bound.
    pub retention_bytes: Option<u64>,
}

/// Why a segment goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// Its records are older than the retention time.
    Time,
    /// The log is larger than the retention size.
    Size,
    /// It lies below the log start offset.
    LogStartOffset,
}

/// Returns why each of the first segments goes: as many as the answer is long.
///
/// `segments` are all of the log's, in order. If the last one is among the answer, the log rolls before
/// it deletes, so that there is always a segment to append to.
///
/// # Panics
/// If the segments are not adjacent and in order.
pub fn deletable(
    segments: &[SegmentFacts],
    limits: Limits,
    log_start_offset: Offset,
    high_watermark: Offset,
    now: TimestampMs,
) -> Vec<Reason> {
    for pair in segments.windows(2) {
        assert_eq!(pair[0].end_offset, pair[1].base_offset, "segments are adjacent");
    }
    let mut size: u64 = segments.iter().map(|segment| segment.size_in_bytes).sum();
    let mut reasons = Vec::new();
    for (index, segment) in segments.iter().enumerate() {
        let is_active = index + 1 == segments.len();
        // An empty active segment holds nothing to delete and is where appends go.
        if segment.end_offset > high_watermark || (is_active && segment.size_in_bytes == 0) {
            break;
        }
        let age_ms = now.0.saturating_sub(segment.largest_timestamp.0);
        let rest = size.saturating_sub(segment.size_in_bytes);
        let reason = if limits.retention_ms.is_some_and(|limit| age_ms > limit) {
            Reason::Time
        } else if limits.retention_bytes.is_some_and(|limit| rest >= limit) {
            Reason::Size
        } else if segment.end_offset <= log_start_offset && !is_active {
            Reason::LogStartOffset
        } else {
            break;
        };
        reasons.push(reason);
        size = rest;
    }
    let kept_from = reasons.len().checked_sub(1).map(|last| segments[last].end_offset);
    assert!(kept_from <= Some(high_watermark), "nothing at or above the high watermark is deleted");
    reasons
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segments(facts: &[(u64, i64)]) -> Vec<SegmentFacts> {
        facts
            .iter()
            .zip(0..)
            .map(|(&(size_in_bytes, timestamp), index)| SegmentFacts {
                base_offset: Offset(index * 10),
                end_offset: Offset(index * 10 + 10),
                size_in_bytes,
                largest_timestamp: TimestampMs(timestamp),
            })
            .collect()
    }

    const NO_LIMITS: Limits = Limits { retention_ms: None, retention_bytes: None };
    const NOW: TimestampMs = TimestampMs(1000);

    /// Method: three segments [0,10), [10,20), [20,30) of 100 bytes at 100, 500 and 900 ms; now 1000.
    #[test]
    fn segments_go_by_time_then_size_then_log_start_and_never_above_the_high_watermark() {
        use Reason::{LogStartOffset, Size, Time};
        let time = |limit| Limits { retention_ms: Some(limit), ..NO_LIMITS };
        let size = |limit| Limits { retention_bytes: Some(limit), ..NO_LIMITS };
        let cases: [(&str, Limits, i64, i64, &[Reason]); 10] = [
            ("no limit keeps all", NO_LIMITS, 0, 30, &[]),
            ("older than the limit goes", time(600), 0, 30, &[Time]),
            ("exactly the limit stays", time(500), 0, 30, &[Time]),
            ("even the active one goes", time(50), 0, 30, &[Time, Time, Time]),
            ("not above the high watermark", time(50), 0, 19, &[Time]),
            ("the log may not fall below its size", size(250), 0, 30, &[]),
            ("the log falls to its size", size(200), 0, 30, &[Size]),
            ("size zero empties the log", size(0), 0, 30, &[Size, Size, Size]),
            ("below the log start", NO_LIMITS, 20, 30, &[LogStartOffset, LogStartOffset]),
            ("the log start inside a segment keeps it", NO_LIMITS, 19, 30, &[LogStartOffset]),
        ];
        let segments = segments(&[(100, 100), (100, 500), (100, 900)]);
        for (name, limits, start, high_watermark, expected) in cases {
            let reasons = deletable(&segments, limits, Offset(start), Offset(high_watermark), NOW);
            assert_eq!(reasons, expected, "{name}");
        }
    }

    #[test]
    fn an_empty_active_segment_stays_whatever_its_age() {
        let limits = Limits { retention_ms: Some(0), retention_bytes: Some(0) };
        let segments = segments(&[(100, 0), (0, 0)]);
        let reasons = deletable(&segments, limits, Offset(20), Offset(20), NOW);
        assert_eq!(reasons, [Reason::Time]);
    }

    #[test]
    fn each_segment_goes_by_the_first_rule_that_holds() {
        let limits = Limits { retention_ms: Some(600), retention_bytes: Some(150) };
        let segments = segments(&[(100, 100), (100, 500), (100, 900), (100, 950)]);
        let reasons = deletable(&segments, limits, Offset(30), Offset(40), NOW);
        assert_eq!(reasons, [Reason::Time, Reason::Size, Reason::LogStartOffset]);
    }
}
