//! A real Prometheus scrapes a broker under load, and every expression of the dashboards that
//! people already have gets an answer: `metrics/expressions.txt`; so does every one of the chart's own. After a load that is known, the
//! broker's own page says what it was.

#![allow(clippy::disallowed_methods, reason = "a test writes the files of the programs it starts")]

use std::fs;
use std::io::Write as _;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use e2e::bench::{client, request};
use e2e::broker::Broker;
use e2e::chart::dashboard::Dashboard;
use e2e::chart::expression::{families, is_of, metrics};
use e2e::chart::rule::alerts;
use e2e::deadline::Deadline;
use e2e::process::{self, Process};
use e2e::prometheus::{Prometheus, Target};
use e2e::scrape::{get, value};
use e2e::workspace;

const EXPRESSIONS: &str = include_str!("../metrics/expressions.txt");

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

/// The dashboard that brokers have nothing to do with.
const OF_THE_OPERATOR: &str = "operator";

/// What a lone broker cannot answer: it asks nothing of a ZooKeeper, and nobody follows it.
const LONE_LACKS: [&str; 2] =
    ["ottla_coordination_request_duration_seconds", "ottla_replication_lag_records"];

/// Fails where our dashboards or alerts ask a broker for what its page does not have.
fn served(page: &str) -> Result<()> {
    let families = families(page);
    let mut asked = Vec::new();
    for dashboard in Dashboard::all()? {
        asked.extend(dashboard.expressions());
    }
    asked.extend(alerts()?.into_iter().map(|alert| alert.expression));
    for metric in asked.iter().flat_map(|expression| metrics(expression)) {
        let mut others = LONE_LACKS.iter().chain(&["ottla_operator_"]);
        let is_anothers = others.any(|begin| metric.starts_with(begin));
        ensure!(is_anothers || is_of(&families, &metric), "no broker has {metric}");
    }
    Ok(())
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
    let labels = [("namespace", "shop"), ("ottla_dev_cluster", "desk"), ("ottla_dev_broker", "0")];
    let target = |job, path, labels| Target { job, address: &metrics, path, labels };
    let targets = [
        target("broker", "/metrics", &labels[..]),
        target("cluster", "/metrics/cluster", &[("ottla_dev_cluster", "all")]),
    ];
    let prometheus = Prometheus::start("metrics", directory.path(), &targets)?;
    load(broker.bootstrap())?;
    fs::write(&page, get(&metrics, "/metrics")?)?;
    let log = workspace::output_dir().join("logs/metrics-promtool.log");
    let mut lint = Command::new("sh");
    lint.arg("-c").arg("promtool check metrics < \"$0\" || [ $? -eq 3 ]").arg(&page);
    process::run("promtool", &mut lint, &log, Deadline::seconds(60))?;

    served(&get(&metrics, "/metrics")?)?;
    let known = EXPRESSIONS.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let mut asked: Vec<String> = known.map(str::to_owned).collect();
    for dashboard in Dashboard::all()?.iter().filter(|one| one.name != OF_THE_OPERATOR) {
        let lacks = |asked: &String| LONE_LACKS.iter().any(|metric| asked.contains(metric));
        asked.extend(dashboard.expressions().into_iter().filter(|asked| !lacks(asked)));
    }
    prometheus.wait_for_data(asked, || {
        kcat(broker.bootstrap(), &["-P", "-t", "orders"], "one more\n").map(drop)
    })?;
    broker.stop()
}
