//! The records of a batch v2, as far as the broker looks at them: frames, keys, times.
//!
//! A frame is: length (varint), attributes (1 byte), timestamp delta (varlong), offset delta (varint),
//! key length (varint, -1 for none), then bytes that nobody here reads.

use broker_protocol::quantity::TimestampMs;
use broker_protocol::record::batch::{BatchHeader, HEADER_SIZE};
use broker_protocol::record::compression::{Compression, decompress};

use super::{Flaw, InvalidRecords, Rules};

/// The most bytes that a batch may decompress to: far above what any client sends in a batch, and what
/// a broker can hold for a moment. A bomb ends here.
pub(super) const DECOMPRESSED_SIZE_MAX: usize = 64 * 1024 * 1024;

/// What is asked of each record.
struct Wanted {
    key: bool,
    times: Option<(i64, i64)>,
}

/// Checks the records themselves: always if they lie open, else only if the topic asks something.
pub(super) fn check(
    header: &BatchHeader,
    codec: Compression,
    bytes: &[u8],
    rules: &Rules<'_>,
) -> Result<(), InvalidRecords> {
    let wanted = Wanted { key: rules.config.cleanup_policy.compact, times: times(rules) };
    let payload = &bytes[HEADER_SIZE..];
    if codec == Compression::None {
        return walk(header, payload, &wanted);
    }
    if !wanted.key && wanted.times.is_none() {
        return Ok(());
    }
    let payload = decompress(codec, payload, DECOMPRESSED_SIZE_MAX)
        .map_err(|_| InvalidRecords::Undecodable)?;
    walk(header, &payload, &wanted)
}

/// Returns the first and last timestamp that the topic takes, if it limits them.
fn times(rules: &Rules<'_>) -> Option<(i64, i64)> {
    let config = rules.config;
    let before = config.message_timestamp_before_max_ms;
    let after = config.message_timestamp_after_max_ms;
    if config.message_timestamp_type == broker_config::topic::TimestampType::LogAppendTime
        || (before == i64::MAX && after == i64::MAX)
    {
        return None;
    }
    Some((rules.now.0.saturating_sub(before), rules.now.0.saturating_add(after)))
}

fn walk(header: &BatchHeader, payload: &[u8], wanted: &Wanted) -> Result<(), InvalidRecords> {
    let mut rest = payload;
    let (mut without_key, mut out_of_time) = (Vec::new(), Vec::new());
    for index in 0..header.records_count {
        let frame = frame(&mut rest).ok_or(Flaw::Record(index))?;
        if frame.offset_delta != i64::from(index) {
            return Err(Flaw::Record(index).into());
        }
        if wanted.key && !frame.has_key {
            without_key.push(index);
        }
        if let Some((first, last)) = wanted.times {
            let time = header.base_timestamp.0.wrapping_add(frame.timestamp_delta);
            if TimestampMs(time) != NO_TIMESTAMP && !(first..=last).contains(&time) {
                out_of_time.push(index);
            }
        }
    }
    if !rest.is_empty() {
        return Err(Flaw::Record(header.records_count - 1).into());
    }
    if !without_key.is_empty() {
        return Err(InvalidRecords::NoKey { records: without_key });
    }
    if !out_of_time.is_empty() {
        return Err(InvalidRecords::Timestamp { records: out_of_time });
    }
    Ok(())
}

/// What a record has that carries no time.
const NO_TIMESTAMP: TimestampMs = TimestampMs(-1);

struct Frame {
    timestamp_delta: i64,
    offset_delta: i64,
    has_key: bool,
}

/// Reads the head of one record and steps over the rest of it.
fn frame(rest: &mut &[u8]) -> Option<Frame> {
    let length = usize::try_from(varint(rest)?).ok()?;
    if length > rest.len() {
        return None;
    }
    let (mut record, after) = rest.split_at(length);
    *rest = after;
    record = record.get(1..)?;
    let timestamp_delta = varint(&mut record)?;
    let offset_delta = varint(&mut record)?;
    let key_length = varint(&mut record)?;
    if key_length > record.len() as i64 {
        return None;
    }
    Some(Frame { timestamp_delta, offset_delta, has_key: key_length >= 0 })
}

/// Reads a zigzag varint of at most ten bytes.
fn varint(rest: &mut &[u8]) -> Option<i64> {
    let mut value = 0_u64;
    for (index, byte) in rest.iter().take(10).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            *rest = &rest[index + 1..];
            return Some((value >> 1) as i64 ^ -((value & 1) as i64));
        }
    }
    None
}
