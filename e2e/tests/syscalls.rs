//! Counts the system calls of a Produce: one wake-up, one read, one append, one write.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use e2e::bench::{client, request, subject::Kind};
use e2e::broker::Broker;
use e2e::deadline::Deadline;
use e2e::process::Process;

const REQUESTS: usize = 1_000;

/// Four a request, and what the rest of the broker does meanwhile.
const CALLS_MAX: f64 = 4.2;

/// Method: `strace -c` on a real broker while one connection sends single records in sequence.
#[test]
fn a_produce_costs_four_system_calls() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let mut broker = Broker::start("syscalls", directory.path(), &[])?;
    let address = broker.bootstrap().to_owned();
    client::create_topic(&address, "counted", 1, Kind::Ottla.relaxed())?;
    let frame = request::produce("counted", 0, &request::batch(100, 0)?.0, 1)?;
    let mut connection = client::Client::connect(&address)?;
    connection.call(&frame)?;

    let summary = directory.path().join("summary");
    let mut strace = Command::new("strace");
    strace.args(["-f", "-c", "-p", &broker.process()?.id().to_string(), "-o"]).arg(&summary);
    let mut strace = Process::spawn("strace", &mut strace, &directory.path().join("strace.log"))?;
    strace.wait_for("that it is attached", Deadline::seconds(30), |line| {
        line.contains("attached").then_some(())
    })?;
    for _ in 0..REQUESTS {
        ensure!(request::produced(connection.call(&frame)?)? == 0, "a Produce failed");
    }
    // Told to end, it lets go of the broker and writes its summary: what stopping costs is not in it.
    strace.terminate(Deadline::seconds(30))?;
    let summary = std::fs::read_to_string(&summary).context("read strace's summary")?;
    let total = summary.lines().find(|line| line.ends_with(" total"));
    let calls = total.and_then(|line| line.split_whitespace().nth(3)).context("no total")?;
    let each = calls.parse::<f64>()? / REQUESTS as f64;
    ensure!(each <= CALLS_MAX, "{each} system calls for each Produce\n{summary}");
    println!("{each} system calls for each Produce");
    broker.stop()
}
