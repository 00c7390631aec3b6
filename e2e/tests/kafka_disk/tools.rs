//! Kafka's own tools: the dump of files on the disk, and the console consumer.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use e2e::deadline::Deadline;
use e2e::java::Java;
use e2e::logs;
use e2e::process;

use crate::portrait::Portrait;

/// What Kafka's dump prints when something is wrong.
const COMPLAINTS: [&str; 8] = [
    "Found timestamp mismatch",
    "Found out of order timestamp",
    "Mismatches in",
    "Non-consecutive offsets",
    "isvalid: false",
    "is corrupt",
    "Exception",
    "isValid: false",
];

/// Every file of a partition below `directory` whose name ends with `suffix`.
pub(crate) fn files(directory: &Path, suffix: &str) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for partition in std::fs::read_dir(directory).context("list the log directory")? {
        let partition = partition?.path();
        let deleted = partition.to_string_lossy().ends_with("-delete");
        if !partition.is_dir() || deleted {
            continue;
        }
        for file in std::fs::read_dir(&partition).context("list a partition")? {
            let file = file?.path();
            if file.to_string_lossy().ends_with(suffix) {
                found.push(file);
            }
        }
    }
    found.sort();
    Ok(found)
}

/// Runs Kafka's dump tool over files and returns what it printed, unless it complained.
pub(crate) fn dump(java: &Java, arguments: &[&str], files: &[PathBuf]) -> Result<Vec<String>> {
    ensure!(!files.is_empty(), "no files for {arguments:?}");
    let names: Vec<String> = files.iter().map(|file| file.display().to_string()).collect();
    let mut command = java.class("kafka.tools.DumpLogSegments", 512);
    command.args(arguments).arg("--files").arg(names.join(","));
    let log = logs::file("kafka-dump-log");
    let lines = process::run("kafka-dump-log", &mut command, &log, Deadline::seconds(300))?;
    for line in &lines {
        if COMPLAINTS.iter().any(|complaint| line.contains(complaint)) {
            bail!("kafka-dump-log {arguments:?}: {line}");
        }
    }
    Ok(lines)
}

/// Runs every check of the dump tool on a directory that was stopped cleanly; returns what it says
/// of the records.
pub(crate) fn sound(java: &Java, data: &Path) -> Result<Vec<String>> {
    let indexes = [files(data, ".index")?, files(data, ".timeindex")?].concat();
    let checked = dump(java, &["--index-sanity-check"], &indexes)?;
    let checked: BTreeSet<&str> = checked.iter().map(String::as_str).collect();
    for index in &indexes {
        let index = index.display();
        let verdicts = [format!("{index} passed sanity check."), format!("{index} is empty.")];
        let good = verdicts.iter().any(|verdict| checked.contains(verdict.as_str()));
        ensure!(good, "{index} has not passed");
    }
    dump(java, &["--verify-index-only"], &indexes)?;
    dump(java, &["--deep-iteration"], &files(data, ".log")?)
}

/// What the newest snapshot of each partition holds: a line a producer, after the name of the file.
pub(crate) fn snapshots(java: &Java, data: &Path) -> Result<BTreeSet<String>> {
    // In order of offset, so that the last of a partition stays.
    let newest: BTreeMap<_, _> = files(data, ".snapshot")?
        .into_iter()
        .map(|file| (file.parent().map(Path::to_owned), file))
        .collect();
    let newest: Vec<PathBuf> = newest.into_values().collect();
    let mut file = String::new();
    let mut found = BTreeSet::new();
    for line in dump(java, &[], &newest)? {
        if let Some(path) = line.strip_prefix("Dumping ") {
            let path = Path::new(path).strip_prefix(data).context("a file of another directory")?;
            file = path.display().to_string();
        } else if line.starts_with("producerId:") {
            found.insert(format!("{file} {line}"));
        }
    }
    ensure!(!found.is_empty(), "no producer in any snapshot");
    Ok(found)
}

/// The console consumer of the reference release reads every record, and each as it was served.
pub(crate) fn console(java: &Java, bootstrap: &str, served: &Portrait) -> Result<()> {
    let class = "org.apache.kafka.tools.consumer.ConsoleConsumer";
    let mut command = java.class(class, 512);
    command.args(["--bootstrap-server", bootstrap, "--include", ".*", "--from-beginning"]);
    command.args(["--timeout-ms", "60000", "--max-messages", &served.console.len().to_string()]);
    for part in ["timestamp", "partition", "offset", "headers", "key", "value"] {
        command.args(["--property", &format!("print.{part}=true")]);
    }
    let log = logs::file("console-consumer");
    let lines = process::run("console consumer", &mut command, &log, Deadline::seconds(120))?;
    let mut read: Vec<&str> = lines
        .iter()
        .map(String::as_str)
        .filter(|line| line.contains("\tPartition:") && line.contains("\tOffset:"))
        .collect();
    let mut expected: Vec<&str> = served.console.iter().map(String::as_str).collect();
    read.sort_unstable();
    expected.sort_unstable();
    let difference = read.iter().zip(&expected).find(|(read, expected)| read != expected);
    ensure!(
        read.len() == expected.len() && difference.is_none(),
        "the console consumer read {} records of {}; (read, expected): {difference:?}",
        read.len(),
        expected.len(),
    );
    Ok(())
}
