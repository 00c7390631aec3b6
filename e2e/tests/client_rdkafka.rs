//! The rdkafka crate, which wraps its own build of librdkafka.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use e2e::clients::{self, passed};
use e2e::deadline::Deadline;
use e2e::matrix::Row;
use e2e::peer::Peer;
use e2e::verdict::{self, Lacks};
use rdkafka::admin::{
    AdminClient, AdminOptions, AlterConfig, NewPartitions, NewTopic, ResourceSpecifier,
    TopicReplication,
};
use rdkafka::client::{ClientContext, DefaultClientContext};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext, Rebalance};
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList, TopicPartitionListElem};

const CLIENT: &str = "rdkafka";
const GROUP: &str = "rdkafka-group";
const PATIENCE: Duration = Duration::from_mins(1);
/// Where the group commits in each partition.
const COMMITTED: [i64; 2] = [7, 4];

const NO_ADMIN: Lacks = Lacks {
    why: "the crate's admin client does not ask for it",
    operations: &["delete_offsets", "reset_offsets", "log_dirs", "describe_producers"],
};

/// What the client of this test has done so far.
struct Session<'a> {
    bootstrap: &'a str,
    sent: Vec<String>,
    deleted: usize,
}

/// One record as it was read.
struct Read {
    partition: i32,
    offset: i64,
    timestamp: i64,
    text: String,
}

/// How often partitions were assigned to a consumer.
#[derive(Debug, Default)]
struct Rebalances(AtomicUsize);

impl Rebalances {
    fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

impl ClientContext for Rebalances {}

impl ConsumerContext for Rebalances {
    fn post_rebalance(&self, _: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        if matches!(rebalance, Rebalance::Assign(_)) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Runs a future of the crate to its end.
fn finish<T>(future: impl Future<Output = T>) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    Ok(runtime.block_on(future))
}

impl Session<'_> {
    fn config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", self.bootstrap);
        config
    }

    fn admin(&self) -> Result<AdminClient<DefaultClientContext>> {
        self.config().create().context("make an admin client")
    }

    fn group_config(&self, group: &str) -> ClientConfig {
        let mut config = self.config();
        config
            .set("group.id", group)
            .set("enable.auto.commit", "false")
            .set("auto.offset.reset", "earliest")
            .set("session.timeout.ms", "6000")
            .set("heartbeat.interval.ms", "300");
        config
    }

    fn consumer(&self, group: &str) -> Result<BaseConsumer> {
        self.group_config(group).create().context("make a consumer")
    }

    /// A member that its group knows by `name` when it comes back.
    fn named(&self, name: &str) -> Result<BaseConsumer<Rebalances>> {
        let member: BaseConsumer<Rebalances> = self
            .group_config("rdkafka-static")
            .set("group.instance.id", name)
            .set("session.timeout.ms", "30000")
            .create_with_context(Rebalances::default())?;
        member.subscribe(&[CLIENT])?;
        Ok(member)
    }

    fn new_topic(&self, topic: &str, partitions: i32) -> Result<()> {
        let topic = NewTopic::new(topic, partitions, TopicReplication::Fixed(1));
        let admin = self.admin()?;
        accepted(finish(admin.create_topics([&topic], &AdminOptions::new()))??)
    }

    /// Ten keyed and ten other records.
    fn produce(&mut self, label: &str, setting: (&str, &str)) -> Result<()> {
        let producer: FutureProducer = self
            .config()
            .set("acks", "all")
            .set("linger.ms", "20")
            .set(setting.0, setting.1)
            .create()?;
        let mut records = Vec::new();
        for number in 0..10 {
            records.push((format!("{label}-key-{number}"), format!("{label}-keyed-{number}")));
            records.push((String::new(), format!("{label}-{number}")));
        }
        let outcomes = finish(async {
            let mut pending = Vec::new();
            for (key, value) in &records {
                let record = FutureRecord::to(CLIENT).payload(value);
                let record = if key.is_empty() { record } else { record.key(key) };
                pending.push(producer.send_result(record).map_err(|(error, _)| error)?);
            }
            let mut outcomes = Vec::new();
            for one in pending {
                outcomes.push(one.await);
            }
            Ok::<_, KafkaError>(outcomes)
        })??;
        for outcome in outcomes {
            outcome.context("wait for delivery")?.map_err(|(error, _)| error)?;
        }
        self.sent.extend(records.iter().map(|(key, value)| format!("{key}={value}")));
        Ok(())
    }

