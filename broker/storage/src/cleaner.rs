//! Compaction: keeps the newest record of each key and drops those that it supersedes.
//!
//! One [`clean`] reads a snapshot of closed segments without the log's lock:
//! 1. the dirty part's keys go into a map, bounded in memory; if it fills, the round ends there;
//! 2. groups of segments are copied, without superseded records, expired tombstones and the records of
//!    aborted transactions, each group into one new segment;
//! 3. each new segment is handed to the caller, who takes the log's lock, makes sure that the sources
//!    are still there, and calls [`CleanedSegment::swap_in`].
//!
//! What never goes: anything at or above `first_uncleanable_offset`; the last batch of a producer (as an
//! empty one, so that its sequence survives); the last batch of the round (so that offsets survive).
//! A record without a key does not belong into a compacted log, and goes.
//!
//! A tombstone stays for `delete.retention.ms` after the first round that met it: that round writes the
//! delete horizon into its batch (KIP-534). Messages of versions 0 and 1 are kept as they are.
//!
//! Concurrency: one thread per call, no lock held. Source: Kafka 3.9 `LogCleaner`.

use std::collections::HashMap;
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use broker_config::topic::TopicConfig;
use broker_protocol::quantity::{Offset, TimestampMs};

use crate::fs::{File, Fs};
use crate::index_file::IndexError;
use crate::transaction_index::AbortedTxn;

mod batch;
mod copy;
mod offset_map;
mod output;
mod reader;
mod select;
mod transactions;

pub use offset_map::MapLimit;
pub use select::{Cleanable, ClosedSegment, LogFacts, cleanable};

use copy::Copier;
use offset_map::OffsetMap;
use reader::{Entry, ReadError, Reader};
use select::groups;
use transactions::Transactions;

/// The settings of a topic that bear on compaction.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    /// `segment.bytes`.
    pub segment_bytes: u32,
    /// `segment.index.bytes`.
    pub segment_index_bytes: u32,
    /// `index.interval.bytes`.
    pub index_interval_bytes: u32,
    /// `delete.retention.ms`.
    pub delete_retention_ms: i64,
    /// `min.compaction.lag.ms`.
    pub min_compaction_lag_ms: i64,
    /// `max.compaction.lag.ms`.
    pub max_compaction_lag_ms: i64,
    /// `min.cleanable.dirty.ratio`.
    pub min_cleanable_dirty_ratio: f64,
}

impl Settings {
    /// Takes the settings from a topic's configuration.
    pub fn of(config: &TopicConfig) -> Self {
        // The configuration has checked that sizes are not negative.
        let size = |size: i32| u32::try_from(size).unwrap_or(0);
        Self {
            segment_bytes: size(config.segment_bytes),
            segment_index_bytes: size(config.segment_index_bytes),
            index_interval_bytes: size(config.index_interval_bytes),
            delete_retention_ms: config.delete_retention_ms,
            min_compaction_lag_ms: config.min_compaction_lag_ms,
            max_compaction_lag_ms: config.max_compaction_lag_ms,
            min_cleanable_dirty_ratio: config.min_cleanable_dirty_ratio,
        }
    }
}

/// A closed segment, as compaction reads it.
#[derive(Debug, Clone)]
pub struct Source {
    /// What is known of it.
    pub facts: ClosedSegment,
    /// Its log file.
    pub file: Arc<dyn File>,
    /// When the log file was last written.
    pub modified_ms: i64,
}

/// The newest trace that an active producer left in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LastRecord {
    /// The last offset of its last data batch; `None` if a marker is all that is left of it.
    pub last_data_offset: Option<Offset>,
    /// Its newest epoch.
    pub producer_epoch: i16,
}

/// A log at the moment when its compaction begins.
#[derive(Debug)]
pub struct Snapshot {
    /// Where its files are.
    pub fs: Arc<dyn Fs>,
    /// The log's directory.
    pub dir: PathBuf,
    /// The closed segments below `first_uncleanable_offset`, in order.
    pub sources: Vec<Source>,
    /// From [`cleanable`].
    pub cleanable: Cleanable,
    /// The topic's settings.
    pub settings: Settings,
    /// Every aborted transaction with a record in the sources, wherever its marker is.
    pub aborted: Vec<AbortedTxn>,
    /// The active producers.
    pub last_records: HashMap<i64, LastRecord>,
}

/// A compacted segment that waits, as `.cleaned` files, to replace its sources.
#[derive(Debug)]
pub struct CleanedSegment {
    fs: Arc<dyn Fs>,
    dir: PathBuf,
    /// The base offsets of the segments that it replaces, in order; its own is the first.
    pub sources: Vec<Offset>,
    /// Their log files, by which a log knows that they are still its own.
    pub files: Vec<Arc<dyn File>>,
    /// The size of its log file in bytes.
    pub size: u32,
}

