//! Power losses on the faulty disk, in synced mode: what was committed is there afterwards.
//!
//! Each seed is one run: random appends, rolls and recovery points; some appends are committed by the
//! commit thread, and then the power goes (at every single operation of a broker's life: the server's
//! `replica::tests::power_loss`). What must hold on the disk that is left:
//! * every batch that was committed is there, byte for byte, at its offset;
//! * what follows is a prefix of what was appended, nothing twice, nothing that fails its checksum.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panic")]

mod support;

use std::path::Path;
use std::sync::Arc;

use broker_protocol::quantity::{LeaderEpoch, Offset, TimestampMs};
use broker_protocol::record::batch::{Batch, BatchHeader};
use broker_storage::commit::SyncPoint;
use broker_storage::fs::faulty::{Failure, FaultyFs};
use broker_storage::fs::{Fs, Open};
use broker_storage::log::Log;
use broker_storage::log_dir::LogDir;
use support::{
    DIR, append, batch, commit, config, create, idempotent, load, load_one, open_dir, partition,
    read_all, stored,
};

/// A generator of its own, so that a seed is the whole bug report.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

/// A log, and what it should hold.
struct Run {
    random: Random,
    fs: FaultyFs,
    appended: Vec<u8>,
    committed_size: usize,
    next: i64,
    sequence: i32,
}

impl Run {
    fn append(&mut self, log: &mut Log) -> Option<SyncPoint> {
        let mut batches = Vec::new();
        for _ in 0..=self.random.below(2) {
            let seed = self.random.below(256) as u8;
            batches.push(match self.random.below(3) {
                0 => {
                    self.sequence += 1;
                    idempotent(42, self.sequence - 1, seed)
                }
                _ => {
                    batch(1 + self.random.below(3) as i32, self.random.below(900) as usize, seed, 5)
                }
            });
        }
        let epoch = (self.next / 40) as i32;
        let appended = append(log, &batches, epoch).unwrap();
        for bytes in &batches {
            self.appended.extend(stored(bytes, self.next, epoch));
            self.next = BatchHeader::parse(bytes).unwrap().last_offset().0 + self.next + 1;
        }
        assert_eq!(appended.last_offset.0 + 1, self.next);
        let point = appended.sync.unwrap();
        let wants_commit = self.random.below(3) > 0;
        wants_commit.then_some(point)
    }

    fn until_power_loss(&mut self, dir: &LogDir, mut log: Log) {
        for _ in 0..5 + self.random.below(40) {
            let size = self.appended.len();
            if let Some(point) = self.append(&mut log) {
                commit(dir, point).unwrap();
                assert!(self.appended.len() > size);
                self.committed_size = self.appended.len();
            }
            if self.random.below(10) == 0 {
                log.flush_epochs().unwrap();
                let offsets = [(partition(), log.recovery_point())].into_iter().collect();
                dir.write_recovery_points(&offsets).unwrap();
            }
        }
    }
}

#[test]
fn a_thousand_power_losses_lose_nothing_that_was_committed() {
    let config = config(&[
        ("segment.bytes", "4096"),
        ("index.interval.bytes", "256"),
        ("segment.index.bytes", "512"),
    ]);
    for seed in 1..=1000_u64 {
        let fs = FaultyFs::new(seed);
        let shared: Arc<dyn Fs> = Arc::new(fs.clone());
        let dir = open_dir(&shared, Path::new(DIR));
        let log = create(&dir, &config);
        let mut run = Run {
            random: Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15)),
            fs,
            appended: Vec::new(),
            committed_size: 0,
            next: 0,
            sequence: 0,
        };
        run.until_power_loss(&dir, log);
        let survivor: Arc<dyn Fs> = Arc::new(run.fs.crash());
        drop(dir);

        let dir = open_dir(&survivor, Path::new(DIR));
        let log = load_one(&dir, &config);
        let found = read_all(&log, Offset(0), 2000);
        assert!(found.len() >= run.committed_size, "seed {seed}: committed records are lost");
        assert!(run.appended.starts_with(&found), "seed {seed}: other bytes than were appended");
        check_batches(&found, log.log_end_offset(), seed);
        drop((log, dir));

        // A second crash right after the recovery finds the same.
        let dir = open_dir(&survivor, Path::new(DIR));
        let log = load_one(&dir, &config);
        assert_eq!(read_all(&log, Offset(0), 2000), found, "seed {seed}: recovery is not stable");
    }
}

