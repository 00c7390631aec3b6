//! One segment of a log: a file of batches and the indexes into it.
//!
//! A segment knows bytes, positions and its own offsets. It does not know which offsets a reader may
//! see, what is durable, or when to roll: `log` does.
//!
//! * `size` is where the next batch goes. It moves only after a write succeeded, so whatever a failed
//!   one left behind is invisible, and is cut off.
//! * The index gets an entry for the first batch that begins more than `index.interval.bytes` behind
//!   the last one, named by the batch's last offset, as `kafka-dump-log` expects.
//! * Sealed segments open their file on the first read, so that a start with many is quick.
//!
//! Concurrency: not shared; owned by the log. Readers keep a segment's file open beyond its removal.
//! Source: Kafka 3.9 `LogSegment`.

use std::io::{self, IoSlice};
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use broker_protocol::quantity::{Offset, TimestampMs};

use crate::format::{
    DELETED_SUFFIX, INDEX_SUFFIX, LOG_SUFFIX, TIME_INDEX_SUFFIX, TXN_INDEX_SUFFIX, file_path,
};
use crate::fs::{File, Fs, Open, is_transient};
use crate::offset_index::{IndexError, OffsetIndex};
use crate::time_index::{TimeIndex, TimestampOffset};
use crate::transaction_index::TransactionIndex;

pub(crate) mod scan;

use scan::{Entry, Scanner, Step};

/// The most disk space reserved ahead of the writes: an extent that the file system maps in one piece,
/// and that a full disk can spare.
const RESERVE_MAX: u64 = 16 * 1024 * 1024;
/// The least. It doubles with the file, so that ten thousand idle partitions reserve little.
const RESERVE_MIN: u64 = 64 * 1024;
/// How much a search for one batch reads at a time: about an index interval.
const SCAN_SIZE: usize = 4096;

/// The least index: an entry of the time index and the one that the roll adds.
pub(crate) const INDEX_BYTES_MIN: u32 = 24;

/// The settings of a segment that come from the topic.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SegmentConfig {
    pub(crate) index_interval_bytes: u32,
    pub(crate) segment_index_bytes: u32,
}

/// Why a segment could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum SegmentError {
    /// The disk failed; the log directory must go offline, unless it is only full.
    #[error("{operation} {}", path.display())]
    Io {
        /// What was tried.
        operation: &'static str,
        /// The file.
        path: PathBuf,
        /// The disk's answer.
        source: io::Error,
    },
    /// The bytes of a stored batch are not what was written.
    #[error("{} is damaged at byte {position}", path.display())]
    Damaged {
        /// The segment's log file.
        path: PathBuf,
        /// Where the batch begins that cannot be read.
        position: u32,
    },
    /// An index failed in a way that is no hint's business.
    #[error(transparent)]
    Index(#[from] IndexError),
}

impl SegmentError {
    /// Returns the disk's error, if it was one.
    pub fn io_error(&self) -> Option<&io::Error> {
        match self {
            Self::Io { source, .. } | Self::Index(IndexError::Io { source, .. }) => Some(source),
            Self::Damaged { .. }
            | Self::Index(IndexError::TornEntry { .. } | IndexError::Disorder { .. }) => None,
        }
    }
}

/// One segment.
#[derive(Debug)]
pub(crate) struct Segment {
    fs: Arc<dyn Fs>,
    dir: Arc<PathBuf>,
    pub(crate) base_offset: Offset,
    file: OnceLock<Arc<dyn File>>,
    size: u32,
    /// Bytes from the start for which disk space is reserved.
    reserved: u64,
    pub(crate) index: OffsetIndex,
    pub(crate) time_index: TimeIndex,
    pub(crate) transaction_index: TransactionIndex,
    /// The largest timestamp and the last offset of the batch that has it.
    pub(crate) max_timestamp: TimestampOffset,
    /// The timestamp of the first batch, from which `segment.ms` counts; `None` while it has none.
    pub(crate) first_timestamp: Option<TimestampMs>,
    /// When the segment was created or loaded: from which `segment.ms` counts without timestamps.
    pub(crate) created: TimestampMs,
    bytes_since_index_entry: u32,
}

/// What a batch adds to the indexes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Indexed {
    pub(crate) size: u32,
    pub(crate) last_offset: Offset,
    pub(crate) max_timestamp: TimestampMs,
}

