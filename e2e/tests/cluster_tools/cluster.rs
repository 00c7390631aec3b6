//! The cluster under the tools: three brokers with numbers of their own, and one ZooKeeper.

use anyhow::{Context, Result, bail, ensure};
use e2e::broker;
use e2e::cluster::bed::Bed;
use e2e::cluster::node::{Kind, Node, Setup};
use e2e::deadline::Deadline;
use e2e::peer;
use e2e::tools::maven::REFERENCE;

/// How long the cluster may take to become what it should be.
pub(crate) const SETTLE_SECONDS: u64 = 60;

/// Three brokers on hosts of their own.
pub(crate) struct Cluster {
    bed: Bed,
}

/// Makes what can only be made outside the namespaces.
pub(crate) fn prepare() -> Result<()> {
    if kind()? == Kind::Ottla {
        broker::binary()?;
    }
    Ok(())
}

fn kind() -> Result<Kind> {
    Ok(if peer::chosen()? == "kafka" { Kind::Kafka } else { Kind::Ottla })
}

impl Cluster {
    /// Starts them.
    pub(crate) fn start() -> Result<Self> {
        Ok(Self { bed: Bed::start(&REFERENCE.jars()?, 1, &[kind()?; 3], &Setup::default())? })
    }

    /// Whether they are Apache Kafka's.
    pub(crate) fn is_kafka(&self) -> bool {
        self.bed.nodes.iter().all(|node| node.kind == Kind::Kafka)
    }

    /// Where ZooKeeper is.
    pub(crate) fn zookeeper(&self) -> String {
        self.bed.ensemble.connect_string()
    }

    /// Where the brokers are, as clients are told.
    pub(crate) fn bootstrap(&self) -> String {
        let all = self.bed.nodes.iter().map(|node| node.address().to_string());
        all.collect::<Vec<_>>().join(",")
    }

    /// Where some broker is that serves.
    pub(crate) fn one(&self) -> Result<String> {
        let serving = self.bed.nodes.iter().find(|node| node.server.serves());
        Ok(serving.context("a broker that serves")?.address().to_string())
    }

    /// Where broker `id` is.
    pub(crate) fn address(&self, id: i32) -> Result<String> {
        Ok(self.node(id)?.address().to_string())
    }

    fn node(&self, id: i32) -> Result<&Node> {
        let node = self.bed.nodes.iter().find(|node| node.id == id);
        node.with_context(|| format!("broker {id} of the cluster"))
    }

    /// Kills a broker as a crash would.
    pub(crate) fn kill(&self, id: i32) -> Result<()> {
        ensure!(self.node(id)?.server.kill()?, "broker {id} did not run");
        Ok(())
    }

    /// Starts a broker that was killed, and waits until it serves.
    pub(crate) fn start_again(&self, id: i32) -> Result<()> {
        let node = self.node(id)?;
        if node.kind == Kind::Kafka {
            // It refuses to start while the session that it had before lives on.
            Deadline::seconds(SETTLE_SECONDS).poll("the end of a session", || {
                Ok(self.bed.ensemble.session(id)?.is_none().then_some(()))
            })?;
        }
        node.server.start()?;
        node.server.wait_until_it_serves(Deadline::seconds(SETTLE_SECONDS))
    }

    /// Fails if a broker ended by itself.
    pub(crate) fn ensure_all_run(&self) -> Result<()> {
        for node in &self.bed.nodes {
            if !node.server.runs() {
                bail!(
                    "{} ended by itself; its log is {}",
                    node.server.name,
                    node.server.log().display()
                );
            }
            let ends = node.server.unexpected_ends();
            ensure!(ends.is_empty(), "{} ended: {ends:?}", node.server.name);
        }
        Ok(())
    }
}
