//! One broker of the cluster, of either kind, with its host and its disk.

use std::ffi::OsString;
use std::fmt::{self, Write as _};
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::network::{self, Host};
use super::server::{Recipe, Server};
use crate::broker;
use crate::deadline::Deadline;
use crate::java::Java;
use crate::tools::maven::REFERENCE;

/// Where a broker listens on its host.
pub const PORT: u16 = 9092;

const HEAP_MB: u32 = 384;

/// The size of a broker's disk. A run of half an hour writes a quarter of it.
const DISK_MB: u32 = 1_024;

/// The variable by which a broker of a build for it is told which fault to plant.
const PLANTED: &str = "OTTLA_PLANTED";

/// The session timeout that faults are measured by.
pub const SESSION_SECONDS: u64 = 6;

/// What makes a broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Apache Kafka of the reference release.
    Kafka,
    /// Ours.
    Ottla,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Kafka => "kafka",
            Self::Ottla => "ottla",
        })
    }
}

impl Kind {
    /// Reads a list as `ottla,ottla,kafka`, one word a broker.
    pub fn parse_list(text: &str) -> Result<Vec<Self>> {
        let parse = |word| match word {
            "kafka" => Ok(Self::Kafka),
            "ottla" => Ok(Self::Ottla),
            other => bail!("a broker is kafka or ottla, not {other:?}"),
        };
        text.split(',').map(parse).collect()
    }
}

/// What the brokers of a cluster are told above the bed's own settings.
#[derive(Debug, Clone, Default)]
pub struct Setup {
    /// Settings of all.
    pub settings: Vec<(String, String)>,
    /// The fault that is planted in ours.
    pub planted: Option<String>,
}

/// A broker.
#[derive(Debug)]
pub struct Node {
    /// Its broker id.
    pub id: i32,
    /// What it is.
    pub kind: Kind,
    /// Its process.
    pub server: Server,
    /// Its disk: a mount of its own.
    pub directory: PathBuf,
}

/// What brokers of both kinds are told alike. The waits that end with a socket's timeout are brought
/// near the session timeout: with Kafka's 30 s they would be all that a run of minutes sees. A start waits
/// for ZooKeeper for longer than faults in a row keep it away.
const SETTINGS: [(&str, &str); 26] = [
    ("zookeeper.session.timeout.ms", "6000"),
    ("zookeeper.connection.timeout.ms", "60000"),
    ("default.replication.factor", "3"),
    ("min.insync.replicas", "2"),
    ("unclean.leader.election.enable", "false"),
    ("auto.create.topics.enable", "false"),
    ("offsets.topic.num.partitions", "6"),
    ("offsets.topic.replication.factor", "3"),
    ("transaction.state.log.replication.factor", "3"),
    ("transaction.state.log.min.isr", "2"),
    ("group.initial.rebalance.delay.ms", "0"),
    ("group.min.session.timeout.ms", "1000"),
    ("replica.lag.time.max.ms", "6000"),
    ("replica.socket.timeout.ms", "6000"),
    ("controller.socket.timeout.ms", "6000"),
    ("request.timeout.ms", "6000"),
    ("controlled.shutdown.retry.backoff.ms", "1000"),
    ("leader.imbalance.check.interval.seconds", "20"),
    ("log.segment.bytes", "4194304"),
    ("log.index.size.max.bytes", "1048576"),
    ("log.retention.ms", "-1"),
    ("log.cleaner.dedupe.buffer.size", "8388608"),
    ("num.network.threads", "2"),
    ("num.io.threads", "4"),
    ("background.threads", "2"),
    ("num.recovery.threads.per.data.dir", "1"),
];

/// The broker logs what it does at INFO, and nothing else here is worth that level.
const LOGGING: &str = "\
log4j.rootLogger=WARN, stdout
log4j.logger.kafka=INFO
log4j.appender.stdout=org.apache.log4j.ConsoleAppender
log4j.appender.stdout.layout=org.apache.log4j.PatternLayout
log4j.appender.stdout.layout.ConversionPattern=%d %p %c{1}: %m%n
";

