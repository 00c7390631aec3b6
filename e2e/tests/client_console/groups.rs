//! Groups: what their tool says of them while consumers come and go.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, ensure};
use e2e::deadline::Deadline;

use crate::session::{Session, TOOL_SECONDS, same};

/// A partition of a group as its tool prints it; `None` stands for a dash.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Described {
    current_offset: Option<i64>,
    log_end_offset: Option<i64>,
    lag: Option<i64>,
    consumer: Option<String>,
}

/// The lines of `text` that are of `topic`, by partition.
///
/// The first release separates columns by commas, and words of their names by spaces.
fn parse(text: &str, group: &str, topic: &str) -> Result<BTreeMap<i32, Described>> {
    let text = text.replace("CURRENT OFFSET", "CURRENT-OFFSET");
    let text = text.replace("LOG END OFFSET", "LOG-END-OFFSET").replace("OWNER", "CONSUMER-ID");
    let words = |line: &str| -> Vec<String> {
        let words = line.split([' ', '\t', ',']).filter(|word| !word.is_empty());
        words.map(str::to_owned).collect()
    };
    let mut lines = text.lines().skip_while(|line| !line.contains("CURRENT-OFFSET"));
    let header = words(lines.next().unwrap_or_default());
    let mut described = BTreeMap::new();
    for line in lines {
        let words = words(line);
        let column = |name: &str| {
            let word = words.get(header.iter().position(|column| column == name)?)?;
            (word != "-" && word != "unknown").then(|| word.clone())
        };
        let number = |name: &str| column(name).map(|word| word.parse::<i64>()).transpose();
        if column("TOPIC").as_deref() != Some(topic) {
            continue;
        }
        let named = column("GROUP").unwrap_or_else(|| group.to_owned());
        ensure!(named == group, "group {named} in the answer for {group}");
        let partition = column("PARTITION").context("a partition")?.parse()?;
        let line = Described {
            current_offset: number("CURRENT-OFFSET")?,
            log_end_offset: number("LOG-END-OFFSET")?,
            lag: number("LAG")?,
            consumer: column("CONSUMER-ID"),
        };
        ensure!(described.insert(partition, line).is_none(), "partition {partition} twice");
    }
    Ok(described)
}

/// The members that the partitions are assigned to, once each partition of two has one.
fn owners(described: &BTreeMap<i32, Described>) -> Option<BTreeSet<&str>> {
    let owners = described.values().map(|line| line.consumer.as_deref());
    let owners: Option<BTreeSet<&str>> = owners.collect();
    owners.filter(|_| described.len() == 2)
}

