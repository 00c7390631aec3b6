//! Properties of records: what is built is read, and what goes up comes down the same.
//!
//! Method: proptest draws keys, values, times and headers, and shrinks what fails. No case is kept in a
//! file: a failure prints its values.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail as tests do")]

use broker_protocol::quantity::{Offset, TimestampMs};
use broker_protocol::record::batch::Compression;
use broker_protocol::record::builder::BatchBuilder;
use broker_protocol::record::convert::{DownLimits, down, up};
use broker_protocol::record::entries::{Entry, entries};
use broker_protocol::record::legacy::{MessageFields, write_message, write_wrapper};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::{Just, ProptestConfig, Strategy, any, prop_assert, prop_assert_eq};
use proptest::{prop_oneof, proptest};

/// The most that a batch is decompressed to.
const LIMIT: usize = 1 << 20;

type Bytes = Vec<u8>;

#[derive(Debug, Clone, PartialEq, Eq)]
struct Given {
    offset: i64,
    timestamp: i64,
    key: Option<Bytes>,
    value: Option<Bytes>,
    headers: Vec<(Bytes, Option<Bytes>)>,
}

/// Null, short bytes of any kind, or many of one kind.
fn field() -> impl Strategy<Value = Option<Bytes>> {
    option::of(prop_oneof![
        4 => vec(any::<u8>(), 0..60),
        1 => (any::<u8>(), 0..40_000_usize).prop_map(|(byte, size)| vec![byte; size]),
    ])
}

fn given() -> impl Strategy<Value = Given> {
    let headers = vec((vec(any::<u8>(), 0..8), option::of(vec(any::<u8>(), 0..8))), 0..3);
    (any::<i64>(), field(), field(), headers).prop_map(|(timestamp, key, value, headers)| Given {
        offset: 0,
        timestamp,
        key,
        value,
        headers,
    })
}

/// One to twenty records, from an offset on.
fn records(base: impl Strategy<Value = i64>) -> impl Strategy<Value = Vec<Given>> {
    (base, vec(given(), 1..20)).prop_map(|(base, mut records)| {
        for (offset, record) in (base..).zip(&mut records) {
            record.offset = offset;
        }
        records
    })
}

fn old_codec() -> impl Strategy<Value = Compression> {
    prop_oneof![
        Just(Compression::None),
        Just(Compression::Gzip),
        Just(Compression::Snappy),
        Just(Compression::Lz4),
    ]
}

fn codec() -> impl Strategy<Value = Compression> {
    prop_oneof![4 => old_codec(), 1 => Just(Compression::Zstd)]
}

fn build(records: &[Given], codec: Compression) -> Bytes {
    let mut builder = BatchBuilder::new(Offset(records[0].offset), codec);
    for record in records {
        let headers: Vec<(&[u8], Option<&[u8]>)> =
            record.headers.iter().map(|(key, value)| (&key[..], value.as_deref())).collect();
        let (key, value) = (record.key.as_deref(), record.value.as_deref());
        builder.push_with_headers(TimestampMs(record.timestamp), key, value, &headers);
    }
    builder.finish().unwrap()
}

/// Reads batches and messages of any magic.
fn read(bytes: &[u8]) -> Vec<Given> {
    let owned = |field: Option<&[u8]>| field.map(<[u8]>::to_vec);
    let mut read = Vec::new();
    for entry in entries(bytes) {
        match entry.unwrap() {
            Entry::Batch(batch) => {
                assert!(batch.check_crc());
                for record in &batch.records(LIMIT).unwrap() {
                    let record = record.unwrap();
                    let headers = record.headers.clone();
                    read.push(Given {
                        offset: record.offset.0,
                        timestamp: record.timestamp.0,
                        key: owned(record.key),
                        value: owned(record.value),
                        headers: headers.map(|(key, value)| (key.to_vec(), owned(value))).collect(),
                    });
                }
            }
            Entry::Legacy(message) => {
                assert!(message.check_crc());
                let visited = message.for_each(LIMIT, |inner| {
                    assert!(inner.check_crc());
                    read.push(Given {
                        offset: inner.offset.0,
                        timestamp: inner.timestamp.0,
                        key: owned(inner.key),
                        value: owned(inner.value),
                        headers: Vec::new(),
                    });
                });
                visited.unwrap();
            }
        }
    }
    read
}

/// Writes messages of magic 0 or 1.
fn message_set(records: &[Given], magic: i8, codec: Compression) -> Bytes {
    let messages: Vec<MessageFields<'_>> = records
        .iter()
        .map(|record| MessageFields {
            offset: Offset(record.offset),
            timestamp: TimestampMs(record.timestamp),
            log_append_time: false,
            key: record.key.as_deref(),
            value: record.value.as_deref(),
        })
        .collect();
    let mut bytes = Vec::new();
    if codec == Compression::None {
        for message in &messages {
            write_message(&mut bytes, magic, message);
        }
    } else {
        write_wrapper(&mut bytes, magic, codec, &messages).unwrap();
    }
    bytes
}

/// What a magic keeps of records.
fn kept(mut records: Vec<Given>, magic: i8) -> Vec<Given> {
    for record in &mut records {
        record.headers.clear();
        if magic == 0 {
            record.timestamp = -1;
        }
    }
    records
}

fn limits(magic: i8) -> DownLimits {
    DownLimits {
        magic,
        first_offset: Offset(i64::MIN),
        size_max: usize::MAX,
        decompressed_size_max: LIMIT,
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(200)
    })]

    #[test]
    fn what_is_built_is_read(records in records(0..i64::MAX - 20), codec in codec()) {
        let bytes = build(&records, codec);
        prop_assert!(read(&bytes) == records);
        let Some(Ok(Entry::Batch(batch))) = entries(&bytes).next() else { panic!("no batch") };
        prop_assert_eq!(batch.header.size_in_bytes(), bytes.len());
        prop_assert_eq!(batch.header.last_offset().0, records[records.len() - 1].offset);
        let largest = records.iter().map(|record| record.timestamp).max();
        prop_assert_eq!(Some(batch.header.max_timestamp.0), largest);
    }

    #[test]
    fn what_goes_down_is_read(
        records in records(0..1_i64 << 50),
        codec in old_codec(),
        magic in 0..2_i8,
    ) {
        let messages = down(&build(&records, codec), &limits(magic)).unwrap();
        prop_assert!(read(&messages) == kept(records, magic));
    }

    #[test]
    fn what_goes_up_comes_down_the_same(
        records in records(Just(0)),
        codec in old_codec(),
        magic in 0..2_i8,
    ) {
        let sent = message_set(&records, magic, codec);
        let batches = up(&sent, LIMIT).unwrap();
        prop_assert_eq!(batches.len(), 1);
        prop_assert!(read(&batches[0]) == kept(records, magic));
        prop_assert!(down(&batches[0], &limits(magic)).unwrap() == sent);
    }
}
