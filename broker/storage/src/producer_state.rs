//! What a log remembers of its producers: enough to refuse duplicates and gaps, and to know which
//! transactions are open.
//!
//! The state is a function of the log: replaying every batch in order gives it again. Snapshots only
//! shorten the replay; one that is damaged is removed and the one before it is taken.
//!
//! * `end_offset` (exclusive): every batch below it is in the state.
//! * A snapshot's offset is its `end_offset`.
//! * `known_from` (inclusive): of the batches below it only each producer's last one is in the state, for
//!   that is what a snapshot has. The log reads the others when a retry asks for one (`log/recall.rs`).
//!
//! Checking and recording are apart: [`ProducerStates::check`] before the bytes are written,
//! [`ProducerStates::append`] after, so that a failed write leaves no trace here.
//!
//! Concurrency: not shared; owned by the log. Source: Kafka 3.9 `ProducerStateManager` and
//! `ProducerAppendInfo`.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use broker_protocol::quantity::{Offset, TimestampMs};

use crate::format::{SNAPSHOT_SUFFIX, file_path, parse_file_name};
use crate::fs::{Fs, remove_if_exists};
use crate::transaction_index::AbortedTxn;

mod entry;
mod snapshot;

#[cfg(feature = "planted")]
pub use entry::remember_four_batches;
pub use entry::{BatchMetadata, ProducerEntry};
pub use snapshot::SnapshotDamage;

/// The producer id of batches without idempotence.
pub const NO_PRODUCER_ID: i64 = -1;

/// The part of a data batch that concerns its producer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProducerBatch {
    /// The producer; never [`NO_PRODUCER_ID`].
    pub producer_id: i64,
    /// The producer's epoch.
    pub producer_epoch: i16,
    /// The sequence of the first record; -1 for records without, such as group commits.
    pub base_sequence: i32,
    /// The sequence of the last record.
    pub last_sequence: i32,
    /// The first offset. Before the append, any value: it is only recorded.
    pub base_offset: Offset,
    /// The last offset (inclusive).
    pub last_offset: Offset,
    /// The largest timestamp.
    pub max_timestamp: TimestampMs,
    /// Whether the batch belongs to a transaction.
    pub is_transactional: bool,
}

/// The part of a control batch that ends a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EndTxnMarker {
    /// The producer whose transaction ends.
    pub producer_id: i64,
    /// The producer's epoch.
    pub producer_epoch: i16,
    /// The epoch of the transaction coordinator that wrote the marker.
    pub coordinator_epoch: i32,
    /// The marker's own offset.
    pub offset: Offset,
    /// The marker's timestamp.
    pub timestamp: TimestampMs,
    /// Whether the transaction was aborted.
    pub is_abort: bool,
}

/// Who writes, and so how much is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// A producer: epoch and sequence are checked.
    Client,
    /// The group or transaction coordinator, whose batches have no sequence: only the epoch is checked.
    Coordinator,
    /// The leader, or the log itself at recovery: the check was made when it was appended first.
    Replication,
}

/// What to do with a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Append it.
    Accept,
    /// It was appended before, at these offsets; answer with them and append nothing.
    Duplicate(BatchMetadata),
    /// It was appended before, wholly below this offset, so long ago that the place is not remembered.
    Forgotten(Offset),
}

/// Why a batch must not be appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProducerError {
    /// A batch of this producer is missing before this one.
    #[error(
        "producer {producer_id} sent sequence {base_sequence}, its last one is {last_sequence}"
    )]
    OutOfOrderSequence {
        /// The producer.
        producer_id: i64,
        /// The sequence that came.
        base_sequence: i32,
        /// The last sequence that was appended; -1 if none in this epoch.
        last_sequence: i32,
    },
    /// A newer instance of this producer has written already.
    #[error("producer {producer_id} has epoch {producer_epoch}, its newest is {newest}")]
    InvalidProducerEpoch {
        /// The producer.
        producer_id: i64,
        /// The epoch that came.
        producer_epoch: i16,
        /// The newest epoch known.
        newest: i16,
    },
    /// A batch outside a transaction came while the producer has one open.
    #[error("producer {producer_id} wrote outside its transaction, which began at {first_offset}")]
    InvalidTxnState {
        /// The producer.
        producer_id: i64,
        /// Where the open transaction begins.
        first_offset: Offset,
    },
    /// A coordinator that was replaced ended a transaction.
    #[error(
        "producer {producer_id}: coordinator epoch {coordinator_epoch}, its newest is {newest}"
    )]
    TransactionCoordinatorFenced {
        /// The producer.
        producer_id: i64,
        /// The epoch that came.
        coordinator_epoch: i32,
        /// The newest epoch known.
        newest: i32,
    },
}

