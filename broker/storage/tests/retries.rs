//! Retries of a producer, also after a stop: a snapshot keeps one batch of each producer, the log all of them.
#![allow(clippy::unwrap_used, reason = "tests fail by panic")]

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use broker_config::topic::TopicConfig;
use broker_protocol::quantity::Offset;
use broker_protocol::record::batch::{BatchHeader, HEADER_SIZE, crc};
use broker_storage::fs::Fs;
use broker_storage::fs::faulty::FaultyFs;
use broker_storage::log::{AppendError, Log};
use broker_storage::log_dir::LogDir;
use broker_storage::producer_state::ProducerError;

mod support;
use support::{DIR, NOW, append, batch, config, create, idempotent, load_one, open_dir};

/// As many as a producer has in flight at most.
const IN_FLIGHT: i32 = 5;

/// Xorshift: repeatable by its seed.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

/// Stops in good order, and starts again.
fn restart(
    fs: &Arc<dyn Fs>,
    dir: LogDir,
    mut log: Log,
    config: &Arc<TopicConfig>,
) -> (LogDir, Log) {
    log.close().unwrap();
    dir.mark_clean_shutdown(0).unwrap();
    drop((log, dir));
    let dir = open_dir(fs, Path::new(DIR));
    assert!(dir.was_clean());
    let log = load_one(&dir, config);
    (dir, log)
}

fn start(fs: &Arc<dyn Fs>, config: &Arc<TopicConfig>) -> (LogDir, Log) {
    let dir = open_dir(fs, Path::new(DIR));
    let log = create(&dir, config);
    (dir, log)
}

/// Sends the batches of a producer that is alone: each is at the offset of its sequence.
fn send(log: &mut Log, sequences: Range<i32>) {
    for sequence in sequences {
        append(log, &[idempotent(42, sequence, 0)], 0).unwrap();
    }
}

/// Sends them again.
fn assert_all_known(log: &mut Log, sequences: Range<i32>) {
    for sequence in sequences {
        assert_known(log, idempotent(42, sequence, 0), Offset(i64::from(sequence)));
    }
}

/// Sends a batch that was appended at `offset` before.
fn assert_known(log: &mut Log, batch: Vec<u8>, offset: Offset) {
    let end = log.log_end_offset();
    let again = append(log, &[batch], 0).unwrap();
    assert!(again.duplicate, "a batch that is at {offset}");
    assert_eq!(again.first_offset, offset);
    assert_eq!(log.log_end_offset(), end, "nothing is written twice");
}

/// Sends a batch that was appended, and which is too old for its place to be remembered.
fn assert_forgotten(log: &mut Log, batch: Vec<u8>) {
    let end = log.log_end_offset();
    let again = append(log, &[batch], 0).unwrap();
    assert!(again.duplicate && again.first_offset == Offset(-1), "{again:?}");
    assert!(again.last_offset < end, "it is below the end");
    assert_eq!(log.log_end_offset(), end, "nothing is written twice");
}

fn assert_refused(log: &mut Log, batch: Vec<u8>) {
    let refused = append(log, &[batch], 0).unwrap_err();
    let is_out_of_order =
        matches!(refused, AppendError::Producer(ProducerError::OutOfOrderSequence { .. }));
    assert!(is_out_of_order, "{refused}");
}

/// Gives a batch of one record another producer epoch.
fn in_epoch(mut batch: Vec<u8>, producer_epoch: i16) -> Vec<u8> {
    let mut header = BatchHeader::parse(&batch).unwrap();
    header.producer_epoch = producer_epoch;
    let mut bytes = [0; HEADER_SIZE];
    header.write(&mut bytes);
    batch[..HEADER_SIZE].copy_from_slice(&bytes);
    let crc = crc(&batch);
    batch[17..21].copy_from_slice(&crc.to_be_bytes());
    batch
}

/// The first of them comes first, as a client sends its batches again.
#[test]
fn the_last_five_batches_are_known_after_a_clean_stop() {
    let fs: Arc<dyn Fs> = Arc::new(FaultyFs::new(3));
    let config = config(&[]);
    let (dir, mut log) = start(&fs, &config);
    send(&mut log, 0..8);
    let (dir, mut log) = restart(&fs, dir, log, &config);
    assert_all_known(&mut log, 3..8);
    assert_forgotten(&mut log, idempotent(42, 2, 0));
    assert_refused(&mut log, idempotent(42, 9, 0));
    append(&mut log, &[idempotent(42, 8, 0)], 0).unwrap();
    assert_forgotten(&mut log, idempotent(42, 3, 0));
    drop((dir, log));
}

