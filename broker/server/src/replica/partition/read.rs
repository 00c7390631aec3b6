//! How a partition is read: by consumers, who see a part of it, and by replicas, who see all.

use std::time::Instant;

use broker_config::topic::ThrottledReplicas;
use broker_protocol::quantity::{BrokerId, LeaderEpoch, Offset};
use broker_storage::log::{ReadError as LogReadError, Slice};
use broker_storage::transaction_index::AbortedTxn;

use super::{Advanced, EpochEndOffset, Inner, Partition};
use crate::planted::{self, Bug};
use crate::replica::nearby::Nearby;
use crate::replica::partition_state::{Moved, StateError};
use crate::replica::progress::ReplicaFetch;

/// How far a reader may see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Isolation {
    /// Up to the high watermark.
    ReadUncommitted,
    /// Up to the last stable offset: no record of an open transaction.
    ReadCommitted,
    /// Up to the end of the log: replicas.
    LogEnd,
}

/// Who reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reader {
    /// A client that reads from the leader, and sees a part of the log.
    Consumer(Isolation),
    /// A client that reads from any replica (KIP-392).
    Anywhere(Isolation),
    /// A replica, which sees all of it, and shows by its position what it has.
    Replica {
        /// Who it is.
        broker: BrokerId,
        /// Its registration, -1 if it does not say.
        broker_epoch: i64,
        /// When its request came.
        at: Instant,
        /// Whether it gets nothing of what is throttled, unless it is in sync.
        is_over_quota: bool,
    },
}

impl From<Isolation> for Reader {
    fn from(isolation: Isolation) -> Self {
        Self::Consumer(isolation)
    }
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
    /// Where the log of a replica starts, -1 for clients.
    pub log_start_offset: Offset,
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
    /// Where the reader should go instead; there is no slice then.
    pub preferred_replica: Option<BrokerId>,
    /// Whether there is no slice because replication is throttled.
    pub is_throttled: bool,
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
    /// Reads whole batches from `position` on, as far as `reader` sees; a replica's position is recorded.
    ///
    /// `max_bytes` is what the whole answer still takes; with `at_least_one` the first batch comes
    /// whatever its size. A position in a hole that compaction left gives the next batch.
    ///
    /// # Errors
    /// As [`ReadError`]; an I/O error has taken the directory offline.
    pub fn read(
        &self,
        position: &FetchPosition,
        reader: impl Into<Reader>,
        max_bytes: u32,
        at_least_one: bool,
    ) -> Result<Read, ReadError> {
        let reader = reader.into();
        let position = &believed(position, reader);
        let mut inner = self.inner.lock();
        inner.check_reader(position, reader)?;
        if let Some(diverging) = inner.diverging(position)? {
            let isolation = reader.isolation();
            return Ok(Read { diverging: Some(diverging), ..inner.nothing(position, isolation) });
        }
        inner.check_range(position)?;
        let (moved, advanced) = self.note_replica(&mut inner, position, reader);
        let isolation = reader.isolation();
        let mut read = inner.nothing(position, isolation);
        read.max_bytes = max_bytes.min(position.max_bytes);
        let wants_any = read.max_bytes > 0 || at_least_one;
        let is_behind = position.fetch_offset < read.visible_end_offset;
        read.is_throttled = is_behind && self.is_left_out(&inner, reader);
        let found = if is_behind && wants_any && !read.is_throttled {
            inner.fill(&mut read, isolation, at_least_one)
        } else {
            Ok(())
        };
        drop(inner);
        self.tell_moved(moved, advanced);
        if let Err(LogReadError::Log(error)) = &found {
            self.note(error);
        }
        found?;
        Ok(read)
    }

    /// Returns the replica that a consumer should read from instead of this one, if this one leads.
    pub fn preferred_replica(&self, offset: Offset, consumer: &Nearby) -> Option<BrokerId> {
        consumer.choose(&self.inner.lock().state, offset)
    }

    /// Returns whether a replica gets nothing now, for the sake of those that clients wait for.
    ///
    /// Source: Kafka 3.9 `ReplicaManager.shouldLeaderThrottle`.
    fn is_left_out(&self, inner: &Inner, reader: Reader) -> bool {
        let Reader::Replica { broker, is_over_quota: true, .. } = reader else { return false };
        let Some(leadership) = inner.state.leadership() else { return false };
        let leader = leadership.leader.map_or(-1, |leader| leader.0);
        let throttled = &self.config.load().leader_replication_throttled_replicas;
        !leadership.isr.contains(&broker) && throttled.contains(self.name.partition, leader)
    }

    /// Returns whether what is sent to replicas counts as throttled.
    pub fn is_throttled_leader(&self) -> bool {
        let config = self.config.load();
        let throttled = &config.leader_replication_throttled_replicas;
        if *throttled == ThrottledReplicas::default() {
            return false;
        }
        let leader = self.inner.lock().state.leadership().and_then(|it| it.leader);
        leader.is_some_and(|leader| throttled.contains(self.name.partition, leader.0))
    }

