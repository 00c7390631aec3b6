//! Brokers of ours in a real ZooKeeper: how they come, go and are kept out.
//!
//! `restart`: killed and started again. `copies`: a copied disk beside its original. `strangers`: who is refused,
//! and where. `outage`: a ZooKeeper that is away, a session that is over. `ending`: told to stop at awkward times.

mod copies;
mod ending;
mod outage;
mod restart;
mod strangers;
#[allow(dead_code, reason = "the contract test does more with it")]
#[path = "../zookeeper_contract/wire.rs"]
mod wire;

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use broker_protocol::quantity::{Offset, TimestampMs};
use broker_protocol::record::builder::BatchBuilder;
use broker_protocol::record::compression::Compression;
use broker_zookeeper::path;
use broker_zookeeper::remote::RemoteStore;
use broker_zookeeper::store::{Stat, Store};
use e2e::broker::Broker;
use e2e::cluster::tree::{Tree, Znode};
use e2e::deadline::Deadline;
use e2e::kafka::Zookeeper;
use e2e::wire::{Connection, PRODUCE_VERSION};

const PATIENCE: Duration = Duration::from_mins(1);

/// No record is too old while a test runs.
const FAR: TimestampMs = TimestampMs(4_000_000_000_000);

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

/// A batch of one record.
fn record(value: &str) -> Result<Vec<u8>> {
    let mut builder = BatchBuilder::new(Offset(0), Compression::None);
    builder.push(FAR, None, Some(value.as_bytes()));
    Ok(builder.finish()?)
}

/// Has a record acknowledged by all replicas of a partition that the broker leads, or is to lead soon.
fn acknowledge(broker: &Broker, topic: &str, value: &str) -> Result<()> {
    let batch = record(value)?;
    let mut connection = Connection::open(broker.bootstrap())?;
    Deadline::after(PATIENCE).poll("an acknowledgement", || {
        let produced = connection.produce(topic, 0, &batch, PRODUCE_VERSION)?;
        Ok((produced.error_code == 0).then_some(()))
    })
}

/// The records of a partition that the broker leads, or is to lead soon.
fn values(broker: &Broker, topic: &str) -> Result<Vec<String>> {
    let seen = Deadline::after(PATIENCE).poll("the records", || {
        let mut connection = Connection::open(broker.bootstrap())?;
        Ok(connection.read_partition(topic, 0, 0).ok())
    })?;
    let values = seen.into_iter().map(|seen| {
        let value = seen.value.context("a record without a value")?;
        Ok(String::from_utf8(value)?)
    });
    values.collect()
}

/// A node below the chroot of a test, as it is now.
fn node(zookeeper: &Zookeeper, path: &str) -> Result<Option<Znode>> {
    Tree::open(zookeeper.address.parse()?)?.get(path)
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
