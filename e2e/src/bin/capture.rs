//! Captures what Kafka's brokers say to each other: `cargo run -p e2e --bin capture -- FILE`.
//!
//! Two brokers of the reference release behind a relay each, once for every release whose protocol
//! they can speak, do what needs each request: topics come and go, a broker stops and returns, a
//! replica moves to another directory and to another broker, leaders are elected. The lines are those
//! of `broker/protocol/tests/fixtures/captured.txt`.

#![expect(
    clippy::disallowed_methods,
    reason = "outside the product: it writes what a person asked for"
)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use clap::Parser;
use e2e::admin_tools::{AdminTools, V3_9};
use e2e::capture::Relay;
use e2e::deadline::Deadline;
use e2e::kafka::{Kafka, Zookeeper};
use e2e::wire::Connection;
use serde_json::json;

/// One release for each version of a request between brokers, the newest last.
const RELEASES: [&str; 13] = [
    "0.8.2", "0.9.0", "0.10.0", "0.10.2", "1.0", "2.2", "2.4-IV0", "2.4", "2.6", "2.8", "3.2",
    "3.4", "3.9",
];

/// The requests that brokers send: to replicas, from the controller and to it.
const OF_BROKERS: [i16; 9] = [1, 2, 4, 5, 6, 7, 23, 56, 67];

/// The requests that only the tools send here.
const OF_TOOLS: [i16; 4] = [34, 43, 45, 46];

const TOPIC: &str = "captured";

/// Captures requests between brokers of Apache Kafka.
#[derive(Debug, Parser)]
struct Arguments {
    /// Where the lines go
    file: PathBuf,
    /// The releases whose protocol is spoken; all that differ when none is named
    releases: Vec<String>,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    // The newest first: where two releases send a version alike, the newer is kept.
    let mut kept: BTreeMap<(i16, i16), String> = BTreeMap::new();
    let all = RELEASES.map(str::to_owned);
    let chosen = if arguments.releases.is_empty() { &all[..] } else { &arguments.releases };
    for release in chosen.iter().rev() {
        let before = kept.len();
        for line in capture(release).with_context(|| format!("capture {release}"))? {
            let mut words = line.split(' ');
            let mut number = || words.next().and_then(|word| word.parse().ok());
            let (key, version) = number().zip(number()).context("a key and a version")?;
            kept.entry((key, version)).or_insert(line);
        }
        println!("{release}: {} more", kept.len() - before);
        let lines: Vec<&str> = kept.values().map(String::as_str).collect();
        fs::write(&arguments.file, lines.join("\n") + "\n").context("write the lines")?;
    }
    Ok(())
}

/// Has two brokers that speak `release` do what is to be seen; gives the lines of both.
fn capture(release: &str) -> Result<Vec<String>> {
    let name = format!("capture-{release}");
    let directory = tempfile::tempdir()?;
    let zookeeper = Zookeeper::start(&name, &directory.path().join("zookeeper"), None)?;
    let zookeeper = Arc::new(zookeeper);
    let relays = [Relay::bind()?, Relay::bind()?];
    let mut brokers = Vec::new();
    for (id, relay) in (1..).zip(&relays) {
        let home = directory.path().join(id.to_string());
        let broker = start(&name, &home, id, &zookeeper, relay, release)?;
        relay.lead_to(broker.bootstrap().parse()?);
        brokers.push(broker);
    }
    let newest = release == RELEASES[RELEASES.len() - 1];
    let tools = AdminTools::new(V3_9, "--bootstrap-server", &relays[0].address().to_string())?;
    let create = ["--create", "--topic", TOPIC, "--replication-factor", "2", "--partitions", "2"];
    tools.run(V3_9.topics, &create)?;
    if newest {
        Connection::open(brokers[0].bootstrap())?.init_producer_id()?;
        move_about(&tools, directory.path())?;
    }
    let mut second = brokers.pop().context("two brokers")?;
    second.stop()?;
    second.launch()?;
    relays[1].lead_to(second.bootstrap().parse()?);
    until_whole(&tools)?;
    if newest {
        tools.run(V3_9.elect, &["--election-type", "preferred", "--all-topic-partitions"])?;
    }
    tools.run(V3_9.topics, &["--delete", "--topic", TOPIC])?;
    Deadline::seconds(60).poll("the end of the topic", || {
        let gone = !directory.path().join(format!("1/data/{TOPIC}-0")).exists();
        Ok(gone.then_some(()))
    })?;
    Ok(relays.iter().flat_map(lines).collect())
}

fn start(
    name: &str,
    home: &Path,
    id: i32,
    zookeeper: &Arc<Zookeeper>,
    relay: &Relay,
    release: &str,
) -> Result<Kafka> {
    let dirs = format!("{},{}", home.join("data").display(), home.join("other").display());
    let advertised = format!("PLAINTEXT://{}", relay.address());
    // Up to 0.11 the records too are of the release.
    let records = if release.starts_with("0.") { release } else { "3.0" };
    let settings = [
        ("log.message.format.version", records),
        ("advertised.listeners", advertised.as_str()),
        ("inter.broker.protocol.version", release),
        ("log.dirs", &dirs),
        ("replica.lag.time.max.ms", "2000"),
        ("controlled.shutdown.retry.backoff.ms", "500"),
        ("zookeeper.session.timeout.ms", "6000"),
    ];
    Kafka::start_in(&format!("{name}-{id}"), home, id, zookeeper, &settings)
}

/// Moves a replica to another directory, and one away and back.
fn move_about(tools: &AdminTools, directory: &Path) -> Result<()> {
    let other = directory.join("1/other").display().to_string();
    let here =
        json!({ "topic": TOPIC, "partition": 0, "replicas": [1, 2], "log_dirs": [other, "any"] });
    let away = json!({ "topic": TOPIC, "partition": 1, "replicas": [1] });
    let back = json!({ "topic": TOPIC, "partition": 1, "replicas": [1, 2] });
    let file = directory.join("moves.json");
    let path = file.to_str().context("a path of letters")?;
    for plan in [here, away, back] {
        fs::write(&file, json!({ "version": 1, "partitions": [plan] }).to_string())?;
        tools.run(V3_9.reassign, &["--reassignment-json-file", path, "--execute"])?;
        Deadline::seconds(60).poll("the end of the move", || {
            let lines = tools.run(V3_9.reassign, &["--list"])?;
            Ok(lines.iter().any(|line| line.contains("No partition")).then_some(()))
        })?;
    }
    Ok(())
}

fn until_whole(tools: &AdminTools) -> Result<()> {
    Deadline::seconds(60).poll("all replicas", || {
        let describe = ["--describe", "--under-replicated-partitions"];
        let lines = tools.run(V3_9.topics, &describe)?;
        Ok((!lines.iter().any(|line| line.contains(TOPIC))).then_some(()))
    })
}

/// The lines of a relay that are wanted, each with the name of who sends such a request.
fn lines(relay: &Relay) -> Vec<String> {
    let (brokers, tools) = (relay.lines("broker-3.9.2"), relay.lines("console-3.9.2"));
    let key = |line: &&str| line.split(' ').next().and_then(|word| word.parse().ok());
    let of = |text: &str, keys: &[i16]| -> Vec<String> {
        let lines = text.lines().filter(|line| key(line).is_some_and(|key| keys.contains(&key)));
        lines.map(str::to_owned).collect()
    };
    [of(&brokers, &OF_BROKERS), of(&tools, &OF_TOOLS)].concat()
}
