//! A real Prometheus scrapes a broker under load, and every expression of the dashboards that
//! people already have gets an answer: `metrics/expressions.txt`. After a load that is known, the
//! broker's own page says what it was.

#![allow(clippy::disallowed_methods, reason = "a test writes the files of the programs it starts")]

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use e2e::bench::{client, request};
use e2e::broker::Broker;
use e2e::deadline::Deadline;
use e2e::process::{self, Process};
use e2e::scrape::{get, value};
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

/// When the first half of the load was written.
struct Written {
    begin: Instant,
    end: Instant,
}

/// Records in, some of them out again by a group that stays behind: 400, of which it has 50.
fn load(bootstrap: &str) -> Result<Written> {
    let records: String = (0..200).map(|n| n.to_string() + "\n").collect();
    let begin = Instant::now();
    kcat(bootstrap, &["-P", "-t", "orders"], &records)?;
    let end = Instant::now();
    let group = ["-G", "shop", "-c", "50", "-X", "auto.offset.reset=earliest", "orders"];
    kcat(bootstrap, &group, "")?;
    kcat(bootstrap, &["-P", "-t", "orders"], &records)?;
    Ok(Written { begin, end })
}

/// Fails unless every series of `expected` has its value.
fn expect(page: &str, labels: &[(&str, &str)], expected: &[(&str, f64)]) -> Result<()> {
    for (family, number) in expected {
        let found = value(page, family, labels)?;
        ensure!(
            (found - number).abs() < 1e-6,
            "{family} {labels:?} is {found} instead of {number}"
        );
    }
    Ok(())
}

#[test]
fn traffic_is_counted_to_the_byte() -> Result<()> {
    const REQUESTS: usize = 7;
    let directory = tempfile::tempdir()?;
    let mut broker = Broker::start("metrics-traffic", directory.path(), &[])?;
    let metrics = broker.metrics()?;
    let address = broker.bootstrap();
    client::create_topic(address, "counted", 1, &[])?;
    let before = get(&metrics, "/metrics")?;
    let topic = [("topic", "counted")];
    for name in ["bytesin", "bytesout", "messagesin", "totalproducerequests"] {
        expect(
            &before,
            &topic,
            &[(&format!("kafka_server_brokertopicmetrics_{name}_total"), 0.0)],
        )?;
    }

    let (batch, count) = request::batch(100, 2_000)?;
    let frame = request::produce("counted", 0, &batch, -1)?;
    client::replay(address, &[frame], REQUESTS, 1)?;
    let records = count * REQUESTS as i64;
    let size = batch.len() * REQUESTS;
    ensure!(client::consume(address, "counted", 0, records)? == size, "other bytes come back");

    let page = get(&metrics, "/metrics")?;
    let traffic = [
        ("kafka_server_brokertopicmetrics_bytesin_total", size as f64),
        ("kafka_server_brokertopicmetrics_bytesout_total", size as f64),
        ("kafka_server_brokertopicmetrics_messagesin_total", records as f64),
        ("kafka_server_brokertopicmetrics_totalproducerequests_total", REQUESTS as f64),
    ];
    expect(&page, &topic, &traffic)?;
    let partition = [("topic", "counted"), ("partition", "0")];
    let log = [
        ("kafka_log_log_size", size as f64),
        ("kafka_log_log_logstartoffset", 0.0),
        ("kafka_log_log_logendoffset", records as f64),
        ("kafka_topic_partition_current_offset", records as f64),
    ];
    expect(&page, &partition, &log)?;
    let produce = [("kafka_network_requestmetrics_requests_total", REQUESTS as f64)];
    expect(&page, &[("request", "Produce")], &produce)?;
    broker.stop()
}

/// Nothing is wrong with a lone broker, also where more replicas are asked for than there can be.
#[test]
fn the_state_of_partitions_is_counted_as_a_healthy_broker_has_it() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let mut broker = Broker::start("metrics-state", directory.path(), &[])?;
    let metrics = broker.metrics()?;
    for (topic, settings) in [("plain", &[][..]), ("strict", &[("min.insync.replicas", "2")])] {
        client::create_topic(broker.bootstrap(), topic, 3, settings)?;
        kcat(broker.bootstrap(), &["-P", "-t", topic, "-X", "acks=all"], "one\n")?;
    }
    let page = get(&metrics, "/metrics")?;
    let whole = [
        ("kafka_server_replicamanager_leadercount", 6.0),
        ("kafka_server_replicamanager_partitioncount", 6.0),
        ("kafka_server_replicamanager_underreplicatedpartitions", 0.0),
        ("kafka_server_replicamanager_underminisrpartitioncount", 0.0),
        ("kafka_controller_kafkacontroller_activecontrollercount", 1.0),
        ("kafka_controller_kafkacontroller_offlinepartitionscount", 0.0),
        ("kafka_controller_kafkacontroller_globaltopiccount", 2.0),
        ("kafka_controller_kafkacontroller_globalpartitioncount", 6.0),
    ];
    expect(&page, &[], &whole)?;
    let each = [
        ("kafka_cluster_partition_replicascount", 1.0),
        ("kafka_cluster_partition_underreplicated", 0.0),
        ("kafka_cluster_partition_underminisr", 0.0),
        ("kafka_cluster_partition_atminisr", 1.0),
    ];
    for topic in ["plain", "strict"] {
        expect(&page, &[("topic", topic), ("partition", "2")], &each)?;
    }
    broker.stop()
}

#[test]
fn the_lag_of_a_group_is_the_records_it_has_not_read_and_the_age_of_the_first() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let settings =
        [("group.initial.rebalance.delay.ms", "0"), ("offsets.topic.num.partitions", "4")];
    let mut broker = Broker::start("metrics-lag", directory.path(), &settings)?;
    let metrics = broker.metrics()?;
    let written = load(broker.bootstrap())?;
    for path in ["/metrics", "/metrics/cluster"] {
        let youngest = written.end.elapsed().as_secs_f64();
        let page = get(&metrics, path)?;
        let oldest = written.begin.elapsed().as_secs_f64();
        let group = [("consumergroup", "shop"), ("topic", "orders")];
        let sums = [
            ("kafka_consumergroup_current_offset_sum", 50.0),
            ("kafka_consumergroup_lag_sum", 350.0),
        ];
        expect(&page, &group, &sums)?;
        let [group, topic] = group;
        let partition = [group, topic, ("partition", "0")];
        let offsets =
            [("kafka_consumergroup_current_offset", 50.0), ("kafka_consumergroup_lag", 350.0)];
        expect(&page, &partition, &offsets)?;
        // The wall clock says milliseconds, and is not the clock that measures here.
        let slack = 0.1;
        let ages = [
            value(&page, "ottla_consumergroup_lag_seconds", &partition)?,
            value(&page, "ottla_consumergroup_max_lag_seconds", &[group, topic])?,
        ];
        for age in ages {
            ensure!(age > 0.0, "{path}: no age");
            ensure!(
                (youngest - slack..=oldest + slack).contains(&age),
                "{path}: the first record not read is {age} s old, not {youngest} to {oldest} s"
            );
        }
    }
    let page = get(&metrics, "/metrics")?;
    let topic = [("topic", "orders")];
    expect(&page, &topic, &[("kafka_server_brokertopicmetrics_messagesin_total", 400.0)])?;
    expect(&page, &[], &[("kafka_coordinator_group_groupmetadatamanager_numgroups", 1.0)])?;
    broker.stop()
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
