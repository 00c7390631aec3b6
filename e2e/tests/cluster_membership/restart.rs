//! A broker that was killed: back at once, although its session would live for a long time yet.

use std::time::Duration;

use anyhow::{Result, ensure};
use broker_zookeeper::path;
use broker_zookeeper::remote::RemoteStore;
use broker_zookeeper::store::Store;
use e2e::broker::{Broker, free_port};
use e2e::deadline::Stopwatch;
use e2e::kafka::Zookeeper;

use super::{LONG_SESSION, PATIENCE, acknowledge, registered, serves, values};

const ROUNDS: usize = 3;

/// Kills and starts it, each time with a record more that it has to have; its office is back as well.
async fn comes_back(name: &str, listener: &str) -> Result<()> {
    let directory = tempfile::tempdir()?;
    let zookeeper = Zookeeper::start(name, &directory.path().join("zookeeper"), None)?;
    let connect = format!("{}/{name}", zookeeper.address);
    let settings = [
        ("zookeeper.connect", connect.as_str()),
        ("broker.id", "1"),
        ("listeners", listener),
        LONG_SESSION,
    ];
    let mut broker = Broker::start(name, directory.path(), &settings)?;
    let store = RemoteStore::connect(&connect, PATIENCE, PATIENCE).await?;
    let mut before = registered(&store, None).await?;
    serves(&broker, "t")?;
    let mut times = Vec::new();
    let mut records = Vec::new();
    for round in 0..ROUNDS {
        let value = format!("before kill {round}");
        acknowledge(&broker, "t", &value)?;
        records.push(value);
        broker.kill()?;
        let stopwatch = Stopwatch::start();
        broker.launch()?;
        let again = registered(&store, Some(before)).await?;
        let elapsed = stopwatch.elapsed();
        println!("{name}: registered again after {elapsed:?}");
        times.push(elapsed);
        ensure!(again.ephemeral_owner != before.ephemeral_owner);
        before = again;
        let read = values(&broker, "t")?;
        ensure!(read == records, "{read:?} after {records:?}");
        serves(&broker, &format!("again-{round}"))?;
    }
    let children = store.children(path::BROKER_IDS).await?;
    ensure!(children == ["1"], "the brokers are {children:?}");
    times.sort_unstable();
    // The median: a busy machine may be slow once.
    ensure!(times[ROUNDS / 2] < Duration::from_secs(1), "not back within a second: {times:?}");
    ensure!(times[ROUNDS - 1] < Duration::from_secs(5), "waited for its session: {times:?}");
    broker.stop()?;
    ensure!(store.exists(&path::broker_id(1)).await?.is_none(), "a stop in order leaves nothing");
    ensure!(store.exists(path::CONTROLLER).await?.is_none());
    Ok(())
}

/// What was registered is where nobody listens any more.
#[tokio::test]
async fn a_killed_broker_is_back_before_its_session_is_over() -> Result<()> {
    comes_back("restart", "PLAINTEXT://127.0.0.1:0").await
}

/// What was registered is where it listens itself: it does not take itself for another.
#[tokio::test]
async fn a_killed_broker_is_back_on_its_own_port_before_its_session_is_over() -> Result<()> {
    comes_back("restart-port", &format!("PLAINTEXT://127.0.0.1:{}", free_port()?)).await
}
