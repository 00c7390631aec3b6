//! The log of one partition: an ordered run of segments, of which only the last accepts appends.
//!
//! This module decides *where* bytes go. *Whether* a batch may be appended, read or truncated was
//! decided in `replica` before it gets here, so no leader, replica or request appears below.
//!
//! All offsets count records and hold this order, asserted after every mutation:
//!
//! ```text
//! log_start_offset <= recovery_point <= log_end_offset
//! ```
//!
//! * `log_start_offset` (inclusive): the first offset a reader may ask for.
//! * `recovery_point` (exclusive): everything below it is on stable storage.
//! * `log_end_offset` (exclusive): the offset the next record will get.
//!
//! The high watermark is absent by design: it belongs to replication; retention is handed it.
//!
//! Concurrency: not shared. `Partition` owns the log. Only the recovery point moves on its own, when
//! the commit thread has synced.
//! Errors: an I/O error takes the log directory offline; a failed fsync is never retried.
//! Source: Kafka 3.9 `LocalLog`, `UnifiedLog` and `LogSegment`.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use broker_config::topic::{Durability, TopicConfig};
use broker_protocol::quantity::{LeaderEpoch, Offset, TimestampMs};
use broker_protocol::topic_partition::TopicPartition;
use broker_protocol::uuid::Uuid;

use crate::checkpoint::CheckpointError;
use crate::commit::{Flushed, SyncPoint, SyncUnit};
use crate::fs::{Fs, is_transient};
use crate::leader_epoch_cache::LeaderEpochCache;
use crate::partition_metadata::{self, PartitionMetadataError};
use crate::producer_state::{ProducerEntry, ProducerStates, SnapshotError};
use crate::segment::{INDEX_BYTES_MIN, Segment, SegmentConfig, SegmentError};

mod append;
mod compact;
mod follow;
mod producers;
mod read;
mod recall;
mod recent;
mod retain;
mod roll;
mod time;
mod truncate;

pub use append::{AppendBatch, AppendError, Appended};
pub use read::{ReadError, Slice};
pub use retain::DeletedSegment;
pub use time::Found;
pub use truncate::EpochTruncation;

use recent::Recent;

/// Why an operation on a log failed; the log directory must go offline unless it says otherwise.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// A segment or one of its indexes.
    #[error(transparent)]
    Segment(#[from] SegmentError),
    /// The leader epochs' file.
    #[error(transparent)]
    Epochs(#[from] CheckpointError),
    /// A snapshot of the producers.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// A sync failed. Never again on this directory.
    #[error("sync log {}", dir.display())]
    Sync {
        /// The log's directory.
        dir: PathBuf,
        /// The disk's answer.
        source: std::io::Error,
    },
    /// The stored bytes do not decode, though their header did.
    #[error("batch at offset {base_offset} of {} does not decode", dir.display())]
    Undecodable {
        /// The log's directory.
        dir: PathBuf,
        /// The batch.
        base_offset: Offset,
    },
}

impl LogError {
    /// Returns the disk's error, if it was one; the directory is then unusable, unless the error is
    /// transient.
    pub fn io_error(&self) -> Option<&std::io::Error> {
        match self {
            Self::Segment(error) => error.io_error(),
            Self::Epochs(CheckpointError::Io { source, .. })
            | Self::Snapshot(SnapshotError { source, .. })
            | Self::Sync { source, .. } => Some(source),
            Self::Epochs(CheckpointError::Version { .. } | CheckpointError::Damaged { .. })
            | Self::Undecodable { .. } => None,
        }
    }

    /// Returns whether only space, descriptors or memory had run out: the log is unharmed, and works
    /// again once they are there. Never so for a sync, whatever it said.
    pub fn is_transient(&self) -> bool {
        let is_sync = matches!(self, Self::Sync { .. });
        !is_sync && self.io_error().is_some_and(is_transient)
    }

    /// Returns whether the disk was only full: the log is unharmed, and works again once there is space.
    pub fn is_disk_full(&self) -> bool {
        let is_full = |error: &std::io::Error| {
            matches!(
                error.kind(),
                std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded
            )
        };
        self.is_transient() && self.io_error().is_some_and(is_full)
    }
}

/// The log of one partition.
#[derive(Debug)]
#[expect(clippy::struct_field_names, reason = "Kafka's own words: log start and log end offset")]
pub struct Log {
    pub(crate) fs: Arc<dyn Fs>,
    pub(crate) dir: Arc<PathBuf>,
    pub(crate) partition: TopicPartition,
    pub(crate) topic_id: Option<Uuid>,
    pub(crate) config: Arc<TopicConfig>,
    /// Never empty; by base offset; the last one accepts appends.
    pub(crate) segments: VecDeque<Segment>,
    pub(crate) log_start_offset: Offset,
    pub(crate) log_end_offset: Offset,
    pub(crate) epochs: LeaderEpochCache,
    pub(crate) producers: ProducerStates,
    pub(crate) flushed: Arc<Flushed>,
    /// What a sync of the active segment must do.
    pub(crate) sync_unit: Arc<SyncUnit>,
    pub(crate) recent: Recent,
    /// Sum over all segments, so that nobody needs to walk them.
    pub(crate) size: u64,
    pub(crate) unrequested: Unrequested,
    /// Whether the files are as [`Log::close`] leaves them, so that closing has nothing to do.
    pub(crate) is_closed: bool,
}

/// What was appended since somebody last was given a [`SyncPoint`] for it.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Unrequested {
    pub(crate) records: i64,
    pub(crate) bytes: u64,
    /// When the first of them came, for `flush.ms`.
    pub(crate) since: Option<TimestampMs>,
}

