//! Compaction of whole logs: against a model, over restarts, and with the disk breaking at every step.
#![allow(clippy::unwrap_used, reason = "tests fail by panic")]

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use broker_config::topic::TopicConfig;
use broker_protocol::quantity::{Offset, TimestampMs};
use broker_protocol::record::batch::{Batch, BatchHeader};
use broker_protocol::record::builder::BatchBuilder;
use broker_protocol::record::compression::Compression;
use broker_storage::cleaner::{
    CleanError, CleanedSegment, MapLimit, Report, Round, Settings, clean,
};
use broker_storage::fs::Fs;
use broker_storage::fs::faulty::{Failure, FaultyFs};
use broker_storage::log::{Log, LogError};
use proptest::prelude::*;

mod support;
use support::{DIR, NOW, append, config, create, idempotent, load_one, open_dir, read_all};

const MAP_SIZE: usize = 1 << 20;
const LIMIT: MapLimit = MapLimit { size_max: MAP_SIZE, load_factor: 0.9 };
const RETENTION_MS: i64 = 1000;

/// Key and value of a record; no value is a tombstone.
type Record = (u8, Option<u8>);

fn compacted() -> Arc<TopicConfig> {
    config(&[
        ("cleanup.policy", "compact"),
        ("segment.bytes", "400"),
        ("segment.index.bytes", "1000"),
        ("index.interval.bytes", "0"),
        ("min.cleanable.dirty.ratio", "0"),
        ("delete.retention.ms", "1000"),
    ])
}

fn keyed(records: &[Record], codec: Compression) -> Vec<u8> {
    let mut builder = BatchBuilder::new(Offset(0), codec);
    for (key, value) in records {
        let value = value.map(|value| vec![value; 20]);
        builder.push(NOW, Some(&[*key]), value.as_deref());
    }
    builder.finish().unwrap()
}

/// Takes the log's lock for a swap, as a partition does.
struct Locked<'a> {
    log: &'a mut Log,
    failure: Option<LogError>,
}

impl Round for Locked<'_> {
    fn progress(&mut self, _bytes: u64) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }

    fn swap(&mut self, segment: CleanedSegment) -> io::Result<ControlFlow<()>> {
        match self.log.replace_segments(&segment, NOW) {
            Ok(Some(deleted)) => {
                deleted.purge()?;
                Ok(ControlFlow::Continue(()))
            }
            Ok(None) => Ok(ControlFlow::Break(())),
            Err(error) => {
                self.failure = Some(error);
                Err(io::ErrorKind::Other.into())
            }
        }
    }
}

fn compact(
    log: &mut Log,
    cleaned_to: Option<Offset>,
    map_size: usize,
    now: TimestampMs,
) -> Result<Report, CleanError> {
    let cleanable = log.cleanable(log.log_end_offset(), cleaned_to, now).unwrap();
    let Ok(snapshot) = log.snapshot_for_cleaner(cleanable) else {
        return Err(CleanError::Stopped);
    };
    let limit = MapLimit { size_max: map_size, ..LIMIT };
    clean(&snapshot, limit, now, &mut Locked { log, failure: None })
}

fn batches(log: &Log) -> Vec<(BatchHeader, Vec<u8>)> {
    let bytes = read_all(log, log.log_start_offset(), 1 << 20);
    let mut rest = &bytes[..];
    let mut batches = Vec::new();
    while let Ok(header) = BatchHeader::parse(rest) {
        let (batch, after) = rest.split_at(header.size_in_bytes());
        assert!(Batch { header, bytes: batch }.check_crc());
        batches.push((header, batch.to_vec()));
        rest = after;
    }
    batches
}

fn records(log: &Log) -> BTreeMap<i64, Record> {
    let mut records = BTreeMap::new();
    for (header, bytes) in batches(log) {
        let batch = Batch { header, bytes: &bytes };
        for record in &batch.records(1 << 20).unwrap() {
            let record = record.unwrap();
            let (key, value) = (record.key.unwrap()[0], record.value.map(|value| value[0]));
            assert_eq!(record.timestamp, NOW, "timestamps survive a delete horizon");
            records.insert(record.offset.0, (key, value));
        }
    }
    records
}

fn new_log(fs: &FaultyFs) -> Log {
    let fs: Arc<dyn Fs> = Arc::new(fs.clone());
    fs.create_dir_all(Path::new(DIR)).unwrap();
    fs.sync_dir(Path::new("/")).unwrap();
    create(&open_dir(&fs, Path::new(DIR)), &compacted())
}

