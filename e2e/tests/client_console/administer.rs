//! Topics, their settings, their place on disk and their producers, by the tools for them.

use std::io::Write;

use anyhow::{Context, Result, ensure};
use e2e::deadline::Deadline;
use serde_json::Value;

use crate::session::{Session, TOOL_SECONDS};

impl Session<'_> {
    pub(crate) fn configs(&self, class: &str, change: bool) -> Result<()> {
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

    pub(crate) fn delete_records(&mut self, class: &str) -> Result<()> {
        let mut file = tempfile::NamedTempFile::new()?;
        write!(
            file,
            "{{\"version\":1,\"partitions\":[{{\"topic\":\"{}\",\"partition\":0,\"offset\":1}}]}}",
            self.name
        )?;
        let path = file.path().to_string_lossy().into_owned();
        let text = self.on_broker(class, &["--offset-json-file", &path])?;
        ensure!(text.contains("low_watermark: 1"), "{text}");
        self.deleted = 1;
        Ok(())
    }

    pub(crate) fn create_partitions(&self, class: &str) -> Result<()> {
        let topic = format!("{}-more", self.name);
        self.new_topic(&topic)?;
        self.on_broker(class, &["--alter", "--topic", &topic, "--partitions", "3"])?;
        let text = self.on_broker(class, &["--describe", "--topic", &topic])?;
        ensure!(text.contains("PartitionCount: 3"), "{text}");
        Ok(())
    }

    pub(crate) fn delete_topic(&self, class: &str) -> Result<()> {
        let topic = format!("{}-gone", self.name);
        self.new_topic(&topic)?;
        self.on_broker(class, &["--delete", "--topic", &topic])?;
        Deadline::seconds(TOOL_SECONDS).poll("the end of the topic", || {
            let text = self.on_broker(class, &["--list"])?;
            Ok((!text.lines().any(|line| line.trim() == topic)).then_some(()))
        })
    }

    /// Both partitions are in one directory of one broker, with their records and whole.
    pub(crate) fn log_dirs(&self, class: &str) -> Result<()> {
        let text = self.on_broker(class, &["--describe", "--topic-list", &self.name])?;
        let json = text.lines().find(|line| line.starts_with('{')).context("a line of JSON")?;
        let answer: Value = serde_json::from_str(json)?;
        let mut found = Vec::new();
        let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
        for directory in list(&answer["brokers"]).iter().flat_map(|broker| list(&broker["logDirs"]))
        {
            ensure!(directory["error"].is_null(), "{directory}");
            for partition in list(&directory["partitions"]) {
                let whole = partition["offsetLag"] == 0 && partition["isFuture"] == false;
                let size = partition["size"].as_i64().unwrap_or_default();
                ensure!(whole && size > 0, "{partition}");
                found.push(partition["partition"].as_str().unwrap_or_default().to_owned());
            }
        }
        found.sort_unstable();
        ensure!(found == [0, 1].map(|partition| format!("{}-{partition}", self.name)), "{answer}");
        Ok(())
    }

    /// A topic that one idempotent producer wrote to: in each partition its last sequence number is
    /// one below the end, it has no transaction open and no transaction coordinator.
    pub(crate) fn describe_producers(&self, class: &str) -> Result<()> {
        let topic = format!("{}-producers", self.name);
        self.new_topic(&topic)?;
        self.send(&topic, "idempotent", &["--producer-property", "enable.idempotence=true"])?;
        for (partition, end) in self.ends(&topic)? {
            let partition = partition.to_string();
            let arguments = ["describe-producers", "--topic", &topic, "--partition", &partition];
            let text = self.on_broker(class, &arguments)?;
            let mut lines = text.lines().skip_while(|line| !line.starts_with("ProducerId"));
            let header = lines.next().with_context(|| format!("a header in {text}"))?;
            let columns: Vec<&str> = header.split_whitespace().collect();
            let producers: Vec<Vec<&str>> =
                lines.map(|line| line.split_whitespace().collect()).collect();
            ensure!(producers.len() == usize::from(end > 0), "{text}");
            for producer in producers {
                let value = |name: &str| {
                    let column = columns.iter().position(|column| *column == name);
                    column.and_then(|column| producer.get(column).copied()).unwrap_or_default()
                };
                ensure!(value("ProducerEpoch") == "0", "{text}");
                ensure!(value("LatestCoordinatorEpoch") == "-1", "{text}");
                ensure!(value("LastSequence") == (end - 1).to_string(), "{text}");
                ensure!(value("CurrentTransactionStartOffset") == "None", "{text}");
            }
        }
        Ok(())
    }
}
