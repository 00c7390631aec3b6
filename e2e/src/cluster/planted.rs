//! Faults that are planted in our brokers, and how soon the bed finds each: a bed that finds nothing may be
//! one that sees nothing.
//!
//! A run goes on until a rule is broken, or to its end; then the next begins, with other choices, until
//! the fault is found or its time is up.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::checker::Violation;
use super::enter;
use crate::broker;
use crate::deadline::Stopwatch;
use crate::workspace;

/// The faults, as a broker that is built for them knows them, and what is done to the cluster to find each:
/// kinds by parts of their names, all where there is none.
const BUGS: [(&str, &str); 8] = [
    ("ack-before-replication", ""),
    ("proposed-isr-only", "cut off from its peers"),
    ("ignore-epoch-in-fetch", ""),
    ("truncate-to-high-watermark", "of its successor,SIGTERM,session expired"),
    ("stale-broker-epoch", "expired,kill -9"),
    ("unfenced-controller-write", ""),
    ("no-offsets-while-loading", "kill -9,SIGTERM"),
    ("dedupe-window-of-four", ""),
];

/// How long a fault may stay unfound.
const FOUND_WITHIN: Duration = Duration::from_mins(10);
/// How long faults and load of one run go on: the last look at everything may be what finds it.
const RUN_MINUTES: &str = "0.7";

/// What came of one hunt.
#[derive(Debug)]
struct Found {
    name: &'static str,
    time: Duration,
    runs: u64,
    /// The first broken rule, `None` if the fault was not found.
    by: Option<String>,
}

/// Where a run keeps what it found.
pub fn verdict_file() -> PathBuf {
    workspace::output_dir().join("cluster-verdict.txt")
}

/// Keeps what a run found, a line a case.
pub fn keep(violations: &[Violation]) -> Result<()> {
    let mut text = String::new();
    for Violation { rule, what } in violations {
        writeln!(text, "{rule}: {what}")?;
    }
    fs::write(verdict_file(), text).context("keep what was found")
}

/// Hunts the faults that `list` names, separated by commas, or `all`, in runs whose seeds begin with
/// `seed`; says whether each was found in time.
pub fn hunt(list: &str, seed: u64) -> Result<bool> {
    let mut bugs = Vec::new();
    for word in list.split(',') {
        let before = bugs.len();
        bugs.extend(BUGS.into_iter().filter(|(known, _)| word == "all" || word == *known));
        if bugs.len() == before {
            let names = BUGS.map(|(name, _)| name).join(", ");
            bail!("no fault {word} can be planted; there are: all, {names}");
        }
    }
    // Compiled out here, where cargo may print.
    broker::planted_binary()?;
    let mut all = Vec::new();
    for (name, faults) in bugs {
        all.push(hunt_one(name, faults, seed)?);
    }
    println!("\n{:30} {:>9}  {:>4}  found by", "planted", "seconds", "runs");
    for Found { name, time, runs, by } in &all {
        let by = by.as_deref().unwrap_or("NOT FOUND");
        println!("{name:30} {:9.1}  {runs:4}  {by:.100}", time.as_secs_f64());
    }
    Ok(all.iter().all(|found| found.by.is_some()))
}

/// The words of a broker of the last run that ended itself rather than go on with what cannot be.
fn assertion() -> Result<Option<String>> {
    let logs = workspace::output_dir().join("logs");
    for entry in fs::read_dir(&logs).with_context(|| format!("list {}", logs.display()))? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if !name.starts_with("cluster-broker") {
            continue;
        }
        let text = fs::read_to_string(&path).with_context(|| format!("read {name}"))?;
        let mut lines = text.lines().skip_while(|line| !line.contains("panicked at"));
        if let (Some(place), Some(words)) = (lines.next(), lines.next()) {
            let place = place.rsplit(' ').next().unwrap_or_default();
            return Ok(Some(format!("assertion: {words} ({place})")));
        }
    }
    Ok(None)
}

fn hunt_one(name: &'static str, faults: &str, first_seed: u64) -> Result<Found> {
    let clock = Stopwatch::start();
    let mut runs = 0;
    while clock.elapsed() < FOUND_WITHIN {
        let seed = first_seed + runs;
        runs += 1;
        println!("cluster: {name}, run {runs}, seed {seed}");
        if verdict_file().exists() {
            fs::remove_file(verdict_file()).context("forget what was found before")?;
        }
        let seed = format!("--seed={seed}");
        let mut arguments = vec!["--inside", "--bug", name, &seed, "--minutes", RUN_MINUTES];
        if !faults.is_empty() {
            arguments.extend(["--faults", faults]);
        }
        let arguments: Vec<OsString> = arguments.into_iter().map(OsString::from).collect();
        enter::enter(&arguments)?;
        let by = match (assertion()?, fs::read_to_string(verdict_file())) {
            (Some(assertion), _) => Some(assertion),
            (None, Ok(verdict)) => verdict.lines().next().map(str::to_owned),
            (None, Err(_)) => bail!("a run with {name} came to no end: see what it said above"),
        };
        if by.is_some() {
            return Ok(Found { name, time: clock.elapsed(), runs, by });
        }
    }
    Ok(Found { name, time: clock.elapsed(), runs, by: None })
}
