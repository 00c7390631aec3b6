//! Appends: offsets are assigned, producers checked, and the bytes written once.
//!
//! The payload goes from the caller's memory to the file by one vectored write. Only the 61 bytes of a
//! header are copied, because they change: the offset and the leader epoch, which the checksum does
//! not cover, and for `LogAppendTime` the timestamp, after which the checksum is computed anew.
//!
//! Nothing is visible before the write succeeded: offsets, indexes and producers move after it.
//! What a leader sends its followers: `follow`.
//!
//! Source: Kafka 3.9 `UnifiedLog.append` and `ProducerStateManager`.

use std::borrow::Cow;
use std::io::IoSlice;

use broker_config::topic::TimestampType;
use broker_protocol::quantity::{LeaderEpoch, Offset, TimestampMs};
use broker_protocol::record::batch::{BatchHeader, HEADER_SIZE};

use super::recent::Place;
use super::{Log, LogError};
use crate::checkpoint::CheckpointError;
use crate::commit::SyncPoint;
use crate::producer_state::{
    NO_PRODUCER_ID, Origin, ProducerBatch, ProducerError, SnapshotError, Verdict,
};
use crate::segment::scan::Entry;
use crate::segment::{Indexed, SegmentError};

/// Batches written by one call to the system; a producer sends one at a time, so more is rare.
const GROUP_MAX: usize = 8;
/// Bytes after which a relaxed log asks for write-back: small enough that the kernel never has so many
/// dirty pages that it stalls the writer, large enough that the disk writes in one go.
const WRITE_BACK_BYTES: u64 = 8 * 1024 * 1024;
/// Where a batch's length ends: what its length field does not count.
const CRC_POSITION: usize = 17;
/// Where the bytes under the checksum begin.
const CRC_START: usize = 21;

/// One batch v2 that the caller has validated: checksum, counts, timestamps, size.
#[derive(Debug)]
pub struct AppendBatch<'a> {
    /// The header as it was sent. After the append: with its offset, leader epoch and timestamp.
    pub header: BatchHeader,
    /// The whole batch, header included, as it was sent.
    pub bytes: Cow<'a, [u8]>,
}

/// What an append did.
#[derive(Debug, Clone)]
pub struct Appended {
    /// The offset of the first record; of the original, if it is a duplicate, -1 if that is not remembered.
    pub first_offset: Offset,
    /// The offset of the last record (inclusive), or above it where the first one is not remembered.
    pub last_offset: Offset,
    /// The time given to the records, or -1 if they keep the producer's.
    pub log_append_time: TimestampMs,
    /// The log's first offset at that moment.
    pub log_start_offset: Offset,
    /// Whether the same batch had been appended before, and nothing was written now.
    pub duplicate: bool,
    /// What must be synced before an `acks=all` is answered. `None`: nothing, by the topic's choice.
    ///
    /// A duplicate carries it too: the original may not be durable yet.
    pub sync: Option<SyncPoint>,
    /// What should be handed to `Committer::write_back`, so that dirty pages do not pile up.
    pub write_back: Option<SyncPoint>,
}

