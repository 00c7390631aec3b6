//! Kafka's own client: an idempotent producer to every partition of one topic with five requests in
//! flight, and two members of a group that read what it writes and commit as far as they have read.
//!
//! The program is `clients/java/cluster/ClusterLoad.java`: a line from it for each thing that it does,
//! which is recorded here in the order in which it was printed. So what a member is told can be older
//! in the history than it was in truth, never newer: it is judged as a [`What::Peek`].

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use super::{Shared, TOPICS, Topic};
use crate::cluster::checker::Rule;
use crate::cluster::history::{Place, Values, What};
use crate::deadline::{self, Deadline, Stopwatch};
use crate::java::Java;
use crate::tools::maven::REFERENCE;
use crate::workspace;

/// The group, as the history numbers it.
const GROUP: u16 = 2;
const HEAP_MB: u32 = 96;
/// How many processes of the history it is: the producer, then its members.
pub const PROCESSES: u32 = 3;
/// Records that may be unanswered: more are not handed over.
const UNANSWERED_MAX: usize = 2_000;
/// How long the last records, and the group that reads them, may take once no fault goes on.
const END_SECONDS: u64 = 60;

/// A record on its way: when it was handed over.
type Sending = HashMap<(u16, u32), u64>;

/// What its output has told so far.
#[derive(Debug)]
struct Told {
    shared: Shared,
    topic: u16,
    /// Of the producer; the members follow.
    process: u32,
    first_writer: u16,
    sending: Mutex<Sending>,
    /// By partition, since when there is something unanswered and nothing was answered.
    progress: Mutex<Vec<Stopwatch>>,
    /// By partition, how far the group has committed.
    committed: Mutex<HashMap<u16, i64>>,
    flushed: AtomicBool,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs the program on topic number `topic` until it is told to stop and its group has read all that it
/// wrote; `process` and those after it are its own.
pub fn run_on(shared: &Shared, topic: u16, process: u32, seed: u64, mean_pause: Duration) {
    if let Err(error) = run(shared, topic, process, seed, mean_pause) {
        let what = format!("Kafka's client: {error:#}");
        shared.history.record(process, What::Wrong(Rule::UnexpectedAnswer, what));
    }
}

fn run(shared: &Shared, topic: u16, process: u32, seed: u64, mean_pause: Duration) -> Result<()> {
    let mut child = start(shared, TOPICS[usize::from(topic)].name)?;
    let mut input = child.stdin.take().context("its input")?;
    let output = child.stdout.take().context("its output")?;
    let partitions = TOPICS[usize::from(topic)].partitions;
    let told = Arc::new(Told {
        shared: shared.clone(),
        topic,
        process,
        first_writer: process as u16 * 100,
        sending: Mutex::default(),
        progress: Mutex::new(vec![Stopwatch::start(); usize::from(partitions)]),
        committed: Mutex::default(),
        flushed: AtomicBool::new(false),
    });
    let hearing = {
        let told = Arc::clone(&told);
        thread::spawn(move || told.listen(output))
    };
    let fed = feed(&told, &mut input, seed, mean_pause).and_then(|()| finish(&told, &mut input));
    // It ends when its input does.
    drop(input);
    let ended = wait(&mut child);
    let heard = hearing.join();
    fed?;
    ended?;
    heard.map_err(|_| anyhow::anyhow!("a thread of the harness panicked"))?
}

fn start(shared: &Shared, topic: &str) -> Result<Child> {
    let java = Java::with_sources(REFERENCE, &["cluster"])?;
    let brokers: Vec<String> =
        shared.view.brokers().iter().map(|(_, address)| address.to_string()).collect();
    // A leader of Kafka's that was started again refuses retries of more than one (`produce`).
    let in_flight = if shared.kafkas.is_empty() { "5" } else { "1" };
    let mut command: Command = java.class("ClusterLoad", HEAP_MB);
    command.args([&brokers.join(","), topic, "java-group", in_flight]);
    let log = workspace::output_dir().join("logs").join("cluster-java.log");
    let log = File::create(&log).with_context(|| format!("create {}", log.display()))?;
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log);
    command.spawn().context("start java")
}

fn wait(child: &mut Child) -> Result<()> {
    let ended = Deadline::seconds(END_SECONDS)
        .poll("the end of Kafka's client", || child.try_wait().context("wait for java"));
    if ended.is_err() {
        child.kill().context("kill java")?;
        child.wait().context("wait for java")?;
    }
    ensure!(ended?.success(), "it failed: see cluster-java.log");
    Ok(())
}

/// Hands it record after record until all are to stop.
fn feed(told: &Told, input: &mut ChildStdin, seed: u64, mean_pause: Duration) -> Result<()> {
    let mut rng = fastrand::Rng::with_seed(seed);
    let Topic { partitions, .. } = TOPICS[usize::from(told.topic)];
    let mut next = vec![0_u32; usize::from(partitions)];
    while !told.shared.stopped() {
        let pause = rng.u64(..=2 * mean_pause.as_micros() as u64 / u64::from(partitions));
        deadline::pass(Duration::from_micros(pause));
        if locked(&told.sending).len() >= UNANSWERED_MAX {
            continue;
        }
        let partition = rng.u16(..partitions);
        let number = &mut next[usize::from(partition)];
        let (place, values) = told.record_of(partition, *number);
        let sent_at = told.shared.history.now();
        locked(&told.sending).insert((partition, *number), sent_at);
        told.shared.history.record(told.process, What::Send(place, values));
        let padding = "x".repeat(rng.usize(..100));
        writeln!(input, "send {partition} {number} {} {number} {padding}", values.writer)
            .context("it reads no more")?;
        *number += 1;
    }
    Ok(())
}

