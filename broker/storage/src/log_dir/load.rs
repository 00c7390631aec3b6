//! Opens every log of a directory, on several threads.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use broker_config::topic::TopicConfig;
use broker_protocol::quantity::{Offset, TimestampMs};
use broker_protocol::topic_partition::TopicPartition;
use parking_lot::Mutex;

use super::{DeletedDir, LogDir};
use crate::checkpoint::{CheckpointError, OffsetCheckpoint};
use crate::format::{DirKind, parse_dir_name};
use crate::log::Log;
use crate::recovery::{self, LoadError, LoadOptions, Recovered};

/// How to load.
#[derive(Debug, Clone, Copy)]
pub struct LoadSettings {
    /// How many threads, from `num.recovery.threads.per.data.dir`; at least one is used.
    pub threads: usize,
    /// The current time.
    pub now: TimestampMs,
    /// From `producer.id.expiration.ms`.
    pub producer_id_expiration_ms: i64,
}

/// How far the loading has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Logs opened or refused.
    pub done_count: usize,
    /// All logs of the directory.
    pub total_count: usize,
}

/// A log that was opened.
#[derive(Debug)]
pub struct LoadedLog {
    /// The log.
    pub log: Log,
    /// The high watermark of the checkpoint, within the log's bounds; its start if there is none.
    pub high_watermark: Offset,
    /// What opening it took.
    pub recovered: Recovered,
}

/// A log that was not opened, though the disk answers: it is damaged. Its files are untouched.
#[derive(Debug)]
pub struct FailedLog {
    /// The partition.
    pub partition: TopicPartition,
    /// Why.
    pub error: LoadError,
}

/// What a directory holds.
#[derive(Debug, Default)]
pub struct Loaded {
    /// The logs, by partition.
    pub logs: Vec<LoadedLog>,
    /// Those that are damaged.
    pub failed: Vec<FailedLog>,
    /// Logs that were being deleted when the last process ended; to be purged.
    pub deleted: Vec<DeletedDir>,
    /// Logs that were being moved into this directory.
    pub futures: Vec<Log>,
}

/// Why a directory was not loaded. It is offline.
#[derive(Debug, thiserror::Error)]
pub enum LoadDirError {
    /// The directory was never opened.
    #[error("log directory {} is offline", dir.display())]
    Offline {
        /// The directory.
        dir: PathBuf,
    },
    /// The directory cannot be listed.
    #[error("list log directory {}", dir.display())]
    List {
        /// The directory.
        dir: PathBuf,
        /// The disk's answer.
        source: io::Error,
    },
    /// A checkpoint cannot be read.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The disk failed while a log was opened.
    #[error("load {partition}")]
    Log {
        /// The partition.
        partition: TopicPartition,
        /// What failed.
        source: LoadError,
    },
}

/// The offsets that the last process left.
struct Checkpointed {
    recovery_points: BTreeMap<TopicPartition, Offset>,
    log_starts: BTreeMap<TopicPartition, Offset>,
    high_watermarks: BTreeMap<TopicPartition, Offset>,
}

/// A partition and its directory.
type Found = (TopicPartition, PathBuf);

impl LogDir {
    /// Opens all logs; recovers them if the last process did not stop cleanly.
    ///
    /// `config` gives the configuration of a topic by name. `progress` is called from the loading
    /// threads, after each log.
    ///
    /// # Errors
    /// The disk failed; the directory is offline. A damaged log is no error but listed as failed.
    pub fn load(
        &self,
        settings: LoadSettings,
        config: &(dyn Fn(&str) -> Arc<TopicConfig> + Sync),
        progress: &(dyn Fn(Progress) + Sync),
    ) -> Result<Loaded, LoadDirError> {
        if self.offline().is_offline() {
            return Err(LoadDirError::Offline { dir: self.path().to_owned() });
        }
        let offsets = self.read_offsets()?;
        let (found, deleted, futures) = self.find_logs()?;
        let next = AtomicUsize::new(0);
        let done = AtomicUsize::new(0);
        let results = Mutex::new(Vec::with_capacity(found.len()));
        let work = || {
            while let Some((partition, dir)) = found.get(next.fetch_add(1, Ordering::Relaxed)) {
                let loaded = self.load_log(partition, dir, settings, config, &offsets);
                results.lock().push((partition, loaded));
                let done_count = done.fetch_add(1, Ordering::Relaxed) + 1;
                progress(Progress { done_count, total_count: found.len() });
            }
        };
        std::thread::scope(|scope| {
            for _ in 1..settings.threads.min(found.len()) {
                scope.spawn(work);
            }
            work();
        });
        let futures = futures.into_iter().filter_map(|(partition, path)| {
            let config = config(&partition.topic);
            self.load_future(path, partition, config, settings.now)
        });
        let futures = futures.collect();
        let mut loaded = Loaded { deleted, futures, ..Loaded::default() };
        let mut results = results.into_inner();
        results.sort_by_key(|(partition, _)| *partition);
        for (partition, result) in results {
            match result {
                Ok(log) => loaded.logs.push(log),
                Err(error) => self.note_failed(&mut loaded, partition, error)?,
            }
        }
        Ok(loaded)
    }

