//! Clients that ask and never read, measured end to end on a broker's process.
//!
//! What such a client may cost is a bound on its answers in memory; then it is not read any more, and
//! ended after `connections.max.idle.ms`. All the while others are served, on the same network thread.
//! Answers to old clients, whose records are converted in memory, have a bound for the whole process.

use std::io::{ErrorKind, Write};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use broker_protocol::message::Message;
use broker_protocol::message::fetch::{FetchPartition, FetchRequest, FetchTopic};
use broker_protocol::message::metadata::MetadataRequest;
use broker_protocol::quantity::{Offset, TimestampMs};
use broker_protocol::record::batch::Compression;
use broker_protocol::record::builder::BatchBuilder;
use e2e::broker::Broker;
use e2e::deadline::{Deadline, Stopwatch};
use e2e::logs;
use e2e::wire::{Connection, PRODUCE_VERSION, request};

const KIB: usize = 1 << 10;

/// Records here are of long ago: retention would take them while a test looks.
const FOREVER: (&str, &str) = ("retention.ms", "-1");

/// Requests that a client sends before it finds that it is read no more, in bytes: more than the
/// buffers of both sockets can hold.
const FLOOD_MAX: usize = 64 << 20;

/// What the broker may have at its highest above what it had before, in KiB for each client that does
/// not read: a bound of 1 MiB on answers, the answer that passes it, and buffers that doubled.
const EACH_KIB_MAX: u64 = 4 << 10;

/// The bound on bytes in flight where records are converted, 32 MiB: answers have half of it.
const BOUND: &str = "33554432";

/// What the broker may then have at its highest above what it had before, in KiB: its bound twice, as
/// its allocator gives memory back late.
const CONVERTED_KIB_MAX: u64 = 64 << 10;

/// A client that sends the same request over and over, and never reads.
struct Flood {
    stream: TcpStream,
    /// Many of the request, so that one call sends much.
    frames: Vec<u8>,
    /// Bytes sent so far.
    sent: usize,
}

impl Flood {
    fn new<'a, M: Message<'a>>(address: &str, body: &M, version: i16) -> Result<Self> {
        let stream = TcpStream::connect(address).context("connect")?;
        stream.set_nonblocking(true)?;
        let frame = request(body, version, 7)?;
        let frames = frame.repeat((64 * KIB).div_ceil(frame.len()));
        Ok(Self { stream, frames, sent: 0 })
    }

    /// Sends as much as the socket takes; returns whether the connection still stands.
    fn push(&mut self) -> Result<bool> {
        loop {
            ensure!(self.sent < FLOOD_MAX, "{} bytes of requests were read", self.sent);
            let from = self.sent % self.frames.len();
            match self.stream.write(&self.frames[from..]) {
                Ok(sent) => self.sent += sent,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(true),
                Err(error) => {
                    let kind = error.kind();
                    ensure!(
                        matches!(kind, ErrorKind::BrokenPipe | ErrorKind::ConnectionReset),
                        "{error}"
                    );
                    return Ok(false);
                }
            }
        }
    }
}

fn fetch(topic: &str, max_bytes: i32) -> FetchRequest<'_> {
    let partition = FetchPartition { partition_max_bytes: max_bytes, ..Default::default() };
    let topics =
        vec![FetchTopic { topic: topic.into(), partitions: vec![partition], ..Default::default() }];
    FetchRequest { max_wait_ms: 500, min_bytes: 1, max_bytes, topics, ..Default::default() }
}

/// A topic of `count` batches, of one record of `size` bytes each.
fn fill(connection: &mut Connection, topic: &str, size: usize, count: usize) -> Result<()> {
    connection.create_topic(topic, 1, &[FOREVER])?;
    let mut batch = BatchBuilder::new(Offset(0), Compression::None);
    batch.push(TimestampMs(1_700_000_000_000), None, Some(&vec![7; size]));
    let batch = batch.finish()?;
    for _ in 0..count {
        let answer = connection.produce(topic, 0, &batch, PRODUCE_VERSION)?;
        ensure!(answer.error_code == 0, "{answer:?}");
    }
    Ok(())
}

