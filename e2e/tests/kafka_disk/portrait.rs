//! Everything that a broker serves of its topics, a line each fact, so that two brokers on the same
//! disk can be compared whole: what one has and the other has not is a line by itself.
//!
//! Read over the wire by requests of our own: a real client hides batches, epochs and offsets. The
//! groups are in `groups`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use anyhow::{Context, Result, bail, ensure};
use broker_protocol::message::describe_configs::{
    DescribeConfigsRequest, DescribeConfigsResource, DescribeConfigsResponse,
};
use broker_protocol::message::describe_producers::{
    DescribeProducersRequest, DescribeProducersResponse, TopicRequest,
};
use broker_protocol::message::fetch::{FetchPartition, FetchRequest, FetchResponse, FetchTopic};
use broker_protocol::message::list_offsets::{
    ListOffsetsPartition, ListOffsetsRequest, ListOffsetsResponse, ListOffsetsTopic,
};
use broker_protocol::message::metadata::{MetadataRequest, MetadataResponse};
use broker_protocol::message::offset_for_leader_epoch::{
    OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse, OffsetForLeaderPartition,
    OffsetForLeaderTopic,
};
use broker_protocol::primitive::Records;
use broker_protocol::record::batch::Batch;
use broker_protocol::record::entries::{Entry, entries};
use broker_protocol::record::legacy::LegacyMessage;
use e2e::wire::Connection;

use crate::groups;
use crate::load::COMPACTED;

/// The largest batch believed, uncompressed.
const BATCH_SIZE_MAX: usize = 64 << 20;

/// Every how many records the time index is asked for one of them.
const LOOK_UP_EVERY: usize = 97;

/// `config_source` of a setting that the topic itself has.
const DYNAMIC_TOPIC_CONFIG: i8 = 1;

/// What a broker serves.
#[derive(Debug, Default)]
pub(crate) struct Portrait {
    /// A fact each.
    pub(crate) lines: BTreeSet<String>,
    /// The records of topics that are not internal, as the console consumer prints them.
    pub(crate) console: Vec<String>,
    /// Where each partition ends.
    pub(crate) ends: BTreeMap<(String, i32), i64>,
    /// Every producer that wrote what is still there.
    pub(crate) producer_ids: BTreeSet<i64>,
    /// The leader epochs of each partition's batches, in order of offset.
    pub(crate) epochs: BTreeMap<(String, i32), Vec<i32>>,
    /// The groups.
    pub(crate) groups: BTreeSet<String>,
}

impl Portrait {
    /// Asks the broker at `bootstrap` for everything; waits until it has loaded the groups `known`.
    pub(crate) fn take(bootstrap: &str, known: &BTreeSet<String>) -> Result<Self> {
        let mut connection = Connection::open(bootstrap)?;
        let mut portrait = Self::default();
        for (topic, internal, partitions) in portrait.topics(&mut connection)? {
            portrait.configs(&mut connection, &topic)?;
            for partition in partitions {
                let mut sitter =
                    Sitter { connection: &mut connection, portrait: &mut portrait, internal };
                sitter.partition(&topic, partition)?;
            }
        }
        portrait.groups = groups::describe(&mut connection, known, &mut portrait.lines)?;
        Ok(portrait)
    }

    /// The same without the settings of topics, which lie in the coordination tree alone.
    pub(crate) fn without_settings(mut self) -> Self {
        self.lines.retain(|line| !line.starts_with("config "));
        self
    }

    /// Fails unless `after` has every fact of this one, and no other.
    pub(crate) fn same(&self, after: &Self) -> Result<()> {
        let show = |lines: Vec<&String>| {
            let shown: Vec<&str> = lines.iter().take(8).map(|line| line.as_str()).collect();
            format!("{} lines\n  {}", lines.len(), shown.join("\n  "))
        };
        let lost: Vec<&String> = self.lines.difference(&after.lines).collect();
        let strange: Vec<&String> = after.lines.difference(&self.lines).collect();
        ensure!(
            lost.is_empty() && strange.is_empty(),
            "lost: {}\nnot there before: {}",
            show(lost),
            show(strange)
        );
        Ok(())
    }

    /// How many lines hold all of `parts`.
    pub(crate) fn count(&self, parts: &[&str]) -> usize {
        self.lines.iter().filter(|line| parts.iter().all(|part| line.contains(part))).count()
    }

