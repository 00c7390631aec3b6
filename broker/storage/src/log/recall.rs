//! Retries of batches that the producers' state has forgotten, because it came from a snapshot.
//!
//! A client sends all its unanswered batches again, up to five, after its leader was stopped in good order;
//! the snapshot of the stop has the last of them only. The others are in the log, before the snapshot's
//! offset. They are looked for when a retry asks for one, and not at the start: a start then costs nothing
//! for any log, and almost none is ever asked.
//!
//! The log's tail is read by headers, window by window, each as large as all before it, until the retry is
//! explained, the log begins, or [`BYTES_MAX`] were read. What a window has of any producer is taken in, so
//! no byte is read twice, whoever asks. A gap, which is a sequence *above* the last one, is never looked for.
//!
//! Bound: what was unanswered at the stop is what producers had in flight to this partition then, five
//! batches each: with batches of 16 KiB, 200 producers that never paused. A retry of which nothing is found
//! within the bound is refused as in Kafka, where every retry but that of the last batch is.
//!
//! It happens within an append, under the partition's lock: some ms for all of the bound while it is in the
//! page cache, and as long as the disk takes for it where the machine itself was started again meanwhile; at
//! most once after each start or truncation.
//!
//! Source: ours; the meaning of the five batches is Kafka's `ProducerStateEntry.NUM_BATCHES_TO_RETAIN`.

use broker_protocol::quantity::Offset;

use super::append::{AppendError, producer_batch};
use super::{Log, LogError};
use crate::producer_state::{Origin, ProducerBatch, ProducerError, Verdict};
use crate::segment::SegmentError;

/// The first window: what a few producers have in flight.
const FIRST_WINDOW: u64 = 1024 * 1024;
/// What is read at most.
const BYTES_MAX: u64 = 16 * 1024 * 1024;

impl Log {
    /// Says what to do with a producer's batch; one that does not follow may be known to the log alone.
    pub(super) fn check_producer(&mut self, batch: &ProducerBatch) -> Result<Verdict, AppendError> {
        loop {
            match self.producers.check(std::slice::from_ref(batch), Origin::Client) {
                Err(ProducerError::OutOfOrderSequence { .. })
                    if self.producers.may_have_forgotten(batch) && self.recall()? => {}
                verdict => return Ok(verdict?),
            }
        }
    }

    /// Reads the next window below what is known; returns false if there is none.
    fn recall(&mut self) -> Result<bool, LogError> {
        let known_from = self.producers.known_from();
        let read_before = self.producers.recalled_bytes();
        if known_from <= self.log_start_offset || read_before >= BYTES_MAX {
            return Ok(false);
        }
        let index = self.segment_index(Offset(known_from.0 - 1));
        let segment = &self.segments[index];
        let end = segment.find(known_from)?.map_or(segment.size(), |entry| entry.position);
        let window = read_before.max(FIRST_WINDOW).min(BYTES_MAX - read_before);
        let start = segment.batch_at_or_below(end.saturating_sub(window as u32))?;
        // A window at the front covers whatever the segment's name promises.
        let mut from = (start == 0).then_some(segment.base_offset);
        let mut batches = Vec::new();
        let read = segment.for_each(start, |entry| {
            if entry.position >= end {
                return Ok(false);
            }
            from.get_or_insert(entry.base_offset.min(known_from));
            let batch = entry.header.as_ref().and_then(producer_batch);
            batches.extend(batch.filter(|batch| batch.last_offset < known_from));
            Ok(true)
        });
        match read {
            Ok(()) => {}
            // A hint led astray, or the disk did: the retry is refused, as it would be without this.
            Err(SegmentError::Damaged { .. }) => return Ok(false),
            Err(error) => return Err(error.into()),
        }
        let from = from.unwrap_or(segment.base_offset);
        self.producers.recall(&batches, from, u64::from(end - start));
        Ok(true)
    }
}
