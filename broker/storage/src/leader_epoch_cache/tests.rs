//! Leader epochs against a plain map from offset to epoch.

use proptest::prelude::*;

use super::*;
use crate::fs::faulty::{Failure, FaultyFs};
use crate::fs::read_file;

fn new(fs: &FaultyFs) -> LeaderEpochCache {
    LeaderEpochCache::load(Arc::new(fs.clone()), Path::new("/")).unwrap()
}

fn with(entries: &[(i32, i64)]) -> LeaderEpochCache {
    let mut cache = new(&FaultyFs::new(1));
    for (epoch, start) in entries {
        cache.assign_in_memory(LeaderEpoch(*epoch), Offset(*start));
    }
    cache
}

fn pairs(cache: &LeaderEpochCache) -> Vec<(i32, i64)> {
    cache.entries().iter().map(|entry| (entry.epoch.0, entry.start_offset.0)).collect()
}

#[test]
fn the_file_is_kafkas_and_reads_back() {
    let fs = FaultyFs::new(1);
    let mut cache = new(&fs);
    cache.assign_in_memory(LeaderEpoch(0), Offset(0));
    cache.assign_in_memory(LeaderEpoch(3), Offset(17));
    cache.assign_in_memory(LeaderEpoch(4), Offset(20));
    cache.flush(Offset(20)).unwrap();
    let path = Path::new("/leader-epoch-checkpoint");
    assert_eq!(read_file(&fs, path, 100).unwrap(), b"0\n2\n0 0\n3 17\n");
    assert_eq!(pairs(&new(&fs)), [(0, 0), (3, 17)]);
    cache.truncate_from_end(Offset(17));
    assert_eq!(pairs(&new(&fs)), [(0, 0), (3, 17)], "not flushed yet");
    cache.flush(Offset(17)).unwrap();
    assert_eq!(pairs(&new(&fs)), [(0, 0)]);
}

#[test]
fn a_file_that_says_so_already_is_not_written_again() {
    let fs = FaultyFs::new(1);
    let mut cache = new(&fs);
    cache.assign_in_memory(LeaderEpoch(1), Offset(0));
    cache.flush(Offset(5)).unwrap();
    let mut cache = new(&fs);
    cache.assign_in_memory(LeaderEpoch(2), Offset(5));
    fs.fail_from(fs.operations(), Failure::Broken, true);
    cache.flush(Offset(5)).unwrap();
    cache.truncate_from_end(Offset(5));
    cache.flush(Offset(5)).unwrap();
    assert!(cache.flush(Offset(0)).is_err(), "and otherwise it is");
}

/// Method: table of (name, what the file says, batches from a recovery's scan, expected).
#[test]
fn a_walk_through_the_log_mends_what_a_truncation_left_in_the_file() {
    type Pairs = &'static [(i32, i64)];
    let cases: [(&str, Pairs, Pairs, Pairs); 5] = [
        ("nothing new", &[(1, 0), (2, 5)], &[(1, 3), (2, 5), (2, 7)], &[(1, 0), (2, 5)]),
        ("a later epoch", &[(1, 0)], &[(1, 3), (4, 5)], &[(1, 0), (4, 5)]),
        (
            "an earlier one lies where a cut one was",
            &[(1, 0), (6, 5)],
            &[(3, 5)],
            &[(1, 0), (3, 5)],
        ),
        ("the same epoch began before", &[(1, 0), (6, 8)], &[(6, 5), (6, 9)], &[(1, 0), (6, 5)]),
        ("its first batch was compacted away", &[(1, 0), (6, 5)], &[(6, 7)], &[(1, 0), (6, 5)]),
    ];
    for (name, file, batches, expected) in cases {
        let mut cache = with(file);
        for (epoch, offset) in batches {
            cache.observe(LeaderEpoch(*epoch), Offset(*offset));
        }
        assert_eq!(pairs(&cache), expected, "{name}");
    }
}

