//! A window on a file's bytes that costs no system call: the one place of this crate with `unsafe` code.
//!
//! A [`Map`] copies small pieces in and out and never lends a slice of the mapped bytes, so no Rust
//! reference to memory that the kernel may change ever leaves this module.
//!
//! Two things could still make an access fault (SIGBUS), and both are excluded by the callers:
//! * the file is cut below the mapped size: maps belong to `offset_index` and `time_index`, which drop
//!   the map before they cut the file, in a directory that is locked against other processes;
//! * a page without disk space is written: those modules reserve the space before they write
//!   (`File::allocate`), and report its lack as an ordinary error.
//!
//! Bytes from a map are hints: an index entry is checked against its neighbours and the log.

use std::io::{self, ErrorKind, IoSlice};
use std::sync::Arc;

use memmap2::{Advice, MmapMut};

use super::File;

/// The first bytes of one file, readable and writable in place.
///
/// What is put becomes durable with [`File::sync_data`] of the file, as after a write.
#[derive(Debug)]
pub struct Map(Inner);

#[derive(Debug)]
enum Inner {
    Mapped(MmapMut),
    /// For file systems without a descriptor: the same contract by reads and writes.
    Through {
        file: Arc<dyn File>,
        size: usize,
    },
}

impl Map {
    /// Maps the first `size` bytes of an open file of the operating system.
    ///
    /// # Errors
    /// `InvalidInput` if `size` is zero or more than the file holds.
    pub(crate) fn of_file(file: &std::fs::File, size: usize) -> io::Result<Self> {
        if size == 0 || (size as u64) > file.metadata()?.len() {
            return Err(ErrorKind::InvalidInput.into());
        }
        // SAFETY: a map is unsound if its bytes change under a live reference. `get` and `put` form
        // references only for the length of one copy; `put` takes `&mut self`; the directory is locked
        // against other processes, and within this one the index that owns the map is the file's only
        // writer. The size was just checked, and the owner cuts the file only after dropping the map.
        #[allow(unsafe_code, reason = "memory maps have no safe constructor; see SAFETY above")]
        let mapped = unsafe { memmap2::MmapOptions::new().len(size).map_mut(file)? };
        // Else the first touch of the file's hole fills the page cache with as many zeros as the disk
        // reads ahead: milliseconds on the thread that appends.
        if let Err(error) = mapped.advise(Advice::Random) {
            tracing::debug!(%error, "the kernel takes no advice about a map");
        }
        Ok(Self(Inner::Mapped(mapped)))
    }

    /// Makes a map that reads and writes through the file, for file systems that live in memory.
    pub fn through(file: Arc<dyn File>, size: usize) -> Self {
        Self(Inner::Through { file, size })
    }

    /// Returns the mapped size in bytes.
    #[expect(clippy::len_without_is_empty, reason = "an empty map cannot be made")]
    pub fn len(&self) -> usize {
        match &self.0 {
            Inner::Mapped(mapped) => mapped.len(),
            Inner::Through { size, .. } => *size,
        }
    }

    /// Copies `N` bytes out, from `position`.
    ///
    /// # Panics
    /// If the range is not within the map.
    pub fn get<const N: usize>(&self, position: usize) -> io::Result<[u8; N]> {
        assert!(position + N <= self.len(), "read beyond the map");
        let mut bytes = [0; N];
        match &self.0 {
            Inner::Mapped(mapped) => bytes.copy_from_slice(&mapped[position..position + N]),
            Inner::Through { file, .. } => file.read_exact_at(&mut bytes, position as u64)?,
        }
        Ok(bytes)
    }

    /// Copies `bytes` in, at `position`. The caller has reserved the disk space.
    ///
    /// # Panics
    /// If the range is not within the map.
    pub fn put(&mut self, position: usize, bytes: &[u8]) -> io::Result<()> {
        assert!(position + bytes.len() <= self.len(), "write beyond the map");
        match &mut self.0 {
            Inner::Mapped(mapped) => {
                mapped[position..position + bytes.len()].copy_from_slice(bytes);
                Ok(())
            }
            Inner::Through { file, .. } => {
                file.write_all_at(&mut [IoSlice::new(bytes)], position as u64)
            }
        }
    }
}