    fn note_replica(
        &self,
        inner: &mut Inner,
        position: &FetchPosition,
        reader: Reader,
    ) -> (Moved, Option<Advanced>) {
        let Reader::Replica { broker, broker_epoch, at, .. } = reader else {
            return (Moved::default(), None);
        };
        let FetchPosition { fetch_offset: offset, log_start_offset, .. } = *position;
        let leader_epoch = position.current_leader_epoch;
        let fetch =
            ReplicaFetch { broker, broker_epoch, leader_epoch, offset, log_start_offset, at };
        if inner.state.lacks_committed(&fetch) {
            let (partition, broker) = (&self.name, broker.0);
            tracing::error!(%partition, broker, %offset, "a replica in sync lacks committed records");
        }
        let moved = inner.state.replica_fetched(&fetch);
        let advanced = self.advanced(inner, moved.high_watermark);
        (moved, advanced)
    }
}

impl Reader {
    fn isolation(self) -> Isolation {
        match self {
            Self::Consumer(isolation) | Self::Anywhere(isolation) => isolation,
            Self::Replica { .. } => Isolation::LogEnd,
        }
    }
}

/// Returns what a reader asks, with the epochs that it names.
fn believed(position: &FetchPosition, reader: Reader) -> FetchPosition {
    let is_replica = matches!(reader, Reader::Replica { .. });
    if is_replica && planted::is(Bug::IgnoreEpochInFetch) {
        let none = LeaderEpoch(-1);
        return FetchPosition { current_leader_epoch: none, last_fetched_epoch: none, ..*position };
    }
    *position
}

impl Inner {
    fn check_reader(&self, position: &FetchPosition, reader: Reader) -> Result<(), StateError> {
        let epoch = position.current_leader_epoch;
        match reader {
            Reader::Consumer(_) => self.state.check_leader(epoch),
            Reader::Anywhere(_) => self.state.check_replica_here(epoch),
            Reader::Replica { broker, .. } => {
                self.state.check_leader(epoch)?;
                self.state.check_replica(broker, epoch)
            }
        }
    }

    /// Returns where the reader's log differs from ours, if it says what it read last and it does.
    fn diverging(&self, position: &FetchPosition) -> Result<Option<EpochEndOffset>, ReadError> {
        let last_fetched = position.last_fetched_epoch;
        if last_fetched.0 < 0 {
            return Ok(None);
        }
        let end = self.end_offset_for_epoch(last_fetched);
        if end.end_offset.0 < 0 || end.leader_epoch.0 < 0 {
            return Err(self.out_of_range(position));
        }
        let differs = end.leader_epoch < last_fetched || end.end_offset < position.fetch_offset;
        Ok(differs.then_some(end))
    }

    fn check_range(&self, position: &FetchPosition) -> Result<(), ReadError> {
        let range = self.log.log_start_offset()..=self.log.log_end_offset();
        let is_within = range.contains(&position.fetch_offset);
        if is_within { Ok(()) } else { Err(self.out_of_range(position)) }
    }

    fn out_of_range(&self, position: &FetchPosition) -> ReadError {
        ReadError::OffsetOutOfRange {
            offset: position.fetch_offset,
            log_start_offset: self.log.log_start_offset(),
            end_offset: self.log.log_end_offset(),
        }
    }

    /// Returns what a reader is told besides records.
    fn nothing(&self, position: &FetchPosition, isolation: Isolation) -> Read {
        let high_watermark = self.state.high_watermark();
        let last_stable_offset = self.log.last_stable_offset(high_watermark);
        Read {
            slice: None,
            high_watermark,
            last_stable_offset,
            log_start_offset: self.log.log_start_offset(),
            visible_end_offset: match isolation {
                Isolation::ReadUncommitted => high_watermark,
                Isolation::ReadCommitted => last_stable_offset,
                Isolation::LogEnd => self.log.log_end_offset(),
            },
            aborted: Vec::new(),
            fetch_offset: position.fetch_offset,
            max_bytes: position.max_bytes,
            preferred_replica: None,
            is_throttled: false,
            diverging: None,
        }
    }

    fn fill(
        &self,
        read: &mut Read,
        isolation: Isolation,
        at_least_one: bool,
    ) -> Result<(), LogReadError> {
        let (offset, end) = (read.fetch_offset, read.visible_end_offset);
        let slice = self.log.read(offset, read.max_bytes, end, at_least_one)?;
        // A piece of a batch is of no use to anyone: who wants large ones asks for at least one.
        let is_whole = slice.size > 0 && !slice.is_first_batch_incomplete;
        read.slice = Some(slice).filter(|_| is_whole);
        if isolation == Isolation::ReadCommitted {
            read.aborted = self.log.aborted_transactions(offset, end);
        }
        Ok(())
    }
}
