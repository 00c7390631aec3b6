//! Copies a group of segments into one, without what compaction drops.

use std::ops::ControlFlow;

use broker_protocol::quantity::{Offset, TimestampMs};
use broker_protocol::record::batch::{Batch, BatchHeader};

use super::batch::{self, RawRecord, Undecodable};
use super::offset_map::OffsetMap;
use super::output::Output;
use super::reader::{Entry, ReadError, Reader};
use super::transactions::{MarkerFate, Transactions};
use super::{CleanError, Report, Round, Snapshot, Source, read_error};

/// What becomes of a batch.
enum Kept {
    Nothing,
    Original,
    Rewritten(Vec<u8>),
}

/// What was decided of a batch before its records are looked at.
#[derive(Debug, Clone, Copy)]
struct Fate {
    /// No record stays.
    is_discarded: bool,
    /// An empty batch stays if no record does.
    leaves_empty: bool,
    /// It is a marker whose transaction is gone, and gets a delete horizon.
    is_spent_marker: bool,
}

/// One group's copying.
pub(super) struct Copier<'a> {
    snapshot: &'a Snapshot,
    map: &'a OffsetMap,
    /// Records from here on are not in the map, and stay.
    mapped_to: Offset,
    transactions: &'a mut Transactions,
    now: TimestampMs,
    report: &'a mut Report,
}

impl<'a> Copier<'a> {
    pub(super) fn new(
        snapshot: &'a Snapshot,
        map: &'a OffsetMap,
        mapped_to: Offset,
        transactions: &'a mut Transactions,
        now: TimestampMs,
        report: &'a mut Report,
    ) -> Self {
        Self { snapshot, map, mapped_to, transactions, now, report }
    }

    /// Copies the sources into `.cleaned` files, durably; returns the size of the log file.
    pub(super) fn copy(
        &mut self,
        sources: &[Source],
        round: &mut dyn Round,
    ) -> Result<u32, CleanError> {
        let (Some(first), Some(last)) = (sources.first(), sources.last()) else { return Ok(0) };
        let snapshot = self.snapshot;
        let base_offset = first.facts.base_offset;
        let mut output =
            Output::create(&snapshot.fs, &snapshot.dir, base_offset, &snapshot.settings)?;
        for source in sources {
            let fail = |error| read_error(error, &snapshot.dir, source.facts.base_offset);
            let mut reader = Reader::new(source.file.as_ref(), &source.facts);
            let mut position = 0;
            while let Some(entry) = reader.next().map_err(fail)? {
                let (read, written) = match entry {
                    Entry::Legacy { last_offset, bytes } => {
                        // Its timestamp stays unknown: look-ups by time scan from before it.
                        self.append(&mut output, bytes, last_offset, TimestampMs(-1), base_offset)?;
                        (bytes.len(), bytes.len())
                    }
                    Entry::Batch(batch) => {
                        let damaged = |_| fail(ReadError::Damaged(position));
                        let written = self.copy_batch(&batch, &mut output, base_offset, damaged)?;
                        (batch.bytes.len(), written)
                    }
                };
                position += read as u32;
                self.report.bytes_read += read as u64;
                self.report.bytes_written += written as u64;
                if let ControlFlow::Break(()) = round.progress((read + written) as u64) {
                    return Err(CleanError::Stopped);
                }
            }
        }
        Ok(output.finish(last.modified_ms)?)
    }

    fn append(
        &self,
        output: &mut Output,
        bytes: &[u8],
        last_offset: Offset,
        max_timestamp: TimestampMs,
        base_offset: Offset,
    ) -> Result<(), CleanError> {
        if output.size() + bytes.len() as u64 >= i32::MAX as u64 {
            return Err(CleanError::TooLarge { dir: self.snapshot.dir.clone(), base_offset });
        }
        Ok(output.append(bytes, last_offset, max_timestamp)?)
    }

