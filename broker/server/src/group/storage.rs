//! Groups on disk: appends to a partition of `__consumer_offsets`, and what is read back from one.
//!
//! Kafka's offset commits carry base sequence 0 although they have no producer, all else -1; ours
//! do the same.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use broker_protocol::error_code::ErrorCode;
use broker_protocol::quantity::{LeaderEpoch, Offset, TimestampMs};
use broker_protocol::record::batch::{Batch, HEADER_SIZE};
use broker_protocol::record::builder::BatchBuilder;
use broker_protocol::record::compression::{Compression, DECOMPRESSED_SIZE_MAX};
use broker_protocol::record::entries::{Entry as Framed, entries as framed};
use broker_protocol::topic_partition::TopicPartition;
use broker_storage::log::AppendBatch;

use super::record::{Entry, GroupValue, RecordError};
use super::state::LoadedGroup;
use super::state::request::CommittedOffset;
use crate::replica::delayed::{AckState, PendingAcks};
use crate::replica::partition::Partition;
use crate::replica::partition::admin::Offsets;
use crate::replica::partition::read::{FetchPosition, Isolation, ReadError};
use crate::replica::partition_state::Role;

/// The topic that groups are kept in.
pub(crate) const TOPIC: &str = "__consumer_offsets";

/// Bytes of records, uncompressed, after which a new batch begins: half of what a segment's batch
/// may usually have (`max.message.bytes`), so that thousands of offsets in one request still fit.
const BATCH_SIZE: usize = 512 * 1024;

/// Where an append stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Appended {
    /// Acknowledged already.
    Visible,
    /// Acknowledged once the high watermark is here.
    WaitFor(Offset),
}

/// Appends `entries` in order, in batches of `compression`, as the leader in `leader_epoch`.
///
/// # Errors
/// The code of what went wrong; entries before the failing batch may have been appended.
pub(crate) fn append(
    partition: &Arc<Partition>,
    entries: &[Entry],
    leader_epoch: LeaderEpoch,
    compression: Compression,
    now: TimestampMs,
) -> Result<Appended, ErrorCode> {
    let batches = build(entries, compression, now)?;
    let max_message_bytes = partition.config().max_message_bytes.max(0) as usize;
    let mut appends = Vec::with_capacity(batches.len());
    for bytes in batches {
        if bytes.len() > max_message_bytes {
            return Err(ErrorCode::MessageTooLarge);
        }
        let header = broker_protocol::record::batch::BatchHeader::parse(&bytes)
            .map_err(|_| ErrorCode::UnknownServerError)?;
        appends.push(AppendBatch { header, bytes: Cow::Owned(bytes) });
    }
    let appended = partition.append(&mut appends, leader_epoch, true, now).map_err(|error| {
        let code = ErrorCode::from(&error);
        // Led in another epoch: whoever asked looks for the coordinator again.
        let elsewhere = [ErrorCode::FencedLeaderEpoch, ErrorCode::UnknownLeaderEpoch];
        if elsewhere.contains(&code) { ErrorCode::NotLeaderOrFollower } else { code }
    })?;
    if appended.is_visible {
        Ok(Appended::Visible)
    } else {
        Ok(Appended::WaitFor(appended.required_offset))
    }
}

/// Waits until everything below `required` is acknowledged, or until `deadline`.
pub(crate) async fn acknowledged(
    partition: &Partition,
    required: Offset,
    deadline: Instant,
) -> Result<(), ErrorCode> {
    let acks = PendingAcks::new(1);
    partition.when_visible(required, &acks, 0);
    acks.settled(deadline).await;
    match acks.state(0) {
        AckState::Done => Ok(()),
        AckState::Pending => Err(ErrorCode::RequestTimedOut),
        AckState::StorageFailed => Err(ErrorCode::KafkaStorageError),
        AckState::NotLeader => Err(ErrorCode::NotLeaderOrFollower),
        AckState::NotEnoughReplicas => Err(ErrorCode::NotEnoughReplicasAfterAppend),
    }
}

