//! The mixed load: clients of several formats, and by requests of our own what no client writes so
//! exactly: headers, nulls and times, compaction, deleted records, groups in the middle of a
//! generation.

use std::collections::BTreeSet;
use std::io::Write as _;

use anyhow::{Context, Result, bail, ensure};
use broker_protocol::message::delete_records::{
    DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsResponse, DeleteRecordsTopic,
};
use broker_protocol::quantity::{Offset, TimestampMs};
use broker_protocol::record::batch::Compression;
use broker_protocol::record::builder::BatchBuilder;
use e2e::clients::{self, Client, Progress};
use e2e::deadline::Deadline;
use e2e::java::Java;
use e2e::logs;
use e2e::matrix::Outcome;
use e2e::process::Process;
use e2e::tools::{maven, pypi};
use e2e::wire::{Connection, PRODUCE_VERSION};
use e2e::workspace;

use crate::groups::{self, Member};
use crate::producers::Producer;

/// A topic with every codec and everything that a record can have.
pub(crate) const MIXTURE: &str = "mixture";
/// The partitions of [`MIXTURE`].
pub(crate) const MIXTURE_PARTITIONS: i32 = 3;
/// The topic that is compacted.
pub(crate) const COMPACTED: &str = "compacted";
/// The first offset of the topic that lost its beginning; within a batch, within a segment.
pub(crate) const SHORTENED_TO: i64 = 505;

const CODECS: [Compression; 5] = [
    Compression::None,
    Compression::Gzip,
    Compression::Snappy,
    Compression::Lz4,
    Compression::Zstd,
];

/// A header: its name and its content.
type Header<'a> = (&'a [u8], Option<&'a [u8]>);

const HEADERS: &[Header<'_>] = &[
    (b"origin", Some(b"wire")),
    (b"origin", Some(b"again, under the same name")),
    (b"empty", Some(b"")),
    (b"none", None),
    ("n\u{e4}me".as_bytes(), Some(b"\xff\x00 is no text")),
];

/// What goes on from one broker to the next.
#[derive(Debug)]
pub(crate) struct Loaded {
    /// Of the newest Java client.
    pub(crate) progress: Progress,
    /// Idempotent producers, a partition each.
    pub(crate) producers: Vec<Producer>,
    /// Members of groups.
    pub(crate) members: Vec<Member>,
    /// The time of the load: older records, and older producers, would be let go.
    pub(crate) now: i64,
}

/// The newest Java client with all that it does before and after a restart.
pub(crate) fn java_client<'a>(java: &'a Java, name: &str) -> Client<'a> {
    Client::new(name, &[], |arguments| {
        let mut command = java.class("Client", 256);
        command.args(arguments);
        Ok(command)
    })
}

/// The classes of the newest Java client and of Kafka's tools.
pub(crate) fn java() -> Result<Java> {
    let sources = ["shared", "common", "poll_duration", "times", "admin_2_8", "producers"];
    Java::with_sources(maven::release("3.9.2")?, &sources)
}

/// Fails with the first operation that failed.
pub(crate) fn succeeded(progress: &Progress) -> Result<()> {
    for (operation, outcome) in &progress.row {
        if let Outcome::Failed(how) = outcome {
            bail!("{operation}: {how}");
        }
    }
    Ok(())
}

/// Everything, in topics and groups whose names begin with `name` where a client chooses them.
pub(crate) fn mixed(bootstrap: &str, java: &Java, name: &str) -> Result<Loaded> {
    clients::foreign_topic(bootstrap)?;
    let mut progress = Progress::default();
    clients::run(&java_client(java, name), "before", bootstrap, &mut progress)?;
    succeeded(&progress)?;
    old_clients(bootstrap, name)?;
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        bulk(bootstrap, "bulk", codec, 5_000)?;
    }
    let mut connection = Connection::open(bootstrap)?;
    let connection = &mut connection;
    let now = append_time(connection)?;
    connection.create_topic(MIXTURE, MIXTURE_PARTITIONS, &[])?;
    mixture(connection, now)?;
    compacted(connection, now)?;
    shortened(connection, now)?;
    let producers = Producer::start_all(connection, now)?;
    Ok(Loaded { progress, producers, members: positions(connection)?, now })
}

/// What needs no client, without deleted records: Kafka forgets in a crash that it deleted them.
pub(crate) fn alone(bootstrap: &str) -> Result<Loaded> {
    clients::await_broker(bootstrap)?;
    let connection = &mut Connection::open(bootstrap)?;
    let now = append_time(connection)?;
    connection.create_topic(MIXTURE, MIXTURE_PARTITIONS, &[])?;
    connection.create_topic("bulk", 2, &[])?;
    mixture(connection, now)?;
    let producers = Producer::start_all(connection, now)?;
    let members = positions(connection)?;
    Ok(Loaded { progress: Progress::default(), producers, members, now })
}

