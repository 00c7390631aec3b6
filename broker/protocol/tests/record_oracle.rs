//! Batches and message sets against an independent codec, with every compression, both ways.
//!
//! Method: draw records, write them with ours and read them with the oracle, then the reverse: the
//! records must be the ones drawn. The oracle is the crate `kafka-protocol` 0.18.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail as tests do")]

use broker_protocol::quantity::{Offset, TimestampMs};
use broker_protocol::record::batch::Compression;
use broker_protocol::record::builder::BatchBuilder;
use broker_protocol::record::entries::{Entry, entries};
use bytes::{Bytes, BytesMut};
use fastrand::Rng;
use kafka_protocol_0_18::indexmap::IndexMap;
use kafka_protocol_0_18::protocol::StrBytes;
use kafka_protocol_0_18::records as oracle;

/// Batches of each codec.
const ROUNDS: u64 = 60;

/// The most that a batch is decompressed to.
const LIMIT: usize = 1 << 20;

const CODECS: [(Compression, oracle::Compression); 5] = [
    (Compression::None, oracle::Compression::None),
    (Compression::Gzip, oracle::Compression::Gzip),
    (Compression::Snappy, oracle::Compression::Snappy),
    (Compression::Lz4, oracle::Compression::Lz4),
    (Compression::Zstd, oracle::Compression::Zstd),
];

/// Draws null, or up to 300 bytes, or now and then more than a block of snappy.
fn field(rng: &mut Rng) -> Option<Bytes> {
    let size = match rng.u8(..16) {
        0..=3 => return None,
        4 => 40_000,
        _ => rng.usize(..300),
    };
    let spread = rng.u8(1..=255);
    Some((0..size).map(|_| rng.u8(..spread)).collect())
}

/// Draws records that one batch holds: offsets and sequences in a row, one producer.
fn draw(rng: &mut Rng) -> Vec<oracle::Record> {
    let count = rng.i32(1..30);
    let (base_offset, base_time) = (rng.i64(0..1 << 40), rng.i64(0..1 << 42));
    let has_producer = rng.bool();
    let partition_leader_epoch = rng.i32(-1..100);
    let transactional = has_producer && rng.bool();
    (0..count)
        .map(|index| {
            let mut headers = IndexMap::new();
            for header in 0..rng.usize(..3) {
                headers.insert(StrBytes::from_string(format!("header-{header}")), field(rng));
            }
            oracle::Record {
                transactional,
                control: false,
                delete_horizon: false,
                partition_leader_epoch,
                producer_id: if has_producer { 7 } else { -1 },
                producer_epoch: if has_producer { 3 } else { -1 },
                timestamp_type: oracle::TimestampType::Creation,
                offset: base_offset + i64::from(index),
                // The oracle numbers the records of no producer too, from -1 on.
                sequence: if has_producer { 40 } else { -1 } + index,
                timestamp: base_time + rng.i64(-1000..1000).max(-base_time),
                key: field(rng),
                value: field(rng),
                headers,
            }
        })
        .collect()
}

/// Writes the records with our builder.
fn ours(records: &[oracle::Record], codec: Compression) -> Vec<u8> {
    let first = &records[0];
    let mut builder = BatchBuilder::new(Offset(first.offset), codec);
    builder.header.partition_leader_epoch.0 = first.partition_leader_epoch;
    builder.header.producer_id = first.producer_id;
    builder.header.producer_epoch = first.producer_epoch;
    builder.header.base_sequence = first.sequence;
    builder.header.attributes.0 |= i16::from(first.transactional) << 4;
    for record in records {
        let headers: Vec<(&[u8], Option<&[u8]>)> =
            record.headers.iter().map(|(key, value)| (key.as_bytes(), value.as_deref())).collect();
        let (key, value) = (record.key.as_deref(), record.value.as_deref());
        builder.push_with_headers(TimestampMs(record.timestamp), key, value, &headers);
    }
    builder.finish().unwrap()
}

/// Holds what our reader makes of `bytes` against the records.
fn read_by_us(bytes: &[u8], records: &[oracle::Record], codec: Compression, context: &str) {
    let Some(Ok(Entry::Batch(batch))) = entries(bytes).next() else { panic!("{context}") };
    let header = batch.header;
    assert_eq!(batch.bytes.len(), bytes.len(), "{context}");
    assert!(batch.check_crc(), "{context}");
    assert_eq!(header.attributes.compression(), Ok(codec), "{context}");
    assert_eq!(header.attributes.is_transactional(), records[0].transactional, "{context}");
    let producer = (header.producer_id, header.producer_epoch, header.base_sequence);
    let first = &records[0];
    assert_eq!(producer, (first.producer_id, first.producer_epoch, first.sequence), "{context}");
    assert_eq!(header.partition_leader_epoch.0, first.partition_leader_epoch, "{context}");
    assert_eq!(Some(header.max_timestamp.0), records.iter().map(|it| it.timestamp).max());
    assert_eq!(header.last_offset().0, records[records.len() - 1].offset, "{context}");
    let read = batch.records(LIMIT).unwrap();
    let read: Vec<_> = read.iter().map(Result::unwrap).collect();
    assert_eq!(read.len(), records.len(), "{context}");
    for (record, given) in read.iter().zip(records) {
        assert_eq!((record.offset.0, record.timestamp.0), (given.offset, given.timestamp));
        assert!(record.key == given.key.as_deref(), "{context}");
        assert!(record.value == given.value.as_deref(), "{context}");
        let headers = given.headers.iter().map(|(key, value)| (key.as_bytes(), value.as_deref()));
        assert!(record.headers.clone().eq(headers), "{context}");
    }
}

#[test]
fn batches_of_every_codec_are_read_alike_both_ways() {
    for (codec, theirs) in CODECS {
        for round in 0..ROUNDS {
            let context = format!("{codec:?} round {round}");
            let records = draw(&mut Rng::with_seed(round));
            let written = ours(&records, codec);
            let set = oracle::RecordBatchDecoder::decode(&mut Bytes::from(written)).unwrap();
            assert_eq!((set.compression, set.version), (theirs, 2), "{context}");
            assert!(set.records == records, "{context}");

            let options = oracle::RecordEncodeOptions { version: 2, compression: theirs };
            let mut written = BytesMut::new();
            oracle::RecordBatchEncoder::encode(&mut written, &records, &options).unwrap();
            read_by_us(&written, &records, codec, &context);
        }
    }
}
