//! The embedded tree and our store over ZooKeeper are one contract: random scripts get the same
//! answers, leave the same tree and fire the same watches; a real ZooKeeper is the judge.
//!
//! What the embedded tree cannot show, a connection that breaks, is shown on the real one alone,
//! through a wire that the test can cut.

mod script;
mod sides;
mod wire;

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use broker_zookeeper::remote::{Connection, RemoteStore};
use broker_zookeeper::settle::{self, Outcome};
use broker_zookeeper::store::{CreateMode, EventKind, Op, Store, StoreError, WatchMode};
use e2e::kafka::Zookeeper;
use zookeeper_client as zk;

use script::Script;
use sides::Sides;
use wire::Wire;

/// Long enough that no session ends by itself on a busy machine.
const SESSION: Duration = Duration::from_secs(30);

/// The shortest that the harness's server gives.
const SHORT_SESSION: Duration = Duration::from_secs(4);

/// What a real server may take on a busy machine.
const PATIENCE: Duration = Duration::from_mins(1);

/// Seeds that always run; one more is new each time. In the last two, a session ends whose nodes a
/// ZooKeeper deletes in another order than that of their names, and a lasting watch takes the place of a
/// one-shot one before it goes.
const SEEDS: [u64; 6] = [1, 2, 3, 4, 8_341_089_069_068_795_319, 15_676_727_044_485_417_452];

const STEPS: usize = 400;

async fn connect(address: &str) -> Result<RemoteStore> {
    Ok(RemoteStore::connect(address, SESSION, PATIENCE).await?)
}

async fn soon<T>(what: &str, future: impl Future<Output = T>) -> Result<T> {
    tokio::time::timeout(PATIENCE, future).await.with_context(|| format!("waited for {what}"))
}

#[tokio::test]
async fn random_scripts_get_the_same_answers() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let zookeeper = Zookeeper::start("contract", directory.path(), None)?;
    for seed in SEEDS.into_iter().chain([fastrand::u64(..)]) {
        println!("seed {seed}");
        let chroot = format!("{}/contract/{seed}", zookeeper.address);
        let mut sides = Sides::open(&chroot).await?;
        let mut script = Script::new(seed);
        for number in 0..STEPS {
            let step = script.step();
            sides
                .run(&step)
                .await
                .with_context(|| format!("seed {seed}, step {number}: {step:?}"))?;
        }
        sides.compare_trees().await.with_context(|| format!("seed {seed}, the tree at the end"))?;
        sides.close().await;
    }
    Ok(())
}

/// More nodes than one request takes come in order, and one that is not there fails alone.
#[tokio::test]
async fn many_nodes_are_read_together() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let zookeeper = Zookeeper::start("contract-many", directory.path(), None)?;
    let ours = connect(&format!("{}/chroot", zookeeper.address)).await?;
    let paths: Vec<String> = (0..1_234).map(|number| format!("/{number}")).collect();
    let missing = 700;
    for chunk in paths.chunks(500) {
        let present = chunk.iter().filter(|path| **path != paths[missing]);
        let creates = present.map(|path| Op::Create {
            path: path.clone(),
            data: path.clone().into_bytes(),
            mode: CreateMode::Persistent,
        });
        ours.multi(creates.collect()).await?;
    }
    let read = ours.get_many(&paths).await?;
    ensure!(read.len() == paths.len());
    for (path, node) in paths.iter().zip(read) {
        if *path == paths[missing] {
            ensure!(node == Err(StoreError::NoNode { path: path.clone() }), "{node:?}");
        } else {
            ensure!(node?.0 == path.as_bytes(), "{path}");
        }
    }
    ensure!(ours.get_many(&[]).await? == Vec::new());
    Ok(())
}

/// A session that somebody else ends is an event: for calls, for watches, for who waits for it.
#[tokio::test]
async fn the_end_of_a_session_reaches_everybody() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let zookeeper = Zookeeper::start("contract-expiry", directory.path(), None)?;
    let wire = Wire::open(&zookeeper.address).await?;
    let ours = connect(wire.address()).await?;
    let other = connect(&zookeeper.address).await?;
    ours.create("/e", b"x", CreateMode::Ephemeral).await?;
    let (_, mut seen) = other.exists_and_watch("/e").await?;
    let (_, mut once) = ours.exists_and_watch("/never").await?;
    let mut lasting = ours.watch("/", WatchMode::PersistentRecursive).await?;

    // Somebody else has the session and closes it, long before its time is over. Whoever could connect
    // meanwhile would take it back.
    wire.cut();
    let ends = zk::Client::connector().with_session(ours.session().clone());
    drop(ends.connect(&zookeeper.address).await?);
    let deleted = tokio::time::timeout(SESSION / 2, seen.next()).await;
    ensure!(deleted.context("waited for the deletion")?.kind == EventKind::Deleted);
    wire.mend();
    soon("the end", ours.expired()).await?;
    ensure!(ours.connection() == Connection::Expired);
    ensure!(soon("one-shot watch", once.next()).await?.kind == EventKind::SessionExpired);
    while soon("lasting watch", lasting.next()).await?.kind != EventKind::SessionExpired {}
    ensure!(ours.get("/").await == Err(StoreError::SessionExpired));
    let refused = ours.create("/f", b"", CreateMode::Persistent).await;
    ensure!(refused == Err(StoreError::SessionExpired));
    Ok(())
}

