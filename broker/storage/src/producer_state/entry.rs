//! The state of one producer: epoch, last batches, open transaction.
//!
//! Sequences count a producer's records per partition and wrap from 2^31-1 to 0.

use broker_protocol::quantity::{Offset, TimestampMs};

use super::{EndTxnMarker, Origin, ProducerBatch, ProducerError};

/// As many as a producer may have in flight, so that every retry is recognised.
const BATCHES_MAX: usize = 5;
/// How many sequences there are: the first is 0, the last 2^31-1.
const SEQUENCES: i64 = 1 << 31;
const NO_PRODUCER_EPOCH: i16 = -1;
const NO_SEQUENCE: i32 = -1;

/// Returns how many steps lead from one sequence to another.
fn distance(from: i32, to: i32) -> i64 {
    (i64::from(to) - i64::from(from)).rem_euclid(SEQUENCES)
}

/// How many batches are looked at for a duplicate.
#[cfg(not(feature = "planted"))]
const fn window() -> usize {
    BATCHES_MAX
}

#[cfg(feature = "planted")]
static WINDOW: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(BATCHES_MAX);

#[cfg(feature = "planted")]
fn window() -> usize {
    WINDOW.load(std::sync::atomic::Ordering::Relaxed)
}

/// Plants a fault: one batch less than a producer may have in flight is known again.
#[cfg(feature = "planted")]
pub fn remember_four_batches() {
    WINDOW.store(BATCHES_MAX - 1, std::sync::atomic::Ordering::Relaxed);
}

/// A batch as the state remembers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchMetadata {
    /// The sequence of the last record.
    pub last_sequence: i32,
    /// The last offset (inclusive).
    pub last_offset: Offset,
    /// The last offset less the first one.
    pub offset_delta: i32,
    /// The largest timestamp.
    pub timestamp: TimestampMs,
}

impl BatchMetadata {
    fn of(batch: &ProducerBatch) -> Self {
        Self {
            last_sequence: batch.last_sequence,
            last_offset: batch.last_offset,
            offset_delta: (batch.last_offset.0 - batch.base_offset.0) as i32,
            timestamp: batch.max_timestamp,
        }
    }

    /// Returns the first offset.
    pub fn base_offset(&self) -> Offset {
        Offset(self.last_offset.0 - i64::from(self.offset_delta))
    }

    /// Returns the sequence of the first record.
    pub fn base_sequence(&self) -> i32 {
        let base = i64::from(self.last_sequence) - i64::from(self.offset_delta);
        // Below zero the sequence had wrapped inside the batch.
        if base >= 0 { base as i32 } else { (base + i64::from(i32::MAX) + 1) as i32 }
    }
}

/// The state of one producer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProducerEntry {
    producer_id: i64,
    producer_epoch: i16,
    coordinator_epoch: i32,
    last_timestamp: TimestampMs,
    current_txn_first_offset: Option<Offset>,
    /// Oldest first; only the first `batch_count` count.
    batches: [BatchMetadata; BATCHES_MAX],
    batch_count: usize,
    /// How many sequences of this epoch, up to the last one, followed each other; at most half of all.
    unbroken: u32,
}

impl ProducerEntry {
    /// Makes the state of a producer of which nothing is known.
    pub(super) fn new(producer_id: i64) -> Self {
        let none = BatchMetadata {
            last_sequence: NO_SEQUENCE,
            last_offset: Offset(-1),
            offset_delta: 0,
            timestamp: TimestampMs(-1),
        };
        Self {
            producer_id,
            producer_epoch: NO_PRODUCER_EPOCH,
            coordinator_epoch: -1,
            last_timestamp: TimestampMs(-1),
            current_txn_first_offset: None,
            batches: [none; BATCHES_MAX],
            batch_count: 0,
            unbroken: 0,
        }
    }

    /// Makes the state that a snapshot tells: of the batches only the last one.
    pub(super) fn restored(
        producer_id: i64,
        producer_epoch: i16,
        coordinator_epoch: i32,
        last_timestamp: TimestampMs,
        current_txn_first_offset: Option<Offset>,
        batch: Option<BatchMetadata>,
    ) -> Self {
        let mut entry = Self {
            producer_epoch,
            coordinator_epoch,
            last_timestamp,
            current_txn_first_offset,
            ..Self::new(producer_id)
        };
        if let Some(batch) = batch {
            entry.follow(batch.base_sequence(), batch.last_sequence);
            entry.push(batch);
        }
        entry
    }