/// Makes batches of entries.
fn build(
    entries: &[Entry],
    compression: Compression,
    now: TimestampMs,
) -> Result<Vec<Vec<u8>>, ErrorCode> {
    let mut batches = Vec::new();
    let mut batch = BatchBuilder::new(Offset(0), compression);
    for entry in entries {
        let (key, value) = entry.encode();
        let size = key.len() + value.as_ref().map_or(0, Vec::len);
        if batch.records_count() > 0 && batch.uncompressed_size() + size > BATCH_SIZE {
            let full = std::mem::replace(&mut batch, BatchBuilder::new(Offset(0), compression));
            batches.push(full.finish().map_err(|_| ErrorCode::UnknownServerError)?);
        }
        if matches!(entry, Entry::Offset { value: Some(_), .. }) {
            batch.header.base_sequence = 0;
        }
        batch.push(now, Some(&key), value.as_deref());
    }
    if batch.records_count() > 0 {
        batches.push(batch.finish().map_err(|_| ErrorCode::UnknownServerError)?);
    }
    Ok(batches)
}

/// Why a partition could not be read back.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoadError {
    /// The partition cannot be read here, or not now.
    #[error("read offset {offset} of the offsets topic")]
    Partition { offset: Offset, source: ReadError },
    /// The file cannot be read.
    #[error("read the log of the offsets topic at offset {offset}")]
    File { offset: Offset, source: std::io::Error },
    /// The partition is not led in the epoch whose groups are wanted.
    #[error("the partition is not led in leader epoch {expected}")]
    NotLed { expected: LeaderEpoch },
    /// Bytes that are no batches, below the high watermark.
    #[error("the log of the offsets topic is damaged at offset {offset}")]
    Damaged { offset: Offset },
}

/// Returns where the log ends while this broker leads it in `leader_epoch`.
///
/// # Errors
/// `NotLed`.
pub(crate) fn end_in_epoch(
    partition: &Partition,
    leader_epoch: LeaderEpoch,
) -> Result<Offset, LoadError> {
    led_in(partition, leader_epoch).map(|offsets| offsets.log_end_offset)
}

fn led_in(partition: &Partition, expected: LeaderEpoch) -> Result<Offsets, LoadError> {
    let offsets = partition.offsets();
    let is_led = offsets.role == Role::Leader && offsets.leader_epoch == expected;
    if is_led { Ok(offsets) } else { Err(LoadError::NotLed { expected }) }
}

/// Reads all groups of a partition, as far as acknowledged, while it is led in `leader_epoch` throughout.
/// Blocks on the disk.
///
/// # Errors
/// As [`LoadError`]; nothing is known of the groups then.
pub(crate) fn load(
    partition: &Partition,
    leader_epoch: LeaderEpoch,
    buffer_size: u32,
) -> Result<Vec<LoadedGroup>, LoadError> {
    let mut replay = Replay::default();
    let offsets = led_in(partition, leader_epoch)?;
    let mut offset = offsets.log_start_offset;
    while offset < offsets.high_watermark {
        let position = FetchPosition {
            fetch_offset: offset,
            max_bytes: buffer_size,
            current_leader_epoch: leader_epoch,
            last_fetched_epoch: LeaderEpoch(-1),
            log_start_offset: Offset(-1),
        };
        let read = partition
            .read(&position, Isolation::ReadUncommitted, buffer_size, true)
            .map_err(|source| LoadError::Partition { offset, source })?;
        let Some(slice) = read.slice else { break };
        let bytes = slice.bytes().map_err(|source| LoadError::File { offset, source })?;
        let next = replay.batches(&bytes).ok_or(LoadError::Damaged { offset })?;
        if next <= offset {
            return Err(LoadError::Damaged { offset });
        }
        offset = next;
    }
    // Epochs rise: what was true before and after was true in between.
    led_in(partition, leader_epoch)?;
    Ok(replay.finish())
}

