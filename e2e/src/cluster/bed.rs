//! The whole cluster: its network, its ensemble, its brokers, and the thread that keeps them up.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::claim::Claims;
use super::contact::Contact;
use super::loss::Losses;
use super::network::Network;
use super::node::{Kind, Node, Setup};
use super::server::Ended;
use super::view::{self, View};
use super::workload::{self, DURABILITY, TOPICS, Topic};
use super::zookeeper::Ensemble;
use crate::deadline::{self, Deadline, Stopwatch};
use crate::wire::Connection;

/// Below this all disks of a run are mounted; gone with the run's namespaces.
const ROOT: &str = "/run/bed";
/// Three virtual machines that start at once on two cores.
const START_SECONDS: u64 = 60;
const REPLICATION_FACTOR: usize = 3;
/// Where groups keep their state.
pub const OFFSETS: &str = "__consumer_offsets";

/// A cluster.
#[derive(Debug)]
pub struct Bed {
    /// The router and its rules.
    pub network: Network,
    /// ZooKeeper.
    pub ensemble: Ensemble,
    /// The brokers; broker `N` of the list has id `N + 1`.
    pub nodes: Vec<Node>,
    /// What clients know of them.
    pub view: Arc<View>,
    /// Faults' claims on the broker of this index, or, last, on ZooKeeper.
    pub claims: Claims,
    /// Who may not know what has happened in ZooKeeper.
    pub contact: Contact,
    /// The disks that were lost at once.
    pub losses: Losses,
    /// When the last fault was mended that is not the start of a process.
    mended: Mutex<Stopwatch>,
    /// Tells that the harness itself ends the brokers.
    closing: AtomicBool,
}

impl Bed {
    /// Starts `zookeepers` servers of the ZooKeeper in `jars` and brokers of `kinds`, set up as `setup`
    /// says, and waits until all serve. Call once a process, inside [`super::enter`].
    pub fn start(jars: &Path, zookeepers: u8, kinds: &[Kind], setup: &Setup) -> Result<Self> {
        let mut network = Network::new()?;
        let root = PathBuf::from(ROOT);
        let ensemble = Ensemble::start(&mut network, jars, zookeepers, &root)?;
        let mut nodes = Vec::new();
        for (id, kind) in (1..).zip(kinds) {
            let host = network.add(&format!("broker{id}"))?;
            network.add_decoy(&host)?;
            let zookeeper = ensemble.connect_string();
            nodes.push(Node::new((id, *kind), host, &zookeeper, &root, setup)?);
        }
        let brokers = nodes.iter().map(|node| (node.id, node.address())).collect();
        let (claims, contact) = (Claims::new(nodes.len() + 1), Contact::new(nodes.len()));
        let view = Arc::new(View::new(brokers));
        let (losses, closing) = (Losses::default(), AtomicBool::new(false));
        let mended = Mutex::new(Stopwatch::start());
        let bed = Self { network, ensemble, nodes, view, claims, contact, losses, mended, closing };
        for node in &bed.nodes {
            node.server.start()?;
        }
        for node in &bed.nodes {
            node.server.wait_until_it_serves(Deadline::seconds(START_SECONDS))?;
        }
        Ok(bed)
    }

    /// Makes the topics that are judged, and waits until every partition has a leader and all replicas.
    pub fn create_topics(&self) -> Result<()> {
        let deadline = Deadline::seconds(START_SECONDS);
        for topic in TOPICS {
            let mut last = None;
            let made = deadline.poll("a controller that makes topics", || {
                let made = self.create_topic(topic);
                last = made.as_ref().err().map(|error| format!("{error:#}"));
                // An answer may have been lost: then the topic is there.
                Ok(made.or_else(|_| self.view.refresh(&[topic.name])).ok())
            });
            made.with_context(|| {
                let last = last.unwrap_or_default();
                format!("topic {}: {last}\n{}", topic.name, self.states())
            })?;
        }
        deadline
            .poll("leaders of all partitions", || {
                let known = self.view.refresh(&workload::names()).is_ok();
                Ok((known && self.is_whole()).then_some(()))
            })
            .with_context(|| format!("{}\n{}", self.not_whole().join("; "), self.states()))
    }

