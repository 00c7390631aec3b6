//! What is done to the cluster: faults, whom they hit, and how they end.
//!
//! A fault has its target to itself, so that up to three may go on at once without undoing each
//! other. It ends when what it hit is told to work again, not when it does. One that finds nothing to
//! do, as there is no leader to kill or the ensemble is down, says so and is not counted.

use std::fmt;
use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::{Context, Result};

use super::bed::Bed;
use super::claim::Claim;
use super::history::History;
use super::judge;
use super::network::{self, Cut, both_ways};
use super::node::{self, SESSION_SECONDS};
use super::server::Ended;
use super::workload::{TOPICS, places};
use super::zookeeper::Ensemble;
use crate::deadline::{self, Deadline};

mod chain;
mod zombie;

/// A kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    /// SIGKILL to a broker, which is started again after a while or at once.
    Kill,
    /// SIGTERM to a broker, which is started again.
    Stop,
    /// SIGSTOP for less than the session timeout.
    PauseShort,
    /// SIGSTOP for longer than the session timeout.
    PauseLong,
    /// A broker and the other brokers do not reach each other.
    IsolatePeers,
    /// A broker and ZooKeeper do not reach each other.
    IsolateZookeeper,
    /// Nothing passes in one direction between a broker and the others, or ZooKeeper.
    OneWay,
    /// A broker's port refuses the other brokers, or them and all clients, though its process lives and reaches
    /// whom it wants.
    Refuse,
    /// A broker's host reaches nobody and is reached by nobody.
    Vanish,
    /// A broker's host has no way out for longer than the session timeout, and knows; half of these brokers
    /// are told to end meanwhile (SIGTERM).
    Unplug,
    /// SIGKILL to the server that leads the ensemble.
    KillZookeeperLeader,
    /// SIGKILL to the whole ensemble.
    KillEnsemble,
    /// A broker's session is ended.
    Expire,
    /// The controller's office is taken from it.
    Depose,
    /// A broker's disk is full for a while.
    FillDisk,
    /// A leader dies; then, while the two others do not reach each other, its successor.
    Cascade,
    /// A broker and the other brokers do not reach each other until it is killed.
    Forsake,
    /// The controller's office is taken from it while it hears nothing of ZooKeeper.
    Deafen,
    /// A broker that is in no ISR any more comes back with an empty disk.
    WipeDisk,
    /// A broker comes back at once with an empty disk, while ISRs still name it. Not in a cluster that
    /// has a broker of Kafka, whose controller would let it lead.
    WipeAtOnce,
}

/// The kinds and how often each is drawn.
const KINDS: [(Fault, u32); 20] = [
    (Fault::Kill, 5),
    (Fault::Stop, 3),
    (Fault::PauseShort, 3),
    (Fault::PauseLong, 2),
    (Fault::IsolatePeers, 3),
    (Fault::IsolateZookeeper, 3),
    (Fault::OneWay, 3),
    (Fault::Refuse, 3),
    (Fault::Vanish, 3),
    (Fault::Unplug, 2),
    (Fault::KillZookeeperLeader, 2),
    (Fault::KillEnsemble, 1),
    (Fault::Expire, 3),
    (Fault::Depose, 2),
    (Fault::Cascade, 3),
    (Fault::Forsake, 3),
    (Fault::Deafen, 1),
    (Fault::FillDisk, 1),
    (Fault::WipeDisk, 1),
    (Fault::WipeAtOnce, 1),
];

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Kill => "kill -9",
            Self::Stop => "SIGTERM",
            Self::PauseShort => "SIGSTOP below the session timeout",
            Self::PauseLong => "SIGSTOP beyond the session timeout",
            Self::IsolatePeers => "cut off from its peers",
            Self::IsolateZookeeper => "cut off from ZooKeeper",
            Self::OneWay => "cut off in one direction",
            Self::Refuse => "port refuses, process lives",
            Self::Vanish => "cut off from everyone",
            Self::Unplug => "host without a network",
            Self::KillZookeeperLeader => "kill -9 of ZooKeeper's leader",
            Self::KillEnsemble => "kill -9 of the whole ensemble",
            Self::Expire => "session expired",
            Self::Depose => "controller deposed",
            Self::Cascade => "kill -9, and of its successor",
            Self::Forsake => "cut off from its peers, then kill -9",
            Self::Deafen => "controller deposed and deaf",
            Self::FillDisk => "disk full",
            Self::WipeDisk => "disk wiped",
            Self::WipeAtOnce => "disk lost at once",
        })
    }
}

impl Fault {
    /// Every kind.
    pub fn all() -> impl Iterator<Item = Self> {
        KINDS.iter().map(|(fault, _)| *fault)
    }