impl CleanedSegment {
    /// Returns its first offset.
    pub fn base_offset(&self) -> Offset {
        self.sources[0]
    }

    /// Puts it in the place of its sources, durably; returns the sources' files, renamed to `.deleted`.
    ///
    /// The caller holds the log's lock, and opens the segment anew. The producer snapshots of all
    /// sources but the first are the caller's to remove.
    ///
    /// # Errors
    /// Recovery completes or undoes the swap. The log directory must go offline.
    pub fn swap_in(&self) -> io::Result<Vec<PathBuf>> {
        output::swap_in(self.fs.as_ref(), &self.dir, self.base_offset(), &self.sources)
    }

    /// Removes it: its sources are no longer what they were.
    pub fn discard(&self) -> io::Result<()> {
        output::discard(self.fs.as_ref(), &self.dir, self.base_offset())
    }
}

/// What a round of compaction did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Report {
    /// Everything below is clean now; goes to the checkpoint.
    pub cleaned_to: Offset,
    /// The keys in the map.
    pub key_count: usize,
    /// Bytes of the segments read for copying.
    pub bytes_read: u64,
    /// Bytes of the segments written.
    pub bytes_written: u64,
    /// Records read for copying.
    pub records_read: u64,
    /// Records kept.
    pub records_kept: u64,
}

/// Why a round of compaction ended early. Segments swapped in before stay.
#[derive(Debug, thiserror::Error)]
pub enum CleanError {
    /// A file of a new segment failed. The log directory must go offline, unless the disk is full.
    #[error(transparent)]
    Output(#[from] IndexError),
    /// A segment could not be read. The log directory must go offline.
    #[error("read segment {base_offset} of {}", dir.display())]
    Read {
        /// The log's directory.
        dir: PathBuf,
        /// The segment.
        base_offset: Offset,
        /// The disk's answer.
        source: io::Error,
    },
    /// A batch is not what was written. The log is not to be compacted again.
    #[error("segment {base_offset} of {} is damaged at byte {position}", dir.display())]
    Damaged {
        /// The log's directory.
        dir: PathBuf,
        /// The segment.
        base_offset: Offset,
        /// Where the batch begins.
        position: u32,
    },
    /// The keys of one batch do not fit the map: `log.cleaner.dedupe.buffer.size` is too small.
    #[error("one batch of {} has more keys than the map holds", dir.display())]
    MapTooSmall {
        /// The log's directory.
        dir: PathBuf,
    },
    /// A compacted segment would be 2 GiB or more.
    #[error("segment {base_offset} of {} grows beyond 2 GiB", dir.display())]
    TooLarge {
        /// The log's directory.
        dir: PathBuf,
        /// The segment.
        base_offset: Offset,
    },
    /// The caller asked to stop.
    #[error("compaction was stopped")]
    Stopped,
    /// The caller could not swap a segment in.
    #[error("swap in a compacted segment of {}", dir.display())]
    Swap {
        /// The log's directory.
        dir: PathBuf,
        /// The disk's answer.
        source: io::Error,
    },
}

impl CleanError {
    /// Returns the disk's answer, where the caller has not met it itself, as it has in
    /// [`CleanError::Swap`].
    pub fn io_error(&self) -> Option<&io::Error> {
        match self {
            Self::Read { source, .. } | Self::Output(IndexError::Io { source, .. }) => Some(source),
            Self::Output(_)
            | Self::Damaged { .. }
            | Self::MapTooSmall { .. }
            | Self::TooLarge { .. }
            | Self::Stopped
            | Self::Swap { .. } => None,
        }
    }
}

/// How a caller takes part in a round.
pub trait Round {
    /// Is told of bytes read or written, may wait (throttling), and may end the round.
    fn progress(&mut self, bytes: u64) -> ControlFlow<()>;

