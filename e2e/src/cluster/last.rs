//! The last look at a cluster that nobody uses any more: every partition of it has all its replicas in
//! sync, every replica knows that all of it is committed, and all disks hold the same bytes.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::bed::Bed;
use super::checker::replicas::{self, Comparison, Extent};
use super::checker::{Rule, Violation};
use super::history::{History, What};
use super::workload::{Shared, TOPICS, places};
use crate::deadline::Deadline;
use crate::workspace;

/// A replica that was away is in sync, and has heard what is committed and written it down.
const SECONDS: u64 = 60;

/// Waits for that, stops every broker in order, and compares the disks. What is not as it must be is
/// recorded in `history`.
pub fn look(bed: &Bed, shared: &Shared) -> Result<Comparison> {
    let history = &shared.history;
    let deadline = Deadline::seconds(SECONDS);
    let whole = deadline.poll("all replicas", || Ok(bed.all_not_whole()?.is_empty().then_some(())));
    if whole.is_err() {
        // Kafka forgets a replica of a topic that was busy with something else now and then.
        for what in bed.all_not_whole()? {
            history.record(0, shared.unless_kafka(None, Rule::NotWhole, what));
        }
    }
    let known = known_ends(history);
    wait_until_told(bed, history, &known)?;
    for node in &bed.nodes {
        node.server.hold();
    }
    for node in &bed.nodes {
        node.server.stop()?;
    }
    compare(bed, history, &known, Extent::All)
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

/// Compares the judged partitions as far as they are known by now, under the hands of the brokers: below
/// a high watermark nothing changes.
pub fn look_on(bed: &Bed, history: &History) -> Result<Comparison> {
    let known = known_ends(history);
    wait_until_told(bed, history, &known)?;
    compare(bed, history, &known, Extent::Named)
}

fn wait_until_told(bed: &Bed, history: &History, known: &[(String, i64)]) -> Result<()> {
    let log_dirs = bed.log_dirs();
    let told = Deadline::seconds(SECONDS)
        .poll("high watermarks", || Ok(behind(&log_dirs, known)?.is_empty().then_some(())));
    if told.is_err() {
        for what in behind(&log_dirs, known)? {
            history.record(0, What::Wrong(Rule::NotWhole, what));
        }
    }
    Ok(())
}

fn compare(
    bed: &Bed,
    history: &History,
    known: &[(String, i64)],
    extent: Extent,
) -> Result<Comparison> {
    let names: Vec<String> = known.iter().map(|(name, _)| name.clone()).collect();
    let cleaned = |topic: &str| topic.starts_with("__");
    let comparison =
        replicas::compare(&bed.log_dirs(), (&names, bed.replication_factor()), extent, cleaned)?;
    for Violation { rule, what } in &comparison.violations {
        history.record(0, What::Wrong(*rule, what.clone()));
    }
    for (name, end) in known {
        let limit = comparison.limits.get(name).copied().unwrap_or(0);
        if limit < *end {
            let what = format!("{name}: {limit} of {end} offsets could be compared");
            history.record(0, What::Wrong(Rule::Diverged, what));
        }
    }
    Ok(comparison)
}

/// The judged partitions, each with the offset after the last that is known in it.
fn known_ends(history: &History) -> Vec<(String, i64)> {
    let of = |place| history.look(|checker| checker.known_end(place));
    let name = |topic: u16| TOPICS[usize::from(topic)].name;
    let places = places().into_iter();
    places.map(|place| (format!("{}-{}", name(place.topic), place.partition), of(place))).collect()
}

/// The replicas whose high watermark, as their brokers have written it down, is below what is known.
fn behind(log_dirs: &[(String, PathBuf)], known: &[(String, i64)]) -> Result<Vec<String>> {
    let mut behind = Vec::new();
    let all = replicas::all_high_watermarks(log_dirs)?;
    for ((disk, directory), watermarks) in log_dirs.iter().zip(all) {
        for (name, end) in known.iter().filter(|(name, _)| directory.join(name).exists()) {
            let written = watermarks.get(name).copied().unwrap_or(0);
            if written < *end {
                behind.push(format!("{disk} has {written} of {end} committed in {name}"));
            }
        }
    }
    Ok(behind)
}
