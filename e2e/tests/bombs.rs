//! Batches of some KiB that would fill the memory if they were let: what a broker answers, and what it
//! has in memory at its highest.
//!
//! They are opened where the topic asks something of records, and where an old format is converted.
//! Not here: batches that are stored unopened, which cost the broker nothing.

use anyhow::{Result, ensure};
use broker_protocol::error_code::ErrorCode;
use broker_protocol::quantity::{Offset, TimestampMs};
use broker_protocol::record::batch::{BatchHeader, Compression, HEADER_SIZE, crc};
use broker_protocol::record::builder::BatchBuilder;
use broker_protocol::record::compression::{break_checksum, compress};
use e2e::broker::Broker;
use e2e::logs;
use e2e::wire::{Connection, PRODUCE_VERSION};

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

/// What each bomb becomes: above what a batch may (64 MiB), and far above what the broker may have.
const INFLATED: usize = 512 * MIB;

/// What the broker may have at its highest above what it had before, in KiB: what one batch may become,
/// and as much for its other form, on one network thread.
const GROWTH_KIB_MAX: u64 = 160 << 10;

/// The most bytes that topics of these tests take in a batch: snappy makes at most 21 bytes of one.
const MESSAGE_BYTES_MAX: &str = "41943040";

const CODECS: [Compression; 4] =
    [Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];

/// Zeros, compressed: one piece made once and put together as often as needed, as the codec allows.
fn bomb(codec: Compression) -> Result<Vec<u8>> {
    let piece = if codec == Compression::Lz4 { 64 * KIB } else { 16 * MIB };
    let bytes = compress(codec, &vec![0; piece])?;
    let count = INFLATED / piece;
    if codec != Compression::Lz4 {
        // Members, frames and blocks may follow one another.
        return Ok(bytes.repeat(count));
    }
    // One frame of many blocks: seven bytes of header, four at the end.
    let (header, rest) = bytes.split_at(7);
    let (block, end) = rest.split_at(rest.len() - 4);
    Ok([header, &block.repeat(count), end].concat())
}

/// A batch v2 of one record, as its header says.
fn batch(codec: Compression, payload: &[u8]) -> Result<Vec<u8>> {
    let mut builder = BatchBuilder::new(Offset(0), codec);
    builder.push(TimestampMs(1_700_000_000_000), Some(b"k"), Some(b"v"));
    let mut bytes = builder.finish()?;
    bytes.truncate(HEADER_SIZE);
    bytes.extend_from_slice(payload);
    let length = (bytes.len() - 12) as i32;
    bytes[8..12].copy_from_slice(&length.to_be_bytes());
    let crc = crc(&bytes);
    bytes[17..21].copy_from_slice(&crc.to_be_bytes());
    ensure!(BatchHeader::parse(&bytes)?.size_in_bytes() == bytes.len(), "a batch cut short");
    Ok(bytes)
}

/// A wrapper of magic 0 or 1 around `payload`.
fn wrapper(magic: u8, codec: Compression, payload: &[u8]) -> Vec<u8> {
    let mut value = payload.to_vec();
    if codec == Compression::Lz4 && magic == 0 {
        break_checksum(&mut value);
    }
    let mut covered = vec![magic, codec as u8];
    if magic == 1 {
        covered.extend(1_700_000_000_000_i64.to_be_bytes());
    }
    covered.extend((-1_i32).to_be_bytes());
    covered.extend((value.len() as u32).to_be_bytes());
    covered.extend(value);
    let mut bytes = vec![0; 8];
    bytes.extend((covered.len() as u32 + 4).to_be_bytes());
    bytes.extend(crc32fast::hash(&covered).to_be_bytes());
    bytes.extend(covered);
    bytes
}

/// Topics that open what they get, with what opens it.
const TOPICS: [(&str, (&str, &str)); 3] = [
    ("compacted", ("cleanup.policy", "compact")),
    ("plain", ("compression.type", "uncompressed")),
    ("timed", ("message.timestamp.before.max.ms", "1000")),
];

