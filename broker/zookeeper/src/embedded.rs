//! The coordination tree inside the broker's own process: what makes a broker run with nothing
//! beside it, tests fast, and the expiry of a session a function call.
//!
//! One thread owns the tree, its file and its watches. It takes all requests that wait, applies
//! them, writes them with one sync, and only then answers and fires watches: nothing is seen that a
//! power cut could take back. What cannot be written is taken back and refused; a full disk may be
//! followed by better times, any other error ends all writing. Reads are always answered.

mod file;
mod tree;
mod watches;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use tokio::sync::{mpsc, oneshot};

pub use self::file::OpenError;
use self::file::{TreeFile, WriteError};
use self::tree::{Change, ChangeKind, Node, Tree};
use self::watches::{Kind, Watches};
use crate::limits;
use crate::path::parent_of;
use crate::store::{
    Answer, CreateMode, EventKind, NodeRead, Op, OpResult, Stat, Store, StoreError, Watch,
    WatchEvent, WatchMode,
};

/// Requests that may wait for the owner thread; more push back on those who ask.
const QUEUE: usize = 1024;

/// A tree in this process. Cheap to clone; all clones are one tree.
#[derive(Debug, Clone)]
pub struct EmbeddedTree {
    requests: mpsc::Sender<Request>,
    sessions: Arc<AtomicI64>,
    is_held: Arc<AtomicBool>,
}

/// Holds a tree back for as long as it lives.
#[derive(Debug)]
pub struct Held {
    is_held: Arc<AtomicBool>,
    _release: std::sync::mpsc::Sender<()>,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.is_held.store(false, Ordering::Release);
    }
}

/// One session with an [`EmbeddedTree`].
#[derive(Debug)]
pub struct EmbeddedStore {
    requests: mpsc::Sender<Request>,
    session: i64,
}

#[derive(Debug)]
enum Request {
    Begin {
        session: i64,
    },
    Multi {
        session: i64,
        ops: Vec<Op>,
        answer: oneshot::Sender<Result<Vec<OpResult>, StoreError>>,
    },
    Read {
        session: i64,
        path: String,
        watch: Option<Kind>,
        answer: oneshot::Sender<ReadResult>,
    },
    ReadMany {
        session: i64,
        paths: Vec<String>,
        answer: oneshot::Sender<Result<Vec<NodeRead>, StoreError>>,
    },
    Watch {
        session: i64,
        path: String,
        mode: WatchMode,
        answer: oneshot::Sender<Result<Watch, StoreError>>,
    },
    Expire {
        session: i64,
        answer: oneshot::Sender<()>,
    },
    Hold {
        released: std::sync::mpsc::Receiver<()>,
    },
    Close {
        closed: oneshot::Sender<()>,
    },
}

type ReadResult = Result<(Option<Node>, Option<Watch>), StoreError>;

impl EmbeddedTree {
    /// Opens the tree that is kept in the file `path`, or begins it.
    ///
    /// # Errors
    /// When the file cannot be used or is damaged; it is not changed then.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        let (file, tree) = TreeFile::open(path)?;
        Ok(Self::start(Some(file), tree))
    }

    /// Begins a tree that is kept in memory only: for tests.
    pub fn in_memory() -> Self {
        Self::start(None, Tree::new())
    }

    /// Ends every session and releases the file; returns once another process may open it.
    pub async fn close(&self) {
        let (closed, done) = oneshot::channel();
        if self.requests.send(Request::Close { closed }).await.is_ok() {
            let _ = done.await;
        }
    }

    fn start(file: Option<TreeFile>, tree: Tree) -> Self {
        let (requests, inbox) = mpsc::channel(QUEUE);
        // Ids above any that the tree has seen: an owner is never mistaken for an older one.
        let sessions = Arc::new(AtomicI64::new((tree.zxid() + 1) << 16));
        let owner =
            Owner { tree, file, watches: Watches::default(), live: Vec::new(), is_full: false };
        let thread = std::thread::Builder::new().name("coordination".to_owned());
        if let Err(error) = thread.spawn(move || owner.run(inbox)) {
            // The inbox is gone with the thread, so every call answers that the session is over.
            tracing::error!(%error, "no thread for the coordination tree");
        }
        Self { requests, sessions, is_held: Arc::default() }
    }

    /// Begins a session.
    pub async fn session(&self) -> EmbeddedStore {
        let session = self.sessions.fetch_add(1, Ordering::Relaxed);
        // A tree that is gone answers every later call with `SessionExpired`.
        let _ = self.requests.send(Request::Begin { session }).await;
        EmbeddedStore { requests: self.requests.clone(), session }
    }

    /// Ends a session as its time-out would: its ephemerals go, its watches say so.
    pub async fn expire(&self, session: i64) {
        let (answer, done) = oneshot::channel();
        if self.requests.send(Request::Expire { session, answer }).await.is_ok() {
            let _ = done.await;
        }
    }
}