/// The active segment is never compacted: it is closed in time for `max.compaction.lag.ms`.
#[test]
fn the_longest_lag_bounds_the_age_of_the_active_segment() {
    for (policy, expected) in [("compact", true), ("compact,delete", true), ("delete", false)] {
        let fs: Arc<dyn Fs> = Arc::new(FaultyFs::new(1));
        fs.create_dir_all(Path::new(DIR)).unwrap();
        let config = config(&[("cleanup.policy", policy), ("max.compaction.lag.ms", "1000")]);
        let mut log = create(&open_dir(&fs, Path::new(DIR)), &config);
        append(&mut log, &[keyed(&[(1, Some(1))], Compression::None)], 0).unwrap();
        assert!(!log.roll_if_due(TimestampMs(NOW.0 + 1000)).unwrap(), "{policy}");
        let is_rolled = log.roll_if_due(TimestampMs(NOW.0 + 1001)).unwrap();
        assert_eq!(is_rolled, expected, "{policy}");
    }
}

/// Method: one dirty segment behind two clean ones, looked at on both sides of each limit.
#[test]
fn a_topic_says_how_old_and_how_dirty_what_is_compacted_must_be() {
    let is_due = |setting: (&str, &str), age_ms: i64| {
        let fs: Arc<dyn Fs> = Arc::new(FaultyFs::new(1));
        fs.create_dir_all(Path::new(DIR)).unwrap();
        let eager = ("min.cleanable.dirty.ratio", "0");
        let mut settings = vec![("cleanup.policy", "compact"), ("segment.bytes", "200"), setting];
        if setting.0 == "min.compaction.lag.ms" {
            settings.push(eager);
        }
        let config = config(&settings);
        let mut log = create(&open_dir(&fs, Path::new(DIR)), &config);
        // Segments of one batch, of one size: two clean, one dirty, one active.
        for _ in 0..4 {
            append(&mut log, &[keyed(&[(1, Some(1)); 4], Compression::None)], 0).unwrap();
        }
        assert_eq!(log.segment_count(), 4);
        log.flush().unwrap();
        let now = TimestampMs(NOW.0 + age_ms);
        let cleanable = log.cleanable(log.log_end_offset(), Some(Offset(8)), now).unwrap();
        cleanable.is_due(&Settings::of(&config))
    };
    let cases = [
        (("min.compaction.lag.ms", "1000"), 999, false),
        (("min.compaction.lag.ms", "1000"), 1000, true),
        (("max.compaction.lag.ms", "1000"), 1000, false),
        (("max.compaction.lag.ms", "1000"), 1001, true),
        (("min.cleanable.dirty.ratio", "0.34"), 0, false),
        (("min.cleanable.dirty.ratio", "0.33"), 0, true),
    ];
    for (setting, age_ms, expected) in cases {
        assert_eq!(is_due(setting, age_ms), expected, "{setting:?} after {age_ms} ms");
    }
}

/// Checks a log against all that was ever appended: nothing is invented, the newest record of each key
/// is there, and below `cleaned_to` nothing but the newest.
fn check(log: &Log, appended: &[Record], cleaned_to: Option<Offset>) {
    let found = records(log);
    for (offset, record) in &found {
        assert_eq!(appended[*offset as usize], *record, "offset {offset}");
    }
    let newest = |end: usize| -> BTreeSet<i64> {
        let by_key: BTreeMap<u8, i64> =
            appended[..end].iter().zip(0..).map(|((key, _), offset)| (*key, offset)).collect();
        by_key.into_values().collect()
    };
    for offset in newest(appended.len()) {
        assert!(found.contains_key(&offset), "the newest record of a key is gone: {offset}");
    }
    if let Some(Offset(end)) = cleaned_to {
        let kept: BTreeSet<i64> = found.range(..end).map(|(offset, _)| *offset).collect();
        let clean = newest(end as usize);
        assert!(kept.is_subset(&clean), "superseded: {:?}", kept.difference(&clean));
    }
}

