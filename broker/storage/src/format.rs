//! Names of files and directories, as Kafka gives them.
//!
//! A segment's files carry its base offset in twenty digits and a suffix that says what they hold; a
//! second suffix says in which step of being made or removed they are. A log's directory is
//! `<topic>-<partition>`, with `.<id>-delete` or `.<id>-future` behind it while it leaves or moves.
//!
//! Pure: no I/O. Names that do not parse belong to somebody else and are left alone.
//! Source: Kafka 3.9 `LogFileUtils` and `LocalLog`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use broker_protocol::quantity::Offset;
use broker_protocol::topic_partition::TopicPartition;

/// Suffix of the record batches themselves.
pub const LOG_SUFFIX: &str = ".log";
/// Suffix of the offset index.
pub const INDEX_SUFFIX: &str = ".index";
/// Suffix of the time index.
pub const TIME_INDEX_SUFFIX: &str = ".timeindex";
/// Suffix of the index of aborted transactions.
pub const TXN_INDEX_SUFFIX: &str = ".txnindex";
/// Suffix of a snapshot of the producers' states; its offset is exclusive.
pub const SNAPSHOT_SUFFIX: &str = ".snapshot";

/// Second suffix of a file that waits for its removal.
pub const DELETED_SUFFIX: &str = ".deleted";
/// Second suffix of a file that compaction is still writing: worthless after a crash.
pub const CLEANED_SUFFIX: &str = ".cleaned";
/// Second suffix of a compacted file that is whole and about to replace its sources.
pub const SWAP_SUFFIX: &str = ".swap";
/// Second suffix of a file that is being written to replace another.
pub const TEMPORARY_SUFFIX: &str = ".tmp";

/// Marks a directory whose last stop was clean; removed as soon as it is opened.
pub const CLEAN_SHUTDOWN_FILE: &str = ".kafka_cleanshutdown";
/// The file by whose lock one process owns a directory.
pub const LOCK_FILE: &str = ".lock";

/// File systems allow no longer names.
const NAME_LENGTH_MAX: usize = 255;
/// Enough for every `i64`, so that names sort as offsets do.
const OFFSET_DIGITS: usize = 20;

const DELETE_DIR_SUFFIX: &str = "-delete";
const FUTURE_DIR_SUFFIX: &str = "-future";
const STRAY_DIR_SUFFIX: &str = "-stray";

/// Returns the name of a segment's file, such as `00000000000000000042.log`.
///
/// # Panics
/// If the offset is negative.
pub fn file_name(offset: Offset, suffix: &str) -> String {
    assert!(offset.0 >= 0, "files are named by offsets, which are never negative");
    format!("{:0width$}{suffix}", offset.0, width = OFFSET_DIGITS)
}

/// Returns the path of a segment's file.
pub fn file_path(dir: &Path, offset: Offset, suffix: &str) -> PathBuf {
    dir.join(file_name(offset, suffix))
}

/// Splits a file name into its offset and everything after the digits, dot included.
///
/// `None` for names that no log gives.
pub fn parse_file_name(name: &str) -> Option<(Offset, &str)> {
    let digits = name.find('.')?;
    let (offset, suffix) = name.split_at(digits);
    if digits != OFFSET_DIGITS || !offset.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some((Offset(offset.parse().ok()?), suffix))
}

/// What a log's directory is, by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DirKind {
    /// The log itself.
    Current,
    /// Renamed for removal, which may be going on.
    Delete,
    /// A copy under way from another log directory.
    Future,
    /// A log that the cluster does not know; kept, not served.
    Stray,
}

/// Returns the name of a log's directory.
pub fn dir_name(partition: &TopicPartition) -> String {
    format!("{}-{}", partition.topic, partition.partition)
}

/// Returns the name under which a log waits for its removal.
///
/// `id` makes it unique: 32 hexadecimal digits in Kafka. A long topic is cut to fit the file system.
pub fn delete_dir_name(partition: &TopicPartition, id: &str) -> String {
    suffixed_dir_name(partition, id, DELETE_DIR_SUFFIX)
}

/// Returns the name of a copy of a log that is still being filled.
pub fn future_dir_name(partition: &TopicPartition, id: &str) -> String {
    suffixed_dir_name(partition, id, FUTURE_DIR_SUFFIX)
}

/// Returns the name under which a log is kept that no topic of the cluster has any more.
pub fn stray_dir_name(partition: &TopicPartition, id: &str) -> String {
    suffixed_dir_name(partition, id, STRAY_DIR_SUFFIX)
}

