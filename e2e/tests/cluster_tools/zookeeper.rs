//! The last tools that reach a cluster through ZooKeeper: those of 2.8.

use anyhow::{Result, ensure};
use e2e::admin_tools::{AdminTools, V2_8};

use crate::cluster::Cluster;
use crate::described;
use crate::moves;

const TOPIC: &str = "over-zookeeper";

pub(crate) fn tools_work(cluster: &Cluster) -> Result<()> {
    let tools = AdminTools::new(V2_8, "--zookeeper", &cluster.zookeeper())?;
    let create = ["--create", "--replication-factor", "3", "--partitions", "2", "--topic", TOPIC];
    tools.says(V2_8.topics, &create, &format!("Created topic {TOPIC}."))?;
    described::until_whole(&tools, TOPIC, 2)?;

    tools.run(V2_8.topics, &["--alter", "--topic", TOPIC, "--partitions", "4"])?;
    described::until_whole(&tools, TOPIC, 4)?;
    let alter = ["--alter", "--topic", TOPIC, "--config", "max.message.bytes=1000"];
    tools.run(V2_8.topics, &alter)?;
    let described = described::until(&tools, TOPIC, "the setting", |seen| {
        seen.configs == "max.message.bytes=1000"
    })?;
    ensure!(described.partitions.len() == 4, "{described:#?}");
    crate::wire::refuses_large_records(cluster, TOPIC)?;

    moves::there_and_back(&tools, TOPIC, Some("10000000"))?;
    let lines = tools.run(V2_8.elect, &[])?;
    ensure!(!lines.iter().any(|line| line.contains("rror")), "{lines:#?}");
    described::until(&tools, TOPIC, "the first replicas to lead", |seen| {
        seen.partitions.iter().all(described::Partition::is_led_by_preferred)
    })?;

    tools.run(V2_8.topics, &["--delete", "--topic", TOPIC])?;
    described::until_gone(&tools, TOPIC)?;
    cluster.ensure_all_run()
}