/// What records say, in their order: later ones win.
#[derive(Debug, Default)]
pub(crate) struct Replay {
    groups: BTreeMap<Arc<str>, GroupValue>,
    offsets: BTreeMap<(Arc<str>, TopicPartition), CommittedOffset>,
    /// Commits within transactions whose end has not been seen, by producer.
    open: BTreeMap<i64, Vec<Entry>>,
}

impl Replay {
    /// Takes whole batches; returns the offset after the last, or `None` if these are none.
    fn batches(&mut self, bytes: &[u8]) -> Option<Offset> {
        let mut next = None;
        for entry in framed(bytes) {
            // A read may end within a batch; one that begins with a piece of one is damaged.
            let Ok(entry) = entry else { return next };
            match entry {
                Framed::Batch(batch) => {
                    self.batch(&batch)?;
                    next = Some(batch.header.next_offset());
                }
                // Kafka has written this topic in batches since 0.11; older ones are skipped.
                Framed::Legacy(message) => {
                    tracing::warn!("skipped a message of an old format in the offsets topic");
                    next = Some(Offset(message.offset.0 + 1));
                }
            }
        }
        next
    }

    fn batch(&mut self, batch: &Batch<'_>) -> Option<()> {
        debug_assert!(batch.bytes.len() >= HEADER_SIZE);
        let records = batch.records(DECOMPRESSED_SIZE_MAX).ok()?;
        let attributes = batch.header.attributes;
        let producer_id = batch.header.producer_id;
        for record in &records {
            let record = record.ok()?;
            if attributes.is_control() {
                self.end_transaction(producer_id, record.key?);
                continue;
            }
            match Entry::decode(record.key, record.value) {
                Ok(entry) if attributes.is_transactional() => {
                    self.open.entry(producer_id).or_default().push(entry);
                }
                Ok(entry) => self.apply(entry),
                Err(error @ RecordError::UnknownKeyVersion(_)) => {
                    tracing::warn!(%error, offset = record.offset.0, "skipped a record");
                }
                Err(error) => {
                    tracing::error!(%error, offset = record.offset.0, "skipped a record");
                }
            }
        }
        Some(())
    }

    /// A marker: version, then 1 for a commit and 0 for an abort.
    fn end_transaction(&mut self, producer_id: i64, key: &[u8]) {
        let entries = self.open.remove(&producer_id).unwrap_or_default();
        if key.get(2..4) == Some(&[0, 1]) {
            for entry in entries {
                self.apply(entry);
            }
        }
    }

    /// Takes one record.
    pub(crate) fn apply(&mut self, entry: Entry) {
        match entry {
            Entry::Offset { group_id, partition, value: Some(value) } => {
                self.offsets.insert((group_id, partition), value);
            }
            Entry::Offset { group_id, partition, value: None } => {
                self.offsets.remove(&(group_id, partition));
            }
            Entry::Group { group_id, value: Some(value) } => {
                self.groups.insert(group_id, value);
            }
            Entry::Group { group_id, value: None } => {
                self.groups.remove(&group_id);
            }
        }
    }

    /// Returns what is left.
    pub(crate) fn finish(self) -> Vec<LoadedGroup> {
        let mut loaded: BTreeMap<Arc<str>, LoadedGroup> = BTreeMap::new();
        let none = |group_id: &Arc<str>| LoadedGroup {
            group_id: Arc::clone(group_id),
            value: None,
            offsets: Vec::new(),
        };
        for (group_id, value) in self.groups {
            let group = loaded.entry(Arc::clone(&group_id)).or_insert_with(|| none(&group_id));
            group.value = Some(value);
        }
        for ((group_id, partition), committed) in self.offsets {
            let group = loaded.entry(Arc::clone(&group_id)).or_insert_with(|| none(&group_id));
            group.offsets.push((partition, committed));
        }
        loaded.into_values().collect()
    }
}
