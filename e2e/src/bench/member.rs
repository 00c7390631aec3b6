//! One broker that is measured: a process of ours, or of Apache Kafka with the settings of its own scripts.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::kind::Kind;
use crate::broker::Broker;
use crate::deadline::Deadline;
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

/// A virtual machine that loads thousands of partitions on two cores.
const SECONDS_MAX: u64 = 600;

/// A broker and the directory that it lives in.
#[derive(Debug)]
pub struct Member {
    /// `host:port` of its last start.
    pub address: String,
    id: usize,
    directory: PathBuf,
    running: Running,
    process: Option<u32>,
}

#[derive(Debug)]
enum Running {
    Ottla(Box<Broker>),
    /// None while it is stopped.
    Kafka(Option<Box<Process>>),
}

impl Member {
    /// Starts broker `id` in `directory` with `settings`.
    pub fn start(
        kind: Kind,
        id: usize,
        directory: &Path,
        settings: &[(&str, &str)],
    ) -> Result<Self> {
        let directory = directory.to_owned();
        let number = id.to_string();
        let settings = [settings, &[("broker.id", number.as_str())]].concat();
        if kind == Kind::Ottla {
            let mut broker = Broker::start(&format!("bench{id}"), &directory, &settings)?;
            let (address, process) = (broker.bootstrap().to_owned(), broker.process()?.id());
            let running = Running::Ottla(Box::new(broker));
            return Ok(Self { address, id, directory, running, process: Some(process) });
        }
        let mut text = format!(
            "listeners=PLAINTEXT://127.0.0.1:0\nlog.dirs={}\n",
            directory.join("data").display(),
        );
        for (key, value) in settings {
            writeln!(text, "{key}={value}")?;
        }
        fs::write(directory.join("server.properties"), text).context("write server.properties")?;
        fs::write(directory.join("log4j.properties"), LOGGING).context("write log4j.properties")?;
        let running = Running::Kafka(None);
        let mut member = Self { address: String::new(), id, directory, running, process: None };
        member.launch()?;
        Ok(member)
    }

    /// The process, if it runs.
    pub fn process(&self) -> Option<u32> {
        self.process
    }

    /// The directory of its partitions.
    pub fn log_dir(&self) -> PathBuf {
        self.directory.join("data")
    }

    /// Stops it in order.
    pub fn stop(&mut self) -> Result<()> {
        self.process = None;
        match &mut self.running {
            Running::Ottla(broker) => broker.stop(),
            Running::Kafka(process) => process.take().map_or(Ok(()), |mut process| {
                process.terminate(Deadline::seconds(SECONDS_MAX)).map(drop)
            }),
        }
    }

    /// Kills it as a crash would.
    pub fn kill(&mut self) -> Result<()> {
        self.process = None;
        match &mut self.running {
            Running::Ottla(broker) => broker.kill(),
            Running::Kafka(process) => process.take().context("it does not run")?.kill(),
        }
    }

    /// Starts it again on the same directory, on another port, and waits until it listens.
    pub fn launch(&mut self) -> Result<()> {
        match &mut self.running {
            Running::Ottla(broker) => {
                broker.launch()?;
                broker.bootstrap().clone_into(&mut self.address);
                self.process = Some(broker.process()?.id());
            }
            Running::Kafka(running) => {
                let process = kafka(self.id, &self.directory)?;
                let deadline = Deadline::seconds(SECONDS_MAX);
                let port = process.wait_for("its port", deadline, |line| {
                    let (_, address) = line.split_once("Awaiting socket connections on ")?;
                    Some(address.trim_end_matches('.').rsplit(':').next()?.to_owned())
                })?;
                let started = format!("[KafkaServer id={}] started", self.id);
                process.wait_for("that it started", deadline, |line| {
                    line.contains(&started).then_some(())
                })?;
                self.address = format!("127.0.0.1:{port}");
                self.process = Some(process.id());
                *running = Some(Box::new(process));
            }
        }
        Ok(())
    }
}

fn kafka(id: usize, directory: &Path) -> Result<Process> {
    let mut property = OsString::from("-Dlog4j.configuration=file:");
    property.push(directory.join("log4j.properties"));
    let mut command = Command::new("java");
    command.args(JVM).arg(property).arg("-cp").arg(REFERENCE.jars()?.join("*"));
    command.arg("kafka.Kafka").arg(directory.join("server.properties")).current_dir(directory);
    let log = workspace::output_dir().join("logs").join(format!("bench{id}-kafka.log"));
    Process::spawn("Kafka", &mut command, &log)
}
