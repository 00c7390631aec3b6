//! A real Prometheus scrapes a broker under load, and every expression of the dashboards that
//! people already have gets an answer: `metrics/expressions.txt`.

#![allow(clippy::disallowed_methods, reason = "a test writes the files of the programs it starts")]

use std::fmt::Write as _;
use std::fs;
use std::io::{Read, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::broker::Broker;
use e2e::deadline::Deadline;
use e2e::process::{self, Process};
use e2e::workspace;
use serde_json::Value;

const EXPRESSIONS: &str = include_str!("../metrics/expressions.txt");

/// Scrapes come every second; a rate needs a few of them.
const PATIENCE_SECONDS: u64 = 90;

fn configuration(broker: &str) -> String {
    let mut text =
        String::from("global:\n  scrape_interval: 1s\n  scrape_timeout: 1s\nscrape_configs:\n");
    for (job, path) in [("broker", "/metrics"), ("cluster", "/metrics/cluster")] {
        let _ = write!(
            text,
            "  - job_name: {job}\n    metrics_path: {path}\n    static_configs:\n      - targets: ['{broker}']\n"
        );
    }
    text
}

/// Starts Prometheus on a port that the kernel chooses, and returns its address.
fn prometheus(directory: &Path, broker: &str) -> Result<(Process, String)> {
    let file = directory.join("prometheus.yml");
    fs::write(&file, configuration(broker)).context("write prometheus.yml")?;
    let mut command = Command::new("prometheus");
    command.arg(format!("--config.file={}", file.display()));
    command.arg(format!("--storage.tsdb.path={}", directory.join("tsdb").display()));
    command.arg("--web.listen-address=127.0.0.1:0");
    let log = workspace::output_dir().join("logs/metrics-prometheus.log");
    let process = Process::spawn("prometheus", &mut command, &log)?;
    let address = process.wait_for("its address", Deadline::seconds(60), |line| {
        let rest = line.split_once("Listening on")?.1;
        let address = rest.split_once("address=")?.1.split_whitespace().next()?;
        Some(address.trim_matches('"').to_owned())
    })?;
    Ok((process, address))
}

/// Asks for `path` and returns the body of an answer that has no chunks.
fn get(address: &str, path: &str) -> Result<String> {
    let mut stream = TcpStream::connect(address).with_context(|| format!("connect {address}"))?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    // HTTP/1.0: the body ends with the connection, and is never cut into chunks.
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).with_context(|| format!("read {path}"))?;
    let (head, body) = answer.split_once("\r\n\r\n").context("an answer has a head")?;
    ensure!(head.contains(" 200 "), "{path}: {answer}");
    Ok(body.to_owned())
}

/// Whether Prometheus has at least one number for `expression`.
fn has_data(address: &str, expression: &str) -> Result<bool> {
    let mut query = String::new();
    for byte in expression.bytes() {
        let _ = write!(query, "%{byte:02X}");
    }
    let body = get(address, &format!("/api/v1/query?query={query}"))?;
    let answer: Value = serde_json::from_str(&body).context("parse Prometheus's answer")?;
    ensure!(answer["status"] == "success", "{expression}: {answer}");
    let series = answer["data"]["result"].as_array().map_or(&[][..], Vec::as_slice);
    Ok(series.iter().any(|one| one["value"][1].as_str().is_some_and(|value| value != "NaN")))
}

fn kcat(bootstrap: &str, arguments: &[&str], input: &str) -> Result<Vec<String>> {
    let mut command = Command::new("kcat");
    command.args(["-b", bootstrap]).args(arguments);
    let log = workspace::output_dir().join("logs/metrics-kcat.log");
    let mut process = Process::spawn("kcat", &mut command, &log)?;
    let mut stdin = process.take_stdin().context("kcat's standard input")?;
    stdin.write_all(input.as_bytes()).context("write to kcat")?;
    drop(stdin);
    process.wait_success(Deadline::seconds(60))
}

/// Records in, some of them out again by a group that stays behind.
fn load(bootstrap: &str) -> Result<()> {
    let records: String = (0..200).map(|n| n.to_string() + "\n").collect();
    kcat(bootstrap, &["-P", "-t", "orders"], &records)?;
    let group = ["-G", "shop", "-c", "50", "-X", "auto.offset.reset=earliest", "orders"];
    kcat(bootstrap, &group, "")?;
    kcat(bootstrap, &["-P", "-t", "orders"], &records)?;
    Ok(())
}

#[test]
fn every_expression_of_the_known_dashboards_has_data() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let settings = [
        ("group.initial.rebalance.delay.ms", "0"),
        ("offsets.topic.num.partitions", "4"),
        ("offsets.topic.replication.factor", "1"),
    ];
    let mut broker = Broker::start("metrics", directory.path(), &settings)?;
    let metrics = broker.metrics()?;
    ensure!(get(&metrics, "/readyz")?.starts_with("ready"), "a broker that serves is ready");
    ensure!(get(&metrics, "/healthz")?.starts_with("ok"), "a broker that serves is well");

    let page = directory.path().join("page.txt");
    let (_prometheus, address) = prometheus(directory.path(), &metrics)?;
    load(broker.bootstrap())?;
    fs::write(&page, get(&metrics, "/metrics")?)?;
    let log = workspace::output_dir().join("logs/metrics-promtool.log");
    let mut lint = Command::new("sh");
    lint.arg("-c").arg("promtool check metrics < \"$0\" || [ $? -eq 3 ]").arg(&page);
    process::run("promtool", &mut lint, &log, Deadline::seconds(60))?;

    let deadline = Deadline::seconds(PATIENCE_SECONDS);
    let asked = EXPRESSIONS.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let mut missing: Vec<&str> = asked.collect();
    ensure!(!missing.is_empty(), "there are expressions");
    let outcome = deadline.poll("data for every expression", || {
        let mut still = Vec::new();
        for expression in &missing {
            if !has_data(&address, expression)? {
                still.push(*expression);
            }
        }
        missing = still;
        // Rates need something to happen between scrapes.
        kcat(broker.bootstrap(), &["-P", "-t", "orders"], "one more\n")?;
        Ok(missing.is_empty().then_some(()))
    });
    outcome.with_context(|| format!("without data:\n  {}", missing.join("\n  ")))?;
    broker.stop()
}