/// Waits until all is acknowledged and the group has committed to the end of it.
fn finish(told: &Told, input: &mut ChildStdin) -> Result<()> {
    writeln!(input, "flush").context("it reads no more")?;
    let deadline = Deadline::seconds(END_SECONDS);
    deadline.poll("its last acknowledgements", || {
        Ok(told.flushed.load(Ordering::SeqCst).then_some(()))
    })?;
    let behind = || {
        let partitions = 0..TOPICS[usize::from(told.topic)].partitions;
        let behind = partitions.filter_map(|partition| {
            let place = Place { topic: told.topic, partition };
            let end = told.shared.history.look(|checker| checker.known_end(place));
            let committed = locked(&told.committed).get(&partition).copied().unwrap_or(0);
            (committed < end).then(|| format!("{place}: {committed} of {end}"))
        });
        behind.collect::<Vec<_>>()
    };
    let read = deadline.poll("its group", || Ok(behind().is_empty().then_some(())));
    read.map_err(|_| anyhow::anyhow!("its group came no further than {}", behind().join(", ")))
}

impl Told {
    fn record_of(&self, partition: u16, number: u32) -> (Place, Values) {
        let place = Place { topic: self.topic, partition };
        (place, Values { writer: self.first_writer + partition, first: number, count: 1 })
    }

    fn listen(&self, output: ChildStdout) -> Result<()> {
        for line in BufReader::new(output).lines() {
            let line = line.context("read its output")?;
            let words: Vec<&str> = line.split(' ').collect();
            self.hear(&words).with_context(|| line.clone())?;
        }
        Ok(())
    }

    fn hear(&self, words: &[&str]) -> Result<()> {
        match words {
            ["sent", partition, number, offset] => {
                self.sent(partition.parse()?, number.parse()?, offset.parse()?);
            }
            ["failed", partition, number, why @ ..] => {
                locked(&self.sending).remove(&(partition.parse()?, number.parse()?));
                let what =
                    format!("Kafka's client gave up {partition} {number}: {}", why.join(" "));
                let what = self.shared.unless_kafka(None, Rule::UnexpectedAnswer, what);
                self.shared.history.record(self.process, what);
            }
            ["flushed"] => self.flushed.store(true, Ordering::SeqCst),
            ["note", text @ ..] => self.shared.history.note(text.join(" ")),
            [verb, member, rest @ ..] => {
                let member = self.process + 1 + member.parse::<u32>()?;
                for what in self.of_member(verb, rest)? {
                    self.shared.history.record(member, what);
                }
            }
            _ => bail!("no such line"),
        }
        Ok(())
    }

    fn sent(&self, partition: u16, number: u32, offset: i64) {
        let (place, values) = self.record_of(partition, number);
        self.shared.history.record(self.process, What::Sent(place, values, offset));
        let sent_at = locked(&self.sending).remove(&(partition, number)).unwrap_or(0);
        let since = Duration::from_micros(self.shared.history.now().saturating_sub(sent_at));
        if let Some(last) = locked(&self.progress).get_mut(usize::from(partition)) {
            let took = last.elapsed().min(since);
            *last = Stopwatch::start();
            self.shared.pulse.accepted(place, sent_at, took);
        }
    }

    /// The events of a line about a member.
    fn of_member(&self, verb: &str, words: &[&str]) -> Result<Vec<What>> {
        let place = |partition: &str| -> Result<Place> {
            Ok(Place { topic: self.topic, partition: partition.parse()? })
        };
        Ok(match (verb, words) {
            ("owns", [generation, partitions]) => {
                let partitions = partitions.split(',').filter(|word| !word.is_empty());
                let places = partitions.map(place).collect::<Result<_>>()?;
                vec![What::Owns(GROUP, generation.parse()?, places)]
            }
            ("ask", [partition]) => vec![What::Peek(GROUP, place(partition)?)],
            ("told", [partition, offset]) => {
                let (place, offset) = (place(partition)?, offset.parse::<i64>()?);
                // It reads on from there, and may leave nothing out.
                let begin = What::Poll(place, offset.max(0), Vec::new());
                vec![What::Told(GROUP, place, offset), What::Seek(place), begin]
            }
            ("read", [partition, offset, writer, number]) => {
                let offset: i64 = offset.parse()?;
                let values = Values { writer: writer.parse()?, first: number.parse()?, count: 1 };
                vec![What::Poll(place(partition)?, offset + 1, vec![(offset, values)])]
            }
            ("commit", [generation, partition, offset]) => {
                let place = place(partition)?;
                vec![What::Commit(GROUP, generation.parse()?, place, offset.parse()?)]
            }
            ("committed", [generation, partition, offset]) => {
                let (place, offset) = (place(partition)?, offset.parse()?);
                locked(&self.committed).insert(place.partition, offset);
                vec![What::Committed(GROUP, generation.parse()?, place, offset)]
            }
            _ => bail!("no such line"),
        })
    }
}