/// The parts that recovery hands over.
pub(crate) struct Parts {
    pub(crate) fs: Arc<dyn Fs>,
    pub(crate) dir: Arc<PathBuf>,
    pub(crate) partition: TopicPartition,
    pub(crate) topic_id: Option<Uuid>,
    pub(crate) config: Arc<TopicConfig>,
    pub(crate) segments: VecDeque<Segment>,
    pub(crate) log_start_offset: Offset,
    pub(crate) log_end_offset: Offset,
    pub(crate) recovery_point: Offset,
    pub(crate) epochs: LeaderEpochCache,
    pub(crate) producers: ProducerStates,
}

impl Log {
    /// Makes a log of parts that recovery has brought into order.
    pub(crate) fn from_parts(parts: Parts) -> Result<Self, LogError> {
        let Parts { fs, dir, segments, .. } = parts;
        let flushed = Arc::new(Flushed::new(parts.recovery_point));
        let active = segments.back().unwrap_or_else(|| unreachable!("a log has a segment"));
        let file = active.file()?.clone();
        let sync_unit = SyncUnit::new(fs.clone(), dir.clone(), file, flushed.clone(), None);
        let size = segments.iter().map(|segment| u64::from(segment.size())).sum();
        let log = Self {
            fs,
            dir,
            partition: parts.partition,
            topic_id: parts.topic_id,
            config: parts.config,
            segments,
            log_start_offset: parts.log_start_offset,
            log_end_offset: parts.log_end_offset,
            epochs: parts.epochs,
            producers: parts.producers,
            flushed,
            sync_unit,
            recent: Recent::default(),
            size,
            unrequested: Unrequested::default(),
            is_closed: false,
        };
        log.assert_order();
        Ok(log)
    }

    /// Asserts what the module promises. Cheap enough to stay on.
    pub(crate) fn assert_order(&self) {
        let recovery_point = self.flushed.offset();
        assert!(
            self.log_start_offset <= recovery_point,
            "{}: start above recovery",
            self.partition
        );
        assert!(recovery_point <= self.log_end_offset, "{}: recovery above end", self.partition);
        assert!(
            self.first().base_offset <= self.log_start_offset,
            "{}: start gone",
            self.partition
        );
        assert!(self.active().base_offset <= self.log_end_offset, "{}: end low", self.partition);
    }

    pub(crate) fn active(&self) -> &Segment {
        self.segments.back().unwrap_or_else(|| unreachable!("a log has a segment"))
    }

    pub(crate) fn active_mut(&mut self) -> &mut Segment {
        self.segments.back_mut().unwrap_or_else(|| unreachable!("a log has a segment"))
    }

    pub(crate) fn first(&self) -> &Segment {
        self.segments.front().unwrap_or_else(|| unreachable!("a log has a segment"))
    }

    /// Returns the number of the segment that would hold `offset`; the first one for lower offsets.
    pub(crate) fn segment_index(&self, offset: Offset) -> usize {
        self.segments.partition_point(|segment| segment.base_offset <= offset).saturating_sub(1)
    }

