//! The file system of the operating system.
//!
//! Errors are the operating system's, unchanged. Nothing is cached and nothing is retried but
//! interrupted calls and short writes.
#![allow(clippy::disallowed_methods, reason = "this is the seam through which the disk is reached")]

use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, IoSlice};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use rustix::fs::{FallocateFlags, FlockOperation, fallocate, fcntl_lock, flock};

use super::{DirEntry, File, Fs, Lock, Map, Open};

/// The operating system's file system.
#[derive(Debug, Clone, Copy, Default)]
pub struct RealFs;

impl Fs for RealFs {
    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn File>> {
        let mut options = OpenOptions::new();
        options.read(true);
        match how {
            Open::Read => {}
            Open::Write => _ = options.write(true),
            Open::Create => _ = options.write(true).create(true).truncate(false),
            Open::CreateNew => _ = options.write(true).create_new(true),
            Open::Truncate => _ = options.write(true).create(true).truncate(true),
        }
        Ok(Arc::new(RealFile(options.open(path)?)))
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        fs::create_dir_all(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        fs::remove_dir_all(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            if let Ok(name) = entry.file_name().into_string() {
                entries.push(DirEntry { name, is_dir: entry.file_type()?.is_dir() });
            }
        }
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        fs::File::open(path)?.sync_all()
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Lock>> {
        let file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        // `flock` keeps out a second lock of this process; the POSIX lock is the one that Kafka's JVM
        // takes, so that it and we keep each other out.
        flock(&file, FlockOperation::NonBlockingLockExclusive).map_err(would_block)?;
        fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive).map_err(would_block)?;
        Ok(Box::new(RealLock(file)))
    }

    fn len(&self, path: &Path) -> io::Result<u64> {
        Ok(fs::metadata(path)?.len())
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        fs::exists(path)
    }

    fn modified_ms(&self, path: &Path) -> io::Result<i64> {
        let modified = fs::metadata(path)?.modified()?;
        Ok(match modified.duration_since(UNIX_EPOCH) {
            Ok(after) => i64::try_from(after.as_millis()).unwrap_or(i64::MAX),
            // Before 1970: only a broken clock writes that, and 0 is old enough for every decision.
            Err(_) => 0,
        })
    }

    fn set_modified_ms(&self, path: &Path, modified_ms: i64) -> io::Result<()> {
        let modified = UNIX_EPOCH + Duration::from_millis(u64::try_from(modified_ms).unwrap_or(0));
        OpenOptions::new().write(true).open(path)?.set_modified(modified)
    }
}

/// POSIX says `EAGAIN` or `EACCES` for a lock that somebody else holds.
fn would_block(error: rustix::io::Errno) -> io::Error {
    match error {
        rustix::io::Errno::ACCESS => ErrorKind::WouldBlock.into(),
        other => other.into(),
    }
}

/// Holds the descriptor: closing it releases both locks.
#[derive(Debug)]
struct RealLock(#[expect(dead_code, reason = "held for its drop")] fs::File);

impl Lock for RealLock {}

#[derive(Debug)]
struct RealFile(fs::File);

impl File for RealFile {
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        self.0.read_at(buffer, position)
    }

    fn write_all_at(&self, buffers: &mut [IoSlice<'_>], position: u64) -> io::Result<()> {
        let mut rest = buffers;
        let mut position = position;
        // Drops leading empty buffers, so that a zero from the system always means "no progress".
        IoSlice::advance_slices(&mut rest, 0);
        while !rest.is_empty() {
            match rustix::io::pwritev(&self.0, rest, position) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(count) => {
                    position += count as u64;
                    IoSlice::advance_slices(&mut rest, count);
                }
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn set_len(&self, size: u64) -> io::Result<()> {
        self.0.set_len(size)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn allocate(&self, position: u64, size: u64) -> io::Result<()> {
        match fallocate(&self.0, FallocateFlags::KEEP_SIZE, position, size) {
            // File systems without reservation (tmpfs has it; NFS may not) fall back on luck, as Kafka does.
            Ok(()) | Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.0.as_fd())
    }

    fn map(self: Arc<Self>, size: usize) -> io::Result<Map> {
        Map::of_file(&self.0, size)
    }
}

#[cfg(test)]
mod tests;
