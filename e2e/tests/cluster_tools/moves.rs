//! Replicas moved by the tools for it, over ZooKeeper or over the wire, with and without a throttle.

use std::io::Write as _;

use anyhow::{Context, Result, ensure};
use e2e::admin_tools::AdminTools;
use e2e::deadline::Deadline;
use serde_json::json;
use tempfile::NamedTempFile;

use crate::cluster::SETTLE_SECONDS;
use crate::described::{self, Described};

/// The file that tells the tool where the partition's replicas are to be.
fn plan(topic: &str, partition: usize, replicas: &[i32]) -> Result<NamedTempFile> {
    let one = json!({ "topic": topic, "partition": partition, "replicas": replicas });
    let mut file = NamedTempFile::new()?;
    write!(file, "{}", json!({ "version": 1, "partitions": [one] }))?;
    Ok(file)
}

/// Takes a replica away from the first partition, and gives it back in another order, each until the
/// tool says that it is done; a throttle is there while it lasts, and gone after.
pub(crate) fn there_and_back(
    tools: &AdminTools,
    topic: &str,
    throttle: Option<&str>,
) -> Result<()> {
    let all = described::until_whole_again(tools, topic)?.partitions[0].replicas.clone();
    let turned: Vec<i32> = all.iter().rev().copied().collect();
    for wanted in [&all[1..], &turned] {
        let file = plan(topic, 0, wanted)?;
        let path = file.path().to_str().context("a path of letters")?;
        begin(tools, path, throttle)?;
        if throttle.is_some() {
            described::until(tools, topic, "the throttle", is_throttled)?;
        }
        verify(tools, path)?;
        described::until(tools, topic, "the replicas that were asked for, unthrottled", |seen| {
            let one = &seen.partitions[0];
            one.replicas == wanted && one.is_whole() && !is_throttled(seen)
        })?;
    }
    Ok(())
}

fn is_throttled(seen: &Described) -> bool {
    seen.configs.contains("replication.throttled.replicas")
}

fn begin(tools: &AdminTools, path: &str, throttle: Option<&str>) -> Result<()> {
    let mut execute = vec!["--reassignment-json-file", path, "--execute"];
    execute.extend(throttle.iter().flat_map(|throttle| ["--throttle", throttle]));
    tools.says(tools.classes.reassign, &execute, "Successfully started").map(drop)
}

/// Has the tool look until nothing is under way; it then takes the throttle off.
fn verify(tools: &AdminTools, path: &str) -> Result<()> {
    let verify = ["--reassignment-json-file", path, "--verify"];
    Deadline::seconds(SETTLE_SECONDS).poll("the end of the move", || {
        let lines = tools.run(tools.classes.reassign, &verify)?;
        let failed = lines.iter().any(|line| line.contains("failed"));
        ensure!(!failed, "{lines:#?}");
        // "completed successfully" up to 2.5, "is complete" or "is completed" after.
        Ok(lines.iter().any(|line| line.contains("complete")).then_some(()))
    })
}