impl Segment {
    /// Creates an empty segment. Its name is durable once the directory is synced.
    pub(crate) fn create(
        fs: &Arc<dyn Fs>,
        dir: &Arc<PathBuf>,
        base_offset: Offset,
        config: SegmentConfig,
        now: TimestampMs,
    ) -> Result<Self, SegmentError> {
        let path = file_path(dir, base_offset, LOG_SUFFIX);
        let file = fs.open(&path, Open::Truncate).map_err(|source| SegmentError::Io {
            operation: "create",
            path,
            source,
        })?;
        let size_max = config.segment_index_bytes;
        let path = |suffix| file_path(dir, base_offset, suffix);
        let mut segment = Self {
            index: OffsetIndex::create(fs.clone(), path(INDEX_SUFFIX), base_offset, size_max)?,
            time_index: TimeIndex::create(
                fs.clone(),
                path(TIME_INDEX_SUFFIX),
                base_offset,
                size_max,
            )?,
            transaction_index: TransactionIndex::empty(
                fs.clone(),
                path(TXN_INDEX_SUFFIX),
                base_offset,
            ),
            fs: fs.clone(),
            dir: dir.clone(),
            base_offset,
            file: OnceLock::from(file),
            size: 0,
            reserved: 0,
            max_timestamp: no_timestamp(base_offset),
            first_timestamp: None,
            created: now,
            bytes_since_index_entry: 0,
        };
        segment.transaction_index.reset()?;
        Ok(segment)
    }

    /// Opens a segment that is on disk. The caller then loads its timestamps.
    ///
    /// The inner error is the segment with an index that is missing or wrong: it must be rebuilt.
    ///
    /// # Errors
    /// `Io`; `Damaged` if the file is longer than a segment can be.
    pub(crate) fn open(
        fs: &Arc<dyn Fs>,
        dir: &Arc<PathBuf>,
        base_offset: Offset,
        config: SegmentConfig,
        now: TimestampMs,
    ) -> Result<Result<Self, Self>, SegmentError> {
        let path = |suffix| file_path(dir, base_offset, suffix);
        let log = path(LOG_SUFFIX);
        let size = fs.len(&log).map_err(|source| SegmentError::Io {
            operation: "open",
            path: log.clone(),
            source,
        })?;
        let Some(size) = u32::try_from(size).ok().filter(|size| i32::try_from(*size).is_ok())
        else {
            return Err(SegmentError::Damaged { path: log, position: i32::MAX as u32 });
        };
        let size_max = config.segment_index_bytes;
        let mut is_sound = true;
        let index = OffsetIndex::open(fs.clone(), path(INDEX_SUFFIX), base_offset, size_max)
            .and_then(|index| index.sanity_check(u64::from(size)).map(|()| index));
        let index = match index {
            Ok(index) => index,
            Err(error) => {
                is_sound = rebuildable(error)?;
                OffsetIndex::create(fs.clone(), path(INDEX_SUFFIX), base_offset, size_max)?
            }
        };
        let time_index =
            TimeIndex::open(fs.clone(), path(TIME_INDEX_SUFFIX), base_offset, size_max)
                .and_then(|index| index.sanity_check().map(|()| index));
        let time_index = match time_index {
            Ok(index) => index,
            Err(error) => {
                is_sound = rebuildable(error)?;
                TimeIndex::create(fs.clone(), path(TIME_INDEX_SUFFIX), base_offset, size_max)?
            }
        };
        let transactions = path(TXN_INDEX_SUFFIX);
        let transaction_index =
            match TransactionIndex::open(fs.clone(), transactions.clone(), base_offset) {
                Ok(index) => index,
                Err(error) => {
                    is_sound = rebuildable(error)?;
                    TransactionIndex::empty(fs.clone(), transactions, base_offset)
                }
            };
        let segment = Self {
            fs: fs.clone(),
            dir: dir.clone(),
            base_offset,
            file: OnceLock::new(),
            size,
            reserved: u64::from(size),
            index,
            time_index,
            transaction_index,
            max_timestamp: no_timestamp(base_offset),
            first_timestamp: None,
            created: now,
            bytes_since_index_entry: 0,
        };
        Ok(if is_sound { Ok(segment) } else { Err(segment) })
    }

    /// Empties the segment in memory, and its indexes, so that a scan can add every batch again.
    ///
    /// Returns the size of its file in bytes, which is left as it is.
    pub(crate) fn reset_for_rebuild(&mut self, config: SegmentConfig) -> Result<u32, SegmentError> {
        let (base_offset, size_max) = (self.base_offset, config.segment_index_bytes);
        let fs = &self.fs;
        self.index =
            OffsetIndex::create(fs.clone(), self.path(INDEX_SUFFIX), base_offset, size_max)?;
        self.time_index =
            TimeIndex::create(fs.clone(), self.path(TIME_INDEX_SUFFIX), base_offset, size_max)?;
        self.transaction_index =
            TransactionIndex::empty(fs.clone(), self.path(TXN_INDEX_SUFFIX), base_offset);
        self.transaction_index.reset()?;
        self.max_timestamp = no_timestamp(base_offset);
        self.first_timestamp = None;
        self.bytes_since_index_entry = 0;
        Ok(std::mem::take(&mut self.size))
    }

