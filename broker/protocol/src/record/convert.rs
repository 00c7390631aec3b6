//! Records of one format as another: up for what old producers send, down for what old consumers read.
//!
//! Up, messages in a row that are not compressed become one batch, and each wrapper becomes one of the
//! same codec. Down, headers and control batches are dropped, as the old formats have neither.
//! Source: Kafka 3.9 `LogValidator.convertAndAssignOffsetsNonCompressed`, `RecordsUtil.downConvert`.

use super::batch::Batch;
use super::builder::BatchBuilder;
use super::compression::{CompressError, Compression, UnknownCodec};
use super::entries::{Entry, EntryError, entries};
use super::iteration::RecordsError;
use super::legacy::{LegacyError, LegacyMessage, MessageFields, write_message, write_wrapper};
use crate::quantity::Offset;

/// Why records were not converted.
#[derive(Debug, thiserror::Error)]
pub enum ConvertError {
    /// The bytes are not whole batches and messages.
    #[error(transparent)]
    Entry(#[from] EntryError),
    /// A batch cannot be read.
    #[error(transparent)]
    Records(#[from] RecordsError),
    /// A message cannot be read.
    #[error(transparent)]
    Legacy(#[from] LegacyError),
    /// A codec failed.
    #[error(transparent)]
    Compress(#[from] CompressError),
    /// A codec's number is unknown.
    #[error(transparent)]
    Codec(#[from] UnknownCodec),
    /// A message's checksum does not fit.
    #[error("message at offset {0} fails its CRC-32")]
    Crc(Offset),
    /// A batch of magic 2 among messages.
    #[error("record batch among messages of an old format")]
    MixedMagic,
    /// Old consumers cannot read zstd (KIP-110).
    #[error("zstd has no form in the old formats")]
    Zstd,
}

/// Converts a message set, as a producer sends it, to batches. Offsets are given anew, from 0 in each
/// batch; the log gives the final ones. Each wrapper may decompress to `limit` bytes.
///
/// # Errors
/// When a message is damaged, or the set is not of messages only.
pub fn up(bytes: &[u8], limit: usize) -> Result<Vec<Vec<u8>>, ConvertError> {
    let mut batches = Vec::new();
    let mut open: Option<BatchBuilder> = None;
    for entry in entries(bytes) {
        let Entry::Legacy(message) = entry? else { return Err(ConvertError::MixedMagic) };
        if !message.check_crc() {
            return Err(ConvertError::Crc(message.offset));
        }
        let codec = message.compression()?;
        if codec == Compression::None {
            let builder = open.get_or_insert_with(|| BatchBuilder::new(Offset(0), codec));
            builder.push(message.timestamp, message.key, message.value);
            continue;
        }
        if let Some(before) = open.take() {
            batches.push(before.finish()?);
        }
        let mut builder = BatchBuilder::new(Offset(0), codec);
        message.for_each(limit, |inner| {
            builder.push(inner.timestamp, inner.key, inner.value);
        })?;
        batches.push(builder.finish()?);
    }
    if let Some(last) = open {
        batches.push(last.finish()?);
    }
    Ok(batches)
}

/// What an old consumer takes.
#[derive(Debug, Clone, Copy)]
pub struct DownLimits {
    /// The magic of the messages to write: 0 or 1.
    pub magic: i8,
    /// Records below it are left out where they are not compressed.
    pub first_offset: Offset,
    /// Conversion stops before the batch that leads above it, except for the first.
    pub size_max: usize,
    /// The most that one batch may decompress to.
    pub decompressed_size_max: usize,
}

/// Converts whole entries, as they lie in the log, to messages. What the log's bytes end within is
/// left out.
///
/// # Errors
/// When a batch is damaged, or compressed as no old consumer can read.
pub fn down(bytes: &[u8], limits: &DownLimits) -> Result<Vec<u8>, ConvertError> {
    let mut messages = Vec::new();
    for entry in entries(bytes) {
        let before = messages.len();
        match entry {
            Err(EntryError::Short { .. }) => break,
            Err(error) => return Err(error.into()),
            Ok(Entry::Batch(batch)) => batch_down(&batch, limits, &mut messages)?,
            Ok(Entry::Legacy(message)) => message_down(&message, limits, &mut messages)?,
        }
        if before > 0 && messages.len() > limits.size_max {
            messages.truncate(before);
            break;
        }
    }
    Ok(messages)
}

fn batch_down(
    batch: &Batch<'_>,
    limits: &DownLimits,
    messages: &mut Vec<u8>,
) -> Result<(), ConvertError> {
    let attributes = batch.header.attributes;
    if attributes.is_control() {
        return Ok(());
    }
    let codec = attributes.compression()?;
    if codec == Compression::Zstd {
        return Err(ConvertError::Zstd);
    }
    let records = batch.records(limits.decompressed_size_max)?;
    let mut inner = Vec::new();
    for record in &records {
        let record = record?;
        let fields = MessageFields {
            offset: record.offset,
            timestamp: record.timestamp,
            log_append_time: attributes.is_log_append_time(),
            key: record.key,
            value: record.value,
        };
        if codec != Compression::None {
            inner.push(fields);
        } else if record.offset >= limits.first_offset {
            write_message(messages, limits.magic, &fields);
        }
    }
    Ok(write_wrapper(messages, limits.magic, codec, &inner)?)
}

/// Copies a message of a magic that the consumer knows; takes the timestamps off others.
fn message_down(
    message: &LegacyMessage<'_>,
    limits: &DownLimits,
    messages: &mut Vec<u8>,
) -> Result<(), ConvertError> {
    let codec = message.compression()?;
    if message.magic <= limits.magic {
        messages.extend_from_slice(message.bytes);
        return Ok(());
    }
    let mut plain = Vec::new();
    message.for_each(limits.decompressed_size_max, |inner| {
        write_message(&mut plain, limits.magic, &fields(&inner));
    })?;
    if codec == Compression::None {
        messages.extend_from_slice(&plain);
        return Ok(());
    }
    let mut inner = Vec::new();
    for entry in entries(&plain) {
        if let Entry::Legacy(message) = entry? {
            inner.push(fields(&message));
        }
    }
    Ok(write_wrapper(messages, limits.magic, codec, &inner)?)
}

fn fields<'a>(message: &LegacyMessage<'a>) -> MessageFields<'a> {
    MessageFields {
        offset: message.offset,
        timestamp: message.timestamp,
        log_append_time: message.is_log_append_time(),
        key: message.key,
        value: message.value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quantity::TimestampMs;

    const LIMIT: usize = 1 << 20;

    fn limits(magic: i8) -> DownLimits {
        DownLimits { magic, first_offset: Offset(0), size_max: LIMIT, decompressed_size_max: LIMIT }
    }

    fn message(offset: i64) -> MessageFields<'static> {
        MessageFields {
            offset: Offset(offset),
            timestamp: TimestampMs(500 - offset),
            log_append_time: false,
            key: (offset % 2 == 0).then_some(b"key"),
            value: Some(b"value"),
        }
    }

    /// Codec, timestamps, keys, values and the grouping survive; offsets count from 0.
    #[test]
    fn up_then_down_gives_the_same_messages() {
        for magic in [0, 1] {
            for codec in
                [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4]
            {
                let messages = [message(0), message(1), message(2)];
                let mut bytes = Vec::new();
                if codec == Compression::None {
                    for message in &messages {
                        write_message(&mut bytes, magic, message);
                    }
                } else {
                    write_wrapper(&mut bytes, magic, codec, &messages).unwrap();
                }
                let batches = up(&bytes, LIMIT).unwrap();
                assert_eq!(batches.len(), 1);
                assert_eq!(down(&batches[0], &limits(magic)).unwrap(), bytes, "{magic} {codec:?}");
            }
        }
    }

    #[test]
    fn messages_in_a_row_become_one_batch_and_a_wrapper_its_own() {
        let mut bytes = Vec::new();
        write_message(&mut bytes, 1, &message(0));
        write_message(&mut bytes, 1, &message(1));
        write_wrapper(&mut bytes, 1, Compression::Gzip, &[message(2), message(3)]).unwrap();
        write_message(&mut bytes, 1, &message(4));
        assert_eq!(up(&bytes, LIMIT).unwrap().len(), 3);
        *bytes.last_mut().unwrap() ^= 1;
        assert!(matches!(up(&bytes, LIMIT), Err(ConvertError::Crc(Offset(4)))));
    }

    #[test]
    fn going_down_is_bounded_and_drops_control_batches() {
        let mut bytes = Vec::new();
        for base in 0..4 {
            let mut builder = BatchBuilder::new(Offset(base), Compression::None);
            builder.header.attributes.0 |= if base == 0 { 1 << 5 } else { 0 };
            builder.push(TimestampMs(1), None, Some(&[0; 100]));
            bytes.extend_from_slice(&builder.finish().unwrap());
        }
        let one = down(&bytes, &DownLimits { size_max: 1, ..limits(1) }).unwrap();
        assert_eq!(one.len(), 134);
        assert_eq!(down(&bytes, &limits(1)).unwrap().len(), 3 * 134);
        let later = DownLimits { first_offset: Offset(3), ..limits(0) };
        assert_eq!(down(&bytes, &later).unwrap().len(), 126);
    }

    #[test]
    fn zstd_does_not_go_down() {
        let mut builder = BatchBuilder::new(Offset(0), Compression::Zstd);
        builder.push(TimestampMs(1), None, None);
        let bytes = builder.finish().unwrap();
        assert!(matches!(down(&bytes, &limits(1)), Err(ConvertError::Zstd)));
    }
}