    fn one(&mut self, value: &str) -> Result<i64> {
        let producer: FutureProducer = self.config().create()?;
        let record = FutureRecord::<(), str>::to(CLIENT).partition(0).payload(value);
        let delivery = finish(producer.send(record, PATIENCE))?.map_err(|(error, _)| error)?;
        self.sent.push(format!("={value}"));
        Ok(delivery.offset)
    }

    /// Reads partitions from the given offsets until enough records have come.
    fn read(&self, topic: &str, from: &[(i32, Offset)], enough: usize) -> Result<Vec<Read>> {
        let consumer = self.consumer("rdkafka-reader")?;
        let mut partitions = TopicPartitionList::new();
        for (partition, offset) in from {
            partitions.add_partition_offset(topic, *partition, *offset)?;
        }
        consumer.assign(&partitions)?;
        poll(&consumer, |records| records.len() >= enough)
    }

    fn everything(&self, expected: usize) -> Result<Vec<Read>> {
        let from = [(0, Offset::Beginning), (1, Offset::Beginning)];
        let records = self.read(CLIENT, &from, expected)?;
        let mut next = BTreeMap::new();
        for record in &records {
            let wanted = *next.get(&record.partition).unwrap_or(&record.offset);
            ensure!(record.offset == wanted, "offset {}, expected {wanted}", record.offset);
            next.insert(record.partition, record.offset + 1);
        }
        ensure!(records.len() == expected, "{} records, expected {expected}", records.len());
        Ok(records)
    }

    fn beginning(&self) -> Result<()> {
        let mut read: Vec<String> =
            self.everything(self.sent.len())?.into_iter().map(|record| record.text).collect();
        let mut sent = self.sent.clone();
        read.sort();
        sent.sort();
        ensure!(read == sent, "read {read:?}, expected {sent:?}");
        Ok(())
    }

    fn first_at(&self, start: Offset, expected: i64) -> Result<()> {
        let records = self.read(CLIENT, &[(0, start)], 1)?;
        let first = records.first().context("a record")?.offset;
        ensure!(first == expected, "first offset is {first}, expected {expected}");
        Ok(())
    }

    fn timestamp(&self) -> Result<()> {
        let records = self.read(CLIENT, &[(0, Offset::Beginning)], 10)?;
        let wanted = records.last().context("a record")?.timestamp;
        let expected = records
            .iter()
            .filter(|record| record.timestamp >= wanted)
            .map(|record| record.offset)
            .min()
            .context("a record")?;
        let consumer = self.consumer("rdkafka-reader")?;
        let mut asked = TopicPartitionList::new();
        asked.add_partition_offset(CLIENT, 0, Offset::Offset(wanted))?;
        let found = consumer.offsets_for_times(asked, PATIENCE)?;
        let offset = found.find_partition(CLIENT, 0).context("an answer")?.offset();
        ensure!(offset == Offset::Offset(expected), "{offset:?}, expected {expected}");
        self.first_at(offset, expected)
    }

    fn end(&mut self) -> Result<()> {
        let consumer: BaseConsumer =
            self.group_config("rdkafka-reader").set("enable.partition.eof", "true").create()?;
        let mut partitions = TopicPartitionList::new();
        partitions.add_partition_offset(CLIENT, 0, Offset::End)?;
        consumer.assign(&partitions)?;
        let next = || consumer.poll(PATIENCE).context("an event in time");
        // The crate says so once it has found the end and nothing after it.
        let there = next()?;
        ensure!(matches!(there, Err(KafkaError::PartitionEOF(0))), "{there:?} before the end");
        let written = self.one("at the end")?;
        let first = next()??.offset();
        ensure!(first == written, "first offset is {first}, expected {written}");
        self.first_at(Offset::OffsetTail(1), written)
    }

