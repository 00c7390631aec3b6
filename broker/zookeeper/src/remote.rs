//! The coordination tree in a ZooKeeper: one session with one of its servers.
//!
//! The client library connects, pings, and connects again. A request that is made while there is no
//! connection waits for the next one; a request whose answer is lost is a
//! [`StoreError::ConnectionLoss`], and is repeated neither here nor in the library. The session is
//! over when a server says so, and not before, see `session`: then every call answers
//! [`StoreError::SessionExpired`], every watch reports it, and a new store is needed.
//!
//! Watches: the server's are shared, see `hub`. A task hands on each event, so that it may come a
//! moment after the answer of a later read; never is one left out.
//! Source: zookeeper-client 0.11.2; ZooKeeper 3.9 programmer's guide.

mod connect;
mod convert;
mod hub;
mod inner;
mod names;
mod outage;
mod probe;
#[cfg(test)]
mod scripted;
mod session;
mod sources;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use zookeeper_client as zk;

pub use self::connect::ConnectError;
use self::connect::Target;
use self::convert::Asked;
use self::hub::Kind;
use self::inner::Inner;
use crate::limits;
use crate::observer::{self, Observer};
use crate::store::{
    Answer, CreateMode, NodeRead, Op, OpResult, Stat, Store, StoreError, Watch, WatchMode,
};

/// Nodes that are read by one request: some hundred kilobytes of request and answer.
const READ_AT_ONCE: usize = 500;

/// One session with a ZooKeeper. Dropping it closes the session, and with it its ephemeral nodes.
#[derive(Debug)]
pub struct RemoteStore {
    inner: Arc<Inner>,
    session_timeout: Duration,
}

/// Whether a session has a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Connection {
    /// A server answers.
    Connected,
    /// No server answers at present.
    Disconnected,
    /// The session is over.
    Expired,
}

impl RemoteStore {
    /// Begins a session with the servers of `connect`, which is Kafka's `zookeeper.connect`; its
    /// chroot is made if need be.
    ///
    /// The servers may shorten or lengthen `session_timeout`: see [`Self::session_timeout`].
    ///
    /// # Errors
    /// When `connect` is malformed, or no session was given within `connection_timeout`.
    pub async fn connect(
        connect: &str,
        session_timeout: Duration,
        connection_timeout: Duration,
    ) -> Result<Self, ConnectError> {
        Self::connect_observed(connect, (session_timeout, connection_timeout), observer::nobody())
            .await
    }

    /// As [`Self::connect`], with the time-outs of session and connection, and someone who is told of
    /// the connection and of every request. It is not told of the first connection.
    pub(crate) async fn connect_observed(
        connect: &str,
        (session_timeout, connection_timeout): (Duration, Duration),
        observer: Arc<dyn Observer>,
    ) -> Result<Self, ConnectError> {
        let target = Target::parse(connect)?;
        let client = target.connect(session_timeout, connection_timeout).await?;
        let session_timeout = client.session_timeout();
        let inner = Arc::new(Inner::new(client.clone(), target, observer));
        session::follow(&inner, &client);
        Ok(Self { inner, session_timeout })
    }

    /// Returns the time-out that the servers gave.
    pub fn session_timeout(&self) -> Duration {
        self.session_timeout
    }

    /// Returns whether there is a connection.
    pub fn connection(&self) -> Connection {
        *self.connections().borrow()
    }

    /// Returns whether there is a connection, now and from now on.
    pub fn connections(&self) -> watch::Receiver<Connection> {
        self.inner.connections()
    }

    /// Waits until the session is over. Cancel-safe.
    pub async fn expired(&self) {
        // The sender lives as long as this store.
        let _ = self.connections().wait_for(|now| *now == Connection::Expired).await;
    }

    /// Returns what the library needs to take this session over, or to end it from outside.
    pub fn session(&self) -> &zk::SessionInfo {
        &self.inner.session
    }

    /// Closes the session; returns once the server has done so. Without a connection it is left to
    /// its time-out.
    pub async fn close(&self) {
        let client = self.inner.client_now();
        self.inner.end();
        if let Some(client) = client {
            connect::close(client).await;
        }
    }

    async fn client(&self) -> Result<zk::Client, StoreError> {
        self.inner.client().await
    }

