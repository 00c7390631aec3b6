//! The broker under test: ours, or Apache Kafka as the oracle that the same test must pass on.
//!
//! `cargo ci clients --peer kafka` (or `E2E_PEER=kafka cargo test -p e2e --test client_java`) runs
//! a test against Kafka: a test that fails there expects something that Kafka does not do.

use std::{env, fs};

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

use crate::broker::Broker;
use crate::capture::{self, Relay};
use crate::kafka::Kafka;
use crate::logs;

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
    capture: Option<Capture>,
    _directory: TempDir,
}

/// The relay between clients and a broker of ours, while frames are captured.
#[derive(Debug)]
struct Capture {
    relay: Relay,
    name: String,
    bootstrap: String,
}

#[derive(Debug)]
enum Running {
    Ottla(Box<Broker>),
    Kafka(Box<Kafka>),
}

impl Peer {
    /// Starts the peer that the environment chose; `name` names its logs.
    pub fn start(name: &str) -> Result<Self> {
        logs::forget(name)?;
        let directory = tempfile::tempdir()?;
        let path = directory.path();
        let mut capture = None;
        let running = match chosen()?.as_str() {
            "ottla" if capture::directory().is_some() => {
                let relay = Relay::bind()?;
                let bootstrap = relay.address().to_string();
                let advertised = format!("PLAINTEXT://{bootstrap}");
                let mut settings = SETTINGS.to_vec();
                settings.push(("advertised.listeners", &advertised));
                let broker = Broker::start(name, path, &settings)?;
                relay.lead_to(broker.bootstrap().parse()?);
                capture = Some(Capture { relay, name: name.to_owned(), bootstrap });
                Running::Ottla(Box::new(broker))
            }
            "ottla" => Running::Ottla(Box::new(Broker::start(name, path, &SETTINGS)?)),
            _ => Running::Kafka(Box::new(Kafka::start(name, path, &SETTINGS)?)),
        };
        Ok(Self { running, capture, _directory: directory })
    }

    /// Where clients start, `host:port`; another one after each restart.
    pub fn bootstrap(&self) -> &str {
        if let Some(capture) = &self.capture {
            return &capture.bootstrap;
        }
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
                broker.launch()?;
                if let Some(capture) = &self.capture {
                    capture.relay.lead_to(broker.bootstrap().parse()?);
                }
                Ok(())
            }
            Running::Kafka(kafka) => {
                kafka.stop()?;
                kafka.launch()
            }
        }
    }
}

impl Capture {
    fn keep(&self) -> Result<()> {
        let Some(directory) = capture::directory() else { return Ok(()) };
        fs::create_dir_all(&directory).context("create the directory of frames")?;
        let file = directory.join(format!("{}.txt", self.name));
        fs::write(file, self.relay.lines(&self.name)).context("keep the frames")
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        if let Err(error) = self.keep() {
            eprintln!("capture of {}: {error:#}", self.name);
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