impl EmbeddedTree {
    /// Has the tree answer nothing until the returned value is dropped, as a ZooKeeper does whose servers
    /// are away: for tests.
    pub fn hold(&self) -> Held {
        let (release, released) = std::sync::mpsc::channel();
        self.is_held.store(true, Ordering::Release);
        // A queue that is full is for a test to notice: nothing is held then.
        let _ = self.requests.try_send(Request::Hold { released });
        Held { is_held: Arc::clone(&self.is_held), _release: release }
    }

    /// Whether it answers nothing at present.
    pub(crate) fn is_held(&self) -> bool {
        self.is_held.load(Ordering::Acquire)
    }
}

struct Owner {
    tree: Tree,
    file: Option<TreeFile>,
    watches: Watches,
    live: Vec<i64>,
    /// Whether the last change was refused for want of space.
    is_full: bool,
}

/// What one batch of requests leads to. Changes are applied as they come; all else waits until
/// they are on disk.
#[derive(Default)]
struct Batch {
    writes: Vec<Write>,
    reads: Vec<Request>,
    events: Vec<WatchEvent>,
    expired: Vec<(i64, oneshot::Sender<()>)>,
    closing: Option<oneshot::Sender<()>>,
}

/// A transaction's result and who waits for it.
type Write =
    (oneshot::Sender<Result<Vec<OpResult>, StoreError>>, Result<Vec<OpResult>, StoreError>);

impl Owner {
    fn run(mut self, mut inbox: mpsc::Receiver<Request>) {
        while let Some(request) = inbox.blocking_recv() {
            let mut batch = Batch::default();
            self.take(request, &mut batch);
            while !self.file.as_ref().is_some_and(TreeFile::is_full)
                && let Ok(request) = inbox.try_recv()
            {
                self.take(request, &mut batch);
            }
            if let Some(closed) = self.finish(batch) {
                drop(self);
                // Whoever closed need not wait to see it.
                let _ = closed.send(());
                return;
            }
        }
    }

    fn take(&mut self, request: Request, batch: &mut Batch) {
        match request {
            Request::Begin { session } => self.live.push(session),
            Request::Multi { session, ops, answer } => {
                let result =
                    self.check(session).and_then(|()| self.apply(session, &ops, &mut batch.events));
                batch.writes.push((answer, result));
            }
            Request::Expire { session, answer } => {
                self.expire(session, &mut batch.events);
                batch.expired.push((session, answer));
            }
            // Ends with an error once the other side is dropped.
            Request::Hold { released } => drop(released.recv()),
            Request::Close { closed } => batch.closing = Some(closed),
            Request::Read { .. } | Request::ReadMany { .. } | Request::Watch { .. } => {
                batch.reads.push(request);
            }
        }
    }

