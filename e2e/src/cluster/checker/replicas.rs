//! All replicas of a partition, compared batch by batch on their disks after the brokers have ended.
//!
//! Below the lowest high watermark that a replica has written down they must hold the same batches: the
//! same offsets, epochs and checksums. Above it they may differ, and be cut when they meet. Where the
//! cleaner may have been at work, the batches that two replicas both hold must be equal.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use broker_protocol::record::batch::BatchHeader;
use broker_protocol::record::entries::{Entry, entries};

use super::{Rule, Violation};

/// What identifies a batch: all that may not differ between replicas.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Print {
    base_offset: i64,
    last_offset: i64,
    leader_epoch: i32,
    checksum: u32,
}

/// What was compared, and what differed.
#[derive(Debug, Default)]
pub struct Comparison {
    /// Partitions that at least two replicas hold.
    pub partitions: usize,
    /// Batches below the lowest high watermark.
    pub batches: u64,
    /// By partition, the lowest high watermark: nothing above it was compared.
    pub limits: BTreeMap<String, i64>,
    /// What differed.
    pub violations: Vec<Violation>,
}

/// A partition on one disk.
#[derive(Debug)]
struct Replica {
    disk: String,
    high_watermark: i64,
    batches: Vec<Print>,
}

/// Which partitions to compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// Those that are named: brokers may be at work on others.
    Named,
    /// All that there are.
    All,
}

/// Compares partitions in `log_dirs`, each with the name of its disk.
///
/// `whole` are partitions that as many disks must hold; `cleaned` says of a topic whether it is compacted.
pub fn compare(
    log_dirs: &[(String, PathBuf)],
    (whole, copies): (&[String], usize),
    extent: Extent,
    cleaned: impl Fn(&str) -> bool,
) -> Result<Comparison> {
    let mut found: BTreeMap<String, Vec<(usize, PathBuf)>> = BTreeMap::new();
    for (index, (_, directory)) in log_dirs.iter().enumerate() {
        for partition in partitions(directory)? {
            if extent == Extent::All || whole.contains(&partition) {
                let path = directory.join(&partition);
                found.entry(partition).or_default().push((index, path));
            }
        }
    }
    let watermarks = all_high_watermarks(log_dirs)?;
    let mut comparison = Comparison::default();
    for name in whole {
        let count = found.get(name).map_or(0, Vec::len);
        if count < copies {
            let what = format!("{name} is on {count} of {copies} disks");
            comparison.violations.push(Violation { rule: Rule::Diverged, what });
        }
    }
    for (name, places) in found.iter().filter(|(_, places)| places.len() > 1) {
        let mut replicas = Vec::new();
        for (index, path) in places {
            let high_watermark = watermarks[*index].get(name).copied().unwrap_or(0);
            let disk = log_dirs[*index].0.clone();
            let batches = read(path).with_context(|| format!("{name} on {disk}"))?;
            replicas.push(Replica { disk, high_watermark, batches });
        }
        comparison.partitions += 1;
        let topic = name.rsplit_once('-').map_or(name.as_str(), |(topic, _)| topic);
        compare_replicas(name, &replicas, cleaned(topic), &mut comparison);
    }
    Ok(comparison)
}

fn compare_replicas(name: &str, replicas: &[Replica], cleaned: bool, to: &mut Comparison) {
    let limit = replicas.iter().map(|replica| replica.high_watermark).min().unwrap_or(0);
    let start = replicas.iter().filter_map(|replica| replica.batches.first());
    // What retention has taken from one replica is not asked of the others.
    let start = start.map(|first| first.base_offset).max().unwrap_or(0);
    let below = |replica: &Replica| -> BTreeMap<i64, Print> {
        let batches = replica.batches.iter().filter(|batch| batch.last_offset < limit);
        let batches = batches.filter(|batch| batch.base_offset >= start);
        batches.map(|batch| (batch.base_offset, *batch)).collect()
    };
    to.limits.insert(name.to_owned(), limit);
    let Some((first, others)) = replicas.split_first() else { return };
    let expected = below(first);
    to.batches += expected.len() as u64;
    for other in others {
        let there = below(other);
        let offsets: BTreeSet<i64> = expected.keys().chain(there.keys()).copied().collect();
        for offset in offsets {
            let (one, two) = (expected.get(&offset), there.get(&offset));
            if one == two || (cleaned && (one.is_none() || two.is_none())) {
                continue;
            }
            to.violations.push(Violation {
                rule: Rule::Diverged,
                what: format!(
                    "{name} at {offset}, below the high watermark {limit}: {} has {one:?}, {} has \
                     {two:?}",
                    first.disk, other.disk
                ),
            });
            // What follows a difference differs too.
            break;
        }
    }
}

/// The directories of partitions, `<topic>-<number>`.
fn partitions(log_dir: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(log_dir).with_context(|| format!("list {}", log_dir.display()))? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let number = name.rsplit_once('-').map(|(_, number)| number.parse::<u32>());
        if entry.file_type()?.is_dir() && matches!(number, Some(Ok(_))) {
            names.push(name);
        }
    }
    Ok(names)
}

/// What each of `log_dirs` has written down of its partitions' high watermarks.
pub fn all_high_watermarks(log_dirs: &[(String, PathBuf)]) -> Result<Vec<BTreeMap<String, i64>>> {
    log_dirs.iter().map(|(_, directory)| high_watermarks(directory)).collect()
}

