//! How a partition is read: by consumers, who see a part of it, and by replicas, who see all.

use broker_protocol::quantity::{LeaderEpoch, Offset};
use broker_storage::log::{ReadError as LogReadError, Slice};
use broker_storage::transaction_index::AbortedTxn;

use super::{EpochEndOffset, Partition};
use crate::replica::partition_state::StateError;

/// How far a reader may see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Isolation {
    /// Up to the high watermark.
    ReadUncommitted,
    /// Up to the last stable offset: no record of an open transaction.
    ReadCommitted,
}

/// What a reader asks of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FetchPosition {
    /// The first offset wanted.
    pub fetch_offset: Offset,
    /// The most bytes wanted of this partition.
    pub max_bytes: u32,
    /// The leader epoch that the client believes in, -1 for none.
    pub current_leader_epoch: LeaderEpoch,
    /// The epoch of the last record that the client has, -1 for none.
    pub last_fetched_epoch: LeaderEpoch,
}

/// Why nothing was read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// Not here, or not now.
    #[error(transparent)]
    State(#[from] StateError),
    /// There is no such topic or partition here.
    #[error("the partition is not known")]
    UnknownPartition,
    /// There is no topic of that id here.
    #[error("the topic id is not known")]
    UnknownTopicId,
    /// Only brokers of the cluster may read as replicas.
    #[error("a client asked as if it were a broker")]
    NotABroker,
    /// The offset is below the start or above the end of the log.
    #[error("offset {offset} is not within {log_start_offset}..={end_offset}")]
    OffsetOutOfRange {
        /// What was asked for.
        offset: Offset,
        /// The first offset there is.
        log_start_offset: Offset,
        /// The offset after the last.
        end_offset: Offset,
    },
    /// The log failed.
    #[error(transparent)]
    Log(#[from] LogReadError),
}

/// What one look at a partition gave a reader.
#[derive(Debug)]
pub struct Read {
    /// Whole batches; absent if there is nothing (yet).
    pub slice: Option<Slice>,
    /// The first offset that consumers do not see.
    pub high_watermark: Offset,
    /// The first offset that `read_committed` does not see.
    pub last_stable_offset: Offset,
    /// The first offset of the log.
    pub log_start_offset: Offset,
    /// The first offset that this reader does not see.
    pub visible_end_offset: Offset,
    /// The aborted transactions within the slice, for `read_committed`.
    pub aborted: Vec<AbortedTxn>,
    /// The first offset that the reader wanted.
    pub fetch_offset: Offset,
    /// How many bytes the reader wanted at most.
    pub max_bytes: u32,
    /// Set when the client must truncate; there is no slice then.
    pub diverging: Option<EpochEndOffset>,
}

impl Read {
    /// Returns the bytes that were found.
    pub fn size(&self) -> u32 {
        self.slice.as_ref().map_or(0, |slice| slice.size)
    }
}

impl Partition {
    /// Reads whole batches from `position` on, as far as `isolation` sees.
    ///
    /// `max_bytes` is what the whole answer still takes; with `at_least_one` the first batch comes
    /// whatever its size. A position in a hole that compaction left gives the next batch.
    ///
    /// # Errors
    /// As [`ReadError`]; an I/O error has taken the directory offline.
    pub fn read(
        &self,
        position: &FetchPosition,
        isolation: Isolation,
        max_bytes: u32,
        at_least_one: bool,
    ) -> Result<Read, ReadError> {
        let inner = self.inner.lock();
        inner.state.check_leader(position.current_leader_epoch)?;
        let log = &inner.log;
        let high_watermark = inner.state.high_watermark();
        let last_stable_offset = log.last_stable_offset(high_watermark);
        let visible_end_offset = match isolation {
            Isolation::ReadUncommitted => high_watermark,
            Isolation::ReadCommitted => last_stable_offset,
        };
        let mut read = Read {
            slice: None,
            high_watermark,
            last_stable_offset,
            log_start_offset: log.log_start_offset(),
            visible_end_offset,
            aborted: Vec::new(),
            fetch_offset: position.fetch_offset,
            max_bytes: max_bytes.min(position.max_bytes),
            diverging: None,
        };
        let offset = position.fetch_offset;
        let out_of_range = || ReadError::OffsetOutOfRange {
            offset,
            log_start_offset: log.log_start_offset(),
            end_offset: log.log_end_offset(),
        };
        if position.last_fetched_epoch.0 >= 0 {
            let end = inner.end_offset_for_epoch(position.last_fetched_epoch);
            if end.end_offset.0 < 0 || end.leader_epoch.0 < 0 {
                return Err(out_of_range());
            }
            if end.leader_epoch < position.last_fetched_epoch || end.end_offset < offset {
                read.diverging = Some(end);
                return Ok(read);
            }
        }
        if offset < log.log_start_offset() || offset > log.log_end_offset() {
            return Err(out_of_range());
        }
        if offset < visible_end_offset && (read.max_bytes > 0 || at_least_one) {
            let slice = log.read(offset, read.max_bytes, visible_end_offset, at_least_one);
            let slice = match slice {
                Ok(slice) => slice,
                Err(error) => {
                    drop(inner);
                    if let LogReadError::Log(error) = &error {
                        self.note(error);
                    }
                    return Err(error.into());
                }
            };
            // A piece of a batch is of no use to anyone: who wants large ones asks for at least one.
            let is_whole = slice.size > 0 && !slice.is_first_batch_incomplete;
            read.slice = Some(slice).filter(|_| is_whole);
            if isolation == Isolation::ReadCommitted {
                read.aborted = log.aborted_transactions(offset, visible_end_offset);
            }
        }
        Ok(read)
    }
}
