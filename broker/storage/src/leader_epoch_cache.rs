//! Which leader epoch wrote which part of a log: the ground for truncation after a change of leader.
//!
//! A run of `(epoch, start_offset)`, strictly rising in the epoch and in the offset, asserted after
//! every mutation. An epoch ends where the next one starts; the last one ends at the log's end.
//!
//! Nothing reaches the disk before [`LeaderEpochCache::flush`]: recovery finds the epochs above the recovery
//! point in the batches, and cuts stale entries again. An epoch that wrote nothing is never written: it
//! says nothing about the log.
//!
//! Concurrency: not shared; owned by the log. Source: Kafka 3.9 `LeaderEpochFileCache`, KIP-101, KIP-279.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use broker_protocol::quantity::{LeaderEpoch, Offset};

use crate::checkpoint::{CheckpointError, read_entries, write_entries};
use crate::fs::Fs;

/// Name of the checkpoint in a log's directory.
pub const LEADER_EPOCH_FILE: &str = "leader-epoch-checkpoint";

/// A leader epoch and the first offset it wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EpochEntry {
    /// The epoch.
    pub epoch: LeaderEpoch,
    /// The first offset (inclusive) of the epoch.
    pub start_offset: Offset,
}

/// The leader epochs of one log.
#[derive(Debug)]
pub struct LeaderEpochCache {
    fs: Arc<dyn Fs>,
    path: PathBuf,
    entries: Vec<EpochEntry>,
    /// How many of the first entries are what the file says; `None` if it says anything else.
    written: Option<usize>,
}

impl LeaderEpochCache {
    /// Loads the cache of the log in `dir`; empty if it has none.
    ///
    /// Entries that are out of order on disk are dropped as if assigned one after the other.
    pub fn load(fs: Arc<dyn Fs>, dir: &Path) -> Result<Self, CheckpointError> {
        let path = dir.join(LEADER_EPOCH_FILE);
        let read = read_entries(fs.as_ref(), &path, |fields| {
            let epoch = fields.next()?.parse().ok().filter(|epoch| *epoch >= 0)?;
            let start_offset = fields.next()?.parse().ok().filter(|offset| *offset >= 0)?;
            Some(EpochEntry { epoch: LeaderEpoch(epoch), start_offset: Offset(start_offset) })
        })?;
        let mut cache = Self::empty(fs, dir);
        for entry in &read {
            cache.insert(*entry);
        }
        cache.written = (cache.entries == read).then_some(read.len());
        Ok(cache)
    }

    /// Makes an empty cache for the log in `dir`, whatever its file says: recovery fills it anew.
    pub fn empty(fs: Arc<dyn Fs>, dir: &Path) -> Self {
        Self { fs, path: dir.join(LEADER_EPOCH_FILE), entries: Vec::new(), written: None }
    }

    /// Says that `epoch` starts at `start_offset`. Nothing happens if that is known.
    ///
    /// Entries that the new one contradicts (a higher epoch, or a later start) are removed.
    ///
    /// # Panics
    /// If either number is negative.
    pub fn assign_in_memory(&mut self, epoch: LeaderEpoch, start_offset: Offset) {
        self.insert(EpochEntry { epoch, start_offset });
    }

    /// Says that a batch of `epoch` lies at `offset`, as a walk through the log from there on finds: what the
    /// cache says of `offset` and behind it is dropped if it says otherwise.
    pub fn observe(&mut self, epoch: LeaderEpoch, offset: Offset) {
        if self.epoch_for_offset(offset) != Some(epoch) {
            self.truncate_from_end(offset);
            self.assign_in_memory(epoch, offset);
        }
    }

    fn insert(&mut self, entry: EpochEntry) {
        assert!(entry.epoch.0 >= 0 && entry.start_offset.0 >= 0, "not an epoch's start: {entry:?}");
        let known = |last: &EpochEntry| {
            last.epoch == entry.epoch && last.start_offset <= entry.start_offset
        };
        if self.entries.last().is_some_and(known) {
            return;
        }
        let contradicts =
            |old: &EpochEntry| old.epoch >= entry.epoch || old.start_offset >= entry.start_offset;
        while self.entries.last().is_some_and(contradicts) {
            self.entries.pop();
        }
        self.forget_written_above(self.entries.len());
        self.entries.push(entry);
        self.assert_order();
    }