    /// Translates why a request failed: the end of a client is not that of the session.
    fn error(&self, asked: Asked<'_>, error: &zk::Error) -> StoreError {
        let error = convert::error(asked, error);
        if error == StoreError::SessionExpired && !self.inner.is_over() {
            return StoreError::ConnectionLoss;
        }
        error
    }

    /// Reads a node and waits for a change of `kind`: by `watching` if the server has no watch there
    /// yet, or else by `reading`.
    ///
    /// Not to be cancelled lightly: a watch that was asked for and is not waited for is taken back by
    /// the library, and a lasting one on the same path may go with it until the next connection.
    async fn read_and_watch<T, W, R>(
        &self,
        path: &str,
        kind: Kind,
        watching: impl FnOnce() -> W,
        reading: impl FnOnce() -> R,
    ) -> Result<(T, Watch), StoreError>
    where
        W: Future<Output = Result<(T, zk::OneshotWatcher), zk::Error>>,
        R: Future<Output = Result<T, zk::Error>>,
    {
        limits::check_path(path)?;
        let (events, asks) = self.inner.hub().once(path, kind);
        let read = if let Some(asked) = asks {
            self.inner.timed(watching()).await.map(|(read, watcher)| {
                sources::once(&self.inner, path, kind, asked, watcher);
                read
            })
        } else {
            self.inner.timed(reading()).await
        };
        match read {
            Ok(read) => Ok((read, Watch::new(events))),
            Err(error) => {
                drop(events);
                self.inner.hub().forget_closed(path);
                Err(self.error(Asked::Read(path), &error))
            }
        }
    }

    /// Asks for some nodes in one request, which is sent at once.
    fn read_chunk<'a>(
        &'a self,
        client: &'a zk::Client,
        paths: &'a [String],
    ) -> Result<impl Future<Output = Result<Vec<NodeRead>, StoreError>> + use<'a>, StoreError> {
        let mut reader = client.new_multi_reader();
        for path in paths {
            let added = reader.add_get_data(path);
            added.map_err(|error| self.error(Asked::Read(path), &error))?;
        }
        let asked = reader.commit();
        Ok(async move {
            let results = self
                .inner
                .timed(asked)
                .await
                .map_err(|error| self.error(Asked::Read("/"), &error))?;
            Ok(paths.iter().zip(results).map(|(path, result)| node_read(path, result)).collect())
        })
    }

    async fn write(&self, ops: &[Op]) -> Result<Vec<OpResult>, StoreError> {
        limits::check(ops, self.inner.chroot_length())?;
        let client = self.client().await?;
        let mut writer = client.new_multi_writer();
        for op in ops {
            let added = match op {
                Op::Create { path, data, mode } => {
                    writer.add_create(path, data, &convert::create_options(*mode))
                }
                Op::Set { path, data, version } => {
                    writer.add_set_data(path, data, version.map(convert::version))
                }
                Op::Delete { path, version } => {
                    writer.add_delete(path, version.map(convert::version))
                }
                Op::Check { path, version } => {
                    writer.add_check_version(path, convert::version(*version))
                }
            };
            added.map_err(|error| self.error(Asked::of(op), &error))?;
        }
        let results = match self.inner.timed(writer.commit()).await {
            Ok(results) => results,
            Err(zk::MultiWriteError::OperationFailed { index, source }) => {
                let asked = ops.get(index).map_or(Asked::Read("/"), Asked::of);
                return Err(self.error(asked, &source));
            }
            Err(zk::MultiWriteError::RequestFailed { source }) => {
                return Err(self.error(Asked::Read("/"), &source));
            }
        };
        Ok(results.into_iter().map(result).collect())
    }
}

fn node_read(path: &str, result: zk::MultiReadResult) -> NodeRead {
    match result {
        zk::MultiReadResult::Data { data, stat } => Ok((data, convert::stat(&stat))),
        zk::MultiReadResult::Error { err } => Err(convert::error(Asked::Read(path), &err)),
        // Only data is asked for. The library may grow.
        zk::MultiReadResult::Children { .. } | _ => Err(StoreError::Unsupported),
    }
}

fn result(result: zk::MultiWriteResult) -> OpResult {
    match result {
        zk::MultiWriteResult::Create { path, stat } => {
            OpResult::Created { path, stat: convert::stat(&stat) }
        }
        zk::MultiWriteResult::SetData { stat } => OpResult::Set { stat: convert::stat(&stat) },
        zk::MultiWriteResult::Delete => OpResult::Deleted,
        // The library may grow; a result that it does not name yet has no facts.
        zk::MultiWriteResult::Check | _ => OpResult::Checked,
    }
}