/// What no server says is not so: servers that were away for longer than the time-out give the
/// session back with all that it had, and whoever watches hears that something was missed.
#[tokio::test]
async fn a_session_is_over_only_when_a_server_says_so() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let zookeeper = Zookeeper::start("contract-outage", directory.path(), None)?;
    let wire = Wire::open(&zookeeper.address).await?;
    let ours = RemoteStore::connect(wire.address(), SHORT_SESSION, PATIENCE).await?;
    ours.create("/e", b"x", CreateMode::Ephemeral).await?;
    let (_, mut once) = ours.exists_and_watch("/once").await?;
    let mut lasting = ours.watch("/lasting", WatchMode::Persistent).await?;

    wire.cut();
    drop(zookeeper);
    let mut connections = ours.connections();
    soon("the cut", connections.wait_for(|now| *now == Connection::Disconnected)).await??;
    // The library holds it back until it gives the session up.
    ensure!(soon("the loss", ours.get("/e")).await? == Err(StoreError::ConnectionLoss));
    ensure!(ours.connection() == Connection::Disconnected);

    let zookeeper = Zookeeper::start("contract-outage", directory.path(), None)?;
    wire.lead_to(&zookeeper.address);
    wire.mend();
    ensure!(soon("one-shot watch", once.next()).await?.kind == EventKind::Missed);
    ensure!(soon("lasting watch", lasting.next()).await?.kind == EventKind::Missed);
    let (_, stat) = soon("the node", ours.get("/e")).await??;
    ensure!(stat.ephemeral_owner == ours.session_id());
    ensure!(ours.connection() == Connection::Connected);

    let other = connect(&zookeeper.address).await?;
    let (_, mut once) = ours.exists_and_watch("/once").await?;
    for path in ["/once", "/lasting"] {
        other.create(path, b"", CreateMode::Persistent).await?;
    }
    ensure!(soon("one-shot watch", once.next()).await?.kind == EventKind::Created);
    ensure!(soon("lasting watch", lasting.next()).await?.kind == EventKind::Created);

    // A server that lives counts the time-out.
    let (_, mut seen) = other.exists_and_watch("/e").await?;
    wire.cut();
    ensure!(soon("deletion", seen.next()).await?.kind == EventKind::Deleted);
    ensure!(ours.connection() == Connection::Disconnected);
    wire.mend();
    soon("the end", ours.expired()).await?;
    ensure!(ours.get("/").await == Err(StoreError::SessionExpired));
    ensure!(soon("lasting watch", lasting.next()).await?.kind == EventKind::SessionExpired);
    Ok(())
}

/// After a connection that broke, each kind of watch says what happened meanwhile, or that it does
/// not know, and goes on.
#[tokio::test]
async fn watches_live_longer_than_a_connection() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let zookeeper = Zookeeper::start("contract-watches", directory.path(), None)?;
    let wire = Wire::open(&zookeeper.address).await?;
    let ours = connect(wire.address()).await?;
    let other = connect(&zookeeper.address).await?;
    other.create("/a", b"", CreateMode::Persistent).await?;
    let (_, _, mut data) = ours.get_and_watch("/a").await?;
    let (_, mut children) = ours.children_and_watch("/a").await?;
    let mut itself = ours.watch("/b", WatchMode::Persistent).await?;
    let mut below = ours.watch("/", WatchMode::PersistentRecursive).await?;

    wire.cut();
    other.set("/a", b"1", None).await?;
    other.create("/a/x", b"", CreateMode::Persistent).await?;
    wire.mend();
    ensure!(soon("data", data.next()).await?.kind == EventKind::DataChanged);
    ensure!(soon("children", children.next()).await?.kind == EventKind::ChildrenChanged);
    ensure!(soon("lasting", itself.next()).await?.kind == EventKind::Missed);
    ensure!(soon("recursive", below.next()).await?.kind == EventKind::Missed);

    other.create("/b", b"", CreateMode::Persistent).await?;
    ensure!(soon("lasting", itself.next()).await?.kind == EventKind::Created);
    let event = soon("recursive", below.next()).await?;
    ensure!(event.kind == EventKind::Created && event.path == "/b", "{event:?}");
    Ok(())
}

/// A write whose answer is lost is reported as such, is not done twice, and can be settled.
#[tokio::test]
async fn a_lost_answer_is_settled_by_reading() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let zookeeper = Zookeeper::start("contract-loss", directory.path(), None)?;
    let wire = Wire::open(&zookeeper.address).await?;
    let ours = connect(wire.address()).await?;
    let other = connect(&zookeeper.address).await?;
    ours.create("/a", b"0", CreateMode::Persistent).await?;
    let (_, _, mut changed) = other.get_and_watch("/a").await?;

    // The server's words are held back until it has done the write, then the connection is cut.
    wire.hold_answers();
    let write = ours.set("/a", b"1", Some(0));
    let done_then_cut = async {
        changed.next().await;
        wire.cut();
        wire.mend();
    };
    let (lost, ()) = soon("the loss", async { tokio::join!(write, done_then_cut) }).await?;
    ensure!(lost == Err(StoreError::ConnectionLoss), "{lost:?}");
    let outcome = soon("the outcome", settle::replaced(&ours, "/a", b"1", 0)).await??;
    let Outcome::Done(Some(stat)) = outcome else { anyhow::bail!("{outcome:?}") };
    ensure!(stat.version == 1, "done once: {stat:?}");
    Ok(())
}
