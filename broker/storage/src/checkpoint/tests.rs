//! Checkpoints: Kafka's text, damage, and atomic replacement.

use super::*;
use crate::fs::Open;
use crate::fs::faulty::{Failure, FaultyFs};
use std::io::IoSlice;

fn offsets(pairs: &[(&str, i32, i64)]) -> BTreeMap<TopicPartition, Offset> {
    let entry = |(topic, partition, offset): &(&str, i32, i64)| {
        (TopicPartition { topic: Arc::from(*topic), partition: *partition }, Offset(*offset))
    };
    pairs.iter().map(entry).collect()
}

fn checkpoint(fs: &FaultyFs) -> OffsetCheckpoint {
    OffsetCheckpoint::new(Arc::new(fs.clone()), Path::new("/"), RECOVERY_POINT_FILE)
}

#[test]
fn the_text_is_kafkas_and_reads_back() {
    let fs = FaultyFs::new(1);
    let checkpoint = checkpoint(&fs);
    assert!(checkpoint.read().unwrap().is_empty(), "never written");
    let written = offsets(&[("orders", 0, 42), ("a-b.c", 11, 7)]);
    checkpoint.write(&written).unwrap();
    let path = Path::new("/recovery-point-offset-checkpoint");
    assert_eq!(read_file(&fs, path, 100).unwrap(), b"0\n2\na-b.c 11 7\norders 0 42\n");
    assert_eq!(checkpoint.read().unwrap(), written);
    checkpoint.write(&offsets(&[])).unwrap();
    assert_eq!(read_file(&fs, path, 100).unwrap(), b"0\n0\n");
}

#[test]
fn damage_is_named_by_its_line() {
    let fs = FaultyFs::new(1);
    let checkpoint = checkpoint(&fs);
    let cases: [(&[u8], usize); 9] = [
        (b"0\n", 2),
        (b"0\nx\n", 2),
        (b"0\n2\na 0 1\n", 2),
        (b"0\n1\na 0 1\nb 0 1\n", 2),
        (b"0\n1\na 0\n", 3),
        (b"0\n1\na 0 1 2\n", 3),
        (b"0\n2\na 0 1\nb 0 ?\n", 4),
        (b"0\n1\n\n", 3),
        (b"0\n1\na 0 \xff\n", 1),
    ];
    for (bytes, expected) in cases {
        let path = Path::new("/recovery-point-offset-checkpoint");
        let file = fs.open(path, Open::Truncate).unwrap();
        file.write_all_at(&mut [IoSlice::new(bytes)], 0).unwrap();
        match checkpoint.read().unwrap_err() {
            CheckpointError::Damaged { line, .. } => assert_eq!(line, expected, "{bytes:?}"),
            other @ (CheckpointError::Io { .. } | CheckpointError::Version { .. }) => {
                panic!("{other}")
            }
        }
    }
    let file = fs.open(Path::new("/recovery-point-offset-checkpoint"), Open::Truncate).unwrap();
    file.write_all_at(&mut [IoSlice::new(b"1\n0\n")], 0).unwrap();
    assert!(matches!(checkpoint.read().unwrap_err(), CheckpointError::Version { .. }));
}

/// Method: replace one checkpoint by another, the disk breaking at every operation, then crash.
#[test]
fn a_crash_leaves_the_old_or_the_new_offsets() {
    let (old, new) = (offsets(&[("a", 0, 1), ("b", 0, 2)]), offsets(&[("a", 0, 1000)]));
    for seed in 0..50 {
        for point in 0..8 {
            let fs = FaultyFs::new(seed);
            checkpoint(&fs).write(&old).unwrap();
            fs.fail_from(fs.operations() + point, Failure::Broken, true);
            let outcome = checkpoint(&fs).write(&new);
            let survivor = checkpoint(&fs.crash()).read().unwrap();
            assert!(survivor == new || (survivor == old && outcome.is_err()), "{survivor:?}");
        }
    }
}