fn codec(number: usize) -> Compression {
    use Compression::{Gzip, Lz4, None, Snappy, Zstd};
    [None, Gzip, Snappy, Lz4, Zstd][number]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..Default::default() })]

    #[test]
    fn the_newest_record_of_each_key_survives_any_number_of_rounds(
        steps in prop::collection::vec(
            (prop::collection::vec((0..8_u8, prop::option::of(any::<u8>())), 1..6), 0..5_usize, 0..6_u8),
            1..60,
        ),
    ) {
        let fs = FaultyFs::new(1);
        let mut log = new_log(&fs);
        let mut appended = Vec::new();
        let mut cleaned_to = None;
        for (batch, number, what) in steps {
            append(&mut log, &[keyed(&batch, codec(number))], 0).unwrap();
            appended.extend(batch);
            if what == 0 {
                log.flush().unwrap();
                let report = compact(&mut log, cleaned_to, MAP_SIZE, NOW).unwrap();
                prop_assert!(Some(report.cleaned_to) >= cleaned_to);
                cleaned_to = Some(report.cleaned_to);
                check(&log, &appended, cleaned_to);
            }
        }
        let (size, end) = (log.size_in_bytes(), log.log_end_offset());
        log.close().unwrap();
        let crashed: Arc<dyn Fs> = Arc::new(fs.crash());
        let log = load_one(&open_dir(&crashed, Path::new(DIR)), &compacted());
        prop_assert_eq!((log.size_in_bytes(), log.log_end_offset()), (size, end));
        check(&log, &appended, cleaned_to);
    }
}

#[test]
fn a_round_whose_map_fills_goes_on_in_the_next() {
    let mut log = new_log(&FaultyFs::new(1));
    let mut appended = Vec::new();
    for first in (0..200).step_by(10).chain((0..200).step_by(10)) {
        let batch: Vec<Record> = (first..first + 10).map(|key| (key, Some(1))).collect();
        append(&mut log, &[keyed(&batch, Compression::None)], 0).unwrap();
        appended.extend(batch);
    }
    log.flush().unwrap();
    let mut cleaned_to = None;
    let mut rounds = 0;
    loop {
        let report = compact(&mut log, cleaned_to, 0, NOW).unwrap();
        check(&log, &appended, Some(report.cleaned_to));
        rounds += 1;
        if cleaned_to == Some(report.cleaned_to) {
            break;
        }
        assert!(report.key_count <= 57);
        cleaned_to = Some(report.cleaned_to);
    }
    assert!(rounds > 4, "{rounds}");
    assert!(cleaned_to.unwrap().0 > 380);
}

/// Method: a value and its tombstone, then rounds before and after `delete.retention.ms`, between which
/// other records make the log dirty.
#[test]
fn a_tombstone_stays_for_its_retention_and_takes_its_value_with_it() {
    let mut log = new_log(&FaultyFs::new(1));
    append(&mut log, &[keyed(&[(1, Some(1)), (2, Some(2))], Compression::Zstd)], 0).unwrap();
    append(&mut log, &[keyed(&[(1, None), (3, Some(3))], Compression::Zstd)], 0).unwrap();
    let fill = |log: &mut Log| {
        for _ in 0..10 {
            append(log, &[keyed(&[(9, Some(9)); 4], Compression::None)], 0).unwrap();
        }
        log.flush().unwrap();
    };
    let mut cleaned_to = None;
    for (after_ms, expected) in [(0, true), (RETENTION_MS - 1, true), (RETENTION_MS, false)] {
        fill(&mut log);
        let now = TimestampMs(NOW.0 + after_ms);
        cleaned_to = Some(compact(&mut log, cleaned_to, MAP_SIZE, now).unwrap().cleaned_to);
        let found = records(&log);
        assert_eq!(found.get(&0), None, "the value is superseded");
        assert_eq!(found.get(&1), Some(&(2, Some(2))));
        assert_eq!(found.contains_key(&2), expected, "the tombstone after {after_ms} ms");
        assert_eq!(found.get(&3), Some(&(3, Some(3))));
    }
}