    fn note_failed(
        &self,
        loaded: &mut Loaded,
        partition: &TopicPartition,
        error: LoadError,
    ) -> Result<(), LoadDirError> {
        let partition = partition.clone();
        if let Some(source) = error.io_error() {
            self.note_error(source);
            return Err(LoadDirError::Log { partition, source: error });
        }
        tracing::error!(%partition, %error, "log is damaged and is not served");
        loaded.failed.push(FailedLog { partition, error });
        Ok(())
    }

    fn load_log(
        &self,
        partition: &TopicPartition,
        dir: &Path,
        settings: LoadSettings,
        config: &(dyn Fn(&str) -> Arc<TopicConfig> + Sync),
        offsets: &Checkpointed,
    ) -> Result<LoadedLog, LoadError> {
        let options = LoadOptions {
            partition: partition.clone(),
            config: config(&partition.topic),
            is_clean: self.was_clean(),
            recovery_point: offsets.recovery_points.get(partition).copied().unwrap_or(Offset(0)),
            log_start_offset: offsets.log_starts.get(partition).copied(),
            now: settings.now,
            producer_id_expiration_ms: settings.producer_id_expiration_ms,
        };
        let (log, recovered) = recovery::load(self.fs(), dir.to_path_buf(), options)?;
        let high_watermark = offsets.high_watermarks.get(partition).copied();
        let high_watermark = high_watermark
            .unwrap_or(log.log_start_offset())
            .clamp(log.log_start_offset(), log.log_end_offset());
        Ok(LoadedLog { log, high_watermark, recovered })
    }

    /// Lists the logs to open, the directories to purge, and the logs that were being moved here.
    fn find_logs(&self) -> Result<(Vec<Found>, Vec<DeletedDir>, Vec<Found>), LoadDirError> {
        let entries = self.fs().list(self.path()).map_err(|source| {
            self.note_error(&source);
            LoadDirError::List { dir: self.path().to_path_buf(), source }
        })?;
        let (mut found, mut deleted, mut futures) = (Vec::new(), Vec::new(), Vec::new());
        for entry in entries.into_iter().filter(|entry| entry.is_dir) {
            let path = self.path().join(&entry.name);
            match parse_dir_name(&entry.name) {
                Some((partition, DirKind::Current)) => found.push((partition, path)),
                Some((partition, DirKind::Delete)) => {
                    deleted.push(DeletedDir::new(self.fs().clone(), path, partition));
                }
                Some((partition, DirKind::Future)) => futures.push((partition, path)),
                Some((_, DirKind::Stray)) => {
                    tracing::warn!(dir = %path.display(), "a log that was put aside, left alone");
                    self.note_stray(&entry.name, path);
                }
                None => {
                    tracing::warn!(dir = %path.display(), "not a log of this broker, left alone");
                }
            }
        }
        Ok((found, deleted, futures))
    }

    fn read_offsets(&self) -> Result<Checkpointed, LoadDirError> {
        let checkpoints = self.checkpoints.lock();
        Ok(Checkpointed {
            // Without recovery points everything is scanned, which is slow and safe.
            recovery_points: self.read_or_none(&checkpoints.recovery_points)?,
            // These two are not replaceable: records deleted would return, or followers be misled.
            log_starts: self.checked(checkpoints.log_start_offsets.read())?,
            high_watermarks: self.read_or_none(&checkpoints.high_watermarks)?,
        })
    }

    pub(super) fn read_or_none(
        &self,
        checkpoint: &OffsetCheckpoint,
    ) -> Result<BTreeMap<TopicPartition, Offset>, CheckpointError> {
        match self.checked(checkpoint.read()) {
            Err(error @ (CheckpointError::Damaged { .. } | CheckpointError::Version { .. })) => {
                tracing::warn!(%error, "going on without the checkpoint");
                Ok(BTreeMap::new())
            }
            other => other,
        }
    }
}
