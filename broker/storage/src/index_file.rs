//! What the offset index and the time index share: a file of fixed-size entries in rising order.
//!
//! Life of the file: created at its full size, sparse; appended to through a memory map while its
//! segment is the active one; cut to its entries when the segment is rolled or the broker stops.
//! Idle indexes hold neither a map nor a descriptor, so that 10,000 partitions live within the limits
//! of an ordinary process: the first append maps the file, [`IndexFile::trim`] drops the map, and a
//! look-up without a map reads the few blocks that a binary search needs.
//!
//! Space is reserved page by page before it is written, so that a full disk is an error of
//! [`IndexFile::append`] and never a fault in the map.
//!
//! After a crash the file has its full size and any contents: the owner of the log rebuilds it.
//!
//! Concurrency: not shared; owned by a segment. Source of the layout: Kafka 3.9 `AbstractIndex`.

use std::cmp::Ordering;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::fs::{File, Fs, Map, Open, remove_if_exists};

/// Bytes reserved on disk at a time: one page of the kernel.
const RESERVED_BYTES: u64 = 4096;
/// Entries below which a search reads one block instead of entry by entry.
const BLOCK_BYTES: usize = 4096;

/// Why an index could not be used. Every case but `Io` is cured by rebuilding it from the log.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// The disk failed. The log directory must go offline.
    #[error("{operation} index {}", path.display())]
    Io {
        /// What was tried, such as `append to`.
        operation: &'static str,
        /// The index file's path.
        path: PathBuf,
        /// The disk's answer.
        source: io::Error,
    },
    /// The size is no multiple of an entry's.
    #[error("index {} has {size} bytes, no multiple of its entry size", path.display())]
    TornEntry {
        /// The index file's path.
        path: PathBuf,
        /// The file's size.
        size: u64,
    },
    /// An entry contradicts its neighbours, the segment's base offset or its log file.
    #[error("index {} is out of order at entry {entry}", path.display())]
    Disorder {
        /// The index file's path.
        path: PathBuf,
        /// The entry's number, from 0.
        entry: usize,
    },
}

/// An index file with entries of `N` bytes.
#[derive(Debug)]
pub(crate) struct IndexFile<const N: usize> {
    fs: Arc<dyn Fs>,
    path: PathBuf,
    count: usize,
    count_max: usize,
    active: Option<Active>,
}

#[derive(Debug)]
struct Active {
    file: Arc<dyn File>,
    map: Map,
    /// Bytes from the start for which disk space is reserved.
    reserved: u64,
}

impl<const N: usize> IndexFile<N> {
    /// Creates an empty index of `size_max` bytes, rounded down to whole entries.
    pub(crate) fn create(
        fs: Arc<dyn Fs>,
        path: PathBuf,
        size_max: u32,
    ) -> Result<Self, IndexError> {
        let count_max = size_max as usize / N;
        assert!(count_max > 0, "an index must hold an entry");
        let index = Self { fs, path, count: 0, count_max, active: None };
        let file = index.open_file(Open::Truncate)?;
        file.set_len(index.size_max()).map_err(|source| index.io("preallocate", source))?;
        Ok(index)
    }

    /// Opens an index that was trimmed. Every whole entry counts until `sanity_check` says otherwise.
    ///
    /// # Errors
    /// `Io` with `NotFound` if there is none; `TornEntry`.
    pub(crate) fn open(fs: Arc<dyn Fs>, path: PathBuf, size_max: u32) -> Result<Self, IndexError> {
        let mut index = Self { fs, path, count: 0, count_max: 0, active: None };
        let size = index.fs.len(&index.path).map_err(|source| index.io("open", source))?;
        if size % N as u64 != 0 {
            return Err(IndexError::TornEntry { path: index.path, size });
        }
        index.count = (size / N as u64) as usize;
        index.count_max = (size_max as usize / N).max(index.count);
        Ok(index)
    }

    pub(crate) fn count(&self) -> usize {
        self.count
    }