fn check_batches(bytes: &[u8], end: Offset, seed: u64) {
    let (mut rest, mut next) = (bytes, 0);
    while !rest.is_empty() {
        let header = BatchHeader::parse(rest).unwrap();
        let (bytes, after) = rest.split_at(header.size_in_bytes());
        assert_eq!(header.base_offset.0, next, "seed {seed}: a gap or a duplicate");
        assert!(Batch { header, bytes }.check_crc(), "seed {seed}: a damaged batch is visible");
        next = header.last_offset().0 + 1;
        rest = after;
    }
    assert_eq!(end.0, next, "seed {seed}: the log ends elsewhere");
}

/// Everything below the cut is kept, and nothing else.
#[test]
fn the_last_segment_cut_at_every_byte_keeps_the_whole_batches_before() {
    let config = config(&[]);
    let fs: Arc<dyn Fs> = Arc::new(FaultyFs::new(3));
    let dir = open_dir(&fs, Path::new(DIR));
    let mut log = create(&dir, &config);
    let batches: Vec<_> = (0..5).map(|seed| batch(2, 30, seed, 5)).collect();
    let mut ends = vec![0];
    for bytes in &batches {
        append(&mut log, std::slice::from_ref(bytes), 0).unwrap();
        ends.push(ends.last().unwrap() + bytes.len());
    }
    log.flush().unwrap();
    let bytes = read_all(&log, Offset(0), 100_000);
    drop((log, dir));
    let path = Path::new("/data/orders-0/00000000000000000000.log");
    for cut in ends[2]..bytes.len() {
        let file = fs.open(path, Open::Write).unwrap();
        file.set_len(0).unwrap();
        file.write_all_at(&mut [std::io::IoSlice::new(&bytes[..cut])], 0).unwrap();
        let dir = open_dir(&fs, Path::new(DIR));
        let log = load_one(&dir, &config);
        let whole = ends.iter().rposition(|end| *end <= cut).unwrap();
        assert_eq!(read_all(&log, Offset(0), 100_000), bytes[..ends[whole]], "cut at {cut}");
        assert_eq!(log.log_end_offset(), Offset(2 * whole as i64));
        assert_eq!(fs.len(path).unwrap(), ends[whole] as u64);
    }
}

#[test]
fn damage_below_the_recovery_point_is_refused_and_left_as_it_is() {
    let config = config(&[]);
    let fs: Arc<dyn Fs> = Arc::new(FaultyFs::new(3));
    let dir = open_dir(&fs, Path::new(DIR));
    let mut log = create(&dir, &config);
    for seed in 0..5 {
        append(&mut log, &[batch(2, 30, seed, 5)], 0).unwrap();
    }
    log.flush().unwrap();
    dir.write_recovery_points(&[(partition(), Offset(8))].into_iter().collect()).unwrap();
    let size = log.size_in_bytes();
    drop((log, dir));
    let path = Path::new("/data/orders-0/00000000000000000000.log");
    let file = fs.open(path, Open::Write).unwrap();
    // The length of the second batch.
    file.write_all_at(&mut [std::io::IoSlice::new(&[0xff])], size / 5 + 8).unwrap();

    let dir = open_dir(&fs, Path::new(DIR));
    let loaded = load(&dir, &config);
    assert!(loaded.logs.is_empty());
    assert!(loaded.failed[0].error.to_string().contains("damaged"), "{}", loaded.failed[0].error);
    assert_eq!(fs.len(path).unwrap(), size, "nothing is cut");
    assert!(!dir.offline().is_offline(), "the disk answers");
}

#[test]
fn a_failed_sync_takes_the_directory_offline_for_good() {
    let config = config(&[]);
    let fs = FaultyFs::new(3);
    let shared: Arc<dyn Fs> = Arc::new(fs.clone());
    let dir = open_dir(&shared, Path::new(DIR));
    let mut log = create(&dir, &config);
    let first = append(&mut log, &[batch(1, 30, 1, 5)], 0).unwrap();
    commit(&dir, first.sync.unwrap()).unwrap();
    assert_eq!(log.recovery_point(), Offset(1));
    let second = append(&mut log, &[batch(1, 30, 2, 5)], 0).unwrap();
    fs.fail_from(fs.operations(), Failure::Broken, false);
    commit(&dir, second.sync.unwrap()).unwrap_err();
    assert!(dir.offline().is_offline());

    // The disk would answer now, but nobody may ask it.
    let third = append(&mut log, &[batch(1, 30, 3, 5)], 0).unwrap();
    commit(&dir, third.sync.unwrap()).unwrap_err();
    assert_eq!(log.recovery_point(), Offset(1), "nothing was claimed to be durable");
}

