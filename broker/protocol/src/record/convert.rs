//! Records of one format as another: up for what old producers send, down for what old consumers read.
//!
//! Up, messages in a row that are not compressed become one batch, and each wrapper becomes one of the
//! same codec. Down, headers and control batches are dropped, as the old formats have neither.
//! Source: Kafka 3.9 `LogValidator.convertAndAssignOffsetsNonCompressed`, `RecordsUtil.downConvert`.

use super::batch::Batch;
use super::builder::BatchBuilder;
use super::compression::{CompressError, Compression, UnknownCodec};
use super::entries::{Entry, EntryError, entries};
use super::iteration::{Record, RecordsError};
use super::legacy::{LegacyMessage, MessageFields, message_size, write_message, write_wrapper_of};
use super::wrapper::LegacyError;
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
    #[error("record {index} fails its CRC-32")]
    Crc {
        /// Which of the set, from 0.
        index: i32,
    },
    /// A message of another magic than the first, or a batch of magic 2.
    #[error("record {index} has another magic than the first, or that of a batch")]
    MixedMagic {
        /// Which of the set, from 0.
        index: i32,
    },
    /// A producer claims the time of the append, which is the broker's to say.
    #[error("record {index} claims to have the time of its append")]
    LogAppendTime {
        /// Which of the set, from 0.
        index: i32,
    },
    /// There are no messages.
    #[error("message set is empty")]
    Empty,
    /// The messages of a compressed batch would be larger than the caller takes.
    #[error("a batch has more than {limit} bytes in the old format")]
    TooLarge {
        /// The most bytes that the caller takes.
        limit: usize,
    },
    /// Old consumers cannot read zstd (KIP-110).
    #[error("zstd has no form in the old formats")]
    Zstd,
}

/// Converts a message set, as a producer sends it, to batches. Offsets are given anew, from 0 in each
/// batch; the log gives the final ones. All wrappers together may decompress to `limit` bytes.
///
/// More than one wrapper is taken, as brokers did up to 0.10; Kafka 3.9 refuses it. Kafka 3.9 takes the
/// append time from a producer where the topic keeps the creation time; here it is refused, as it was
/// up to 3.5.
///
/// # Errors
/// When a message is damaged, or the set is empty or not of messages of one magic.
pub fn up(bytes: &[u8], limit: usize) -> Result<Vec<Vec<u8>>, ConvertError> {
    let mut batches = Vec::new();
    let mut open: Option<BatchBuilder> = None;
    let (mut left, mut index, mut magic) = (limit, 0, None);
    for entry in entries(bytes) {
        let Entry::Legacy(message) = entry? else { return Err(ConvertError::MixedMagic { index }) };
        check(&message, *magic.get_or_insert(message.magic), index)?;
        let codec = message.compression()?;
        if codec == Compression::None {
            let builder = open.get_or_insert_with(|| BatchBuilder::new(Offset(0), codec));
            builder.push(message.timestamp, message.key, message.value);
            index += 1;
            continue;
        }
        if let Some(before) = open.take() {
            batches.push(before.finish()?);
        }
        let mut builder = BatchBuilder::new(Offset(0), codec);
        let mut damaged = None;
        left -= message.for_each_counted(left, |inner| {
            if !inner.check_crc() {
                damaged.get_or_insert(index);
            }
            builder.push(inner.timestamp, inner.key, inner.value);
            index += 1;
        })?;
        if let Some(index) = damaged {
            return Err(ConvertError::Crc { index });
        }
        batches.push(builder.finish()?);
    }
    if let Some(last) = open {
        batches.push(last.finish()?);
    }
    if batches.is_empty() { Err(ConvertError::Empty) } else { Ok(batches) }
}

/// Checks a message of a set, alone or a wrapper, whose first has `magic`.
fn check(message: &LegacyMessage<'_>, magic: i8, index: i32) -> Result<(), ConvertError> {
    if !message.check_crc() {
        Err(ConvertError::Crc { index })
    } else if message.magic != magic {
        Err(ConvertError::MixedMagic { index })
    } else if message.is_log_append_time() {
        Err(ConvertError::LogAppendTime { index })
    } else {
        Ok(())
    }
}

/// What an old consumer takes.
#[derive(Debug, Clone, Copy)]
pub struct DownLimits {
    /// The magic of the messages to write: 0 or 1.
    pub magic: i8,
    /// Records below it are left out where they are not compressed, as Kafka 3.9 does
    /// (`RecordsUtil.downConvert`): old clients take what comes first for what they asked for. Those
    /// of a compressed batch all stay, since clients skip within a wrapper, and so do messages of a
    /// magic that need not be converted.
    pub first_offset: Offset,
    /// Conversion stops before the batch that leads above it, except for the first.
    pub size_max: usize,
    /// The most that one batch may decompress to, and what it then becomes in the old format.
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
    let appended = attributes.is_log_append_time();
    if codec == Compression::None {
        for record in &records {
            let fields = of_record(&record?, appended);
            if fields.offset >= limits.first_offset {
                write_message(messages, limits.magic, &fields);
            }
        }
        return Ok(());
    }
    let mut size = 0;
    for record in &records {
        size += message_size(limits.magic, &of_record(&record?, appended));
    }
    if size > limits.decompressed_size_max {
        return Err(ConvertError::TooLarge { limit: limits.decompressed_size_max });
    }
    let inner = records.iter().flatten().map(|record| of_record(&record, appended));
    Ok(write_wrapper_of(messages, limits.magic, codec, inner)?)
}

