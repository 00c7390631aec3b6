//! Producers of other houses: idempotent, five requests in flight.

use std::collections::BTreeMap;
use std::io::Write;
use std::process::ChildStdin;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result, ensure};
use e2e::java::Java;
use e2e::logs;
use e2e::process::Process;
use e2e::tools::maven::REFERENCE;
use rdkafka::ClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::message::{DeliveryResult, Message};
use rdkafka::producer::{BaseRecord, ProducerContext, ThreadedProducer};

/// By value, where a record is said to be, or why it was given up.
pub(crate) type Outcomes = BTreeMap<String, Result<i64, String>>;

/// A producer to one topic.
pub(crate) trait Producer {
    /// Hands a record over.
    fn send(&mut self, partition: i32, value: &str) -> Result<()>;

    /// What became of those that were handed over.
    fn outcomes(&self) -> Result<Outcomes>;
}

/// Kafka's own, in a virtual machine.
pub(crate) struct Kafkas {
    process: Process,
    input: ChildStdin,
}

impl Kafkas {
    pub(crate) fn start(bootstrap: &str, topic: &str) -> Result<Self> {
        let mut command = Java::with_sources(REFERENCE, &["retries"])?.class("Retries", 64);
        command.args([bootstrap, topic]);
        let name = format!("{topic}-producer");
        let mut process = Process::spawn(&name, &mut command, &logs::file(&name))?;
        let input = process.take_stdin().context("its input")?;
        Ok(Self { process, input })
    }
}

impl Producer for Kafkas {
    fn send(&mut self, partition: i32, value: &str) -> Result<()> {
        writeln!(self.input, "{partition} {value}").context("hand a record over")
    }

    fn outcomes(&self) -> Result<Outcomes> {
        let mut outcomes = Outcomes::new();
        for line in self.process.lines() {
            let words: Vec<&str> = line.splitn(3, ' ').collect();
            let outcome = match words[..] {
                ["sent", value, offset] => (value.to_owned(), Ok(offset.parse()?)),
                ["failed", value, why] => (value.to_owned(), Err(why.to_owned())),
                _ => continue,
            };
            ensure!(outcomes.insert(outcome.0, outcome.1).is_none(), "told twice: {line}");
        }
        Ok(outcomes)
    }
}

/// What librdkafka tells of deliveries.
#[derive(Clone, Default)]
struct Deliveries(Arc<Mutex<Outcomes>>);

impl ClientContext for Deliveries {}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        let (message, outcome) = match result {
            Ok(message) => (message, Ok(message.offset())),
            Err((error, message)) => (message, Err(error.to_string())),
        };
        let value = String::from_utf8_lossy(message.payload().unwrap_or_default()).into_owned();
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(value, outcome);
    }
}

/// librdkafka.
pub(crate) struct Librdkafka {
    topic: String,
    producer: ThreadedProducer<Deliveries>,
    deliveries: Deliveries,
}

impl Librdkafka {
    pub(crate) fn start(bootstrap: &str, topic: &str) -> Result<Self> {
        let deliveries = Deliveries::default();
        let producer = ClientConfig::new()
            .set("bootstrap.servers", bootstrap)
            .set("enable.idempotence", "true")
            .set("max.in.flight.requests.per.connection", "5")
            .set("topic.metadata.refresh.interval.ms", "200")
            .create_with_context(deliveries.clone())?;
        Ok(Self { topic: topic.to_owned(), producer, deliveries })
    }
}

impl Producer for Librdkafka {
    fn send(&mut self, partition: i32, value: &str) -> Result<()> {
        let record = BaseRecord::<(), str>::to(&self.topic).partition(partition).payload(value);
        self.producer.send(record).map_err(|(error, _)| error.into())
    }

    fn outcomes(&self) -> Result<Outcomes> {
        Ok(self.deliveries.0.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }
}
