//! The node by which the cluster knows that this broker lives.
//!
//! Made in the two steps of one transaction, as Kafka does, so that watchers see one change with
//! data. Its creation transaction is the broker epoch.
//!
//! What may be there already: our own, where an answer was lost; that of a past session of ours, which
//! is replaced at once, and the controller's node of that session with it; that of another process,
//! which gets the time of a session to vanish and is then left alone.
//! Source: Kafka 3.9 `KafkaZkClient.registerBroker`, which waits for its own past session instead.

use std::time::Duration;

use broker_protocol::quantity::BrokerId;
use broker_zookeeper::error::TreeError;
use broker_zookeeper::node::broker::Broker;
use broker_zookeeper::path;
use broker_zookeeper::settle;
use broker_zookeeper::store::{CreateMode, EventKind, Op, OpResult, Stat, Store, StoreError};
use tracing::{info, warn};

/// Why a broker is not registered.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RegisterError {
    /// Another process has the id.
    #[error(
        "broker.id={broker_id} is taken: a live broker at {} is registered with it, in session \
         {owner:#x}, which is none of this broker's; give this one another id, or stop that one",
        addresses.join(", ")
    )]
    Taken {
        /// The id.
        broker_id: BrokerId,
        /// The session of the other.
        owner: i64,
        /// Where the other says that it listens.
        addresses: Vec<String>,
    },
    /// The tree cannot be read or written.
    #[error(transparent)]
    Tree(#[from] TreeError),
}

impl From<StoreError> for RegisterError {
    fn from(error: StoreError) -> Self {
        Self::Tree(error.into())
    }
}

