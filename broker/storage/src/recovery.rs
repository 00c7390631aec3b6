//! Opens the log of a partition that may have been left in any state by a crash.
//!
//! After a clean stop nothing is scanned. Otherwise every batch from the recovery point on is checked
//! against its checksum, the longest valid prefix is kept, and indexes are built anew on the way.
//!
//! Damage *below* the recovery point is another matter: those bytes were on stable storage, so the disk
//! lost them. They are not cut: the log is refused ([`LoadError::Damaged`]), so that a replica which
//! still has them can supply them, and nobody leads with a hole.
//!
//! Leftovers: `.deleted`, `.cleaned` and `.tmp` go; a compaction whose `.swap` files are complete is
//! finished, any other undone.
//!
//! Source: Kafka 3.9 `LogLoader` and `LogSegment.recover`.

use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use broker_config::topic::TopicConfig;
use broker_protocol::quantity::{LeaderEpoch, Offset, TimestampMs};
use broker_protocol::topic_partition::TopicPartition;

use crate::checkpoint::CheckpointError;
use crate::format::LOG_SUFFIX;
use crate::fs::Fs;
use crate::leader_epoch_cache::LeaderEpochCache;
use crate::log::{Log, LogError, Parts};
use crate::partition_metadata::{self, PartitionMetadataError};
use crate::producer_state::ProducerStates;
use crate::segment::{INDEX_BYTES_MIN, Segment, SegmentConfig, SegmentError};

mod files;
mod rebuild;

use files::Files;
use rebuild::Rebuilt;

/// What is known of a log before it is opened.
#[derive(Debug, Clone)]
pub struct LoadOptions {
    /// The partition.
    pub partition: TopicPartition,
    /// The topic's configuration.
    pub config: Arc<TopicConfig>,
    /// Whether the directory was stopped cleanly.
    pub is_clean: bool,
    /// From the checkpoint: everything below is on stable storage.
    pub recovery_point: Offset,
    /// From the checkpoint: the first offset readers may see, if above the first segment's.
    pub log_start_offset: Option<Offset>,
    /// The current time, for new segments and the expiry of producers.
    pub now: TimestampMs,
    /// How long a producer is remembered, from `producer.id.expiration.ms`.
    pub producer_id_expiration_ms: i64,
}

/// Why a log was not opened.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The disk failed; the log directory must go offline.
    #[error("{operation} {}", path.display())]
    Io {
        /// What was tried.
        operation: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The disk's answer.
        source: io::Error,
    },
    /// Bytes that were on stable storage are not what was written. The log is left as it is.
    #[error(
        "{} is damaged at byte {position}, offset {offset}, below the recovery point {recovery_point}",
        path.display()
    )]
    Damaged {
        /// The segment's log file.
        path: PathBuf,
        /// Where the damage begins.
        position: u32,
        /// The first offset that is lost.
        offset: Offset,
        /// Where the damage should have begun at the earliest.
        recovery_point: Offset,
    },
    /// The directory says nothing sound about its topic.
    #[error(transparent)]
    Metadata(#[from] PartitionMetadataError),
    /// Something else of the log.
    #[error(transparent)]
    Log(#[from] LogError),
}

impl From<SegmentError> for LoadError {
    fn from(error: SegmentError) -> Self {
        Self::Log(error.into())
    }
}

impl LoadError {
    /// Returns the disk's error, if it was one.
    pub fn io_error(&self) -> Option<&io::Error> {
        match self {
            Self::Io { source, .. } | Self::Metadata(PartitionMetadataError::Io { source, .. }) => {
                Some(source)
            }
            Self::Log(error) => error.io_error(),
            Self::Damaged { .. } | Self::Metadata(PartitionMetadataError::Damaged { .. }) => None,
        }
    }
}

/// What opening a log did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Recovered {
    /// How many bytes were checked.
    pub scanned_bytes: u64,
    /// How many bytes were cut off as torn.
    pub cut_bytes: u64,
    /// How many segments got new indexes.
    pub rebuilt_count: u32,
}