#[test]
fn the_last_batch_of_a_producer_stays_as_an_empty_one() {
    let fs = FaultyFs::new(1);
    let mut log = new_log(&fs);
    // Without a key, a record does not belong into a compacted log, and goes.
    append(&mut log, &[idempotent(7, 0, 1)], 0).unwrap();
    append(&mut log, &[idempotent(7, 1, 2)], 0).unwrap();
    for _ in 0..10 {
        append(&mut log, &[keyed(&[(9, Some(9)); 4], Compression::None)], 0).unwrap();
    }
    log.flush().unwrap();
    compact(&mut log, None, MAP_SIZE, NOW).unwrap();
    let left: Vec<BatchHeader> = batches(&log)
        .into_iter()
        .map(|(header, _)| header)
        .filter(|header| header.producer_id == 7)
        .collect();
    assert_eq!(left.len(), 1);
    assert_eq!((left[0].base_sequence, left[0].records_count), (1, 0));
    log.close().unwrap();
    drop(log);
    let fs: Arc<dyn Fs> = Arc::new(fs.crash());
    let mut log = load_one(&open_dir(&fs, Path::new(DIR)), &compacted());
    assert!(append(&mut log, &[idempotent(7, 1, 2)], 0).unwrap().duplicate);
    append(&mut log, &[idempotent(7, 2, 3)], 0).unwrap();
}

#[test]
fn a_segment_that_left_the_log_meanwhile_stays_away() {
    let mut log = new_log(&FaultyFs::new(1));
    for _ in 0..20 {
        append(&mut log, &[keyed(&[(9, Some(9)); 4], Compression::None)], 0).unwrap();
    }
    log.flush().unwrap();
    let cleanable = log.cleanable(log.log_end_offset(), None, NOW).unwrap();
    let snapshot = log.snapshot_for_cleaner(cleanable).unwrap();
    log.advance_log_start_offset(log.log_end_offset());
    log.remove_old_segments().unwrap();
    let (size, count) = (log.size_in_bytes(), log.segment_count());
    let stopped = clean(&snapshot, LIMIT, NOW, &mut Locked { log: &mut log, failure: None });
    assert!(matches!(stopped, Err(CleanError::Stopped)), "{stopped:?}");
    assert_eq!((log.size_in_bytes(), log.segment_count()), (size, count));
}

#[test]
fn a_damaged_batch_ends_the_round_and_is_never_given_a_new_checksum() {
    let fs = FaultyFs::new(1);
    let mut log = new_log(&fs);
    for _ in 0..20 {
        append(&mut log, &[keyed(&[(9, Some(9)); 4], Compression::None)], 0).unwrap();
    }
    log.flush().unwrap();
    let path = log.dir().join("00000000000000000000.log");
    let file = fs.open(&path, broker_storage::fs::Open::Write).unwrap();
    file.write_all_at(&mut [io::IoSlice::new(&[0xff])], 100).unwrap();
    let error = compact(&mut log, None, MAP_SIZE, NOW).unwrap_err();
    assert!(matches!(error, CleanError::Damaged { position: 0, .. }), "{error:?}");
}

/// Method: a round during which the disk breaks at each operation in turn, then a crash and a restart.
#[test]
fn a_crash_at_any_step_of_a_round_loses_no_key() {
    let prepare = |seed| {
        let fs = FaultyFs::new(seed);
        let mut log = new_log(&fs);
        let mut appended = Vec::new();
        for number in 0..30_u8 {
            let batch = [(number % 5, Some(number)), (number % 7, None), (50, Some(number))];
            append(&mut log, &[keyed(&batch, Compression::None)], 0).unwrap();
            appended.extend(batch);
        }
        log.flush().unwrap();
        (fs, log, appended)
    };
    let (fs, mut log, _) = prepare(0);
    let before = fs.operations();
    compact(&mut log, None, MAP_SIZE, NOW).unwrap();
    let operations = fs.operations() - before;
    assert!(operations > 30, "{operations}");
    for seed in 0..6 {
        for point in 0..=operations {
            let (fs, mut log, appended) = prepare(seed);
            fs.fail_from(fs.operations() + point, Failure::Broken, true);
            let outcome = compact(&mut log, None, MAP_SIZE, NOW);
            assert_eq!(outcome.is_ok(), point == operations, "at {point}: {outcome:?}");
            let crashed: Arc<dyn Fs> = Arc::new(fs.crash());
            let log = load_one(&open_dir(&crashed, Path::new(DIR)), &compacted());
            assert_eq!(log.log_end_offset(), Offset(appended.len() as i64));
            check(&log, &appended, None);
            for entry in crashed.list(log.dir()).unwrap() {
                let left = [".cleaned", ".swap", ".deleted"];
                assert!(!left.iter().any(|suffix| entry.name.ends_with(suffix)), "{}", entry.name);
            }
        }
    }
}