/// Answers of three kinds: from files, copied to memory from files, and from memory alone.
fn floods(address: &str) -> Result<Vec<Flood>> {
    let mut floods = Vec::new();
    for _ in 0..8 {
        floods.push(Flood::new(address, &fetch("large", 4 << 20), 12)?);
        floods.push(Flood::new(address, &fetch("small", 8 << 10), 12)?);
        floods.push(Flood::new(address, &MetadataRequest::default(), 1)?);
    }
    Ok(floods)
}

#[test]
fn clients_that_never_read_cost_little_and_are_ended() -> Result<()> {
    logs::forget("slow-readers")?;
    let directory = tempfile::tempdir()?;
    let settings = [("num.network.threads", "1"), ("connections.max.idle.ms", "3000")];
    let mut broker = Broker::start("slow-readers", directory.path(), &settings)?;
    let address = broker.bootstrap().to_owned();
    let mut other = Connection::open(&address)?;
    fill(&mut other, "large", 900 * KIB, 8)?;
    fill(&mut other, "small", KIB, 16)?;
    other.create_topic("others", 1, &[FOREVER])?;
    let before = broker.process()?.peak_memory_kib()?;

    let floods = floods(&address)?;
    let count = floods.len() as u64;
    let served = push_to_the_end(floods, &mut other)?;
    let peak = broker.process()?.peak_memory_kib()?;
    println!("{before} KiB before, {peak} KiB at the highest; {served} others' requests served");
    ensure!(peak < before + count * EACH_KIB_MAX, "{peak} KiB, {before} KiB before");
    broker.stop()
}

/// A batch of one small record.
fn small_batch() -> Result<Vec<u8>> {
    let mut batch = BatchBuilder::new(Offset(0), Compression::None);
    batch.push(TimestampMs(1_700_000_000_000), None, Some(b"value"));
    Ok(batch.finish()?)
}

/// Pushes until all of them are ended; returns how many requests of `other` were served meanwhile.
fn push_to_the_end(mut floods: Vec<Flood>, other: &mut Connection) -> Result<usize> {
    let batch = small_batch()?;
    let mut served = 0;
    Deadline::seconds(90).poll("the end of those that never read", || {
        let mut open = Vec::new();
        for mut flood in floods.drain(..) {
            if flood.push()? {
                open.push(flood);
            }
        }
        floods = open;
        let answer = other.produce("others", 0, &batch, PRODUCE_VERSION)?;
        ensure!(answer.error_code == 0, "{answer:?}");
        served += 1;
        Ok(floods.is_empty().then_some(()))
    })?;
    let seen = other.read_partition("others", 0, 0)?;
    ensure!(seen.len() == served, "{} of {served} records", seen.len());
    Ok(served)
}

/// A broker that stops waits a moment for answers in progress, not for who never reads them.
#[test]
fn a_client_that_never_reads_does_not_keep_the_broker_from_stopping() -> Result<()> {
    logs::forget("slow-reader-stop")?;
    let directory = tempfile::tempdir()?;
    let mut broker = Broker::start("slow-reader-stop", directory.path(), &[])?;
    let mut other = Connection::open(broker.bootstrap())?;
    fill(&mut other, "large", 900 * KIB, 8)?;
    let mut flood = Flood::new(broker.bootstrap(), &fetch("large", 4 << 20), 12)?;
    let mut sent = usize::MAX;
    Deadline::seconds(30).poll("a broker that reads no more", || {
        ensure!(flood.push()?, "closed");
        Ok((std::mem::replace(&mut sent, flood.sent) == flood.sent).then_some(()))
    })?;
    broker.stop()
}

