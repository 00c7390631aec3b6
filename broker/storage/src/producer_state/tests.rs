//! Producer states: Kafka's rules in a table, replay against snapshots, crashes.

use proptest::prelude::*;

use super::*;
use crate::fs::faulty::{Failure, FaultyFs};
use crate::fs::{Open, read_file};
use std::io::IoSlice;

const EXPIRATION_MS: i64 = 86_400_000;

fn states(fs: &FaultyFs) -> ProducerStates {
    ProducerStates::open(Arc::new(fs.clone()), Path::new("/")).unwrap()
}

fn reload(fs: &FaultyFs, start: i64, end: i64) -> ProducerStates {
    let mut states = states(fs);
    states.truncate_and_reload(Offset(start), Offset(end), TimestampMs(0), EXPIRATION_MS).unwrap();
    states
}

/// A batch of `count` records.
fn batch(id: i64, epoch: i16, sequence: i32, offset: i64, count: i32) -> ProducerBatch {
    let last = (i64::from(sequence) + i64::from(count) - 1) % (i64::from(i32::MAX) + 1);
    ProducerBatch {
        producer_id: id,
        producer_epoch: epoch,
        base_sequence: sequence,
        last_sequence: last as i32,
        base_offset: Offset(offset),
        last_offset: Offset(offset + i64::from(count) - 1),
        max_timestamp: TimestampMs(offset),
        is_transactional: false,
    }
}

fn transactional(batch: ProducerBatch) -> ProducerBatch {
    ProducerBatch { is_transactional: true, ..batch }
}

fn marker(id: i64, epoch: i16, offset: i64, is_abort: bool) -> EndTxnMarker {
    EndTxnMarker {
        producer_id: id,
        producer_epoch: epoch,
        coordinator_epoch: 0,
        offset: Offset(offset),
        timestamp: TimestampMs(offset),
        is_abort,
    }
}

fn append(states: &mut ProducerStates, batch: &ProducerBatch) {
    states.append(batch);
    states.set_end_offset(Offset(batch.last_offset.0 + 1));
}

/// A row is (name, batches appended, batch that comes, what happens).
#[test]
fn sequences_and_epochs_are_checked_as_kafka_does() {
    let max = i32::MAX;
    let out_of_order = |base_sequence, last_sequence| {
        Err(ProducerError::OutOfOrderSequence { producer_id: 1, base_sequence, last_sequence })
    };
    let stale =
        Err(ProducerError::InvalidProducerEpoch { producer_id: 1, producer_epoch: 0, newest: 1 });
    let accept = Ok(Verdict::Accept);
    let first = || vec![batch(1, 0, 0, 0, 5)];
    let cases = [
        ("a new producer at zero", vec![], batch(1, 0, 0, 0, 5), accept),
        ("an unknown producer anywhere", vec![], batch(1, 3, 77, 0, 5), accept),
        ("the next sequence", first(), batch(1, 0, 5, 5, 1), accept),
        ("a gap", first(), batch(1, 0, 6, 5, 1), out_of_order(6, 4)),
        ("an old one that is no duplicate", first(), batch(1, 0, 1, 5, 4), out_of_order(1, 4)),
        ("a new epoch at zero", first(), batch(1, 1, 0, 5, 1), accept),
        ("a new epoch elsewhere", first(), batch(1, 1, 5, 5, 1), out_of_order(5, -1)),
        ("an old epoch", vec![batch(1, 1, 0, 0, 5)], batch(1, 0, 5, 5, 1), stale),
        ("the wrap", vec![batch(1, 0, max - 1, 0, 2)], batch(1, 0, 0, 2, 1), accept),
        ("over the wrap", vec![batch(1, 0, max, 0, 3)], batch(1, 0, 2, 3, 1), accept),
        ("another producer", first(), batch(2, 0, 0, 5, 1), accept),
    ];
    for (name, appended, comes, expected) in cases {
        let fs = FaultyFs::new(1);
        let mut states = states(&fs);
        for batch in &appended {
            append(&mut states, batch);
        }
        assert_eq!(states.check(&[comes], Origin::Client), expected, "{name}");
        assert_eq!(states.check(&[comes], Origin::Replication), accept, "{name}, replicated");
    }
}

