//! All replicas of a partition, compared batch by batch and byte by byte on their disks.
//!
//! From where the log starts to the leader's high watermark each replica must hold every offset, in
//! batches whose checksum is that of their bytes, and all replicas the same bytes. The log starts at 0
//! unless every replica has written down that it starts later, as after a DeleteRecords. Above the high
//! watermark they may differ, and be cut when they meet. Where the cleaner may have been at work, the
//! batches that two replicas both hold must be equal.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::hash::{DefaultHasher, Hasher as _};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use broker_protocol::record::entries::{Entry, entries};

use super::{Rule, Violation};

const HIGH_WATERMARKS: &str = "replication-offset-checkpoint";
const LOG_STARTS: &str = "log-start-offset-checkpoint";

/// What a batch is: all that may not differ between replicas.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Print {
    base_offset: i64,
    last_offset: i64,
    leader_epoch: i32,
    checksum: u32,
    /// Of every byte, the header's too.
    bytes: u64,
    /// Whether the checksum is that of the bytes.
    is_sound: bool,
}

/// A partition to compare, as its leader knew it before the disks were looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// The name of its directory, `<topic>-<number>`.
    pub name: String,
    /// All before this offset is committed.
    pub end: i64,
    /// The numbers of the disks that must hold it: those of its replicas in sync.
    pub disks: Vec<usize>,
}

/// What was compared, and what differed.
#[derive(Debug, Default)]
pub struct Comparison {
    /// Partitions that at least two replicas hold.
    pub partitions: usize,
    /// Batches below the high watermark, counted once.
    pub batches: u64,
    /// What differed.
    pub violations: Vec<Violation>,
}

/// A partition on one disk.
#[derive(Debug)]
struct Replica {
    disk: String,
    log_start: i64,
    segments: usize,
    batches: Vec<Print>,
}

impl Comparison {
    fn differs(&mut self, what: String) {
        self.violations.push(Violation { rule: Rule::Diverged, what });
    }
}

/// Compares the partitions `all` in `log_dirs`, each with the name of its disk. `cleaned` says of a topic
/// whether it is compacted.
pub fn compare(
    log_dirs: &[(String, PathBuf)],
    all: &[Held],
    cleaned: impl Fn(&str) -> bool,
) -> Result<Comparison> {
    let starts: Vec<BTreeMap<String, i64>> = log_dirs
        .iter()
        .map(|(_, directory)| checkpoint(directory, LOG_STARTS))
        .collect::<Result<_>>()?;
    let mut comparison = Comparison::default();
    for held in all {
        let mut replicas = Vec::new();
        for index in &held.disks {
            let (disk, directory) = &log_dirs[*index];
            let path = directory.join(&held.name);
            if !path.exists() {
                comparison.differs(format!("{} is not on {disk}", held.name));
                continue;
            }
            let read = read(&path).with_context(|| format!("{} on {disk}", held.name));
            let (segments, batches) = read?;
            let log_start = starts[*index].get(&held.name).copied().unwrap_or(0);
            replicas.push(Replica { disk: disk.clone(), log_start, segments, batches });
        }
        comparison.partitions += usize::from(replicas.len() > 1);
        let topic = held.name.rsplit_once('-').map_or(held.name.as_str(), |(topic, _)| topic);
        // The cleaner leaves the last segment alone.
        let is_cleaned = cleaned(topic) && replicas.iter().any(|replica| replica.segments > 1);
        compare_replicas(held, &replicas, is_cleaned, &mut comparison);
    }
    Ok(comparison)
}