    /// Swaps a segment in under the log's lock; [`ControlFlow::Break`] if the sources are gone, in which
    /// case it has discarded the segment.
    fn swap(&mut self, segment: CleanedSegment) -> io::Result<ControlFlow<()>>;
}

/// Runs one round of compaction, with a map of keys within `map_limit`.
///
/// # Errors
/// What was being written is removed as far as the disk allows; recovery removes the rest.
///
/// # Panics
/// If the snapshot's segments are not adjacent, or reach above `first_uncleanable_offset`.
pub fn clean(
    snapshot: &Snapshot,
    map_limit: MapLimit,
    now: TimestampMs,
    round: &mut dyn Round,
) -> Result<Report, CleanError> {
    let facts: Vec<ClosedSegment> = snapshot.sources.iter().map(|source| source.facts).collect();
    let limit = snapshot.cleanable.first_uncleanable_offset;
    assert!(facts.iter().all(|segment| segment.end_offset <= limit), "only what is cleanable");
    let mut map = OffsetMap::new(map_limit, snapshot.cleanable.dirty_bytes);
    let cleaned_to = fill_map(snapshot, &mut map, round)?;
    let mut report = Report { cleaned_to, key_count: map.len(), ..Report::default() };

    let touched = facts.iter().take_while(|segment| segment.base_offset < cleaned_to).count();
    let mut transactions = Transactions::new(snapshot.aborted.iter().copied());
    for group in groups(&facts[..touched], &snapshot.settings) {
        let sources = &snapshot.sources[group];
        let mut copier =
            Copier::new(snapshot, &map, cleaned_to, &mut transactions, now, &mut report);
        let base_offset = sources[0].facts.base_offset;
        let size = copier.copy(sources, round).inspect_err(|_| {
            _ = output::discard(snapshot.fs.as_ref(), &snapshot.dir, base_offset);
        })?;
        let segment = CleanedSegment {
            fs: snapshot.fs.clone(),
            dir: snapshot.dir.clone(),
            sources: sources.iter().map(|source| source.facts.base_offset).collect(),
            files: sources.iter().map(|source| source.file.clone()).collect(),
            size,
        };
        match round.swap(segment) {
            Ok(ControlFlow::Continue(())) => {}
            Ok(ControlFlow::Break(())) => return Err(CleanError::Stopped),
            Err(source) => return Err(CleanError::Swap { dir: snapshot.dir.clone(), source }),
        }
    }
    Ok(report)
}

/// Puts the keys of the dirty part into the map; returns the offset up to which all are in it.
fn fill_map(
    snapshot: &Snapshot,
    map: &mut OffsetMap,
    round: &mut dyn Round,
) -> Result<Offset, CleanError> {
    let start = snapshot.cleanable.first_dirty_offset;
    let mut transactions = Transactions::new(snapshot.aborted.iter().copied());
    let mut mapped_to = start;
    for source in snapshot.sources.iter().filter(|source| source.facts.end_offset > start) {
        let mut reader = Reader::new(source.file.as_ref(), &source.facts);
        let fail = |error| read_error(error, &snapshot.dir, source.facts.base_offset);
        let mut position = 0;
        while let Some(entry) = reader.next().map_err(fail)? {
            let (is_mapped, last_offset, size) = match entry {
                Entry::Legacy { last_offset, bytes } => (true, last_offset, bytes.len()),
                Entry::Batch(batch) => {
                    let is_mapped = map_batch(&batch, start, map, &mut transactions)
                        .map_err(|_| fail(ReadError::Damaged(position)))?;
                    (is_mapped, batch.header.last_offset(), batch.bytes.len())
                }
            };
            if !is_mapped {
                let is_stuck = mapped_to == start;
                let error = || CleanError::MapTooSmall { dir: snapshot.dir.clone() };
                return if is_stuck { Err(error()) } else { Ok(mapped_to) };
            }
            position += size as u32;
            mapped_to = mapped_to.max(Offset(last_offset.0 + 1));
            if round.progress(size as u64).is_break() {
                return Err(CleanError::Stopped);
            }
        }
        // Offsets between the last batch and the next segment hold nothing.
        mapped_to = source.facts.end_offset;
    }
    assert!(mapped_to <= snapshot.cleanable.first_uncleanable_offset.max(start), "never beyond");
    Ok(mapped_to)
}

/// Puts one batch's keys into the map; returns false if they do not all fit.
fn map_batch(
    batch: &broker_protocol::record::batch::Batch<'_>,
    start: Offset,
    map: &mut OffsetMap,
    transactions: &mut Transactions,
) -> Result<bool, batch::Undecodable> {
    let header = &batch.header;
    let (producer_id, last_offset) = (header.producer_id, header.last_offset());
    if header.attributes.is_control() {
        let marker = batch::marker(header, &batch::unpack(batch)?)?;
        transactions.on_marker(producer_id, last_offset, marker);
        return Ok(true);
    }
    let is_transactional = header.attributes.is_transactional();
    let is_aborted = transactions.on_batch(producer_id, last_offset, is_transactional);
    if is_aborted || last_offset < start || header.records_count == 0 {
        return Ok(true);
    }
    let mut fits = true;
    let plain = batch::unpack(batch)?;
    batch::for_each_record(header, &plain, |offset, record| {
        if let Some(key) = record.key.filter(|_| offset >= start) {
            fits = fits && map.put(key, offset);
        }
    })?;
    Ok(fits)
}

fn read_error(error: ReadError, dir: &Path, base_offset: Offset) -> CleanError {
    match error {
        ReadError::Io(source) => CleanError::Read { dir: dir.into(), base_offset, source },
        ReadError::Damaged(position) => {
            CleanError::Damaged { dir: dir.into(), base_offset, position }
        }
    }
}
