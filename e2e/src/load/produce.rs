//! One idempotent producer a topic, of records that are numbered by partition.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Result, bail};
use rdkafka::ClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Message};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _, ProducerContext};

use super::{Load, PAUSE};
use crate::cluster::history::{Place, Values, What};
use crate::deadline::{self, Stopwatch};

/// What Java's producer allows a record.
const GIVE_UP_MS: &str = "120000";
/// How long unanswered records are waited for at the end: longer than one is tried.
const FLUSH: Duration = Duration::from_secs(130);

/// What the producer's own thread tells.
struct Deliveries {
    load: Arc<Load>,
    process: u32,
    /// How many records are unanswered, by partition.
    owed: Mutex<HashMap<Place, u64>>,
}

impl Deliveries {
    fn count(&self, place: Place, change: i64) -> u64 {
        let mut owed = self.owed.lock().unwrap_or_else(PoisonError::into_inner);
        let count = owed.entry(place).or_default();
        *count = count.saturating_add_signed(change);
        *count
    }
}

impl ClientContext for Deliveries {
    // By default these go to standard error, a line for each lost connection.
    fn log(&self, _: rdkafka::config::RDKafkaLogLevel, _: &str, _: &str) {}
    fn error(&self, _: KafkaError, _: &str) {}
}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = Box<(Place, Values)>;

    fn delivery(&self, result: &DeliveryResult<'_>, sending: Box<(Place, Values)>) {
        let (place, values) = *sending;
        let more = self.count(place, -1) > 0;
        match result {
            Ok(message) => {
                // It does not know where a record is that the broker had already when it was sent again.
                let offset = message.offset().max(-1);
                self.load.history.record(self.process, What::Sent(place, values, offset));
                self.load.figures.acknowledged(place, more);
            }
            // What became of it nobody knows.
            Err((error, _)) => self.load.figures.failed(&format!("{place}: {values}: {error}")),
        }
    }
}

/// Produces to every partition of a topic until the load is stopped.
pub(super) fn produce_on(load: &Arc<Load>, topic: u16) {
    let mut life = 0;
    while !load.stopped() {
        if let Err(error) = produce(load, topic, life) {
            load.figures.failed(&format!("the producer of topic {topic} gave up: {error:#}"));
            deadline::pass(PAUSE);
        }
        life += 1;
    }
    load.figures.ended();
}

/// One producer's life. Another one's records are another writer's.
fn produce(load: &Arc<Load>, topic: u16, life: u16) -> Result<()> {
    let places: Vec<Place> =
        load.places().into_iter().filter(|place| place.topic == topic).collect();
    let process = u32::from(topic) + 1;
    let deliveries = Deliveries { load: Arc::clone(load), process, owed: Mutex::default() };
    let producer: BaseProducer<Deliveries> = load
        .client()
        .set("enable.idempotence", "true")
        // With more on their way one may be refused as out of order, because the one before was refused while
        // too few replicas were in sync; it then numbers anew what may have been appended.
        .set("max.in.flight.requests.per.connection", "1")
        .set("enable.gapless.guarantee", "true")
        .set("acks", "all")
        .set("linger.ms", "5")
        .set("request.timeout.ms", "10000")
        .set("message.timeout.ms", GIVE_UP_MS)
        .create_with_context(deliveries)?;
    let mut next: HashMap<Place, u32> = HashMap::new();
    let begun = Stopwatch::start();
    let mut count = 0_u64;
    while !load.stopped() {
        let due = begun.elapsed().as_secs_f64() * f64::from(load.order.rate);
        if count as f64 > due {
            producer.poll(Duration::from_millis(5));
            continue;
        }
        let place = places[count as usize % places.len()];
        count += 1;
        let number = next.entry(place).or_default();
        // As many as there are partitions, for each life and topic.
        let writer = (topic * 20 + life) * 100 + place.partition;
        let values = Values { writer, first: *number, count: 1 };
        if !send(load, &producer, place, values, process)? {
            producer.poll(PAUSE);
        }
        *number += 1;
        if let Some((code, words)) = producer.client().fatal_error() {
            bail!("{code:?}: {words}");
        }
    }
    Ok(producer.flush(FLUSH)?)
}

/// Hands a record to the producer; `false` says that it holds as much as it wants to.
fn send(
    load: &Load,
    producer: &BaseProducer<Deliveries>,
    place: Place,
    values: Values,
    process: u32,
) -> Result<bool> {
    let text = format!("{} {} {}", values.writer, values.first, "x".repeat(80));
    let key = (values.first % 101).to_string();
    load.history.record(process, What::Send(place, values));
    load.figures.sent(place);
    producer.context().count(place, 1);
    let record = BaseRecord::with_opaque_to(load.topic(place), Box::new((place, values)))
        .partition(i32::from(place.partition))
        .key(&key)
        .payload(&text);
    match producer.send(record) {
        Ok(()) => Ok(true),
        Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => {
            producer.context().count(place, -1);
            load.history.record(process, What::Refused(place, values));
            Ok(false)
        }
        Err((error, _)) => Err(error.into()),
    }
}
