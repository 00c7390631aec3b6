//! Reads the batches of a closed segment in order, each whole and checked.
//!
//! Message sets of versions 0 and 1, which an old Kafka left, are handed on unread: compaction keeps
//! them as they are. Memory: one buffer, as large as the largest batch met.

use std::io;
use std::ops::Range;

use broker_protocol::quantity::Offset;
use broker_protocol::record::batch::{Batch, BatchHeader, HEADER_SIZE};

use super::select::ClosedSegment;
use crate::fs::File;

/// Bytes read at a time.
const READ_SIZE: usize = 256 * 1024;
/// Bytes of the offset and the length, which begin every entry of every version.
const PREFIX_SIZE: usize = 12;
const MAGIC_POSITION: usize = 16;
/// The smallest entry: a message of version 0 without key and value.
const ENTRY_SIZE_MIN: usize = 26;

/// What stands at a position of the log file.
#[derive(Debug)]
pub(super) enum Entry<'a> {
    /// A batch whose checksum fits.
    Batch(Batch<'a>),
    /// A message, or a wrapper of messages, of version 0 or 1: its last offset and all its bytes.
    Legacy { last_offset: Offset, bytes: &'a [u8] },
}

/// Why a segment could not be read on.
#[derive(Debug)]
pub(super) enum ReadError {
    /// The disk failed.
    Io(io::Error),
    /// The bytes at this position are no sound batch.
    Damaged(u32),
}

/// A walk over a log file.
#[derive(Debug)]
pub(super) struct Reader<'f> {
    file: &'f dyn File,
    size: u32,
    position: u32,
    /// Which offsets may still come: the checksum does not cover a batch's own.
    offsets: Range<i64>,
    buffer: Vec<u8>,
    /// Which bytes of the file the buffer holds.
    held: Range<u32>,
}

impl<'f> Reader<'f> {
    /// Starts at the front of a segment's file.
    pub(super) fn new(file: &'f dyn File, segment: &ClosedSegment) -> Self {
        let offsets = segment.base_offset.0..segment.end_offset.0;
        Self { file, size: segment.size, position: 0, offsets, buffer: Vec::new(), held: 0..0 }
    }

    /// Returns the next entry, or `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<Entry<'_>>, ReadError> {
        let position = self.position;
        if position == self.size {
            return Ok(None);
        }
        let damaged = ReadError::Damaged(position);
        let prefix = self.hold(ENTRY_SIZE_MIN)?;
        let Some((offset, rest)) = prefix.split_first_chunk() else { return Err(damaged) };
        let Some((length, _)) = rest.split_first_chunk() else { return Err(damaged) };
        let last_offset = Offset(i64::from_be_bytes(*offset));
        let is_legacy = prefix[MAGIC_POSITION] < 2;
        let size = usize::try_from(i32::from_be_bytes(*length)).ok().map(|l| l + PREFIX_SIZE);
        let Some(size) = size.filter(|size| *size >= ENTRY_SIZE_MIN) else { return Err(damaged) };
        let bytes = self.hold(size)?;
        if is_legacy {
            self.pass(last_offset, last_offset)?;
            self.position += size as u32;
            let bytes = self.held_bytes(position, size);
            return Ok(Some(Entry::Legacy { last_offset, bytes }));
        }
        let header = match BatchHeader::parse(bytes) {
            Ok(header) if size >= HEADER_SIZE => header,
            Ok(_) | Err(_) => return Err(damaged),
        };
        if !(Batch { header, bytes }).check_crc() || header.last_offset_delta < 0 {
            return Err(damaged);
        }
        let last_offset = header.base_offset.0.saturating_add(i64::from(header.last_offset_delta));
        self.pass(header.base_offset, Offset(last_offset))?;
        self.position += size as u32;
        let bytes = self.held_bytes(position, size);
        Ok(Some(Entry::Batch(Batch { header, bytes })))
    }

    /// Checks that an entry lies behind the one before, and within the segment.
    fn pass(&mut self, first: Offset, last: Offset) -> Result<(), ReadError> {
        if !self.offsets.contains(&first.0) || !self.offsets.contains(&last.0) {
            return Err(ReadError::Damaged(self.position));
        }
        self.offsets.start = last.0 + 1;
        Ok(())
    }

    /// Makes the buffer hold `size` bytes from the position.
    fn hold(&mut self, size: usize) -> Result<&[u8], ReadError> {
        let start = self.position;
        if size > (self.size - start) as usize {
            return Err(ReadError::Damaged(start));
        }
        let is_held = self.held.start <= start && start as usize + size <= self.held.end as usize;
        if !is_held {
            let read = size.max(READ_SIZE).min((self.size - start) as usize);
            self.buffer.resize(read, 0);
            self.held = 0..0;
            match self.file.read_exact_at(&mut self.buffer, u64::from(start)) {
                Ok(()) => self.held = start..start + read as u32,
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    return Err(ReadError::Damaged(start));
                }
                Err(error) => return Err(ReadError::Io(error)),
            }
        }
        Ok(self.held_bytes(start, size))
    }

    fn held_bytes(&self, start: u32, size: usize) -> &[u8] {
        assert!(self.held.start <= start, "the bytes were read before");
        let from = (start - self.held.start) as usize;
        &self.buffer[from..from + size]
    }
}