    /// Writes a batch and answers it; returns who waits for the end, if somebody does.
    fn finish(&mut self, batch: Batch) -> Option<oneshot::Sender<()>> {
        let Batch { writes, reads, mut events, expired, closing } = batch;
        let refused = self.commit().err();
        if refused.is_some() {
            events.clear();
        }
        for event in events {
            self.watches.fire(&event);
        }
        for (session, answer) in expired {
            // What could not be deleted stays for now, but the session is over all the same. After
            // the events: a session's last ones are those of its own end.
            self.watches.drop_session(session);
            let _ = answer.send(());
        }
        for (answer, result) in writes {
            let result = match (&refused, result) {
                (Some(refused), Ok(_)) => Err(refused.clone()),
                (_, result) => result,
            };
            let _ = answer.send(result);
        }
        for request in reads {
            self.answer(request);
        }
        closing
    }

    /// Brings what was applied to the disk, or takes it back.
    fn commit(&mut self) -> Result<(), StoreError> {
        let written = self.file.as_mut().map_or(Ok(false), TreeFile::commit);
        let error = match written {
            Ok(wrote) => {
                if wrote && std::mem::take(&mut self.is_full) {
                    tracing::info!("the disk of the coordination tree has room again");
                }
                self.tree.settle();
                return Ok(());
            }
            Err(error) => error,
        };
        self.tree.undo();
        let source = std::error::Error::source(&error).map(ToString::to_string);
        match error {
            WriteError::Full(_) => {
                // Once: the controller tries again every second.
                if !std::mem::replace(&mut self.is_full, true) {
                    tracing::error!(%error, source, "changes of the coordination tree are refused");
                }
                Err(StoreError::Full)
            }
            WriteError::Broken(_) => {
                tracing::error!(%error, source, "the coordination tree cannot be written any more");
                Err(StoreError::Unwritable)
            }
            WriteError::GivenUp => Err(StoreError::Unwritable),
        }
    }

    fn answer(&mut self, request: Request) {
        match request {
            Request::Read { session, path, watch, answer } => {
                let result = self.check(session).map(|()| self.read(session, &path, watch));
                let _ = answer.send(result);
            }
            Request::ReadMany { session, paths, answer } => {
                let read = |path: String| match self.tree.get(&path) {
                    Some(node) => Ok((node.data.clone(), node.stat)),
                    None => Err(StoreError::NoNode { path }),
                };
                let result = self.check(session).map(|()| paths.into_iter().map(read).collect());
                let _ = answer.send(result);
            }
            Request::Watch { session, path, mode, answer } => {
                let result =
                    self.check(session).map(|()| self.watches.persistent(session, &path, mode));
                let _ = answer.send(result);
            }
            Request::Begin { .. }
            | Request::Multi { .. }
            | Request::Expire { .. }
            | Request::Hold { .. }
            | Request::Close { .. } => {}
        }
    }

    fn check(&self, session: i64) -> Result<(), StoreError> {
        if self.live.contains(&session) { Ok(()) } else { Err(StoreError::SessionExpired) }
    }

    fn apply(
        &mut self,
        session: i64,
        ops: &[Op],
        events: &mut Vec<WatchEvent>,
    ) -> Result<Vec<OpResult>, StoreError> {
        let (results, changes) = self.tree.apply(session, ops, wall_ms())?;
        self.written(&changes, events);
        Ok(results)
    }

    /// Hands changes to the file and turns them into events.
    fn written(&mut self, changes: &[Change], events: &mut Vec<WatchEvent>) {
        if changes.is_empty() {
            return;
        }
        if let Some(file) = &mut self.file {
            // The parent's counters changed too; they must survive for sequence numbers.
            // Each once, and parents first: what is written is what is there at the end.
            let paths = changes.iter().flat_map(|c| [c.path.as_str(), parent_of(&c.path)]);
            let paths: BTreeSet<&str> = paths.collect();
            file.add(self.tree.zxid(), paths.into_iter().map(|path| (path, self.tree.get(path))));
        }
        for Change { kind, path } in changes {
            let parent = |events: &mut Vec<WatchEvent>| {
                let path = parent_of(path).to_owned();
                events.push(WatchEvent { kind: EventKind::ChildrenChanged, path });
            };
            let own = match kind {
                ChangeKind::Created => EventKind::Created,
                ChangeKind::DataChanged => EventKind::DataChanged,
                ChangeKind::Deleted => EventKind::Deleted,
            };
            events.push(WatchEvent { kind: own, path: path.clone() });
            if *kind != ChangeKind::DataChanged {
                parent(events);
            }
        }
    }

