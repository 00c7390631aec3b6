//! What is measured: one row a kind of load, run on one broker at a time.
//!
//! Every figure is a cost: smaller is better, so that a ratio below 1 is ours. Sizes are decimal.

use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};

use super::figure::Figure;
use super::machine::{Cpu, CpuWatch};
use super::subject::Subject;
use super::{client, kcat, lifecycle, machine, request};
use crate::kafka::Zookeeper;

/// A load and the figure that it gives.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// What a person calls it by.
    pub name: &'static str,
    /// What the figure counts.
    pub unit: &'static str,
    /// What is to be reached.
    pub target: Target,
    load: Load,
}

/// What a row is to reach; a smaller figure is better.
#[derive(Debug, Clone, Copy)]
pub enum Target {
    /// A ratio to Kafka.
    Ratio(f64),
    /// A figure of our own, whatever Kafka's is.
    Figure(f64),
}

#[derive(Debug, Clone, Copy)]
enum Load {
    Produce { record: usize, batch: usize, partitions: i32 },
    Requests { connections: usize },
    Synced { connections: usize },
    Consume { consumers: usize },
    Latency { percent: usize },
    KcatProduce,
    KcatConsume,
    Start,
    IdleMemory,
    IdleCpu,
    Storm { connections: usize },
}

const fn produce(name: &'static str, record: usize, batch: usize, partitions: i32) -> Row {
    Row {
        name,
        unit: "CPU s/GB",
        target: Target::Ratio(1.0),
        load: Load::Produce { record, batch, partitions },
    }
}

const fn ratio(name: &'static str, unit: &'static str, target: f64, load: Load) -> Row {
    Row { name, unit, target: Target::Ratio(target), load }
}

const fn below(name: &'static str, unit: &'static str, target: f64, load: Load) -> Row {
    Row { name, unit, target: Target::Figure(target), load }
}

/// Every row, in the order of the table.
pub const ROWS: &[Row] = &[
    produce("produce-100B-64K-1p", 100, 65_536, 1),
    produce("produce-100B-1M-1p", 100, 1_000_000, 1),
    produce("produce-1K-64K-1p", 1024, 65_536, 1),
    produce("produce-1K-1M-1p", 1024, 1_000_000, 1),
    produce("produce-100B-64K-12p", 100, 65_536, 12),
    produce("produce-100B-1M-12p", 100, 1_000_000, 12),
    produce("produce-1K-64K-12p", 1024, 65_536, 12),
    produce("produce-1K-1M-12p", 1024, 1_000_000, 12),
    ratio("requests-1c", "CPU us/request", 0.6, Load::Requests { connections: 1 }),
    ratio("requests-50c", "CPU us/request", 0.6, Load::Requests { connections: 50 }),
    ratio("consume-1", "CPU s/GB", 1.0, Load::Consume { consumers: 1 }),
    ratio("consume-4", "CPU s/GB", 1.0, Load::Consume { consumers: 4 }),
    ratio("latency-p50", "ms", 1.0, Load::Latency { percent: 50 }),
    ratio("latency-p99", "ms", 1.0, Load::Latency { percent: 99 }),
    ratio("synced-50c", "us a request", 0.2, Load::Synced { connections: 50 }),
    ratio("kcat-produce", "CPU s/GB", 1.0, Load::KcatProduce),
    ratio("kcat-consume", "CPU s/GB", 1.0, Load::KcatConsume),
    below("first-produce", "ms after exec", 100.0, Load::Start),
    below("idle-memory", "MiB", 30.0, Load::IdleMemory),
    below("idle-cpu", "% of a core", 0.2, Load::IdleCpu),
    below("storm-1000c", "ms to serve all", 1000.0, Load::Storm { connections: 1000 }),
];

/// How much load a run is: 1 for a run that is quoted, less for a look.
#[derive(Debug, Clone, Copy)]
pub struct Scale(pub f64);

impl Scale {
    fn of(self, count: usize) -> usize {
        ((count as f64 * self.0) as usize).max(1)
    }
}

impl Row {
    /// Runs the load: on a broker of its own where a young one is what is measured, else on `subject`
    /// and a topic of its own, which is deleted afterwards.
    pub fn run(&self, subject: &Subject, zookeeper: &Zookeeper, scale: Scale) -> Result<Figure> {
        let young = match self.load {
            Load::Start => Some(lifecycle::first_produce(subject.kind, zookeeper)),
            Load::IdleMemory => Some(lifecycle::idle_memory(subject.kind, zookeeper)),
            Load::IdleCpu => Some(lifecycle::idle_cpu(subject.kind, zookeeper)),
            Load::Storm { connections } => {
                Some(lifecycle::storm(subject.kind, zookeeper, connections))
            }
            Load::Produce { .. }
            | Load::Requests { .. }
            | Load::Synced { .. }
            | Load::Consume { .. }
            | Load::Latency { .. }
            | Load::KcatProduce
            | Load::KcatConsume => None,
        };
        match young {
            Some(figure) => figure.with_context(|| self.name.to_owned()),
            None => self.run_on_topic(subject, scale),
        }
    }

    /// Whether its runs start brokers of their own, which nothing can warm.
    pub fn is_young(&self) -> bool {
        matches!(self.target, Target::Figure(_))
    }

