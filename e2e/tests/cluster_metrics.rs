//! What three brokers on a real ZooKeeper tell of it, and of a follower that hangs.

#[allow(dead_code, reason = "the contract test does more with it")]
#[path = "zookeeper_contract/wire.rs"]
mod wire;

use std::path::Path;

use anyhow::{Context, Result, ensure};
use e2e::bench::request::batch;
use e2e::broker::Broker;
use e2e::deadline::Deadline;
use e2e::kafka::Zookeeper;
use e2e::scrape::{get, value};
use e2e::wire::{Connection, PRODUCE_VERSION};
use rustix::process::Signal;

use wire::Wire;

const PATIENCE_SECONDS: u64 = 60;

const ALL: [usize; 3] = [0, 1, 2];

const ACTIVE: &str = "kafka_controller_kafkacontroller_activecontrollercount";
const PARTITIONS: &str = "kafka_controller_kafkacontroller_globalpartitioncount";
const REPLICAS: &str = "kafka_server_replicamanager_";
const SESSION: &str = "kafka_server_sessionexpirelistener_zookeeper";

struct Cluster {
    brokers: Vec<Broker>,
    metrics: Vec<String>,
}

impl Cluster {
    fn start(directory: &Path, connect: &str) -> Result<Self> {
        let mut brokers = Vec::new();
        for id in ["1", "2", "3"] {
            let settings = [
                ("zookeeper.connect", connect),
                ("zookeeper.session.timeout.ms", "40000"),
                ("broker.id", id),
                ("replica.lag.time.max.ms", "2000"),
                ("auto.leader.rebalance.enable", "false"),
            ];
            let name = format!("metrics-{id}");
            brokers.push(Broker::start(&name, &directory.join(id), &settings)?);
        }
        let metrics = brokers.iter_mut().map(Broker::metrics).collect::<Result<_>>()?;
        Ok(Self { brokers, metrics })
    }

    /// Adds up a series of the brokers that answer.
    fn sum(&self, asked: &[usize], family: &str, labels: &[(&str, &str)]) -> Result<f64> {
        let each = asked.iter().map(|broker| {
            let page = get(&self.metrics[*broker], "/metrics")?;
            value(&page, family, labels)
        });
        each.sum()
    }

    fn await_sum(
        &self,
        asked: &[usize],
        family: &str,
        labels: &[(&str, &str)],
        fits: impl Fn(f64) -> bool,
    ) -> Result<()> {
        Deadline::seconds(PATIENCE_SECONDS)
            .poll(family, || Ok(fits(self.sum(asked, family, labels)?).then_some(())))
    }

    fn signal(&mut self, broker: usize, signal: Signal) -> Result<()> {
        self.brokers[broker].process()?.signal(signal)
    }
}

fn near(wanted: f64) -> impl Fn(f64) -> bool {
    move |found| (found - wanted).abs() < 1e-9
}

