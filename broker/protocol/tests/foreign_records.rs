//! Records that other implementations wrote are read as they were given; ours are the same bytes where
//! no codec's freedom is between.
//!
//! Method: `tests/fixtures/README.md` says who wrote what. The way back, our bytes in their readers, is
//! run by hand, as it needs their libraries.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail as tests do")]

use broker_protocol::quantity::{Offset, TimestampMs};
use broker_protocol::record::batch::{BatchHeader, Compression, HEADER_SIZE, crc};
use broker_protocol::record::convert::{DownLimits, down, up};
use broker_protocol::record::entries::{Entry, entries};

use support::five_records::{APPEND_TIME, CODECS, Given, five_records};
use support::write::written;

mod support {
    pub(crate) mod five_records;
    pub(crate) mod write;
}

/// The most that a fixture's records are decompressed to.
const LIMIT: usize = 100_000;

/// File, then how many lines it has.
const FILES: [(&str, &str, usize); 6] = [
    ("java-0.8.2.2", include_str!("fixtures/java-0.8.2.2.txt"), 4),
    ("java-0.9.0.1", include_str!("fixtures/java-0.9.0.1.txt"), 4),
    ("java-0.10.2.2", include_str!("fixtures/java-0.10.2.2.txt"), 12),
    ("java-0.11.0.3", include_str!("fixtures/java-0.11.0.3.txt"), 20),
    ("java-3.9.2", include_str!("fixtures/java-3.9.2.txt"), 22),
    ("kafka-python-3.0.12", include_str!("fixtures/kafka-python-3.0.12.txt"), 13),
];

/// One line of a fixture.
struct Fixture {
    name: String,
    magic: i8,
    codec: Compression,
    append_time: bool,
    base: i64,
    bytes: Vec<u8>,
}

