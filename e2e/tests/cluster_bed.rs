//! The command of the test bed as a person meets it: what it says and how it ends without a cluster.
//!
//! The bed itself is judged by `cluster_mixed`, which runs it over brokers of Kafka first.

#![expect(clippy::disallowed_methods, reason = "a test writes the files that it hands over")]

use std::fs;
use std::process::{Command, Output};

use anyhow::{Result, ensure};

fn bed(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cluster"));
    command.args(arguments);
    command
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn a_machine_without_namespaces_is_told_so_and_nothing_is_skipped() -> Result<()> {
    let empty = tempfile::tempdir()?;
    let output = bed(&["--brokers", "kafka"]).env("PATH", empty.path()).output()?;
    ensure!(!output.status.success(), "{output:?}");
    ensure!(said(&output).contains("run unshare"), "{output:?}");
    // A machine whose kernel refuses what unshare asks of it.
    let unshare = empty.path().join("unshare");
    fs::write(&unshare, "#!/bin/sh\necho 'unshare failed: Operation not permitted' >&2\nexit 1\n")?;
    Command::new("chmod").arg("+x").arg(&unshare).status()?;
    let output = bed(&["--brokers", "kafka"]).env("PATH", empty.path()).output()?;
    ensure!(!output.status.success(), "{output:?}");
    for part in ["network namespaces", "Operation not permitted", "iproute2"] {
        ensure!(said(&output).contains(part), "{part}: {output:?}");
    }
    Ok(())
}

#[test]
fn a_kept_history_is_judged_again() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("history.txt");
    let path = file.to_string_lossy();
    fs::write(&file, "1 1 send 0/0 1:0+2\n2 1 sent 0/0 1:0+2 0\n3 9 poll 0/0 2 0=1:0+2\n")?;
    let output = bed(&["--check", &path]).output()?;
    ensure!(output.status.success(), "{output:?}");
    ensure!(said(&output).contains("2 acknowledged, 2 read back"), "{output:?}");
    fs::write(&file, "1 1 send 0/0 1:0+2\n2 1 sent 0/0 1:0+2 0\n3 9 poll 0/0 2 1=1:1+1\n")?;
    let output = bed(&["--check", &path]).output()?;
    ensure!(!output.status.success(), "{output:?}");
    ensure!(said(&output).contains("lost-write: 0/0: 1:0 sent at 0"), "{output:?}");
    // Both were read once, and the last reading, which has to show all, lacks the first.
    let read = "1 1 send 0/0 1:0+2\n2 1 sent 0/0 1:0+2 0\n3 9 poll 0/0 2 0=1:0+2\n4 8 audit 0/0\n";
    fs::write(&file, format!("{read}5 8 poll 0/0 2 1=1:1+1\n6 8 audited 0/0\n"))?;
    let output = bed(&["--check", &path]).output()?;
    ensure!(!output.status.success(), "{output:?}");
    ensure!(said(&output).contains("poll-skip: 0/0"), "{output:?}");
    Ok(())
}

#[test]
fn an_unknown_fault_or_broker_is_refused_with_the_names_there_are() -> Result<()> {
    for (arguments, part) in [
        (["--faults", "earthquake"], "session expired"),
        (["--brokers", "redis"], "kafka or ottla"),
        (["--set", "min.insync.replicas"], "key=value"),
    ] {
        let output = bed(&arguments).args(["--inside", "--seed", "1"]).output()?;
        ensure!(!output.status.success(), "{output:?}");
        ensure!(said(&output).contains(part), "{arguments:?}: {output:?}");
    }
    Ok(())
}
