//! Look-ups by time and what else a whole log answers, on small cases.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panic")]

mod support;

use std::path::Path;
use std::sync::Arc;

use broker_protocol::quantity::{BrokerId, LeaderEpoch, Offset, TimestampMs};
use broker_protocol::record::batch::{Batch, BatchHeader};
use broker_protocol::record::legacy::{MessageFields, write_message};
use broker_protocol::topic_partition::TopicPartition;
use broker_protocol::uuid::Uuid;
use broker_storage::fs::faulty::{Failure, FaultyFs};
use broker_storage::fs::real::RealFs;
use broker_storage::fs::{Fs, Open};
use broker_storage::log::Log;
use broker_storage::log_dir::{Identity, LogDir, NewLog, OpenError};
use support::{
    DIR, NOW, append, batch, config, create, load, load_one, open_dir, partition, read_all,
};

fn memory() -> Arc<dyn Fs> {
    Arc::new(FaultyFs::new(5))
}

/// A log of 40 batches of two records; batch `n` has the timestamp `100 n`, except one straggler.
fn timed(fs: &Arc<dyn Fs>) -> (LogDir, Log) {
    let config = config(&[("segment.bytes", "1000"), ("index.interval.bytes", "100")]);
    let dir = open_dir(fs, Path::new(DIR));
    let mut log = create(&dir, &config);
    for number in 0..40_i64 {
        let timestamp = if number == 20 { 50 } else { 100 * number };
        append(&mut log, &[batch(2, 40, number as u8, timestamp)], 0).unwrap();
    }
    assert!(log.segment_count() > 3);
    (dir, log)
}

#[test]
fn the_first_record_at_or_after_a_time_is_found() {
    let fs = memory();
    let (_dir, log) = timed(&fs);
    let end = log.log_end_offset();
    let find = |timestamp: i64| log.offset_for_timestamp(TimestampMs(timestamp), end).unwrap();
    let cases = [
        (0, Some((0, 0))),
        (1, Some((100, 2))),
        (1500, Some((1500, 30))),
        (1999, Some((2100, 42))),
        (3900, Some((3900, 78))),
        (3901, None),
    ];
    for (timestamp, expected) in cases {
        let expected = expected
            .map(|(timestamp, offset)| (TimestampMs(timestamp), Offset(offset), LeaderEpoch(0)));
        assert_eq!(find(timestamp), expected, "{timestamp}");
    }
    let below = log.offset_for_timestamp(TimestampMs(3000), Offset(60)).unwrap();
    assert_eq!(below, None, "not above the bound");
    let latest = log.max_timestamp_offset().unwrap();
    assert_eq!(latest, Some((TimestampMs(3900), Offset(78), LeaderEpoch(0))));
}

#[test]
fn missing_and_wrong_indexes_are_rebuilt_even_after_a_clean_stop() {
    let fs = memory();
    let (dir, mut log) = timed(&fs);
    let config = log.config().clone();
    let before = read_all(&log, Offset(0), 500);
    log.close().unwrap();
    dir.mark_clean_shutdown(7).unwrap();
    drop((log, dir));
    let partition_dir = Path::new(DIR).join("orders-0");
    let names: Vec<_> = fs.list(&partition_dir).unwrap().into_iter().map(|e| e.name).collect();
    for (number, name) in names.iter().filter(|name| name.contains("index")).enumerate() {
        let path = partition_dir.join(name);
        match number % 3 {
            0 => fs.remove_file(&path).unwrap(),
            1 => fs.open(&path, Open::Write).unwrap().set_len(13).unwrap(),
            _ => {
                let file = fs.open(&path, Open::Write).unwrap();
                let size = file.len().unwrap() as usize;
                file.write_all_at(&mut [std::io::IoSlice::new(&vec![0xff; size])], 0).unwrap();
            }
        }
    }
    let dir = open_dir(&fs, Path::new(DIR));
    assert_eq!(dir.clean_broker_epoch(), Some(7));
    let log = load_one(&dir, &config);
    assert_eq!(read_all(&log, Offset(0), 500), before);
    let found = log.offset_for_timestamp(TimestampMs(1500), log.log_end_offset()).unwrap();
    assert_eq!(found.map(|(_, offset, _)| offset), Some(Offset(30)));
}