    /// Every topic with whether it is internal, and its partitions.
    fn topics(&mut self, connection: &mut Connection) -> Result<Vec<(String, bool, Vec<i32>)>> {
        let request = MetadataRequest {
            topics: None,
            allow_auto_topic_creation: false,
            ..Default::default()
        };
        let answer = connection.call(&request, 12)?;
        let response: MetadataResponse<'_> = answer.read(12)?;
        let mut topics = Vec::new();
        for topic in response.topics {
            let name = topic.name.context("a topic without a name")?.into_owned();
            ensure!(topic.error_code == 0, "{name}: error {}", topic.error_code);
            let mut partitions: Vec<i32> = Vec::new();
            for partition in topic.partitions {
                ensure!(partition.error_code == 0, "{name}: {partition:?}");
                partitions.push(partition.partition_index);
            }
            partitions.sort_unstable();
            let (id, internal) = (topic.topic_id, topic.is_internal);
            let count = partitions.len();
            self.lines.insert(format!("topic {name} id={id} internal={internal} of {count}"));
            topics.push((name, internal, partitions));
        }
        Ok(topics)
    }

    fn configs(&mut self, connection: &mut Connection, topic: &str) -> Result<()> {
        let resource = DescribeConfigsResource {
            resource_type: 2,
            resource_name: topic.into(),
            configuration_keys: None,
        };
        let request = DescribeConfigsRequest { resources: vec![resource], ..Default::default() };
        let answer = connection.call(&request, 4)?;
        let response: DescribeConfigsResponse<'_> = answer.read(4)?;
        let result = response.results.first().context("no settings in the answer")?;
        ensure!(result.error_code == 0, "settings of {topic}: {}", result.error_code);
        for config in &result.configs {
            if config.config_source == DYNAMIC_TOPIC_CONFIG {
                let value = config.value.as_deref().unwrap_or_default();
                self.lines.insert(format!("config {topic} {}={value}", config.name));
            }
        }
        Ok(())
    }
}

/// One look at a partition.
struct Sitter<'a> {
    connection: &'a mut Connection,
    portrait: &'a mut Portrait,
    internal: bool,
}

/// What the batches of a partition tell beside their lines.
#[derive(Default)]
struct Noted {
    epochs: Vec<i32>,
    times: Vec<i64>,
}

