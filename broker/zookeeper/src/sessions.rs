//! One session after the other with the same tree, embedded or in a ZooKeeper.
//!
//! A [`Store`] is one session, and ends. Whoever owns something that must end with it (a broker's
//! registration, a controller) holds that store; whoever only reads and writes holds
//! [`Sessions::live`], which is the store of whatever session there is. This module says when a
//! session is over and begins the next; what is done in between is decided by its one owner.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use crate::embedded::EmbeddedTree;
use crate::faulty::{Faults, FaultyStore};
use crate::observer::{self, Observer};
use crate::remote::{ConnectError, Connection, RemoteStore};
use crate::store::{
    Answer, CreateMode, EventKind, NodeRead, Op, OpResult, Stat, Store, StoreError, Watch,
    WatchMode,
};

/// How long servers that give no session are left alone before they are asked again.
const PAUSE: Duration = Duration::from_millis(200);

/// Where the tree is.
#[derive(Debug, Clone)]
pub enum Origin {
    /// In this process.
    Embedded(EmbeddedTree),
    /// In a ZooKeeper.
    Remote {
        /// Kafka's `zookeeper.connect`.
        connect: String,
        /// How long a session outlives its broker; the servers may shorten or lengthen it.
        session_timeout: Duration,
        /// How long a session may take to begin.
        connection_timeout: Duration,
    },
}

/// A session of either kind, and what is shown of it.
#[derive(Debug)]
struct Session {
    kind: Kind,
    store: Arc<dyn Store>,
}

#[derive(Debug)]
enum Kind {
    Embedded,
    Remote(Arc<RemoteStore>),
}

/// The session that there is, and the way to the next one.
#[derive(Debug)]
pub struct Sessions {
    origin: Origin,
    faults: Option<Faults>,
    observer: Arc<dyn Observer>,
    current: Mutex<Session>,
    /// The id of the current session.
    id: watch::Sender<i64>,
}

impl Sessions {
    /// Begins the first session.
    ///
    /// # Errors
    /// When `origin` names no servers, or they give no session in time.
    pub async fn begin(origin: Origin) -> Result<Arc<Self>, ConnectError> {
        Self::begin_with(origin, None, observer::nobody()).await
    }

    /// Begins the first session; `observer` is told of it and of all that follow.
    ///
    /// # Errors
    /// As [`Self::begin`].
    pub async fn begin_observed(
        origin: Origin,
        observer: Arc<dyn Observer>,
    ) -> Result<Arc<Self>, ConnectError> {
        Self::begin_with(origin, None, observer).await
    }

    /// Begins the first of sessions that are all seen through `faults`: for tests.
    ///
    /// # Errors
    /// As [`Self::begin`].
    pub async fn begin_faulty(origin: Origin, faults: Faults) -> Result<Arc<Self>, ConnectError> {
        Self::begin_with(origin, Some(faults), observer::nobody()).await
    }

    async fn begin_with(
        origin: Origin,
        faults: Option<Faults>,
        observer: Arc<dyn Observer>,
    ) -> Result<Arc<Self>, ConnectError> {
        let session = Session::begin(&origin, faults, &observer).await?;
        observer.connected();
        let id = watch::Sender::new(session.store.session_id());
        Ok(Arc::new(Self { origin, faults, observer, current: Mutex::new(session), id }))
    }

    /// Returns the session that there is. It may be over.
    pub fn current(&self) -> Arc<dyn Store> {
        Arc::clone(&self.lock().store)
    }

    /// Returns a store that is always the current session: its calls answer
    /// [`StoreError::SessionExpired`] and its watches end when that is over, and work again once
    /// the next has begun.
    pub fn live(self: &Arc<Self>) -> Arc<dyn Store> {
        Arc::new(LiveStore { sessions: Arc::clone(self) })
    }

    /// Waits until the current session is over, which only the tree itself says. Cancel-safe.
    pub async fn ended(&self) {
        let remote = match &self.lock().kind {
            Kind::Remote(remote) => Some(Arc::clone(remote)),
            Kind::Embedded => None,
        };
        match remote {
            Some(remote) => remote.expired().await,
            None => embedded_ended(&*self.current()).await,
        }
    }