    /// Returns the offset (exclusive) where a segment ends.
    pub(crate) fn segment_end(&self, index: usize) -> Offset {
        self.segments.get(index + 1).map_or(self.log_end_offset, |next| next.base_offset)
    }

    /// Returns the partition.
    pub fn partition(&self) -> &TopicPartition {
        &self.partition
    }

    /// Returns the topic's id, if its directory says one.
    pub fn topic_id(&self) -> Option<Uuid> {
        self.topic_id
    }

    /// Takes the id that the topic was given after the log was made, durably.
    ///
    /// # Errors
    /// The file could not be written; the log is without an id as before.
    ///
    /// # Panics
    /// If the log has another id, or `topic_id` is zero.
    pub fn assign_topic_id(&mut self, topic_id: Uuid) -> Result<(), PartitionMetadataError> {
        assert!(self.topic_id.is_none_or(|known| known == topic_id), "a topic keeps its id");
        partition_metadata::write(self.fs.as_ref(), &self.dir, topic_id)?;
        self.topic_id = Some(topic_id);
        Ok(())
    }

    /// Returns the log's own directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Returns the topic's configuration as of now.
    pub fn config(&self) -> &Arc<TopicConfig> {
        &self.config
    }

    /// Replaces the configuration; what it says counts from the next operation on.
    pub fn set_config(&mut self, config: Arc<TopicConfig>) {
        self.config = config;
    }

    /// Returns the first offset (inclusive) a reader may ask for.
    pub fn log_start_offset(&self) -> Offset {
        self.log_start_offset
    }

    /// Returns the offset (exclusive) that the next record will get.
    pub fn log_end_offset(&self) -> Offset {
        self.log_end_offset
    }

    /// Returns the offset (exclusive) below which everything is on stable storage.
    pub fn recovery_point(&self) -> Offset {
        self.flushed.offset()
    }

    /// Returns the size of all segments' batches in bytes.
    pub fn size_in_bytes(&self) -> u64 {
        self.size
    }

    /// Returns about how many bytes the batches from `offset` on have: within a segment each offset counts alike.
    pub fn size_from(&self, offset: Offset) -> u64 {
        let first = self.segment_index(offset);
        let mut size = self.segments.iter().skip(first + 1).map(|one| u64::from(one.size())).sum();
        if let Some(segment) = self.segments.get(first) {
            let (base, next) = (segment.base_offset.0, self.segment_end(first).0);
            let left = next.saturating_sub(offset.0.max(base)).max(0) as u64;
            let all = (next.saturating_sub(base)).max(1) as u64;
            size += (u128::from(segment.size()) * u128::from(left) / u128::from(all)) as u64;
        }
        size
    }

    /// Returns how many segments there are; at least one.
    pub fn segment_count(&self) -> usize {
        self.segments.len()
    }

    /// Returns the offset (exclusive) up to which no transaction is open: at most `high_watermark`.
    pub fn last_stable_offset(&self, high_watermark: Offset) -> Offset {
        match self.producers.first_unstable_offset() {
            Some(unstable) => unstable.min(high_watermark).max(self.log_start_offset),
            None => high_watermark,
        }
    }

    /// Tells the producers' state how far replication has come.
    pub fn on_high_watermark(&mut self, high_watermark: Offset) {
        self.producers.on_high_watermark(high_watermark);
    }

    /// Returns the latest leader epoch that wrote to the log, or began at its end.
    pub fn latest_epoch(&self) -> Option<LeaderEpoch> {
        self.epochs.latest().map(|entry| entry.epoch)
    }

    /// Says that `leader_epoch` starts at the log's end. Nothing happens if it is known.
    ///
    /// The file is left to [`Log::flush_epochs`], so that neither a start with many logs nor the first
    /// append in an epoch waits for it: recovery finds the epoch in the batches that it wrote.
    ///
    /// # Panics
    /// If the log has records of a later epoch: the caller knows better than to lead then.
    pub fn begin_epoch(&mut self, leader_epoch: LeaderEpoch) {
        let latest = self.latest_epoch();
        assert!(latest <= Some(leader_epoch), "{}: epochs rise: {latest:?}", self.partition);
        self.epochs.assign_in_memory(leader_epoch, self.log_end_offset);
    }

