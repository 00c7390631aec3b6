//! librdkafka as an idempotent producer to every partition of one topic.
//!
//! What it does in a moving cluster is its own: it looks for leaders, sends again, keeps the order. A
//! record that it gives up may be in the log or not.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::Result;
use rdkafka::ClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Message};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _, ProducerContext};

use super::{Shared, TOPICS, Topic};
use crate::cluster::checker::Rule;
use crate::cluster::history::{Place, Values, What};
use crate::deadline::Stopwatch;

/// Longer than any storm: a record is given up when the run ends.
const GIVE_UP_MS: &str = "300000";
/// How long unanswered records are waited for at the end.
const FLUSH: Duration = Duration::from_mins(1);

/// A record on its way.
struct Sending {
    place: Place,
    values: Values,
    sent_at: u64,
}

/// What the producer's own thread tells of deliveries.
#[derive(Debug)]
struct Deliveries {
    shared: Shared,
    process: u32,
    /// By partition, since when there is something unanswered and nothing was answered.
    progress: Mutex<Vec<Stopwatch>>,
}

impl ClientContext for Deliveries {
    // What it logs by default goes to standard error, line by line for each lost connection.
    fn log(&self, _: rdkafka::config::RDKafkaLogLevel, _: &str, _: &str) {}
    fn error(&self, _: KafkaError, _: &str) {}
}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = Box<Sending>;

    fn delivery(&self, result: &DeliveryResult<'_>, sending: Box<Sending>) {
        let Sending { place, values, sent_at } = *sending;
        // An error says no more than that nobody knows.
        let Ok(message) = result else { return };
        // It does not know where a record is that the broker had already when it was sent again.
        let offset = message.offset().max(-1);
        self.shared.history.record(self.process, What::Sent(place, values, offset));
        let mut progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        let since_sent = Duration::from_micros(self.shared.history.now().saturating_sub(sent_at));
        if let Some(last) = progress.get_mut(usize::from(place.partition)) {
            let took = last.elapsed().min(since_sent);
            *last = Stopwatch::start();
            self.shared.pulse.accepted(place, sent_at, took);
        }
    }
}

/// Produces to every partition of topic number `topic` until it is told to stop.
pub fn produce_on(shared: &Shared, topic: u16, process: u32, seed: u64, mean_pause: Duration) {
    let mut rng = fastrand::Rng::with_seed(seed);
    let partitions = TOPICS[usize::from(topic)].partitions;
    let mut first_writer = process as u16 * 100;
    while !shared.stopped() {
        if let Err(error) = produce(shared, topic, process, first_writer, &mut rng, mean_pause) {
            let what = format!("librdkafka gave up: {error:#}");
            let what = shared.unless_kafka(broker_of(&what), Rule::UnexpectedAnswer, what);
            shared.history.record(process, what);
        }
        // Another producer, other writers.
        first_writer += partitions;
    }
}

/// The broker that a reason of librdkafka's names.
fn broker_of(reason: &str) -> Option<i32> {
    let mut words = reason.split_whitespace();
    words.find(|word| *word == "broker")?;
    words.next()?.parse().ok()
}

/// One producer's life; an error is one that it does not mend itself.
fn produce(
    shared: &Shared,
    topic: u16,
    process: u32,
    first_writer: u16,
    rng: &mut fastrand::Rng,
    mean_pause: Duration,
) -> Result<()> {
    let Topic { name, partitions, .. } = TOPICS[usize::from(topic)];
    let bootstrap: Vec<String> =
        shared.view.brokers().iter().map(|(_, address)| address.to_string()).collect();
    let progress = Mutex::new(vec![Stopwatch::start(); usize::from(partitions)]);
    let deliveries = Deliveries { shared: shared.clone(), process, progress };
    let producer: BaseProducer<Deliveries> = ClientConfig::new()
        .set("bootstrap.servers", bootstrap.join(","))
        .set("enable.idempotence", "true")
        // Of several requests on their way one may be refused as out of order, because the one before was
        // refused while too few replicas were in sync. It then takes another epoch and numbers all anew that
        // is unanswered, appended or not: the same record stands in the log twice by its own doing
        // (`rd_kafka_handle_idempotent_Produce_error`, 2.12, seen on brokers of Kafka alone). After an error
        // for good it would do the same, but for the guarantee. Our own client has five on their way.
        .set("max.in.flight.requests.per.connection", "1")
        .set("enable.gapless.guarantee", "true")
        .set("acks", "all")
        .set("linger.ms", "5")
        .set("compression.type", "lz4")
        .set("socket.timeout.ms", "8000")
        .set("request.timeout.ms", "5000")
        .set("message.timeout.ms", GIVE_UP_MS)
        .set("reconnect.backoff.max.ms", "1000")
        .set("topic.metadata.refresh.fast.interval.ms", "100")
        .create_with_context(deliveries)?;
    let mut next = vec![0; usize::from(partitions)];
    while !shared.stopped() {
        let partition = rng.u16(..partitions);
        let number = &mut next[usize::from(partition)];
        let place = Place { topic, partition };
        let values = Values { writer: first_writer + partition, first: *number, count: 1 };
        let text = format!("{} {number} {}", values.writer, "x".repeat(rng.usize(..100)));
        let key = (*number % 101).to_string();
        let sent_at = shared.history.now();
        shared.history.record(process, What::Send(place, values));
        let sending = Box::new(Sending { place, values, sent_at });
        let record = BaseRecord::with_opaque_to(name, sending)
            .partition(i32::from(partition))
            .key(&key)
            .payload(&text);
        let queued = producer.send(record);
        *number += 1;
        match queued {
            Ok(()) => {}
            // It holds as much as it wants to: the record was never sent, its number is not used.
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => {
                shared.history.record(process, What::Refused(place, values));
            }
            Err((error, _)) => return Err(error.into()),
        }
        producer.poll(Duration::from_micros(
            rng.u64(..=2 * mean_pause.as_micros() as u64 / u64::from(partitions)),
        ));
        if let Some((code, words)) = producer.client().fatal_error() {
            anyhow::bail!("{code:?}: {words}");
        }
    }
    let _ = producer.flush(FLUSH);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_broker_that_a_reason_names_is_found() {
        let named =
            "failed: sequence desynchronization with broker 2 (PID{Id:2004,Epoch:0}, base seq 243)";
        assert_eq!(broker_of(named), Some(2));
        assert_eq!(
            broker_of("Message production error: UnknownTopic (Local: Unknown topic)"),
            None
        );
        assert_eq!(broker_of("no broker is known"), None);
    }
}
