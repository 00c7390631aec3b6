//! Records that no good producer sends, and the error code that Kafka 3.9.2 has for each.
//!
//! The table holds for either peer; where ours answers otherwise the row says why. A refused batch
//! leaves nothing behind: at the end the log holds what was accepted, and nothing else.

use anyhow::{Context, Result, ensure};
use broker_protocol::error_code::ErrorCode;
use broker_protocol::message::find_coordinator::{FindCoordinatorRequest, FindCoordinatorResponse};
use broker_protocol::message::produce::{PartitionProduceData, ProduceResponse};
use broker_protocol::primitive::Records;
use broker_protocol::quantity::{Offset, TimestampMs};
use broker_protocol::record::batch::{BatchHeader, Compression, HEADER_SIZE, crc};
use broker_protocol::record::builder::BatchBuilder;
use e2e::deadline::Deadline;
use e2e::peer::{self, Peer};
use e2e::wire::{self, Connection, PRODUCE_VERSION};

/// Long past: topics that keep such records say so, or retention takes them while the test looks.
const TIME: TimestampMs = TimestampMs(1_700_000_000_000);

const FOREVER: (&str, &str) = ("retention.ms", "-1");

/// Records in a good batch.
const COUNT: i32 = 3;

/// Where the first record of an uncompressed good batch has its parts.
const RECORD_SIZE: usize = HEADER_SIZE;
const OFFSET_DELTA: usize = HEADER_SIZE + 3;
const KEY_SIZE: usize = HEADER_SIZE + 4;
const HEADERS_COUNT: usize = HEADER_SIZE + 8;

/// Records, the version of Produce that carries them, and the code that answers them.
struct Row {
    name: &'static str,
    version: i16,
    records: Vec<u8>,
    code: ErrorCode,
    /// Our code, where Kafka's helps nobody, and the reason.
    ours: Option<(ErrorCode, &'static str)>,
}

impl Row {
    fn but_ours(self, code: ErrorCode, reason: &'static str) -> Self {
        Self { ours: Some((code, reason)), ..self }
    }