/// About as many bytes as the rest of the log has: less for each later offset, all from the start, none from the end.
#[test]
fn what_is_left_from_an_offset_on_is_measured() {
    let fs = memory();
    let (_dir, log) = timed(&fs);
    let (start, end, size) = (log.log_start_offset(), log.log_end_offset(), log.size_in_bytes());
    assert_eq!((log.size_from(start), log.size_from(end)), (size, 0));
    assert_eq!((log.size_from(Offset(-1)), log.size_from(Offset(end.0 + 9))), (size, 0));
    let left: Vec<u64> = (start.0..=end.0).map(|offset| log.size_from(Offset(offset))).collect();
    assert!(left.is_sorted_by(|one, next| one > next));
    // All batches are of one size.
    for (offset, left) in (start.0..).zip(left) {
        let exact = size * (end.0 - offset) as u64 / end.0 as u64;
        assert!(left.abs_diff(exact) <= 1 + size / 100, "{left} of {exact} from {offset}");
    }
}

#[test]
fn a_clean_stop_is_loaded_without_a_scan() {
    let fs = memory();
    let (dir, mut log) = timed(&fs);
    let config = log.config().clone();
    log.close().unwrap();
    let (start, end, size) = (log.log_start_offset(), log.log_end_offset(), log.size_in_bytes());
    dir.mark_clean_shutdown(7).unwrap();
    drop((log, dir));
    let dir = open_dir(&fs, Path::new(DIR));
    let loaded = load(&dir, &config).logs.remove(0);
    assert_eq!(loaded.recovered.scanned_bytes, 0);
    let log = loaded.log;
    assert_eq!((log.log_start_offset(), log.log_end_offset()), (start, end));
    assert_eq!(log.size_in_bytes(), size);
    assert_eq!(log.recovery_point(), end);
    drop((log, dir));
    assert!(!open_dir(&fs, Path::new(DIR)).was_clean(), "the marker is used once");
}

#[test]
fn append_time_is_stamped_and_the_checksum_fits() {
    let fs = memory();
    let dir = open_dir(&fs, Path::new(DIR));
    let mut log = create(&dir, &config(&[("message.timestamp.type", "LogAppendTime")]));
    let appended = append(&mut log, &[batch(3, 40, 1, 77)], 2).unwrap();
    assert_eq!(appended.log_append_time, NOW);
    let bytes = read_all(&log, Offset(0), 1000);
    let header = BatchHeader::parse(&bytes).unwrap();
    assert!(Batch { header, bytes: &bytes }.check_crc());
    assert!(header.attributes.is_log_append_time());
    assert_eq!(header.max_timestamp, NOW);
    assert_eq!(header.partition_leader_epoch, LeaderEpoch(2));
}

#[test]
fn a_directory_belongs_to_one_process_one_cluster_and_one_broker() {
    let temporary = tempfile::tempdir().unwrap();
    let fs: Arc<dyn Fs> = Arc::new(RealFs);
    let identity = |cluster: &str, broker| Identity {
        cluster_id: cluster.to_owned(),
        broker_id: BrokerId(broker),
    };
    let open = |identity| LogDir::open(fs.clone(), temporary.path(), &identity, NOW);
    let held = open(identity("a", 1)).unwrap();
    let look = |broker| LogDir::look(&*fs, temporary.path(), BrokerId(broker), None);
    assert!(matches!(open(identity("a", 1)), Err(OpenError::Locked { .. })));
    assert!(matches!(look(1), Err(OpenError::Locked { .. })));
    drop(held);
    assert!(matches!(look(2), Err(OpenError::ForeignBroker { .. })));
    look(1).unwrap();
    assert!(matches!(open(identity("b", 1)), Err(OpenError::ForeignCluster { .. })));
    assert!(matches!(open(identity("a", 2)), Err(OpenError::ForeignBroker { .. })));
    open(identity("a", 1)).unwrap();
}

