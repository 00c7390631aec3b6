//! A broker that began alone: its coordination tree is moved into a real ZooKeeper by the binary's own
//! sub-command, once, and not while the broker runs. What it served before it serves there.

use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use broker_protocol::error_code::ErrorCode;
use broker_protocol::message::find_coordinator::FindCoordinatorRequest;
use broker_protocol::message::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
    OffsetCommitResponse,
};
use broker_protocol::message::offset_fetch::{OffsetFetchRequest, OffsetFetchResponse};
use broker_zookeeper::node::topic::Topic;
use broker_zookeeper::path;
use broker_zookeeper::remote::RemoteStore;
use broker_zookeeper::store::Store;
use e2e::bench::request;
use e2e::broker::{Broker, binary};
use e2e::deadline::Deadline;
use e2e::kafka::Zookeeper;
use e2e::wire::{Connection, PRODUCE_VERSION};

const PATIENCE: Duration = Duration::from_mins(1);

const TOPIC: &str = "moved";
const GROUP: &str = "readers";

/// What a coordinator answers that is not there yet.
const NOT_YET: [ErrorCode; 3] = [
    ErrorCode::CoordinatorLoadInProgress,
    ErrorCode::CoordinatorNotAvailable,
    ErrorCode::NotCoordinator,
];

/// Asks for a code until it is not that the coordinator is not there yet, which must be none then.
fn when_coordinated(what: &str, mut ask: impl FnMut() -> Result<i16>) -> Result<()> {
    Deadline::seconds(60).poll(what, || {
        let code = ErrorCode::from_code(ask()?).context("an unknown code")?;
        ensure!(code == ErrorCode::None || NOT_YET.contains(&code), "{what}: {code}");
        Ok((code == ErrorCode::None).then_some(()))
    })
}

/// Commits that the group has read the first partition up to `offset`.
fn commit(connection: &mut Connection, offset: i64) -> Result<()> {
    let coordinator = FindCoordinatorRequest { key: GROUP.into(), ..Default::default() };
    connection.call(&coordinator, 1)?;
    let partition = OffsetCommitRequestPartition { committed_offset: offset, ..Default::default() };
    let topic = OffsetCommitRequestTopic {
        name: TOPIC.into(),
        partitions: vec![partition],
        ..Default::default()
    };
    let request = OffsetCommitRequest {
        group_id: GROUP.into(),
        generation_id_or_member_epoch: -1,
        topics: vec![topic],
        ..Default::default()
    };
    when_coordinated("the commit", || {
        let answer = connection.call(&request, 7)?;
        let response: OffsetCommitResponse<'_> = answer.read(7)?;
        Ok(response.topics[0].partitions[0].error_code)
    })
}

/// Returns what the group has committed, of all partitions.
fn committed(connection: &mut Connection) -> Result<Vec<(i32, i64)>> {
    let request = OffsetFetchRequest { group_id: GROUP.into(), topics: None, ..Default::default() };
    let mut found = Vec::new();
    when_coordinated("the committed offsets", || {
        let answer = connection.call(&request, 5)?;
        let response: OffsetFetchResponse<'_> = answer.read(5)?;
        let partitions = response.topics.iter().flat_map(|topic| &topic.partitions);
        found = partitions.map(|one| (one.partition_index, one.committed_offset)).collect();
        Ok(response.error_code)
    })?;
    Ok(found)
}

fn ottla(log_dir: &Path, arguments: &[&str]) -> Result<Output> {
    let mut command = Command::new(binary()?);
    command.args(arguments).arg("--set").arg(format!("log.dirs={}", log_dir.display()));
    command.output().context("run ottla-broker")
}

fn refused(output: &Output, words: &str) -> Result<()> {
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(!output.status.success() && said.contains(words), "{said}");
    Ok(())
}

fn done(output: &Output) -> Result<()> {
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

#[tokio::test]
async fn a_broker_alone_is_moved_to_a_zookeeper() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let zookeeper = Zookeeper::start("moving", &directory.path().join("zookeeper"), None)?;
    let alone = [("offsets.topic.num.partitions", "1")];
    let mut broker = Broker::start("moving", directory.path(), &alone)?;
    let mut connection = Connection::open(broker.bootstrap())?;
    connection.create_topic(TOPIC, 3, &[("retention.ms", "-1")])?;
    for _ in 0..5 {
        let (batch, _) = request::batch(100, 1)?;
        let produced = connection.produce(TOPIC, 0, &batch, PRODUCE_VERSION)?;
        ensure!(produced.error_code == 0, "{produced:?}");
    }
    commit(&mut connection, 3)?;
    let before = connection.read_partition(TOPIC, 0, 0)?;
    ensure!(before.len() == 5, "{before:?}");
    let connect = format!("{}/ottla", zookeeper.address);
    let log_dir = broker.log_dir();
    let moving = ["move-coordination", "--to", &connect];

    refused(&ottla(&log_dir, &moving)?, "another process uses the coordination tree")?;
    broker.stop()?;
    done(&ottla(&log_dir, &moving)?)?;

    let store = RemoteStore::connect(&connect, PATIENCE, PATIENCE).await?;
    let path = path::topic(TOPIC);
    let (data, _) = store.get(&path).await?;
    ensure!(Topic::decode(&path, &data)?.partitions.len() == 3);
    ensure!(store.exists(&path::partition_state(TOPIC, 2)).await?.is_some());
    ensure!(store.exists(path::MOVE).await?.is_none(), "the marker is gone");
    ensure!(store.children(path::BROKER_IDS).await?.is_empty());

    done(&ottla(&log_dir, &moving)?)?;
    refused(&ottla(&log_dir, &[])?, "zookeeper.connect is missing")?;
    let elsewhere = format!("{}/elsewhere", zookeeper.address);
    let again = ottla(&log_dir, &["move-coordination", "--to", &elsewhere])?;
    refused(&again, "not to this target")?;

    // With the id that it had, which is on its disk.
    let mut broker = Broker::start("moved", directory.path(), &[("zookeeper.connect", &*connect)])?;
    let mut connection = Connection::open(broker.bootstrap())?;
    // It listens before it is told what it leads.
    let after = Deadline::seconds(60)
        .poll("the records", || Ok(connection.read_partition(TOPIC, 0, 0).ok()))?;
    ensure!(after == before, "{after:?}");
    let offsets = committed(&mut connection)?;
    ensure!(offsets == [(0, 3)], "{offsets:?}");
    let (batch, _) = request::batch(100, 1)?;
    let produced = connection.produce(TOPIC, 0, &batch, PRODUCE_VERSION)?;
    ensure!((produced.error_code, produced.base_offset) == (0, 5), "{produced:?}");
    commit(&mut connection, 6)?;
    let settings = store.get(&path::topic_config(TOPIC)).await?.0;
    ensure!(String::from_utf8_lossy(&settings).contains("\"retention.ms\":\"-1\""));
    broker.stop()
}
