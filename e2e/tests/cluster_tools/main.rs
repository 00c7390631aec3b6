//! Kafka's own tools, from 0.8.1.1 to 3.9, run a cluster of three brokers.
//!
//! The first part is the tutorial of the first release that had replicas, typed as it was printed;
//! then the last tools that reach a cluster through ZooKeeper, then those that ask a broker. Each
//! judges by what the tools say and by what a broker answers, never by what is in a tree or on a
//! disk. The same test runs on Apache Kafka (`E2E_PEER=kafka`): what fails there is expected wrongly.

mod cluster;
mod described;
mod moves;
mod tutorial;
mod wire;
mod zookeeper;

use std::ffi::OsString;

use anyhow::{Result, ensure};
use e2e::cluster::enter;

use crate::cluster::Cluster;

/// The name of the only test, by which it is started again.
const TEST: &str = "tools_of_every_age_run_a_cluster";

#[test]
fn tools_of_every_age_run_a_cluster() -> Result<()> {
    // The first process of its namespaces is the one that was started again.
    if std::process::id() != 1 {
        cluster::prepare()?;
        let arguments = ["--exact", TEST, "--nocapture"].map(OsString::from);
        ensure!(enter::enter(&arguments)?, "the test failed within its namespaces: see above");
        return Ok(());
    }
    let cluster = Cluster::start()?;
    tutorial::works_as_printed(&cluster)?;
    zookeeper::tools_work(&cluster)?;
    wire::tools_work(&cluster)
}