#[test]
fn the_last_five_batches_are_recognised_and_answered_with_their_offsets() {
    let fs = FaultyFs::new(1);
    let mut states = states(&fs);
    let batches: Vec<_> = (0..6).map(|n| batch(1, 0, n * 10, i64::from(n) * 100, 10)).collect();
    for batch in &batches {
        append(&mut states, batch);
    }
    for batch in &batches[1..] {
        let Ok(Verdict::Duplicate(original)) = states.check(&[*batch], Origin::Client) else {
            panic!("{batch:?} is not recognised");
        };
        assert_eq!(original.base_offset(), batch.base_offset);
        assert_eq!(original.last_offset, batch.last_offset);
        assert_eq!(original.base_sequence(), batch.base_sequence);
    }
    let sixth = states.check(&batches[..1], Origin::Client);
    assert_eq!(sixth, Ok(Verdict::Forgotten(batches[1].base_offset)), "where it is is forgotten");
    let next_epoch = ProducerBatch { producer_epoch: 1, ..batches[5] };
    assert!(states.check(&[next_epoch], Origin::Client).is_err(), "not of this epoch");
}

/// A batch is taken for appended only if all before the last five followed each other back to it.
/// A row is (name, batches appended, batch that comes, what happens).
#[test]
fn a_batch_older_than_the_last_five_is_appended_where_sequences_followed_each_other() {
    let out_of_order = |base_sequence, last_sequence| {
        Err(ProducerError::OutOfOrderSequence { producer_id: 1, base_sequence, last_sequence })
    };
    let run = |epoch, first: i32, count: i32| {
        (0..count).map(move |n| batch(1, epoch, (first.wrapping_add(n)) & i32::MAX, 0, 1))
    };
    let one = |sequence| batch(1, 0, sequence, 0, 1);
    let forgotten = |offset| Ok(Verdict::Forgotten(Offset(offset)));
    let max = i32::MAX;
    let cases: [(&str, Vec<ProducerBatch>, ProducerBatch, _); 9] = [
        ("the first", run(0, 0, 10).collect(), one(0), forgotten(5)),
        ("the sixth", run(0, 0, 10).collect(), one(4), forgotten(5)),
        ("two as one", run(0, 0, 10).collect(), batch(1, 0, 3, 0, 2), forgotten(5)),
        (
            "one that reaches into the five",
            run(0, 0, 10).collect(),
            batch(1, 0, 4, 0, 2),
            out_of_order(4, 9),
        ),
        ("before an unknown beginning", run(0, 20, 10).collect(), one(19), out_of_order(19, 29)),
        ("behind a gap", run(0, 0, 5).chain(run(0, 7, 8)).collect(), one(8), forgotten(8)),
        ("before a gap", run(0, 0, 5).chain(run(0, 7, 8)).collect(), one(4), out_of_order(4, 14)),
        (
            "of the epoch before",
            run(0, 0, 9).chain(run(1, 0, 1)).collect(),
            one(0),
            Err(ProducerError::InvalidProducerEpoch {
                producer_id: 1,
                producer_epoch: 0,
                newest: 1,
            }),
        ),
        ("over the wrap", run(0, max - 2, 10).collect(), one(max), forgotten(5)),
    ];
    for (name, appended, comes, expected) in cases {
        let fs = FaultyFs::new(1);
        let mut states = states(&fs);
        for (offset, mut batch) in appended.into_iter().enumerate() {
            (batch.base_offset, batch.last_offset) = (Offset(offset as i64), Offset(offset as i64));
            append(&mut states, &batch);
        }
        assert_eq!(states.check(&[comes], Origin::Client), expected, "{name}");
    }
}

#[test]
fn a_duplicate_over_the_wrap_is_recognised() {
    let fs = FaultyFs::new(1);
    let mut states = states(&fs);
    let wraps = batch(1, 0, i32::MAX - 1, 0, 4);
    assert_eq!(wraps.last_sequence, 1);
    append(&mut states, &wraps);
    assert!(matches!(states.check(&[wraps], Origin::Client), Ok(Verdict::Duplicate(_))));
}

#[test]
fn batches_of_one_append_follow_each_other() {
    let fs = FaultyFs::new(1);
    let states = states(&fs);
    let good = [batch(1, 0, 0, 0, 5), batch(2, 0, 0, 5, 1), batch(1, 0, 5, 6, 5)];
    assert_eq!(states.check(&good, Origin::Client), Ok(Verdict::Accept));
    let gap = [batch(1, 0, 0, 0, 5), batch(1, 0, 6, 5, 5)];
    assert!(states.check(&gap, Origin::Client).is_err());
    assert_eq!(states.producer_count(), 0, "checking records nothing");
}