/// A snapshot could not be written, read or removed. The log directory must go offline.
#[derive(Debug, thiserror::Error)]
#[error("{operation} producer snapshot {}", path.display())]
pub struct SnapshotError {
    /// What was tried.
    pub operation: &'static str,
    /// The snapshot, or the log's directory.
    pub path: PathBuf,
    /// The disk's answer.
    pub source: io::Error,
}

/// A transaction that was ended by a marker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CompletedTxn {
    /// The producer.
    pub producer_id: i64,
    /// The first offset of the transaction.
    pub first_offset: Offset,
    /// The marker's offset.
    pub last_offset: Offset,
    /// Whether it was aborted.
    pub is_abort: bool,
}

/// The states of all producers of one log.
#[derive(Debug)]
pub struct ProducerStates {
    fs: Arc<dyn Fs>,
    dir: PathBuf,
    producers: HashMap<i64, ProducerEntry>,
    /// Open transactions by their first offset.
    ongoing: BTreeMap<Offset, i64>,
    /// Ended transactions whose marker may be above the high watermark: first offset to last.
    unreplicated: BTreeMap<Offset, Offset>,
    end_offset: Offset,
    known_from: Offset,
    /// How much of the log was read below the snapshot.
    recalled_bytes: u64,
    /// Offsets of the snapshots on disk.
    snapshots: BTreeSet<Offset>,
    last_snapshot_offset: Offset,
}

impl ProducerStates {
    /// Makes an empty state for the log in `dir`, and notes which snapshots it has.
    pub fn open(fs: Arc<dyn Fs>, dir: &Path) -> Result<Self, SnapshotError> {
        let names = fs.list(dir).map_err(|source| SnapshotError {
            operation: "list",
            path: dir.into(),
            source,
        })?;
        let snapshots = names
            .iter()
            .filter_map(|entry| parse_file_name(&entry.name))
            .filter(|(_, suffix)| *suffix == SNAPSHOT_SUFFIX)
            .map(|(offset, _)| offset)
            .collect();
        Ok(Self {
            fs,
            dir: dir.into(),
            producers: HashMap::new(),
            ongoing: BTreeMap::new(),
            unreplicated: BTreeMap::new(),
            end_offset: Offset(0),
            known_from: Offset(0),
            recalled_bytes: 0,
            snapshots,
            last_snapshot_offset: Offset(0),
        })
    }

    /// Says what to do with the data batches of one append, in order, before they are written.
    ///
    /// A duplicate anywhere makes the whole append one, as in Kafka; later batches are checked as if the
    /// earlier ones were recorded. Batches without a producer must be left out.
    ///
    /// # Errors
    /// Nothing may be appended; the state is unchanged.
    ///
    /// # Panics
    /// If a batch has no producer.
    pub fn check(
        &self,
        batches: &[ProducerBatch],
        origin: Origin,
    ) -> Result<Verdict, ProducerError> {
        for (index, batch) in batches.iter().enumerate() {
            assert!(batch.producer_id != NO_PRODUCER_ID, "a batch without producer has no state");
            let known = self.producers.get(&batch.producer_id);
            if origin == Origin::Client
                && let Some(original) = known.and_then(|entry| entry.find_duplicate(batch))
            {
                return Ok(Verdict::Duplicate(original));
            }
            if origin == Origin::Client
                && let Some(below) = known.and_then(|entry| entry.find_forgotten(batch))
            {
                return Ok(Verdict::Forgotten(below));
            }
            let earlier = || batches[..index].iter().filter(|b| b.producer_id == batch.producer_id);
            if earlier().next().is_none() {
                match known {
                    Some(entry) => entry.check(batch, origin)?,
                    None => ProducerEntry::new(batch.producer_id).check(batch, origin)?,
                }
            } else {
                let new = || ProducerEntry::new(batch.producer_id);
                let mut entry = known.cloned().unwrap_or_else(new);
                earlier().for_each(|b| _ = entry.record(b));
                entry.check(batch, origin)?;
            }
        }
        Ok(Verdict::Accept)
    }

