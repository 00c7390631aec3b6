//! One broker of Apache Kafka 3.9 and two of ours are one cluster: the controller, leaders, followers and
//! coordinators on either side, moved from one to the other under load, brokers of either kind killed and
//! stopped, topics made, grown, moved across and deleted.
//!
//! The bed plays a script of that (`e2e::cluster::script`): first over three brokers of Kafka, which is
//! judged by the same rules and shows what Kafka complains of on such days, then over the mixed cluster,
//! where its broker must complain of nothing else. What three brokers of Kafka complain of now and then,
//! one run may not show: a complaint that is new is looked for in a second one.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use e2e::cluster::planted;

/// Who is who in the script, and the mixed cluster itself.
const ROLES: &str = "kafka,ottla,ottla";
const KAFKA: &str = "kafka,kafka,kafka";
const ROUNDS: usize = 2;

/// Plays the script, and returns whether every rule was kept.
fn play(brokers: &str, complaints: &Path) -> Result<bool> {
    let mut bed = Command::new(env!("CARGO_BIN_EXE_cluster"));
    bed.args(["--brokers", brokers, "--script", ROLES, "--zookeepers", "1", "--seed", "1"]);
    let output = bed.arg("--complaints").arg(complaints).output().context("run the bed")?;
    println!("{}", String::from_utf8_lossy(&output.stdout));
    Ok(output.status.success())
}

/// Whether the last run showed no more than complaints that were not seen before.
fn only_complained() -> Result<bool> {
    let verdict = fs::read_to_string(planted::verdict_file()).context("read what was found")?;
    Ok(verdict.lines().all(|line| line.starts_with("foreign-complaint")))
}

#[test]
fn brokers_of_both_kinds_are_one_cluster() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let complaints = directory.path().join("complaints");
    for round in 1..=ROUNDS {
        ensure!(play(KAFKA, &complaints)?, "{KAFKA}: see what the bed said above");
        if play(ROLES, &complaints)? {
            return Ok(());
        }
        ensure!(round < ROUNDS && only_complained()?, "{ROLES}: see what the bed said above");
    }
    Ok(())
}