    /// What ZooKeeper holds of every partition, a line each, for an error.
    fn states(&self) -> String {
        let read = || -> Result<String> {
            let mut tree = self.ensemble.tree()?;
            let mut text = String::new();
            for topic in tree.children("/brokers/topics")? {
                let partitions = format!("/brokers/topics/{topic}/partitions");
                for partition in tree.children(&partitions)? {
                    let state = tree.get(&format!("{partitions}/{partition}/state"))?;
                    let state = state.map(|node| String::from_utf8_lossy(&node.data).into_owned());
                    writeln!(text, "{topic}-{partition} {}", state.unwrap_or_default())?;
                }
            }
            Ok(text)
        };
        read().unwrap_or_else(|error| format!("{error:#}"))
    }

    fn create_topic(&self, topic: Topic) -> Result<()> {
        self.view.refresh(&[])?;
        let (_, address) = self.view.controller().context("no controller is known")?;
        let mut connection = Connection::open_within(address, view::CONNECT, 5 * view::ANSWER)?;
        let replicas = self.replication_factor() as i16;
        // Kafka refuses what it does not know.
        let settings = [(DURABILITY, workload::durability(topic.relaxed))];
        let known = if self.of_kafka().is_empty() { &settings[..] } else { &[] };
        connection.create_topic_of(topic.name, (i32::from(topic.partitions), replicas), known)
    }

    /// How many replicas each judged partition has.
    pub fn replication_factor(&self) -> usize {
        REPLICATION_FACTOR.min(self.nodes.len())
    }

    /// Whether all brokers agree on who leads each judged partition, and that all replicas are in sync.
    pub fn is_whole(&self) -> bool {
        self.not_whole().is_empty()
    }

    /// What keeps the judged topics from being whole, in words.
    pub fn not_whole(&self) -> Vec<String> {
        let mut topics = workload::names();
        // There from the first committed offset on.
        if self.nodes.iter().all(|node| view::ask(node.address(), &[OFFSETS]).is_ok()) {
            topics.push(OFFSETS);
        }
        self.not_whole_of(&topics)
    }

    /// What keeps any topic of the cluster from being whole, in words.
    pub fn all_not_whole(&self) -> Result<Vec<String>> {
        let topics = self.ensemble.tree()?.children("/brokers/topics")?;
        Ok(self.not_whole_of(&topics.iter().map(String::as_str).collect::<Vec<_>>()))
    }

    fn not_whole_of(&self, topics: &[&str]) -> Vec<String> {
        let mut missing = Vec::new();
        let mut leaders: HashMap<(String, i32), (i32, i32)> = HashMap::new();
        for node in &self.nodes {
            let (partitions, _) = match view::ask(node.address(), topics) {
                Ok(answered) => answered,
                Err(error) => {
                    missing.push(format!("broker {}: {error:#}", node.id));
                    continue;
                }
            };
            for ((topic, partition), seen) in partitions {
                let place = format!("{topic}-{partition}");
                let leader = (seen.leader, seen.leader_epoch);
                let other = *leaders.entry((topic, partition)).or_insert(leader);
                if other != leader {
                    missing.push(format!("{place} is led by {other:?} or {leader:?}"));
                }
                if seen.leader < 0 || seen.isr.len() < seen.replicas.len() {
                    missing.push(format!(
                        "broker {} has {place} led by {} with isr {:?} of {:?}",
                        node.id, seen.leader, seen.isr, seen.replicas
                    ));
                }
            }
        }
        missing.sort();
        missing
    }

    /// The brokers that are Kafka's.
    pub fn of_kafka(&self) -> Arc<[i32]> {
        let of_kafka = self.nodes.iter().filter(|node| node.kind == Kind::Kafka);
        of_kafka.map(|node| node.id).collect()
    }

    /// The log directory of each broker, with its name.
    pub fn log_dirs(&self) -> Vec<(String, PathBuf)> {
        self.nodes.iter().map(|node| (node.server.name.clone(), node.log_dir())).collect()
    }

    /// The addresses of all brokers but `index`.
    pub fn peers_of(&self, index: usize) -> Vec<Ipv4Addr> {
        let others = self.nodes.iter().enumerate().filter(|(other, _)| *other != index);
        others.map(|(_, node)| node.server.host.address).collect()
    }

