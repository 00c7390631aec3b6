//! What producers may send and what not. Method: a sound batch, changed in one place and sealed again.

use std::collections::BTreeMap;

use broker_config::broker::BrokerConfig;
use broker_protocol::record::batch::{Attributes, HEADER_SIZE, crc};
use broker_protocol::record::builder::BatchBuilder;
use broker_protocol::record::legacy::{MessageFields, write_message};

use super::*;

const NOW: TimestampMs = TimestampMs(1_000_000);

fn config(settings: &[(&str, &str)]) -> TopicConfig {
    let overrides: BTreeMap<String, String> =
        settings.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    TopicConfig::resolve(&BrokerConfig::default(), &overrides).unwrap()
}

fn validate_in(
    version: i16,
    settings: &[(&str, &str)],
    bytes: &[u8],
) -> Result<(Vec<Vec<u8>>, u64, u64), InvalidRecords> {
    let config = config(settings);
    let rules = Rules { config: &config, version, now: NOW };
    let valid = validate(bytes, &rules)?;
    let batches = valid.batches.iter().map(|batch| batch.bytes.to_vec()).collect();
    Ok((batches, valid.records_count, valid.conversions_count))
}

fn batch_of(codec: Compression, keys: &[Option<&[u8]>]) -> Vec<u8> {
    let mut builder = BatchBuilder::new(Offset(0), codec);
    for (number, key) in keys.iter().enumerate() {
        builder.push(TimestampMs(NOW.0 + number as i64), *key, Some(b"some value"));
    }
    builder.finish().unwrap()
}

fn sound() -> Vec<u8> {
    batch_of(Compression::None, &[Some(b"a"), None, Some(b"c")])
}

/// Changes the header of a sound batch and computes its checksum anew.
fn with(change: impl FnOnce(&mut BatchHeader)) -> Vec<u8> {
    let mut bytes = sound();
    let mut header = BatchHeader::parse(&bytes).unwrap();
    change(&mut header);
    header.crc = 0;
    let mut head = [0; HEADER_SIZE];
    header.write(&mut head);
    bytes[..HEADER_SIZE].copy_from_slice(&head);
    sealed(bytes)
}

fn sealed(mut bytes: Vec<u8>) -> Vec<u8> {
    let crc = crc(&bytes);
    bytes[17..21].copy_from_slice(&crc.to_be_bytes());
    bytes
}

#[test]
fn a_sound_batch_is_kept_byte_for_byte() {
    for codec in [Compression::None, Compression::Gzip, Compression::Lz4, Compression::Zstd] {
        let bytes = batch_of(codec, &[None, None]);
        let (batches, records, conversions) = validate_in(9, &[], &bytes).unwrap();
        assert_eq!((batches, records, conversions), (vec![bytes], 2, 0), "{codec:?}");
    }
}

#[test]
fn a_flaw_in_the_header_is_refused_by_name() {
    let flaw = |flaw: Flaw| InvalidRecords::Invalid(flaw);
    let cases: [(&str, Vec<u8>, InvalidRecords); 9] = [
        ("an offset", with(|h| h.base_offset = Offset(5)), flaw(Flaw::BaseOffset)),
        ("no records", with(|h| h.records_count = 0), flaw(Flaw::RecordsCount)),
        ("a count below zero", with(|h| h.records_count = -3), flaw(Flaw::RecordsCount)),
        ("a count above the offsets", with(|h| h.records_count = 9), flaw(Flaw::RecordsCount)),
        ("a control batch", with(|h| h.attributes = Attributes(0x20)), flaw(Flaw::Control)),
        ("an id without a sequence", with(|h| h.producer_id = 7), flaw(Flaw::Sequence)),
        ("a transaction", with(|h| h.attributes = Attributes(0x10)), InvalidRecords::Transactional),
        (
            "a time of append",
            with(|h| h.attributes = Attributes(0x08)),
            InvalidRecords::Timestamp { records: vec![] },
        ),
        (
            "an unknown codec",
            with(|h| h.attributes = Attributes(0x05)),
            InvalidRecords::UnsupportedCompression { codec: 5, version: 9 },
        ),
    ];
    for (name, bytes, expected) in cases {
        assert_eq!(validate_in(9, &[], &bytes), Err(expected), "{name}");
    }
}

