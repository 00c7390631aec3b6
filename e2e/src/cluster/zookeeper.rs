//! An ensemble of ZooKeeper servers, each on a host of its own.

use std::fmt::Write as _;
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use super::network::{self, Network};
use super::server::{Recipe, Server};
use super::tree::{self, Tree};
use crate::deadline::Deadline;
use crate::java::Java;

const CLIENT_PORT: u16 = 2181;
/// Where the controller's office is kept.
const CONTROLLER: &str = "/controller";
const HEAP_MB: u32 = 128;
const DISK_MB: u32 = 512;
/// Three virtual machines that start at once on two cores.
const START_SECONDS: u64 = 120;

/// The servers; most of them must run for any to serve.
#[derive(Debug)]
pub struct Ensemble {
    /// Each with its data below its own mount.
    pub servers: Vec<Server>,
}

impl Ensemble {
    /// Starts `count` servers of the ZooKeeper in `jars` and waits until they serve.
    pub fn start(network: &mut Network, jars: &Path, count: u8, root: &Path) -> Result<Self> {
        let mut hosts = Vec::new();
        for number in 1..=count {
            hosts.push(network.add(&format!("zookeeper{number}"))?);
        }
        let mut peers = String::new();
        for (number, host) in (1..).zip(&hosts) {
            writeln!(peers, "server.{number}={}:2888:3888", host.address)?;
        }
        let mut servers = Vec::new();
        for (number, host) in (1..).zip(hosts) {
            let directory = root.join(&host.name);
            network::mount_memory(&directory, DISK_MB)?;
            let config = directory.join("zoo.cfg");
            fs::write(&config, configuration(&directory, &peers, count)).context("zoo.cfg")?;
            fs::write(directory.join("myid"), format!("{number}\n")).context("write myid")?;
            let name = host.name.clone();
            servers.push(Server::new(&name, host, recipe(jars, &config)));
        }
        for server in &servers {
            server.start()?;
        }
        let ensemble = Self { servers };
        let deadline = Deadline::seconds(START_SECONDS);
        deadline.poll("the ensemble", || Ok(ensemble.tree().ok().map(drop)))?;
        Ok(ensemble)
    }

    /// The value of `zookeeper.connect`.
    pub fn connect_string(&self) -> String {
        let all = self.addresses().into_iter().map(|address| address.to_string());
        all.collect::<Vec<_>>().join(",")
    }

    fn addresses(&self) -> Vec<SocketAddr> {
        self.servers.iter().map(address).collect()
    }

    /// A session with the first server that gives one.
    pub fn tree(&self) -> Result<Tree> {
        let mut last = None;
        for server in self.servers.iter().filter(|server| server.runs()) {
            match Tree::open(address(server)) {
                Ok(tree) => return Ok(tree),
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or_else(|| anyhow::anyhow!("no ZooKeeper server runs")))
    }

    /// The number of the server that leads the ensemble.
    pub fn leader(&self) -> Option<usize> {
        self.servers.iter().position(|server| {
            let said = tree::four_letters(address(server), "srvr");
            said.is_ok_and(|text| text.contains("Mode: leader") || text.contains("standalone"))
        })
    }

    /// Ends the session that registered broker `id`; returns whether it had one.
    pub fn expire(&self, id: i32) -> Result<bool> {
        let Some(session) = self.session(id)? else { return Ok(false) };
        for server in self.servers.iter().filter(|server| server.runs()) {
            if Tree::expire(address(server), session).is_ok() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The broker that has the controller's office.
    pub fn controller(&self) -> Result<Option<i32>> {
        let Some(node) = self.tree()?.get(CONTROLLER)? else { return Ok(None) };
        let office: serde_json::Value =
            serde_json::from_slice(&node.data).context("the controller's office")?;
        let id = office["brokerid"].as_i64().context("a controller's id")?;
        Ok(Some(id as i32))
    }

    /// Takes the office from whoever is the controller; it knows as soon as it looks.
    pub fn depose(&self) -> Result<bool> {
        self.tree()?.delete(CONTROLLER)
    }

    /// The session that registered broker `id`.
    pub fn session(&self, id: i32) -> Result<Option<i64>> {
        let node = self.tree()?.get(&format!("/brokers/ids/{id}"))?;
        Ok(node.map(|node| node.owner))
    }
}

fn address(server: &Server) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(server.host.address), CLIENT_PORT)
}

fn configuration(directory: &Path, peers: &str, count: u8) -> String {
    // Sessions end at ticks, so that one may live for a tick longer than it should.
    let mut text = format!(
        "tickTime=500\ninitLimit=20\nsyncLimit=8\nminSessionTimeout=2000\nmaxSessionTimeout=40000\n\
         dataDir={}\nclientPort={CLIENT_PORT}\nadmin.enableServer=false\nmaxClientCnxns=0\n4lw.commands.whitelist=srvr\n",
        directory.display()
    );
    if count > 1 {
        text += peers;
    }
    text
}

fn recipe(jars: &Path, config: &Path) -> Recipe {
    let (jars, config) = (jars.to_owned(), config.to_owned());
    Recipe {
        command: Box::new(move || {
            let java = Java::of(&jars)?;
            let class = "org.apache.zookeeper.server.quorum.QuorumPeerMain";
            let mut command: Command = java.class(class, HEAP_MB);
            command.arg(&config);
            Ok(command)
        }),
        // It logs nothing at the level of warnings when it serves: `Ensemble::tree` asks instead.
        serves: Box::new(|_| true),
    }
}