    /// Draws one of `among`.
    pub fn draw(rng: &mut fastrand::Rng, among: &[Self]) -> Option<Self> {
        let weighted: Vec<_> = KINDS.iter().filter(|(fault, _)| among.contains(fault)).collect();
        let sum: u32 = weighted.iter().map(|(_, weight)| weight).sum();
        let mut at = rng.u32(..sum.max(1));
        for (fault, weight) in weighted {
            if at < *weight {
                return Some(*fault);
            }
            at -= weight;
        }
        None
    }

    /// How long it lasts on average, in seconds, where `among` are drawn.
    pub fn mean_seconds(among: &[Self]) -> f64 {
        const DRAWS: u32 = 2_000;
        let mut rng = fastrand::Rng::with_seed(1);
        let mut draw = || Self::draw(&mut rng, among).map(|fault| fault.time(&mut rng));
        let sum: Duration = (0..DRAWS).filter_map(|_| draw()).sum();
        sum.as_secs_f64() / f64::from(DRAWS)
    }

    fn hits_zookeeper(self) -> bool {
        matches!(self, Self::KillZookeeperLeader | Self::KillEnsemble | Self::Depose)
    }

    /// Whether its target, a broker or everyone, goes on and may not learn what happens in ZooKeeper meanwhile.
    fn parts_from_zookeeper(self, one_way: u32) -> bool {
        // Whom `Deafen` hits it finds out itself.
        matches!(
            self,
            Self::PauseShort
                | Self::PauseLong
                | Self::IsolateZookeeper
                | Self::Vanish
                | Self::Unplug
                | Self::KillZookeeperLeader
                | Self::KillEnsemble
                | Self::Expire
        ) || (self == Self::OneWay && one_way >= 2)
    }

    /// How long it lasts.
    fn time(self, rng: &mut fastrand::Rng) -> Duration {
        let session = SESSION_SECONDS * 1_000;
        let ms = match self {
            // At once in a third of all cases: a broker must come back before its session is over.
            Self::Kill => rng.u64(..6_000).saturating_sub(2_000),
            Self::Stop => rng.u64(..3_000),
            Self::PauseShort => rng.u64(200..session * 9 / 10),
            Self::PauseLong | Self::Unplug => rng.u64(session..session * 5 / 2),
            // Around the session timeout, where both sides are least sure of each other.
            Self::IsolateZookeeper => rng.u64(session / 2..session * 2),
            Self::IsolatePeers | Self::OneWay | Self::Refuse | Self::Vanish => {
                rng.u64(1_000..session * 2)
            }
            // Followers may lag for as long as a session, and it is looked at every half of that.
            Self::Forsake => rng.u64(session * 3 / 2..session * 2),
            Self::Cascade => rng.u64(..2_000),
            Self::KillZookeeperLeader => rng.u64(500..4_000),
            Self::KillEnsemble => rng.u64(1_000..session * 3 / 2),
            Self::FillDisk => rng.u64(1_000..6_000),
            Self::Expire | Self::Depose | Self::Deafen | Self::WipeDisk | Self::WipeAtOnce => 0,
        };
        Duration::from_millis(ms)
    }
}

/// What came of a fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It was done.
    Done,
    /// It was not, or not all of what its name says: why.
    Nothing(&'static str),
}

impl Outcome {
    fn done_if(done: bool, else_why: &'static str) -> Self {
        if done { Self::Done } else { Self::Nothing(else_why) }
    }
}

/// The broker that a fault wants is down by itself, or not up again yet.
const RUNS_NOT: Outcome = Outcome::Nothing("the broker did not run");
/// Another fault has most of its servers.
const NO_ENSEMBLE: Outcome = Outcome::Nothing("ZooKeeper did not answer");
/// Of the brokers that a fault wants, another has one.
const TAKEN: Outcome = Outcome::Nothing("another fault had a broker that it needs");

/// A fault about to happen: what, to whom, for how long.
#[derive(Debug)]
pub struct Strike<'a> {
    bed: &'a Bed,
    /// What is done.
    pub fault: Fault,
    target: usize,
    time: Duration,
    one_way: u32,
    _claim: Claim<'a>,
}

impl fmt::Display for Strike<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whom = match self.bed.nodes.get(self.target) {
            Some(node) if !self.fault.hits_zookeeper() => node.server.name.as_str(),
            _ => "zookeeper",
        };
        write!(f, "{whom} {} for {:.1} s", self.fault, self.time.as_secs_f64())
    }
}

impl<'a> Strike<'a> {
    /// Draws a fault and whom it hits; `None` where another fault has its target.
    pub fn draw(bed: &'a Bed, rng: &mut fastrand::Rng, among: &[Fault]) -> Option<Self> {
        let fault = Fault::draw(rng, among)?;
        let target = if fault.hits_zookeeper() { bed.nodes.len() } else { target(bed, rng) };
        let claim = bed.claims.claim(target)?;
        let (time, one_way) = (fault.time(rng), rng.u32(..4));
        Some(Self { bed, fault, target, time, one_way, _claim: claim })
    }

