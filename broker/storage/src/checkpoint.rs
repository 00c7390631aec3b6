//! Small text files that remember one offset for each partition of a log directory.
//!
//! ```text
//! 0                      version
//! 2                      count of lines that follow
//! orders 0 42            topic, partition, offset
//! orders 1 7
//! ```
//!
//! Replaced as a whole, so that a crash leaves the old or the new one. A file that does not parse is
//! reported, never half believed: what to do without it depends on which of them it is.
//!
//! Concurrency: one writer per file, the log directory. Source: Kafka 3.9 `OffsetCheckpointFile`.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::str::SplitAsciiWhitespace;
use std::sync::Arc;

use broker_protocol::quantity::Offset;
use broker_protocol::topic_partition::TopicPartition;

use crate::fs::{Fs, read_file, replace_file};

/// Everything below these offsets is on stable storage.
pub const RECOVERY_POINT_FILE: &str = "recovery-point-offset-checkpoint";
/// The first offset of each log that readers may see.
pub const LOG_START_OFFSET_FILE: &str = "log-start-offset-checkpoint";
/// The high watermarks.
pub const HIGH_WATERMARK_FILE: &str = "replication-offset-checkpoint";
/// Up to where compaction has come.
pub const CLEANER_FILE: &str = "cleaner-offset-checkpoint";

/// The only version there has been.
const VERSION: &str = "0";
/// A directory with 100,000 partitions of the longest names fits; a damaged length cannot fill memory.
const SIZE_MAX: u64 = 64 * 1024 * 1024;

/// Why a checkpoint could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// The disk failed. The log directory must go offline.
    #[error("{operation} checkpoint {}", path.display())]
    Io {
        /// What was tried, such as `read`.
        operation: &'static str,
        /// The checkpoint's path.
        path: PathBuf,
        /// The disk's answer.
        source: io::Error,
    },
    /// The file was written by a version that this code does not know.
    #[error("checkpoint {} has version {version:?}, not {VERSION}", path.display())]
    Version {
        /// The checkpoint's path.
        path: PathBuf,
        /// What stood in its first line.
        version: String,
    },
    /// A line is not of the file's form, or lines are missing or too many.
    #[error("checkpoint {} is damaged at line {line}", path.display())]
    Damaged {
        /// The checkpoint's path.
        path: PathBuf,
        /// The first line that does not fit, from 1.
        line: usize,
    },
}

/// One checkpoint of partitions' offsets, in a log directory.
#[derive(Debug, Clone)]
pub struct OffsetCheckpoint {
    fs: Arc<dyn Fs>,
    path: PathBuf,
}

impl OffsetCheckpoint {
    /// Names the checkpoint `file` (one of this module's constants) in the log directory `dir`.
    pub fn new(fs: Arc<dyn Fs>, dir: &Path, file: &str) -> Self {
        Self { fs, path: dir.join(file) }
    }

    /// Reads all offsets; none if the file was never written.
    pub fn read(&self) -> Result<BTreeMap<TopicPartition, Offset>, CheckpointError> {
        let entries = read_entries(self.fs.as_ref(), &self.path, |fields| {
            let topic = Arc::from(fields.next()?);
            let partition = fields.next()?.parse().ok()?;
            let offset = Offset(fields.next()?.parse().ok()?);
            Some((TopicPartition { topic, partition }, offset))
        })?;
        Ok(entries.into_iter().collect())
    }

    /// Replaces the file by these offsets, durably.
    pub fn write(&self, offsets: &BTreeMap<TopicPartition, Offset>) -> Result<(), CheckpointError> {
        let lines = offsets.iter().map(|(partition, offset)| {
            format!("{} {} {}", partition.topic, partition.partition, offset.0)
        });
        write_entries(self.fs.as_ref(), &self.path, lines)
    }
}

/// Reads a checkpoint whose lines `parse` understands; none if there is no file.
pub(crate) fn read_entries<T>(
    fs: &dyn Fs,
    path: &Path,
    parse: impl Fn(&mut SplitAsciiWhitespace<'_>) -> Option<T>,
) -> Result<Vec<T>, CheckpointError> {
    let bytes = match read_file(fs, path, SIZE_MAX) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => {
            return Err(CheckpointError::Io { operation: "read", path: path.into(), source });
        }
    };
    let damaged = |line| CheckpointError::Damaged { path: path.into(), line };
    let text = std::str::from_utf8(&bytes).map_err(|_| damaged(1))?;
    let mut lines = text.lines().zip(1..);
    match lines.next() {
        Some((VERSION, _)) => {}
        // Kafka before 1.0 and some tools leave an empty file behind.
        None => return Ok(Vec::new()),
        Some((version, _)) => {
            return Err(CheckpointError::Version {
                path: path.into(),
                version: version.to_owned(),
            });
        }
    }
    let count = lines.next().and_then(|(line, _)| line.parse().ok()).ok_or_else(|| damaged(2))?;
    // A count is no reason to allocate: the lines that are really there bound the vector.
    let mut entries = Vec::new();
    for (line, number) in lines {
        let mut fields = line.split_ascii_whitespace();
        let entry = parse(&mut fields).filter(|_| fields.next().is_none());
        entries.push(entry.ok_or_else(|| damaged(number))?);
    }
    if entries.len() != count {
        return Err(damaged(2));
    }
    Ok(entries)
}

/// Replaces a checkpoint, durably and as a whole.
pub(crate) fn write_entries(
    fs: &dyn Fs,
    path: &Path,
    lines: impl ExactSizeIterator<Item = String>,
) -> Result<(), CheckpointError> {
    let count = lines.len();
    let mut text = format!("{VERSION}\n{count}\n");
    for line in lines {
        // Writing to a `String` cannot fail.
        _ = writeln!(text, "{line}");
    }
    assert_eq!(text.lines().count(), count + 2, "a name with a line break would damage the file");
    replace_file(fs, path, text.as_bytes()).map_err(|source| CheckpointError::Io {
        operation: "write",
        path: path.into(),
        source,
    })
}

#[cfg(test)]
mod tests;