/// `replication-offset-checkpoint`: a version, a count, then a topic, a partition and an offset a line.
fn high_watermarks(log_dir: &Path) -> Result<BTreeMap<String, i64>> {
    let path = log_dir.join("replication-offset-checkpoint");
    let text = match fs::read_to_string(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        text => text.with_context(|| format!("read {}", path.display()))?,
    };
    let mut watermarks = BTreeMap::new();
    for line in text.lines().skip(2) {
        let mut words = line.split(' ');
        let mut word = || words.next().with_context(|| format!("a short line: {line}"));
        let (topic, partition, offset) = (word()?, word()?, word()?);
        watermarks.insert(format!("{topic}-{partition}"), offset.parse()?);
    }
    Ok(watermarks)
}

/// The batches of all segments, in order.
fn read(directory: &Path) -> Result<Vec<Print>> {
    let mut segments = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "log") {
            segments.push(path);
        }
    }
    segments.sort();
    let mut batches = Vec::new();
    for segment in segments {
        let bytes = fs::read(&segment).with_context(|| format!("read {}", segment.display()))?;
        for entry in entries(&bytes) {
            // A segment may end with a torn batch, or with room that was reserved.
            let Ok(Entry::Batch(batch)) = entry else { break };
            batches.push(print(&batch.header));
        }
    }
    Ok(batches)
}

fn print(header: &BatchHeader) -> Print {
    Print {
        base_offset: header.base_offset.0,
        last_offset: header.last_offset().0,
        leader_epoch: header.partition_leader_epoch.0,
        checksum: header.crc,
    }
}

#[cfg(test)]
mod tests {
    use broker_protocol::quantity::{LeaderEpoch, Offset, TimestampMs};
    use broker_protocol::record::batch::Compression;
    use broker_protocol::record::builder::BatchBuilder;

    use super::*;

    /// A batch of one record a call: offset, leader epoch, value.
    fn batch(offset: i64, epoch: i32, value: &str) -> Vec<u8> {
        let mut builder = BatchBuilder::new(Offset(offset), Compression::None);
        builder.header.partition_leader_epoch = LeaderEpoch(epoch);
        builder.push(TimestampMs(1), None, Some(value.as_bytes()));
        builder.finish().unwrap()
    }

    /// What is different between disks with these batches of one partition, by high watermark.
    fn differences(
        disks: &[(i64, &[(i64, i32, &str)])],
        cleaned: bool,
    ) -> Result<(u64, Vec<String>)> {
        let root = tempfile::tempdir()?;
        let mut log_dirs = Vec::new();
        for (index, (high_watermark, batches)) in disks.iter().enumerate() {
            let directory = root.path().join(index.to_string());
            fs::create_dir_all(directory.join("t-0"))?;
            let checkpoint = format!("0\n1\nt 0 {high_watermark}\n");
            fs::write(directory.join("replication-offset-checkpoint"), checkpoint)?;
            let bytes: Vec<u8> = batches
                .iter()
                .flat_map(|(offset, epoch, value)| batch(*offset, *epoch, value))
                .collect();
            fs::write(directory.join("t-0/00000000000000000000.log"), bytes)?;
            log_dirs.push((format!("disk {index}"), directory));
        }
        let whole = ["t-0".to_owned()];
        let comparison = compare(&log_dirs, (&whole, log_dirs.len()), Extent::All, |_| cleaned)?;
        let words = comparison.violations.into_iter().map(|violation| violation.what);
        Ok((comparison.batches, words.collect()))
    }

    #[test]
    fn another_batch_below_the_lowest_high_watermark_is_found() -> Result<()> {
        let one: &[_] = &[(0, 0, "a"), (1, 0, "b"), (2, 1, "c")];
        let other: &[_] = &[(0, 0, "a"), (1, 0, "B"), (2, 1, "c")];
        let epoch: &[_] = &[(0, 0, "a"), (1, 1, "b"), (2, 1, "c")];
        let gap: &[_] = &[(0, 0, "a"), (2, 1, "c")];
        for bad in [other, epoch, gap] {
            let (_, found) = differences(&[(3, one), (3, one), (3, bad)], false)?;
            assert_eq!(found.len(), 1, "{bad:?}");
            assert!(found[0].contains("t-0 at 1,"), "{found:?}");
        }
        Ok(())
    }

    #[test]
    fn what_is_above_the_lowest_high_watermark_may_differ() -> Result<()> {
        let one: &[_] = &[(0, 0, "a"), (1, 0, "b"), (2, 1, "c")];
        let behind: &[_] = &[(0, 0, "a"), (1, 0, "B")];
        assert_eq!(differences(&[(3, one), (1, behind)], false)?, (1, Vec::new()));
        Ok(())
    }

    #[test]
    fn a_batch_that_the_cleaner_took_from_one_replica_is_no_difference() -> Result<()> {
        let one: &[_] = &[(0, 0, "a"), (1, 0, "b"), (2, 1, "c")];
        let cleaned: &[_] = &[(0, 0, "a"), (2, 1, "c")];
        assert_eq!(differences(&[(3, one), (3, cleaned)], true)?, (3, Vec::new()));
        let other: &[_] = &[(0, 0, "a"), (2, 1, "C")];
        assert_eq!(differences(&[(3, one), (3, other)], true)?.1.len(), 1);
        Ok(())
    }
}