/// Opens the log in `dir`, which exists.
pub(crate) fn load(
    fs: &Arc<dyn Fs>,
    dir: PathBuf,
    options: LoadOptions,
) -> Result<(Log, Recovered), LoadError> {
    let dir = Arc::new(dir);
    let topic_id = partition_metadata::read(fs.as_ref(), &dir)?;
    let files = Files::settle(fs, &dir)?;
    let mut loading = Loading {
        fs: fs.clone(),
        dir: dir.clone(),
        config: segment_config(&options.config),
        segments: VecDeque::new(),
        log_end_offset: Offset(0),
        recovered: Recovered::default(),
        index_from: None,
        epoch: LeaderEpoch(-1),
        options,
    };
    loading.open_segments(&files.base_offsets)?;
    let log_start_offset = loading.settle_bounds()?;

    let Loading { segments, log_end_offset, recovered, index_from, options, .. } = loading;
    let epochs = load_epochs(fs, &dir, &segments, log_start_offset, log_end_offset, index_from)?;
    let producers = ProducerStates::open(fs.clone(), &dir).map_err(LogError::from)?;
    let bases: Vec<_> = segments.iter().map(|segment| segment.base_offset).collect();
    // A clean stop synced everything; a recovery did so with what it kept.
    let recovery_point = log_end_offset;
    let mut log = Log::from_parts(Parts {
        fs: fs.clone(),
        dir,
        partition: options.partition,
        topic_id,
        config: options.config,
        segments,
        log_start_offset,
        log_end_offset,
        recovery_point,
        epochs,
        producers,
    })?;
    log.producers.remove_strays(&bases).map_err(LogError::from)?;
    let index_from = index_from.unwrap_or(Offset(i64::MAX));
    let expiration_ms = options.producer_id_expiration_ms;
    let is_current = log.producers.snapshots().next_back().unwrap_or(Offset(0)) == log_end_offset;
    log.rebuild_producers(options.now, expiration_ms, index_from)?;
    // A clean stop left nothing to do for the next one, if nothing had to be mended here; a log that
    // begins here has indexes that were reserved and are not yet cut.
    let was_closed = options.is_clean && !files.base_offsets.is_empty();
    log.is_closed = was_closed && is_current && recovered == Recovered::default();
    Ok((log, recovered))
}

fn segment_config(config: &TopicConfig) -> SegmentConfig {
    SegmentConfig {
        index_interval_bytes: config.index_interval_bytes as u32,
        segment_index_bytes: (config.segment_index_bytes as u32).max(INDEX_BYTES_MIN),
    }
}

/// A log while its segments are opened one after the other.
struct Loading {
    fs: Arc<dyn Fs>,
    dir: Arc<PathBuf>,
    config: SegmentConfig,
    options: LoadOptions,
    segments: VecDeque<Segment>,
    log_end_offset: Offset,
    recovered: Recovered,
    /// From where on transaction indexes are empty and wait for the replay of the producers.
    index_from: Option<Offset>,
    /// The epoch of the last batch that was scanned, -1 before there was one.
    epoch: LeaderEpoch,
}

impl Loading {
    fn open_segments(&mut self, base_offsets: &[Offset]) -> Result<(), LoadError> {
        for (index, base_offset) in base_offsets.iter().copied().enumerate() {
            let next = base_offsets.get(index + 1).copied();
            let is_stable = next.is_some_and(|next| next <= self.options.recovery_point);
            let opened =
                Segment::open(&self.fs, &self.dir, base_offset, self.config, self.options.now)?;
            let mut segment = match opened {
                Ok(segment) if self.options.is_clean || is_stable => segment,
                Ok(segment) | Err(segment) => {
                    let is_kept = is_stable || self.options.is_clean;
                    let rebuilt = self.rebuild(segment, is_kept, next.is_none())?;
                    // Above the recovery point, a gap is the tail that the power loss took, unless the
                    // log is compacted: Kafka and we may compact what no checkpoint covers yet.
                    let is_compacted = self.options.config.cleanup_policy.compact;
                    let is_gap =
                        !is_compacted && next.is_some_and(|next| rebuilt.end_offset < next);
                    let is_cut = rebuilt.cut_bytes > 0 || (is_gap && !is_kept);
                    self.segments.push_back(rebuilt.segment);
                    self.log_end_offset = rebuilt.end_offset;
                    if is_cut {
                        return self.drop_behind(&base_offsets[index + 1..]);
                    }
                    continue;
                }
            };
            self.log_end_offset = if let Some(next) = next {
                segment.load_max_timestamp()?;
                next
            } else {
                segment.reload_timestamps()?;
                segment.read_next_offset()?
            };
            self.segments.push_back(segment);
        }
        Ok(())
    }

