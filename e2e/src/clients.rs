//! One client's whole run: a program in its own language, twice, with a restart of the broker
//! between.
//!
//! A program is called with `<bootstrap> <phase> <name> <records>`, where the phase is `before` or
//! `after` the restart, `name` is its topic and the prefix of its groups, and `records` is what the
//! first phase left in the topic. It prints a line an operation:
//!
//! ```text
//! @op <TAB> operation <TAB> ok | cannot | FAIL <TAB> detail
//! @state <TAB> records
//! ```
//!
//! An operation that fails never ends the program, so that one run shows all that is wrong.

use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::thread;

use anyhow::{Context, Result, anyhow, bail};

use crate::capture;
use crate::deadline::Deadline;
use crate::logs;
use crate::matrix::{Outcome, Row};
use crate::peer::Peer;
use crate::process::{self, Process};
use crate::verdict::{self, Lacks};

/// How many clients run side by side; as many as the smallest machine has cores, and one more.
const AT_ONCE: usize = 3;

/// The longest that one phase of one client may take.
const PHASE_SECONDS: u64 = 300;

/// A client program, and what it lacks.
pub struct Client<'a> {
    name: String,
    lacks: Vec<Lacks>,
    program: Box<dyn Fn(&[String]) -> Result<Command> + Sync + 'a>,
}

impl<'a> Client<'a> {
    /// A client called `name`; `program` is given the phase's arguments in order.
    pub fn new(
        name: &str,
        lacks: &[Lacks],
        program: impl Fn(&[String]) -> Result<Command> + Sync + 'a,
    ) -> Self {
        Self { name: name.to_owned(), lacks: lacks.to_vec(), program: Box::new(program) }
    }
}

/// What a client has reported so far.
#[derive(Debug, Default)]
pub struct Progress {
    /// The outcome of each operation.
    pub row: Row,
    /// How many records it left in its topic.
    pub records: String,
}

/// Runs one client in both phases and checks its row against what it lacks.
///
/// Fails with every operation that failed, is missing, or is marked otherwise than listed.
pub fn check(client: &Client<'_>) -> Result<()> {
    check_all(&client.name, std::slice::from_ref(client))
}