    /// What the peer must answer.
    fn expected(&self) -> Result<ErrorCode> {
        let is_ours = peer::chosen()? == "ottla";
        Ok(self.ours.filter(|_| is_ours).map_or(self.code, |(code, _)| code))
    }
}

fn row(name: &'static str, code: ErrorCode, records: Vec<u8>) -> Row {
    Row { name, version: PRODUCE_VERSION, records, code, ours: None }
}

fn good(codec: Compression) -> Result<Vec<u8>> {
    let mut builder = BatchBuilder::new(Offset(0), codec);
    for _ in 0..COUNT {
        builder.push(TIME, Some(b"k"), Some(b"v"));
    }
    Ok(builder.finish()?)
}

/// Sets the length and the checksum right again.
fn sealed(mut bytes: Vec<u8>) -> Vec<u8> {
    let length = (bytes.len() - 12) as i32;
    bytes[8..12].copy_from_slice(&length.to_be_bytes());
    let crc = crc(&bytes);
    bytes[17..21].copy_from_slice(&crc.to_be_bytes());
    bytes
}

/// A good batch with another header.
fn with_header(codec: Compression, change: impl FnOnce(&mut BatchHeader)) -> Result<Vec<u8>> {
    let mut bytes = good(codec)?;
    let mut header = BatchHeader::parse(&bytes)?;
    change(&mut header);
    header.write(bytes.first_chunk_mut().context("a header")?);
    let crc = crc(&bytes);
    bytes[17..21].copy_from_slice(&crc.to_be_bytes());
    Ok(bytes)
}

fn with_attributes(bits: i16) -> Result<Vec<u8>> {
    with_header(Compression::None, |header| header.attributes.0 |= bits)
}

/// An uncompressed good batch with one byte changed.
fn with_byte(position: usize, byte: u8) -> Result<Vec<u8>> {
    let mut bytes = good(Compression::None)?;
    bytes[position] = byte;
    Ok(sealed(bytes))
}

/// A batch whose compressed records are noise.
fn undecodable(codec: Compression) -> Result<Vec<u8>> {
    let mut bytes = good(codec)?;
    bytes.truncate(HEADER_SIZE);
    bytes.extend([0x5a; 40]);
    Ok(sealed(bytes))
}

/// What is wrong with where a batch begins and ends.
fn framing() -> Result<Vec<Row>> {
    use ErrorCode::{CorruptMessage, InvalidRecord, None, UnknownServerError};
    let batch = good(Compression::None)?;
    let length = |length: i32| {
        let mut bytes = batch.clone();
        bytes[8..12].copy_from_slice(&length.to_be_bytes());
        bytes
    };
    let own = (batch.len() - 12) as i32;
    let mut crc = batch.clone();
    crc[20] ^= 1;
    let magic = |magic| {
        let mut bytes = batch.clone();
        bytes[16] = magic;
        bytes
    };
    Ok(vec![
        row("a good batch", None, batch.clone()),
        row("no records", InvalidRecord, Vec::new()),
        row("a wrong checksum", CorruptMessage, crc),
        row("two batches", InvalidRecord, batch.repeat(2)),
        row("a batch and a half", None, [&batch[..], &batch[..50]].concat())
            .but_ours(InvalidRecord, "what is dropped unseen was meant to be stored"),
        row("half a header", InvalidRecord, batch[..30].to_vec()),
        row("half a length", InvalidRecord, batch[..10].to_vec()),
        row("half a batch", InvalidRecord, batch[..batch.len() - 5].to_vec()),
        row("a length one too large", InvalidRecord, length(own + 1)),
        row("a length one too small", CorruptMessage, length(own - 1))
            .but_ours(InvalidRecord, "a byte follows the batch"),
        row("the largest length", UnknownServerError, length(i32::MAX))
            .but_ours(InvalidRecord, "Kafka's sum overflows"),
        row("length 0", CorruptMessage, length(0)),
        row("length -1", CorruptMessage, length(-1)),
        row("the smallest length", CorruptMessage, length(i32::MIN)),
        row("a length shorter than a header", CorruptMessage, length(40)),
        row("magic 0", InvalidRecord, magic(0)),
        row("magic 1", InvalidRecord, magic(1)),
        row("magic 3", CorruptMessage, magic(3)),
        row("magic -1", CorruptMessage, magic(0xff)),
    ])
}

/// What is wrong in a header whose checksum is right.
fn headers() -> Result<Vec<Row>> {
    use ErrorCode::{
        InvalidRecord, InvalidTimestamp, InvalidTxnState, None, TransactionalIdAuthorizationFailed,
        UnknownServerError, UnsupportedCompressionType,
    };
    let plain = Compression::None;
    Ok(vec![
        row("count 0", InvalidRecord, with_header(plain, |it| it.records_count = 0)?),
        row("count -1", InvalidRecord, with_header(plain, |it| it.records_count = -1)?),
        row("one record too many", InvalidRecord, with_header(plain, |it| it.records_count += 1)?),
        row("one record too few", InvalidRecord, with_header(plain, |it| it.records_count -= 1)?),
        row("a last offset too large", InvalidRecord, {
            with_header(plain, |it| it.last_offset_delta += 1)?
        }),
        row("a negative last offset", InvalidRecord, {
            with_header(plain, |it| it.last_offset_delta = -1)?
        }),
        row("a count and an offset beyond the records", InvalidRecord, {
            with_header(plain, |it| (it.records_count, it.last_offset_delta) = (4, 3))?
        }),
        row("the largest count, compressed", InvalidRecord, {
            let change = |it: &mut BatchHeader| {
                (it.records_count, it.last_offset_delta) = (i32::MAX, i32::MAX - 1);
            };
            with_header(Compression::Gzip, change)?
        }),
        row("a base offset", InvalidRecord, with_header(plain, |it| it.base_offset = Offset(5))?),
        row("a base offset, compressed", InvalidRecord, {
            with_header(Compression::Gzip, |it| it.base_offset = Offset(5))?
        }),
        row("a leader epoch", None, with_header(plain, |it| it.partition_leader_epoch.0 = 77)?),
        row("a wrong largest timestamp", None, {
            with_header(plain, |it| it.max_timestamp.0 += 1000)?
        }),
        row("unknown attributes", None, with_attributes(1 << 9)?),
        row("a control batch", InvalidRecord, with_attributes(1 << 5)?),
        row("a transactional batch", TransactionalIdAuthorizationFailed, with_attributes(1 << 4)?)
            .but_ours(InvalidTxnState, "no transaction can be open"),
        row("a delete horizon", None, with_attributes(1 << 6)?),
        row("the time of append", None, with_attributes(1 << 3)?)
            .but_ours(InvalidTimestamp, "Kafka rewrites the header, ours stores what came"),
        row("a producer without sequence", InvalidRecord, {
            with_header(plain, |it| (it.producer_id, it.producer_epoch) = (9_000, 0))?
        }),
        row("a producer without epoch", None, {
            with_header(plain, |it| (it.producer_id, it.base_sequence) = (9_001, 0))?
        })
        .but_ours(InvalidRecord, "no such producer can exist"),
        row("codec 5", UnknownServerError, with_attributes(5)?)
            .but_ours(UnsupportedCompressionType, "the client can be told"),
        row("codec 7", UnknownServerError, with_attributes(7)?)
            .but_ours(UnsupportedCompressionType, "the client can be told"),
    ])
}

/// What is wrong in the records of a batch whose header and checksum are right.
fn records() -> Result<Vec<Row>> {
    use ErrorCode::{InvalidRecord, None, UnsupportedCompressionType};
    let mut longer = good(Compression::None)?;
    longer.push(0);
    let zstd = good(Compression::Zstd)?;
    Ok(vec![
        row("a record too large", InvalidRecord, with_byte(RECORD_SIZE, 0x7e)?),
        row("a record too small", InvalidRecord, with_byte(RECORD_SIZE, 0x0e)?),
        row("a negative record", InvalidRecord, with_byte(RECORD_SIZE, 0x01)?),
        row("a wrong offset", None, with_byte(OFFSET_DELTA, 0x08)?)
            .but_ours(InvalidRecord, "it would be read at another's offset"),
        row("a key beyond its record", InvalidRecord, with_byte(KEY_SIZE, 0x7e)?),
        row("-1 headers", InvalidRecord, with_byte(HEADERS_COUNT, 0x01)?),
        row("too many headers", InvalidRecord, with_byte(HEADERS_COUNT, 0x7e)?),
        row("a byte after the records", InvalidRecord, sealed(longer)),
        Row { version: 6, ..row("zstd too early", UnsupportedCompressionType, zstd) },
    ])
}

/// Sends the rows to one partition and lists those that were answered otherwise.
fn run(connection: &mut Connection, topic: &str, rows: &[Row]) -> Result<Vec<String>> {
    let mut wrong = Vec::new();
    for row in rows {
        let Row { name, version, records, .. } = row;
        let code = row.expected()?;
        let answer = connection
            .produce(topic, 0, records, *version)
            .with_context(|| format!("{name}: no answer"))?;
        if answer.error_code != code.code() {
            let found = ErrorCode::from_code(answer.error_code);
            let message = answer.error_message.unwrap_or_default();
            wrong.push(format!("{name}: {found:?} ({message}) instead of {code:?}"));
        }
    }
    Ok(wrong)
}

fn ready(peer: &Peer) -> Result<Connection> {
    Deadline::seconds(60).poll("a broker that creates topics", || {
        let mut connection = Connection::open(peer.bootstrap())?;
        Ok(connection.create_topic("records", 1, &[FOREVER]).ok().map(|()| connection))
    })
}

#[test]
fn bad_records_are_refused_by_kafkas_codes_and_leave_nothing() -> Result<()> {
    let peer = Peer::start("bad-records")?;
    let mut connection = ready(&peer)?;
    let rows: Vec<Row> = framing()?.into_iter().chain(headers()?).chain(records()?).collect();
    let wrong = run(&mut connection, "records", &rows)?;
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    let mut accepted = 0;
    for row in &rows {
        accepted += usize::from(row.expected()? == ErrorCode::None);
    }
    let read = connection.read_partition("records", 0, 0)?;
    ensure!(read.len() == accepted * COUNT as usize, "{} of {accepted} batches", read.len());
    let offsets = read.iter().map(|record| record.offset);
    if peer::chosen()? == "ottla" {
        ensure!(offsets.eq(0..read.len() as i64), "{read:?}");
    }
    Ok(())
}

#[test]
fn topics_refuse_what_their_configuration_forbids() -> Result<()> {
    use ErrorCode::{InvalidRecord, InvalidTimestamp, MessageTooLarge, RecordListTooLarge};
    let peer = Peer::start("bad-for-topic")?;
    let mut connection = ready(&peer)?;
    let mut no_key = BatchBuilder::new(Offset(0), Compression::None);
    no_key.push(TIME, Some(b"k"), Some(b"v"));
    no_key.push(TIME, None, Some(b"v"));
    let mut large = BatchBuilder::new(Offset(0), Compression::None);
    large.push(TIME, None, Some(&[7; 3000]));
    let large = large.finish()?;
    let past = good(Compression::None)?;
    let cases = [
        ("compacted", ("cleanup.policy", "compact"), InvalidRecord, no_key.finish()?),
        ("small", ("max.message.bytes", "1000"), MessageTooLarge, large.clone()),
        ("segment", ("segment.bytes", "1024"), RecordListTooLarge, large),
        ("late", ("message.timestamp.before.max.ms", "1000"), InvalidTimestamp, past),
        (
            "late-gzip",
            ("message.timestamp.before.max.ms", "1000"),
            InvalidTimestamp,
            good(Compression::Gzip)?,
        ),
    ];
    let mut wrong = Vec::new();
    for (topic, config, code, records) in cases {
        connection.create_topic(topic, 1, &[config])?;
        wrong.extend(run(&mut connection, topic, &[row(topic, code, records)])?);
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

/// Ours looks into compressed records only where the topic asks something of them.
#[test]
fn noise_is_refused_where_compressed_records_are_looked_at() -> Result<()> {
    let peer = Peer::start("bad-noise")?;
    let mut connection = ready(&peer)?;
    connection.create_topic("noise", 1, &[("cleanup.policy", "compact")])?;
    let mut rows = Vec::new();
    for codec in [Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd] {
        let row = row(codec_name(codec), ErrorCode::UnknownServerError, undecodable(codec)?);
        rows.push(row.but_ours(ErrorCode::CorruptMessage, "the client can be told"));
    }
    let wrong = run(&mut connection, "noise", &rows)?;
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    ensure!(connection.read_partition("noise", 0, 0)?.is_empty(), "something was written");
    Ok(())
}

fn codec_name(codec: Compression) -> &'static str {
    match codec {
        Compression::None => "none",
        Compression::Gzip => "gzip",
        Compression::Snappy => "snappy",
        Compression::Lz4 => "lz4",
        Compression::Zstd => "zstd",
    }
}

/// A good batch of an idempotent producer.
fn numbered(producer: (i64, i16), base_sequence: i32) -> Result<Vec<u8>> {
    with_header(Compression::None, |header| {
        (header.producer_id, header.producer_epoch) = producer;
        header.base_sequence = base_sequence;
    })
}

#[test]
fn sequences_and_epochs_are_held_to() -> Result<()> {
    use ErrorCode::{
        DuplicateSequenceNumber, InvalidProducerEpoch, None, OutOfOrderSequenceNumber,
    };
    let peer = Peer::start("bad-sequences")?;
    let mut connection = ready(&peer)?;
    let (id, epoch) =
        Deadline::seconds(60).poll("a producer id", || Ok(connection.init_producer_id().ok()))?;
    let is_ours = peer::chosen()? == "ottla";
    let forgotten = if is_ours { DuplicateSequenceNumber } else { OutOfOrderSequenceNumber };
    // Name, epoch, base sequence, code, base offset.
    let cases = [
        ("the first", epoch + 1, 0, None, 0),
        ("the first again", epoch + 1, 0, None, 0),
        ("a gap", epoch + 1, 4, OutOfOrderSequenceNumber, -1),
        ("the second", epoch + 1, 3, None, 3),
        ("half a duplicate", epoch + 1, 4, OutOfOrderSequenceNumber, -1),
        ("an old epoch", epoch, 6, InvalidProducerEpoch, -1),
        ("a new epoch that goes on", epoch + 2, 6, OutOfOrderSequenceNumber, -1),
        ("a third", epoch + 1, 6, None, 6),
        ("a fourth", epoch + 1, 9, None, 9),
        ("a fifth", epoch + 1, 12, None, 12),
        ("the first of five again", epoch + 1, 0, None, 0),
        ("a sixth", epoch + 1, 15, None, 15),
        ("the second of six again", epoch + 1, 3, None, 3),
        // Kafka takes it for a gap, and some clients then write it a second time (`cluster_retries`).
        ("the first of six again", epoch + 1, 0, forgotten, -1),
        ("a new epoch", epoch + 2, 0, None, 18),
        ("the epoch before", epoch + 1, 18, InvalidProducerEpoch, -1),
    ];
    let mut wrong = Vec::new();
    for (name, epoch, sequence, code, base_offset) in cases {
        let records = numbered((id, epoch), sequence)?;
        let answer = connection.produce("records", 0, &records, PRODUCE_VERSION)?;
        if (answer.error_code, answer.base_offset) != (code.code(), base_offset) {
            wrong.push(format!("{name}: {answer:?}"));
        }
    }
    let stranger = numbered((id + 1000, 3), 77)?;
    let answer = connection.produce("records", 0, &stranger, PRODUCE_VERSION)?;
    ensure!(answer.error_code == 0, "an unknown producer in the midst: {answer:?}");
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

#[test]
fn one_bad_partition_does_not_fail_the_others() -> Result<()> {
    let peer = Peer::start("bad-neighbour")?;
    let mut connection = ready(&peer)?;
    connection.create_topic("neighbours", 3, &[FOREVER])?;
    let batch = good(Compression::Lz4)?;
    let mut bad = batch.clone();
    bad[20] ^= 1;
    let mut request = wire::produce_request("neighbours", 0, &batch);
    let partitions = &mut request.topic_data[0].partition_data;
    for (index, records) in [(1, &bad), (2, &batch), (3, &batch), (-1, &batch)] {
        let records = Some(Records::Bytes(records.as_slice().into()));
        partitions.push(PartitionProduceData { index, records });
    }
    let answer = connection.call(&request, PRODUCE_VERSION)?;
    let response: ProduceResponse<'_> = answer.read(PRODUCE_VERSION)?;
    let mut codes: Vec<_> = response.responses[0]
        .partition_responses
        .iter()
        .map(|partition| (partition.index, partition.error_code))
        .collect();
    codes.sort_unstable();
    ensure!(codes == [(-1, 3), (0, 0), (1, 2), (2, 0), (3, 3)], "{codes:?}");
    Ok(())
}

#[test]
fn requests_that_must_not_write_do_not() -> Result<()> {
    let peer = Peer::start("bad-produce")?;
    let mut connection = ready(&peer)?;
    let batch = good(Compression::None)?;
    for (topic, code) in [("nowhere", 3), ("..", 3), ("a/b", 3), ("", 3)] {
        let answer = connection
            .produce(topic, 0, &batch, PRODUCE_VERSION)
            .with_context(|| format!("{topic:?}"))?;
        ensure!(answer.error_code == code, "{topic:?}: {answer:?}");
    }
    for acks in [2, -2, i16::MAX] {
        let mut request = wire::produce_request("records", 0, &batch);
        request.acks = acks;
        let answer =
            connection.call(&request, PRODUCE_VERSION).with_context(|| format!("acks={acks}"))?;
        let answer = wire::produced(&answer, PRODUCE_VERSION)?;
        ensure!(answer.error_code == ErrorCode::InvalidRequiredAcks.code(), "{acks}: {answer:?}");
    }
    // Kafka never answers null records.
    if peer::chosen()? == "ottla" {
        let mut null = wire::produce_request("records", 0, &batch);
        null.topic_data[0].partition_data[0].records = None;
        let answer = connection.call(&null, PRODUCE_VERSION).context("null records")?;
        let answer = wire::produced(&answer, PRODUCE_VERSION)?;
        ensure!(answer.error_code == ErrorCode::InvalidRecord.code(), "null: {answer:?}");
    }

    Deadline::seconds(60).poll("the offsets topic", || {
        let request = FindCoordinatorRequest { key: "group".into(), ..Default::default() };
        let answer = connection.call(&request, 0)?;
        let response: FindCoordinatorResponse<'_> = answer.read(0)?;
        Ok((response.error_code == 0).then_some(()))
    })?;
    let answer = connection.produce("__consumer_offsets", 0, &batch, PRODUCE_VERSION)?;
    ensure!(answer.error_code == ErrorCode::InvalidTopicException.code(), "internal: {answer:?}");
    ensure!(connection.read_partition("records", 0, 0)?.is_empty(), "something was written");

    // Without acknowledgements a failure can be told only by the end of the connection.
    let mut silent = wire::produce_request("nowhere", 0, &batch);
    silent.acks = 0;
    connection.send(&silent, PRODUCE_VERSION)?;
    connection.await_close(std::time::Duration::from_secs(8))
}
