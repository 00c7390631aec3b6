//! A ZooKeeper that is away, a cluster without a controller, a session that is over: a broker goes on.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use broker_protocol::message::metadata::{MetadataRequest, MetadataResponse};
use broker_zookeeper::path;
use broker_zookeeper::remote::RemoteStore;
use broker_zookeeper::store::{CreateMode, EventKind, Store};
use e2e::bench::request::batch;
use e2e::broker::Broker;
use e2e::cluster::tree::four_letters;
use e2e::deadline::{Deadline, Stopwatch};
use e2e::kafka::Zookeeper;
use e2e::wire::{Connection, PRODUCE_VERSION};

use super::wire::Wire;
use super::{PATIENCE, blocking, registered, serves, start};

/// All topics are asked for by a null list.
const METADATA_VERSION: i16 = 9;

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

/// A broker whose disk is lost waits for the end of its own session, which it does not know. Servers that were
/// away count that session anew, and so does the wait, also where it was over before they were back.
#[tokio::test]
async fn the_wait_for_another_session_begins_again_when_servers_were_away() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let data = directory.path().join("zookeeper");
    let zookeeper = Zookeeper::start("outwait", &data, None)?;
    let wire = Wire::open(&zookeeper.address).await?;
    let connect = format!("{}/outwait", wire.address());
    let session = ("zookeeper.session.timeout.ms", "10000");
    let begin = |name: &'static str| {
        let (place, connect) = (directory.path().join(name), connect.clone());
        blocking(move || {
            let settings = [("zookeeper.connect", connect.as_str()), ("broker.id", "1"), session];
            Broker::begin(&format!("outwait-{name}"), &place, &settings)
        })
    };
    let says = |mut broker: Broker, word: &'static str| {
        blocking(move || {
            let pick = |line: &str| line.contains(word).then_some(());
            broker.process()?.wait_for(word, Deadline::after(PATIENCE), pick)?;
            Ok(broker)
        })
    };
    let mut lost = says(begin("lost").await?, " ready ").await?;
    lost.kill()?;
    let broker = begin("empty").await?;
    let server = zookeeper.address.parse()?;
    blocking(move || {
        let path = "/outwait/brokers/ids/1";
        Deadline::after(PATIENCE).poll("a watch on the registration", || {
            Ok(four_letters(server, "wchp")?.lines().any(|line| line == path).then_some(()))
        })
    })
    .await?;
    wire.cut();
    drop(zookeeper);
    // Until then its requests go through a client that gives up.
    let broker = says(broker, "fail to connect to cluster").await?;
    let zookeeper = blocking(move || Zookeeper::start("outwait", &data, None)).await?;
    wire.lead_to(&zookeeper.address);
    wire.mend();
    let mut broker = says(broker, " ready ").await?;
    blocking(move || broker.stop()).await
}
