//! How long a cluster is away when one of its brokers goes: figures, each a median of several times.
//!
//! Three partitions of three replicas, one led by each broker, are asked for `acks=all` without pause by a
//! client each ([`probe`]). What is told is the longest stretch without an acknowledgement of a partition
//! that the broker in question led.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::bed::Bed;
use super::network::both_ways;
use super::server::Ended;
use super::view;
use super::workload::admin;
use crate::deadline::{self, Deadline};
use crate::wire::Connection;
use probe::Probes;

mod probe;

const TOPIC: &str = "figures";
/// What a figure may take at most: sessions, and virtual machines that start.
const SECONDS_MAX: u64 = 120;

/// What is done to a broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// SIGKILL to one that is not the controller.
    Kill,
    /// SIGKILL to the controller.
    KillController,
    /// SIGKILL to the controller, which is started again at once.
    BounceController,
    /// The host of one that is not the controller is cut off from everyone.
    HostGone,
    /// The host of the controller is cut off from everyone.
    ControllerHostGone,
    /// SIGTERM to one that is not the controller.
    Stop,
}

/// Every act.
pub const ACTS: [Act; 6] = [
    Act::Kill,
    Act::KillController,
    Act::BounceController,
    Act::HostGone,
    Act::ControllerHostGone,
    Act::Stop,
];

impl fmt::Display for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Kill => "leader killed",
            Self::KillController => "leader and controller killed",
            Self::BounceController => "the same, started again at once",
            Self::HostGone => "leader's host gone",
            Self::ControllerHostGone => "leader's and controller's host gone",
            Self::Stop => "clean stop of the leader",
        })
    }
}

impl Act {
    /// Every act whose name contains one of `words`, which commas separate; all for `None`.
    pub fn chosen(words: Option<&str>) -> Result<Vec<Self>> {
        let is_meant = |act: &Act| {
            let name = act.to_string();
            words.is_none_or(|words| words.split(',').any(|word| name.contains(word)))
        };
        let acts: Vec<Self> = ACTS.into_iter().filter(is_meant).collect();
        ensure!(!acts.is_empty(), "no figure is named like that; they are: {ACTS:?}");
        Ok(acts)
    }
}

/// Does each of `acts` as often as `times` says and returns what each took, in order of length.
pub fn gaps(bed: &Arc<Bed>, acts: &[Act], times: usize) -> Result<Vec<(Act, Vec<Duration>)>> {
    create(bed)?;
    let probes = Probes::start(&bed.view, bed.nodes.len());
    let mut figures = Vec::new();
    for act in acts {
        let mut lengths = Vec::new();
        for _ in 0..times {
            lengths.push(once(bed, &probes, *act).with_context(|| act.to_string())?);
        }
        lengths.sort_unstable();
        let median = lengths[lengths.len() / 2].as_secs_f64();
        println!("{act:36} median {median:7.3} s  of {lengths:?}");
        figures.push((*act, lengths));
    }
    probes.end()?;
    Ok(figures)
}

/// One partition for each broker, which is its first replica.
fn create(bed: &Bed) -> Result<()> {
    let ids: Vec<i32> = bed.nodes.iter().map(|node| node.id).collect();
    let replicas = |partition: usize| {
        let mut replicas = ids.clone();
        replicas.rotate_left(partition);
        replicas
    };
    let replicas: Vec<_> = (0..ids.len()).map(replicas).collect();
    // Every broker has to be known to the controller before it takes replicas.
    let (_, address) = Deadline::seconds(SECONDS_MAX).poll("a controller", || {
        let known = bed.nodes.iter().map(|node| view::ask(node.address(), &[]));
        if known.collect::<Result<Vec<_>>>().is_err() || bed.view.refresh(&[]).is_err() {
            return Ok(None);
        }
        Ok(bed.view.controller())
    })?;
    let mut connection = Connection::open_within(address, view::CONNECT, 10 * view::ANSWER)?;
    admin::create(&mut connection, TOPIC, &replicas)
}

/// Waits until each broker leads its partition with all replicas in sync.
fn settle(bed: &Bed, probes: &Probes) -> Result<()> {
    bed.wait_until_all_serve(Deadline::seconds(SECONDS_MAX))?;
    Deadline::seconds(SECONDS_MAX).poll("each broker to lead again", || {
        let _ = bed.view.refresh(&[TOPIC]);
        let seen = bed.nodes.iter().map(|node| view::ask(node.address(), &[TOPIC]));
        let Ok(all) = seen.collect::<Result<Vec<_>>>() else { return Ok(None) };
        if all.iter().all(|(partitions, _)| is_settled(bed, partitions)) && probes.all_live() {
            return Ok(Some(()));
        }
        if let Some((_, address)) = bed.view.controller() {
            let connection = Connection::open_within(address, view::CONNECT, view::ANSWER);
            let _ = connection.and_then(|mut connection| admin::elect_preferred(&mut connection));
        }
        deadline::pass(Duration::from_millis(200));
        Ok(None)
    })
}

fn is_settled(bed: &Bed, partitions: &HashMap<(String, i32), view::Seen>) -> bool {
    bed.nodes.iter().enumerate().all(|(partition, node)| {
        let seen = partitions.get(&(TOPIC.to_owned(), partition as i32));
        seen.is_some_and(|seen| seen.leader == node.id && seen.isr.len() == bed.nodes.len())
    })
}

fn once(bed: &Bed, probes: &Probes, act: Act) -> Result<Duration> {
    settle(bed, probes)?;
    let (controller, _) = bed.view.controller().context("a controller")?;
    let wants_controller =
        matches!(act, Act::KillController | Act::BounceController | Act::ControllerHostGone);
    let is_target = |id: i32| (id == controller) == wants_controller;
    let target = bed.nodes.iter().position(|node| is_target(node.id)).context("a target")?;
    let node = &bed.nodes[target];
    probes.forget();
    let mut cut = None;
    node.server.hold();
    match act {
        Act::Kill | Act::KillController => ensure!(node.server.kill()?, "it did not run"),
        Act::BounceController => {
            ensure!(node.server.kill()?, "it did not run");
            node.server.release();
        }
        Act::Stop => {
            ensure!(node.server.stop()? == Ended::InOrder, "it did not stop in order");
        }
        Act::HostGone | Act::ControllerHostGone => {
            let mut all = [bed.peers_of(target), bed.zookeepers()].concat();
            all.push(bed.network.harness);
            cut = Some(bed.network.cut(&both_ways(node.server.host.address, &all))?);
        }
    }
    let live = Deadline::seconds(SECONDS_MAX);
    // Acknowledged long enough again: what is measured is over.
    live.poll("acknowledgements", || Ok(probes.all_live().then_some(())))?;
    deadline::pass(Duration::from_secs(1));
    live.poll("acknowledgements", || Ok(probes.all_live().then_some(())))?;
    let longest = probes.longest(target);
    if let Some(cut) = cut {
        bed.network.mend(&cut)?;
    }
    if act != Act::BounceController {
        node.server.release();
    }
    Ok(longest)
}