    /// Forgets an epoch that began at the log's end and wrote nothing: it says nothing of the log.
    pub fn forget_empty_epochs(&mut self) {
        self.epochs.truncate_from_end(self.log_end_offset);
    }

    /// Writes the epochs that have records to disk, durably, unless they are there.
    ///
    /// Before a recovery point is written: recovery does not look into the batches below it.
    ///
    /// # Errors
    /// `Epochs`: the recovery point must not be written.
    pub fn flush_epochs(&mut self) -> Result<(), LogError> {
        Ok(self.epochs.flush(self.log_end_offset)?)
    }

    /// Returns the largest epoch up to the requested one, and where it ends (exclusive).
    ///
    /// `None` for an epoch newer than all that are known here.
    pub fn end_offset_for_epoch(&self, requested: LeaderEpoch) -> Option<(LeaderEpoch, Offset)> {
        self.epochs.end_offset_for(requested, self.log_end_offset)
    }

    /// Returns the epoch that wrote `offset`, if the log knows it.
    pub fn epoch_for_offset(&self, offset: Offset) -> Option<LeaderEpoch> {
        self.epochs.epoch_for_offset(offset)
    }

    /// Returns the producers that are known, in no order.
    pub fn producers(&self) -> impl Iterator<Item = &ProducerEntry> {
        self.producers.iter()
    }

    /// Forgets producers that wrote nothing for `expiration_ms`.
    pub fn remove_expired_producers(&mut self, now: TimestampMs, expiration_ms: i64) {
        self.producers.remove_expired(now, expiration_ms);
    }

    /// Returns the place up to which the log is written, for a sync of all of it.
    pub fn sync_point(&mut self) -> SyncPoint {
        self.unrequested = Unrequested::default();
        SyncPoint { unit: self.sync_unit.clone(), end_offset: self.log_end_offset }
    }

    /// Returns what to sync if `flush.ms` has passed since the first append that nobody asked to sync.
    pub fn flush_if_due(&mut self, now: TimestampMs) -> Option<SyncPoint> {
        let due = self.unrequested.since?.0.saturating_add(self.config.flush_ms);
        (due <= now.0).then(|| self.sync_point())
    }

    /// Syncs everything, on the calling thread: not for a log whose appends the commit thread answers.
    /// The kernel tells of a lost page once, and it must be that thread which hears it.
    ///
    /// # Errors
    /// `Sync`: final, the directory must go offline.
    pub fn flush(&mut self) -> Result<(), LogError> {
        if !self.sync_unit.is_synced(self.log_end_offset) {
            self.sync_point().sync().map_err(|source| self.sync_error(source))?;
        }
        self.assert_order();
        Ok(())
    }

    pub(crate) fn sync_error(&self, source: std::io::Error) -> LogError {
        LogError::Sync { dir: self.dir.to_path_buf(), source }
    }

    /// Brings the files into the state that a clean shutdown leaves: synced, indexes cut to size, a
    /// snapshot of the producers at the end. The next start then scans nothing.
    ///
    /// The log can still be read and appended to, but its clean state is then gone. Costs nothing for a
    /// log that nothing was done to since it was loaded after a clean stop. The commit thread must have
    /// nothing left to do for it, as for [`Log::flush`].
    pub fn close(&mut self) -> Result<(), LogError> {
        if self.is_closed {
            return Ok(());
        }
        self.active_mut().seal()?;
        // Among the finished files, so that one sync of the directory serves all their names.
        self.producers.take_snapshot(false)?;
        let finished = self.finished_files(self.active());
        self.sync_unit.finish(finished);
        self.sync_point().sync().map_err(|source| self.sync_error(source))?;
        self.fs.sync_dir(&self.dir).map_err(|source| self.sync_error(source))?;
        self.flush_epochs()?;
        self.is_closed = true;
        Ok(())
    }

    pub(crate) fn segment_config(&self) -> SegmentConfig {
        SegmentConfig {
            index_interval_bytes: self.config.index_interval_bytes as u32,
            segment_index_bytes: (self.config.segment_index_bytes as u32).max(INDEX_BYTES_MIN),
        }
    }

    /// Returns whether appends are answered after a sync only.
    pub fn is_synced(&self) -> bool {
        self.config.durability == Durability::Synced
    }
}