    fn foreign(&self) -> Result<()> {
        let records = self.read("foreign", &[(0, Offset::Beginning)], 10)?;
        for (number, record) in records.iter().enumerate() {
            ensure!(record.text == format!("key{number}=value{number}"), "{}", record.text);
        }
        Ok(())
    }

    /// Two members share the two partitions, and the first has both again when the second leaves.
    fn rebalance(&self) -> Result<()> {
        let members = [self.consumer("rdkafka-two")?, self.consumer("rdkafka-two")?];
        let mut seen = BTreeSet::new();
        members[0].subscribe(&[CLIENT])?;
        settle(&members[..1], &[2], &mut seen)?;
        members[1].subscribe(&[CLIENT])?;
        settle(&members, &[1, 1], &mut seen)?;
        let assigned = members[0].assignment()?;
        ensure!(assigned != members[1].assignment()?, "both have the same partition");
        members[1].unsubscribe();
        settle(&members, &[2, 0], &mut seen)?;
        let deadline = Deadline::after(PATIENCE);
        while seen.len() < self.sent.len() {
            ensure!(!deadline.passed(), "{} of {} records", seen.len(), self.sent.len());
            note(&members[0], &mut seen)?;
        }
        Ok(())
    }

    /// Each of two members ends and comes back under its name: it has its partition again, and the
    /// other sees no rebalance.
    fn static_member(&self) -> Result<()> {
        let names = ["one", "two"];
        let mut members = vec![self.named(names[0])?, self.named(names[1])?];
        let mut seen = BTreeSet::new();
        settle(&members, &[1, 1], &mut seen)?;
        for (index, name) in names.into_iter().enumerate() {
            // Its end is waited for before it comes back.
            let member = members.remove(index);
            let had = held(&member)?;
            drop(member);
            let rebalances = members[0].context().count();
            members.insert(index, self.named(name)?);
            settle(&members, &[1, 1], &mut seen)?;
            ensure!(held(&members[index])? == had, "{name} had {had:?}");
            let other = members[1 - index].context().count();
            ensure!(other == rebalances, "{name} caused a rebalance");
        }
        Ok(())
    }

    fn commit(&self, group: &str, offsets: [i64; 2]) -> Result<()> {
        let consumer = self.consumer(group)?;
        let mut list = TopicPartitionList::new();
        for (partition, offset) in (0..).zip(offsets) {
            list.add_partition_offset(CLIENT, partition, Offset::Offset(offset))?;
        }
        consumer.commit(&list, CommitMode::Sync)?;
        let committed = consumer.committed_offsets(list.clone(), PATIENCE)?;
        for (partition, offset) in (0..).zip(offsets) {
            let found = committed.find_partition(CLIENT, partition).context("an answer")?.offset();
            ensure!(found == Offset::Offset(offset), "committed {found:?}, expected {offset}");
        }
        Ok(())
    }

    fn resume(&self) -> Result<()> {
        let consumer = self.consumer(GROUP)?;
        consumer.subscribe(&[CLIENT])?;
        let records = poll(&consumer, |records: &[Read]| {
            records.iter().map(|record| record.partition).collect::<BTreeSet<_>>().len() == 2
        })?;
        for (partition, expected) in (0..).zip(COMMITTED) {
            let first = records.iter().find(|record| record.partition == partition);
            let first = first.context("a record of each partition")?.offset;
            ensure!(first == expected, "partition {partition} resumed at {first}");
        }
        Ok(())
    }

    fn config_value(&self, key: &str) -> Result<String> {
        let admin = self.admin()?;
        let topic = [ResourceSpecifier::Topic(CLIENT)];
        let answers = finish(admin.describe_configs(&topic, &AdminOptions::new()))??;
        let answer = answers.into_iter().next().context("an answer")?;
        let resource = answer.map_err(|code| anyhow!("describe configs: {code}"))?;
        let entry = resource.get(key).context("the key")?;
        entry.value.clone().context("a value")
    }

