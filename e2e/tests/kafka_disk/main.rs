//! Kafka's own eyes on our disk, and ours on Kafka's.
//!
//! Both brokers keep their partitions in `data` below the directory they are given, so that one can
//! be started where the other stopped. What each serves is compared whole, fact by fact, and then
//! each goes on writing where the other stopped, and is read by the other in turn.

mod change;
mod groups;
mod load;
mod portrait;
mod producers;
mod tools;
mod tree;

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use e2e::broker::Broker;
use e2e::clients;
use e2e::java::Java;
use e2e::kafka::Kafka;
use e2e::peer::SETTINGS;
use e2e::wire::Connection;

use load::Loaded;
use portrait::{Portrait, shows};
use producers::Producer;

/// The tree of a broker that stands alone, in its first log directory.
const TREE_FILE: &str = "ottla-coordination.log";

/// Small segments and dense indexes, so that a short load fills many of both; a busy cleaner.
const SMALL: [(&str, &str); 3] = [
    ("log.segment.bytes", "65536"),
    ("log.index.interval.bytes", "512"),
    ("log.cleaner.backoff.ms", "200"),
];

/// A record's key, value and first header, up to what that header holds.
const HEADED: &[u8] = b"None 1\x18with headers\x0a\x0corigin\x08";

/// What makes Kafka still write the formats of its old releases.
const OLD: (&str, &str) = ("inter.broker.protocol.version", "2.8");

/// The topic of transactions, which ours does not make.
const TRANSACTIONS: (&str, &str) = ("transaction.state.log.num.partitions", "2");

/// What the load is made for, as parts of lines of a portrait.
const TELLING: [&[&str]; 15] = [
    &["batch mixture-2 ", " Zstd "],
    &["batch bulk-1 ", " Lz4 "],
    &["record mixture-1 ", "(\"\\\"none\\\"\", \"null\")"],
    &["record mixture-0 ", "key=null"],
    &["record mixture-0 ", "key=\"\" value=\"\""],
    &["record append-time-0 ", " LogAppendTime:"],
    &["record compacted-1 ", "value=null", "\\\"origin\\\""],
    &["partition shortened-0 start=505 end=1000"],
    &["partition shortened-1 start=1000 end=1000"],
    &["producer idempotent-1 "],
    &["committed simple mixture ", "8", "eight, after seven"],
    &["group of-a-static-member Stable ", "\"range\""],
    &["member of-a-static-member ", "instance-1"],
    &["group of-a-member Stable "],
    &["group simple Empty "],
];

/// What only Kafka has been asked to write.
const KAFKA_ALONE: [&[&str]; 4] = [
    &["batch format-0-1 ", "magic=0 Lz4"],
    &["batch format-1-0 ", "magic=1 Gzip"],
    &["batch transactional-1 ", "control=true"],
    &["aborted transactional-0 "],
];

fn settings() -> Vec<(&'static str, &'static str)> {
    SETTINGS.into_iter().chain(SMALL).collect()
}

/// What a broker serves of the load, all of it.
fn serves(bootstrap: &str) -> Result<Portrait> {
    let portrait = Portrait::take(bootstrap, &BTreeSet::new())?;
    shows(&portrait, &TELLING)?;
    let bulk = portrait.count(&["record bulk-"]);
    ensure!(bulk == 25_000, "{bulk} records of 25000");
    let compacted = portrait.count(&["record compacted-"]);
    ensure!(compacted == 240, "{compacted} records of 240 keys");
    Ok(portrait)
}

/// What a broker serves after it has started on what served `before`.
fn serves_after(bootstrap: &str, before: &Portrait) -> Result<Portrait> {
    for (topic, _) in before.ends.keys() {
        clients::await_topic(bootstrap, topic)?;
    }
    Portrait::take(bootstrap, &before.groups)
}

/// Goes on with everything that a broker began: clients, members of groups, producers, appends.
fn goes_on(bootstrap: &str, served: &Portrait, loaded: &mut Loaded) -> Result<()> {
    let mut connection = Connection::open(bootstrap)?;
    loaded.producers.push(Producer::begin(&mut connection, served, loaded.now)?);
    for producer in &mut loaded.producers {
        producer.goes_on(&mut connection)?;
    }
    for member in &loaded.members {
        member.goes_on(&mut connection, 4)?;
    }
    let first = load::mixture(&mut connection, loaded.now)?;
    for (partition, offset) in (0..).zip(first) {
        let end = served.ends.get(&(load::MIXTURE.to_owned(), partition));
        ensure!(end == Some(&offset), "appended to {partition} at {offset}, the end was {end:?}");
    }
    Ok(())
}

