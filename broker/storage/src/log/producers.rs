//! The producers' state as a function of the log: what each stored batch adds to it.
//!
//! Source: Kafka 3.9 `UnifiedLog.rebuildProducerState` and `EndTransactionMarker`.

use broker_protocol::quantity::{Offset, TimestampMs};
use broker_protocol::record::batch::{BatchHeader, HEADER_SIZE};

use super::append::producer_batch;
use super::{Log, LogError};
use crate::producer_state::{EndTxnMarker, NO_PRODUCER_ID};
use crate::segment::SegmentError;

/// A control record's key: version and type.
const ABORT: i16 = 0;
const COMMIT: i16 = 1;

impl Log {
    /// Records a batch that is stored in the segment which ends with it.
    pub(super) fn record_producer(
        &mut self,
        header: &BatchHeader,
        bytes: &[u8],
    ) -> Result<(), LogError> {
        if let Some(batch) = producer_batch(header) {
            self.producers.append(&batch);
        } else if let Some(marker) = end_txn_marker(header, bytes) {
            let index = self.segment_index(header.base_offset);
            self.record_marker(&marker, Some(index))?;
        }
        Ok(())
    }

    /// Records a marker; the aborted go to the transaction index of segment number `index`, if given.
    fn record_marker(
        &mut self,
        marker: &EndTxnMarker,
        index: Option<usize>,
    ) -> Result<(), LogError> {
        let Some(completed) = self.producers.append_marker(marker) else { return Ok(()) };
        if let Some(index) = index
            && completed.is_abort
        {
            let aborted = self.producers.aborted_txn(&completed);
            self.segments[index].transaction_index.append(aborted).map_err(SegmentError::from)?;
        }
        self.producers.complete(&completed);
        Ok(())
    }

    /// Brings the state to the log's end: from the newest snapshot, then batch by batch.
    ///
    /// Transactions that end at or above `index_from` are written to the transaction indexes, which the
    /// caller has emptied; below it they are there already.
    pub(crate) fn rebuild_producers(
        &mut self,
        now: TimestampMs,
        expiration_ms: i64,
        index_from: Offset,
    ) -> Result<(), LogError> {
        let end = self.log_end_offset;
        // What must be indexed must be replayed, so no snapshot above it will do.
        let newest = end.min(index_from).max(self.log_start_offset);
        self.producers.truncate_and_reload(self.log_start_offset, newest, now, expiration_ms)?;
        let from = self.producers.end_offset();
        for index in self.segment_index(from)..self.segments.len() {
            if from >= end {
                break;
            }
            self.replay(index, from, index_from)?;
        }
        self.producers.set_end_offset(end);
        Ok(())
    }

    fn replay(&mut self, index: usize, from: Offset, index_from: Offset) -> Result<(), LogError> {
        let segment = &self.segments[index];
        let Some(first) = segment.find(from)? else { return Ok(()) };
        let mut headers = Vec::new();
        segment.for_each(first.position, |entry| {
            if let Some(header) = entry.header
                && header.producer_id != NO_PRODUCER_ID
                && header.base_offset >= from
            {
                let is_marker = header.attributes.is_control();
                let bytes = if is_marker { segment.read_batch(entry)? } else { Vec::new() };
                headers.push((header, bytes));
            }
            Ok(true)
        })?;
        for (header, bytes) in headers {
            if let Some(batch) = producer_batch(&header) {
                self.producers.append(&batch);
            } else if let Some(marker) = end_txn_marker(&header, &bytes) {
                let index = (marker.offset >= index_from).then_some(index);
                self.record_marker(&marker, index)?;
            }
        }
        Ok(())
    }
}

/// Reads the marker of a control batch; `None` for control records that end no transaction.
fn end_txn_marker(header: &BatchHeader, bytes: &[u8]) -> Option<EndTxnMarker> {
    if !header.attributes.is_control() || header.producer_id == NO_PRODUCER_ID {
        return None;
    }
    let (key, value) = control_record(bytes)?;
    let kind = i16::from_be_bytes(*key.get(2..)?.first_chunk()?);
    if kind != ABORT && kind != COMMIT {
        return None;
    }
    Some(EndTxnMarker {
        producer_id: header.producer_id,
        producer_epoch: header.producer_epoch,
        coordinator_epoch: i32::from_be_bytes(*value.get(2..)?.first_chunk()?),
        offset: header.base_offset,
        timestamp: header.max_timestamp,
        is_abort: kind == ABORT,
    })
}

/// Returns key and value of the one, uncompressed record of a control batch.
fn control_record(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut rest = bytes.get(HEADER_SIZE..)?;
    varint(&mut rest)?;
    rest = rest.get(1..)?;
    // Timestamp and offset, less the batch's.
    varint(&mut rest)?;
    varint(&mut rest)?;
    let key_size = usize::try_from(varint(&mut rest)?).ok()?;
    let (key, after) = rest.split_at_checked(key_size)?;
    rest = after;
    let value_size = usize::try_from(varint(&mut rest)?).ok()?;
    Some((key, rest.get(..value_size)?))
}

fn varint(rest: &mut &[u8]) -> Option<i64> {
    let (mut value, mut shift) = (0_u64, 0);
    loop {
        let (byte, after) = rest.split_first()?;
        *rest = after;
        value |= u64::from(byte & 0x7f).checked_shl(shift)?;
        if byte & 0x80 == 0 {
            return Some((value >> 1) as i64 ^ -((value & 1) as i64));
        }
        shift += 7;
    }
}
