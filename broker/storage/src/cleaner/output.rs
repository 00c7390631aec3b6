//! The segment that compaction writes, from `.cleaned` to its place in the log.
//!
//! ```text
//! written and synced as       renamed to       takes the names of its sources
//! <base>.log.cleaned   ->   <base>.log.swap   ->   <base>.log
//! ```
//!
//! A crash while any file is `.cleaned` undoes it; once all are `.swap`, recovery completes it. The
//! sources become `.deleted` in between and are removed by the caller when no reader has them open.
//!
//! Source: Kafka 3.9 `LocalLog.replaceSegments`.

use std::io::{self, ErrorKind, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use broker_protocol::quantity::{Offset, TimestampMs};

use super::Settings;
use crate::format::{
    CLEANED_SUFFIX, DELETED_SUFFIX, INDEX_SUFFIX, LOG_SUFFIX, SWAP_SUFFIX, TIME_INDEX_SUFFIX,
    TXN_INDEX_SUFFIX, file_path,
};
use crate::fs::{File, Fs, Open, remove_if_exists};
use crate::index_file::IndexError;
use crate::offset_index::OffsetIndex;
use crate::time_index::TimeIndex;
use crate::transaction_index::{AbortedTxn, TransactionIndex};

/// Bytes gathered before they are written.
const WRITE_SIZE: usize = 1024 * 1024;
const SUFFIXES: [&str; 4] = [LOG_SUFFIX, INDEX_SUFFIX, TIME_INDEX_SUFFIX, TXN_INDEX_SUFFIX];

/// A segment that is being written.
#[derive(Debug)]
pub(super) struct Output {
    fs: Arc<dyn Fs>,
    dir: PathBuf,
    base_offset: Offset,
    log: Arc<dyn File>,
    index: OffsetIndex,
    time_index: TimeIndex,
    transaction_index: TransactionIndex,
    index_interval_bytes: u32,
    pending: Vec<u8>,
    size: u64,
    since_entry: u64,
    max_timestamp: TimestampMs,
    max_timestamp_offset: Offset,
}

impl Output {
    /// Creates the files, replacing what a crash left.
    pub(super) fn create(
        fs: &Arc<dyn Fs>,
        dir: &Path,
        base_offset: Offset,
        settings: &Settings,
    ) -> Result<Self, IndexError> {
        let path = |suffix| cleaned_path(dir, base_offset, suffix);
        let log = fs.open(&path(LOG_SUFFIX), Open::Truncate).map_err(|source| IndexError::Io {
            operation: "create",
            path: path(LOG_SUFFIX),
            source,
        })?;
        let size_max = settings.segment_index_bytes;
        let time_path = path(TIME_INDEX_SUFFIX);
        let mut transaction_index =
            TransactionIndex::empty(fs.clone(), path(TXN_INDEX_SUFFIX), base_offset);
        transaction_index.reset()?;
        Ok(Self {
            fs: fs.clone(),
            dir: dir.into(),
            base_offset,
            log,
            index: OffsetIndex::create(fs.clone(), path(INDEX_SUFFIX), base_offset, size_max)?,
            time_index: TimeIndex::create(fs.clone(), time_path, base_offset, size_max)?,
            transaction_index,
            index_interval_bytes: settings.index_interval_bytes,
            pending: Vec::new(),
            size: 0,
            since_entry: 0,
            max_timestamp: TimestampMs(-1),
            max_timestamp_offset: base_offset,
        })
    }

    /// Returns the bytes appended so far.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// Appends a whole batch.
    pub(super) fn append(
        &mut self,
        bytes: &[u8],
        last_offset: Offset,
        max_timestamp: TimestampMs,
    ) -> Result<(), IndexError> {
        assert!(
            self.size + (bytes.len() as u64) < i32::MAX as u64,
            "the caller bounds the segment"
        );
        if max_timestamp > self.max_timestamp {
            (self.max_timestamp, self.max_timestamp_offset) = (max_timestamp, last_offset);
        }
        if self.since_entry > u64::from(self.index_interval_bytes) && !self.index.is_full() {
            self.index.append(last_offset, self.size as u32)?;
            self.time_index.maybe_append(self.max_timestamp, self.max_timestamp_offset, false)?;
            self.since_entry = 0;
        }
        self.since_entry += bytes.len() as u64;
        self.size += bytes.len() as u64;
        self.pending.extend(bytes);
        if self.pending.len() >= WRITE_SIZE { self.write_pending() } else { Ok(()) }
    }

    /// Notes an aborted transaction whose marker was kept.
    pub(super) fn append_aborted(&mut self, txn: AbortedTxn) -> Result<(), IndexError> {
        self.transaction_index.append(txn)
    }

    fn write_pending(&mut self) -> Result<(), IndexError> {
        let position = self.size - self.pending.len() as u64;
        self.log
            .write_all_at(&mut [IoSlice::new(&self.pending)], position)
            .map_err(|source| self.io("write", source))?;
        self.pending.clear();
        Ok(())
    }

    fn io(&self, operation: &'static str, source: io::Error) -> IndexError {
        let path = cleaned_path(&self.dir, self.base_offset, LOG_SUFFIX);
        IndexError::Io { operation, path, source }
    }

    /// Makes all files durable, as old as their youngest source.
    pub(super) fn finish(mut self, modified_ms: i64) -> Result<u32, IndexError> {
        self.write_pending()?;
        self.time_index.maybe_append(self.max_timestamp, self.max_timestamp_offset, true)?;
        self.index.trim()?;
        self.time_index.trim()?;
        self.log.sync_data().map_err(|source| self.io("sync", source))?;
        self.index.flush()?;
        self.time_index.flush()?;
        self.transaction_index.flush()?;
        for suffix in SUFFIXES {
            let path = cleaned_path(&self.dir, self.base_offset, suffix);
            match self.fs.set_modified_ms(&path, modified_ms) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    return Err(self.io("set the time of", error));
                }
                Ok(()) | Err(_) => {}
            }
        }
        Ok(self.size as u32)
    }
}

