//! The last look at a cluster that nobody uses any more, and one after each deed of a script: every
//! partition has all its replicas in sync, every replica knows what is committed, and all disks hold the
//! same bytes.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, anyhow, ensure};
use broker_protocol::message::list_offsets::{
    ListOffsetsPartition, ListOffsetsRequest, ListOffsetsResponse, ListOffsetsTopic,
};

use super::bed::Bed;
use super::checker::replicas::{self, Comparison, Held};
use super::checker::{Rule, Violation};
use super::history::{History, What};
use super::workload::{Shared, TOPICS, places};
use super::{judge, view};
use crate::deadline::Deadline;
use crate::wire::Connection;
use crate::workspace;

/// A replica that was away is in sync, and has heard what is committed and written it down.
const SECONDS: u64 = 60;
const LIST_OFFSETS_VERSION: i16 = 5;
/// The timestamp that asks for the end: of what is committed, where a consumer asks.
const END: i64 = -1;

/// Waits for that, stops every broker in order, and compares the disks. What is not as it must be is
/// recorded in `history`.
pub fn look(bed: &Bed, shared: &Shared) -> Result<Comparison> {
    let all = settled(bed, shared)?;
    judge::stop_all(bed, &shared.history)?;
    compare(bed, &shared.history, &all)
}

/// Compares all partitions as far as they are committed by now, under the hands of the brokers: below a
/// high watermark nothing changes.
pub fn look_on(bed: &Bed, shared: &Shared) -> Result<Comparison> {
    let all = settled(bed, shared)?;
    compare(bed, &shared.history, &all)
}

/// Every partition, once all its replicas are in sync and know that what its leader tells now is committed.
fn settled(bed: &Bed, shared: &Shared) -> Result<Vec<Held>> {
    let history = &shared.history;
    let deadline = Deadline::seconds(SECONDS);
    let whole = deadline.poll("all replicas", || Ok(bed.all_not_whole()?.is_empty().then_some(())));
    if whole.is_err() {
        // Kafka forgets a replica of a topic that was busy with something else now and then.
        for what in bed.all_not_whole()? {
            history.record(0, shared.unless_kafka(None, Rule::NotWhole, what));
        }
    }
    let mut last = None;
    let all = Deadline::seconds(SECONDS).poll("what all leaders hold", || match held(bed) {
        Ok(all) => Ok(Some(all)),
        Err(error) => {
            last = Some(error);
            Ok(None)
        }
    });
    let mut all = all.with_context(|| format!("{:#}", last.unwrap_or_else(|| anyhow!("?"))))?;
    for place in places() {
        let name = format!("{}-{}", TOPICS[usize::from(place.topic)].name, place.partition);
        let known = history.look(|checker| checker.known_end(place));
        let held = all.iter_mut().find(|held| held.name == name);
        let held = held.with_context(|| format!("no leader holds {name}"))?;
        held.end = held.end.max(known);
    }
    wait_until_told(bed, history, &all)?;
    Ok(all)
}

/// Every partition of the cluster, as its leader has it.
fn held(bed: &Bed) -> Result<Vec<Held>> {
    let topics = bed.ensemble.tree()?.children("/brokers/topics")?;
    let topics: Vec<&str> = topics.iter().map(String::as_str).collect();
    let (_, asked) = bed.view.controller().context("no controller is known")?;
    let (seen, _) = view::ask(asked, &topics)?;
    let mut connections = HashMap::new();
    let mut all = Vec::new();
    for ((topic, partition), seen) in seen {
        let connection = match connections.entry(seen.leader) {
            Entry::Occupied(open) => open.into_mut(),
            Entry::Vacant(none) => {
                let address = bed.view.address(seen.leader).context("no leader")?;
                none.insert(Connection::open_within(address, view::CONNECT, view::ANSWER)?)
            }
        };
        let end = committed_end(connection, &topic, partition)?;
        let disks = (0..bed.nodes.len()).filter(|at| seen.isr.contains(&bed.nodes[*at].id));
        all.push(Held { name: format!("{topic}-{partition}"), end, disks: disks.collect() });
    }
    all.sort_by(|one, two| one.name.cmp(&two.name));
    Ok(all)
}

/// The high watermark, as a leader tells consumers.
fn committed_end(connection: &mut Connection, topic: &str, partition: i32) -> Result<i64> {
    let wanted = ListOffsetsPartition {
        partition_index: partition,
        timestamp: END,
        ..ListOffsetsPartition::default()
    };
    let topics = vec![ListOffsetsTopic { name: topic.into(), partitions: vec![wanted] }];
    let request = ListOffsetsRequest { replica_id: -1, topics, ..ListOffsetsRequest::default() };
    let answer = connection.call(&request, LIST_OFFSETS_VERSION)?;
    let response: ListOffsetsResponse<'_> = answer.read(LIST_OFFSETS_VERSION)?;
    let found = response.topics.first().and_then(|topic| topic.partitions.first());
    let found = found.context("no partition in the answer")?;
    ensure!(found.error_code == 0, "the end of {topic}-{partition}: error {}", found.error_code);
    Ok(found.offset)
}

/// Where the logs of the last run that broke a rule are kept.
pub fn kept_disks() -> PathBuf {
    workspace::output_dir().join("cluster-disks")
}

/// Keeps the logs of all brokers for whoever wants to know what happened: their disks end with the run.
pub fn keep_disks(bed: &Bed) -> Result<()> {
    for (disk, directory) in bed.log_dirs() {
        let to = kept_disks().join(disk);
        fs::create_dir_all(&to).with_context(|| format!("create {}", to.display()))?;
        let copied = Command::new("cp").arg("-r").arg(directory).arg(&to).status();
        ensure!(copied.context("run cp")?.success(), "copy a disk to {}", to.display());
    }
    Ok(())
}

/// Forgets them.
pub fn forget_disks() -> Result<()> {
    match fs::remove_dir_all(kept_disks()) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).context("remove kept disks")
        }
        _ => Ok(()),
    }
}

fn wait_until_told(bed: &Bed, history: &History, all: &[Held]) -> Result<()> {
    let log_dirs = bed.log_dirs();
    let told = Deadline::seconds(SECONDS)
        .poll("high watermarks", || Ok(behind(&log_dirs, all)?.is_empty().then_some(())));
    if told.is_err() {
        for what in behind(&log_dirs, all)? {
            history.record(0, What::Wrong(Rule::NotWhole, what));
        }
    }
    Ok(())
}

fn compare(bed: &Bed, history: &History, all: &[Held]) -> Result<Comparison> {
    let comparison = replicas::compare(&bed.log_dirs(), all, |topic| topic.starts_with("__"))?;
    for Violation { rule, what } in &comparison.violations {
        history.record(0, What::Wrong(*rule, what.clone()));
    }
    Ok(comparison)
}

/// The replicas whose high watermark, as their brokers have written it down, is below what is committed.
fn behind(log_dirs: &[(String, PathBuf)], all: &[Held]) -> Result<Vec<String>> {
    let mut behind = Vec::new();
    let watermarks = replicas::all_high_watermarks(log_dirs)?;
    for Held { name, end, disks } in all {
        for index in disks {
            let written = watermarks[*index].get(name).copied().unwrap_or(0);
            if written < *end {
                let disk = &log_dirs[*index].0;
                behind.push(format!("{disk} has {written} of {end} committed in {name}"));
            }
        }
    }
    Ok(behind)
}
