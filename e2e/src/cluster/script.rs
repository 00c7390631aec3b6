//! Every deed once, one after the other, in place of faults at random: leaders and the controller go
//! from one kind of broker to the other and back, brokers of both kinds are killed and stopped, topics
//! are made, grown, moved across and deleted, all under the load of a run.
//!
//! The kinds are roles: a cluster of one kind plays a mixed one's script, so that what its brokers
//! complain of can be compared.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use super::bed::{Bed, OFFSETS};
use super::node::{Kind, Node};
use super::server::Ended;
use super::view::{self, ANSWER, CONNECT, Denial};
use super::workload::{self, admin};
use crate::deadline::{self, Deadline};
use crate::wire::Connection;

/// How long what a deed asks for may take.
const SECONDS: u64 = 60;
/// Shorter than a session: who is halted so long is still registered.
const HALTED: Duration = Duration::from_secs(4);
/// Between two requests to elect leaders.
const AGAIN: Duration = Duration::from_millis(300);

/// One thing that is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deed {
    /// The controller's office goes to a broker of this role.
    Controller(Kind),
    /// Brokers of this role lead every partition.
    Lead(Kind),
    /// A topic is made, written, grown, changed, moved across, deleted and made again.
    Administer,
    /// SIGKILL to the controller.
    KillController,
    /// SIGTERM to the controller.
    StopController,
    /// SIGKILL to a broker of this role that is not the controller.
    Kill(Kind),
    /// SIGTERM to a broker of this role that is not the controller.
    Stop(Kind),
}

/// The script. Where it says that a broker is killed or stopped, those before say what it was.
pub const DEEDS: [Deed; 20] = [
    Deed::Controller(Kind::Kafka),
    Deed::Lead(Kind::Kafka),
    Deed::Administer,
    Deed::Kill(Kind::Ottla),
    Deed::Stop(Kind::Ottla),
    Deed::Lead(Kind::Ottla),
    Deed::Administer,
    Deed::KillController,
    Deed::Controller(Kind::Kafka),
    Deed::StopController,
    Deed::Controller(Kind::Ottla),
    Deed::Lead(Kind::Kafka),
    Deed::Administer,
    Deed::Kill(Kind::Kafka),
    Deed::Lead(Kind::Kafka),
    Deed::Stop(Kind::Kafka),
    Deed::Lead(Kind::Ottla),
    Deed::KillController,
    Deed::Controller(Kind::Ottla),
    Deed::StopController,
];

impl fmt::Display for Deed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Controller(role) => write!(f, "the controller is of {role}"),
            Self::Lead(role) => write!(f, "all leaders are of {role}"),
            Self::Administer => f.write_str("a topic is made, grown, moved, deleted, made again"),
            Self::KillController => f.write_str("kill -9 of the controller"),
            Self::StopController => f.write_str("SIGTERM to the controller"),
            Self::Kill(role) => write!(f, "kill -9 of a broker of {role}"),
            Self::Stop(role) => write!(f, "SIGTERM to a broker of {role}"),
        }
    }
}

/// Who does the deeds.
#[derive(Debug)]
pub struct Actor<'a> {
    bed: &'a Bed,
    /// The role of each broker.
    roles: &'a [Kind],
    topics: u32,
}

impl<'a> Actor<'a> {
    /// Brokers of `bed` in these `roles`.
    pub fn new(bed: &'a Bed, roles: &'a [Kind]) -> Result<Self> {
        ensure!(roles.len() == bed.nodes.len(), "each broker has a role");
        for role in [Kind::Kafka, Kind::Ottla] {
            ensure!(roles.contains(&role), "no broker is in the role of {role}");
        }
        Ok(Self { bed, roles, topics: 0 })
    }

    /// Does one deed; returns when it is done and who was ended is told to start.
    pub fn perform(&mut self, deed: Deed) -> Result<()> {
        let done = match deed {
            Deed::Controller(role) => self.seat(role),
            Deed::Lead(role) => self.lead(role),
            Deed::Administer => self.administer(),
            Deed::KillController => end(self.controller()?, true),
            Deed::StopController => end(self.controller()?, false),
            Deed::Kill(role) => end(self.other_than_controller(role)?, true),
            Deed::Stop(role) => end(self.other_than_controller(role)?, false),
        };
        done.with_context(|| deed.to_string())
    }

