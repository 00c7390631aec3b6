//! The bytes of one file, as programs see them and as the disk has them.
//!
//! Sectors that were never written are not stored and read as zeros, so that preallocated files cost
//! nothing.

use std::collections::{BTreeMap, BTreeSet};

use super::{CrashMode, Random};

/// What disks write at once or not at all.
const SECTOR: u64 = 512;

type Sectors = BTreeMap<u64, [u8; SECTOR as usize]>;

/// A file.
#[derive(Debug)]
pub(super) struct FileNode {
    len: u64,
    sectors: Sectors,
    durable_len: u64,
    durable_sectors: Sectors,
    /// Sectors that differ from what a crash may leave.
    dirty: BTreeSet<u64>,
    modified_ms: i64,
}

impl FileNode {
    pub(super) fn new(modified_ms: i64) -> Self {
        Self {
            len: 0,
            sectors: Sectors::new(),
            durable_len: 0,
            durable_sectors: Sectors::new(),
            dirty: BTreeSet::new(),
            modified_ms,
        }
    }

    pub(super) fn len(&self) -> u64 {
        self.len
    }

    pub(super) fn modified_ms(&self) -> i64 {
        self.modified_ms
    }

    pub(super) fn set_modified_ms(&mut self, modified_ms: i64) {
        self.modified_ms = modified_ms;
    }

    pub(super) fn read(&self, buffer: &mut [u8], position: u64) -> usize {
        let size = self.len.saturating_sub(position).min(buffer.len() as u64) as usize;
        for (sector, range, part) in parts(position, size) {
            match self.sectors.get(&sector) {
                Some(bytes) => buffer[part].copy_from_slice(&bytes[range]),
                None => buffer[part].fill(0),
            }
        }
        size
    }

    pub(super) fn write(&mut self, bytes: &[u8], position: u64, now_ms: i64) {
        for (sector, range, part) in parts(position, bytes.len()) {
            let stored = self.sectors.entry(sector).or_insert([0; SECTOR as usize]);
            stored[range].copy_from_slice(&bytes[part]);
            self.dirty.insert(sector);
        }
        if !bytes.is_empty() {
            self.len = self.len.max(position + bytes.len() as u64);
            self.modified_ms = now_ms;
        }
    }

    pub(super) fn set_len(&mut self, len: u64, now_ms: i64) {
        if len < self.len {
            let first_gone = len.div_ceil(SECTOR);
            let gone = self.sectors.split_off(&first_gone);
            self.dirty.extend(gone.into_keys());
            // Grown again, the file must show zeros, also where the disk still has old bytes.
            self.dirty.extend(self.durable_sectors.range(first_gone..).map(|(sector, _)| *sector));
            if let Some(last) = self.sectors.get_mut(&(len / SECTOR)) {
                last[(len % SECTOR) as usize..].fill(0);
                self.dirty.insert(len / SECTOR);
            }
        }
        self.len = len;
        self.modified_ms = now_ms;
    }

    pub(super) fn sync(&mut self) {
        for sector in std::mem::take(&mut self.dirty) {
            copy_sector(&self.sectors, &mut self.durable_sectors, sector);
        }
        self.durable_len = self.len;
    }

    /// A sync failed: the pages count as clean, though the disk never got them.
    pub(super) fn forget_dirty(&mut self) {
        self.dirty.clear();
    }

    pub(super) fn after_crash(&self, mode: CrashMode, random: &mut Random) -> Self {
        let mut sectors = self.durable_sectors.clone();
        for sector in &self.dirty {
            let is_kept = match mode {
                CrashMode::All => false,
                CrashMode::Nothing => true,
                CrashMode::Some => random.coin(),
            };
            if is_kept {
                copy_sector(&self.sectors, &mut sectors, *sector);
            }
        }
        let len = match mode {
            CrashMode::All => self.durable_len,
            CrashMode::Nothing => self.len,
            CrashMode::Some => {
                let (low, high) = (self.len.min(self.durable_len), self.len.max(self.durable_len));
                match random.below(3) {
                    0 => self.durable_len,
                    1 => self.len,
                    _ => low + random.below(high - low + 1),
                }
            }
        };
        sectors.split_off(&len.div_ceil(SECTOR));
        if let Some(last) = sectors.get_mut(&(len / SECTOR)) {
            last[(len % SECTOR) as usize..].fill(0);
        }
        Self {
            len,
            durable_len: len,
            durable_sectors: sectors.clone(),
            sectors,
            dirty: BTreeSet::new(),
            modified_ms: self.modified_ms,
        }
    }
}

fn copy_sector(from: &Sectors, to: &mut Sectors, sector: u64) {
    match from.get(&sector) {
        Some(bytes) => _ = to.insert(sector, *bytes),
        None => _ = to.remove(&sector),
    }
}

/// Splits a range of a file into (sector, range in the sector, range in the buffer).
fn parts(
    position: u64,
    size: usize,
) -> impl Iterator<Item = (u64, std::ops::Range<usize>, std::ops::Range<usize>)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        if done == size {
            return None;
        }
        let at = position + done as u64;
        let start = (at % SECTOR) as usize;
        let count = (SECTOR as usize - start).min(size - done);
        let part = (at / SECTOR, start..start + count, done..done + count);
        done += count;
        Some(part)
    })
}
