//! Kafka's own eyes on our disk, and ours on Kafka's.
//!
//! Both brokers keep their partitions in `data` below the directory they are given, so that one can
//! be started where the other stopped.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use broker_zookeeper::embedded::EmbeddedTree;
use broker_zookeeper::store::Store;
use e2e::broker::Broker;
use e2e::clients::{self, Client, Progress};
use e2e::deadline::Deadline;
use e2e::java::Java;
use e2e::kafka::Kafka;
use e2e::matrix::Outcome;
use e2e::peer::SETTINGS;
use e2e::process::{self, Process};
use e2e::tools::{maven, pypi};
use e2e::workspace;

/// The tree of a broker that stands alone, in its first log directory.
const TREE_FILE: &str = "ottla-coordination.log";

/// Small segments and dense indexes, so that a short load fills many of both.
const SMALL: [(&str, &str); 2] =
    [("log.segment.bytes", "65536"), ("log.index.interval.bytes", "512")];

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

fn settings() -> Vec<(&'static str, &'static str)> {
    SETTINGS.into_iter().chain(SMALL).collect()
}

/// The newest Java client with all that it does before and after a restart.
fn java_client<'a>(java: &'a Java, name: &str) -> Client<'a> {
    Client::new(name, Vec::new(), |arguments| {
        let mut command = java.class("Client", 256);
        command.args(arguments);
        Ok(command)
    })
}

fn java() -> Result<Java> {
    let sources = ["shared", "common", "poll_duration", "times", "admin_2_8"];
    Java::with_sources(maven::release("3.9.2")?, &sources)
}

fn succeeded(progress: &Progress) -> Result<()> {
    for (operation, outcome) in &progress.row {
        if let Outcome::Failed(how) = outcome {
            bail!("{operation}: {how}");
        }
    }
    Ok(())
}

/// Many records in small batches, so that segments roll.
fn bulk(bootstrap: &str, codec: &str) -> Result<()> {
    let mut kcat = std::process::Command::new("kcat");
    kcat.args(["-b", bootstrap, "-P", "-t", "bulk", "-z", codec, "-K", "="]);
    kcat.args(["-X", "linger.ms=2", "-X", "batch.num.messages=50"]);
    let mut process = Process::spawn("kcat", &mut kcat, &clients::log_file("kcat-bulk"))?;
    let mut input = process.take_stdin().context("kcat's standard input")?;
    for number in 0..5_000 {
        writeln!(input, "{codec}-{number}=value {number} of the bulk compressed by {codec}")?;
    }
    drop(input);
    process.wait_success(Deadline::seconds(120)).map(drop)
}

/// Clients of several formats, every codec, groups, idempotent producers and deleted records.
fn mixed_load(bootstrap: &str, java: &Java, name: &str) -> Result<Progress> {
    clients::foreign_topic(bootstrap)?;
    let mut progress = Progress::default();
    clients::run(&java_client(java, name), "before", bootstrap, &mut progress)?;
    succeeded(&progress)?;
    let python = pypi::interpreter()?;
    for release in ["0.9", "0.10.2", "2.6"] {
        let program = workspace::client_sources().join("python/client.py");
        let client = Client::new(&format!("{name}-python-{release}"), Vec::new(), |arguments| {
            let mut command = std::process::Command::new(&python);
            command.arg(&program).args(arguments).arg(release);
            Ok(command)
        });
        let mut python_progress = Progress::default();
        clients::run(&client, "before", bootstrap, &mut python_progress)?;
        succeeded(&python_progress)?;
    }
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        bulk(bootstrap, codec)?;
    }
    Ok(progress)
}

/// Every file below `directory` whose name ends with `suffix`.
fn files(directory: &Path, suffix: &str) -> Result<Vec<PathBuf>> {
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
fn dump(java: &Java, arguments: &[&str], files: &[PathBuf]) -> Result<String> {
    ensure!(!files.is_empty(), "no files for {arguments:?}");
    let names: Vec<String> = files.iter().map(|file| file.display().to_string()).collect();
    let mut command = java.class("kafka.tools.DumpLogSegments", 512);
    command.args(arguments).arg("--files").arg(names.join(","));
    let log = clients::log_file("kafka-dump-log");
    let text =
        process::run("kafka-dump-log", &mut command, &log, Deadline::seconds(300))?.join("\n");
    for line in text.lines() {
        if COMPLAINTS.iter().any(|complaint| line.contains(complaint)) {
            bail!("kafka-dump-log {arguments:?}: {line}");
        }
    }
    Ok(text)
}

#[test]
fn kafka_finds_nothing_wrong_on_our_disk() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let java = java()?;
    let mut broker = Broker::start("disk-ours", directory.path(), &settings())?;
    mixed_load(broker.bootstrap(), &java, "disk-ours-client")?;
    broker.stop()?;

    let data = broker.log_dir();
    let logs = files(&data, ".log")?;
    let bulk = logs.iter().filter(|log| log.to_string_lossy().contains("/bulk-")).count();
    ensure!(bulk > 4, "only {bulk} segments of the bulk topic");
    let text = dump(&java, &["--deep-iteration"], &logs)?;
    let records = text.lines().filter(|line| line.starts_with("| offset:")).count();
    ensure!(records > 25_000, "only {records} records were seen");
    let indexes = [files(&data, ".index")?, files(&data, ".timeindex")?].concat();
    let checked = dump(&java, &["--index-sanity-check"], &indexes)?;
    for index in &indexes {
        let (passed, empty) =
            (format!("{} passed", index.display()), format!("{} is empty", index.display()));
        ensure!(checked.contains(&passed) || checked.contains(&empty), "{}", index.display());
    }
    dump(&java, &["--verify-index-only"], &indexes)?;
    let snapshots = dump(&java, &[], &files(&data, ".snapshot")?)?;
    ensure!(snapshots.contains("producerId:"), "no producer in any snapshot");
    let offsets: Vec<PathBuf> = logs
        .into_iter()
        .filter(|log| log.to_string_lossy().contains("__consumer_offsets-"))
        .collect();
    let text = dump(&java, &["--offsets-decoder"], &offsets)?;
    ensure!(text.contains("disk-ours-client-group"), "the group is not in the offsets topic");
    Ok(())
}