    /// Scans a segment. With `is_stable` nothing in it may be cut.
    fn rebuild(
        &mut self,
        segment: Segment,
        is_stable: bool,
        is_active: bool,
    ) -> Result<Rebuilt, LoadError> {
        let base_offset = segment.base_offset;
        let keep_below = if is_stable { Offset(i64::MAX) } else { self.options.recovery_point };
        let rebuilt =
            rebuild::rebuild(segment, self.config, keep_below, is_active, &mut self.epoch)?;
        self.index_from = Some(self.index_from.unwrap_or(base_offset).min(base_offset));
        self.recovered.scanned_bytes += u64::from(rebuilt.segment.size());
        self.recovered.cut_bytes += rebuilt.cut_bytes;
        self.recovered.rebuilt_count += 1;
        Ok(rebuilt)
    }

    /// Removes the segments behind a torn one: they are not connected to the valid prefix.
    fn drop_behind(&mut self, base_offsets: &[Offset]) -> Result<(), LoadError> {
        for base_offset in base_offsets {
            tracing::warn!(
                partition = %self.options.partition, base_offset = %base_offset,
                "removing a segment behind a torn one"
            );
            let path = crate::format::file_path(&self.dir, *base_offset, LOG_SUFFIX);
            let size = self.fs.len(&path).map_err(|source| LoadError::Io {
                operation: "open",
                path,
                source,
            })?;
            self.recovered.cut_bytes += size;
            files::remove_segment(&self.fs, &self.dir, *base_offset)?;
        }
        self.sync_dir()
    }

    /// Makes sure that there is a segment and that the log's bounds are in order.
    fn settle_bounds(&mut self) -> Result<Offset, LoadError> {
        let checkpointed = self.options.log_start_offset.unwrap_or(Offset(0));
        // The records up to the start were deleted, so an end below it means the tail was lost with
        // nothing of worth before it.
        if !self.segments.is_empty() && self.log_end_offset < checkpointed {
            let bases: Vec<_> =
                self.segments.drain(..).map(|segment| segment.base_offset).collect();
            self.drop_behind(&bases)?;
        }
        if self.segments.is_empty() {
            let now = self.options.now;
            let segment = Segment::create(&self.fs, &self.dir, checkpointed, self.config, now)?;
            self.segments.push_back(segment);
            self.log_end_offset = checkpointed;
            self.sync_dir()?;
        }
        let first = self.segments.front().map_or(Offset(0), |segment| segment.base_offset);
        Ok(first.max(checkpointed))
    }

    fn sync_dir(&self) -> Result<(), LoadError> {
        self.fs.sync_dir(&self.dir).map_err(|source| LoadError::Io {
            operation: "sync",
            path: self.dir.to_path_buf(),
            source,
        })
    }
}

/// Loads the leader epochs and brings them in line with the log; what was scanned is added.
fn load_epochs(
    fs: &Arc<dyn Fs>,
    dir: &Arc<PathBuf>,
    segments: &VecDeque<Segment>,
    log_start_offset: Offset,
    log_end_offset: Offset,
    scanned_from: Option<Offset>,
) -> Result<LeaderEpochCache, LoadError> {
    let (mut epochs, scan_from) = match LeaderEpochCache::load(fs.clone(), dir) {
        Ok(epochs) => (epochs, scanned_from),
        Err(error @ (CheckpointError::Damaged { .. } | CheckpointError::Version { .. })) => {
            tracing::warn!(%error, "rebuilding leader epochs from the log");
            (LeaderEpochCache::empty(fs.clone(), dir), Some(Offset(0)))
        }
        Err(error @ CheckpointError::Io { .. }) => return Err(LogError::from(error).into()),
    };
    epochs.truncate_from_end(log_end_offset);
    for segment in segments {
        if scan_from.is_some_and(|from| segment.base_offset >= from) {
            segment.for_each(0, |entry| {
                if let Some(epoch) = entry.leader_epoch() {
                    epochs.observe(epoch, entry.base_offset);
                }
                Ok(true)
            })?;
        }
    }
    epochs.truncate_from_start(log_start_offset);
    epochs.flush(log_end_offset).map_err(LogError::from)?;
    Ok(epochs)
}
