//! Apache Kafka of the reference release, with its ZooKeeper, on ports that the kernel chooses.

use std::ffi::OsString;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use rustix::process::Signal;

use crate::deadline::Deadline;
use crate::java::Java;
use crate::process::Process;
use crate::tools::maven::{REFERENCE, Release};
use crate::workspace;

/// A cold virtual machine on a busy machine of two cores.
const START_SECONDS: u64 = 120;

/// The broker logs its port at INFO, and nothing else here is worth that level.
const LOGGING: &str = "\
log4j.rootLogger=WARN, stdout
log4j.logger.kafka=INFO
log4j.appender.stdout=org.apache.log4j.ConsoleAppender
log4j.appender.stdout.layout=org.apache.log4j.PatternLayout
log4j.appender.stdout.layout.ConversionPattern=%d %p %c{1}: %m%n
";

/// One ZooKeeper server.
#[derive(Debug)]
pub struct Zookeeper {
    process: Process,
    /// Where it listens, `host:port`.
    pub address: String,
}

impl Zookeeper {
    /// Starts it on the data in `directory`, after adding the nodes in the file `nodes`: a line
    /// each, parents first, the path, a tab and the data in hexadecimal.
    pub fn start(name: &str, directory: &Path, nodes: Option<&Path>) -> Result<Self> {
        Self::start_of(REFERENCE, name, directory, nodes)
    }

    /// As [`Zookeeper::start`], the one that `release` of Kafka brings along.
    pub fn start_of(
        release: &Release,
        name: &str,
        directory: &Path,
        nodes: Option<&Path>,
    ) -> Result<Self> {
        let java = Java::with_sources(release, &["zookeeper"])?;
        fs::create_dir_all(directory).context("create ZooKeeper's directory")?;
        let mut command = java.class("LocalZookeeper", 128);
        command.arg(directory).args(nodes);
        let log = log_file(name, "zookeeper");
        let process = Process::spawn("ZooKeeper", &mut command, &log)?;
        let port = process.wait_for("its port", Deadline::seconds(START_SECONDS), |line| {
            line.strip_prefix("@zookeeper\t").map(str::to_owned)
        })?;
        Ok(Self { process, address: format!("127.0.0.1:{port}") })
    }

    /// Sends it a signal, as to have it hang.
    pub fn signal(&mut self, signal: Signal) -> Result<()> {
        self.process.signal(signal)
    }
}

/// One broker of the reference release.
#[derive(Debug)]
pub struct Kafka {
    name: String,
    id: i32,
    directory: PathBuf,
    settings: Vec<(String, String)>,
    process: Option<Process>,
    bootstrap: String,
    zookeeper: Arc<Zookeeper>,
}

impl Kafka {
    /// Starts ZooKeeper and a broker with `settings` above the harness's own, data in `directory`.
    pub fn start(name: &str, directory: &Path, settings: &[(&str, &str)]) -> Result<Self> {
        Self::start_with_nodes(name, directory, settings, None)
    }

    /// As [`Kafka::start`], with ZooKeeper's nodes from a file.
    pub fn start_with_nodes(
        name: &str,
        directory: &Path,
        settings: &[(&str, &str)],
        nodes: Option<&Path>,
    ) -> Result<Self> {
        let zookeeper = Zookeeper::start(name, &directory.join("zookeeper"), nodes)?;
        Self::start_in(name, directory, 0, &Arc::new(zookeeper), settings)
    }

    /// Starts broker `id` of the cluster that `zookeeper` keeps.
    pub fn start_in(
        name: &str,
        directory: &Path,
        id: i32,
        zookeeper: &Arc<Zookeeper>,
        settings: &[(&str, &str)],
    ) -> Result<Self> {
        let settings =
            settings.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let mut kafka = Self {
            name: name.to_owned(),
            id,
            directory: directory.to_owned(),
            settings,
            process: None,
            bootstrap: String::new(),
            zookeeper: Arc::clone(zookeeper),
        };
        kafka.launch()?;
        Ok(kafka)
    }

    /// Where clients start.
    pub fn bootstrap(&self) -> &str {
        &self.bootstrap
    }

    /// Where its ZooKeeper listens.
    pub fn zookeeper(&self) -> &str {
        &self.zookeeper.address
    }

    /// The directory of its partitions.
    pub fn log_dir(&self) -> PathBuf {
        self.directory.join("data")
    }

    /// Stops the broker in order, with its logs closed.
    pub fn stop(&mut self) -> Result<()> {
        if let Some(mut process) = self.process.take() {
            process.terminate(Deadline::seconds(START_SECONDS))?;
        }
        Ok(())
    }

    /// Kills the broker as a crash would.
    pub fn kill(&mut self) -> Result<()> {
        match self.process.take() {
            Some(mut process) => process.kill(),
            None => bail!("the broker is not running"),
        }
    }

    /// Starts the broker again on the same data, on a new port.
    pub fn launch(&mut self) -> Result<()> {
        let config = self.directory.join("server.properties");
        fs::create_dir_all(self.log_dir()).context("create the broker's directory")?;
        fs::write(&config, self.properties()?).context("write server.properties")?;
        let logging = self.directory.join("log4j.properties");
        fs::write(&logging, LOGGING).context("write log4j.properties")?;
        let mut argument = OsString::from("-Dlog4j.configuration=file:");
        argument.push(&logging);
        let java = Java::new(REFERENCE)?;
        let mut command = java.class_with_logging("kafka.Kafka", 512, argument);
        command.arg(&config).env("LOG_DIR", &self.directory);
        let process = Process::spawn("Kafka", &mut command, &log_file(&self.name, "kafka"))?;
        let deadline = Deadline::seconds(START_SECONDS);
        let port = process.wait_for("its port", deadline, |line| {
            let (_, address) = line.split_once("Awaiting socket connections on ")?;
            Some(address.trim_end_matches('.').rsplit(':').next()?.to_owned())
        })?;
        let started = format!("[KafkaServer id={}] started", self.id);
        process
            .wait_for("that it started", deadline, |line| line.ends_with(&started).then_some(()))?;
        self.bootstrap = format!("127.0.0.1:{port}");
        self.process = Some(process);
        Ok(())
    }

    fn properties(&self) -> Result<String> {
        let mut text = format!(
            "broker.id={}\nlisteners=PLAINTEXT://127.0.0.1:0\nzookeeper.connect={}\nlog.dirs={}\n\
             transaction.state.log.replication.factor=1\ntransaction.state.log.min.isr=1\n",
            self.id,
            self.zookeeper.address,
            self.log_dir().display(),
        );
        for (key, value) in &self.settings {
            writeln!(text, "{key}={value}")?;
        }
        Ok(text)
    }
}

fn log_file(name: &str, part: &str) -> PathBuf {
    workspace::output_dir().join("logs").join(format!("{name}-{part}.log"))
}
