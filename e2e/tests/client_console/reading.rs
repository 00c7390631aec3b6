//! What the consumers print, from each place where they can start.

use std::io::Write;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use e2e::clients;
use e2e::deadline::Deadline;

use crate::session::{END, START, Session, TOOL_SECONDS, records, same};

impl Session<'_> {
    /// Reads the topic from its start in the session's group, which commits what it has read.
    pub(crate) fn beginning(&mut self) -> Result<()> {
        let read = match self.tools.consumer {
            Some(_) => self.read(&self.group(), self.sent.len(), &["--from-beginning"])?,
            None => self.both_partitions()?,
        };
        same(&read, &self.sent)?;
        self.consumed = self.sent.len();
        Ok(())
    }

    /// Every record, by the tool that reads one partition.
    fn both_partitions(&self) -> Result<Vec<String>> {
        let mut read = Vec::new();
        for (partition, end) in self.ends(&self.name)? {
            let lines = self.read_partition(&self.name, partition, START, end.try_into()?)?;
            read.extend(records(lines.iter().map(String::as_str)));
        }
        Ok(read)
    }

    /// Reads the same partition from its start and from an offset, in a topic of records that are
    /// not compressed: the oldest reader prints a compressed set from its first record.
    pub(crate) fn offset(&self) -> Result<()> {
        let topic = format!("{}-plain", self.name);
        self.new_topic(&topic)?;
        self.send(&topic, "plain", &["--compression-codec=none"])?;
        let ends = self.ends(&topic)?;
        let (partition, end) = ends.iter().max_by_key(|(_, end)| **end).context("a partition")?;
        let count = usize::try_from(*end)?;
        ensure!(count > 2, "ends {ends:?}");
        let all = self.read_partition(&topic, *partition, START, count)?;
        let later = self.read_partition(&topic, *partition, 2, count - 2)?;
        let [all, later] = [all, later].map(|lines| records(lines.iter().map(String::as_str)));
        ensure!(all.len() == count && later == all[2..], "read {later:?} of {all:?}");
        Ok(())
    }

    /// Moves a group to the time of a record in the middle, from where a consumer reads the rest.
    pub(crate) fn timestamp(&self, class: &str) -> Result<()> {
        let stamped = ["--from-beginning", "--property", "print.timestamp=true"];
        let mut timed = Vec::new();
        for line in self.read(&format!("{}-times", self.name), self.sent.len(), &stamped)? {
            // CreateTime:<milliseconds>:<record>
            let timed_record = line.strip_prefix("CreateTime:").context("the time of creation")?;
            let (time, record) = timed_record.split_once(':').context("a record after its time")?;
            timed.push((time.parse::<i64>()?, record.to_owned()));
        }
        timed.sort_unstable();
        let wanted = timed[timed.len() / 2].0;
        let mut date = Command::new("date");
        date.args(["--utc", &format!("--date=@{}", wanted / 1_000), "+%Y-%m-%dT%H:%M:%S"]);
        let seconds = clients::command(&self.name, &mut date)?.concat();
        let time = format!("{seconds}.{:03}", wanted % 1_000);
        let group = format!("{}-time", self.name);
        self.reset(class, &group, &["--to-datetime", &time])?;
        let expected = timed.into_iter().filter(|(time, _)| *time >= wanted);
        let expected: Vec<String> = expected.map(|(_, record)| record).collect();
        same(&self.read(&group, expected.len(), &[])?, &expected)
    }

    /// A reader that starts at the end prints nothing of what was there before it.
    ///
    /// The tools do not say when they have found the end: records are sent until one is read.
    pub(crate) fn end(&mut self) -> Result<()> {
        let reader = if self.tools.consumer.is_some() {
            self.consumer(&format!("{}-end", self.name), &self.name, None, &[], false)?
        } else {
            self.partition_reader(&self.name, 0, END, &[])?
        };
        let (mut producer, mut input) = self.producer(&self.name, &[])?;
        let mut sent = Vec::new();
        let read = Deadline::seconds(TOOL_SECONDS).poll("a record after the end", || {
            let line = format!("end-key-{0}:end-{0}", sent.len());
            writeln!(input, "{line}")?;
            sent.push(line);
            let read = records(reader.lines().iter().map(String::as_str));
            Ok((!read.is_empty()).then_some(read))
        });
        drop(input);
        producer.wait_success(Deadline::seconds(TOOL_SECONDS))?;
        self.sent.extend(sent);
        let read = read?;
        ensure!(read.iter().all(|record| record.starts_with("end-key-")), "read {read:?}");
        Ok(())
    }

    /// Reads what another client wrote in the newest format, compressed and with headers.
    pub(crate) fn foreign(&self) -> Result<()> {
        let lines = match self.tools.consumer {
            Some(_) => {
                let group = format!("{}-foreign", self.name);
                let mut reader =
                    self.consumer(&group, "foreign", Some(10), &["--from-beginning"], false)?;
                reader.wait_success(Deadline::seconds(TOOL_SECONDS))?
            }
            None => self.read_partition("foreign", 0, START, 10)?,
        };
        let read: Vec<String> = lines.into_iter().filter(|line| line.starts_with("key")).collect();
        let expected: Vec<String> =
            (0..10).map(|number| format!("key{number}:value{number}")).collect();
        ensure!(read == expected, "read {read:?}");
        Ok(())
    }

    /// What was not deleted is there, each record once.
    pub(crate) fn after_restart(&self) -> Result<()> {
        let left = self.sent.len() - self.deleted;
        let read = match self.tools.consumer {
            Some(_) => self.read(&format!("{}-again", self.name), left, &["--from-beginning"])?,
            None => self.both_partitions()?,
        };
        let expected: Vec<String> =
            self.sent.iter().filter(|record| read.contains(record)).cloned().collect();
        ensure!(expected.len() == left, "{} of {left} records", expected.len());
        same(&read, &expected)
    }
}