    fn describe_configs(&self) -> Result<()> {
        let value = self.config_value("retention.ms")?;
        ensure!(value == "604800000", "retention.ms is {value}");
        Ok(())
    }

    fn alter_configs(&self) -> Result<()> {
        let admin = self.admin()?;
        let change =
            AlterConfig::new(ResourceSpecifier::Topic(CLIENT)).set("retention.ms", "604800001");
        let answers = finish(admin.alter_configs([&change], &AdminOptions::new()))??;
        for answer in answers {
            answer.map_err(|(_, code)| anyhow!("alter configs: {code}"))?;
        }
        Deadline::after(PATIENCE).poll("the new value", || {
            Ok((self.config_value("retention.ms")? == "604800001").then_some(()))
        })
    }

    /// The state of each group that the broker lists.
    fn groups(&self) -> Result<BTreeMap<String, String>> {
        let list = self.consumer(GROUP)?.fetch_group_list(None, PATIENCE)?;
        let groups = list.groups().iter();
        Ok(groups.map(|group| (group.name().to_owned(), group.state().to_owned())).collect())
    }

    fn describe_group(&self) -> Result<()> {
        let groups = self.groups()?;
        ensure!(groups.get(GROUP).is_some_and(|state| state == "Empty"), "groups {groups:?}");
        Ok(())
    }

    fn delete_group(&self) -> Result<()> {
        self.commit("rdkafka-gone", [1, 1])?;
        let admin = self.admin()?;
        accepted(finish(admin.delete_groups(&["rdkafka-gone"], &AdminOptions::new()))??)?;
        ensure!(!self.groups()?.contains_key("rdkafka-gone"), "group is still listed");
        Ok(())
    }

    fn partitions(&self, topic: &str) -> Result<usize> {
        let metadata = self.consumer(GROUP)?.fetch_metadata(Some(topic), PATIENCE)?;
        Ok(metadata.topics().first().context("the topic")?.partitions().len())
    }

    fn create_partitions(&self) -> Result<()> {
        self.new_topic("rdkafka-more", 1)?;
        let admin = self.admin()?;
        let more = NewPartitions::new("rdkafka-more", 3);
        accepted(finish(admin.create_partitions([&more], &AdminOptions::new()))??)?;
        Deadline::after(PATIENCE)
            .poll("three partitions", || Ok((self.partitions("rdkafka-more")? == 3).then_some(())))
    }

    fn delete_records(&mut self) -> Result<()> {
        let mut before = TopicPartitionList::new();
        before.add_partition_offset(CLIENT, 0, Offset::Offset(2))?;
        let admin = self.admin()?;
        finish(admin.delete_records(&before, &AdminOptions::new()))??;
        self.deleted = 2;
        self.first_at(Offset::Beginning, 2)
    }

    fn delete_topic(&self) -> Result<()> {
        self.new_topic("rdkafka-gone", 1)?;
        let admin = self.admin()?;
        accepted(finish(admin.delete_topics(&["rdkafka-gone"], &AdminOptions::new()))??)?;
        Deadline::after(PATIENCE).poll("the end of the topic", || {
            let metadata = self.consumer(GROUP)?.fetch_metadata(None, PATIENCE)?;
            let gone = !metadata.topics().iter().any(|topic| topic.name() == "rdkafka-gone");
            Ok(gone.then_some(()))
        })
    }
}

/// Fails with the first refused item of an administration request.
fn accepted<C: std::fmt::Display>(answers: Vec<Result<String, (String, C)>>) -> Result<()> {
    for answer in answers {
        if let Err((name, code)) = answer {
            bail!("{name}: {code}");
        }
    }
    Ok(())
}