#[test]
fn a_coordinators_batches_have_an_epoch_but_no_sequence() {
    let fs = FaultyFs::new(1);
    let mut states = states(&fs);
    append(&mut states, &transactional(batch(1, 1, 0, 0, 1)));
    let commit = |epoch| {
        let without_sequence = batch(1, epoch, 0, 1, 1);
        transactional(ProducerBatch { base_sequence: -1, last_sequence: -1, ..without_sequence })
    };
    assert_eq!(states.check(&[commit(1)], Origin::Coordinator), Ok(Verdict::Accept));
    assert!(states.check(&[commit(0)], Origin::Coordinator).is_err());
}

#[test]
fn an_open_transaction_holds_the_first_unstable_offset_until_its_marker_is_replicated() {
    let fs = FaultyFs::new(1);
    let mut states = states(&fs);
    append(&mut states, &transactional(batch(1, 0, 0, 0, 10)));
    append(&mut states, &transactional(batch(2, 0, 0, 10, 10)));
    append(&mut states, &transactional(batch(1, 0, 10, 20, 10)));
    assert_eq!(states.first_unstable_offset(), Some(Offset(0)));
    let outside = batch(1, 0, 20, 30, 1);
    let error = states.check(&[outside], Origin::Client).unwrap_err();
    assert_eq!(error, ProducerError::InvalidTxnState { producer_id: 1, first_offset: Offset(0) });

    let abort = marker(1, 0, 30, true);
    states.check_marker(&abort, Origin::Client).unwrap();
    let completed = states.append_marker(&abort).unwrap();
    assert_eq!(
        states.aborted_txn(&completed),
        AbortedTxn {
            producer_id: 1,
            first_offset: Offset(0),
            last_offset: Offset(30),
            last_stable_offset: Offset(10),
        }
    );
    states.complete(&completed);
    states.set_end_offset(Offset(31));
    assert_eq!(states.first_unstable_offset(), Some(Offset(0)), "the marker is not replicated");
    states.on_high_watermark(Offset(30));
    assert_eq!(states.first_unstable_offset(), Some(Offset(0)));
    states.on_high_watermark(Offset(31));
    assert_eq!(states.first_unstable_offset(), Some(Offset(10)));

    let completed = states.append_marker(&marker(2, 0, 31, false)).unwrap();
    assert_eq!(states.aborted_txn(&completed).last_stable_offset, Offset(32));
    states.complete(&completed);
    states.on_high_watermark(Offset(32));
    assert_eq!(states.first_unstable_offset(), None);
    assert_eq!(states.append_marker(&marker(2, 0, 32, true)), None, "nothing was open");
}

#[test]
fn markers_of_old_producers_and_coordinators_are_refused() {
    let fs = FaultyFs::new(1);
    let mut states = states(&fs);
    append(&mut states, &transactional(batch(1, 1, 0, 0, 1)));
    assert!(matches!(
        states.check_marker(&marker(1, 0, 1, true), Origin::Client),
        Err(ProducerError::InvalidProducerEpoch { newest: 1, .. })
    ));
    let newer = EndTxnMarker { coordinator_epoch: 5, ..marker(1, 1, 1, false) };
    let completed = states.append_marker(&newer).unwrap();
    states.complete(&completed);
    assert!(matches!(
        states.check_marker(&marker(1, 1, 2, true), Origin::Client),
        Err(ProducerError::TransactionCoordinatorFenced { newest: 5, .. })
    ));
    let again = batch(1, 1, 0, 2, 2);
    assert!(states.check(&[again], Origin::Client).is_err(), "a marker resets no sequence");
}

#[test]
fn only_time_and_no_open_transaction_expire_a_producer() {
    let fs = FaultyFs::new(1);
    let mut states = states(&fs);
    append(&mut states, &batch(1, 0, 0, 0, 1));
    append(&mut states, &transactional(batch(2, 0, 0, 1, 1)));
    append(&mut states, &batch(3, 0, 0, 1000, 1));
    states.advance_log_start_offset(Offset(1001));
    assert_eq!(states.producer_count(), 3, "lost records expire nobody");
    states.remove_expired(TimestampMs(1000), 1000);
    let mut left: Vec<i64> = states.iter().map(ProducerEntry::producer_id).collect();
    left.sort_unstable();
    assert_eq!(left, [2, 3]);
}