/// On a real disk, since only that has space to take.
#[test]
fn a_preallocated_segment_has_its_space_from_the_first_batch_until_it_is_rolled() {
    use std::os::unix::fs::MetadataExt;
    const SEGMENT_BYTES: u64 = 1 << 20;
    let target = tempfile::tempdir().unwrap();
    let fs: Arc<dyn Fs> = Arc::new(RealFs);
    let taken = |base: u64| {
        let path = target.path().join(format!("orders-0/{base:020}.log"));
        let facts = path.metadata().unwrap();
        (facts.len(), facts.blocks() * 512)
    };
    let text = SEGMENT_BYTES.to_string();
    for (preallocate, least) in [("true", SEGMENT_BYTES), ("false", 0)] {
        let keys = [("segment.bytes", text.as_str()), ("preallocate", preallocate)];
        let dir = open_dir(&fs, target.path());
        let mut log = create(&dir, &config(&keys));
        append(&mut log, &[batch(1, 100, 1, 5)], 0).unwrap();
        let (size, space) = taken(0);
        assert!(size < 200 && space >= least, "{preallocate}: {size} bytes take {space}");
        assert!(least > 0 || space < SEGMENT_BYTES, "{preallocate}: {size} bytes take {space}");
        while log.segment_count() == 1 {
            append(&mut log, &[batch(1, 600_000, 1, 5)], 0).unwrap();
        }
        let (size, space) = taken(0);
        assert!(space < size + 65_536, "{preallocate}: {size} bytes take {space} after the roll");
        dir.delete_log(&log).unwrap().purge().unwrap();
    }
}

#[test]
fn a_deleted_log_is_gone_at_once_and_purged_later() {
    let fs = memory();
    let (dir, log) = timed(&fs);
    let config = log.config().clone();
    let slice = log.read(Offset(0), 100, Offset(10), true).unwrap();
    let deleted = dir.delete_log(&log).unwrap();
    let mut again = create(&dir, &config);
    assert_eq!(again.log_end_offset(), Offset(0));
    append(&mut again, &[batch(1, 1, 1, 1)], 0).unwrap();
    let mut bytes = [0; 10];
    slice.file.read_exact_at(&mut bytes, u64::from(slice.position)).unwrap();
    let new = NewLog { partition: partition(), topic_id: None, config: config.clone() };
    dir.create_log(new, NOW).unwrap_err();
    drop(dir);

    let dir = open_dir(&fs, Path::new(DIR));
    let mut loaded = load(&dir, &config);
    assert_eq!(loaded.logs.len(), 1);
    assert_eq!(loaded.deleted.len(), 1);
    assert_eq!(loaded.deleted[0].path(), deleted.path());
    loaded.deleted.remove(0).purge().unwrap();
    assert!(!fs.exists(deleted.path()).unwrap());
}

/// A directory that an old Kafka wrote may hold every format.
#[test]
fn messages_of_old_formats_are_read_indexed_and_recovered() {
    let fs = memory();
    let config = config(&[("segment.bytes", "1000"), ("index.interval.bytes", "100")]);
    let dir = open_dir(&fs, Path::new(DIR));
    let mut log = create(&dir, &config);
    let mut all = Vec::new();
    for number in 0..60_i64 {
        let mut bytes = Vec::new();
        let fields = MessageFields {
            offset: Offset(number * 2),
            timestamp: TimestampMs(1000 + number),
            log_append_time: false,
            key: None,
            value: Some(&[7; 40]),
        };
        write_message(&mut bytes, i8::from(number >= 30), &fields);
        log.append_as_follower(&bytes, LeaderEpoch(1000), NOW).unwrap().unwrap();
        all.push((number * 2, bytes));
    }
    assert!(log.segment_count() > 3);
    let check = |log: &Log| {
        assert_eq!(log.log_end_offset(), Offset(119));
        for (offset, bytes) in &all {
            for wanted in [*offset - 1, *offset] {
                let start = Offset(wanted.max(0));
                let slice = log.read(start, bytes.len() as u32, Offset(119), true).unwrap();
                let mut found = vec![0; slice.size as usize];
                slice.file.read_exact_at(&mut found, u64::from(slice.position)).unwrap();
                assert_eq!(&found, bytes, "from {start}");
            }
        }
        let found = log.offset_for_timestamp(TimestampMs(1045), Offset(119)).unwrap();
        assert_eq!(found.map(|(_, offset, _)| offset), Some(Offset(90)));
    };
    check(&log);
    log.flush().unwrap();
    drop((log, dir));
    let dir = open_dir(&fs, Path::new(DIR));
    check(&load_one(&dir, &config));
}

