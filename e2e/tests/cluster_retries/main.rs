//! Idempotent producers whose batches come again to a new leader, which has more of theirs than it remembers.
//!
//! Method: records A to E are appended by a leader that is then moved away; its answers are lost on their way.
//! The next leader appends F to J. Connections are cut, which is what a producer does itself when requests time
//! out, and it sends again what was not answered. Kafka 3.9 remembers the last five batches and refuses A as out
//! of order: its own producer sends it again until it gives it up, or, if nothing behind A was answered either,
//! begins a new epoch and has A to J in the log twice.
//!
//! `relay`: what loses answers. `cluster`: the brokers. `producers`: Kafka's own and librdkafka.

mod cluster;
mod producers;
mod relay;

use anyhow::{Context, Result, bail, ensure};
use broker_protocol::message::fetch::FetchResponse;
use broker_protocol::primitive::Records;
use broker_protocol::quantity::{Offset, TimestampMs};
use broker_protocol::record::builder::BatchBuilder;
use broker_protocol::record::compression::Compression;
use broker_protocol::record::entries::{Entry, entries};
use e2e::deadline::Deadline;
use e2e::logs;
use e2e::wire::{FETCH_VERSION, PRODUCE_VERSION, fetch_request};

use cluster::{Cluster, PATIENCE};
use producers::{Kafkas, Librdkafka, Outcomes, Producer};

/// What is answered before anything is lost: a record for each broker.
const GREETINGS: [&str; 3] = ["0", "1", "2"];

/// What goes to the old leader of partition 0 behind its greeting, and then to the new one, a batch each.
const FIRST: [&str; 5] = ["A", "B", "C", "D", "E"];
const SECOND: [&str; 5] = ["F", "G", "H", "I", "J"];

/// How many records there are then.
const FIRST_END: i64 = 1 + FIRST.len() as i64;
const SECOND_END: i64 = FIRST_END + SECOND.len() as i64;

/// What a producer says of the place of a record that it only knows to be in the log.
const UNKNOWN: i64 = -1;

/// Has the first five appended without an answer, and the partition moved.
fn send_first(cluster: &Cluster, producer: &mut dyn Producer, topic: &str) -> Result<()> {
    // It has a connection to every broker then, to hear of leaders whoever is silent.
    for (partition, greeting) in (0..).zip(GREETINGS) {
        producer.send(partition, greeting)?;
    }
    await_told(producer, &GREETINGS)?;
    cluster.first_leader().relay.keep_answers();
    for (end, value) in (2..).zip(FIRST) {
        producer.send(0, value)?;
        cluster.first_leader().leads_until(topic, end)?;
    }
    cluster.move_away(topic, FIRST_END)
}

/// Has a producer send the second five to the new leader, while the first are still under way.
fn send_second(cluster: &Cluster, producer: &mut dyn Producer, topic: &str) -> Result<()> {
    for (end, value) in (FIRST_END + 1..).zip(SECOND) {
        producer.send(0, value)?;
        cluster.next_leader().leads_until(topic, end)?;
    }
    Ok(())
}

/// Waits until it is told what became of records, and returns what became of all.
fn await_told(producer: &dyn Producer, values: &[&str]) -> Result<Outcomes> {
    let told = Deadline::after(PATIENCE).poll("word of records", || {
        let told = producer.outcomes()?;
        Ok(values.iter().all(|value| told.contains_key(*value)).then_some(told))
    });
    told.with_context(|| format!("told {:?}", producer.outcomes()))
}

/// Ends the silence of the old leader: what it did not answer comes again, and each record is in the log once.
fn retry(
    cluster: &Cluster,
    producer: &dyn Producer,
    topic: &str,
    awaited: &[&str],
) -> Result<Outcomes> {
    let told = producer.outcomes()?;
    ensure!(FIRST.iter().all(|value| !told.contains_key(*value)), "it was answered: {told:?}");
    cluster.first_leader().relay.cut();
    let told = await_told(producer, awaited)?;
    let values = cluster.values(topic)?;
    ensure!(values == [&["0"], &FIRST[..], &SECOND].concat(), "{values:?} in the log; {told:?}");
    for value in FIRST {
        ensure!(told.get(value) == Some(&Ok(UNKNOWN)), "{value} in {told:?}");
    }
    Ok(told)
}

#[test]
fn ten_batches_of_kafkas_producer_to_two_leaders_are_in_the_log_once() -> Result<()> {
    let name = "retries-kafka";
    logs::forget(name)?;
    let directory = tempfile::tempdir()?;
    let mut cluster = Cluster::start(name, directory.path())?;
    for (what, is_answered) in [("silent", false), ("answers", true)] {
        let topic = &format!("{name}-{what}");
        cluster.create(topic)?;
        let producer = &mut Kafkas::start(&cluster.bootstrap(), topic)?;
        send_first(&cluster, producer, topic)?;
        if is_answered {
            send_second(&cluster, producer, topic)?;
            await_told(producer, &SECOND)?;
        } else {
            cluster.next_leader().relay.keep_answers();
            send_second(&cluster, producer, topic)?;
            cluster.next_leader().relay.cut();
        }
        let told = retry(&cluster, producer, topic, &[FIRST, SECOND].concat())?;
        for (offset, value) in (FIRST_END..).zip(SECOND) {
            ensure!(told.get(value) == Some(&Ok(offset)), "{value} in {told:?}");
        }
    }
    cluster.stop()
}

/// It has never more than five batches of a partition under way: the second five are appended for it.
#[test]
fn librdkafka_takes_for_done_what_is_too_old_to_be_remembered() -> Result<()> {
    let name = "retries-librdkafka";
    logs::forget(name)?;
    let directory = tempfile::tempdir()?;
    let mut cluster = Cluster::start(name, directory.path())?;
    cluster.create(name)?;
    let producer = &mut Librdkafka::start(&cluster.bootstrap(), name)?;
    send_first(&cluster, producer, name)?;
    append_second(&cluster, name)?;
    retry(&cluster, producer, name, &FIRST)?;
    cluster.stop()
}

/// Appends the second five in the name of who wrote the first.
fn append_second(cluster: &Cluster, topic: &str) -> Result<()> {
    let mut connection = cluster.next_leader().connect()?;
    let answer = connection.call(&fetch_request(topic, 0, 0), FETCH_VERSION)?;
    let response: FetchResponse<'_> = answer.read(FETCH_VERSION)?;
    let data = response.responses.first().and_then(|topic| topic.partitions.first());
    let records = data.and_then(|data| data.records.as_ref()).context("no records")?;
    let Some(Ok(Entry::Batch(first))) = entries(Records::as_bytes(records)).next() else {
        bail!("no batch");
    };
    for (sequence, value) in (FIRST_END as i32..).zip(SECOND) {
        let mut builder = BatchBuilder::new(Offset(0), Compression::None);
        builder.header.producer_id = first.header.producer_id;
        builder.header.producer_epoch = first.header.producer_epoch;
        builder.header.base_sequence = sequence;
        builder.push(TimestampMs(0), None, Some(value.as_bytes()));
        let produced = connection.produce(topic, 0, &builder.finish()?, PRODUCE_VERSION)?;
        ensure!(produced.error_code == 0, "{produced:?}");
    }
    cluster.next_leader().leads_until(topic, SECOND_END)
}