/// The layout is Kafka 3.9.2's, field by field.
#[test]
fn a_snapshot_has_kafkas_bytes() {
    let fs = FaultyFs::new(1);
    let mut states = states(&fs);
    append(&mut states, &transactional(batch(7, 2, 40, 100, 10)));
    assert!(states.take_snapshot(true).unwrap());
    assert!(!states.take_snapshot(true).unwrap(), "nothing new");
    let path = Path::new("/00000000000000000110.snapshot");
    let bytes = read_file(&fs, path, 1000).unwrap();
    let mut expected = vec![0, 1];
    expected.extend(&bytes[2..6]);
    expected.extend(1_i32.to_be_bytes());
    expected.extend(7_i64.to_be_bytes());
    expected.extend(2_i16.to_be_bytes());
    expected.extend(49_i32.to_be_bytes());
    expected.extend(109_i64.to_be_bytes());
    expected.extend(9_i32.to_be_bytes());
    expected.extend(100_i64.to_be_bytes());
    expected.extend((-1_i32).to_be_bytes());
    expected.extend(100_i64.to_be_bytes());
    assert_eq!(bytes, expected);
    let crc = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, &bytes[6..]) as u32;
    assert_eq!(bytes[2..6], crc.to_be_bytes());

    let loaded = reload(&fs, 0, 200);
    assert_eq!(loaded.end_offset(), Offset(110));
    assert_eq!(loaded.get(7), states.get(7));
    assert_eq!(loaded.first_unstable_offset(), Some(Offset(100)));
}

#[test]
fn a_damaged_snapshot_is_removed_and_the_one_before_is_taken() {
    let fs = FaultyFs::new(1);
    let mut states = states(&fs);
    append(&mut states, &batch(1, 0, 0, 0, 10));
    states.take_snapshot(true).unwrap();
    append(&mut states, &batch(1, 0, 10, 10, 10));
    states.take_snapshot(true).unwrap();
    let path = Path::new("/00000000000000000020.snapshot");
    let intact = read_file(&fs, path, 1000).unwrap();
    for position in 0..intact.len() {
        let mut damaged = intact.clone();
        damaged[position] ^= 1;
        let file = fs.open(path, Open::Truncate).unwrap();
        file.write_all_at(&mut [IoSlice::new(&damaged)], 0).unwrap();
        assert_eq!(reload(&fs, 0, 25).end_offset(), Offset(10), "byte {position}");
        assert!(!fs.exists(path).unwrap());
    }
    for size in 0..intact.len() {
        let file = fs.open(path, Open::Truncate).unwrap();
        file.write_all_at(&mut [IoSlice::new(&intact[..size])], 0).unwrap();
        assert_eq!(reload(&fs, 0, 25).end_offset(), Offset(10), "cut at {size}");
    }
}

#[test]
fn truncation_takes_the_last_snapshot_that_still_holds() {
    let fs = FaultyFs::new(1);
    let mut states = states(&fs);
    for n in 0..4 {
        append(&mut states, &batch(1, 0, n * 10, i64::from(n) * 10, 10));
        states.take_snapshot(false).unwrap();
    }
    let end = |states: &ProducerStates| {
        (states.end_offset(), states.get(1).map(ProducerEntry::last_sequence))
    };
    let truncate = |states: &mut ProducerStates, start, end| {
        let (start, end) = (Offset(start), Offset(end));
        states.truncate_and_reload(start, end, TimestampMs(0), EXPIRATION_MS).unwrap();
    };
    truncate(&mut states, 0, 40);
    assert_eq!(states.snapshots().count(), 4, "nothing to do");
    truncate(&mut states, 0, 35);
    assert_eq!(end(&states), (Offset(30), Some(29)));
    truncate(&mut states, 20, 29);
    assert_eq!(end(&states), (Offset(20), None), "a snapshot at the start says nothing");
    states.truncate_fully_and_start_at(Offset(50)).unwrap();
    assert_eq!((states.end_offset(), states.snapshots().count()), (Offset(50), 0));
}

#[test]
fn strays_and_old_snapshots_are_removed() {
    let fs = FaultyFs::new(1);
    let mut states = states(&fs);
    for n in 0..4 {
        append(&mut states, &batch(1, 0, n * 10, i64::from(n) * 10, 10));
        states.take_snapshot(true).unwrap();
    }
    let list =
        |states: &ProducerStates| states.snapshots().map(|offset| offset.0).collect::<Vec<_>>();
    states.remove_strays(&[Offset(0), Offset(20)]).unwrap();
    assert_eq!(list(&states), [20, 40], "a segment's and the newest stay");
    states.remove_snapshot(Offset(20)).unwrap();
    assert_eq!(list(&super::tests::states(&fs)), [40], "on disk as well");
}

