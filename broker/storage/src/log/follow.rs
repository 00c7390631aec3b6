//! Appends of a follower: batches as their leader stored them, offsets and epochs included.
//!
//! They lie behind each other in the answer as they will in the file, so a run of them that goes to one
//! segment is written by one call. Every batch is checked before any of its run is written: whole, sound,
//! behind the one before it, in an epoch not below it.
//!
//! Source: Kafka 3.9 `UnifiedLog.appendAsFollower`.

use std::io::IoSlice;

use broker_protocol::quantity::{LeaderEpoch, Offset, TimestampMs};

use super::Log;
use super::append::{Added, AppendError, Appended};
use crate::segment::scan::{self, Damage, Entry};

/// Batches that go to the active segment by one write.
#[derive(Debug)]
struct Run {
    entries: Vec<Entry>,
    /// Where the run begins in the answer.
    start: usize,
    size: u32,
    /// What the next batch must not be below.
    next_offset: Offset,
    epoch: LeaderEpoch,
}

impl Run {
    fn begin(&mut self, start: usize) {
        self.entries.clear();
        (self.start, self.size) = (start, 0);
    }

    fn push(&mut self, entry: Entry) {
        self.size += entry.size;
        self.next_offset = Offset(entry.last_offset.0 + 1);
        self.epoch = entry.leader_epoch().unwrap_or(self.epoch);
        self.entries.push(entry);
    }
}

impl Log {
    /// Appends whole batches as a leader stored them, offsets included; a torn last one is left out.
    ///
    /// Offsets may skip (the leader compacted), but never fall, and neither do leader epochs, which are at
    /// most `epoch_max`: the one in which the leader was asked. `None` if there was no whole batch.
    ///
    /// # Errors
    /// Batches before the one that is wrong are appended, and whole.
    ///
    /// # Panics
    /// Never, while the log is in order.
    pub fn append_as_follower(
        &mut self,
        bytes: &[u8],
        epoch_max: LeaderEpoch,
        now: TimestampMs,
    ) -> Result<Option<Appended>, AppendError> {
        let before = self.log_end_offset;
        let mut followed = self.follow(bytes, epoch_max, now);
        if let Err(AppendError::OutOfOrder { base_offset, .. }) = &followed
            && self.size_in_bytes() == 0
            && self.begins_within_first(bytes)
        {
            // The leader deleted a part of its first batch (Kafka 3.9 `UnexpectedAppendOffsetException`).
            for old in self.truncate_fully_and_start_at(*base_offset, now)? {
                let _ = old.purge();
            }
            followed = self.follow(bytes, epoch_max, now);
        }
        self.assert_order();
        let first = followed?;
        let last = Offset(self.log_end_offset.0 - 1);
        assert!(first.is_none() || self.log_end_offset > before, "a batch moves the end");
        Ok(first.map(|first_offset| self.appended(first_offset, last, TimestampMs(-1))))
    }

    /// Returns whether the first batch is the one that this empty log begins in the middle of.
    fn begins_within_first(&self, bytes: &[u8]) -> bool {
        let entry = scan::parse(bytes, 0, bytes.len() as u32);
        entry.is_ok_and(|entry| {
            entry.base_offset < self.log_end_offset && entry.last_offset >= self.log_end_offset
        })
    }

    /// Returns the offset of the first batch that was appended.
    fn follow(
        &mut self,
        bytes: &[u8],
        epoch_max: LeaderEpoch,
        now: TimestampMs,
    ) -> Result<Option<Offset>, AppendError> {
        let mut run = Run {
            entries: Vec::new(),
            start: 0,
            size: 0,
            next_offset: self.log_end_offset,
            epoch: self.latest_epoch().unwrap_or(LeaderEpoch(-1)),
        };
        let (mut position, mut first) = (0_usize, None);
        while position < bytes.len() {
            let entry = match self.check(&bytes[position..], position, &run, epoch_max) {
                Ok(Some(entry)) => entry,
                // The leader's answer ends where its limit was.
                Ok(None) => break,
                Err(error) => {
                    self.write_run(&run, bytes, now)?;
                    return Err(error);
                }
            };
            if self.is_roll_due(run.size, &entry, &run.entries, now) {
                self.write_run(&run, bytes, now)?;
                run.begin(position);
                if self.active().size() > 0 || self.active().overflows(entry.last_offset) {
                    self.roll(now)?;
                }
            }
            first.get_or_insert(entry.base_offset);
            position += entry.size as usize;
            run.push(entry);
        }
        self.write_run(&run, bytes, now)?;
        Ok(first)
    }

    /// Looks at the batch that begins at `position` of the answer; `None` if the rest is too short for one.
    fn check(
        &self,
        rest: &[u8],
        position: usize,
        run: &Run,
        epoch_max: LeaderEpoch,
    ) -> Result<Option<Entry>, AppendError> {
        let corrupt = AppendError::Corrupt { position: position as u32 };
        let entry = match scan::parse(rest, 0, rest.len() as u32) {
            Ok(entry) => entry,
            Err(Damage::Short) => return Ok(None),
            Err(Damage::Header) => return Err(corrupt),
        };
        if !scan::is_intact(&entry, &rest[..entry.size as usize]) {
            return Err(corrupt);
        }
        let (base_offset, log_end_offset) = (entry.base_offset, run.next_offset);
        if base_offset < log_end_offset {
            return Err(AppendError::OutOfOrder { base_offset, log_end_offset });
        }
        if let Some(epoch) = entry.leader_epoch()
            && (epoch < run.epoch || epoch > epoch_max)
        {
            return Err(AppendError::WrongEpoch { epoch, least: run.epoch, most: epoch_max });
        }
        self.check_size(u64::from(entry.size))?;
        Ok(Some(entry))
    }

    /// Writes a run to the active segment and makes its batches part of the log.
    fn write_run(&mut self, run: &Run, bytes: &[u8], now: TimestampMs) -> Result<(), AppendError> {
        if run.entries.is_empty() {
            return Ok(());
        }
        let bytes = &bytes[run.start..run.start + run.size as usize];
        self.preallocate()?;
        let position = self.active().size();
        self.active_mut().write(&mut [IoSlice::new(bytes)], position)?;
        let mut rest = bytes;
        for entry in &run.entries {
            let (batch, after) = rest.split_at(entry.size as usize);
            if let Some(epoch) = entry.leader_epoch() {
                self.epochs.assign_in_memory(epoch, entry.base_offset);
            }
            self.add(&Added::of_entry(entry), now)?;
            if let Some(header) = &entry.header {
                self.record_producer(header, batch)?;
            }
            rest = after;
        }
        assert_eq!(self.log_end_offset, run.next_offset, "every batch of the run counts");
        self.producers.set_end_offset(self.log_end_offset);
        Ok(())
    }
}
