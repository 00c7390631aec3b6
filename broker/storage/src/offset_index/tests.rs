//! The offset index against a vector, on the real disk (mapped) and the one in memory.

use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::fs::faulty::{Failure, FaultyFs};
use crate::fs::real::RealFs;
use crate::fs::{Open, read_file};

const BASE: Offset = Offset(1000);

fn entries_strategy() -> impl Strategy<Value = Vec<OffsetPosition>> {
    prop::collection::vec((1..50_i64, 1..5000_u32), 0..1200).prop_map(|steps| {
        let (mut offset, mut position) = (BASE.0, 0);
        let mut step = |(offsets, bytes): (i64, u32)| {
            offset += offsets;
            position += bytes;
            OffsetPosition { offset: Offset(offset), position }
        };
        steps.into_iter().map(&mut step).collect()
    })
}

fn expected(entries: &[OffsetPosition], target: Offset) -> OffsetPosition {
    let start = OffsetPosition { offset: BASE, position: 0 };
    entries.iter().rev().find(|entry| entry.offset <= target).copied().unwrap_or(start)
}

fn check(index: &OffsetIndex, entries: &[OffsetPosition], targets: &[i64]) {
    assert_eq!(index.entry_count(), entries.len());
    assert_eq!(index.last_entry(), entries.last().copied());
    for target in targets.iter().map(|target| Offset(*target)) {
        assert_eq!(index.lookup(target).unwrap(), expected(entries, target));
    }
}

fn exercise(fs: &Arc<dyn Fs>, dir: &Path, entries: &[OffsetPosition], targets: &[i64], cut: i64) {
    let path = dir.join("00000000000000001000.index");
    let size_max = 10_001;
    let mut index = OffsetIndex::create(fs.clone(), path.clone(), BASE, size_max).unwrap();
    assert_eq!(fs.len(&path).unwrap(), 10_000, "preallocated, in whole entries");
    for entry in entries {
        index.append(entry.offset, entry.position).unwrap();
    }
    check(&index, entries, targets);
    index.trim().unwrap();
    assert_eq!(fs.len(&path).unwrap(), u64::from(index.size_in_bytes()));
    check(&index, entries, targets);

    let mut index = OffsetIndex::open(fs.clone(), path.clone(), BASE, size_max).unwrap();
    let log_size = entries.last().map_or(0, |last| u64::from(last.position) + 1);
    index.sanity_check(log_size).unwrap();
    check(&index, entries, targets);
    let kept: Vec<OffsetPosition> =
        entries.iter().copied().filter(|entry| entry.offset.0 < cut).collect();
    index.truncate_to(Offset(cut)).unwrap();
    check(&index, &kept, targets);
    let next = OffsetPosition { offset: Offset(cut.max(1001)), position: 1 << 30 };
    index.append(next.offset, next.position).unwrap();
    let appended = [kept, vec![next]].concat();
    check(&index, &appended, targets);
    index.trim().unwrap();
    check(&OffsetIndex::open(fs.clone(), path, BASE, size_max).unwrap(), &appended, targets);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn it_answers_as_a_vector_does(
        entries in entries_strategy(),
        targets in prop::collection::vec(900..40_000_i64, 40),
        cut in 900..40_000_i64,
    ) {
        let memory: Arc<dyn Fs> = Arc::new(FaultyFs::new(1));
        exercise(&memory, Path::new("/"), &entries, &targets, cut);
        let real: Arc<dyn Fs> = Arc::new(RealFs);
        let dir = tempfile::tempdir().unwrap();
        exercise(&real, dir.path(), &entries, &targets, cut);
    }
}

#[test]
fn entries_are_big_endian_pairs_of_relative_offset_and_position() {
    let fs: Arc<dyn Fs> = Arc::new(FaultyFs::new(1));
    let path = PathBuf::from("/x.index");
    let mut index = OffsetIndex::create(fs.clone(), path.clone(), BASE, 80).unwrap();
    index.append(Offset(1258), 0x0102_0304).unwrap();
    index.trim().unwrap();
    assert_eq!(read_file(fs.as_ref(), &path, 100).unwrap(), [0, 0, 1, 2, 1, 2, 3, 4]);
}

#[test]
fn an_untrimmed_or_damaged_file_is_refused() {
    let fs: Arc<dyn Fs> = Arc::new(FaultyFs::new(1));
    let path = PathBuf::from("/x.index");
    let open = || OffsetIndex::open(fs.clone(), path.clone(), BASE, 80);
    assert!(matches!(open().unwrap_err(), IndexError::Io { source, .. }
        if source.kind() == std::io::ErrorKind::NotFound));
    let mut index = OffsetIndex::create(fs.clone(), path.clone(), BASE, 80).unwrap();
    index.append(Offset(1001), 100).unwrap();
    index.append(Offset(1002), 200).unwrap();
    let disorder = |index: &OffsetIndex, log_size| {
        matches!(index.sanity_check(log_size), Err(IndexError::Disorder { .. }))
    };
    assert!(disorder(&open().unwrap(), 1000), "trailing zeros");
    index.trim().unwrap();
    assert!(disorder(&open().unwrap(), 200), "an entry behind the log's end");
    open().unwrap().sanity_check(201).unwrap();
    fs.open(&path, Open::Write).unwrap().set_len(13).unwrap();
    assert!(matches!(open().unwrap_err(), IndexError::TornEntry { size: 13, .. }));
}

#[test]
fn a_full_disk_is_an_error_of_the_append_and_leaves_the_index_as_it_was() {
    let faulty = FaultyFs::new(1);
    let fs: Arc<dyn Fs> = Arc::new(faulty.clone());
    let mut index = OffsetIndex::create(fs, PathBuf::from("/x.index"), BASE, 80_000).unwrap();
    faulty.fail_from(0, Failure::Full, true);
    let error = index.append(Offset(1001), 1).unwrap_err();
    assert!(matches!(error, IndexError::Io { source, .. }
        if source.kind() == std::io::ErrorKind::StorageFull));
    faulty.heal();
    assert_eq!(index.entry_count(), 0);
    index.append(Offset(1001), 1).unwrap();
    assert_eq!(index.lookup(Offset(1005)).unwrap().position, 1);
}

#[test]
fn it_is_full_when_no_entry_fits() {
    let fs: Arc<dyn Fs> = Arc::new(FaultyFs::new(1));
    let mut index = OffsetIndex::create(fs, PathBuf::from("/x.index"), BASE, 23).unwrap();
    for number in 1..=2 {
        assert!(!index.is_full());
        index.append(Offset(1000 + i64::from(number)), number).unwrap();
    }
    assert!(index.is_full());
}

#[test]
fn renamed_and_deleted_while_mapped() {
    let dir = tempfile::tempdir().unwrap();
    let fs: Arc<dyn Fs> = Arc::new(RealFs);
    let path = dir.path().join("x.index");
    let mut index = OffsetIndex::create(fs.clone(), path.clone(), BASE, 80).unwrap();
    index.append(Offset(1001), 1).unwrap();
    let renamed = dir.path().join("x.index.deleted");
    index.rename_to(renamed.clone()).unwrap();
    index.append(Offset(1002), 2).unwrap();
    index.flush().unwrap();
    assert_eq!(index.path(), renamed);
    assert_eq!(index.lookup(Offset(1002)).unwrap().position, 2);
    assert!(index.delete().unwrap());
    assert!(!fs.exists(&path).unwrap() && !fs.exists(&renamed).unwrap());
}