/// Method: a durable snapshot is written while the disk breaks at every operation, then crash.
#[test]
fn a_crash_leaves_a_sound_snapshot() {
    for seed in 0..50 {
        for point in 0..8 {
            let fs = FaultyFs::new(seed);
            let mut states = states(&fs);
            append(&mut states, &batch(1, 0, 0, 0, 10));
            states.take_snapshot(true).unwrap();
            append(&mut states, &batch(1, 0, 10, 10, 10));
            fs.fail_from(fs.operations() + point, Failure::Broken, true);
            let outcome = states.take_snapshot(true);
            let survivor = reload(&fs.crash(), 0, 20);
            let is_new = survivor.end_offset() == Offset(20);
            assert!(is_new || (outcome.is_err() && survivor.end_offset() == Offset(10)));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Invariant C2: the state after recovery equals the state rebuilt from the log, but for batches
    /// older than a producer's last one, which snapshots do not keep.
    #[test]
    fn recovery_gives_the_state_that_a_full_replay_gives(
        steps in prop::collection::vec((1..4_i64, 0..6_u8, 1..5_i32), 1..60),
        cut in 0..60_usize,
    ) {
        #[derive(Clone, Copy)]
        enum Logged { Data(ProducerBatch), Marker(EndTxnMarker) }
        let replay = |states: &mut ProducerStates, logged: &Logged| match logged {
            Logged::Data(batch) => append(states, batch),
            Logged::Marker(marker) => {
                if let Some(completed) = states.append_marker(marker) {
                    states.complete(&completed);
                }
                states.set_end_offset(Offset(marker.offset.0 + 1));
            }
        };
        let fs = FaultyFs::new(1);
        let mut live = states(&fs);
        let mut log: Vec<(i64, Logged)> = Vec::new();
        let mut end = 0;
        for (id, what, count) in steps {
            let known = live.get(id);
            let epoch = known.map_or(0, ProducerEntry::producer_epoch);
            let sequence = known.map_or(0, |e| e.last_sequence().wrapping_add(1).max(0));
            let is_open = known.is_some_and(|e| e.current_txn_first_offset().is_some());
            let data = batch(id, epoch, sequence, end, count);
            let logged = match what {
                0 => Logged::Marker(marker(id, epoch, end, count % 2 == 0)),
                1 => Logged::Data(transactional(batch(id, epoch + 1, 0, end, count))),
                2 | 3 => Logged::Data(transactional(data)),
                _ if is_open => Logged::Data(transactional(data)),
                _ => Logged::Data(data),
            };
            if let Logged::Data(batch) = &logged {
                prop_assert_eq!(live.check(&[*batch], Origin::Client), Ok(Verdict::Accept));
            }
            replay(&mut live, &logged);
            log.push((end, logged));
            end = live.end_offset().0;
            if what == 5 {
                live.take_snapshot(false).unwrap();
            }
        }
        let cut = log.get(cut).map_or(end, |(offset, _)| *offset);
        let mut recovered = reload(&fs, 0, cut);
        let mut rebuilt = states(&FaultyFs::new(2));
        for (offset, logged) in log.iter().filter(|(offset, _)| *offset < cut) {
            if *offset >= recovered.end_offset().0 {
                replay(&mut recovered, logged);
            }
            replay(&mut rebuilt, logged);
        }
        prop_assert_eq!(recovered.end_offset(), rebuilt.end_offset());
        prop_assert_eq!(recovered.first_ongoing_offset(), rebuilt.first_ongoing_offset());
        prop_assert_eq!(recovered.producer_count(), rebuilt.producer_count());
        for entry in rebuilt.iter() {
            let other = recovered.get(entry.producer_id()).unwrap();
            prop_assert_eq!(entry.producer_epoch(), other.producer_epoch());
            prop_assert_eq!(entry.last_sequence(), other.last_sequence());
            // The timestamp is left out: a snapshot has one field for it and the last marker's.
            let last = |entry: &ProducerEntry| {
                entry.batches().last().map(|batch| (batch.base_offset(), batch.last_offset))
            };
            prop_assert_eq!(last(entry), last(other));
            prop_assert_eq!(entry.current_txn_first_offset(), other.current_txn_first_offset());
        }
    }
}
