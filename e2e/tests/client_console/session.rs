//! Running the tools of one release against one broker: what they are told, what was sent.
//!
//! A record is a line `<label>-key-<number>:<label>-<number>`, as the producer takes it and the
//! consumer prints it; other lines of the tools have no `-key-`.

use std::collections::BTreeMap;
use std::io::Write;
use std::process::{ChildStdin, Command};

use anyhow::{Context, Result, ensure};
use e2e::deadline::Deadline;
use e2e::java::Java;
use e2e::logs;
use e2e::process::Process;
use tempfile::{Builder, TempDir};

use crate::tools::Tools;

/// The longest that one tool may take.
pub(crate) const TOOL_SECONDS: u64 = 120;

/// The start and the end of a partition, as Kafka writes them where an offset is due.
pub(crate) const START: i64 = -2;
pub(crate) const END: i64 = -1;

/// How the tools print a record.
const AS_SENT: [&str; 4] = ["--property", "print.key=true", "--property", "key.separator=:"];

/// One release's tools against one broker.
pub(crate) struct Session<'a> {
    pub(crate) tools: &'a Tools,
    pub(crate) java: Java,
    pub(crate) bootstrap: String,
    /// The topic, and the prefix of groups and of other topics.
    pub(crate) name: String,
    /// Every record in the topic, those deleted included.
    pub(crate) sent: Vec<String>,
    /// How many of the sent the first group has read.
    pub(crate) consumed: usize,
    pub(crate) deleted: usize,
    /// Where the settings of consumers are.
    pub(crate) directory: TempDir,
}

/// The records among the lines that a tool printed.
pub(crate) fn records<'a>(lines: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    lines.into_iter().filter(|line| line.contains("-key-")).map(str::to_owned).collect()
}

/// Fails unless both lists have the same records, in any order.
pub(crate) fn same(read: &[String], expected: &[String]) -> Result<()> {
    let (mut read, mut expected) = (read.to_vec(), expected.to_vec());
    read.sort_unstable();
    expected.sort_unstable();
    ensure!(read == expected, "read {read:?}, expected {expected:?}");
    Ok(())
}

