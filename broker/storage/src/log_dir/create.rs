//! Creates the directories of new logs, durably.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use broker_config::topic::TopicConfig;
use broker_protocol::quantity::{Offset, TimestampMs};
use broker_protocol::topic_partition::TopicPartition;
use broker_protocol::uuid::Uuid;

use super::LogDir;
use crate::format::dir_name;
use crate::leader_epoch_cache::LeaderEpochCache;
use crate::log::{Log, LogError};
use crate::partition_metadata::{self, PartitionMetadataError};
use crate::recovery::{self, LoadError, LoadOptions};

/// A log to be created.
#[derive(Debug, Clone)]
pub struct NewLog {
    /// The partition.
    pub partition: TopicPartition,
    /// The topic's id; a topic made by Kafka before 2.8 has none.
    pub topic_id: Option<Uuid>,
    /// The topic's configuration.
    pub config: Arc<TopicConfig>,
}

/// Why a log was not created. What was made of it so far is an empty log to the next start.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// The directory is offline.
    #[error("log directory {} is offline", dir.display())]
    Offline {
        /// The directory.
        dir: PathBuf,
    },
    /// There is such a log already.
    #[error("log {} exists", dir.display())]
    Exists {
        /// The log's directory.
        dir: PathBuf,
    },
    /// The disk failed.
    #[error("create log {}", dir.display())]
    Io {
        /// The log's directory.
        dir: PathBuf,
        /// The disk's answer.
        source: io::Error,
    },
    /// `partition.metadata` cannot be written.
    #[error(transparent)]
    Metadata(#[from] PartitionMetadataError),
    /// The empty log cannot be opened.
    #[error(transparent)]
    Load(#[from] LoadError),
}

impl CreateError {
    fn io_error(&self) -> Option<&io::Error> {
        match self {
            Self::Io { source, .. } | Self::Metadata(PartitionMetadataError::Io { source, .. }) => {
                Some(source)
            }
            Self::Load(error) => error.io_error(),
            Self::Offline { .. }
            | Self::Exists { .. }
            | Self::Metadata(PartitionMetadataError::Damaged { .. }) => None,
        }
    }
}

impl LogDir {
    /// Creates an empty log, starting at offset 0. It survives a crash once this returns.
    pub fn create_log(&self, new: NewLog, now: TimestampMs) -> Result<Log, CreateError> {
        let mut logs = self.create_logs(vec![new], now)?;
        logs.pop().ok_or_else(|| unreachable!("one was asked for"))
    }

    /// Creates several logs with one sync of the directory, as a topic of many partitions needs.
    ///
    /// # Errors
    /// None is to be used. What was made of them is taken away again, as far as the disk lets us; what
    /// stays are empty logs to the next start.
    pub fn create_logs(&self, new: Vec<NewLog>, now: TimestampMs) -> Result<Vec<Log>, CreateError> {
        let path = |new: &NewLog| self.path().join(dir_name(&new.partition));
        self.create_durably(new.into_iter().map(|new| (path(&new), new)).collect(), now)
    }

    /// Creates logs at these paths, with one sync of the directory.
    pub(super) fn create_durably(
        &self,
        new: Vec<(PathBuf, NewLog)>,
        now: TimestampMs,
    ) -> Result<Vec<Log>, CreateError> {
        if self.offline().is_offline() {
            return Err(CreateError::Offline { dir: self.path().to_path_buf() });
        }
        let mut made = Vec::with_capacity(new.len());
        let created: Result<Vec<_>, _> =
            new.into_iter().map(|(dir, new)| self.create(dir, new, now, &mut made)).collect();
        let created = created.and_then(|logs| match self.sync() {
            Ok(()) => Ok(logs),
            Err(source) => Err(CreateError::Io { dir: self.path().to_path_buf(), source }),
        });
        if let Err(error) = &created {
            for dir in made {
                // The first error is the one to tell.
                let _ = self.fs().remove_dir_all(&dir);
            }
            self.note_create_error(error);
        }
        created
    }

    pub(super) fn note_create_error(&self, error: &CreateError) {
        if let Some(error) = error.io_error() {
            self.note_error(error);
        }
    }

    /// Creates one log; its directory is added to `made` as soon as it may be there.
    fn create(
        &self,
        dir: PathBuf,
        new: NewLog,
        now: TimestampMs,
        made: &mut Vec<PathBuf>,
    ) -> Result<Log, CreateError> {
        let error = |source| CreateError::Io { dir: dir.clone(), source };
        if self.fs().exists(&dir).map_err(error)? {
            return Err(CreateError::Exists { dir });
        }
        made.push(dir.clone());
        self.fs().create_dir_all(&dir).map_err(error)?;
        self.write_epochs(&dir)?;
        // Last, because its write also syncs the names of the other files.
        let options = LoadOptions {
            partition: new.partition,
            config: new.config,
            is_clean: true,
            recovery_point: Offset(0),
            log_start_offset: None,
            now,
            producer_id_expiration_ms: i64::MAX,
        };
        if let Some(topic_id) = new.topic_id {
            partition_metadata::write(self.fs().as_ref(), &dir, topic_id)?;
        }
        let (log, _) = recovery::load(self.fs(), dir, options)?;
        Ok(log)
    }

    fn write_epochs(&self, dir: &Path) -> Result<(), CreateError> {
        let mut epochs = LeaderEpochCache::empty(self.fs().clone(), dir);
        epochs.flush(Offset(0)).map_err(|error| CreateError::Load(LogError::from(error).into()))
    }
}