    /// Does it, waits, and takes it back. What shows at once to be wrong is recorded in `history`.
    pub fn land(&self, history: &History) -> Result<Outcome> {
        if !self.fault.hits_zookeeper() && !self.node().server.runs() {
            return Ok(RUNS_NOT);
        }
        let parts = self.fault.parts_from_zookeeper(self.one_way);
        let _gap = parts.then(|| self.bed.contact.gap(self.target));
        let done = match self.fault {
            Fault::KillZookeeperLeader | Fault::KillEnsemble => self.kill_zookeepers(),
            Fault::Kill | Fault::Stop => self.end_broker(history),
            Fault::PauseShort | Fault::PauseLong => self.pause(),
            Fault::IsolatePeers | Fault::IsolateZookeeper | Fault::OneWay | Fault::Vanish => {
                self.cut()
            }
            Fault::Refuse => self.refuse(),
            Fault::Unplug => self.unplug(history),
            Fault::Expire => Ok(self.expire(history)),
            Fault::Depose => Ok(self.depose()),
            Fault::Cascade => self.cascade(),
            Fault::Forsake => self.forsake(),
            Fault::Deafen => self.deafen(history),
            Fault::FillDisk => self.fill(),
            Fault::WipeDisk => self.wipe(),
            Fault::WipeAtOnce => self.wipe_at_once(),
        };
        done.with_context(|| self.to_string())
    }

    fn node(&self) -> &node::Node {
        &self.bed.nodes[self.target]
    }

    fn kill_zookeepers(&self) -> Result<Outcome> {
        let servers = &self.bed.ensemble.servers;
        let hit: Vec<_> = if self.fault == Fault::KillEnsemble {
            servers.iter().collect()
        } else {
            self.bed.ensemble.leader().map(|leader| &servers[leader]).into_iter().collect()
        };
        for server in &hit {
            server.hold();
        }
        let killed: Result<Vec<bool>> = hit.iter().map(|server| server.kill()).collect();
        let hits = killed.as_ref().is_ok_and(|killed| killed.contains(&true));
        if hits {
            deadline::pass(self.time);
        }
        for server in &hit {
            server.release();
        }
        killed?;
        Ok(Outcome::done_if(hits, "no server led the ensemble"))
    }

    fn end_broker(&self, history: &History) -> Result<Outcome> {
        let node = self.node();
        let server = &node.server;
        server.hold();
        let ended = if self.fault == Fault::Kill {
            server.kill().map(|ran| if ran { Ended::InOrder } else { Ended::RanNot })
        } else {
            server.stop()
        };
        deadline::pass(self.time);
        server.release();
        let ended = ended?;
        judge::ended(node, ended, history);
        if ended == Ended::RanNot {
            return Ok(RUNS_NOT);
        }
        self.wait_for_start();
        Ok(Outcome::Done)
    }

    /// A broker on its way up is left alone for a while: else a slow one never serves again.
    fn wait_for_start(&self) {
        let server = &self.node().server;
        let _ = Deadline::seconds(2 * SESSION_SECONDS + 10)
            .poll("a broker that comes back", || Ok(server.serves().then_some(())));
    }

    /// Another fault may have the ensemble down: it is asked until it is up again, `None` where that takes
    /// too long.
    fn until_it_answers<T>(&self, ask: impl Fn(&Ensemble) -> Result<T>) -> Option<T> {
        Deadline::seconds(2 * SESSION_SECONDS)
            .poll("an ensemble", || Ok(ask(&self.bed.ensemble).ok()))
            .ok()
    }

    fn depose(&self) -> Outcome {
        let Some(deposed) = self.until_it_answers(Ensemble::depose) else { return NO_ENSEMBLE };
        self.bed.note_mend();
        Outcome::done_if(deposed, "there was no controller")
    }

    fn pause(&self) -> Result<Outcome> {
        let server = &self.node().server;
        if !server.halt(true)? {
            return Ok(RUNS_NOT);
        }
        deadline::pass(self.time);
        server.halt(false)?;
        self.bed.note_mend();
        Ok(Outcome::Done)
    }

    fn cut(&self) -> Result<Outcome> {
        let own = self.node().server.host.address;
        let (peers, zookeepers) = (self.bed.peers_of(self.target), self.bed.zookeepers());
        let directions: Vec<(Ipv4Addr, Ipv4Addr)> = match (self.fault, self.one_way) {
            (Fault::IsolatePeers, _) => both_ways(own, &peers),
            (Fault::IsolateZookeeper, _) => both_ways(own, &zookeepers),
            (Fault::OneWay, 0) => peers.iter().map(|peer| (own, *peer)).collect(),
            (Fault::OneWay, 1) => peers.iter().map(|peer| (*peer, own)).collect(),
            (Fault::OneWay, 2) => zookeepers.iter().map(|server| (own, *server)).collect(),
            (Fault::OneWay, _) => zookeepers.iter().map(|server| (*server, own)).collect(),
            _ => {
                let mut all = [peers, zookeepers].concat();
                all.push(self.bed.network.harness);
                both_ways(own, &all)
            }
        };
        let cut = self.bed.network.cut(&directions)?;
        deadline::pass(self.time);
        self.mend(&cut)?;
        Ok(Outcome::Done)
    }

