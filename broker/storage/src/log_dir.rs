//! One directory of logs: owned by one process, lost as a whole when its disk fails.
//!
//! ```text
//! <dir>/.lock                      held while the directory is open
//!       meta.properties            whose directory this is
//!       .kafka_cleanshutdown       there only between a clean stop and the next start
//!       *-offset-checkpoint        recovery points, log start offsets, high watermarks
//!       <topic>-<partition>/       one log each
//! ```
//!
//! The directory is a value: which logs it holds is known to the server, which owns them. With several
//! directories, one that goes offline leaves the others alone.
//!
//! Errors: a failure of the disk takes the directory offline before it is returned, but for what it
//! recovers from by itself: a full disk, a lack of descriptors or memory.
//!
//! Concurrency: shared; checkpoints are written by one thread at a time.
//! Source: Kafka 3.9 `LogManager` and `CleanShutdownFileHandler`.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use broker_protocol::quantity::{BrokerId, Offset, TimestampMs};
use broker_protocol::topic_partition::TopicPartition;
use parking_lot::Mutex;

use crate::checkpoint::{
    CheckpointError, HIGH_WATERMARK_FILE, LOG_START_OFFSET_FILE, OffsetCheckpoint,
    RECOVERY_POINT_FILE,
};
use crate::commit::Committer;
use crate::format::LOCK_FILE;
use crate::fs::{Fs, Lock, is_transient};
use crate::meta_properties::{MetaProperties, MetaPropertiesError};
use crate::offline::Offline;

mod clean_shutdown;
mod create;
mod delete;
mod future;
mod load;
mod stray;

pub use create::{CreateError, NewLog};
pub use delete::DeletedDir;
pub use load::{FailedLog, LoadDirError, LoadSettings, Loaded, LoadedLog, Progress};
pub use stray::Reach;

use clean_shutdown::CleanShutdown;
use stray::Strays;

/// To whom a directory must belong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The cluster's id.
    pub cluster_id: String,
    /// This broker's id.
    pub broker_id: BrokerId,
}

/// Why a directory was not opened. Nothing in it was changed.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process, or this one, has the directory open.
    #[error("log directory {} is in use by another process", dir.display())]
    Locked {
        /// The directory.
        dir: PathBuf,
    },
    /// The directory was written by a broker of another cluster.
    #[error(
        "log directory {} belongs to cluster {found}, this broker to cluster {expected}: \
         the disk of another cluster is mounted here, or the cluster's own state was lost",
        dir.display()
    )]
    ForeignCluster {
        /// The directory.
        dir: PathBuf,
        /// The cluster in `meta.properties`.
        found: String,
        /// This broker's cluster.
        expected: String,
    },
    /// The directory was written by another broker.
    #[error(
        "log directory {} belongs to broker {found}, this is broker {expected}: \
         the disk of another broker is mounted here, or broker.id was changed",
        dir.display()
    )]
    ForeignBroker {
        /// The directory.
        dir: PathBuf,
        /// The broker in `meta.properties`.
        found: BrokerId,
        /// This broker.
        expected: BrokerId,
    },
    /// `meta.properties` cannot be read, believed or written.
    #[error(transparent)]
    Meta(#[from] MetaPropertiesError),
    /// A checkpoint cannot be read.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The disk failed.
    #[error("{operation} log directory {}", dir.display())]
    Io {
        /// What was tried.
        operation: &'static str,
        /// The directory.
        dir: PathBuf,
        /// The disk's answer.
        source: io::Error,
    },
}

impl OpenError {
    /// Returns the disk's answer, where it was the disk that failed: other directories are none the
    /// worse for it. A full disk, or too few open files, is no failed disk.
    pub fn disk_failure(&self) -> Option<&io::Error> {
        match self {
            Self::Io { source, .. }
            | Self::Meta(MetaPropertiesError::Io { source, .. })
            | Self::Checkpoint(CheckpointError::Io { source, .. }) => Some(source),
            Self::Locked { .. }
            | Self::ForeignCluster { .. }
            | Self::ForeignBroker { .. }
            | Self::Meta(_)
            | Self::Checkpoint(_) => None,
        }
    }
}

/// An open log directory.
#[derive(Debug)]
pub struct LogDir {
    fs: Arc<dyn Fs>,
    dir: PathBuf,
    offline: Offline,
    committer: Committer,
    clean_shutdown: Option<CleanShutdown>,
    checkpoints: Mutex<Checkpoints>,
    strays: Mutex<Strays>,
    /// Released last, when nothing touches the directory any more; none if it never opened.
    _lock: Option<Box<dyn Lock>>,
}

#[derive(Debug)]
struct Checkpoints {
    recovery_points: OffsetCheckpoint,
    log_start_offsets: OffsetCheckpoint,
    high_watermarks: OffsetCheckpoint,
}