impl Sitter<'_> {
    fn partition(&mut self, topic: &str, partition: i32) -> Result<()> {
        let start = self.offset_for_time(topic, partition, -2)?.1;
        let end = self.offset_for_time(topic, partition, -1)?.1;
        let mut noted = Noted::default();
        let mut next = start;
        let mut last_stable_offset = start;
        while next < end {
            let answer = self.connection.call(&fetch(topic, partition, next), 12)?;
            let response: FetchResponse<'_> = answer.read(12)?;
            let data = response.responses.first().and_then(|topic| topic.partitions.first());
            let data = data.context("no partition in the answer")?;
            ensure!(data.error_code == 0, "fetch {topic}-{partition} at {next}: {data:?}");
            ensure!(
                (data.log_start_offset, data.high_watermark) == (start, end),
                "{topic}-{partition} from {start} to {end}, by Fetch {data:?}"
            );
            last_stable_offset = data.last_stable_offset;
            for aborted in data.aborted_transactions.iter().flatten() {
                self.portrait.lines.insert(format!("aborted {topic}-{partition} {aborted:?}"));
            }
            let bytes = data.records.as_ref().map_or(&[][..], Records::as_bytes);
            let before = next;
            next = self.batches(&format!("{topic}-{partition}"), bytes, next, &mut noted)?;
            ensure!(next > before, "fetch {topic}-{partition} does not get past {next}");
        }
        self.portrait.lines.insert(format!(
            "partition {topic}-{partition} start={start} end={end} stable={last_stable_offset}"
        ));
        self.portrait.ends.insert((topic.to_owned(), partition), end);
        self.look_up(topic, partition, &noted)?;
        self.portrait.epochs.insert((topic.to_owned(), partition), noted.epochs);
        self.producers(topic, partition)
    }

    /// Notes every batch and every record from `start` on; returns the offset after the last.
    fn batches(&mut self, name: &str, bytes: &[u8], start: i64, noted: &mut Noted) -> Result<i64> {
        let mut next = start;
        for entry in entries(bytes) {
            // A Fetch may end within a batch.
            match entry {
                Ok(Entry::Batch(batch)) => {
                    self.batch(name, &batch, start, noted)?;
                    next = batch.header.next_offset().0;
                }
                Ok(Entry::Legacy(message)) => {
                    self.old_message(name, &message, start, noted)?;
                    next = message.offset.0 + 1;
                }
                Err(_) => break,
            }
        }
        Ok(next)
    }

    fn batch(
        &mut self,
        name: &str,
        batch: &Batch<'_>,
        start: i64,
        noted: &mut Noted,
    ) -> Result<()> {
        ensure!(batch.check_crc(), "{name}: a wrong checksum in {:?}", batch.header);
        let header = &batch.header;
        let codec = header.attributes.compression()?;
        self.portrait.lines.insert(format!(
            "batch {name} {}-{} magic=2 {codec:?} epoch={} producer={}/{}/{} count={} max={} \
             transactional={} control={}",
            header.base_offset,
            header.last_offset(),
            header.partition_leader_epoch,
            header.producer_id,
            header.producer_epoch,
            header.base_sequence,
            header.records_count,
            header.max_timestamp,
            header.attributes.is_transactional(),
            header.attributes.is_control(),
        ));
        noted.epochs.push(header.partition_leader_epoch.0);
        if header.producer_id >= 0 {
            self.portrait.producer_ids.insert(header.producer_id);
        }
        let kind =
            if header.attributes.is_log_append_time() { "LogAppendTime" } else { "CreateTime" };
        for record in &batch.records(BATCH_SIZE_MAX)? {
            let record = record?;
            let seen = Seen {
                offset: record.offset.0,
                kind,
                timestamp: record.timestamp.0,
                key: record.key,
                value: record.value,
                headers: record.headers.collect(),
            };
            if seen.offset >= start {
                self.record(name, &seen, header.attributes.is_control(), noted);
            }
        }
        Ok(())
    }

    fn old_message(
        &mut self,
        name: &str,
        message: &LegacyMessage<'_>,
        start: i64,
        noted: &mut Noted,
    ) -> Result<()> {
        ensure!(message.check_crc(), "{name}: a wrong checksum at {}", message.offset);
        let codec = message.compression()?;
        let (magic, offset) = (message.magic, message.offset);
        self.portrait.lines.insert(format!("batch {name} -{offset} magic={magic} {codec:?}"));
        let kind = match (magic, message.is_log_append_time()) {
            (0, _) => "NO_TIMESTAMP",
            (_, true) => "LogAppendTime",
            (_, false) => "CreateTime",
        };
        message.for_each(BATCH_SIZE_MAX, |message| {
            let seen = Seen {
                offset: message.offset.0,
                kind,
                timestamp: message.timestamp.0,
                key: message.key,
                value: message.value,
                headers: Vec::new(),
            };
            if seen.offset >= start {
                self.record(name, &seen, false, noted);
            }
        })?;
        Ok(())
    }

    fn record(&mut self, name: &str, seen: &Seen<'_>, control: bool, noted: &mut Noted) {
        let headers: Vec<_> =
            seen.headers.iter().map(|(key, value)| (text(Some(key)), text(*value))).collect();
        self.portrait.lines.insert(format!(
            "record {name} {} {}:{} key={} value={} headers={headers:?}",
            seen.offset,
            seen.kind,
            seen.timestamp,
            text(seen.key),
            text(seen.value),
        ));
        if control {
            return;
        }
        noted.times.push(seen.timestamp);
        if !self.internal {
            let partition = name.rsplit('-').next().unwrap_or_default();
            self.portrait.console.push(seen.printed(partition));
        }
    }

    /// Asks for offsets by time and by leader epoch.
    fn look_up(&mut self, topic: &str, partition: i32, noted: &Noted) -> Result<()> {
        // In a segment that it cleaned Kafka 3.9 may find nothing for the time of a record that is there.
        let cleaned = topic == COMPACTED;
        for time in noted.times.iter().step_by(LOOK_UP_EVERY).filter(|time| **time >= 0 && !cleaned)
        {
            let found = self.offset_for_time(topic, partition, *time)?;
            self.portrait.lines.insert(format!("time {topic}-{partition} {time} is at {found:?}"));
        }
        let epochs: BTreeSet<i32> = noted.epochs.iter().copied().collect();
        for epoch in epochs.into_iter().filter(|epoch| *epoch >= 0) {
            let partitions = vec![OffsetForLeaderPartition {
                partition,
                current_leader_epoch: -1,
                leader_epoch: epoch,
            }];
            let topics = vec![OffsetForLeaderTopic { topic: topic.into(), partitions }];
            let request = OffsetForLeaderEpochRequest { replica_id: -1, topics };
            let answer = self.connection.call(&request, 4)?;
            let response: OffsetForLeaderEpochResponse<'_> = answer.read(4)?;
            let found = response.topics.first().and_then(|topic| topic.partitions.first());
            let found = found.context("no epoch in the answer")?;
            ensure!(found.error_code == 0, "epoch {epoch} of {topic}-{partition}: {found:?}");
            let (of, end) = (found.leader_epoch, found.end_offset);
            self.portrait
                .lines
                .insert(format!("epoch {topic}-{partition} {epoch}: {of} ends at {end}"));
        }
        Ok(())
    }

    /// Timestamp, offset and leader epoch of what ListOffsets finds.
    fn offset_for_time(
        &mut self,
        topic: &str,
        partition_index: i32,
        timestamp: i64,
    ) -> Result<(i64, i64, i32)> {
        let partition = ListOffsetsPartition { partition_index, timestamp, ..Default::default() };
        let topics = vec![ListOffsetsTopic { name: topic.into(), partitions: vec![partition] }];
        let request = ListOffsetsRequest { replica_id: -1, topics, ..Default::default() };
        let answer = self.connection.call(&request, 5)?;
        let response: ListOffsetsResponse<'_> = answer.read(5)?;
        let found = response.topics.first().and_then(|topic| topic.partitions.first());
        let found = found.context("no offset in the answer")?;
        ensure!(found.error_code == 0, "{timestamp} in {topic}-{partition_index}: {found:?}");
        // The ends are told with the epoch of the leader, which its restart may raise.
        let epoch = if timestamp < 0 { -1 } else { found.leader_epoch };
        Ok((found.timestamp, found.offset, epoch))
    }

    fn producers(&mut self, topic: &str, partition: i32) -> Result<()> {
        let topics = vec![TopicRequest { name: topic.into(), partition_indexes: vec![partition] }];
        let answer = self.connection.call(&DescribeProducersRequest { topics }, 0)?;
        let response: DescribeProducersResponse<'_> = answer.read(0)?;
        let found = response.topics.first().and_then(|topic| topic.partitions.first());
        let found = found.context("no producers in the answer")?;
        ensure!(found.error_code == 0, "producers of {topic}-{partition}: {found:?}");
        for producer in &found.active_producers {
            self.portrait.lines.insert(format!("producer {topic}-{partition} {producer:?}"));
            self.portrait.producer_ids.insert(producer.producer_id);
        }
        Ok(())
    }
}

