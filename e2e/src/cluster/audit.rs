//! What Kafka's brokers complain of, against what they complain of among themselves.
//!
//! A complaint is cut to what does not change from case to case. A run of Kafka alone keeps in a file
//! what it saw; in a mixed cluster under the same deeds a complaint that is not in there is about one
//! of ours.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// Words of a complaint that tell it from others; what comes after are names and causes.
const WORDS: usize = 9;

/// Complaints of a log, cut, each with how often and one of them whole.
fn complaints(log: &Path) -> Result<BTreeMap<String, (usize, String)>> {
    let text = fs::read_to_string(log).with_context(|| format!("read {}", log.display()))?;
    let mut found = BTreeMap::new();
    for line in text.lines() {
        if let Some(cut) = cut(line) {
            found.entry(cut).or_insert_with(|| (0, line.to_owned())).0 += 1;
        }
    }
    Ok(found)
}

/// The complaints in `logs` that are not in `known`: how often, and one of them whole.
pub fn unknown(logs: &[PathBuf], known: &Path) -> Result<Vec<(usize, String)>> {
    let known = read(known)?;
    let mut unknown: BTreeMap<String, (usize, String)> = BTreeMap::new();
    for log in logs {
        for (cut, (count, line)) in complaints(log)? {
            if !known.contains(&cut) {
                unknown.entry(cut).or_insert((0, line)).0 += count;
            }
        }
    }
    Ok(unknown.into_values().collect())
}

/// Adds to `known` what it lacks of the complaints in `logs`; returns how many that were.
pub fn learn(logs: &[PathBuf], known: &Path) -> Result<usize> {
    let mut lines = if known.exists() { read(known)? } else { BTreeSet::new() };
    let before = lines.len();
    for log in logs {
        lines.extend(complaints(log)?.into_keys());
    }
    let text = lines.iter().map(String::as_str).collect::<Vec<_>>().join("\n");
    fs::write(known, text).with_context(|| format!("write {}", known.display()))?;
    Ok(lines.len() - before)
}

fn read(known: &Path) -> Result<BTreeSet<String>> {
    let text = fs::read_to_string(known).with_context(|| format!("read {}", known.display()))?;
    Ok(text.lines().map(str::to_owned).collect())
}

/// A line of a Kafka log at WARN or above, without times, numbers and names: `2026-11-21 15:02:30,041
/// WARN ReplicaFetcherThread: [ReplicaFetcher replicaId=3] Partition a-0 marked as failed` is `WARN
/// ReplicaFetcherThread: Partition _ marked as failed`.
fn cut(line: &str) -> Option<String> {
    let mut words = line.split_whitespace();
    let date = words.next()?;
    let is_date =
        date.len() == 10 && date.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
    let (_time, level, class) = (words.next()?, words.next()?, words.next()?);
    if !is_date || !["WARN", "ERROR", "FATAL"].contains(&level) {
        return None;
    }
    let mut said = words.collect::<Vec<_>>().join(" ");
    // Who speaks, in brackets.
    if let Some((_, rest)) = said.split_once("] ").filter(|_| said.starts_with('[')) {
        said = rest.to_owned();
    }
    let said = said.split(' ').take(WORDS).map(|word| {
        let plain = word.bytes().all(|byte| byte.is_ascii_alphabetic() || b"'.,:-".contains(&byte));
        // Names of topics have hyphens, as names of hosts and states have dots and braces.
        if plain && !word.trim_matches('-').contains('-') { word } else { "_" }
    });
    Some(format!("{level} {class} {}", said.collect::<Vec<_>>().join(" ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_complaint_is_cut_to_what_does_not_change() {
        let one = "2026-11-21 15:02:30,041 WARN ReplicaFetcherThread: [ReplicaFetcher replicaId=3, \
                   leaderId=1] Partition keyed-0 marked as failed";
        let cut_one = cut(one);
        assert_eq!(
            cut_one.as_deref(),
            Some("WARN ReplicaFetcherThread: Partition _ marked as failed")
        );
        let other = one.replace("15:02:30,041", "16:00:00,000").replace("keyed-0", "churn-a-1");
        assert_eq!(cut(&other), cut_one);
        assert_eq!(cut("2026-11-21 15:02:30,041 INFO LogManager: Loading logs"), None);
        assert_eq!(cut("\tat kafka.server.KafkaApis.handle(KafkaApis.scala:1) WARN x: y"), None);
        assert_eq!(cut(""), None);
    }

    #[test]
    fn what_is_learnt_is_known_and_the_rest_is_told_once_with_its_count() -> Result<()> {
        let directory = tempfile::tempdir()?;
        let (log, known) = (directory.path().join("log"), directory.path().join("known"));
        let line = |class: &str, partition: u8| {
            format!(
                "2026-11-21 15:02:30,041 WARN {class}: Partition keyed-{partition} marked as failed\n"
            )
        };
        fs::write(&log, line("Fetcher", 0) + &line("Fetcher", 1))?;
        let logs = [log];
        assert_eq!(learn(&logs, &known)?, 1);
        assert_eq!(learn(&logs, &known)?, 0);
        assert!(unknown(&logs, &known)?.is_empty());
        fs::write(&logs[0], line("Fetcher", 2) + &line("Leader", 0) + &line("Leader", 1))?;
        let found = unknown(&logs, &known)?;
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].0, found[0].1.as_str()), (2, line("Leader", 0).trim_end()));
        Ok(())
    }
}