    /// Begins the next session, however long that takes. The one before must be over, or is closed
    /// when nobody holds it any more. Cancel-safe.
    pub async fn renew(&self) -> Arc<dyn Store> {
        self.observer.expired();
        loop {
            match Session::begin(&self.origin, self.faults, &self.observer).await {
                Ok(session) => {
                    self.observer.connected();
                    let store = Arc::clone(&session.store);
                    *self.lock() = session;
                    self.id.send_replace(store.session_id());
                    return store;
                }
                Err(error) => tracing::warn!(%error, "no session with the coordination tree yet"),
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Waits for a session that is not `past`, and returns its id. Cancel-safe.
    pub async fn after(&self, past: i64) -> i64 {
        let mut ids = self.id.subscribe();
        // The sender lives as long as this value.
        ids.wait_for(|id| *id != past).await.map_or(past, |id| *id)
    }

    /// Returns whether the tree answers.
    pub fn connection(&self) -> Connection {
        match &self.lock().kind {
            Kind::Remote(remote) => remote.connection(),
            Kind::Embedded => match &self.origin {
                Origin::Embedded(tree) if tree.is_held() => Connection::Disconnected,
                Origin::Embedded(_) | Origin::Remote { .. } => Connection::Connected,
            },
        }
    }

    /// Returns how long a session outlives the broker; zero in this process.
    pub fn session_timeout(&self) -> Duration {
        match &self.lock().kind {
            Kind::Remote(remote) => remote.session_timeout(),
            Kind::Embedded => Duration::ZERO,
        }
    }

    /// Ends the current session in order: its ephemeral nodes are gone when this returns, if the tree
    /// answers.
    pub async fn close(&self) {
        let (remote, id) = {
            let current = self.lock();
            let remote = match &current.kind {
                Kind::Remote(remote) => Some(Arc::clone(remote)),
                Kind::Embedded => None,
            };
            (remote, current.store.session_id())
        };
        match (remote, &self.origin) {
            (Some(remote), _) => remote.close().await,
            (None, Origin::Embedded(tree)) => tree.expire(id).await,
            (None, Origin::Remote { .. }) => {}
        }
    }

    fn lock(&self) -> MutexGuard<'_, Session> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Session {
    async fn begin(
        origin: &Origin,
        faults: Option<Faults>,
        observer: &Arc<dyn Observer>,
    ) -> Result<Self, ConnectError> {
        let (kind, store): (Kind, Arc<dyn Store>) = match origin {
            Origin::Embedded(tree) => (Kind::Embedded, Arc::new(tree.session().await)),
            Origin::Remote { connect, session_timeout, connection_timeout } => {
                let observer = Arc::clone(observer);
                let timeouts = (*session_timeout, *connection_timeout);
                let remote = RemoteStore::connect_observed(connect, timeouts, observer).await?;
                let remote = Arc::new(remote);
                (Kind::Remote(Arc::clone(&remote)), remote)
            }
        };
        let store = match faults {
            Some(faults) => Arc::new(FaultyStore::new(store, faults)),
            None => store,
        };
        Ok(Self { kind, store })
    }
}

/// Waits until a session with an embedded tree is over: its watches say so.
async fn embedded_ended(store: &dyn Store) {
    loop {
        match store.watch("/", WatchMode::Persistent).await {
            Ok(mut watch) => {
                while watch.next().await.kind != EventKind::SessionExpired {}
                return;
            }
            // Of a test that loses answers.
            Err(StoreError::ConnectionLoss) => {}
            Err(_) => return,
        }
    }
}

/// The store of whatever session there is.
#[derive(Debug)]
struct LiveStore {
    sessions: Arc<Sessions>,
}

impl LiveStore {
    fn now(&self) -> Arc<dyn Store> {
        self.sessions.current()
    }
}

impl Store for LiveStore {
    fn session_id(&self) -> i64 {
        self.now().session_id()
    }

    fn create<'a>(
        &'a self,
        path: &'a str,
        data: &'a [u8],
        mode: CreateMode,
    ) -> Answer<'a, (String, Stat)> {
        Box::pin(async move { self.now().create(path, data, mode).await })
    }

    fn get<'a>(&'a self, path: &'a str) -> Answer<'a, (Vec<u8>, Stat)> {
        Box::pin(async move { self.now().get(path).await })
    }

    fn get_many<'a>(&'a self, paths: &'a [String]) -> Answer<'a, Vec<NodeRead>> {
        Box::pin(async move { self.now().get_many(paths).await })
    }

    fn get_and_watch<'a>(&'a self, path: &'a str) -> Answer<'a, (Vec<u8>, Stat, Watch)> {
        Box::pin(async move { self.now().get_and_watch(path).await })
    }

    fn exists<'a>(&'a self, path: &'a str) -> Answer<'a, Option<Stat>> {
        Box::pin(async move { self.now().exists(path).await })
    }

    fn exists_and_watch<'a>(&'a self, path: &'a str) -> Answer<'a, (Option<Stat>, Watch)> {
        Box::pin(async move { self.now().exists_and_watch(path).await })
    }

    fn children<'a>(&'a self, path: &'a str) -> Answer<'a, Vec<String>> {
        Box::pin(async move { self.now().children(path).await })
    }

    fn children_and_watch<'a>(&'a self, path: &'a str) -> Answer<'a, (Vec<String>, Watch)> {
        Box::pin(async move { self.now().children_and_watch(path).await })
    }

    fn set<'a>(&'a self, path: &'a str, data: &'a [u8], version: Option<i32>) -> Answer<'a, Stat> {
        Box::pin(async move { self.now().set(path, data, version).await })
    }

    fn delete<'a>(&'a self, path: &'a str, version: Option<i32>) -> Answer<'a, ()> {
        Box::pin(async move { self.now().delete(path, version).await })
    }

    fn multi(&self, ops: Vec<Op>) -> Answer<'_, Vec<OpResult>> {
        Box::pin(async move { self.now().multi(ops).await })
    }

    fn sync<'a>(&'a self, path: &'a str) -> Answer<'a, ()> {
        Box::pin(async move { self.now().sync(path).await })
    }

    fn watch<'a>(&'a self, path: &'a str, mode: WatchMode) -> Answer<'a, Watch> {
        Box::pin(async move { self.now().watch(path, mode).await })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    /// A live store ends with its session and works again with the next; a concrete one does not.
    #[tokio::test]
    async fn a_live_store_goes_from_session_to_session() {
        let tree = EmbeddedTree::in_memory();
        let sessions = Sessions::begin(Origin::Embedded(tree.clone())).await.unwrap();
        let (first, live) = (sessions.current(), sessions.live());
        live.create("/e", b"", CreateMode::Ephemeral).await.unwrap();
        let mut watch = live.watch("/", WatchMode::PersistentRecursive).await.unwrap();
        let expire = async {
            tree.expire(first.session_id()).await;
        };
        tokio::join!(sessions.ended(), expire);
        while watch.next().await.kind != EventKind::SessionExpired {}
        assert_eq!(live.exists("/e").await.unwrap_err(), StoreError::SessionExpired);

        let (second, id) = tokio::join!(sessions.renew(), sessions.after(first.session_id()));
        assert_eq!(second.session_id(), id);
        assert_eq!(live.exists("/e").await.unwrap(), None);
        assert_eq!(live.session_id(), second.session_id());
        assert_eq!(first.exists("/e").await.unwrap_err(), StoreError::SessionExpired);
    }

    /// Counts what it is told.
    #[derive(Debug, Default)]
    struct Told {
        connects: AtomicU64,
        expires: AtomicU64,
    }

    impl Observer for Told {
        fn connected(&self) {
            self.connects.fetch_add(1, Ordering::Relaxed);
        }

        fn expired(&self) {
            self.expires.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[tokio::test]
    async fn an_observer_is_told_of_each_session_and_of_its_end() {
        let tree = EmbeddedTree::in_memory();
        let told = Arc::<Told>::default();
        let observer = Arc::clone(&told) as Arc<dyn Observer>;
        let sessions = Sessions::begin_observed(Origin::Embedded(tree.clone()), observer);
        let sessions = sessions.await.unwrap();
        let counts =
            || (told.connects.load(Ordering::Relaxed), told.expires.load(Ordering::Relaxed));
        assert_eq!(counts(), (1, 0));
        tree.expire(sessions.current().session_id()).await;
        sessions.renew().await;
        assert_eq!(counts(), (2, 1));
    }

    /// A session that is closed takes its ephemeral nodes along, whoever still holds its store.
    #[tokio::test]
    async fn a_closed_session_leaves_nothing() {
        let tree = EmbeddedTree::in_memory();
        let sessions = Sessions::begin(Origin::Embedded(tree.clone())).await.unwrap();
        let store = sessions.current();
        store.create("/e", b"", CreateMode::Ephemeral).await.unwrap();
        sessions.close().await;
        assert_eq!(tree.session().await.exists("/e").await.unwrap(), None);
        assert_eq!(store.exists("/e").await.unwrap_err(), StoreError::SessionExpired);
    }
}
