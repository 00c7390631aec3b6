//! The console tools of each release, as their users type them.
//!
//! A row a release, beside it what has no tool over the wire in that release, and why. Tools that
//! need ZooKeeper are not run: a broker that stands alone has none.

use std::io::Write;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use e2e::clients::{self, passed};
use e2e::deadline::Deadline;
use e2e::java::Java;
use e2e::matrix::Row;
use e2e::peer::Peer;
use e2e::process::Process;
use e2e::tools::maven;
use e2e::verdict::{self, Lacks};

/// The classes of one release's tools, and what they are told differently.
struct Tools {
    version: &'static str,
    producer: &'static str,
    /// The producer's option for the broker's address.
    producer_broker: &'static str,
    consumer: &'static str,
    consumer_options: &'static [&'static str],
    offsets: Option<&'static str>,
    groups: Option<&'static str>,
    groups_options: &'static [&'static str],
    delete_groups: bool,
    topics: Option<&'static str>,
    configs: Option<&'static str>,
    delete_records: Option<&'static str>,
    codecs: &'static [&'static str],
    versions: Option<&'static str>,
    lacks: &'static [Lacks],
}

const NO_ZSTD: Lacks =
    Lacks { why: "the release is older than zstd", operations: &["produce_zstd"] };
const ZOOKEEPER: Lacks = Lacks {
    why: "the release's tool reaches it through ZooKeeper alone",
    operations: &["describe_configs", "alter_configs", "create_partitions", "delete_topic"],
};
const NO_DELETE_RECORDS: Lacks =
    Lacks { why: "the release is older than DeleteRecords", operations: &["delete_records"] };
const NO_DELETE_GROUP: Lacks = Lacks {
    why: "the release's tool describes only groups with members, and deletes none",
    operations: &["describe_group", "delete_group"],
};
/// What the clients of the same releases do, in their own rows.
const BY_CLIENTS: Lacks = Lacks {
    why: "seen in the rows of the clients that the tools are made of",
    operations: &[
        "produce_idempotent",
        "consume_offset",
        "consume_timestamp",
        "read_foreign",
        "group_rebalance",
        "commit",
        "resume",
        "records_after_restart",
        "resume_after_restart",
    ],
};

const OLD_CODECS: &[&str] = &["none", "gzip", "snappy", "lz4"];
const CODECS: &[&str] = &["none", "gzip", "snappy", "lz4", "zstd"];
const NEW_CONSUMER: &[&str] = &["--new-consumer"];

/// What every release before 2.2 shares: topics and settings are reached through ZooKeeper alone.
const OLD: Tools = Tools {
    version: "",
    producer: "kafka.tools.ConsoleProducer",
    producer_broker: "--broker-list",
    consumer: "kafka.tools.ConsoleConsumer",
    consumer_options: NEW_CONSUMER,
    offsets: Some("kafka.tools.GetOffsetShell"),
    groups: Some("kafka.admin.ConsumerGroupCommand"),
    groups_options: NEW_CONSUMER,
    delete_groups: false,
    topics: None,
    configs: None,
    delete_records: None,
    codecs: OLD_CODECS,
    versions: None,
    lacks: &[NO_ZSTD, ZOOKEEPER, NO_DELETE_RECORDS, NO_DELETE_GROUP, BY_CLIENTS],
};

const V0_9: Tools = Tools { version: "0.9.0.1", ..OLD };
const V0_10: Tools =
    Tools { version: "0.10.2.2", versions: Some("kafka.admin.BrokerApiVersionsCommand"), ..OLD };
const V0_11: Tools = Tools {
    version: "0.11.0.3",
    groups_options: &[],
    consumer_options: &[],
    delete_records: Some("kafka.admin.DeleteRecordsCommand"),
    lacks: &[NO_ZSTD, ZOOKEEPER, NO_DELETE_GROUP, BY_CLIENTS],
    ..V0_10
};
const V1: Tools = Tools {
    version: "1.1.1",
    delete_groups: true,
    lacks: &[NO_ZSTD, ZOOKEEPER, BY_CLIENTS],
    ..V0_11
};
const V2: Tools = Tools {
    version: "2.8.2",
    producer_broker: "--bootstrap-server",
    topics: Some("kafka.admin.TopicCommand"),
    configs: Some("kafka.admin.ConfigCommand"),
    codecs: CODECS,
    lacks: &[BY_CLIENTS],
    ..V1
};
const V3: Tools = Tools {
    version: "3.9.2",
    consumer: "org.apache.kafka.tools.consumer.ConsoleConsumer",
    offsets: Some("org.apache.kafka.tools.GetOffsetShell"),
    groups: Some("org.apache.kafka.tools.consumer.group.ConsumerGroupCommand"),
    topics: Some("org.apache.kafka.tools.TopicCommand"),
    delete_records: Some("org.apache.kafka.tools.DeleteRecordsCommand"),
    ..V2
};
const V4: Tools = Tools {
    version: "4.3.1",
    producer: "org.apache.kafka.tools.ConsoleProducer",
    versions: Some("org.apache.kafka.tools.BrokerApiVersionsCommand"),
    ..V3
};