#[test]
fn bytes_that_are_not_one_whole_batch_are_refused() {
    let corrupt = InvalidRecords::Corrupt { position: 0 };
    let bytes = sound();
    assert_eq!(validate_in(9, &[], &[]), Err(Flaw::Empty.into()));
    for cut in [1, 16, 17, 60, 61, bytes.len() - 1] {
        let refused = validate_in(9, &[], &bytes[..cut]);
        assert_eq!(refused, Err(Flaw::CutShort.into()), "cut at {cut}");
    }
    let twice = [sound(), sound()].concat();
    assert_eq!(validate_in(9, &[], &twice), Err(Flaw::SeveralBatches.into()));
    let mut old = sound();
    old[MAGIC_POSITION] = 1;
    assert_eq!(validate_in(9, &[], &old), Err(Flaw::Magic.into()));
    old[MAGIC_POSITION] = 3;
    assert_eq!(validate_in(9, &[], &old), Err(corrupt.clone()));
    for position in 21..bytes.len() {
        let mut damaged = sound();
        damaged[position] ^= 1;
        assert_eq!(validate_in(9, &[], &damaged), Err(corrupt.clone()), "bit at {position}");
    }
}

/// Whatever one byte of the records becomes, a sealed batch is taken or refused, and never panics.
#[test]
fn records_that_lie_are_refused_and_never_panic() {
    let bytes = sound();
    let mut lying = bytes.clone();
    // The first record's length, a varint of one byte.
    lying[HEADER_SIZE] += 2;
    assert_eq!(validate_in(9, &[], &sealed(lying)), Err(Flaw::Record(0).into()));
    let mut lying = bytes.clone();
    // The last record's header count, the batch's last byte: it says one, or minus one.
    for count in [2, 1] {
        *lying.last_mut().unwrap() = count;
        let refused = validate_in(9, &[], &sealed(lying.clone())).unwrap_err();
        assert!(matches!(refused, InvalidRecords::Invalid(Flaw::Record(_))), "{refused:?}");
    }
    for position in HEADER_SIZE..bytes.len() {
        for value in [0, 1, 0x7f, 0x80, 0xff] {
            let mut changed = bytes.clone();
            changed[position] = value;
            let _ = validate_in(9, &[], &sealed(changed));
        }
    }
}

#[test]
fn sizes_and_codecs_are_held_to_topic_and_version() {
    let bytes = sound();
    let size = bytes.len();
    let limit = size.to_string();
    assert!(validate_in(9, &[("max.message.bytes", &limit)], &bytes).is_ok());
    let max_message_bytes = size as i32 - 1;
    let limit = max_message_bytes.to_string();
    let refused = validate_in(9, &[("max.message.bytes", &limit)], &bytes);
    assert_eq!(refused, Err(InvalidRecords::TooLarge { size, max_message_bytes }));
    let zstd = batch_of(Compression::Zstd, &[None]);
    assert!(validate_in(7, &[], &zstd).is_ok());
    let refused = InvalidRecords::UnsupportedCompression { codec: 4, version: 6 };
    assert_eq!(validate_in(6, &[], &zstd), Err(refused));
}

#[test]
fn a_compacted_topic_takes_keys_only_and_names_the_records_without() {
    let compacted = [("cleanup.policy", "compact")];
    for codec in [Compression::None, Compression::Gzip] {
        let bytes = batch_of(codec, &[Some(b"a"), None, Some(b"c"), None]);
        let refused = validate_in(9, &compacted, &bytes).unwrap_err();
        assert_eq!(refused, InvalidRecords::NoKey { records: vec![1, 3] }, "{codec:?}");
        assert_eq!(refused.record_indexes(), [1, 3]);
        assert!(validate_in(9, &compacted, &batch_of(codec, &[Some(b"")])).is_ok());
    }
}

