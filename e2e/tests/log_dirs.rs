//! Two log directories, one of which cannot be used at the start: its partitions are away, no more. And
//! replicas that move from one to the other.

#![allow(clippy::disallowed_methods, reason = "a test damages the directories of its broker")]

use std::collections::BTreeSet;
use std::fs;

use anyhow::{Context, Result, ensure};
use broker_protocol::error_code::ErrorCode;
use broker_protocol::message::describe_log_dirs::{
    DescribeLogDirsRequest, DescribeLogDirsResponse,
};
use e2e::admin_tools::{AdminTools, V3_9};
use e2e::bench::request;
use e2e::broker::Broker;
use e2e::deadline::Deadline;
use e2e::wire::Connection;
use serde_json::json;

const TOPIC: &str = "spread";
const PARTITIONS: i32 = 6;

/// The paths of the broker's directories and their error codes.
fn described(connection: &mut Connection) -> Result<Vec<(String, i16)>> {
    let answer = connection.call(&DescribeLogDirsRequest::default(), 2)?;
    let response: DescribeLogDirsResponse<'_> = answer.read(2)?;
    Ok(response.results.iter().map(|dir| (dir.log_dir.to_string(), dir.error_code)).collect())
}

fn write(connection: &mut Connection, topic: &str, partition: i32) -> Result<i16> {
    let (batch, _) = request::batch(10, 0)?;
    Ok(connection.produce(topic, partition, &batch, 7)?.error_code)
}

/// Kafka starts on the directories that work, and never makes an empty log where one may be hidden.
#[test]
fn a_directory_that_cannot_be_opened_takes_only_its_partitions_along() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let (first, second) = (directory.path().join("first"), directory.path().join("second"));
    let dirs = format!("{},{}", first.display(), second.display());
    let settings = [("log.dirs", dirs.as_str()), ("auto.create.topics.enable", "false")];
    let mut broker = Broker::start("log-dirs", directory.path(), &settings)?;
    let mut connection = Connection::open(broker.bootstrap())?;
    connection.create_topic(TOPIC, PARTITIONS, &[])?;
    for partition in 0..PARTITIONS {
        let code = write(&mut connection, TOPIC, partition)?;
        ensure!(code == 0, "partition {partition}: error {code}");
    }
    let hidden: BTreeSet<i32> = (0..PARTITIONS)
        .filter(|partition| second.join(format!("{TOPIC}-{partition}")).is_dir())
        .collect();
    ensure!(hidden.len() == 3, "half of the partitions are in the second directory: {hidden:?}");
    broker.stop()?;

    let aside = directory.path().join("aside");
    fs::rename(&second, &aside)?;
    fs::write(&second, "no directory")?;
    broker.launch()?;
    let mut connection = Connection::open(broker.bootstrap())?;
    for partition in 0..PARTITIONS {
        let code = write(&mut connection, TOPIC, partition)?;
        ensure!((code != 0) == hidden.contains(&partition), "partition {partition}: error {code}");
        if code == 0 {
            let seen = connection.read_partition(TOPIC, partition, 0)?;
            ensure!(seen.len() == 2, "partition {partition} has {} records", seen.len());
        }
    }
    let failed = (second.display().to_string(), ErrorCode::KafkaStorageError.code());
    let dirs = described(&mut connection)?;
    ensure!(dirs == [(first.display().to_string(), 0), failed], "{dirs:?}");
    connection.create_topic("fresh", 2, &[])?;
    for partition in 0..2 {
        ensure!(write(&mut connection, "fresh", partition)? == 0, "a new topic has its place");
    }
    broker.stop()?;

    fs::remove_file(&second)?;
    fs::rename(&aside, &second)?;
    broker.launch()?;
    let mut connection = Connection::open(broker.bootstrap())?;
    for partition in 0..PARTITIONS {
        let expected = if hidden.contains(&partition) { 1 } else { 2 };
        let seen = connection.read_partition(TOPIC, partition, 0)?;
        ensure!(seen.len() == expected, "partition {partition} has {} records", seen.len());
    }
    broker.stop()
}

/// With no directory left there is nothing to serve: the start fails, and names the setting.
#[test]
fn without_a_directory_the_start_fails_by_name() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("file");
    fs::write(&file, "no directory")?;
    let dirs = file.display().to_string();
    let error = Broker::start("log-dirs-none", directory.path(), &[("log.dirs", dirs.as_str())]);
    let error = error.err().context("a broker without a directory starts")?.to_string();
    ensure!(error.contains("log.dirs") && error.contains(&dirs), "{error}");
    Ok(())
}

/// Kafka's own tool moves a replica to the other directory, and says so when it is there.
#[test]
fn the_tool_for_reassignments_moves_a_replica_between_directories() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let (first, second) = (directory.path().join("first"), directory.path().join("second"));
    let dirs = format!("{},{}", first.display(), second.display());
    let broker = Broker::start("log-dirs-moved", directory.path(), &[("log.dirs", dirs.as_str())])?;
    let mut connection = Connection::open(broker.bootstrap())?;
    connection.create_topic(TOPIC, 1, &[("file.delete.delay.ms", "0")])?;
    ensure!(write(&mut connection, TOPIC, 0)? == 0);
    let name = format!("{TOPIC}-0");
    let is_first = first.join(&name).is_dir();
    let (here, there) = if is_first { (&first, &second) } else { (&second, &first) };
    let tools = AdminTools::new(V3_9, "--bootstrap-server", broker.bootstrap())?;
    let one = json!({ "topic": TOPIC, "partition": 0, "replicas": [0], "log_dirs": [there] });
    let plan = directory.path().join("plan.json");
    fs::write(&plan, json!({ "version": 1, "partitions": [one] }).to_string())?;
    let file = ["--reassignment-json-file", plan.to_str().context("a path of letters")?];
    let execute =
        [&file[..], &["--execute", "--replica-alter-log-dirs-throttle", "1000000"]].concat();
    tools.says(V3_9.reassign, &execute, "Successfully started moving log directory")?;
    let verify = [&file[..], &["--verify"]].concat();
    Deadline::seconds(60).poll("the end of the move", || {
        let lines = tools.run(V3_9.reassign, &verify)?;
        Ok(lines.iter().any(|line| line.contains("completed successfully")).then_some(()))
    })?;
    ensure!(there.join(&name).is_dir() && !here.join(&name).exists());
    ensure!(connection.read_partition(TOPIC, 0, 0)?.len() == 1, "the batch that was written");
    Ok(())
}
