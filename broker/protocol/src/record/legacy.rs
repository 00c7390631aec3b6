//! Messages of magic 0 and 1, alone or many of them compressed within one.
//!
//! Magic 0 has no timestamp, and absolute offsets within a wrapper; magic 1 has both timestamps and
//! offsets that count from the wrapper's first, whose own offset is that of its last message (KIP-31,
//! KIP-32). Source: Kafka 3.9 `LegacyRecord`, `AbstractLegacyRecordBatch`.

use std::borrow::Cow;

use super::batch::LOG_OVERHEAD;
use super::compression::{
    CompressError, Compression, DecompressError, UnknownCodec, break_checksum, compress,
    decompress, mend_checksum,
};
use super::entries::{Entry, EntryError, entries};
use super::varint::take;
use crate::quantity::{Offset, TimestampMs};

/// Where the part that the checksum covers begins: at the magic.
const CRC_FROM: usize = 16;

/// The size of a message of magic 0 with no key and no value; magic 1 has a timestamp too.
const SIZE_MIN: usize = 26;

/// The bit of the attributes that says that the broker set the timestamp.
const LOG_APPEND_TIME: u8 = 1 << 3;

/// A message of magic 0 or 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LegacyMessage<'a> {
    /// All of it, from the offset on.
    pub bytes: &'a [u8],
    /// Its offset; of its last message if it is a wrapper.
    pub offset: Offset,
    /// CRC-32 of everything from the magic on.
    pub crc: u32,
    /// 0 or 1.
    pub magic: i8,
    /// The codec, and who set the timestamp.
    pub attributes: u8,
    /// -1 in magic 0.
    pub timestamp: TimestampMs,
    /// The key.
    pub key: Option<&'a [u8]>,
    /// The value, or the compressed messages.
    pub value: Option<&'a [u8]>,
}

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

impl<'a> LegacyMessage<'a> {
    /// Reads `bytes`, which are exactly one message.
    pub(super) fn parse(bytes: &'a [u8]) -> Option<Self> {
        let mut rest = bytes;
        let offset = Offset(i64::from_be_bytes(fixed(&mut rest)?));
        fixed::<4>(&mut rest)?;
        let crc = u32::from_be_bytes(fixed(&mut rest)?);
        let [magic, attributes] = fixed(&mut rest)?;
        let timestamp = match magic {
            0 => -1,
            _ => i64::from_be_bytes(fixed(&mut rest)?),
        };
        let key = field(&mut rest)?;
        let value = field(&mut rest)?;
        let (magic, timestamp) = (magic as i8, TimestampMs(timestamp));
        let message = Self { bytes, offset, crc, magic, attributes, timestamp, key, value };
        rest.is_empty().then_some(message)
    }

    /// Returns whether the bytes are the ones that were written.
    pub fn check_crc(&self) -> bool {
        crc32fast::hash(&self.bytes[CRC_FROM..]) == self.crc
    }

    /// Returns the codec; anything but `None` makes this a wrapper.
    pub fn compression(&self) -> Result<Compression, UnknownCodec> {
        match self.attributes & 7 {
            0 => Ok(Compression::None),
            1 => Ok(Compression::Gzip),
            2 => Ok(Compression::Snappy),
            3 => Ok(Compression::Lz4),
            codec => Err(UnknownCodec(codec)),
        }
    }

    /// Whether the broker set the timestamp.
    pub fn is_log_append_time(&self) -> bool {
        self.magic > 0 && self.attributes & LOG_APPEND_TIME != 0
    }

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

/// What a message is written from.
#[derive(Debug, Clone, Copy)]
pub struct MessageFields<'a> {
    /// Its offset.
    pub offset: Offset,
    /// Its timestamp, which magic 0 does not keep.
    pub timestamp: TimestampMs,
    /// Whether the broker set the timestamp, which magic 0 does not keep.
    pub log_append_time: bool,
    /// Its key.
    pub key: Option<&'a [u8]>,
    /// Its value.
    pub value: Option<&'a [u8]>,
}

