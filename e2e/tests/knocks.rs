//! Twenty kills under load: nothing acknowledged is lost, repeated or out of order.
//!
//! Four idempotent producers with `acks=all` each number their records and write to a partition of
//! their own, two in a synced topic and two in a replicated one (whose bytes are with the kernel
//! before the answer, so that the end of the process loses nothing either). The broker is killed
//! and started again on the same port while they go on. At the end each partition must hold each
//! number once, in order, at the offset that was acknowledged.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use e2e::broker::{Broker, free_port};
use e2e::deadline::Deadline;
use e2e::logs;
use rdkafka::ClientContext;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Message};
use rdkafka::producer::{BaseRecord, Producer, ProducerContext, ThreadedProducer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

const KILLS: usize = 20;
/// Acknowledgements between two kills, so that each finds the broker at work.
const ACKS_BETWEEN: usize = 400;
/// Records of one producer that may wait for their acknowledgement.
const IN_FLIGHT: usize = 200;
/// The topic and partition of each producer.
const PLACES: [(&str, i32); 4] = [("synced", 0), ("synced", 1), ("relaxed", 0), ("relaxed", 1)];

/// What the producers were told.
#[derive(Default)]
struct Ledger {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// The acknowledged offset by producer and number.
    offsets: [BTreeMap<u64, i64>; 4],
    sent: [u64; 4],
    failure: Option<String>,
}

impl State {
    fn acknowledged(&self) -> usize {
        self.offsets.iter().map(BTreeMap::len).sum()
    }

    fn in_flight(&self, producer: usize) -> usize {
        self.sent[producer] as usize - self.offsets[producer].len()
    }
}

impl Ledger {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until `holds`, and fails as soon as a producer has failed.
    fn wait(&self, what: &str, holds: impl Fn(&State) -> bool) -> Result<()> {
        let deadline = Deadline::seconds(120);
        let mut state = self.lock();
        while !holds(&state) {
            if let Some(failure) = &state.failure {
                bail!("a record was not delivered: {failure}");
            }
            ensure!(!deadline.passed(), "waited in vain for {what}");
            state = match self.changed.wait_timeout(state, Duration::from_millis(500)) {
                Ok((state, _)) => state,
                Err(poisoned) => poisoned.into_inner().0,
            };
        }
        Ok(())
    }
}

/// Writes delivery reports into the ledger.
struct Reports(Arc<Ledger>);

impl ClientContext for Reports {
    fn error(&self, error: KafkaError, reason: &str) {
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::Fatal) {
            self.0.lock().failure = Some(format!("fatal: {reason}"));
            self.0.changed.notify_all();
        }
    }
}

impl ProducerContext for Reports {
    /// The producer's index and the record's number.
    type DeliveryOpaque = Box<(usize, u64)>;

    fn delivery(&self, result: &DeliveryResult<'_>, place: Self::DeliveryOpaque) {
        let (producer, number) = *place;
        let mut state = self.0.lock();
        match result {
            Ok(message) => {
                state.offsets[producer].insert(number, message.offset());
            }
            Err((error, _)) => state.failure = Some(format!("{producer}/{number}: {error}")),
        }
        self.0.changed.notify_all();
    }
}

fn create_topics(bootstrap: &str) -> Result<()> {
    let mut config = ClientConfig::new();
    let admin: AdminClient<DefaultClientContext> =
        config.set("bootstrap.servers", bootstrap).create()?;
    let synced = NewTopic::new("synced", 2, TopicReplication::Fixed(1));
    let relaxed = NewTopic::new("relaxed", 2, TopicReplication::Fixed(1))
        .set("ottla.durability", "replicated");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let options = AdminOptions::new();
    for answer in runtime.block_on(admin.create_topics([&synced, &relaxed], &options))? {
        answer.map_err(|(name, code)| anyhow!("create {name}: {code}"))?;
    }
    Ok(())
}

