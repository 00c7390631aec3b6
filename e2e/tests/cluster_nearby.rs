//! A real client that says in which rack it runs is served by the broker there, leader or not (KIP-392).
//!
//! Method: two brokers in a ZooKeeper, each leading one partition of a topic that both have; librdkafka reads
//! it from the rack of the second, and each broker says how many bytes consumers had of it.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::broker::Broker;
use e2e::deadline::Deadline;
use e2e::kafka::Zookeeper;
use e2e::wire::Connection;
use rdkafka::Offset;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::topic_partition_list::TopicPartitionList;

const TOPIC: &str = "nearby";
const RECORDS: usize = 100;
const PATIENCE: Duration = Duration::from_mins(1);

/// The bytes of the topic that a broker has sent to consumers.
fn sent(broker: &mut Broker) -> Result<u64> {
    let address = broker.metrics()?;
    let mut stream = TcpStream::connect(&address)?;
    write!(stream, "GET /metrics HTTP/1.0\r\nHost: {address}\r\n\r\n")?;
    let mut page = String::new();
    stream.read_to_string(&mut page)?;
    let name = format!("kafka_server_brokertopicmetrics_bytesout_total{{topic=\"{TOPIC}\"}} ");
    let value = page.lines().find_map(|line| line.strip_prefix(&name)).unwrap_or("0");
    value.trim().parse().with_context(|| format!("the value of {name}"))
}

fn produce(bootstrap: &str) -> Result<()> {
    let producer: BaseProducer =
        ClientConfig::new().set("bootstrap.servers", bootstrap).set("acks", "all").create()?;
    for number in 0..RECORDS {
        let text = format!("record {number}");
        let partition = (number % 2) as i32;
        let record = BaseRecord::<(), str>::to(TOPIC).partition(partition).payload(&text);
        producer.send(record).map_err(|(error, _)| error)?;
    }
    Ok(producer.flush(PATIENCE)?)
}

/// Reads both partitions from their beginnings, as who runs in `rack`, while producers go on: a consumer is
/// sent to another replica with an answer that has no records.
fn consume(bootstrap: &str, rack: &str) -> Result<()> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("group.id", "nearby")
        .set("client.rack", rack)
        .create()?;
    let mut partitions = TopicPartitionList::new();
    for partition in 0..2 {
        partitions.add_partition_offset(TOPIC, partition, Offset::Beginning)?;
    }
    consumer.assign(&partitions)?;
    let mut texts = Vec::new();
    let deadline = Deadline::after(PATIENCE);
    while texts.len() < RECORDS {
        ensure!(!deadline.passed(), "{} of {RECORDS} records in time", texts.len());
        if let Some(message) = consumer.poll(Duration::from_millis(100)) {
            let message = message?;
            texts.push(String::from_utf8_lossy(message.payload().unwrap_or_default()).into_owned());
        }
    }
    texts.sort_unstable();
    texts.dedup();
    ensure!(texts.len() == RECORDS, "{} of {RECORDS} records", texts.len());
    Ok(())
}

#[test]
fn a_client_in_a_rack_is_served_by_the_broker_there() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let zookeeper = Zookeeper::start("nearby", &directory.path().join("zookeeper"), None)?;
    let connect = format!("{}/nearby", zookeeper.address);
    let mut brokers = Vec::new();
    for id in 1..=2 {
        let (name, rack) = (format!("nearby-{id}"), format!("r{id}"));
        let id = id.to_string();
        let settings = [
            ("zookeeper.connect", connect.as_str()),
            ("broker.id", &id),
            ("broker.rack", &rack),
            ("replica.selector.class", "org.apache.kafka.common.replica.RackAwareReplicaSelector"),
        ];
        brokers.push(Broker::start(&name, &directory.path().join(&name), &settings)?);
    }
    let bootstrap = brokers[0].bootstrap().to_owned();
    Deadline::after(PATIENCE).poll("a topic to be made", || {
        let made = Connection::open(&bootstrap)
            .and_then(|mut controller| controller.create_topic_of(TOPIC, (2, 2), &[]));
        Ok(made.ok())
    })?;
    produce(&bootstrap)?;
    consume(&bootstrap, "r2")?;
    let [first, second] = brokers.get_disjoint_mut([0, 1])?;
    let (there, here) = (sent(first)?, sent(second)?);
    ensure!(
        there == 0 && here > 0,
        "{there} bytes of the broker elsewhere, {here} of the one here"
    );
    Ok(())
}