/// Why nothing was appended.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// There is no batch.
    #[error("append of no batch")]
    Empty,
    /// The batches of one append do not fit a segment.
    #[error("append of {size} bytes, segment.bytes is {segment_bytes}")]
    TooLarge {
        /// The size of all batches.
        size: u64,
        /// The limit.
        segment_bytes: u32,
    },
    /// The producer's sequence, epoch or transaction does not allow it.
    #[error(transparent)]
    Producer(#[from] ProducerError),
    /// Bytes from a leader are not whole, sound batches.
    #[error("bytes from the leader are damaged at {position}")]
    Corrupt {
        /// Where the damage is in the bytes.
        position: u32,
    },
    /// Batches from a leader do not follow the log's end.
    #[error("batch at offset {base_offset} from the leader, the log ends at {log_end_offset}")]
    OutOfOrder {
        /// The first offset of the batch.
        base_offset: Offset,
        /// Where the log ends.
        log_end_offset: Offset,
    },
    /// A batch from a leader is of an epoch that cannot be: below that of the batch before it, or above the
    /// epoch in which the leader was asked.
    #[error("batch of leader epoch {epoch} from the leader, expected are {least} to {most}")]
    WrongEpoch {
        /// The epoch of the batch.
        epoch: LeaderEpoch,
        /// The epoch of the batch before it, -1 if there is none.
        least: LeaderEpoch,
        /// The epoch in which the leader was asked.
        most: LeaderEpoch,
    },
    /// The offsets of a partition are used up.
    #[error("offset of the last record would be above {}", i64::MAX)]
    OffsetOverflow,
    /// The disk failed. Unless [`LogError::is_transient`], the directory must go offline.
    #[error(transparent)]
    Log(#[from] LogError),
}

impl From<SegmentError> for AppendError {
    fn from(error: SegmentError) -> Self {
        Self::Log(error.into())
    }
}

impl From<CheckpointError> for AppendError {
    fn from(error: CheckpointError) -> Self {
        Self::Log(error.into())
    }
}

impl From<SnapshotError> for AppendError {
    fn from(error: SnapshotError) -> Self {
        Self::Log(error.into())
    }
}

impl Log {
    /// Appends validated batches behind the log's end, with new offsets and this leader's epoch.
    ///
    /// `now` becomes the timestamp if the topic says `LogAppendTime`.
    ///
    /// # Errors
    /// Nothing was appended, whatever the error; bytes of a failed write are not visible.
    ///
    /// # Panics
    /// If a batch is not whole or its last offset delta is negative: the caller validates.
    pub fn append_as_leader(
        &mut self,
        batches: &mut [AppendBatch<'_>],
        leader_epoch: LeaderEpoch,
        now: TimestampMs,
    ) -> Result<Appended, AppendError> {
        if let Some(duplicate) = self.check_producers(batches)? {
            return Ok(duplicate);
        }
        let first_offset = self.log_end_offset;
        let is_append_time = self.config.message_timestamp_type == TimestampType::LogAppendTime;
        let (mut size, mut next, mut max_timestamp) = (0_u64, first_offset.0, TimestampMs(-1));
        for batch in batches.iter_mut() {
            assert_eq!(batch.bytes.len(), batch.header.size_in_bytes(), "a batch is whole");
            assert!(batch.header.last_offset_delta >= 0, "the caller checked the counts");
            batch.header.base_offset = Offset(next);
            batch.header.partition_leader_epoch = leader_epoch;
            if is_append_time {
                batch.header.max_timestamp = now;
                batch.header.attributes = batch.header.attributes.with_log_append_time(true);
            }
            max_timestamp = max_timestamp.max(batch.header.max_timestamp);
            size += batch.bytes.len() as u64;
            next = next
                .checked_add(i64::from(batch.header.last_offset_delta) + 1)
                .ok_or(AppendError::OffsetOverflow)?;
        }
        let size = self.check_size(size)?;
        let last_offset = Offset(next - 1);
        self.maybe_roll(size, last_offset, max_timestamp, now)?;
        self.preallocate()?;
        self.epochs.assign_in_memory(leader_epoch, first_offset);
        self.write_groups(batches, is_append_time)?;

        for batch in batches.iter() {
            self.add(&Added::of_header(&batch.header), now)?;
            if let Some(producer_batch) = producer_batch(&batch.header) {
                self.producers.append(&producer_batch);
            }
        }
        self.producers.set_end_offset(self.log_end_offset);
        assert_eq!(self.log_end_offset.0, next, "every record got its offset");
        self.assert_order();
        let log_append_time = if is_append_time { now } else { TimestampMs(-1) };
        Ok(self.appended(first_offset, last_offset, log_append_time))
    }

    /// Takes the space of the active segment before its first batch, if the topic wants that.
    pub(super) fn preallocate(&mut self) -> Result<(), LogError> {
        if self.config.preallocate && self.active().size() == 0 {
            let segment_bytes = self.config.segment_bytes as u32;
            self.active_mut().reserve_whole(segment_bytes)?;
        }
        Ok(())
    }

    pub(super) fn check_size(&self, size: u64) -> Result<u32, AppendError> {
        let segment_bytes = self.config.segment_bytes as u32;
        match u32::try_from(size) {
            Ok(0) => Err(AppendError::Empty),
            Ok(size) if size <= segment_bytes => Ok(size),
            Ok(_) | Err(_) => Err(AppendError::TooLarge { size, segment_bytes }),
        }
    }

    /// Returns the answer for a duplicate; an error if a producer may not append.
    fn check_producers(
        &mut self,
        batches: &[AppendBatch<'_>],
    ) -> Result<Option<Appended>, AppendError> {
        let known = |batch: &AppendBatch<'_>| producer_batch(&batch.header);
        let verdict = match batches {
            [] => return Err(AppendError::Empty),
            [batch] => match known(batch) {
                Some(batch) => self.check_producer(&batch)?,
                None => Verdict::Accept,
            },
            // Only old producers send several, and those have no producer id.
            several => {
                let several: Vec<_> = several.iter().filter_map(known).collect();
                self.producers.check(&several, Origin::Client)?
            }
        };
        Ok(match verdict {
            Verdict::Accept => None,
            Verdict::Forgotten(below) => {
                let (first, last) = (Offset(-1), Offset(below.0 - 1));
                Some(Appended { duplicate: true, ..self.appended(first, last, TimestampMs(-1)) })
            }
            Verdict::Duplicate(original) => {
                let time = match self.config.message_timestamp_type {
                    TimestampType::LogAppendTime => original.timestamp,
                    TimestampType::CreateTime => TimestampMs(-1),
                };
                let (first, last) = (original.base_offset(), original.last_offset);
                Some(Appended { duplicate: true, ..self.appended(first, last, time) })
            }
        })
    }

    /// Writes all batches behind each other; none counts yet.
    fn write_groups(
        &mut self,
        batches: &[AppendBatch<'_>],
        is_append_time: bool,
    ) -> Result<(), AppendError> {
        let mut position = self.active().size();
        for group in batches.chunks(GROUP_MAX) {
            let mut headers = [[0; HEADER_SIZE]; GROUP_MAX];
            for (bytes, batch) in headers.iter_mut().zip(group) {
                batch.header.write(bytes);
                if is_append_time {
                    seal(bytes, &batch.bytes[HEADER_SIZE..]);
                }
            }
            let mut parts = [IoSlice::new(&[]); 2 * GROUP_MAX];
            for ((pair, header), batch) in parts.chunks_mut(2).zip(&headers).zip(group) {
                pair[0] = IoSlice::new(header);
                pair[1] = IoSlice::new(&batch.bytes[HEADER_SIZE..]);
            }
            self.active_mut().write(&mut parts[..2 * group.len()], position)?;
            position += group.iter().map(|batch| batch.bytes.len() as u32).sum::<u32>();
        }
        Ok(())
    }

    /// Makes a written batch part of the log.
    pub(super) fn add(&mut self, added: &Added, now: TimestampMs) -> Result<(), AppendError> {
        let interval = self.config.index_interval_bytes as u32;
        let Added { base_offset, last_offset, size, max_timestamp } = *added;
        let position = self.active().size();
        self.is_closed = false;
        self.active_mut().add(Indexed { size, last_offset, max_timestamp }, interval)?;
        self.recent.push(Place { base_offset, last_offset, position, size });
        self.size += u64::from(size);
        self.unrequested.bytes += u64::from(size);
        self.unrequested.records += last_offset.0 - base_offset.0 + 1;
        self.unrequested.since.get_or_insert(now);
        self.log_end_offset = Offset(last_offset.0 + 1);
        Ok(())
    }

    pub(super) fn appended(
        &mut self,
        first_offset: Offset,
        last_offset: Offset,
        log_append_time: TimestampMs,
    ) -> Appended {
        let is_flush_due = self.unrequested.records >= self.config.flush_messages;
        let sync = (self.is_synced() || is_flush_due).then(|| self.sync_point());
        let is_write_back_due = sync.is_none() && self.unrequested.bytes >= WRITE_BACK_BYTES;
        Appended {
            first_offset,
            last_offset,
            log_append_time,
            log_start_offset: self.log_start_offset,
            duplicate: false,
            write_back: is_write_back_due.then(|| self.sync_point()),
            sync,
        }
    }
}

/// A batch that was written at the active segment's end.
pub(super) struct Added {
    base_offset: Offset,
    last_offset: Offset,
    size: u32,
    max_timestamp: TimestampMs,
}

impl Added {
    fn of_header(header: &BatchHeader) -> Self {
        Self {
            base_offset: header.base_offset,
            last_offset: header.last_offset(),
            size: header.size_in_bytes() as u32,
            max_timestamp: header.max_timestamp,
        }
    }

    pub(super) fn of_entry(entry: &Entry) -> Self {
        Self {
            base_offset: entry.base_offset,
            last_offset: entry.last_offset,
            size: entry.size,
            max_timestamp: entry.max_timestamp,
        }
    }
}

/// Computes the checksum anew, of a header whose timestamp changed.
fn seal(header: &mut [u8; HEADER_SIZE], payload: &[u8]) {
    let mut digest = crc_fast::Digest::new(crc_fast::CrcAlgorithm::Crc32Iscsi);
    digest.update(&header[CRC_START..]);
    digest.update(payload);
    let crc = digest.finalize() as u32;
    header[CRC_POSITION..CRC_START].copy_from_slice(&crc.to_be_bytes());
}

/// Returns what the producers' state must know of a data batch; `None` for those without a producer,
/// and for control batches, whose contents count.
pub(super) fn producer_batch(header: &BatchHeader) -> Option<ProducerBatch> {
    if header.producer_id == NO_PRODUCER_ID || header.attributes.is_control() {
        return None;
    }
    let last = i64::from(header.base_sequence) + i64::from(header.last_offset_delta);
    let wrapped = last % (i64::from(i32::MAX) + 1);
    Some(ProducerBatch {
        producer_id: header.producer_id,
        producer_epoch: header.producer_epoch,
        base_sequence: header.base_sequence,
        last_sequence: if header.base_sequence < 0 { -1 } else { wrapped as i32 },
        base_offset: header.base_offset,
        last_offset: header.last_offset(),
        max_timestamp: header.max_timestamp,
        is_transactional: header.attributes.is_transactional(),
    })
}
