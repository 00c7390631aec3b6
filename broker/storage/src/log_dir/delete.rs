//! Takes logs out of their directory: renamed at once, removed later.

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use broker_protocol::topic_partition::TopicPartition;

use super::LogDir;
use crate::format::delete_dir_name;
use crate::fs::Fs;
use crate::log::Log;

/// The directory of a deleted log, waiting for `file.delete.delay.ms`.
#[derive(Debug)]
pub struct DeletedDir {
    fs: Arc<dyn Fs>,
    path: PathBuf,
    partition: TopicPartition,
}

impl DeletedDir {
    pub(super) fn new(fs: Arc<dyn Fs>, path: PathBuf, partition: TopicPartition) -> Self {
        Self { fs, path, partition }
    }

    /// Returns the partition that it held; its topic's name may be cut.
    pub fn partition(&self) -> &TopicPartition {
        &self.partition
    }

    /// Returns the path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Removes the directory and everything in it. A crash on the way leaves the rest to the next start.
    pub fn purge(self) -> io::Result<()> {
        match self.fs.remove_dir_all(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            Ok(()) | Err(_) => Ok(()),
        }
    }
}

impl LogDir {
    /// Renames a log's directory to `<topic>-<partition>.<id>-delete`: a log of the same name can be created
    /// at once. Once [`LogDir::sync`] returned, none of its records will ever be seen again.
    ///
    /// Readers that hold slices of it go on until they are done. Nobody may append to it any more: that
    /// it is only borrowed lets the partition keep its shape until the last holder lets go.
    pub fn delete_log(&self, log: &Log) -> io::Result<DeletedDir> {
        let partition = log.partition().clone();
        let path = self.path().join(delete_dir_name(&partition, &random_id()));
        let renamed = self.fs().rename(log.dir(), &path);
        renamed.inspect_err(|error| _ = self.note_error(error))?;
        Ok(DeletedDir::new(self.fs().clone(), path, partition))
    }
}

/// Returns 32 hexadecimal digits that no other deletion has.
pub(super) fn random_id() -> String {
    // Each state is keyed anew from the system's randomness; uniqueness is all that is needed.
    let half = || RandomState::new().hash_one(0);
    format!("{:016x}{:016x}", half(), half())
}
