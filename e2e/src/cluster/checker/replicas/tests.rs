//! A bad pair of disks for each difference that is found, and one that nearly is.

use broker_protocol::quantity::{LeaderEpoch, Offset, TimestampMs};
use broker_protocol::record::batch::Compression;
use broker_protocol::record::builder::BatchBuilder;

use super::*;

/// Batches of one record each: offset, leader epoch, value.
type Batches<'a> = &'a [(i64, i32, &'a str)];

const WHOLE: Batches<'static> = &[(0, 0, "a"), (1, 0, "b"), (2, 1, "c")];

fn batch(offset: i64, epoch: i32, value: &str) -> Vec<u8> {
    let mut builder = BatchBuilder::new(Offset(offset), Compression::None);
    builder.header.partition_leader_epoch = LeaderEpoch(epoch);
    builder.push(TimestampMs(1), None, Some(value.as_bytes()));
    builder.finish().unwrap()
}

fn bytes(batches: Batches<'_>) -> Vec<u8> {
    batches.iter().flat_map(|(offset, epoch, value)| batch(*offset, *epoch, value)).collect()
}

/// Disks with one partition each.
struct Disks {
    root: tempfile::TempDir,
    log_dirs: Vec<(String, PathBuf)>,
}

impl Disks {
    fn new() -> Result<Self> {
        Ok(Self { root: tempfile::tempdir()?, log_dirs: Vec::new() })
    }

    /// Adds a disk whose partition has these segments, and which has written down where it starts.
    fn add(mut self, segments: &[Vec<u8>], log_start: i64) -> Result<Self> {
        let index = self.log_dirs.len();
        let directory = self.root.path().join(index.to_string());
        fs::create_dir_all(directory.join("t-0"))?;
        fs::write(directory.join(LOG_STARTS), format!("0\n1\nt 0 {log_start}\n"))?;
        for (number, segment) in segments.iter().enumerate() {
            fs::write(directory.join(format!("t-0/{number:020}.log")), segment)?;
        }
        self.log_dirs.push((format!("disk {index}"), directory));
        Ok(self)
    }

    /// The batches that were compared below `end`, and what differs.
    fn judge(&self, end: i64, cleaned: bool) -> Result<(u64, Vec<String>)> {
        let disks = (0..self.log_dirs.len()).collect();
        let held = [Held { name: "t-0".to_owned(), end, disks }];
        let comparison = compare(&self.log_dirs, &held, |_| cleaned)?;
        let words = comparison.violations.into_iter().map(|violation| violation.what);
        Ok((comparison.batches, words.collect()))
    }
}

/// What differs below 3 between two disks with [`WHOLE`] and one with these bytes.
fn beside_whole(other: Vec<u8>) -> Result<Vec<String>> {
    let (one, two) = (bytes(WHOLE), bytes(WHOLE));
    let disks = Disks::new()?.add(&[one], 0)?.add(&[two], 0)?.add(&[other], 0)?;
    Ok(disks.judge(3, false)?.1)
}

#[test]
fn another_batch_below_the_high_watermark_is_found() -> Result<()> {
    let value: Batches<'_> = &[(0, 0, "a"), (1, 0, "B"), (2, 1, "c")];
    let epoch: Batches<'_> = &[(0, 0, "a"), (1, 1, "b"), (2, 1, "c")];
    for bad in [value, epoch] {
        let found = beside_whole(bytes(bad))?;
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].contains("t-0 at 1,"), "{found:?}");
    }
    assert!(beside_whole(bytes(WHOLE))?.is_empty());
    Ok(())
}

#[test]
fn bytes_that_differ_behind_the_same_header_are_found_on_the_disk_that_has_them() -> Result<()> {
    let mut spoilt = bytes(WHOLE);
    let last = spoilt.len() - 2;
    spoilt[last] ^= 1;
    let found = beside_whole(spoilt)?;
    assert!(found.iter().any(|what| what.contains("t-0 on disk 2: the checksum")), "{found:?}");
    assert!(found.iter().any(|what| what.contains("t-0 at 2,")), "{found:?}");
    Ok(())
}

