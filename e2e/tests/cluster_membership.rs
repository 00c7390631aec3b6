//! A broker of ours in a real ZooKeeper: started again after a crash, with an id that is taken, on the
//! disk of another cluster, with a ZooKeeper that is too old, and with a session that is over.

#[allow(dead_code, reason = "the contract test does more with it")]
#[path = "zookeeper_contract/wire.rs"]
mod wire;

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use broker_protocol::message::metadata::{MetadataRequest, MetadataResponse};
use broker_zookeeper::path;
use broker_zookeeper::remote::RemoteStore;
use broker_zookeeper::store::{CreateMode, EventKind, Stat, Store};
use e2e::bench::request::batch;
use e2e::broker::{Broker, binary};
use e2e::deadline::{Deadline, Stopwatch};
use e2e::kafka::Zookeeper;
use e2e::tools::maven;
use e2e::wire::{Connection, PRODUCE_VERSION};

use wire::Wire;

/// All topics are asked for by a null list.
const METADATA_VERSION: i16 = 9;

const PATIENCE: Duration = Duration::from_mins(1);

/// Longer than the tests wait for anything that must not wait for it.
const LONG_SESSION: (&str, &str) = ("zookeeper.session.timeout.ms", "40000");

const SHORT_SESSION: (&str, &str) = ("zookeeper.session.timeout.ms", "4000");

/// Waits until broker 1 is registered, as another than `before`.
async fn registered(store: &RemoteStore, before: Option<Stat>) -> Result<Stat> {
    let path = path::broker_id(1);
    let is_new = |stat: &Stat| before.is_none_or(|before| before.czxid != stat.czxid);
    let seen = async {
        loop {
            let (stat, mut watch) = store.exists_and_watch(&path).await?;
            if let Some(stat) = stat.filter(is_new) {
                return Ok(stat);
            }
            watch.next().await;
        }
    };
    tokio::time::timeout(PATIENCE, seen).await.context("waited for the registration")?
}

fn serves(broker: &Broker, topic: &str) -> Result<()> {
    Deadline::seconds(60).poll("a topic to be made", || {
        let made = Connection::open(broker.bootstrap())
            .and_then(|mut connection| connection.create_topic(topic, 1, &[]));
        Ok(made.ok())
    })
}

/// Killed and started at once, the broker is back although its session would live for a long time yet;
/// so is its office.
#[tokio::test]
async fn a_killed_broker_is_back_before_its_session_is_over() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let zookeeper = Zookeeper::start("restart", &directory.path().join("zookeeper"), None)?;
    let connect = format!("{}/restart", zookeeper.address);
    let settings = [("zookeeper.connect", connect.as_str()), ("broker.id", "1"), LONG_SESSION];
    let mut broker = Broker::start("restart", directory.path(), &settings)?;
    let store = RemoteStore::connect(&connect, PATIENCE, PATIENCE).await?;
    let mut before = registered(&store, None).await?;
    serves(&broker, "first")?;
    let mut times = Vec::new();
    for round in 0..3 {
        broker.kill()?;
        let stopwatch = Stopwatch::start();
        broker.launch()?;
        let again = registered(&store, Some(before)).await?;
        let elapsed = stopwatch.elapsed();
        println!("registered again after {elapsed:?}");
        times.push(elapsed);
        ensure!(again.ephemeral_owner != before.ephemeral_owner);
        before = again;
        serves(&broker, &format!("again-{round}"))?;
    }
    times.sort_unstable();
    // The median: a busy machine may be slow once.
    ensure!(times[1] < Duration::from_secs(1), "not back within a second: {times:?}");
    ensure!(times[2] < Duration::from_secs(5), "waited for the past session: {times:?}");
    broker.stop()?;
    ensure!(store.exists(&path::broker_id(1)).await?.is_none(), "a stop in order leaves nothing");
    ensure!(store.exists(path::CONTROLLER).await?.is_none());
    Ok(())
}