    fn copy_batch(
        &mut self,
        batch: &Batch<'_>,
        output: &mut Output,
        base_offset: Offset,
        damaged: impl Fn(Undecodable) -> CleanError,
    ) -> Result<usize, CleanError> {
        let fate = self.fate(batch, output, &damaged)?;
        let kept = self.filter(batch, fate).map_err(&damaged)?;
        let rewritten;
        let (header, bytes) = match kept {
            Kept::Nothing => return Ok(0),
            Kept::Original => (batch.header, batch.bytes),
            Kept::Rewritten(bytes) => {
                rewritten = bytes;
                let header = BatchHeader::parse(&rewritten).map_err(|_| damaged(Undecodable))?;
                (header, rewritten.as_slice())
            }
        };
        assert_eq!(header.last_offset(), batch.header.last_offset(), "offsets never change");
        self.append(output, bytes, header.last_offset(), header.max_timestamp, base_offset)?;
        Ok(bytes.len())
    }

    /// Decides about the batch as a whole.
    fn fate(
        &mut self,
        batch: &Batch<'_>,
        output: &mut Output,
        damaged: impl Fn(Undecodable) -> CleanError,
    ) -> Result<Fate, CleanError> {
        let header = &batch.header;
        let (producer_id, last_offset) = (header.producer_id, header.last_offset());
        let leaves_empty = self.is_last_of_producer(header)
            || last_offset.0 + 1 == self.snapshot.cleanable.first_uncleanable_offset.0;
        if !header.attributes.is_control() {
            let is_transactional = header.attributes.is_transactional();
            let is_aborted = self.transactions.on_batch(producer_id, last_offset, is_transactional);
            return Ok(Fate { is_discarded: is_aborted, leaves_empty, is_spent_marker: false });
        }
        let marker = batch::unpack(batch).and_then(|plain| batch::marker(header, &plain));
        let marker = marker.map_err(damaged)?;
        let MarkerFate { can_go, aborted } =
            self.transactions.on_marker(producer_id, last_offset, marker);
        if let Some(txn) = aborted {
            output.append_aborted(txn)?;
        }
        let is_discarded =
            can_go && batch::delete_horizon(header).is_some_and(|horizon| horizon <= self.now);
        Ok(Fate { is_discarded, leaves_empty, is_spent_marker: can_go })
    }

    /// Whether what the log knows of an active producer hangs on this batch.
    fn is_last_of_producer(&self, header: &BatchHeader) -> bool {
        let Some(last) = self.snapshot.last_records.get(&header.producer_id) else { return false };
        match last.last_data_offset {
            Some(offset) => header.last_offset() == offset,
            None => header.attributes.is_control() && header.producer_epoch == last.producer_epoch,
        }
    }

    fn filter(&mut self, batch: &Batch<'_>, fate: Fate) -> Result<Kept, Undecodable> {
        let header = &batch.header;
        let empty = || {
            // An emptied batch is as small as it gets.
            if header.records_count == 0 {
                Kept::Original
            } else {
                Kept::Rewritten(batch::empty(header))
            }
        };
        self.report.records_read += u64::try_from(header.records_count).unwrap_or(0);
        if fate.is_discarded {
            return Ok(if fate.leaves_empty { empty() } else { Kept::Nothing });
        }
        let plain = batch::unpack(batch)?;
        let mut kept: Vec<RawRecord<'_>> = Vec::new();
        let (mut has_tombstone, mut keeps_all) = (false, true);
        batch::for_each_record(header, &plain, |offset, record| {
            if header.attributes.is_control() || self.stays(header, offset, &record) {
                has_tombstone |= !record.has_value;
                kept.push(record);
            } else {
                keeps_all = false;
            }
        })?;
        self.report.records_kept += kept.len() as u64;
        if kept.is_empty() {
            return Ok(if fate.leaves_empty { empty() } else { Kept::Nothing });
        }
        let known = batch::delete_horizon(header);
        let is_due = known.is_none() && (has_tombstone || fate.is_spent_marker);
        if keeps_all && !is_due {
            return Ok(Kept::Original);
        }
        let retention = self.snapshot.settings.delete_retention_ms;
        let horizon = if is_due { Some(self.now.0.saturating_add(retention)) } else { None };
        batch::rewrite(header, &kept, horizon.map(TimestampMs).or(known)).map(Kept::Rewritten)
    }

    fn stays(&self, header: &BatchHeader, offset: Offset, record: &RawRecord<'_>) -> bool {
        if offset >= self.mapped_to {
            return true;
        }
        let Some(key) = record.key else { return false };
        let is_newest = self.map.get(key).is_none_or(|newest| newest <= offset);
        let may_expire =
            || batch::delete_horizon(header).is_some_and(|horizon| horizon <= self.now);
        is_newest && (record.has_value || !may_expire())
    }
}