#[test]
fn assigning_keeps_both_orders() {
    type Pairs = &'static [(i32, i64)];
    let cases: [(&str, Pairs, Pairs); 6] = [
        ("rising", &[(0, 0), (1, 5), (4, 9)], &[(0, 0), (1, 5), (4, 9)]),
        ("the same epoch later is known", &[(1, 5), (1, 9)], &[(1, 5)]),
        ("the same epoch earlier wins", &[(1, 5), (1, 3)], &[(1, 3)]),
        ("an epoch that wrote nothing is replaced", &[(1, 5), (2, 5)], &[(2, 5)]),
        ("a later start is contradicted", &[(0, 0), (1, 5), (2, 3)], &[(0, 0), (2, 3)]),
        ("a higher epoch is contradicted", &[(0, 0), (5, 5), (2, 7)], &[(0, 0), (2, 7)]),
    ];
    for (name, assigned, expected) in cases {
        assert_eq!(pairs(&with(assigned)), expected, "{name}");
    }
}

/// The rows are KIP-101's and KIP-279's: the epoch that answers may be below the one asked for.
#[test]
fn an_epoch_ends_where_the_next_one_starts() {
    let cache = with(&[(2, 10), (4, 20), (7, 30)]);
    let cases = [
        (-1, None),
        (0, Some((0, 10))),
        (2, Some((2, 20))),
        (3, Some((2, 20))),
        (4, Some((4, 30))),
        (6, Some((4, 30))),
        (7, Some((7, 35))),
        (8, None),
    ];
    for (requested, expected) in cases {
        let expected = expected.map(|(epoch, end)| (LeaderEpoch(epoch), Offset(end)));
        let answer = cache.end_offset_for(LeaderEpoch(requested), Offset(35));
        assert_eq!(answer, expected, "epoch {requested}");
    }
    assert_eq!(with(&[]).end_offset_for(LeaderEpoch(0), Offset(35)), None);
}

#[test]
fn truncation_from_the_start_moves_the_epoch_that_contains_it() {
    let cases: [(i64, &[(i32, i64)]); 5] = [
        (5, &[(2, 10), (4, 20)]),
        (10, &[(2, 10), (4, 20)]),
        (15, &[(2, 15), (4, 20)]),
        (20, &[(4, 20)]),
        (99, &[(4, 99)]),
    ];
    for (start, expected) in cases {
        let mut cache = with(&[(2, 10), (4, 20)]);
        cache.truncate_from_start(Offset(start));
        assert_eq!(pairs(&cache), expected, "from {start}");
    }
}

proptest! {
    /// The model holds the epoch of every offset of a log.
    #[test]
    fn it_answers_as_the_log_itself_would(
        steps in prop::collection::vec((0..4_usize, 0..30_usize), 1..40),
    ) {
        let mut cache = with(&[]);
        let mut log: Vec<i32> = Vec::new();
        let (mut start, mut epoch) = (0, 0);
        for (what, amount) in steps {
            match what {
                0 | 1 => {
                    epoch += (amount % 3) as i32;
                    cache.assign_in_memory(LeaderEpoch(epoch), Offset(log.len() as i64));
                    log.extend(std::iter::repeat_n(epoch, amount + 1));
                }
                2 => {
                    let end = log.len().saturating_sub(amount).max(start);
                    log.truncate(end);
                    cache.truncate_from_end(Offset(end as i64));
                    epoch = log[start..].last().copied().unwrap_or(epoch);
                }
                _ => {
                    start = (start + amount).min(log.len().saturating_sub(1)).max(start);
                    cache.truncate_from_start(Offset(start as i64));
                }
            }
            for (offset, expected) in log.iter().enumerate().skip(start) {
                let answer = cache.epoch_for_offset(Offset(offset as i64));
                prop_assert_eq!(answer, Some(LeaderEpoch(*expected)));
            }
        }
    }
}

#[test]
fn a_flushed_epoch_is_never_missing_after_a_crash() {
    for seed in 0..50 {
        for point in 0..8 {
            let fs = FaultyFs::new(seed);
            let mut cache = new(&fs);
            cache.assign_in_memory(LeaderEpoch(1), Offset(0));
            cache.flush(Offset(10)).unwrap();
            fs.fail_from(fs.operations() + point, Failure::Broken, true);
            cache.assign_in_memory(LeaderEpoch(2), Offset(10));
            let outcome = cache.flush(Offset(11));
            let survivor = pairs(&new(&fs.crash()));
            let is_new = survivor == [(1, 0), (2, 10)];
            assert!(is_new || (outcome.is_err() && survivor == [(1, 0)]), "{survivor:?}");
        }
    }
}