    /// Records a data batch that was appended to the log, or that recovery found there.
    ///
    /// # Panics
    /// If the batch lies wholly below `end_offset`: it would be counted twice.
    pub fn append(&mut self, batch: &ProducerBatch) {
        assert!(batch.producer_id != NO_PRODUCER_ID, "a batch without producer has no state");
        assert!(batch.last_offset >= self.end_offset, "a batch is recorded once, in order");
        assert!(batch.last_offset >= batch.base_offset, "a batch ends where it starts or later");
        let new = || ProducerEntry::new(batch.producer_id);
        let entry = self.producers.entry(batch.producer_id).or_insert_with(new);
        if let Some(first_offset) = entry.record(batch) {
            self.ongoing.insert(first_offset, batch.producer_id);
        }
    }

    /// Says whether a marker may be appended.
    pub fn check_marker(&self, marker: &EndTxnMarker, origin: Origin) -> Result<(), ProducerError> {
        match self.producers.get(&marker.producer_id) {
            Some(entry) => entry.check_marker(marker, origin),
            None => Ok(()),
        }
    }

    /// Records a marker that was appended, and returns the transaction that it ended, if any.
    ///
    /// The caller hands an aborted one to the segment's transaction index, with
    /// [`ProducerStates::aborted_txn`], and then calls [`ProducerStates::complete`].
    ///
    /// # Panics
    /// If the marker lies below `end_offset`: it would be counted twice.
    pub fn append_marker(&mut self, marker: &EndTxnMarker) -> Option<CompletedTxn> {
        assert!(marker.offset >= self.end_offset, "a marker is recorded once, in order");
        let new = || ProducerEntry::new(marker.producer_id);
        let entry = self.producers.entry(marker.producer_id).or_insert_with(new);
        let first_offset = entry.record_marker(marker)?;
        Some(CompletedTxn {
            producer_id: marker.producer_id,
            first_offset,
            last_offset: marker.offset,
            is_abort: marker.is_abort,
        })
    }

    /// Returns the transaction index's entry for an aborted transaction, before it is completed.
    pub fn aborted_txn(&self, completed: &CompletedTxn) -> AbortedTxn {
        let other = self.ongoing.iter().find(|(_, id)| **id != completed.producer_id);
        let next = Offset(completed.last_offset.0 + 1);
        AbortedTxn {
            producer_id: completed.producer_id,
            first_offset: completed.first_offset,
            last_offset: completed.last_offset,
            last_stable_offset: other.map_or(next, |(first_offset, _)| *first_offset),
        }
    }

    /// Moves an ended transaction from the open ones to those whose marker is not replicated yet.
    ///
    /// # Panics
    /// If it was not open.
    pub fn complete(&mut self, completed: &CompletedTxn) {
        let open = self.ongoing.remove(&completed.first_offset);
        assert_eq!(open, Some(completed.producer_id), "only an open transaction can be completed");
        self.unreplicated.insert(completed.first_offset, completed.last_offset);
    }

    /// Forgets ended transactions whose markers are below the high watermark.
    pub fn on_high_watermark(&mut self, high_watermark: Offset) {
        if !self.unreplicated.is_empty() {
            self.unreplicated.retain(|_, last_offset| *last_offset >= high_watermark);
        }
    }

    /// Returns the first offset that belongs to a transaction which readers of committed data must wait
    /// for; the last stable offset is the lower of it and the high watermark.
    pub fn first_unstable_offset(&self) -> Option<Offset> {
        let ongoing = self.ongoing.first_key_value().map(|(first_offset, _)| *first_offset);
        let ended = self.unreplicated.first_key_value().map(|(first_offset, _)| *first_offset);
        ongoing.into_iter().chain(ended).min()
    }

