//! A benchmark that is ended by a signal leaves nothing running, neither servers nor what watches over them.

use std::collections::BTreeMap;
use std::fs;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use e2e::broker::binary;
use e2e::deadline::Deadline;
use rustix::process::{Pid, Signal, kill_process};

const PATIENCE_SECONDS: u64 = 120;

/// A process, as `/proc` tells of it.
struct Seen {
    name: String,
    parent: u32,
    group: u32,
}

/// Reads `/proc/<pid>/stat`; `None` for one that is gone, or only waits to be reaped.
fn look(process: u32) -> Option<Seen> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    let (before, after) = stat.rsplit_once(") ")?;
    let mut words = after.split(' ');
    let is_over = words.next()? == "Z";
    let mut number = || words.next()?.parse().ok();
    let (parent, group) = (number()?, number()?);
    let name = before.split_once('(')?.1.to_owned();
    (!is_over).then_some(Seen { name, parent, group })
}

/// What `parent` has started in groups of their own, by process id.
fn led_by(parent: u32) -> Result<BTreeMap<u32, String>> {
    let mut led = BTreeMap::new();
    for entry in fs::read_dir("/proc").context("list processes")? {
        let name = entry?.file_name();
        let Ok(process) = name.to_string_lossy().parse() else { continue };
        let Some(seen) = look(process) else { continue };
        if seen.parent == parent && seen.group == process {
            led.insert(process, seen.name);
        }
    }
    Ok(led)
}

#[test]
fn a_benchmark_that_is_ended_by_a_signal_leaves_nothing_running() -> Result<()> {
    binary()?;
    // What is killed leaves its files.
    let directory = tempfile::tempdir()?;
    for signal in [Signal::INT, Signal::TERM, Signal::KILL] {
        // Who is started in the background of a shell has to ignore INT, and so would whom it starts.
        let mut command = Command::new("env");
        command.args(["--default-signal=INT", env!("CARGO_BIN_EXE_bench"), "compare"]);
        command.args(["trio-latency-1000-p50", "--pairs", "1", "--quick"]);
        command.env("TMPDIR", directory.path());
        let mut bench = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        let begun = Deadline::seconds(PATIENCE_SECONDS).poll("servers of the benchmark", || {
            ensure!(bench.try_wait()?.is_none(), "the benchmark ended by itself");
            let led = led_by(bench.id())?;
            Ok(led.values().any(|name| name == "ottla-broker").then_some(led))
        });
        kill_process(Pid::from_child(&bench), signal)?;
        bench.wait()?;
        let begun = begun?;
        println!("{signal:?}: {begun:?}");
        Deadline::seconds(PATIENCE_SECONDS).poll("the end of all that it started", || {
            let left = begun.keys().any(|process| look(*process).is_some());
            Ok((!left).then_some(()))
        })?;
    }
    Ok(())
}
