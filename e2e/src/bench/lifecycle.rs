//! A young broker: how soon it serves, what it takes when nothing happens, how it takes a rush.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::client::{self, Client};
use super::figure::Figure;
use super::kind::Kind;
use super::machine::CpuWatch;
use super::request;
use super::subject::Subject;
use crate::kafka::Zookeeper;

/// What a broker does after its start is not what it does idle.
const SETTLE: Duration = Duration::from_secs(3);

/// The same where followers ask leaders: virtual machines compile that path, too.
const SETTLE_TOGETHER: Duration = Duration::from_secs(20);

/// How long an idle broker is watched.
const IDLE: Duration = Duration::from_secs(10);

/// Partitions that idle brokers of a cluster copy from each other.
const IDLE_PARTITIONS: i32 = 12;

/// Milliseconds from exec on an empty directory to the first acknowledged record, with default
/// settings of the topic; Kafka's ZooKeeper runs already.
pub fn first_produce(kind: Kind, zookeeper: &Zookeeper) -> Result<Figure> {
    let begin = Instant::now();
    let subject = Subject::start(kind, 1, zookeeper)?;
    client::create_topic(subject.address(), "first", 1, &[])?;
    let frame = request::produce("first", 0, &request::batch(100, 0)?.0, -1)?;
    client::replay(subject.address(), &[frame], 1, 1)?;
    let cost = begin.elapsed().as_secs_f64() * 1e3;
    finish(subject, cost, CpuWatch::born)
}

/// Resident MiB of a broker without topics.
pub fn idle_memory(kind: Kind, zookeeper: &Zookeeper) -> Result<Figure> {
    let subject = Subject::start(kind, 1, zookeeper)?;
    thread::sleep(SETTLE);
    let cost = subject.resident()?;
    finish(subject, cost, CpuWatch::born)
}

/// Percent of a core that `brokers` brokers use together: one without topics, several with a topic that
/// nobody uses and that they replicate.
pub fn idle_cpu(kind: Kind, brokers: usize, zookeeper: &Zookeeper) -> Result<Figure> {
    let subject = Subject::start(kind, brokers, zookeeper)?;
    if brokers > 1 {
        subject.create_topic("idle", IDLE_PARTITIONS, &[])?;
        thread::sleep(SETTLE_TOGETHER);
    } else {
        thread::sleep(SETTLE);
    }
    let watch = CpuWatch::start(subject.processes())?;
    thread::sleep(IDLE);
    let used = watch.used()?;
    let cost = 100.0 * (used.user + used.system) / IDLE.as_secs_f64();
    finish(subject, cost, move |_| watch)
}

/// Milliseconds until `connections` clients that come at once have each had an answer.
pub fn storm(kind: Kind, zookeeper: &Zookeeper, connections: usize) -> Result<Figure> {
    let subject = Subject::start(kind, 1, zookeeper)?;
    client::create_topic(subject.address(), "storm", 1, &[])?;
    let frame = request::fetch_now("storm", 0, 0)?;
    let watch = CpuWatch::start(subject.processes())?;
    let begin = Instant::now();
    // Every client stays until the last one is served: nobody makes room for another.
    let clients = client::on_threads(connections, |_| {
        let mut client = Client::connect(subject.address())?;
        match client::fetched(client.call(&frame)?)? {
            (0, ..) => Ok(client),
            (code, ..) => bail!("fetch answered with error {code}"),
        }
    })?;
    let cost = begin.elapsed().as_secs_f64() * 1e3;
    drop(clients);
    finish(subject, cost, move |_| watch)
}

/// Stops the subject; `watch` has watched it.
pub fn finish(
    subject: Subject,
    cost: f64,
    watch: impl FnOnce(Vec<u32>) -> CpuWatch,
) -> Result<Figure> {
    let used = watch(subject.processes()).used()?;
    let resident = subject.resident()?;
    subject.stop()?;
    Ok(Figure { cost, user: used.user, system: used.system, resident, ..Figure::default() })
}