impl Store for RemoteStore {
    fn session_id(&self) -> i64 {
        self.inner.session.id().0
    }

    fn create<'a>(
        &'a self,
        path: &'a str,
        data: &'a [u8],
        mode: CreateMode,
    ) -> Answer<'a, (String, Stat)> {
        Box::pin(async move {
            let op = [Op::Create { path: path.to_owned(), data: data.to_owned(), mode }];
            limits::check(&op, self.inner.chroot_length())?;
            let options = convert::create_options(mode);
            let client = self.client().await?;
            let created = self.inner.timed(client.create(path, data, &options)).await;
            let (stat, number) =
                created.map_err(|error| self.error(Asked::Create(path), &error))?;
            let path = match mode {
                CreateMode::PersistentSequential => format!("{path}{number}"),
                CreateMode::Persistent | CreateMode::Ephemeral => path.to_owned(),
            };
            Ok((path, convert::stat(&stat)))
        })
    }

    fn get<'a>(&'a self, path: &'a str) -> Answer<'a, (Vec<u8>, Stat)> {
        Box::pin(async move {
            limits::check_path(path)?;
            let client = self.client().await?;
            let read = self.inner.timed(client.get_data(path)).await;
            let (data, stat) = read.map_err(|error| self.error(Asked::Read(path), &error))?;
            Ok((data, convert::stat(&stat)))
        })
    }

    fn get_many<'a>(&'a self, paths: &'a [String]) -> Answer<'a, Vec<NodeRead>> {
        Box::pin(async move {
            paths.iter().try_for_each(|path| limits::check_path(path))?;
            let client = self.client().await?;
            // Each is sent when it is made: they wait for one round trip together.
            let asked: Vec<_> =
                paths.chunks(READ_AT_ONCE).map(|chunk| self.read_chunk(&client, chunk)).collect();
            let mut read = Vec::with_capacity(paths.len());
            for chunk in asked {
                read.extend(chunk?.await?);
            }
            Ok(read)
        })
    }

    fn get_and_watch<'a>(&'a self, path: &'a str) -> Answer<'a, (Vec<u8>, Stat, Watch)> {
        Box::pin(async move {
            let client = self.client().await?;
            let watching = || async {
                let (data, stat, watcher) = client.get_and_watch_data(path).await?;
                Ok(((data, stat), watcher))
            };
            let reading = || client.get_data(path);
            let ((data, stat), watch) =
                self.read_and_watch(path, Kind::Node, watching, reading).await?;
            Ok((data, convert::stat(&stat), watch))
        })
    }

    fn exists<'a>(&'a self, path: &'a str) -> Answer<'a, Option<Stat>> {
        Box::pin(async move {
            limits::check_path(path)?;
            let client = self.client().await?;
            let read = self.inner.timed(client.check_stat(path)).await;
            let stat = read.map_err(|error| self.error(Asked::Read(path), &error))?;
            Ok(stat.as_ref().map(convert::stat))
        })
    }

    fn exists_and_watch<'a>(&'a self, path: &'a str) -> Answer<'a, (Option<Stat>, Watch)> {
        Box::pin(async move {
            let client = self.client().await?;
            let watching = || client.check_and_watch_stat(path);
            let reading = || client.check_stat(path);
            let (stat, watch) = self.read_and_watch(path, Kind::Node, watching, reading).await?;
            Ok((stat.as_ref().map(convert::stat), watch))
        })
    }

    fn children<'a>(&'a self, path: &'a str) -> Answer<'a, Vec<String>> {
        Box::pin(async move {
            limits::check_path(path)?;
            let client = self.client().await?;
            let read = self.inner.timed(client.list_children(path)).await;
            let mut names = read.map_err(|error| self.error(Asked::Read(path), &error))?;
            names.sort_unstable();
            Ok(names)
        })
    }

    fn children_and_watch<'a>(&'a self, path: &'a str) -> Answer<'a, (Vec<String>, Watch)> {
        Box::pin(async move {
            let client = self.client().await?;
            let watching = || client.list_and_watch_children(path);
            let reading = || client.list_children(path);
            let (mut names, watch) =
                self.read_and_watch(path, Kind::Children, watching, reading).await?;
            names.sort_unstable();
            Ok((names, watch))
        })
    }

    fn set<'a>(&'a self, path: &'a str, data: &'a [u8], version: Option<i32>) -> Answer<'a, Stat> {
        Box::pin(async move {
            let op = [Op::Set { path: path.to_owned(), data: data.to_owned(), version }];
            limits::check(&op, self.inner.chroot_length())?;
            let client = self.client().await?;
            let set = client.set_data(path, data, version.map(convert::version));
            let set = self.inner.timed(set).await;
            let stat = set.map_err(|error| self.error(Asked::of(&op[0]), &error))?;
            Ok(convert::stat(&stat))
        })
    }

    fn delete<'a>(&'a self, path: &'a str, version: Option<i32>) -> Answer<'a, ()> {
        Box::pin(async move {
            let op = [Op::Delete { path: path.to_owned(), version }];
            limits::check(&op, self.inner.chroot_length())?;
            let client = self.client().await?;
            let deleted = client.delete(path, version.map(convert::version));
            let deleted = self.inner.timed(deleted).await;
            deleted.map_err(|error| self.error(Asked::of(&op[0]), &error))
        })
    }

    fn multi(&self, ops: Vec<Op>) -> Answer<'_, Vec<OpResult>> {
        Box::pin(async move { self.write(&ops).await })
    }

    fn sync<'a>(&'a self, path: &'a str) -> Answer<'a, ()> {
        Box::pin(async move {
            limits::check_path(path)?;
            let client = self.client().await?;
            let synced = self.inner.timed(client.sync(path)).await;
            synced.map_err(|error| self.error(Asked::Read(path), &error))
        })
    }

    fn watch<'a>(&'a self, path: &'a str, mode: WatchMode) -> Answer<'a, Watch> {
        Box::pin(async move {
            limits::check_path(path)?;
            let client = self.client().await?;
            let _setting = self.inner.setting.lock().await;
            let (events, asks) = self.inner.hub().lasting(path, mode);
            if asks {
                let _asking = sources::Asking { inner: &self.inner, path };
                match self.inner.timed(client.watch(path, convert::watch_mode(mode))).await {
                    Ok(watcher) => sources::lasting(&self.inner, path, mode, watcher),
                    Err(error) => {
                        drop(events);
                        return Err(self.error(Asked::Read(path), &error));
                    }
                }
            }
            Ok(Watch::new(events))
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::Instant;

    use super::*;
    use crate::settle;

    /// A server that has too much to do is asked again after a while, by whoever looks what became of a request.
    #[tokio::test]
    async fn a_server_that_refuses_for_now_is_asked_again() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap().to_string();
        let asked = async {
            let limit = Duration::from_secs(10);
            let store = RemoteStore::connect(&at, limit, limit).await.unwrap();
            settle::current(&store, "/n").await
        };
        let found = tokio::select! {
            found = asked => found,
            never = scripted::serve(&listener, 2) => match never {},
        };
        assert_eq!(found, Ok(None));
    }

    /// Gives up on who asks for ever.
    #[derive(Debug, Default)]
    struct Impatient(AtomicU32);

    impl Observer for Impatient {
        fn sent(&self) -> Option<Instant> {
            assert!(self.0.fetch_add(1, Ordering::Relaxed) < 1000, "nobody else comes to run");
            None
        }
    }

    /// A client that has given up answers at once. Who asks it again and again must not keep the one from running
    /// who is to hear of that and to take the client away.
    #[tokio::test]
    async fn who_asks_again_at_once_lets_others_hear_that_the_client_is_gone() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let target = Target::parse(&listener.local_addr().unwrap().to_string()).unwrap();
        let (session_timeout, limit) = (Duration::from_millis(100), Duration::from_secs(10));
        let client = tokio::select! {
            client = target.connect(session_timeout, limit) => client.unwrap(),
            never = scripted::serve(&listener, 0) => match never {},
        };
        drop(listener);
        let mut states = client.state_watcher();
        while !client.state().is_terminated() {
            states.changed().await;
        }

        let inner = Arc::new(Inner::new(client, target, Arc::new(Impatient::default())));
        let store = RemoteStore { inner: Arc::clone(&inner), session_timeout };
        let hears = async {
            inner.lose_client();
            tokio::task::yield_now().await;
            inner.end();
        };
        let (asked, ()) = tokio::join!(settle::current(&store, "/n"), hears);
        assert_eq!(asked, Err(StoreError::SessionExpired));
    }
}