    /// Returns the first offset of the oldest open transaction.
    pub fn first_ongoing_offset(&self) -> Option<Offset> {
        self.ongoing.first_key_value().map(|(first_offset, _)| *first_offset)
    }

    /// Returns the offset (exclusive) up to which batches are recorded.
    pub fn end_offset(&self) -> Offset {
        self.end_offset
    }

    /// Says that every batch below `end_offset` was recorded. Called after each append.
    ///
    /// # Panics
    /// If it moves back.
    pub fn set_end_offset(&mut self, end_offset: Offset) {
        assert!(end_offset >= self.end_offset, "the state never moves back but by truncation");
        self.end_offset = end_offset;
    }

    /// Returns the state of one producer.
    pub fn get(&self, producer_id: i64) -> Option<&ProducerEntry> {
        self.producers.get(&producer_id)
    }

    /// Returns every producer, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &ProducerEntry> {
        self.producers.values()
    }

    /// Returns how many producers are known.
    pub fn producer_count(&self) -> usize {
        self.producers.len()
    }

    /// Forgets producers without an open transaction that wrote nothing for `expiration_ms`.
    pub fn remove_expired(&mut self, now: TimestampMs, expiration_ms: i64) {
        self.producers.retain(|_, entry| !entry.is_expired(now, expiration_ms));
    }

    /// Writes a snapshot at `end_offset`, unless there is one; returns whether it did.
    ///
    /// `durably` syncs file and directory. Otherwise a crash may lose it, which only costs replay.
    pub fn take_snapshot(&mut self, durably: bool) -> Result<bool, SnapshotError> {
        if self.end_offset <= self.last_snapshot_offset {
            return Ok(false);
        }
        let path = self.snapshot_path(self.end_offset);
        snapshot::write(self.fs.as_ref(), &path, self.producers.values(), durably)
            .map_err(|source| SnapshotError { operation: "write", path, source })?;
        self.snapshots.insert(self.end_offset);
        self.last_snapshot_offset = self.end_offset;
        Ok(true)
    }

    /// Loads the newest sound snapshot in `log_start_offset < snapshot <= log_end_offset`, after removing
    /// those outside, unless the state ends at `log_end_offset` already.
    ///
    /// The caller then replays the log from [`ProducerStates::end_offset`] on.
    ///
    /// # Panics
    /// If the log ends before it starts.
    pub fn truncate_and_reload(
        &mut self,
        log_start_offset: Offset,
        log_end_offset: Offset,
        now: TimestampMs,
        expiration_ms: i64,
    ) -> Result<(), SnapshotError> {
        assert!(log_start_offset <= log_end_offset, "a log ends where it starts or later");
        let outside: Vec<Offset> = self
            .snapshots
            .iter()
            .copied()
            .filter(|offset| *offset > log_end_offset || *offset <= log_start_offset)
            .collect();
        for offset in outside {
            self.remove_snapshot(offset)?;
        }
        if log_end_offset == self.end_offset {
            self.advance_log_start_offset(log_start_offset);
            return Ok(());
        }
        self.clear();
        while let Some(offset) = self.snapshots.last().copied() {
            let path = self.snapshot_path(offset);
            match snapshot::read(self.fs.as_ref(), &path) {
                Ok(Ok(entries)) => {
                    let alive = |entry: &ProducerEntry| !entry.is_expired(now, expiration_ms);
                    entries.into_iter().filter(alive).for_each(|entry| self.load(entry));
                    self.begin_at(offset);
                    return Ok(());
                }
                Ok(Err(damage)) => {
                    tracing::warn!(snapshot = %path.display(), %damage, "removing producer snapshot");
                    self.remove_snapshot(offset)?;
                }
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    self.snapshots.remove(&offset);
                }
                Err(source) => return Err(SnapshotError { operation: "read", path, source }),
            }
        }
        self.begin_at(log_start_offset);
        Ok(())
    }

    fn begin_at(&mut self, offset: Offset) {
        self.end_offset = offset;
        self.known_from = offset;
        self.recalled_bytes = 0;
        self.last_snapshot_offset = offset;
    }

    /// Returns the offset from which on (inclusive) all batches of a producer may be in the state.
    pub fn known_from(&self) -> Offset {
        self.known_from
    }

    /// Returns how many bytes of the log were read to lower [`ProducerStates::known_from`].
    pub fn recalled_bytes(&self) -> u64 {
        self.recalled_bytes
    }

    /// Says whether `batch`, which does not follow, may be a retry of one below [`known_from`].
    ///
    /// [`known_from`]: ProducerStates::known_from
    pub fn may_have_forgotten(&self, batch: &ProducerBatch) -> bool {
        let known = self.producers.get(&batch.producer_id);
        known.is_some_and(|entry| entry.may_have_forgotten(batch))
    }

    /// Takes in the batches of `from..known_from`, in their order, which were read from `read_bytes` of the
    /// log: the state is then known from `from` on.
    ///
    /// # Panics
    /// If they are not below what is known.
    pub fn recall(&mut self, batches: &[ProducerBatch], from: Offset, read_bytes: u64) {
        assert!(from <= self.known_from, "what is recalled lies below what is known");
        for batch in batches.iter().rev() {
            assert!(batch.last_offset < self.known_from, "a batch is recalled once");
            if let Some(entry) = self.producers.get_mut(&batch.producer_id) {
                entry.recall(batch);
            }
        }
        self.known_from = from;
        self.recalled_bytes += read_bytes;
    }

    fn load(&mut self, entry: ProducerEntry) {
        if let Some(first_offset) = entry.current_txn_first_offset() {
            self.ongoing.insert(first_offset, entry.producer_id());
        }
        self.producers.insert(entry.producer_id(), entry);
    }

    fn clear(&mut self) {
        self.producers.clear();
        self.ongoing.clear();
        // A log is never truncated below its high watermark, so ended transactions are replicated.
        self.unreplicated.clear();
    }

    /// Forgets everything: the log is empty and starts at `offset`.
    pub fn truncate_fully_and_start_at(&mut self, offset: Offset) -> Result<(), SnapshotError> {
        self.clear();
        for snapshot in std::mem::take(&mut self.snapshots) {
            self.delete_file(snapshot)?;
        }
        self.begin_at(offset);
        self.last_snapshot_offset = Offset(0);
        Ok(())
    }

    /// Follows the log start offset. Producers stay: only time expires them.
    pub fn advance_log_start_offset(&mut self, log_start_offset: Offset) {
        self.unreplicated.retain(|_, last_offset| *last_offset >= log_start_offset);
        self.end_offset = self.end_offset.max(log_start_offset);
        self.last_snapshot_offset = self.snapshots.last().copied().unwrap_or(log_start_offset);
    }

    /// Returns the offsets of the snapshots on disk, lowest first.
    pub fn snapshots(&self) -> impl DoubleEndedIterator<Item = Offset> {
        self.snapshots.iter().copied()
    }

    /// Removes one snapshot, such as that of a deleted segment; it may be gone already.
    pub fn remove_snapshot(&mut self, offset: Offset) -> Result<(), SnapshotError> {
        self.snapshots.remove(&offset);
        self.delete_file(offset)
    }

    fn delete_file(&self, offset: Offset) -> Result<(), SnapshotError> {
        let path = self.snapshot_path(offset);
        match remove_if_exists(self.fs.as_ref(), &path) {
            Ok(_) => Ok(()),
            Err(source) => Err(SnapshotError { operation: "remove", path, source }),
        }
    }

    /// Removes snapshots that no segment starts at, keeping the newest: they are left over from crashes.
    pub fn remove_strays(&mut self, segment_base_offsets: &[Offset]) -> Result<(), SnapshotError> {
        let newest = self.snapshots.last().copied();
        let is_stray = |offset: &Offset| !segment_base_offsets.contains(offset);
        let strays: Vec<Offset> = self.snapshots.iter().copied().filter(is_stray).collect();
        for offset in strays.into_iter().filter(|offset| Some(*offset) != newest) {
            self.remove_snapshot(offset)?;
        }
        Ok(())
    }

    /// Follows the log into a renamed directory.
    pub fn set_dir(&mut self, dir: &Path) {
        self.dir = dir.into();
    }

    fn snapshot_path(&self, offset: Offset) -> PathBuf {
        file_path(&self.dir, offset, SNAPSHOT_SUFFIX)
    }
}

#[cfg(test)]
mod tests;