/// Clients that write the old formats, which a broker keeps as they are only if it is told to.
fn old_clients(bootstrap: &str, name: &str) -> Result<()> {
    let python = pypi::interpreter()?;
    for release in ["0.9", "0.10.2", "2.6"] {
        let program = workspace::client_sources().join("python/client.py");
        let client = Client::new(&format!("{name}-python-{release}"), &[], |arguments| {
            let mut command = std::process::Command::new(&python);
            command.arg(&program).args(arguments).arg(release);
            Ok(command)
        });
        let mut progress = Progress::default();
        clients::run(&client, "before", bootstrap, &mut progress)?;
        succeeded(&progress)?;
    }
    Ok(())
}

/// Many records in small batches, so that segments roll.
fn bulk(bootstrap: &str, topic: &str, codec: &str, count: usize) -> Result<()> {
    let mut kcat = std::process::Command::new("kcat");
    kcat.args(["-b", bootstrap, "-P", "-t", topic, "-z", codec, "-K", "="]);
    kcat.args(["-X", "linger.ms=2", "-X", "batch.num.messages=50"]);
    let mut process = Process::spawn("kcat", &mut kcat, &logs::file("kcat-bulk"))?;
    let mut input = process.take_stdin().context("kcat's standard input")?;
    for number in 0..count {
        writeln!(input, "{codec}-{number}=value {number} of the bulk compressed by {codec}")?;
    }
    drop(input);
    process.wait_success(Deadline::seconds(120)).map(drop)
}

/// Transactions of the newest Java client, committed and aborted, where the broker knows them.
pub(crate) fn transactions(bootstrap: &str) -> Result<()> {
    let java = Java::with_sources(maven::release("3.9.2")?, &["transactions"])?;
    let mut command = java.class("Transactions", 256);
    command.args([bootstrap, "transactional"]);
    clients::command("java-transactions", &mut command).map(drop)
}

/// Topics whose records lie on the disk in the formats of 0.9 and 0.10, where the broker still knows
/// how to write these.
pub(crate) fn old_formats(bootstrap: &str) -> Result<()> {
    let mut connection = Connection::open(bootstrap)?;
    for (topic, version) in [("format-0", "0.9.0"), ("format-1", "0.10.2")] {
        connection.create_topic(topic, 2, &[("message.format.version", version)])?;
        for codec in ["none", "gzip", "snappy", "lz4"] {
            bulk(bootstrap, topic, codec, 200)?;
        }
        let records: &[Record<'_>] = &[
            (0, Some(b"key"), None, &[]),
            (1, None, Some(b"no key"), &[]),
            (2, Some(b""), Some(b""), &[]),
        ];
        let now = connection.produce("append-time", 0, &simple(b"the time")?, PRODUCE_VERSION)?;
        for codec in [Compression::None, Compression::Gzip] {
            let batch = batch(codec, now.log_append_time_ms, records)?;
            append(&mut connection, topic, 0, &batch)?;
        }
    }
    Ok(())
}