fn compare_replicas(held: &Held, replicas: &[Replica], is_cleaned: bool, to: &mut Comparison) {
    let Held { name, end, .. } = held;
    let start = replicas.iter().map(|replica| replica.log_start).min().unwrap_or(0);
    let committed = |replica: &Replica| -> BTreeMap<i64, Print> {
        let batches = replica.batches.iter().filter(|batch| batch.base_offset < *end);
        let batches = batches.filter(|batch| batch.last_offset >= start);
        batches.map(|batch| (batch.base_offset, *batch)).collect()
    };
    for replica in replicas {
        if let Some(what) = flaw(&committed(replica), (start, *end), is_cleaned) {
            to.differs(format!("{name} on {}: {what}", replica.disk));
        }
    }
    let Some((first, others)) = replicas.split_first() else { return };
    let expected = committed(first);
    to.batches += expected.len() as u64;
    for other in others {
        let there = committed(other);
        let offsets: BTreeSet<i64> = expected.keys().chain(there.keys()).copied().collect();
        let differs = offsets.into_iter().find(|offset| {
            let (one, two) = (expected.get(offset), there.get(offset));
            one != two && !(is_cleaned && (one.is_none() || two.is_none()))
        });
        // What follows a difference differs too.
        if let Some(offset) = differs {
            to.differs(format!(
                "{name} at {offset}, below the high watermark {end}: {} has {:?}, {} has {:?}",
                first.disk,
                expected.get(&offset),
                other.disk,
                there.get(&offset)
            ));
        }
    }
}

/// What is wrong with a replica by itself, which has to hold all offsets from the first of `range` to
/// before the second.
fn flaw(
    batches: &BTreeMap<i64, Print>,
    (start, end): (i64, i64),
    is_cleaned: bool,
) -> Option<String> {
    let mut next = start;
    for batch in batches.values() {
        if !batch.is_sound {
            return Some(format!("the checksum of {batch:?} is not that of its bytes"));
        }
        if batch.base_offset > next && !is_cleaned {
            return Some(format!("nothing from {next} to {}", batch.base_offset));
        }
        next = batch.last_offset + 1;
    }
    (next < end && !is_cleaned).then(|| format!("nothing from {next} to the high watermark {end}"))
}

/// What each of `log_dirs` has written down of its partitions' high watermarks.
pub fn all_high_watermarks(log_dirs: &[(String, PathBuf)]) -> Result<Vec<BTreeMap<String, i64>>> {
    log_dirs.iter().map(|(_, directory)| checkpoint(directory, HIGH_WATERMARKS)).collect()
}

/// A checkpoint file: a version, a count, then a topic, a partition and an offset a line.
fn checkpoint(log_dir: &Path, file: &str) -> Result<BTreeMap<String, i64>> {
    let path = log_dir.join(file);
    let text = match fs::read_to_string(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        text => text.with_context(|| format!("read {}", path.display()))?,
    };
    let mut offsets = BTreeMap::new();
    for line in text.lines().skip(2) {
        let mut words = line.split(' ');
        let mut word = || words.next().with_context(|| format!("a short line: {line}"));
        let (topic, partition, offset) = (word()?, word()?, word()?);
        offsets.insert(format!("{topic}-{partition}"), offset.parse()?);
    }
    Ok(offsets)
}

/// How many segments there are, and the batches of all of them, in order.
fn read(directory: &Path) -> Result<(usize, Vec<Print>)> {
    let mut segments = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "log") {
            segments.push(path);
        }
    }
    segments.sort();
    let mut batches = Vec::new();
    for segment in &segments {
        let bytes = fs::read(segment).with_context(|| format!("read {}", segment.display()))?;
        for entry in entries(&bytes) {
            // A segment may end with a torn batch, or with room that was reserved.
            let Ok(Entry::Batch(batch)) = entry else { break };
            let mut hasher = DefaultHasher::new();
            hasher.write(batch.bytes);
            batches.push(Print {
                base_offset: batch.header.base_offset.0,
                last_offset: batch.header.last_offset().0,
                leader_epoch: batch.header.partition_leader_epoch.0,
                checksum: batch.header.crc,
                bytes: hasher.finish(),
                is_sound: batch.check_crc(),
            });
        }
    }
    Ok((segments.len(), batches))
}

#[cfg(test)]
mod tests;