    /// Returns the producer's id.
    pub fn producer_id(&self) -> i64 {
        self.producer_id
    }

    /// Returns the newest epoch; -1 if none was seen.
    pub fn producer_epoch(&self) -> i16 {
        self.producer_epoch
    }

    /// Returns the epoch of the coordinator that wrote the last marker; -1 if none did.
    pub fn coordinator_epoch(&self) -> i32 {
        self.coordinator_epoch
    }

    /// Returns the timestamp of the last batch or marker.
    pub fn last_timestamp(&self) -> TimestampMs {
        self.last_timestamp
    }

    /// Returns where the open transaction begins.
    pub fn current_txn_first_offset(&self) -> Option<Offset> {
        self.current_txn_first_offset
    }

    /// Returns the batches remembered, oldest first.
    pub fn batches(&self) -> &[BatchMetadata] {
        &self.batches[..self.batch_count]
    }

    /// Returns the last sequence of this epoch; -1 if there is none.
    pub fn last_sequence(&self) -> i32 {
        self.batches().last().map_or(NO_SEQUENCE, |batch| batch.last_sequence)
    }

    pub(super) fn is_expired(&self, now: TimestampMs, expiration_ms: i64) -> bool {
        self.current_txn_first_offset.is_none()
            && now.0.saturating_sub(self.last_timestamp.0) >= expiration_ms
    }

    pub(super) fn find_duplicate(&self, batch: &ProducerBatch) -> Option<BatchMetadata> {
        if batch.producer_epoch != self.producer_epoch {
            return None;
        }
        let is_same = |known: &&BatchMetadata| {
            known.base_sequence() == batch.base_sequence
                && known.last_sequence == batch.last_sequence
        };
        self.batches().iter().rev().take(window()).find(is_same).copied()
    }

    pub(super) fn check(&self, batch: &ProducerBatch, origin: Origin) -> Result<(), ProducerError> {
        if origin == Origin::Replication {
            return Ok(());
        }
        self.check_epoch(batch.producer_epoch)?;
        if origin == Origin::Client {
            self.check_sequence(batch)?;
        }
        match self.current_txn_first_offset {
            Some(first_offset) if !batch.is_transactional => {
                Err(ProducerError::InvalidTxnState { producer_id: self.producer_id, first_offset })
            }
            Some(_) | None => Ok(()),
        }
    }

    fn check_epoch(&self, producer_epoch: i16) -> Result<(), ProducerError> {
        if producer_epoch >= self.producer_epoch {
            return Ok(());
        }
        Err(ProducerError::InvalidProducerEpoch {
            producer_id: self.producer_id,
            producer_epoch,
            newest: self.producer_epoch,
        })
    }

    fn check_sequence(&self, batch: &ProducerBatch) -> Result<(), ProducerError> {
        // A producer whose state is gone, by expiry or with its records, goes on where it was.
        if self.producer_epoch == NO_PRODUCER_EPOCH {
            return Ok(());
        }
        let is_new_epoch = batch.producer_epoch != self.producer_epoch;
        let last_sequence = if is_new_epoch { NO_SEQUENCE } else { self.last_sequence() };
        let expected = last_sequence.checked_add(1).unwrap_or(0);
        if batch.base_sequence == expected {
            return Ok(());
        }
        Err(ProducerError::OutOfOrderSequence {
            producer_id: self.producer_id,
            base_sequence: batch.base_sequence,
            last_sequence,
        })
    }

    pub(super) fn check_marker(
        &self,
        marker: &EndTxnMarker,
        origin: Origin,
    ) -> Result<(), ProducerError> {
        if origin == Origin::Replication {
            return Ok(());
        }
        self.check_epoch(marker.producer_epoch)?;
        if marker.coordinator_epoch >= self.coordinator_epoch {
            return Ok(());
        }
        Err(ProducerError::TransactionCoordinatorFenced {
            producer_id: self.producer_id,
            coordinator_epoch: marker.coordinator_epoch,
            newest: self.coordinator_epoch,
        })
    }