    fn read(
        &mut self,
        session: i64,
        path: &str,
        watch: Option<Kind>,
    ) -> (Option<Node>, Option<Watch>) {
        let node = self.tree.get(path).cloned();
        // Only an existence watch may wait for a node that is not there.
        let watch = watch.filter(|kind| node.is_some() || *kind == Kind::Exists);
        (node, watch.map(|kind| self.watches.once(session, path, kind)))
    }

    fn expire(&mut self, session: i64, events: &mut Vec<WatchEvent>) {
        if let Some(at) = self.live.iter().position(|live| *live == session) {
            self.live.remove(at);
        }
        let ops: Vec<Op> = (self.tree.ephemerals_of(session).into_iter())
            .map(|path| Op::Delete { path, version: None })
            .collect();
        if let Ok((_, changes)) = self.tree.apply(session, &ops, wall_ms()) {
            self.written(&changes, events);
        }
    }
}

#[allow(clippy::disallowed_methods, reason = "node times are data of the tree, never a deadline")]
fn wall_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
}

impl EmbeddedStore {
    async fn ask<T>(
        &self,
        request: impl FnOnce(oneshot::Sender<Result<T, StoreError>>) -> Request,
    ) -> Result<T, StoreError> {
        let (answer, answered) = oneshot::channel();
        self.requests.send(request(answer)).await.map_err(|_| StoreError::SessionExpired)?;
        answered.await.map_err(|_| StoreError::SessionExpired)?
    }

    async fn one(&self, op: Op) -> Result<OpResult, StoreError> {
        let results = self.multi(vec![op]).await?;
        results.into_iter().next().ok_or(StoreError::ConnectionLoss)
    }

    async fn read(
        &self,
        path: &str,
        watch: Option<Kind>,
    ) -> Result<(Option<Node>, Option<Watch>), StoreError> {
        limits::check_path(path)?;
        let (session, path) = (self.session, path.to_owned());
        self.ask(|answer| Request::Read { session, path, watch, answer }).await
    }

    async fn read_existing(
        &self,
        path: &str,
        watch: Option<Kind>,
    ) -> Result<(Node, Option<Watch>), StoreError> {
        let (node, watch) = self.read(path, watch).await?;
        Ok((node.ok_or_else(|| StoreError::NoNode { path: path.to_owned() })?, watch))
    }
}

/// A watch that a read was asked to set is set if the read succeeded.
fn set_watch(watch: Option<Watch>) -> Result<Watch, StoreError> {
    watch.ok_or(StoreError::SessionExpired)
}

impl Store for EmbeddedStore {
    fn session_id(&self) -> i64 {
        self.session
    }