/// A hundred old clients ask for 1 MiB each, over and over; a sixth of one round is ever in memory.
#[test]
fn records_converted_for_clients_that_never_read_are_bounded() -> Result<()> {
    logs::forget("slow-old-readers")?;
    let directory = tempfile::tempdir()?;
    let settings = [
        ("num.network.threads", "1"),
        ("connections.max.idle.ms", "1000"),
        // Small, so that answers wait in the broker, not in its kernel.
        ("socket.send.buffer.bytes", "65536"),
        ("queued.max.request.bytes", BOUND),
        ("socket.request.max.bytes", BOUND),
    ];
    let mut broker = Broker::start("slow-old-readers", directory.path(), &settings)?;
    let address = broker.bootstrap().to_owned();
    let mut other = Connection::open(&address)?;
    fill(&mut other, "large", 1000 * KIB, 2)?;
    other.create_topic("others", 1, &[FOREVER])?;
    let before = broker.process()?.peak_memory_kib()?;
    let ask = fetch("large", 1 << 20);
    let floods = (0..100).map(|_| Flood::new(&address, &ask, 1)).collect::<Result<Vec<_>>>()?;
    let served = push_to_the_end(floods, &mut other)?;
    let peak = broker.process()?.peak_memory_kib()?;
    println!("{before} KiB before, {peak} KiB at the highest; {served} others' requests served");
    ensure!(peak < before + CONVERTED_KIB_MAX, "{peak} KiB, {before} KiB before");
    // What they had is given back.
    let answer = Connection::open(&address)?.call(&ask, 1)?;
    ensure!(answer.bytes.len() > 1000 * KIB, "{} bytes", answer.bytes.len());
    broker.stop()
}

/// The only network thread serves others while a batch is made ready for an old client, which takes
/// many times as long as any of their requests.
#[test]
fn a_conversion_keeps_nobody_waiting() -> Result<()> {
    logs::forget("conversion")?;
    let directory = tempfile::tempdir()?;
    let mut broker =
        Broker::start("conversion", directory.path(), &[("num.network.threads", "1")])?;
    let mut other = Connection::open(broker.bootstrap())?;
    other.create_topic("inflates", 1, &[FOREVER])?;
    let mut batch = BatchBuilder::new(Offset(0), Compression::Gzip);
    batch.push(TimestampMs(1_700_000_000_000), None, Some(&vec![7; 60 << 20]));
    let answer = other.produce("inflates", 0, &batch.finish()?, PRODUCE_VERSION)?;
    ensure!(answer.error_code == 0, "{answer:?}");
    let mut old = Connection::open(broker.bootstrap())?;
    let (whole, longest) = thread::scope(|scope| {
        let watch = Stopwatch::start();
        old.send(&fetch("inflates", 1 << 20), 1)?;
        let answer = scope.spawn(move || old.receive());
        let mut longest = Duration::ZERO;
        while !answer.is_finished() {
            let watch = Stopwatch::start();
            other.call(&MetadataRequest::default(), 1)?;
            longest = longest.max(watch.elapsed());
        }
        let answer = answer.join().map_err(|_| anyhow!("a panic"))??;
        ensure!(answer.bytes.len() > 10 * KIB, "{} bytes", answer.bytes.len());
        Ok((watch.elapsed(), longest))
    })?;
    println!("{whole:?} for the conversion, {longest:?} for the slowest of the others' requests");
    ensure!(longest < whole / 2, "{longest:?} of {whole:?}");
    broker.stop()
}

/// The room that an answer has is others' too: who does not read it is not given all of
/// `connections.max.idle.ms`, ten minutes.
#[test]
fn an_old_client_that_never_reads_is_ended_sooner_than_an_idle_one() -> Result<()> {
    logs::forget("slow-old-reader-end")?;
    let directory = tempfile::tempdir()?;
    // Small, so that answers wait in the broker, not in its kernel.
    let settings = [("socket.send.buffer.bytes", "65536")];
    let mut broker = Broker::start("slow-old-reader-end", directory.path(), &settings)?;
    let mut other = Connection::open(broker.bootstrap())?;
    fill(&mut other, "large", 1000 * KIB, 2)?;
    other.create_topic("others", 1, &[FOREVER])?;
    let flood = Flood::new(broker.bootstrap(), &fetch("large", 1 << 20), 1)?;
    push_to_the_end(vec![flood], &mut other)?;
    broker.stop()
}
