//! What is measured: one row a kind of load, run on one broker at a time.
//!
//! Every figure is a cost: smaller is better, so that a ratio below 1 is ours. Sizes are decimal.

use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};

use super::figure::Figure;
use super::kind::Kind;
use super::machine::{Cpu, CpuWatch};
use super::subject::Subject;
use super::{client, kcat, lifecycle, many, request};
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
    /// The brokers of a side.
    pub brokers: usize,
    load: Load,
    told: Told,
}

/// What a row tells of a run.
#[derive(Debug, Clone, Copy)]
enum Told {
    /// What the load costs.
    Cost,
    /// How long the timed record at so many thousandths took: of loads of timed records.
    Permille(usize),
    /// Resident MiB: of loads whose runs say that of the largest broker.
    Resident,
}

/// What a row is to reach; a smaller figure is better.
#[derive(Debug, Clone, Copy)]
pub enum Target {
    /// A ratio to Kafka.
    Ratio(f64),
    /// A figure of our own, whatever Kafka's is.
    Figure(f64),
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Load {
    Warm(Warm),
    Young(Young),
}

/// Runs on brokers that ran before, and a topic of its own.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Warm {
    Produce {
        record: usize,
        batch: usize,
        partitions: i32,
    },
    Requests {
        connections: usize,
    },
    Synced {
        connections: usize,
    },
    Consume {
        consumers: usize,
    },
    /// So many records a second.
    Latency {
        rate: u32,
    },
    KcatProduce,
    KcatConsume,
}

/// Starts brokers of its own, which nothing can warm.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Young {
    FirstProduce,
    IdleMemory,
    IdleCpu,
    Storm { connections: usize },
    FullIsr { partitions: i32 },
    Succession { partitions: i32 },
}

const fn produce(name: &'static str, record: usize, batch: usize, partitions: i32) -> Row {
    warm(name, "CPU s/GB", 1.0, Warm::Produce { record, batch, partitions })
}

const fn warm(name: &'static str, unit: &'static str, target: f64, load: Warm) -> Row {
    let target = Target::Ratio(target);
    Row { name, unit, target, brokers: 1, load: Load::Warm(load), told: Told::Cost }
}

const fn young(name: &'static str, unit: &'static str, target: Target, load: Young) -> Row {
    Row { name, unit, target, brokers: 1, load: Load::Young(load), told: Told::Cost }
}

/// A row of a cluster of three.
const fn trio(row: Row) -> Row {
    Row { brokers: 3, ..row }
}

const fn trio_produce(name: &'static str, record: usize, batch: usize) -> Row {
    trio(warm(name, "CPU s/GB", 1.0 / 3.0, Warm::Produce { record, batch, partitions: 1 }))
}

/// Rows of one load stand together: its runs serve all of them.
const fn latency(name: &'static str, target: f64, rate: u32, permille: usize) -> Row {
    Row { told: Told::Permille(permille), ..warm(name, "ms", target, Warm::Latency { rate }) }
}

const fn trio_latency(name: &'static str, target: f64, rate: u32, permille: usize) -> Row {
    trio(latency(name, target, rate, permille))
}