/// A client that heard of a new leader before the old one's silence ended has more than five batches under
/// way: five to each. Refused as out of order, the oldest would come again in a new epoch, a second time.
#[test]
fn the_oldest_of_ten_batches_under_way_is_known() {
    let fs: Arc<dyn Fs> = Arc::new(FaultyFs::new(3));
    let config = config(&[]);
    let (_dir, mut log) = start(&fs, &config);
    send(&mut log, 0..10);
    for sequence in 0..5 {
        assert_forgotten(&mut log, idempotent(42, sequence, 0));
    }
    assert_all_known(&mut log, 5..10);
    append(&mut log, &[idempotent(42, 10, 0)], 0).unwrap();
}

/// What is recorded after the start counts among the five.
#[test]
fn a_retry_is_known_after_newer_batches() {
    let fs: Arc<dyn Fs> = Arc::new(FaultyFs::new(3));
    let config = config(&[]);
    let (dir, mut log) = start(&fs, &config);
    send(&mut log, 0..8);
    let (_dir, mut log) = restart(&fs, dir, log, &config);
    send(&mut log, 8..10);
    assert_all_known(&mut log, 5..10);
    assert_forgotten(&mut log, idempotent(42, 4, 0));
}

/// A truncation takes the state back to a snapshot, too.
#[test]
fn the_last_five_batches_are_known_after_a_truncation() {
    let fs: Arc<dyn Fs> = Arc::new(FaultyFs::new(3));
    let config = config(&[]);
    let (dir, mut log) = start(&fs, &config);
    send(&mut log, 0..8);
    let (_dir, mut log) = restart(&fs, dir, log, &config);
    send(&mut log, 8..10);
    log.truncate_to(Offset(9), NOW).unwrap();
    assert_all_known(&mut log, 4..9);
}

/// Method: producers that take turns by a seed, some of whom begin a new epoch, over many segments and
/// stops; all that a log that never stopped would know is known.
#[test]
fn a_log_that_was_stopped_knows_what_one_that_was_not_knows() {
    for seed in 0..20 {
        let mut random = Random(seed + 1);
        let fs: Arc<dyn Fs> = Arc::new(FaultyFs::new(seed));
        let config = config(&[("segment.bytes", "2000"), ("index.interval.bytes", "200")]);
        let (mut dir, mut log) = start(&fs, &config);
        // Per producer its epoch, and the offsets of its batches in it, by sequence.
        let mut known: BTreeMap<i64, (i16, Vec<Offset>)> = BTreeMap::new();
        for _ in 0..300 {
            let producer_id = random.below(6) as i64;
            let (epoch, offsets) = known.entry(producer_id).or_default();
            if random.below(32) == 0 {
                (*epoch, *offsets) = (*epoch + 1, Vec::new());
            }
            let sequence = offsets.len() as i32;
            let next = in_epoch(idempotent(producer_id, sequence, 0), *epoch);
            offsets.push(append(&mut log, &[next], 0).unwrap().first_offset);
            if random.below(50) == 0 {
                (dir, log) = restart(&fs, dir, log, &config);
            }
        }
        (_, log) = restart(&fs, dir, log, &config);
        for (producer_id, (epoch, offsets)) in known {
            let oldest = (offsets.len() as i32 - IN_FLIGHT).max(0);
            for sequence in oldest..offsets.len() as i32 {
                let again = in_epoch(idempotent(producer_id, sequence, 0), epoch);
                assert_known(&mut log, again, offsets[sequence as usize]);
            }
            for sequence in 0..oldest {
                assert_forgotten(&mut log, in_epoch(idempotent(producer_id, sequence, 0), epoch));
            }
        }
    }
}

/// A retry of something so old that 16 MiB were written since is not looked for: no client waits so long.
#[test]
fn what_is_read_for_a_retry_is_bounded() {
    const FILLER: usize = 1024 * 1024;
    let fs: Arc<dyn Fs> = Arc::new(FaultyFs::new(3));
    let config = config(&[("segment.bytes", "20000000")]);
    for (fillers, is_known) in [(14, true), (18, false)] {
        let (dir, mut log) = start(&fs, &config);
        append(&mut log, &[idempotent(42, 0, 0)], 0).unwrap();
        for _ in 0..fillers {
            append(&mut log, &[batch(1, FILLER, 0, NOW.0)], 0).unwrap();
        }
        append(&mut log, &[idempotent(42, 1, 0)], 0).unwrap();
        let (dir, mut log) = restart(&fs, dir, log, &config);
        for _ in 0..2 {
            if is_known {
                assert_known(&mut log, idempotent(42, 0, 0), Offset(0));
            } else {
                assert_refused(&mut log, idempotent(42, 0, 0));
            }
        }
        assert_known(&mut log, idempotent(42, 1, 0), Offset(fillers + 1));
        dir.delete_log(&log).unwrap();
    }
}