    /// Ends a rebuild: cuts the file to what was added, and makes all of it durable.
    ///
    /// A tail that had to be cut might otherwise return with the next crash; and bytes that were never
    /// synced are now believed. What `is_stable` already needs no sync; the indexes of the active
    /// segment need none either, because every unclean start builds them again.
    pub(crate) fn finish_rebuild(
        &mut self,
        cut_bytes: u64,
        is_stable: bool,
        is_active: bool,
    ) -> Result<(), SegmentError> {
        self.seal()?;
        let file = self.file()?.clone();
        if cut_bytes > 0 {
            file.set_len(u64::from(self.size)).map_err(|source| self.io("truncate", source))?;
        }
        self.reserved = u64::from(self.size);
        if cut_bytes > 0 || !is_stable {
            file.sync_data().map_err(|source| self.io("sync", source))?;
        }
        if !is_active {
            self.index.flush()?;
            self.time_index.flush()?;
        }
        Ok(())
    }

    /// Takes the largest timestamp from the time index, which a roll completed.
    pub(crate) fn load_max_timestamp(&mut self) -> Result<(), SegmentError> {
        let last = self.time_index.last_entry();
        if last.timestamp.0 >= 0 || self.size == 0 {
            self.max_timestamp = last;
            return Ok(());
        }
        self.reload_timestamps()
    }

    /// Returns the path of one of its files.
    pub(crate) fn path(&self, suffix: &str) -> PathBuf {
        file_path(&self.dir, self.base_offset, suffix)
    }

    /// Returns the position behind its last batch.
    pub(crate) fn size(&self) -> u32 {
        self.size
    }

    fn io(&self, operation: &'static str, source: io::Error) -> SegmentError {
        SegmentError::Io { operation, path: self.path(LOG_SUFFIX), source }
    }

    fn damaged(&self, position: u32) -> SegmentError {
        SegmentError::Damaged { path: self.path(LOG_SUFFIX), position }
    }

    /// Returns the file of batches, opening it if this is the first use.
    pub(crate) fn file(&self) -> Result<&Arc<dyn File>, SegmentError> {
        if let Some(file) = self.file.get() {
            return Ok(file);
        }
        let file = self
            .fs
            .open(&self.path(LOG_SUFFIX), Open::Write)
            .map_err(|source| self.io("open", source))?;
        Ok(self.file.get_or_init(|| file))
    }

    /// Takes the space of a whole segment (`preallocate`), unless it has it.
    ///
    /// # Errors
    /// `Io`: the disk has not that much.
    pub(crate) fn reserve_whole(&mut self, segment_bytes: u32) -> Result<(), SegmentError> {
        if self.reserved < u64::from(segment_bytes) {
            let file = self.file()?.clone();
            file.allocate(0, u64::from(segment_bytes))
                .map_err(|source| self.io("allocate", source))?;
            self.reserved = u64::from(segment_bytes);
        }
        Ok(())
    }

