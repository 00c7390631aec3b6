//! A topic over the wire: made, described, written and read.

use broker_protocol::error_code::ErrorCode;
use broker_protocol::message::create_topics::CreatableTopic;
use broker_protocol::message::metadata::{MetadataRequest, MetadataRequestTopic, MetadataResponse};
use broker_protocol::quantity::Offset;
use broker_protocol::record::builder::BatchBuilder;
use broker_protocol::record::compression::Compression;
use broker_server::clock::{Clock, SystemClock};

use super::client::{Client, await_that};
use super::nodes::Cluster;
use super::records::{append, configs, each_batch, make};

/// The last version with topic names.
const METADATA: i16 = 9;

/// How a broker answers for a partition while leadership moves; clients look again.
const LEADERLESS: [ErrorCode; 3] = [
    ErrorCode::LeaderNotAvailable,
    ErrorCode::NotLeaderOrFollower,
    ErrorCode::UnknownTopicOrPartition,
];

/// Who leads a partition, and who is in sync.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Led {
    pub(crate) leader: i32,
    pub(crate) isr: Vec<i32>,
}

/// Makes a topic with a replica on every broker.
pub(crate) fn create(cluster: &Cluster, name: &str, partitions: i32, settings: &[(&str, &str)]) {
    let topic = CreatableTopic {
        name: name.into(),
        num_partitions: partitions,
        replication_factor: cluster.running().len() as i16,
        configs: configs(settings),
        ..Default::default()
    };
    make(&mut cluster.client(cluster.controller()), topic);
    for partition in 0..partitions {
        await_in_sync(cluster, name, partition, cluster.running().len());
    }
}

/// Returns what the brokers that run say of a partition, one each; none where they do not know it.
pub(crate) fn described(cluster: &Cluster, topic: &str, partition: i32) -> Vec<Option<Led>> {
    let ask = |id| {
        let topics = Some(vec![MetadataRequestTopic {
            name: Some(topic.to_owned().into()),
            ..Default::default()
        }]);
        let request = MetadataRequest { topics, ..Default::default() };
        let answer = cluster.client(id).call(&request, METADATA);
        let response: MetadataResponse<'_> = answer.read(METADATA);
        let topic = response.topics.first()?;
        let found = topic.partitions.iter().find(|one| one.partition_index == partition)?;
        let mut isr = found.isr_nodes.clone();
        isr.sort_unstable();
        Some(Led { leader: found.leader_id, isr })
    };
    cluster.running().into_iter().map(ask).collect()
}

/// Waits until all brokers agree that `count` replicas are in sync, and on who leads; returns that one.
pub(crate) fn await_in_sync(cluster: &Cluster, topic: &str, partition: i32, count: usize) -> i32 {
    let mut leader = -1;
    await_that(&format!("{count} replicas of {topic}-{partition} in sync"), || {
        let said = described(cluster, topic, partition);
        let first = said[0].clone();
        leader = first.as_ref().map_or(-1, |led| led.leader);
        let runs = cluster.running().contains(&leader);
        let is_whole = first.as_ref().is_some_and(|led| led.isr.len() == count);
        runs && is_whole && said.iter().all(|one| *one == first)
    });
    leader
}

/// Appends a batch of `records` with `acks`; returns the code, and the first offset.
pub(crate) fn produce(
    client: &mut Client,
    topic: &str,
    partition: i32,
    acks: i16,
    records: &[&str],
) -> (ErrorCode, i64) {
    let mut batch = BatchBuilder::new(Offset(0), Compression::None);
    for record in records {
        batch.push(SystemClock.wall(), None, Some(record.as_bytes()));
    }
    append(client, topic, partition, acks, batch)
}

/// Returns who leads by the first broker that knows the partition, unless that one does not run.
fn leader(cluster: &Cluster, topic: &str, partition: i32) -> Option<i32> {
    let led = described(cluster, topic, partition).into_iter().flatten().next()?;
    cluster.running().contains(&led.leader).then_some(led.leader)
}

/// Appends records with `acks=all` to whoever leads, until they are acknowledged.
pub(crate) fn acknowledged(cluster: &Cluster, topic: &str, partition: i32, records: &[&str]) {
    await_that("an acknowledgement", || {
        let Some(leader) = leader(cluster, topic, partition) else { return false };
        let (code, _) = produce(&mut cluster.client(leader), topic, partition, -1, records);
        let waits = code == ErrorCode::NotEnoughReplicas || LEADERLESS.contains(&code);
        assert!(waits || code == ErrorCode::None, "{code:?}");
        code == ErrorCode::None
    });
}

/// Waits until who leads shows these records and no others: a new leader shows what it knows to be committed,
/// which is all of it once its followers have asked.
pub(crate) fn await_consumed(
    cluster: &Cluster,
    (topic, partition): (&str, i32),
    expected: &[impl AsRef<str>],
) {
    let expected: Vec<&str> = expected.iter().map(AsRef::as_ref).collect();
    await_that(&format!("{expected:?} in {topic}-{partition}"), || {
        consumed(cluster, topic, partition) == expected
    });
}

/// Reads all records that consumers see from whoever leads, once that one answers.
pub(crate) fn consumed(cluster: &Cluster, topic: &str, partition: i32) -> Vec<String> {
    let mut found = Err(ErrorCode::None);
    await_that(&format!("a leader of {topic}-{partition} that answers"), || {
        found = leader(cluster, topic, partition)
            .ok_or(ErrorCode::LeaderNotAvailable)
            .and_then(|leader| consumed_from(&mut cluster.client(leader), topic, partition));
        match &found {
            Ok(_) => true,
            Err(refused) => {
                assert!(LEADERLESS.contains(refused), "{refused:?}");
                false
            }
        }
    });
    found.unwrap()
}

fn consumed_from(
    client: &mut Client,
    topic: &str,
    partition: i32,
) -> Result<Vec<String>, ErrorCode> {
    let (mut found, mut next) = (Vec::new(), 0);
    each_batch(client, topic, partition, |batch| {
        assert_eq!(batch.header.base_offset.0, next, "no hole and nothing twice");
        for record in &batch.records(1 << 20).unwrap() {
            let value = record.unwrap().value.unwrap().to_vec();
            found.push(String::from_utf8(value).unwrap());
        }
        next = batch.header.last_offset().0 + 1;
    })?;
    Ok(found)
}