fn bytes_of(hex: &str) -> Vec<u8> {
    let nibbles: Vec<u8> = hex.chars().map(|digit| digit.to_digit(16).unwrap() as u8).collect();
    nibbles.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

fn fixtures() -> Vec<Fixture> {
    let mut fixtures = Vec::new();
    for (file, text, count) in FILES {
        assert_eq!(text.lines().count(), count, "{file}");
        for line in text.lines() {
            let [magic, codec, time, base, hex] = line.split(' ').collect::<Vec<_>>()[..] else {
                panic!("{file}: {line}")
            };
            fixtures.push(Fixture {
                name: format!("{file} magic {magic} {codec} {time}"),
                magic: magic.parse().unwrap(),
                codec: CODECS.iter().find(|(name, _)| *name == codec).unwrap().1,
                append_time: time == "append",
                base: base.parse().unwrap(),
                bytes: bytes_of(hex),
            });
        }
    }
    fixtures
}

/// Reads all records and checks every checksum on the way.
fn read(name: &str, bytes: &[u8]) -> Vec<(Offset, Given)> {
    let mut read = Vec::new();
    for entry in entries(bytes) {
        match entry.unwrap_or_else(|error| panic!("{name}: {error}")) {
            Entry::Batch(batch) => {
                assert!(batch.check_crc(), "{name}");
                let records = batch.records(LIMIT).unwrap_or_else(|e| panic!("{name}: {e:?}"));
                for record in &records {
                    let record = record.unwrap_or_else(|error| panic!("{name}: {error}"));
                    let headers = record.headers.clone();
                    let headers =
                        headers.map(|(key, value)| (key.to_vec(), value.map(<[u8]>::to_vec)));
                    let given = Given {
                        timestamp: record.timestamp,
                        key: record.key.map(<[u8]>::to_vec),
                        value: record.value.map(<[u8]>::to_vec),
                        headers: headers.collect(),
                    };
                    read.push((record.offset, given));
                }
            }
            Entry::Legacy(message) => {
                assert!(message.check_crc(), "{name}");
                let visited = message.for_each(LIMIT, |inner| {
                    assert!(inner.check_crc(), "{name}");
                    let given = Given {
                        timestamp: inner.timestamp,
                        key: inner.key.map(<[u8]>::to_vec),
                        value: inner.value.map(<[u8]>::to_vec),
                        headers: Vec::new(),
                    };
                    read.push((inner.offset, given));
                });
                visited.unwrap_or_else(|error| panic!("{name}: {error:?}"));
            }
        }
    }
    read
}

fn expected(fixture: &Fixture) -> Vec<(Offset, Given)> {
    let mut records = five_records(fixture.magic, fixture.codec);
    for record in &mut records {
        if fixture.append_time {
            record.timestamp = APPEND_TIME;
        }
    }
    (fixture.base..).map(Offset).zip(records).collect()
}

#[test]
fn what_others_wrote_is_read_as_it_was_given() {
    for fixture in fixtures() {
        // Compared without `assert_eq`, whose message would hold 70,000 numbers.
        assert!(read(&fixture.name, &fixture.bytes) == expected(&fixture), "{}", fixture.name);
    }
}

#[test]
fn what_we_wrote_is_read_as_it_was_given() {
    for mut fixture in fixtures() {
        fixture.bytes = written(fixture.magic, fixture.codec, fixture.append_time, fixture.base);
        assert!(read(&fixture.name, &fixture.bytes) == expected(&fixture), "{}", fixture.name);
    }
}

/// All but the checksum and the bytes of the codec. The leader epoch is the broker's to set:
/// kafka-python writes 0 there, Java -1.
#[test]
fn our_headers_are_theirs_and_without_a_codec_all_bytes_are() {
    for fixture in fixtures() {
        let ours = written(fixture.magic, fixture.codec, fixture.append_time, fixture.base);
        if fixture.codec == Compression::None && fixture.magic < 2 {
            assert_eq!(ours, fixture.bytes, "{}", fixture.name);
        } else if fixture.magic == 2 {
            let theirs = BatchHeader::parse(&fixture.bytes).unwrap();
            let ours_header = BatchHeader::parse(&ours).unwrap();
            let comparable = BatchHeader {
                crc: theirs.crc,
                batch_length: theirs.batch_length,
                partition_leader_epoch: theirs.partition_leader_epoch,
                ..ours_header
            };
            assert_eq!(comparable, theirs, "{}", fixture.name);
            if fixture.codec == Compression::None {
                assert_eq!(ours[HEADER_SIZE..], fixture.bytes[HEADER_SIZE..], "{}", fixture.name);
                assert_eq!(crc(&ours), theirs.crc, "{}", fixture.name);
            }
        }
    }
}

/// Producers of old send these; the append time is for brokers only.
#[test]
fn what_old_producers_send_is_converted() {
    for fixture in fixtures() {
        if fixture.magic == 2 || fixture.append_time {
            continue;
        }
        let batches =
            up(&fixture.bytes, LIMIT).unwrap_or_else(|e| panic!("{}: {e:?}", fixture.name));
        let [batch] = &batches[..] else { panic!("{}", fixture.name) };
        let header = BatchHeader::parse(batch).unwrap();
        assert_eq!(header.attributes.compression(), Ok(fixture.codec), "{}", fixture.name);
        let largest = expected(&fixture).iter().map(|(_, given)| given.timestamp).max();
        assert_eq!(Some(header.max_timestamp), largest, "{}", fixture.name);
        let expected = (0..).map(Offset).zip(five_records(fixture.magic, fixture.codec));
        assert!(read(&fixture.name, batch).into_iter().eq(expected), "{}", fixture.name);
        assert_eq!(header.base_offset, Offset(0));
        assert_ne!(header.max_timestamp, TimestampMs(0));
    }
}

/// Kafka's conversion and ours leave the same records of the same batches; the same bytes where no codec is
/// between.
#[test]
fn what_goes_down_is_what_kafka_makes_of_it() {
    let written = fixtures();
    let lines = include_str!("fixtures/java-3.9.2-down.txt");
    assert_eq!(lines.lines().count(), 40);
    for line in lines.lines() {
        let [magic, codec, time, to_magic, first_offset, hex] =
            line.split(' ').collect::<Vec<_>>()[..]
        else {
            panic!("{line}")
        };
        let name = format!("java-3.9.2 magic {magic} {codec} {time}");
        let from = written.iter().find(|fixture| fixture.name == name).unwrap();
        let limits = DownLimits {
            magic: to_magic.parse().unwrap(),
            first_offset: Offset(first_offset.parse().unwrap()),
            size_max: usize::MAX,
            decompressed_size_max: LIMIT,
        };
        let context = format!("{name} to {to_magic} from {first_offset}");
        let (ours, theirs) = (down(&from.bytes, &limits).unwrap(), bytes_of(hex));
        assert!(read(&context, &ours) == read(&context, &theirs), "{context}");
        if from.codec == Compression::None {
            assert_eq!(ours, theirs, "{context}");
        }
        let heads = |bytes: &[u8]| -> Vec<(Offset, TimestampMs, u8)> {
            let heads = entries(bytes).map(|entry| match entry.unwrap() {
                Entry::Legacy(message) => (message.offset, message.timestamp, message.attributes),
                Entry::Batch(_) => panic!("{context}"),
            });
            heads.collect()
        };
        assert_eq!(heads(&ours), heads(&theirs), "{context}");
    }
}