impl Session<'_> {
    /// The group that reads what is sent, and goes on after the restart.
    pub(crate) fn group(&self) -> String {
        format!("{}-one", self.name)
    }

    /// The group that is moved by hand, and deleted.
    fn moved_group(&self) -> String {
        format!("{}-moved", self.name)
    }

    fn groups(&self, class: &str, arguments: &[&str]) -> Result<String> {
        self.on_broker(class, &[self.tools.groups_options, arguments].concat())
    }

    fn describe(&self, class: &str, group: &str) -> Result<BTreeMap<i32, Described>> {
        let text = self.groups(class, &["--describe", "--group", group])?;
        parse(&text, group, &self.name)
    }

    pub(crate) fn list_groups(&self, class: &str) -> Result<()> {
        let text = self.groups(class, &["--list"])?;
        ensure!(text.lines().any(|line| line.trim() == self.group()), "{text}");
        Ok(())
    }

    /// A member that commits nothing has both partitions; what came since the commits is the lag.
    pub(crate) fn describe_group(&mut self, class: &str) -> Result<()> {
        let read = self.ends(&self.name)?;
        self.produce("lag", &[])?;
        let ends = self.ends(&self.name)?;
        let group = self.group();
        let mut member = self.consumer(&group, &self.name, None, &[], false)?;
        let described = self.described_until(class, &group, 1)?;
        member.terminate(Deadline::seconds(TOOL_SECONDS))?;
        for (partition, line) in &described {
            let (current, end) = (read.get(partition).copied(), ends.get(partition).copied());
            let lag = current.zip(end).map(|(current, end)| end - current);
            ensure!(
                line.current_offset == current && line.log_end_offset == end && line.lag == lag,
                "partition {partition} is {line:?}, expected {current:?}, {end:?} and {lag:?}"
            );
        }
        Ok(())
    }

    /// Describes the group until its partitions are assigned to that many members.
    fn described_until(
        &self,
        class: &str,
        group: &str,
        members: usize,
    ) -> Result<BTreeMap<i32, Described>> {
        Deadline::seconds(TOOL_SECONDS).poll(&format!("{members} members in {group}"), || {
            let described = self.describe(class, group)?;
            let found = owners(&described).map(|owners| owners.len());
            Ok((found == Some(members)).then_some(described))
        })
    }

    /// A second consumer takes over one of two partitions, and the first has both when it leaves.
    pub(crate) fn rebalance(&self, class: &str) -> Result<()> {
        let group = format!("{}-two", self.name);
        let deadline = Deadline::seconds(TOOL_SECONDS);
        let mut first = self.consumer(&group, &self.name, None, &["--from-beginning"], true)?;
        let alone = self.described_until(class, &group, 1)?;
        let mut second = self.consumer(&group, &self.name, None, &["--from-beginning"], true)?;
        self.described_until(class, &group, 2)?;
        second.terminate(deadline)?;
        let again = self.described_until(class, &group, 1)?;
        ensure!(owners(&alone) == owners(&again), "{again:?} is not the first member's");
        first.terminate(deadline)?;
        Ok(())
    }

    /// A consumer with a name keeps its partition when it ends, and has it when it comes back; the
    /// other consumer stays the member that it was.
    ///
    /// The member id begins with the name, and is a new one for a consumer that comes back.
    pub(crate) fn static_member(&self, class: &str) -> Result<()> {
        let group = format!("{}-static", self.name);
        let deadline = Deadline::seconds(TOOL_SECONDS);
        let named = |name: &str| {
            let name = format!("group.instance.id={name}");
            let patience = "session.timeout.ms=45000";
            let settings = ["--consumer-property", &name, "--consumer-property", patience];
            self.consumer(&group, &self.name, None, &settings, true)
        };
        let (mut first, mut second) = (named("one")?, named("two")?);
        let both = self.described_until(class, &group, 2)?;
        second.terminate(deadline)?;
        let ended = self.describe(class, &group)?;
        ensure!(owners(&ended) == owners(&both), "{ended:?} after the end, {both:?} before it");
        let mut again = named("two")?;
        let named_two = |line: &Described| {
            line.consumer.as_deref().is_some_and(|consumer| consumer.starts_with("two-"))
        };
        let back = deadline.poll("a new member id", || {
            let back = self.describe(class, &group)?;
            Ok((owners(&back).is_some() && owners(&back) != owners(&both)).then_some(back))
        })?;
        for (partition, line) in &both {
            let now = back.get(partition).context("the same partitions")?;
            let kept = if named_two(line) { named_two(now) } else { now.consumer == line.consumer };
            ensure!(kept, "partition {partition} went from {line:?} to {now:?}");
        }
        again.terminate(deadline)?;
        first.terminate(deadline)?;
        Ok(())
    }

    /// The group that has read everything up to here goes on with what came since.
    pub(crate) fn resume(&mut self, label: &str) -> Result<()> {
        self.produce(label, &[])?;
        let expected = self.sent[self.consumed..].to_vec();
        same(&self.read(&self.group(), expected.len(), &["--from-beginning"])?, &expected)?;
        self.consumed = self.sent.len();
        Ok(())
    }

    /// Moves a group without members to another place in the session's topic.
    pub(crate) fn reset(&self, class: &str, group: &str, to: &[&str]) -> Result<()> {
        let what = ["--reset-offsets", "--group", group, "--topic", &self.name, "--execute"];
        self.groups(class, &[&what, to].concat()).map(drop)
    }

    /// A group is moved to an offset, from where a consumer reads the rest.
    pub(crate) fn reset_offsets(&self, class: &str) -> Result<()> {
        let group = self.moved_group();
        self.reset(class, &group, &["--to-offset", "2"])?;
        let described = self.describe(class, &group)?;
        let moved = |line: &Described| line.current_offset == Some(2) && line.consumer.is_none();
        ensure!(described.len() == 2 && described.values().all(moved), "{described:?}");
        let rest = self.sent.len() - 4;
        let read = self.read(&group, rest, &[])?;
        ensure!(read.len() == rest, "{} records, expected {rest}", read.len());
        let described = self.describe(class, &group)?;
        ensure!(described.values().all(|line| line.lag == Some(0)), "{described:?}");
        Ok(())
    }

    /// One of the two partitions of a group is forgotten.
    pub(crate) fn delete_offsets(&self, class: &str) -> Result<()> {
        let group = format!("{}-half", self.name);
        self.reset(class, &group, &["--to-earliest"])?;
        let zero = format!("{}:0", self.name);
        self.groups(class, &["--delete-offsets", "--group", &group, "--topic", &zero])?;
        let described = self.describe(class, &group)?;
        ensure!(described.keys().eq([&1]), "{described:?}");
        Ok(())
    }

    pub(crate) fn delete_group(&self, class: &str) -> Result<()> {
        let group = self.moved_group();
        let listed = || -> Result<bool> {
            let text = self.groups(class, &["--list"])?;
            Ok(text.lines().any(|line| line.trim() == group))
        };
        ensure!(listed()?, "the group is not there");
        self.groups(class, &["--delete", "--group", &group])?;
        ensure!(!listed()?, "the group is still there");
        Ok(())
    }
}