#[test]
fn a_full_disk_leaves_no_half_batch_and_heals() {
    let config = config(&[]);
    let fs = FaultyFs::new(3);
    let shared: Arc<dyn Fs> = Arc::new(fs.clone());
    let dir = open_dir(&shared, Path::new(DIR));
    let mut log = create(&dir, &config);
    append(&mut log, &[batch(1, 30, 1, 5)], 0).unwrap();
    let before = read_all(&log, Offset(0), 100_000);

    fs.fail_from(fs.operations(), Failure::Full, true);
    let error = append(&mut log, &[batch(1, 300, 2, 5)], 0).unwrap_err();
    let broker_storage::log::AppendError::Log(error) = error else { panic!("{error}") };
    assert!(error.is_disk_full());
    assert!(!dir.note_error(error.io_error().unwrap()), "a full disk is not a broken one");
    assert_eq!(log.log_end_offset(), Offset(1));
    assert_eq!(read_all(&log, Offset(0), 100_000), before);

    fs.heal();
    let appended = append(&mut log, &[batch(1, 300, 2, 5)], 0).unwrap();
    assert_eq!(appended.first_offset, Offset(1));
    let path = Path::new("/data/orders-0/00000000000000000000.log");
    assert_eq!(shared.len(path).unwrap(), log.size_in_bytes());
}

/// The time is the original's: it is the one that the records have.
#[test]
fn a_batch_sent_again_is_answered_with_the_time_that_the_log_gave_it() {
    for (kind, expected) in [("LogAppendTime", support::NOW), ("CreateTime", TimestampMs(-1))] {
        let fs: Arc<dyn Fs> = Arc::new(FaultyFs::new(3));
        let dir = open_dir(&fs, Path::new(DIR));
        let mut log = create(&dir, &config(&[("message.timestamp.type", kind)]));
        let first = append(&mut log, &[idempotent(42, 0, 0)], 0).unwrap();
        let again = append(&mut log, &[idempotent(42, 0, 0)], 0).unwrap();
        assert!(again.duplicate);
        assert_eq!((first.log_append_time, again.log_append_time), (expected, expected), "{kind}");
    }
}

#[test]
fn a_batch_sent_again_is_answered_with_its_first_offset_even_after_a_crash() {
    let config = config(&[]);
    let fs: Arc<dyn Fs> = Arc::new(FaultyFs::new(3));
    let dir = open_dir(&fs, Path::new(DIR));
    let mut log = create(&dir, &config);
    for sequence in 0..8 {
        append(&mut log, &[idempotent(42, sequence, sequence as u8)], 0).unwrap();
    }
    let again = append(&mut log, &[idempotent(42, 5, 5)], 0).unwrap();
    assert!(again.duplicate && again.first_offset == Offset(5));
    drop((log, dir));
    let dir = open_dir(&fs, Path::new(DIR));
    let mut log = load_one(&dir, &config);
    let again = append(&mut log, &[idempotent(42, 5, 5)], 0).unwrap();
    assert!(again.duplicate && again.first_offset == Offset(5));
    append(&mut log, &[idempotent(42, 9, 9)], 0).unwrap_err();
    assert_eq!(log.log_end_offset(), Offset(8));
}

/// Each operation of a busy log meets a full disk once, or finds no descriptor; nothing half done is
/// ever seen.
#[test]
fn whatever_runs_out_at_any_operation_leaves_whole_appends_only() {
    leaves_whole_appends(Failure::Full);
    leaves_whole_appends(Failure::Descriptors);
}