#[test]
fn bombs_are_refused_in_bounded_memory() -> Result<()> {
    logs::forget("bombs")?;
    let directory = tempfile::tempdir()?;
    let settings = [("num.network.threads", "1"), ("message.max.bytes", MESSAGE_BYTES_MAX)];
    let mut broker = Broker::start("bombs", directory.path(), &settings)?;
    let mut connection = Connection::open(broker.bootstrap())?;
    for (topic, config) in TOPICS {
        connection.create_topic(topic, 1, &[config])?;
    }
    let before = broker.process()?.peak_memory_kib()?;
    let mut wrong = Vec::new();
    for codec in CODECS {
        let payload = bomb(codec)?;
        let in_batch = batch(codec, &payload)?;
        for (topic, _) in TOPICS {
            let answer = connection.produce(topic, 0, &in_batch, PRODUCE_VERSION)?;
            if answer.error_code != ErrorCode::CorruptMessage.code() {
                wrong.push(format!("{topic} {codec:?}: {answer:?}"));
            }
        }
        if codec == Compression::Zstd {
            continue;
        }
        for (magic, version) in [(0, 1), (1, 2)] {
            let in_wrapper = wrapper(magic, codec, &payload);
            let answer = connection.produce("timed", 0, &in_wrapper, version)?;
            if answer.error_code != ErrorCode::CorruptMessage.code() {
                wrong.push(format!("magic {magic} {codec:?}: {answer:?}"));
            }
        }
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    for (topic, _) in TOPICS {
        ensure!(
            connection.read_partition(topic, 0, 0)?.is_empty(),
            "{topic}: something was written"
        );
    }
    let peak = broker.process()?.peak_memory_kib()?;
    println!("{before} KiB before, {peak} KiB at the highest");
    ensure!(peak < before + GROWTH_KIB_MAX, "{peak} KiB at the highest, {before} KiB before");
    broker.stop()
}

/// What a batch may become just about, and what is found in it, is bounded too.
#[test]
fn what_almost_is_a_bomb_costs_no_more() -> Result<()> {
    logs::forget("almost-bombs")?;
    let directory = tempfile::tempdir()?;
    let mut broker =
        Broker::start("almost-bombs", directory.path(), &[("num.network.threads", "1")])?;
    let mut connection = Connection::open(broker.bootstrap())?;
    for (topic, config) in TOPICS {
        connection.create_topic(topic, 1, &[config])?;
    }
    let before = broker.process()?.peak_memory_kib()?;
    let mut large = BatchBuilder::new(Offset(0), Compression::Gzip);
    large.push(TimestampMs(1_700_000_000_000), Some(b"k"), Some(&vec![0; 63 * MIB]));
    let answer = connection.produce("plain", 0, &large.finish()?, PRODUCE_VERSION)?;
    ensure!(answer.error_code == ErrorCode::MessageTooLarge.code(), "{answer:?}");

    let mut many = BatchBuilder::new(Offset(0), Compression::Gzip);
    for _ in 0..200_000 {
        many.push(TimestampMs(1_700_000_000_000), None, None);
    }
    let answer = connection
        .call(&e2e::wire::produce_request("compacted", 0, &many.finish()?), PRODUCE_VERSION)?;
    let code = e2e::wire::produced(&answer, PRODUCE_VERSION)?.error_code;
    ensure!(code == ErrorCode::InvalidRecord.code(), "{code}");
    ensure!(answer.bytes.len() < 16 * KIB, "an answer of {} bytes", answer.bytes.len());

    let peak = broker.process()?.peak_memory_kib()?;
    println!("{before} KiB before, {peak} KiB at the highest");
    ensure!(peak < before + GROWTH_KIB_MAX, "{peak} KiB at the highest, {before} KiB before");
    broker.stop()
}