/// Fails unless the leader epochs of each partition grow with its offsets.
fn epochs_grow(served: &Portrait) -> Result<()> {
    for ((topic, partition), epochs) in &served.epochs {
        ensure!(epochs.is_sorted(), "leader epochs of {topic}-{partition}: {epochs:?}");
    }
    Ok(())
}

/// The producers of the snapshots, but for those that have written since.
fn untouched(snapshots: &BTreeSet<String>) -> BTreeSet<&String> {
    snapshots.iter().filter(|line| !line.starts_with(producers::IDEMPOTENT)).collect()
}

#[test]
fn kafka_finds_nothing_wrong_on_our_disk() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let java = load::java()?;
    let mut broker = Broker::start("disk-ours", directory.path(), &settings())?;
    load::mixed(broker.bootstrap(), &java, "disk-ours-client")?;
    serves(broker.bootstrap())?;
    broker.stop()?;

    let data = broker.log_dir();
    let logs = tools::files(&data, ".log")?;
    let bulk = logs.iter().filter(|log| log.to_string_lossy().contains("/bulk-")).count();
    ensure!(bulk > 4, "only {bulk} segments of the bulk topic");
    let lines = tools::sound(&java, &data)?;
    let records = lines.iter().filter(|line| line.starts_with("| offset:")).count();
    ensure!(records > 25_000, "only {records} records were seen");
    tools::snapshots(&java, &data)?;
    let offsets: Vec<_> = logs
        .into_iter()
        .filter(|log| log.to_string_lossy().contains("__consumer_offsets-"))
        .collect();
    let text = tools::dump(&java, &["--offsets-decoder"], &offsets)?.join("\n");
    for group in ["disk-ours-client-group", "of-a-static-member", "simple"] {
        ensure!(text.contains(group), "{group} is not in the offsets topic");
    }
    Ok(())
}

#[test]
fn we_serve_what_kafka_wrote() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let java = load::java()?;
    let (name, client) = ("disk-from-kafka", "disk-from-kafka-client");
    let kafka_settings: Vec<_> = settings().into_iter().chain([OLD, TRANSACTIONS]).collect();
    let mut kafka = Kafka::start(name, directory.path(), &kafka_settings)?;
    let mut loaded = load::mixed(kafka.bootstrap(), &java, client)?;
    load::old_formats(kafka.bootstrap())?;
    load::transactions(kafka.bootstrap())?;
    let before = serves(kafka.bootstrap())?.without_settings();
    shows(&before, &KAFKA_ALONE)?;
    kafka.stop()?;
    drop(kafka);
    let known = tools::snapshots(&java, &directory.path().join("data"))?;

    let mut broker = Broker::start(name, directory.path(), &settings())?;
    let ours = serves_after(broker.bootstrap(), &before)?.without_settings();
    before.same(&ours)?;
    tools::console(&java, broker.bootstrap(), &ours)?;
    goes_on(broker.bootstrap(), &ours, &mut loaded)?;
    finish(&java, client, broker.bootstrap(), &mut loaded)?;
    let ours = serves_after(broker.bootstrap(), &ours)?;
    epochs_grow(&ours)?;
    broker.stop()?;
    tools::sound(&java, &broker.log_dir())?;
    let now = tools::snapshots(&java, &broker.log_dir())?;
    ensure!(untouched(&known) == untouched(&now), "snapshots: {known:#?} became {now:#?}");

    let mut kafka = kafka_on(name, directory.path(), &kafka_settings)?;
    ours.same(&serves_after(kafka.bootstrap(), &ours)?)?;
    goes_on(kafka.bootstrap(), &ours, &mut loaded)?;
    kafka.stop()
}

/// Indexes that Kafka had not yet cut, no marker, checkpoints of some time ago.
#[test]
fn we_recover_what_kafka_left_when_it_was_killed() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let name = "disk-from-killed-kafka";
    let mut kafka = Kafka::start(name, directory.path(), &settings())?;
    let mut loaded = load::alone(kafka.bootstrap())?;
    let before = Portrait::take(kafka.bootstrap(), &BTreeSet::new())?.without_settings();
    kafka.kill()?;
    drop(kafka);
    let mut broker = Broker::start(name, directory.path(), &settings())?;
    let ours = serves_after(broker.bootstrap(), &before)?.without_settings();
    before.same(&ours)?;
    goes_on(broker.bootstrap(), &ours, &mut loaded)?;
    epochs_grow(&serves_after(broker.bootstrap(), &ours)?)?;
    broker.stop()?;
    tools::sound(&load::java()?, &broker.log_dir()).map(drop)
}

