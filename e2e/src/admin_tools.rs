//! Kafka's command-line tools of one release, as operators type them: topics, partitions moved,
//! leaders elected, a line in and a line out.
//!
//! Tools of before 3.0 reach a cluster through ZooKeeper, those of 2.2 and later through a broker;
//! a release's [`Classes`] say what they are called. What they print is for the test to judge.

use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};

use crate::deadline::Deadline;
use crate::java::Java;
use crate::logs;
use crate::process::Process;
use crate::tools::maven;

/// The longest that one tool may take.
const TOOL_SECONDS: u64 = 120;

const HEAP_MB: u32 = 128;

/// What the tools of a release are called.
#[derive(Debug, Clone, Copy)]
pub struct Classes {
    /// The release.
    pub version: &'static str,
    /// Makes, lists, describes, alters and deletes topics.
    pub topics: &'static str,
    /// Moves replicas.
    pub reassign: &'static str,
    /// Elects leaders.
    pub elect: &'static str,
    /// Sets and shows settings; the oldest set them by the tool for topics.
    pub configs: Option<&'static str>,
    /// Sends a line of its input a record.
    pub producer: &'static str,
    /// Prints a record a line.
    pub consumer: &'static str,
}

/// The first release with replicas whose tools run on the Java of today.
pub const V0_8_1: Classes = Classes {
    version: "0.8.1.1",
    topics: "kafka.admin.TopicCommand",
    reassign: "kafka.admin.ReassignPartitionsCommand",
    elect: "kafka.admin.PreferredReplicaLeaderElectionCommand",
    configs: None,
    producer: "kafka.producer.ConsoleProducer",
    consumer: "kafka.consumer.ConsoleConsumer",
};

/// The last whose tools take `--zookeeper`.
pub const V2_8: Classes = Classes {
    version: "2.8.2",
    configs: Some("kafka.admin.ConfigCommand"),
    producer: "kafka.tools.ConsoleProducer",
    consumer: "kafka.tools.ConsoleConsumer",
    ..V0_8_1
};

/// The reference.
pub const V3_9: Classes = Classes {
    version: "3.9.2",
    topics: "org.apache.kafka.tools.TopicCommand",
    reassign: "org.apache.kafka.tools.reassign.ReassignPartitionsCommand",
    elect: "org.apache.kafka.tools.LeaderElectionCommand",
    configs: Some("kafka.admin.ConfigCommand"),
    producer: "kafka.tools.ConsoleProducer",
    consumer: "org.apache.kafka.tools.consumer.ConsoleConsumer",
};

/// A release's tools, told each time where the cluster is.
#[derive(Debug)]
pub struct AdminTools {
    /// What they are called.
    pub classes: Classes,
    java: Java,
    cluster: [String; 2],
    log: PathBuf,
}

impl AdminTools {
    /// Tools that are told `option` (such as `--zookeeper`) and `address`.
    pub fn new(classes: Classes, option: &str, address: &str) -> Result<Self> {
        let java = Java::new(maven::release(classes.version)?)?;
        let log = logs::file(&format!("tools-{}", classes.version));
        Ok(Self { classes, java, cluster: [option.to_owned(), address.to_owned()], log })
    }

    /// Runs `class` to its end, told where the cluster is; gives what it printed.
    pub fn run(&self, class: &str, arguments: &[&str]) -> Result<Vec<String>> {
        let [option, address] = &self.cluster;
        self.fed(class, &[&[option.as_str(), address], arguments].concat(), &[])
    }

    /// As [`AdminTools::run`], and fails unless a line has `expected` in it.
    pub fn says(&self, class: &str, arguments: &[&str], expected: &str) -> Result<Vec<String>> {
        let lines = self.run(class, arguments)?;
        let found = lines.iter().any(|line| line.contains(expected));
        ensure!(found, "{class} {arguments:?} said no {expected:?}, but {lines:#?}");
        Ok(lines)
    }

    /// Runs `class` to its end with `input` as its lines, told nothing but `arguments`.
    pub fn fed(&self, class: &str, arguments: &[&str], input: &[&str]) -> Result<Vec<String>> {
        let mut command = self.java.class(class, HEAP_MB);
        command.args(arguments);
        let name = format!("{class} of {}", self.classes.version);
        let mut process = Process::spawn(&name, &mut command, &self.log)?;
        if let Some(mut stdin) = process.take_stdin() {
            for line in input {
                writeln!(stdin, "{line}").with_context(|| format!("feed {name}"))?;
            }
        }
        process.wait_success(Deadline::seconds(TOOL_SECONDS))
    }
}