    pub(crate) fn count_max(&self) -> usize {
        self.count_max
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    fn size_max(&self) -> u64 {
        (self.count_max * N) as u64
    }

    fn io(&self, operation: &'static str, source: io::Error) -> IndexError {
        IndexError::Io { operation, path: self.path.clone(), source }
    }

    pub(crate) fn disorder(&self, entry: usize) -> IndexError {
        IndexError::Disorder { path: self.path.clone(), entry }
    }

    fn open_file(&self, how: Open) -> Result<Arc<dyn File>, IndexError> {
        self.fs.open(&self.path, how).map_err(|source| self.io("open", source))
    }

    /// Maps the file at its full size, growing it if it had been trimmed.
    fn activate(&mut self) -> Result<(), IndexError> {
        if self.active.is_some() {
            return Ok(());
        }
        let file = self.open_file(Open::Write)?;
        file.set_len(self.size_max()).map_err(|source| self.io("preallocate", source))?;
        let map = Arc::clone(&file)
            .map(self.size_max() as usize)
            .map_err(|source| self.io("map", source))?;
        // What is reserved already is reserved again, which costs nothing.
        let reserved = (self.count * N) as u64 / RESERVED_BYTES * RESERVED_BYTES;
        self.active = Some(Active { file, map, reserved });
        Ok(())
    }

    /// Appends an entry; the caller has checked that the index is not full.
    pub(crate) fn append(&mut self, entry: [u8; N]) -> Result<(), IndexError> {
        assert!(self.count < self.count_max, "append to a full index");
        self.activate()?;
        let (position, end) = (self.count * N, ((self.count + 1) * N) as u64);
        let size_max = self.size_max();
        let Some(active) = &mut self.active else { unreachable!("activated above") };
        let put = loop {
            if active.reserved >= end {
                break active.map.put(position, &entry);
            }
            let size = RESERVED_BYTES.min(size_max - active.reserved);
            if let Err(error) = active.file.allocate(active.reserved, size) {
                break Err(error);
            }
            active.reserved += size;
        };
        put.map_err(|source| self.io("append to", source))?;
        self.count += 1;
        Ok(())
    }

    /// Returns entry number `number`.
    pub(crate) fn entry(&self, number: usize) -> Result<[u8; N], IndexError> {
        let view = self.view()?;
        view.entry(number).map_err(|source| self.io("read", source))
    }

    /// Returns how many leading entries compare `Less` or `Equal`, and the last of them.
    ///
    /// `compare` must be monotonic over a sound index; over a damaged one the answer is any entry.
    pub(crate) fn search(
        &self,
        compare: impl Fn(&[u8; N]) -> Ordering,
    ) -> Result<Found<N>, IndexError> {
        if self.count == 0 {
            return Ok(Found { below: 0, entry: None });
        }
        let view = self.view()?;
        view.search(self.count, compare).map_err(|source| self.io("search", source))
    }

    fn view(&self) -> Result<View<'_>, IndexError> {
        Ok(match &self.active {
            Some(active) => View::Mapped(&active.map),
            None => View::File(self.open_file(Open::Read)?),
        })
    }

    /// Drops the entries from number `count` on.
    pub(crate) fn truncate_to_count(&mut self, count: usize) {
        self.count = self.count.min(count);
    }

    /// Cuts the file to its entries and releases the map and the descriptor.
    pub(crate) fn trim(&mut self) -> Result<(), IndexError> {
        let file = match self.active.take() {
            // The map must be gone before the file is cut.
            Some(active) => active.file,
            None => self.open_file(Open::Write)?,
        };
        file.set_len((self.count * N) as u64).map_err(|source| self.io("trim", source))
    }

    /// Makes the entries durable. A failure is final.
    pub(crate) fn flush(&self) -> Result<(), IndexError> {
        let synced = match &self.active {
            Some(active) => active.file.sync_data(),
            None => self.open_file(Open::Write)?.sync_data(),
        };
        synced.map_err(|source| self.io("sync", source))
    }

    /// Renames the file; an open map goes with it.
    pub(crate) fn rename_to(&mut self, path: PathBuf) -> Result<(), IndexError> {
        self.fs.rename(&self.path, &path).map_err(|source| self.io("rename", source))?;
        self.path = path;
        Ok(())
    }

    /// Follows the file, whose directory was renamed.
    pub(crate) fn set_path(&mut self, path: PathBuf) {
        self.path = path;
    }

    /// Removes the file, if it is there; returns whether it was.
    pub(crate) fn delete(mut self) -> Result<bool, IndexError> {
        self.active = None;
        remove_if_exists(self.fs.as_ref(), &self.path).map_err(|source| self.io("delete", source))
    }
}

/// The answer of [`IndexFile::search`].
#[derive(Debug)]
pub(crate) struct Found<const N: usize> {
    /// How many leading entries are not above the target.
    pub(crate) below: usize,
    /// The last of these.
    pub(crate) entry: Option<[u8; N]>,
}

enum View<'a> {
    Mapped(&'a Map),
    File(Arc<dyn File>),
}

impl View<'_> {
    fn entry<const N: usize>(&self, number: usize) -> io::Result<[u8; N]> {
        match self {
            View::Mapped(map) => map.get(number * N),
            View::File(file) => {
                let mut entry = [0; N];
                file.read_exact_at(&mut entry, (number * N) as u64)?;
                Ok(entry)
            }
        }
    }

    fn search<const N: usize>(
        &self,
        count: usize,
        compare: impl Fn(&[u8; N]) -> Ordering,
    ) -> io::Result<Found<N>> {
        let (mut low, mut high) = (0, count);
        let mut found = None;
        while low < high {
            if let View::File(file) = self
                && high - low <= BLOCK_BYTES / N
            {
                let mut block = [0; BLOCK_BYTES];
                let block = &mut block[..(high - low) * N];
                file.read_exact_at(block, (low * N) as u64)?;
                let (entries, _) = block.as_chunks::<N>();
                let below = entries.partition_point(|entry| compare(entry) != Ordering::Greater);
                let last = below.checked_sub(1).map(|last| entries[last]);
                return Ok(Found { below: low + below, entry: last.or(found) });
            }
            let middle = low + (high - low) / 2;
            let entry = self.entry(middle)?;
            if compare(&entry) == Ordering::Greater {
                high = middle;
            } else {
                low = middle + 1;
                found = Some(entry);
            }
        }
        Ok(Found { below: low, entry: found })
    }
}
