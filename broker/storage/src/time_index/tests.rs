//! The time index against a vector.

use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::fs::faulty::FaultyFs;
use crate::fs::read_file;

const BASE: Offset = Offset(1000);

fn new(size_max: u32) -> (Arc<dyn Fs>, PathBuf, TimeIndex) {
    let fs: Arc<dyn Fs> = Arc::new(FaultyFs::new(1));
    let path = PathBuf::from("/x.timeindex");
    let index = TimeIndex::create(fs.clone(), path.clone(), BASE, size_max).unwrap();
    (fs, path, index)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn it_answers_as_a_vector_does(
        steps in prop::collection::vec((0..3_i64, 0..20_i64), 0..900),
        targets in prop::collection::vec(-1..2500_i64, 30),
        cut in 900..12_000_i64,
    ) {
        let (fs, path, mut index) = new(12_000);
        let mut entries: Vec<TimestampOffset> = Vec::new();
        let (mut timestamp, mut offset) = (0, BASE.0);
        for (later, offsets) in steps {
            timestamp += later;
            offset += offsets;
            let entry =
                TimestampOffset { timestamp: TimestampMs(timestamp), offset: Offset(offset) };
            index.maybe_append(entry.timestamp, entry.offset, false).unwrap();
            if entries.last().is_none_or(|last| last.timestamp < entry.timestamp) {
                entries.push(entry);
            }
        }
        let check = |index: &TimeIndex, entries: &[TimestampOffset]| {
            assert_eq!(index.entry_count(), entries.len());
            assert_eq!(index.last_entry(), entries.last().copied().unwrap_or(none(BASE)));
            for target in targets.iter().map(|target| TimestampMs(*target)) {
                let found = entries.iter().rev().find(|entry| entry.timestamp <= target);
                assert_eq!(index.lookup(target).unwrap(), found.copied().unwrap_or(none(BASE)));
            }
        };
        check(&index, &entries);
        index.trim().unwrap();
        let mut index = TimeIndex::open(fs, path, BASE, 12_000).unwrap();
        index.sanity_check().unwrap();
        check(&index, &entries);
        index.truncate_to(Offset(cut)).unwrap();
        entries.retain(|entry| entry.offset.0 < cut);
        check(&index, &entries);
    }
}

#[test]
fn entries_are_a_timestamp_and_a_relative_offset() {
    let (fs, path, mut index) = new(10_485_760);
    assert_eq!(fs.len(&path).unwrap(), 10_485_756, "Kafka's size of an active time index");
    index.maybe_append(TimestampMs(0x0102_0304_0506_0708), Offset(1258), false).unwrap();
    index.trim().unwrap();
    let bytes = read_file(fs.as_ref(), &path, 100).unwrap();
    assert_eq!(bytes, [1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 1, 2]);
}

#[test]
fn the_last_slot_is_kept_for_the_roll() {
    let (_, _, mut index) = new(24);
    index.maybe_append(TimestampMs(1), Offset(1001), false).unwrap();
    assert!(index.is_full());
    index.maybe_append(TimestampMs(2), Offset(1002), false).unwrap();
    assert_eq!(index.entry_count(), 1);
    index.maybe_append(TimestampMs(2), Offset(1002), true).unwrap();
    assert_eq!(index.last_entry().offset, Offset(1002));
}

#[test]
fn an_untrimmed_file_is_refused() {
    let (fs, path, mut index) = new(120);
    index.maybe_append(TimestampMs(5), Offset(1001), false).unwrap();
    let reopened = TimeIndex::open(fs, path, BASE, 120).unwrap();
    assert!(matches!(reopened.sanity_check(), Err(IndexError::Disorder { .. })));
}