/// Every row, in the order of the table; rows of as many brokers are together.
pub const ROWS: &[Row] = &[
    produce("produce-100B-64K-1p", 100, 65_536, 1),
    produce("produce-100B-1M-1p", 100, 1_000_000, 1),
    produce("produce-1K-64K-1p", 1024, 65_536, 1),
    produce("produce-1K-1M-1p", 1024, 1_000_000, 1),
    produce("produce-100B-64K-12p", 100, 65_536, 12),
    produce("produce-100B-1M-12p", 100, 1_000_000, 12),
    produce("produce-1K-64K-12p", 1024, 65_536, 12),
    produce("produce-1K-1M-12p", 1024, 1_000_000, 12),
    warm("requests-1c", "CPU us/request", 0.6, Warm::Requests { connections: 1 }),
    warm("requests-50c", "CPU us/request", 0.6, Warm::Requests { connections: 50 }),
    warm("consume-1", "CPU s/GB", 1.0, Warm::Consume { consumers: 1 }),
    warm("consume-4", "CPU s/GB", 1.0, Warm::Consume { consumers: 4 }),
    latency("latency-p50", 1.0, 1000, 500),
    latency("latency-p99", 1.0, 1000, 990),
    warm("synced-50c", "us a request", 0.2, Warm::Synced { connections: 50 }),
    warm("kcat-produce", "CPU s/GB", 1.0, Warm::KcatProduce),
    warm("kcat-consume", "CPU s/GB", 1.0, Warm::KcatConsume),
    young("first-produce", "ms after exec", Target::Figure(100.0), Young::FirstProduce),
    young("idle-memory", "MiB", Target::Figure(30.0), Young::IdleMemory),
    young("idle-cpu", "% of a core", Target::Figure(0.2), Young::IdleCpu),
    young(
        "storm-1000c",
        "ms to serve all",
        Target::Figure(1000.0),
        Young::Storm { connections: 1000 },
    ),
    trio_produce("trio-produce-100B-64K", 100, 65_536),
    trio_produce("trio-produce-100B-1M", 100, 1_000_000),
    trio_produce("trio-produce-1K-64K", 1024, 65_536),
    trio_produce("trio-produce-1K-1M", 1024, 1_000_000),
    trio(warm("trio-requests-1c", "CPU us/request", 1.0 / 3.0, Warm::Requests { connections: 1 })),
    trio(warm("trio-requests-50c", "CPU us/request", 0.4, Warm::Requests { connections: 50 })),
    trio_latency("trio-latency-1000-p50", 1.0 / 1.5, 1_000, 500),
    trio_latency("trio-latency-1000-p99", 0.25, 1_000, 990),
    trio_latency("trio-latency-1000-p99.9", 0.125, 1_000, 999),
    trio_latency("trio-latency-10000-p50", 1.0 / 1.5, 10_000, 500),
    trio_latency("trio-latency-10000-p99", 0.25, 10_000, 990),
    trio_latency("trio-latency-10000-p99.9", 0.125, 10_000, 999),
    trio(young("trio-idle-cpu", "% of a core", Target::Ratio(0.1), Young::IdleCpu)),
    trio(young(
        "trio-full-isr-2000p",
        "s after exec",
        Target::Ratio(0.2),
        Young::FullIsr { partitions: 2_000 },
    )),
    trio(young(
        "trio-failover-10000p",
        "s",
        Target::Figure(2.0),
        Young::Succession { partitions: 10_000 },
    )),
    Row {
        told: Told::Resident,
        ..trio(young(
            "trio-memory-10000p",
            "MiB",
            Target::Figure(250.0),
            Young::Succession { partitions: 10_000 },
        ))
    },
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
    /// Runs the load: on brokers of its own where young ones are what is measured, else on `subject`
    /// and a topic of its own, which is deleted afterwards.
    pub fn run(
        &self,
        kind: Kind,
        subject: Option<&Subject>,
        zookeeper: &Zookeeper,
        scale: Scale,
    ) -> Result<Figure> {
        let figure = match self.load {
            Load::Young(load) => load.run(kind, self.brokers, zookeeper),
            Load::Warm(load) => match subject {
                Some(subject) => self.run_on_topic(load, subject, scale),
                None => bail!("it has no broker to run on"),
            },
        };
        figure.with_context(|| self.name.to_owned())
    }

    /// Returns what it tells of a run of its load.
    pub fn cost(&self, figure: &Figure) -> f64 {
        match self.told {
            Told::Cost => figure.cost,
            Told::Permille(permille) => figure.latency(permille),
            Told::Resident => figure.resident,
        }
    }

    /// Whether the runs of one serve the other.
    pub fn shares_runs(&self, other: &Self) -> bool {
        self.brokers == other.brokers && self.load == other.load
    }

    /// Whether its runs start brokers of their own, which nothing can warm.
    pub fn is_young(&self) -> bool {
        matches!(self.load, Load::Young(_))
    }

    /// Whether it tells how long records take, which whoever else wakes is part of.
    pub fn is_of_time(&self) -> bool {
        matches!(self.load, Load::Warm(Warm::Latency { .. }))
    }

    /// Whether ours alone is measured: ten thousand partitions of Kafka's take longer than all the rest.
    pub fn is_alone(&self) -> bool {
        matches!(self.load, Load::Young(Young::Succession { .. }))
    }

    fn run_on_topic(&self, load: Warm, subject: &Subject, scale: Scale) -> Result<Figure> {
        let topic = format!("bench-{}", self.name);
        let partitions = if let Warm::Produce { partitions, .. } = load { partitions } else { 1 };
        let is_synced = matches!(load, Warm::Synced { .. });
        let settings = if is_synced { subject.kind.synced() } else { subject.kind.relaxed() };
        let leaders = subject.create_topic(&topic, partitions, settings)?;
        let figure = self.measure(load, subject, (&leaders[0], &topic), scale);
        subject.delete_topic(&topic)?;
        figure
    }

    /// `leader` is the address of the leader of all partitions: rows of several brokers have one.
    fn measure(
        &self,
        load: Warm,
        subject: &Subject,
        (leader, topic): (&str, &str),
        scale: Scale,
    ) -> Result<Figure> {
        match load {
            Warm::Produce { record, batch, partitions } => {
                let (bytes, _) = request::batch(record, batch)?;
                let frames = (0..partitions)
                    .map(|partition| request::produce(topic, partition, &bytes, -1))
                    .collect::<Result<Vec<_>>>()?;
                let count = scale.of(300_000_000) / bytes.len();
                let gigabytes = (count * bytes.len()) as f64 / 1e9;
                measured(subject, gigabytes, || client::replay(leader, &frames, count.max(1), 5))
            }
            Warm::Requests { connections } => {
                let count = scale.of(60_000) / connections;
                // Of one broker an answer is its own; of three it is that of all of them.
                let acks = if self.brokers == 1 { 1 } else { -1 };
                let microseconds = (count * connections) as f64 / 1e6;
                measured(subject, microseconds, || single(leader, topic, connections, count, acks))
            }
            Warm::Synced { connections } => {
                let count = scale.of(20_000) / connections;
                let begin = Instant::now();
                let mut figure =
                    measured(subject, 1.0, || single(leader, topic, connections, count, -1))?;
                let requests = (count * connections) as f64;
                figure.cost = begin.elapsed().as_secs_f64() * 1e6 / requests;
                Ok(figure)
            }
            Warm::Consume { consumers } => consume(subject, leader, topic, consumers, scale),
            Warm::Latency { rate } => {
                let count = scale.of(5 * rate as usize) as u32;
                let mut times = Vec::new();
                let figure = measured(subject, 1.0, || {
                    times = client::end_to_end(leader, topic, rate, count)?;
                    Ok(())
                })?;
                Ok(figure.with_times(times))
            }
            Warm::KcatProduce => kcat_produce(subject, topic, scale),
            Warm::KcatConsume => kcat_consume(subject, topic, scale),
        }
    }
}

