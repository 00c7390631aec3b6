//! A broker that is killed and stopped again and again with many batches in flight, by producers of our own.
//!
//! `knocks` shows it with librdkafka. Here two producers share a partition, in every codec; some
//! kills hit a broker that has just come up; readers look again before each; every third end is a clean
//! stop, after which the producers' state comes from a snapshot. A producer does what
//! the real ones do: up to five batches in flight, and after a broken connection all that is
//! unacknowledged again, in order, under the same sequences. What was acknowledged must stand in the
//! log once, where the answer said, and in the order of sending; what a reader has seen must stay.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use anyhow::{Context, Result, anyhow, bail, ensure};
use broker_protocol::error_code::ErrorCode;
use broker_protocol::quantity::{Offset, TimestampMs};
use broker_protocol::record::batch::Compression;
use broker_protocol::record::builder::BatchBuilder;
use e2e::broker::Broker;
use e2e::deadline::Deadline;
use e2e::logs;
use e2e::wire::{self, Connection, PRODUCE_VERSION, Seen};

const TOPIC: &str = "knocks";
const PARTITIONS: i32 = 3;
const PRODUCERS: i32 = 6;
const KILLS: u64 = 20;
/// As many as the broker remembers of a producer, and as a real one has in flight.
const IN_FLIGHT: usize = 5;
/// The time of the first record, in 2096: a producer whose records are of long ago is forgotten, as in Kafka.
const START_MS: i64 = 4_000_000_000_000;
const CODECS: [Compression; 5] = [
    Compression::None,
    Compression::Gzip,
    Compression::Snappy,
    Compression::Lz4,
    Compression::Zstd,
];
/// What a producer must try again on, as Kafka's own does.
const RETRIABLE: [ErrorCode; 6] = [
    ErrorCode::UnknownTopicOrPartition,
    ErrorCode::LeaderNotAvailable,
    ErrorCode::NotLeaderOrFollower,
    ErrorCode::RequestTimedOut,
    ErrorCode::NotEnoughReplicas,
    ErrorCode::NotEnoughReplicasAfterAppend,
];

/// What producers and the test tell each other.
#[derive(Debug, Default)]
struct Shared {
    address: Mutex<String>,
    stop: AtomicBool,
    batches_acknowledged: AtomicU64,
}

