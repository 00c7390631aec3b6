//! Messages of magic 0 and 1 that are compressed within one.
//!
//! Source: Kafka 3.9 `AbstractLegacyRecordBatch`; KIP-31, KIP-32.

use std::borrow::Cow;

use super::compression::{Compression, DecompressError, UnknownCodec, decompress, mend_checksum};
use super::entries::{Entry, EntryError, entries};
use super::legacy::LegacyMessage;
use crate::quantity::Offset;

/// Why messages cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum LegacyError {
    /// The attributes name no codec of magic 0 and 1.
    #[error(transparent)]
    Codec(#[from] UnknownCodec),
    /// The wrapper does not decompress.
    #[error(transparent)]
    Decompress(#[from] DecompressError),
    /// What is inside is not messages.
    #[error(transparent)]
    Entry(#[from] EntryError),
    /// A wrapper with no messages.
    #[error("compressed message holds none")]
    Empty,
    /// A message of another magic within, or another wrapper.
    #[error("record {index} may not be in a compressed message of this magic")]
    Inner {
        /// Which of those within, from 0.
        index: i32,
    },
    /// A wrapper of magic 1 whose offset is below the last of those within.
    #[error("compressed message at offset {wrapper} holds one at {last}")]
    Offset {
        /// The wrapper's.
        wrapper: Offset,
        /// The last within.
        last: Offset,
    },
}

impl LegacyMessage<'_> {
    /// Hands out this message, or those within it with their absolute offsets and final timestamps,
    /// decompressed to at most `limit` bytes.
    ///
    /// # Errors
    /// When it cannot be read; some messages may have been handed out before.
    pub fn for_each(
        &self,
        limit: usize,
        visit: impl FnMut(LegacyMessage<'_>),
    ) -> Result<(), LegacyError> {
        self.for_each_counted(limit, visit).map(drop)
    }

    /// Does so, and returns how many bytes were decompressed.
    pub(super) fn for_each_counted(
        &self,
        limit: usize,
        mut visit: impl FnMut(LegacyMessage<'_>),
    ) -> Result<usize, LegacyError> {
        let codec = self.compression()?;
        if codec == Compression::None {
            visit(*self);
            return Ok(0);
        }
        let mut value = Cow::Borrowed(self.value.ok_or(LegacyError::Empty)?);
        if codec == Compression::Lz4 && self.magic == 0 {
            mend_checksum(value.to_mut());
        }
        let plain = decompress(codec, &value, limit)?;
        let mut last = None;
        for (index, entry) in (0..).zip(entries(&plain)) {
            last = Some(self.inner(entry?, index)?.offset);
        }
        let base = self.base_of_inner(last.ok_or(LegacyError::Empty)?)?;
        for (index, entry) in (0..).zip(entries(&plain)) {
            let mut message = self.inner(entry?, index)?;
            message.offset.0 = message.offset.0.wrapping_add(base);
            if self.is_log_append_time() {
                message.timestamp = self.timestamp;
            }
            visit(message);
        }
        Ok(plain.len())
    }

    /// Returns what the offsets within this wrapper count from; `last` is the last of them.
    ///
    /// Offset 0 is what producers write who leave it to the broker (librdkafka, kafka-python): what
    /// is within counts from 0 then, as in Kafka 3.9.
    fn base_of_inner(&self, last: Offset) -> Result<i64, LegacyError> {
        if self.magic == 0 || self.offset == Offset(0) {
            return Ok(0);
        }
        match self.offset.0.checked_sub(last.0) {
            Some(base) if base >= 0 => Ok(base),
            _ => Err(LegacyError::Offset { wrapper: self.offset, last }),
        }
    }

    /// Returns an entry of this wrapper, if it may be in it.
    fn inner<'b>(&self, entry: Entry<'b>, index: i32) -> Result<LegacyMessage<'b>, LegacyError> {
        match entry {
            Entry::Legacy(message)
                if message.magic == self.magic && message.compression()? == Compression::None =>
            {
                Ok(message)
            }
            Entry::Legacy(_) | Entry::Batch(_) => Err(LegacyError::Inner { index }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::legacy::{MessageFields, write_message, write_wrapper};
    use super::*;
    use crate::quantity::TimestampMs;

    fn fields(offset: i64) -> MessageFields<'static> {
        MessageFields {
            offset: Offset(offset),
            timestamp: TimestampMs(offset * 10),
            log_append_time: false,
            key: (offset % 2 == 0).then_some(b"key"),
            value: Some(b"value"),
        }
    }

    #[test]
    fn wrapped_messages_keep_offsets_times_and_content() {
        for magic in [0, 1] {
            for codec in [Compression::Gzip, Compression::Snappy, Compression::Lz4] {
                let messages = [fields(7), fields(8), fields(12)];
                let mut bytes = Vec::new();
                write_wrapper(&mut bytes, magic, codec, &messages).unwrap();
                let Some(Ok(Entry::Legacy(wrapper))) = entries(&bytes).next() else {
                    panic!("no message")
                };
                assert!(wrapper.check_crc());
                assert_eq!(wrapper.offset, Offset(12));
                let mut read = 0;
                wrapper
                    .for_each(10_000, |message| {
                        let fields = messages[read];
                        assert_eq!((message.offset, message.key), (fields.offset, fields.key));
                        let time = if magic == 0 { TimestampMs(-1) } else { fields.timestamp };
                        assert_eq!((message.timestamp, message.value), (time, fields.value));
                        read += 1;
                    })
                    .unwrap();
                assert_eq!(read, 3, "magic {magic} {codec:?}");
            }
        }
    }

    #[test]
    fn damaged_messages_never_panic() {
        let mut bytes = Vec::new();
        write_wrapper(&mut bytes, 1, Compression::Lz4, &[fields(1), fields(2)]).unwrap();
        write_message(&mut bytes, 0, &fields(3));
        for position in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[position] ^= 0x81;
            for entry in entries(&damaged) {
                if let Ok(Entry::Legacy(message)) = entry {
                    let _ = message.for_each(10_000, |_| ());
                }
            }
        }
    }
}
