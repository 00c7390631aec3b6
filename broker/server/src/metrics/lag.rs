//! How far groups are behind: in records, and in time.
//!
//! The time is the age of the first record that was not consumed, by its own timestamp, found in
//! the log itself: one header is read for each partition that is behind, and the batch too if the
//! group stands inside it. Called where waiting for the disk is allowed.

use broker_protocol::quantity::{LeaderEpoch, Offset, TimestampMs};
use broker_protocol::record::batch::{Batch, BatchHeader, HEADER_SIZE};

use crate::replica::partition::Partition;
use crate::replica::partition::read::FetchPosition;
use crate::replica::partition::read::Isolation;

/// Batches beyond this size are not unpacked: the age is then that of their first record.
const BATCH_MAX: usize = 1 << 20;

/// The lag of a group in one partition that is led here.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Lag {
    /// Records below the high watermark that it has not consumed.
    pub(super) records: i64,
    /// The age of the first of them; unknown if its batch cannot be read or says no time.
    pub(super) seconds: Option<f64>,
}

/// Measures a group that has committed `committed`; without `now`, in records only.
pub(super) fn measure(partition: &Partition, committed: i64, now: Option<TimestampMs>) -> Lag {
    let offsets = partition.offsets();
    let (start, end) = (offsets.log_start_offset.0, offsets.high_watermark.0);
    let records = (end - committed).max(0);
    let Some(now) = now else { return Lag { records, seconds: None } };
    // What retention has deleted cannot be consumed any more; the next record can.
    let next = committed.max(start);
    if next >= end {
        return Lag { records, seconds: Some(0.0) };
    }
    let timestamp = timestamp_at(partition, Offset(next)).filter(|timestamp| timestamp.0 >= 0);
    let seconds = timestamp.map(|timestamp| (now.0 - timestamp.0).max(0) as f64 / 1e3);
    Lag { records, seconds }
}

/// Finds the timestamp of the first record at or after `offset`.
fn timestamp_at(partition: &Partition, offset: Offset) -> Option<TimestampMs> {
    let position = FetchPosition {
        fetch_offset: offset,
        max_bytes: 1,
        current_leader_epoch: LeaderEpoch(-1),
        last_fetched_epoch: LeaderEpoch(-1),
        log_start_offset: Offset(-1),
    };
    let slice = partition.read(&position, Isolation::ReadUncommitted, 1, true).ok()?.slice?;
    let mut bytes = vec![0; HEADER_SIZE];
    let place = u64::from(slice.position);
    slice.file.read_exact_at(&mut bytes, place).ok()?;
    let header = BatchHeader::parse(&bytes).ok()?;
    let size = header.size_in_bytes();
    if header.base_offset >= offset || size > BATCH_MAX {
        return Some(header.base_timestamp);
    }
    bytes.resize(size, 0);
    slice.file.read_exact_at(&mut bytes, place).ok()?;
    let records = Batch { header, bytes: &bytes }.records(BATCH_MAX * 8).ok()?;
    let found = (&records).into_iter().filter_map(Result::ok).find(|r| r.offset >= offset);
    found.map(|record| record.timestamp)
}
