//! The producers' state as a function of the log: what each stored batch adds to it.
//!
//! Source: Kafka 3.9 `UnifiedLog.rebuildProducerState` and `EndTransactionMarker`.

use broker_protocol::quantity::{Offset, TimestampMs};
use broker_protocol::record::batch::BatchHeader;
use broker_protocol::record::entries::{Entry, entries};

use super::append::producer_batch;
use super::{Log, LogError};
use crate::producer_state::{EndTxnMarker, NO_PRODUCER_ID};
use crate::segment::SegmentError;

/// A control record's key: version and type.
const ABORT: i16 = 0;
const COMMIT: i16 = 1;
/// Far more than a marker's few bytes, if it were compressed.
const MARKER_SIZE_MAX: usize = 4096;

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
    let Entry::Batch(batch) = entries(bytes).next()?.ok()? else { return None };
    let records = batch.records(MARKER_SIZE_MAX).ok()?;
    let record = records.iter().next()?.ok()?;
    let (key, value) = (record.key?, record.value?);
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
