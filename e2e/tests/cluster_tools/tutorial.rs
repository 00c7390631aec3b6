//! The tutorial of Kafka 0.8.1.1, step by step, with the tools of 0.8.1.1.
//!
//! What it prints is compared as a whole where no broker's number is in it by chance.

use anyhow::{Context, Result, ensure};
use e2e::admin_tools::{AdminTools, V0_8_1};

use crate::cluster::Cluster;
use crate::described::{self, Described, Partition};
use crate::moves;

const TOPIC: &str = "my-replicated-topic";

/// Has the producer wait for all replicas; the tutorial's own producer waits for none.
const ACKNOWLEDGED: [&str; 3] = ["--sync", "--request-required-acks", "-1"];

pub(crate) fn works_as_printed(cluster: &Cluster) -> Result<()> {
    let tools = AdminTools::new(V0_8_1, "--zookeeper", &cluster.zookeeper())?;
    let first = create(&tools)?;
    let mut sent = vec!["my test message 1".to_owned(), "my test message 2".to_owned()];
    send(cluster, &tools, &sent)?;
    ensure!(read(&tools, sent.len())? == sent, "not what was sent");

    let leader = first.partitions[0].leader.context("a leader")?;
    cluster.kill(leader).context("kill the leader")?;
    let after = described::until(&tools, TOPIC, "another leader and a smaller ISR", |seen| {
        let one = &seen.partitions[0];
        one.leader.is_some_and(|it| it != leader) && !one.isr.contains(&leader)
    })?;
    ensure_lines(&after)?;
    ensure!(after.partitions[0].isr.len() == 2, "{after:#?}");
    ensure!(read(&tools, sent.len())? == sent, "not what was sent before the leader died");
    send(cluster, &tools, &["without the first leader".to_owned()])?;
    sent.push("without the first leader".to_owned());

    cluster.start_again(leader).context("start the broker again")?;
    described::until_whole(&tools, TOPIC, 1)?;
    ensure!(read(&tools, sent.len())? == sent, "not what was sent before the broker returned");

    let lines = tools.run(V0_8_1.elect, &[])?;
    ensure!(lines.iter().any(|line| line.contains("Successfully started")), "{lines:#?}");
    described::until(&tools, TOPIC, "the first replica to lead again", |seen| {
        seen.partitions.iter().all(Partition::is_led_by_preferred)
    })?;
    grow(&tools)?;
    settings(cluster, &tools)?;
    moves::there_and_back(&tools, TOPIC, None)?;
    cluster.ensure_all_run()
}

fn create(tools: &AdminTools) -> Result<Described> {
    let create = ["--create", "--replication-factor", "3", "--partitions", "1", "--topic", TOPIC];
    tools.says(V0_8_1.topics, &create, &format!("Created topic \"{TOPIC}\"."))?;
    let listed = tools.run(V0_8_1.topics, &["--list"])?;
    ensure!(listed.iter().any(|line| line == TOPIC), "{listed:#?}");
    let described = described::until_whole(tools, TOPIC, 1)?;
    ensure_lines(&described)?;
    let mut replicas = described.partitions[0].replicas.clone();
    replicas.sort_unstable();
    ensure!(replicas == [1, 2, 3], "{described:#?}");
    Ok(described)
}

/// The lines of `--describe`, field by field, as 0.8.1.1 prints them of Kafka's own brokers.
fn ensure_lines(described: &Described) -> Result<()> {
    let count = described.partitions.len();
    let header = format!(
        "Topic:{TOPIC}\tPartitionCount:{count}\tReplicationFactor:3\tConfigs:{}",
        described.configs
    );
    ensure!(described.header == header, "{:?}, expected {header:?}", described.header);
    for (index, (line, said)) in described.lines.iter().zip(&described.partitions).enumerate() {
        let list = |ids: &[i32]| ids.iter().map(i32::to_string).collect::<Vec<_>>().join(",");
        let expected = format!(
            "\tTopic: {TOPIC}\tPartition: {index}\tLeader: {}\tReplicas: {}\tIsr: {}",
            said.leader.context("a leader")?,
            list(&said.replicas),
            list(&said.isr)
        );
        ensure!(*line == expected, "{line:?}, expected {expected:?}");
    }
    Ok(())
}

fn send(cluster: &Cluster, tools: &AdminTools, lines: &[String]) -> Result<()> {
    let bootstrap = cluster.bootstrap();
    let arguments = [&["--broker-list", &bootstrap, "--topic", TOPIC][..], &ACKNOWLEDGED].concat();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    tools.fed(V0_8_1.producer, &arguments, &lines).map(drop)
}

/// The first `count` records of the topic, as the console consumer prints them.
fn read(tools: &AdminTools, count: usize) -> Result<Vec<String>> {
    let most = count.to_string();
    let arguments = ["--from-beginning", "--topic", TOPIC, "--max-messages", &most];
    let lines = tools.says(V0_8_1.consumer, &arguments, &format!("Consumed {count} messages"))?;
    Ok(lines
        .into_iter()
        .filter(|line| line.contains("message ") || line.contains("without"))
        .collect())
}

fn grow(tools: &AdminTools) -> Result<()> {
    let alter = ["--alter", "--topic", TOPIC, "--partitions", "3"];
    tools.says(V0_8_1.topics, &alter, "Adding partitions succeeded!")?;
    ensure_lines(&described::until_whole(tools, TOPIC, 3)?)
}

/// A setting that is altered by the oldest tool holds at once.
///
/// That tool announces the change by the bare name of the topic, which Apache Kafka 3.9 refuses:
/// there the setting is stored, and holds after the next restart.
fn settings(cluster: &Cluster, tools: &AdminTools) -> Result<()> {
    let alter = ["--alter", "--topic", TOPIC, "--config", "max.message.bytes=1000"];
    tools.says(V0_8_1.topics, &alter, &format!("Updated config for topic \"{TOPIC}\"."))?;
    let described = described::until(tools, TOPIC, "the setting", |seen| {
        seen.configs == "max.message.bytes=1000"
    })?;
    ensure_lines(&described)?;
    if !cluster.is_kafka() {
        crate::wire::refuses_large_records(cluster, TOPIC)?;
    }
    let restore = ["--alter", "--topic", TOPIC, "--deleteConfig", "max.message.bytes"];
    tools.says(V0_8_1.topics, &restore, &format!("Updated config for topic \"{TOPIC}\"."))?;
    Ok(())
}