fn suffixed_dir_name(partition: &TopicPartition, id: &str, suffix: &str) -> String {
    assert!(!id.contains(['-', '.', '/']), "the id must not look like a part of the name");
    let tail = format!("-{}.{id}{suffix}", partition.partition);
    let topic = &partition.topic;
    let kept = topic.len().min(NAME_LENGTH_MAX.saturating_sub(tail.len()));
    // Topic names are ASCII, so any cut is on a character's border.
    let name = format!("{}{tail}", topic.get(..kept).unwrap_or_default());
    assert!(name.len() <= NAME_LENGTH_MAX, "longer names fail in rename");
    name
}

/// Returns which partition a directory holds, and in which state, or `None` if it holds none.
///
/// The topic of a `Delete` directory may have been cut.
pub fn parse_dir_name(name: &str) -> Option<(TopicPartition, DirKind)> {
    let suffixes = [
        (DELETE_DIR_SUFFIX, DirKind::Delete),
        (FUTURE_DIR_SUFFIX, DirKind::Future),
        (STRAY_DIR_SUFFIX, DirKind::Stray),
    ];
    for (suffix, kind) in suffixes {
        // A topic may itself end in `-delete`; its directory then ends in a partition's digits.
        if let Some((log, _id)) = name.strip_suffix(suffix).and_then(|rest| rest.rsplit_once('.')) {
            return Some((parse_partition(log)?, kind));
        }
    }
    Some((parse_partition(name)?, DirKind::Current))
}

fn parse_partition(name: &str) -> Option<TopicPartition> {
    let (topic, partition) = name.rsplit_once('-')?;
    let digits = !partition.is_empty() && partition.bytes().all(|byte| byte.is_ascii_digit());
    if topic.is_empty() || !digits {
        return None;
    }
    Some(TopicPartition { topic: Arc::from(topic), partition: partition.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn partition(topic: &str, partition: i32) -> TopicPartition {
        TopicPartition { topic: Arc::from(topic), partition }
    }

    #[test]
    fn file_names_carry_twenty_digits_and_parse_back() {
        assert_eq!(file_name(Offset(42), LOG_SUFFIX), "00000000000000000042.log");
        assert_eq!(file_name(Offset(i64::MAX), ".index"), "09223372036854775807.index");
        assert_eq!(
            parse_file_name("00000000000000000042.log.swap"),
            Some((Offset(42), ".log.swap"))
        );
        for foreign in ["42.log", "leader-epoch-checkpoint", "0000000000000000004x.log", ".log", ""]
        {
            assert_eq!(parse_file_name(foreign), None, "{foreign}");
        }
        assert_eq!(parse_file_name("99999999999999999999.log"), None, "beyond an i64");
    }

    #[test]
    fn directory_names_parse_back_whatever_the_topic_is_called() {
        let cases = [
            ("orders-3", Some((partition("orders", 3), DirKind::Current))),
            ("a-b.c-delete-0", Some((partition("a-b.c-delete", 0), DirKind::Current))),
            ("t-1.0123abcd-delete", Some((partition("t", 1), DirKind::Delete))),
            ("t.x-1.0123abcd-future", Some((partition("t.x", 1), DirKind::Future))),
            ("t-1.0123abcd-stray", Some((partition("t", 1), DirKind::Stray))),
            ("lost+found", None),
            ("-1", None),
            ("t-", None),
            ("t-x", None),
            ("t-99999999999", None),
        ];
        for (name, expected) in cases {
            assert_eq!(parse_dir_name(name), expected, "{name}");
        }
    }

    #[test]
    fn a_long_topic_is_cut_so_that_its_delete_name_fits() {
        let long = partition(&"x".repeat(249), 7);
        let id = "0123456789abcdef0123456789abcdef";
        let name = delete_dir_name(&long, id);
        assert_eq!(name.len(), NAME_LENGTH_MAX);
        assert!(name.ends_with("-7.0123456789abcdef0123456789abcdef-delete"));
        assert_eq!(parse_dir_name(&name).map(|(_, kind)| kind), Some(DirKind::Delete));
        assert_eq!(delete_dir_name(&partition("t", 0), id), format!("t-0.{id}-delete"));
        assert_eq!(future_dir_name(&partition("t", 0), id), format!("t-0.{id}-future"));
        assert_eq!(dir_name(&partition("t", 0)), "t-0");
    }
}