fn leaves_whole_appends(failure: Failure) {
    let config = config(&[("segment.bytes", "2000"), ("index.interval.bytes", "100")]);
    for full_at in 0..150 {
        let fs = FaultyFs::new(3);
        let shared: Arc<dyn Fs> = Arc::new(fs.clone());
        let dir = open_dir(&shared, Path::new(DIR));
        let mut log = create(&dir, &config);
        fs.fail_from(fs.operations() + full_at, failure, false);
        let (mut expected, mut next) = (Vec::new(), 0);
        for number in 0..40_u8 {
            let batches = [batch(1, 60, number, 5), batch(2, 20, number, 6)];
            match append(&mut log, &batches, 0) {
                Ok(_) => {
                    expected.extend(stored(&batches[0], next, 0));
                    expected.extend(stored(&batches[1], next + 1, 0));
                    next += 3;
                }
                Err(broker_storage::log::AppendError::Log(error)) => {
                    assert!(error.is_transient(), "{error}");
                    assert!(!dir.note_error(error.io_error().unwrap()), "it passes: {error}");
                }
                Err(error) => panic!("{error}"),
            }
            assert_eq!(log.log_end_offset(), Offset(next), "full at {full_at}, append {number}");
        }
        fs.heal();
        assert!(next >= 39 * 3, "one failure costs one append at most: {next}");
        assert_eq!(read_all(&log, Offset(0), 700), expected, "full at {full_at}");
        drop((log, dir));
        let dir = open_dir(&shared, Path::new(DIR));
        let log = load_one(&dir, &config);
        assert_eq!(read_all(&log, Offset(0), 700), expected, "full at {full_at}, reopened");
    }
}

#[test]
fn a_sync_that_finds_no_descriptor_waits_for_one() {
    let config = config(&[("segment.bytes", "1000")]);
    let fs = FaultyFs::new(3);
    let shared: Arc<dyn Fs> = Arc::new(fs.clone());
    let dir = open_dir(&shared, Path::new(DIR));
    let mut log = create(&dir, &config);
    let mut point = None;
    while log.segment_count() < 3 {
        point = append(&mut log, &[batch(1, 300, 1, 5)], 0).unwrap().sync;
    }
    fs.fail_from(fs.operations(), Failure::Descriptors, false);
    commit(&dir, point.unwrap()).unwrap();
    assert_eq!(log.recovery_point(), log.log_end_offset());
    let crashed: Arc<dyn Fs> = Arc::new(fs.crash());
    drop(dir);
    let dir = open_dir(&crashed, Path::new(DIR));
    assert_eq!(load_one(&dir, &config).log_end_offset(), log.log_end_offset());
}

#[test]
fn errors_that_pass_are_told_from_those_of_a_broken_disk() {
    let fs: Arc<dyn Fs> = Arc::new(FaultyFs::new(3));
    let dir = open_dir(&fs, Path::new(DIR));
    for code in [12, 23, 24, 28, 122] {
        let error = std::io::Error::from_raw_os_error(code);
        assert!(!dir.note_error(&error), "{error}");
    }
    assert!(dir.note_error(&std::io::Error::from_raw_os_error(5)));
}

/// Epochs that began in memory are found again, in their file or in the batches.
#[test]
fn an_epoch_that_wrote_records_survives_a_power_loss_wherever_the_recovery_point_is() {
    let config = config(&[("segment.bytes", "1000")]);
    for flushed_segments in [0, 2, 4] {
        let fs = FaultyFs::new(3);
        let shared: Arc<dyn Fs> = Arc::new(fs.clone());
        let dir = open_dir(&shared, Path::new(DIR));
        let mut log = create(&dir, &config);
        let mut starts = Vec::new();
        for (epoch, segments) in [(1, 2), (3, 4), (7, 5)] {
            log.begin_epoch(LeaderEpoch(epoch));
            starts.push((epoch, log.log_end_offset()));
            while log.segment_count() < segments {
                append(&mut log, &[batch(1, 300, 1, 5)], epoch).unwrap();
            }
            if segments == flushed_segments {
                log.flush().unwrap();
                log.flush_epochs().unwrap();
                let offsets = [(partition(), log.recovery_point())].into_iter().collect();
                dir.write_recovery_points(&offsets).unwrap();
            }
        }
        log.flush().unwrap();
        for _ in 0..20 {
            let crashed: Arc<dyn Fs> = Arc::new(fs.crash());
            let log = load_one(&open_dir(&crashed, Path::new(DIR)), &config);
            for (epoch, start) in &starts {
                assert_eq!(log.epoch_for_offset(*start), Some(LeaderEpoch(*epoch)));
            }
        }
    }
}