    fn create<'a>(
        &'a self,
        path: &'a str,
        data: &'a [u8],
        mode: CreateMode,
    ) -> Answer<'a, (String, Stat)> {
        Box::pin(async move {
            let op = Op::Create { path: path.to_owned(), data: data.to_owned(), mode };
            match self.one(op).await? {
                OpResult::Created { path, stat } => Ok((path, stat)),
                OpResult::Set { .. } | OpResult::Deleted | OpResult::Checked => {
                    Err(StoreError::ConnectionLoss)
                }
            }
        })
    }

    fn get<'a>(&'a self, path: &'a str) -> Answer<'a, (Vec<u8>, Stat)> {
        Box::pin(async move {
            let (node, _) = self.read_existing(path, None).await?;
            Ok((node.data, node.stat))
        })
    }

    fn get_many<'a>(&'a self, paths: &'a [String]) -> Answer<'a, Vec<NodeRead>> {
        Box::pin(async move {
            paths.iter().try_for_each(|path| limits::check_path(path))?;
            let (session, paths) = (self.session, paths.to_vec());
            self.ask(|answer| Request::ReadMany { session, paths, answer }).await
        })
    }

    fn get_and_watch<'a>(&'a self, path: &'a str) -> Answer<'a, (Vec<u8>, Stat, Watch)> {
        Box::pin(async move {
            let (node, watch) = self.read_existing(path, Some(Kind::Data)).await?;
            Ok((node.data, node.stat, set_watch(watch)?))
        })
    }

    fn exists<'a>(&'a self, path: &'a str) -> Answer<'a, Option<Stat>> {
        Box::pin(async move { Ok(self.read(path, None).await?.0.map(|node| node.stat)) })
    }

    fn exists_and_watch<'a>(&'a self, path: &'a str) -> Answer<'a, (Option<Stat>, Watch)> {
        Box::pin(async move {
            let (node, watch) = self.read(path, Some(Kind::Exists)).await?;
            Ok((node.map(|node| node.stat), set_watch(watch)?))
        })
    }

    fn children<'a>(&'a self, path: &'a str) -> Answer<'a, Vec<String>> {
        Box::pin(async move {
            let (node, _) = self.read_existing(path, None).await?;
            Ok(node.children.into_iter().collect())
        })
    }

    fn children_and_watch<'a>(&'a self, path: &'a str) -> Answer<'a, (Vec<String>, Watch)> {
        Box::pin(async move {
            let (node, watch) = self.read_existing(path, Some(Kind::Children)).await?;
            Ok((node.children.into_iter().collect(), set_watch(watch)?))
        })
    }

    fn set<'a>(&'a self, path: &'a str, data: &'a [u8], version: Option<i32>) -> Answer<'a, Stat> {
        Box::pin(async move {
            let op = Op::Set { path: path.to_owned(), data: data.to_owned(), version };
            match self.one(op).await? {
                OpResult::Set { stat } => Ok(stat),
                OpResult::Created { .. } | OpResult::Deleted | OpResult::Checked => {
                    Err(StoreError::ConnectionLoss)
                }
            }
        })
    }

    fn delete<'a>(&'a self, path: &'a str, version: Option<i32>) -> Answer<'a, ()> {
        Box::pin(
            async move { self.one(Op::Delete { path: path.to_owned(), version }).await.map(drop) },
        )
    }

    fn multi(&self, ops: Vec<Op>) -> Answer<'_, Vec<OpResult>> {
        let session = self.session;
        Box::pin(self.ask(move |answer| Request::Multi { session, ops, answer }))
    }

    fn sync<'a>(&'a self, path: &'a str) -> Answer<'a, ()> {
        // There is one tree, and no view of it lags.
        Box::pin(async move { self.read(path, None).await.map(drop) })
    }

    fn watch<'a>(&'a self, path: &'a str, mode: WatchMode) -> Answer<'a, Watch> {
        Box::pin(async move {
            limits::check_path(path)?;
            let (session, path) = (self.session, path.to_owned());
            self.ask(|answer| Request::Watch { session, path, mode, answer }).await
        })
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::file::Step;
    use super::*;

    async fn create(store: &EmbeddedStore, path: &str, mode: CreateMode) -> String {
        store.create(path, b"x", mode).await.unwrap().0
    }

    /// What a node is after the tree is opened again is what it was; ephemerals are gone.
    #[tokio::test]
    async fn a_tree_survives_its_process_and_its_sessions_do_not() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("tree.log");
        let before = {
            let tree = EmbeddedTree::open(&file).unwrap();
            let store = tree.session().await;
            create(&store, "/a", CreateMode::Persistent).await;
            create(&store, "/a/n_", CreateMode::PersistentSequential).await;
            create(&store, "/e", CreateMode::Ephemeral).await;
            store.set("/a", b"y", Some(0)).await.unwrap();
            let before = store.get("/a").await.unwrap();
            tree.close().await;
            before
        };
        let store = EmbeddedTree::open(&file).unwrap().session().await;
        assert_eq!(store.get("/a").await.unwrap(), before);
        assert_eq!(store.exists("/e").await.unwrap(), None);
        let next = create(&store, "/a/n_", CreateMode::PersistentSequential).await;
        assert_eq!(next, "/a/n_0000000001");
    }

    /// A transaction whose last step fails changes nothing.
    #[tokio::test]
    async fn a_multi_is_all_or_nothing() {
        let store = EmbeddedTree::in_memory().session().await;
        create(&store, "/epoch", CreateMode::Persistent).await;
        let ops = vec![
            Op::Create { path: "/b".into(), data: vec![], mode: CreateMode::Persistent },
            Op::Set { path: "/epoch".into(), data: b"2".to_vec(), version: None },
            Op::Check { path: "/epoch".into(), version: 7 },
        ];
        let failed = store.multi(ops).await.unwrap_err();
        assert_eq!(failed, StoreError::BadVersion { path: "/epoch".into(), expected: 7 });
        assert_eq!(store.exists("/b").await.unwrap(), None);
        assert_eq!(store.get("/epoch").await.unwrap().1.version, 0);
        assert_eq!(store.children("/").await.unwrap(), ["epoch"]);
    }

    /// A session that expires takes its ephemerals and its watches along, and others see it.
    #[tokio::test]
    async fn an_expired_session_loses_all_it_had() {
        let tree = EmbeddedTree::in_memory();
        let (old, other) = (tree.session().await, tree.session().await);
        create(&old, "/controller", CreateMode::Ephemeral).await;
        let (_, _, mut seen) = other.get_and_watch("/controller").await.unwrap();
        let (_, _, mut own) = old.get_and_watch("/controller").await.unwrap();
        tree.expire(old.session_id()).await;
        assert_eq!(seen.next().await.kind, EventKind::Deleted);
        assert_eq!(own.next().await.kind, EventKind::Deleted);
        assert_eq!(own.next().await.kind, EventKind::SessionExpired);
        assert_eq!(old.get("/").await.unwrap_err(), StoreError::SessionExpired);
        assert_eq!(other.exists("/controller").await.unwrap(), None);
    }

    /// Each watch fires for what it covers, one-shot ones once.
    #[tokio::test]
    async fn watches_fire_for_what_they_cover() {
        let store = EmbeddedTree::in_memory().session().await;
        let (_, mut exists) = store.exists_and_watch("/a").await.unwrap();
        let (_, mut children) = store.children_and_watch("/").await.unwrap();
        let mut below = store.watch("/", WatchMode::PersistentRecursive).await.unwrap();
        create(&store, "/a", CreateMode::Persistent).await;
        create(&store, "/a/b", CreateMode::Persistent).await;
        store.delete("/a/b", Some(0)).await.unwrap();
        assert_eq!(exists.next().await.kind, EventKind::Created);
        assert_eq!(children.next().await.kind, EventKind::ChildrenChanged);
        assert_eq!(children.try_next(), None);
        let mut seen = Vec::new();
        while let Some(event) = below.try_next() {
            seen.push((event.kind, event.path));
        }
        let expected = [
            (EventKind::Created, "/a"),
            (EventKind::Created, "/a/b"),
            (EventKind::Deleted, "/a/b"),
        ];
        assert_eq!(seen, expected.map(|(kind, path)| (kind, path.to_owned())));
    }

    /// A tree in `path` whose first write in each of `faults` fails half-way, with that error.
    fn failing(path: &Path, faults: Vec<io::ErrorKind>) -> EmbeddedTree {
        let (mut file, tree) = TreeFile::open(path).unwrap();
        let mut faults = faults.into_iter();
        file.fail(move |step| match step {
            Step::Write(_) => faults.next().map_or(Ok(()), |kind| Err(kind.into())),
            Step::Cut(_) | Step::Sync => Ok(()),
        });
        EmbeddedTree::start(Some(file), tree)
    }

    /// A change that is too large is refused, and what is written is read again.
    #[tokio::test]
    async fn a_change_is_as_large_as_zookeeper_takes_at_most() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("tree.log");
        let tree = EmbeddedTree::open(&file).unwrap();
        let store = tree.session().await;
        let most = vec![b'x'; 0xf_ffff - limits::OF_TRANSACTION - limits::OF_STEP - "/a".len()];
        store.create("/a", &most, CreateMode::Persistent).await.unwrap();
        let more = [most.as_slice(), b"x"].concat();
        let refused = store.set("/a", &more, None).await.unwrap_err();
        assert_eq!(refused, StoreError::TooLarge { path: "/a".into(), size: 0x10_0000 });
        // The data of the parent is written once, not with each child.
        let child = |number| Op::Create {
            path: format!("/a/{number}"),
            data: Vec::new(),
            mode: CreateMode::Persistent,
        };
        store.multi((0..500).map(child).collect()).await.unwrap();
        tree.close().await;
        let store = EmbeddedTree::open(&file).unwrap().session().await;
        assert_eq!(store.get("/a").await.unwrap().0, most);
        assert_eq!(store.children("/a").await.unwrap().len(), 500);
    }

    /// What a full disk refuses is not there; the next change succeeds, and all of it is read again.
    #[tokio::test]
    async fn a_full_disk_refuses_one_change_only() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("tree.log");
        let tree = failing(&file, vec![io::ErrorKind::StorageFull; 2]);
        let store = tree.session().await;
        let (_, mut watch) = store.exists_and_watch("/a").await.unwrap();
        for _ in 0..2 {
            let refused = store.create("/a", b"x", CreateMode::Persistent).await.unwrap_err();
            assert_eq!(refused, StoreError::Full);
            assert_eq!(store.exists("/a").await.unwrap(), None);
            assert_eq!(watch.try_next(), None);
        }
        create(&store, "/b", CreateMode::Persistent).await;
        create(&store, "/c", CreateMode::Persistent).await;
        tree.close().await;
        let store = EmbeddedTree::open(&file).unwrap().session().await;
        assert_eq!(store.children("/").await.unwrap(), ["b", "c"]);
    }

    /// Nothing is answered, nor seen by a watch, before the disk has it.
    #[tokio::test]
    async fn what_is_answered_was_synced() {
        let dir = tempfile::tempdir().unwrap();
        let (mut file, tree) = TreeFile::open(&dir.path().join("tree.log")).unwrap();
        let unsynced = Arc::new(AtomicI64::new(0));
        let (writes, seen) = (Arc::new(AtomicI64::new(0)), unsynced.clone());
        let counted = writes.clone();
        file.fail(move |step| {
            match step {
                Step::Write(_) => {
                    counted.fetch_add(1, Ordering::SeqCst);
                    unsynced.fetch_add(1, Ordering::SeqCst);
                }
                Step::Sync => unsynced.store(0, Ordering::SeqCst),
                Step::Cut(_) => {}
            }
            Ok(())
        });
        let store = EmbeddedTree::start(Some(file), tree).session().await;
        for number in 0..10 {
            create(&store, &format!("/{number}"), CreateMode::Persistent).await;
            store.set(&format!("/{number}"), b"y", None).await.unwrap();
            assert_eq!(seen.load(Ordering::SeqCst), 0, "an answer before its sync");
        }
        assert!(writes.load(Ordering::SeqCst) >= 20, "each change was written before its answer");
    }

    /// After any other error nothing is written, what was there is still read, and the end comes.
    #[tokio::test]
    async fn a_broken_file_is_not_written_again() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("tree.log");
        let tree = EmbeddedTree::open(&file).unwrap();
        create(&tree.session().await, "/a", CreateMode::Persistent).await;
        tree.close().await;
        let tree = failing(&file, vec![io::ErrorKind::Other]);
        let store = tree.session().await;
        for path in ["/b", "/c"] {
            let refused = store.create(path, b"x", CreateMode::Persistent).await.unwrap_err();
            assert_eq!(refused, StoreError::Unwritable);
        }
        assert_eq!(store.children("/").await.unwrap(), ["a"]);
        tree.close().await;
        let store = EmbeddedTree::open(&file).unwrap().session().await;
        assert_eq!(store.children("/").await.unwrap(), ["a"]);
    }
}
