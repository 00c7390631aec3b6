//! Damaged batches and message sets: reading them never panics, and takes no more memory than the limit
//! that the caller hands in, four bytes for each received, and the fixed state of a codec.
//!
//! Method: draw records, write them in each magic and codec, or take those that a real client sent, damage
//! the bytes in one to eight places, mend the checksums of half of them, so that the damage is met behind
//! the checksum too, read all, and ask the allocator what that took. The test is alone in its binary, so that nothing else allocates.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use broker_protocol::message::Message as _;
use broker_protocol::message::produce::ProduceRequest;
use broker_protocol::primitive::Reader;
use broker_protocol::quantity::{Offset, TimestampMs};
use broker_protocol::record::batch::{Compression, crc};
use broker_protocol::record::builder::BatchBuilder;
use broker_protocol::record::compression::{DecompressError, compress, decompress};
use broker_protocol::record::convert::{DownLimits, down, up};
use broker_protocol::record::entries::{Entry, entries};
use broker_protocol::record::legacy::{MessageFields, write_message, write_wrapper};
use fastrand::Rng;
use peak_alloc::PeakAlloc;

mod support {
    pub(crate) mod captured;
}

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// Inputs in all: about 40 s unoptimised.
const INPUTS: u64 = 1_000_000;

/// The seed of every draw: a failure names the round, and with it everything.
const SEED: u64 = 0x4f74_746c;

/// What a reader takes.
const LIMIT: usize = 16 * 1024;

/// What the decoders keep beside their output; zlib's is the largest.
const CODEC_STATE: usize = 96 * 1024;

const CODECS: [Compression; 5] = [
    Compression::None,
    Compression::Gzip,
    Compression::Snappy,
    Compression::Lz4,
    Compression::Zstd,
];

/// Draws one to twenty records and writes them.
fn draw(rng: &mut Rng) -> Vec<u8> {
    let magic = rng.i8(0..3);
    let codec = CODECS[rng.usize(..if magic == 2 { 5 } else { 4 })];
    let records: Vec<(i64, Vec<u8>, Vec<u8>)> = (0..rng.i64(1..20))
        .map(|index| {
            let value = vec![rng.u8(..); rng.usize(..if index == 3 { 2000 } else { 40 })];
            (index, format!("key-{index}").into_bytes(), value)
        })
        .collect();
    let mut bytes = Vec::new();
    if magic == 2 {
        let near_the_end = i64::MAX - rng.i64(0..30);
        let base_offset = if rng.bool() { rng.i64(..) } else { near_the_end };
        let mut builder = BatchBuilder::new(Offset(base_offset), codec);
        for (index, key, value) in &records {
            let headers: &[(&[u8], Option<&[u8]>)] = &[(b"a", Some(b"1")), (b"b", None)];
            let headers = &headers[..rng.usize(..3)];
            builder.push_with_headers(TimestampMs(*index), Some(key), Some(value), headers);
        }
        return builder.finish().unwrap();
    }
    let messages: Vec<MessageFields<'_>> = records
        .iter()
        .map(|(index, key, value)| MessageFields {
            offset: Offset(*index),
            timestamp: TimestampMs(*index),
            log_append_time: false,
            key: Some(key),
            value: Some(value),
        })
        .collect();
    if codec == Compression::None {
        for message in &messages {
            write_message(&mut bytes, magic, message);
        }
    } else {
        write_wrapper(&mut bytes, magic, codec, &messages).unwrap();
    }
    bytes
}

fn damage(rng: &mut Rng, bytes: &mut Vec<u8>) {
    const EXTREMES: [&[u8]; 6] = [
        &[0x7f, 0xff, 0xff, 0xff],
        &[0xff, 0xff, 0xff, 0xff],
        &[0x80, 0x00, 0x00, 0x00],
        &[0x00, 0x00, 0x01, 0x00],
        &[0xff, 0xff, 0xff, 0xff, 0x0f],
        &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
    ];
    for _ in 0..rng.usize(1..=8) {
        let at = rng.usize(..=bytes.len());
        match rng.u8(..7) {
            0 | 1 if at < bytes.len() => bytes[at] ^= 1 << rng.u8(..8),
            2 if at < bytes.len() => bytes[at] = rng.u8(..),
            3 => {
                let extreme = EXTREMES[rng.usize(..EXTREMES.len())];
                let size = extreme.len().min(bytes.len() - at);
                bytes[at..at + size].copy_from_slice(&extreme[..size]);
            }
            4 if rng.u8(..4) == 0 => bytes.truncate(at),
            5 if rng.u8(..4) == 0 => bytes.insert(at, rng.u8(..)),
            _ => {}
        }
    }
}