impl LogDir {
    /// Opens a directory, creating it if needed, and takes it for this process and broker.
    ///
    /// An empty directory is given this identity. The clean shutdown marker is removed durably before
    /// anything else can change, so that a crash from now on is seen as one.
    pub fn open(
        fs: Arc<dyn Fs>,
        dir: &Path,
        identity: &Identity,
        now: TimestampMs,
    ) -> Result<Self, OpenError> {
        let error =
            |operation| move |source| OpenError::Io { operation, dir: dir.to_path_buf(), source };
        if !fs.exists(dir).map_err(error("find"))? {
            fs.create_dir_all(dir).map_err(error("create"))?;
            if let Some(parent) = dir.parent().filter(|parent| *parent != Path::new("")) {
                fs.sync_dir(parent).map_err(error("create"))?;
            }
        }
        let lock = lock(fs.as_ref(), dir)?;
        check_identity(fs.as_ref(), dir, identity, now)?;
        let clean_shutdown =
            CleanShutdown::take(fs.as_ref(), dir).map_err(error("read the clean marker of"))?;
        Self::assemble(fs, dir, clean_shutdown, Some(lock)).map_err(error("start a thread for"))
    }

    /// Looks whether a directory can be taken for this broker, and changes nothing in it.
    ///
    /// # Errors
    /// What [`Self::open`] would say: that it is in use, or another broker's or cluster's, or not to be understood.
    pub fn look(
        fs: &dyn Fs,
        dir: &Path,
        broker_id: BrokerId,
        cluster_id: Option<&str>,
    ) -> Result<(), OpenError> {
        let find = |source| OpenError::Io { operation: "find", dir: dir.to_path_buf(), source };
        // Where there is no such file nobody holds it, and none is made.
        if fs.exists(&dir.join(LOCK_FILE)).map_err(find)? {
            drop(lock(fs, dir)?);
        }
        let found = MetaProperties::read(fs, dir)?.unwrap_or_default();
        if let Some(cluster_id) = cluster_id {
            check_cluster(dir, found.cluster_id, cluster_id)?;
        }
        check_broker(dir, found.broker_id, broker_id)
    }

    /// Stands for a directory whose disk failed before it could be opened: it is offline from the start.
    ///
    /// # Errors
    /// No thread can be started.
    pub fn failed(fs: Arc<dyn Fs>, dir: &Path, error: &io::Error) -> io::Result<Self> {
        let failed = Self::assemble(fs, dir, None, None)?;
        let error = io::Error::new(error.kind(), error.to_string());
        failed.offline.take_offline(Arc::new(error));
        Ok(failed)
    }

    fn assemble(
        fs: Arc<dyn Fs>,
        dir: &Path,
        clean_shutdown: Option<CleanShutdown>,
        lock: Option<Box<dyn Lock>>,
    ) -> io::Result<Self> {
        let offline = Offline::new(dir);
        let committer = Committer::start(offline.clone())?;
        let checkpoint = |file| OffsetCheckpoint::new(fs.clone(), dir, file);
        let checkpoints = Checkpoints {
            recovery_points: checkpoint(RECOVERY_POINT_FILE),
            log_start_offsets: checkpoint(LOG_START_OFFSET_FILE),
            high_watermarks: checkpoint(HIGH_WATERMARK_FILE),
        };
        Ok(Self {
            dir: dir.to_path_buf(),
            offline,
            committer,
            clean_shutdown,
            checkpoints: Mutex::new(checkpoints),
            strays: Mutex::default(),
            _lock: lock,
            fs,
        })
    }

    /// Returns the directory's path.
    pub fn path(&self) -> &Path {
        &self.dir
    }

    /// Returns the file system it is on.
    pub fn fs(&self) -> &Arc<dyn Fs> {
        &self.fs
    }

    /// Returns the thread that syncs this directory's logs.
    pub fn committer(&self) -> &Committer {
        &self.committer
    }

    /// Returns whether the directory still works, and the hook for when it stops to.
    pub fn offline(&self) -> &Offline {
        &self.offline
    }

    /// Returns whether the last process stopped cleanly.
    pub fn was_clean(&self) -> bool {
        self.clean_shutdown.is_some()
    }

    /// Returns the broker epoch that the last process had when it stopped cleanly; -1 if it wrote none.
    pub fn clean_broker_epoch(&self) -> Option<i64> {
        self.clean_shutdown.as_ref().map(|marker| marker.broker_epoch)
    }