fn poll(consumer: &BaseConsumer, enough: impl Fn(&[Read]) -> bool) -> Result<Vec<Read>> {
    let deadline = Deadline::after(PATIENCE);
    let mut records = Vec::new();
    let mut wait = Duration::from_millis(200);
    loop {
        if enough(&records) {
            wait = Duration::from_millis(50);
        }
        match consumer.poll(wait).transpose()? {
            Some(message) => {
                let text = |bytes: Option<&[u8]>| {
                    String::from_utf8_lossy(bytes.unwrap_or_default()).into_owned()
                };
                records.push(Read {
                    partition: message.partition(),
                    offset: message.offset(),
                    timestamp: message.timestamp().to_millis().unwrap_or(-1),
                    text: format!("{}={}", text(message.key()), text(message.payload())),
                });
            }
            None if enough(&records) => return Ok(records),
            None => ensure!(!deadline.passed(), "{} records in time", records.len()),
        }
    }
}

/// The partitions that a member has.
fn held<C: ConsumerContext>(member: &BaseConsumer<C>) -> Result<Vec<i32>> {
    let assigned = member.assignment()?;
    Ok(assigned.elements().iter().map(TopicPartitionListElem::partition).collect())
}

/// Polls every member until each has its count of partitions.
fn settle<C: ConsumerContext>(
    members: &[BaseConsumer<C>],
    counts: &[usize],
    seen: &mut BTreeSet<(i32, i64)>,
) -> Result<()> {
    let deadline = Deadline::after(PATIENCE);
    loop {
        let mut found = Vec::new();
        for member in members {
            note(member, seen)?;
            found.push(member.assignment()?.count());
        }
        if found == counts {
            return Ok(());
        }
        ensure!(!deadline.passed(), "assigned {found:?}, expected {counts:?}");
    }
}

fn note<C: ConsumerContext>(
    member: &BaseConsumer<C>,
    seen: &mut BTreeSet<(i32, i64)>,
) -> Result<()> {
    if let Some(message) = member.poll(Duration::from_millis(20)).transpose()? {
        seen.insert((message.partition(), message.offset()));
    }
    Ok(())
}

fn before(session: &mut Session<'_>, row: &mut Row) {
    passed(row, "create_topic", session.new_topic(CLIENT, 2));
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        let outcome = session.produce(codec, ("compression.type", codec));
        passed(row, &format!("produce_{codec}"), outcome);
    }
    let outcome = session.produce("idempotent", ("enable.idempotence", "true"));
    passed(row, "produce_idempotent", outcome);
    passed(row, "consume_beginning", session.beginning());
    passed(row, "consume_offset", session.first_at(Offset::Offset(3), 3));
    passed(row, "consume_timestamp", session.timestamp());
    passed(row, "consume_end", session.end());
    passed(row, "read_foreign", session.foreign());
    passed(row, "group_rebalance", session.rebalance());
    passed(row, "static_member", session.static_member());
    passed(row, "commit", session.commit(GROUP, COMMITTED));
    passed(row, "resume", session.resume());
    passed(row, "describe_configs", session.describe_configs());
    passed(row, "alter_configs", session.alter_configs());
    let listed = session.groups().and_then(|groups| {
        ensure!(groups.contains_key(GROUP), "groups {groups:?}");
        Ok(())
    });
    passed(row, "list_groups", listed);
    passed(row, "describe_group", session.describe_group());
    passed(row, "delete_group", session.delete_group());
    passed(row, "create_partitions", session.create_partitions());
    passed(row, "delete_records", session.delete_records());
    passed(row, "delete_topic", session.delete_topic());
}

#[test]
fn rdkafka() -> Result<()> {
    let mut peer = Peer::start(CLIENT)?;
    clients::foreign_topic(peer.bootstrap())?;
    let mut row = Row::new();
    let bootstrap = peer.bootstrap().to_owned();
    let mut session = Session { bootstrap: &bootstrap, sent: Vec::new(), deleted: 0 };
    before(&mut session, &mut row);
    let Session { sent, deleted, .. } = session;
    peer.restart()?;
    clients::await_topic(peer.bootstrap(), "foreign")?;
    let bootstrap = peer.bootstrap().to_owned();
    let session = Session { bootstrap: &bootstrap, sent, deleted };
    let left = session.sent.len() - session.deleted;
    passed(&mut row, "records_after_restart", session.everything(left).map(drop));
    passed(&mut row, "resume_after_restart", session.resume());
    verdict::conclude(CLIENT, &[NO_ADMIN], &row)
}
