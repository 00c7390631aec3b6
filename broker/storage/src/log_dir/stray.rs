//! Logs that the cluster does not know any more: set aside under another name, never deleted, and taken back
//! if the cluster comes to know them again by their topic's id.
//!
//! A name says nothing: only the id in the log's directory tells that it is of the topic that is asked for.
//! Taken back, a log is looked at as after a crash; where its checkpoints stood is not known any more, so
//! records that were deleted by DeleteRecords from the middle of its first segment are there again until its
//! leader says where the log starts.
//!
//! Source: the name is that of Kafka 3.9 `UnifiedLog.logStrayDirName`; Kafka takes none back, and over ZooKeeper
//! sets none aside: a log that is not named stays where it is.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use broker_protocol::quantity::{Offset, TimestampMs};
use broker_protocol::topic_partition::TopicPartition;
use broker_protocol::uuid::Uuid;

use super::delete::random_id;
use super::{CreateError, LogDir, NewLog};
use crate::format::{LOG_SUFFIX, dir_name, parse_dir_name, parse_file_name, stray_dir_name};
use crate::log::Log;
use crate::partition_metadata;
use crate::recovery::{self, LoadOptions};

/// How far a log reaches, to be compared: its last segment and that one's size.
pub type Reach = Option<(Offset, u64)>;

/// Logs that lie aside in a directory: whose they are, as their names say, and where.
#[derive(Debug, Default)]
pub(super) struct Strays(Vec<(TopicPartition, PathBuf)>);

impl Strays {
    pub(super) fn note(&mut self, partition: TopicPartition, path: PathBuf) {
        self.0.push((partition, path));
    }

    /// Returns those that a partition's log may be; a long topic's name is cut in theirs.
    fn of(&self, partition: &TopicPartition) -> impl Iterator<Item = &Path> {
        let as_told = stray_dir_name(partition, &"0".repeat(32));
        let as_told = parse_dir_name(&as_told).map(|(partition, _)| partition);
        let is_of = move |stray: &&(TopicPartition, PathBuf)| Some(&stray.0) == as_told.as_ref();
        self.0.iter().filter(is_of).map(|(_, path)| path.as_path())
    }

    fn forget(&mut self, path: &Path) {
        self.0.retain(|(_, known)| known != path);
    }
}

impl LogDir {
    /// Renames a log's directory to `<topic>-<partition>.<id>-stray`: it is left alone from then on, unless
    /// it is taken back. Durable once [`LogDir::sync`] returned.
    pub fn rename_as_stray(&self, log: &Log) -> io::Result<()> {
        let name = stray_dir_name(log.partition(), &random_id());
        let path = self.path().join(&name);
        self.fs().rename(log.dir(), &path).inspect_err(|error| _ = self.note_error(error))?;
        self.note_stray(&name, path);
        Ok(())
    }

    pub(super) fn note_stray(&self, name: &str, path: PathBuf) {
        if let Some((partition, _)) = parse_dir_name(name) {
            self.strays.lock().note(partition, path);
        }
    }

    /// Returns where a log of this partition and topic lies aside, and how far it reaches; of several, the one
    /// that reaches furthest.
    pub fn find_stray(
        &self,
        partition: &TopicPartition,
        topic_id: Uuid,
    ) -> Option<(Reach, PathBuf)> {
        if self.offline().is_offline() {
            return None;
        }
        let found: Vec<_> = self.strays.lock().of(partition).map(Path::to_owned).collect();
        let is_of_topic = |path: &PathBuf| matches!(partition_metadata::read(self.fs().as_ref(), path), Ok(Some(id)) if id == topic_id);
        let found = found.into_iter().filter(is_of_topic);
        found.map(|path| (self.reach(&path), path)).max()
    }

    fn reach(&self, path: &Path) -> Reach {
        let entries = self.fs().list(path).ok()?;
        let segments = entries.iter().filter_map(|entry| {
            let (base, suffix) = parse_file_name(&entry.name)?;
            (suffix == LOG_SUFFIX).then_some((base, &entry.name))
        });
        let (base, name) = segments.max()?;
        Some((base, self.fs().len(&path.join(name)).ok()?))
    }

    /// Gives the log that lies at `stray` its name again, durably, and opens it as after a crash.
    ///
    /// # Errors
    /// There is a log of that name, or this one cannot be renamed or opened: it lies aside as before, as far
    /// as the disk lets us.
    pub fn take_back(
        &self,
        stray: &Path,
        wanted: NewLog,
        now: TimestampMs,
    ) -> Result<Log, CreateError> {
        let dir = self.path().join(dir_name(&wanted.partition));
        let error = |source| CreateError::Io { dir: dir.clone(), source };
        let take = || {
            self.fs().rename(stray, &dir).map_err(error)?;
            self.sync().map_err(error)?;
            let options = LoadOptions {
                partition: wanted.partition,
                config: Arc::clone(&wanted.config),
                is_clean: false,
                recovery_point: Offset(0),
                log_start_offset: None,
                now,
                producer_id_expiration_ms: i64::MAX,
            };
            Ok(recovery::load(self.fs(), dir.clone(), options)?.0)
        };
        if self.fs().exists(&dir).map_err(error)? {
            return Err(CreateError::Exists { dir });
        }
        let taken = take();
        match &taken {
            Ok(_) => self.strays.lock().forget(stray),
            Err(error) => {
                // The first error is the one to tell.
                let _ = self.fs().rename(&dir, stray);
                self.note_create_error(error);
            }
        }
        taken
    }
}
