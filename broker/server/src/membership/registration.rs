//! The node by which the cluster knows that this broker lives.
//!
//! Made in the two steps of one transaction, as Kafka does, so that watchers see one change with
//! data. Its creation transaction is the broker epoch. In the same transaction it is said what this broker
//! cannot prove (`standing`): before that nothing is written in the name of an id that may be another's.
//!
//! What may be there already: our own, where an answer was lost; that of a past session of ours, which
//! is replaced at once, and the controller's node of that session with it; that of another process,
//! which gets the time of a session to vanish and is then left alone. A past session counts as another's
//! where somebody else may still answer at its address (`presence`): the disk may be a copy.
//! Source: Kafka 3.9 `KafkaZkClient.registerBroker`, which waits for its own past session instead.

use std::collections::BTreeSet;
use std::time::Duration;

use broker_protocol::quantity::BrokerId;
use broker_protocol::topic_partition::TopicPartition;
use broker_zookeeper::error::TreeError;
use broker_zookeeper::node::broker::Broker;
use broker_zookeeper::path;
use broker_zookeeper::settle;
use broker_zookeeper::store::{
    CreateMode, EventKind, Op, OpResult, Stat, Store, StoreError, WatchMode,
};
use tracing::{error, info, warn};

use super::addresses::{self, Shared};
use super::presence::Presence;
use super::standing;

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
    /// Another process has the id, and the disk is a copy of its own.
    #[error(
        "broker.id={broker_id} is taken: the broker at {address} lives, in session {owner:#x}, and the \
         log directories of this one (log.dirs) are a copy of its own; stop that one first, or give this \
         one another id and empty log directories"
    )]
    Copied {
        /// The id.
        broker_id: BrokerId,
        /// The session of the other.
        owner: i64,
        /// Where the other answers.
        address: String,
    },
    /// Another broker tells the cluster the same address.
    #[error(
        "advertised.listeners: {address} is already registered by broker {other}, in session {owner:#x}; \
         give this one (broker.id={broker_id}) an address of its own, or stop that one"
    )]
    SharedAddress {
        /// The id of this broker.
        broker_id: BrokerId,
        /// The address.
        address: String,
        /// The other broker.
        other: BrokerId,
        /// The session of the other.
        owner: i64,
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

/// A broker that is to be registered.
pub(crate) struct Registering<'a> {
    /// Its id.
    pub(crate) id: BrokerId,
    /// What it says of itself.
    pub(crate) broker: &'a Broker,
    /// The replicas that it cannot prove to be complete.
    pub(crate) unproven: &'a BTreeSet<TopicPartition>,
    /// The sessions that were its own.
    pub(crate) past: &'a [i64],
    /// How long another's registration may take to vanish.
    pub(crate) patience: Duration,
    /// Tells this process from others.
    pub(crate) presence: &'a Presence,
    /// Whether it has just started, and not lost a place that it had.
    pub(crate) is_start: bool,
}

/// Registers a broker and returns its epoch.
pub(crate) async fn register(
    store: &dyn Store,
    what: &Registering<'_>,
) -> Result<i64, RegisterError> {
    if what.is_start {
        await_addresses(store, what).await?;
    }
    let epoch = take_place(store, what).await?;
    match addresses::shared(store, what.id, what.broker).await? {
        Some(shared) if what.is_start && shared.epoch < epoch => {
            withdraw(store, what.id).await?;
            Err(what.shares(shared))
        }
        Some(shared) => {
            let Shared { address, other, .. } = shared;
            error!(
                broker = other.0,
                address, "another broker tells the cluster the address of this one"
            );
            Ok(epoch)
        }
        None => Ok(epoch),
    }
}

/// Waits until no other broker tells the cluster an address of this one.
async fn await_addresses(store: &dyn Store, what: &Registering<'_>) -> Result<(), RegisterError> {
    let mut waited = BTreeSet::new();
    while let Some(shared) = addresses::shared(store, what.id, what.broker).await? {
        if !waited.insert(shared.owner) {
            return Err(what.shares(shared));
        }
        let Shared { address, other, owner, .. } = shared;
        let session = hex(owner);
        warn!(
            address,
            broker = other.0,
            session,
            "registered by another broker; waits for its end"
        );
        outwait(store, &path::broker_id(other.0), what.patience).await?;
    }
    Ok(())
}