#[test]
fn leftovers_of_compaction_and_deletion_are_completed_or_removed() {
    let fs = memory();
    let (dir, mut log) = timed(&fs);
    let config = log.config().clone();
    let before = read_all(&log, Offset(0), 500);
    log.close().unwrap();
    drop((log, dir));
    let path = |name: &str| Path::new(DIR).join("orders-0").join(name);
    let names: Vec<_> = fs.list(&path("")).unwrap().into_iter().map(|entry| entry.name).collect();
    let logs: Vec<_> = names
        .iter()
        .filter(|name| name.split_once('.').is_some_and(|(_, end)| end == "log"))
        .collect();
    // The second segment is whole as a swap file, with its old self still there.
    let second = fs.open(&path(logs[1]), Open::Read).unwrap();
    let mut bytes = vec![0; second.len().unwrap() as usize];
    second.read_exact_at(&mut bytes, 0).unwrap();
    let write = |name: &str, bytes: &[u8]| {
        let file = fs.open(&path(name), Open::Create).unwrap();
        file.write_all_at(&mut [std::io::IoSlice::new(bytes)], 0).unwrap();
    };
    write(&format!("{}.swap", logs[1]), &bytes);
    write(logs[1], b"old bytes that the swap file replaces");
    // The third was not finished, so its swap and cleaned files are worthless.
    write(&format!("{}.swap", logs[2]), b"junk");
    write(&format!("{}.cleaned", logs[2]), b"junk");
    write(&format!("{}.deleted", logs[0]), b"junk");
    write("00000000000000009999.index", b"no such segment");

    let dir = open_dir(&fs, Path::new(DIR));
    let log = load_one(&dir, &config);
    assert_eq!(read_all(&log, Offset(0), 500), before);
    let names: Vec<_> = fs.list(&path("")).unwrap().into_iter().map(|entry| entry.name).collect();
    let leftover = [".swap", ".cleaned", ".deleted", "9999.index"];
    assert!(!names.iter().any(|name| leftover.iter().any(|end| name.ends_with(end))), "{names:?}");
}

#[test]
fn closing_what_nobody_touched_does_nothing() {
    let disk = FaultyFs::new(5);
    let fs: Arc<dyn Fs> = Arc::new(disk.clone());
    let (dir, mut log) = timed(&fs);
    let config = log.config().clone();
    log.close().unwrap();
    dir.mark_clean_shutdown(1).unwrap();
    drop((log, dir));
    let dir = open_dir(&fs, Path::new(DIR));
    let mut log = load_one(&dir, &config);
    let operations = disk.operations();
    log.close().unwrap();
    assert_eq!(disk.operations(), operations);
    append(&mut log, &[batch(1, 1, 1, 1)], 0).unwrap();
    log.close().unwrap();
    assert!(disk.operations() > operations);
}

#[test]
fn old_clients_are_told_where_segments_start() {
    let fs = memory();
    let (_dir, log) = timed(&fs);
    let latest = log.offsets_before(None, 3).unwrap();
    assert_eq!(latest[0], Offset(80));
    assert!(latest.len() == 3 && latest[1] > latest[2]);
    let all = log.offsets_before(Some(NOW), 100).unwrap();
    assert_eq!(all.len(), log.segment_count());
    assert_eq!(all.last(), Some(&Offset(0)));
    assert_eq!(log.offsets_before(Some(TimestampMs(-1)), 5).unwrap(), []);
}

/// Of several logs of which one does not fit none is left to be in the way of the next try.
#[test]
fn logs_that_do_not_fit_on_the_disk_can_be_created_once_they_do() {
    let faulty = FaultyFs::new(1);
    let fs: Arc<dyn Fs> = Arc::new(faulty.clone());
    let dir = open_dir(&fs, Path::new(DIR));
    let config = config(&[]);
    let news = || {
        let new = |partition| NewLog {
            partition: TopicPartition { topic: "orders".into(), partition },
            topic_id: Some(Uuid::from_bytes([7; 16])),
            config: config.clone(),
        };
        (0..3).map(new).collect::<Vec<_>>()
    };
    for step in 0.. {
        faulty.fail_from(faulty.operations() + step, Failure::Full, true);
        let created = dir.create_logs(news(), NOW);
        faulty.heal();
        if let Ok(logs) = created {
            assert!(step > 3, "nothing has failed");
            assert_eq!(logs.len(), 3);
            return;
        }
        let left = fs.list(Path::new(DIR)).unwrap();
        let left: Vec<_> = left.iter().filter(|entry| entry.name.starts_with("orders")).collect();
        assert!(left.is_empty(), "step {step}: {left:?}");
    }
}