#[test]
fn the_same_wrong_bytes_on_all_disks_are_found() -> Result<()> {
    let mut spoilt = bytes(WHOLE);
    let last = spoilt.len() - 2;
    spoilt[last] ^= 1;
    let disks = Disks::new()?.add(&[spoilt.clone()], 0)?.add(&[spoilt], 0)?;
    assert_eq!(disks.judge(3, false)?.1.len(), 2);
    assert!(disks.judge(2, false)?.1.is_empty(), "it is above the high watermark");
    Ok(())
}

#[test]
fn a_missing_beginning_middle_or_end_is_found() -> Result<()> {
    let cases: [(Batches<'_>, &str); 3] = [
        (&[(1, 0, "b"), (2, 1, "c")], "nothing from 0 to 1"),
        (&[(0, 0, "a"), (2, 1, "c")], "nothing from 1 to 2"),
        (&[(0, 0, "a"), (1, 0, "b")], "nothing from 2 to the high watermark 3"),
    ];
    for (bad, words) in cases {
        let found = beside_whole(bytes(bad))?;
        assert!(found.iter().any(|what| what.contains(words)), "{words}: {found:?}");
        // Though all disks lack it.
        let disks = Disks::new()?.add(&[bytes(bad)], 0)?.add(&[bytes(bad)], 0)?;
        assert_eq!(disks.judge(3, false)?.1.len(), 2, "{words}");
    }
    assert!(beside_whole(Vec::new())?[0].contains("nothing from 0 to the high watermark 3"));
    Ok(())
}

#[test]
fn a_beginning_that_all_have_deleted_is_not_missed_and_one_that_one_has_is() -> Result<()> {
    let cut: Batches<'_> = &[(1, 0, "b"), (2, 1, "c")];
    let all = Disks::new()?.add(&[bytes(cut)], 1)?.add(&[bytes(WHOLE)], 1)?;
    assert_eq!(all.judge(3, false)?, (2, Vec::new()));
    let one = Disks::new()?.add(&[bytes(cut)], 1)?.add(&[bytes(WHOLE)], 0)?;
    assert!(!one.judge(3, false)?.1.is_empty());
    Ok(())
}

#[test]
fn a_partition_that_a_disk_lacks_is_found_and_so_is_an_empty_one() -> Result<()> {
    let disks = Disks::new()?.add(&[bytes(WHOLE)], 0)?.add(&[], 0)?;
    assert!(!disks.judge(3, false)?.1.is_empty());
    fs::remove_dir_all(disks.log_dirs[1].1.join("t-0"))?;
    assert_eq!(disks.judge(3, false)?.1, ["t-0 is not on disk 1"]);
    assert_eq!(disks.judge(0, false)?.1, ["t-0 is not on disk 1"]);
    Ok(())
}

#[test]
fn what_is_above_the_high_watermark_may_differ() -> Result<()> {
    let behind: Batches<'_> = &[(0, 0, "a"), (1, 0, "B")];
    let disks = Disks::new()?.add(&[bytes(WHOLE)], 0)?.add(&[bytes(behind)], 0)?;
    assert_eq!(disks.judge(1, false)?, (1, Vec::new()));
    assert!(!disks.judge(2, false)?.1.is_empty());
    Ok(())
}

#[test]
fn a_batch_that_the_cleaner_took_from_one_replica_is_no_difference() -> Result<()> {
    let two_segments = |first: Batches<'_>, last: Batches<'_>| [bytes(first), bytes(last)];
    let whole = two_segments(&WHOLE[..2], &WHOLE[2..]);
    let cleaned = two_segments(&WHOLE[..1], &WHOLE[2..]);
    let disks = Disks::new()?.add(&whole, 0)?.add(&cleaned, 0)?;
    assert_eq!(disks.judge(3, true)?, (3, Vec::new()));
    assert!(!disks.judge(3, false)?.1.is_empty(), "its topic is not cleaned");
    let other = two_segments(&WHOLE[..1], &[(2, 1, "C")]);
    let disks = Disks::new()?.add(&whole, 0)?.add(&other, 0)?;
    assert_eq!(disks.judge(3, true)?.1.len(), 1, "what both hold is equal");
    let one = [bytes(&[(0, 0, "a"), (2, 1, "c")])];
    let disks = Disks::new()?.add(&[bytes(WHOLE)], 0)?.add(&one, 0)?;
    assert!(!disks.judge(3, true)?.1.is_empty(), "the cleaner leaves the last segment alone");
    Ok(())
}
