//! Thousands of partitions on three brokers: a broker that comes back, a controller that goes, memory.

use std::time::Instant;

use anyhow::{Context, Result};

use super::figure::Figure;
use super::kind::Kind;
use super::lifecycle::finish;
use super::machine::{self, CpuWatch};
use super::subject::Subject;
use crate::cluster::tree::Tree;
use crate::deadline::Deadline;
use crate::kafka::Zookeeper;

const BROKERS: usize = 3;

/// Partitions of one topic, so that a look at one topic is a small answer.
const PARTITIONS_OF_A_TOPIC: i32 = 1_000;

/// Longer than any figure that still counts.
const SECONDS_MAX: u64 = 600;

/// A cluster with so many partitions, a replica of each on every broker.
fn start(kind: Kind, partitions: i32, zookeeper: &Zookeeper) -> Result<(Subject, Vec<String>)> {
    let subject = Subject::start(kind, BROKERS, zookeeper)?;
    let mut topics = Vec::new();
    for number in 0..partitions / PARTITIONS_OF_A_TOPIC {
        let topic = format!("many-{number}");
        subject
            .create_topic(&topic, PARTITIONS_OF_A_TOPIC, &[])
            .with_context(|| format!("{topic} of {partitions} partitions"))?;
        topics.push(topic);
    }
    Ok((subject, topics))
}

/// Waits until broker `from` knows a running leader and `in_sync` replicas in sync of every partition.
fn wait(subject: &Subject, from: usize, topics: &[String], in_sync: usize) -> Result<()> {
    let deadline = Deadline::seconds(SECONDS_MAX);
    for topic in topics {
        deadline.poll("leaders of every partition", || {
            Ok(subject.leaders(from, topic, PARTITIONS_OF_A_TOPIC, in_sync).map(drop))
        })?;
    }
    Ok(())
}

/// Seconds from the start of a broker that had stopped in order until every partition has all its
/// replicas in sync.
pub fn full_isr(kind: Kind, partitions: i32, zookeeper: &Zookeeper) -> Result<Figure> {
    let (mut subject, topics) = start(kind, partitions, zookeeper)?;
    let back = (subject.controller(0)? + 1) % BROKERS;
    let witness = (back + 1) % BROKERS;
    subject.members[back].stop()?;
    wait(&subject, witness, &topics, BROKERS - 1)?;
    let begin = Instant::now();
    subject.members[back].launch()?;
    wait(&subject, witness, &topics, BROKERS)?;
    let cost = begin.elapsed().as_secs_f64();
    finish(subject, cost, CpuWatch::born)
}

/// Seconds from the end of the controller's session, its process killed just before, until a survivor
/// knows a living leader of every partition; and MiB of the largest broker, before that and once the controller is back.
pub fn succession(kind: Kind, partitions: i32, zookeeper: &Zookeeper) -> Result<Figure> {
    let (mut subject, topics) = start(kind, partitions, zookeeper)?;
    let before = largest(&subject)?;
    let controller = subject.controller(0)?;
    let witness = (controller + 1) % BROKERS;
    let (server, path) = subject.node(&format!("/brokers/ids/{controller}"))?;
    let registered = Tree::open(server)?.get(&path)?.context("the controller is not registered")?;
    subject.members[controller].kill()?;
    let begin = Instant::now();
    Tree::expire(server, registered.owner)?;
    wait(&subject, witness, &topics, 1)?;
    let seconds = begin.elapsed().as_secs_f64();
    subject.members[controller].launch()?;
    wait(&subject, witness, &topics, BROKERS)?;
    let resident = before.max(largest(&subject)?);
    Ok(Figure { resident, ..finish(subject, seconds, CpuWatch::born)? })
}

/// Resident MiB of the largest broker.
fn largest(subject: &Subject) -> Result<f64> {
    subject
        .processes()
        .into_iter()
        .try_fold(0.0, |largest: f64, process| Ok(largest.max(machine::resident(process)?)))
}
