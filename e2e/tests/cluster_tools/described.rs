//! What `--describe` prints of a topic, in the form of each age.
//!
//! Its first line is the topic, then comes a line a partition. 0.8.1.1 puts no space after `Topic:`,
//! 2.8 adds the topic's id, 3.9 spaces and more columns.

use anyhow::{Context, Result, ensure};
use e2e::admin_tools::AdminTools;
use e2e::deadline::Deadline;

use crate::cluster::SETTLE_SECONDS;

/// A partition as a tool prints it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Partition {
    pub(crate) leader: Option<i32>,
    pub(crate) replicas: Vec<i32>,
    pub(crate) isr: Vec<i32>,
}

impl Partition {
    /// Whether every replica is in sync and one of them leads.
    pub(crate) fn is_whole(&self) -> bool {
        self.isr.len() == self.replicas.len()
            && self.leader.is_some_and(|leader| self.isr.contains(&leader))
    }

    /// Whether moreover the first replica leads.
    pub(crate) fn is_led_by_preferred(&self) -> bool {
        self.is_whole() && self.leader == self.replicas.first().copied()
    }
}

/// A topic as a tool prints it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Described {
    /// The first line, as it is.
    pub(crate) header: String,
    /// Its settings.
    pub(crate) configs: String,
    /// The lines of its partitions, as they are.
    pub(crate) lines: Vec<String>,
    /// What they say, by index.
    pub(crate) partitions: Vec<Partition>,
}

/// The value of `name` in a line of `name: value` columns, which tabs or spaces separate.
fn column<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = line.split_once(&format!("{name}:"))?;
    let rest = rest.strip_prefix(' ').unwrap_or(rest);
    rest.split(['\t', ' ']).next()
}

fn numbers(text: &str) -> Result<Vec<i32>> {
    let words = text.split(',').filter(|word| !word.is_empty());
    words.map(|word| word.parse().with_context(|| format!("brokers {text:?}"))).collect()
}

/// Reads what a tool printed; `None` if the topic is not there.
fn parse(lines: &[String], topic: &str) -> Result<Option<Described>> {
    let is_its = |line: &&String| column(line, "Topic") == Some(topic);
    let header = lines.iter().filter(is_its).find(|line| line.contains("PartitionCount:"));
    let Some(header) = header else { return Ok(None) };
    let lines: Vec<String> =
        lines.iter().filter(is_its).filter(|line| line.contains("Partition: ")).cloned().collect();
    let mut partitions = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        let said = column(line, "Partition").unwrap_or_default();
        ensure!(said == index.to_string(), "partition {index} is missing in {lines:#?}");
        let leader = column(line, "Leader").context("a leader")?;
        partitions.push(Partition {
            leader: leader.parse().ok().filter(|leader| *leader >= 0),
            replicas: numbers(column(line, "Replicas").context("replicas")?)?,
            isr: numbers(column(line, "Isr").context("an ISR")?)?,
        });
    }
    let configs = column(header, "Configs").unwrap_or_default().to_owned();
    Ok(Some(Described { header: header.clone(), configs, lines, partitions }))
}

/// Describes `topic` again and again until it is what `wanted` says.
pub(crate) fn until(
    tools: &AdminTools,
    topic: &str,
    what: &str,
    wanted: impl Fn(&Described) -> bool,
) -> Result<Described> {
    let mut last = None;
    let found = Deadline::seconds(SETTLE_SECONDS).poll(what, || {
        let lines = tools.run(tools.classes.topics, &["--describe", "--topic", topic])?;
        last = parse(&lines, topic)?;
        Ok(last.clone().filter(&wanted))
    });
    found.with_context(|| format!("{} says last of {topic}: {last:#?}", tools.classes.version))
}

/// Waits until `topic` has that many partitions and all their replicas are in sync.
pub(crate) fn until_whole(tools: &AdminTools, topic: &str, partitions: usize) -> Result<Described> {
    until(tools, topic, "partitions with all replicas", |seen| {
        seen.partitions.len() == partitions && seen.partitions.iter().all(Partition::is_whole)
    })
}

/// Waits until all replicas of `topic` are in sync, however many partitions it has.
pub(crate) fn until_whole_again(tools: &AdminTools, topic: &str) -> Result<Described> {
    until(tools, topic, "all replicas", |seen| seen.partitions.iter().all(Partition::is_whole))
}

/// Waits until no tool lists `topic`.
pub(crate) fn until_gone(tools: &AdminTools, topic: &str) -> Result<()> {
    Deadline::seconds(SETTLE_SECONDS).poll("the end of a topic", || {
        let lines = tools.run(tools.classes.topics, &["--list"])?;
        Ok((!lines.iter().any(|line| line.split(' ').next() == Some(topic))).then_some(()))
    })
}