#[test]
fn kafka_serves_what_we_wrote() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let java = load::java()?;
    let (name, client) = ("disk-to-kafka", "disk-to-kafka-client");
    let mut broker = Broker::start(name, directory.path(), &settings())?;
    let mut loaded = load::mixed(broker.bootstrap(), &java, client)?;
    let before = serves(broker.bootstrap())?;
    // A second life, so that leader epochs are not the first.
    broker.stop()?;
    broker.launch()?;
    before.same(&serves_after(broker.bootstrap(), &before)?)?;
    goes_on(broker.bootstrap(), &before, &mut loaded)?;
    let ours = serves(broker.bootstrap())?;
    epochs_grow(&ours)?;
    broker.stop()?;
    let data = broker.log_dir();
    let known = tools::snapshots(&java, &data)?;

    let mut kafka = kafka_on(name, directory.path(), &settings())?;
    let theirs = serves_after(kafka.bootstrap(), &ours)?;
    ours.same(&theirs)?;
    tools::console(&java, kafka.bootstrap(), &theirs)?;
    goes_on(kafka.bootstrap(), &theirs, &mut loaded)?;
    finish(&java, client, kafka.bootstrap(), &mut loaded)?;
    let theirs = serves_after(kafka.bootstrap(), &theirs)?.without_settings();
    kafka.stop()?;
    drop(kafka);
    let now = tools::snapshots(&java, &data)?;
    ensure!(untouched(&known) == untouched(&now), "snapshots: {known:#?} became {now:#?}");

    // Back without the tree, which is older than what Kafka did since.
    std::fs::remove_dir_all(directory.path().join("zookeeper")).context("remove ZooKeeper")?;
    tree::remove(&data.join(TREE_FILE))?;
    broker.launch()?;
    theirs.same(&serves_after(broker.bootstrap(), &theirs)?.without_settings())?;
    goes_on(broker.bootstrap(), &theirs, &mut loaded)?;
    epochs_grow(&serves_after(broker.bootstrap(), &theirs)?)?;
    broker.stop()
}

/// The comparison is worth something: one header, one time, one position and one group that differ are
/// each seen, and nothing else is.
#[test]
fn one_changed_fact_on_the_disk_is_seen() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let mut broker = Broker::start("disk-changed", directory.path(), &settings())?;
    let now = load::alone(broker.bootstrap())?.now;
    let mut before = Portrait::take(broker.bootstrap(), &BTreeSet::new())?;
    let changes: [(&str, &[u8], &[u8], &[&str]); 4] = [
        (
            "mixture-1",
            &[HEADED, b"wire"].concat(),
            &[HEADED, b"wirf"].concat(),
            &["record mixture-1 0 "],
        ),
        ("mixture-2", &now.to_be_bytes(), &(now - 1).to_be_bytes(), &["mixture-2 "]),
        ("__consumer_offsets-", b"eight, after", b"eight. after", &["committed simple mixture"]),
        ("__consumer_offsets-", b"of-a-member", b"of-a-mumber", &[" of-a-member "]),
    ];
    for (partition, from, to, lines) in changes {
        broker.stop()?;
        change::bytes(&broker.log_dir(), partition, from, to)?;
        broker.launch()?;
        clients::await_topic(broker.bootstrap(), load::MIXTURE)?;
        let after = Portrait::take(broker.bootstrap(), &BTreeSet::new())?;
        let lost: Vec<&String> = before
            .lines
            .difference(&after.lines)
            .filter(|line| !line.contains(" __consumer_offsets-"))
            .collect();
        let as_expected = |line: &&String| lines.iter().any(|part| line.contains(part));
        ensure!(!lost.is_empty() && lost.iter().all(as_expected), "{partition}: lost {lost:?}");
        ensure!(before.same(&after).is_err(), "{partition}: the same");
        before = after;
    }
    broker.stop()
}

/// Kafka on a directory that ours stopped in, with the nodes of our tree.
fn kafka_on(name: &str, directory: &Path, settings: &[(&str, &str)]) -> Result<Kafka> {
    let nodes = directory.join("nodes");
    tree::copy(&directory.join("data").join(TREE_FILE), &nodes)?;
    Kafka::start_with_nodes(name, directory, settings, Some(&nodes))
}

/// The Java client's own checks after a restart.
fn finish(java: &Java, client: &str, bootstrap: &str, loaded: &mut Loaded) -> Result<()> {
    let client = load::java_client(java, client);
    clients::run(&client, "after", bootstrap, &mut loaded.progress)?;
    load::succeeded(&loaded.progress)
}
