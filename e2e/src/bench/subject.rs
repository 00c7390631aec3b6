//! A broker that is measured: ours, or Apache Kafka with the settings of its own scripts.

use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use tempfile::TempDir;

use crate::broker::Broker;
use crate::deadline::Deadline;
use crate::kafka::Zookeeper;
use crate::process::Process;
use crate::tools::maven::REFERENCE;
use crate::workspace;

/// The virtual machine as `kafka-server-start.sh` sets it.
const JVM: [&str; 10] = [
    "-Xmx1G",
    "-Xms1G",
    "-server",
    "-XX:+UseG1GC",
    "-XX:MaxGCPauseMillis=20",
    "-XX:InitiatingHeapOccupancyPercent=35",
    "-XX:+ExplicitGCInvokesConcurrent",
    "-XX:MaxInlineLevel=15",
    "-Djava.awt.headless=true",
    "-Dlog4j.debug=false",
];

const LOGGING: &str = "log4j.rootLogger=WARN, stdout\nlog4j.logger.kafka=INFO\n\
log4j.appender.stdout=org.apache.log4j.ConsoleAppender\n\
log4j.appender.stdout.layout=org.apache.log4j.PatternLayout\n\
log4j.appender.stdout.layout.ConversionPattern=%d %p %c{1}: %m%n\n";

/// Deleted topics give their space back before the next run.
const DELETE_DELAY: (&str, &str) = ("log.segment.delete.delay.ms", "500");

/// Which broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Ours.
    Ottla,
    /// Apache Kafka of the reference release.
    Kafka,
}

impl Kind {
    /// Reads the name that the command line gives.
    pub fn parse(name: &str) -> Result<Self> {
        match name {
            "ottla" => Ok(Self::Ottla),
            "kafka" => Ok(Self::Kafka),
            other => anyhow::bail!("a side is ottla or kafka, not {other}"),
        }
    }

    /// Topic settings by which an answer waits for the page cache only.
    pub fn relaxed(self) -> &'static [(&'static str, &'static str)] {
        if self == Self::Ottla { &[("ottla.durability", "replicated")] } else { &[] }
    }

    /// Topic settings by which an answer waits for the disk.
    pub fn synced(self) -> &'static [(&'static str, &'static str)] {
        if self == Self::Ottla {
            &[("ottla.durability", "synced")]
        } else {
            &[("flush.messages", "1")]
        }
    }
}

/// A running broker on an empty directory that goes with it.
#[derive(Debug)]
pub struct Subject {
    /// Which broker it is.
    pub kind: Kind,
    /// `host:port`.
    pub address: String,
    /// Its process.
    pub id: u32,
    running: Running,
    directory: TempDir,
}

#[derive(Debug)]
enum Running {
    Ottla(Box<Broker>),
    Kafka(Box<Process>),
}

impl Subject {
    /// Starts it; Kafka uses a part of `zookeeper` that nobody used before.
    pub fn start(kind: Kind, zookeeper: &Zookeeper) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        match kind {
            Kind::Ottla => {
                let mut broker = Broker::start("bench", directory.path(), &[DELETE_DELAY])?;
                let (address, id) = (broker.bootstrap().to_owned(), broker.process()?.id());
                Ok(Self { kind, address, id, running: Running::Ottla(Box::new(broker)), directory })
            }
            Kind::Kafka => {
                let process = kafka(directory.path(), zookeeper)?;
                let deadline = Deadline::seconds(120);
                let port = process.wait_for("its port", deadline, |line| {
                    let (_, address) = line.split_once("Awaiting socket connections on ")?;
                    Some(address.trim_end_matches('.').rsplit(':').next()?.to_owned())
                })?;
                process.wait_for("that it started", deadline, |line| {
                    line.ends_with("started (kafka.server.KafkaServer)")
                        .then_some(())
                        .or_else(|| line.ends_with("[KafkaServer id=0] started").then_some(()))
                })?;
                let (address, id) = (format!("127.0.0.1:{port}"), process.id());
                Ok(Self {
                    kind,
                    address,
                    id,
                    running: Running::Kafka(Box::new(process)),
                    directory,
                })
            }
        }
    }

    /// Waits until nothing of `topic` is left on disk.
    pub fn wait_gone(&self, topic: &str) -> Result<()> {
        let data = self.directory.path().join("data");
        Deadline::seconds(60).poll("the deletion of a topic", || {
            for entry in fs::read_dir(&data)? {
                if entry?.file_name().to_string_lossy().starts_with(topic) {
                    return Ok(None);
                }
            }
            Ok(Some(()))
        })
    }

    /// Stops it in order.
    pub fn stop(self) -> Result<()> {
        match self.running {
            Running::Ottla(mut broker) => broker.stop(),
            Running::Kafka(mut process) => process.terminate(Deadline::seconds(120)).map(drop),
        }
    }
}

fn kafka(directory: &Path, zookeeper: &Zookeeper) -> Result<Process> {
    let data = directory.join("data");
    let chroot = directory.file_name().unwrap_or_default().to_string_lossy().replace('.', "");
    let config = directory.join("server.properties");
    let (key, value) = DELETE_DELAY;
    let text = format!(
        "broker.id=0\nlisteners=PLAINTEXT://127.0.0.1:0\nzookeeper.connect={}/{chroot}\n\
         log.dirs={}\noffsets.topic.replication.factor=1\n{key}={value}\n",
        zookeeper.address,
        data.display(),
    );
    fs::write(&config, text).context("write server.properties")?;
    let logging = directory.join("log4j.properties");
    fs::write(&logging, LOGGING).context("write log4j.properties")?;
    let mut property = OsString::from("-Dlog4j.configuration=file:");
    property.push(&logging);
    let mut command = Command::new("java");
    command.args(JVM).arg(property).arg("-cp").arg(REFERENCE.jars()?.join("*"));
    command.arg("kafka.Kafka").arg(&config).current_dir(directory);
    let log = workspace::output_dir().join("logs/bench-kafka.log");
    Process::spawn("Kafka", &mut command, &log)
}