    /// The addresses of the ensemble.
    pub fn zookeepers(&self) -> Vec<Ipv4Addr> {
        self.ensemble.servers.iter().map(|server| server.host.address).collect()
    }

    /// Whether broker `index` is in no ISR of the judged topics, as ZooKeeper has it.
    pub fn is_out_of_every_isr(&self, index: usize) -> Result<bool> {
        let mut tree = self.ensemble.tree()?;
        let id = i64::from(self.nodes[index].id);
        for topic in tree.children("/brokers/topics")? {
            for partition in tree.children(&format!("/brokers/topics/{topic}/partitions"))? {
                let path = format!("/brokers/topics/{topic}/partitions/{partition}/state");
                let Some(node) = tree.get(&path)? else { continue };
                let state: serde_json::Value =
                    serde_json::from_slice(&node.data).context("a partition's state")?;
                let isr = state["isr"].as_array().context("an ISR")?;
                if isr.iter().any(|member| member.as_i64() == Some(id)) {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    /// Something that a fault had done is undone now.
    pub fn note_mend(&self) {
        *self.mended.lock().unwrap_or_else(PoisonError::into_inner) = Stopwatch::start();
    }

    /// How long ago the last fault was mended: since then the network is whole, and every process runs,
    /// serving or not. `None` where one does not run yet.
    pub fn since_mend(&self) -> Option<Duration> {
        let mut since = self.mended.lock().unwrap_or_else(PoisonError::into_inner).elapsed();
        let brokers = self.nodes.iter().map(|node| &node.server);
        for server in self.ensemble.servers.iter().chain(brokers) {
            since = since.min(server.age()?);
        }
        Some(since)
    }

    /// How much each broker has written to its log.
    pub fn log_lengths(&self) -> Vec<u64> {
        let length = |node: &Node| fs::metadata(node.server.log()).map_or(0, |log| log.len());
        self.nodes.iter().map(length).collect()
    }

    /// Starts again, until the bed closes, whatever has ended and is not held down by a fault.
    pub fn keep_up(self: &Arc<Self>) -> JoinHandle<()> {
        let bed = Arc::clone(self);
        thread::spawn(move || {
            while !bed.closing.load(Ordering::SeqCst) {
                for server in &bed.ensemble.servers {
                    // What cannot be started now is tried again.
                    let _ = server.keep_up(|| true);
                }
                for node in &bed.nodes {
                    let _ = node.server.keep_up(|| bed.may_start(node));
                }
                deadline::pass(Duration::from_millis(100));
            }
        })
    }

    /// Kafka refuses to start while the session that it had before lives on.
    fn may_start(&self, node: &Node) -> bool {
        match node.kind {
            Kind::Ottla => true,
            Kind::Kafka => matches!(self.ensemble.session(node.id), Ok(None)),
        }
    }

    /// Waits until every server of both kinds serves.
    pub fn wait_until_all_serve(&self, deadline: Deadline) -> Result<()> {
        deadline.poll("the ensemble", || Ok(self.ensemble.tree().ok().map(drop)))?;
        for node in &self.nodes {
            node.server.wait_until_it_serves(deadline)?;
        }
        Ok(())
    }

    /// Stops every broker in order, and starts none again until it is released; returns those that had to
    /// be killed.
    pub fn stop_all(&self) -> Result<Vec<&Node>> {
        for node in &self.nodes {
            node.server.hold();
        }
        let mut killed = Vec::new();
        for node in &self.nodes {
            if node.server.stop()? == Ended::ByForce {
                killed.push(node);
            }
        }
        Ok(killed)
    }

    /// Starts all that [`Bed::stop_all`] stopped.
    pub fn start_all(&self) -> Result<()> {
        for node in &self.nodes {
            node.server.release();
        }
        self.wait_until_all_serve(Deadline::seconds(START_SECONDS))
    }

    /// Stops every broker in order, for good.
    pub fn close(&self) -> Result<()> {
        self.closing.store(true, Ordering::SeqCst);
        for node in &self.nodes {
            node.server.hold();
            // The last look has ended them already.
            let ended = node.server.stop()?;
            ensure!(ended != Ended::ByForce, "{} did not end in order", node.server.name);
        }
        Ok(())
    }
}