impl Node {
    /// A broker that does not run yet, on an empty disk below `root`, set up as `setup` says.
    pub fn new(
        (id, kind): (i32, Kind),
        host: Host,
        zookeeper: &str,
        root: &Path,
        setup: &Setup,
    ) -> Result<Self> {
        let directory = root.join(&host.name);
        network::mount_memory(&directory, DISK_MB)?;
        let mut settings: Vec<(String, String)> =
            SETTINGS.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        for (key, value) in [
            ("broker.id", id.to_string()),
            ("listeners", format!("PLAINTEXT://{}:{PORT}", host.address)),
            ("zookeeper.connect", zookeeper.to_owned()),
            ("log.dirs", directory.join("data").display().to_string()),
        ] {
            settings.push((key.to_owned(), value));
        }
        // Kafka takes the last of two values, so does our command line.
        settings.extend_from_slice(&setup.settings);
        let recipe = match kind {
            Kind::Kafka => kafka(id, settings, directory.clone()),
            Kind::Ottla => {
                settings.push(("metrics.listener".to_owned(), format!("{}:9404", host.address)));
                ottla(settings, directory.clone(), setup.planted.clone())?
            }
        };
        let name = host.name.clone();
        Ok(Self { id, kind, server: Server::new(&name, host, recipe), directory })
    }

    /// Where clients and peers reach it.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from((self.server.host.address, PORT))
    }

    /// Its only log directory.
    pub fn log_dir(&self) -> PathBuf {
        self.directory.join("data")
    }

    /// Removes everything that it stored. It must not run.
    pub fn wipe(&self) -> Result<()> {
        if self.server.runs() {
            bail!("{} runs: its disk is not to be wiped", self.server.name);
        }
        match fs::remove_dir_all(self.log_dir()) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(error).context("wipe a disk")
            }
            _ => Ok(()),
        }
    }

    /// Leaves its disk no free page: the disk shrinks to what is on it.
    pub fn fill(&self) -> Result<()> {
        // What is written between the look and the act makes the act fail.
        Deadline::seconds(5).poll("a full disk", || {
            let disk = rustix::fs::statvfs(&self.directory).context("look at a disk")?;
            let used = (disk.f_blocks - disk.f_bfree) * disk.f_frsize;
            Ok(network::resize_memory(&self.directory, used).ok())
        })
    }

    /// Gives the space back.
    pub fn unfill(&self) -> Result<()> {
        network::resize_memory(&self.directory, u64::from(DISK_MB) << 20)
    }
}

fn kafka(id: i32, settings: Vec<(String, String)>, directory: PathBuf) -> Recipe {
    let started = format!("[KafkaServer id={id}] started");
    Recipe {
        command: Box::new(move || {
            fs::create_dir_all(directory.join("data")).context("create the log directory")?;
            let mut text = String::new();
            for (key, value) in &settings {
                writeln!(text, "{key}={value}")?;
            }
            let config = directory.join("server.properties");
            let logging = directory.join("log4j.properties");
            // Written once: a full disk has no room to write it again.
            if !config.exists() {
                fs::write(&config, text).context("write server.properties")?;
                fs::write(&logging, LOGGING).context("write log4j.properties")?;
            }
            let mut argument = OsString::from("-Dlog4j.configuration=file:");
            argument.push(&logging);
            let mut command =
                Java::new(REFERENCE)?.class_with_logging("kafka.Kafka", HEAP_MB, argument);
            command.arg(&config).env("LOG_DIR", &directory);
            Ok(command)
        }),
        serves: Box::new(move |line| line.ends_with(&started)),
    }
}

fn ottla(
    settings: Vec<(String, String)>,
    directory: PathBuf,
    planted: Option<String>,
) -> Result<Recipe> {
    let binary = if planted.is_some() { broker::planted_binary() } else { broker::binary() }?;
    Ok(Recipe {
        command: Box::new(move || {
            fs::create_dir_all(directory.join("data")).context("create the log directory")?;
            let mut command = Command::new(&binary);
            command.current_dir(&directory);
            command.envs(planted.iter().map(|name| (PLANTED, name)));
            for (key, value) in &settings {
                command.arg("--set").arg(format!("{key}={value}"));
            }
            Ok(command)
        }),
        serves: Box::new(|line| broker::bound_address(line, "PLAINTEXT").is_some()),
    })
}