/// Takes the registration away that this session has made; what was said with it counts no more.
async fn withdraw(store: &dyn Store, id: BrokerId) -> Result<(), StoreError> {
    loop {
        match store.delete(&path::broker_id(id.0), None).await {
            Err(StoreError::ConnectionLoss) => {}
            Ok(()) | Err(StoreError::NoNode { .. }) => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}

/// Makes the registration of this session, or finds it made; returns its epoch.
async fn take_place(store: &dyn Store, what: &Registering<'_>) -> Result<i64, RegisterError> {
    let path = path::broker_id(what.id.0);
    let mut other = Other::default();
    loop {
        let mut ops = Vec::new();
        if let Some((data, stat)) = settle::current(store, &path).await? {
            if stat.ephemeral_owner == store.session_id() {
                standing::publish(store, what.id, what.unproven).await?;
                return refresh(store, &path, &data, stat, what.broker).await;
            }
            match other.judge(what, &path, &data, stat).await? {
                Step::LookAgain => continue,
                Step::Wait => {
                    outwait(store, &path, what.patience).await?;
                    continue;
                }
                Step::TakeOver => ops = take_over(store, &path, stat).await?,
            }
        }
        ops.extend(standing::op(store, what.id, what.unproven).await?);
        ops.push(Op::Create { path: path.clone(), data: Vec::new(), mode: CreateMode::Ephemeral });
        ops.push(Op::Set { path: path.clone(), data: what.broker.encode(), version: Some(0) });
        match store.multi(ops).await {
            Ok(results) => return Ok(epoch(&path, &results)),
            Err(StoreError::NoNode { path: parent }) if parent == path::BROKER_IDS => {
                return Err(StoreError::NoNode { path: parent }.into());
            }
            Err(error) if standing::is_to_be_looked_at_again(&error) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// What is done about a registration of another session.
enum Step {
    TakeOver,
    /// Asking took a while.
    LookAgain,
    Wait,
}

/// What is known of the one who is registered already.
#[derive(Default)]
struct Other {
    /// The epoch of a registration that was ours, and whose process is gone.
    gone: Option<i64>,
    has_waited: bool,
}

impl Other {
    /// Decides about the registration at `path`, which another session has made.
    async fn judge(
        &mut self,
        what: &Registering<'_>,
        path: &str,
        data: &[u8],
        stat: Stat,
    ) -> Result<Step, RegisterError> {
        let (broker_id, owner) = (what.id, stat.ephemeral_owner);
        let session = hex(owner);
        let mut address = None;
        if what.past.contains(&owner) {
            if self.gone == Some(stat.czxid) {
                info!(session, "the past session of this broker is ended");
                return Ok(Step::TakeOver);
            }
            if let Ok(node) = Broker::decode(path, data) {
                let elsewhere = what.presence.elsewhere(&node).await;
                address = elsewhere.map(|one| format!("{}:{}", one.host, one.port));
            }
            if address.is_none() {
                self.gone = Some(stat.czxid);
                return Ok(Step::LookAgain);
            }
        }
        if self.has_waited {
            return Err(match address {
                Some(address) => RegisterError::Copied { broker_id, owner, address },
                None => taken(broker_id, owner, path, data),
            });
        }
        self.has_waited = true;
        let broker = broker_id.0;
        if let Some(address) = address {
            warn!(
                broker,
                session,
                address,
                "somebody answers where the broker was whose log directories these are; waits for the \
                 end of its session"
            );
        } else {
            warn!(broker, session, "registered by another session; waits for its end");
        }
        Ok(Step::Wait)
    }
}

impl Registering<'_> {
    fn shares(&self, shared: Shared) -> RegisterError {
        let Shared { address, other, owner, .. } = shared;
        RegisterError::SharedAddress { broker_id: self.id, address, other, owner }
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
    if data == wanted {
        return Ok(stat.czxid);
    }
    loop {
        match store.set(path, &wanted, None).await {
            Ok(_) => return Ok(stat.czxid),
            Err(StoreError::ConnectionLoss) => {}
            Err(error) => return Err(error.into()),
        }
    }
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
    // One that fires once would hear nothing of a connection that was lost and found.
    let mut watch = loop {
        match store.watch(path, WatchMode::Persistent).await {
            Err(StoreError::ConnectionLoss) => {}
            answered => break answered?,
        }
    };
    while settle::current(store, path).await?.is_some() {
        let event = if let Ok(event) = tokio::time::timeout(patience, watch.next()).await {
            Some(event)
        } else {
            // Answered once there is a connection, and after what that has to say; a client that gives up
            // before there is one answers with an error.
            settle::current(store, path).await?;
            watch.try_next()
        };
        match event.map(|event| event.kind) {
            Some(EventKind::Missed) => info!("the wait begins again: the connection was lost"),
            Some(_) | None => break,
        }
    }
    Ok(())
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

fn epoch(path: &str, results: &[OpResult]) -> i64 {
    let created = results.iter().find_map(|result| match result {
        OpResult::Created { path: made, stat } if made == path => Some(stat.czxid),
        OpResult::Created { .. } | OpResult::Set { .. } | OpResult::Deleted | OpResult::Checked => {
            None
        }
    });
    created.unwrap_or(-1)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use broker_protocol::uuid::Uuid;
    use broker_zookeeper::embedded::EmbeddedTree;
    use broker_zookeeper::faulty::{Faults, FaultyStore};

    use super::*;
    use crate::controller::membership::ensure_paths;

    async fn register(
        store: &dyn Store,
        id: BrokerId,
        broker: &Broker,
        past: &[i64],
        patience: Duration,
    ) -> Result<i64, RegisterError> {
        let presence = Presence::new(Uuid::ZERO);
        let unproven = BTreeSet::from([TopicPartition { topic: "t".into(), partition: id.0 }]);
        let (unproven, presence) = (&unproven, &presence);
        let is_start = true;
        let what = Registering { id, broker, unproven, past, patience, presence, is_start };
        super::register(store, &what).await
    }

    /// What is said to be unproven of a broker.
    async fn standing(store: &dyn Store, id: BrokerId) -> Option<(String, Stat)> {
        let (data, stat) = store.get(&path::standing(id.0)).await.ok()?;
        Some((String::from_utf8(data).unwrap(), stat))
    }

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
            let (said, told) = standing(&store, ID).await.unwrap();
            let session = store.session_id();
            let list = format!(r#"{{"version":1,"session":{session},"unproven":{{"t":[3]}}}}"#);
            assert_eq!(said, list);
            assert!(told.mzxid <= epoch, "before anybody can elect it");
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
            // Where it was reached nobody is now.
            let nowhere = Broker { endpoints: Vec::new(), ..broker(1) };
            let before = register(&past, ID, &nowhere, &[], Duration::ZERO).await.unwrap();
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

    /// Who is refused has written nothing in the name of the one who has the id.
    #[tokio::test]
    async fn nothing_is_said_in_the_name_of_another() {
        let tree = EmbeddedTree::in_memory();
        let (other, store) = (tree.session().await, tree.session().await);
        ensure_paths(&other).await.unwrap();
        register(&other, ID, &broker(1), &[], Duration::ZERO).await.unwrap();
        other.delete(&path::standing(ID.0), None).await.unwrap();
        let refused = register(&store, ID, &broker(2), &[], Duration::ZERO).await;
        assert!(refused.is_err());
        assert_eq!(standing(&store, ID).await, None);
    }

    /// A past session whose process lives is not past: the disk is a copy. It goes on, and the copy is refused
    /// in words, until the process is gone.
    #[tokio::test]
    async fn the_copy_of_a_live_brokers_disk_is_refused() {
        let tree = EmbeddedTree::in_memory();
        let (other, store) = (tree.session().await, tree.session().await);
        ensure_paths(&other).await.unwrap();
        let socket = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = socket.local_addr().unwrap().port();
        let mut original = broker(1);
        original.endpoints[0].host = "127.0.0.1".to_owned();
        original.endpoints[0].port = port;
        let epoch = register(&other, ID, &original, &[], Duration::ZERO).await.unwrap();
        let ours = [other.session_id()];
        let copy = broker(2);
        let answers = async {
            loop {
                drop(socket.accept().await);
            }
        };
        let refused = tokio::select! {
            refused = register(&store, ID, &copy, &ours, Duration::ZERO) => refused,
            () = answers => unreachable!(),
        };
        let words = refused.unwrap_err().to_string();
        assert!(
            words.contains("a copy of its own") && words.contains(&port.to_string()),
            "{words}"
        );
        let (_, stat) = store.get(&path::broker_id(ID.0)).await.unwrap();
        assert_eq!(stat.czxid, epoch);
        drop(socket);
        register(&store, ID, &copy, &ours, Duration::from_hours(1)).await.unwrap();
    }

    /// An address belongs to one broker: another one waits until that one is gone, and is refused if it stays.
    #[tokio::test]
    async fn the_address_of_another_broker_is_refused_in_words() {
        const NEWCOMER: BrokerId = BrokerId(8);
        let tree = EmbeddedTree::in_memory();
        let (other, store) = (tree.session().await, tree.session().await);
        ensure_paths(&other).await.unwrap();
        register(&other, ID, &broker(1), &[], Duration::ZERO).await.unwrap();
        let (newcomer, long) = (broker(2), Duration::from_hours(1));
        let refused = register(&store, NEWCOMER, &newcomer, &[], Duration::ZERO).await.unwrap_err();
        let words = refused.to_string();
        for word in ["advertised.listeners", "h:9092", "by broker 3", "broker.id=8"] {
            assert!(words.contains(word), "{words}");
        }
        assert_eq!(store.children(path::BROKER_IDS).await.unwrap(), ["3"]);
        assert_eq!(standing(&store, NEWCOMER).await, None);
        let waits = register(&store, NEWCOMER, &newcomer, &[], long);
        let (epoch, ()) = tokio::join!(waits, tree.expire(other.session_id()));
        assert!(epoch.is_ok(), "{epoch:?}");
    }

    /// Of two that start at once with one address one is left; whoever is it, it was the first.
    #[tokio::test]
    async fn of_two_with_one_address_the_later_gives_way() {
        for seed in 0..20 {
            let tree = EmbeddedTree::in_memory();
            ensure_paths(&tree.session().await).await.unwrap();
            let faults = Faults { seed, lost_answers: 0.3, ..Faults::NONE };
            let one = FaultyStore::new(Arc::new(tree.session().await), faults);
            let two = FaultyStore::new(
                Arc::new(tree.session().await),
                Faults { seed: seed + 100, ..faults },
            );
            let node = broker(1);
            let (a, b) = tokio::join!(
                register(&one, BrokerId(1), &node, &[], Duration::ZERO),
                register(&two, BrokerId(2), &node, &[], Duration::ZERO)
            );
            assert!(a.is_ok() != b.is_ok(), "{a:?} {b:?}");
            let left = tree.session().await.children(path::BROKER_IDS).await.unwrap();
            assert_eq!(left, [if a.is_ok() { "1" } else { "2" }]);
        }
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
        let outage = async {
            let mut soon = tokio::time::interval(PATIENCE / 10_000);
            while store.lasting_watches() == 0 {
                soon.tick().await;
            }
            let mut ticks = tokio::time::interval(PATIENCE * 3 / 4);
            for _ in 0..20 {
                ticks.tick().await;
                store.reconnect();
            }
            tree.expire(other.session_id()).await;
            std::future::pending::<()>().await;
        };
        tokio::select! {
            registered = registered => assert!(registered.is_ok(), "{registered:?}"),
            () = outage => {}
        }
    }
}
