//! Replicas that move from one log directory of this broker to another (`AlterReplicaLogDirs`).
//!
//! Beginning and ending a move is done under the lock of those who create and delete logs; the copying is
//! one job's, which takes turns at all that move, as fast as
//! `replica.alter.log.dirs.io.max.bytes.per.second` lets it.

use std::path::Path;
use std::sync::Arc;

use broker_protocol::topic_partition::TopicPartition;
use broker_storage::log::Log;
use broker_storage::log_dir::{CreateError, LogDir, NewLog};

use super::Manager;
use super::topics::Topics;
use crate::replica::partition::Partition;
use crate::replica::partition::moving::{Copied, MoveError};
use crate::replica::partition_state::Role;

/// Bytes of one step.
const STEP: u32 = 1 << 20;

/// What may be left when the copy takes the log's place: it is copied while nobody can append.
const LEFT_MAX: u64 = 1 << 20;

/// Why a replica is not moved.
#[derive(Debug, thiserror::Error)]
pub enum AlterDirError {
    /// It is none of `log.dirs`.
    #[error("the broker has no such log directory")]
    NoSuchDir,
    /// The directory failed, or that of the replica.
    #[error("a log directory is offline")]
    Offline,
    /// It is not here. If it comes, it comes to that directory.
    #[error("no replica of the partition is here")]
    NoReplica,
    /// The log to copy to was not made.
    #[error(transparent)]
    Create(#[from] CreateError),
}

impl Manager {
    /// Has a replica moved to the directory at `path`. Waits for the disk.
    ///
    /// # Errors
    /// As [`AlterDirError`].
    pub fn alter_dir(&self, name: &TopicPartition, path: &Path) -> Result<(), AlterDirError> {
        let _turn = self.changing.lock();
        let dir = self.dirs.iter().find(|dir| dir.path() == path);
        let dir = dir.ok_or(AlterDirError::NoSuchDir)?;
        if dir.offline().is_offline() {
            return Err(AlterDirError::Offline);
        }
        let Some(partition) = self.partition(&name.topic, name.partition) else {
            self.preferred_dirs.lock().insert(name.clone(), Arc::clone(dir));
            return Err(AlterDirError::NoReplica);
        };
        if partition.dir().offline().is_offline() {
            return Err(AlterDirError::Offline);
        }
        if let Some(moving) = partition.moving() {
            if Arc::ptr_eq(&moving.dir, dir) {
                return Ok(());
            }
            self.end_move(&partition);
        }
        if Arc::ptr_eq(&partition.dir(), dir) {
            return Ok(());
        }
        let new = NewLog {
            partition: name.clone(),
            topic_id: Some(partition.topic_id()).filter(|id| !id.is_zero()),
            config: Arc::clone(&partition.config()),
        };
        let log = dir.create_future(new, self.clock.wall())?;
        partition.begin_move(log, Arc::clone(dir));
        tracing::info!(partition = %name, to = %path.display(), "moving to another log directory");
        self.moves.notify_one();
        Ok(())
    }

    /// Waits until something may be to be moved. Cancel-safe.
    pub async fn moves_begun(&self) {
        self.moves.notified().await;
    }

    /// Goes on with a move that a past process began, if its log is here.
    pub(super) fn resume_move(&self, log: Log, dir: &Arc<LogDir>) {
        let name = log.partition().clone();
        let Some(partition) = self.partition(&name.topic, name.partition) else {
            tracing::warn!(partition = %name, "a log that was moved is left alone: its origin is not here");
            return;
        };
        if partition.moving().is_none() && !Arc::ptr_eq(&partition.dir(), dir) {
            partition.resume_move(log, Arc::clone(dir), self.clock.wall());
            tracing::info!(partition = %name, to = %dir.path().display(), "moving on");
            self.moves.notify_one();
        }
    }

    /// Returns the partitions that are being moved.
    pub fn moving(&self) -> Vec<Arc<Partition>> {
        self.partitions().into_iter().filter(|it| it.moving().is_some()).collect()
    }

    /// Copies a step of one partition's log; once it has all, uses it. Returns the bytes that were copied.
    /// Waits for the disk.
    pub fn move_on(&self, partition: &Arc<Partition>) -> u64 {
        let copied = self.copy(partition);
        copied.unwrap_or_else(|error| {
            let error = &error as &dyn std::error::Error;
            tracing::error!(partition = %partition.name(), error, "the log stays where it is");
            let _turn = self.changing.lock();
            self.end_move(partition);
            0
        })
    }

    fn copy(&self, partition: &Arc<Partition>) -> Result<u64, MoveError> {
        let now = self.clock.wall();
        match partition.copy_some(STEP, now)? {
            Copied::Bytes(bytes) => return Ok(bytes),
            Copied::Over => return Ok(0),
            Copied::All => {}
        }
        partition.sync_copy()?;
        let _turn = self.changing.lock();
        let (name, Some(moving)) = (partition.name(), partition.moving()) else { return Ok(0) };
        self.standings
            .copy(name, &moving.dir, !partition.is_synced())
            .map_err(MoveError::Standing)?;
        // Nobody cuts the log meanwhile, by the recovery points of where it was.
        let checkpointing = self.checkpointing.lock();
        if let Some((old_dir, deleted)) = partition.take_copy(LEFT_MAX, now)? {
            drop(checkpointing);
            let dir = partition.dir();
            // Without it records that were deleted would be back after a crash.
            super::jobs::note(&dir, self.checkpoint_log_starts(&dir));
            let _ = old_dir.sync();
            self.discard(partition, deleted);
            self.standings.moved_from(&old_dir, name);
            tracing::info!(partition = %name, dir = %dir.path().display(), "moved");
        }
        Ok(0)
    }

    /// Gives a move up; the caller has the turn of those who change logs.
    pub(super) fn end_move(&self, partition: &Arc<Partition>) {
        match partition.end_move() {
            Some(Ok(deleted)) => self.discard(partition, deleted),
            Some(Err(error)) => {
                tracing::warn!(partition = %partition.name(), %error, "a copy is left to the next start");
            }
            None => {}
        }
    }
}

/// Returns whether `log`, found in `dir`, is the lesser of two of one partition: a process ended between
/// the last two steps of a move. The lesser is renamed away, to be kept.
pub(super) fn is_second(topics: &Topics, dir: &Arc<LogDir>, log: &Log) -> bool {
    let name = log.partition();
    let known = topics.by_name(&name.topic).and_then(|topic| topic.partition(name.partition));
    let Some(known) = known else { return false };
    let is_less = log.log_end_offset() <= known.offsets().log_end_offset;
    let (renamed, in_dir) = if is_less {
        (dir.rename_as_stray(log), Arc::clone(dir))
    } else {
        topics.remove(name);
        known.end(Role::Deleted);
        (known.rename_as_stray(), known.dir())
    };
    let in_place = in_dir.path().display();
    tracing::warn!(partition = %name, dir = %in_place, "a second log of the partition is put aside");
    if let Err(error) = renamed.and_then(|()| in_dir.sync()) {
        tracing::error!(partition = %name, %error, "the second log is not renamed");
    }
    is_less
}