    fn run_on_topic(&self, subject: &Subject, scale: Scale) -> Result<Figure> {
        let topic = format!("bench-{}", self.name);
        let partitions =
            if let Load::Produce { partitions, .. } = self.load { partitions } else { 1 };
        let is_synced = matches!(self.load, Load::Synced { .. });
        let settings = if is_synced { subject.kind.synced() } else { subject.kind.relaxed() };
        client::create_topic(&subject.address, &topic, partitions, settings)?;
        let figure = self.measure(subject, &topic, scale).with_context(|| self.name.to_owned());
        client::delete_topic(&subject.address, &topic)?;
        subject.wait_gone(&topic)?;
        figure
    }

    fn measure(&self, subject: &Subject, topic: &str, scale: Scale) -> Result<Figure> {
        match self.load {
            Load::Produce { record, batch, partitions } => {
                let (bytes, _) = request::batch(record, batch)?;
                let frames = (0..partitions)
                    .map(|partition| request::produce(topic, partition, &bytes, -1))
                    .collect::<Result<Vec<_>>>()?;
                let count = scale.of(300_000_000) / bytes.len();
                let gigabytes = (count * bytes.len()) as f64 / 1e9;
                measured(subject, gigabytes, || {
                    client::replay(&subject.address, &frames, count.max(1), 5)
                })
            }
            Load::Requests { connections } => {
                let count = scale.of(60_000) / connections;
                let microseconds = (count * connections) as f64 / 1e6;
                measured(subject, microseconds, || single(subject, topic, connections, count, 1))
            }
            Load::Synced { connections } => {
                let count = scale.of(20_000) / connections;
                let begin = Instant::now();
                let mut figure =
                    measured(subject, 1.0, || single(subject, topic, connections, count, -1))?;
                let requests = (count * connections) as f64;
                figure.cost = begin.elapsed().as_secs_f64() * 1e6 / requests;
                Ok(figure)
            }
            Load::Consume { consumers } => consume(subject, topic, consumers, scale),
            Load::Latency { percent } => {
                let count = scale.of(5_000) as u32;
                let mut ways = Vec::new();
                let mut figure = measured(subject, 1.0, || {
                    ways = client::end_to_end(&subject.address, topic, 1000, count)?;
                    Ok(())
                })?;
                ways.sort_unstable();
                figure.cost = ways[(ways.len() - 1) * percent / 100].as_secs_f64() * 1e3;
                Ok(figure)
            }
            Load::KcatProduce => kcat_produce(subject, topic, scale),
            Load::KcatConsume => kcat_consume(subject, topic, scale),
            Load::Start | Load::IdleMemory | Load::IdleCpu | Load::Storm { .. } => {
                bail!("runs on a broker of its own")
            }
        }
    }
}

fn single(
    subject: &Subject,
    topic: &str,
    connections: usize,
    count: usize,
    acks: i16,
) -> Result<()> {
    let frame = request::produce(topic, 0, &request::batch(100, 0)?.0, acks)?;
    let frames = [frame];
    let run = |_| client::replay(&subject.address, &frames, count.max(1), 1);
    client::on_threads(connections, run).map(drop)
}

fn consume(subject: &Subject, topic: &str, consumers: usize, scale: Scale) -> Result<Figure> {
    let (bytes, records) = request::batch(1024, 65_536)?;
    let count = (scale.of(300_000_000) / bytes.len()).max(1);
    let frames = [request::produce(topic, 0, &bytes, -1)?];
    client::replay(&subject.address, &frames, count, 5)?;
    let (end, size) = (records * count as i64, count * bytes.len());
    let gigabytes = (size * consumers) as f64 / 1e9;
    measured(subject, gigabytes, || {
        let read = |_| client::consume(&subject.address, topic, 0, end);
        for read in client::on_threads(consumers, read)? {
            ensure!(read >= size, "a consumer got {read} of {size} bytes");
        }
        Ok(())
    })
}

/// The bytes of one record of kcat's rows, its line end left out.
const KCAT_RECORD: usize = 100;

/// kcat (librdkafka) sends a file of lines, a record each, batched as it does by default.
fn kcat_produce(subject: &Subject, topic: &str, scale: Scale) -> Result<Figure> {
    let records = scale.of(1_000_000);
    let file = kcat::lines(records, KCAT_RECORD)?;
    let gigabytes = (records * KCAT_RECORD) as f64 / 1e9;
    measured(subject, gigabytes, || kcat::produce(&subject.address, topic, file.path()))
}

/// kcat reads what it wrote, from the start to the end.
fn kcat_consume(subject: &Subject, topic: &str, scale: Scale) -> Result<Figure> {
    let records = scale.of(1_000_000);
    let file = kcat::lines(records, KCAT_RECORD)?;
    kcat::produce(&subject.address, topic, file.path())?;
    let gigabytes = (records * KCAT_RECORD) as f64 / 1e9;
    measured(subject, gigabytes, || kcat::consume(&subject.address, topic, records))
}

/// Runs `load` and divides the broker's CPU seconds by `work`.
fn measured(subject: &Subject, work: f64, load: impl FnOnce() -> Result<()>) -> Result<Figure> {
    let watch = CpuWatch::start(subject.id)?;
    load()?;
    let Cpu { user, system } = watch.used()?;
    Ok(Figure {
        cost: (user + system) / work,
        user,
        system,
        resident: machine::resident(subject.id)?,
    })
}