    /// Records a batch; returns its first offset if it begins a transaction.
    pub(super) fn record(&mut self, batch: &ProducerBatch) -> Option<Offset> {
        self.enter_epoch(batch.producer_epoch);
        self.follow(batch.base_sequence, batch.last_sequence);
        self.push(BatchMetadata::of(batch));
        self.last_timestamp = batch.max_timestamp;
        if batch.is_transactional && self.current_txn_first_offset.is_none() {
            self.current_txn_first_offset = Some(batch.base_offset);
            return Some(batch.base_offset);
        }
        None
    }

    /// Records a marker; returns the first offset of the transaction that it ends.
    pub(super) fn record_marker(&mut self, marker: &EndTxnMarker) -> Option<Offset> {
        self.enter_epoch(marker.producer_epoch);
        self.coordinator_epoch = marker.coordinator_epoch;
        self.last_timestamp = marker.timestamp;
        self.current_txn_first_offset.take()
    }

    /// Says whether a batch that is older than those remembered was appended: its sequences are among those
    /// that followed each other. It lies wholly below the offset that is returned.
    ///
    /// Kafka refuses it as out of order. But a client may have more than five batches under way, where it
    /// heard of a new leader before the old one's silence ended; refused, its oldest makes it begin a new
    /// epoch and send again what was appended.
    pub(super) fn find_forgotten(&self, batch: &ProducerBatch) -> Option<Offset> {
        let first = self.batches().first()?;
        let ends_before =
            (1..SEQUENCES / 2).contains(&distance(batch.last_sequence, first.base_sequence()));
        let is_known = self.behind(batch)? < i64::from(self.unbroken);
        (ends_before && is_known).then(|| first.base_offset())
    }

    /// Says whether `batch` may have been appended and is not known here, because the state is of a snapshot:
    /// it comes before the first sequence that is known.
    pub(super) fn may_have_forgotten(&self, batch: &ProducerBatch) -> bool {
        let behind = self.behind(batch);
        behind.is_some_and(|behind| (i64::from(self.unbroken)..SEQUENCES / 2).contains(&behind))
    }

    /// Records a batch that was found before the first one that is known, if it counts among the last five
    /// or comes right before what followed each other.
    pub(super) fn recall(&mut self, batch: &ProducerBatch) {
        let is_before =
            self.batches().first().is_some_and(|first| batch.last_offset < first.base_offset());
        if !is_before || batch.producer_epoch != self.producer_epoch {
            return;
        }
        if distance(batch.last_sequence, self.last_sequence()) == i64::from(self.unbroken) {
            self.extend(batch.base_sequence, batch.last_sequence);
        }
        if self.batch_count < BATCHES_MAX {
            self.batches.rotate_right(1);
            self.batches[0] = BatchMetadata::of(batch);
            self.batch_count += 1;
        }
    }

    /// Returns how far the first sequence of a batch of this epoch lies behind the last one.
    fn behind(&self, batch: &ProducerBatch) -> Option<i64> {
        let is_comparable = self.batch_count > 0
            && batch.producer_epoch == self.producer_epoch
            && batch.base_sequence >= 0;
        is_comparable.then(|| distance(batch.base_sequence, self.last_sequence()))
    }

    /// Counts the sequences of a batch that comes behind the last one.
    fn follow(&mut self, base_sequence: i32, last_sequence: i32) {
        let follows = self.batch_count > 0 && distance(self.last_sequence(), base_sequence) == 1;
        if !follows {
            self.unbroken = 0;
        }
        if base_sequence >= 0 {
            self.extend(base_sequence, last_sequence);
        }
    }

    fn extend(&mut self, base_sequence: i32, last_sequence: i32) {
        let sum = i64::from(self.unbroken) + distance(base_sequence, last_sequence) + 1;
        self.unbroken = sum.min(SEQUENCES / 2) as u32;
    }

    fn enter_epoch(&mut self, producer_epoch: i16) {
        if self.producer_epoch != producer_epoch {
            self.producer_epoch = producer_epoch;
            self.batch_count = 0;
            self.unbroken = 0;
        }
    }

    fn push(&mut self, batch: BatchMetadata) {
        if self.batch_count == BATCHES_MAX {
            self.batches.rotate_left(1);
            self.batch_count -= 1;
        }
        self.batches[self.batch_count] = batch;
        self.batch_count += 1;
        assert!(self.batch_count <= BATCHES_MAX, "only the last five batches are kept");
    }
}