/// A record of any format.
struct Seen<'a> {
    offset: i64,
    kind: &'static str,
    timestamp: i64,
    key: Option<&'a [u8]>,
    value: Option<&'a [u8]>,
    headers: Vec<(&'a [u8], Option<&'a [u8]>)>,
}

impl Seen<'_> {
    /// As Kafka's console consumer prints it when told to print everything; see `tools`.
    fn printed(&self, partition: &str) -> String {
        let shown = |bytes: Option<&[u8]>| {
            bytes.map_or("null".into(), |bytes| String::from_utf8_lossy(bytes).into_owned())
        };
        let mut line = self.kind.to_owned();
        if self.kind != "NO_TIMESTAMP" {
            let _ = write!(line, ":{}", self.timestamp);
        }
        let _ = write!(line, "\tPartition:{partition}\tOffset:{}\t", self.offset);
        let headers: Vec<String> = self
            .headers
            .iter()
            .map(|(key, value)| format!("{}:{}", shown(Some(key)), shown(*value)))
            .collect();
        let headers = if headers.is_empty() { "NO_HEADERS".to_owned() } else { headers.join(",") };
        let _ = write!(line, "{headers}\t{}\t{}", shown(self.key), shown(self.value));
        line.trim_end().to_owned()
    }
}

/// Bytes in a form that tells null from empty and shows what is not text.
fn text(bytes: Option<&[u8]>) -> String {
    bytes.map_or_else(|| "null".to_owned(), |bytes| format!("\"{}\"", bytes.escape_ascii()))
}

fn fetch(topic: &str, partition: i32, fetch_offset: i64) -> FetchRequest<'_> {
    let partition = FetchPartition {
        partition,
        fetch_offset,
        partition_max_bytes: 1 << 20,
        ..Default::default()
    };
    let topics =
        vec![FetchTopic { topic: topic.into(), partitions: vec![partition], ..Default::default() }];
    // Told which transactions were aborted, a reader gets all records none the less.
    FetchRequest {
        min_bytes: 1,
        max_wait_ms: 500,
        isolation_level: 1,
        topics,
        ..Default::default()
    }
}

/// Fails unless each of `facts`, parts of a line, is in the portrait: a load that lost what it was
/// made for compares as well as a whole one.
pub(crate) fn shows(portrait: &Portrait, facts: &[&[&str]]) -> Result<()> {
    for parts in facts {
        if portrait.count(parts) == 0 {
            bail!("no line with {parts:?}");
        }
    }
    Ok(())
}
