//! One batch under compaction: its records as raw bytes, and the batch without some of them.
//!
//! Kept records are copied as they are. Only where a delete horizon takes the place of the base
//! timestamp (KIP-534) are their timestamps written anew. Base offset, last offset and sequences stay,
//! so that readers and producers see the same places with gaps.
//!
//! A batch whose checksum fails is refused: rewriting it would give damage a valid checksum.

use std::borrow::Cow;

use broker_protocol::quantity::{Offset, TimestampMs};
use broker_protocol::record::batch::{Attributes, Batch, BatchHeader, HEADER_SIZE, crc};
use broker_protocol::record::compression::{Compression, compress, decompress};

use super::transactions::Marker;

const DELETE_HORIZON_BIT: i16 = 1 << 6;
/// Bits of the codec and of the delete horizon, which an emptied batch has not.
const EMPTY_ATTRIBUTES: i16 = !(7 | DELETE_HORIZON_BIT);
const LENGTH_END: usize = 12;
/// No batch that a broker accepts unpacks to more; a forged one cannot fill memory.
const PLAIN_SIZE_MAX: usize = 1 << 30;

/// A batch passes its checksum and yet cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Undecodable;

/// One record of a batch.
#[derive(Debug, Clone, Copy)]
pub(super) struct RawRecord<'a> {
    /// All its bytes, length included.
    bytes: &'a [u8],
    attributes: u8,
    timestamp_delta: i64,
    /// Everything behind the timestamp delta.
    after_timestamp: &'a [u8],
    offset_delta: i32,
    /// The key, if it has one.
    pub(super) key: Option<&'a [u8]>,
    /// Whether it has a value; a keyed record without one is a tombstone.
    pub(super) has_value: bool,
}

/// Unpacks the records of a batch.
pub(super) fn unpack<'a>(batch: &Batch<'a>) -> Result<Cow<'a, [u8]>, Undecodable> {
    let packed = &batch.bytes[HEADER_SIZE..];
    let codec = batch.header.attributes.compression().map_err(|_| Undecodable)?;
    if codec == Compression::None {
        return Ok(Cow::Borrowed(packed));
    }
    decompress(codec, packed, PLAIN_SIZE_MAX).map(Cow::from).map_err(|_| Undecodable)
}

/// Reads the records one by one, calling `visit` with each and its offset.
pub(super) fn for_each_record<'a>(
    header: &BatchHeader,
    mut plain: &'a [u8],
    mut visit: impl FnMut(Offset, RawRecord<'a>),
) -> Result<(), Undecodable> {
    for _ in 0..header.records_count {
        let record = next_record(&mut plain).ok_or(Undecodable)?;
        if record.offset_delta < 0 || record.offset_delta > header.last_offset_delta {
            return Err(Undecodable);
        }
        visit(Offset(header.base_offset.0 + i64::from(record.offset_delta)), record);
    }
    if plain.is_empty() { Ok(()) } else { Err(Undecodable) }
}

fn next_record<'a>(plain: &mut &'a [u8]) -> Option<RawRecord<'a>> {
    let whole = *plain;
    let length = usize::try_from(varint(plain)?).ok()?;
    let body = plain.split_off(..length)?;
    let bytes = &whole[..whole.len() - plain.len()];
    let mut rest = body;
    let attributes = *rest.split_off_first()?;
    let timestamp_delta = varint(&mut rest)?;
    let after_timestamp = rest;
    let offset_delta = i32::try_from(varint(&mut rest)?).ok()?;
    let key = nullable(&mut rest)?;
    let value = nullable(&mut rest)?;
    Some(RawRecord {
        bytes,
        attributes,
        timestamp_delta,
        after_timestamp,
        offset_delta,
        key,
        has_value: value.is_some(),
    })
}

/// Reads bytes behind their size; -1 stands for none.
#[expect(clippy::option_option, reason = "the outer one is damage, the inner one a null")]
fn nullable<'a>(rest: &mut &'a [u8]) -> Option<Option<&'a [u8]>> {
    match varint(rest)? {
        -1 => Some(None),
        size => Some(Some(rest.split_off(..usize::try_from(size).ok()?)?)),
    }
}

