//! What is done to logs from time to time, begun by a change of the topic's settings.

use std::fs;
use std::path::Path;

use broker_protocol::error_code::ErrorCode;

use super::client::{Client, await_that, beside_broker};
use super::topic::{alter_topic, batches, create, one_record, produce, start_offset};

/// Every interval as short as it may be.
const OFTEN: &[&str] = &[
    "log.initial.task.delay.ms=1",
    "log.retention.check.interval.ms=1",
    "log.flush.scheduler.interval.ms=1",
    "log.flush.offset.checkpoint.interval.ms=1",
    "log.flush.start.offset.checkpoint.interval.ms=1",
    "replica.high.watermark.checkpoint.interval.ms=1",
    "log.cleaner.backoff.ms=1",
];

/// A batch of [`fill`] fills a segment of this size.
const SEGMENT: (&str, &str) = ("segment.bytes", "200");

/// Appends `count` batches, each of which is a segment.
fn fill(client: &mut Client, topic: &str, count: usize) {
    for _ in 0..count {
        assert_eq!(produce(client, topic, one_record(Some(b"key"), 100)), ErrorCode::None);
    }
}

/// The number of files of the partition whose name ends in this.
fn files(dir: &Path, ending: &str) -> usize {
    let files = fs::read_dir(dir.join("t-0")).unwrap();
    let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.ends_with(ending)).count()
}

/// What a checkpoint says of the partition.
fn checkpoint(dir: &Path, file: &str) -> Option<i64> {
    // Replaced as a whole; before its first writing it is not there.
    let text = fs::read_to_string(dir.join(file)).ok()?;
    text.lines().find_map(|line| line.strip_prefix("t 0 ")?.parse().ok())
}

#[tokio::test]
async fn segments_that_a_new_retention_ms_makes_old_vanish_with_their_files() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_owned();
    beside_broker(dir.path(), OFTEN, move |address| {
        let client = &mut Client::connect(address);
        create(client, "t", &[SEGMENT, ("file.delete.delay.ms", "0")]);
        fill(client, "t", 5);
        assert_eq!((start_offset(client, "t"), files(&path, ".log")), (0, 5));
        alter_topic(client, "t", "retention.ms", "1");
        await_that("all records are deleted", || start_offset(client, "t") == 5);
        await_that("their files are gone", || {
            files(&path, ".log") == 1 && files(&path, ".deleted") == 0
        });
        await_that("the start is written down", || {
            checkpoint(&path, "log-start-offset-checkpoint") == Some(5)
        });
    })
    .await;
}

#[tokio::test]
async fn segments_beyond_a_new_retention_bytes_vanish() {
    let dir = tempfile::tempdir().unwrap();
    beside_broker(dir.path(), OFTEN, |address| {
        let client = &mut Client::connect(address);
        create(client, "t", &[SEGMENT]);
        fill(client, "t", 5);
        assert_eq!(start_offset(client, "t"), 0);
        alter_topic(client, "t", "retention.bytes", "200");
        // What is left is never less than the setting: two segments of less than 200 bytes each.
        await_that("two segments are left", || start_offset(client, "t") == 3);
    })
    .await;
}

#[tokio::test]
async fn a_new_flush_ms_has_what_nobody_waits_for_synced() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_owned();
    beside_broker(dir.path(), OFTEN, move |address| {
        let client = &mut Client::connect(address);
        let recovery_point = || checkpoint(&path, "recovery-point-offset-checkpoint");
        create(client, "t", &[("ottla.durability", "replicated"), ("flush.ms", "86400000")]);
        fill(client, "t", 1);
        await_that("the high watermark is written down", || {
            checkpoint(&path, "replication-offset-checkpoint") == Some(1)
        });
        await_that("the recovery point is written down", || recovery_point().is_some());
        assert_eq!(recovery_point(), Some(0), "synced before its time");
        alter_topic(client, "t", "flush.ms", "1");
        await_that("the record is synced", || recovery_point() == Some(1));
    })
    .await;
}

#[tokio::test]
async fn a_topic_that_becomes_compacted_loses_older_values_of_a_key() {
    let dir = tempfile::tempdir().unwrap();
    beside_broker(dir.path(), OFTEN, |address| {
        let client = &mut Client::connect(address);
        create(client, "t", &[SEGMENT, ("min.cleanable.dirty.ratio", "0")]);
        fill(client, "t", 5);
        assert_eq!(batches(client, "t"), [0, 1, 2, 3, 4]);
        alter_topic(client, "t", "cleanup.policy", "compact");
        // The segment that is written to stays as it is.
        await_that("older values are gone", || batches(client, "t") == [3, 4]);
        assert_eq!(start_offset(client, "t"), 0);
    })
    .await;
}