/// What must not run does not, and says why.
#[tokio::test]
async fn strangers_are_refused_in_words() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let zookeeper = Zookeeper::start("refused", &directory.path().join("zookeeper"), None)?;
    let connect = format!("{}/one", zookeeper.address);
    let settings = [("zookeeper.connect", connect.as_str()), ("broker.id", "1"), SHORT_SESSION];
    let mut broker = Broker::start("refused", directory.path(), &settings)?;
    let log_dir = broker.log_dir().display().to_string();
    let other_dir = directory.path().join("other").display().to_string();
    let elsewhere = format!("{}/two", zookeeper.address);
    let start = |log_dir: &str, connect: &str| -> Result<String> {
        let mut command = Command::new(binary()?);
        for (key, value) in [
            ("log.dirs", log_dir),
            ("zookeeper.connect", connect),
            ("broker.id", "1"),
            ("listeners", "PLAINTEXT://127.0.0.1:0"),
            SHORT_SESSION,
        ] {
            command.arg("--set").arg(format!("{key}={value}"));
        }
        let output = command.output().context("run ottla-broker")?;
        ensure!(!output.status.success(), "it ran");
        Ok(String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let said = start(&other_dir, &connect)?;
    ensure!(said.contains("broker.id=1 is taken"), "{said}");
    serves(&broker, "not-disturbed")?;
    broker.stop()?;
    let said = start(&log_dir, &elsewhere)?;
    ensure!(said.contains("a tree without a cluster"), "{said}");
    Ok(())
}

/// The ZooKeepers inside these releases of Kafka know no lasting watches: no broker starts, nor is a tree
/// moved there, and nothing is written.
#[test]
fn a_zookeeper_that_is_too_old_is_refused_in_words() -> Result<()> {
    // 3.4.10 and 3.5.9.
    for version in ["1.1.1", "2.8.2"] {
        let directory = tempfile::tempdir()?;
        let data = directory.path().join("zookeeper");
        let zookeeper = Zookeeper::start_of(maven::release(version)?, "too-old", &data, None)?;
        let mut broker = Broker::start("too-old", directory.path(), &[])?;
        broker.stop()?;
        let ottla = |arguments: &[&str], log_dir: &Path| -> Result<()> {
            let mut command = Command::new(binary()?);
            command.args(arguments).arg("--set").arg(format!("log.dirs={}", log_dir.display()));
            let output = command.output().context("run ottla-broker")?;
            let said = String::from_utf8_lossy(&output.stderr);
            ensure!(!output.status.success(), "{version}: it ran");
            ensure!(said.contains("is older than 3.6"), "{version}: {said}");
            Ok(())
        };
        let connect = format!("zookeeper.connect={}/ottla", zookeeper.address);
        let listeners = "listeners=PLAINTEXT://127.0.0.1:0";
        let new = ["--set", &connect, "--set", listeners, "--set", "metrics.listener="];
        ottla(&new, &directory.path().join("new"))?;
        ottla(&["move-coordination", "--to", &zookeeper.address], &broker.log_dir())?;
    }
    Ok(())
}

/// While no server of ZooKeeper answers, for longer than a session lives, the broker goes on leading;
/// when they are back it is what it was: no other registration, no other session, still controller.
#[tokio::test]
async fn a_zookeeper_that_is_away_is_no_reason_to_stop() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let data = directory.path().join("zookeeper");
    let zookeeper = Zookeeper::start("outage", &data, None)?;
    let wire = Wire::open(&zookeeper.address).await?;
    let connect = format!("{}/outage", wire.address());
    let broker = start("outage", directory.path(), &connect).await?;
    let own = format!("{}/outage", zookeeper.address);
    let store = RemoteStore::connect(&own, PATIENCE, PATIENCE).await?;
    let before = registered(&store, None).await?;
    drop(store);
    let broker = blocking(move || serves(&broker, "t").map(|()| broker)).await?;

    wire.cut();
    drop(zookeeper);
    let broker = blocking(move || {
        let (batch, _) = batch(100, 1)?;
        let mut connection = Connection::open(broker.bootstrap())?;
        let lasts = Stopwatch::start();
        // The client library gives a session up after 7/5 of its time.
        while lasts.elapsed() < Duration::from_secs(8) {
            let produced = connection.produce("t", 0, &batch, PRODUCE_VERSION)?;
            ensure!(produced.error_code == 0, "{produced:?}");
        }
        Ok(broker)
    })
    .await?;

    let zookeeper = Zookeeper::start("outage", &data, None)?;
    wire.lead_to(&zookeeper.address);
    wire.mend();
    let mut broker = blocking(move || serves(&broker, "after").map(|()| broker)).await?;
    let own = format!("{}/outage", zookeeper.address);
    let store = RemoteStore::connect(&own, PATIENCE, PATIENCE).await?;
    let after = registered(&store, None).await?;
    ensure!((after.czxid, after.ephemeral_owner) == (before.czxid, before.ephemeral_owner));
    let (epoch, _) = store.get(path::CONTROLLER_EPOCH).await?;
    ensure!(epoch == b"1", "one controller all along: {epoch:?}");
    blocking(move || broker.stop()).await
}

