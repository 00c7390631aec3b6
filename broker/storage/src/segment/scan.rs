//! Walks the batches of a segment's file by their headers, checking checksums where asked to.
//!
//! Understands batch v2 and the message sets v0 and v1 that a directory written by an old Kafka holds
//! (there, one "batch" is one message or one compressed wrapper, whose offset is its last).
//!
//! Memory: one buffer, whatever a batch claims as its size: checksums are computed piece by piece.
//! Damage is a value, not an error: the caller knows whether it is a torn tail or bit rot.

use std::io;

use broker_protocol::quantity::{LeaderEpoch, Offset, TimestampMs};
use broker_protocol::record::batch::{BatchHeader, HEADER_SIZE};
use crc_fast::{CrcAlgorithm, Digest};

use crate::fs::File;

/// Bytes before a batch's own contents: base offset and length.
const PREFIX_SIZE: u32 = 12;
/// The smallest thing a log can hold: a message v0 with neither key nor value.
const LEGACY_SIZE_MIN: u32 = 26;
/// Where the magic byte stands, in every version.
const MAGIC_POSITION: usize = 16;
/// Where the bytes under a v2 batch's checksum begin; they end with the batch.
const CRC_START: u32 = 21;
/// As [`CRC_START`], for messages v0 and v1.
const LEGACY_CRC_START: u32 = 16;

/// A batch in a file, as its header describes it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entry {
    /// Where it begins in the file.
    pub(crate) position: u32,
    /// Its whole size in bytes.
    pub(crate) size: u32,
    /// The first offset; for a compressed wrapper of v0 or v1 unknown, and given as its last.
    pub(crate) base_offset: Offset,
    /// The last offset (inclusive).
    pub(crate) last_offset: Offset,
    /// The largest timestamp; -1 in v0, which has none.
    pub(crate) max_timestamp: TimestampMs,
    /// The whole header, if this is a batch v2.
    pub(crate) header: Option<BatchHeader>,
    crc: u32,
}

impl Entry {
    /// Returns the position behind the batch.
    pub(crate) fn end_position(&self) -> u32 {
        self.position + self.size
    }

    /// Returns which checksum it has, and where the bytes under it begin.
    fn checksum(&self) -> (CrcAlgorithm, u32) {
        match self.header {
            Some(_) => (CrcAlgorithm::Crc32Iscsi, CRC_START),
            None => (CrcAlgorithm::Crc32IsoHdlc, LEGACY_CRC_START),
        }
    }

    /// Returns the leader epoch that wrote it, if the format knows epochs.
    pub(crate) fn leader_epoch(&self) -> Option<LeaderEpoch> {
        self.header.map(|header| header.partition_leader_epoch).filter(|epoch| epoch.0 >= 0)
    }
}

/// What is wrong with the bytes at a position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Damage {
    /// The file ends before the batch does.
    Short,
    /// The header's fields contradict each other or the file.
    Header,
}

/// One step of a walk.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Step {
    /// A batch follows.
    Batch(Entry),
    /// No batch begins at this position.
    Damaged { position: u32 },
    /// The walk came to its end.
    End,
}

/// A walk over `[position, end)` of a file.
pub(crate) struct Scanner<'f, B> {
    file: &'f dyn File,
    position: u32,
    end: u32,
    buffer: B,
    /// Which part of the file the buffer holds.
    held_from: u32,
    held_size: u32,
}

impl<'f, B: AsMut<[u8]> + AsRef<[u8]>> Scanner<'f, B> {
    /// Starts a walk. The buffer must hold a header; the larger, the fewer system calls.
    pub(crate) fn new(file: &'f dyn File, position: u32, end: u32, buffer: B) -> Self {
        assert!(buffer.as_ref().len() >= HEADER_SIZE, "a header must fit");
        assert!(position <= end, "a walk goes forward");
        Self { file, position, end, buffer, held_from: 0, held_size: 0 }
    }

    /// Returns the batch at the current position and moves behind it.
    ///
    /// After damage or the end, every further call answers the same.
    pub(crate) fn step(&mut self) -> io::Result<Step> {
        let (position, rest) = (self.position, self.end - self.position);
        if rest == 0 {
            return Ok(Step::End);
        }
        let wanted = rest.min(HEADER_SIZE as u32);
        let bytes = self.hold(position, wanted)?;
        // Less than wanted only if somebody else cut the file.
        let rest = if bytes.len() < wanted as usize { bytes.len() as u32 } else { rest };
        match parse(bytes, position, rest) {
            Ok(entry) => {
                self.position += entry.size;
                Ok(Step::Batch(entry))
            }
            Err(_) => Ok(Step::Damaged { position }),
        }
    }

