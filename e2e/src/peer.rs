//! The broker under test: ours, or Apache Kafka as the oracle that the same test must pass on.
//!
//! `cargo ci clients --peer kafka` (or `E2E_PEER=kafka cargo test -p e2e --test client_java`) runs
//! a test against Kafka: a test that fails there expects something that Kafka does not do.

use std::env;

use anyhow::{Result, bail};
use tempfile::TempDir;

use crate::broker::Broker;
use crate::clients;
use crate::kafka::Kafka;

/// The environment variable that chooses the peer: `ottla` (default) or `kafka`.
pub const VARIABLE: &str = "E2E_PEER";

/// What both brokers are told, so that tests are quick and topics have two partitions.
pub const SETTINGS: [(&str, &str); 4] = [
    ("num.partitions", "2"),
    ("group.initial.rebalance.delay.ms", "0"),
    ("offsets.topic.num.partitions", "4"),
    ("offsets.topic.replication.factor", "1"),
];

/// A running broker with its data in a directory that goes with it.
#[derive(Debug)]
pub struct Peer {
    running: Running,
    _directory: TempDir,
}

#[derive(Debug)]
enum Running {
    Ottla(Box<Broker>),
    Kafka(Box<Kafka>),
}

impl Peer {
    /// Starts the peer that the environment chose; `name` names its logs.
    pub fn start(name: &str) -> Result<Self> {
        clients::forget_logs(name)?;
        let directory = tempfile::tempdir()?;
        let path = directory.path();
        let running = match chosen()?.as_str() {
            "ottla" => Running::Ottla(Box::new(Broker::start(name, path, &SETTINGS)?)),
            _ => Running::Kafka(Box::new(Kafka::start(name, path, &SETTINGS)?)),
        };
        Ok(Self { running, _directory: directory })
    }

    /// Where clients start, `host:port`; another one after each restart.
    pub fn bootstrap(&self) -> &str {
        match &self.running {
            Running::Ottla(broker) => broker.bootstrap(),
            Running::Kafka(kafka) => kafka.bootstrap(),
        }
    }

    /// Stops the broker in order and starts it again on the same data.
    pub fn restart(&mut self) -> Result<()> {
        match &mut self.running {
            Running::Ottla(broker) => {
                broker.stop()?;
                broker.launch()
            }
            Running::Kafka(kafka) => {
                kafka.stop()?;
                kafka.launch()
            }
        }
    }
}

/// The name of the chosen peer.
pub fn chosen() -> Result<String> {
    match env::var(VARIABLE) {
        Err(env::VarError::NotPresent) => Ok("ottla".to_owned()),
        Ok(name) if name == "ottla" || name == "kafka" => Ok(name),
        other => bail!("{VARIABLE} must be ottla or kafka, not {other:?}"),
    }
}