    fn refuse(&self) -> Result<Outcome> {
        let mut refused = self.bed.peers_of(self.target);
        if self.one_way.is_multiple_of(2) {
            refused.push(self.bed.network.harness);
        }
        let to = (self.node().server.host.address, node::PORT);
        let cut = self.bed.network.refuse(&refused, to)?;
        deadline::pass(self.time);
        self.mend(&cut)?;
        Ok(Outcome::Done)
    }

    fn mend(&self, cut: &Cut) -> Result<()> {
        let mended = self.bed.network.mend(cut);
        self.bed.note_mend();
        mended
    }

    fn unplug(&self, history: &History) -> Result<Outcome> {
        let node = self.node();
        let is_ended = self.one_way.is_multiple_of(2);
        network::unplug(&node.server.host)?;
        deadline::pass(self.time);
        node.server.hold();
        let ended = if is_ended { node.server.stop() } else { Ok(Ended::RanNot) };
        let plugged_in = network::plug_in(&node.server.host);
        self.bed.note_mend();
        node.server.release();
        plugged_in?;
        judge::ended(node, ended?, history);
        self.wait_for_start();
        Ok(Outcome::Done)
    }

    fn fill(&self) -> Result<Outcome> {
        let node = self.node();
        let filled = node.fill();
        deadline::pass(self.time);
        node.unfill()?;
        self.bed.note_mend();
        filled.map(|()| Outcome::Done)
    }

    /// Kills it, waits until no partition counts on it, and empties its disk; where others do not get
    /// it out of every ISR in time, the disk stays.
    fn wipe(&self) -> Result<Outcome> {
        let node = self.node();
        node.server.hold();
        let wiped = node.server.kill().and_then(|_| {
            let out = Deadline::seconds(3 * SESSION_SECONDS).poll("ISRs without it", || {
                let out = self.bed.is_out_of_every_isr(self.target);
                Ok(out.unwrap_or(false).then_some(()))
            });
            // A disk that was lost in this storm may be counted on by an ISR and hold nothing.
            let may = out.is_ok() && !self.bed.losses.is_open();
            if may {
                node.wipe()?;
            }
            Ok(Outcome::done_if(may, "its disk was counted on"))
        });
        node.server.release();
        let wiped = wiped?;
        self.wait_for_start();
        Ok(wiped)
    }
}

impl Strike<'_> {
    /// Takes the disk of a broker while all replicas are in sync, once a storm: all that was
    /// acknowledged is on two other disks then.
    fn wipe_at_once(&self) -> Result<Outcome> {
        let (bed, node) = (self.bed, self.node());
        // Every topic: the only replica of one that is not judged would be gone, too.
        if !bed.all_not_whole().is_ok_and(|missing| missing.is_empty()) {
            return Ok(Outcome::Nothing("not all replicas were in sync"));
        }
        if !bed.losses.begin(node.id, bed.log_lengths()) {
            return Ok(Outcome::Nothing("another disk was lost in this storm"));
        }
        node.server.hold();
        let wiped = node.server.kill().and_then(|_| node.wipe());
        node.server.release();
        if wiped.is_err() {
            bed.losses.forget();
        }
        wiped?;
        self.wait_for_start();
        Ok(Outcome::Done)
    }
}

/// A third of all faults hit the controller, a third the leader of some partition.
fn target(bed: &Bed, rng: &mut fastrand::Rng) -> usize {
    let any = rng.usize(..bed.nodes.len());
    let place = places()[rng.usize(..places().len())];
    let topic = TOPICS[usize::from(place.topic)].name;
    let chosen = match rng.u32(..3) {
        0 => bed.view.controller(),
        1 => bed.view.leader(topic, i32::from(place.partition)),
        _ => None,
    };
    let index = chosen.and_then(|(id, _)| bed.nodes.iter().position(|node| node.id == id));
    index.unwrap_or(any)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mean_of_a_kind_lies_within_its_range() {
        let mean = Fault::mean_seconds(&[Fault::PauseLong]);
        let session = SESSION_SECONDS as f64;
        assert!(mean > 1.5 * session && mean < 2.0 * session, "{mean}");
        assert!(Fault::mean_seconds(&[Fault::Depose]).abs() < 1e-9);
    }
}
