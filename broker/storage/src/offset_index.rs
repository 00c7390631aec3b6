//! The sparse index from offsets to positions in a segment's log file: the `.index` file.
//!
//! An entry is eight bytes, big-endian: the offset relative to the segment's base (`i32`) and the
//! position in the log file (`i32`). It names the last offset of a batch and where that batch starts,
//! so a reader that scans on from the position passes the offset.
//!
//! Entries are hints. A wrong one costs a longer scan or an error of the reader, never wrong data,
//! because every batch says its own offsets; [`OffsetIndex::sanity_check`] finds the gross cases, and
//! the log rebuilds the file.
//!
//! Order, asserted at append: offsets and positions rise strictly.
//! Concurrency: not shared; owned by a segment. Source: Kafka 3.9 `OffsetIndex`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use broker_protocol::quantity::Offset;

use crate::fs::Fs;
pub use crate::index_file::IndexError;
use crate::index_file::IndexFile;

const ENTRY_SIZE: usize = 8;

/// An offset and the position of the batch that contains it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OffsetPosition {
    /// The offset.
    pub offset: Offset,
    /// The position in the segment's log file, in bytes.
    pub position: u32,
}

/// The offset index of one segment.
#[derive(Debug)]
pub struct OffsetIndex {
    file: IndexFile<ENTRY_SIZE>,
    base_offset: Offset,
    last: Option<OffsetPosition>,
}

impl OffsetIndex {
    /// Creates an empty index for up to `size_max` bytes, replacing an old one.
    pub fn create(
        fs: Arc<dyn Fs>,
        path: PathBuf,
        base_offset: Offset,
        size_max: u32,
    ) -> Result<Self, IndexError> {
        let file = IndexFile::create(fs, path, size_max)?;
        Ok(Self { file, base_offset, last: None })
    }

    /// Opens an index that was trimmed at roll or at a clean stop.
    ///
    /// `size_max` bounds it if it is appended to again.
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
        let mut index = Self { file, base_offset, last: None };
        index.load_last()?;
        Ok(index)
    }

    fn load_last(&mut self) -> Result<(), IndexError> {
        self.last = match self.file.count() {
            0 => None,
            count => Some(decode(self.base_offset, self.file.entry(count - 1)?)),
        };
        Ok(())
    }

    /// Checks the index against its segment, whose log file has `log_size` bytes.
    ///
    /// Looks at the last two entries, which is where crashes and trailing zeros show.
    ///
    /// # Errors
    /// `Disorder`: the index must be rebuilt.
    pub fn sanity_check(&self, log_size: u64) -> Result<(), IndexError> {
        let Some(last) = self.last else { return Ok(()) };
        let entry = self.file.count() - 1;
        if last.offset < self.base_offset || u64::from(last.position) >= log_size {
            return Err(self.file.disorder(entry));
        }
        if entry > 0 {
            let before = decode(self.base_offset, self.file.entry(entry - 1)?);
            if before.offset >= last.offset || before.position >= last.position {
                return Err(self.file.disorder(entry));
            }
        }
        Ok(())
    }

    /// Appends an entry: the batch that ends with `offset` starts at `position`.
    ///
    /// # Panics
    /// If the index is full, the offset is not above the last one, or is too far from the base.
    pub fn append(&mut self, offset: Offset, position: u32) -> Result<(), IndexError> {
        let relative = offset.0 - self.base_offset.0;
        assert!((0..=i64::from(i32::MAX)).contains(&relative), "{offset} is not of this segment");
        if let Some(last) = self.last {
            assert!(offset > last.offset && position > last.position, "index entries must rise");
        }
        assert!(i32::try_from(position).is_ok(), "a segment is smaller than 2 GiB");
        let entry = (relative as u64) << 32 | u64::from(position);
        self.file.append(entry.to_be_bytes())?;
        self.last = Some(OffsetPosition { offset, position });
        Ok(())
    }

    /// Returns the last entry whose offset is not above `target`; the segment's start if there is none.
    pub fn lookup(&self, target: Offset) -> Result<OffsetPosition, IndexError> {
        let start = OffsetPosition { offset: self.base_offset, position: 0 };
        // Most reads are of the tail.
        if let Some(last) = self.last.filter(|last| last.offset <= target) {
            return Ok(last);
        }
        let base = self.base_offset;
        let found = self.file.search(|entry| decode(base, *entry).offset.cmp(&target))?;
        Ok(found.entry.map_or(start, |entry| decode(base, entry)))
    }

    /// Returns the last entry whose position is not above `target`; the segment's start if there is none.
    pub fn lookup_position(&self, target: u32) -> Result<OffsetPosition, IndexError> {
        let (base, start) =
            (self.base_offset, OffsetPosition { offset: self.base_offset, position: 0 });
        let found = self.file.search(|entry| decode(base, *entry).position.cmp(&target))?;
        Ok(found.entry.map_or(start, |entry| decode(base, entry)))
    }

    /// Returns whether no further entry fits.
    pub fn is_full(&self) -> bool {
        self.file.count() == self.file.count_max()
    }

    /// Returns the last entry.
    pub fn last_entry(&self) -> Option<OffsetPosition> {
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
            self.file.search(|entry| decode(base, *entry).offset.cmp(&Offset(offset.0 - 1)))?;
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

fn decode(base_offset: Offset, entry: [u8; ENTRY_SIZE]) -> OffsetPosition {
    let entry = u64::from_be_bytes(entry);
    let (relative, position) = ((entry >> 32) as i32, entry as u32);
    OffsetPosition { offset: Offset(base_offset.0.saturating_add(i64::from(relative))), position }
}

#[cfg(test)]
mod tests;
