//! Reads by offset: which bytes of which file, for somebody else to send.
//!
//! Nothing is copied here. A reader gets the file, a position and a size; the file stays readable
//! after retention has removed it, so no lock outlives the look-up.
//!
//! Source: Kafka 3.9 `LocalLog.read` and `LogSegment.read`.

use std::io;
use std::sync::Arc;

use broker_protocol::quantity::Offset;

use super::recent::Place;
use super::{Log, LogError};
use crate::fs::File;
use crate::segment::{Segment, SegmentError};
use crate::transaction_index::AbortedTxn;

/// How far behind the end of the log its pages are taken to be in memory: what one round of write-back
/// and a slow consumer leave in the page cache of any machine.
const RECENT_BYTES: u32 = 16 * 1024 * 1024;

/// A range of a segment's file that holds batches, the last of them perhaps cut by the size limit.
#[derive(Debug, Clone)]
pub struct Slice {
    /// The file to send from.
    pub file: Arc<dyn File>,
    /// Where the first batch begins.
    pub position: u32,
    /// How many bytes; 0 if there is nothing to read.
    pub size: u32,
    /// Whether the first batch is longer than `size`: only clients before Fetch v3 want such a piece.
    pub is_first_batch_incomplete: bool,
    /// Whether the bytes were written so recently that they are surely in the page cache.
    pub last_written_recently: bool,
}

impl Slice {
    /// Reads the bytes. Waits for the disk.
    ///
    /// # Errors
    /// As the file's; also if it is shorter by now.
    pub fn bytes(&self) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; self.size as usize];
        self.file.read_exact_at(&mut bytes, u64::from(self.position))?;
        Ok(bytes)
    }
}

/// Why nothing can be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The log does not hold the offset.
    #[error("offset {offset} is outside {log_start_offset}..{log_end_offset}")]
    OutOfRange {
        /// What was asked for.
        offset: Offset,
        /// The first offset there is.
        log_start_offset: Offset,
        /// The offset the next record will get.
        log_end_offset: Offset,
    },
    /// The disk failed, or what it holds is not what was written.
    #[error(transparent)]
    Log(#[from] LogError),
}

impl From<SegmentError> for ReadError {
    fn from(error: SegmentError) -> Self {
        Self::Log(error.into())
    }
}

impl Log {
    /// Finds the batches from the one that contains `start` on, as far as they end below `upper_bound`.
    ///
    /// At most `max_bytes`, but with `at_least_one_batch` the first batch whole, however long. All bytes
    /// are of one segment. If `start` was compacted away, the next batch is the first.
    ///
    /// # Errors
    /// `OutOfRange` unless `log_start_offset <= start <= log_end_offset`; `Log`.
    pub fn read(
        &self,
        start: Offset,
        max_bytes: u32,
        upper_bound: Offset,
        at_least_one_batch: bool,
    ) -> Result<Slice, ReadError> {
        if start < self.log_start_offset || start > self.log_end_offset {
            return Err(ReadError::OutOfRange {
                offset: start,
                log_start_offset: self.log_start_offset,
                log_end_offset: self.log_end_offset,
            });
        }
        let upper_bound = upper_bound.min(self.log_end_offset);
        let mut index = self.segment_index(start);
        while start < upper_bound && index < self.segments.len() {
            let segment = &self.segments[index];
            if segment.base_offset >= upper_bound {
                break;
            }
            // A segment may hold nothing at or above `start`, if its end was compacted away.
            if let Some(first) = self.find(index, start)? {
                let end = self.end_position(index, upper_bound)?;
                return Ok(self.slice(index, first, end, max_bytes, at_least_one_batch)?);
            }
            index += 1;
        }
        self.nothing()
    }

    fn nothing(&self) -> Result<Slice, ReadError> {
        Ok(Slice {
            file: self.active().file()?.clone(),
            position: self.active().size(),
            size: 0,
            is_first_batch_incomplete: false,
            last_written_recently: true,
        })
    }

    fn slice(
        &self,
        index: usize,
        first: Place,
        end: u32,
        max_bytes: u32,
        at_least_one_batch: bool,
    ) -> Result<Slice, SegmentError> {
        let segment = &self.segments[index];
        // The bound may lie inside the first batch, which is then not for this reader.
        let available = end.saturating_sub(first.position);
        let limit = if at_least_one_batch { max_bytes.max(first.size) } else { max_bytes };
        let size = available.min(limit);
        assert!(first.position + size <= segment.size(), "a slice lies within its segment");
        let is_active = index + 1 == self.segments.len();
        Ok(Slice {
            file: segment.file()?.clone(),
            position: first.position,
            size,
            is_first_batch_incomplete: size > 0 && size < first.size,
            last_written_recently: is_active && segment.size() - first.position <= RECENT_BYTES,
        })
    }

    /// Returns the first batch of a segment whose last offset is `offset` or above.
    pub(crate) fn find(&self, index: usize, offset: Offset) -> Result<Option<Place>, SegmentError> {
        if index + 1 == self.segments.len()
            && let Some(place) = self.recent.find(offset)
        {
            return Ok(Some(place));
        }
        Ok(self.segments[index].find(offset)?.map(|entry| Place {
            base_offset: entry.base_offset,
            last_offset: entry.last_offset,
            position: entry.position,
            size: entry.size,
        }))
    }

    /// Returns the position behind the last batch that ends below `upper_bound`.
    fn end_position(&self, index: usize, upper_bound: Offset) -> Result<u32, SegmentError> {
        let segment = &self.segments[index];
        if upper_bound >= self.segment_end(index) {
            return Ok(segment.size());
        }
        Ok(self.find(index, upper_bound)?.map_or(segment.size(), |place| place.position))
    }

    /// Returns the aborted transactions that a reader of `start..end` (offsets) must leave out.
    pub fn aborted_transactions(&self, start: Offset, end: Offset) -> Vec<AbortedTxn> {
        let mut aborted = Vec::new();
        for segment in self.segments.range(self.segment_index(start)..) {
            let found = segment.transaction_index.collect(start, end);
            aborted.extend(found.transactions);
            if found.is_complete {
                break;
            }
        }
        aborted
    }

    /// Returns the segments, oldest first.
    pub(crate) fn segments(&self) -> impl Iterator<Item = &Segment> {
        self.segments.iter()
    }
}
