//! A broker that began alone: its coordination tree is moved into a real ZooKeeper by the binary's own
//! sub-command, once, and not while the broker runs.

use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use broker_zookeeper::node::topic::Topic;
use broker_zookeeper::path;
use broker_zookeeper::remote::RemoteStore;
use broker_zookeeper::store::Store;
use e2e::broker::{Broker, binary};
use e2e::kafka::Zookeeper;
use e2e::wire::Connection;

const PATIENCE: Duration = Duration::from_mins(1);

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
    let mut broker = Broker::start("moving", directory.path(), &[])?;
    Connection::open(broker.bootstrap())?.create_topic("moved", 3, &[])?;
    let connect = format!("{}/ottla", zookeeper.address);
    let log_dir = broker.log_dir();
    let moving = ["move-coordination", "--to", &connect];

    refused(&ottla(&log_dir, &moving)?, "another process uses the coordination tree")?;
    broker.stop()?;
    done(&ottla(&log_dir, &moving)?)?;

    let store = RemoteStore::connect(&connect, PATIENCE, PATIENCE).await?;
    let path = path::topic("moved");
    let (data, _) = store.get(&path).await?;
    ensure!(Topic::decode(&path, &data)?.partitions.len() == 3);
    ensure!(store.exists(&path::partition_state("moved", 2)).await?.is_some());
    ensure!(store.exists(path::MOVE).await?.is_none(), "the marker is gone");
    ensure!(store.children(path::BROKER_IDS).await?.is_empty());

    done(&ottla(&log_dir, &moving)?)?;
    refused(&ottla(&log_dir, &[])?, "zookeeper.connect is missing")?;
    let elsewhere = format!("{}/elsewhere", zookeeper.address);
    let again = ottla(&log_dir, &["move-coordination", "--to", &elsewhere])?;
    refused(&again, "not to this target")
}
