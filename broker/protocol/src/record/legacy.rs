//! Messages of magic 0 and 1, one after the other; those that hold others compressed are opened by
//! `wrapper`, and written here.
//!
//! Magic 0 has no timestamp, and absolute offsets within a wrapper; magic 1 has both timestamps and
//! offsets that count from the wrapper's first, whose own offset is that of its last message (KIP-31,
//! KIP-32). Source: Kafka 3.9 `LegacyRecord`, `AbstractLegacyRecordBatch`.

use super::batch::LOG_OVERHEAD;
use super::compression::{CompressError, Compression, UnknownCodec, break_checksum, compress};
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
