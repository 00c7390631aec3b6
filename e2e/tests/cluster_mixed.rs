//! One broker of Apache Kafka 3.9 and two of ours, or two and one, are one cluster: the controller, leaders,
//! followers and coordinators on either side, moved from one to the other under load, brokers of either kind
//! killed and stopped, topics made, grown, moved across and deleted.
//!
//! The bed plays a script of that (`e2e::cluster::script`): first over three brokers of Kafka, which is
//! judged by the same rules and shows what Kafka complains of on such days, then over the mixed cluster,
//! where its brokers must complain of nothing else. What three brokers of Kafka complain of now and then,
//! one run may not show: a complaint that is new is looked for in a second one.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, ensure};
use e2e::cluster::planted;

const KAFKA: &str = "kafka,kafka,kafka";
const ROUNDS: usize = 2;

/// A bed has the machine, and its logs, to itself.
static BED: Mutex<()> = Mutex::new(());

/// Plays the script over `brokers` in these `roles`, and returns whether every rule was kept.
fn play(brokers: &str, roles: &str, complaints: &Path) -> Result<bool> {
    let mut bed = Command::new(env!("CARGO_BIN_EXE_cluster"));
    bed.args(["--brokers", brokers, "--script", roles, "--zookeepers", "1", "--seed", "1"]);
    let output = bed.arg("--complaints").arg(complaints).output().context("run the bed")?;
    println!("{}", String::from_utf8_lossy(&output.stdout));
    Ok(output.status.success())
}

/// Whether the last run showed no more than complaints that were not seen before.
fn only_complained() -> Result<bool> {
    let verdict = fs::read_to_string(planted::verdict_file()).context("read what was found")?;
    Ok(verdict.lines().all(|line| line.starts_with("foreign-complaint")))
}

/// Brokers in these `roles`, who are who in the script, too, are one cluster.
fn are_one_cluster(roles: &str) -> Result<()> {
    let _alone = BED.lock().unwrap_or_else(PoisonError::into_inner);
    let directory = tempfile::tempdir()?;
    let complaints = directory.path().join("complaints");
    for round in 1..=ROUNDS {
        ensure!(play(KAFKA, roles, &complaints)?, "{KAFKA}: see what the bed said above");
        if play(roles, roles, &complaints)? {
            return Ok(());
        }
        ensure!(round < ROUNDS && only_complained()?, "{roles}: see what the bed said above");
    }
    Ok(())
}

#[test]
fn one_of_kafka() -> Result<()> {
    are_one_cluster("kafka,ottla,ottla")
}

#[test]
fn two_of_kafka() -> Result<()> {
    are_one_cluster("kafka,kafka,ottla")
}