#[test]
fn we_serve_what_kafka_wrote() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let java = java()?;
    let mut kafka = Kafka::start("disk-from-kafka", directory.path(), &settings())?;
    let mut progress = mixed_load(kafka.bootstrap(), &java, "disk-from-kafka-client")?;
    let before = everything(kafka.bootstrap())?;
    kafka.stop()?;
    let mut broker = Broker::start("disk-from-kafka", directory.path(), &settings())?;
    clients::await_topic(broker.bootstrap(), "bulk")?;
    same(&before, &everything(broker.bootstrap())?)?;
    let client = java_client(&java, "disk-from-kafka-client");
    clients::run(&client, "after", broker.bootstrap(), &mut progress)?;
    succeeded(&progress)?;
    broker.stop()
}

#[test]
fn kafka_serves_what_we_wrote() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let java = java()?;
    let mut broker = Broker::start("disk-to-kafka", directory.path(), &settings())?;
    let mut progress = mixed_load(broker.bootstrap(), &java, "disk-to-kafka-client")?;
    let before = everything(broker.bootstrap())?;
    broker.stop()?;
    let nodes = directory.path().join("nodes");
    copy_tree(&broker.log_dir().join(TREE_FILE), &nodes)?;
    let mut kafka =
        Kafka::start_with_nodes("disk-to-kafka", directory.path(), &settings(), Some(&nodes))?;
    clients::await_topic(kafka.bootstrap(), "bulk")?;
    same(&before, &everything(kafka.bootstrap())?)?;
    let client = java_client(&java, "disk-to-kafka-client");
    clients::run(&client, "after", kafka.bootstrap(), &mut progress)?;
    succeeded(&progress)?;
    kafka.stop()
}

/// Every record of the bulk topic with its place, time and headers.
fn everything(bootstrap: &str) -> Result<BTreeSet<String>> {
    let mut kcat = std::process::Command::new("kcat");
    kcat.args(["-b", bootstrap, "-C", "-q", "-e", "-t", "bulk", "-o", "beginning"]);
    kcat.args(["-f", "%p %o %T %k=%s\n"]);
    let lines = clients::command("kcat-everything", &mut kcat)?;
    Ok(lines.into_iter().filter(|line| !line.starts_with('%')).collect())
}

fn same(before: &BTreeSet<String>, after: &BTreeSet<String>) -> Result<()> {
    ensure!(before.len() == 25_000, "{} records of 25000", before.len());
    let lost: Vec<&String> = before.difference(after).take(3).collect();
    let strange: Vec<&String> = after.difference(before).take(3).collect();
    ensure!(lost.is_empty() && strange.is_empty(), "lost {lost:?}, strange {strange:?}");
    Ok(())
}

/// Writes every node of the embedded tree as ZooKeeper's loader reads it, parents first.
fn copy_tree(tree: &Path, nodes: &Path) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let text = runtime.block_on(async {
        let tree = EmbeddedTree::open(tree).context("open the tree")?;
        let store = tree.session().await;
        let mut text = String::new();
        let mut paths = vec!["/".to_owned()];
        while let Some(path) = paths.pop() {
            if path != "/" {
                let (data, _) = store.get(&path).await.with_context(|| path.clone())?;
                write!(text, "{path}\t")?;
                for byte in data {
                    write!(text, "{byte:02x}")?;
                }
                text.push('\n');
            }
            for child in store.children(&path).await.with_context(|| path.clone())? {
                paths.push(format!("{}/{child}", path.trim_end_matches('/')));
            }
        }
        tree.close().await;
        Ok::<_, anyhow::Error>(text)
    })?;
    let mut file = std::fs::File::create_new(nodes).context("create the file of nodes")?;
    file.write_all(text.as_bytes()).context("write the nodes")
}