/// Makes the length and the checksum of the first entry those of all bytes.
fn mend(bytes: &mut [u8]) {
    if bytes.len() < 26 {
        return;
    }
    let length = (bytes.len() - 12) as i32;
    bytes[8..12].copy_from_slice(&length.to_be_bytes());
    if bytes[16] == 2 {
        let crc = crc(bytes);
        bytes[17..21].copy_from_slice(&crc.to_be_bytes());
    } else {
        let crc = crc32fast::hash(&bytes[16..]);
        bytes[12..16].copy_from_slice(&crc.to_be_bytes());
    }
}

/// The records of each captured Produce request.
fn captured_records() -> Vec<Vec<u8>> {
    let mut payloads = Vec::new();
    for one in support::captured::captured().iter().filter(|one| one.api_key == 0) {
        let mut reader = Reader::new(one.body());
        let request = ProduceRequest::decode(&mut reader, one.version).unwrap();
        for partition in request.topic_data.iter().flat_map(|topic| &topic.partition_data) {
            payloads.extend(partition.records.as_ref().map(|records| records.as_bytes().to_vec()));
        }
    }
    assert!(!payloads.is_empty());
    payloads
}

/// Reads all there is, and returns how many records there were.
fn read(bytes: &[u8]) -> usize {
    let mut count = 0;
    for entry in entries(bytes) {
        match entry {
            Ok(Entry::Batch(batch)) => {
                let _ = (batch.check_crc(), batch.header.last_offset(), batch.header.next_offset());
                let Ok(records) = batch.records(LIMIT) else { continue };
                for record in records.iter().flatten() {
                    count += 1 + record.headers.count();
                }
            }
            Ok(Entry::Legacy(message)) => {
                let _ = message.for_each(LIMIT, |inner| {
                    count += usize::from(inner.check_crc());
                });
            }
            Err(_) => break,
        }
    }
    count
}

fn growth<T>(work: impl FnOnce() -> T) -> (T, usize) {
    ALLOCATOR.reset_peak_usage();
    let before = ALLOCATOR.current_usage();
    let result = work();
    (result, ALLOCATOR.peak_usage() - before)
}

#[test]
fn damaged_records_cost_no_more_than_the_limit() {
    let (mut some, mut converted) = (0, 0);
    let captured = captured_records();
    for round in 0..INPUTS {
        let mut rng = Rng::with_seed(SEED + round);
        let mut bytes =
            if rng.bool() { draw(&mut rng) } else { captured[rng.usize(..captured.len())].clone() };
        damage(&mut rng, &mut bytes);
        if rng.bool() {
            mend(&mut bytes);
        }
        let (count, taken) = growth(|| read(&bytes));
        let bound = LIMIT + 4 * bytes.len() + CODEC_STATE;
        assert!(taken <= bound, "round {round}: {taken} bytes for {}", bytes.len());
        some += u64::from(count > 0);
        converted += u64::from(up(&bytes, LIMIT).is_ok());
        let limits = DownLimits {
            magic: rng.i8(0..2),
            first_offset: Offset(0),
            size_max: LIMIT,
            decompressed_size_max: LIMIT,
        };
        let _ = down(&bytes, &limits);
    }
    // Neither may be a rarity, or the damage would test nothing.
    assert!(some > INPUTS / 10 && some < INPUTS * 9 / 10, "{some} of {INPUTS} had records");
    assert!(converted > INPUTS / 50, "{converted} of {INPUTS} were converted");
    bombs_are_refused_within_the_limit();
}

/// 64 MiB of one byte in few bytes, whole and behind sizes that lie.
fn bombs_are_refused_within_the_limit() {
    for codec in &CODECS[1..] {
        let bomb = compress(*codec, &vec![0; 64 << 20]).unwrap();
        for limit in [0, 1, 1000, 1 << 20, (64 << 20) - 1] {
            let (result, taken) = growth(|| decompress(*codec, &bomb, limit));
            assert!(
                matches!(result, Err(DecompressError::TooLarge { .. })),
                "{codec:?} {limit}: {result:?}"
            );
            let bound = limit + 4 * bomb.len() + CODEC_STATE;
            assert!(taken <= bound, "{codec:?} {limit}: {taken} bytes for {}", bomb.len());
        }
        // A few bytes of it justify little, whatever they declare and whatever the limit is.
        let (result, taken) = growth(|| decompress(*codec, &bomb[..40], usize::MAX));
        assert!(result.is_err(), "{codec:?}");
        assert!(taken <= 2 * CODEC_STATE, "{codec:?}: {taken} bytes for 40");
    }
}