/// Registers `broker` and returns its epoch. `past` are sessions that were this broker's own; another's
/// registration gets `patience` to vanish.
pub(crate) async fn register(
    store: &dyn Store,
    id: BrokerId,
    broker: &Broker,
    past: &[i64],
    patience: Duration,
) -> Result<i64, RegisterError> {
    let path = path::broker_id(id.0);
    let mut has_waited = false;
    loop {
        let mut ops = Vec::new();
        if let Some((data, stat)) = settle::current(store, &path).await? {
            let owner = stat.ephemeral_owner;
            if owner == store.session_id() {
                return refresh(store, &path, &data, stat, broker).await;
            }
            if past.contains(&owner) {
                info!(owner = %hex(owner), "the past session of this broker is ended");
                ops = take_over(store, &path, stat).await?;
            } else if has_waited {
                return Err(taken(id, owner, &path, &data));
            } else {
                let owner = hex(owner);
                warn!(broker = id.0, %owner, "registered by another session; waits for its end");
                outwait(store, &path, patience).await?;
                has_waited = true;
                continue;
            }
        }
        ops.push(Op::Create { path: path.clone(), data: Vec::new(), mode: CreateMode::Ephemeral });
        ops.push(Op::Set { path: path.clone(), data: broker.encode(), version: Some(0) });
        match store.multi(ops).await {
            Ok(results) => return Ok(epoch(&results)),
            Err(StoreError::NoNode { path: parent }) if parent == path::BROKER_IDS => {
                return Err(StoreError::NoNode { path: parent }.into());
            }
            // Lost, or overtaken by somebody's end or beginning: looked at again.
            Err(
                StoreError::ConnectionLoss
                | StoreError::NodeExists { .. }
                | StoreError::BadVersion { .. }
                | StoreError::NoNode { .. },
            ) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// The registration is ours: has it say what it should.
async fn refresh(
    store: &dyn Store,
    path: &str,
    data: &[u8],
    stat: Stat,
    broker: &Broker,
) -> Result<i64, RegisterError> {
    let wanted = broker.encode();
    if data != wanted {
        match store.set(path, &wanted, None).await {
            Ok(_) => {}
            Err(StoreError::ConnectionLoss) => {
                return Box::pin(refresh(store, path, &[], stat, broker)).await;
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(stat.czxid)
}

/// The steps that take away what the session which owns the registration at `path` has.
async fn take_over(store: &dyn Store, path: &str, stat: Stat) -> Result<Vec<Op>, StoreError> {
    let delete = |path: &str, version| Op::Delete { path: path.to_owned(), version: Some(version) };
    let mut ops = vec![delete(path, stat.version)];
    if let Some((_, controller)) = settle::current(store, path::CONTROLLER).await?
        && controller.ephemeral_owner == stat.ephemeral_owner
    {
        ops.push(delete(path::CONTROLLER, controller.version));
    }
    Ok(ops)
}

/// Waits until the registration at `path` is gone, or was there for all of `patience` while the connection
/// stood: whoever comes to lead the ensemble counts every session from its beginning.
async fn outwait(store: &dyn Store, path: &str, patience: Duration) -> Result<(), StoreError> {
    loop {
        let mut watch = match store.exists_and_watch(path).await {
            Ok((None, _)) => return Ok(()),
            Ok((Some(_), watch)) => watch,
            Err(StoreError::ConnectionLoss) => continue,
            Err(error) => return Err(error),
        };
        let event = if let Ok(event) = tokio::time::timeout(patience, watch.next()).await {
            Some(event)
        } else {
            // Answered once there is a connection, and after what that has to say.
            let _ = store.exists(path).await;
            watch.try_next()
        };
        match event.map(|event| event.kind) {
            Some(EventKind::Missed) => info!("the wait begins again: the connection was lost"),
            Some(_) | None => return Ok(()),
        }
    }
}

/// A session as ZooKeeper's own tools print it.
fn hex(session: i64) -> String {
    format!("{session:#x}")
}

fn taken(broker_id: BrokerId, owner: i64, path: &str, data: &[u8]) -> RegisterError {
    let other = Broker::decode(path, data);
    let addresses = other.map_or_else(
        |_| vec!["an unknown address".to_owned()],
        |other| other.endpoints.iter().map(|one| format!("{}:{}", one.host, one.port)).collect(),
    );
    RegisterError::Taken { broker_id, owner, addresses }
}

fn epoch(results: &[OpResult]) -> i64 {
    let created = results.iter().find_map(|result| match result {
        OpResult::Created { stat, .. } => Some(stat.czxid),
        OpResult::Set { .. } | OpResult::Deleted | OpResult::Checked => None,
    });
    created.unwrap_or(-1)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use broker_zookeeper::embedded::EmbeddedTree;
    use broker_zookeeper::faulty::{Faults, FaultyStore};

    use super::*;
    use crate::controller::membership::ensure_paths;

    fn broker(timestamp_ms: i64) -> Broker {
        let endpoint = broker_zookeeper::node::broker::Endpoint {
            listener: "PLAINTEXT".to_owned(),
            security_protocol: "PLAINTEXT".to_owned(),
            host: "h".to_owned(),
            port: 9092,
        };
        Broker {
            version: 5,
            endpoints: vec![endpoint],
            rack: None,
            features: std::collections::BTreeMap::new(),
            timestamp_ms,
        }
    }

    const ID: BrokerId = BrokerId(3);

    /// Registered once, with data and an epoch that is the node's, however many answers are lost.
    #[tokio::test]
    async fn one_registration_whatever_is_lost() {
        for seed in 0..50 {
            let tree = EmbeddedTree::in_memory();
            ensure_paths(&tree.session().await).await.unwrap();
            let faults = Faults { seed, lost_answers: 0.3, ..Faults::NONE };
            let store = FaultyStore::new(Arc::new(tree.session().await), faults);
            let epoch = register(&store, ID, &broker(1), &[], Duration::ZERO).await.unwrap();
            store.calm_down();
            let (data, stat) = store.get(&path::broker_id(ID.0)).await.unwrap();
            assert_eq!((stat.czxid, stat.ephemeral_owner), (epoch, store.session_id()));
            assert_eq!(data, broker(1).encode());
            let again = register(&store, ID, &broker(2), &[], Duration::ZERO).await.unwrap();
            let (data, _) = store.get(&path::broker_id(ID.0)).await.unwrap();
            assert_eq!((again, data), (epoch, broker(2).encode()));
        }
    }

    /// A broker that starts again ends what its past session left at once: its registration and its
    /// office, but nobody else's.
    #[tokio::test]
    async fn a_past_session_of_ours_is_ended_at_once() {
        for (seed, owns_office) in [(1, true), (2, false)] {
            let tree = EmbeddedTree::in_memory();
            let (past, other) = (tree.session().await, tree.session().await);
            ensure_paths(&past).await.unwrap();
            let before = register(&past, ID, &broker(1), &[], Duration::ZERO).await.unwrap();
            let officer = if owns_office { &past } else { &other };
            officer.create(path::CONTROLLER, b"", CreateMode::Ephemeral).await.unwrap();
            let faults = Faults { seed, lost_answers: 0.3, ..Faults::NONE };
            let store = FaultyStore::new(Arc::new(tree.session().await), faults);
            let ours = [7, past.session_id()];
            let epoch = register(&store, ID, &broker(2), &ours, Duration::from_hours(1)).await;
            assert!(epoch.unwrap() > before);
            store.calm_down();
            let office = store.exists(path::CONTROLLER).await.unwrap();
            assert_eq!(office.is_none(), owns_office);
            // The past session's end takes nothing along that is not its own.
            tree.expire(past.session_id()).await;
            assert!(store.exists(&path::broker_id(ID.0)).await.unwrap().is_some());
        }
    }

    /// Another broker with the id is waited for, and refused in words if it stays.
    #[tokio::test]
    async fn a_foreign_owner_is_refused_in_words() {
        let tree = EmbeddedTree::in_memory();
        let (other, store) = (tree.session().await, tree.session().await);
        ensure_paths(&other).await.unwrap();
        register(&other, ID, &broker(1), &[], Duration::ZERO).await.unwrap();
        let (again, long) = (broker(2), Duration::from_hours(1));
        let refused = register(&store, ID, &again, &[99], Duration::ZERO).await.unwrap_err();
        let words = refused.to_string();
        assert!(words.contains("broker.id=3") && words.contains("h:9092"), "{words}");
        let waits = register(&store, ID, &again, &[], long);
        let (epoch, ()) = tokio::join!(waits, tree.expire(other.session_id()));
        assert!(epoch.is_ok(), "it was a lost disk, whose session is over now");
    }
    /// A session whose server was lost lives on for all its time at the next one.
    #[tokio::test(start_paused = true)]
    async fn the_wait_for_a_foreign_owner_begins_again_with_the_connection() {
        const PATIENCE: Duration = Duration::from_secs(10);
        let tree = EmbeddedTree::in_memory();
        let (other, own) = (tree.session().await, tree.session().await);
        ensure_paths(&other).await.unwrap();
        register(&other, ID, &broker(1), &[], Duration::ZERO).await.unwrap();
        let store = FaultyStore::new(Arc::new(own), Faults::NONE);
        let again = broker(2);
        let registered = register(&store, ID, &again, &[], PATIENCE);
        let mut ticks = tokio::time::interval(PATIENCE / 2);
        let outage = async {
            for _ in 0..20 {
                ticks.tick().await;
                store.reconnect();
            }
            tree.expire(other.session_id()).await;
        };
        let (registered, ()) = tokio::join!(registered, outage);
        assert!(registered.is_ok(), "{registered:?}");
    }
}
