//! Faults that are planted in our brokers, and how soon the bed finds each: a bed that finds nothing may be
//! one that sees nothing.
//!
//! A run goes on until a rule is broken that the fault breaks, or to its end; then the next begins, with
//! other choices, until the fault is found or its time is up. What else is broken finds nothing.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::checker::{Rule, Violation};
use super::enter;
use crate::broker;
use crate::deadline::Stopwatch;
use crate::workspace;

/// A fault that can be planted.
#[derive(Debug, Clone, Copy)]
struct Bug {
    /// As a broker that is built for it knows it.
    name: &'static str,
    /// What is done to the cluster to find it: kinds by parts of their names, all where there is none.
    faults: &'static str,
    /// The rules that it breaks: another that is broken beside it finds something else.
    rules: &'static [Rule],
    /// Words of the assertions that it breaks.
    assertions: &'static [&'static str],
}

/// What loses records that were acknowledged, or that a reader has seen, breaks one of these.
const LOSES: &[Rule] = &[
    Rule::LostWrite,
    Rule::Unseen,
    Rule::InconsistentOffsets,
    Rule::OffsetKnownBefore,
    Rule::Diverged,
    Rule::LacksCommitted,
];

const BUGS: [Bug; 8] = [
    Bug { name: "ack-before-replication", faults: "", rules: LOSES, assertions: &[] },
    Bug {
        name: "proposed-isr-only",
        faults: "cut off from its peers",
        rules: LOSES,
        assertions: &["a leader does not leave the ISR"],
    },
    Bug {
        name: "ignore-epoch-in-fetch",
        faults: "from its peers,from everyone,of its successor,beyond the session",
        rules: LOSES,
        assertions: &[],
    },
    Bug {
        name: "truncate-to-high-watermark",
        faults: "of its successor,SIGTERM,session expired",
        rules: LOSES,
        assertions: &[],
    },
    Bug {
        name: "stale-broker-epoch",
        faults: "session expired,SIGTERM",
        rules: &[Rule::FenceBroken],
        assertions: &[],
    },
    Bug {
        name: "unfenced-controller-write",
        faults: "deposed",
        rules: &[Rule::FenceBroken],
        assertions: &[],
    },
    Bug {
        name: "no-offsets-while-loading",
        faults: "kill -9,SIGTERM",
        rules: &[Rule::CommitRegression],
        assertions: &[],
    },
    Bug {
        name: "dedupe-window-of-four",
        faults: "",
        rules: &[Rule::Duplicate, Rule::UnexpectedAnswer],
        assertions: &[],
    },
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
    /// The first case of a rule that it breaks, `None` if the fault was not found.
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

/// Whether `violations` show the planted fault `bug`.
pub fn is_found(bug: &str, violations: &[Violation]) -> bool {
    let bug = BUGS.iter().find(|known| known.name == bug);
    bug.is_some_and(|bug| violations.iter().any(|it| bug.rules.contains(&it.rule)))
}

/// Hunts the faults that `list` names, separated by commas, or `all`, in runs whose seeds begin with
/// `seed`; says whether each was found in time.
pub fn hunt(list: &str, seed: u64) -> Result<bool> {
    let mut bugs = Vec::new();
    for word in list.split(',') {
        let before = bugs.len();
        bugs.extend(BUGS.into_iter().filter(|known| word == "all" || word == known.name));
        if bugs.len() == before {
            let names = BUGS.map(|bug| bug.name).join(", ");
            bail!("no fault {word} can be planted; there are: all, {names}");
        }
    }
    // Compiled out here, where cargo may print.
    broker::planted_binary()?;
    let mut all = Vec::new();
    for bug in bugs {
        all.push(hunt_one(bug, seed)?);
    }
    println!("\n{:30} {:>9}  {:>4}  found by", "planted", "seconds", "runs");
    for Found { name, time, runs, by } in &all {
        let by = by.as_deref().unwrap_or("NOT FOUND");
        println!("{name:30} {:9.1}  {runs:4}  {by:.100}", time.as_secs_f64());
    }
    Ok(all.iter().all(|found| found.by.is_some() && found.time <= FOUND_WITHIN))
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

impl Bug {
    /// What shows this fault, in a run that kept `verdict` and in which `assertion` broke.
    fn shown(&self, verdict: &str, assertion: Option<&str>) -> Option<String> {
        let is_of_it = |line: &&str| {
            let rule = line.split_once(':').map(|(rule, _)| rule.parse());
            matches!(rule, Some(Ok(rule)) if self.rules.contains(&rule))
        };
        let asserted =
            assertion.filter(|it| self.assertions.iter().any(|words| it.contains(words)));
        asserted.or_else(|| verdict.lines().find(is_of_it)).map(str::to_owned)
    }
}

fn hunt_one(bug: Bug, first_seed: u64) -> Result<Found> {
    let Bug { name, faults, .. } = bug;
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
        let assertion = assertion()?;
        let verdict = fs::read_to_string(verdict_file());
        if verdict.is_err() && assertion.is_none() {
            bail!("a run with {name} came to no end: see what it said above");
        }
        let by = bug.shown(&verdict.unwrap_or_default(), assertion.as_deref());
        if by.is_some() {
            return Ok(Found { name, time: clock.elapsed(), runs, by });
        }
        if let Some(other) = assertion {
            println!("cluster: {name} does not explain this: {other}");
        }
    }
    Ok(Found { name, time: clock.elapsed(), runs, by: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bug(name: &str) -> Bug {
        BUGS.into_iter().find(|bug| bug.name == name).unwrap()
    }

    #[test]
    fn a_fault_is_found_by_a_rule_that_it_breaks_and_by_no_other() {
        let unfenced = bug("unfenced-controller-write");
        let found = "unavailable: 0/0 accepted nothing\nfence-broken: keyed-0 was written";
        assert_eq!(unfenced.shown(found, None).as_deref(), found.lines().last());
        assert_eq!(unfenced.shown("lost-write: 0/0: 1:0 sent at 0", None), None);
        assert_eq!(unfenced.shown("", Some("assertion: a write is fenced (tree.rs)")), None);
        let proposed = bug("proposed-isr-only");
        let words = "assertion: a leader does not leave the ISR: 7 (isr.rs)";
        assert_eq!(proposed.shown("", Some(words)).as_deref(), Some(words));
    }

    #[test]
    fn a_run_ends_when_the_fault_is_found_and_not_before() {
        let case = |rule| Violation { rule, what: String::new() };
        let others = [case(Rule::Unavailable), case(Rule::CommitRegression)];
        assert!(is_found("no-offsets-while-loading", &others));
        assert!(!is_found("dedupe-window-of-four", &others));
        assert!(!is_found("no such fault", &others));
    }
}