/// Removes what was written of a segment that is not wanted any more.
pub(super) fn discard(fs: &dyn Fs, dir: &Path, base_offset: Offset) -> io::Result<()> {
    for suffix in SUFFIXES {
        remove_if_exists(fs, &cleaned_path(dir, base_offset, suffix))?;
    }
    Ok(())
}

/// Puts the finished segment in the place of its sources, durably; returns the sources' new paths.
///
/// The caller holds the log's lock.
pub(super) fn swap_in(
    fs: &dyn Fs,
    dir: &Path,
    base_offset: Offset,
    sources: &[Offset],
) -> io::Result<Vec<PathBuf>> {
    assert!(sources.first() == Some(&base_offset), "a group takes the name of its first source");
    let path = |offset, suffix, second| file_path(dir, offset, &format!("{suffix}{second}"));
    for suffix in SUFFIXES {
        let from = cleaned_path(dir, base_offset, suffix);
        rename_if_exists(fs, &from, &path(base_offset, suffix, SWAP_SUFFIX))?;
    }
    // From here on a crash completes the swap.
    fs.sync_dir(dir)?;
    let mut deleted = Vec::new();
    for (source, suffix) in sources.iter().flat_map(|source| SUFFIXES.map(|s| (*source, s))) {
        let to = path(source, suffix, DELETED_SUFFIX);
        if rename_if_exists(fs, &file_path(dir, source, suffix), &to)? {
            deleted.push(to);
        }
    }
    for suffix in SUFFIXES {
        let from = path(base_offset, suffix, SWAP_SUFFIX);
        rename_if_exists(fs, &from, &file_path(dir, base_offset, suffix))?;
    }
    fs.sync_dir(dir)?;
    Ok(deleted)
}

fn cleaned_path(dir: &Path, base_offset: Offset, suffix: &str) -> PathBuf {
    file_path(dir, base_offset, &format!("{suffix}{CLEANED_SUFFIX}"))
}

fn rename_if_exists(fs: &dyn Fs, from: &Path, to: &Path) -> io::Result<bool> {
    match fs.rename(from, to) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}