/// Milliseconds after the time of the batch, key, value, headers.
type Record<'a> = (i64, Option<&'a [u8]>, Option<&'a [u8]>, &'a [Header<'a>]);

fn batch(codec: Compression, time: i64, records: &[Record<'_>]) -> Result<Vec<u8>> {
    let mut builder = BatchBuilder::new(Offset(0), codec);
    for (later, key, value, headers) in records {
        builder.push_with_headers(TimestampMs(time + later), *key, *value, headers);
    }
    Ok(builder.finish()?)
}

fn simple(value: &[u8]) -> Result<Vec<u8>> {
    batch(Compression::None, 0, &[(0, None, Some(value), &[])])
}

/// Appends records and returns the offset of the first.
pub(crate) fn append(
    connection: &mut Connection,
    topic: &str,
    partition: i32,
    records: &[u8],
) -> Result<i64> {
    let answer = connection.produce(topic, partition, records, PRODUCE_VERSION)?;
    ensure!(answer.error_code == 0, "produce to {topic}-{partition}: {answer:?}");
    Ok(answer.base_offset)
}

/// Records that the broker gave the time; returns that.
fn append_time(connection: &mut Connection) -> Result<i64> {
    let settings = [("message.timestamp.type", "LogAppendTime")];
    connection.create_topic("append-time", 1, &settings)?;
    for codec in CODECS {
        append(connection, "append-time", 0, &batch(codec, 1, &[(0, None, Some(b"x"), HEADERS)])?)?;
    }
    let last = connection.produce("append-time", 0, &simple(b"last")?, PRODUCE_VERSION)?;
    ensure!(last.log_append_time_ms > 0, "{last:?}");
    Ok(last.log_append_time_ms)
}

/// Every codec with headers, nulls, empty keys and values, and times out of order, in each
/// partition; returns where the first record of each was put.
pub(crate) fn mixture(connection: &mut Connection, now: i64) -> Result<Vec<i64>> {
    let mut first = Vec::new();
    for partition in 0..MIXTURE_PARTITIONS {
        let mut offsets = Vec::new();
        for codec in CODECS {
            let key = format!("{codec:?} {partition}");
            let records: &[Record<'_>] = &[
                (0, Some(key.as_bytes()), Some(b"with headers"), HEADERS),
                (-5_000, None, Some(b"without a key, and earlier"), &[]),
                (3, Some(b""), Some(b""), &[(b"", Some(b""))]),
                (1, Some(b"tombstone"), None, &HEADERS[2..]),
            ];
            offsets.push(append(connection, MIXTURE, partition, &batch(codec, now, records)?)?);
        }
        first.extend(offsets.first());
    }
    Ok(first)
}

/// A topic of which the cleaner has left one record a key, some of them tombstones.
fn compacted(connection: &mut Connection, now: i64) -> Result<()> {
    let settings = [
        ("cleanup.policy", "compact"),
        ("segment.bytes", "4096"),
        ("min.cleanable.dirty.ratio", "0.01"),
    ];
    connection.create_topic(COMPACTED, 2, &settings)?;
    for partition in 0..2 {
        for (round, codec) in CODECS.into_iter().cycle().take(12).enumerate() {
            for number in 0..20 {
                let key = format!("key-{number}");
                let value = format!("{number} in round {round} of the topic that is compacted");
                let value = (round < 11 || number % 4 != 0).then_some(value.as_bytes());
                let record: &[Record<'_>] = &[(round as i64, Some(key.as_bytes()), value, HEADERS)];
                append(connection, COMPACTED, partition, &batch(codec, now, record)?)?;
            }
        }
        // The cleaner leaves the last segment alone: it holds these only.
        for number in 0..100 {
            let key = format!("last-{number}");
            let record: &[Record<'_>] = &[(99, Some(key.as_bytes()), Some(&[b'-'; 100]), &[])];
            append(connection, COMPACTED, partition, &batch(Compression::None, now, record)?)?;
        }
    }
    for partition in 0..2 {
        Deadline::seconds(60).poll("a record a key", || {
            let records = connection.read_partition(COMPACTED, partition, 0)?;
            let keys: BTreeSet<_> = records.iter().map(|record| record.key.clone()).collect();
            ensure!(keys.len() == 120, "{} keys of 120", keys.len());
            Ok((records.len() == keys.len()).then_some(()))
        })?;
    }
    Ok(())
}

/// A topic that lost its first segments and a part of the next.
fn shortened(connection: &mut Connection, now: i64) -> Result<()> {
    connection.create_topic("shortened", 2, &[("segment.bytes", "8192")])?;
    for partition in 0..2 {
        for number in 0..100 {
            let value = format!("{number} of the topic that is shortened");
            let records = [(number, Some(b"key".as_slice()), Some(value.as_bytes()), HEADERS); 10];
            let codec = CODECS[number as usize % 2];
            append(connection, "shortened", partition, &batch(codec, now, &records)?)?;
        }
    }
    let partitions = vec![
        DeleteRecordsPartition { partition_index: 0, offset: SHORTENED_TO },
        DeleteRecordsPartition { partition_index: 1, offset: -1 },
    ];
    let topics = vec![DeleteRecordsTopic { name: "shortened".into(), partitions }];
    let request = DeleteRecordsRequest { topics, timeout_ms: 30_000 };
    let answer = connection.call(&request, 1)?;
    let response: DeleteRecordsResponse<'_> = answer.read(1)?;
    let mut results = response.topics.iter().flat_map(|topic| &topic.partitions);
    ensure!(results.all(|partition| partition.error_code == 0), "{response:?}");
    Ok(())
}

/// Groups without members, with one that is there, and with positions of every kind.
fn positions(connection: &mut Connection) -> Result<Vec<Member>> {
    let simple = [
        (MIXTURE, 0, 0, 0, ""),
        (MIXTURE, 1, 7, -1, "seven"),
        (MIXTURE, 2, i64::MAX, 0, "n\u{e4}chste, \"quoted\""),
        ("bulk", 0, 1_234, -1, "{\"json\": 1}"),
    ];
    groups::find(connection, "simple")?;
    groups::commit(connection, "simple", &simple)?;
    groups::commit(connection, "simple", &[(MIXTURE, 1, 8, -1, "eight, after seven")])?;
    groups::commit(connection, "simple", &[("bulk", 1, 1, -1, "to be forgotten")])?;
    groups::forget(connection, "simple", "bulk", 1)?;
    let members = vec![
        Member::join(connection, "of-a-static-member", Some("instance-1"), 4)?,
        Member::join(connection, "of-a-member", None, 2)?,
    ];
    for member in &members {
        member.goes_on(connection, 3)?;
    }
    Ok(members)
}