#[test]
fn times_are_held_to_the_topics_limits() {
    let ahead = [("message.timestamp.after.max.ms", "1")];
    let bytes = batch_of(Compression::None, &[None, None, None]);
    let refused = validate_in(9, &ahead, &bytes);
    assert_eq!(refused, Err(InvalidRecords::Timestamp { records: vec![2] }));
    let mut builder = BatchBuilder::new(Offset(0), Compression::Gzip);
    for time in [-3, -2, 0, 2, 3] {
        builder.push(TimestampMs(NOW.0 + time), None, None);
    }
    let around = builder.finish().unwrap();
    for (key, expected) in [
        ("message.timestamp.before.max.ms", vec![0]),
        ("message.timestamp.after.max.ms", vec![4]),
        ("message.timestamp.difference.max.ms", vec![0, 4]),
    ] {
        let refused = validate_in(9, &[(key, "2")], &around);
        assert_eq!(refused, Err(InvalidRecords::Timestamp { records: expected }), "{key}");
    }
    let stamped = [ahead[0], ("message.timestamp.type", "LogAppendTime")];
    assert!(validate_in(9, &stamped, &bytes).is_ok(), "the client's times are not kept");
}

#[test]
fn another_codec_is_forced_where_the_topic_says_so() {
    let keys = [Some(&b"key"[..]); 20];
    let plain = batch_of(Compression::None, &keys);
    let (batches, ..) = validate_in(9, &[("compression.type", "lz4")], &plain).unwrap();
    let header = BatchHeader::parse(&batches[0]).unwrap();
    assert_eq!(header.attributes.compression(), Ok(Compression::Lz4));
    assert!(Batch { header, bytes: &batches[0] }.check_crc());
    assert!(batches[0].len() < plain.len());
    let back = [("compression.type", "uncompressed")];
    assert_eq!(validate_in(9, &back, &batches[0]).unwrap().0, [plain]);
}

/// Method: the size of text that is alike in parts, which a higher level finds more of.
#[test]
fn records_are_compressed_at_the_level_that_the_topic_says() {
    let mut builder = BatchBuilder::new(Offset(0), Compression::None);
    for number in 0..3_000_i64 {
        let value = format!("{} and {} make {}", number % 97, number * 31 % 89, number * number);
        builder.push(NOW, None, Some(value.as_bytes()));
    }
    let plain = builder.finish().unwrap();
    for (codec, levels, default) in [("gzip", ["1", "9"], "-1"), ("zstd", ["1", "19"], "3")] {
        let key = format!("compression.{codec}.level");
        let size = |level: &[(&str, &str)]| {
            let settings = [&[("compression.type", codec)], level].concat();
            validate_in(9, &settings, &plain).unwrap().0[0].len()
        };
        let [fast, small] = levels.map(|level| size(&[(&key, level)]));
        assert!(small < fast, "{codec}: {small} {fast}");
        assert_eq!(size(&[]), size(&[(&key, default)]), "{codec}");
        assert_ne!(size(&[]), fast, "{codec}");
    }
}

/// Design, decision 8: compressed records are opened only where the topic asks something of them.
#[test]
fn compressed_noise_is_kept_as_it_came_unless_the_topic_looks_into_records() {
    for codec in [Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd] {
        let mut noise = batch_of(codec, &[Some(b"a"), Some(b"b")]);
        noise[HEADER_SIZE..].fill(0xa5);
        let noise = sealed(noise);
        let kept = validate_in(9, &[], &noise).unwrap();
        assert_eq!(kept, (vec![noise.clone()], 2, 0), "{codec:?}");
        let other = if codec == Compression::Gzip { "lz4" } else { "gzip" };
        let asked = [
            ("cleanup.policy", "compact"),
            ("compression.type", other),
            ("message.timestamp.before.max.ms", "1000"),
        ];
        for setting in asked {
            let refused = validate_in(9, &[setting], &noise);
            assert_eq!(refused, Err(InvalidRecords::Undecodable), "{codec:?}, {setting:?}");
        }
    }
}

#[test]
fn message_sets_of_old_become_one_batch() {
    let mut set = Vec::new();
    for number in 0..3 {
        let fields = MessageFields {
            offset: Offset(number),
            timestamp: NOW,
            log_append_time: false,
            key: None,
            value: Some(b"value"),
        };
        write_message(&mut set, 1, &fields);
    }
    let (batches, records, conversions) = validate_in(2, &[], &set).unwrap();
    assert_eq!((batches.len(), records, conversions), (1, 3, 3));
    assert!(validate_in(9, &[], &batches[0]).is_ok(), "and that batch is sound");
    let last = set.len() - 1;
    set[last] ^= 1;
    assert_eq!(validate_in(2, &[], &set), Err(InvalidRecords::Corrupt { position: 0 }));
    assert_eq!(validate_in(2, &[], &[]), Err(Flaw::Empty.into()));
}