/// One release's tools against one peer.
struct Session<'a> {
    tools: &'a Tools,
    java: Java,
    peer: &'a Peer,
    name: String,
    sent: Vec<String>,
}

impl Session<'_> {
    fn start(&self, class: &str, arguments: &[&str]) -> Result<Process> {
        let mut command: Command = self.java.class(class, 256);
        command.args(arguments);
        Process::spawn(class, &mut command, &clients::log_file(&self.name))
    }

    fn run(&self, class: &str, arguments: &[&str]) -> Result<String> {
        let mut process = self.start(class, arguments)?;
        drop(process.take_stdin());
        Ok(process.wait_success(Deadline::seconds(120))?.join("\n"))
    }

    /// Runs a tool that is told the broker by `--bootstrap-server`.
    fn on_broker(&self, class: &str, arguments: &[&str]) -> Result<String> {
        let mut all = vec!["--bootstrap-server", self.peer.bootstrap()];
        all.extend(arguments);
        self.run(class, &all)
    }

    fn groups(&self, class: &str, arguments: &[&str]) -> Result<String> {
        let mut all = self.tools.groups_options.to_vec();
        all.extend(arguments);
        self.on_broker(class, &all)
    }

    fn create_topic(&self) -> Result<()> {
        let Some(topics) = self.tools.topics else {
            // The producer's first question makes the topic.
            return Ok(());
        };
        self.on_broker(topics, &["--create", "--topic", &self.name, "--partitions", "2"])?;
        let text = self.on_broker(topics, &["--describe", "--topic", &self.name])?;
        ensure!(text.contains("PartitionCount: 2"), "{text}");
        Ok(())
    }

    fn produce(&mut self, codec: &str) -> Result<()> {
        let Tools { producer, producer_broker, .. } = self.tools;
        let bootstrap = self.peer.bootstrap();
        let mut arguments = vec![producer_broker, bootstrap, "--topic", &self.name];
        arguments.extend(["--property", "parse.key=true", "--property", "key.separator=:"]);
        let compression = format!("--compression-codec={codec}");
        arguments.push(&compression);
        let mut process = self.start(producer, &arguments)?;
        let mut input = process.take_stdin().context("the producer's standard input")?;
        for number in 0..5 {
            let line = format!("{codec}-key-{number}:{codec}-{number}");
            writeln!(input, "{line}")?;
            self.sent.push(line);
        }
        drop(input);
        process.wait_success(Deadline::seconds(120)).map(drop)
    }

    /// Reads as many records as are expected, and compares them.
    fn consume(&self, group: &str) -> Result<()> {
        let Tools { consumer, consumer_options, .. } = self.tools;
        let count = self.sent.len().to_string();
        let group = format!("group.id={}-{group}", self.name);
        let mut arguments = consumer_options.to_vec();
        arguments.extend(["--topic", &self.name, "--from-beginning", "--max-messages", &count]);
        arguments.extend(["--property", "print.key=true", "--property", "key.separator=:"]);
        let settings = tempfile::NamedTempFile::new()?;
        writeln!(settings.as_file(), "{group}\nenable.auto.commit=true")?;
        let file = settings.path().to_string_lossy();
        arguments.extend(["--consumer.config", &file]);
        let text = self.on_broker(consumer, &arguments)?;
        let mut read: Vec<&str> = text.lines().filter(|line| line.contains("-key-")).collect();
        let mut sent: Vec<&str> = self.sent.iter().map(String::as_str).collect();
        read.sort_unstable();
        sent.sort_unstable();
        ensure!(read == sent, "read {read:?}, expected {sent:?}");
        Ok(())
    }

    fn end_offsets(&self, class: &str) -> Result<()> {
        let option = if self.tools.topics.is_some() && self.tools.version != "2.8.2" {
            "--bootstrap-server"
        } else {
            "--broker-list"
        };
        let topic = ["--topic", &self.name, "--time", "-1"];
        let text = self.run(class, &[&[option, self.peer.bootstrap()], &topic[..]].concat())?;
        let prefix = format!("{}:", self.name);
        let ends = text.lines().filter_map(|line| line.strip_prefix(&prefix)?.split_once(':'));
        let total: usize = ends.filter_map(|(_, end)| end.parse::<usize>().ok()).sum();
        ensure!(total == self.sent.len(), "the ends add up to {total}: {text}");
        Ok(())
    }

    fn configs(&self, class: &str, change: bool) -> Result<()> {
        let entity = ["--entity-type", "topics", "--entity-name", &self.name];
        if change {
            let alter = ["--alter", "--add-config", "retention.ms=604800001"];
            self.on_broker(class, &[&entity[..], &alter[..]].concat())?;
        }
        let text = self.on_broker(class, &[&entity[..], &["--describe", "--all"][..]].concat())?;
        let expected = if change { "retention.ms=604800001" } else { "retention.ms=604800000" };
        ensure!(text.contains(expected), "{text}");
        Ok(())
    }

    fn delete_records(&self, class: &str) -> Result<()> {
        let mut file = tempfile::NamedTempFile::new()?;
        write!(
            file,
            "{{\"version\":1,\"partitions\":[{{\"topic\":\"{}\",\"partition\":0,\"offset\":1}}]}}",
            self.name
        )?;
        let path = file.path().to_string_lossy().into_owned();
        let text = self.on_broker(class, &["--offset-json-file", &path])?;
        ensure!(text.contains("low_watermark: 1"), "{text}");
        Ok(())
    }

    fn delete_group(&self, class: &str) -> Result<()> {
        let group = format!("{}-one", self.name);
        self.groups(class, &["--delete", "--group", &group])?;
        let text = self.groups(class, &["--list"])?;
        ensure!(!text.lines().any(|line| line.trim() == group), "{text}");
        Ok(())
    }

    fn topics(&self, class: &str) -> Result<()> {
        self.on_broker(class, &["--alter", "--topic", &self.name, "--partitions", "3"])?;
        let text = self.on_broker(class, &["--describe", "--topic", &self.name])?;
        ensure!(text.contains("PartitionCount: 3"), "{text}");
        Ok(())
    }

    fn delete_topic(&self, class: &str) -> Result<()> {
        self.on_broker(class, &["--delete", "--topic", &self.name])?;
        Deadline::seconds(60).poll("the end of the topic", || {
            let text = self.on_broker(class, &["--list"])?;
            Ok((!text.lines().any(|line| line.trim() == self.name)).then_some(()))
        })
    }
}

