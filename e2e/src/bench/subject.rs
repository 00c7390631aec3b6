//! What is measured: a broker, or a cluster of three, of ours or of Apache Kafka.
//!
//! One broker of ours stands alone, as its user's first would; all others share one ZooKeeper, each
//! subject below a node of its own.

use std::fs;
use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use super::client::{self, Client};
use super::kind::Kind;
use super::machine;
use super::member::Member;
use super::request;
use crate::cluster::view;
use crate::deadline::Deadline;
use crate::kafka::Zookeeper;

/// How long a cluster may take for what is asked of it: thousands of partitions on two cores.
const SECONDS_MAX: u64 = 600;

/// Running brokers on empty directories that go with them.
#[derive(Debug)]
pub struct Subject {
    /// Which brokers they are.
    pub kind: Kind,
    /// The brokers; number `N` has id `N`.
    pub members: Vec<Member>,
    /// `host:port` of its ZooKeeper and the node below which it lives.
    zookeeper: (String, String),
    _directory: TempDir,
}

impl Subject {
    /// Starts `brokers` of them, below a node of `zookeeper` that nobody used before.
    pub fn start(kind: Kind, brokers: usize, zookeeper: &Zookeeper) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let name = directory.path().file_name().unwrap_or_default().to_string_lossy();
        let chroot = format!("/{}", name.replace('.', ""));
        let connect = format!("{}{chroot}", zookeeper.address);
        let replicas = brokers.min(3).to_string();
        let mut settings = vec![
            // Deleted topics give their space back before the next run.
            ("log.segment.delete.delay.ms", "500"),
            ("offsets.topic.replication.factor", replicas.as_str()),
            // A side is halted while the other's records are timed, and is to have its sessions then.
            ("zookeeper.session.timeout.ms", "45000"),
        ];
        if brokers > 1 {
            settings.push(("min.insync.replicas", "2"));
        }
        if brokers > 1 || kind == Kind::Kafka {
            settings.push(("zookeeper.connect", &connect));
        }
        let start = |id: usize| {
            let place = directory.path().join(id.to_string());
            fs::create_dir_all(&place)?;
            Member::start(kind, id, &place, &settings)
        };
        let members = (0..brokers).map(start).collect::<Result<Vec<_>>>()?;
        let zookeeper = (zookeeper.address.clone(), chroot);
        Ok(Self { kind, members, zookeeper, _directory: directory })
    }

    /// The processes of the brokers that run.
    pub fn processes(&self) -> Vec<u32> {
        self.members.iter().filter_map(Member::process).collect()
    }

    /// The address of the first broker.
    pub fn address(&self) -> &str {
        &self.members[0].address
    }

    /// Resident memory of all brokers, in MiB.
    pub fn resident(&self) -> Result<f64> {
        self.processes().into_iter().map(machine::resident).sum()
    }

    /// The ZooKeeper's address, and the path there of what the subject calls `path`.
    pub fn node(&self, path: &str) -> Result<(SocketAddr, String)> {
        let (address, chroot) = &self.zookeeper;
        Ok((address.parse().context("ZooKeeper's address")?, format!("{chroot}{path}")))
    }

    /// Creates a topic with a replica on every broker and returns the addresses of its partitions'
    /// leaders, once every partition takes a Fetch and all replicas are in sync.
    pub fn create_topic(
        &self,
        topic: &str,
        partitions: i32,
        settings: &[(&str, &str)],
    ) -> Result<Vec<String>> {
        let replicas = self.members.len();
        let create = request::create(topic, partitions, replicas.try_into()?, settings)?;
        let deadline = Deadline::seconds(SECONDS_MAX);
        deadline.poll("a controller that knows its brokers", || {
            let Ok((_, controller)) = self.ask(0, &[]) else { return Ok(None) };
            let Some(member) = self.members.get(controller as usize) else { return Ok(None) };
            Ok(client::created(&mut Client::connect(&member.address)?, &create)?.then_some(()))
        })?;
        let leaders = deadline.poll("leaders with all replicas in sync", || {
            Ok(self.leaders(0, topic, partitions, replicas))
        })?;
        for (partition, leader) in (0..).zip(&leaders) {
            client::wait_readable(leader, topic, partition)?;
        }
        Ok(leaders)
    }

    /// The addresses of the leaders of a topic as broker `from` knows them, if every partition has one
    /// that runs and `in_sync` replicas in sync or more.
    pub fn leaders(
        &self,
        from: usize,
        topic: &str,
        partitions: i32,
        in_sync: usize,
    ) -> Option<Vec<String>> {
        let (seen, _) = self.ask(from, &[topic]).ok()?;
        let leader = |partition: i32| {
            let seen = seen.get(&(topic.to_owned(), partition))?;
            let member = self.members.get(usize::try_from(seen.leader).ok()?)?;
            (seen.isr.len() >= in_sync && member.process().is_some())
                .then(|| member.address.clone())
        };
        (0..partitions).map(leader).collect()
    }

    /// The number of the broker that broker `from` takes for the controller.
    pub fn controller(&self, from: usize) -> Result<usize> {
        let (_, controller) = self.ask(from, &[])?;
        let controller = usize::try_from(controller).ok();
        controller.filter(|id| *id < self.members.len()).context("no controller is known")
    }

    fn ask(&self, from: usize, topics: &[&str]) -> Result<view::Answered> {
        view::ask(self.members[from].address.parse().context("a broker's address")?, topics)
    }

    /// Deletes a topic and waits until nothing of it is left on any disk.
    pub fn delete_topic(&self, topic: &str) -> Result<()> {
        client::delete_topic(&self.members[self.controller(0)?].address, topic)?;
        Deadline::seconds(SECONDS_MAX).poll("the deletion of a topic", || {
            for member in &self.members {
                for entry in fs::read_dir(member.log_dir())? {
                    if entry?.file_name().to_string_lossy().starts_with(topic) {
                        return Ok(None);
                    }
                }
            }
            Ok(Some(()))
        })
    }

    /// Stops every broker in order, the controller last.
    pub fn stop(mut self) -> Result<()> {
        let last = if self.members.len() > 1 { self.controller(0).unwrap_or(0) } else { 0 };
        let count = self.members.len();
        for number in (0..count).filter(|number| *number != last).chain([last]) {
            self.members[number].stop()?;
        }
        ensure!(self.processes().is_empty(), "a broker runs on");
        Ok(())
    }
}