impl Session<'_> {
    pub(crate) fn start(&self, class: &str, arguments: &[&str]) -> Result<Process> {
        let mut command: Command = self.java.class(class, 256);
        command.args(arguments);
        Process::spawn(class, &mut command, &logs::file(&self.name))
    }

    pub(crate) fn run(&self, class: &str, arguments: &[&str]) -> Result<String> {
        let mut process = self.start(class, arguments)?;
        drop(process.take_stdin());
        Ok(process.wait_success(Deadline::seconds(TOOL_SECONDS))?.join("\n"))
    }

    /// Runs a tool that is told the broker by `--bootstrap-server`.
    pub(crate) fn on_broker(&self, class: &str, arguments: &[&str]) -> Result<String> {
        self.run(class, &[&["--bootstrap-server", &self.bootstrap], arguments].concat())
    }

    /// A producer to `topic` that reads records from its standard input.
    pub(crate) fn producer(&self, topic: &str, settings: &[&str]) -> Result<(Process, ChildStdin)> {
        let mut arguments = vec![self.tools.producer_broker, &self.bootstrap, "--topic", topic];
        arguments.extend(["--property", "parse.key=true", "--property", "key.separator=:"]);
        arguments.push("--request-required-acks=-1");
        arguments.extend(settings);
        let mut process = self.start(self.tools.producer, &arguments)?;
        let input = process.take_stdin().context("the producer's standard input")?;
        Ok((process, input))
    }

    /// Sends five records to `topic`.
    pub(crate) fn send(&self, topic: &str, label: &str, settings: &[&str]) -> Result<Vec<String>> {
        let (mut process, mut input) = self.producer(topic, settings)?;
        let lines: Vec<String> =
            (0..5).map(|number| format!("{label}-key-{number}:{label}-{number}")).collect();
        for line in &lines {
            writeln!(input, "{line}")?;
        }
        drop(input);
        process.wait_success(Deadline::seconds(TOOL_SECONDS))?;
        Ok(lines)
    }

    /// Sends five records to the session's topic.
    pub(crate) fn produce(&mut self, label: &str, settings: &[&str]) -> Result<()> {
        let topic = self.name.clone();
        self.sent.extend(self.send(&topic, label, settings)?);
        Ok(())
    }

    /// A consumer in `group` that prints what it reads of `topic` until it has `most` records.
    pub(crate) fn consumer(
        &self,
        group: &str,
        topic: &str,
        most: Option<usize>,
        settings: &[&str],
        commits: bool,
    ) -> Result<Process> {
        let class = self.tools.consumer.context("a consumer")?;
        // It stays as long as the directory: the consumer reads it after this returns.
        let mut file =
            Builder::new().prefix("consumer").disable_cleanup(true).tempfile_in(&self.directory)?;
        // The first tool for groups tells members of one machine apart by their client id alone.
        let client =
            file.path().file_name().context("the file's name")?.to_string_lossy().into_owned();
        writeln!(file, "group.id={group}\nclient.id={client}\nenable.auto.commit={commits}")?;
        writeln!(file, "session.timeout.ms=6000\nheartbeat.interval.ms=300")?;
        let file = file.path().to_string_lossy().into_owned();
        let mut arguments = vec!["--bootstrap-server", &self.bootstrap, "--topic", topic];
        arguments.extend(self.tools.consumer_options);
        arguments.extend(AS_SENT);
        arguments.extend(["--consumer.config", &file]);
        arguments.extend(settings);
        let most = most.map(|most| most.to_string());
        if let Some(most) = &most {
            arguments.extend(["--max-messages", most]);
        }
        self.start(class, &arguments)
    }

    /// Reads that many records of the session's topic in `group`.
    pub(crate) fn read(&self, group: &str, count: usize, settings: &[&str]) -> Result<Vec<String>> {
        let mut process = self.consumer(group, &self.name, Some(count), settings, true)?;
        let lines = process.wait_success(Deadline::seconds(TOOL_SECONDS))?;
        Ok(records(lines.iter().map(String::as_str)))
    }

    /// What a tool prints that reads `count` records of one partition from `offset`, in order.
    pub(crate) fn read_partition(
        &self,
        topic: &str,
        partition: i32,
        offset: i64,
        count: usize,
    ) -> Result<Vec<String>> {
        let most = count.to_string();
        let mut reader =
            self.partition_reader(topic, partition, offset, &["--max-messages", &most])?;
        reader.wait_success(Deadline::seconds(TOOL_SECONDS))
    }

    /// A tool that prints what it reads of one partition from `offset` on.
    pub(crate) fn partition_reader(
        &self,
        topic: &str,
        partition: i32,
        offset: i64,
        settings: &[&str],
    ) -> Result<Process> {
        let (partition, number) = (partition.to_string(), offset.to_string());
        let mut arguments = vec!["--topic", topic, "--partition", &partition];
        arguments.extend(AS_SENT);
        arguments.extend(settings);
        if let Some(class) = self.tools.partition_reader {
            let at = format!("--offset={offset}");
            arguments.extend(["--broker-list", &self.bootstrap, &at]);
            return self.start(class, &arguments);
        }
        let at = match offset {
            START => "earliest",
            END => "latest",
            _ => &number,
        };
        arguments.extend(["--bootstrap-server", &self.bootstrap, "--offset", at]);
        arguments.extend(self.tools.consumer_options);
        self.start(self.tools.consumer.context("a consumer")?, &arguments)
    }

    /// Makes a topic of two partitions, by a tool or by asking for it.
    pub(crate) fn new_topic(&self, topic: &str) -> Result<()> {
        if let Some(class) = self.tools.topics {
            self.on_broker(class, &["--create", "--topic", topic, "--partitions", "2"])?;
        }
        Deadline::seconds(TOOL_SECONDS).poll("two empty partitions", || {
            // The tool fails while the topic is being made.
            let ends = self.ends(topic).unwrap_or_default();
            Ok((ends == BTreeMap::from([(0, 0), (1, 0)])).then_some(()))
        })
    }

    /// Where each partition of `topic` ends.
    pub(crate) fn ends(&self, topic: &str) -> Result<BTreeMap<i32, i64>> {
        let arguments = [self.tools.offsets_broker, &self.bootstrap, "--topic", topic, "--time=-1"];
        let text = self.run(self.tools.offsets, &arguments)?;
        let prefix = format!("{topic}:");
        let lines = text.lines().filter_map(|line| line.strip_prefix(&prefix)?.split_once(':'));
        lines.map(|(partition, end)| Ok((partition.parse()?, end.parse()?))).collect()
    }
}