    /// Takes the directory offline for an error of the disk, unless it is one that passes.
    ///
    /// For errors that operations on this directory's logs return. Returns whether it is offline.
    pub fn note_error(&self, error: &io::Error) -> bool {
        if !is_transient(error) {
            self.offline.take_offline(Arc::new(io::Error::new(error.kind(), error.to_string())));
        }
        self.offline.is_offline()
    }

    /// Writes the recovery points of all logs, durably. Everything below them must be synced.
    pub fn write_recovery_points(
        &self,
        offsets: &BTreeMap<TopicPartition, Offset>,
    ) -> Result<(), CheckpointError> {
        self.checked(self.checkpoints.lock().recovery_points.write(offsets))
    }

    /// Brings the recovery points of some logs down to these, durably, and leaves all others as they were
    /// last written: before a log is cut below what its recovery point says.
    pub fn lower_recovery_points(
        &self,
        offsets: &BTreeMap<TopicPartition, Offset>,
    ) -> Result<(), CheckpointError> {
        let checkpoints = self.checkpoints.lock();
        let mut written = self.read_or_none(&checkpoints.recovery_points)?;
        let mut is_changed = false;
        for (partition, offset) in offsets {
            if let Some(known) = written.get_mut(partition).filter(|known| **known > *offset) {
                *known = *offset;
                is_changed = true;
            }
        }
        if !is_changed {
            return Ok(());
        }
        self.checked(checkpoints.recovery_points.write(&written))
    }

    /// Writes the log start offsets of the logs that have one above their first segment, durably.
    ///
    /// Before segments are removed and before DeleteRecords is answered.
    pub fn write_log_start_offsets(
        &self,
        offsets: &BTreeMap<TopicPartition, Offset>,
    ) -> Result<(), CheckpointError> {
        self.checked(self.checkpoints.lock().log_start_offsets.write(offsets))
    }

    /// Writes the high watermarks of all logs, durably.
    pub fn write_high_watermarks(
        &self,
        offsets: &BTreeMap<TopicPartition, Offset>,
    ) -> Result<(), CheckpointError> {
        self.checked(self.checkpoints.lock().high_watermarks.write(offsets))
    }

    /// Marks the directory as stopped cleanly: every log is closed and every checkpoint written.
    ///
    /// Nothing is written to an offline directory: its next start must recover.
    pub fn mark_clean_shutdown(&self, broker_epoch: i64) -> io::Result<()> {
        if self.offline.is_offline() {
            return Ok(());
        }
        CleanShutdown { broker_epoch }.write(self.fs.as_ref(), &self.dir)
    }

    fn checked<T>(&self, result: Result<T, CheckpointError>) -> Result<T, CheckpointError> {
        if let Err(CheckpointError::Io { source, .. }) = &result {
            self.note_error(source);
        }
        result
    }

    /// Makes the names in the directory durable.
    ///
    /// # Errors
    /// The disk's; the directory is offline.
    pub fn sync(&self) -> io::Result<()> {
        self.fs.sync_dir(&self.dir).inspect_err(|error| _ = self.note_error(error))
    }
}

/// Takes the directory's lock.
fn lock(fs: &dyn Fs, dir: &Path) -> Result<Box<dyn Lock>, OpenError> {
    fs.lock(&dir.join(LOCK_FILE)).map_err(|source| {
        if source.kind() == ErrorKind::WouldBlock {
            return OpenError::Locked { dir: dir.to_path_buf() };
        }
        OpenError::Io { operation: "lock", dir: dir.to_path_buf(), source }
    })
}

fn check_cluster(dir: &Path, found: Option<String>, expected: &str) -> Result<(), OpenError> {
    match found {
        Some(found) if found != expected => Err(OpenError::ForeignCluster {
            dir: dir.to_path_buf(),
            found,
            expected: expected.to_owned(),
        }),
        _ => Ok(()),
    }
}

fn check_broker(dir: &Path, found: Option<BrokerId>, expected: BrokerId) -> Result<(), OpenError> {
    match found {
        Some(found) if found != expected => {
            Err(OpenError::ForeignBroker { dir: dir.to_path_buf(), found, expected })
        }
        _ => Ok(()),
    }
}

fn check_identity(
    fs: &dyn Fs,
    dir: &Path,
    identity: &Identity,
    now: TimestampMs,
) -> Result<(), OpenError> {
    let found = MetaProperties::read(fs, dir)?;
    let mut properties = found.clone().unwrap_or_default();
    let dir = dir.to_path_buf();
    let cluster_id = &identity.cluster_id;
    check_cluster(&dir, properties.cluster_id.replace(cluster_id.clone()), cluster_id)?;
    check_broker(&dir, properties.broker_id.replace(identity.broker_id), identity.broker_id)?;
    if found.as_ref() != Some(&properties) {
        properties.write(fs, &dir, now)?;
    }
    Ok(())
}