impl Shared {
    fn address(&self) -> String {
        self.address.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn moved_to(&self, address: &str) {
        address.clone_into(&mut self.address.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// A batch that is not acknowledged yet.
#[derive(Debug)]
struct Batch {
    first_number: i32,
    records_count: i32,
    bytes: Vec<u8>,
}

/// An idempotent producer to one partition.
#[derive(Debug)]
struct Producer {
    name: i32,
    partition: i32,
    /// Producer id and epoch.
    identity: (i64, i16),
    next_number: i32,
    unacknowledged: VecDeque<Batch>,
    /// The offset of each number that was acknowledged with one.
    offsets: BTreeMap<i32, i64>,
    /// How often it had to begin again on a new connection.
    resends: u32,
}

impl Producer {
    fn new(name: i32, connection: &mut Connection) -> Result<Self> {
        Ok(Self {
            name,
            partition: name % PARTITIONS,
            identity: connection.init_producer_id()?,
            next_number: 0,
            unacknowledged: VecDeque::new(),
            offsets: BTreeMap::new(),
            resends: 0,
        })
    }

    /// Produces until it is told to stop and all is acknowledged.
    fn run(mut self, shared: &Shared) -> Result<Self> {
        let mut stuck = Deadline::seconds(120);
        loop {
            let acknowledged = self.offsets.len();
            let connection = Deadline::seconds(120)
                .poll("a broker that accepts", || Ok(Connection::open(&shared.address()).ok()));
            if self.converse(&mut connection?, shared)? {
                return Ok(self);
            }
            self.resends += 1;
            if self.offsets.len() > acknowledged {
                stuck = Deadline::seconds(120);
            }
            ensure!(!stuck.passed(), "producer {} does not get on", self.name);
        }
    }

    /// Uses one connection until it breaks (false) or all is done (true).
    fn converse(&mut self, connection: &mut Connection, shared: &Shared) -> Result<bool> {
        let mut sent = 0;
        loop {
            while sent < IN_FLIGHT {
                if sent == self.unacknowledged.len() {
                    if shared.stop.load(Ordering::Relaxed) {
                        break;
                    }
                    let batch = self.next_batch()?;
                    self.unacknowledged.push_back(batch);
                }
                let batch = &self.unacknowledged[sent];
                let request = wire::produce_request(TOPIC, self.partition, &batch.bytes);
                if connection.send(&request, PRODUCE_VERSION).is_err() {
                    return Ok(false);
                }
                sent += 1;
            }
            if sent == 0 {
                return Ok(true);
            }
            let Ok(answer) = connection.receive() else { return Ok(false) };
            let answer = wire::produced(&answer, PRODUCE_VERSION)?;
            let code = ErrorCode::from_code(answer.error_code);
            let batch = self.unacknowledged.front().context("an answer to nothing")?;
            match code {
                Some(ErrorCode::None) => {
                    let offsets = &mut self.offsets;
                    for delta in 0..batch.records_count {
                        offsets.insert(
                            batch.first_number + delta,
                            answer.base_offset + i64::from(delta),
                        );
                    }
                }
                Some(code) if RETRIABLE.contains(&code) => return Ok(false),
                _ => bail!("producer {} got {answer:?} for {}", self.name, batch.first_number),
            }
            self.unacknowledged.pop_front();
            sent -= 1;
            shared.batches_acknowledged.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn next_batch(&mut self) -> Result<Batch> {
        let first_number = self.next_number;
        let codec = CODECS[first_number as usize % CODECS.len()];
        let records_count = 1 + first_number % 17;
        let mut builder = BatchBuilder::new(Offset(0), codec);
        (builder.header.producer_id, builder.header.producer_epoch) = self.identity;
        builder.header.base_sequence = first_number;
        for number in first_number..first_number + records_count {
            let key = format!("producer {}", self.name);
            let value = format!("{number} {}", "x".repeat(number as usize % 300));
            let time = TimestampMs(START_MS + i64::from(number));
            builder.push(time, Some(key.as_bytes()), Some(value.as_bytes()));
        }
        self.next_number += records_count;
        Ok(Batch { first_number, records_count, bytes: builder.finish()? })
    }
}

/// Every partition of the topic from its start.
fn read_all(address: &str) -> Result<Vec<Vec<Seen>>> {
    let mut connection = Connection::open(address)?;
    (0..PARTITIONS).map(|partition| connection.read_partition(TOPIC, partition, 0)).collect()
}

/// What came to every partition since the last look. To read all each time would take the longer the
/// more there is, and there is the more the longer it takes.
fn read_on(address: &str, log: &mut [Vec<Seen>]) -> Result<()> {
    let mut connection = Connection::open(address)?;
    for (partition, seen) in (0..).zip(log) {
        let next = seen.last().map_or(0, |record| record.offset + 1);
        seen.extend(connection.read_partition(TOPIC, partition, next)?);
    }
    Ok(())
}

/// What was read once must be read again, at the same place.
fn only_grew(before: &[Vec<Seen>], after: &[Vec<Seen>]) -> Result<()> {
    for (partition, (before, after)) in before.iter().zip(after).enumerate() {
        let same = before.iter().zip(after).take_while(|(before, after)| before == after).count();
        ensure!(
            same == before.len(),
            "partition {partition}: record {same} of {} was {:?}, is {:?}",
            before.len(),
            before.get(same),
            after.get(same)
        );
    }
    Ok(())
}

/// Each producer's numbers stand in the log once, in order, where its answers said.
fn holds_all(log: &[Vec<Seen>], producers: &[Producer]) -> Result<()> {
    let mut expected: BTreeMap<String, (i32, &Producer)> =
        producers.iter().map(|it| (format!("producer {}", it.name), (0, it))).collect();
    for (partition, records) in log.iter().enumerate() {
        for (index, record) in records.iter().enumerate() {
            ensure!(
                record.offset == index as i64,
                "partition {partition}: a gap before {record:?}"
            );
            let key = String::from_utf8_lossy(record.key.as_deref().context("no key")?);
            let value = String::from_utf8_lossy(record.value.as_deref().context("no value")?);
            let number: i32 = value.split(' ').next().context("no number")?.parse()?;
            let (next, producer) =
                expected.get_mut(key.as_ref()).with_context(|| format!("a phantom {record:?}"))?;
            ensure!(producer.partition as usize == partition, "{key} is in partition {partition}");
            ensure!(number == *next, "{key}: {number} at {} instead of {next}", record.offset);
            if let Some(offset) = producer.offsets.get(&number) {
                ensure!(
                    *offset == record.offset,
                    "{key}: {number} was acknowledged at {offset} and is at {}",
                    record.offset
                );
            }
            *next += 1;
        }
    }
    for (key, (next, producer)) in expected {
        ensure!(next == producer.next_number, "{key}: {next} of {}", producer.next_number);
    }
    Ok(())
}

/// Ends the broker [`KILLS`] times, most often in the midst of work, sometimes as soon as it is up.
fn knock(broker: &mut Broker, shared: &Shared) -> Result<()> {
    let mut log: Vec<Vec<Seen>> = vec![Vec::new(); PARTITIONS as usize];
    for kill in 0..KILLS {
        if kill % 5 != 4 {
            let wanted = shared.batches_acknowledged.load(Ordering::Relaxed) + 30 + kill * 37 % 101;
            Deadline::seconds(120).poll("acknowledged batches", || {
                let reached = shared.batches_acknowledged.load(Ordering::Relaxed) >= wanted;
                Ok(reached.then_some(()))
            })?;
            read_on(broker.bootstrap(), &mut log).with_context(|| format!("before kill {kill}"))?;
        }
        if kill % 3 == 2 {
            broker.stop()?;
        } else {
            broker.kill()?;
        }
        broker.launch().with_context(|| format!("after kill {kill}"))?;
        shared.moved_to(broker.bootstrap());
    }
    let now = read_all(broker.bootstrap())?;
    only_grew(&log, &now).context("after the last kill")
}

#[test]
fn twenty_kills_and_stops_under_load_lose_duplicate_and_reorder_nothing() -> Result<()> {
    logs::forget("knocks-in-flight")?;
    let directory = tempfile::tempdir()?;
    let settings = [("log.segment.bytes", "262144"), ("log.index.interval.bytes", "1024")];
    let mut broker = Broker::start("knocks-in-flight", directory.path(), &settings)?;
    let mut connection = Connection::open(broker.bootstrap())?;
    connection.create_topic(TOPIC, PARTITIONS, &[])?;
    let producers = (0..PRODUCERS).map(|name| Producer::new(name, &mut connection));
    let producers: Vec<Producer> = producers.collect::<Result<_>>()?;

    let shared = Shared::default();
    shared.moved_to(broker.bootstrap());
    let (knocked, producers) = thread::scope(|scope| {
        let shared = &shared;
        let running: Vec<_> = producers
            .into_iter()
            .map(|producer| scope.spawn(move || producer.run(shared)))
            .collect();
        let knocked = knock(&mut broker, shared);
        shared.stop.store(true, Ordering::Relaxed);
        let ended = running
            .into_iter()
            .map(|thread| thread.join().map_err(|_| anyhow!("a producer panicked"))?);
        (knocked, ended.collect::<Result<Vec<Producer>>>())
    });
    let producers = producers?;
    knocked?;

    let log = read_all(broker.bootstrap())?;
    holds_all(&log, &producers)?;
    broker.stop()?;
    broker.launch()?;
    ensure!(read_all(broker.bootstrap())? == log, "an orderly restart changed the log");
    broker.kill()?;
    broker.launch()?;
    ensure!(read_all(broker.bootstrap())? == log, "a kill at rest changed the log");
    let records: usize = log.iter().map(Vec::len).sum();
    let resends: u32 = producers.iter().map(|producer| producer.resends).sum();
    println!("{records} records acknowledged over {KILLS} kills, {resends} connections lost");
    ensure!(u64::from(resends) >= KILLS, "the kills hit nobody");
    broker.stop()
}
