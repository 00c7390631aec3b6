//! Who must not run, and where none of ours may: refused in words.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use e2e::broker::{Broker, binary};
use e2e::kafka::Zookeeper;
use e2e::tools::maven;

use super::{SHORT_SESSION, serves};

/// What must not run does not, and says why.
#[tokio::test]
async fn strangers_are_refused_in_words() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let zookeeper = Zookeeper::start("refused", &directory.path().join("zookeeper"), None)?;
    let connect = format!("{}/one", zookeeper.address);
    let settings = [("zookeeper.connect", connect.as_str()), ("broker.id", "1"), SHORT_SESSION];
    let mut broker = Broker::start("refused", directory.path(), &settings)?;
    let log_dir = broker.log_dir().display().to_string();
    let other_dir = directory.path().join("other").display().to_string();
    let elsewhere = format!("{}/two", zookeeper.address);
    let start = |log_dir: &str, connect: &str| -> Result<String> {
        let mut command = Command::new(binary()?);
        for (key, value) in [
            ("log.dirs", log_dir),
            ("zookeeper.connect", connect),
            ("broker.id", "1"),
            ("listeners", "PLAINTEXT://127.0.0.1:0"),
            SHORT_SESSION,
        ] {
            command.arg("--set").arg(format!("{key}={value}"));
        }
        let output = command.output().context("run ottla-broker")?;
        ensure!(!output.status.success(), "it ran");
        Ok(String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let said = start(&other_dir, &connect)?;
    ensure!(said.contains("broker.id=1 is taken"), "{said}");
    serves(&broker, "not-disturbed")?;
    broker.stop()?;
    let said = start(&log_dir, &elsewhere)?;
    ensure!(said.contains("a tree without a cluster"), "{said}");
    Ok(())
}

/// The ZooKeepers inside these releases of Kafka know no lasting watches: no broker starts, nor is a tree
/// moved there, and nothing is written.
#[test]
fn a_zookeeper_that_is_too_old_is_refused_in_words() -> Result<()> {
    // 3.4.10 and 3.5.9.
    for version in ["1.1.1", "2.8.2"] {
        let directory = tempfile::tempdir()?;
        let data = directory.path().join("zookeeper");
        let zookeeper = Zookeeper::start_of(maven::release(version)?, "too-old", &data, None)?;
        let mut broker = Broker::start("too-old", directory.path(), &[])?;
        broker.stop()?;
        let ottla = |arguments: &[&str], log_dir: &Path| -> Result<()> {
            let mut command = Command::new(binary()?);
            command.args(arguments).arg("--set").arg(format!("log.dirs={}", log_dir.display()));
            let output = command.output().context("run ottla-broker")?;
            let said = String::from_utf8_lossy(&output.stderr);
            ensure!(!output.status.success(), "{version}: it ran");
            ensure!(said.contains("is older than 3.6"), "{version}: {said}");
            Ok(())
        };
        let connect = format!("zookeeper.connect={}/ottla", zookeeper.address);
        let listeners = "listeners=PLAINTEXT://127.0.0.1:0";
        let new = ["--set", &connect, "--set", listeners, "--set", "metrics.listener="];
        ottla(&new, &directory.path().join("new"))?;
        ottla(&["move-coordination", "--to", &zookeeper.address], &broker.log_dir())?;
    }
    Ok(())
}
