//! What settings of a topic do to its log, where no other test sees it: `flush.messages`,
//! `index.interval.bytes`, `segment.index.bytes`, `segment.ms`, `segment.jitter.ms`.
#![allow(clippy::unwrap_used, reason = "tests fail by panic")]

mod support;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use broker_protocol::quantity::{LeaderEpoch, TimestampMs};
use broker_protocol::topic_partition::TopicPartition;
use broker_storage::fs::Fs;
use broker_storage::fs::faulty::FaultyFs;
use broker_storage::log_dir::{LogDir, NewLog};
use support::{DIR, NOW, append, batch, config, create, open_dir, stored};

fn new_dir() -> LogDir {
    let fs: Arc<dyn Fs> = Arc::new(FaultyFs::new(5));
    open_dir(&fs, Path::new(DIR))
}

#[test]
fn a_sync_is_asked_for_after_as_many_records_as_flush_messages_says_and_then_counted_anew() {
    let dir = new_dir();
    let settings = [("ottla.durability", "replicated"), ("flush.messages", "5")];
    let mut log = create(&dir, &config(&settings));
    let mut asked = Vec::new();
    for count in [2, 2, 1, 4, 3, 9, 4, 1] {
        let appended = append(&mut log, &[batch(count, 0, 1, NOW.0)], 0).unwrap();
        asked.push(appended.sync.is_some());
    }
    assert_eq!(asked, [false, false, true, false, true, true, false, true]);

    let mut followed = Vec::new();
    for count in [4, 1, 4] {
        let bytes = stored(&batch(count, 0, 1, NOW.0), log.log_end_offset().0, 0);
        let appended = log.append_as_follower(&bytes, LeaderEpoch(1000), NOW).unwrap().unwrap();
        followed.push(appended.sync.is_some());
    }
    assert_eq!(followed, [false, true, false]);
}

/// The age in milliseconds at which a new log's first segment is found too old: by the timestamps of
/// what is appended, and by the clock if nothing is.
fn rolled_at(number: i32, settings: &[(&str, &str)]) -> (i64, i64) {
    let new_log = |dir: &LogDir| {
        let partition = TopicPartition { topic: Arc::from("orders"), partition: number };
        let new = NewLog { partition, topic_id: None, config: config(settings) };
        let mut log = dir.create_log(new, NOW).unwrap();
        append(&mut log, &[batch(1, 0, 1, NOW.0)], 0).unwrap();
        log
    };
    let (busy_dir, idle_dir) = (new_dir(), new_dir());
    let (mut busy, mut idle) = (new_log(&busy_dir), new_log(&idle_dir));
    let by_timestamp = |age: i64| {
        append(&mut busy, &[batch(1, 0, 1, NOW.0 + age)], 0).unwrap();
        busy.segment_count() > 1
    };
    let by_clock = |age: i64| idle.roll_if_due(TimestampMs(NOW.0 + age)).unwrap();
    (first_age(by_timestamp), first_age(by_clock))
}

fn first_age(mut is_rolled: impl FnMut(i64) -> bool) -> i64 {
    (0..1000).find(|age| is_rolled(*age)).unwrap()
}

#[test]
fn a_roll_by_time_comes_earlier_by_at_most_the_jitter_and_not_at_once_in_all_logs() {
    let age = ("segment.ms", "100");
    assert_eq!(rolled_at(0, &[age]), (101, 101), "no jitter");
    for (jitter, earliest) in [("50", 52), ("100", 2), ("9223372036854775807", 2)] {
        let settings = [age, ("segment.jitter.ms", jitter)];
        let mut ages = BTreeSet::new();
        for number in 0..20 {
            let (by_timestamp, by_clock) = rolled_at(number, &settings);
            assert!((earliest..=101).contains(&by_timestamp), "{jitter}: {by_timestamp}");
            assert_eq!(by_timestamp, by_clock, "{jitter}");
            ages.insert(by_timestamp);
        }
        assert!(ages.len() > 5, "{jitter}: {ages:?}");
    }
}

#[test]
fn an_offset_index_has_an_entry_after_as_many_bytes_as_index_interval_bytes_says() {
    let bytes = batch(1, 40, 1, NOW.0);
    let size = bytes.len();
    for (interval, expected) in [(0, 39), (3 * size - 1, 13), (3 * size, 9), (40 * size, 0)] {
        let fs: Arc<dyn Fs> = Arc::new(FaultyFs::new(5));
        let dir = open_dir(&fs, Path::new(DIR));
        let mut log = create(&dir, &config(&[("index.interval.bytes", &interval.to_string())]));
        for _ in 0..40 {
            append(&mut log, std::slice::from_ref(&bytes), 0).unwrap();
        }
        log.close().unwrap();
        let index = log.dir().join("00000000000000000000.index");
        let entries = fs.len(&index).unwrap() / 8;
        assert_eq!(entries, expected, "{interval} bytes");
    }
}

/// Eight bytes an entry, and none of the first batch.
#[test]
fn a_segment_ends_when_its_offset_index_has_segment_index_bytes() {
    let dirs = [new_dir(), new_dir()];
    for (dir, (index_bytes, batches)) in dirs.iter().zip([("80", 11), ("160", 21)]) {
        let settings = [("index.interval.bytes", "0"), ("segment.index.bytes", index_bytes)];
        let mut log = create(dir, &config(&settings));
        for _ in 0..batches {
            append(&mut log, &[batch(1, 0, 1, NOW.0)], 0).unwrap();
        }
        assert_eq!(log.segment_count(), 1, "{index_bytes}");
        append(&mut log, &[batch(1, 0, 1, NOW.0)], 0).unwrap();
        assert_eq!(log.segment_count(), 2, "{index_bytes}");
    }
}
