//! The seam between the log and the disk: every byte the crate reads or writes passes here.
//!
//! Two implementations run the same log code: [`real::RealFs`] on the operating system and
//! [`faulty::FaultyFs`] in memory, which forgets whatever was not synced when it "crashes".
//!
//! What the traits promise, and what callers must do for themselves:
//! * bytes written are visible to every later read through any handle, but survive a power loss only
//!   after [`File::sync_data`];
//! * a created, renamed or removed name survives only after [`Fs::sync_dir`] of its directory;
//! * a failed sync is final: the kernel may have dropped the pages, so nobody may sync again and
//!   believe the answer. The log directory goes offline instead.
//!
//! Concurrency: all handles are shared; positions are explicit, no cursor exists.

use std::fmt::Debug;
use std::io::{self, ErrorKind, IoSlice};
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::sync::Arc;

pub mod faulty;
pub mod map;
pub mod real;

pub use map::Map;

/// How [`Fs::open`] opens a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Open {
    /// The file must exist; writes fail.
    Read,
    /// The file must exist; reads and writes.
    Write,
    /// Opens the file, or creates it empty.
    Create,
    /// Creates the file empty; fails with `AlreadyExists` if its name is taken.
    CreateNew,
    /// Opens or creates the file and cuts it to nothing.
    Truncate,
}

/// One name in a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirEntry {
    /// The name within its directory.
    pub name: String,
    /// Whether it names a directory.
    pub is_dir: bool,
}

/// A lock on a directory's lock file, held until dropped.
pub trait Lock: Debug + Send + Sync {}

/// A file system.
pub trait Fs: Debug + Send + Sync {
    /// Opens one file.
    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn File>>;

    /// Creates a directory and its missing parents. Durable only after `sync_dir` of the parent.
    fn create_dir_all(&self, path: &Path) -> io::Result<()>;

    /// Renames a file or a directory, replacing a file of the new name at once.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file.
    fn remove_file(&self, path: &Path) -> io::Result<()>;

    /// Removes a directory and everything in it.
    fn remove_dir_all(&self, path: &Path) -> io::Result<()>;

    /// Lists a directory, sorted by name.
    ///
    /// Names that are not UTF-8 are left out: neither Kafka nor this crate ever makes one.
    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>>;

    /// Makes the names of a directory durable.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;

    /// Takes an exclusive lock on `path`, creating the file if needed.
    ///
    /// # Errors
    /// `WouldBlock` if another process, or another lock of this one, holds it.
    fn lock(&self, path: &Path) -> io::Result<Box<dyn Lock>>;

    /// Returns the size of a file in bytes.
    fn len(&self, path: &Path) -> io::Result<u64>;

    /// Returns whether the path names a file or a directory.
    fn exists(&self, path: &Path) -> io::Result<bool>;

    /// Returns when a file was last written, in milliseconds since the epoch.
    fn modified_ms(&self, path: &Path) -> io::Result<i64>;

    /// Sets the time [`Fs::modified_ms`] answers, as compaction must for the segments it rewrites.
    fn set_modified_ms(&self, path: &Path, modified_ms: i64) -> io::Result<()>;
}

/// An open file.
#[expect(clippy::len_without_is_empty, reason = "nobody asks whether a file is empty")]
pub trait File: Debug + Send + Sync {
    /// Reads up to `buffer.len()` bytes at `position`; 0 at the end of the file.
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize>;

    /// Writes all buffers, one after the other, at `position`, growing the file as needed.
    ///
    /// # Errors
    /// Any prefix of the bytes may have been written.
    fn write_all_at(&self, buffers: &mut [IoSlice<'_>], position: u64) -> io::Result<()>;

    /// Returns the size in bytes.
    fn len(&self) -> io::Result<u64>;

    /// Cuts the file, or grows it by zeros that take no space.
    fn set_len(&self, size: u64) -> io::Result<()>;

    /// Makes contents and size durable. A failure is final: see the module.
    fn sync_data(&self) -> io::Result<()>;

    /// Reserves disk space for `size` bytes at `position`, without changing the file's size.
    fn allocate(&self, position: u64, size: u64) -> io::Result<()>;

    /// Returns the descriptor for `sendfile`, if there is one.
    fn as_fd(&self) -> Option<BorrowedFd<'_>>;

    /// Maps the first `size` bytes for reading and writing; the file must be that long.
    ///
    /// The file must not be cut below `size` while the map lives.
    fn map(self: Arc<Self>, size: usize) -> io::Result<Map>;

    /// Fills `buffer` from `position`.
    ///
    /// # Errors
    /// `UnexpectedEof` if the file ends before.
    fn read_exact_at(&self, buffer: &mut [u8], position: u64) -> io::Result<()> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.read_at(&mut buffer[filled..], position + filled as u64) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(count) => filled += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Returns whether an error says only that something has run out which comes back by itself: space,
/// descriptors, memory. Nothing is known to be lost then, unless a sync said it.
pub fn is_transient(error: &io::Error) -> bool {
    let kind = error.kind();
    matches!(kind, ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::OutOfMemory)
        || lacks_descriptors(error)
}

/// Returns whether the process, or the machine, has no descriptor left. No sync ever says that.
pub fn lacks_descriptors(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let code = error.raw_os_error();
    [Errno::MFILE, Errno::NFILE].iter().any(|lack| code == Some(lack.raw_os_error()))
}

/// Reads a whole file of at most `limit` bytes.
///
/// # Errors
/// `FileTooLarge` if it is longer, so that a damaged small file cannot fill the memory.
pub fn read_file(fs: &dyn Fs, path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let file = fs.open(path, Open::Read)?;
    let size = file.len()?;
    if size > limit {
        return Err(ErrorKind::FileTooLarge.into());
    }
    let mut bytes = vec![0; size as usize];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(bytes)
}

/// Replaces a file's contents so that a crash leaves either the old or the new ones, never a mix.
///
/// Writes `<path>.tmp`, syncs it, renames it over `path` and syncs the directory (KAFKA-16541: without
/// the last step the rename itself may be lost).
pub fn replace_file(fs: &dyn Fs, path: &Path, contents: &[u8]) -> io::Result<()> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".tmp");
    let temporary = Path::new(&temporary);
    let file = fs.open(temporary, Open::Truncate)?;
    file.write_all_at(&mut [IoSlice::new(contents)], 0)?;
    file.sync_data()?;
    fs.rename(temporary, path)?;
    fs.sync_dir(path.parent().ok_or(ErrorKind::InvalidInput)?)
}

/// Removes a file that may be gone already; returns whether it was there.
pub fn remove_if_exists(fs: &dyn Fs, path: &Path) -> io::Result<bool> {
    match fs.remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}