    fn of(&self, role: Kind) -> impl Iterator<Item = &'a Node> {
        let nodes = self.bed.nodes.iter().zip(self.roles);
        nodes.filter(move |(_, its)| **its == role).map(|(node, _)| node)
    }

    fn is_of(&self, role: Kind, id: i32) -> bool {
        self.of(role).any(|node| node.id == id)
    }

    fn controller(&self) -> Result<&'a Node> {
        let id = Deadline::seconds(SECONDS)
            .poll("a controller", || Ok(self.bed.ensemble.controller().ok().flatten()))?;
        let node = self.bed.nodes.iter().find(|node| node.id == id);
        node.with_context(|| format!("the controller {id} is no broker of ours"))
    }

    fn other_than_controller(&self, role: Kind) -> Result<&'a Node> {
        let controller = self.controller()?.id;
        let other = self.of(role).find(|node| node.id != controller);
        other.with_context(|| format!("the only broker of {role} is the controller"))
    }

    fn to_controller(&self) -> Result<Connection> {
        Connection::open_within(self.controller()?.address(), CONNECT, 5 * ANSWER)
    }

    /// Takes the office away while all who are not wanted are halted, until one who is has it.
    fn seat(&self, role: Kind) -> Result<()> {
        let others: Vec<&Node> =
            self.bed.nodes.iter().filter(|node| !self.is_of(role, node.id)).collect();
        Deadline::seconds(SECONDS).poll("the office to move", || {
            if self.is_of(role, self.controller()?.id) {
                return Ok(Some(()));
            }
            for node in &others {
                node.server.halt(true)?;
            }
            let moved = self.bed.ensemble.depose().and_then(|_| {
                Deadline::after(HALTED).poll("a controller", || {
                    let now = self.bed.ensemble.controller().ok().flatten();
                    Ok(now.filter(|id| self.is_of(role, *id)))
                })
            });
            for node in &others {
                node.server.halt(false)?;
            }
            self.bed.note_mend();
            // Whoever is quicker has it: it is taken away again.
            Ok(moved.is_ok().then_some(()))
        })
    }

    /// Asks for replicas in an order that begins with one of `role`, and for such leaders.
    fn lead(&self, role: Kind) -> Result<()> {
        let firsts: Vec<i32> = self.of(role).map(|node| node.id).collect();
        let mut topics = workload::names();
        topics.push(OFFSETS);
        let deadline = Deadline::seconds(SECONDS);
        let partitions = deadline.poll("all partitions", || {
            Ok(view::ask(self.controller()?.address(), &topics).ok().map(|(all, _)| all))
        })?;
        for (number, (topic, partition)) in partitions.keys().enumerate() {
            let mut replicas: Vec<i32> = self.bed.nodes.iter().map(|node| node.id).collect();
            let first = firsts[number % firsts.len()];
            replicas.sort_by_key(|id| *id != first);
            replicas.truncate(self.bed.replication_factor());
            let ask = || {
                let mut connection = self.to_controller()?;
                admin::reassign(&mut connection, topic, *partition, replicas.clone())
            };
            patiently(deadline, "replicas in another order", ask)?;
        }
        deadline.poll("leaders of one kind", || {
            let seen = view::ask(self.controller()?.address(), &topics);
            let Ok((seen, _)) = seen else { return Ok(None) };
            if seen.values().all(|one| self.is_of(role, one.leader)) {
                return Ok(Some(()));
            }
            // One who does not answer is asked again.
            let _ = self.to_controller().and_then(|mut it| admin::elect_preferred(&mut it));
            deadline::pass(AGAIN);
            Ok(None)
        })
    }

    fn administer(&mut self) -> Result<()> {
        self.topics += 1;
        let name = format!("scripted-{}", self.topics);
        let name = name.as_str();
        let ids: Vec<i32> = self.bed.nodes.iter().map(|node| node.id).collect();
        let one = self.of(Kind::Kafka).next().context("a broker of Kafka")?.id;
        let two = self.of(Kind::Ottla).next().context("a broker of ours")?.id;
        let three = *ids.iter().find(|id| ![one, two].contains(id)).context("a third broker")?;
        let deadline = Deadline::seconds(SECONDS);
        let make = |replicas: Vec<Vec<i32>>| {
            let replicas = replicas.as_slice();
            patiently(deadline, "a new topic", || {
                // It is there where an answer was lost.
                let made = admin::create(&mut self.to_controller()?, name, replicas);
                made.or_else(|error| self.leader((name, 0)).map(drop).map_err(|_| error))
            })
        };
        make(vec![vec![one, two], vec![two, three]])?;
        self.write((name, 0), "a")?;
        self.write((name, 1), "a")?;
        let code = admin::grow(&mut self.to_controller()?, name, 4)?;
        ensure!(code == 0, "grow {name}: error {code}");
        self.write((name, 3), "a")?;
        let code = admin::alter(&mut self.to_controller()?, name, "segment.bytes", "1500000")?;
        ensure!(code == 0, "alter {name}: error {code}");
        self.relocate((name, 0), &[two, three])?;
        self.relocate((name, 1), &[three, one])?;
        self.relocate((name, 0), &[three, one])?;
        self.write((name, 0), "b")?;
        self.expect((name, 0), &["a", "b"])?;
        self.expect((name, 1), &["a"])?;
        let code = admin::delete(&mut self.to_controller()?, name)?;
        ensure!(code == 0, "delete {name}: error {code}");
        self.gone(name)?;
        make(vec![vec![one, two, three], vec![two, three, one], vec![three, one, two]])?;
        for partition in 0..3 {
            self.write((name, partition), "c")?;
            self.expect((name, partition), &["c"])?;
        }
        Ok(())
    }

    fn leader(&self, (topic, partition): (&str, i32)) -> Result<SocketAddr> {
        let (seen, _) = view::ask(self.controller()?.address(), &[topic])?;
        let seen = seen.get(&(topic.to_owned(), partition)).context("no such partition")?;
        self.bed.view.address(seen.leader).context("no leader")
    }

    fn write(&self, place: (&str, i32), value: &str) -> Result<()> {
        patiently(Deadline::seconds(SECONDS), "a record to be taken", || {
            let (code, _) = admin::write(self.leader(place)?, place, value)?;
            ensure!(code == 0, "write to {place:?}: error {code}");
            Ok(())
        })
    }

    /// A record whose answer was lost may be there twice: these producers are not idempotent.
    fn expect(&self, place: (&str, i32), values: &[&str]) -> Result<()> {
        let deadline = Deadline::seconds(SECONDS);
        let read = || admin::read(self.leader(place)?, place);
        let mut seen: Vec<String> =
            patiently(deadline, "records", read)?.into_iter().map(|(_, value)| value).collect();
        seen.dedup();
        ensure!(seen == values, "{place:?} holds {seen:?} in place of {values:?}");
        Ok(())
    }

    fn relocate(&self, (topic, partition): (&str, i32), wanted: &[i32]) -> Result<()> {
        let deadline = Deadline::seconds(SECONDS);
        patiently(deadline, "a move", || {
            admin::reassign(&mut self.to_controller()?, topic, partition, wanted.to_vec())
        })?;
        let mut last = None;
        let done = deadline.poll("the end of a move", || {
            let asked = view::ask(self.controller()?.address(), &[topic]);
            let Ok((mut seen, _)) = asked else { return Ok(None) };
            let seen = seen.remove(&(topic.to_owned(), partition)).context("no such partition")?;
            let in_sync = wanted.iter().all(|id| seen.isr.contains(id));
            let is_done = seen.replicas == wanted && in_sync && seen.leader >= 0;
            last = Some(seen);
            Ok(is_done.then_some(()))
        });
        done.with_context(|| format!("{topic}-{partition} to {wanted:?}: {last:?}"))
    }

    fn gone(&self, topic: &str) -> Result<()> {
        for node in &self.bed.nodes {
            Deadline::seconds(SECONDS).poll("the end of a topic", || {
                let asked = view::ask(node.address(), &[topic]);
                Ok(asked.is_err_and(|error| error.is::<Denial>()).then_some(()))
            })?;
        }
        Ok(())
    }
}

fn end(node: &Node, by_force: bool) -> Result<()> {
    node.server.hold();
    let ended = if by_force {
        node.server.kill()
    } else {
        node.server.stop().map(|ended| ended == Ended::InOrder)
    };
    // Long enough for the others to go on without it.
    deadline::pass(Duration::from_secs(1));
    node.server.release();
    ensure!(ended?, "{} did not run, or did not end in order", node.server.name);
    Ok(())
}

/// Asks until it is granted: brokers may be learning who leads.
fn patiently<T>(deadline: Deadline, what: &str, ask: impl Fn() -> Result<T>) -> Result<T> {
    let mut last = None;
    let granted = deadline.poll(what, || match ask() {
        Ok(granted) => Ok(Some(granted)),
        Err(error) => {
            last = Some(error);
            deadline::pass(Duration::from_millis(100));
            Ok(None)
        }
    });
    match (granted, last) {
        (Ok(granted), _) => Ok(granted),
        (Err(error), Some(last)) => bail!("{error}: {last:#}"),
        (Err(error), None) => Err(error),
    }
}