/// Notes the outcome of an operation that has a tool.
fn with(row: &mut Row, name: &str, class: Option<&str>, run: impl FnOnce(&str) -> Result<()>) {
    if let Some(class) = class {
        passed(row, name, run(class));
    }
}

fn operate(session: &mut Session<'_>, row: &mut Row) {
    let tools = session.tools;
    passed(row, "create_topic", session.create_topic());
    for codec in CODECS {
        let class = tools.codecs.contains(codec).then_some(tools.producer);
        with(row, &format!("produce_{codec}"), class, |_| session.produce(codec));
    }
    passed(row, "consume_beginning", session.consume("one"));
    with(row, "consume_end", tools.offsets, |class| session.end_offsets(class));
    let group = format!("{}-one", session.name);
    with(row, "list_groups", tools.groups, |class| {
        let text = session.groups(class, &["--list"])?;
        ensure!(text.lines().any(|line| line.trim() == group), "{text}");
        Ok(())
    });
    let describe = tools.groups.filter(|_| tools.delete_groups);
    with(row, "describe_group", describe, |class| {
        let text = session.groups(class, &["--describe", "--group", &group])?;
        ensure!(text.contains(&session.name) && text.contains("CURRENT-OFFSET"), "{text}");
        Ok(())
    });
    with(row, "delete_group", describe, |class| session.delete_group(class));
    with(row, "describe_configs", tools.configs, |class| session.configs(class, false));
    with(row, "alter_configs", tools.configs, |class| session.configs(class, true));
    with(row, "delete_records", tools.delete_records, |class| session.delete_records(class));
    with(row, "create_partitions", tools.topics, |class| session.topics(class));
    with(row, "delete_topic", tools.topics, |class| session.delete_topic(class));
    if let Some(class) = tools.versions {
        let text = session.on_broker(class, &[]);
        let text = text.and_then(|text| {
            ensure!(text.contains("Fetch(1)"), "{text}");
            Ok(())
        });
        // No column of the matrix: a failure is reported all the same.
        passed(row, "api_versions", text);
    }
}

fn check(tools: &Tools) -> Result<()> {
    let name = format!("console-{}", tools.version);
    let java = Java::new(maven::release(tools.version)?)?;
    let peer = Peer::start(&name)?;
    clients::foreign_topic(peer.bootstrap())?;
    let mut session = Session { tools, java, peer: &peer, name, sent: Vec::new() };
    let mut row = Row::new();
    operate(&mut session, &mut row);
    verdict::conclude(&session.name, tools.lacks, &row)
}

#[test]
fn console_0_9_0_1() -> Result<()> {
    check(&V0_9)
}

#[test]
fn console_0_10_2_2() -> Result<()> {
    check(&V0_10)
}

#[test]
fn console_0_11_0_3() -> Result<()> {
    check(&V0_11)
}

#[test]
fn console_1_1_1() -> Result<()> {
    check(&V1)
}

#[test]
fn console_2_8_2() -> Result<()> {
    check(&V2)
}

#[test]
fn console_3_9_2() -> Result<()> {
    check(&V3)
}

#[test]
fn console_4_3_1() -> Result<()> {
    check(&V4)
}
