//! The sparse index from timestamps to offsets of a segment: the `.timeindex` file.
//!
//! An entry is twelve bytes, big-endian: a timestamp (`i64`, milliseconds) and an offset relative to
//! the segment's base (`i32`). It says that the largest timestamp up to and including that offset is
//! the entry's, so that no record before it is later.
//!
//! Entries are hints, as in `offset_index`. Order, asserted at append: timestamps rise strictly,
//! offsets do not fall.
//! Concurrency: not shared; owned by a segment. Source: Kafka 3.9 `TimeIndex`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use broker_protocol::quantity::{Offset, TimestampMs};

use crate::fs::Fs;
use crate::index_file::{IndexError, IndexFile};

const ENTRY_SIZE: usize = 12;
/// The timestamp of records that have none.
const NO_TIMESTAMP: TimestampMs = TimestampMs(-1);

/// A timestamp and an offset up to which no record is later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimestampOffset {
    /// The timestamp; -1 if the records have none.
    pub timestamp: TimestampMs,
    /// The offset of the record that has it.
    pub offset: Offset,
}

/// The time index of one segment.
#[derive(Debug)]
pub struct TimeIndex {
    file: IndexFile<ENTRY_SIZE>,
    base_offset: Offset,
    last: TimestampOffset,
}

impl TimeIndex {
    /// Creates an empty index for up to `size_max` bytes, replacing an old one.
    pub fn create(
        fs: Arc<dyn Fs>,
        path: PathBuf,
        base_offset: Offset,
        size_max: u32,
    ) -> Result<Self, IndexError> {
        let file = IndexFile::create(fs, path, size_max)?;
        Ok(Self { file, base_offset, last: none(base_offset) })
    }

    /// Opens an index that was trimmed at roll or at a clean stop.
    ///
    /// # Errors
    /// Every error but `Io` other than `NotFound` means: rebuild.
    pub fn open(
        fs: Arc<dyn Fs>,
        path: PathBuf,
        base_offset: Offset,
        size_max: u32,
    ) -> Result<Self, IndexError> {
        let file = IndexFile::open(fs, path, size_max)?;
        let mut index = Self { file, base_offset, last: none(base_offset) };
        index.load_last()?;
        Ok(index)
    }

    fn load_last(&mut self) -> Result<(), IndexError> {
        self.last = match self.file.count() {
            0 => none(self.base_offset),
            count => decode(self.base_offset, &self.file.entry(count - 1)?),
        };
        Ok(())
    }

    /// Checks the first and the last two entries against each other and the base offset.
    ///
    /// # Errors
    /// `Disorder`: the index must be rebuilt.
    pub fn sanity_check(&self) -> Result<(), IndexError> {
        let Some(entry) = self.file.count().checked_sub(1) else { return Ok(()) };
        let first = decode(self.base_offset, &self.file.entry(0)?);
        if self.last.offset < self.base_offset || self.last.timestamp < first.timestamp {
            return Err(self.file.disorder(entry));
        }
        if entry > 0 {
            let before = decode(self.base_offset, &self.file.entry(entry - 1)?);
            if before.timestamp >= self.last.timestamp || before.offset > self.last.offset {
                return Err(self.file.disorder(entry));
            }
        }
        Ok(())
    }

    /// Appends an entry if its timestamp is above the last one, and there is room.
    ///
    /// The last slot is kept for the entry written when the segment is rolled, for which `is_final` is
    /// true.
    ///
    /// # Panics
    /// If the timestamp or the offset is below the last entry's, or the offset is not of this segment.
    pub fn maybe_append(
        &mut self,
        timestamp: TimestampMs,
        offset: Offset,
        is_final: bool,
    ) -> Result<(), IndexError> {
        if self.file.count() > 0 {
            assert!(offset >= self.last.offset, "offset {offset} is before the last entry's");
            assert!(timestamp >= self.last.timestamp, "the largest timestamp never falls");
        }
        let room =
            if is_final { self.file.count() < self.file.count_max() } else { !self.is_full() };
        if timestamp <= self.last.timestamp || !room {
            return Ok(());
        }
        let relative = offset.0 - self.base_offset.0;
        assert!((0..=i64::from(i32::MAX)).contains(&relative), "{offset} is not of this segment");
        let mut entry = [0; ENTRY_SIZE];
        entry[..8].copy_from_slice(&timestamp.0.to_be_bytes());
        entry[8..].copy_from_slice(&(relative as i32).to_be_bytes());
        self.file.append(entry)?;
        self.last = TimestampOffset { timestamp, offset };
        Ok(())
    }

    /// Returns the last entry whose timestamp is not above `target`.
    ///
    /// If there is none: the segment's base offset, with the timestamp -1.
    pub fn lookup(&self, target: TimestampMs) -> Result<TimestampOffset, IndexError> {
        let base = self.base_offset;
        let found = self.file.search(|entry| decode(base, entry).timestamp.cmp(&target))?;
        Ok(found.entry.map_or(none(base), |entry| decode(base, &entry)))
    }

    /// Returns whether only the slot of the final entry is left; the segment must be rolled.
    pub fn is_full(&self) -> bool {
        self.file.count() + 1 >= self.file.count_max()
    }

    /// Returns the last entry; the base offset with the timestamp -1 if there is none.
    pub fn last_entry(&self) -> TimestampOffset {
        self.last
    }

    /// Returns how many entries there are.
    pub fn entry_count(&self) -> usize {
        self.file.count()
    }

    /// Returns the size of the entries in bytes, which is the file's size once it is trimmed.
    pub fn size_in_bytes(&self) -> u32 {
        (self.file.count() * ENTRY_SIZE) as u32
    }

    /// Removes every entry whose offset is `offset` or above.
    pub fn truncate_to(&mut self, offset: Offset) -> Result<(), IndexError> {
        let base = self.base_offset;
        let found =
            self.file.search(|entry| decode(base, entry).offset.cmp(&Offset(offset.0 - 1)))?;
        self.file.truncate_to_count(found.below);
        self.load_last()
    }

    /// Cuts the file to its entries and releases its memory map; look-ups go on.
    pub fn trim(&mut self) -> Result<(), IndexError> {
        self.file.trim()
    }

    /// Makes the entries durable. A failure is final.
    pub fn flush(&self) -> Result<(), IndexError> {
        self.file.flush()
    }

    /// Renames the file. Durable once the directory is synced.
    pub fn rename_to(&mut self, path: PathBuf) -> Result<(), IndexError> {
        self.file.rename_to(path)
    }

    /// Follows the file into a directory that was renamed.
    pub fn set_path(&mut self, path: PathBuf) {
        self.file.set_path(path);
    }

    /// Returns the file's path.
    pub fn path(&self) -> &Path {
        self.file.path()
    }

    /// Removes the file; returns whether it was there.
    pub fn delete(self) -> Result<bool, IndexError> {
        self.file.delete()
    }
}

fn none(base_offset: Offset) -> TimestampOffset {
    TimestampOffset { timestamp: NO_TIMESTAMP, offset: base_offset }
}

fn decode(base_offset: Offset, entry: &[u8; ENTRY_SIZE]) -> TimestampOffset {
    let mut timestamp = [0; 8];
    timestamp.copy_from_slice(&entry[..8]);
    let relative = i32::from_be_bytes([entry[8], entry[9], entry[10], entry[11]]);
    TimestampOffset {
        timestamp: TimestampMs(i64::from_be_bytes(timestamp)),
        offset: Offset(base_offset.0.saturating_add(i64::from(relative))),
    }
}

#[cfg(test)]
mod tests;