    /// Writes whole batches behind the last one; [`Segment::add`] must then be told of each.
    ///
    /// # Errors
    /// `Io`: nothing was added, and what reached the file is cut off as far as the disk allows.
    pub(crate) fn write(
        &mut self,
        parts: &mut [IoSlice<'_>],
        position: u32,
    ) -> Result<(), SegmentError> {
        let size: usize = parts.iter().map(|part| part.len()).sum();
        let end = u64::from(position) + size as u64;
        assert!(i32::try_from(end).is_ok(), "a segment is smaller than 2 GiB");
        let file = self.file()?.clone();
        if end > self.reserved {
            let step = u64::from(self.size).clamp(RESERVE_MIN, RESERVE_MAX);
            let from = self.reserved.max(u64::from(self.size));
            let step = step.max(end - from);
            // Only to write faster: a full disk says so at the write itself.
            _ = file.allocate(from, step);
            self.reserved = from + step;
        }
        if let Err(source) = file.write_all_at(parts, u64::from(position)) {
            // If even this fails, recovery cuts: the position has not moved.
            _ = file.set_len(u64::from(self.size));
            self.reserved = u64::from(self.size);
            return Err(self.io("append to", source));
        }
        Ok(())
    }

    /// Counts a batch that was written at the end, and indexes it if it is time.
    pub(crate) fn add(
        &mut self,
        batch: Indexed,
        index_interval_bytes: u32,
    ) -> Result<(), SegmentError> {
        // The time index is about everything up to this batch, so the batch counts first.
        self.note_timestamp(batch);
        if self.bytes_since_index_entry > index_interval_bytes && !self.index.is_full() {
            match self.add_index_entry(batch.last_offset) {
                Ok(()) => self.bytes_since_index_entry = 0,
                // The batch is in the log already; the index is a hint, and the next batch tries again.
                Err(IndexError::Io { source, .. }) if is_transient(&source) => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.bytes_since_index_entry = self.bytes_since_index_entry.saturating_add(batch.size);
        self.size += batch.size;
        Ok(())
    }

    fn add_index_entry(&mut self, last_offset: Offset) -> Result<(), IndexError> {
        self.index.append(last_offset, self.size)?;
        let TimestampOffset { timestamp, offset } = self.max_timestamp;
        self.time_index.maybe_append(timestamp, offset, false)
    }

    fn note_timestamp(&mut self, batch: Indexed) {
        if self.first_timestamp.is_none() && batch.max_timestamp.0 >= 0 {
            self.first_timestamp = Some(batch.max_timestamp);
        }
        if batch.max_timestamp > self.max_timestamp.timestamp {
            self.max_timestamp =
                TimestampOffset { timestamp: batch.max_timestamp, offset: batch.last_offset };
        }
    }

    /// Returns whether no further index entry fits.
    pub(crate) fn is_index_full(&self) -> bool {
        self.index.is_full() || self.time_index.is_full()
    }

    /// Returns whether `last_offset` is too far from the base for the indexes' 31 bits.
    pub(crate) fn overflows(&self, last_offset: Offset) -> bool {
        last_offset.0 - self.base_offset.0 > i64::from(i32::MAX)
    }

    /// Ends the appends: the last time index entry is written, spare space is given back.
    pub(crate) fn seal(&mut self) -> Result<(), SegmentError> {
        let TimestampOffset { timestamp, offset } = self.max_timestamp;
        if timestamp.0 >= 0 {
            self.time_index.maybe_append(timestamp, offset, true)?;
        }
        self.index.trim()?;
        self.time_index.trim()?;
        if self.reserved > u64::from(self.size)
            && let Some(file) = self.file.get()
        {
            file.set_len(u64::from(self.size)).map_err(|source| self.io("trim", source))?;
            self.reserved = u64::from(self.size);
        }
        Ok(())
    }

    /// Returns the first batch whose last offset is `offset` or above.
    ///
    /// # Errors
    /// `Damaged` if a header on the way makes no sense; `Io`.
    pub(crate) fn find(&self, offset: Offset) -> Result<Option<Entry>, SegmentError> {
        if self.size == 0 {
            return Ok(None);
        }
        let from = self.index.lookup(offset)?;
        // An index is a hint: if it points nowhere, the scan starts at the front.
        let start = if from.position < self.size { from.position } else { 0 };
        match self.scan_for(start, offset) {
            Err(SegmentError::Damaged { .. }) if start > 0 => self.scan_for(0, offset),
            Ok(Some(entry))
                if start > 0 && entry.position == start && entry.base_offset > offset =>
            {
                self.scan_for(0, offset)
            }
            found => found,
        }
    }

    fn scan_for(&self, start: u32, offset: Offset) -> Result<Option<Entry>, SegmentError> {
        let file = self.file()?;
        let mut scanner = Scanner::new(file.as_ref(), start, self.size, [0; SCAN_SIZE]);
        loop {
            match scanner.step().map_err(|source| self.io("read", source))? {
                Step::Batch(entry) if entry.last_offset >= offset => return Ok(Some(entry)),
                Step::Batch(_) => {}
                Step::Damaged { position, .. } => return Err(self.damaged(position)),
                Step::End => return Ok(None),
            }
        }
    }

    /// Returns where a batch begins at `position` or somewhat below: as far as the index knows.
    pub(crate) fn batch_at_or_below(&self, position: u32) -> Result<u32, SegmentError> {
        let found = self.index.lookup_position(position)?.position;
        // An index is a hint: if it points nowhere, there is the front.
        Ok(if found <= position { found } else { 0 })
    }

    /// Calls `visit` for each batch from `position` on, until it returns false.
    pub(crate) fn for_each(
        &self,
        position: u32,
        mut visit: impl FnMut(&Entry) -> Result<bool, SegmentError>,
    ) -> Result<(), SegmentError> {
        let file = self.file()?;
        let mut scanner = Scanner::new(file.as_ref(), position, self.size, [0; SCAN_SIZE]);
        loop {
            match scanner.step().map_err(|source| self.io("read", source))? {
                Step::Batch(entry) => {
                    if !visit(&entry)? {
                        return Ok(());
                    }
                }
                Step::Damaged { position, .. } => return Err(self.damaged(position)),
                Step::End => return Ok(()),
            }
        }
    }

    /// Reads the bytes of a batch that a scan found.
    pub(crate) fn read_batch(&self, entry: &Entry) -> Result<Vec<u8>, SegmentError> {
        let mut bytes = vec![0; entry.size as usize];
        self.file()?
            .read_exact_at(&mut bytes, u64::from(entry.position))
            .map_err(|source| self.io("read", source))?;
        Ok(bytes)
    }

    /// Returns the offset behind the last batch, by a scan from the last index entry.
    pub(crate) fn read_next_offset(&self) -> Result<Offset, SegmentError> {
        let start = self.index.last_entry().map_or(0, |entry| entry.position);
        let mut next = self.base_offset;
        self.for_each(start, |entry| {
            next = Offset(entry.last_offset.0 + 1);
            Ok(true)
        })?;
        Ok(next)
    }

    /// Removes the batch that contains `offset` and everything behind it.
    pub(crate) fn truncate_to(&mut self, offset: Offset) -> Result<(), SegmentError> {
        let position = self.find(offset)?.map_or(self.size, |entry| entry.position);
        self.index.truncate_to(offset)?;
        self.time_index.truncate_to(offset)?;
        let file = self.file()?;
        file.set_len(u64::from(position)).map_err(|source| self.io("truncate", source))?;
        self.size = position;
        self.reserved = u64::from(position);
        self.bytes_since_index_entry = 0;
        self.reload_timestamps()
    }

    /// Finds the largest timestamp again, from the time index and the batches behind its last entry.
    pub(crate) fn reload_timestamps(&mut self) -> Result<(), SegmentError> {
        let mut max = self.time_index.last_entry();
        if max.timestamp.0 < 0 {
            max = no_timestamp(self.base_offset);
        }
        let start = match max.timestamp.0 {
            -1 => 0,
            _ => self.index.lookup(max.offset)?.position,
        };
        let start = if start < self.size { start } else { 0 };
        self.for_each(start, |entry| {
            if entry.max_timestamp > max.timestamp {
                max = TimestampOffset { timestamp: entry.max_timestamp, offset: entry.last_offset };
            }
            Ok(true)
        })?;
        self.max_timestamp = max;
        self.load_first_timestamp()
    }

    /// Reads the first batch's timestamp, from which `segment.ms` counts.
    pub(crate) fn load_first_timestamp(&mut self) -> Result<(), SegmentError> {
        let mut first = None;
        self.for_each(0, |entry| {
            first = (entry.max_timestamp.0 >= 0).then_some(entry.max_timestamp);
            Ok(false)
        })?;
        self.first_timestamp = first;
        Ok(())
    }

    /// Renames all files to `.deleted`; they are out of the log, and readers of theirs go on.
    pub(crate) fn mark_deleted(self) -> Result<Vec<PathBuf>, SegmentError> {
        let mut marked = Vec::with_capacity(4);
        for suffix in [LOG_SUFFIX, INDEX_SUFFIX, TIME_INDEX_SUFFIX, TXN_INDEX_SUFFIX] {
            let path = self.path(suffix);
            let mut deleted = path.clone().into_os_string();
            deleted.push(DELETED_SUFFIX);
            let deleted = PathBuf::from(deleted);
            match self.fs.rename(&path, &deleted) {
                Ok(()) => marked.push(deleted),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(source) => {
                    return Err(SegmentError::Io { operation: "rename", path, source });
                }
            }
        }
        Ok(marked)
    }
}

/// Lets pass what a rebuild cures, as false; the disk's errors stay errors.
fn rebuildable(error: IndexError) -> Result<bool, SegmentError> {
    match error {
        IndexError::Io { ref source, .. } if source.kind() != io::ErrorKind::NotFound => {
            Err(error.into())
        }
        IndexError::Io { .. } | IndexError::TornEntry { .. } | IndexError::Disorder { .. } => {
            Ok(false)
        }
    }
}

fn no_timestamp(base_offset: Offset) -> TimestampOffset {
    TimestampOffset { timestamp: TimestampMs(-1), offset: base_offset }
}