/// Appends a message that is not compressed.
pub fn write_message(bytes: &mut Vec<u8>, magic: i8, fields: &MessageFields<'_>) {
    write(bytes, magic, Compression::None, fields);
}

/// Appends one message that holds `messages` compressed; nothing if there are none. Offsets given are
/// absolute; zstd is not for these formats, so callers refuse it first.
///
/// # Errors
/// When the codec's library fails.
pub fn write_wrapper(
    bytes: &mut Vec<u8>,
    magic: i8,
    compression: Compression,
    messages: &[MessageFields<'_>],
) -> Result<(), CompressError> {
    write_wrapper_of(bytes, magic, compression, messages.iter().copied())
}

/// Does so with messages that are made one at a time: a batch of small ones holds millions.
pub(super) fn write_wrapper_of<'a>(
    bytes: &mut Vec<u8>,
    magic: i8,
    compression: Compression,
    messages: impl Iterator<Item = MessageFields<'a>>,
) -> Result<(), CompressError> {
    let mut plain = Vec::new();
    let (mut base, mut timestamp, mut last) = (None, None, None);
    for message in messages {
        let base = *base.get_or_insert(if magic == 0 { 0 } else { message.offset.0 });
        let offset = Offset(message.offset.0.wrapping_sub(base));
        write_message(&mut plain, magic, &MessageFields { offset, ..message });
        timestamp = timestamp.max(Some(message.timestamp));
        last = Some(message);
    }
    let (Some(last), Some(timestamp)) = (last, timestamp) else { return Ok(()) };
    let mut compressed = compress(compression, &plain)?;
    if magic == 0 && compression == Compression::Lz4 {
        break_checksum(&mut compressed);
    }
    let fields = MessageFields { timestamp, key: None, value: Some(&compressed), ..last };
    write(bytes, magic, compression, &fields);
    Ok(())
}

/// Returns the size of a message that is not compressed.
pub(super) fn message_size(magic: i8, fields: &MessageFields<'_>) -> usize {
    let fixed = if magic == 0 { SIZE_MIN } else { SIZE_MIN + size_of::<i64>() };
    fixed + fields.key.map_or(0, <[u8]>::len) + fields.value.map_or(0, <[u8]>::len)
}

fn write(bytes: &mut Vec<u8>, magic: i8, compression: Compression, fields: &MessageFields<'_>) {
    let start = bytes.len();
    bytes.extend_from_slice(&fields.offset.0.to_be_bytes());
    bytes.extend_from_slice(&[0; 8]);
    let time = if magic > 0 && fields.log_append_time { LOG_APPEND_TIME } else { 0 };
    bytes.extend_from_slice(&[magic as u8, compression as u8 | time]);
    if magic > 0 {
        bytes.extend_from_slice(&fields.timestamp.0.to_be_bytes());
    }
    for field in [fields.key, fields.value] {
        let size = field.map_or(-1, |field| field.len() as i32);
        bytes.extend_from_slice(&size.to_be_bytes());
        bytes.extend_from_slice(field.unwrap_or_default());
    }
    let message = &mut bytes[start..];
    let crc = crc32fast::hash(&message[CRC_FROM..]);
    let length = (message.len() - LOG_OVERHEAD) as i32;
    message[8..12].copy_from_slice(&length.to_be_bytes());
    message[12..16].copy_from_slice(&crc.to_be_bytes());
}

fn fixed<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (bytes, after) = rest.split_first_chunk::<N>()?;
    *rest = after;
    Some(*bytes)
}

/// Reads a size and that many bytes; -1 is null.
#[expect(clippy::option_option, reason = "the outer says whether it was read, the inner is null")]
fn field<'a>(rest: &mut &'a [u8]) -> Option<Option<&'a [u8]>> {
    match i32::from_be_bytes(fixed(rest)?) {
        -1 => Some(None),
        size => take(rest, usize::try_from(size).ok()?).map(Some),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