    /// Returns whether the bytes of a batch fit its checksum.
    pub(crate) fn is_intact(&mut self, entry: &Entry) -> io::Result<bool> {
        let (algorithm, start) = entry.checksum();
        let mut digest = Digest::new(algorithm);
        let mut position = entry.position + start;
        while position < entry.end_position() {
            let bytes = self.hold_some(position, entry.end_position())?;
            if bytes.is_empty() {
                return Ok(false);
            }
            digest.update(bytes);
            position += bytes.len() as u32;
        }
        Ok(digest.finalize() as u32 == entry.crc)
    }

    /// Returns `size` bytes at `position`, fewer only at the file's end.
    fn hold(&mut self, position: u32, size: u32) -> io::Result<&[u8]> {
        if position < self.held_from || position + size > self.held_from + self.held_size {
            self.fill(position)?;
        }
        let from = (position - self.held_from) as usize;
        let to = ((position + size).min(self.held_from + self.held_size) - self.held_from) as usize;
        Ok(&self.buffer.as_ref()[from..to])
    }

    /// Returns whatever is held from `position` on, up to `end`; nothing only at the file's end.
    fn hold_some(&mut self, position: u32, end: u32) -> io::Result<&[u8]> {
        if position < self.held_from || position >= self.held_from + self.held_size {
            self.fill(position)?;
        }
        let from = (position - self.held_from) as usize;
        let to = (end.min(self.held_from + self.held_size) - self.held_from) as usize;
        Ok(&self.buffer.as_ref()[from..to])
    }

    fn fill(&mut self, position: u32) -> io::Result<()> {
        let buffer = self.buffer.as_mut();
        let limit = buffer.len().min((self.end - position) as usize);
        let mut filled = 0;
        while filled < limit {
            match self.file.read_at(&mut buffer[filled..limit], u64::from(position) + filled as u64)
            {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.held_from = position;
        self.held_size = filled as u32;
        Ok(())
    }
}

/// Reads the header at the front of `bytes`, of which `rest` are there in all (in the file, maybe).
pub(crate) fn parse(bytes: &[u8], position: u32, rest: u32) -> Result<Entry, Damage> {
    if rest < LEGACY_SIZE_MIN || bytes.len() < LEGACY_SIZE_MIN as usize {
        return Err(Damage::Short);
    }
    let length = i32::from_be_bytes([bytes[8], bytes[9], bytes[10], bytes[11]]);
    let size = u32::try_from(length).ok().and_then(|length| length.checked_add(PREFIX_SIZE));
    let size = size.ok_or(Damage::Header)?;
    let entry = match bytes[MAGIC_POSITION] {
        2 if size >= HEADER_SIZE as u32 && bytes.len() < HEADER_SIZE => return Err(Damage::Short),
        2 if size >= HEADER_SIZE as u32 => current(bytes, position, size),
        0 | 1 if size >= LEGACY_SIZE_MIN => legacy(bytes, position, size),
        _ => None,
    };
    match entry {
        None => Err(Damage::Header),
        Some(_) if size > rest => Err(Damage::Short),
        Some(entry) => Ok(entry),
    }
}

/// Returns whether a batch that lies in memory as a whole fits its checksum.
pub(crate) fn is_intact(entry: &Entry, bytes: &[u8]) -> bool {
    let (algorithm, start) = entry.checksum();
    crc_fast::checksum(algorithm, &bytes[start as usize..entry.size as usize]) as u32 == entry.crc
}

fn current(bytes: &[u8], position: u32, size: u32) -> Option<Entry> {
    let header = BatchHeader::parse(bytes).ok()?;
    let last_offset =
        Offset(header.base_offset.0.checked_add(i64::from(header.last_offset_delta))?);
    if header.base_offset.0 < 0 || header.last_offset_delta < 0 {
        return None;
    }
    Some(Entry {
        position,
        size,
        base_offset: header.base_offset,
        last_offset,
        max_timestamp: header.max_timestamp,
        crc: header.crc,
        header: Some(header),
    })
}

fn legacy(bytes: &[u8], position: u32, size: u32) -> Option<Entry> {
    let offset = i64::from_be_bytes(*bytes.first_chunk()?);
    let crc = u32::from_be_bytes(*bytes[12..].first_chunk()?);
    let timestamp = match bytes[MAGIC_POSITION] {
        0 => -1,
        _ => i64::from_be_bytes(*bytes[18..].first_chunk()?),
    };
    (offset >= 0).then_some(Entry {
        position,
        size,
        base_offset: Offset(offset),
        last_offset: Offset(offset),
        max_timestamp: TimestampMs(timestamp),
        header: None,
        crc,
    })
}