/// Runs what waits, beside a wire that lives on the test's runtime.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(work).await?
}

/// Starts broker 1 with a session that is soon over.
async fn start(name: &'static str, directory: &Path, connect: &str) -> Result<Broker> {
    let (directory, connect) = (directory.to_owned(), connect.to_owned());
    blocking(move || {
        let settings = [("zookeeper.connect", &*connect), ("broker.id", "1"), SHORT_SESSION];
        Broker::start(name, &directory, &settings)
    })
    .await
}

/// A broker that no controller has told of its cluster does not answer as if that were empty: it holds
/// the question until one has.
#[tokio::test]
async fn a_broker_that_knows_nothing_yet_says_nothing_yet() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let zookeeper = Zookeeper::start("untold", &directory.path().join("zookeeper"), None)?;
    let connect = format!("{}/untold", zookeeper.address);
    let broker = start("untold", directory.path(), &connect).await?;
    let mut broker = blocking(move || serves(&broker, "t").map(|()| broker)).await?;
    let store = RemoteStore::connect(&connect, PATIENCE, PATIENCE).await?;
    let broker = blocking(move || broker.stop().map(|()| broker)).await?;
    // A controller that is somewhere, and cannot reach the broker.
    let elsewhere = br#"{"version":1,"brokerid":9,"timestamp":"0"}"#;
    store.create(path::CONTROLLER, elsewhere, CreateMode::Ephemeral).await?;
    let broker = blocking(move || broker_again(broker)).await?;
    let address = broker.bootstrap().to_owned();
    let asked = blocking(move || {
        let mut connection = Connection::open(&address)?;
        connection
            .send(&MetadataRequest { topics: None, ..Default::default() }, METADATA_VERSION)?;
        Ok(connection)
    })
    .await?;
    store.delete(path::CONTROLLER, None).await?;
    let answer = blocking(move || { asked }.receive()).await?;
    let response: MetadataResponse<'_> = answer.read(METADATA_VERSION)?;
    ensure!(response.brokers.iter().any(|one| one.node_id == 1), "{response:?}");
    ensure!(response.topics.iter().any(|one| one.name.as_deref() == Some("t")), "{response:?}");
    drop(broker);
    Ok(())
}

fn broker_again(mut broker: Broker) -> Result<Broker> {
    broker.launch()?;
    Ok(broker)
}

/// A session that is over is followed by another, without a new process: registered anew, controller
/// again, serving.
#[tokio::test]
async fn a_session_that_is_over_is_followed_by_another() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let zookeeper = Zookeeper::start("expiry", &directory.path().join("zookeeper"), None)?;
    let wire = Wire::open(&zookeeper.address).await?;
    let connect = format!("{}/expiry", wire.address());
    let mut broker = start("expiry", directory.path(), &connect).await?;
    let own = format!("{}/expiry", zookeeper.address);
    let store = RemoteStore::connect(&own, PATIENCE, PATIENCE).await?;
    let before = registered(&store, None).await?;

    wire.cut();
    let (_, mut watch) = store.exists_and_watch(&path::broker_id(1)).await?;
    let gone = tokio::time::timeout(PATIENCE, watch.next()).await.context("waited for the end")?;
    ensure!(gone.kind == EventKind::Deleted);
    wire.mend();
    let after = registered(&store, Some(before)).await?;
    ensure!(after.ephemeral_owner != before.ephemeral_owner);
    blocking(move || {
        serves(&broker, "after")?;
        broker.stop()
    })
    .await
}
