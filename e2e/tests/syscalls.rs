//! Watches the system calls of a running broker: how many a Produce costs, and that a Fetch hands
//! file ranges to the kernel instead of copying them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use e2e::bench::{client, kind::Kind, request};
use e2e::broker::Broker;
use e2e::deadline::Deadline;
use e2e::process::Process;

const REQUESTS: usize = 1_000;

/// Four a request (one wake-up, one read, one append, one write), and what the rest of the broker
/// does meanwhile.
const RELAXED_MAX: f64 = 4.2;

/// Nine, and what the rest of the broker does meanwhile: those four; one that wakes the thread that
/// syncs and one in which that one had waited; `fdatasync`; one that wakes the network thread, and
/// one more wait of it. Each wake-up that comes for nothing is one more.
const SYNCED_MAX: f64 = 9.5;

/// A broker under strace.
struct Traced {
    strace: Process,
    output: PathBuf,
}

impl Traced {
    /// Attaches with `arguments`; what is found goes to a file in `directory`.
    fn attach(broker: &mut Broker, directory: &Path, arguments: &[&str]) -> Result<Self> {
        let output = directory.join("strace.output");
        let mut command = Command::new("strace");
        command.arg("-f").args(arguments).arg("-p").arg(broker.process()?.id().to_string());
        command.arg("-o").arg(&output);
        let strace = Process::spawn("strace", &mut command, &directory.join("strace.log"))?;
        strace.wait_for("that it is attached", Deadline::seconds(30), |line| {
            line.contains("attached").then_some(())
        })?;
        Ok(Self { strace, output })
    }

    /// Lets go of the broker and returns what was found: what stopping it costs is not in it.
    fn detach(mut self) -> Result<String> {
        self.strace.terminate(Deadline::seconds(30))?;
        fs::read_to_string(&self.output).context("read strace's output")
    }
}

/// Counts while one connection sends single records in sequence to a topic with `settings`.
fn calls_of_a_produce(name: &str, settings: &[(&str, &str)]) -> Result<(f64, String)> {
    let directory = tempfile::tempdir()?;
    let mut broker = Broker::start(name, directory.path(), &[])?;
    let address = broker.bootstrap().to_owned();
    client::create_topic(&address, "counted", 1, settings)?;
    let frame = request::produce("counted", 0, &request::batch(100, 0)?.0, -1)?;
    let mut connection = client::Client::connect(&address)?;
    connection.call(&frame)?;

    let traced = Traced::attach(&mut broker, directory.path(), &["-c"])?;
    for _ in 0..REQUESTS {
        ensure!(request::produced(connection.call(&frame)?)? == 0, "a Produce failed");
    }
    let summary = traced.detach()?;
    let total = summary.lines().find(|line| line.ends_with(" total"));
    let calls = total.and_then(|line| line.split_whitespace().nth(3)).context("no total")?;
    let each = calls.parse::<f64>()? / REQUESTS as f64;
    println!("{name}: {each} system calls for each Produce");
    broker.stop()?;
    Ok((each, summary))
}

#[test]
fn a_produce_that_waits_for_no_disk_costs_four_system_calls() -> Result<()> {
    let (each, summary) = calls_of_a_produce("syscalls-relaxed", Kind::Ottla.relaxed())?;
    ensure!(each <= RELAXED_MAX, "{each} system calls for each Produce\n{summary}");
    Ok(())
}

/// Without company each Produce pays for a group commit of its own: this is the most it can cost.
#[test]
fn a_produce_that_waits_for_the_disk_pays_for_one_sync_and_two_ways() -> Result<()> {
    let (each, summary) = calls_of_a_produce("syscalls-synced", &[])?;
    ensure!(each <= SYNCED_MAX, "{each} system calls for each Produce\n{summary}");
    let syncs = summary.lines().find(|line| line.ends_with(" fdatasync")).context("no sync")?;
    let syncs: usize = syncs.split_whitespace().nth(3).context("no count")?.parse()?;
    ensure!(syncs >= REQUESTS, "{syncs} syncs for {REQUESTS} answers\n{summary}");
    Ok(())
}

/// The sum of what the calls of `name` returned; those that failed, or did not end, count nothing.
fn returned(trace: &str, name: &str) -> usize {
    let (call, resumed) = (format!(" {name}("), format!("<... {name} resumed>"));
    let lines = trace.lines().filter(|line| line.contains(&call) || line.contains(&resumed));
    lines.filter_map(|line| line.rsplit_once(" = ")?.1.trim().parse::<usize>().ok()).sum()
}

/// Reads a segment that is full and the one that is written to.
#[test]
fn a_fetch_sends_file_ranges_without_copying_them() -> Result<()> {
    /// Heads of answers; far less than the records.
    const SENT_FROM_MEMORY_MAX: usize = 4 << 10;
    let directory = tempfile::tempdir()?;
    let mut broker = Broker::start("syscalls-fetch", directory.path(), &[])?;
    let address = broker.bootstrap().to_owned();
    client::create_topic(&address, "read", 1, &[("segment.bytes", "524288")])?;
    let (batch, count) = request::batch(1_000, 16_000)?;
    let batches = 48;
    client::replay(&address, &[request::produce("read", 0, &batch, -1)?], batches, 1)?;
    let files = fs::read_dir(broker.log_dir().join("read-0"))?.collect::<Result<Vec<_>, _>>()?;
    let segments =
        files.iter().filter(|file| file.path().extension().is_some_and(|it| it == "log"));
    ensure!(segments.count() == 2, "one segment that is full, one that is not");

    let mut connection = client::Client::connect(&address)?;
    let traced = Traced::attach(
        &mut broker,
        directory.path(),
        &["-e", "trace=sendfile,sendto,sendmsg,write,writev"],
    )?;
    let (mut offset, mut sizes) = (0, Vec::new());
    while offset < count * batches as i64 {
        let answer = connection.call(&request::fetch("read", 0, offset)?)?;
        let (code, size, next) = client::fetched(answer)?;
        ensure!(code == 0 && next > offset, "a Fetch at {offset} is answered with {code}, {next}");
        offset = next;
        sizes.push(size);
    }
    let trace = traced.detach()?;
    ensure!(sizes.len() == 2, "each segment is an answer: {sizes:?}");
    let (sent, size) = (returned(&trace, "sendfile"), sizes.iter().sum::<usize>());
    ensure!(sent == size, "sendfile sent {sent} of {size} bytes\n{trace}");
    let copied = ["sendto", "sendmsg", "write", "writev"].map(|name| returned(&trace, name));
    let copied: usize = copied.iter().sum();
    ensure!(copied <= SENT_FROM_MEMORY_MAX, "{copied} bytes sent from memory\n{trace}");
    broker.stop()
}