fn of_record<'a>(record: &Record<'a>, log_append_time: bool) -> MessageFields<'a> {
    let Record { offset, timestamp, key, value, .. } = *record;
    MessageFields { offset, timestamp, log_append_time, key, value }
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
    if codec == Compression::None && message.offset < limits.first_offset {
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
    // Written above, so none is missing.
    let inner = entries(&plain).filter_map(|entry| match entry {
        Ok(Entry::Legacy(message)) => Some(fields(&message)),
        Ok(Entry::Batch(_)) | Err(_) => None,
    });
    Ok(write_wrapper_of(messages, limits.magic, codec, inner)?)
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
    use super::super::compression::compress;
    use super::super::legacy::write_wrapper;
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
        assert!(matches!(up(&bytes, LIMIT), Err(ConvertError::Crc { index: 4 })));
    }

    #[test]
    fn what_no_producer_may_send_is_refused_with_its_index() {
        let plain = |offset, magic| {
            let mut bytes = Vec::new();
            write_message(&mut bytes, magic, &message(offset));
            bytes
        };
        let wrapper = |messages: &[MessageFields<'_>]| {
            let mut bytes = Vec::new();
            write_wrapper(&mut bytes, 1, Compression::Gzip, messages).unwrap();
            bytes
        };
        assert!(matches!(up(&[], LIMIT), Err(ConvertError::Empty)));

        let mixed = [plain(0, 1), plain(1, 1), plain(2, 0)].concat();
        assert!(matches!(up(&mixed, LIMIT), Err(ConvertError::MixedMagic { index: 2 })));
        let mut builder = BatchBuilder::new(Offset(0), Compression::None);
        builder.push(TimestampMs(1), None, None);
        let mixed = [plain(0, 1), builder.finish().unwrap()].concat();
        assert!(matches!(up(&mixed, LIMIT), Err(ConvertError::MixedMagic { index: 1 })));

        let append_time = MessageFields { log_append_time: true, ..message(1) };
        let mut bytes = plain(0, 1);
        write_message(&mut bytes, 1, &append_time);
        assert!(matches!(up(&bytes, LIMIT), Err(ConvertError::LogAppendTime { index: 1 })));
        let bytes = wrapper(&[append_time]);
        assert!(matches!(up(&bytes, LIMIT), Err(ConvertError::LogAppendTime { index: 0 })));
    }

    /// The checksum of a message within a wrapper is looked at, though the wrapper's own fits.
    #[test]
    fn damage_within_a_wrapper_is_found() {
        let mut plain = Vec::new();
        write_message(&mut plain, 1, &message(0));
        write_message(&mut plain, 1, &message(1));
        *plain.last_mut().unwrap() ^= 1;
        let compressed = compress(Compression::Snappy, &plain).unwrap();
        let mut bytes = Vec::new();
        write_message(&mut bytes, 1, &MessageFields { value: Some(&compressed), ..message(1) });
        bytes[17] = Compression::Snappy as u8;
        let crc = crc32fast::hash(&bytes[16..]);
        bytes[12..16].copy_from_slice(&crc.to_be_bytes());
        assert!(matches!(up(&bytes, LIMIT), Err(ConvertError::Crc { index: 1 })));
    }

    /// Each wrapper fits the limit, both do not.
    #[test]
    fn the_limit_is_for_all_wrappers_together() {
        let value = vec![7; 1000];
        let long = MessageFields { value: Some(&value), ..message(0) };
        let mut bytes = Vec::new();
        write_wrapper(&mut bytes, 1, Compression::Lz4, &[long]).unwrap();
        assert!(up(&bytes, 1500).is_ok());
        let twice = bytes.repeat(2);
        assert!(matches!(up(&twice, 1500), Err(ConvertError::Legacy(LegacyError::Decompress(_)))));
        assert_eq!(up(&twice, 3000).unwrap().len(), 2);
    }

    /// Of messages that are not compressed, whether they come from magic 1 or 2.
    #[test]
    fn what_is_below_the_first_offset_is_left_out_unless_compressed() {
        let mut bytes = Vec::new();
        write_message(&mut bytes, 1, &message(0));
        write_message(&mut bytes, 1, &message(1));
        let from_1 = DownLimits { first_offset: Offset(1), ..limits(0) };
        assert_eq!(entries(&down(&bytes, &from_1).unwrap()).count(), 1);
        let same = DownLimits { first_offset: Offset(1), ..limits(1) };
        assert_eq!(down(&bytes, &same).unwrap(), bytes);
        let mut bytes = Vec::new();
        write_wrapper(&mut bytes, 1, Compression::Gzip, &[message(0), message(1)]).unwrap();
        let messages = down(&bytes, &from_1).unwrap();
        let Some(Ok(Entry::Legacy(wrapper))) = entries(&messages).next() else { panic!("none") };
        let mut count = 0;
        wrapper.for_each(LIMIT, |_| count += 1).unwrap();
        assert_eq!(count, 2);
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

    /// A record takes 7 bytes at least, a message of magic 1 takes 34.
    #[test]
    fn small_records_are_held_to_the_limit_in_the_old_format_too() {
        let mut builder = BatchBuilder::new(Offset(0), Compression::Gzip);
        for _ in 0..1000 {
            builder.push(TimestampMs(0), None, None);
        }
        let batch = builder.finish().unwrap();
        let limits = |decompressed_size_max| DownLimits { decompressed_size_max, ..limits(1) };
        let error = down(&batch, &limits(33_999)).unwrap_err();
        assert!(matches!(error, ConvertError::TooLarge { limit: 33_999 }), "{error}");
        down(&batch, &limits(34_000)).unwrap();
    }
}