/// Sends numbered records until told to stop, never more than a few ahead of the answers.
fn produce(
    bootstrap: &str,
    producer: usize,
    ledger: &Arc<Ledger>,
    stop: &AtomicBool,
) -> Result<()> {
    let client: ThreadedProducer<Reports> = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("enable.idempotence", "true")
        .set("acks", "all")
        .set("linger.ms", "1")
        .set("batch.num.messages", "20")
        .set("message.timeout.ms", "120000")
        .set("reconnect.backoff.ms", "10")
        .set("reconnect.backoff.max.ms", "100")
        .set("retry.backoff.ms", "20")
        .create_with_context(Reports(Arc::clone(ledger)))?;
    let (topic, partition) = PLACES[producer];
    for number in 0_u64.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        ledger.wait("room in flight", |state| state.in_flight(producer) < IN_FLIGHT)?;
        let text = number.to_string();
        let record: BaseRecord<'_, (), str, _> =
            BaseRecord::with_opaque_to(topic, Box::new((producer, number)));
        ledger.lock().sent[producer] = number + 1;
        client
            .send(record.partition(partition).payload(&text))
            .map_err(|(error, _)| error)
            .context("queue a record")?;
    }
    client.flush(Duration::from_mins(2)).context("deliver what is left")
}

/// Every record of a partition: its offset and its number.
fn read(bootstrap: &str, topic: &str, partition: i32, count: usize) -> Result<Vec<(i64, u64)>> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("group.id", "knocks")
        .set("enable.partition.eof", "true")
        .create()?;
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, partition, Offset::Beginning)?;
    consumer.assign(&list)?;
    let deadline = Deadline::seconds(60);
    let mut records = Vec::with_capacity(count);
    while !deadline.passed() {
        match consumer.poll(Duration::from_millis(200)) {
            Some(Ok(message)) => {
                let text = String::from_utf8_lossy(message.payload().unwrap_or_default());
                records.push((message.offset(), text.parse()?));
            }
            Some(Err(KafkaError::PartitionEOF(_))) => return Ok(records),
            Some(Err(error)) => return Err(error.into()),
            None => {}
        }
    }
    bail!("{topic}-{partition}: {} of {count} records in time", records.len())
}

fn judge(bootstrap: &str, state: &State) -> Result<()> {
    for (producer, (topic, partition)) in PLACES.into_iter().enumerate() {
        let acknowledged = &state.offsets[producer];
        let read = read(bootstrap, topic, partition, acknowledged.len())?;
        let numbers: Vec<u64> = read.iter().map(|(_, number)| *number).collect();
        let expected: Vec<u64> = (0..state.sent[producer]).collect();
        if numbers != expected {
            let at = numbers.iter().zip(&expected).position(|(read, sent)| read != sent);
            bail!(
                "{topic}-{partition}: {} records read, {} sent, the first difference is at {at:?}",
                numbers.len(),
                expected.len()
            );
        }
        for (offset, number) in read {
            let told = acknowledged.get(&number);
            ensure!(told == Some(&offset), "{number} is at {offset}, acknowledged at {told:?}");
        }
    }
    Ok(())
}

#[test]
fn twenty_kills_lose_repeat_and_reorder_nothing() -> Result<()> {
    let directory = tempfile::tempdir()?;
    logs::forget("knocks")?;
    let listener = format!("PLAINTEXT://127.0.0.1:{}", free_port()?);
    let settings = [("listeners", listener.as_str()), ("log.segment.bytes", "262144")];
    let mut broker = Broker::start("knocks", directory.path(), &settings)?;
    let bootstrap = broker.bootstrap().to_owned();
    create_topics(&bootstrap)?;
    let ledger = Arc::new(Ledger::default());
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let producers: Vec<_> = (0..PLACES.len())
            .map(|producer| {
                let (bootstrap, ledger, stop) = (&bootstrap, &ledger, &stop);
                scope.spawn(move || produce(bootstrap, producer, ledger, stop))
            })
            .collect();
        let killed = (0..KILLS).try_for_each(|kill| {
            let before = ledger.lock().acknowledged();
            let what = format!("acknowledgements before kill {}", kill + 1);
            ledger.wait(&what, |state| state.acknowledged() >= before + ACKS_BETWEEN)?;
            broker.kill()?;
            broker.launch()
        });
        stop.store(true, Ordering::Relaxed);
        for producer in producers {
            producer.join().map_err(|_| anyhow!("a producer panicked"))??;
        }
        killed
    })?;
    let state = ledger.lock();
    println!("{} records acknowledged over {KILLS} kills", state.acknowledged());
    judge(&bootstrap, &state)
}