/// As [`check`], for several clients on one broker, [`AT_ONCE`] at a time.
pub fn check_all(name: &str, clients: &[Client<'_>]) -> Result<()> {
    if clients.len() > 1 && capture::directory().is_some() {
        // The frames of each under its own name.
        return clients.iter().try_for_each(check);
    }
    let mut peer = Peer::start(name)?;
    foreign_topic(peer.bootstrap())?;
    let mut progress: Vec<Progress> = clients.iter().map(|_| Progress::default()).collect();
    phase("before", peer.bootstrap(), clients, &mut progress)?;
    peer.restart()?;
    await_topic(peer.bootstrap(), "foreign")?;
    phase("after", peer.bootstrap(), clients, &mut progress)?;
    let mut wrong = Vec::new();
    for (client, Progress { row, .. }) in clients.iter().zip(&progress) {
        let verdict = verdict::conclude(&client.name, &client.lacks, row);
        wrong.extend(verdict.err().map(|error| format!("{error:#}")));
    }
    if !wrong.is_empty() {
        bail!("{}", wrong.join("\n"));
    }
    Ok(())
}

/// Runs one phase of every client.
fn phase(
    phase: &str,
    bootstrap: &str,
    clients: &[Client<'_>],
    progress: &mut [Progress],
) -> Result<()> {
    let queue = Mutex::new(clients.iter().zip(progress.iter_mut()));
    thread::scope(|scope| {
        let workers: Vec<_> = (0..AT_ONCE)
            .map(|_| {
                scope.spawn(|| -> Result<()> {
                    loop {
                        let next = queue.lock().unwrap_or_else(PoisonError::into_inner).next();
                        let Some((client, progress)) = next else { return Ok(()) };
                        run(client, phase, bootstrap, progress)?;
                    }
                })
            })
            .collect();
        for worker in workers {
            worker.join().map_err(|_| anyhow!("a worker panicked"))??;
        }
        Ok(())
    })
}

/// Runs one phase of one client.
pub fn run(
    client: &Client<'_>,
    phase: &str,
    bootstrap: &str,
    progress: &mut Progress,
) -> Result<()> {
    let name = &client.name;
    let arguments = [bootstrap, phase, name, &progress.records].map(str::to_owned);
    let log = logs::file(name);
    let mut process = Process::spawn(name, &mut (client.program)(&arguments)?, &log)?;
    drop(process.take_stdin());
    process.wait(Deadline::seconds(PHASE_SECONDS))?;
    let lines = process.lines();
    if !lines.iter().any(|line| line.starts_with("@op\t")) {
        return Err(process.complain("reported no operation"));
    }
    if let Some(state) = lines.iter().find_map(|line| line.strip_prefix("@state\t")) {
        state.clone_into(&mut progress.records);
    }
    progress.row.extend(lines.iter().filter_map(|line| outcome(line)));
    Ok(())
}

fn outcome(line: &str) -> Option<(String, Outcome)> {
    let mut fields = line.strip_prefix("@op\t")?.splitn(3, '\t');
    let operation = fields.next()?.to_owned();
    let mark = fields.next()?;
    let detail = fields.next().unwrap_or_default().to_owned();
    let outcome = match mark {
        "ok" => Outcome::Passed,
        "cannot" => Outcome::Cannot(detail),
        _ => Outcome::Failed(detail),
    };
    Some((operation, outcome))
}

/// Ten records by librdkafka in partition 0 of `foreign`: keyed, with a header, gzip, newest format.
pub fn foreign_topic(bootstrap: &str) -> Result<()> {
    await_broker(bootstrap)?;
    let mut kcat = Command::new("kcat");
    kcat.args(["-b", bootstrap, "-P", "-t", "foreign", "-p", "0", "-K", "=", "-z", "gzip"]);
    kcat.args(["-H", "origin=kcat"]);
    let log = logs::file("kcat-foreign");
    let mut process = Process::spawn("kcat", &mut kcat, &log)?;
    let mut input = process.take_stdin().context("kcat's standard input")?;
    for number in 0..10 {
        use std::io::Write;
        writeln!(input, "key{number}=value{number}").context("write to kcat")?;
    }
    drop(input);
    process.wait_success(Deadline::seconds(60)).map(drop)
}

/// Notes how one operation of a client written in Rust, or run by it, went.
pub fn passed(row: &mut Row, operation: &str, outcome: Result<()>) {
    let outcome = match outcome {
        Ok(()) => Outcome::Passed,
        Err(error) => Outcome::Failed(format!("{error:#}")),
    };
    row.insert(operation.to_owned(), outcome);
}

/// Waits until the peer names a broker to clients; Kafka learns of itself only after it has started.
pub fn await_broker(bootstrap: &str) -> Result<()> {
    await_metadata(bootstrap, &["-L"], "  broker ")
}

/// Waits until the peer names a leader of `topic`, which Kafka does some time after a restart.
pub fn await_topic(bootstrap: &str, topic: &str) -> Result<()> {
    await_metadata(bootstrap, &["-L", "-t", topic], "    partition 0, leader 0")
}

fn await_metadata(bootstrap: &str, arguments: &[&str], wanted: &str) -> Result<()> {
    Deadline::seconds(60).poll(&format!("metadata with a line {wanted:?}"), || {
        let mut kcat = Command::new("kcat");
        kcat.args(["-b", bootstrap]).args(arguments);
        let lines = command("kcat-metadata", &mut kcat)?;
        Ok(lines.iter().any(|line| line.starts_with(wanted)).then_some(()))
    })
}

/// Runs one command of a client to its end; returns what it printed.
pub fn command(client: &str, command: &mut Command) -> Result<Vec<String>> {
    process::run(client, command, &logs::file(client), Deadline::seconds(PHASE_SECONDS))
}