/// Reads a zigzag variable-length integer of at most ten bytes.
fn varint(rest: &mut &[u8]) -> Option<i64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let byte = *rest.split_off_first()?;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some((value >> 1) as i64 ^ -((value & 1) as i64));
        }
    }
    None
}

fn put_varint(bytes: &mut Vec<u8>, value: i64) {
    let mut rest = ((value << 1) ^ (value >> 63)) as u64;
    while rest >= 0x80 {
        bytes.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    bytes.push(rest as u8);
}

/// Returns what a control batch says.
pub(super) fn marker(header: &BatchHeader, plain: &[u8]) -> Result<Marker, Undecodable> {
    let mut marker = Marker::Empty;
    for_each_record(header, plain, |_, record| {
        // Key: version, then type, 16 bits each.
        marker = match record.key {
            Some([_, _, 0, 0, ..]) => Marker::Abort,
            Some([_, _, 0, 1, ..]) => Marker::Commit,
            Some(_) | None => Marker::Other,
        };
    })?;
    Ok(marker)
}

/// Returns when tombstones of the batch may go, if that was decided.
pub(super) fn delete_horizon(header: &BatchHeader) -> Option<TimestampMs> {
    header.attributes.has_delete_horizon().then_some(header.base_timestamp)
}

/// Writes the batch with only these records, at least one, compressed as it was.
///
/// With a `delete_horizon`, that takes the place of the base timestamp.
pub(super) fn rewrite(
    header: &BatchHeader,
    records: &[RawRecord<'_>],
    delete_horizon: Option<TimestampMs>,
) -> Result<Vec<u8>, Undecodable> {
    assert!(!records.is_empty(), "an empty batch has a form of its own");
    let base_timestamp = delete_horizon.unwrap_or(header.base_timestamp);
    let mut plain = Vec::new();
    for record in records {
        if base_timestamp == header.base_timestamp {
            plain.extend(record.bytes);
            continue;
        }
        let timestamp = header.base_timestamp.0.wrapping_add(record.timestamp_delta);
        let mut start = vec![record.attributes];
        put_varint(&mut start, timestamp.wrapping_sub(base_timestamp.0));
        put_varint(&mut plain, (start.len() + record.after_timestamp.len()) as i64);
        plain.extend(start);
        plain.extend(record.after_timestamp);
    }
    let timestamps =
        records.iter().map(|record| header.base_timestamp.0.wrapping_add(record.timestamp_delta));
    let max_timestamp = if header.attributes.is_log_append_time() {
        header.max_timestamp
    } else {
        TimestampMs(timestamps.max().unwrap_or(-1))
    };
    let horizon_bit = if delete_horizon.is_some() { DELETE_HORIZON_BIT } else { 0 };
    let codec = header.attributes.compression().map_err(|_| Undecodable)?;
    let packed = if codec == Compression::None {
        plain
    } else {
        compress(codec, &plain).map_err(|_| Undecodable)?
    };
    Ok(assemble(
        BatchHeader {
            attributes: Attributes(header.attributes.0 | horizon_bit),
            base_timestamp,
            max_timestamp,
            records_count: records.len() as i32,
            ..*header
        },
        &packed,
    ))
}

/// Writes the batch without records: what is left to keep the producer's sequence and the last offset.
pub(super) fn empty(header: &BatchHeader) -> Vec<u8> {
    let attributes = Attributes(header.attributes.0 & EMPTY_ATTRIBUTES);
    let base_timestamp = TimestampMs(-1);
    assemble(BatchHeader { attributes, base_timestamp, records_count: 0, ..*header }, &[])
}

fn assemble(mut header: BatchHeader, packed: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; HEADER_SIZE];
    bytes.extend(packed);
    header.batch_length = (bytes.len() - LENGTH_END) as i32;
    let mut start = [0; HEADER_SIZE];
    header.write(&mut start);
    bytes[..HEADER_SIZE].copy_from_slice(&start);
    header.crc = crc(&bytes);
    header.write(&mut start);
    bytes[..HEADER_SIZE].copy_from_slice(&start);
    assert_eq!(header.size_in_bytes(), bytes.len(), "the length counts everything");
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use broker_protocol::record::builder::BatchBuilder;

    fn build(codec: Compression) -> Vec<u8> {
        let mut builder = BatchBuilder::new(Offset(100), codec);
        for (timestamp, key, value) in
            [(5000, "a", Some("1")), (9000, "b", None), (7000, "c", None)]
        {
            let value = value.map(str::as_bytes);
            builder.push(TimestampMs(timestamp), Some(key.as_bytes()), value);
        }
        builder.finish().unwrap()
    }

    fn view(bytes: &[u8]) -> Batch<'_> {
        Batch { header: BatchHeader::parse(bytes).unwrap(), bytes }
    }

    /// What the codec's own reader sees.
    fn read(bytes: &[u8]) -> Vec<(i64, i64, Vec<u8>)> {
        let batch = view(bytes);
        assert!(batch.check_crc());
        let records = batch.records(1 << 20).unwrap();
        let record = |record: broker_protocol::record::iteration::Record<'_>| {
            (record.offset.0, record.timestamp.0, record.key.unwrap().to_vec())
        };
        records.iter().map(|found| record(found.unwrap())).collect()
    }

    fn without_first(bytes: &[u8], horizon: Option<i64>) -> Vec<u8> {
        let batch = view(bytes);
        let plain = unpack(&batch).unwrap();
        let mut records = Vec::new();
        for_each_record(&batch.header, &plain, |_, record| records.push(record)).unwrap();
        rewrite(&batch.header, &records[1..], horizon.map(TimestampMs)).unwrap()
    }

    #[test]
    fn kept_records_keep_their_offsets_and_times_with_and_without_a_horizon() {
        use Compression::{Gzip, Lz4, None as Plain, Snappy, Zstd};
        for codec in [Plain, Gzip, Snappy, Lz4, Zstd] {
            for horizon in [None, Some(1), Some(1_700_000_000_000)] {
                let rewritten = without_first(&build(codec), horizon);
                let header = view(&rewritten).header;
                assert_eq!(
                    read(&rewritten),
                    [(101, 9000, b"b".to_vec()), (102, 7000, b"c".to_vec()),]
                );
                assert_eq!(header.base_offset, Offset(100));
                assert_eq!(header.last_offset(), Offset(102));
                assert_eq!(header.max_timestamp, TimestampMs(9000));
                assert_eq!(header.attributes.compression(), Ok(codec));
                assert_eq!(delete_horizon(&header), horizon.map(TimestampMs));
                // A later round keeps the horizon that the first one set.
                let again = without_first(&rewritten, horizon);
                assert_eq!(read(&again), [(102, 7000, b"c".to_vec())]);
                assert_eq!(delete_horizon(&view(&again).header), horizon.map(TimestampMs));
            }
        }
    }

    #[test]
    fn an_emptied_batch_keeps_its_place_and_its_producer() {
        let bytes = build(Compression::Lz4);
        let emptied = empty(&view(&without_first(&bytes, Some(77))).header);
        let header = view(&emptied).header;
        assert_eq!(emptied.len(), HEADER_SIZE);
        assert!(view(&emptied).check_crc());
        assert_eq!((header.base_offset, header.last_offset()), (Offset(100), Offset(102)));
        assert_eq!((header.records_count, header.max_timestamp), (0, TimestampMs(9000)));
        assert_eq!(header.attributes, Attributes(0));
    }

    #[test]
    fn damage_behind_a_good_checksum_is_an_error_and_never_a_panic() {
        let good = build(Compression::None);
        for position in HEADER_SIZE..good.len() {
            for value in [0, 0x7f, 0x80, 0xff] {
                let mut bytes = good.clone();
                bytes[position] = value;
                let batch = view(&bytes);
                // Any answer will do; most are errors.
                _ = for_each_record(&batch.header, &bytes[HEADER_SIZE..], |_, _| {});
            }
        }
        let header = BatchHeader { records_count: i32::MAX, ..view(&good).header };
        assert_eq!(for_each_record(&header, &good[HEADER_SIZE..], |_, _| {}), Err(Undecodable));
        let header = BatchHeader { records_count: 2, ..view(&good).header };
        assert_eq!(for_each_record(&header, &good[HEADER_SIZE..], |_, _| {}), Err(Undecodable));
    }
}
