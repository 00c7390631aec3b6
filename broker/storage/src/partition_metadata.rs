//! Which topic a log belongs to: `partition.metadata` in its directory.
//!
//! ```text
//! version: 0
//! topic_id: h3jeVR5FTYmQQYDo5gtoRg
//! ```
//!
//! A topic that was deleted and made again has another id, so a log that slept through it is recognised
//! and never served (invariant: no old records in a new topic). No line break at the end, as in Kafka.
//!
//! Source: Kafka 3.9 `PartitionMetadataFile`, KIP-516.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use broker_protocol::uuid::Uuid;

use crate::fs::{Fs, read_file, replace_file};

/// The file's name in a log's directory.
pub const PARTITION_METADATA_FILE: &str = "partition.metadata";

const VERSION: &str = "0";
/// Two short lines; a damaged length cannot fill memory.
const SIZE_MAX: u64 = 4096;

/// Why the metadata of a log could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum PartitionMetadataError {
    /// The disk failed. The log directory must go offline.
    #[error("{operation} {}", path.display())]
    Io {
        /// What was tried.
        operation: &'static str,
        /// The file's path.
        path: PathBuf,
        /// The disk's answer.
        source: io::Error,
    },
    /// The file does not say version 0 and an id that is not zero.
    #[error("{} is damaged", path.display())]
    Damaged {
        /// The file's path.
        path: PathBuf,
    },
}

/// Reads the topic id of the log in `dir`; `None` if it has none.
pub fn read(fs: &dyn Fs, dir: &Path) -> Result<Option<Uuid>, PartitionMetadataError> {
    let path = dir.join(PARTITION_METADATA_FILE);
    let bytes = match read_file(fs, &path, SIZE_MAX) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(PartitionMetadataError::Io { operation: "read", path, source }),
    };
    match parse(&bytes) {
        Some(id) => Ok(Some(id)),
        None => Err(PartitionMetadataError::Damaged { path }),
    }
}

/// Writes the topic id of the log in `dir`, durably.
///
/// # Panics
/// If the id is zero, which stands for none.
pub fn write(fs: &dyn Fs, dir: &Path, topic_id: Uuid) -> Result<(), PartitionMetadataError> {
    assert!(!topic_id.is_zero(), "a topic without id has no metadata file");
    let path = dir.join(PARTITION_METADATA_FILE);
    let text = format!("version: {VERSION}\ntopic_id: {topic_id}");
    replace_file(fs, &path, text.as_bytes()).map_err(|source| PartitionMetadataError::Io {
        operation: "write",
        path,
        source,
    })
}

fn parse(bytes: &[u8]) -> Option<Uuid> {
    let mut lines = std::str::from_utf8(bytes).ok()?.lines();
    let mut value = |key: &str| lines.next()?.strip_prefix(key)?.strip_prefix(':').map(str::trim);
    if value("version")? != VERSION {
        return None;
    }
    value("topic_id")?.parse().ok().filter(|id: &Uuid| !id.is_zero())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::Open;
    use crate::fs::faulty::FaultyFs;
    use std::io::IoSlice;

    #[test]
    fn the_file_is_kafkas_and_parses_back() {
        let fs = FaultyFs::new(1);
        let dir = Path::new("/t-0");
        fs.create_dir_all(dir).unwrap();
        assert_eq!(read(&fs, dir).unwrap(), None);
        let id: Uuid = "h3jeVR5FTYmQQYDo5gtoRg".parse().unwrap();
        write(&fs, dir, id).unwrap();
        let bytes = read_file(&fs, &dir.join(PARTITION_METADATA_FILE), SIZE_MAX).unwrap();
        assert_eq!(bytes, b"version: 0\ntopic_id: h3jeVR5FTYmQQYDo5gtoRg");
        assert_eq!(read(&fs, dir).unwrap(), Some(id));
    }

    #[test]
    fn damage_is_an_error_not_an_absence() {
        let fs = FaultyFs::new(1);
        let dir = Path::new("/t-0");
        fs.create_dir_all(dir).unwrap();
        for text in [
            "",
            "version: 1\ntopic_id: h3jeVR5FTYmQQYDo5gtoRg",
            "version: 0",
            "version: 0\ntopic_id: AAAAAAAAAAAAAAAAAAAAAA",
            "version: 0\ntopic_id: ?",
        ] {
            let file = fs.open(&dir.join(PARTITION_METADATA_FILE), Open::Truncate).unwrap();
            file.write_all_at(&mut [IoSlice::new(text.as_bytes())], 0).unwrap();
            let error = read(&fs, dir).unwrap_err();
            assert!(matches!(error, PartitionMetadataError::Damaged { .. }), "{text:?}");
        }
    }
}
