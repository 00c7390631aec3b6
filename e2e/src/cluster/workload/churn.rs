//! An administrator who never rests: topics are made, written to, grown, changed and deleted under
//! names that come again; replicas of the judged topics change places, leaders are asked back.
//!
//! Judged: a topic never holds records of an earlier one of its name, and what was acknowledged is so
//! once the cluster is at rest.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::{DURABILITY, Shared, TOPICS, admin, durability};
use crate::cluster::checker::Rule;
use crate::cluster::history::What;
use crate::cluster::view::{self, ANSWER, CONNECT};
use crate::deadline;
use crate::wire::Connection;

const PACE: Duration = Duration::from_millis(700);
const NAMES: [&str; 3] = ["churn-a", "churn-b", "churn-c"];
const UNKNOWN_TOPIC: i16 = 3;

/// What is known of a topic, by what was acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Known {
    Absent,
    Present,
    /// An answer was lost.
    Unsure,
}

/// The administrator.
#[derive(Debug)]
pub struct Churn {
    shared: Shared,
    process: u32,
    rng: fastrand::Rng,
    topics: BTreeMap<&'static str, Known>,
    /// What the values of the next topic begin with.
    incarnation: u64,
    operations: u64,
}

impl Churn {
    /// An administrator whose history is that of `process`.
    pub fn new(shared: Shared, process: u32, seed: u64) -> Self {
        let topics = NAMES.iter().map(|name| (*name, Known::Absent)).collect();
        let rng = fastrand::Rng::with_seed(seed);
        Self { shared, process, rng, topics, incarnation: 0, operations: 0 }
    }

    /// Works until it is told to stop; returns itself for [`Churn::judge`].
    #[must_use]
    pub fn run(mut self) -> Self {
        while !self.shared.stopped() {
            let name = NAMES[self.rng.usize(..NAMES.len())];
            let done = match (self.topics[name], self.rng.u32(..10)) {
                (_, 0..2) => self.shuffle(),
                (Known::Absent, _) => self.create(name),
                (Known::Present, 2..4) => self.grow(name),
                (Known::Present, 4..6) => self.alter(name),
                (Known::Present, 6..8) => self.relocate(name),
                (Known::Present | Known::Unsure, _) => self.delete(name),
            };
            match done {
                Ok(()) => self.operations += 1,
                Err(_) => self.shared.look_again(),
            }
            deadline::pass(PACE);
        }
        self
    }

    fn controller(&self) -> Result<Connection> {
        let (_, address) = self.shared.view.controller().context("no controller is known")?;
        Connection::open_within(address, CONNECT, 4 * ANSWER)
    }

    fn create(&mut self, name: &'static str) -> Result<()> {
        let mut connection = self.controller()?;
        self.topics.insert(name, Known::Unsure);
        let replicas = self.rng.i16(2..=3);
        let settings = [(DURABILITY, durability(self.rng.bool()))];
        let known = if self.is_ours() { &settings[..] } else { &[] };
        connection.create_topic_of(name, (self.rng.i32(1..=3), replicas), known)?;
        self.topics.insert(name, Known::Present);
        self.incarnation += 1;
        self.write_and_read(name)
    }

    /// Writes to a new topic as soon as it takes records, and reads all that it holds.
    fn write_and_read(&self, name: &'static str) -> Result<()> {
        let mark = format!("{name} {}", self.incarnation);
        let deadline = deadline::Deadline::seconds(5);
        let (seen, at) = deadline.poll("a new topic to take a record", || {
            let Ok(address) = self.leader_of(name) else { return Ok(None) };
            let (code, offset) = admin::write(address, (name, 0), &mark)?;
            if code != 0 {
                return Ok(None);
            }
            Ok(Some((admin::read(address, (name, 0))?, offset)))
        })?;
        if let Some((offset, value)) = seen.iter().find(|(_, value)| *value != mark) {
            let what = format!("{mark}, written at {at}, holds {value} at {offset}");
            self.shared.history.record(self.process, What::Wrong(Rule::Resurrected, what));
        }
        Ok(())
    }

    fn leader_of(&self, name: &str) -> Result<std::net::SocketAddr> {
        let (_, asked) = self.shared.view.controller().context("no controller is known")?;
        let (partitions, _) = view::ask(asked, &[name])?;
        let seen = partitions.get(&(name.to_owned(), 0)).context("no partition 0")?;
        self.shared.view.address(seen.leader).context("no leader")
    }

    fn delete(&mut self, name: &'static str) -> Result<()> {
        let mut connection = self.controller()?;
        self.topics.insert(name, Known::Unsure);
        let code = admin::delete(&mut connection, name)?;
        ensure!(code == 0 || code == UNKNOWN_TOPIC, "delete {name}: error {code}");
        self.topics.insert(name, Known::Absent);
        Ok(())
    }

    fn grow(&mut self, name: &'static str) -> Result<()> {
        let count = self.rng.i32(4..=6);
        admin::grow(&mut self.controller()?, name, count).map(drop)
    }

    /// Whether all brokers know the settings that Kafka has not.
    fn is_ours(&self) -> bool {
        self.shared.kafkas.is_empty()
    }

    /// Changes a setting: of a topic of its own, or when a judged one is acknowledged.
    fn alter(&mut self, name: &'static str) -> Result<()> {
        if self.is_ours() && self.rng.bool() {
            let judged = TOPICS[self.rng.usize(..TOPICS.len())].name;
            let durability = durability(self.rng.bool());
            return admin::alter(&mut self.controller()?, judged, DURABILITY, durability).map(drop);
        }
        let bytes = self.rng.u32(1_000_000..2_000_000).to_string();
        admin::alter(&mut self.controller()?, name, "segment.bytes", &bytes).map(drop)
    }

    /// Gives a judged partition another order of replicas, and its first replica the lead.
    fn shuffle(&mut self) -> Result<()> {
        let topic = &TOPICS[self.rng.usize(..TOPICS.len())];
        let partition = i32::from(self.rng.u16(..topic.partitions));
        self.reassign(topic.name, partition, 3)?;
        admin::elect_preferred(&mut self.controller()?)
    }

    /// Moves a topic's first partition to two brokers, whichever it was on.
    fn relocate(&mut self, name: &str) -> Result<()> {
        self.reassign(name, 0, 2)
    }

    /// Asks for `count` replicas on any brokers.
    fn reassign(&mut self, topic: &str, partition: i32, count: usize) -> Result<()> {
        let mut replicas: Vec<i32> = self.shared.view.brokers().iter().map(|(id, _)| *id).collect();
        self.rng.shuffle(&mut replicas);
        replicas.truncate(count);
        admin::reassign(&mut self.controller()?, topic, partition, replicas)
    }

    /// Looks, with the cluster at rest, whether topics are there or not as was acknowledged.
    pub fn judge(&self) -> u64 {
        for (name, known) in &self.topics {
            for (id, address) in self.shared.view.brokers() {
                let there = view::ask(*address, &[name]).is_ok();
                let wrong = match known {
                    Known::Unsure => false,
                    Known::Present => !there,
                    Known::Absent => there,
                };
                if wrong {
                    let what = format!("{name} is {known:?}, broker {id} has it: {there}");
                    self.shared.history.record(self.process, What::Wrong(Rule::AdminLost, what));
                }
            }
        }
        self.operations
    }
}