    /// Removes every epoch that starts at `end_offset` or behind it.
    pub fn truncate_from_end(&mut self, end_offset: Offset) {
        let kept = self.entries.partition_point(|entry| entry.start_offset < end_offset);
        self.entries.truncate(kept);
        self.forget_written_above(kept);
        self.assert_order();
    }

    /// The file says more than the first `kept` entries, if it says more.
    fn forget_written_above(&mut self, kept: usize) {
        self.written = self.written.filter(|written| *written <= kept);
    }

    /// Forgets what lies before `start_offset`; the epoch that contains it then starts there.
    pub fn truncate_from_start(&mut self, start_offset: Offset) {
        let below = self.entries.partition_point(|entry| entry.start_offset <= start_offset);
        let Some(first) = below.checked_sub(1) else { return };
        if first == 0 && self.entries[0].start_offset == start_offset {
            return;
        }
        self.entries.drain(..first);
        self.entries[0].start_offset = start_offset;
        self.written = None;
        self.assert_order();
    }

    /// Removes every epoch.
    pub fn clear(&mut self) {
        self.entries.clear();
        self.forget_written_above(0);
    }

    /// Writes the epochs that start below `log_end_offset` to disk, durably, unless the file says so.
    pub fn flush(&mut self, log_end_offset: Offset) -> Result<(), CheckpointError> {
        let count = self.entries.partition_point(|entry| entry.start_offset < log_end_offset);
        if self.written == Some(count) {
            return Ok(());
        }
        let entries = self.entries[..count].iter();
        let lines = entries.map(|entry| format!("{} {}", entry.epoch.0, entry.start_offset.0));
        write_entries(self.fs.as_ref(), &self.path, lines)?;
        self.written = Some(count);
        Ok(())
    }

    /// Follows the log into a renamed directory.
    pub fn set_dir(&mut self, dir: &Path) {
        self.path = dir.join(LEADER_EPOCH_FILE);
    }

    /// Returns the latest epoch and its start.
    pub fn latest(&self) -> Option<EpochEntry> {
        self.entries.last().copied()
    }

    /// Returns all epochs, oldest first.
    pub fn entries(&self) -> &[EpochEntry] {
        &self.entries
    }

    /// Returns the largest epoch up to `requested`, and where it ends (exclusive).
    ///
    /// For an epoch older than all known ones, that epoch itself and the start of the oldest: what it
    /// wrote is gone from the log. `None` for an epoch newer than all, or below zero.
    ///
    /// # Panics
    /// Never, while the cache is in order.
    pub fn end_offset_for(
        &self,
        requested: LeaderEpoch,
        log_end_offset: Offset,
    ) -> Option<(LeaderEpoch, Offset)> {
        let latest = self.latest().filter(|_| requested.0 >= 0)?;
        if latest.epoch == requested {
            return Some((requested, log_end_offset));
        }
        let next = self.entries.partition_point(|entry| entry.epoch <= requested);
        let end_offset = self.entries.get(next)?.start_offset;
        let epoch = next.checked_sub(1).map_or(requested, |floor| self.entries[floor].epoch);
        assert!(epoch <= requested, "an epoch above the requested one never answers for it");
        Some((epoch, end_offset))
    }

    /// Returns the epoch that wrote `offset`, if the log reaches that far back.
    pub fn epoch_for_offset(&self, offset: Offset) -> Option<LeaderEpoch> {
        let next = self.entries.partition_point(|entry| entry.start_offset <= offset);
        next.checked_sub(1).map(|index| self.entries[index].epoch)
    }

    fn assert_order(&self) {
        let rising = self.entries.windows(2).all(|pair| {
            pair[0].epoch < pair[1].epoch && pair[0].start_offset < pair[1].start_offset
        });
        assert!(rising, "leader epochs out of order: {:?}", self.entries);
    }
}

#[cfg(test)]
mod tests;