impl Young {
    fn run(self, kind: Kind, brokers: usize, zookeeper: &Zookeeper) -> Result<Figure> {
        match self {
            Self::FirstProduce => lifecycle::first_produce(kind, zookeeper),
            Self::IdleMemory => lifecycle::idle_memory(kind, zookeeper),
            Self::IdleCpu => lifecycle::idle_cpu(kind, brokers, zookeeper),
            Self::Storm { connections } => lifecycle::storm(kind, zookeeper, connections),
            Self::FullIsr { partitions } => many::full_isr(kind, partitions, zookeeper),
            Self::Succession { partitions } => many::succession(kind, partitions, zookeeper),
        }
    }
}

fn single(leader: &str, topic: &str, connections: usize, count: usize, acks: i16) -> Result<()> {
    let frame = request::produce(topic, 0, &request::batch(100, 0)?.0, acks)?;
    let frames = [frame];
    let run = |_| client::replay(leader, &frames, count.max(1), 1);
    client::on_threads(connections, run).map(drop)
}

fn consume(
    subject: &Subject,
    leader: &str,
    topic: &str,
    consumers: usize,
    scale: Scale,
) -> Result<Figure> {
    let (bytes, records) = request::batch(1024, 65_536)?;
    let count = (scale.of(300_000_000) / bytes.len()).max(1);
    let frames = [request::produce(topic, 0, &bytes, -1)?];
    client::replay(leader, &frames, count, 5)?;
    let (end, size) = (records * count as i64, count * bytes.len());
    let gigabytes = (size * consumers) as f64 / 1e9;
    measured(subject, gigabytes, || {
        let read = |_| client::consume(leader, topic, 0, end);
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
    measured(subject, gigabytes, || kcat::produce(subject.address(), topic, file.path()))
}

/// kcat reads what it wrote, from the start to the end.
fn kcat_consume(subject: &Subject, topic: &str, scale: Scale) -> Result<Figure> {
    let records = scale.of(1_000_000);
    let file = kcat::lines(records, KCAT_RECORD)?;
    kcat::produce(subject.address(), topic, file.path())?;
    let gigabytes = (records * KCAT_RECORD) as f64 / 1e9;
    measured(subject, gigabytes, || kcat::consume(subject.address(), topic, records))
}

/// Runs `load` and divides the brokers' CPU seconds by `work`.
fn measured(subject: &Subject, work: f64, load: impl FnOnce() -> Result<()>) -> Result<Figure> {
    let watch = CpuWatch::start(subject.processes())?;
    load()?;
    let Cpu { user, system } = watch.used()?;
    let resident = subject.resident()?;
    Ok(Figure { cost: (user + system) / work, user, system, resident, ..Figure::default() })
}
