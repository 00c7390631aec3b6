//! The tools of 3.9, which ask a broker, and what a broker answers to bytes of our own.

use anyhow::{Context, Result, ensure};
use broker_protocol::error_code::ErrorCode;
use broker_protocol::message::metadata::{
    MetadataRequest, MetadataRequestTopic, MetadataResponse, MetadataResponseTopic,
};
use broker_protocol::quantity::{Offset, TimestampMs};
use broker_protocol::record::builder::BatchBuilder;
use broker_protocol::record::compression::Compression;
use e2e::admin_tools::{AdminTools, V3_9};
use e2e::deadline::Deadline;
use e2e::wire::{Connection, PRODUCE_VERSION};

use crate::cluster::Cluster;
use crate::described;
use crate::moves;

const TOPIC: &str = "over-the-wire";

const METADATA_VERSION: i16 = 9;

/// A setting that was altered holds at once: before a person has typed the next command.
const AT_ONCE_SECONDS: u64 = 2;

pub(crate) fn tools_work(cluster: &Cluster) -> Result<()> {
    let tools = AdminTools::new(V3_9, "--bootstrap-server", &cluster.bootstrap())?;
    let create = ["--create", "--replication-factor", "3", "--partitions", "2", "--topic", TOPIC];
    tools.says(V3_9.topics, &create, &format!("Created topic {TOPIC}."))?;
    described::until_whole(&tools, TOPIC, 2)?;

    tools.run(V3_9.topics, &["--alter", "--topic", TOPIC, "--partitions", "4"])?;
    described::until_whole(&tools, TOPIC, 4)?;
    let entity = ["--entity-type", "topics", "--entity-name", TOPIC];
    let alter = [&entity[..], &["--alter", "--add-config", "max.message.bytes=1000"]].concat();
    tools.run(V3_9.configs.context("a tool for settings")?, &alter)?;
    refuses_large_records(cluster, TOPIC)?;

    moves::there_and_back(&tools, TOPIC, Some("10000000"))?;
    tools.says(V3_9.reassign, &["--list"], "No partition reassignments found")?;
    let elect = ["--election-type", "preferred", "--all-topic-partitions"];
    tools.run(V3_9.elect, &elect)?;
    described::until(&tools, TOPIC, "the first replicas to lead", |seen| {
        seen.partitions.iter().all(described::Partition::is_led_by_preferred)
    })?;

    tools.run(V3_9.topics, &["--delete", "--topic", TOPIC])?;
    described::until_gone(&tools, TOPIC)?;
    cluster.ensure_all_run()
}

/// The leader of the first partition refuses what `max.message.bytes=1000` forbids, from now on.
pub(crate) fn refuses_large_records(cluster: &Cluster, topic: &str) -> Result<()> {
    let mut builder = BatchBuilder::new(Offset(0), Compression::None);
    builder.push(TimestampMs(0), None, Some(&[7; 2000]));
    let batch = builder.finish()?;
    Deadline::seconds(AT_ONCE_SECONDS).poll("the setting to hold", || {
        let leader = leader(&cluster.one()?, topic)?;
        let mut connection = Connection::open(&cluster.address(leader)?)?;
        let answer = connection.produce(topic, 0, &batch, PRODUCE_VERSION)?;
        let refused = answer.error_code == ErrorCode::MessageTooLarge.code();
        ensure!(refused || answer.error_code == 0, "{answer:?}");
        Ok(refused.then_some(()))
    })
}

/// The leader of a topic's first partition, as the broker at `address` says.
fn leader(address: &str, topic: &str) -> Result<i32> {
    let wanted = MetadataRequestTopic { name: Some(topic.into()), ..Default::default() };
    let request = MetadataRequest { topics: Some(vec![wanted]), ..Default::default() };
    let answer = Connection::open(address)?.call(&request, METADATA_VERSION)?;
    let response: MetadataResponse<'_> = answer.read(METADATA_VERSION)?;
    let first = |topic: &MetadataResponseTopic<'_>| {
        topic.partitions.iter().find(|one| one.partition_index == 0).map(|one| one.leader_id)
    };
    response.topics.first().and_then(first).context("a first partition")
}