/// A follower that hangs, with its session, is taken out of the ISR by its leader, and back in by it.
fn a_follower_hangs(cluster: &mut Cluster) -> Result<()> {
    // Until the broker that is asked has heard of all three.
    Deadline::seconds(PATIENCE_SECONDS).poll("a topic with three replicas", || {
        let mut connection = Connection::open(cluster.brokers[0].bootstrap())?;
        Ok(connection.create_topic_of("t", (1, 3), &[]).ok())
    })?;
    let replicas = format!("{REPLICAS}partitioncount");
    cluster.await_sum(&ALL, &replicas, &[], near(3.0))?;
    let has = |broker: usize, family: &str| -> Result<bool> {
        Ok(cluster.sum(&[broker], family, &[])? > 0.5)
    };
    let (mut leader, mut hangs) = (None, None);
    for broker in ALL {
        let leads = has(broker, &format!("{REPLICAS}leadercount"))?;
        leader = leader.or(leads.then_some(broker));
        if !leads && !has(broker, ACTIVE)? {
            hangs = Some(broker);
        }
    }
    let (leader, hangs) = (leader.context("one leads")?, hangs.context("one follows only")?);
    let others: Vec<usize> = ALL.into_iter().filter(|broker| *broker != hangs).collect();

    cluster.signal(hangs, Signal::STOP)?;
    let (records, _) = batch(100, 1)?;
    // Acknowledged once the leader does not wait for the one that hangs any more.
    let mut connection = Connection::open(cluster.brokers[leader].bootstrap())?;
    let produced = connection.produce("t", 0, &records, PRODUCE_VERSION)?;
    ensure!(produced.error_code == 0, "{produced:?}");
    let shrinks = cluster.sum(&[leader], &format!("{REPLICAS}isrshrinks_total"), &[])?;
    ensure!(near(1.0)(shrinks), "the ISR has shrunk {shrinks} times");
    let under = format!("{REPLICAS}underreplicatedpartitions");
    ensure!(near(1.0)(cluster.sum(&[leader], &under, &[])?), "a replica is out of sync");
    let late = cluster.sum(&[leader], "ottla_replication_max_lag_seconds", &[])?;
    ensure!(late >= 2.0, "it left after {late} s");

    cluster.signal(hangs, Signal::CONT)?;
    cluster.await_sum(&others, &format!("{REPLICAS}isrexpands_total"), &[], |sum| sum > 0.5)?;
    cluster.await_sum(&ALL, &under, &[], near(0.0))
}

/// A ZooKeeper that is away is told as such, with what was known of the cluster.
fn zookeeper_goes(cluster: &Cluster, wire: &Wire) -> Result<()> {
    let state = "ottla_coordination_session_state";
    let latency = "kafka_server_zookeeperclientmetrics_zookeeperrequestlatencyms";
    for broker in ALL {
        let page = get(&cluster.metrics[broker], "/metrics")?;
        ensure!(value(&page, &format!("{latency}_count"), &[])? > 1.0, "requests are counted");
        // The quantiles are of what came since the first look.
        ensure!(value(&page, latency, &[("quantile", "0.99")])? >= 0.0);
        let timed = value(&page, "ottla_coordination_request_duration_seconds_sum", &[])?;
        ensure!(timed > 0.0, "requests are timed");
        ensure!(near(1.0)(value(&page, state, &[("state", "CONNECTED")])?), "it is connected");
        ensure!(near(0.0)(value(&page, &format!("{SESSION}disconnects_total"), &[])?));
    }
    wire.cut();
    cluster.await_sum(&ALL, state, &[("state", "CONNECTING")], near(3.0))?;
    cluster.await_sum(&ALL, &format!("{SESSION}disconnects_total"), &[], |sum| sum > 2.5)?;
    for (family, wanted) in [(ACTIVE, 1.0), (PARTITIONS, 1.0)] {
        let found = cluster.sum(&ALL, family, &[])?;
        ensure!(near(wanted)(found), "{family} is {found} while ZooKeeper is away");
    }
    wire.mend();
    cluster.await_sum(&ALL, state, &[("state", "CONNECTED")], near(3.0))?;
    let expires = cluster.sum(&ALL, &format!("{SESSION}expires_total"), &[])?;
    ensure!(near(0.0)(expires), "no session was over");
    ensure!(cluster.sum(&ALL, &format!("{SESSION}syncconnects_total"), &[])? > 5.5);
    Ok(())
}

#[tokio::test]
async fn three_brokers_tell_of_a_follower_that_hangs_and_of_a_zookeeper_that_is_away() -> Result<()>
{
    let directory = tempfile::tempdir()?;
    let zookeeper = Zookeeper::start("metrics", &directory.path().join("zookeeper"), None)?;
    let wire = Wire::open(&zookeeper.address).await?;
    let connect = format!("{}/metrics", wire.address());
    // The wire lives on this runtime: what waits does so beside it.
    let brokers = move || {
        let mut cluster = Cluster::start(directory.path(), &connect)?;
        a_follower_hangs(&mut cluster)?;
        zookeeper_goes(&cluster, &wire)?;
        cluster.brokers.iter_mut().try_for_each(Broker::stop)
    };
    tokio::task::spawn_blocking(brokers).await?
}
